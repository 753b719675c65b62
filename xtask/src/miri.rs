//! Miri: the core's and the C face's tests in an interpreter that sees undefined behaviour. Rust's nightly has it, and nothing else here is of that.

use crate::shell::{Problem, root, run, step};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The compiler that it was seen with.
const TOOLCHAIN: &str = "nightly-2026-10-30";
/// Property tests look for their own file of failures. The rest is stricter than Miri's own choice: a pointer from a number is a finding, and so is
/// an alignment that was only luck. Leaks are findings anyway.
const FLAGS: &str = "-Zmiri-disable-isolation -Zmiri-strict-provenance -Zmiri-symbolic-alignment-check";
/// Of each property.
const CASES: &str = "2";

/// Those with the longest tests first.
const CORE: [&str; 6] =
    ["sightline-pusher", "sightline-rtmp", "sightline-media", "sightline-signal", "sightline-hls", "sightline-placement"];

/// `filters` go to the tests' own runner, and run only those tests of the core. It is that runner and not nextest: Miri compiles a test program anew
/// each time it starts one, and nextest starts one for each test.
pub(crate) fn run_tests(filters: &[&str]) -> Result<(), Problem> {
    step(&format!("install Miri of {TOOLCHAIN}"));
    let components = ["--component", "miri", "--component", "rust-src"];
    run(Command::new("rustup").args(["toolchain", "install", TOOLCHAIN, "--profile", "minimal", "--no-self-update"]).args(components))?;
    if filters.is_empty() {
        step("the C face");
        run(miri().args(["miri", "test", "--lib", "--manifest-path", "firmware/capi/Cargo.toml"]))?;
    }
    step("the core, a crate on each processor");
    let next = AtomicUsize::new(0);
    let crates_of_one = || {
        let mut failed = vec![];
        while let Some(name) = CORE.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut tests = miri();
            // All features: alone, a crate has not those that the others ask for, nor the tests of what they bring.
            tests.args(["miri", "test", "--lib", "--tests", "--no-fail-fast", "--all-features", "--package", name, "--"]).args(filters);
            if run(&mut tests).is_err() {
                failed.push(*name);
            }
        }
        failed
    };
    let failed: Vec<&str> = std::thread::scope(|scope| {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..processors.min(CORE.len())).map(|_| scope.spawn(crates_of_one)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|_| vec!["a crate whose thread panicked"])).collect()
    });
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Problem(format!("Miri has a finding, or a test failed, in {}: see above", failed.join(", "))))
    }
}

fn miri() -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", TOOLCHAIN, "cargo"]).current_dir(root());
    command.env("MIRIFLAGS", FLAGS).env("PROPTEST_CASES", CASES);
    command.env("CARGO_TARGET_DIR", root().join("target-miri")).env_remove("RUSTC").env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
    command
}
