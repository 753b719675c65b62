//! Files as they really are, each with the report that it comes from, held against what ffmpeg makes of them.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use super::*;
use crate::{SourceError, open_file};
use sightline_media::annexb::NalUnits;
use sightline_signal::Settings;
use std::{process::Command, sync::LazyLock};
use tempfile::TempDir;

/// Eight seconds as a camera's: 200 pictures, a key frame each 50, and sound. Made once for all tests.
static BASE: LazyLock<(TempDir, PathBuf)> = LazyLock::new(|| {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("base.mp4");
    ffmpeg(
        "-f lavfi -i testsrc2=size=320x180:rate=25 -f lavfi -i sine=frequency=440:sample_rate=44100 -t 8 -c:v libx264 -preset ultrafast \
         -profile:v baseline -g 50 -sc_threshold 0 -pix_fmt yuv420p -c:a aac -b:a 64k",
        &path,
    );
    (dir, path)
});

const UNBOUNDED: Settings = Settings { width: 8192, height: 8192, fps: 240, bitrate_bps: 0 };

fn ffmpeg(args: &str, out: &Path) {
    let run = Command::new("ffmpeg").args(["-v", "error", "-y"]).args(args.split_whitespace()).arg(out).output().unwrap();
    assert!(run.status.success(), "{args}: {}", String::from_utf8_lossy(&run.stderr));
}

/// What ffmpeg makes of the base clip.
fn made(args: &str, name: &str) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join(name);
    ffmpeg(&args.replace("BASE", BASE.1.to_str().unwrap()), &path);
    (dir, path)
}

fn file(name: &str, bytes: &[u8]) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (dir, path)
}

fn open(path: &Path) -> Clip {
    match Clip::open(path).unwrap() {
        Looked::Clip(clip) => clip,
        Looked::Foreign(what) => panic!("{}: {what}", path.display()),
    }
}

/// All of a clip.
fn steps(clip: &Clip) -> Vec<Step> {
    let mut playback = clip.play();
    std::iter::from_fn(|| playback.step().unwrap()).collect()
}

fn of(steps: &[Step], track: TrackId) -> Vec<&Step> {
    steps.iter().filter(|step| step.frame.track == track).collect()
}

/// Pictures that a decoder makes of it, and the sizes that it is told of.
fn decode(clip: &Clip) -> (usize, Vec<(u32, u32)>) {
    let mut decoder = sightline_h264::Decoder::for_stream().unwrap();
    let (mut pictures, mut sizes, mut config) = (0, Vec::new(), None);
    for step in steps(clip).into_iter().filter(|step| step.frame.track == TrackId::VIDEO) {
        if let Some(track) = step.track {
            sizes.extend(track.config.size());
            config = Some(track);
        }
        let known = config.as_ref().and_then(|track| track.config.avc()).filter(|_| step.frame.is_keyframe);
        pictures += usize::from(decoder.decode(known, &step.frame.payload, avc::LENGTH_BYTES).is_some());
    }
    decoder.drain(|_| pictures += 1);
    (pictures, sizes)
}

/// Decoding times of a track rise, by what RTMP can tell.
fn assert_rising(steps: &[Step]) {
    for track in [TrackId::VIDEO, TrackId::AUDIO] {
        let times: Vec<i64> = of(steps, track).iter().map(|step| step.frame.dts.as_millis()).collect();
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{track:?}: {times:?}");
    }
}

/// Source: gpac/mp4box.js#120. QuickTime's sound description has more fields, and a track of time codes is none of ours.
#[test]
fn a_telephone_s_quicktime_file_is_read_with_its_sound() {
    let (_dir, path) = made("-i BASE -c copy -timecode 00:00:00:00", "phone.mov");
    let steps = steps(&open(&path));
    assert_eq!([TrackId::VIDEO, TrackId::AUDIO].map(|track| of(&steps, track).len()), [200, 346]);
    assert_rising(&steps);
}

/// Source: ponchio/untrunc#276.
#[test]
fn of_two_tracks_of_sound_the_first_is_sent_and_a_word_is_said() {
    let (_dir, path) = made("-i BASE -map 0:v -map 0:a -map 0:a -c copy", "two.mp4");
    let clip = open(&path);
    assert_eq!(of(&steps(&clip), TrackId::AUDIO).len(), 346);
    assert!(clip.remarks()[0].contains("2 tracks of sound: track 2"), "{:?}", clip.remarks());
}

/// Source: HandBrake#568.
#[test]
fn sound_that_an_empty_edit_delays_begins_late() {
    let (_dir, path) = made("-i BASE -itsoffset 2 -i BASE -map 0:v -map 1:a -c copy -t 8", "late.mp4");
    let steps = steps(&open(&path));
    let (video, audio) = (of(&steps, TrackId::VIDEO), of(&steps, TrackId::AUDIO));
    let late = (audio[0].frame.pts - video[0].frame.pts).as_millis();
    assert!((1_950..=2_001).contains(&late), "{late} ms");
}

/// Source: gpac#1405. Cut at 1 s without encoding: the pictures from the key frame on are there, and are not shown.
#[test]
fn pictures_before_a_cut_are_decoded_and_hidden() {
    let (_dir, path) = made("-ss 1 -i BASE -c copy", "cut.mp4");
    let clip = open(&path);
    let steps = steps(&clip);
    let video = of(&steps, TrackId::VIDEO);
    assert!(clip.hides_pictures() && video[0].frame.is_keyframe && video[0].is_hidden);
    let shown: Vec<_> = video.iter().filter(|step| !step.is_hidden).collect();
    assert_eq!((video.len(), shown.len()), (200, 175));
    let audio = of(&steps, TrackId::AUDIO)[0].frame.pts;
    let apart = (shown[0].frame.pts - audio).as_millis();
    assert!((0..=50).contains(&apart), "sound begins with the first picture that is shown: {apart} ms");
}

/// The offsets that B-frames need are no cut.
#[test]
fn an_edit_list_that_makes_up_for_b_frames_hides_nothing() {
    let (_dir, path) = made("-i BASE -c:v libx264 -preset ultrafast -bf 2 -b_strategy 0 -c:a copy", "b.mp4");
    let clip = open(&path);
    let steps = steps(&clip);
    assert!(!clip.hides_pictures() && of(&steps, TrackId::VIDEO).len() == 200);
    assert!(of(&steps, TrackId::VIDEO).iter().any(|step| step.frame.pts > step.frame.dts));
    assert_eq!(decode(&clip).0, 200);
}

/// Two sizes with sets of one id, as cameras change their mode.
fn two_sizes() -> Vec<u8> {
    let (_dir, small) = made("-i BASE -an -t 4 -c copy", "small.h264");
    let (_dir2, large) = made("-i BASE -an -t 4 -c:v libx264 -preset ultrafast -profile:v baseline -vf scale=640:360 -g 50", "large.h264");
    [std::fs::read(small).unwrap(), std::fs::read(large).unwrap()].concat()
}

/// Source: ireader/media-server#68.
#[test]
fn a_byte_stream_that_changes_its_size_tells_so_before_the_first_frame() {
    let (_dir, path) = file("sizes.h264", &two_sizes());
    assert_eq!(decode(&open(&path)), (200, vec![(320, 180), (640, 360)]));
}

/// An FLV of byte streams, each with a sequence header before it.
fn flv(streams: &[&[u8]], has_header: bool, is_annex_b: bool, has_sets: bool) -> Vec<u8> {
    let mut out = b"FLV\x01\x01\0\0\0\x09\0\0\0\0".to_vec();
    let mut millis = 0_u32;
    let mut put = |millis: u32, body: &[u8]| {
        let [_, size @ ..] = u32::try_from(body.len()).unwrap().to_be_bytes();
        let [high, time @ ..] = millis.to_be_bytes();
        out.extend([&[9][..], &size, &time, &[high, 0, 0, 0], body, &(u32::try_from(body.len()).unwrap() + 11).to_be_bytes()].concat());
    };
    for stream in streams {
        let mut pictures = crate::pictures::Pictures::new(*stream);
        while let Some(picture) = pictures.next_picture().unwrap() {
            if let Some(config) = picture.config.as_ref().filter(|_| has_header) {
                put(millis, &[&[0x17, 0, 0, 0, 0][..], config.as_bytes()].concat());
            }
            let body = if is_annex_b { picture.stream.to_vec() } else { h264::to_lengths(&picture.stream, has_sets) };
            // Flags as some encoders have them: never a key frame.
            put(millis, &[&[0x27, 1, 0, 0, 0][..], &body].concat());
            millis += 40;
        }
    }
    out
}

/// Source: google/ExoPlayer#3141, ossrs/srs#1358, ireader/media-server#68.
#[test]
fn flv_goes_by_the_sequence_header_before_a_frame_or_by_the_sets_within_it() {
    let sizes = two_sizes();
    for (has_header, is_annex_b, has_sets) in [(true, false, false), (false, false, true), (false, true, true), (true, true, false)] {
        let (_dir, path) = file("sizes.flv", &flv(&[&sizes], has_header, is_annex_b, has_sets));
        let (pictures, told) = decode(&open(&path));
        assert_eq!((pictures, told), (200, vec![(320, 180), (640, 360)]), "{has_header} {is_annex_b} {has_sets}");
    }
    let (_dir, path) = file("none.flv", &flv(&[&sizes], false, false, false));
    let error = Clip::open(&path).unwrap_err().to_string();
    assert!(error.contains("none.flv") && error.contains("parameter sets"), "{error}");
}

/// A stream may have a set of PPS, and go by each in turn.
#[test]
fn all_parameter_sets_of_a_stream_are_told() {
    let (_dir, path) = made("-i BASE -an -c copy", "one.h264");
    let stream = std::fs::read(path).unwrap();
    // PPS 0 begins with a one; 010 is PPS 1, which is otherwise the same.
    let pps = NalUnits::new(&stream).find(|nal| nal[0] & 0x1f == 8).unwrap();
    let bits: String = pps[1..].iter().map(|byte| format!("{byte:08b}")).collect();
    let shifted = format!("010{}", &bits[1..]);
    let shifted = shifted.trim_end_matches('0').to_owned() + &"0".repeat(8);
    let second: Vec<u8> =
        shifted.as_bytes().chunks_exact(8).map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap()).collect();
    let two = [&[0, 0, 0, 1, pps[0]][..], &second, &stream].concat();
    let (_dir, path) = file("two.h264", &two);
    let clip = open(&path);
    let config = clip.tracks()[0].config.avc().unwrap().clone();
    assert_eq!(config.parameter_sets().count(), 3, "an SPS and two PPS: {:02x?}", config.as_bytes());
    assert_eq!(decode(&clip).0, 200);
}

fn mp4_box(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&(u32::try_from(body.len()).unwrap() + 8).to_be_bytes()[..], kind, body].concat()
}

/// Source: ireader/media-server#68. No muxer at hand writes two sample entries, so this one does.
#[test]
fn an_mp4_of_two_sample_entries_tells_each_before_its_frames() {
    let sizes = two_sizes();
    let mut pictures = crate::pictures::Pictures::new(&sizes[..]);
    let (mut data, mut bytes, mut records) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(picture) = pictures.next_picture().unwrap() {
        records.extend(picture.config.as_ref().map(|config| config.as_bytes().to_vec()));
        let payload = picture.payload();
        bytes.push(u32::try_from(payload.len()).unwrap());
        data.extend(payload);
    }
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    let entry = |record: &[u8]| mp4_box(b"avc1", &[&[0; 78][..], &mp4_box(b"avcC", record)].concat());
    let entries: Vec<u8> = records.iter().flat_map(|record| entry(record)).collect();
    let first: u32 = bytes[..100].iter().sum();
    let keys = [1, 51, 101, 151];
    let table = [
        mp4_box(b"stsd", &[words(&[0, 2]), entries].concat()),
        mp4_box(b"stts", &words(&[0, 1, 200, 1])),
        mp4_box(b"stss", &[words(&[0, 4]), words(&keys)].concat()),
        mp4_box(b"stsc", &words(&[0, 2, 1, 100, 1, 2, 100, 2])),
        mp4_box(b"stsz", &[words(&[0, 0, 200]), words(&bytes)].concat()),
        mp4_box(b"stco", &words(&[0, 2, 24, 24 + first])),
    ];
    let media = [
        mp4_box(b"mdhd", &words(&[0, 0, 0, 25, 200, 0])),
        mp4_box(b"hdlr", &[&words(&[0, 0])[..], b"vide", &[0; 13]].concat()),
        mp4_box(b"minf", &mp4_box(b"stbl", &table.concat())),
    ];
    let header = [words(&[1, 0, 0, 1]), vec![0; 68]].concat();
    let track = [mp4_box(b"tkhd", &header), mp4_box(b"mdia", &media.concat())].concat();
    let all = [mp4_box(b"ftyp", b"isom\0\0\0\0"), mp4_box(b"mdat", &data), mp4_box(b"moov", &mp4_box(b"trak", &track))];
    let (_dir, path) = file("entries.mp4", &all.concat());
    assert_eq!(decode(&open(&path)), (200, vec![(320, 180), (640, 360)]));
}

/// Source: FFMS/ffms2#83.
#[test]
fn two_fields_are_one_picture() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/field/paff20.h264");
    let clip = open(&path);
    assert_eq!((clip.sample_count(), clip.duration().as_millis(), clip.oddity()), (20, 800, Some("interlaced")));
    assert!(steps(&clip).iter().all(|step| avc::NalUnits::new(&step.frame.payload, 4).filter(|nal| h264::is_slice(nal)).count() >= 2));
}

/// Source: RootEncoder#1039.
#[test]
fn pictures_at_one_time_follow_one_another_and_holes_stay() {
    let (_dir, path) = made("-i BASE -an -c copy -bsf:v setts=ts=TS-mod(N\\,3)*500 -video_track_timescale 12800", "vfr.mp4");
    let clip = open(&path);
    let all = steps(&clip);
    assert_rising(&all);
    let (first, last) = (all[0].frame.dts.as_millis(), all[199].frame.dts.as_millis());
    assert_eq!(all.len(), 200);
    assert!((7_850..=7_990).contains(&(last - first)), "{}", last - first);
}

/// Source: mpv#7716.
#[test]
fn what_is_left_of_a_file_is_played_and_a_lost_index_is_named() {
    let (_dir, path) = made("-i BASE -c copy -movflags +faststart", "whole.mp4");
    let whole = std::fs::read(path).unwrap();
    let (_dir, path) = file("part.mp4", &whole[..whole.len() / 2]);
    let pictures = of(&steps(&open(&path)), TrackId::VIDEO).len();
    assert!((60..140).contains(&pictures), "{pictures}");
    let base = std::fs::read(&BASE.1).unwrap();
    // In the data, in the first box, and in the index before any track is whole.
    let index = base.windows(4).position(|kind| kind == b"moov").unwrap();
    for rest in [base.len() / 2, 100, 20, index + 200] {
        let (_dir, path) = file("lost.mp4", &base[..rest]);
        let error = Clip::open(&path).unwrap_err().to_string();
        assert!(error.contains("lost.mp4") && error.contains("its index (moov) is missing: the recording was cut short"), "{error}");
    }
}

/// Source: kaltura/nginx-vod-module#486.
#[test]
fn a_track_s_matrix_tells_how_it_is_turned() {
    for (degrees, matrix) in [(90, [0, 1, -1, 0]), (180, [-1, 0, 0, -1]), (270, [0, -1, 1, 0])] {
        let mut bytes = std::fs::read(&BASE.1).unwrap();
        let header = bytes.windows(4).position(|kind| kind == b"tkhd").unwrap() + 4;
        for (cell, value) in [0, 1, 3, 4].into_iter().zip(matrix) {
            bytes[header + 40 + cell * 4..][..4].copy_from_slice(&(value * 65_536_i32).to_be_bytes());
        }
        let (_dir, path) = file("turned.mp4", &bytes);
        assert_eq!(open(&path).rotation(), degrees);
    }
}

#[test]
fn lengths_of_one_and_two_bytes_become_four() {
    let (_dir, path) = made("-i BASE -an -c:v libx264 -preset ultrafast -b:v 60k -vf scale=64:36 -g 50", "small.h264");
    let stream = std::fs::read(path).unwrap();
    let mut out = flv(&[&stream], true, false, false);
    let want = {
        let (_dir, path) = file("long.flv", &out);
        steps(&open(&path)).into_iter().map(|step| step.frame.payload).collect::<Vec<_>>()
    };
    // Each body again, with lengths of two bytes, and the record to tell so.
    let mut short = out[..13].to_vec();
    let mut at = 13;
    while at < out.len() {
        let bytes = u32::from_be_bytes([0, out[at + 1], out[at + 2], out[at + 3]]) as usize;
        let body = &mut out[at + 11..at + 11 + bytes];
        let body = if body[1] == 0 {
            body[5 + 4] = 0xfd;
            body.to_vec()
        } else {
            let nals =
                avc::NalUnits::new(&body[5..], 4).flat_map(|nal| [&u16::try_from(nal.len()).unwrap().to_be_bytes()[..], nal].concat());
            body[..5].iter().copied().chain(nals).collect()
        };
        let [_, size @ ..] = u32::try_from(body.len()).unwrap().to_be_bytes();
        short.extend([&[9][..], &size, &out[at + 4..at + 11], &body, &[0; 4]].concat());
        at += 11 + bytes + 4;
    }
    let (_dir, path) = file("short.flv", &short);
    let clip = open(&path);
    assert_eq!(clip.tracks()[0].config.avc().unwrap().length_bytes(), 4);
    assert_eq!(steps(&clip).into_iter().map(|step| step.frame.payload).collect::<Vec<_>>(), want);
}

#[test]
fn fragments_are_read_however_their_offsets_count_and_as_far_as_they_are_there() {
    for flags in [
        "frag_keyframe+empty_moov+default_base_moof",
        "frag_keyframe+empty_moov",
        "frag_keyframe",
        "frag_every_frame+empty_moov+omit_tfhd_offset",
    ] {
        let (_dir, path) = made(&format!("-i BASE -c copy -movflags {flags}"), "parts.mp4");
        let all = steps(&open(&path));
        assert_eq!([TrackId::VIDEO, TrackId::AUDIO].map(|track| of(&all, track).len()), [200, 346], "{flags}");
        assert_rising(&all);
        let bytes = std::fs::read(&path).unwrap();
        let (_dir, path) = file("part.mp4", &bytes[..bytes.len() / 2]);
        let pictures = of(&steps(&open(&path)), TrackId::VIDEO).len();
        assert!((30..140).contains(&pictures), "{flags}: {pictures}");
    }
}

#[test]
fn a_byte_stream_s_b_frames_are_shown_in_their_order() {
    let (_dir, path) = made("-i BASE -an -c:v libx264 -preset ultrafast -bf 3 -b_strategy 0 -g 50", "b.h264");
    let clip = open(&path);
    let mut times: Vec<i64> = steps(&clip).iter().map(|step| step.frame.pts.as_millis()).collect();
    let is_reordered = times.windows(2).any(|pair| pair[1] < pair[0]);
    times.sort_unstable();
    let gaps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(is_reordered && times.len() == 200 && gaps.iter().all(|gap| *gap == 40), "{gaps:?}");
}

/// Every error is a sentence with the path, and none names a line of a library.
#[test]
fn what_is_no_media_is_refused_with_a_word() {
    let base = std::fs::read(&BASE.1).unwrap();
    let mut zeroed = base.clone();
    let data = zeroed.windows(4).position(|kind| kind == b"mdat").unwrap() + 4;
    let end = zeroed.windows(4).position(|kind| kind == b"moov").unwrap() - 4;
    zeroed[data..end].fill(0);
    let (_only, sound) = made("-i BASE -vn -c copy", "sound.m4a");
    for (name, bytes, says) in [
        ("empty.mp4", Vec::new(), "empty"),
        ("zeros.mp4", zeroed, "no H.264"),
        ("sound.mp4", std::fs::read(sound).unwrap(), "no track of pictures"),
        ("text.txt", b"hello, world, this is a text and no video".to_vec(), "ffmpeg can't read it"),
    ] {
        let (_dir, path) = file(name, &bytes);
        let error = open_file(&path, UNBOUNDED).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(says) && !error.contains(".rs"), "{name}: {error}");
    }
    assert!(matches!(open_file(Path::new("/"), UNBOUNDED), Err(SourceError::Open { .. })));
    assert!(matches!(open_file(Path::new("/dev/null"), UNBOUNDED), Err(SourceError::NoFile { .. })));
}

#[test]
fn a_file_that_is_cut_at_any_byte_plays_or_says_why() {
    let (_dir, fast) = made("-i BASE -t 1 -c copy -movflags +faststart", "fast.mp4");
    let (_dir2, parts) = made("-i BASE -t 1 -c copy -movflags frag_every_frame+empty_moov", "parts.mp4");
    let (_dir3, flv) = made("-i BASE -t 1 -c copy", "one.flv");
    let (_dir4, raw) = made("-i BASE -t 1 -an -c copy", "one.h264");
    for path in [fast, parts, flv, raw] {
        let bytes = std::fs::read(&path).unwrap();
        let (_dir, cut) = file(path.file_name().unwrap().to_str().unwrap(), &bytes);
        let file = std::fs::File::options().write(true).open(&cut).unwrap();
        // Each byte of the first kilobytes, where the headers are, and a few hundred of the rest.
        let cuts = (1..3_000).chain((3_000..bytes.len()).step_by(397));
        for length in cuts.rev_sorted() {
            file.set_len(length as u64).unwrap();
            match Clip::open(&cut) {
                Ok(Looked::Clip(clip)) => assert!(!steps(&clip).is_empty()),
                Ok(Looked::Foreign(_)) => {}
                Err(error) => assert!(error.to_string().contains(cut.file_name().unwrap().to_str().unwrap())),
            }
        }
    }
}

/// From the longest to the shortest: a file only gets shorter.
trait RevSorted: Iterator<Item = usize> + Sized {
    fn rev_sorted(self) -> Vec<usize> {
        let mut all: Vec<usize> = self.collect();
        all.sort_unstable_by(|one, other| other.cmp(one));
        all
    }
}

impl<I: Iterator<Item = usize>> RevSorted for I {}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]
    /// A byte that is another one, anywhere in the index.
    #[test]
    fn a_damaged_index_never_panics(changes in proptest::collection::vec((0_usize..12_000, proptest::prelude::any::<u8>()), 1..8)) {
        let mut bytes = std::fs::read(&BASE.1).unwrap();
        let moov = bytes.windows(4).position(|kind| kind == b"moov").unwrap();
        for (at, value) in changes {
            let length = bytes.len();
            bytes[(moov + at).min(length - 1)] = value;
        }
        let (_dir, path) = file("damaged.mp4", &bytes);
        if let Ok(Looked::Clip(clip)) = Clip::open(&path) {
            let mut playback = clip.play();
            while let Ok(Some(_)) = playback.step() {}
        }
    }
}

const AVCC: &[u8] = &[
    1, 0x64, 0, 0x28, 0xff, 0xe1, 0, 24, 0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0, 0, 3, 0, 4, 0, 0,
    3, 0, 0xc8, 0x3c, 1, 0, 6, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0,
];

fn tag(kind: u8, millis: u8, body: &[u8]) -> Vec<u8> {
    let length = u8::try_from(body.len()).unwrap();
    [&[kind, 0, 0, length, 0, 0, millis, 0, 0, 0, 0], body, &[0, 0, 0, length + 11]].concat()
}

/// E-RTMP v2, "Enabling AMF3 in FLV": tag 15 holds script data in AMF3.
#[test]
fn a_tag_of_amf3_script_data_is_read_past() {
    let picture = [&[0x17, 1, 0, 0, 0][..], &[0, 0, 0, 2, 0x65, 7]].concat();
    let file = [
        b"FLV\x01\x01\0\0\0\x09\0\0\0\0".to_vec(),
        tag(15, 0, b"\0\x02\0\x0aonMetaData\x11\x0a\x0b\x01\x01"),
        tag(9, 0, &[&[0x17, 0, 0, 0, 0][..], AVCC].concat()),
        tag(9, 0, &picture),
        tag(9, 40, &picture),
    ];
    let path = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(path.path(), file.concat()).unwrap();
    let clip = open(path.path());
    assert_eq!((clip.sample_count(), clip.tracks().len()), (2, 1));
    let times: Vec<i64> = steps(&clip).iter().map(|step| step.frame.dts.as_millis()).collect();
    assert_eq!(times, [0, 40]);
}

/// AAC-LC at 44,100 Hz, mono, behind an ADTS header.
fn adts(frame: &[u8]) -> Vec<u8> {
    let bytes = u16::try_from(frame.len() + 7).unwrap();
    let [length, rest] = (bytes << 5).to_be_bytes();
    [&[0xff, 0xf1, 0x50, 0x40 | u8::try_from(bytes >> 11).unwrap(), length, rest | 0x1f, 0xfc][..], frame].concat()
}

/// What a decoder would be told, and given, of a clip's sound.
fn sound_of(path: &Path) -> (Vec<u8>, Vec<(i64, Bytes)>) {
    let clip = open(path);
    let config = clip.tracks().iter().find(|track| track.id == TrackId::AUDIO).map(|track| track.config.as_bytes().to_vec());
    let frames = of(&steps(&clip), TrackId::AUDIO).iter().map(|step| (step.frame.dts.as_millis(), step.frame.payload.clone())).collect();
    (config.unwrap_or_default(), frames)
}

/// Source: PHZ76/rtmp#14, ant-media/Ant-Media-Server#3790.
#[test]
fn aac_in_flv_is_the_same_with_adts_headers_and_with_a_configuration_of_latm_or_none() {
    let (_dir, path) = made("-i BASE -t 2 -c copy", "plain.flv");
    let plain = std::fs::read(&path).unwrap();
    let (config, frames) = sound_of(&path);
    // ffmpeg marks that there is no SBR, in three bytes more.
    assert_eq!((&config[..2], frames.len() > 80), (&[0x12, 0x08][..], true));
    let made = |record: Option<&[u8]>, body: fn(&[u8]) -> Vec<u8>| {
        let (mut out, mut at) = (plain[..13].to_vec(), 13);
        while at + 11 < plain.len() {
            let bytes = u32::from_be_bytes([0, plain[at + 1], plain[at + 2], plain[at + 3]]) as usize;
            let (head, data) = (&plain[at..at + 11], &plain[at + 11..at + 11 + bytes]);
            at += 11 + bytes + 4;
            let data = match (head[0], data.get(1)) {
                (8, Some(0)) => match record {
                    Some(record) => [&data[..2], record].concat(),
                    None => continue,
                },
                (8, Some(1)) => [&data[..2], &body(&data[2..])].concat(),
                _ => data.to_vec(),
            };
            let size = u32::try_from(data.len()).unwrap();
            out.extend([&head[..1], &size.to_be_bytes()[1..], &head[4..], &data, &(size + 11).to_be_bytes()].concat());
        }
        file("odd.flv", &out)
    };
    let raw = <[u8]>::to_vec;
    let latm = [0x40, 0x00, 0x24, 0x10, 0x3f, 0xc0];
    let records: [Option<&[u8]>; 5] = [Some(&config), None, Some(&latm), None, Some(&[])];
    for (at, record) in records.into_iter().enumerate() {
        let body = if at < 2 { adts } else { raw };
        let (_dir, path) = made(record, body);
        let (said, given) = sound_of(&path);
        assert!((&said[..2], &given) == (&config[..2], &frames), "case {at}: {said:02x?}, {:?}", open(&path).remarks());
    }
}

/// Of the same kind: muxers that copy what their encoder gives.
#[test]
fn aac_in_mp4_is_the_same_with_adts_headers_and_without_a_configuration() {
    let (dir, path) = made("-i BASE -t 2 -c copy -bitexact", "plain.mp4");
    let (config, frames) = sound_of(&path);
    let mut bare = std::fs::read(&path).unwrap();
    let esds = bare.windows(4).position(|kind| kind == b"esds").unwrap();
    bare[esds..esds + 4].copy_from_slice(b"free");
    let (_dir2, path) = file("bare.mp4", &bare);
    assert!(sound_of(&path) == (config[..2].to_vec(), frames.clone()), "by the entry's own fields: {:02x?}", sound_of(&path).0);

    // Each sample with its header, and two in the first.
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    let mut samples: Vec<Vec<u8>> = frames.iter().map(|(_, frame)| adts(frame)).collect();
    let second = samples.remove(1);
    samples[0].extend(second);
    let sizes: Vec<u32> = samples.iter().map(|sample| u32::try_from(sample.len()).unwrap()).collect();
    let count = u32::try_from(samples.len()).unwrap();
    let whole = open(&dir.path().join("plain.mp4"));
    let picture = of(&steps(&whole), TrackId::VIDEO)[0].frame.payload.clone();
    let record = whole.tracks()[0].config.as_bytes().to_vec();
    let data = [&picture[..], &samples.concat()].concat();
    let track = |id: u32, kind: &[u8; 4], scale: u32, entry: &[u8], sizes: &[u32], offset: u32, first: u32| {
        let count = u32::try_from(sizes.len()).unwrap();
        let table = [
            mp4_box(b"stsd", &[words(&[0, 1]), entry.to_vec()].concat()),
            mp4_box(b"stts", &words(&[0, 2, 1, first, count - 1, 1_024])),
            mp4_box(b"stsc", &words(&[0, 1, 1, count, 1])),
            mp4_box(b"stsz", &[words(&[0, 0, count]), words(sizes)].concat()),
            mp4_box(b"stco", &words(&[0, 1, offset])),
        ];
        let media = [
            mp4_box(b"mdhd", &words(&[0, 0, 0, scale, count, 0])),
            mp4_box(b"hdlr", &[&words(&[0, 0])[..], kind, &[0; 13]].concat()),
            mp4_box(b"minf", &mp4_box(b"stbl", &table.concat())),
        ];
        let header = [words(&[1, 0, 0, id]), vec![0; 68]].concat();
        mp4_box(b"trak", &[mp4_box(b"tkhd", &header), mp4_box(b"mdia", &media.concat())].concat())
    };
    let picture_bytes = u32::try_from(picture.len()).unwrap();
    let video = mp4_box(b"avc1", &[&[0; 78][..], &mp4_box(b"avcC", &record)].concat());
    // Two channels at 48,000 Hz by its fields, which the headers contradict.
    let audio = mp4_box(b"mp4a", &[&[0; 16][..], &[0, 2, 0, 16, 0, 0, 0, 0, 0xbb, 0x80, 0, 0]].concat());
    let tracks =
        [track(1, b"vide", 25, &video, &[picture_bytes], 24, 1), track(2, b"soun", 44_100, &audio, &sizes, 24 + picture_bytes, 2_048)];
    let all = [mp4_box(b"ftyp", b"isom\0\0\0\0"), mp4_box(b"mdat", &data), mp4_box(b"moov", &tracks.concat())];
    let (_dir3, path) = file("adts.mp4", &all.concat());
    let (said, given) = sound_of(&path);
    assert_eq!((said, given.len()), (config[..2].to_vec(), count as usize + 1));
    for (at, ((time, payload), (_, expected))) in given.iter().zip(&frames).enumerate() {
        let is_in_time = (*time - at as i64 * 1_024 * 1_000 / 44_100).abs() <= 1;
        assert!(is_in_time && payload == expected, "frame {at}: {time} ms");
    }
}
