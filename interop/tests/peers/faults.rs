//! Every fault of specification §1.8 that a peer can have, injected, and its code read where users read it: `push --json`, the log, the cloud's API, HTTP
//! answers, exit messages. docs/protocol/errors.md has the whole table; what needs virtual time or a faulty encoder is shown there by other tests.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::{
    Process, camera, media, nginx,
    process::{eventually, free_port, output, sightline},
    stack::{Stack, get_json},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;

/// Only a hang takes longer: the longest wait of the product here is discovery's ten seconds.
const HANG: Duration = Duration::from_secs(40);

/// `sightline push --json` of the test scene.
fn push(dir: &Path, url: &str, more: &[&str]) -> Process {
    let mut command = Command::new(sightline());
    Process::start("push", dir, command.args(["push", "test", url, "--quality", "low", "--json"]).args(more))
}

/// What a push has printed of a kind.
fn events(push: &Process, kind: &str) -> Vec<Value> {
    let events = push.log().lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).collect::<Vec<_>>();
    events.into_iter().filter(|event| event["event"] == kind).collect()
}

/// Waits for the first error of a push: it must have this code, words for people, and the next try.
fn assert_error(push: &Process, code: &str, what: &str) {
    let error = eventually(&format!("an error of {what}"), HANG, || events(push, "connection_error").first().cloned());
    assert_eq!(error["error_code"], code, "{what}: {error}\n{}", push.log());
    assert!(error["message"].as_str().is_some_and(|message| message.len() > 10), "{what}: {error}");
}

/// An agent without a cloud, from a configuration file.
fn agent(dir: &Path, url: &str, quality: &str, stream: &str) -> Process {
    let file = dir.join(format!("agent-{}.toml", free_port()));
    let stream = format!("rtmp_server_url = '{url}'\nstream_key = 'x'\nquality = '{quality}'\nreconnect_interval_sec = 1\n{stream}");
    std::fs::write(&file, format!("device_id = 'cam-1'\nsource = 'test'\n[stream]\n{stream}\n")).unwrap();
    Process::start("agent", dir, Command::new(sightline()).args(["camera", "--config"]).arg(file))
}

/// Waits until an agent has logged a code as what went wrong with its stream.
fn assert_logged(agent: &Process, code: &str) {
    eventually(code, HANG, || agent.log().contains(&format!("stream code=\"{code}\"")).then_some(()));
}

// ---- network ----------------------------------------------------------------------------------------------------------

#[test]
fn a_name_that_does_not_resolve_and_an_address_that_does_not_answer() {
    let dir = TempDir::new().unwrap();
    let unknown = push(dir.path(), "rtmp://no-such-host.invalid/live/x", &[]);
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    // Nobody accepts: once its queue is full, further connections are not answered, as behind a router that is gone.
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        waiting.push(stream);
    }
    let silent = agent(dir.path(), &format!("rtmp://{address}/live"), "low", "connect_timeout_sec = 1");
    assert_error(&unknown, "DNS_FAILED", "a name that does not resolve");
    assert_logged(&silent, "RTMP_CONNECT_TIMEOUT");
}

/// Files of an authority, and of a certificate from it: for a name, from a year up to a year.
fn certificate(dir: &Path, label: &str, host: &str, (from, until): (i32, i32)) -> [PathBuf; 3] {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let [ca, pem, private] = ["ca", "pem", "key"].map(|ending| dir.join(format!("{label}.{ending}")));
    std::fs::write(&ca, authority.pem()).unwrap();
    std::fs::write(&pem, certificate.pem()).unwrap();
    std::fs::write(&private, key.serialize_pem()).unwrap();
    [ca, pem, private]
}

/// OpenSSL as a TLS server with a certificate; gives its port.
fn tls_server(dir: &Path, certificate: &Path, key: &Path) -> (Process, u16) {
    let port = free_port();
    let mut command = Command::new("openssl");
    command.args(["s_server", "-quiet", "-accept", &format!("127.0.0.1:{port}"), "-cert"]).arg(certificate).arg("-key").arg(key);
    let server = Process::start("s_server", dir, &mut command);
    eventually("the TLS server listens", HANG, || TcpStream::connect(("127.0.0.1", port)).ok());
    (server, port)
}

#[test]
fn certificates_that_are_not_trusted_and_a_clock_that_is_behind() {
    let dir = TempDir::new().unwrap();
    let [other_ca, ..] = certificate(dir.path(), "other", "localhost", (2020, 2090));
    let cases = [
        ("unknown-authority", "localhost", (2020, 2090), true, "TLS_FAILED"),
        ("wrong-host", "elsewhere.example", (2020, 2090), false, "TLS_FAILED"),
        ("expired", "localhost", (2020, 2021), false, "TLS_FAILED"),
        // For the device it is the same whether the certificate is too new or its clock too old.
        ("not-yet-valid", "localhost", (2090, 2091), false, "CLOCK_SKEW"),
    ];
    let running = cases.map(|(label, host, years, is_foreign, code)| {
        let [ca, pem, key] = certificate(dir.path(), label, host, years);
        let (server, port) = tls_server(dir.path(), &pem, &key);
        let ca = if is_foreign { &other_ca } else { &ca };
        (server, push(dir.path(), &format!("rtmps://localhost:{port}/live/x"), &["--ca", ca.to_str().unwrap()]), label, code)
    });
    for (_server, push, label, code) in &running {
        assert_error(push, code, label);
    }
}

/// A way to a server, with a small buffer, that stops reading at a signal.
fn stopping_way(to: SocketAddr) -> (SocketAddr, Arc<AtomicBool>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.set_recv_buffer_size(8 * 1024).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(8).unwrap();
    let listener = TcpListener::from(listener);
    let (address, stopped) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
    let stop = stopped.clone();
    run("way", move || {
        for near in listener.incoming() {
            let (Ok(near), Ok(far)) = (near, TcpStream::connect(to)) else { continue };
            let (mut back_from, mut back_to) = (far.try_clone().unwrap(), near.try_clone().unwrap());
            run("back", move || {
                let _ = std::io::copy(&mut back_from, &mut back_to);
            });
            let stop = stop.clone();
            run("forth", move || carry(near, far, &stop));
        }
    });
    (address, stopped)
}

fn run(name: &str, work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).unwrap();
}

/// Until either end is closed.
fn carry(mut near: TcpStream, mut far: TcpStream, stop: &AtomicBool) {
    let mut buffer = [0; 2048];
    while let Ok(count @ 1..) = near.read(&mut buffer) {
        if far.write_all(&buffer[..count]).is_err() {
            break;
        }
        while stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let _ = far.shutdown(Shutdown::Both);
}

#[test]
fn a_server_that_stops_reading_and_one_that_is_killed() {
    let dir = TempDir::new().unwrap();
    let (mut server, url) = nginx::start(dir.path());
    let to: SocketAddr = url.trim_start_matches("rtmp://").trim_end_matches("/live").parse().unwrap();
    let (way, stopped) = stopping_way(to);
    let stalled = agent(dir.path(), &format!("rtmp://{way}/live"), "low", "send_timeout_sec = 1");
    let killed = push(dir.path(), &format!("{url}/killed"), &[]);
    eventually("both stream", HANG, || {
        (!events(&killed, "stream_started").is_empty() && stalled.log().contains("streaming")).then_some(())
    });
    stopped.store(true, Ordering::Relaxed);
    assert_logged(&stalled, "SEND_TIMEOUT");
    server.kill();
    assert_error(&killed, "CONNECTION_LOST", "a server that is killed");
}

// ---- server -----------------------------------------------------------------------------------------------------------

/// An origin of its own, without a cloud, for this many connections; gives the addresses of RTMP, RTMPS and HTTP.
fn origin(dir: &Path, connections: u32) -> (Process, [String; 3], PathBuf) {
    let [ca, pem, key] = certificate(dir, "origin", "localhost", (2020, 2090));
    let [rtmp, rtmps, http] = [(); 3].map(|()| format!("127.0.0.1:{}", free_port()));
    let path = dir.display();
    let toml = format!(
        "server_id = 'origin-a'\ndata_dir = '{path}/origin'\n[rtmp]\nlisten = '{rtmp}'\n[rtmps]\nlisten = '{rtmps}'\n\
         cert = '{}'\nkey = '{}'\n[http]\nlisten = '{http}'\n\
         [auth]\nallow_unsigned_publish = true\n[limits]\nconnections = {connections}\n",
        pem.display(),
        key.display()
    );
    std::fs::write(dir.join("origin.toml"), toml).unwrap();
    let origin = Process::start("origin", dir, Command::new(sightline()).args(["origin", "--config"]).arg(dir.join("origin.toml")));
    eventually("the origin listens", HANG, || TcpStream::connect(&http).ok());
    (origin, [rtmp, rtmps, http], ca)
}

#[test]
fn what_a_server_refuses_and_what_is_no_rtmp_server() {
    let dir = TempDir::new().unwrap();
    let (_origin, [rtmp, _, http], _) = origin(dir.path(), 1000);
    let (_nginx, nginx) = nginx::start(dir.path());
    let nginx = nginx.trim_end_matches("/live");
    let cases = [
        (format!("rtmp://{http}/live/x"), "RTMP_HANDSHAKE_FAILED"),
        // Ours says why; nginx only closes.
        (format!("rtmp://{rtmp}/no-such-app/x"), "RTMP_CONNECT_REJECTED"),
        (format!("{nginx}/no-such-app/x"), "RTMP_CONNECT_REJECTED"),
        (format!("rtmp://{rtmp}/live/x?token=not-one"), "STREAM_KEY_INVALID"),
    ];
    let running = cases.map(|(url, code)| (push(dir.path(), &url, &[]), url, code));
    for (push, url, code) in &running {
        assert_error(push, code, url);
    }
}

#[test]
fn an_origin_without_room() {
    let dir = TempDir::new().unwrap();
    let (_origin, [rtmp, rtmps, _], ca) = origin(dir.path(), 1);
    let first = push(dir.path(), &format!("rtmp://{rtmp}/live/first"), &[]);
    eventually("the first has its place", HANG, || (!events(&first, "stream_started").is_empty()).then_some(()));
    let second = push(dir.path(), &format!("rtmp://{rtmp}/live/second"), &[]);
    let rtmps = rtmps.replace("127.0.0.1", "localhost");
    let third = push(dir.path(), &format!("rtmps://{rtmps}/live/third"), &["--ca", ca.to_str().unwrap()]);
    assert_error(&second, "SERVER_OVERLOADED", "a second one");
    assert_error(&third, "SERVER_OVERLOADED", "one by TLS");
    assert!(events(&first, "connection_error").is_empty(), "{}", first.log());
}

// ---- encoder and source -----------------------------------------------------------------------------------------------

/// A camera whose video nginx does not take.
const HEVC: &str = "( videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=10/1 ! x265enc tune=zerolatency \
                    ! rtph265pay name=pay0 pt=96 )";
/// A camera whose video is not read here.
const JPEG: &str = "( videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=10/1 ! jpegenc \
                    ! rtpjpegpay name=pay0 pt=26 )";

#[test]
fn pictures_that_can_t_be_read_or_encoded() {
    let dir = TempDir::new().unwrap();
    let (_nginx, url) = nginx::start(dir.path());
    let port = free_port();
    let _camera = camera::rtsp(dir.path(), port, HEVC, None);
    let source = format!("rtsp://127.0.0.1:{port}{}", camera::RTSP_PATH);
    let push = |name: &str, path: &str| {
        let mut command = Command::new(sightline());
        Process::start(name, dir.path(), command.args(["push", &source, &format!("{url}/{name}"), "--json"]).env("PATH", path))
    };
    let mut hevc = push("hevc", "/nonexistent");
    let made = push("made", &std::env::var("PATH").unwrap());
    // More than the encoder takes.
    let mut large = agent(dir.path(), &url, "custom", "width = 8192\nheight = 2048\nfps = 1\nbitrate_bps = 1000000");

    assert_eq!(hevc.wait(HANG).code(), Some(1));
    assert_error(&hevc, "FRAME_FORMAT_UNSUPPORTED", "a server that does not take HEVC");
    assert!(hevc.log().contains("`ffmpeg`, and there is none on the PATH: install ffmpeg"), "{}", hevc.log());
    assert_eq!(events(&hevc, "stream_started").len(), 1, "it is not tried again: {}", hevc.log());
    let recording = dir.path().join("made.flv");
    eventually("its pictures arrive as H.264", HANG, || {
        let path = recording.to_str().filter(|_| recording.metadata().is_ok_and(|file| file.len() > 20_000))?;
        (media::probe(path)["codec_name"] == "h264" && media::packets(path, None).len() >= 20).then_some(())
    });
    assert!(events(&made, "connection_error").is_empty(), "{}", made.log());
    assert_eq!(large.wait(HANG).code(), Some(1));
    assert_logged(&large, "ENCODER_OUT_OF_RESOURCES");
    assert!(large.log().contains("error: ENCODER_OUT_OF_RESOURCES: ") && large.log().contains("8192x2048"), "{}", large.log());
}

// ---- configuration ----------------------------------------------------------------------------------------------------

#[test]
fn settings_that_can_t_be_used_are_said_at_the_start() {
    let dir = TempDir::new().unwrap();
    let cases = [
        ("[mqtt]\nurl = 'mqtt://broker'\n", "MQTT_CONFIG_INVALID: mqtt.url: "),
        ("[mqtt]\nurl = 'mqtts://broker'\nca = '/nonexistent/ca.pem'\n", "MQTT_CONFIG_INVALID: mqtt.ca: /nonexistent/ca.pem"),
        (
            "[stream]\nrtmp_server_url = 'rtmp://h/live'\nquality = 'custom'\nwidth = 641\nheight = 480\nfps = 15\nbitrate_bps = 500000\n",
            "stream.quality: INVALID_QUALITY: size 641x480",
        ),
    ];
    for (settings, expected) in cases {
        let file = dir.path().join("camera.toml");
        std::fs::write(&file, format!("device_id = 'cam-1'\nsource = 'test'\n{settings}")).unwrap();
        let mut camera = Process::start("camera", dir.path(), Command::new(sightline()).args(["camera", "--config"]).arg(&file));
        assert_eq!(camera.wait(HANG).code(), Some(1), "{}", camera.log());
        assert!(camera.log().contains(expected), "{expected}: {}", camera.log());
    }
}

// ---- discovery --------------------------------------------------------------------------------------------------------

/// Asks where to stream over HTTP: the status and the code of the answer.
fn ask(stack: &Stack, device: &str, bearer: &str, change: Value) -> (u16, Value) {
    let mut request = json!({
        "request_id": format!("test-{}", free_port()), "device_id": device, "stream_type": "rtmp", "quality": "low",
        "preferred_region": "", "max_bitrate": 1_000_000, "supports_adaptive": false, "timestamp": 0,
    });
    request.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let (authorization, url) = (format!("Authorization: Bearer {bearer}"), format!("http://{}/stream/request", stack.http));
    let mut curl = Command::new("curl");
    curl.args(["-s", "--max-time", "5", "-w", "\n%{http_code}", "-H", &authorization, "-H", "Content-Type: application/json", "--data"]);
    let answer = String::from_utf8(output(curl.args([&request.to_string(), &url]))).unwrap();
    let (body, status) = answer.rsplit_once('\n').unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    (status.parse().unwrap(), body["error_code"].clone())
}

/// The last error that a device reported to the cloud.
fn last_error(stack: &Stack, device: &str) -> Option<Value> {
    let device = get_json(&format!("http://{}/api/v1/devices/{device}", stack.http))?;
    (device["last_status"]["event"] == "connection_error").then(|| device["last_status"]["error_code"].clone())
}

#[test]
fn what_the_cloud_refuses_over_http_and_mqtt() {
    let mut stack = Stack::start();
    for id in ["asks", "floods", "denied", "revoked", "waits", "jpeg"] {
        let _ = stack.add_device(id);
    }
    let device = |verb: &str, id: &str| {
        output(Command::new(sightline()).args(["device", verb, id, "--json", "--dir"]).arg(stack.file("cloud")));
    };
    let bearer = |id: &str| std::fs::read_to_string(stack.file(&format!("cloud/devices/{id}.token"))).unwrap().trim().to_owned();
    device("deny", "denied");
    device("revoke", "revoked");
    let denied = stack.start_camera("denied", "test", "quality = 'low'\nreconnect_interval_sec = 1");
    let revoked = stack.start_camera("revoked", "test", "quality = 'low'\nreconnect_interval_sec = 1");

    let port = free_port();
    let _behind = camera::rtsp(&stack.file(""), port, JPEG, None);
    let source = format!("rtsp://127.0.0.1:{port}{}", camera::RTSP_PATH);
    let _jpeg = stack.start_camera("jpeg", &source, "stream_type = 'rtmp'");

    let asks = bearer("asks");
    assert_eq!(ask(&stack, "asks", &asks, json!({})), (200, Value::Null));
    assert_eq!(ask(&stack, "asks", "wrong", json!({})), (401, json!("UNAUTHORIZED")));
    assert_eq!(ask(&stack, "denied", &asks, json!({})), (401, json!("UNAUTHORIZED")));
    assert_eq!(ask(&stack, "asks", &asks, json!({ "max_bitrate": 10 })), (409, json!("INVALID_QUALITY")));
    assert_eq!(ask(&stack, "asks", &asks, json!({ "quality": 7 })), (400, json!("BAD_REQUEST")));
    assert_eq!(ask(&stack, "denied", &bearer("denied"), json!({})), (403, json!("PERMISSION_DENIED")));
    let floods = bearer("floods");
    eventually("the cloud has enough of it", HANG, || {
        (ask(&stack, "floods", &floods, json!({})) == (429, json!("SERVER_OVERLOADED"))).then_some(())
    });
    eventually("the denied camera tells", HANG, || (last_error(&stack, "denied") == Some(json!("PERMISSION_DENIED"))).then_some(()));
    assert_logged(&denied, "PERMISSION_DENIED");
    assert_logged(&revoked, "UNAUTHORIZED");

    eventually("the camera of JPEG tells", HANG, || (last_error(&stack, "jpeg") == Some(json!("FRAME_FORMAT_UNSUPPORTED"))).then_some(()));

    device("allow", "denied");
    eventually("it may again", HANG, || denied.log().contains("state=\"streaming\"").then_some(()));

    stack.origin.kill();
    eventually("the origin counts as dead", HANG, || {
        (ask(&stack, "asks", &asks, json!({})) == (503, json!("NO_SERVER_AVAILABLE"))).then_some(())
    });
    let _waits = stack.start_camera("waits", "test", "quality = 'low'\nreconnect_interval_sec = 1");
    eventually("the camera tells", HANG, || (last_error(&stack, "waits") == Some(json!("NO_SERVER_AVAILABLE"))).then_some(()));
}

#[test]
fn a_cloud_that_can_t_be_reached_is_told_by_its_cause() {
    let dir = TempDir::new().unwrap();
    let [ca, pem, key] = certificate(dir.path(), "broker", "localhost", (2090, 2091));
    let (_broker, port) = tls_server(dir.path(), &pem, &key);
    // It takes connections, and says nothing.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let cases = [
        (format!("localhost:{port}"), "CLOCK_SKEW"),
        ("no-such-host.invalid".to_owned(), "DNS_FAILED"),
        (format!("localhost:{}", mute.local_addr().unwrap().port()), "DISCOVERY_TIMEOUT"),
    ];
    let running = cases.map(|(address, code)| {
        let file = dir.path().join(format!("{code}.toml"));
        let [ca, pem, key] = [&ca, &pem, &key].map(|path| path.display());
        let mqtt = format!("[mqtt]\nurl = 'mqtts://{address}'\nca = '{ca}'\ncert = '{pem}'\nkey = '{key}'\n");
        std::fs::write(&file, format!("device_id = 'cam-1'\nsource = 'test'\n{mqtt}")).unwrap();
        (Process::start(code, dir.path(), Command::new(sightline()).args(["camera", "--config"]).arg(file)), code)
    });
    for (agent, code) in &running {
        assert_logged(agent, code);
        let others = running.iter().map(|(_, other)| other).filter(|other| *other != code);
        for other in others {
            assert!(!agent.log().contains(&format!("stream code=\"{other}\"")), "{other} instead of {code}: {}", agent.log());
        }
    }
}
