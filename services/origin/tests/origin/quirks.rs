//! Publishers as other people's encoders are: each quirk a switch, the real ffmpeg's pictures behind it, and the recording decoded by ffmpeg again.

use crate::clip::{Clip, clip, larger_clip, sliced_clip};
use crate::tokens::{Signer, claims};
use crate::{files, origin_with, until};
use bytes::Bytes;
use interop::dice::{self, Dice};
use sightline_media::{Frame, MediaTime, TrackId, avc};
use sightline_origin::Origin;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Rounds of the clip of 50 pictures in 2 s.
const ROUNDS: i64 = 2;
const CLIP_MS: i64 = 2000;
const PICTURES: usize = 100;

/// What a publisher does otherwise than our own.
#[derive(Clone, Copy, Debug)]
struct Quirks {
    name: &'static str,
    chunk_size: u32,
    header: Header,
    framing: Framing,
    /// AAC frames behind ADTS headers, and no AudioSpecificConfig.
    has_adts: bool,
    /// The container's key-frame flag, whatever the picture is.
    key_flag: Option<bool>,
    /// From the right time of a track to what is sent, in milliseconds.
    time: fn(TrackId, i64) -> i64,
    /// The second round is the larger clip, whose sets come in the stream alone.
    changes_size: bool,
    has_sound: bool,
    /// Each slice in a message of its own, and the parameter sets and supplements, too.
    is_apart: bool,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Header {
    Record,
    None,
    Empty,
    AnnexB,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Framing {
    Lengths,
    ShortLengths,
    StartCodes,
    /// A length, then all NAL units behind start codes.
    Both,
}

const PLAIN: Quirks = Quirks {
    name: "plain",
    chunk_size: 4096,
    header: Header::Record,
    framing: Framing::Lengths,
    has_adts: false,
    key_flag: None,
    time: |_, at| at,
    changes_size: false,
    has_sound: true,
    is_apart: false,
};

/// field.md B, each row's reports beside it.
const ALL: [Quirks; 25] = [
    PLAIN,
    // deepch/vdk#16, nareix/joy4#88
    Quirks { name: "chunks_10mb", chunk_size: 10_000_000, ..PLAIN },
    Quirks { name: "chunks_max", chunk_size: 0x7fff_ffff, ..PLAIN },
    Quirks { name: "chunks_1", chunk_size: 1, has_sound: false, ..PLAIN },
    // winshining/nginx-http-flv-module#208, ossrs/srs#2994
    Quirks { name: "header_none", header: Header::None, ..PLAIN },
    Quirks { name: "header_empty", header: Header::Empty, ..PLAIN },
    // PHZ76/rtmp#14, ant-media/Ant-Media-Server#3790
    Quirks { name: "header_annexb", header: Header::AnnexB, ..PLAIN },
    Quirks { name: "codes", framing: Framing::StartCodes, ..PLAIN },
    Quirks { name: "codes_all", header: Header::AnnexB, framing: Framing::StartCodes, has_adts: true, ..PLAIN },
    Quirks { name: "both", framing: Framing::Both, ..PLAIN },
    Quirks { name: "short_lengths", framing: Framing::ShortLengths, ..PLAIN },
    Quirks { name: "adts", has_adts: true, ..PLAIN },
    // kendryte/k510_buildroot PR 113, HaishinKit/HaishinKit.swift#1515
    Quirks { name: "flag_never", key_flag: Some(false), ..PLAIN },
    Quirks { name: "flag_always", key_flag: Some(true), ..PLAIN },
    // ZLMediaKit#3632, RootEncoder#2048, DDVTECH/mistserver#263, RootEncoder#1039
    Quirks { name: "back_1s", time: |_, at| 9000 + if at < 2000 { at } else { at - 1000 }, ..PLAIN },
    Quirks { name: "back_9s", time: |_, at| 20_000 + if at < 2000 { at } else { at - 9000 }, ..PLAIN },
    Quirks { name: "restart_at_0", time: |_, at| if at < 2000 { 700_000 + at } else { at - 2000 }, ..PLAIN },
    Quirks { name: "loop", time: |_, at| at % 800, ..PLAIN },
    Quirks { name: "ahead_5s", time: |_, at| if at < 2000 { at } else { at + 5000 }, ..PLAIN },
    Quirks { name: "origins", time: |track, at| if track == TrackId::AUDIO { at + 3_000_000 } else { at }, ..PLAIN },
    Quirks { name: "equal_pairs", time: |_, at| at / 80 * 80, ..PLAIN },
    Quirks { name: "fast", time: |_, at| at * 4, ..PLAIN },
    Quirks { name: "zero", time: |_, _| 0, ..PLAIN },
    // yasea#840
    Quirks { name: "size", changes_size: true, ..PLAIN },
    Quirks { name: "slices_apart", is_apart: true, ..PLAIN },
];

/// Publishers of several quirks at once, in each test run; `SIGHTLINE_COMPOSITIONS` makes more.
const COMPOSITIONS: u64 = 6;
/// At one time: a processor sends them in real time.
const COMPOSITIONS_AT_ONCE: usize = 25;

/// Each quirk by itself is in [`ALL`].
fn composed(seed: u64, number: u64) -> Quirks {
    let mut dice = Dice::of(seed, number);
    let (is_apart, is_slow) = (dice.roll(5) == 0, dice.roll(8) == 0);
    let times = ALL.map(|quirks| quirks.time);
    Quirks {
        name: Box::leak(format!("composed_{number}").into_boxed_str()),
        chunk_size: if is_slow { 1 } else { dice.mostly(4096, &[10_000_000, 0x7fff_ffff, 128, 65_536]) },
        header: dice.mostly(Header::Record, &[Header::None, Header::Empty, Header::AnnexB]),
        framing: dice.mostly(Framing::Lengths, &[Framing::ShortLengths, Framing::StartCodes, Framing::Both]),
        has_adts: dice.roll(3) == 0,
        key_flag: dice.mostly(None, &[Some(false), Some(true)]),
        time: dice.pick(&times),
        changes_size: !is_apart && dice.roll(4) == 0,
        has_sound: !is_slow && dice.roll(4) > 0,
        is_apart,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_publisher_has_of_all_that_at_once_every_picture_is_recorded_and_decodes() {
    let (seed, count) = (dice::seed(), dice::number("SIGHTLINE_COMPOSITIONS").unwrap_or(COMPOSITIONS));
    let all: Vec<Quirks> = (0..count).map(|number| composed(seed, number)).collect();
    let (_, _) = (clip(), (larger_clip(), sliced_clip()));
    let mut problems = Vec::new();
    for some in all.chunks(COMPOSITIONS_AT_ONCE) {
        let signer = Signer::new("k1");
        let (origin, dir) = origin_with(&signer, |_| {}).await;
        futures_util::future::join_all(some.iter().map(|quirks| publish(&origin, &signer, *quirks))).await;
        until("the end of the streams", async || origin.streams().is_empty()).await;
        origin.shutdown().await;
        problems.extend(some.iter().filter_map(|quirks| {
            let files = files(&dir.path().join("recordings").join(quirks.name), "mp4");
            problem_of(*quirks, &files).map(|problem| format!("{quirks:?}: {problem}"))
        }));
    }
    assert!(problems.is_empty(), "{} of {count}\n{}", problems.len(), problems.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_picture_of_every_publisher_is_recorded_and_decodes() {
    let signer = Signer::new("k1");
    let (origin, dir) = origin_with(&signer, |_| {}).await;
    let (_, _) = (clip(), (larger_clip(), sliced_clip()));
    let published = ALL.iter().map(|quirks| publish(&origin, &signer, *quirks));
    futures_util::future::join_all(published).await;
    until("the end of the streams", async || origin.streams().is_empty()).await;
    let kinds = origin_metrics(&origin).await;
    origin.shutdown().await;
    let problems = ALL.iter().filter_map(|quirks| {
        let files = files(&dir.path().join("recordings").join(quirks.name), "mp4");
        problem_of(*quirks, &files).map(|problem| format!("{}: {problem}", quirks.name))
    });
    let problems: Vec<_> = problems.collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    for what in [
        "no decoder configuration; the parameter sets in the stream serve",
        "start codes where the lengths of NAL units belong",
        "start codes within NAL units",
        "NAL units behind lengths of another size than the configuration says",
        "pictures called key frames that are none",
        "key frames that are not called so",
        "parameter sets that change in the stream alone",
        "ADTS headers before AAC frames",
        "pictures whose slices come in messages of their own",
        "times that step or begin anew",
        "times that run at another rate than time does",
        "sound and pictures whose times begin apart",
    ] {
        assert!(kinds.contains(&format!("{{fate=\"taken\",what=\"{what}\"}}")), "{what} is not counted:\n{kinds}");
    }
}

async fn origin_metrics(origin: &Origin) -> String {
    reqwest::get(format!("http://{}/metrics", origin.http_addr().unwrap())).await.unwrap().text().await.unwrap()
}

/// Publishes in real time, and hangs up.
async fn publish(origin: &Origin, signer: &Signer, quirks: Quirks) {
    let claims = sightline_signal::Claims { device: sightline_signal::DeviceId::new(quirks.name).unwrap(), ..claims(quirks.name, 1) };
    let mut wire = Wire::connect(origin, &format!("{}?token={}", quirks.name, signer.sign(&claims)), quirks.chunk_size).await;
    let config = clip_of(quirks, false).tracks[0].config.avc().unwrap();
    match quirks.header {
        Header::Record => wire.send(9, 0, &[&[0x17, 0, 0, 0, 0][..], config.as_bytes()].concat()).await,
        Header::Empty => wire.send(9, 0, &[0x17, 0, 0, 0, 0]).await,
        Header::AnnexB => wire.send(9, 0, &[&[0x17, 0, 0, 0, 0][..], &start_codes(config.parameter_sets())].concat()).await,
        Header::None => {}
    }
    if !quirks.has_adts && quirks.has_sound {
        wire.send(8, 0, &[&[0xaf, 0][..], clip().tracks[1].config.as_bytes()].concat()).await;
    }
    let began = tokio::time::Instant::now();
    for frame in frames(quirks) {
        tokio::time::sleep_until(began + Duration::from_millis(frame.dts.as_millis().try_into().unwrap())).await;
        let sent_at = u32::try_from((quirks.time)(frame.track, frame.dts.as_millis())).unwrap();
        for frame in slices(quirks, frame) {
            let (type_id, body) = body(quirks, &frame);
            wire.send(type_id, sent_at, &body).await;
        }
    }
    wire.finish().await;
}

fn clip_of(quirks: Quirks, is_later: bool) -> &'static Clip {
    match quirks {
        Quirks { is_apart: true, .. } => sliced_clip(),
        Quirks { changes_size: true, .. } if is_later => larger_clip(),
        _ => clip(),
    }
}

fn frames(quirks: Quirks) -> Vec<Frame<Bytes>> {
    let round = |clip: &Clip, round: i64| {
        let shift = MediaTime::from_millis(round * CLIP_MS);
        let shifted = clip.frames.iter().map(move |frame| Frame { dts: frame.dts + shift, pts: frame.pts + shift, ..frame.clone() });
        shifted.collect::<Vec<_>>()
    };
    let mut frames: Vec<_> = (0..ROUNDS).flat_map(|at| round(clip_of(quirks, at > 0), at)).collect();
    frames.retain(|frame| frame.track == TrackId::VIDEO || quirks.has_sound);
    frames
}

/// What is sent of a frame at once.
fn slices(quirks: Quirks, frame: Frame<Bytes>) -> Vec<Frame<Bytes>> {
    if !quirks.is_apart || frame.track == TrackId::AUDIO {
        return vec![frame];
    }
    avc::NalUnits::new(&frame.payload, 4).map(|unit| Frame { payload: lengths(&[unit], 4).into(), ..frame.clone() }).collect()
}

/// An FLV tag's body, as such an encoder makes it.
fn body(quirks: Quirks, frame: &Frame<Bytes>) -> (u8, Vec<u8>) {
    if frame.track == TrackId::AUDIO {
        let payload = if quirks.has_adts { [&adts(frame.payload.len())[..], &frame.payload].concat() } else { frame.payload.to_vec() };
        return (8, [&[0xaf, 1][..], &payload].concat());
    }
    let of = clip_of(quirks, frame.dts.as_millis() >= CLIP_MS);
    let config = of.tracks[0].config.avc().unwrap();
    let needs_sets = frame.is_keyframe && (quirks.header != Header::Record || quirks.changes_size);
    let sets = config.parameter_sets().filter(|_| needs_sets);
    let units: Vec<&[u8]> = sets.chain(avc::NalUnits::new(&frame.payload, 4)).collect();
    let is_flagged = quirks.key_flag.unwrap_or(frame.is_keyframe);
    let payload = match quirks.framing {
        Framing::Lengths => lengths(&units, 4),
        Framing::ShortLengths => lengths(&units, 2),
        Framing::StartCodes => start_codes(units.into_iter()),
        Framing::Both => lengths(&[&start_codes(units.into_iter())], 4),
    };
    (9, [&[if is_flagged { 0x17 } else { 0x27 }, 1, 0, 0, 0][..], &payload].concat())
}

fn lengths(units: &[&[u8]], bytes: usize) -> Vec<u8> {
    units.iter().flat_map(|unit| [&u32::try_from(unit.len()).unwrap().to_be_bytes()[4 - bytes..], unit].concat()).collect()
}

/// Start codes of four bytes and of three, by turns.
fn start_codes<'a>(units: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    units.enumerate().flat_map(|(at, unit)| [&[0, 0, 0, 1][at % 2..], unit].concat()).collect()
}

/// AAC-LC, 44,100 Hz, mono.
fn adts(payload_bytes: usize) -> [u8; 7] {
    let length = u16::try_from(payload_bytes + 7).unwrap();
    [0xff, 0xf1, 0x50, 0x40 | (length >> 11) as u8, (length >> 3) as u8, ((length & 7) << 5) as u8 | 0x1f, 0xfc]
}

/// An RTMP connection that publishes by hand.
struct Wire {
    socket: TcpStream,
    chunk_size: u32,
}

impl Wire {
    async fn connect(origin: &Origin, name: &str, chunk_size: u32) -> Self {
        let socket = TcpStream::connect(origin.rtmp_addr()).await.unwrap();
        let mut wire = Self { socket, chunk_size: 128 };
        let mut opening = vec![0; 1 + 2 * 1536];
        opening[0] = 3;
        wire.socket.write_all(&opening).await.unwrap();
        wire.message(2, 1, 0, 0, &chunk_size.to_be_bytes()).await;
        wire.chunk_size = chunk_size;
        wire.message(3, 20, 0, 0, b"\x02\0\x07connect\0\x3f\xf0\0\0\0\0\0\0\x03\0\x03app\x02\0\x04live\0\0\x09").await;
        wire.message(3, 20, 0, 0, b"\x02\0\x0ccreateStream\0\x40\0\0\0\0\0\0\0\x05").await;
        let publish =
            [&b"\x02\0\x07publish\0\x40\x14\0\0\0\0\0\0\x05\x02"[..], &(name.len() as u16).to_be_bytes(), name.as_bytes()].concat();
        wire.message(3, 20, 1, 0, &publish).await;
        wire
    }

    async fn send(&mut self, type_id: u8, timestamp: u32, body: &[u8]) {
        self.message(if type_id == 8 { 4 } else { 6 }, type_id, 1, timestamp, body).await;
        // What it answers is not read by all encoders, and must not fill the socket.
        let mut waste = [0; 4096];
        let _ = self.socket.try_read(&mut waste);
    }

    async fn message(&mut self, csid: u8, type_id: u8, stream_id: u8, timestamp: u32, body: &[u8]) {
        let [_, l1, l2, l3] = (body.len() as u32).to_be_bytes();
        let [_, t1, t2, t3] = timestamp.to_be_bytes();
        let mut out = vec![csid, t1, t2, t3, l1, l2, l3, type_id, stream_id, 0, 0, 0];
        for (place, chunk) in body.chunks(self.chunk_size as usize).enumerate() {
            if place > 0 {
                out.push(0xc0 | csid);
            }
            out.extend_from_slice(chunk);
        }
        self.socket.write_all(&out).await.unwrap();
    }

    /// Ends as encoders do that are switched off.
    async fn finish(mut self) {
        let _ = self.socket.shutdown().await;
        let mut waste = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(5), self.socket.read_to_end(&mut waste)).await;
    }
}

/// What is wrong with a recording: all pictures are there and decode, none is held for long, and the whole is as long as it took.
fn problem_of(quirks: Quirks, files: &[PathBuf]) -> Option<String> {
    let (mut pictures, mut packets, mut length_ms) = (0, 0, 0.0);
    for file in files {
        let file = file.to_str().unwrap();
        let (_, errors) = run("ffmpeg", &["-v", "error", "-i", file, "-map", "0:v", "-f", "null", "-"]);
        // Times that the test's output rounds to pictures are not the recording's.
        if let Some(error) =
            errors.lines().find(|line| !line.contains("monotonically increasing dts to muxer") && !line.contains("Last message"))
        {
            return Some(error.to_owned());
        }
        let (times, _) =
            run("ffprobe", &["-v", "error", "-select_streams", "v", "-show_entries", "frame=pts_time", "-of", "csv=p=0", file]);
        let times: Vec<f64> = times.lines().filter_map(|line| line.trim_matches(',').parse().ok()).collect();
        pictures += times.len();
        let gap = times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
        if times.windows(2).any(|pair| pair[1] <= pair[0]) || gap > 0.3 {
            return Some(format!("a gap of {gap} s: {times:?}"));
        }
        length_ms += (times.last()? - times[0]) * 1000.0;
        let (sound, _) = run("ffprobe", &["-v", "error", "-select_streams", "a", "-show_entries", "packet=size", "-of", "csv=p=0", file]);
        packets += sound.lines().count();
    }
    // The first has gone out in part, and then whole.
    let expected = PICTURES + usize::from(quirks.is_apart);
    let is_whole = pictures == expected && (length_ms - 3960.0_f64).abs() < 700.0 && (!quirks.has_sound || packets > 160);
    (!is_whole).then(|| format!("{pictures} pictures in {length_ms} ms, {packets} packets of sound, {} files", files.len()))
}

/// Standard output and standard error.
fn run(program: &str, arguments: &[&str]) -> (String, String) {
    let output = std::process::Command::new(program).args(arguments).output().unwrap();
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}
