//! The console and the API behind reverse proxies with their defaults.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::{
    Demo,
    browser::Browser,
    process::{Process, eventually, free_port},
    stack::ask,
};
use serde_json::json;
use std::{path::Path, process::Command, time::Duration};

const LIMIT: Duration = Duration::from_secs(20);

/// nginx with nothing but `proxy_pass`: at its root, and below a path.
fn nginx(dir: &Path, http: &str) -> (Process, String) {
    let (port, path) = (free_port(), dir.display());
    let conf = format!(
        "daemon off;\nmaster_process off;\npid {path}/proxy.pid;\nerror_log {path}/proxy.log;\nevents {{}}\nhttp {{\naccess_log off;\n\
         server {{ listen 127.0.0.1:{port};\nlocation / {{ proxy_pass http://{http}; }}\nlocation /cams/ {{ proxy_pass http://{http}/; }} }} }}\n"
    );
    std::fs::write(dir.join("proxy.conf"), conf).unwrap();
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-p").arg(dir).arg("-c").arg(dir.join("proxy.conf")).arg("-e").arg(dir.join("proxy.log"));
    let process = Process::start("nginx-proxy", dir, &mut command);
    eventually("nginx listens", LIMIT, || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    (process, format!("127.0.0.1:{port}"))
}

fn caddy(dir: &Path, http: &str) -> (Process, String) {
    let port = free_port();
    // Its own defaults, but for what would change the machine: a root certificate of its own, and an administration port.
    let conf = format!(
        "{{\nadmin off\nauto_https off\nskip_install_trust\n}}\nhttp://127.0.0.1:{port} {{\nbind 127.0.0.1\nreverse_proxy {http}\n}}\nhttp://cams.example:{port} {{\n\
         bind 127.0.0.1\nreverse_proxy {http}\n}}\nhttp://localhost:{port} {{\nbind 127.0.0.1\nreverse_proxy {http}\n}}\n"
    );
    std::fs::write(dir.join("Caddyfile"), conf).unwrap();
    let mut command = Command::new("caddy");
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(dir.join("Caddyfile"));
    command.env("HOME", dir).env("XDG_CONFIG_HOME", dir).env("XDG_DATA_HOME", dir);
    let process = Process::start("caddy", dir, &mut command);
    eventually("Caddy listens", LIMIT, || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    (process, format!("127.0.0.1:{port}"))
}

/// luthien-proxy#779, home-assistant/core#14345: a proxy before the port opened the API to the world. nginx/nginx#1505: events were held
/// back. frigate#15544: a blank page below a path.
#[test]
fn a_proxy_with_its_defaults_opens_nothing_and_breaks_nothing() {
    let demo = Demo::start(&["--quality", "low"]);
    let _ = demo.playback();
    let token = std::fs::read_to_string(demo.file("operator.token")).unwrap();
    let bearer = format!("Authorization: Bearer {}", token.trim());
    assert_eq!(ask(&format!("http://{}/api/v1/devices", demo.http), &[]).0, 200, "this machine itself needs no token");
    let (nginx, nginx_address) = nginx(demo.dir.path(), &demo.http);
    let (_caddy, caddy_address) = caddy(demo.dir.path(), &demo.http);
    let new = |id: &str| json!({ "id": id }).to_string();
    for (proxy, id) in [(&nginx_address, "n1"), (&caddy_address, "c1")] {
        let devices = format!("http://{proxy}/api/v1/devices");
        let port = proxy.rsplit(':').next().unwrap();
        for host in ["127.0.0.1", "cams.example", "localhost"] {
            let (status, answer) = ask(&devices, &["-H", &format!("Host: {host}:{port}")]);
            assert!(matches!(status, 401 | 403), "{proxy} {host}: {status} {answer}");
        }
        let json = ["-H", "Content-Type: application/json", "-d", &new(id)];
        let (status, answer) = ask(&devices, &json);
        assert_eq!((status, &answer["error_code"]), (401, &json!("UNAUTHORIZED")));
        // With the token, also from the page that the proxy serves under its own name.
        let origin = format!("Origin: http://{proxy}");
        let (status, answer) = ask(&devices, &[&json[..], &["-H", &bearer, "-H", &origin]].concat());
        assert_eq!(status, 201, "{answer}");
    }

    // Events come as they happen.
    let events = format!("http://{nginx_address}/cams/api/v1/events/stream");
    let listener = Process::start("listener", demo.dir.path(), Command::new("curl").args(["-sN", "-H", &bearer, &events]));
    std::thread::sleep(Duration::from_millis(500));
    let added = ask(&format!("http://{}/api/v1/devices", demo.http), &["-H", "Content-Type: application/json", "-d", &new("later")]);
    assert_eq!(added.0, 201);
    eventually("the event comes through nginx", LIMIT, || listener.log().contains("device_added").then_some(()));

    // The console below a path: it asks for the token, and plays.
    let browser = Browser::start(1280, 800);
    browser.open(&format!("http://{nginx_address}/cams/"));
    browser.sign_in(&token);
    eventually("the page plays", LIMIT, || browser.read().filter(|reading| reading.time > 0.0 && reading.decoded > 0));
    drop(nginx);
}
