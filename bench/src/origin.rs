//! `bench origin`: what a gigabit to many viewers costs, for each server in turn, several times.

use crate::load::{Load, Seen};
use crate::process::{Processors, Usage};
use crate::publisher::{Publisher, micros_since};
use crate::server::{Kind, STREAM, Server};
use crate::table;
use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long the viewers may take to begin.
const BEGIN_LIMIT: Duration = Duration::from_secs(60);
/// From the last viewer's first frame to the measurement: what joining cost is over.
const SETTLE: Duration = Duration::from_secs(2);
/// From the measurement's end to the servers' end: every frame of it has arrived, merged writes too.
const DRAIN: Duration = Duration::from_millis(1500);

/// Its options.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// RTMP viewers of the one stream
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    viewers: u32,
    /// How long each server is measured
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// How often each server is measured, in turns
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What one server did in one run.
#[derive(Clone, Debug)]
pub(crate) struct Measurement {
    pub(crate) gbit: f64,
    pub(crate) user_secs: f64,
    pub(crate) system_secs: f64,
    pub(crate) bytes_per_viewer: f64,
    pub(crate) latency_p50_ms: f64,
    pub(crate) latency_p99_ms: f64,
    pub(crate) lost: u64,
    pub(crate) corrupt: u64,
    pub(crate) dropped: usize,
    /// Of the load's processors, how much this program used: near 1 the latencies are the load's own.
    pub(crate) load_share: f64,
}

impl Measurement {
    pub(crate) fn secs_per_gbit(&self) -> f64 {
        (self.user_secs + self.system_secs) / self.gbit
    }
}

/// Measures and prints; false if a frame was lost.
pub(crate) fn run(options: &Options) -> io::Result<bool> {
    let viewers = options.viewers as usize;
    let processors = Processors::claim(viewers)?;
    eprintln!("{} viewers, {} s, {} runs; {}", viewers, options.seconds, options.runs, processors.describe());
    let mut results: Vec<(Kind, Vec<Measurement>)> = Kind::ALL.map(|kind| (kind, Vec::new())).into();
    for run in 1..=options.runs {
        for (kind, measured) in &mut results {
            eprint!("run {run} of {}: {} … ", options.runs, kind.name());
            let measurement = measure(*kind, &processors, viewers, Duration::from_secs(options.seconds))?;
            eprintln!("{:.3} CPU s/Gbit, {} lost", measurement.secs_per_gbit(), measurement.lost);
            measured.push(measurement);
        }
    }
    let text = if options.json { table::json(&results, viewers, options.seconds) } else { table::text(&results) };
    io::Write::write_all(&mut io::stdout(), text.as_bytes())?;
    let is_whole = |one: &Measurement| one.lost == 0 && one.corrupt == 0 && one.dropped == 0;
    Ok(results.iter().flat_map(|(_, measured)| measured).all(is_whole))
}

fn measure(kind: Kind, processors: &Processors, viewers: usize, length: Duration) -> io::Result<Measurement> {
    let began = Instant::now();
    let server = Server::start(kind, processors, viewers)?;
    let publisher = Publisher::start(server.port, STREAM, began)?;
    let progress = publisher.progress.clone();
    wait_for(BEGIN_LIMIT, "the publisher does not begin", || progress.sent.load(Ordering::Relaxed) > 1)?;
    let idle = server.process.usage()?;

    let load = Load::start(processors.load_threads(), viewers, server.port, &kind.play_name(), began)?;
    let shared = load.shared.clone();
    wait_for(BEGIN_LIMIT, "not all viewers play", || shared.playing.load(Ordering::Relaxed) == viewers)
        .map_err(|error| io::Error::other(format!("{error}; the server said:\n{}", server.process.log())))?;
    std::thread::sleep(SETTLE);

    let (before, bytes_before, ours_before) = (server.process.usage()?, shared.bytes.load(Ordering::Relaxed), own_secs()?);
    let from = Instant::now();
    shared.from_micros.store(micros_since(began), Ordering::Relaxed);
    std::thread::sleep(length);
    shared.to_micros.store(micros_since(began), Ordering::Relaxed);
    let sent = progress.sent.load(Ordering::Relaxed);
    let (after, bytes_after, ours_after) = (server.process.usage()?, shared.bytes.load(Ordering::Relaxed), own_secs()?);
    let passed = from.elapsed().as_secs_f64();

    std::thread::sleep(DRAIN);
    load.expect_end();
    publisher.finish()?;
    drop(server);
    let seen = load.finish(sent)?;
    let gbit = (bytes_after - bytes_before) as f64 * 8.0 / 1e9;
    let load_share = (ours_after - ours_before) / passed / processors.load_threads() as f64;
    Ok(Measurement { gbit, dropped: shared.dropped.load(Ordering::Relaxed), load_share, ..summarise(&seen, idle, before, after) })
}

fn summarise(seen: &[Seen], idle: Usage, before: Usage, after: Usage) -> Measurement {
    let mut latency: Vec<u32> = seen.iter().flat_map(|seen| &seen.latency_micros).copied().collect();
    latency.sort_unstable();
    let at = |percent: usize| latency.get(latency.len() * percent / 100).map_or(f64::NAN, |micros| f64::from(*micros) / 1000.0);
    Measurement {
        gbit: 0.0,
        user_secs: after.user_secs - before.user_secs,
        system_secs: after.system_secs - before.system_secs,
        bytes_per_viewer: after.resident_bytes.saturating_sub(idle.resident_bytes) as f64 / seen.len() as f64,
        latency_p50_ms: at(50),
        latency_p99_ms: at(99),
        lost: seen.iter().map(|seen| seen.lost).sum(),
        corrupt: seen.iter().map(|seen| seen.corrupt).sum(),
        dropped: 0,
        load_share: 0.0,
    }
}

/// Processor time of this program so far.
fn own_secs() -> io::Result<f64> {
    crate::process::usage_of(std::process::id()).map(|usage| usage.user_secs + usage.system_secs)
}

fn wait_for(limit: Duration, failure: &str, mut holds: impl FnMut() -> bool) -> io::Result<()> {
    let until = Instant::now() + limit;
    while !holds() {
        if Instant::now() > until {
            return Err(io::Error::other(format!("{failure} within {limit:?}")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
