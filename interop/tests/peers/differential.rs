//! One clip by three publishers through two servers to the same player: the access units and their times are the same on all paths,
//! also when the publisher is killed in the middle and comes back.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::{
    Process, Stack, media, nginx,
    process::{eventually, sightline},
    stack,
};
use std::{path::Path, process::Command, time::Duration};
use tempfile::TempDir;

/// Times are rounded to milliseconds once on the way in and once on the way out.
const ROUNDING_MS: i64 = 2;

type Publisher = fn(&Path, &str) -> Command;

fn ours(clip: &Path, url: &str) -> Command {
    let mut command = Command::new(sightline());
    command.args(["push", clip.to_str().unwrap(), url, "--once"]);
    command
}

fn ffmpeg(clip: &Path, url: &str) -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "warning", "-re", "-i"]).arg(clip).args(["-c", "copy", "-f", "flv", url]);
    command
}

fn gstreamer(clip: &Path, url: &str) -> Command {
    let mut command = Command::new("gst-launch-1.0");
    command.args(["-q", "filesrc", &format!("location={}", clip.display()), "!", "flvdemux", "name=d"]);
    command.args(["flvmux", "streamable=true", "name=m", "!", "rtmp2sink", "sync=true", &format!("location={url}")]);
    command.args(["d.video", "!", "queue", "!", "h264parse", "!", "video/x-h264,stream-format=avc,alignment=au", "!", "m.video"]);
    command.args(["d.audio", "!", "queue", "!", "aacparse", "!", "m.audio"]);
    command
}

/// Prints each packet as it is demuxed, with nothing put right.
struct Player(Process);

impl Player {
    fn start(dir: &Path, name: &str, url: &str) -> Self {
        let mut command = Command::new("stdbuf");
        command.args(["-oL", "ffprobe", "-v", "error", "-show_packets", "-show_data_hash", "md5", "-show_entries"]);
        command.args(["packet=codec_type,dts_time,data_hash", "-of", "compact=p=0", "-i", url]);
        Self(Process::start(name, dir, &mut command))
    }

    fn packets(mut self) -> Vec<media::Packet> {
        // It waits for more; each packet was printed as soon as it came.
        self.0.kill();
        let printed = self.0.log();
        let packet = |line: &str| {
            let field = |name: &str| line.split('|').find_map(|field| field.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned);
            let dts_ms = (field("dts_time")?.parse::<f64>().ok()? * 1000.0).round() as i64;
            Some(media::Packet { kind: field("codec_type")?, dts_ms, hash: field("data_hash")?, is_keyframe: false })
        };
        printed.lines().filter_map(packet).collect()
    }
}

/// What one path delivered of a medium: runs of the clip, each as (first index in the clip, packets).
fn runs(received: &[media::Packet], clip: &[media::Packet], kind: &str, path: &str) -> Vec<(usize, usize)> {
    let only = |packets: &[media::Packet]| packets.iter().filter(|packet| packet.kind == kind).cloned().collect::<Vec<_>>();
    let (received, clip) = (only(received), only(clip));
    let mut runs: Vec<(usize, usize)> = Vec::new();
    let mut at = 0;
    while at < received.len() {
        let continues = runs.last().and_then(|(start, count)| clip.get(start + count)).is_some_and(|next| next.hash == received[at].hash);
        if !continues {
            let start = clip.iter().position(|packet| packet.hash == received[at].hash);
            runs.push((start.unwrap_or_else(|| panic!("{path}: {kind} packet {at} is none of the clip's")), 0));
        }
        let (start, count) = runs.last_mut().unwrap();
        // Times within a run are the clip's, moved by the run's offset.
        let offset = |index: usize| received[index].dts_ms - clip[*start + *count + index - at].dts_ms;
        if *count > 0 {
            let drift = (received[at].dts_ms - received[at - 1].dts_ms) - (clip[*start + *count].dts_ms - clip[*start + *count - 1].dts_ms);
            assert!(drift.abs() <= ROUNDING_MS, "{path}: {kind} packet {at} is {drift} ms off (offset {})", offset(at));
        }
        *count += 1;
        at += 1;
    }
    runs
}

fn same_on_all_paths(name: &str, publisher: Publisher, b_frames: u32) {
    let stack = Stack::start();
    let _ = stack.add_device("cam");
    let dir = TempDir::new().unwrap();
    let (_nginx, nginx_url) = nginx::start(dir.path());
    let clip = dir.path().join("clip.flv");
    media::make_clip_with(&clip, 8, "320x180", 25, b_frames);
    let file = media::packets(clip.to_str().unwrap(), None);
    let targets = [stack.publish_url("cam"), format!("{nginx_url}/{name}")];
    let start = |round: u32| targets.clone().map(|url| Process::start(&format!("{name}-{round}"), dir.path(), &mut publisher(&clip, &url)));
    let mut first = start(1);
    let playback = eventually("the stream is live", Duration::from_secs(20), || {
        stack::streams(&stack.http).0.first().and_then(|stream| stream["playback"].as_str().map(str::to_owned))
    });
    let players = [
        ("origin by RTMP", format!("rtmp://{}/live/{playback}", stack.rtmp)),
        ("origin by HTTP-FLV", format!("http://{}/live/{playback}.flv", stack.origin_http)),
        ("nginx-rtmp", format!("{nginx_url}/{name}")),
    ]
    .map(|(path, url)| (path, Player::start(dir.path(), &path.replace(' ', "-"), &url)));
    std::thread::sleep(Duration::from_secs(4));
    first.iter_mut().for_each(Process::kill);
    std::thread::sleep(Duration::from_secs(1));
    let mut second = start(2);
    for process in &mut second {
        let _ = process.wait(Duration::from_secs(30));
    }
    std::thread::sleep(Duration::from_millis(500));
    for (path, player) in players {
        let received = player.packets();
        for kind in ["video", "audio"] {
            let runs = runs(&received, &file, kind, &format!("{name} to {path}"));
            let all = file.iter().filter(|packet| packet.kind == kind).count();
            let [(_, before), (again, after)] = runs[..] else { panic!("{name} to {path}: {kind} came in {runs:?}") };
            assert!(before > all / 6, "{name} to {path}: {before} {kind} packets before the kill");
            // The first packets of the second publisher may be those that a server does not pass on before a key frame.
            assert!(again <= 4 && again + after + 4 >= all, "{name} to {path}: {kind} {again}..{} of {all} after it", again + after);
        }
    }
}

#[test]
fn our_publisher_is_the_same_through_both_servers() {
    same_on_all_paths("ours", ours, 2);
}

#[test]
fn ffmpeg_is_the_same_through_both_servers() {
    same_on_all_paths("ffmpeg", ffmpeg, 2);
}

#[test]
fn gstreamer_is_the_same_through_both_servers() {
    // GStreamer 1.22 gives the first pictures before B-frames other decoding times than the file has.
    same_on_all_paths("gstreamer", gstreamer, 0);
}
