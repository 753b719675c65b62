//! Every kept input through its target: what fuzzing once reached stays reached, and what it found stays mended.
#![expect(clippy::unwrap_used, reason = "all of it is a test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus")
}

fn replay(target: &str) {
    let (_, body) = fuzz_bodies::TARGETS.iter().find(|(name, _)| *name == target).unwrap();
    let inputs: Vec<PathBuf> = std::fs::read_dir(corpus().join(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(inputs.len() >= 5, "{target} has no corpus");
    for input in inputs {
        // Shown only where the test fails.
        eprintln!("{}", input.display());
        body(&std::fs::read(input).unwrap());
    }
    body(&[]);
}

/// One test a target, so that they run beside one another and each is named.
macro_rules! replay {
    ($($target:ident)*) => {
        $(#[test] fn $target() { replay(stringify!($target)); })*
        const REPLAYED: &[&str] = &[$(stringify!($target)),*];
    };
}
replay!(chunks amf0 server server_script client player bodies media fmp4 intake source_clock signal rtsp mjpeg clip matroska token webrtc);

#[test]
fn every_target_is_replayed_and_has_a_fuzzer() {
    let names: BTreeSet<&str> = fuzz_bodies::TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, REPLAYED.iter().copied().collect());
    for name in names {
        assert!(corpus().join("../fuzz_targets").join(format!("{name}.rs")).is_file(), "{name}");
    }
}
