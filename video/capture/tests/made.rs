//! Files made at random by ffmpeg, over containers, codecs, tracks, edit lists and cuts: each plays with the pictures that ffprobe finds in it, or says why not.
//!
//! `SIGHTLINE_FILES` is how many are made, `SIGHTLINE_SEED` the seed, which is printed.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use sightline_capture::{
    Opened, SourceError,
    ffmpeg::{Item, Next},
    open_file,
};
use sightline_media::{MediaTime, TrackId};
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

/// xorshift64*: the same files for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.roll(of.len() as u64)).unwrap()]
    }
}

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

/// How a file is made: what it is called, and ffmpeg's arguments for it.
struct Made {
    name: &'static str,
    encode: String,
    /// Without encoding, from the file before.
    copy: Option<String>,
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
    let late = if dice.roll(4) == 0 && !sound.is_empty() { "-itsoffset 0.4" } else { "" };
    let turned = if matches!(name, "f.mp4" | "f.mov") && dice.roll(4) == 0 { "-metadata:s:v rotate=90" } else { "" };
    let preset = if video.starts_with("libx26") { "-preset ultrafast" } else { "" };
    let group = dice.pick(&[5, 10, 30]);
    let encode = format!(
        "-f lavfi -i testsrc2=size=96x64:rate=25 {late} -f lavfi -i sine=sample_rate=44100 -t 1.2 {maps} -c:v {video} {preset} -g {group} {turned} {flags}"
    );
    let is_cut = matches!(name, "f.mp4" | "f.mov") && dice.roll(3) == 0;
    Made { name, encode, copy: is_cut.then(|| format!("-map 0 -c copy -ignore_unknown {flags}")) }
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

/// Pictures that come out here, and frames of sound.
fn played(path: &Path) -> Result<(u64, u64), SourceError> {
    let (mut pictures, mut sound) = (0, 0);
    match open_file(path, UNBOUNDED)? {
        Opened::Clip(clip) => {
            let mut playback = clip.play();
            let mut last = [MediaTime::from_millis(-1); 2];
            while let Some(step) = playback.step().unwrap() {
                let is_sound = step.frame.track == TrackId::AUDIO;
                let last = &mut last[usize::from(is_sound)];
                assert!(step.frame.dts.as_millis() > last.as_millis() && step.frame.pts >= step.frame.dts, "{}", path.display());
                *last = step.frame.dts;
                pictures += u64::from(!is_sound && !step.is_hidden);
                sound += u64::from(is_sound);
            }
        }
        Opened::Ffmpeg(mut decoder, _) => loop {
            match decoder.next(Duration::from_millis(100)) {
                Next::Item(Item::Picture(..)) => pictures += 1,
                Next::Item(Item::Sound(_)) => sound += 1,
                Next::Nothing => {}
                Next::Ended => break,
                Next::Failed(problem) => return Err(SourceError::Ffmpeg { path: path.to_owned(), problem }),
            }
        },
    }
    Ok((pictures, sound))
}

/// Makes one file and plays it; what is wrong with it, if anything.
fn try_one(dice: &mut Dice, dir: &Path) -> Option<String> {
    let Made { name, encode, copy } = make(dice);
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
    let found = played(&path);
    let took = began.elapsed();
    let told = format!("{told}; damaged: {is_damaged}, {kept} of {} bytes: ffprobe has {expected}", bytes.len());
    let is_right = match &found {
        Ok(_) if is_damaged => true,
        Err(error) if is_damaged => error.to_string().contains(name),
        // The picture that a cut goes through counts for one and not for the other.
        Ok((pictures, _)) if kept < bytes.len() => pictures.abs_diff(expected) <= 3,
        // ffprobe leaves out the last picture of some fragmented files, whose edit list was written before the times were known.
        Ok((pictures, _)) if told.contains("frag_") => pictures.abs_diff(expected) <= 1,
        Ok((pictures, _)) => *pictures == expected,
        Err(error) => {
            let text = error.to_string();
            kept < bytes.len() && expected <= 2 && text.contains(name) && !text.contains(".rs:")
        }
    };
    (!is_right || took > ANSWER_MAX).then(|| format!("{told}; {:?} after {took:?}", found.map_err(|error| error.to_string())))
}

#[test]
fn whatever_ffmpeg_makes_plays_or_says_why() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = number("SIGHTLINE_SEED").unwrap_or(clock.as_secs());
    println!("SIGHTLINE_SEED={seed}");
    let dir = tempfile::TempDir::new().unwrap();
    let wrong: Vec<String> = (0..number("SIGHTLINE_FILES").unwrap_or(FILES))
        .filter_map(|file| try_one(&mut Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (file + 1)), dir.path()))
        .collect();
    assert!(wrong.is_empty(), "SIGHTLINE_SEED={seed}: {} files\n{}", wrong.len(), wrong.join("\n"));
}
