//! One server, one scenario, once.

use crate::extras::{self, Askers};
use crate::load::{Load, Seen, Watch};
use crate::process::{Processors, Usage, usage_of};
use crate::publisher::{Publishers, micros_since};
use crate::scenario::Kind;
use crate::scenario::{Extra, Scenario};
use crate::server::Server;
use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long publishers and viewers may take to begin.
const BEGIN_LIMIT: Duration = Duration::from_secs(60);
/// From the last viewer's first frame to the measurement: what joining cost is over, and every stream has had a key frame.
const SETTLE: Duration = Duration::from_secs(3);
/// From the measurement's end to the servers' end: every frame of it has arrived, merged writes too.
const DRAIN: Duration = Duration::from_millis(1500);
/// What a recording may lack at its end, in frames: the server is killed, and groups of pictures are written whole.
const UNWRITTEN_FRAMES: u64 = 125;
/// Segments that an HLS playlist must have by the end.
const SEGMENTS_MIN: usize = 2;

/// What one server did in one run.
#[derive(Clone, Debug)]
pub(crate) struct Measurement {
    /// Out in fan-out, in otherwise.
    pub(crate) gbit: f64,
    pub(crate) user_secs: f64,
    pub(crate) system_secs: f64,
    /// Of a viewer in fan-out, of a stream otherwise.
    pub(crate) bytes_each: f64,
    /// The mean group of pictures that was under way when the memory was read.
    pub(crate) group_bytes: f64,
    pub(crate) latency_p50_ms: f64,
    pub(crate) latency_p99_ms: f64,
    pub(crate) lost: u64,
    pub(crate) corrupt: u64,
    /// Viewers disconnected, recordings and playlists missing or too short.
    pub(crate) dropped: usize,
    /// Of the load's processors, how much this program used: near 1 the latencies are the load's own.
    pub(crate) load_share: f64,
}

impl Measurement {
    pub(crate) fn secs_per_gbit(&self) -> f64 {
        (self.user_secs + self.system_secs) / self.gbit
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.lost == 0 && self.corrupt == 0 && self.dropped == 0
    }
}

/// Runs it.
pub(crate) fn measure(
    kind: Kind,
    scenario: &Scenario,
    processors: &Processors,
    mss: Option<u32>,
    length: Duration,
) -> io::Result<Measurement> {
    let began = Instant::now();
    let server = Server::start(kind, scenario, processors)?;
    let empty = server.process.usage()?;
    let publishers = Publishers::start(server.port, mss, scenario, began)?;
    let progress = publishers.progress.clone();
    let began_well = wait_for(BEGIN_LIMIT, "not all publishers begin", || progress.have_begun() || publishers.has_ended());
    if began_well.is_err() || publishers.has_ended() {
        let said = server.process.log();
        return Err(io::Error::other(format!("{:?}; the server said:\n{said}", publishers.finish())));
    }
    let idle = server.process.usage()?;

    let watch = |viewer| Watch { stream: scenario.watched(viewer), name: kind.play_name(scenario.watched(viewer)) };
    let watches: Vec<Watch> = (0..scenario.viewers).map(watch).collect();
    let load = Load::start(processors.load_threads(), &watches, server.port, mss, began)?;
    let shared = load.shared.clone();
    wait_for(BEGIN_LIMIT, "not all viewers play", || shared.playing.load(Ordering::Relaxed) == scenario.viewers)
        .map_err(|error| io::Error::other(format!("{error}; the server said:\n{}", server.process.log())))?;
    let askers = if scenario.extra == Extra::Hls { Some(Askers::start(&server, scenario.streams)?) } else { None };
    std::thread::sleep(SETTLE);

    let bytes = || if scenario.is_fan_out() { shared.bytes.load(Ordering::Relaxed) } else { progress.bytes.load(Ordering::Relaxed) };
    let (before, bytes_before, ours_before) = (server.process.usage()?, bytes(), own_secs()?);
    let from = Instant::now();
    shared.from_micros.store(micros_since(began), Ordering::Relaxed);
    std::thread::sleep(length);
    shared.to_micros.store(micros_since(began), Ordering::Relaxed);
    let sent: Vec<u64> = (0..scenario.streams).map(|stream| progress.sent(stream)).collect();
    let (after, bytes_after, ours_after) = (server.process.usage()?, bytes(), own_secs()?);
    let (passed, group_bytes) = (from.elapsed().as_secs_f64(), progress.group_bytes());

    std::thread::sleep(DRAIN);
    load.expect_end();
    let mut dropped = match askers {
        Some(askers) => {
            let is_short = askers.segments_min.load(Ordering::Relaxed) < SEGMENTS_MIN;
            askers.finish()?;
            usize::from(is_short)
        }
        None => 0,
    };
    publishers.finish()?;
    let written = server.stop();
    let mut seen = load.finish()?;
    for one in &mut seen {
        one.close(sent.get(one.stream).copied().unwrap_or(0));
    }
    let (mut lost, mut corrupt) = (0, 0);
    if scenario.extra == Extra::Flv {
        let recorded = extras::recordings(&written.recordings())?;
        let least = sent.iter().copied().min().unwrap_or(0).saturating_sub(UNWRITTEN_FRAMES);
        dropped += scenario.streams - recorded.streams + usize::from(recorded.frames_min < least);
        (lost, corrupt) = (recorded.lost, recorded.corrupt);
    }
    let each = if scenario.is_fan_out() { grown(idle, after, scenario.viewers) } else { grown(empty, after, scenario.streams) };
    let one = summarise(&seen, before, after);
    Ok(Measurement {
        gbit: (bytes_after - bytes_before) as f64 * 8.0 / 1e9,
        bytes_each: each,
        group_bytes,
        lost: one.lost + lost,
        corrupt: one.corrupt + corrupt,
        dropped: dropped + shared.dropped.load(Ordering::Relaxed),
        load_share: (ours_after - ours_before) / passed / processors.load_threads() as f64,
        ..one
    })
}

fn grown(before: Usage, after: Usage, count: usize) -> f64 {
    after.resident_bytes.saturating_sub(before.resident_bytes) as f64 / count.max(1) as f64
}

fn summarise(seen: &[Seen], before: Usage, after: Usage) -> Measurement {
    let mut latency: Vec<u32> = seen.iter().flat_map(|seen| &seen.latency_micros).copied().collect();
    latency.sort_unstable();
    let at = |percent: usize| latency.get(latency.len() * percent / 100).map_or(f64::NAN, |micros| f64::from(*micros) / 1000.0);
    Measurement {
        gbit: 0.0,
        user_secs: after.user_secs - before.user_secs,
        system_secs: after.system_secs - before.system_secs,
        bytes_each: 0.0,
        group_bytes: 0.0,
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
    usage_of(std::process::id()).map(|usage| usage.user_secs + usage.system_secs)
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
