//! Real Chromium, headless, driven by its own chromedriver over the WebDriver protocol.

use crate::process::{Process, eventually, free_port};
use serde_json::{Value, json};
use std::{path::Path, process::Command, time::Duration};
use tempfile::TempDir;

/// The key Tab, by its number in the WebDriver specification.
pub const TAB: &str = "\u{e004}";
/// The key Enter.
pub const ENTER: &str = "\u{e007}";

/// A browser with one page.
#[derive(Debug)]
pub struct Browser {
    // Dropped in this order: the session first, then the driver, then its directory.
    session: String,
    _driver: Process,
    _profile: TempDir,
}

/// What the page's picture says.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Reading {
    /// `currentTime` of the video.
    pub time: f64,
    /// Pictures that it has decoded.
    pub decoded: u64,
    /// How old the picture on the screen is by its stamp, in milliseconds; `None` where the stamp can't be read.
    pub age_ms: Option<f64>,
    /// The stamp's frame number.
    pub frame: Option<u64>,
}

/// Reads the stamp off the picture that the page shows (the layout is in the camera's `stamp` module).
const READ_STAMP: &str = r"
const video = document.querySelector('video');
if (!video) return null;
const decoded = video.getVideoPlaybackQuality().totalVideoFrames;
const time = video.currentTime, width = video.videoWidth, height = video.videoHeight;
if (!width) return {time, decoded};
const canvas = window.stampCanvas ??= document.createElement('canvas');
const side = Math.floor(width / 64), left = side * 8, top = height - side * 3;
canvas.width = 48 * side; canvas.height = 2 * side;
const context = canvas.getContext('2d', {willReadFrequently: true});
context.drawImage(video, left, top, 48 * side, 2 * side, 0, 0, 48 * side, 2 * side);
const now = Date.now();
const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
const bytes = new Uint8Array(12);
for (let bit = 0; bit < 96; bit++) {
  const x = Math.floor((bit % 48 + 0.5) * side), y = Math.floor((Math.floor(bit / 48) + 0.5) * side);
  if (pixels[(y * canvas.width + x) * 4 + 1] > 128) bytes[bit >> 3] |= 128 >> (bit & 7);
}
let crc = 0xffff;
for (let at = 0; at < 10; at++) {
  crc ^= bytes[at] << 8;
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1 ^ 0x1021) & 0xffff : crc << 1 & 0xffff;
}
if (crc !== (bytes[10] << 8 | bytes[11])) return {time, decoded};
let captured = 0;
for (let at = 4; at < 10; at++) captured = captured * 256 + bytes[at];
return {time, decoded, age: now - captured, frame: ((bytes[0] * 256 + bytes[1]) * 256 + bytes[2]) * 256 + bytes[3]};
";

impl Browser {
    /// Starts Chromium with a window of a size.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start(width: u32, height: u32) -> Self {
        Self::start_with(width, height, false, &[])
    }

    /// The same with a camera and a microphone that are made up, and that every page may use.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start_with_camera(width: u32, height: u32) -> Self {
        Self::start_with(width, height, false, &["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"])
    }

    /// The same, for pages whose certificates come from an authority that the person has accepted.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start_trusting(width: u32, height: u32) -> Self {
        Self::start_with(width, height, true, &[])
    }

    fn start_with(width: u32, height: u32, is_trusting: bool, more: &[&str]) -> Self {
        let profile = TempDir::new().expect("a temporary directory");
        let port = free_port();
        let driver = Process::start("chromedriver", profile.path(), Command::new("chromedriver").arg(format!("--port={port}")));
        let address = format!("http://127.0.0.1:{port}");
        eventually("chromedriver is ready", Duration::from_secs(20), || {
            request("GET", &format!("{address}/status"), None).filter(|status| status["ready"] == true)
        });
        let mut arguments = vec![
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-quic".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--autoplay-policy=no-user-gesture-required".to_owned(),
            format!("--window-size={width},{height}"),
            format!("--user-data-dir={}", profile.path().join("chromium").display()),
        ];
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        let wanted = json!({"capabilities": {"alwaysMatch": {"browserName": "chrome", "acceptInsecureCerts": is_trusting, "goog:chromeOptions": {"binary": "/usr/bin/chromium", "args": arguments}}}});
        let opened = request("POST", &format!("{address}/session"), Some(&wanted)).expect("chromedriver opens a session");
        let id = opened["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {opened}")).to_owned();
        Self { session: format!("{address}/session/{id}"), _driver: driver, _profile: profile }
    }

    fn command(&self, path: &str, body: &Value) -> Value {
        request("POST", &format!("{}/{path}", self.session), Some(body)).unwrap_or_else(|| panic!("chromedriver does not answer to {path}"))
    }

    /// Signs in to the console with the operator's token, once it asks for it.
    ///
    /// # Panics
    /// If it does not within 30 s.
    pub fn sign_in(&self, token: &str) {
        eventually("the console asks for the token", Duration::from_secs(30), || {
            self.run("return !!document.querySelector('.sign-in')").as_bool().filter(|is| *is)
        });
        let token = json!(token.trim());
        let _ = self
            .run(&format!("const field = document.querySelector('.sign-in input'); field.value = {token}; field.form.requestSubmit();"));
    }

    /// Opens a page.
    pub fn open(&self, url: &str) {
        self.command("url", &json!({"url": url}));
    }

    /// Runs a script's body in the page and gives what it returns.
    #[must_use]
    pub fn run(&self, script: &str) -> Value {
        self.command("execute/sync", &json!({"script": script, "args": []}))
    }

    /// Presses a key and lets it go: a character, or one of WebDriver's names for keys (`TAB`, `ENTER`).
    pub fn press(&self, key: &str) {
        let keys = json!([{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]);
        self.command("actions", &json!({"actions": [{"type": "key", "id": "keyboard", "actions": keys}]}));
    }

    /// Looks at the page's video.
    #[must_use]
    pub fn read(&self) -> Option<Reading> {
        let value = self.run(READ_STAMP);
        Some(Reading {
            time: value["time"].as_f64()?,
            decoded: value["decoded"].as_u64()?,
            age_ms: value["age"].as_f64(),
            frame: value["frame"].as_u64(),
        })
    }

    /// Writes a screenshot.
    ///
    /// # Panics
    /// If there is none.
    pub fn screenshot(&self, path: &Path) {
        let answer = request("GET", &format!("{}/screenshot", self.session), None).expect("a screenshot");
        let decoded = Command::new("base64").arg("-d").stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn();
        let mut decoder = decoded.expect("base64 runs");
        std::io::Write::write_all(&mut decoder.stdin.take().expect("a pipe"), answer.as_str().expect("base64").as_bytes())
            .expect("base64 reads");
        std::fs::write(path, decoder.wait_with_output().expect("base64 ends").stdout).expect("the screenshot can be written");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = request("DELETE", &self.session, None);
    }
}

/// One WebDriver request; gives the answer's `value`.
fn request(method: &str, url: &str, body: Option<&Value>) -> Option<Value> {
    let mut command = Command::new("curl");
    command.args(["-s", "--max-time", "30", "-X", method, "-H", "Content-Type: application/json"]);
    if let Some(body) = body {
        command.args(["--data-binary", &body.to_string()]);
    }
    let output = command.arg(url).output().ok()?;
    let answer: Value = serde_json::from_slice(&output.stdout).ok()?;
    assert!(answer["value"]["error"].is_null(), "{url}: {}", answer["value"]);
    Some(answer["value"].clone())
}
