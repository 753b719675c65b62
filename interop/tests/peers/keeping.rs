//! What must last, and what must end: a restart on the same directory, a revoked device, the audit log.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::{
    Demo, Stack, media,
    process::{eventually, output, sightline},
    stack,
};
use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

fn verify_audit(dir: &Path) -> std::process::Output {
    Command::new(sightline()).args(["audit", "verify", "--dir"]).arg(dir).output().unwrap()
}

#[test]
fn the_demo_started_again_on_its_directory_has_lost_nothing() {
    let mut demo = Demo::start(&["--quality", "low"]);
    let playback = demo.playback();
    std::thread::sleep(Duration::from_secs(4));
    let ca = std::fs::read(demo.file("ca.pem")).unwrap();
    demo.process.signal("-TERM");
    assert!(demo.process.wait(Duration::from_secs(15)).success());
    let again = Demo::start_in(demo.dir, &["--quality", "low"]);
    assert_eq!(again.playback(), playback, "viewers' links still work");
    assert_eq!(std::fs::read(again.file("ca.pem")).unwrap(), ca, "certificates still work");
    let recordings = again.file("origin/recordings/cam-1");
    let kept = eventually("both runs are recorded", Duration::from_secs(20), || {
        let files: Vec<_> = std::fs::read_dir(&recordings)
            .ok()?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|kind| kind == "mp4"))
            .collect();
        (files.len() == 2).then_some(files)
    });
    let oldest = kept.iter().min().unwrap();
    assert!(media::decode(oldest) > 30);
    assert!(verify_audit(&again.file("")).status.success());
}

#[test]
fn a_revoked_device_is_cut_off_within_ten_seconds_and_stays_out() {
    let stack = Stack::start();
    let _ = stack.add_device("cam-1");
    let _camera = stack.start_camera("cam-1", "test", "quality = 'low'");
    eventually("it is live", Duration::from_secs(20), || (!stack::streams(&stack.http).0.is_empty()).then_some(()));
    output(Command::new(sightline()).args(["device", "revoke", "cam-1", "--dir"]).arg(stack.file("cloud")));
    let revoked = Instant::now();
    eventually("its stream has ended", Duration::from_secs(10), || stack::streams(&stack.http).0.is_empty().then_some(()));
    println!("the stream ended {:.1} s after the revocation", revoked.elapsed().as_secs_f32());
    std::thread::sleep(Duration::from_secs(4));
    assert!(stack::streams(&stack.http).0.is_empty(), "it did not come back");
}

#[test]
fn a_changed_audit_log_is_found() {
    let mut stack = Stack::start();
    for id in ["cam-1", "cam-2"] {
        let _ = stack.add_device(id);
    }
    let dir = stack.file("cloud");
    assert!(verify_audit(&dir).status.success());
    // In order, so that the database file holds everything; then one letter in it.
    stack.cloud.signal("-TERM");
    stack.cloud.wait(Duration::from_secs(15));
    let file = dir.join("sightline.sqlite");
    let mut bytes = std::fs::read(&file).unwrap();
    let entry = b"device.add";
    let at = bytes.windows(entry.len()).position(|window| window == entry).expect("the log is in the file");
    bytes[at + 7] = b'A';
    std::fs::write(&file, bytes).unwrap();
    let verdict = verify_audit(&dir);
    let said = String::from_utf8_lossy(&verdict.stderr).into_owned();
    assert!(verdict.status.code() == Some(1) && said.contains("broken at entry"), "{said}");
}
