//! The cloud on a disk that fills, or fails, while it serves.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::{
    process::{Process, eventually, free_port, output, sightline},
    stack::{ask, get_json},
};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(20);

/// A file system of its own, in memory.
struct Disk(TempDir);

impl Disk {
    fn mount(megabytes: u32) -> Self {
        let dir = TempDir::new().unwrap();
        output(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"]).arg(dir.path()));
        Self(dir)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Takes all room that is left.
    fn fill(&self) {
        // It ends with an error: the disk is full.
        let _ = Command::new("sh").arg("-c").arg(format!("cat /dev/zero > {} 2>&-", self.file("filler").display())).status().unwrap();
    }

    fn clear(&self) {
        std::fs::remove_file(self.file("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn request(http: &str, bearer: &str, id: &str) -> u16 {
    let body = json!({
        "device_id": "cam", "request_id": id, "stream_type": "rtmp", "quality": "low", "preferred_region": "", "max_bitrate": 500_000, "timestamp": 0
    });
    let json = ["-H", "Content-Type: application/json", "-H", bearer, "-d", &body.to_string()];
    ask(&format!("http://{http}/stream/request"), &json).0
}

fn verify(dir: &Path) -> bool {
    Command::new(sightline()).args(["audit", "verify", "--dir"]).arg(dir).status().unwrap().success()
}

/// praeclarum/sqlite-net#782, attacks.md 13.
#[test]
fn a_disk_that_fills_costs_only_what_came_meanwhile() {
    let disk = Disk::mount(12);
    let [http, mqtts] = [(); 2].map(|()| format!("127.0.0.1:{}", free_port()));
    let text = format!(
        "data_dir = 'cloud'\n[http]\nlisten = '{http}'\n[mqtt]\nlisten = '{mqtts}'\n[[servers]]\nid = 'other'\nrtmp_url = 'rtmp://127.0.0.1:9/live'\n"
    );
    std::fs::write(disk.file("cloud.toml"), text).unwrap();
    let logs = TempDir::new().unwrap();
    let mut cloud =
        Process::start("cloud", logs.path(), Command::new(sightline()).args(["cloud", "--config"]).arg(disk.file("cloud.toml")));
    eventually("the cloud is up", LIMIT, || get_json(&format!("http://{http}/.well-known/jwks.json")));
    let dir = disk.file("cloud");
    for id in ["cam", "stolen", "other"] {
        output(Command::new(sightline()).args(["device", "add", id, "--dir"]).arg(&dir));
    }
    let bearer = format!("Authorization: Bearer {}", std::fs::read_to_string(dir.join("devices/cam.token")).unwrap());
    assert_eq!(request(&http, &bearer, "before"), 200);
    let ready = || ask(&format!("http://{http}/readyz"), &[]).0;
    let command = |id: &str| {
        let json = ["-H", "Content-Type: application/json", "-d", "{\"cmd\":\"start\"}"];
        ask(&format!("http://{http}/api/v1/devices/{id}/command"), &json)
    };
    assert_eq!((ready(), command("cam").0), (200, 409));

    disk.fill();
    eventually("it is not ready", LIMIT, || (ready() == 503).then_some(()));
    assert_eq!(request(&http, &bearer, "meanwhile"), 503);
    assert_eq!(command("cam").1["error_code"], "STORAGE_FAILED", "nothing is carried out that is not in the log");
    // The one thing that can't wait.
    output(Command::new(sightline()).args(["device", "revoke", "stolen", "--dir"]).arg(&dir));
    let device = |id: &str| get_json(&format!("http://{http}/api/v1/devices/{id}")).unwrap();
    assert!(device("stolen")["revoked_at"].is_i64() && device("cam")["revoked_at"].is_null());

    disk.clear();
    assert_eq!(request(&http, &bearer, "after"), 200, "the first write after there is room");
    eventually("it is ready", LIMIT, || (ready() == 200).then_some(()));
    let kinds = || {
        let events = get_json(&format!("http://{http}/api/v1/events")).unwrap();
        events["items"].as_array().unwrap().iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    eventually("it was told, once it could be stored", LIMIT, || {
        let kinds = kinds();
        (kinds.contains(&"storage_failed".to_owned()) && kinds.contains(&"storage_recovered".to_owned())).then_some(())
    });

    assert!(cloud.is_running() && verify(&dir));
    cloud.signal("-TERM");
    assert!(cloud.wait(LIMIT).success());
    assert!(verify(&dir));
}

/// An error of the disk and a file system that the kernel has made read-only: writes of a running cloud fail, those of its log too, and work
/// again.
#[test]
fn a_disk_that_fails_or_is_made_read_only_costs_only_what_came_meanwhile() {
    const ERRORS: [(&str, u32); 2] = [("EIO", 5), ("EROFS", 30)];
    let home = TempDir::new().unwrap();
    let file = |name: &str| home.path().join(name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/failing_disk.c");
    output(Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(file("failing_disk.so")).arg(source).arg("-ldl"));
    let [http, mqtts] = [(); 2].map(|()| format!("127.0.0.1:{}", free_port()));
    let dir = file("cloud");
    let text = format!(
        "data_dir = '{}'\n[http]\nlisten = '{http}'\n[mqtt]\nlisten = '{mqtts}'\n[[servers]]\nid = 'other'\nrtmp_url = 'rtmp://127.0.0.1:9/live'\n",
        dir.display()
    );
    std::fs::write(file("cloud.toml"), text).unwrap();
    let mut command = Command::new(sightline());
    command.args(["cloud", "--config"]).arg(file("cloud.toml"));
    command.env("LD_PRELOAD", file("failing_disk.so")).env("FAILING_DISK_DIR", home.path()).env("FAILING_DISK_FLAG", file("flag"));
    let mut cloud = Process::start("cloud", home.path(), &mut command);
    eventually("the cloud is up", LIMIT, || get_json(&format!("http://{http}/.well-known/jwks.json")));
    output(Command::new(sightline()).args(["device", "add", "cam", "--dir"]).arg(&dir));
    let bearer = format!("Authorization: Bearer {}", std::fs::read_to_string(dir.join("devices/cam.token")).unwrap());
    let ready = || ask(&format!("http://{http}/readyz"), &[]).0;
    let start = || {
        let json = ["-H", "Content-Type: application/json", "-d", "{\"cmd\":\"start\"}"];
        ask(&format!("http://{http}/api/v1/devices/cam/command"), &json)
    };
    for (name, error) in ERRORS {
        assert_eq!((ready(), request(&http, &bearer, &format!("before-{name}"))), (200, 200));
        std::fs::write(file("flag"), error.to_string()).unwrap();
        eventually("it is not ready", LIMIT, || (ready() == 503).then_some(()));
        for number in 0..5 {
            assert_eq!(request(&http, &bearer, &format!("meanwhile-{name}-{number}")), 503, "{name}");
            assert_eq!(start().1["error_code"], "STORAGE_FAILED", "nothing is carried out that is not in the log");
        }
        assert!(get_json(&format!("http://{http}/api/v1/devices/cam")).is_some(), "what is there can be read");
        std::fs::remove_file(file("flag")).unwrap();
        assert_eq!(request(&http, &bearer, &format!("after-{name}")), 200, "the first write after it");
        eventually("it is ready", LIMIT, || (ready() == 200).then_some(()));
    }
    assert!(cloud.is_running() && verify(&dir));
    cloud.signal("-TERM");
    assert!(cloud.wait(LIMIT).success());
    assert!(verify(&dir));
    // A token that was handed out has its row.
    let audit = output(Command::new(sightline()).args(["audit", "show", "--limit", "100", "--dir"]).arg(&dir));
    let issued = String::from_utf8_lossy(&audit).matches("allocation.issue").count();
    assert_eq!(issued, 2 * ERRORS.len());
}
