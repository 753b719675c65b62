#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use super::*;
use sightline_archive::{RecordingsError, Segment, complete_bytes, export, list};
use sightline_capture::scene::Scene;
use sightline_encode::{SoftwareEncoder, VideoEncoder as _};
use sightline_signal::Settings;
use std::path::Path;

const SMALL: Settings = Settings { width: 320, height: 240, fps: 10, bitrate_bps: 100_000 };
/// 2026-11-23T02:00:00Z
const BEGAN_MS: i64 = 1_795_399_200_000;
const INTERVAL_MS: i64 = 100;

fn plan(dir: &Path) -> RecorderPlan {
    RecorderPlan {
        dir: dir.to_owned(),
        mode: Mode::Continuous,
        fragment: Duration::from_secs(1),
        segment: Duration::from_secs(4),
        age_max: None,
        bytes_max: 1 << 30,
    }
}

fn wall(index: i64) -> WallTime {
    WallTime::from_unix_micros((BEGAN_MS + index * INTERVAL_MS) * 1000)
}

fn timestamp(index: i64) -> Timestamp {
    Timestamp::from_millisecond(BEGAN_MS + index * INTERVAL_MS).unwrap()
}

/// Real H.264, a key frame each two seconds.
fn encoded(frames: i64) -> (Track, Vec<Frame<Bytes>>) {
    let mut encoder = SoftwareEncoder::new(SMALL, 2.0).unwrap();
    let mut scene = Scene::new(320, 240, "cam-1");
    let (mut track, mut made) = (None, Vec::new());
    let mut index = 0;
    while (made.len() as i64) < frames {
        let unix_ms = u64::try_from(BEGAN_MS + index * INTERVAL_MS).unwrap();
        // The encoder may skip a picture to keep its rate: the test wants frames without a hole.
        if let Some(encoded) = encoder.encode(scene.paint(unix_ms), MediaTime::from_millis(made.len() as i64 * INTERVAL_MS)).unwrap() {
            track = encoded.track.or(track);
            made.push(encoded.frame);
        }
        index += 1;
    }
    (track.unwrap(), made)
}

fn record(plan: RecorderPlan, track: &Track, frames: &[Frame<Bytes>]) {
    let mut recorder = Recorder::start(plan).unwrap();
    recorder.set_track(track);
    for (index, frame) in frames.iter().enumerate() {
        recorder.push(frame, wall(index as i64));
    }
    recorder.finish();
}

fn listed_in(dir: &Path) -> Vec<sightline_archive::Recording> {
    let (found, unreadable) = list(dir).unwrap();
    assert!(unreadable.is_empty(), "{unreadable:?}");
    found
}

fn payloads(segment: &Segment) -> Vec<Bytes> {
    segment.all_samples().unwrap().iter().map(|sample| segment.read(sample).unwrap().payload).collect()
}

#[test]
fn what_goes_in_comes_out_file_by_file() {
    let dir = tempfile::tempdir().unwrap();
    let (track, frames) = encoded(100);
    record(plan(dir.path()), &track, &frames);
    let listed = listed_in(dir.path());
    assert_eq!(listed.iter().map(|found| found.duration_ms).collect::<Vec<_>>(), [4_000, 4_000, 2_000]);
    assert_eq!((listed[1].start, listed[0].width, listed[0].fragments), (timestamp(40), 320, 4));
    assert!(listed[0].path.ends_with("20261123T020000.000Z.mp4"), "{:?}", listed[0].path);
    let read: Vec<Bytes> = listed.iter().flat_map(|found| payloads(&Segment::open(&found.path).unwrap())).collect();
    assert_eq!(read, frames.iter().map(|frame| frame.payload.clone()).collect::<Vec<_>>());
}

#[test]
fn a_file_that_is_cut_at_any_byte_keeps_its_complete_fragments() {
    let dir = tempfile::tempdir().unwrap();
    let (track, frames) = encoded(40);
    record(plan(dir.path()), &track, &frames);
    let whole = std::fs::read(&listed_in(dir.path())[0].path).unwrap();
    let ends: Vec<usize> = (1..=4)
        .map(|fragments| {
            // Ours: the payloads of ten frames a fragment end with the fragment's last byte.
            let last = &frames[fragments * 10 - 1].payload;
            whole.windows(last.len()).rposition(|window| window == &last[..]).unwrap() + last.len()
        })
        .collect();
    assert_eq!(*ends.last().unwrap(), whole.len());
    let cut = dir.path().join("20261123T010000.000Z.mp4");
    for length in (0..whole.len()).step_by(97).chain(ends.iter().flat_map(|end| [end - 1, *end])) {
        std::fs::write(&cut, &whole[..length]).unwrap();
        let complete = ends.iter().filter(|&&end| end <= length).count();
        let segment = Segment::open(&cut).unwrap();
        assert_eq!((segment.index.places.len(), segment.all_samples().unwrap().len()), (complete, complete * 10), "{length} bytes");
        assert_eq!(complete_bytes(&cut).unwrap() as usize, ends.iter().copied().rfind(|end| *end <= length).unwrap_or(0));
        assert!(payloads(&segment).iter().zip(&frames).all(|(read, frame)| *read == frame.payload), "{length} bytes");
    }
}

#[test]
fn the_next_start_cuts_off_what_a_power_cut_left() {
    let dir = tempfile::tempdir().unwrap();
    let (track, frames) = encoded(40);
    record(plan(dir.path()), &track, &frames);
    let path = listed_in(dir.path())[0].path.clone();
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 5]).unwrap();
    record(plan(dir.path()), &track, &[]);
    let bytes = path.metadata().unwrap().len();
    assert_eq!((Segment::open(&path).unwrap().index.bytes, listed_in(dir.path())[0].fragments), (bytes, 3));
    std::fs::write(&path, &whole[..100]).unwrap();
    record(plan(dir.path()), &track, &[]);
    assert!(!path.exists(), "it held nothing");
}

#[test]
fn the_oldest_files_go_by_size_and_none_by_a_clock_that_is_far_from_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let (track, frames) = encoded(200);
    let one_file = 40 * frames.iter().map(|frame| frame.payload.len() as u64).sum::<u64>() / 200;
    record(RecorderPlan { bytes_max: one_file * 3, ..plan(dir.path()) }, &track, &frames);
    let kept = listed_in(dir.path());
    assert!((2..=4).contains(&kept.len()) && kept.last().unwrap().start == timestamp(160), "{kept:?}");
    let bytes: u64 = kept.iter().map(|found| found.bytes).sum();
    assert!(bytes <= one_file * 5, "at most one file more than allowed: {bytes}");
    std::fs::write(dir.path().join("notes.mp4"), "not ours").unwrap();
    std::fs::write(dir.path().join("20200101T000000.000Z.mp4"), "old").unwrap();
    record(RecorderPlan { age_max: Some(Duration::from_secs(3600)), ..plan(dir.path()) }, &track, &[]);
    // By the clock of the day that this runs on, all of them are old.
    assert!(dir.path().join("notes.mp4").exists() && dir.path().join("20200101T000000.000Z.mp4").exists());
}

#[test]
fn a_clip_has_its_pre_roll_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (track, frames) = encoded(100);
    let mut recorder = Recorder::start(RecorderPlan { mode: Mode::Motion, segment: Duration::from_secs(60), ..plan(dir.path()) }).unwrap();
    recorder.set_track(&track);
    for (index, frame) in frames.iter().enumerate() {
        if index == 50 {
            recorder.begin();
            (20..50).for_each(|held| recorder.push(&frames[held], wall(held as i64)));
        }
        recorder.push(frame, wall(index as i64));
        if index == 70 {
            recorder.end();
        }
    }
    recorder.finish();
    let clips = listed_in(dir.path());
    assert_eq!((clips.len(), clips[0].start, clips[0].duration_ms), (1, timestamp(20), 5_100));
}

#[test]
fn a_source_that_begins_anew_begins_another_file() {
    let dir = tempfile::tempdir().unwrap();
    let (track, frames) = encoded(30);
    let mut recorder = Recorder::start(RecorderPlan { segment: Duration::from_secs(60), ..plan(dir.path()) }).unwrap();
    recorder.set_track(&track);
    for round in 0..2 {
        for (index, frame) in frames.iter().enumerate() {
            recorder.push(frame, wall(index as i64 + 1_000 * round));
        }
    }
    recorder.finish();
    assert_eq!(listed_in(dir.path()).iter().map(|found| found.duration_ms).collect::<Vec<_>>(), [3_000, 3_000]);
}

#[test]
fn a_disk_that_fails_and_comes_back_costs_only_what_came_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let gone = dir.path().join("card");
    let (track, frames) = encoded(100);
    let mut recorder = Recorder::start(plan(&gone)).unwrap();
    recorder.set_track(&track);
    std::fs::remove_dir_all(&gone).unwrap();
    // The first fragment is handed over with the eleventh frame; a further one would take the flag back.
    frames[..11].iter().enumerate().for_each(|(index, frame)| recorder.push(frame, wall(index as i64)));
    while !recorder.has_failed.load(Ordering::Relaxed) {
        std::thread::yield_now();
    }
    std::fs::create_dir(&gone).unwrap();
    frames[11..].iter().enumerate().for_each(|(index, frame)| recorder.push(frame, wall(11 + index as i64)));
    recorder.finish();
    let found: Vec<_> = listed_in(&gone).iter().map(|file| (file.start, file.duration_ms)).collect();
    assert_eq!(found, [(timestamp(20), 4_000), (timestamp(60), 4_000)]);
}

#[test]
fn an_export_is_one_file_of_untouched_frames_from_the_key_frame_before() {
    let dir = tempfile::tempdir().unwrap();
    let (track, frames) = encoded(120);
    record(plan(dir.path()), &track, &frames);
    // Under the name of a recording, so that our reader takes it.
    let out = dir.path().join("20200101T000000.000Z.mp4");
    let exported = export(dir.path(), timestamp(35), timestamp(95), &out).unwrap();
    assert_eq!((exported.start, exported.frames, exported.duration_ms, exported.gaps), (timestamp(20), 75, 7_500, 0));
    let read = Segment::open(&out).unwrap();
    assert_eq!(payloads(&read), frames[20..95].iter().map(|frame| frame.payload.clone()).collect::<Vec<_>>());
    let times: Vec<i64> = read.all_samples().unwrap().iter().map(|sample| sample.dts.as_millis()).collect();
    assert_eq!(times, (0..75).map(|index| index * INTERVAL_MS).collect::<Vec<_>>());
    assert!(matches!(export(dir.path(), timestamp(35), timestamp(95), &out), Err(RecordingsError::File { .. })), "never overwrites");
    let nothing = export(dir.path(), timestamp(5_000), timestamp(6_000), &dir.path().join("x.mp4"));
    assert!(matches!(nothing, Err(RecordingsError::Nothing { .. })), "{nothing:?}");
}
