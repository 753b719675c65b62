//! `sightline doctor` on a camera's configuration: against a cloud and an origin that run, and with each fault that it is for.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::{
    Stack,
    process::{free_port, output, sightline},
};
use serde_json::Value;
use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// What the doctor said, and its exit status.
struct Checked {
    report: Value,
    status: Option<i32>,
}

impl Checked {
    fn item(&self, part: &str, item: &str) -> &Value {
        let items = self.report["items"].as_array().unwrap();
        items.iter().find(|found| found["part"] == part && found["item"] == item).unwrap_or_else(|| panic!("no {part} {item}: {items:#?}"))
    }

    fn result(&self, part: &str, item: &str) -> &str {
        self.item(part, item)["result"].as_str().unwrap()
    }

    /// The items that failed, as `part item`.
    fn failed(&self) -> Vec<String> {
        let items = self.report["items"].as_array().unwrap().iter().filter(|item| item["result"] == "failed");
        items.map(|item| format!("{} {}", item["part"].as_str().unwrap(), item["item"].as_str().unwrap())).collect()
    }

    /// It failed, its detail contains the one and its fix the other.
    fn assert_failed(&self, part: &str, item: &str, detail: &str, mend: &str) {
        let found = self.item(part, item);
        assert_eq!(found["result"], "failed", "{found}");
        assert!(found["detail"].as_str().unwrap().contains(detail), "{detail:?} is not in {found}");
        assert!(found["mend"].as_str().unwrap().contains(mend), "{mend:?} is not in {found}");
    }
}

fn examine(dir: &Path, toml: &str) -> Checked {
    let file = dir.join("examined.toml");
    std::fs::write(&file, toml).unwrap();
    run(&["--config", file.to_str().unwrap()])
}

fn run(args: &[&str]) -> Checked {
    let output = Command::new(sightline()).args(["doctor", "--json"]).args(args).stdin(Stdio::null()).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)));
    let failed = report["items"].as_array().unwrap().iter().filter(|item| item["result"] == "failed").count();
    assert_eq!(report["failed"], failed, "{report}");
    assert_eq!(output.status.code(), Some(i32::from(failed > 0)), "{report}");
    for item in report["items"].as_array().unwrap() {
        assert_eq!(item["result"] == "failed", item["mend"].is_string(), "{item}");
    }
    Checked { report, status: output.status.code() }
}

/// A camera's configuration for a stack, with the device's own files.
struct Camera {
    url: String,
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
}

impl Camera {
    fn of(stack: &Stack) -> Self {
        let _ = stack.add_device("cam-1");
        Self {
            url: format!("mqtts://{}", stack.mqtts),
            ca: stack.file("cloud/ca.pem"),
            cert: stack.file("cloud/devices/cam-1.pem"),
            key: stack.file("cloud/devices/cam-1.key"),
        }
    }

    fn toml(&self, device: &str) -> String {
        let Self { url, ca, cert, key } = self;
        format!(
            "device_id = '{device}'\nsource = 'test'\n[mqtt]\nurl = '{url}'\nca = '{}'\ncert = '{}'\nkey = '{}'\n\
             [stream]\ntrigger = 'always_on'\nquality = 'low'\n",
            ca.display(),
            cert.display(),
            key.display()
        )
    }
}

/// Makes a file with OpenSSL.
fn openssl(dir: &Path, args: &[&str]) {
    output(Command::new("openssl").args(args).current_dir(dir));
}

#[test]
fn where_all_is_well_nothing_fails_and_each_part_was_tried() {
    let stack = Stack::start();
    let camera = Camera::of(&stack);
    let dir = TempDir::new().unwrap();
    let recording = format!("[recording]\nenabled = true\nkeep_mb = 1\ndir = '{}/recordings'\n", dir.path().display());
    let checked = examine(dir.path(), &format!("{}{recording}", camera.toml("cam-1")));
    assert_eq!((checked.failed(), checked.status), (Vec::new(), Some(0)), "{:#}", checked.report);
    for (part, item) in [
        ("device", "settings"),
        ("device", "hardware"),
        ("device", "camera"),
        ("device", "encoder"),
        ("device", "network_link"),
        ("device", "mqtt_settings"),
        ("device", "storage"),
        ("device", "clock"),
        ("device", "streaming_enabled"),
        ("cloud", "rtmp_server"),
        ("cloud", "mqtt_handling"),
        ("cloud", "allocator"),
        ("network", "mqtt"),
        ("network", "rtmp"),
        ("network", "firewall"),
        ("network", "bandwidth"),
    ] {
        assert_eq!(checked.result(part, item), "passed", "{}", checked.item(part, item));
    }
    assert!(checked.item("device", "clock")["detail"].as_str().unwrap().contains("the cloud's clock"), "{:#}", checked.report);
    assert!(checked.item("network", "rtmp")["detail"].as_str().unwrap().contains("TLS"), "{:#}", checked.report);
    // Loopback is not the internet, and what only the cloud knows is not guessed.
    for (part, item) in [("network", "internet"), ("cloud", "permission_check"), ("cloud", "monitoring_and_logs")] {
        assert_eq!(checked.result(part, item), "not_applicable");
    }
    assert!(!dir.path().join("recordings").exists(), "it looks, and makes nothing");
    // Nothing was published.
    assert!(interop::stack::streams(&stack.http).0.is_empty());
}

#[test]
fn files_that_do_not_fit_are_named_each_with_its_mend() {
    let stack = Stack::start();
    let good = Camera::of(&stack);
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);

    // A missing file: the way is tried without it.
    let checked = examine(dir.path(), &Camera { cert: path("missing.pem"), ..Camera::of_same(&good) }.toml("cam-1"));
    checked.assert_failed("device", "mqtt_settings", "missing.pem", "mqtt.cert");
    assert_eq!(checked.failed(), ["device mqtt_settings"]);
    assert_eq!((checked.result("network", "mqtt"), checked.result("cloud", "mqtt_handling")), ("passed", "not_applicable"));

    // Another authority.
    let subject = ["-subj", "/CN=another", "-days", "30", "-keyout", "other.key", "-out", "other.pem"];
    openssl(dir.path(), &[&["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"][..], &subject].concat());
    let checked = examine(dir.path(), &Camera { ca: path("other.pem"), ..Camera::of_same(&good) }.toml("cam-1"));
    checked.assert_failed("network", "mqtt", "another authority", "set mqtt.ca");
    assert_eq!((checked.failed(), checked.result("network", "firewall")), (vec!["network mqtt".to_owned()], "passed"));

    // Another's key.
    let checked = examine(dir.path(), &Camera { key: path("other.key"), ..Camera::of_same(&good) }.toml("cam-1"));
    checked.assert_failed("device", "mqtt_settings", "mqtt.key", "made with mqtt.cert");

    // Another device's certificate.
    let checked = examine(dir.path(), &good.toml("cam-2"));
    checked.assert_failed("device", "mqtt_settings", "names cam-1, and device_id is cam-2", "device_id");
    checked.assert_failed("cloud", "mqtt_handling", "refuses this device", "sightline device show");

    // A certificate that has ended.
    openssl(dir.path(), &["req", "-new", "-key", "other.key", "-subj", "/OU=devices/CN=cam-1", "-out", "old.csr"]);
    let sign = ["x509", "-req", "-in", "old.csr", "-CA", "other.pem", "-CAkey", "other.key", "-CAcreateserial"];
    openssl(dir.path(), &[&sign[..], &["-days", "-1", "-out", "old.pem"]].concat());
    let checked = examine(dir.path(), &Camera { cert: path("old.pem"), key: path("other.key"), ..Camera::of_same(&good) }.toml("cam-1"));
    checked.assert_failed("device", "mqtt_settings", "has ended at 20", "device rotate");
    assert_eq!(checked.result("network", "mqtt"), "passed");

    // A device that was shut out.
    output(Command::new(sightline()).args(["device", "revoke", "cam-1", "--dir"]).arg(stack.file("cloud")));
    let checked = examine(dir.path(), &good.toml("cam-1"));
    assert_eq!(checked.failed(), ["cloud mqtt_handling"], "{:#}", checked.report);
    checked.assert_failed("cloud", "mqtt_handling", "", "sightline device show");
}

impl Camera {
    fn of_same(other: &Self) -> Self {
        let Self { url, ca, cert, key } = other;
        Self { url: url.clone(), ca: ca.clone(), cert: cert.clone(), key: key.clone() }
    }
}

#[test]
fn a_server_that_is_not_reached_is_told_from_one_that_is_not_there() {
    let stack = Stack::start();
    let good = Camera::of(&stack);
    let dir = TempDir::new().unwrap();

    let closed = free_port();
    let checked = examine(dir.path(), &Camera { url: format!("mqtts://127.0.0.1:{closed}"), ..Camera::of_same(&good) }.toml("cam-1"));
    checked.assert_failed("network", "mqtt", "refused", &format!("listen on port {closed}"));
    assert_eq!((checked.failed(), checked.result("network", "firewall")), (vec!["network mqtt".to_owned()], "not_applicable"));
    assert_eq!((checked.result("device", "mqtt_settings"), checked.result("cloud", "allocator")), ("passed", "not_applicable"));

    let checked = examine(dir.path(), &Camera { url: "mqtts://broker.invalid".to_owned(), ..Camera::of_same(&good) }.toml("cam-1"));
    checked.assert_failed("network", "mqtt", "DNS", "/etc/resolv.conf");

    // What listens there does not speak TLS.
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = plain.local_addr().unwrap().port();
    let answering = std::thread::Builder::new().name("plain".into()).spawn(move || {
        let (mut stream, _) = plain.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let checked = examine(dir.path(), &Camera { url: format!("mqtts://127.0.0.1:{port}"), ..Camera::of_same(&good) }.toml("cam-1"));
    checked.assert_failed("network", "mqtt", "does not speak TLS", "mqtt.url");
    answering.unwrap().join().unwrap();

    // What listens there speaks TLS, and no MQTT.
    let checked = examine(dir.path(), &Camera { url: format!("mqtts://{}", stack.http), ..Camera::of_same(&good) }.toml("cam-1"));
    checked.assert_failed("cloud", "mqtt_handling", "", "a broker listens");
    assert_eq!(checked.failed(), ["cloud mqtt_handling"], "{:#}", checked.report);

    // What takes the connection and cuts it in TLS, as some firewalls do.
    let cutter = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = cutter.local_addr().unwrap().port();
    let cutting = std::thread::Builder::new().name("cutter".into()).spawn(move || drop(cutter.accept())).unwrap();
    let checked = examine(dir.path(), &Camera { url: format!("mqtts://127.0.0.1:{port}"), ..Camera::of_same(&good) }.toml("cam-1"));
    checked.assert_failed("network", "mqtt", "cut", "firewall");
    checked.assert_failed("network", "firewall", &port.to_string(), &port.to_string());
    cutting.join().unwrap();
}

#[test]
fn a_server_by_hand_is_greeted_and_its_key_never_shown() {
    let stack = Stack::start();
    let dir = TempDir::new().unwrap();
    let toml = |url: &str, more: &str| {
        format!(
            "device_id = 'cam-1'\nsource = 'test'\n[stream]\ntrigger = 'always_on'\nquality = 'low'\nrtmp_server_url = '{url}'\n\
             stream_key = 'secret-key'\n{more}"
        )
    };
    let checked = examine(dir.path(), &toml(&format!("rtmp://{}/live?auth=secret-query", stack.rtmp), ""));
    assert_eq!(checked.failed(), Vec::<String>::new(), "{:#}", checked.report);
    assert_eq!((checked.result("cloud", "rtmp_server"), checked.result("device", "mqtt_settings")), ("passed", "not_applicable"));
    assert!(!checked.report.to_string().contains("secret"), "{:#}", checked.report);

    // Something that is no RTMP server.
    let checked = examine(dir.path(), &toml(&format!("rtmp://{}/live", stack.http), ""));
    checked.assert_failed("cloud", "rtmp_server", "RTMP", "RTMP server listens");
    assert_eq!(checked.result("network", "rtmp"), "passed");

    // The first is there, the backup is not; and no authority for rtmps.
    let closed = free_port();
    let backups = format!("backup_servers = ['rtmp://127.0.0.1:{closed}/live']\n");
    let checked = examine(dir.path(), &toml(&format!("rtmp://{}/live", stack.rtmp), &backups));
    checked.assert_failed("network", "rtmp", &closed.to_string(), "stream.rtmp_server_url");
    assert_eq!(checked.result("cloud", "rtmp_server"), "passed");
    let checked = examine(dir.path(), &toml(&format!("rtmps://{}/live", stack.rtmp), ""));
    checked.assert_failed("network", "rtmp", "no authority", "stream.ca");
}

#[test]
fn without_a_configuration_the_machine_alone_is_looked_at() {
    let checked = run(&[]);
    assert_eq!((checked.result("device", "hardware"), checked.result("device", "encoder")), ("passed", "passed"));
    assert_eq!(checked.result("device", "clock"), "passed");
    for (part, item) in [("device", "mqtt_settings"), ("cloud", "allocator"), ("network", "rtmp")] {
        let found = checked.item(part, item);
        assert_eq!(found["result"], "not_applicable");
        assert!(found["detail"].as_str().unwrap().contains("--config"), "{found}");
    }
    // A source that is not there.
    let dir = TempDir::new().unwrap();
    let toml = "device_id = 'cam-1'\nsource = 'missing.mp4'\n[stream]\nenable_live_streaming = false\n";
    let checked = examine(dir.path(), toml);
    checked.assert_failed("device", "camera", "missing.mp4", "camera probe");
    checked.assert_failed("device", "streaming_enabled", "enable_live_streaming", "enable_live_streaming = true");
}

#[test]
fn wrong_use_is_told_from_what_fails_and_a_cloud_s_file_has_a_checklist_of_its_own() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("cloud.toml");
    std::fs::write(&file, "data_dir = 'x'\n[http]\nlisten = '127.0.0.1:0'\n[mqtt]\nlisten = '127.0.0.1:0'\n").unwrap();
    let run = |args: &[&str]| Command::new(sightline()).arg("doctor").args(args).output().unwrap();
    assert_eq!(run(&["--nonsense"]).status.code(), Some(2));
    assert_eq!(run(&["--role", "cloud"]).status.code(), Some(2));
    let cloud = run(&["--config", file.to_str().unwrap(), "--json"]);
    assert_eq!(cloud.status.code(), Some(0));
    let report: Value = serde_json::from_slice(&cloud.stdout).unwrap();
    let allocator = report["items"].as_array().unwrap().iter().find(|item| item["item"] == "allocator").unwrap();
    assert_eq!((&allocator["part"], &allocator["result"]), (&"cloud".into(), &"not_applicable".into()), "it does not run");
}
