//! `bench presets`: what each preset of the specification's section 1.1 makes and costs, beside ffmpeg with x264's fastest preset.
//!
//! Both send the test scene with a sensor's noise to nginx on this machine. The age of a picture is read off it, where a player gets it.

use crate::process::{Process, Processors, Usage, usage_of};
use crate::scenario::Scenario;
use crate::scenario::{Kind, stream_name};
use crate::server::{Server, sightline};
use crate::table::middle;
use crate::uplink::receiver::{self, Picture};
use crate::uplink::sender::{Sender, Wanted, feed, ffmpeg_args};
use sightline_signal::Quality;
use std::fmt::Write as _;
use std::io;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Before the measurement: the encoder has found its rate.
const SETTLE: Duration = Duration::from_secs(10);
/// For a sender to begin.
const BEGIN_LIMIT: Duration = Duration::from_secs(20);

/// Its options.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// How long each is measured
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..=3600))]
    seconds: u64,
    /// Only these presets
    #[arg(long, value_delimiter = ',', default_values = ["low", "medium", "high", "ultra"])]
    presets: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What one sender made of one preset.
struct Row {
    preset: Quality,
    sender: Sender,
    wanted: Wanted,
    width: usize,
    height: usize,
    fps: f64,
    kbps: f64,
    /// The most that any second had.
    kbps_second_max: f64,
    /// Of one processor.
    cpu_share: f64,
    memory_bytes: u64,
    latency_p50_ms: f64,
    latency_p95_ms: f64,
    decoder_errors: usize,
}

/// Measures and prints; false if a decoder complained.
pub(crate) fn run(options: &Options) -> io::Result<bool> {
    let presets: Result<Vec<Quality>, _> = options.presets.iter().map(|name| name.parse::<Quality>()).collect();
    let presets = presets.map_err(io::Error::other)?;
    let mut rows = Vec::new();
    for preset in presets {
        let settings = preset.settings().ok_or_else(|| io::Error::other("custom is no preset: take low, medium, high or ultra"))?;
        let wanted = Wanted { width: settings.width, height: settings.height, fps: settings.fps, bitrate_bps: settings.bitrate_bps };
        for sender in [Sender::Sightline, Sender::Ffmpeg] {
            eprintln!("{}, {}: {} s", preset.name(), sender.name(), options.seconds + SETTLE.as_secs());
            rows.push(measure(preset, sender, wanted, Duration::from_secs(options.seconds))?);
        }
    }
    let text = if options.json { json(&rows) } else { text(&rows) };
    io::Write::write_all(&mut io::stdout(), text.as_bytes())?;
    Ok(rows.iter().all(|row| row.decoder_errors == 0))
}

fn measure(preset: Quality, sender: Sender, wanted: Wanted, length: Duration) -> io::Result<Row> {
    let dir = tempfile::tempdir()?;
    // All processors for all: the sender, the server and the player are one machine's, as on a bench.
    let processors = Processors::claim(usize::MAX, 1)?;
    let server = Server::start(Kind::Nginx, &Scenario::fan_out(1, 1), &processors)?;
    let address = format!("127.0.0.1:{}", server.port);
    let url = format!("rtmp://{address}/live/{}", stream_name(0));
    let (is_over, stop, ffmpeg_id) = (AtomicBool::new(false), CancellationToken::new(), AtomicU32::new(0));
    let measured = std::thread::scope(|scope| {
        let receiver = scope.spawn(|| receiver::receive(&address, &stream_name(0), &is_over));
        let outcome = (|| -> io::Result<_> {
            let agent = match sender {
                Sender::Sightline => {
                    let args = ["push", "test:grain", &url, "--quality", preset.name()];
                    Some(Process::start(&processors, 1, dir.path(), &sightline()?, &args)?)
                }
                Sender::Ffmpeg | Sender::FfmpegFifo => {
                    let mut command = Command::new("ffmpeg");
                    command.args(ffmpeg_args(sender, wanted, &url));
                    scope.spawn(|| feed(command, wanted, dir.path(), &stop, |id| ffmpeg_id.store(id, Ordering::Relaxed)));
                    None
                }
            };
            let id = match &agent {
                Some(agent) => agent.id(),
                None => wait_for_id(&ffmpeg_id)?,
            };
            std::thread::sleep(SETTLE);
            let (from_ms, before, from) = (crate::uplink::emulator::unix_ms(), usage_of(id)?, Instant::now());
            std::thread::sleep(length);
            let (after, passed) = (usage_of(id)?, from.elapsed());
            Ok((from_ms, before, after, passed))
        })();
        stop.cancel();
        is_over.store(true, Ordering::Relaxed);
        let arrivals = receiver.join().map_err(|_| io::Error::other("the player panicked"))??;
        outcome.map(|measured| (arrivals, measured))
    });
    let (arrivals, (from_ms, before, after, passed)) = measured?;
    let decoder_errors = receiver::decoder_errors(&arrivals, dir.path())?;
    let (pictures, _) = receiver::decode(&arrivals)?;
    let to_ms = from_ms + u64::try_from(passed.as_millis()).unwrap_or(0);
    let seen: Vec<Picture> = pictures.into_iter().filter(|picture| (from_ms..to_ms).contains(&picture.arrived_ms)).collect();
    summarise(preset, sender, wanted, &seen, from_ms, (before, after), passed, decoder_errors)
}

fn wait_for_id(id: &AtomicU32) -> io::Result<u32> {
    let until = Instant::now() + BEGIN_LIMIT;
    loop {
        match id.load(Ordering::Relaxed) {
            0 if Instant::now() > until => return Err(io::Error::other("ffmpeg does not start")),
            0 => std::thread::sleep(Duration::from_millis(10)),
            id => return Ok(id),
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "what was measured, once")]
fn summarise(
    preset: Quality,
    sender: Sender,
    wanted: Wanted,
    seen: &[Picture],
    from_ms: u64,
    (before, after): (Usage, Usage),
    passed: Duration,
    decoder_errors: usize,
) -> io::Result<Row> {
    let first = seen.first().ok_or_else(|| io::Error::other(format!("{}: no picture came from {}", preset.name(), sender.name())))?;
    let secs = passed.as_secs_f64();
    let bytes: usize = seen.iter().map(|picture| picture.bytes).sum();
    let mut seconds = vec![0; passed.as_secs() as usize + 1];
    for picture in seen {
        if let Some(second) = usize::try_from((picture.arrived_ms - from_ms) / 1000).ok().and_then(|second| seconds.get_mut(second)) {
            *second += picture.bytes;
        }
    }
    let mut latencies: Vec<f64> = seen.iter().map(|picture| picture.latency_ms() as f64).collect();
    latencies.sort_unstable_by(f64::total_cmp);
    let spent = |usage: Usage| usage.user_secs + usage.system_secs;
    Ok(Row {
        preset,
        sender,
        wanted,
        width: first.width,
        height: first.height,
        fps: seen.len() as f64 / secs,
        kbps: bytes as f64 * 8.0 / 1000.0 / secs,
        kbps_second_max: seconds.iter().copied().max().unwrap_or(0) as f64 * 8.0 / 1000.0,
        cpu_share: (spent(after) - spent(before)) / secs,
        memory_bytes: after.resident_bytes,
        latency_p95_ms: latencies.get(latencies.len() * 95 / 100).copied().unwrap_or(f64::NAN),
        latency_p50_ms: middle(latencies),
        decoder_errors,
    })
}

fn text(rows: &[Row]) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{:8}{:12}{:>12}{:>7}{:>9}{:>9}{:>11}{:>8}{:>9}{:>9}{:>9}{:>8}",
        "preset", "", "size", "fps", "kbit/s", "of it", "1 s max", "CPU", "MiB", "p50 ms", "p95 ms", "errors"
    );
    for row in rows {
        let target = f64::from(row.wanted.bitrate_bps) / 1000.0;
        let _ = writeln!(
            out,
            "{:8}{:12}{:>12}{:>7.1}{:>9.0}{:>8.1}%{:>10.2}x{:>7.1}%{:>9.1}{:>9.0}{:>9.0}{:>8}",
            row.preset.name(),
            row.sender.name(),
            format!("{}x{}", row.width, row.height),
            row.fps,
            row.kbps,
            row.kbps / target * 100.0,
            row.kbps_second_max / target,
            row.cpu_share * 100.0,
            row.memory_bytes as f64 / f64::from(1 << 20),
            row.latency_p50_ms,
            row.latency_p95_ms,
            row.decoder_errors,
        );
    }
    out.push_str(
        "of it: the mean beside the preset's bit rate. 1 s max: the most that any second had. CPU: of one processor; ours paints the scene too, for\n\
         ffmpeg this program does. MiB: resident and its own. p50, p95: age of the picture where a player on this machine gets it from nginx.\n",
    );
    out
}

fn json(rows: &[Row]) -> String {
    let rows = rows.iter().map(|row| {
        serde_json::json!({
            "preset": row.preset.name(), "sender": row.sender.name(), "width": row.width, "height": row.height, "fps": row.fps,
            "kbps": row.kbps, "kbps_second_max": row.kbps_second_max, "target_kbps": row.wanted.bitrate_bps / 1000,
            "cpu_share": row.cpu_share, "memory_bytes": row.memory_bytes, "latency_p50_ms": row.latency_p50_ms,
            "latency_p95_ms": row.latency_p95_ms, "decoder_errors": row.decoder_errors,
        })
    });
    format!("{}\n", serde_json::json!({ "presets": rows.collect::<Vec<_>>() }))
}
