//! One sender over one link, once, and what came of it.

use super::emulator::{self, Devices, Link, Signals, unix_ms};
use super::receiver::{self, Picture};
use super::schedule::Outage;
use super::sender::{self, NAME, Said, Sender, Wanted};
use super::space::{Space, inside};
use sightline_signal::{PLAYBACK_ID_BYTES, Text, playback_id};
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A picture that is older than this when it comes is no live picture.
pub(crate) const DEADLINE_MS: u64 = 3000;
/// What a sender may take to begin.
const BEGIN_LIMIT: Duration = Duration::from_secs(30);
/// After the sender's end, what is under way still comes.
const DRAIN: Duration = Duration::from_secs(10);
/// No picture for this long is a stall to a viewer.
const STALL_MS: u64 = 1000;

/// Where our origin listens. It takes a publisher without a token from the loopback address only, so that what comes over the link is handed on
/// to it by this program, on the server's side.
const ORIGIN_ADDRESS: &str = "127.0.0.1:1936";

/// Which server takes the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Server {
    /// nginx with its RTMP module
    Nginx,
    /// Our origin
    Sightline,
}

impl Server {
    fn play_name(self) -> String {
        match self {
            Self::Nginx => NAME.to_owned(),
            Self::Sightline => {
                let id: Text<PLAYBACK_ID_BYTES> = playback_id(NAME);
                id.as_str().to_owned()
            }
        }
    }

    fn start(self, namespace: &str, dir: &Path) -> io::Result<Running> {
        // Ours tells a configuration's language by its name.
        let conf = dir.join("server.toml");
        let conf_arg = conf.to_str().ok_or_else(|| io::Error::other("the temporary directory's name is not UTF-8"))?;
        let mut command = match self {
            Self::Nginx => {
                std::fs::write(&conf, nginx_conf(dir))?;
                let mut command = inside(namespace, "/usr/sbin/nginx");
                command.arg("-p").arg(dir).args(["-c", conf_arg, "-e"]).arg(dir.join("error.log"));
                command
            }
            Self::Sightline => {
                std::fs::write(&conf, origin_conf(dir))?;
                let program = crate::server::sightline()?;
                let mut command = inside(namespace, program.to_str().unwrap_or_default());
                command.args(["origin", "--config", conf_arg]);
                command
            }
        };
        let log = std::fs::File::create(dir.join("server.log"))?;
        Ok(Running(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?))
    }
}

fn nginx_conf(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;\ndaemon off;\nmaster_process off;\nworker_processes 1;\npid {dir}/pid;\n\
         error_log {dir}/error.log;\nevents {{ worker_connections 64; }}\n\
         rtmp {{ access_log off; server {{ listen 1935; chunk_size 4096; application live {{ live on; drop_idle_publisher 5s; }} }} }}\n"
    )
}

fn origin_conf(dir: &Path) -> String {
    format!(
        "data_dir = \"{}\"\n[rtmp]\nlisten = \"{ORIGIN_ADDRESS}\"\n[http]\nlisten = \"127.0.0.1:8080\"\n[auth]\nallow_unsigned_publish = true\n\
         [record]\nenabled = false\n",
        dir.join("data").display()
    )
}

/// A server that runs; killed by its id when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What is tried.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    pub(crate) name: String,
    pub(crate) link: Link,
    pub(crate) secs: u64,
    pub(crate) wanted: Wanted,
    pub(crate) sender: Sender,
    pub(crate) server: Server,
    /// TCP's, at both ends; the machine's own without it.
    pub(crate) congestion: Option<String>,
    /// Where the observations are kept, for a look into a figure.
    pub(crate) keeps: Option<PathBuf>,
}

/// What came of it. Of pictures that were captured while the schedule ran.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// Pictures that left the sender, where it counts them; else those that arrived.
    pub(crate) sent: u64,
    pub(crate) arrived: usize,
    pub(crate) on_time: usize,
    /// Of all pictures that a camera makes in that time.
    pub(crate) on_time_of_captured: f64,
    pub(crate) kbps: f64,
    pub(crate) ideal_kbps: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) max_ms: f64,
    pub(crate) stalls: usize,
    /// From each outage's end to the next live picture; none that came is `None`.
    pub(crate) resumed_ms: Vec<Option<u64>>,
    pub(crate) decoder_errors: usize,
    pub(crate) unreadable: usize,
    /// For the plots, counted from the schedule's start.
    pub(crate) pictures: Vec<Picture>,
}

impl Outcome {
    pub(crate) fn on_time_of_sent(&self) -> f64 {
        self.on_time as f64 / (self.sent as f64).max(1.0)
    }

    pub(crate) fn of_ideal(&self) -> f64 {
        self.kbps / self.ideal_kbps
    }
}

/// Runs it.
pub(crate) fn run(trial: &Trial) -> io::Result<Outcome> {
    let dir = tempfile::tempdir()?;
    let space = Space::new(trial.congestion.as_deref())?;
    let (signals, is_over, stop) = (Signals::default(), AtomicBool::new(false), CancellationToken::new());
    let (arrivals, said, began_ms) = std::thread::scope(|scope| {
        let (opened, is_open) = std::sync::mpsc::sync_channel(1);
        let (space, signals) = (&space, &signals);
        let link = scope.spawn(move || -> io::Result<()> {
            let devices = Devices::open(&space.camera, &space.server)?;
            let _ = opened.send(rustix::thread::gettid());
            emulator::carry(&trial.link, &devices, signals)
        });
        let outcome = (|| {
            let thread =
                is_open.recv().map_err(|_| io::Error::other("the link's devices can't be made; it needs root and /dev/net/tun"))?;
            hurry(thread);
            space.address()?;
            let server = trial.server.start(&space.server, dir.path())?;
            if trial.server == Server::Sightline {
                scope.spawn(|| hand_on(&space.server, &is_over));
            }
            scope
                .spawn(|| receiver::wait_for_server(&space.server, BEGIN_LIMIT))
                .join()
                .map_err(|_| io::Error::other("a thread panicked"))??;
            let receiver = scope.spawn(|| receiver::receive_in(&space.server, &trial.server.play_name(), &is_over));
            let sender = scope.spawn(|| sender::stream(trial.sender, &space.camera, trial.wanted, dir.path(), &stop));
            let began_ms = wait_for_start(signals)?;
            let end_ms = began_ms + trial.secs * 1000;
            while unix_ms() < end_ms && !sender.is_finished() {
                std::thread::sleep(Duration::from_millis(20));
            }
            stop.cancel();
            let said = sender.join().map_err(|_| io::Error::other("the sender panicked"))??;
            std::thread::sleep(DRAIN);
            is_over.store(true, Ordering::Relaxed);
            drop(server);
            let arrivals = receiver.join().map_err(|_| io::Error::other("the receiver panicked"))??;
            Ok((arrivals, said, began_ms))
        })();
        stop.cancel();
        is_over.store(true, Ordering::Relaxed);
        signals.is_over.store(true, Ordering::Relaxed);
        match link.join() {
            Ok(Ok(())) => outcome,
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::Error::other("the link's thread panicked")),
        }
    })?;
    let (pictures, unreadable) = receiver::decode(&arrivals)?;
    let decoder_errors = receiver::decoder_errors(&arrivals, dir.path())?;
    if let Some(keeps) = &trial.keeps {
        keep(keeps, trial, &said, &pictures, began_ms, dir.path())?;
    }
    Ok(judge(trial, &said, pictures, began_ms, unreadable, decoder_errors))
}

/// Takes connections in the server's namespace, and hands their bytes on to our origin.
fn hand_on(namespace: &str, is_over: &AtomicBool) -> io::Result<()> {
    emulator::enter(namespace)?;
    let listener = TcpListener::bind("0.0.0.0:1935")?;
    listener.set_nonblocking(true)?;
    std::thread::scope(|scope| {
        while !is_over.load(Ordering::Relaxed) {
            let Ok((camera, _)) = listener.accept() else {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            };
            let Ok(origin) = TcpStream::connect(ORIGIN_ADDRESS) else { continue };
            camera.set_nonblocking(false)?;
            for (from, to) in [(camera.try_clone()?, origin.try_clone()?), (origin, camera)] {
                from.set_read_timeout(Some(Duration::from_secs(1)))?;
                to.set_nodelay(true)?;
                scope.spawn(move || pipe(&from, &to, is_over));
            }
        }
        Ok(())
    })
}

/// Until either end closes.
fn pipe(mut from: &TcpStream, mut to: &TcpStream, is_over: &AtomicBool) {
    let mut buffer = vec![0; 64 * 1024];
    while !is_over.load(Ordering::Relaxed) {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) if to.write_all(buffer.get(..read).unwrap_or_default()).is_ok() => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Ok(_) | Err(_) => break,
        }
    }
    // Either may be closed already.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// A link does not wait for the programs that it connects.
fn hurry(thread: rustix::thread::Pid) {
    let moved = std::process::Command::new("chrt").args(["-f", "-p", "20", &thread.as_raw_nonzero().to_string()]).status();
    if !moved.is_ok_and(|status| status.success()) {
        eprintln!("the link's thread has no real-time priority: on a busy machine its times are coarse");
    }
}

fn wait_for_start(signals: &Signals) -> io::Result<u64> {
    let until = std::time::Instant::now() + BEGIN_LIMIT;
    loop {
        match signals.began_unix_ms.load(Ordering::Relaxed) {
            0 if std::time::Instant::now() > until => return Err(io::Error::other("the sender does not connect")),
            0 => std::thread::sleep(Duration::from_millis(10)),
            began_ms => return Ok(began_ms),
        }
    }
}

fn judge(trial: &Trial, said: &Said, pictures: Vec<Picture>, began_ms: u64, unreadable: usize, decoder_errors: usize) -> Outcome {
    let all = pictures.len() as u64;
    let window = began_ms..began_ms + trial.secs * 1000;
    let seen: Vec<Picture> = pictures.into_iter().filter(|picture| window.contains(&picture.captured_ms)).collect();
    let on_time: Vec<&Picture> = seen.iter().filter(|picture| picture.latency_ms() <= DEADLINE_MS).collect();
    let bytes: usize = on_time.iter().map(|picture| picture.bytes).sum();
    let mut latencies: Vec<u64> = seen.iter().map(Picture::latency_ms).collect();
    latencies.sort_unstable();
    let percentile = |percent: usize| latencies.get((latencies.len() * percent / 100).min(latencies.len().saturating_sub(1)));
    let at = |percent| percentile(percent).map_or(f64::NAN, |ms| *ms as f64);
    // What left the sender and never came counts as sent in the window.
    let lost = said.frames_sent.map_or(0, |sent| sent.saturating_sub(all + unreadable as u64));
    let stalls =
        seen.windows(2).filter(|pair| matches!(pair, [first, second] if second.arrived_ms.saturating_sub(first.arrived_ms) > STALL_MS));
    Outcome {
        sent: seen.len() as u64 + lost,
        arrived: seen.len(),
        on_time: on_time.len(),
        on_time_of_captured: on_time.len() as f64 / (trial.secs * u64::from(trial.wanted.fps)) as f64,
        kbps: bytes as f64 * 8.0 / (trial.secs * 1000) as f64,
        ideal_kbps: trial.link.schedule.ideal_kbps(f64::from(trial.wanted.bitrate_bps) / 1000.0, trial.secs, DEADLINE_MS),
        p50_ms: at(50),
        p95_ms: at(95),
        max_ms: at(100),
        stalls: stalls.count(),
        resumed_ms: trial.link.schedule.outages.iter().map(|outage| resumed(*outage, &seen, began_ms)).collect(),
        decoder_errors,
        unreadable,
        pictures: seen
            .iter()
            .map(|picture| Picture { arrived_ms: picture.arrived_ms - began_ms, captured_ms: picture.captured_ms - began_ms, ..*picture })
            .collect(),
    }
}

fn resumed(outage: Outage, seen: &[Picture], began_ms: u64) -> Option<u64> {
    let back_ms = began_ms + outage.end_ms();
    let live = seen.iter().filter(|picture| picture.arrived_ms >= back_ms && picture.latency_ms() <= DEADLINE_MS);
    live.map(|picture| picture.arrived_ms - back_ms).min()
}

fn keep(keeps: &Path, trial: &Trial, said: &Said, pictures: &[Picture], began_ms: u64, dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(keeps)?;
    let stem = trial.name.replace(['/', ' ', ','], "-");
    let rows = pictures.iter().map(|picture| {
        let since = |ms: u64| i64::try_from(ms).unwrap_or(0) - i64::try_from(began_ms).unwrap_or(0);
        format!("{},{},{},{}\n", since(picture.captured_ms), since(picture.arrived_ms), picture.bytes, picture.height)
    });
    let header = std::iter::once("captured_ms,arrived_ms,bytes,height\n".to_owned());
    std::fs::write(keeps.join(format!("{stem}.csv")), header.chain(rows).collect::<String>())?;
    let events = std::iter::once(format!("{began_ms} the schedule began")).chain(said.events.iter().cloned()).collect::<Vec<_>>();
    std::fs::write(keeps.join(format!("{stem}.events")), events.join("\n"))?;
    for log in ["server.log", "error.log", "ffmpeg.log"] {
        if let Ok(text) = std::fs::read_to_string(dir.join(log)) {
            std::fs::write(keeps.join(format!("{stem}.{log}")), text)?;
        }
    }
    Ok(())
}
