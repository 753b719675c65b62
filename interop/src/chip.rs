//! The chip: the images of `firmware/qemu-virt` in QEMU, with a clip as their camera, and a broker in plain for them.

use crate::{
    media::avc_units,
    process::{Process, eventually, free_port, output},
};
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

/// The image that is Rust alone: with MQTT, by a broker.
pub const RUST: &str = "qemu-virt";
/// The image that is a firmware in C, over the library that firmwares are given: with a server by hand.
pub const C: &str = "c-face";
/// The host, as guests of QEMU's user network call it.
pub const HOST: &str = "10.0.2.2";
/// The device's id.
pub const DEVICE: &str = "chip-1";

/// An image of `firmware/`, as `cargo xtask bare-metal` builds it.
///
/// # Panics
/// If it was not built.
#[must_use]
pub fn image(name: &str) -> PathBuf {
    let image = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target-rv32/riscv32imafc-unknown-none-elf/release").join(name);
    assert!(image.is_file(), "{} is missing: `cargo xtask bare-metal` first, as `cargo xtask test` does", image.display());
    image
}

/// What the guest takes for time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    /// The host's.
    Host,
    /// One nanosecond an instruction, so that its counter of instructions is exact; where it sleeps, the host's.
    Instructions,
}

/// Access units, and the file that the image reads.
#[derive(Debug)]
pub struct Clip {
    /// The slices of each access unit, without start codes.
    pub units: Vec<Vec<Vec<u8>>>,
    file: PathBuf,
    kbps: u64,
}

impl Clip {
    /// Ten seconds of a moving, noisy scene, as a chip's encoder makes it: baseline, start codes of four bytes, a key frame each two seconds with its
    /// parameter sets before it.
    ///
    /// # Panics
    /// If ffmpeg fails.
    #[must_use]
    pub fn make(dir: &Path, size: &str, fps: u32, kbps: u32) -> Self {
        let (raw, rate, gop) = (dir.join("clip.h264"), format!("{kbps}k"), (2 * fps).to_string());
        let scene = format!("testsrc2=s={size}:r={fps},noise=alls=12:allf=t");
        output(
            Command::new("ffmpeg")
                .args(["-v", "error", "-y", "-f", "lavfi", "-i", &scene, "-t", "10", "-c:v", "libx264", "-preset", "veryfast"])
                .args(["-profile:v", "baseline", "-b:v", &rate, "-maxrate", &rate, "-bufsize", &rate, "-g", &gop])
                .args(["-x264-params", "scenecut=0:aud=1:sliced-threads=0", "-f", "h264"])
                .arg(&raw),
        );
        let units = avc_units(&std::fs::read(&raw).expect("ffmpeg wrote it"));
        let (mut index, mut data) = (Vec::new(), Vec::new());
        for unit in &units {
            let from = data.len();
            for nal in unit {
                data.extend_from_slice(&[0, 0, 0, 1]);
                data.extend_from_slice(nal);
            }
            index.extend_from_slice(&u32::try_from(from).expect("a short clip").to_le_bytes());
            index.extend_from_slice(&u32::try_from(data.len() - from).expect("a short clip").to_le_bytes());
        }
        let count = u32::try_from(units.len()).expect("a short clip");
        let file = dir.join("clip.bin");
        std::fs::write(&file, [&b"SLCLIP01"[..], &count.to_le_bytes(), &fps.to_le_bytes(), &index, &data].concat())
            .expect("the directory can be written");
        let kbps = data.len() as u64 * 8 * u64::from(fps) / units.len().max(1) as u64 / 1000;
        let units = units.into_iter().map(slices).collect();
        Self { units, file, kbps }
    }

    /// Its mean bit rate in kbit/s.
    #[must_use]
    pub fn kbps(&self) -> u64 {
        self.kbps
    }
}

/// Without parameter sets, which travel apart.
fn slices(unit: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    unit.into_iter().filter(|nal| matches!(nal.first().map_or(0, |header| header & 0x1f), 1..=6)).collect()
}

/// The access units of a recording, slices only.
///
/// # Panics
/// If ffmpeg can't read it.
#[must_use]
pub fn recorded(recording: &Path) -> Vec<Vec<Vec<u8>>> {
    let raw = output(Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(recording).args([
        "-map",
        "0:v",
        "-c",
        "copy",
        "-bsf:v",
        "h264_mp4toannexb,h264_metadata=aud=insert",
        "-f",
        "h264",
        "-",
    ]));
    avc_units(&raw).into_iter().map(slices).collect()
}

/// A broker without TLS, which hands on what the cloud answers: the image has no TLS.
#[derive(Debug)]
pub struct Broker {
    /// Its port.
    pub port: u16,
    /// What the device has said, topic and message.
    pub heard: Arc<Mutex<Vec<(String, Value)>>>,
    _process: Process,
    listener: Child,
}

impl Broker {
    /// Starts mosquitto. `answer`: what the cloud says to a request for a server.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start(dir: &Path, answer: impl Fn(&Value) -> Value + Send + 'static) -> Self {
        let port = free_port();
        let conf = dir.join("mosquitto.conf");
        std::fs::write(&conf, format!("listener {port} 127.0.0.1\nallow_anonymous true\n")).expect("the directory can be written");
        let process = Process::start("mosquitto", dir, Command::new("/usr/sbin/mosquitto").arg("-c").arg(&conf));
        eventually("mosquitto listens", Duration::from_secs(10), || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        let mut listener = Command::new("mosquitto_sub")
            .args(["-p", &port.to_string(), "-t", "devices/#", "-v", "-q", "1"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("mosquitto_sub runs");
        let heard: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let (lines, into) = (BufReader::new(listener.stdout.take().expect("it is piped")).lines(), heard.clone());
        // Ends with the listener.
        let listening = std::thread::Builder::new().name("broker".into()).spawn(move || {
            for line in lines.map_while(Result::ok) {
                let Some((topic, message)) = line.split_once(' ') else { continue };
                let Ok(message) = serde_json::from_str::<Value>(message) else { continue };
                if topic == format!("devices/{DEVICE}/stream/request") {
                    publish(port, &format!("devices/{DEVICE}/stream/response"), &answer(&message));
                }
                into.lock().expect("nobody panics with it").push((topic.to_owned(), message));
            }
        });
        listening.expect("a thread can be started");
        let broker = Self { port, heard, _process: process, listener };
        // A question that is asked before the listener has subscribed would get no answer.
        eventually("the listener has subscribed", Duration::from_secs(10), || {
            publish(port, &format!("devices/{DEVICE}/probe"), &json!({}));
            broker.find("probe", |_| true)
        });
        broker
    }

    /// Sends a command, and gives the device's answer to it.
    ///
    /// # Panics
    /// If none comes.
    pub fn command(&self, id: &str, mut command: Value) -> Value {
        command["command_id"] = json!(id);
        publish(self.port, &format!("devices/{DEVICE}/stream/command"), &command);
        eventually("the command's result", Duration::from_secs(10), || self.find("stream/result", |result| result["command_id"] == id))
    }

    /// The last message on a topic that is as it should be.
    ///
    /// # Panics
    /// If the listener's thread has panicked.
    pub fn find(&self, suffix: &str, is_it: impl Fn(&Value) -> bool) -> Option<Value> {
        let topic = format!("devices/{DEVICE}/{suffix}");
        let heard = self.heard.lock().expect("nobody panics with it");
        heard.iter().rev().find(|(of, message)| *of == topic && is_it(message)).map(|(_, message)| message.clone())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.listener.kill();
        let _ = self.listener.wait();
    }
}

fn publish(port: u16, topic: &str, message: &Value) {
    output(Command::new("mosquitto_pub").args(["-p", &port.to_string(), "-q", "1", "-t", topic, "-m", &message.to_string()]));
}

/// An image in QEMU.
#[derive(Debug)]
pub struct Board {
    /// QEMU; its log is the image's serial port.
    pub process: Process,
    monitor: PathBuf,
}

impl Board {
    /// Switches it on: [`RUST`] or [`C`].
    ///
    /// # Panics
    /// If QEMU does not start.
    #[must_use]
    pub fn start(name: &str, dir: &Path, clip: &Clip, settings: &Value, clock: Clock) -> Self {
        let (file, monitor) = (dir.join("settings.json"), dir.join("monitor"));
        std::fs::write(&file, format!("{settings}\0")).expect("the directory can be written");
        let loader = |path: &Path, at: &str| format!("loader,file={},addr={at},force-raw=on", path.display());
        let mut command = Command::new("qemu-system-riscv32");
        // RV32IMAFC: without D, and without H, which the processor has by default.
        command.args(["-machine", "virt", "-cpu", "rv32,d=false,h=false", "-m", "256M", "-bios", "none", "-display", "none"]);
        command.args(["-serial", "stdio", "-global", "virtio-mmio.force-legacy=false"]);
        command.args(["-netdev", "user,id=net", "-device", "virtio-net-device,netdev=net"]);
        command.arg("-monitor").arg(format!("unix:{},server=on,wait=off", monitor.display()));
        command.arg("-device").arg(loader(&file, "0x87f00000"));
        command.arg("-device").arg(loader(&clip.file, "0x88000000"));
        command.arg("-kernel").arg(image(name));
        if clock == Clock::Instructions {
            command.args(["-icount", "shift=0,sleep=on"]);
        }
        Self { process: Process::start("chip", dir, &mut command), monitor }
    }

    /// Pulls the network cable, or puts it back.
    ///
    /// # Panics
    /// If QEMU is gone.
    pub fn set_link(&self, is_up: bool) {
        let mut monitor = UnixStream::connect(&self.monitor).expect("QEMU's monitor listens");
        let state = if is_up { "on" } else { "off" };
        monitor.write_all(format!("set_link net {state}\n").as_bytes()).expect("QEMU reads");
        // It reads a line once it has greeted.
        std::thread::sleep(Duration::from_millis(200));
    }

    /// Waits until the serial port has this many lines with a text.
    ///
    /// # Panics
    /// If it has not in time.
    pub fn wait_for(&self, text: &str, times: usize) {
        eventually(text, Duration::from_secs(40), || (self.process.log().matches(text).count() >= times).then_some(()));
    }

    /// Waits for its end, and gives its figures; `footprints` has what the arena of each preset takes.
    ///
    /// # Panics
    /// If it fails.
    pub fn report(&mut self, limit: Duration) -> Value {
        let status = self.process.wait(limit);
        let log = self.process.log();
        assert!(status.success(), "{status}:\n{log}");
        let of = |kind: &str| -> Vec<Value> {
            let lines = log.lines().filter_map(|line| line.strip_prefix(kind));
            lines.map(|line| serde_json::from_str(line).expect("JSON")).collect()
        };
        let mut report = of("report: ").pop().expect("it reports at its end");
        report["footprints"] = of("footprint: ").into();
        report
    }
}
