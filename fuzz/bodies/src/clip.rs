//! Files that are sent as they are: what our own muxers wrote comes back as it was, and no bytes do any harm.

use crate::cursor::Cursor;
use crate::script::avc_record;
use bytes::Bytes;
use sightline_capture::clip::{Clip, Looked};
use sightline_media::{Codec, Frame, MediaTime, Track, TrackConfig, TrackId, aac, avc};
use sightline_rtmp::flv;
use std::cell::RefCell;
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// Frames of a file that is made here.
const FRAMES_MAX: usize = 64;
/// Steps of a file that anybody made: what it says of itself may be repeated without end.
const STEPS_MAX: usize = 2_000;
/// The first NAL unit's header, and one that begins a picture.
const IDR: [u8; 2] = [0x65, 0x88];
const SLICE: [u8; 2] = [0x41, 0x9a];

/// A file that each input is written into anew.
struct Scratch {
    path: PathBuf,
    file: File,
}

impl Scratch {
    fn new() -> Self {
        // In memory where there is such a place: thousands of times a second.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let thread = format!("{:?}", std::thread::current().id());
        let path = folder.join(format!("sightline-fuzz-{}-{}", std::process::id(), thread.replace(['(', ')'], "-")));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).expect("a scratch file");
        Self { path, file }
    }

    fn put(&mut self, bytes: &[u8]) -> &Path {
        let written = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0))).and_then(|_| self.file.write_all(bytes));
        written.expect("a scratch file takes bytes");
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

thread_local! {
    static SCRATCH: RefCell<Option<Scratch>> = const { RefCell::new(None) };
}

fn open(bytes: &[u8]) -> Option<Clip> {
    SCRATCH.with_borrow_mut(|scratch| {
        let path = scratch.get_or_insert_with(Scratch::new).put(bytes);
        match Clip::open(path) {
            Ok(Looked::Clip(clip)) => Some(clip),
            Ok(Looked::Foreign(what)) => {
                assert!(!what.is_empty());
                None
            }
            Err(error) => {
                let words = error.to_string();
                assert!(words.contains(&path.display().to_string()), "an error names the file: {words}");
                assert!(!words.contains(".rs:"), "no message names a source line: {words}");
                None
            }
        }
    })
}

/// First byte: bytes as they are, or frames in one of our containers; with its first bit, some of its bytes are changed.
pub fn run(data: &[u8]) {
    let mut cursor = Cursor::new(data);
    let kind = cursor.u8();
    if kind.is_multiple_of(4) {
        return any(cursor.rest());
    }
    let changes: Vec<(u16, u8)> =
        if kind & 0x80 == 0 { vec![] } else { (0..cursor.u8() % 8).map(|_| (cursor.u16(), cursor.u8())).collect() };
    let (tracks, frames) = made(&mut cursor);
    let mut file = match kind % 4 {
        1 => mp4(&tracks, &frames),
        2 => flv(&tracks, &frames),
        _ => annex_b(&tracks, &frames),
    };
    if kind & 0x80 != 0 {
        for (at, byte) in changes {
            let at = usize::from(at) % file.len();
            file[at] = byte;
        }
        return any(&file);
    }
    let Some(clip) = open(&file) else { panic!("our own file is not read") };
    // A byte stream has no times and no sound.
    let has_times = kind % 4 != 3;
    assert_same(&play(&clip), &frames, has_times);
}

fn any(bytes: &[u8]) {
    let Some(clip) = open(bytes) else { return };
    let _ = (clip.character(), clip.duration(), clip.oddity(), clip.hides_pictures(), clip.remarks().len());
    assert!(clip.tracks().iter().any(|track| track.id == TrackId::VIDEO));
    play(&clip);
}

/// Plays it once. Times rise, and what a frame needs comes before it.
fn play(clip: &Clip) -> Vec<Frame<Bytes>> {
    let (mut playback, mut frames, mut last, mut tracks) = (clip.play(), vec![], [None::<MediaTime>; 2], [false; 2]);
    for _ in 0..STEPS_MAX {
        let Ok(Some(step)) = playback.step() else { break };
        let lane = usize::from(step.frame.track == TrackId::AUDIO);
        tracks[lane] |= step.track.is_some();
        assert!(tracks[lane], "a frame of a track that was not announced");
        assert!(last[lane].is_none_or(|last| step.frame.dts > last), "times rise: {last:?} {:?}", step.frame.dts);
        assert!(step.frame.pts >= step.frame.dts);
        last[lane] = Some(step.frame.dts);
        frames.push(step.frame);
    }
    frames
}

/// Tracks and frames of choices: a frame is its kind, how much later it comes, how much later it is shown, and its bytes.
fn made(cursor: &mut Cursor<'_>) -> (Vec<Track>, Vec<Frame<Bytes>>) {
    let record = avc::DecoderConfig::parse(&avc_record(0)).expect("a good record");
    let mut tracks = vec![Track { id: TrackId::VIDEO, config: TrackConfig::H264(record) }];
    let has_audio = cursor.u8() & 1 == 1;
    if has_audio {
        let config = aac::AudioConfig::parse(&[0x12, 0x10]).expect("a good configuration");
        tracks.push(Track { id: TrackId::AUDIO, config: TrackConfig::Aac(config) });
    }
    let (mut frames, mut times) = (vec![], [MediaTime::ZERO; 2]);
    while (!cursor.is_empty() || frames.is_empty()) && frames.len() < FRAMES_MAX {
        let (choice, step, shift, length) = (cursor.u8(), cursor.u8(), cursor.u8(), usize::from(cursor.u8()));
        let is_audio = has_audio && choice & 1 == 1 && !frames.is_empty();
        let is_keyframe = is_audio || frames.is_empty() || choice & 2 == 2;
        // No start code, and no zero at the end.
        let body = cursor.take(length).iter().map(|byte| byte | 1).chain([0x80]);
        let payload: Vec<u8> = if is_audio {
            // What begins as an ADTS header does is one.
            [0x21].into_iter().chain(body).collect()
        } else {
            let unit: Vec<u8> = if is_keyframe { IDR } else { SLICE }.into_iter().chain(body).collect();
            [&u32::try_from(unit.len()).expect("short").to_be_bytes()[..], &unit].concat()
        };
        let lane = usize::from(is_audio);
        let dts = times[lane];
        times[lane] = dts + MediaTime::from_millis(i64::from(step) + 1);
        let pts = if is_audio { dts } else { dts + MediaTime::from_millis(i64::from(shift)) };
        let track = if is_audio { TrackId::AUDIO } else { TrackId::VIDEO };
        frames.push(Frame { track, dts, pts, is_keyframe, is_disposable: false, payload: Bytes::from(payload) });
    }
    // Muxers interleave.
    frames.sort_by_key(|frame: &Frame<Bytes>| frame.dts);
    (tracks, frames)
}

fn mp4(tracks: &[Track], frames: &[Frame<Bytes>]) -> Vec<u8> {
    let mut file = sightline_mp4::init_segment(tracks).expect("tracks that are known").to_vec();
    for (number, some) in (1..).zip(frames.chunks(16)) {
        file.extend_from_slice(&sightline_mp4::fragment(number, some, None).expect("few frames"));
    }
    file
}

fn flv(tracks: &[Track], frames: &[Frame<Bytes>]) -> Vec<u8> {
    let mut file = flv::file_header(true, tracks.len() > 1).to_vec();
    for track in tracks {
        file.extend_from_slice(&flv::track_tag(track, MediaTime::ZERO));
    }
    for frame in frames {
        let codec = if frame.track == TrackId::VIDEO { Codec::H264 } else { Codec::Aac };
        file.extend_from_slice(&flv::frame_tag(frame, codec));
    }
    file
}

fn annex_b(tracks: &[Track], frames: &[Frame<Bytes>]) -> Vec<u8> {
    let mut file = vec![];
    let mut put = |unit: &[u8]| {
        file.extend_from_slice(&[0, 0, 0, 1]);
        file.extend_from_slice(unit);
    };
    let sets = tracks.iter().filter_map(|track| track.config.avc());
    sets.flat_map(avc::DecoderConfig::parameter_sets).for_each(&mut put);
    for frame in frames.iter().filter(|frame| frame.track == TrackId::VIDEO) {
        avc::NalUnits::new(&frame.payload, avc::LENGTH_BYTES).for_each(&mut put);
    }
    file
}

/// Whether it is a key frame, its times, its bytes.
type Essence = (bool, Option<(i64, i64)>, Bytes);

/// What was put in came out: bytes, key frames, and times from the first frame on in milliseconds, which is all that FLV counts.
fn assert_same(came: &[Frame<Bytes>], put: &[Frame<Bytes>], has_times: bool) {
    for track in [TrackId::VIDEO, TrackId::AUDIO] {
        if track == TrackId::AUDIO && !has_times {
            continue;
        }
        let of = |frames: &[Frame<Bytes>]| -> Vec<Essence> {
            let mine = frames.iter().filter(|frame| frame.track == track);
            let time = |frame: &Frame<Bytes>| has_times.then(|| (frame.dts.as_millis(), (frame.pts - frame.dts).as_millis()));
            mine.map(|frame| (frame.is_keyframe, time(frame), frame.payload.clone())).collect()
        };
        assert_eq!(of(came), of(put), "{track:?}");
    }
}
