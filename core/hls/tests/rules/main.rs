//! RFC 8216bis, point by point, over streams of all kinds in virtual time. The rules and their tests are listed in docs/protocol/hls.md.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod checker;
mod list;

use bytes::Bytes;
use checker::{Checker, Stream};
use core::time::Duration;
use list::List;
use sightline_hls::{Config, Container, Lookup, Muxer, Run, Wait};
use sightline_media::{Frame, MediaTime, Track, TrackConfig, TrackId, WallTime, aac::AudioConfig, avc::DecoderConfig};

/// 2026-11-30, 10:30 UTC.
const WALL: i64 = 1_796_034_600_000_000;

/// Streams of a run: a second of a development build. `SEEDS` has more.
const STREAMS: u64 = 10;

/// Numbers that are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(self.0 >> 33).unwrap() % limit.max(1)
    }

    fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[usize::try_from(self.below(i64::try_from(values.len()).unwrap())).unwrap()]
    }
}

fn picture_track(sps_end: u8) -> Track {
    let sps = [
        0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x5a, 0x80, 0x80, 0x80, 0xa0, 0x00, 0x00, 0x7d, 0x20, 0x00,
        0x17, 0x70, 0x01, 0xe3, 0x06, 0x32, sps_end,
    ];
    Track { id: TrackId::VIDEO, config: TrackConfig::H264(DecoderConfig::from_sets(&sps, &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0]).unwrap()) }
}

fn sound_track() -> Track {
    Track { id: TrackId::AUDIO, config: TrackConfig::Aac(AudioConfig::parse(&[0x12, 0x10]).unwrap()) }
}

/// How a stream is.
#[derive(Clone, Copy, Debug)]
struct Kind {
    has_pictures: bool,
    has_sound: bool,
    /// Between two pictures, in ticks.
    interval: i64,
    /// What a picture may be late, in ticks.
    jitter: i64,
    /// Pictures between two key frames; the least and the most.
    group: (i64, i64),
    has_b_frames: bool,
    /// One picture in so many is followed by a hole, a restart, another size, a change of the rate; zero: none.
    holes: i64,
    restarts: i64,
    sizes: i64,
    rates: i64,
}

impl Kind {
    fn any(random: &mut Random) -> Self {
        let interval = random.pick(&[90_000, 18_000, 7_200, 3_600, 3_003, 1_500]);
        let shortest = random.pick(&[45_000, 90_000, 180_000, 360_000, 1_080_000]) / interval;
        Self {
            has_pictures: random.below(6) > 0,
            has_sound: random.below(2) > 0,
            interval,
            jitter: random.pick(&[0, 0, interval / 8, interval / 2]),
            group: (shortest.max(1), (shortest * random.pick(&[1, 1, 3])).max(1)),
            has_b_frames: random.below(3) == 0,
            holes: random.pick(&[0, 0, 300, 1_000]),
            restarts: random.pick(&[0, 0, 500]),
            sizes: random.pick(&[0, 0, 400]),
            rates: random.pick(&[0, 0, 0, 200]),
        }
    }

    fn tracks(&self, sps_end: u8) -> Vec<Track> {
        let pictures = (self.has_pictures || !self.has_sound).then(|| picture_track(sps_end));
        pictures.into_iter().chain(self.has_sound.then(sound_track)).collect()
    }
}

/// A stream, the muxer that it goes into, and what its players see.
struct World {
    random: Random,
    kind: Kind,
    muxer: Muxer,
    checker: Checker,
    /// Of the stream, in ticks.
    now: i64,
    sound_at: i64,
    interval: i64,
    to_key: i64,
    sps_end: u8,
    had_hole: bool,
    was_cleared: bool,
    /// The last version.
    seen: String,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let kind = Kind::any(&mut random);
        let config = Config {
            segment_duration_min: Duration::from_secs(random.pick(&[1, 3, 3, 6])),
            playlist_segments: random.pick(&[1, 3, 20]),
            part_duration: Duration::from_millis(random.pick(&[200, 200, 500])),
            container: random.pick(&[Container::Mp4, Container::Mp4, Container::Mp4, Container::MpegTs]),
        };
        let mut muxer = Muxer::new(config, Run { first_sequence: 1_000, mark: 0xabc });
        muxer.set_tracks(&kind.tracks(0)).unwrap();
        if random.below(2) == 0 {
            muxer.end_segment_early();
        }
        let interval = kind.interval;
        let (checker, seen) = (Checker::default(), String::new());
        Self {
            random,
            kind,
            muxer,
            checker,
            now: 0,
            sound_at: 0,
            interval,
            to_key: 0,
            sps_end: 0,
            had_hole: false,
            was_cleared: false,
            seen,
        }
    }

    fn at_ms(&self) -> i64 {
        self.now / 90
    }

    fn push(&mut self, track: TrackId, dts: i64, pts: i64, is_keyframe: bool) {
        let payload: &[u8] = if track == TrackId::VIDEO { &[0, 0, 0, 3, 0x41, 0x88, 0x80] } else { b"sound" };
        let payload = if track == TrackId::VIDEO && is_keyframe {
            Bytes::from_static(&[0, 0, 0, 3, 0x65, 0x88, 0x80])
        } else {
            Bytes::from(payload.to_vec())
        };
        let (dts, pts) = (MediaTime::from_ticks(dts), MediaTime::from_ticks(pts));
        let came = WallTime::from_unix_micros(WALL + MediaTime::from_ticks(self.now).as_micros());
        self.muxer.push(&Frame { track, dts, pts, is_keyframe, is_disposable: false, payload }, came);
    }

    /// One picture, or one packet of sound where there are none; and the sound that is due.
    fn step(&mut self) {
        let has_pictures = self.kind.has_pictures || !self.kind.has_sound;
        if has_pictures {
            let is_key = self.to_key == 0;
            if is_key {
                let (least, most) = self.kind.group;
                self.to_key = least + self.random.below(most - least + 1);
            }
            self.to_key -= 1;
            let delay = if self.kind.has_b_frames { self.interval * 2 } else { 0 };
            self.push(TrackId::VIDEO, self.now, self.now + delay, is_key);
        }
        while self.kind.has_sound && self.sound_at <= self.now {
            self.push(TrackId::AUDIO, self.sound_at, self.sound_at, true);
            self.sound_at += 2_090;
        }
        self.watch();
        let jitter = self.random.below(self.kind.jitter + 1);
        self.now += if has_pictures { self.interval + jitter } else { 2_090 };
        self.change();
    }

    fn change(&mut self) {
        let Kind { holes, restarts, sizes, rates, .. } = self.kind;
        if holes > 0 && self.random.below(holes) == 0 {
            self.now += 90 * self.random.pick(&[300, 900, 2_500, 8_000, 30_000]);
            self.sound_at = self.now;
            self.had_hole = true;
        }
        if restarts > 0 && self.random.below(restarts) == 0 {
            self.now += 90 * self.random.below(3_000);
            (self.sound_at, self.to_key, self.had_hole) = (self.now, 0, true);
            self.muxer.discontinue();
        }
        if sizes > 0 && self.random.below(sizes) == 0 {
            self.sps_end = self.sps_end.wrapping_add(1);
            (self.to_key, self.had_hole) = (0, true);
            self.muxer.set_tracks(&self.kind.tracks(self.sps_end)).unwrap();
        }
        if rates > 0 && self.random.below(rates) == 0 {
            self.interval = self.random.pick(&[90_000, 30_000, 3_600, 1_500]);
            self.had_hole = true;
        }
    }

    /// What a player sees now.
    fn watch(&mut self) {
        let at_ms = self.at_ms();
        let Some(text) = self.muxer.playlist(false).filter(|text| *text != self.seen) else { return };
        self.seen.clone_from(&text);
        let interval_secs = (self.interval + self.kind.jitter) as f64 / 90_000.0;
        let interval_secs = if self.kind.rates > 0 { 1.0 } else { interval_secs };
        let stream = Stream { interval_secs, had_hole: self.had_hole, was_cleared: std::mem::take(&mut self.was_cleared) };
        self.checker.see(at_ms, &text, stream);
        self.had_hole = false;
        self.checker.forget(at_ms);
        self.checker.delta(&text, &self.muxer.playlist(true).unwrap());
        self.lookups(&text, at_ms);
        self.waits(&text);
    }

    /// What is listed is served, what was listed for as long as it must be, and what is hinted at comes.
    fn lookups(&mut self, text: &str, at_ms: i64) {
        let list = List::read(text);
        for hint in &list.hints {
            if self.muxer.lookup(hint) != Lookup::Soon {
                self.checker.problems.push(format!("6.2.6 the hint {hint} is not waited for: {text}"));
            }
        }
        let gone = |uri: &&String| !matches!(self.muxer.lookup(uri), Lookup::Init(_) | Lookup::Media(_));
        let missing = self.checker.served(at_ms).find(gone).cloned();
        if let Some(uri) = missing {
            self.checker.problems.push(format!("6.2.2 {uri} is gone at {at_ms} ms: {text}"));
        }
    }

    /// §6.2.5.2.
    fn waits(&mut self, text: &str) {
        let list = List::read(text);
        let next = list.sequence + list.segments.len() as u64;
        let mut expect = |sequence, part, wait: Wait| {
            let is = self.muxer.wait_for(sequence, part);
            if is != wait {
                self.checker.problems.push(format!("6.2.5.2 {sequence} {part:?} is {is:?}: {text}"));
            }
        };
        if list.is_ended {
            return expect(next + 9, Some(99), Wait::Over);
        }
        let open = list.open.as_ref().map_or(0, |open| open.parts.len() as u64);
        expect(next - 1, None, Wait::Over);
        expect(next, None, Wait::On);
        expect(next + 1, None, Wait::On);
        expect(next + 2, None, Wait::TooFar);
        expect(next, Some(open), Wait::On);
        if list.control.is_empty() {
            return;
        }
        let advance = if list.part_target < 1.0 { (3.0 / list.part_target).ceil() as u64 } else { 3 };
        expect(next, Some(open + advance), Wait::TooFar);
        if open > 0 {
            expect(next, Some(open - 1), Wait::Over);
        }
        if let Some(last) = list.segments.last().filter(|last| !last.parts.is_empty()) {
            // A part behind the last one is the first of the next segment.
            let behind = if open > 0 { Wait::Over } else { Wait::On };
            expect(last.sequence, Some(last.parts.len() as u64), behind);
            expect(last.sequence, Some(last.parts.len() as u64 - 1), Wait::Over);
        }
    }

    fn run(&mut self, secs: i64) {
        let until = self.now + secs * 90_000;
        let mut steps = 0;
        while self.now < until && steps < 3_000 && self.checker.problems.is_empty() {
            self.step();
            steps += 1;
        }
    }
}

#[test]
fn a_playlist_keeps_to_the_rules_whatever_its_stream_does() {
    let mut broken = Vec::new();
    let seeds = std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(STREAMS);
    for seed in 1..=seeds {
        let mut world = World::new(seed);
        world.run(90);
        if seed % 3 == 0 {
            world.muxer.clear();
            world.now += 60 * 90_000;
            (world.sound_at, world.to_key, world.was_cleared, world.had_hole) = (world.now, 0, true, true);
            world.muxer.end_segment_early();
            world.run(30);
        }
        world.muxer.end();
        world.had_hole = true;
        world.watch();
        if let Some(problem) = world.checker.problems.first() {
            broken.push(format!("stream {seed}, {:?}: {problem}", world.kind));
        }
    }
    let heads: Vec<_> = broken.iter().filter_map(|text| text.lines().next()).collect();
    assert!(broken.is_empty(), "{}\n{}", heads.join("\n"), broken[0]);
}

/// Times of a source that is broken, or hostile: they step anywhere, and nothing overflows or is listed and gone.
#[test]
fn times_that_step_anywhere_leave_a_list_whose_files_are_there() {
    for seed in 1..=200 {
        let mut random = Random(seed);
        let container = random.pick(&[Container::Mp4, Container::MpegTs]);
        let mut muxer = Muxer::new(Config { container, playlist_segments: 3, ..Config::default() }, Run { first_sequence: 7, mark: 1 });
        muxer.set_tracks(&[picture_track(0), sound_track()]).unwrap();
        let mut ticks = 0_i64;
        for _ in 0..60 {
            let step = random.below(1 << 30) << random.pick(&[0, 0, 8, 33]);
            ticks = if random.below(4) == 0 { ticks.saturating_sub(step) } else { ticks.saturating_add(step >> random.pick(&[0, 18])) };
            let (dts, pts) = (MediaTime::from_ticks(ticks), MediaTime::from_ticks(ticks.saturating_add(random.below(1 << 30) << 33)));
            let track = random.pick(&[TrackId::VIDEO, TrackId::AUDIO]);
            let payload = Bytes::from_static(&[0, 0, 0, 3, 0x65, 0x88, 0x80]);
            let is_keyframe = random.below(3) == 0 || track == TrackId::AUDIO;
            let frame = Frame { track, dts, pts, is_keyframe, is_disposable: false, payload };
            muxer.push(&frame, WallTime::from_unix_micros(ticks));
            let Some(text) = muxer.playlist(random.below(2) == 0) else { continue };
            let list = List::read(&text);
            for uri in list.segments.iter().map(|segment| &segment.uri) {
                assert!(matches!(muxer.lookup(uri), Lookup::Media(_)), "{uri} of {text}");
            }
        }
        muxer.end();
    }
}
