//! `bench chip`: what the camera's side takes on RV32IMAFC, for each preset: the image `firmware/qemu-virt` streams a clip of the preset's size, frame
//! rate and bit rate to nginx in QEMU, which counts instructions (`-icount`) instead of time.

use interop::chip::{self, Board, Broker, Clip, Clock, DEVICE, HOST, image};
use interop::{nginx, process::output};
use serde_json::{Value, json};
use sightline_signal::Quality;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// One of the chip's two cores, in millions a second.
const CORE_MHZ: f64 = 400.0;
/// For the guest's last words, and for a host that is slower than the guest's clock.
const REPORT_LIMIT: Duration = Duration::from_secs(120);

/// Its options.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// How long each streams, by its own clock
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(5..=600))]
    seconds: u64,
    /// Only these presets
    #[arg(long, value_delimiter = ',', default_values = ["low", "medium", "high", "ultra"])]
    presets: Vec<Quality>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Bytes of a program by kind.
struct Sizes {
    text: u64,
    constants: u64,
}

/// Measures and prints.
pub(crate) fn run(options: &Options) -> io::Result<bool> {
    let sizes = sizes(&image(chip::RUST));
    let mut rows = Vec::new();
    for preset in &options.presets {
        eprintln!("{}: {} s", preset.name(), options.seconds);
        rows.push(measure(*preset, options.seconds)?);
    }
    let text = if options.json { format!("{:#}\n", Value::from(rows)) } else { text(&rows, &sizes) };
    io::Write::write_all(&mut io::stdout(), text.as_bytes())?;
    Ok(true)
}

fn measure(preset: Quality, seconds: u64) -> io::Result<Value> {
    let settings = preset.settings().ok_or_else(|| io::Error::other("custom is no preset: take low, medium, high or ultra"))?;
    let dir = tempfile::tempdir()?;
    let clip = Clip::make(dir.path(), &format!("{}x{}", settings.width, settings.height), settings.fps, settings.bitrate_bps / 1000);
    let (_nginx, url) = nginx::start(dir.path());
    let server = format!("{}/", url.replace("127.0.0.1", HOST));
    let broker = Broker::start(
        dir.path(),
        move |request| json!({"success": true, "request_id": request["request_id"], "rtmp_url": server, "stream_key": "chip"}),
    );
    let wanted = json!({"device": DEVICE, "quality": preset.name(), "broker_port": broker.port, "seconds": seconds, "is_always_on": true});
    let mut board = Board::start(chip::RUST, dir.path(), &clip, &wanted, Clock::Instructions);
    let mut report = board.report(Duration::from_secs(seconds) + REPORT_LIMIT);
    report["preset"] = json!(preset.name());
    report["seconds"] = json!(seconds);
    report["clip_kbps"] = json!(clip.kbps());
    Ok(report)
}

fn sizes(program: &Path) -> Sizes {
    let printed = output(Command::new("riscv64-unknown-elf-size").args(["-A", "-d"]).arg(program));
    let printed = String::from_utf8_lossy(&printed);
    let of = |section: &str| {
        let line = printed.lines().filter(|line| line.starts_with(section));
        line.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
    };
    Sizes { text: of(".text"), constants: of(".rodata") }
}

fn text(rows: &[Value], sizes: &Sizes) -> String {
    let number = |row: &Value, key: &str| row[key].as_f64().unwrap_or(f64::NAN);
    let mut out = format!("{:8}{:>11}{:>9}", "preset", "clip kbit/s", "frames");
    for title in ["arena", "limit", "stack", "turns/s", "ours/frame", "net/frame", "ours M/s", "net M/s", "of a core"] {
        let _ = write!(out, "{title:>11}");
    }
    out.push('\n');
    for row in rows {
        let preset = row["preset"].as_str().unwrap_or_default();
        let (seconds, millions) = (number(row, "seconds"), 1e6);
        let (ours, net) = (number(row, "brain_instructions") / millions / seconds, number(row, "stack_instructions") / millions / seconds);
        let footprints = row["footprints"].as_array().map(Vec::as_slice).unwrap_or_default();
        let arena = footprints.iter().find(|one| one["preset"] == preset).unwrap_or(&Value::Null);
        let _ = write!(out, "{preset:8}{:>11.0}{:>9.0}", number(row, "clip_kbps"), number(row, "frames"));
        let _ = write!(out, "{:>11}{:>11}", number(arena, "bytes"), number(arena, "limit_bytes"));
        let _ = write!(out, "{:>11}{:>11.0}", number(row, "stack_bytes"), number(row, "turns") / seconds);
        let _ = write!(out, "{:>11.0}{:>11.0}", number(row, "brain_per_frame"), number(row, "stack_per_frame"));
        let _ = writeln!(out, "{ours:>11.2}{net:>11.2}{:>10.1}%", (ours + net) / CORE_MHZ * 100.0);
    }
    let _ = writeln!(out, "the image: {} bytes of instructions, {} of constants", sizes.text, sizes.constants);
    let _ = writeln!(
        out,
        "turns: of the loop; ours: the pusher and the loop around it, start codes into lengths included; net: smoltcp and virtio; of a core: of {CORE_MHZ} MHz, at one instruction a cycle"
    );
    out
}
