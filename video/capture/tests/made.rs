//! Files made at random by ffmpeg, over containers, codecs, tracks, edit lists and cuts: each plays with the pictures that were put in, or says why not.
//!
//! Each picture has its number drawn into it, as eight bars, so that what comes out is held against what was put in and not against ffmpeg's word alone.
//!
//! `SIGHTLINE_FILES` is how many are made, `SIGHTLINE_SEED` the seed, which is printed.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::dice::{self, Dice};
use sightline_capture::{
    Opened, SourceError,
    ffmpeg::{Decoder, Item, Next},
    open_file,
};
use sightline_media::{MediaTime, TrackConfig, TrackId, avc};
use sightline_signal::Settings;
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

const UNBOUNDED: Settings = Settings { width: 8192, height: 8192, fps: 240, bitrate_bps: 0 };
/// Made in each test run: a few of each kind.
const FILES: u64 = 20;
/// An answer takes five seconds; a busy machine three times as long.
const ANSWER_MAX: Duration = Duration::from_secs(15);

const H264: [&str; 8] = [
    "libx264 -profile:v baseline -pix_fmt yuv420p",
    "libx264 -profile:v main -bf 2 -pix_fmt yuv420p",
    "libx264 -profile:v high -bf 3 -b_strategy 0 -pix_fmt yuv420p",
    "libx264 -x264-params open-gop=1:bframes=2 -pix_fmt yuv420p",
    "libx264 -profile:v high10 -pix_fmt yuv420p10le",
    "libx264 -pix_fmt yuv422p",
    "libx264 -pix_fmt yuv444p",
    "libx264 -flags +ilme+ildct -pix_fmt yuv420p",
];
const HEVC: &str = "libx265 -x265-params log-level=none -pix_fmt yuv420p";

/// Stands for the number of a picture that could not be decoded.
const NOT_DECODED: u64 = u64::MAX;
/// Width and height of the pictures, how many there are, and how long each is shown.
const WIDTH: usize = 96;
const HEIGHT: usize = 64;
const PICTURES: u64 = 30;
const PICTURE_MS: i64 = 40;
/// Eight bars, the first one the number's lowest bit: bright is one.
const DRAWN: &str = "color=size=96x64:rate=25,geq=lum='if(mod(floor(N/pow(2,floor(X/12))),2),220,30)':cb=128:cr=128";

/// The number that is drawn into a picture; one that was turned has its bars from top to bottom.
fn number_of(luma: &[u8], width: usize, height: usize) -> u64 {
    let is_bright = |bar: usize| {
        let (x, y) = if width >= height { ((2 * bar + 1) * width / 16, height / 2) } else { (width / 2, (2 * bar + 1) * height / 16) };
        let around = [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(right, down)| u64::from(luma[(y + down) * width + x + right]));
        around.iter().sum::<u64>() / 4 > 125
    };
    (0..8).filter(|bar| is_bright(*bar)).map(|bar| 1 << bar).sum()
}

/// How a file is made: what it is called, and ffmpeg's arguments for it.
struct Made {
    name: &'static str,
    encode: String,
    /// Without encoding, from the file before.
    copy: Option<String>,
    /// How much later than the pictures the sound begins, in milliseconds; `None`: there is none.
    sound_at_ms: Option<i64>,
    is_turned: bool,
}

impl Made {
    fn is_fragmented(&self) -> bool {
        self.encode.contains("frag_")
    }
}

fn make(dice: &mut Dice) -> Made {
    let (name, flags) = dice.pick(&[
        ("f.mp4", ""),
        ("f.mp4", "-movflags +faststart"),
        ("f.mov", "-timecode 00:00:00:00"),
        ("f.mp4", "-movflags frag_keyframe+empty_moov"),
        ("f.mp4", "-movflags frag_every_frame+empty_moov+default_base_moof"),
        ("f.flv", ""),
        ("f.mkv", ""),
        ("f.ts", ""),
        ("f.avi", ""),
        ("f.h264", ""),
        ("f.h265", ""),
    ]);
    let h264 = dice.pick(&H264);
    let (video, sounds): (&str, &[&str]) = match name {
        "f.flv" => (h264, &["", "aac", "mp3"]),
        "f.avi" => (dice.pick(&["mpeg4", "mjpeg -pix_fmt yuvj420p", H264[0]]), &["", "mp3", "pcm_s16le"]),
        "f.ts" => (dice.pick(&[h264, h264, HEVC, "mpeg2video"]), &["", "aac", "mp2"]),
        "f.mkv" => (dice.pick(&[h264, h264, HEVC, "mpeg4", "libvpx-vp9 -deadline realtime -cpu-used 8"]), &["", "aac", "flac"]),
        "f.h264" => (h264, &[""]),
        "f.h265" => (HEVC, &[""]),
        _ => (dice.pick(&[h264, h264, h264, HEVC, "mpeg4"]), &["", "aac", "aac", "mp3", "ac3"]),
    };
    let sound = dice.pick(sounds);
    let has_tracks = !matches!(name, "f.flv" | "f.h264" | "f.h265");
    let maps = match sound {
        "" => "-map 0:v -an".to_owned(),
        sound if has_tracks && dice.roll(3) == 0 => format!("-map 0:v -map 1:a -map 1:a -c:a {sound}"),
        sound => format!("-map 0:v -map 1:a -c:a {sound}"),
    };
    let is_late = dice.roll(4) == 0 && !sound.is_empty();
    let late = if is_late { "-itsoffset 0.4" } else { "" };
    let is_turned = matches!(name, "f.mp4" | "f.mov") && dice.roll(4) == 0;
    let turned = if is_turned { "-metadata:s:v rotate=90" } else { "" };
    let preset = if video.starts_with("libx26") { "-preset ultrafast" } else { "" };
    let group = dice.pick(&[5, 10, 30]);
    let encode = format!(
        "-f lavfi -i {DRAWN} {late} -f lavfi -i sine=sample_rate=44100 -t 1.2 {maps} -c:v {video} {preset} -g {group} {turned} {flags}"
    );
    let is_cut = matches!(name, "f.mp4" | "f.mov") && dice.roll(3) == 0;
    let copy = is_cut.then(|| format!("-map 0 -c copy -ignore_unknown {flags}"));
    Made { name, encode, copy, sound_at_ms: (!sound.is_empty()).then_some(if is_late { 400 } else { 0 }), is_turned }
}

fn run(program: &str, args: &str, file: &Path, behind: &str) -> Option<String> {
    let mut command = Command::new(program);
    command.args(["-v", "error"]).args(args.split_whitespace()).arg(file).args(behind.split_whitespace());
    let run = command.output().unwrap();
    run.status.success().then(|| String::from_utf8_lossy(&run.stdout).into_owned())
}

/// Pictures that ffprobe decodes.
fn probed(path: &Path) -> u64 {
    let args = "-count_frames -select_streams V:0 -show_entries stream=nb_read_frames -of csv=p=0";
    run("ffprobe", args, path, "").and_then(|text| text.split([',', '\n']).find_map(|field| field.trim().parse().ok())).unwrap_or(0)
}

/// What came out of a file.
#[derive(Default, Debug)]
struct Played {
    /// By ffmpeg, or as it lay in the file.
    by_ffmpeg: bool,
    /// When each is shown, in milliseconds, and its number; in the order in which they are shown.
    pictures: Vec<(i64, u64)>,
    /// When each frame of sound is heard.
    sound: Vec<i64>,
}

/// How true a container is to the times that were put into it.
struct Truth {
    /// How far a picture may be from where it was.
    picture_ms: i64,
    /// The same of the sound's beginning; `None`: it has no word for it.
    sound_ms: Option<i64>,
}

impl Truth {
    fn of(made: &Made) -> Self {
        match made.name {
            // Its edit list was written before the times were known.
            _ if made.is_fragmented() => Self { picture_ms: 100, sound_ms: None },
            // Its times are counted, not written: the first picture lasts as long as the sound's encoder looks ahead.
            "f.avi" => Self { picture_ms: PICTURE_MS, sound_ms: None },
            // An encoder's first frame of sound holds what it looked ahead.
            _ => Self { picture_ms: 2, sound_ms: Some(90) },
        }
    }
}

fn played(path: &Path, is_whole: bool) -> Result<Played, SourceError> {
    let mut played = Played::default();
    match open_file(path, UNBOUNDED)? {
        Opened::Clip(clip) => {
            if let Some(what) = clip.foreign_sound() {
                match Decoder::start_sound(path, what) {
                    Ok(mut decoder) => read(&mut decoder, path, &mut played)?,
                    // It is left out where nothing of it is left.
                    Err(_) if !is_whole => {}
                    Err(error) => return Err(error),
                }
                played.sound.iter_mut().for_each(|time_ms| *time_ms -= clip.zero().as_millis());
            }
            let (mut playback, mut last) = (clip.play(), [MediaTime::from_millis(-1); 2]);
            let (mut stream, mut times, mut length, mut kind) = (Vec::new(), Vec::new(), 4, "h264");
            while let Some(step) = playback.step().unwrap() {
                let is_sound = step.frame.track == TrackId::AUDIO;
                let last = &mut last[usize::from(is_sound)];
                assert!(step.frame.dts.as_millis() > last.as_millis() && step.frame.pts >= step.frame.dts, "{}", path.display());
                *last = step.frame.dts;
                if is_sound {
                    played.sound.push(step.frame.pts.as_millis());
                    continue;
                }
                match step.track.map(|track| track.config) {
                    Some(TrackConfig::H264(config)) => {
                        length = config.length_bytes();
                        config.parameter_sets().for_each(|set| push_nal(&mut stream, set));
                    }
                    Some(TrackConfig::Coded(config)) => {
                        (kind, length) = ("hevc", config.length_bytes());
                        hevc_sets(config.as_bytes()).iter().for_each(|set| push_nal(&mut stream, set));
                    }
                    Some(TrackConfig::Aac(_)) | None => {}
                }
                avc::NalUnits::new(&step.frame.payload, length).for_each(|nal| push_nal(&mut stream, nal));
                times.push((step.frame.pts.as_millis(), step.is_hidden));
            }
            times.sort_unstable();
            let numbers = decoded(&stream, kind, path);
            // Not all of them can be decoded: the first of an open group, and whatever a cut goes through.
            let missing = if is_whole { times.len().saturating_sub(numbers.len()) } else { 0 };
            let numbers = std::iter::repeat_n(None, missing).chain(numbers.into_iter().map(Some)).chain(std::iter::repeat(None));
            let shown = times.into_iter().zip(numbers).filter(|((_, is_hidden), _)| !is_hidden);
            played.pictures = shown.map(|((time, _), number)| (time, number.unwrap_or(NOT_DECODED))).collect();
        }
        Opened::Ffmpeg(mut decoder, _) => {
            played.by_ffmpeg = true;
            read(&mut decoder, path, &mut played)?;
        }
    }
    Ok(played)
}

/// All that ffmpeg gives.
fn read(decoder: &mut Decoder, path: &Path, played: &mut Played) -> Result<(), SourceError> {
    loop {
        match decoder.next(Duration::from_millis(100)) {
            Next::Item(Item::Picture(picture, at)) => {
                played.pictures.push((at.as_millis(), number_of(picture.planes()[0], picture.width(), picture.height())));
            }
            Next::Item(Item::Sound(frame)) => played.sound.push(frame.pts.as_millis()),
            Next::Nothing => {}
            Next::Ended => return Ok(()),
            Next::Failed(problem) => return Err(SourceError::Ffmpeg { path: path.to_owned(), problem }),
        }
    }
}

fn push_nal(stream: &mut Vec<u8>, nal: &[u8]) {
    stream.extend_from_slice(&[0, 0, 0, 1]);
    stream.extend_from_slice(nal);
}

/// The sets of an `hvcC` (ISO/IEC 14496-15 §8.3.3.1).
fn hevc_sets(record: &[u8]) -> Vec<&[u8]> {
    let (mut sets, mut rest) = (Vec::new(), &record[23..]);
    for _ in 0..record[22] {
        let count = u16::from_be_bytes([rest[1], rest[2]]);
        rest = &rest[3..];
        for _ in 0..count {
            let (set, behind) = rest[2..].split_at(usize::from(u16::from_be_bytes([rest[0], rest[1]])));
            sets.push(set);
            rest = behind;
        }
    }
    sets
}

/// The numbers of the pictures of a stream, in the order in which they are shown.
fn decoded(stream: &[u8], kind: &str, beside: &Path) -> Vec<u64> {
    let path = beside.with_extension("annexb");
    std::fs::write(&path, stream).unwrap();
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "quiet", "-f", kind, "-i"]).arg(&path);
    command.args(["-vsync", "passthrough", "-pix_fmt", "gray", "-f", "rawvideo", "-"]);
    let luma = command.output().unwrap().stdout;
    luma.chunks_exact(WIDTH * HEIGHT).map(|luma| number_of(luma, WIDTH, HEIGHT)).collect()
}

/// What is wrong with what came out of a file, whole or with its end cut off.
fn wrong_with(played: &Played, made: &Made, is_whole: bool) -> Option<String> {
    let (first_ms, first) = *played.pictures.first()?;
    if made.copy.is_some() && made.is_fragmented() {
        // Such a copy has no edit list: it begins where it likes, and its first times are made up.
        let numbers: Vec<u64> = played.pictures.iter().map(|(_, number)| *number).filter(|number| *number != NOT_DECODED).collect();
        return (!numbers.is_sorted()).then(|| format!("{numbers:?} are not in order"));
    }
    // Where nothing is left of what the edit list shows, what it hides is shown.
    let begins_right = if made.copy.is_some() { (7..=8).contains(&first) || (!is_whole && first == 0) } else { first == 0 };
    // What a cut goes through lacks pictures that others are made from.
    let is_sure = played.pictures.len().saturating_sub(if is_whole { 0 } else { 4 });
    if !begins_right && is_sure > 0 {
        return Some(format!("the first picture is {first}"));
    }
    let truth = Truth::of(made);
    for (nth, (time_ms, number)) in played.pictures.iter().enumerate().take(is_sure) {
        let nth = nth as u64;
        if *number != first + nth {
            return Some(format!("picture {} is {number}", first + nth));
        }
        let expected_ms = first_ms + i64::try_from(nth).unwrap() * PICTURE_MS;
        if (time_ms - expected_ms).abs() > truth.picture_ms {
            return Some(format!("picture {number} is at {time_ms} ms and not at {expected_ms}"));
        }
    }
    if is_whole && played.pictures.last()?.1 < PICTURES - 1 - u64::from(made.is_fragmented()) {
        return Some(format!("the last picture is {}", played.pictures.last()?.1));
    }
    let at_ms = made.sound_at_ms.filter(|at_ms| is_whole && made.copy.is_none() && (made.name != "f.avi" || *at_ms == 0))?;
    let Some((&begins_ms, &ends_ms)) = played.sound.first().zip(played.sound.last()) else {
        return Some("its sound is missing".to_owned());
    };
    let late_ms = begins_ms - first_ms;
    if truth.sound_ms.is_some_and(|off_ms_max| (late_ms - at_ms).abs() > off_ms_max) {
        return Some(format!("its sound begins {late_ms} ms after its pictures and not {at_ms}"));
    }
    let ends_at_ms = i64::try_from(PICTURES).unwrap() * PICTURE_MS;
    ((ends_ms - first_ms - ends_at_ms).abs() > 120).then(|| format!("its sound ends at {} ms and not at {ends_at_ms}", ends_ms - first_ms))
}

/// Which way a file went.
#[derive(Clone, Copy, Debug)]
enum Way {
    Ours,
    Ffmpeg,
    Refused,
}

/// Makes one file and plays it: which way it went, and what is wrong with it, if anything.
fn try_one(dice: &mut Dice, dir: &Path) -> Option<(Way, Option<String>)> {
    let made = make(dice);
    let Made { name, encode, copy, is_turned, .. } = &made;
    let mut path: PathBuf = dir.join(name);
    let mut told = encode.clone();
    run("ffmpeg", &format!("-y {encode}"), &path, "")?;
    if let Some(copy) = copy {
        let cut = dir.join(format!("cut-{name}"));
        let args = format!("-y -ss 0.3 -i {} {copy}", path.display());
        told = format!("{told}; {args}");
        run("ffmpeg", &args, &cut, "")?;
        path = cut;
    }
    let bytes = std::fs::read(&path).unwrap();
    let kept = if dice.roll(2) == 0 { bytes.len() } else { usize::try_from(dice.roll(bytes.len() as u64)).unwrap() };
    let mut left = bytes[..kept].to_vec();
    // A disk that gives other bytes back than it was given.
    let is_damaged = dice.roll(4) == 0;
    for _ in 0..if is_damaged { 8 } else { 0 } {
        let at = usize::try_from(dice.roll(left.len().max(1) as u64)).unwrap();
        left.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << dice.roll(8));
    }
    std::fs::write(&path, left).unwrap();
    let (expected, began) = (probed(&path), Instant::now());
    let found = played(&path, kept == bytes.len() && !is_damaged);
    let took = began.elapsed();
    let told = format!("{told}; damaged: {is_damaged}, {kept} of {} bytes: ffprobe has {expected}", bytes.len());
    let is_whole = kept == bytes.len();
    // Which way ffmpeg turned the pictures is not the question here.
    let is_readable = |played: &Played| !(is_damaged || *is_turned && played.by_ffmpeg);
    let problem = found.as_ref().ok().filter(|played| is_readable(played)).and_then(|played| wrong_with(played, &made, is_whole));
    let is_right = match &found {
        _ if problem.is_some() => false,
        Ok(_) if is_damaged => true,
        Err(error) if is_damaged => error.to_string().contains(*name),
        // The picture that a cut goes through counts for one and not for the other; and ffprobe reads no index that is not whole.
        Ok(played) if !is_whole => played.pictures.len() as u64 + 3 >= expected,
        // ffprobe leaves out the last picture of some fragmented files.
        Ok(played) if made.is_fragmented() => (played.pictures.len() as u64).abs_diff(expected) <= 1,
        Ok(played) => played.pictures.len() as u64 == expected,
        Err(error) => {
            let text = error.to_string();
            !is_whole && expected <= 2 && text.contains(*name) && !text.contains(".rs:")
        }
    };
    let way = match &found {
        Ok(played) if played.by_ffmpeg => Way::Ffmpeg,
        Ok(_) => Way::Ours,
        Err(_) => Way::Refused,
    };
    let wrong = (!is_right || took > ANSWER_MAX)
        .then(|| format!("{told}; {} {:?} after {took:?}", problem.unwrap_or_default(), found.map_err(|error| error.to_string())));
    Some((way, wrong))
}

#[test]
fn whatever_ffmpeg_makes_plays_or_says_why() {
    let seed = dice::seed();
    let dir = tempfile::TempDir::new().unwrap();
    let files = dice::number("SIGHTLINE_FILES").unwrap_or(FILES);
    let (mut ways, mut wrong) = ([0_u64; 3], Vec::new());
    for (way, problem) in (0..files).filter_map(|file| try_one(&mut Dice::of(seed, file), dir.path())) {
        ways[way as usize] += 1;
        wrong.extend(problem);
    }
    let [ours, ffmpeg, refused] = ways;
    println!(
        "of {files} files {ours} were read by our own readers, {ffmpeg} by ffmpeg, {refused} refused with the reason; the rest could not be made"
    );
    assert!(ours > 0 && ffmpeg > 0, "both ways are gone");
    assert!(wrong.is_empty(), "SIGHTLINE_SEED={seed}: {} files\n{}", wrong.len(), wrong.join("\n"));
}
