//! This machine: what it has, what its camera gives, and whether that is enough.

use sightline_signal::{Quality, Settings};
use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    path::Path,
    thread::available_parallelism,
};

use super::{Finding, NEEDS_CONFIG, Subject};
use crate::{
    blocking,
    config::local::Broker,
    probe::{self, PresetReport, SourceReport},
    record::recorder::RecorderPlan,
};
use sightline_capture::Source;
use sightline_encode::{EncoderChoice, EncoderError, measure};
use sightline_h264::ENCODER_BUILD;

/// For the program, its encoder and its pictures: twenty of 1920x1080 in YUV 4:2:0. An allowance, not a measurement.
const AGENT_BYTES: u64 = 64 << 20;
/// A picture of [`measure`].
const MEASURED_PIXELS: f64 = 1280.0 * 720.0;

/// Cores and memory.
pub(super) fn hardware(subject: Option<&Subject>) -> Finding {
    let cores = available_parallelism().map_or(1, std::num::NonZero::get);
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let (Some(total), Some(available)) = (memory_bytes(&text, "MemTotal:"), memory_bytes(&text, "MemAvailable:")) else {
        return Finding::not_applicable(format!("{cores} cores; this system does not say how much memory it has (/proc/meminfo)"));
    };
    let (preroll, queue) = subject.map_or((0, 0), |subject| {
        let preroll = subject.checked.motion.as_ref().map_or(0, |motion| motion.preroll_bytes as u64);
        (preroll, subject.checked.pusher.queue_bytes_max as u64)
    });
    let needed = AGENT_BYTES + preroll + queue;
    let mega = |bytes: u64| bytes / 1_000_000;
    let detail = format!("{cores} cores, {} of {} MB of memory free, {} MB needed", mega(available), mega(total), mega(needed));
    if available < needed {
        return Finding::failed(detail, "end other programs, or lower motion.preroll_bytes and stream.frame_queue_bytes");
    }
    Finding::Passed(detail)
}

/// `MemTotal:   1234 kB`.
fn memory_bytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// The source, read for a few seconds; without one the cameras of this machine.
pub(super) async fn camera(subject: Option<&Subject>) -> (Finding, Option<SourceReport>) {
    const MEND: &str = "see that it is plugged in or reachable, and used by no other program (stop a running `sightline camera`); `sightline camera probe SRC` looks at it alone";
    let Some(subject) = subject else {
        let devices = blocking::run(probe::devices).await.unwrap_or_default();
        return (cameras(&devices), None);
    };
    if matches!(subject.checked.local.source, Source::Stdin) {
        return (Finding::not_applicable("source -: what is read from a pipe would be gone"), None);
    }
    let (source, transport) = (subject.checked.local.source.clone(), subject.checked.local.rtsp_transport);
    match blocking::run(move || probe::look(&source, transport)).await {
        Ok(Ok(report)) => {
            let video = &report.video;
            let sound = if report.audio.is_some() { ", with sound" } else { "" };
            let detail = format!("{}: {} {}x{}, {:.1} fps{sound}", report.source, video.codec, video.width, video.height, video.fps);
            (Finding::Passed(detail), Some(report))
        }
        Ok(Err(problem)) => (Finding::failed(problem.to_string(), MEND), None),
        Err(_) => (Finding::failed(format!("source {}: its reader has failed", subject.checked.local.source), MEND), None),
    }
}

fn cameras(devices: &[probe::DeviceReport]) -> Finding {
    if devices.is_empty() {
        return Finding::not_applicable("none at /dev/video*; a network camera needs the camera's configuration: --config FILE");
    }
    let good = devices.iter().filter(|device| device.problem.is_none());
    let names: Vec<String> = good.map(|device| format!("{} {}", device.path.display(), device.name)).collect();
    match (&names[..], devices.iter().find_map(|device| device.problem.as_ref())) {
        ([], Some(problem)) => Finding::failed(problem.clone(), "see `sightline camera probe`"),
        (names, _) => Finding::Passed(names.join(", ")),
    }
}

/// Which encoder would be used, and whether it makes the pictures that are wanted as fast as they come.
pub(super) async fn encoder(subject: Option<&Subject>, seen: Option<&SourceReport>) -> Finding {
    let wanted = subject.map(|subject| wanted(subject, seen));
    if wanted.is_some_and(|(_, is_passed_through)| is_passed_through) {
        return Finding::not_applicable("the source is H.264 already, and passed through as it is");
    }
    let choice = subject.map_or(EncoderChoice::Auto, |subject| subject.checked.local.encoder.clone());
    let wanted = wanted.map(|(settings, _)| settings);
    let looked = blocking::run(move || measure_choice(&choice, wanted)).await;
    match looked {
        Ok(Ok((name, fps))) => judge_encoder(&name, f64::from(fps) * MEASURED_PIXELS, wanted),
        Ok(Err(problem)) => Finding::failed(
            problem.to_string(),
            "set encoder = \"auto\" or \"software\"; `sightline camera probe` lists the encoders of this machine",
        ),
        Err(_) => judge_encoder(ENCODER_BUILD, 0.0, wanted),
    }
}

/// The name of the encoder that would be used, and how many pictures of 1280x720 it makes in a second.
fn measure_choice(choice: &EncoderChoice, wanted: Option<Settings>) -> Result<(String, f32), EncoderError> {
    let settings = wanted.unwrap_or(Settings { width: 1280, height: 720, fps: 20, bitrate_bps: 1_000_000 });
    Ok(match choice.device(settings)? {
        Some(path) => (format!("encoder {}", path.display()), measure(&*EncoderChoice::Device(path).source())),
        None => (ENCODER_BUILD.to_owned(), measure(&*EncoderChoice::Software.source())),
    })
}

/// What is to be made, and whether it comes so.
fn wanted(subject: &Subject, seen: Option<&SourceReport>) -> (Settings, bool) {
    let settings = subject.checked.pusher.wanted();
    let quality = subject.checked.limits.map(|_| subject.checked.pusher.quality);
    let preset = seen.and_then(|seen| seen.presets.iter().find(|preset| preset.quality == quality));
    let Some(PresetReport { is_passed_through, width, height, fps, bitrate_bps, .. }) = preset else { return (settings, false) };
    (Settings { width: *width, height: *height, fps: *fps, bitrate_bps: *bitrate_bps }, *is_passed_through)
}

fn pixels_per_second(settings: Settings) -> f64 {
    f64::from(settings.width) * f64::from(settings.height) * f64::from(settings.fps)
}

fn judge_encoder(name: &str, measured: f64, wanted: Option<Settings>) -> Finding {
    let on = if name == ENCODER_BUILD { " on a core" } else { "" };
    let shown = format!("{name}: {:.0} pictures of 1280x720 a second{on}", measured / MEASURED_PIXELS);
    if measured <= 0.0 && name != ENCODER_BUILD {
        return Finding::failed(format!("{name}: it fails"), "set encoder = \"software\"");
    }
    if measured <= 0.0 {
        return Finding::failed(
            format!("{ENCODER_BUILD}: it fails"),
            "build again: `cargo clean -p openh264-sys2`, then `cargo build --release`",
        );
    }
    let Some(wanted) = wanted else { return Finding::Passed(shown) };
    let share = pixels_per_second(wanted) / measured;
    let Settings { width, height, fps, .. } = wanted;
    let detail = format!("{shown}; {width}x{height} at {fps} fps takes {:.0} % of it", share * 100.0);
    if share <= 1.0 {
        return Finding::Passed(detail);
    }
    let fitting =
        Quality::PRESETS.into_iter().filter(|quality| quality.settings().is_some_and(|preset| pixels_per_second(preset) <= measured));
    let best = fitting.max_by(|a, b| {
        let pixels = |quality: &Quality| quality.settings().map_or(0.0, pixels_per_second);
        pixels(a).total_cmp(&pixels(b))
    });
    let lower = best.map_or_else(|| "take a camera that gives H.264".to_owned(), |best| format!("set stream.quality = {:?}", best.name()));
    let faster = if ENCODER_BUILD.contains("without nasm") { ", or build where nasm is installed: about twice the speed" } else { "" };
    Finding::failed(detail, format!("{lower}{faster}"))
}

/// An interface that is up, and a way out of the own network.
pub(super) fn network_link(subject: Option<&Subject>) -> Finding {
    let v4 = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    let v6 = std::fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
    let mut names = default_routes_v4(&v4);
    names.extend(default_routes_v6(&v6));
    names.sort();
    names.dedup();
    let (up, down): (Vec<String>, Vec<String>) = names.into_iter().partition(|name| is_up(name));
    if !up.is_empty() {
        let shown: Vec<String> = up.iter().map(|name| format!("{name}{}", speed_of(name))).collect();
        return Finding::Passed(format!("default route by {}", shown.join(", ")));
    }
    let servers = subject.map(literal_servers).unwrap_or_default();
    if !servers.is_empty() && servers.iter().all(|server| has_route(*server)) {
        return Finding::Passed("no default route, and none is needed: every server has a route of its own".to_owned());
    }
    let detail =
        if down.is_empty() { "no default route".to_owned() } else { format!("the default route is by {}, which is down", down.join(", ")) };
    Finding::failed(detail, "plug the cable in or join the wireless network, and let DHCP or `ip route` give a default route")
}

/// Names of interfaces. Columns: Iface Destination Gateway Flags RefCnt Use Metric Mask …; 0x1: it is up, 0x200: it refuses.
fn default_routes_v4(text: &str) -> Vec<String> {
    let name = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let flags = u32::from_str_radix(columns.get(3)?, 16).ok()?;
        let is_default = *columns.get(1)? == "00000000" && *columns.get(7)? == "00000000" && flags & 0x201 == 1;
        is_default.then(|| columns[0].to_owned())
    };
    text.lines().skip(1).filter_map(name).collect()
}

/// Columns: destination, its length, source, its length, next hop, metric, references, use, flags, interface.
fn default_routes_v6(text: &str) -> Vec<String> {
    let name = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let flags = u32::from_str_radix(columns.get(8)?, 16).ok()?;
        let name = *columns.get(9)?;
        // The kernel's own "unreachable" is by lo.
        (columns[0].bytes().all(|digit| digit == b'0') && columns[1] == "00" && flags & 0x201 == 1 && name != "lo").then(|| name.to_owned())
    };
    text.lines().filter_map(name).collect()
}

fn is_up(name: &str) -> bool {
    let state = std::fs::read_to_string(Path::new("/sys/class/net").join(name).join("operstate")).unwrap_or_default();
    // Tunnels and many virtual interfaces do not say.
    matches!(state.trim(), "up" | "unknown" | "")
}

fn speed_of(name: &str) -> String {
    let text = std::fs::read_to_string(Path::new("/sys/class/net").join(name).join("speed")).unwrap_or_default();
    text.trim().parse::<i64>().ok().filter(|speed| *speed > 0).map(|speed| format!(" ({speed} Mbit/s)")).unwrap_or_default()
}

/// The servers of a configuration that are given as addresses, or are this machine.
fn literal_servers(subject: &Subject) -> Vec<SocketAddr> {
    let fixed = subject.checked.pusher.server.iter().flat_map(|server| server.tc_urls.iter());
    let rtmp = fixed.filter_map(|url| sightline_rtmp::url::RtmpUrl::parse(url).ok()).map(|url| (url.host.to_owned(), url.port));
    let broker = subject.checked.local.cloud.broker.clone().filter(|_| subject.has_cloud()).map(|Broker { host, port }| (host, port));
    let address = |(host, port): (String, u16)| {
        let host = if host == "localhost" { "127.0.0.1".to_owned() } else { host };
        host.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, port))
    };
    rtmp.chain(broker).filter_map(address).collect()
}

/// Asks the kernel for a route; no packet goes out.
fn has_route(server: SocketAddr) -> bool {
    let own: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    UdpSocket::bind(own).and_then(|socket| socket.connect(server)).is_ok()
}

/// Room for the recordings.
pub(super) fn storage(subject: Option<&Subject>) -> Finding {
    let Some(subject) = subject else { return Finding::not_applicable(NEEDS_CONFIG) };
    let Some(RecorderPlan { dir, bytes_max, .. }) = &subject.checked.recorder else {
        return Finding::not_applicable("recording.enabled is false");
    };
    // The recorder makes what is missing of it.
    let existing = dir.ancestors().find(|path| path.is_dir()).filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mend = "set recording.dir to a directory that this program may write";
    let mark = existing.join(format!(".sightline-doctor-{}", std::process::id()));
    let written = std::fs::write(&mark, b"doctor").and_then(|()| std::fs::remove_file(&mark));
    if let Err(error) = written {
        return Finding::failed(format!("{}: {error}", existing.display()), mend);
    }
    let space = match rustix::fs::statvfs(existing) {
        Ok(space) => space,
        Err(error) => return Finding::failed(format!("{}: {error}", existing.display()), mend),
    };
    let free = space.f_bavail * space.f_frsize;
    let used: u64 = std::fs::read_dir(dir).into_iter().flatten().flatten().filter_map(|entry| Some(entry.metadata().ok()?.len())).sum();
    judge_storage(dir, free, used, *bytes_max)
}

fn judge_storage(dir: &Path, free: u64, used: u64, bytes_max: u64) -> Finding {
    let mega = |bytes: u64| bytes / 1_000_000;
    let detail = format!("{}: {} MB free, {} of {} MB recorded", dir.display(), mega(free), mega(used), mega(bytes_max));
    if free < bytes_max.saturating_sub(used) {
        return Finding::failed(detail, format!("make room, or set recording.keep_mb = {}", mega((free + used) / 10 * 9).max(1)));
    }
    Finding::Passed(detail)
}

/// Whether anything will ever be sent, and what starts it.
pub(super) fn streaming_enabled(subject: Option<&Subject>) -> Finding {
    let Some(subject) = subject else { return Finding::not_applicable(NEEDS_CONFIG) };
    let trigger = subject.checked.settable.stream.trigger;
    match (subject.streams(), subject.checked.recorder.is_some()) {
        (true, _) => {
            let wanted = subject.checked.pusher.wanted();
            let Settings { width, height, fps, bitrate_bps } = wanted;
            Finding::Passed(format!("trigger {trigger}, up to {width}x{height}, {fps} fps, {} kbit/s", bitrate_bps / 1000))
        }
        (false, true) => Finding::not_applicable("stream.enable_live_streaming is false: this device only records"),
        (false, false) => Finding::failed(
            "stream.enable_live_streaming is false, and nothing is recorded",
            "set stream.enable_live_streaming = true, or recording.enabled = true",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_routes_are_told_from_others() {
        let v4 = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n\
                  eth0\t00000000\t0102A8C0\t0003\t0\t0\t0\t00000000\n\
                  eth1\t0002A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n\
                  eth2\t00000000\t00000000\t0200\t0\t0\t0\t00000000\n";
        assert_eq!(default_routes_v4(v4), ["eth0"]);
        let zero = "0".repeat(32);
        let v6 = format!(
            "{zero} 00 {zero} 00 fe800000000000000000000000000001 00000400 1 0 00000003     eth0\n\
             {zero} 00 {zero} 00 {zero} ffffffff 1 0 00200200       lo\n\
             fe80000000000000{} 40 {zero} 00 {zero} 00000100 1 0 00000001     eth1\n",
            "0".repeat(16)
        );
        assert_eq!(default_routes_v6(&v6), ["eth0"]);
        assert_eq!(memory_bytes("MemTotal:  10 kB\nMemAvailable:   7 kB\n", "MemAvailable:"), Some(7168));
    }

    #[test]
    fn an_encoder_that_is_too_slow_names_the_preset_that_fits() {
        let high = Quality::High.settings();
        assert!(matches!(judge_encoder(ENCODER_BUILD, 60.0 * MEASURED_PIXELS, high), Finding::Passed(_)));
        let Finding::Failed { mend, .. } = judge_encoder(ENCODER_BUILD, 30.0 * MEASURED_PIXELS, high) else { panic!("it passed") };
        assert!(mend.contains("\"medium\""), "{mend}");
        assert!(matches!(judge_encoder(ENCODER_BUILD, 0.0, high), Finding::Failed { .. }));
        assert!(matches!(judge_encoder("encoder /dev/video11", 0.0, high), Finding::Failed { mend, .. } if mend.contains("software")));
        assert!(matches!(judge_encoder(ENCODER_BUILD, 1.0, high), Finding::Failed { mend, .. } if mend.contains("H.264")));
    }

    #[test]
    fn a_disk_needs_room_for_what_is_still_to_come() {
        let dir = Path::new("recordings");
        assert!(matches!(judge_storage(dir, 1_000_000_000, 3_500_000_000, 4_000_000_000), Finding::Passed(_)));
        let short = judge_storage(dir, 1_000_000_000, 0, 4_000_000_000);
        assert!(matches!(short, Finding::Failed { mend, .. } if mend.contains("keep_mb = 900")));
    }

    #[test]
    fn this_machine_has_a_route_to_itself() {
        assert!(has_route(([127, 0, 0, 1], 9).into()));
    }
}
