//! A cloud on free ports, and clients for it.

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
pub(crate) struct Bench {
    pub(crate) home: tempfile::TempDir,
    pub(crate) cloud: Cloud,
    pub(crate) http: reqwest::Client,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    pub(crate) async fn start_in(home: tempfile::TempDir) -> Self {
        Self::start_with(home, |_| {}).await
    }

    /// With settings of its own.
    pub(crate) async fn start_with(home: tempfile::TempDir, set: impl FnOnce(&mut Config)) -> Self {
        Self::start_serving(home, set, axum::Router::new()).await
    }

    /// With routes of an origin in the same process.
    pub(crate) async fn start_serving(home: tempfile::TempDir, set: impl FnOnce(&mut Config), extra: axum::Router) -> Self {
        let mut config = Config::in_dir(home.path()).unwrap();
        config.http.listen = "127.0.0.1:0".parse().unwrap();
        config.mqtt.listen = "127.0.0.1:0".parse().unwrap();
        set(&mut config);
        let cloud = Cloud::start(config, extra).await.unwrap();
        Self { home, cloud, http: reqwest::Client::new() }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.cloud.http_addr())
    }

    pub(crate) async fn add(&self, id: &str) -> DeviceId {
        let id = DeviceId::new(id).unwrap();
        admin::add_device(self.dir(), &id).await.unwrap();
        id
    }

    pub(crate) fn token(&self, id: &DeviceId) -> String {
        std::fs::read_to_string(self.dir().join(format!("devices/{id}.token"))).unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.http.get(self.url(path)).send().await.unwrap().json().await.unwrap()
    }

    pub(crate) async fn ask(&self, method: reqwest::Method, path: &str, body: Value) -> (u16, Value) {
        let answer = self.http.request(method, self.url(path)).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// An origin reports.
    pub(crate) async fn report(&self, id: &str, boot_id: &str, streams: Value) -> Value {
        self.report_with(id, boot_id, streams, Value::Null).await
    }

    pub(crate) async fn report_with(&self, id: &str, boot_id: &str, streams: Value, revoked_after: Value) -> Value {
        self.report_of(id, boot_id, json!({ "streams": streams, "revoked_after": revoked_after })).await
    }

    /// With `more` of a report's fields.
    pub(crate) async fn report_of(&self, id: &str, boot_id: &str, more: Value) -> Value {
        let key = std::fs::read_to_string(self.cloud.cluster_key_path()).unwrap();
        let mut report = json!({
            "server_id": id, "name": "Origin", "region": "eu", "boot_id": boot_id, "rtmp_url": "rtmp://127.0.0.1:1935/live",
            "rtmps_url": "rtmps://127.0.0.1:1936/live", "http_url": "http://127.0.0.1:8080", "capacity_kbps": 1_000_000,
            "ingest_kbps": 0.0, "viewers": 0, "streams": [],
        });
        report.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let response =
            self.http.post(self.url(&format!("/api/v1/servers/{id}/report"))).bearer_auth(key.trim()).json(&report).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    }

    /// `POST /stream/request` with the device's bearer token.
    pub(crate) async fn request(&self, id: &DeviceId, body: &Value) -> (u16, Value) {
        let response = self.http.post(self.url("/stream/request")).bearer_auth(self.token(id)).json(body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    pub(crate) fn certificate(&self, name: &str) -> [PathBuf; 3] {
        [self.dir().join("ca.pem"), self.dir().join(format!("{name}.pem")), self.dir().join(format!("{name}.key"))]
    }

    /// A mosquitto client with a certificate of this installation.
    pub(crate) fn mosquitto(&self, tool: &str, certificate: &str, client_id: &str, more: &[&str]) -> Command {
        let [ca, pem, key] = self.certificate(certificate);
        // Into a pipe these tools write by the block, and a test would wait for ever.
        let mut command = Command::new("stdbuf");
        command.args(["-oL", tool]);
        let port = self.cloud.mqtts_addr().unwrap().port().to_string();
        command.args(["-h", "localhost", "-p", &port, "-i", client_id, "--cafile"]).arg(ca).arg("--cert").arg(pem).arg("--key").arg(key);
        command.args(more).kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) async fn audit_has(&self, action: &str) -> bool {
        admin::audit_entries(self.dir(), None, 1000).await.unwrap().iter().any(|entry| entry.action == action)
    }
}

pub(crate) fn request(id: &DeviceId, request_id: &str) -> Value {
    json!({
        "request_id": request_id, "device_id": id, "stream_type": "rtmp", "quality": "high", "preferred_region": "eu",
        "max_bitrate": 2_000_000, "supports_adaptive": true, "timestamp": 1_691_234_567,
    })
}

pub(crate) async fn run(mut command: Command) -> (bool, String, String) {
    let output = timeout(Duration::from_secs(15), command.output()).await.expect("the client ends").unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into(), String::from_utf8_lossy(&output.stderr).into())
}

/// Starts a subscriber and waits until its subscription was granted.
pub(crate) async fn subscriber(mut command: Command) -> (Child, tokio::io::Lines<BufReader<tokio::process::ChildStdout>>) {
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
pub(crate) async fn message(lines: &mut tokio::io::Lines<BufReader<tokio::process::ChildStdout>>) -> Option<Value> {
    loop {
        let line = timeout(Duration::from_secs(8), lines.next_line()).await.ok()?.ok()??;
        if let Ok(value @ Value::Object(_)) = serde_json::from_str(&line) {
            return Some(value);
        }
    }
}

pub(crate) async fn eventually(mut check: impl AsyncFnMut() -> bool) -> bool {
    for _ in 0..80 {
        if check().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}

/// The epoch in a token.
pub(crate) fn epoch_of(token: &str) -> u64 {
    use base64::Engine as _;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice::<Value>(&claims).unwrap()["e"].as_u64().unwrap()
}
