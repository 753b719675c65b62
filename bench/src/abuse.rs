//! `bench abuse`: what viewers notice of ten thousand idle connections and a flood of malformed ones, and what those cost.

use crate::crowd::Kind as CrowdKind;
use crate::load::{Load, Watch};
use crate::process::{Process, Processors};
use crate::publisher::{Publishers, micros_since};
use crate::scenario::Kind;
use crate::scenario::Scenario;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything may take to begin.
const BEGIN_LIMIT: Duration = Duration::from_secs(60);
/// From the last that began to the measurement.
const SETTLE: Duration = Duration::from_secs(2);
/// Descriptors beside one a connection: the flood's, the viewers'.
const DESCRIPTORS_SPARE: usize = 4096;
/// The viewers' p99 may be this many times what it is without abuse.
const P99_FACTOR_MAX: f64 = 2.0;
/// Below this a p99 is noise of the machine: two of three milliseconds are not worse than one of one.
const P99_MS_FLOOR: f64 = 5.0;
/// What the origin may take more than without abuse: 8 KiB for each of 10,000 connections, and a fifth more for the flood.
const MORE_BYTES_MAX: u64 = 96 * 1024 * 1024;

/// Its options.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// RTMP viewers of the one stream
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=5000))]
    viewers: u32,
    /// Connections that say nothing, or half of what is due
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    idle: u32,
    /// Malformed connections a second
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(0..=20_000))]
    flood: u32,
    /// How long the viewers are watched, without and then with
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
}

/// What viewers saw, and what the origin took.
struct Watched {
    p50_ms: f64,
    p99_ms: f64,
    lost: u64,
    dropped: usize,
    resident_bytes: u64,
    resident_bytes_max: u64,
    /// Of its processor.
    origin_share: f64,
    /// What the crowd and the origin's `/metrics` say.
    crowd: String,
    metrics: String,
}

/// Measures and prints; false if a promise was broken.
pub(crate) fn run(options: &Options) -> io::Result<bool> {
    let idle = options.idle as usize;
    let processors = Processors::claim(1, idle + DESCRIPTORS_SPARE)?;
    let length = Duration::from_secs(options.seconds);
    let mut out = io::stdout();
    for kind in [CrowdKind::Silent, CrowdKind::HalfHandshake, CrowdKind::Connected] {
        let bytes = cost(&processors, idle, kind)?;
        writeln!(out, "an idle connection, {kind:?}: {bytes:.0} bytes of the origin's memory")?;
    }
    let calm = watch(&processors, options, length, false)?;
    let rough = watch(&processors, options, length, true)?;
    for (name, watched) in [("without", &calm), ("with", &rough)] {
        writeln!(
            out,
            "{name:>8}: p50 {:.2} ms, p99 {:.2} ms, {} lost, {} dropped, origin {:.2} of its processor, {:.1} MiB at the end, {:.1} at most",
            watched.p50_ms,
            watched.p99_ms,
            watched.lost,
            watched.dropped,
            watched.origin_share,
            watched.resident_bytes as f64 / f64::from(1 << 20),
            watched.resident_bytes_max as f64 / f64::from(1 << 20),
        )?;
    }
    writeln!(out, "{}\n{}", rough.crowd, rough.metrics.trim_end())?;
    let limit_ms = (calm.p99_ms * P99_FACTOR_MAX).max(P99_MS_FLOOR);
    let more = rough.resident_bytes_max.saturating_sub(calm.resident_bytes_max);
    let promises = [
        (rough.p99_ms <= limit_ms, format!("p99 at most {limit_ms:.1} ms: {:.1} ms", rough.p99_ms)),
        (more <= MORE_BYTES_MAX, format!("at most {} MiB more: {:.1} MiB", MORE_BYTES_MAX >> 20, more as f64 / f64::from(1 << 20))),
        (rough.lost == 0 && rough.dropped == 0, "no frame lost and no viewer dropped".into()),
    ];
    for (holds, promise) in &promises {
        writeln!(out, "{} {promise}", if *holds { "kept  " } else { "BROKEN" })?;
    }
    Ok(promises.iter().all(|(holds, _)| *holds))
}

/// An origin with its defaults, but for what a measurement on one machine needs. The process ends before its directory goes.
struct Origin {
    process: Process,
    rtmp: u16,
    http: u16,
    _dir: TempDir,
}

impl Origin {
    fn start(processors: &Processors, idle: usize) -> io::Result<Self> {
        let dir = tempfile::tempdir()?;
        let port = || TcpListener::bind("127.0.0.1:0")?.local_addr().map(|address| address.port());
        let (rtmp, http) = (port()?, port()?);
        let conf = dir.path().join("origin.toml");
        let text = format!(
            "data_dir = \"{}\"\n[rtmp]\nlisten = \"127.0.0.1:{rtmp}\"\n[http]\nlisten = \"127.0.0.1:{http}\"\n\
             [auth]\nallow_unsigned_publish = true\n[record]\nenabled = false\n",
            dir.path().join("data").display()
        );
        std::fs::write(&conf, text)?;
        let program = std::env::current_exe()?.with_file_name("sightline");
        let args = ["origin", "--config", conf.to_str().unwrap_or_default()];
        let mut process = Process::start(processors, idle + DESCRIPTORS_SPARE, dir.path(), &program, &args)?;
        process.wait_for_port(rtmp, BEGIN_LIMIT)?;
        process.wait_for_port(http, BEGIN_LIMIT)?;
        Ok(Self { process, rtmp, http, _dir: dir })
    }

    fn metrics(&self) -> io::Result<String> {
        let mut socket = TcpStream::connect(("127.0.0.1", self.http))?;
        socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        socket.read_to_string(&mut text)?;
        Ok(text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
    }

    /// The value of one line of `/metrics`.
    fn metric(&self, name: &str) -> io::Result<u64> {
        let text = self.metrics()?;
        Ok(text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0))
    }
}

/// The crowd's process; it ends with its standard input.
struct Crowd {
    child: Child,
    last: Arc<Mutex<String>>,
}

impl Crowd {
    fn start(port: u16, idle: usize, kind: CrowdKind, flood: u32) -> io::Result<Self> {
        let kind = clap::ValueEnum::to_possible_value(&kind).map(|value| value.get_name().to_owned()).unwrap_or_default();
        let program = std::env::current_exe()?;
        let mut child = Command::new("nice")
            .args(["-n", "19"])
            .arg(program)
            .args(["crowd", "--port", &port.to_string(), "--idle", &idle.to_string(), "--kind", &kind, "--flood", &flood.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let last = Arc::new(Mutex::new(String::new()));
        let (lines, heard) = (child.stdout.take(), last.clone());
        std::thread::Builder::new().name("crowd".into()).spawn(move || {
            for line in lines.into_iter().flat_map(|out| BufReader::new(out).lines()).map_while(Result::ok) {
                *heard.lock().unwrap_or_else(PoisonError::into_inner) = line;
            }
        })?;
        Ok(Self { child, last })
    }

    fn counts(&self) -> [u64; 3] {
        let line = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut words = line.split(' ').map(|word| word.parse().unwrap_or(0));
        [(); 3].map(|()| words.next().unwrap_or(0))
    }

    fn describe(&self) -> String {
        let [attempts, open, flooded] = self.counts();
        format!("the crowd: {attempts} connects of idle ones, {open} open at the end, {flooded} malformed ones")
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What one idle connection of a kind costs the origin, in bytes.
fn cost(processors: &Processors, idle: usize, kind: CrowdKind) -> io::Result<f64> {
    let origin = Origin::start(processors, idle)?;
    let before = origin.process.usage()?.resident_bytes;
    let _crowd = Crowd::start(origin.rtmp, idle, kind, 0)?;
    // All at once, before the first is disconnected.
    let open = "sightline_origin_rtmp_connections{state=\"pending\"}";
    wait_for("not all idle connections are open", || Ok(origin.metric(open)? >= idle as u64))?;
    Ok(origin.process.usage()?.resident_bytes.saturating_sub(before) as f64 / idle as f64)
}

fn watch(processors: &Processors, options: &Options, length: Duration, is_rough: bool) -> io::Result<Watched> {
    let (viewers, idle) = (options.viewers as usize, options.idle as usize);
    let began = Instant::now();
    let origin = Origin::start(processors, idle)?;
    let publisher = Publishers::start(origin.rtmp, None, &Scenario::fan_out(viewers, 1), began)?;
    let progress = publisher.progress.clone();
    wait_for("the publisher does not begin", || Ok(progress.have_begun()))?;
    let watches = vec![Watch { stream: 0, name: Kind::Sightline { merge_ms: 0 }.play_name(0) }; viewers];
    let load = Load::start(processors.load_threads(), &watches, origin.rtmp, None, began)?;
    let shared = load.shared.clone();
    wait_for("not all viewers play", || Ok(shared.playing.load(Ordering::Relaxed) == viewers))?;
    let crowd = if is_rough { Some(Crowd::start(origin.rtmp, idle, CrowdKind::Mixed, options.flood)?) } else { None };
    if let Some(crowd) = &crowd {
        wait_for("the idle connections are not open", || Ok(crowd.counts()[1] * 10 >= idle as u64 * 9))?;
    }
    std::thread::sleep(SETTLE);

    let before = origin.process.usage()?;
    let from = Instant::now();
    shared.from_micros.store(micros_since(began), Ordering::Relaxed);
    let mut resident_bytes_max = 0;
    while from.elapsed() < length {
        std::thread::sleep(Duration::from_millis(500));
        resident_bytes_max = resident_bytes_max.max(origin.process.usage()?.resident_bytes);
    }
    shared.to_micros.store(micros_since(began), Ordering::Relaxed);
    let sent = progress.sent(0);
    let after = origin.process.usage()?;
    let passed = from.elapsed().as_secs_f64();
    let metrics = origin.metrics()?;
    let said = crowd.as_ref().map(Crowd::describe).unwrap_or_default();
    drop(crowd);

    std::thread::sleep(SETTLE);
    load.expect_end();
    publisher.finish()?;
    drop(origin);
    let mut seen = load.finish()?;
    seen.iter_mut().for_each(|seen| seen.close(sent));
    let mut latency: Vec<u32> = seen.iter().flat_map(|seen| &seen.latency_micros).copied().collect();
    latency.sort_unstable();
    let at = |percent: usize| latency.get(latency.len() * percent / 100).map_or(f64::NAN, |micros| f64::from(*micros) / 1000.0);
    Ok(Watched {
        p50_ms: at(50),
        p99_ms: at(99),
        lost: seen.iter().map(|seen| seen.lost + seen.corrupt).sum(),
        dropped: shared.dropped.load(Ordering::Relaxed),
        resident_bytes: after.resident_bytes,
        resident_bytes_max,
        origin_share: (after.user_secs + after.system_secs - before.user_secs - before.system_secs) / passed,
        crowd: said,
        metrics,
    })
}

fn wait_for(failure: &str, mut holds: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let until = Instant::now() + BEGIN_LIMIT;
    while !holds()? {
        if Instant::now() > until {
            return Err(io::Error::other(format!("{failure} within {BEGIN_LIMIT:?}")));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
