//! Our own side: the demo in one process, or cloud, origin and camera in one each.

use crate::process::{Process, eventually, free_port, output, sightline};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// What `GET /api/v1/streams` says.
#[derive(Clone, Debug)]
pub struct Streams(pub Vec<Value>);

/// Asks a JSON API with curl, as anyone would.
#[must_use]
pub fn get_json(url: &str) -> Option<Value> {
    let output = Command::new("curl").args(["-sf", "--max-time", "5", url]).output().ok()?;
    output.status.success().then(|| serde_json::from_slice(&output.stdout).ok()).flatten()
}

/// Asks with curl's arguments; gives the status, and the body where it is JSON.
///
/// # Panics
/// If nothing answers within twelve seconds.
#[must_use]
pub fn ask(url: &str, args: &[&str]) -> (u16, Value) {
    let answer = output(Command::new("curl").args(["-s", "--max-time", "12", "-w", "\n%{http_code}"]).args(args).arg(url));
    let answer = String::from_utf8_lossy(&answer);
    let (body, status) = answer.rsplit_once('\n').expect("curl writes the status last");
    (status.parse().expect("a status"), serde_json::from_str(body).unwrap_or(Value::Null))
}

/// The live streams of a cloud at `http`.
#[must_use]
pub fn streams(http: &str) -> Streams {
    let items = get_json(&format!("http://{http}/api/v1/streams")).and_then(|body| body["items"].as_array().cloned());
    Streams(items.unwrap_or_default())
}

/// A running `sightline demo`.
#[derive(Debug)]
pub struct Demo {
    /// The process.
    pub process: Process,
    /// When it was started.
    pub started_at: Instant,
    /// `--dir`.
    pub dir: TempDir,
    /// `host:port` of HTTP.
    pub http: String,
    /// `host:port` of MQTT over TLS.
    pub mqtts: String,
    /// `host:port` of RTMP.
    pub rtmp: String,
}

impl Demo {
    /// Starts it on free ports.
    ///
    /// # Panics
    /// If it does not say its addresses within 20 s.
    #[must_use]
    pub fn start(args: &[&str]) -> Self {
        Self::start_in(TempDir::new().expect("a temporary directory"), args)
    }

    /// Starts it on the directory of an earlier one.
    ///
    /// # Panics
    /// If it does not say its addresses within 20 s.
    #[must_use]
    pub fn start_in(dir: TempDir, args: &[&str]) -> Self {
        let [http, mqtts, rtmp, rtmps] = [(); 4].map(|()| format!("127.0.0.1:{}", free_port()));
        let started_at = Instant::now();
        let process = Process::start(
            "demo",
            dir.path(),
            Command::new(sightline())
                .args(["-v", "demo", "--json", "--http", &http, "--mqtt", &mqtts, "--rtmp", &rtmp, "--rtmps", &rtmps, "--dir"])
                .arg(dir.path().join("demo"))
                .args(args),
        );
        eventually("the demo says its addresses", Duration::from_secs(20), || process.log().contains("\"console\"").then_some(()));
        Self { process, started_at, dir, http, mqtts, rtmp }
    }

    /// `--dir` and a file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("demo").join(name)
    }

    /// The first camera's playback id, once it is live.
    ///
    /// # Panics
    /// If it is not live within 20 s.
    #[must_use]
    pub fn playback(&self) -> String {
        eventually("a stream is live", Duration::from_secs(20), || {
            streams(&self.http).0.first().and_then(|stream| stream["playback"].as_str().map(str::to_owned))
        })
    }
}

/// A cloud, an origin and a camera, each in its own process, from configuration files.
#[derive(Debug)]
pub struct Stack {
    /// The cloud.
    pub cloud: Process,
    /// The origin.
    pub origin: Process,
    /// `host:port` of the cloud's HTTP.
    pub http: String,
    /// `host:port` of the broker.
    pub mqtts: String,
    /// `host:port` of RTMP.
    pub rtmp: String,
    /// `host:port` of the origin's own HTTP.
    pub origin_http: String,
    /// The last to be dropped: the logs of the programs are in it, and a test that fails shows them.
    dir: TempDir,
}

impl Stack {
    /// Starts a cloud and an origin, and waits until they know each other.
    ///
    /// # Panics
    /// If they do not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with("", "")
    }

    /// The same; `cloud` goes behind the cloud's settings, `http` into the origin's `[http]`.
    ///
    /// # Panics
    /// If they do not start.
    #[must_use]
    pub fn start_with(cloud: &str, http: &str) -> Self {
        let (more_cloud, more_http) = (cloud, http);
        let dir = TempDir::new().expect("a temporary directory");
        let [http, mqtts, rtmp, rtmps, origin_http] = [(); 5].map(|()| format!("127.0.0.1:{}", free_port()));
        let path = dir.path().display();
        let cloud_toml = format!("data_dir = '{path}/cloud'\n[http]\nlisten = '{http}'\n[mqtt]\nlisten = '{mqtts}'\n{more_cloud}\n");
        std::fs::write(dir.path().join("cloud.toml"), cloud_toml).expect("the directory can be written");
        let cloud =
            Process::start("cloud", dir.path(), Command::new(sightline()).args(["cloud", "--config"]).arg(dir.path().join("cloud.toml")));
        eventually("the cloud is up", Duration::from_secs(20), || get_json(&format!("http://{http}/.well-known/jwks.json")));
        let origin_toml = format!(
            "server_id = 'origin-a'\ndata_dir = '{path}/origin'\n[rtmp]\nlisten = '{rtmp}'\n[rtmps]\nlisten = '{rtmps}'\n\
             cert = '{path}/cloud/server.pem'\nkey = '{path}/cloud/server.key'\n[http]\nlisten = '{origin_http}'\n{more_http}\n\
             [cloud]\nurl = 'http://{http}'\ncluster_key_file = '{path}/cloud/cluster.key'\n"
        );
        std::fs::write(dir.path().join("origin.toml"), origin_toml).expect("the directory can be written");
        let origin = Self::start_origin(dir.path());
        let stack = Self { dir, cloud, origin, http, mqtts, rtmp, origin_http };
        stack.wait_for_origin();
        stack
    }

    fn start_origin(dir: &Path) -> Process {
        Process::start("origin", dir, Command::new(sightline()).args(["origin", "--config"]).arg(dir.join("origin.toml")))
    }

    /// Starts the origin again, after it was killed.
    pub fn restart_origin(&mut self) {
        self.origin = Self::start_origin(self.dir.path());
    }

    fn wait_for_origin(&self) {
        eventually("the origin is known", Duration::from_secs(20), || {
            let servers = get_json(&format!("http://{}/api/v1/servers", self.http))?;
            servers["items"].as_array()?.iter().any(|server| server["alive"] == true).then_some(())
        });
    }

    /// The test's directory and a file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What the origin has recorded of a device, oldest first: the files with this ending.
    #[must_use]
    pub fn recordings(&self, device: &str, ending: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.file("origin/recordings").join(device)).into_iter().flatten().flatten();
        let mut found: Vec<_> =
            entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|found| found == ending)).collect();
        found.sort();
        found
    }

    /// Lets a device in with the command line, and gives its files as `device add --json` prints them.
    ///
    /// # Panics
    /// If it is refused.
    #[must_use]
    pub fn add_device(&self, id: &str) -> Value {
        let printed = output(Command::new(sightline()).args(["device", "add", id, "--json", "--dir"]).arg(self.file("cloud")));
        serde_json::from_slice(&printed).expect("JSON")
    }

    /// Starts a camera with a device's files; `stream` is what goes into `[stream]`, and may go on with other tables. Always on, unless it names
    /// another trigger.
    ///
    /// # Panics
    /// If it can't be started.
    #[must_use]
    pub fn start_camera(&self, id: &str, source: &str, stream: &str) -> Process {
        let path = self.dir.path().display();
        let trigger = if stream.contains("trigger =") { "" } else { "trigger = 'always_on'\n" };
        let toml = format!(
            "device_id = '{id}'\nsource = '{source}'\n[mqtt]\nurl = 'mqtts://{}'\nca = '{path}/cloud/ca.pem'\n\
             cert = '{path}/cloud/devices/{id}.pem'\nkey = '{path}/cloud/devices/{id}.key'\n[stream]\n{trigger}{stream}\n",
            self.mqtts
        );
        let file = self.file(&format!("{id}.toml"));
        std::fs::write(&file, toml).expect("the directory can be written");
        Process::start(id, self.dir.path(), Command::new(sightline()).args(["camera", "--config"]).arg(file))
    }

    /// Where to publish, for a device: asks `POST /stream/request` with its bearer token. `server/name?token=…` is the answer.
    ///
    /// # Panics
    /// If it is refused.
    #[must_use]
    pub fn publish_url(&self, id: &str) -> String {
        let token = std::fs::read_to_string(self.file(&format!("cloud/devices/{id}.token"))).expect("the device was added");
        publish_url(&self.http, id, token.trim())
    }
}

/// Asks a cloud where to publish over plain RTMP.
///
/// # Panics
/// If it is refused.
#[must_use]
pub fn publish_url(http: &str, id: &str, bearer: &str) -> String {
    let request = serde_json::json!({
        "request_id": format!("test-{}", free_port()), "device_id": id, "stream_type": "rtmp", "quality": "low",
        "preferred_region": "", "max_bitrate": 1_000_000, "supports_adaptive": false, "timestamp": 0,
    });
    let answer =
        output(Command::new("curl").args(["-s", "--max-time", "5", "-H", &format!("Authorization: Bearer {bearer}"), "-H"]).args([
            "Content-Type: application/json",
            "--data",
            &request.to_string(),
            &format!("http://{http}/stream/request"),
        ]));
    let answer: Value = serde_json::from_slice(&answer).expect("JSON");
    assert_eq!(answer["success"], true, "{answer}");
    let text = |key: &str| answer[key].as_str().expect("a string").to_owned();
    format!("{}/{}?token={}", text("rtmp_url").trim_end_matches('/'), text("stream_key"), text("token"))
}
