//! The near end: our agent, or ffmpeg with the same pictures, each beside the link.

use super::emulator::{enter, unix_ms};
use super::space::{SERVER_URL, inside};
use sightline_camera::{Agent, Config, Rounds, StreamEvent};
use sightline_capture::scene::Scene;
use sightline_signal::StatusEvent;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// The name that all publish under.
pub(crate) const NAME: &str = "uplink";
/// Pictures that a camera's driver holds for a program that is late; then it leaves pictures out.
const CAMERA_BUFFERS: usize = 4;
/// Events of the agent that may wait for this program.
const EVENTS_WAITING_MAX: usize = 1024;
/// For ffmpeg's last words.
const GOODBYE: Duration = Duration::from_secs(2);

/// What is streamed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) fps: u32,
    pub(crate) bitrate_bps: u32,
}

/// Who streams.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Sender {
    /// Our agent
    Sightline,
    /// ffmpeg at a fixed rate
    Ffmpeg,
    /// ffmpeg with `-f fifo`, which drops to the next key frame and connects again
    FfmpegFifo,
}

impl Sender {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sightline => "sightline",
            Self::Ffmpeg => "ffmpeg",
            Self::FfmpegFifo => "ffmpeg -f fifo",
        }
    }
}

/// What the agent says of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    /// Frames that it sent; `None` for ffmpeg, which does not say.
    pub(crate) frames_sent: Option<u64>,
    pub(crate) events: Vec<String>,
}

/// Streams until the signal to stop.
pub(crate) fn stream(sender: Sender, namespace: &str, wanted: Wanted, dir: &Path, stop: &CancellationToken) -> io::Result<Said> {
    match sender {
        Sender::Sightline => run_agent(namespace, wanted, stop),
        Sender::Ffmpeg | Sender::FfmpegFifo => run_ffmpeg(sender, namespace, wanted, dir, stop).map(|()| Said::default()),
    }
}

fn run_agent(namespace: &str, wanted: Wanted, stop: &CancellationToken) -> io::Result<Said> {
    enter(namespace)?;
    let mut config = Config::new("bench", "test:grain");
    config.stream.quality = "custom".into();
    (config.stream.width, config.stream.height, config.stream.fps) = (wanted.width, wanted.height, wanted.fps);
    config.stream.bitrate_bps = wanted.bitrate_bps;
    config.stream.trigger = "always_on".into();
    config.stream.rtmp_server_url = SERVER_URL.into();
    config.stream.stream_key = NAME.into();
    config.stream.metrics_interval_sec = 1;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let agent = Agent::start(&config, Rounds::Looped).map_err(io::Error::other)?;
        let (events, mut said) = tokio::sync::mpsc::channel(EVENTS_WAITING_MAX);
        let listen = async {
            let mut all = Said::default();
            let mut sent = 0;
            while let Some(event) = said.recv().await {
                let StreamEvent::Event(event) = event else { continue };
                if let StatusEvent::Stopped(stopped) = &*event {
                    sent += stopped.final_metrics.total_frames_sent;
                    all.frames_sent = Some(sent);
                }
                all.events.push(format!("{} {}", unix_ms(), serde_json::to_string(&*event).unwrap_or_default()));
            }
            all
        };
        let (_, said) = tokio::join!(agent.run(stop.clone(), Some(events)), listen);
        Ok(said)
    })
}

fn run_ffmpeg(sender: Sender, namespace: &str, wanted: Wanted, dir: &Path, stop: &CancellationToken) -> io::Result<()> {
    let mut command = inside(namespace, "ffmpeg");
    command.args(ffmpeg_args(sender, wanted, &format!("{SERVER_URL}/{NAME}")));
    feed(command, wanted, dir, stop, |_| ())
}

/// Runs ffmpeg with a camera's pictures on its standard input until the signal to stop. `started` is given its id.
pub(crate) fn feed(
    mut command: Command,
    wanted: Wanted,
    dir: &Path,
    stop: &CancellationToken,
    started: impl FnOnce(u32),
) -> io::Result<()> {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(std::fs::File::create(dir.join("ffmpeg.log"))?);
    let mut ffmpeg = command.spawn()?;
    started(ffmpeg.id());
    let mut pipe = ffmpeg.stdin.take().ok_or_else(|| io::Error::other("ffmpeg has no standard input"))?;
    let (pictures, filled) = sync_channel::<Vec<u8>>(CAMERA_BUFFERS);
    let writer = std::thread::Builder::new().name("pipe".into()).spawn(move || {
        while let Ok(picture) = filled.recv() {
            if pipe.write_all(&picture).is_err() {
                return;
            }
        }
    })?;
    capture(wanted, &pictures, stop);
    drop(pictures);
    let until = Instant::now() + GOODBYE;
    while ffmpeg.try_wait()?.is_none() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = ffmpeg.kill();
    ffmpeg.wait()?;
    writer.join().map_err(|_| io::Error::other("the pipe's thread panicked"))
}

/// A camera: a picture each 1/fps second, left out where the program behind it is late.
fn capture(wanted: Wanted, pictures: &SyncSender<Vec<u8>>, stop: &CancellationToken) {
    let mut scene = Scene::with_grain(wanted.width as usize, wanted.height as usize, "bench");
    let (start, interval) = (Instant::now(), Duration::from_secs(1) / wanted.fps.max(1));
    for number in 0_u32.. {
        std::thread::sleep((start + interval * number).saturating_duration_since(Instant::now()));
        if stop.is_cancelled() {
            return;
        }
        let picture = scene.paint(unix_ms()).planes().concat();
        if let Err(TrySendError::Disconnected(_)) = pictures.try_send(picture) {
            return;
        }
    }
}

/// ffmpeg's options: x264's fastest preset at a capped rate, from pictures on standard input.
pub(crate) fn ffmpeg_args(sender: Sender, wanted: Wanted, url: &str) -> Vec<String> {
    let rate = format!("{}k", wanted.bitrate_bps / 1000);
    let mut command = Args(Vec::new());
    command.args(["-v", "error", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-use_wallclock_as_timestamps", "1"]);
    command.args(["-video_size", &format!("{}x{}", wanted.width, wanted.height), "-framerate", &wanted.fps.to_string(), "-i", "-"]);
    command.args(["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-fps_mode", "passthrough"]);
    command.args(["-g", &(wanted.fps * 2).to_string(), "-b:v", &rate, "-maxrate", &rate, "-bufsize", &rate]);
    match sender {
        Sender::FfmpegFifo => {
            command.args([
                "-flags",
                "+global_header",
                "-f",
                "fifo",
                "-fifo_format",
                "flv",
                "-drop_pkts_on_overflow",
                "1",
                "-queue_size",
                "60",
            ]);
            command.args(["-attempt_recovery", "1", "-recover_any_error", "1", "-recovery_wait_time", "1", "-restart_with_keyframe", "1"]);
            command.args(["-map", "0:v"]);
        }
        Sender::Sightline | Sender::Ffmpeg => {
            command.args(["-f", "flv"]);
        }
    }
    command.args([url]);
    command.0
}

struct Args(Vec<String>);

impl Args {
    fn args<const N: usize>(&mut self, args: [&str; N]) {
        self.0.extend(args.map(str::to_owned));
    }
}
