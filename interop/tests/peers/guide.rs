//! The guide's pages, followed to the letter.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::{
    browser::Browser,
    process::{Process, eventually, free_port, output, sightline},
};
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(30);

/// The TOML that a page shows for a file, and its ports, which the page leaves to their defaults.
fn file_of(page: &str, name: &str) -> String {
    let (_, rest) = page.split_once(&format!("`{name}`")).unwrap();
    let (_, rest) = rest.split_once("```toml\n").unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// Its settings without remarks, and without what only the guide explains.
fn settings_of(page: &str, name: &str) -> Vec<String> {
    let lines = file_of(page, name);
    let lines = lines.lines().map(|line| line.split('#').next().unwrap().trim().to_owned());
    lines.filter(|line| !line.is_empty() && !line.starts_with("state_dir")).collect()
}

/// The page's three machines are this one: its names become localhost, its default ports free ones.
struct Machines {
    dir: TempDir,
    http: u16,
    mqtts: u16,
    origin_http: u16,
    rtmps: u16,
}

impl Machines {
    fn new() -> Self {
        let [http, mqtts, origin_http, rtmps] = [(); 4].map(|()| free_port());
        let machines = Self { dir: TempDir::new().unwrap(), http, mqtts, origin_http, rtmps };
        for name in ["cloud", "origin", "camera"] {
            std::fs::create_dir(machines.dir.path().join(name)).unwrap();
        }
        machines
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, machine: &str, text: &str, more: &str) {
        let text = text
            .replace("cloud.example:8080", &format!("localhost:{}", self.http))
            .replace("cloud.example:8883", &format!("localhost:{}", self.mqtts))
            .replace("origin.example:8080", &format!("localhost:{}", self.origin_http))
            .replace("origin.example:1936", &format!("localhost:{}", self.rtmps))
            .replace("rtmp://origin.example", "rtmp://localhost");
        std::fs::write(self.dir.path().join(machine).join(format!("{machine}.toml")), text + more).unwrap();
    }

    fn copy(&self, from: &str, names: &[&str], to: &str) {
        for name in names {
            std::fs::copy(self.dir.path().join(from).join(name), self.dir.path().join(to).join(name)).unwrap();
        }
    }

    /// A command of the page. It is run from elsewhere, as a service would be.
    fn command(&self, machine: &str, words: &str) -> Command {
        let mut command = Command::new(sightline());
        command.args(words.split(' ')).arg("--config").arg(self.dir.path().join(machine).join(format!("{machine}.toml")));
        command.current_dir("/");
        command
    }

    fn check(&self, machine: &str) {
        let mut command = Command::new(sightline());
        command.args(["config", "check"]).arg(self.dir.path().join(machine).join(format!("{machine}.toml"))).current_dir("/");
        let said = String::from_utf8(output(&mut command)).unwrap();
        assert!(said.contains(&format!("the configuration is good, for the role {machine}")), "{said}");
    }

    fn start(&self, machine: &str) -> Process {
        self.check(machine);
        Process::start(machine, self.dir.path(), &mut self.command(machine, machine))
    }
}

/// flowplayer-hlsjs#67, hls.js#7303: a page by HTTPS and a server by HTTP, as this very guide had them, show a black picture.
#[test]
fn the_guide_to_the_first_camera_ends_with_a_moving_picture() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = std::fs::read_to_string(root.join("docs/guide/first-camera.md")).unwrap();
    for page in ["README.md", "README.zh-CN.md"] {
        let other = std::fs::read_to_string(root.join(page)).unwrap();
        for name in ["cloud.toml", "origin.toml", "camera.toml"] {
            assert_eq!(settings_of(&other, name), settings_of(&text, name), "{page}: {name} is that of the guide");
        }
    }
    let machines = Machines::new();
    let (http, mqtts, origin_http, rtmps) = (machines.http, machines.mqtts, machines.origin_http, machines.rtmps);
    machines.write(
        "cloud",
        &file_of(&text, "cloud.toml"),
        &format!("[http]\nlisten = \"0.0.0.0:{http}\"\n[mqtt]\nlisten = \"0.0.0.0:{mqtts}\"\n"),
    );
    let _cloud = machines.start("cloud");
    let token =
        eventually("the token is there", LIMIT, || std::fs::read_to_string(machines.file("cloud/sightline-data/operator.token")).ok());
    output(&mut machines.command("cloud", "device add cam-7"));
    machines.copy("cloud/sightline-data", &["ca.pem", "server.pem", "server.key", "cluster.key"], "origin");
    machines.copy("cloud/sightline-data", &["ca.pem"], "camera");
    machines.copy("cloud/sightline-data/devices", &["cam-7.pem", "cam-7.key"], "camera");
    let origin = file_of(&text, "origin.toml").replace("[rtmps]\n", &format!("[rtmps]\nlisten = \"0.0.0.0:{rtmps}\"\n"));
    let rtmp = free_port();
    machines.write("origin", &origin, &format!("[http]\nlisten = \"0.0.0.0:{origin_http}\"\n[rtmp]\nlisten = \"0.0.0.0:{rtmp}\"\n"));
    let _origin = machines.start("origin");
    machines.write("camera", &file_of(&text, "camera.toml"), "");
    let _camera = machines.start("camera");

    let browser = Browser::start_trusting(1280, 800);
    browser.open(&format!("https://localhost:{http}/"));
    browser.sign_in(&token);
    eventually("the page plays", LIMIT, || browser.read().filter(|reading| reading.time > 1.0 && reading.decoded > 10));
}

#[test]
fn each_command_of_the_page_on_ffmpeg_gives_what_it_says() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide/ffmpeg.md")).unwrap();
    let demo = interop::Demo::start(&["--quality", "low"]);
    let (playback, dir) = (demo.playback(), TempDir::new().unwrap());
    let commands: Vec<String> = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect();
    let adapted = |command: &String| {
        let here = command.replace("origin.example:8080", &demo.http).replace("rtmp://origin.example", &format!("rtmp://{}", demo.rtmp));
        // Half of the time will do.
        here.replace("PLAYBACK", &playback).replace("?token=KEY", "").replace("-t 10", "-t 4").replace("ffmpeg -i", "ffmpeg -v error -i")
    };
    // Side by side: each takes its own time.
    let running = commands.iter().map(adapted).map(|command| {
        let mut shell = Command::new("sh");
        shell.args(["-c", &command]).current_dir(dir.path()).stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
        (command, shell.spawn().unwrap())
    });
    for (command, child) in running.collect::<Vec<_>>() {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{command}");
        if command.starts_with("ffprobe") {
            assert!(String::from_utf8_lossy(&output.stdout).contains("h264,"), "{command}");
        }
    }
    for (file, pictures_min) in [("camera.mp4", 30), ("camera.ts", 30), ("camera.flv", 30), ("camera.jpg", 1)] {
        let counted = output(
            Command::new("ffprobe")
                .args(["-v", "error", "-count_frames", "-select_streams", "v", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"])
                .arg(dir.path().join(file)),
        );
        let pictures = String::from_utf8_lossy(&counted).lines().filter_map(|line| line.trim_matches(',').parse::<u32>().ok()).max();
        assert!(pictures >= Some(pictures_min), "{file}: {pictures:?}");
    }
}
