//! The cloud against real clients: mosquitto over TLS in both protocol versions, curl with certificates, plain HTTP.

#![allow(clippy::unwrap_used)] // the helpers of a test panic like the test itself

use serde_json::{Value, json};
use sightline_cloud::{Cloud, Config, admin};
use sightline_signal::DeviceId;
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// A cloud on free ports, in a directory of its own.
struct Bench {
    home: tempfile::TempDir,
    cloud: Cloud,
    http: reqwest::Client,
}

impl Bench {
    async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    async fn start_in(home: tempfile::TempDir) -> Self {
        let mut config = Config::in_dir(home.path()).unwrap();
        config.http.listen = "127.0.0.1:0".parse().unwrap();
        config.mqtt.listen = "127.0.0.1:0".parse().unwrap();
        let cloud = Cloud::start(config, axum::Router::new()).await.unwrap();
        Self { home, cloud, http: reqwest::Client::new() }
    }

    fn dir(&self) -> &Path {
        self.home.path()
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.cloud.http_addr())
    }

    async fn add(&self, id: &str) -> DeviceId {
        let id = DeviceId::new(id).unwrap();
        admin::add_device(self.dir(), &id).await.unwrap();
        id
    }

    fn token(&self, id: &DeviceId) -> String {
        std::fs::read_to_string(self.dir().join(format!("devices/{id}.token"))).unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        self.http.get(self.url(path)).send().await.unwrap().json().await.unwrap()
    }

    /// An origin says that it is there.
    async fn report(&self, id: &str, boot_id: &str, streams: Value) -> Value {
        self.report_with(id, boot_id, streams, Value::Null).await
    }

    async fn report_with(&self, id: &str, boot_id: &str, streams: Value, revoked_after: Value) -> Value {
        let key = std::fs::read_to_string(self.cloud.cluster_key_path()).unwrap();
        let report = json!({
            "server_id": id, "name": "Origin", "region": "eu", "boot_id": boot_id, "rtmp_url": "rtmp://127.0.0.1:1935/live",
            "rtmps_url": "rtmps://127.0.0.1:1936/live", "http_url": "http://127.0.0.1:8080", "capacity_kbps": 1_000_000,
            "ingest_kbps": 0.0, "viewers": 0, "streams": streams, "revoked_after": revoked_after,
        });
        let response =
            self.http.post(self.url(&format!("/api/v1/servers/{id}/report"))).bearer_auth(key.trim()).json(&report).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    }

    /// `POST /stream/request` with the device's bearer token.
    async fn request(&self, id: &DeviceId, body: &Value) -> (u16, Value) {
        let response = self.http.post(self.url("/stream/request")).bearer_auth(self.token(id)).json(body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    fn certificate(&self, name: &str) -> [PathBuf; 3] {
        [self.dir().join("ca.pem"), self.dir().join(format!("{name}.pem")), self.dir().join(format!("{name}.key"))]
    }

    /// A mosquitto client with a certificate of this installation.
    fn mosquitto(&self, tool: &str, certificate: &str, client_id: &str, more: &[&str]) -> Command {
        let [ca, pem, key] = self.certificate(certificate);
        // Into a pipe these tools write by the block, and a test would wait for ever.
        let mut command = Command::new("stdbuf");
        command.args(["-oL", tool]);
        let port = self.cloud.mqtts_addr().unwrap().port().to_string();
        command.args(["-h", "localhost", "-p", &port, "-i", client_id, "--cafile"]).arg(ca).arg("--cert").arg(pem).arg("--key").arg(key);
        command.args(more).kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    async fn audit_has(&self, action: &str) -> bool {
        admin::audit_entries(self.dir(), None, 1000).await.unwrap().iter().any(|entry| entry.action == action)
    }
}

fn request(id: &DeviceId, request_id: &str) -> Value {
    json!({
        "request_id": request_id, "device_id": id, "stream_type": "rtmp", "quality": "high", "preferred_region": "eu",
        "max_bitrate": 2_000_000, "supports_adaptive": true, "timestamp": 1_691_234_567,
    })
}

async fn run(mut command: Command) -> (bool, String, String) {
    let output = timeout(Duration::from_secs(15), command.output()).await.expect("the client ends").unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into(), String::from_utf8_lossy(&output.stderr).into())
}

/// Starts a subscriber and waits until its subscription was granted.
async fn subscriber(mut command: Command) -> (Child, tokio::io::Lines<BufReader<tokio::process::ChildStdout>>) {
    command.arg("-d");
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    loop {
        let line = timeout(Duration::from_secs(10), lines.next_line()).await.unwrap().unwrap().expect("it is let in");
        if line.contains("SUBACK") || line.starts_with("Subscribed") {
            return (child, lines);
        }
    }
}

/// The next line that a subscriber prints that is a JSON message.
async fn message(lines: &mut tokio::io::Lines<BufReader<tokio::process::ChildStdout>>) -> Option<Value> {
    loop {
        let line = timeout(Duration::from_secs(8), lines.next_line()).await.ok()?.ok()??;
        if let Ok(value @ Value::Object(_)) = serde_json::from_str(&line) {
            return Some(value);
        }
    }
}

async fn eventually(mut check: impl AsyncFnMut() -> bool) -> bool {
    for _ in 0..80 {
        if check().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}

#[tokio::test]
async fn a_request_is_answered_over_mqtt_3_and_5_and_http_with_the_same_json() {
    let bench = Bench::start().await;
    let cam = bench.add("ESP32P4_CAM_001").await;
    bench.report("o1", "boot", json!([])).await;
    let (up, down) = (format!("devices/{cam}/stream/request"), format!("devices/{cam}/stream/response"));
    let mut epochs = Vec::new();
    for version in ["311", "5"] {
        let body = request(&cam, &format!("v{version}")).to_string();
        let more = ["-V", version, "-q", "1", "-t", &up, "-e", &down, "-m", &body, "-W", "8"];
        let (_, out, err) = run(bench.mosquitto("mosquitto_rr", &format!("devices/{cam}"), cam.as_str(), &more)).await;
        let answer: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("MQTT {version}: {out} {err}"));
        assert_eq!(answer["success"], true, "{answer}");
        assert_eq!(answer["rtmp_url"], "rtmp://127.0.0.1:1935/live/");
        assert_eq!(answer["servers"][0]["rtmp_url"], answer["rtmp_url"]);
        let token = answer["token"].as_str().unwrap();
        assert!(token.len() < 249, "{} bytes", token.len());
        for field in ["stream_key", "server_name", "server_region", "max_bitrate", "recommended_fps", "supports_adaptive", "expires_at"]
            .into_iter()
            .chain(["servers", "refresh_at", "server_time", "stream_id", "request_id"])
        {
            assert!(!answer[field].is_null(), "{field} in {answer}");
        }
        assert_eq!(answer["stream_id"].as_str().unwrap(), sightline_signal::playback_id(answer["stream_key"].as_str().unwrap()).as_str());
        let (status, again) = bench.request(&cam, &request(&cam, &format!("v{version}"))).await;
        assert_eq!((status, &again), (200, &answer), "the same request_id has the identical answer");
        epochs.push(epoch_of(token));
    }
    assert!(epochs[1] > epochs[0]);
    let mut secure = request(&cam, "secure");
    secure["stream_type"] = "rtmps".into();
    assert_eq!(bench.request(&cam, &secure).await.1["rtmp_url"], "rtmps://127.0.0.1:1936/live/");
    assert!(matches!(admin::verify_audit(bench.dir()).await.unwrap(), admin::Verdict::Intact { rows: 5.., .. }));
}

fn epoch_of(token: &str) -> u64 {
    use base64::Engine as _;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice::<Value>(&claims).unwrap()["e"].as_u64().unwrap()
}

#[tokio::test]
async fn one_device_can_t_speak_for_listen_to_or_connect_as_another() {
    let bench = Bench::start().await;
    let (a, b) = (bench.add("cam-a").await, bench.add("cam-b").await);
    bench.report("o1", "boot", json!([])).await;
    let as_a = format!("devices/{a}");

    // Listening.
    for filter in [format!("devices/{b}/stream/response"), "devices/+/stream/response".into(), "#".into(), format!("devices/{b}/#")] {
        let more = ["-V", "5", "-t", filter.as_str(), "-C", "1", "-W", "3"];
        let (_, _, err) = run(bench.mosquitto("mosquitto_sub", &as_a, a.as_str(), &more)).await;
        assert!(err.contains("All subscription requests were denied"), "{filter}: {err}");
    }
    assert!(bench.audit_has("mqtt.subscribe.refuse").await);

    // Speaking: the operator hears everything, and only A's own word arrives.
    let (_operator, mut heard) = subscriber(bench.mosquitto("mosquitto_sub", "operator", "watcher", &["-V", "5", "-t", "#"])).await;
    for version in ["311", "5"] {
        let (foreign, own) = (format!("devices/{b}/stream/status"), format!("devices/{a}/stream/status"));
        for (topic, text) in [(&foreign, r#"{"from":"a as b"}"#), (&own, r#"{"from":"a"}"#)] {
            run(bench.mosquitto("mosquitto_pub", &as_a, a.as_str(), &["-V", version, "-q", "1", "-t", topic, "-m", text])).await;
        }
        assert_eq!(message(&mut heard).await.unwrap()["from"], "a");
    }
    assert!(bench.audit_has("mqtt.publish.refuse").await);

    // Connecting under B's id, or with a will on B's topic.
    for (id, more) in [("cam-b", vec![]), ("cam-a", vec!["--will-topic", "devices/cam-b/online", "--will-payload", "x"])] {
        let more = [vec!["-V", "5", "-q", "1", "-t", "devices/cam-b/online", "-m", "{}"], more].concat();
        let (ok, _, err) = run(bench.mosquitto("mosquitto_pub", &as_a, id, &more)).await;
        assert!(!ok, "{id}: {err}");
    }
    assert!(bench.audit_has("mqtt.connect.refuse").await);

    // A body that names another device, over both ways.
    let (status, answer) = bench.request(&a, &request(&b, "r1")).await;
    assert_eq!((status, &answer["error_code"]), (401, &json!("UNAUTHORIZED")));
    assert!(bench.audit_has("allocation.impersonate").await);
    // The operator may not take a device's session.
    let (ok, ..) = run(bench.mosquitto("mosquitto_pub", "operator", "cam-a", &["-t", "devices/cam-a/stream/command", "-m", "{}"])).await;
    assert!(!ok);
}

#[tokio::test]
async fn a_certificate_of_another_authority_and_none_at_all_are_refused() {
    let (bench, other) = (Bench::start().await, tempfile::tempdir().unwrap());
    let cam = bench.add("cam").await;
    admin::add_device(other.path(), &cam).await.unwrap();
    let port = bench.cloud.mqtts_addr().unwrap().port().to_string();
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "localhost", "-p", &port, "-i", "cam", "-t", "devices/cam/online", "-m", "{}", "--cafile"]);
    command.arg(bench.dir().join("ca.pem"));
    assert!(!run(command).await.0, "no certificate");
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "localhost", "-p", &port, "-i", "cam", "-q", "1", "-t", "devices/cam/online", "-m", "{}", "--cafile"]);
    command.arg(bench.dir().join("ca.pem")).arg("--cert").arg(other.path().join("devices/cam.pem"));
    command.arg("--key").arg(other.path().join("devices/cam.key"));
    assert!(!run(command).await.0, "another authority's certificate");
    // And a camera that knows another authority does not talk to this cloud.
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "localhost", "-p", &port, "-i", "cam", "-t", "devices/cam/online", "-m", "{}", "--cafile"]);
    command.arg(other.path().join("ca.pem")).arg("--cert").arg(bench.dir().join("devices/cam.pem"));
    command.arg("--key").arg(bench.dir().join("devices/cam.key"));
    assert!(!run(command).await.0, "another authority's server");
}

#[tokio::test]
async fn http_takes_certificate_or_bearer_and_answers_with_the_status_of_the_specification() {
    let bench = Bench::start().await;
    let cam = bench.add("cam").await;
    assert_eq!(
        bench.request(&cam, &request(&cam, "none")).await,
        (
            503,
            json!({
                "success": false, "request_id": "none", "error_code": "NO_SERVER_AVAILABLE", "error_message": "no server is registered", "retry_after": 5,
            })
        )
    );
    bench.report("o1", "boot", json!([])).await;
    let body = request(&cam, "r1");
    // The same question: by certificate over TLS on the same port, and by bearer token.
    let [ca, pem, key] = bench.certificate("devices/cam");
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--cacert"]).arg(&ca).arg("--cert").arg(pem).arg("--key").arg(key).args(["-d", &body.to_string()]);
    curl.arg(format!("https://localhost:{}/stream/request", bench.cloud.http_addr().port()));
    let (ok, out, err) = run(curl).await;
    assert!(ok, "{err}");
    let by_certificate: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(by_certificate["success"], true, "{by_certificate}");
    assert_eq!(bench.request(&cam, &body).await, (200, by_certificate));

    let post = |token: &str, body: String| bench.http.post(bench.url("/stream/request")).bearer_auth(token.to_owned()).body(body).send();
    assert_eq!(post("wrong", body.to_string()).await.unwrap().status(), 401);
    let malformed = post(&bench.token(&cam), r#"{"request_id":"m","nonsense":1}"#.into()).await.unwrap();
    assert_eq!(malformed.status(), 400);
    let malformed: Value = malformed.json().await.unwrap();
    assert_eq!(
        (&malformed["error_code"], &malformed["request_id"], &malformed["success"]),
        (&json!("BAD_REQUEST"), &json!("m"), &json!(false))
    );
    admin::permit_push(bench.dir(), &cam, false).await.unwrap();
    let (status, answer) = bench.request(&cam, &request(&cam, "r2")).await;
    assert_eq!((status, &answer["error_code"]), (403, &json!("PERMISSION_DENIED")));
    let mut last = (0, Value::Null);
    for number in 0..40 {
        last = bench.request(&cam, &request(&cam, &format!("flood{number}"))).await;
    }
    assert_eq!((last.0, &last.1["error_code"]), (429, &json!("SERVER_OVERLOADED")));
    assert!(last.1["retry_after"].as_u64().unwrap() >= 1);
}

#[tokio::test]
async fn a_revoked_device_is_cut_off_everywhere() {
    let bench = Bench::start().await;
    let cam = bench.add("cam").await;
    bench.report("o1", "boot", json!([])).await;
    let answer = bench.request(&cam, &request(&cam, "r1")).await.1;
    let epoch = epoch_of(answer["token"].as_str().unwrap());
    let down = format!("devices/{cam}/stream/command");
    let _device = subscriber(bench.mosquitto("mosquitto_sub", "devices/cam", "cam", &["-V", "5", "-t", &down])).await;
    assert!(eventually(async || bench.get("/api/v1/devices/cam").await["online"] == true).await);
    // From another process, as the command line does it.
    admin::revoke_device(bench.dir(), &cam).await.unwrap();
    assert!(eventually(async || bench.get("/api/v1/devices/cam").await["online"] == false).await, "cut within seconds");
    assert_eq!(bench.request(&cam, &request(&cam, "r1")).await.0, 401, "not even the kept answer");
    let revoked = bench.report("o1", "boot", json!([])).await["revoked"].clone();
    assert_eq!(revoked[0]["stream"], answer["stream_key"]);
    assert!(revoked[0]["epoch_min"].as_u64().unwrap() > epoch);
    // When it comes again it is refused.
    assert!(!run(bench.mosquitto("mosquitto_pub", "devices/cam", "cam", &["-q", "1", "-t", "devices/cam/online", "-m", "{}"])).await.0);
    assert!(bench.audit_has("mqtt.connect.refuse").await);
    assert!(bench.audit_has("device.revoke").await);
    // Enrolled anew it has another stream, and the old one stays revoked.
    admin::add_device(bench.dir(), &cam).await.unwrap();
    let anew = bench.request(&cam, &request(&cam, "r9")).await.1;
    assert_ne!(anew["stream_key"], answer["stream_key"]);
}

#[tokio::test]
async fn cameras_of_an_origin_that_restarted_are_called_back_at_once() {
    let bench = Bench::start().await;
    let cam = bench.add("cam").await;
    bench.report("o1", "first", json!([])).await;
    assert_eq!(bench.request(&cam, &request(&cam, "r1")).await.0, 200);
    let down = format!("devices/{cam}/stream/command");
    let (_device, mut lines) =
        subscriber(bench.mosquitto("mosquitto_sub", "devices/cam", "cam", &["-V", "311", "-q", "1", "-t", &down])).await;
    bench.report("o1", "first", json!([])).await;
    bench.report("o1", "second", json!([])).await;
    let command = message(&mut lines).await.unwrap();
    assert_eq!(command["cmd"], "rotate");
    assert!(!command["command_id"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn a_second_start_on_the_same_directory_keeps_devices_keys_and_the_order_of_epochs() {
    let bench = Bench::start().await;
    let cam = bench.add("cam").await;
    bench.report("o1", "boot", json!([])).await;
    let first = bench.request(&cam, &request(&cam, "r1")).await.1;
    let keys = bench.get("/.well-known/jwks.json").await;
    let pem = std::fs::read(bench.dir().join("server.pem")).unwrap();
    let Bench { home, cloud, .. } = bench;
    cloud.shutdown().await;
    let bench = Bench::start_in(home).await;
    assert_eq!(bench.get("/.well-known/jwks.json").await, keys);
    assert_eq!(std::fs::read(bench.dir().join("server.pem")).unwrap(), pem);
    assert_eq!(bench.get("/api/v1/devices").await["items"][0]["id"], "cam");
    bench.report("o1", "boot", json!([])).await;
    let second = bench.request(&cam, &request(&cam, "r2")).await.1;
    assert_eq!(first["stream_key"], second["stream_key"]);
    let epochs = [&first, &second].map(|answer| epoch_of(answer["token"].as_str().unwrap()));
    assert!(epochs[1] > epochs[0]);
    assert!(matches!(admin::verify_audit(bench.dir()).await.unwrap(), admin::Verdict::Intact { .. }));
}

#[tokio::test]
async fn the_api_joins_origin_and_device_and_answers_only_to_this_machine() {
    let bench = Bench::start().await;
    let cam = bench.add("cam").await;
    let streams = json!([{ "stream": "s", "device": "cam", "epoch": 1, "playback": "p1", "width": 1280, "height": 720, "fps": 20.04,
        "bitrate_kbps": 990.5, "viewers": 2, "since": 5 }]);
    bench.report("o1", "boot", streams).await;
    let state = json!({ "state": 3, "state_name": "streaming", "quality": "medium", "width": 1280, "height": 720, "fps": 20.0,
        "bitrate_kbps": 990.0, "latency_ms": 120, "latency_kind": "ack", "network_quality": 0.97, "timestamp": 1 });
    let topic = format!("devices/{cam}/stream/state");
    let publish = ["-V", "5", "-q", "1", "-r", "-t", topic.as_str(), "-m"].map(str::to_owned).to_vec();
    let text = state.to_string();
    let more: Vec<&str> = publish.iter().map(String::as_str).chain([text.as_str()]).collect();
    assert!(run(bench.mosquitto("mosquitto_pub", "devices/cam", "cam", &more)).await.0);
    let listed = bench.get("/api/v1/streams").await;
    let stream = &listed["items"][0];
    for (field, value) in [("device", json!("cam")), ("playback", json!("p1")), ("state", json!("streaming")), ("width", json!(1280))]
        .into_iter()
        .chain([("fps", json!(20.0)), ("bitrate_kbps", json!(990.5)), ("latency_ms", json!(120)), ("viewers", json!(2))])
        .chain([("server", json!("o1")), ("since", json!(5)), ("quality", json!("medium"))])
    {
        assert_eq!(stream[field], value, "{field} in {stream}");
    }
    assert_eq!(bench.get("/api/v1/servers").await["items"][0]["alive"], true);

    let get = |host: &'static str| bench.http.get(bench.url("/api/v1/devices")).header("host", host).send();
    assert_eq!(get("evil.example").await.unwrap().status(), 403);
    assert_eq!(get("localhost").await.unwrap().status(), 200);
    let foreign = bench.http.post(bench.url("/api/v1/devices/cam/rotate")).header("origin", "http://evil.example").send().await.unwrap();
    assert_eq!(foreign.status(), 403);
    // A redirect to the origin that has it, and the console's policy.
    let page = bench.http.get(bench.url("/")).send().await.unwrap();
    assert!(page.headers()["content-security-policy"].to_str().unwrap().contains("script-src 'self'"));
    assert_eq!(bench.http.get(bench.url("/live/unknown.flv")).send().await.unwrap().status(), 404);
    for path in ["/healthz", "/readyz", "/metrics", "/api/openapi.json"] {
        assert_eq!(bench.http.get(bench.url(path)).send().await.unwrap().status(), 200, "{path}");
    }
    assert_eq!(bench.http.get(bench.url("/api/v1/recordings")).send().await.unwrap().status(), 501);
}

#[tokio::test]
async fn a_command_reaches_the_device_and_an_absent_one_is_named() {
    let bench = Bench::start().await;
    let cam = bench.add("cam").await;
    let send = |body: Value| bench.http.post(bench.url("/api/v1/devices/cam/command")).json(&body).send();
    let offline = send(json!({ "cmd": "keyframe" })).await.unwrap();
    assert_eq!(offline.status(), 409);
    assert_eq!(offline.json::<Value>().await.unwrap()["error_code"], "DEVICE_OFFLINE");
    assert_eq!(send(json!({ "cmd": "explode" })).await.unwrap().status(), 422);
    let down = format!("devices/{cam}/stream/command");
    let (_device, mut lines) = subscriber(bench.mosquitto("mosquitto_sub", "devices/cam", "cam", &["-V", "5", "-t", &down])).await;
    let sent = send(json!({ "cmd": "set_quality", "quality": "low" })).await.unwrap();
    assert_eq!(sent.status(), 202, "mosquitto_sub does not answer");
    let sent: Value = sent.json().await.unwrap();
    let command = message(&mut lines).await.unwrap();
    assert_eq!((&command["cmd"], &command["quality"], &command["command_id"]), (&json!("set_quality"), &json!("low"), &sent["command_id"]));
}

#[tokio::test]
async fn a_network_address_asks_for_the_operator_s_token() {
    let home = tempfile::tempdir().unwrap();
    let mut config = Config::in_dir(home.path()).unwrap();
    config.http.listen = "0.0.0.0:0".parse().unwrap();
    config.mqtt.enabled = false;
    let cloud = Cloud::start(config, axum::Router::new()).await.unwrap();
    assert_eq!(cloud.mqtts_addr(), None);
    let url = format!("http://127.0.0.1:{}/api/v1/devices", cloud.http_addr().port());
    let http = reqwest::Client::new();
    assert_eq!(http.get(&url).send().await.unwrap().status(), 401);
    let token = std::fs::read_to_string(cloud.operator_token_path().unwrap()).unwrap();
    assert_eq!(http.get(&url).bearer_auth(token).send().await.unwrap().status(), 200);
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "--cacert"]).arg(home.path().join("ca.pem"));
    curl.arg("--cert").arg(home.path().join("operator.pem")).arg("--key").arg(home.path().join("operator.key"));
    curl.arg(format!("https://localhost:{}/api/v1/devices", cloud.http_addr().port()));
    assert_eq!(run(curl).await.1, "200");
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_will_tells_everyone_that_a_device_is_gone_and_events_arrive_as_they_happen() {
    let bench = Bench::start().await;
    let cam = bench.add("cam").await;
    let mut events = bench.http.get(bench.url("/api/v1/events/stream")).send().await.unwrap();
    let online = format!("devices/{cam}/online");
    let will = ["--will-topic", &online, "--will-payload", r#"{"online":false}"#, "--will-retain", "--will-qos", "1"];
    let more = [vec!["-V", "311", "-t", "devices/cam/stream/command"], will.to_vec()].concat();
    let (mut device, _lines) = subscriber(bench.mosquitto("mosquitto_sub", "devices/cam", "cam", &more)).await;
    let first = timeout(Duration::from_secs(5), events.chunk()).await.unwrap().unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("device_online"), "{first:?}");
    // Without a good-bye.
    device.kill().await.unwrap();
    assert!(eventually(async || bench.get("/api/v1/devices/cam").await["online"] == false).await);
    let more = ["-V", "5", "-t", &online, "-C", "1", "-W", "5"];
    let (ok, out, _) = run(bench.mosquitto("mosquitto_sub", "operator", "late", &more)).await;
    assert!(ok && out.contains("false"), "retained for those who come later: {out}");
}

#[tokio::test]
async fn secrets_are_readable_by_their_owner_alone_and_never_in_the_database_or_the_log() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::start().await;
    let cam = bench.add("cam").await;
    bench.report("o1", "boot", json!([])).await;
    let answer = bench.request(&cam, &request(&cam, "r1")).await.1;
    for name in ["ca.key", "server.key", "operator.key", "cluster.key", "sightline.sqlite", "devices/cam.key", "devices/cam.token"] {
        let mode = std::fs::metadata(bench.dir().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let secrets = [bench.token(&cam), answer["token"].as_str().unwrap().to_owned()];
    let logged = serde_json::to_string(&admin::audit_entries(bench.dir(), None, 1000).await.unwrap()).unwrap();
    let told = bench.get("/api/v1/events").await.to_string() + &bench.get("/api/v1/devices").await.to_string();
    let metrics = bench.http.get(bench.url("/metrics")).send().await.unwrap().text().await.unwrap();
    for secret in &secrets {
        assert!(![&logged, &told, &metrics].iter().any(|text| text.contains(secret.as_str())));
    }
    let Bench { home, cloud, .. } = bench;
    cloud.shutdown().await;
    let database = std::fs::read(home.path().join("sightline.sqlite")).unwrap();
    for secret in &secrets {
        assert!(!database.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
}

#[tokio::test]
async fn settings_from_afar_reach_a_device_that_comes_later_and_its_answer_is_shown() {
    let bench = Bench::start().await;
    let cam = bench.add("cam-1").await;
    let path = format!("/api/v1/devices/{cam}/config");
    let put = async |settings: Value| {
        let response = bench.http.put(bench.url(&path)).json(&json!({ "settings": settings })).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let nothing = bench.get(&path).await;
    assert_eq!((&nothing["desired"], &nothing["reported"], &nothing["in_sync"]), (&Value::Null, &Value::Null, &true.into()));
    // A wrong shape is refused by name, and changes nothing.
    for (settings, key) in
        [(json!({"mqtt": {}}), "mqtt"), (json!({"stream": 3}), "stream"), (json!({"recording": {"dir": "/"}}), "recording.dir")]
    {
        let (status, answer) = put(settings).await;
        assert!(status == 400 && answer["error_message"].as_str().unwrap().starts_with(key), "{answer}");
    }
    assert_eq!(bench.get(&path).await, nothing);
    assert_eq!(
        bench.http.put(bench.url("/api/v1/devices/nobody/config")).json(&json!({"settings": {}})).send().await.unwrap().status(),
        404
    );

    let (status, view) = put(json!({"stream": {"quality": "medium"}})).await;
    assert_eq!((status, &view["desired"]["version"], &view["in_sync"]), (200, &1.into(), &false.into()));
    assert_eq!(put(json!({"stream": {"quality": "low"}})).await.1["desired"]["version"], 2);

    // The device was not there; it hears the newest when it comes, as it does with a broker that has started again.
    let (desired, reported) = (format!("devices/{cam}/config/desired"), format!("devices/{cam}/config/reported"));
    let as_cam = format!("devices/{cam}");
    let (device, mut lines) = subscriber(bench.mosquitto("mosquitto_sub", &as_cam, cam.as_str(), &["-q", "1", "-t", &desired])).await;
    let heard = message(&mut lines).await.unwrap();
    assert_eq!(heard, json!({"version": 2, "settings": {"stream": {"quality": "low"}}}));
    drop(device);

    let answer =
        json!({"version": 2, "applied": true, "errors": [], "settings": {"stream": {"quality": "low"}}, "timestamp": 1, "software": "x 1"});
    let more = ["-q", "1", "-r", "-t", &reported, "-m", &answer.to_string()];
    assert!(run(bench.mosquitto("mosquitto_pub", &as_cam, cam.as_str(), &more)).await.0);
    assert!(eventually(async || bench.get(&path).await["in_sync"] == true).await);
    assert_eq!(bench.get(&path).await["reported"], answer);
    assert!(bench.audit_has("device.config").await);

    // The operator's own way, over MQTT: written down too, and the next version is above it.
    let more = ["-q", "1", "-r", "-t", &desired, "-m", r#"{"version":7,"settings":{"motion":{"hold_sec":20}}}"#];
    assert!(run(bench.mosquitto("mosquitto_pub", "operator", "operator-1", &more)).await.0);
    assert!(eventually(async || bench.get(&path).await["desired"]["version"] == 7).await);
    assert_eq!(bench.get(&path).await["in_sync"], false);

    let Bench { home, cloud, .. } = bench;
    cloud.shutdown().await;
    let bench = Bench::start_in(home).await;
    let (_device, mut lines) = subscriber(bench.mosquitto("mosquitto_sub", &as_cam, cam.as_str(), &["-q", "1", "-t", &desired])).await;
    assert_eq!(message(&mut lines).await.unwrap()["version"], 7);
    assert_eq!(bench.get(&path).await["reported"], answer, "what it said is known without it");
    let response = bench.http.put(bench.url(&path)).json(&json!({"settings": {}})).send().await.unwrap();
    assert_eq!(response.json::<Value>().await.unwrap()["desired"]["version"], 8);
}

#[tokio::test]
async fn settings_that_another_process_writes_down_reach_a_device_that_is_there() {
    let bench = Bench::start().await;
    let cam = bench.add("cam-1").await;
    let desired = format!("devices/{cam}/config/desired");
    let more = ["-q", "1", "-t", &desired];
    let (_device, mut lines) = subscriber(bench.mosquitto("mosquitto_sub", &format!("devices/{cam}"), cam.as_str(), &more)).await;
    let tables = |value: Value| Some(value.as_object().unwrap().clone());
    let refused = admin::set_device_settings(bench.dir(), &cam, tables(json!({"stream": {"stream_key": "x"}}))).await.unwrap_err();
    assert!(refused.to_string().contains("stream.stream_key"), "{refused}");
    for quality in ["low", "medium"] {
        let settings = json!({"stream": {"quality": quality}});
        let view = admin::set_device_settings(bench.dir(), &cam, tables(settings.clone())).await.unwrap();
        let heard = message(&mut lines).await.unwrap();
        assert_eq!((&heard["settings"], heard["version"].as_u64()), (&settings, view.desired.map(|desired| desired.version)));
    }
    let view = admin::set_device_settings(bench.dir(), &cam, None).await.unwrap();
    assert!(view.desired.is_none() && view.in_sync);
    // Nothing is left for who comes later.
    let path = format!("/api/v1/devices/{cam}/config");
    assert_eq!(bench.get(&path).await["desired"], Value::Null);
    let more = ["-q", "1", "-t", desired.as_str(), "-W", "2"];
    assert!(
        eventually(async || {
            let (_, out, _) = run(bench.mosquitto("mosquitto_sub", &format!("devices/{cam}"), cam.as_str(), &more)).await;
            out.is_empty()
        })
        .await
    );
    let nobody = DeviceId::new("nobody").unwrap();
    assert!(admin::set_device_settings(bench.dir(), &nobody, None).await.unwrap_err().to_string().contains("nobody"));
}

#[tokio::test]
async fn a_device_reads_its_own_settings_and_writes_its_own_answer_only() {
    let bench = Bench::start().await;
    let (a, b) = (bench.add("cam-a").await, bench.add("cam-b").await);
    let put = bench.http.put(bench.url("/api/v1/devices/cam-b/config")).json(&json!({"settings": {"stream": {"quality": "low"}}}));
    assert_eq!(put.send().await.unwrap().status(), 200);
    let as_a = format!("devices/{a}");
    for filter in [format!("devices/{b}/config/desired"), format!("devices/{b}/config/reported"), format!("devices/{b}/config/#")] {
        let more = ["-V", "5", "-t", filter.as_str(), "-C", "1", "-W", "3"];
        let (_, out, err) = run(bench.mosquitto("mosquitto_sub", &as_a, a.as_str(), &more)).await;
        assert!(out.is_empty() && err.contains("All subscription requests were denied"), "{filter}: {out} {err}");
    }
    // Neither what it shall be set to, nor another's answer.
    let answer = r#"{"version":9,"applied":true,"settings":{},"timestamp":1}"#;
    for topic in [format!("devices/{a}/config/desired"), format!("devices/{b}/config/desired"), format!("devices/{b}/config/reported")] {
        let _ = run(bench.mosquitto("mosquitto_pub", &as_a, a.as_str(), &["-V", "5", "-q", "1", "-r", "-t", &topic, "-m", answer])).await;
    }
    assert!(bench.audit_has("mqtt.publish.refuse").await);
    let of_b = bench.get("/api/v1/devices/cam-b/config").await;
    assert_eq!((&of_b["desired"]["version"], &of_b["reported"]), (&1.into(), &Value::Null));
    assert_eq!(bench.get("/api/v1/devices/cam-a/config").await["desired"], Value::Null);
}

#[tokio::test]
async fn an_id_of_the_system_is_refused_as_reserved() {
    let bench = Bench::start().await;
    bench.add("cam").await;
    for (id, code) in [("operator", "DEVICE_RESERVED"), ("cam", "DEVICE_EXISTS")] {
        let response = bench.http.post(bench.url("/api/v1/devices")).json(&json!({ "id": id })).send().await.unwrap();
        assert_eq!(response.status(), 409);
        assert_eq!(response.json::<Value>().await.unwrap()["error_code"], code);
    }
    let reserved = admin::add_device(bench.dir(), &DeviceId::new("operator").unwrap()).await.unwrap_err();
    assert!(reserved.to_string().contains("is reserved"), "{reserved}");
}

#[tokio::test]
async fn an_origin_that_counts_gets_each_revocation_until_it_says_that_it_has_it() {
    let bench = Bench::start().await;
    let revoked = async |after: Value| {
        let answer = bench.report_with("o1", "boot", json!([]), after).await;
        (answer["revoked"].as_array().unwrap().len(), answer["revoked_up_to"].clone())
    };
    for id in ["a", "b"] {
        let id = bench.add(id).await;
        admin::revoke_device(bench.dir(), &id).await.unwrap();
    }
    let (count, up_to) = revoked(json!(0)).await;
    assert_eq!(count, 2);
    // An answer that got lost is given again.
    assert_eq!(revoked(json!(0)).await, (2, up_to.clone()));
    assert_eq!(revoked(up_to.clone()).await, (0, up_to.clone()));
    let c = bench.add("c").await;
    admin::revoke_device(bench.dir(), &c).await.unwrap();
    assert_eq!(revoked(up_to).await.0, 1);
    // An origin of an earlier version, and one that has started again, get all.
    assert_eq!(revoked(Value::Null).await, (3, Value::Null));
    assert_eq!(revoked(json!(0)).await.0, 3);
}

#[tokio::test]
async fn a_question_that_comes_again_after_a_restart_has_the_identical_answer() {
    let bench = Bench::start().await;
    let cam = bench.add("cam").await;
    bench.report("o1", "boot", json!([])).await;
    let (first, other) = (bench.request(&cam, &request(&cam, "r1")).await, bench.request(&cam, &request(&cam, "r2")).await);
    assert_ne!(first.1["token"], other.1["token"]);
    let Bench { home, cloud, .. } = bench;
    cloud.shutdown().await;
    let bench = Bench::start_in(home).await;
    assert_eq!(bench.request(&cam, &request(&cam, "r1")).await, first, "also without an origin");
    // Enrolled anew it has another stream, and the answers of the one before are gone.
    admin::revoke_device(bench.dir(), &cam).await.unwrap();
    admin::add_device(bench.dir(), &cam).await.unwrap();
    bench.report("o1", "boot", json!([])).await;
    assert_ne!(bench.request(&cam, &request(&cam, "r1")).await.1["stream_key"], first.1["stream_key"]);
}

#[tokio::test]
async fn events_count_on_after_a_restart() {
    let bench = Bench::start().await;
    bench.report("o1", "boot", json!([])).await;
    let seq = async |bench: &Bench| bench.get("/api/v1/events?limit=1").await["items"][0]["seq"].as_u64().unwrap_or(0);
    assert!(eventually(async || seq(&bench).await > 0).await, "server_up");
    let before = seq(&bench).await;
    let Bench { home, cloud, .. } = bench;
    cloud.shutdown().await;
    let bench = Bench::start_in(home).await;
    assert_eq!(seq(&bench).await, before);
    bench.report("o1", "boot", json!([])).await;
    assert!(eventually(async || seq(&bench).await > before).await);
}
