//! Publishers of quirks in virtual time: each a composition by its seed, through the session and the source's clock without a socket.
//!
//! `QUIRK_SEEDS=17..18` runs one again, `QUIRK_SEEDS=0..100000` more.

use crate::chunk::{MessageHeader, write};
use crate::server::{Config, Event, Output, Session};
use core::time::Duration;
use sightline_media::{Instant, MediaTime, SourceClock, TrackId, avc};
use std::vec::Vec;

/// x264's sets of 1280x720 and 1920x1080, with the ids 0.
const SETS: [[&[u8]; 2]; 2] = [
    [
        &[
            0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10, 0, 0, 3, 0, 0x10, 0, 0, 3, 3, 0x20, 0xf1, 0x83, 0x19,
            0x60,
        ],
        &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0],
    ],
    [
        &[0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0, 0, 3, 0, 4, 0, 0, 3, 0, 0xc8, 0x3c],
        &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0],
    ],
];
/// Pictures of 25 a second, and a group of them.
const PICTURES: u32 = 1500;
const GROUP: u32 = 50;

struct Random(u64);

impl Random {
    fn below(&mut self, below: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 33).unwrap() % below
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(u32::try_from(from.len()).unwrap()) as usize]
    }
}

/// What a publisher does otherwise.
#[derive(Debug)]
struct Quirks {
    chunk_size: u32,
    /// 0: a record; 1: none; 2: empty; 3: in Annex B.
    header: u32,
    repeats_header: bool,
    /// Bytes of a length; 0: start codes; 5: all behind one length.
    framing: usize,
    has_delimiters: bool,
    has_sets_in_band: bool,
    slices: u32,
    flag: Option<bool>,
    changes_size: bool,
    has_adts: bool,
    has_sound: bool,
    composition_ms: i32,
    time: Time,
    jitter_ms: u32,
}

#[derive(Debug, Clone, Copy)]
enum Time {
    Right,
    Back(i64),
    Ahead(i64),
    RestartAtZero,
    Loop(i64),
    /// Thousandths of the right rate.
    Rate(i64),
    Zero,
    Pairs,
    Origins(i64),
}

impl Quirks {
    fn of(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_add(1) << 20);
        random.below(2);
        let header = random.below(4);
        Self {
            chunk_size: random.pick(&[1, 128, 4096, 65_536, 10_000_000, 0x7fff_ffff]),
            header,
            repeats_header: random.below(4) == 0,
            framing: random.pick(&[4, 4, 4, 2, 3, 0, 0, 5]),
            has_delimiters: random.below(2) == 0,
            has_sets_in_band: header != 0 || random.below(2) == 0,
            slices: random.pick(&[1, 1, 4]),
            flag: random.pick(&[None, None, Some(false), Some(true)]),
            changes_size: random.below(4) == 0,
            has_adts: random.below(4) == 0,
            has_sound: random.below(4) > 0,
            composition_ms: random.pick(&[0, 0, 80]),
            time: match random.below(12) {
                0 => Time::Back(i64::from(random.below(9_000)) + 250),
                1 => Time::Ahead(i64::from(random.below(60_000)) + 250),
                2 => Time::RestartAtZero,
                3 => Time::Loop(i64::from(random.below(20)) * 1000 + 2000),
                4 => Time::Rate(random.pick(&[100, 333, 500, 1300, 2000, 10_500])),
                5 => Time::Zero,
                6 => Time::Pairs,
                7 => Time::Origins(random.pick(&[-90_000, 90_000, 3_000_000])),
                _ => Time::Right,
            },
            jitter_ms: random.pick(&[0, 5, 30]),
        }
    }

    /// What is sent for a time, in milliseconds from 100 s on.
    fn sent(&self, track: TrackId, at: i64) -> u32 {
        let middle = at >= 30_000;
        let sent = match self.time {
            Time::Right => at,
            Time::Back(step) => at - if middle { step } else { 0 },
            Time::Ahead(step) => at + if middle { step } else { 0 },
            Time::RestartAtZero => at - if middle { 130_000 } else { 0 },
            Time::Loop(length) => at % length,
            Time::Rate(rate) => at * rate / 1000,
            Time::Zero => 0,
            Time::Pairs => at / 80 * 80,
            Time::Origins(apart) => at + if track == TrackId::AUDIO { apart } else { 0 },
        };
        u32::try_from(100_000 + sent).unwrap()
    }

    fn sets(&self, picture: u32) -> [&'static [u8]; 2] {
        SETS[usize::from(self.changes_size && picture >= PICTURES / 2)]
    }

    /// A picture's units as they are sent, and its slices.
    fn picture(&self, picture: u32) -> (Vec<u8>, Vec<Vec<u8>>) {
        let is_key = picture.is_multiple_of(GROUP);
        let slice = |index: u32| {
            // `first_mb_in_slice` is not what is read; the number is told without a byte that could be part of a start code.
            let head: &[u8] = if is_key { &[0x65, 0x88, 0x84] } else { &[0x41, 0x9a, 0x24] };
            let number = (picture * 8 + index).to_be_bytes().map(|byte| byte ^ 0x80);
            [head, &number, &[0xaa; 40]].concat()
        };
        let slices: Vec<Vec<u8>> = (0..self.slices).map(slice).collect();
        let mut units: Vec<&[u8]> = Vec::new();
        if self.has_delimiters {
            units.push(&[9, 0xf0]);
        }
        if is_key && (self.has_sets_in_band || self.changes_size) {
            units.extend(self.sets(picture));
        }
        units.extend(slices.iter().map(Vec::as_slice));
        (self.frame_units(&units), slices)
    }

    fn frame_units(&self, units: &[&[u8]]) -> Vec<u8> {
        match self.framing {
            0 => start_codes(units),
            5 => lengths(&[&start_codes(units)], 4),
            bytes => lengths(units, bytes),
        }
    }

    fn header(&self) -> Option<Vec<u8>> {
        let [sps, pps] = SETS[0];
        let record = avc::DecoderConfig::from_sets(sps, pps).unwrap().as_bytes().to_vec();
        match self.header {
            0 => Some(record),
            1 => None,
            2 => Some(Vec::new()),
            _ => Some(start_codes(&SETS[0])),
        }
    }
}

fn lengths(units: &[&[u8]], bytes: usize) -> Vec<u8> {
    units.iter().flat_map(|unit| [&u32::try_from(unit.len()).unwrap().to_be_bytes()[4 - bytes..], unit].concat()).collect()
}

fn start_codes(units: &[&[u8]]) -> Vec<u8> {
    units.iter().enumerate().flat_map(|(at, unit)| [&[0, 0, 0, 1][at % 2..], unit].concat()).collect()
}

/// The session, its clock and what came out.
struct World {
    session: Session,
    clock: SourceClock,
    chunk_size: u32,
    now: Instant,
    /// Slices, decoding and presentation time and the moment, of each picture.
    pictures: Vec<(Vec<Vec<u8>>, i64, i64, i64)>,
    sounds: usize,
    sizes: Vec<(u32, u32)>,
    is_accepted: bool,
}

impl World {
    fn new(quirks: &Quirks) -> Self {
        let session = Session::new(Config::default(), Instant::ZERO, 1);
        let mut world = Self {
            session,
            clock: SourceClock::default(),
            chunk_size: 128,
            now: Instant::ZERO,
            pictures: Vec::new(),
            sounds: 0,
            sizes: Vec::new(),
            is_accepted: false,
        };
        let mut opening = std::vec![0; 1 + 2 * 1536];
        opening[0] = 3;
        world.feed(&opening);
        world.send(1, 0, 0, &quirks.chunk_size.to_be_bytes());
        world.chunk_size = quirks.chunk_size;
        world.send(20, 0, 0, b"\x02\0\x07connect\0\x3f\xf0\0\0\0\0\0\0\x03\0\x03app\x02\0\x04live\0\0\x09");
        world.send(20, 0, 0, b"\x02\0\x0ccreateStream\0\x40\0\0\0\0\0\0\0\x05");
        world.send(20, 1, 0, b"\x02\0\x07publish\0\x40\x14\0\0\0\0\0\0\x05\x02\0\x01s");
        assert!(world.is_accepted);
        world
    }

    fn send(&mut self, type_id: u8, stream_id: u32, timestamp: u32, body: &[u8]) {
        let csid = match type_id {
            8 => 4,
            9 => 6,
            _ => 3,
        };
        let header = MessageHeader { csid, timestamp, length: u32::try_from(body.len()).unwrap(), type_id, stream_id };
        let mut bytes = Vec::new();
        write(&header, [body, &[]], self.chunk_size, |part| bytes.extend_from_slice(part));
        self.feed(&bytes);
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.session.handle_bytes(self.now, bytes).unwrap();
        loop {
            match self.session.poll_output() {
                Output::Transmit(_) => {}
                Output::Event(Event::PublishRequested { .. }) => {
                    self.session.accept_publish();
                    self.is_accepted = true;
                }
                Output::Event(Event::Track(track)) => self.sizes.extend(track.config.size()),
                Output::Event(Event::Frame(frame)) => {
                    let placed = self.clock.place(frame.track, frame.dts, frame.pts, self.now);
                    if frame.track == TrackId::AUDIO {
                        assert_eq!(frame.payload[..], [0x21, 7, 7]);
                        self.sounds += 1;
                        continue;
                    }
                    let slices: Vec<Vec<u8>> =
                        avc::NalUnits::new(&frame.payload, 4).filter(|unit| matches!(unit[0] & 0x1f, 1 | 5)).map(<[u8]>::to_vec).collect();
                    assert_eq!(frame.is_keyframe, slices[0][0] == 0x65);
                    let now = MediaTime::from_micros(i64::try_from(self.now.as_micros()).unwrap()).ticks_90k;
                    self.pictures.push((slices, placed.dts.ticks_90k, placed.pts.ticks_90k, now));
                }
                Output::Event(_) => {}
                Output::Timeout(_) => return,
            }
        }
    }
}

fn run(seed: u64) {
    let quirks = Quirks::of(seed);
    let mut random = Random(seed);
    let mut world = World::new(&quirks);
    let header = quirks.header();
    let record = header.as_ref().map(|record| [&[0x17, 0, 0, 0, 0][..], record].concat());
    if let Some(record) = &record {
        world.send(9, 1, 0, record);
    }
    if quirks.has_sound && !quirks.has_adts {
        world.send(8, 1, 0, &[0xaf, 0, 0x12, 0x10]);
    }
    let mut sent = Vec::new();
    for picture in 0..PICTURES {
        let at = i64::from(picture) * 40;
        let moment = u64::try_from(at).unwrap() * 1000 + u64::from(random.below(quirks.jitter_ms + 1)) * 1000;
        world.now = world.now.max(Instant::ZERO + Duration::from_micros(moment));
        let (units, slices) = quirks.picture(picture);
        let is_key = picture.is_multiple_of(GROUP);
        if let Some(record) = record.as_ref().filter(|_| is_key && quirks.repeats_header) {
            world.send(9, 1, quirks.sent(TrackId::VIDEO, at), record);
        }
        let flag = if quirks.flag.unwrap_or(is_key) { 0x17 } else { 0x27 };
        let [_, c1, c2, c3] = quirks.composition_ms.to_be_bytes();
        world.send(9, 1, quirks.sent(TrackId::VIDEO, at), &[&[flag, 1, c1, c2, c3][..], &units].concat());
        sent.push(slices);
        if quirks.has_sound {
            let adts: &[u8] = if quirks.has_adts { &[0xff, 0xf1, 0x50, 0x80, 0x01, 0x5f, 0xfc] } else { &[] };
            world.send(8, 1, quirks.sent(TrackId::AUDIO, at), &[&[0xaf, 1][..], adts, &[0x21, 7, 7]].concat());
        }
    }
    check(seed, &quirks, &world, &sent);
}

/// Every picture is there, in order, with times within the invariants.
fn check(seed: u64, quirks: &Quirks, world: &World, sent: &[Vec<Vec<u8>>]) {
    let got: Vec<_> = world.pictures.iter().map(|(slices, ..)| slices).collect();
    assert!(
        got.len() == sent.len() && got.iter().zip(sent).all(|(got, sent)| *got == sent),
        "seed {seed}: {} pictures; {quirks:?}",
        got.len()
    );
    assert_eq!(world.sounds, if quirks.has_sound { sent.len() } else { 0 }, "seed {seed}: {quirks:?}");
    let sizes: &[(u32, u32)] = if quirks.changes_size { &[(1280, 720), (1920, 1080)] } else { &[(1280, 720)] };
    assert_eq!(world.sizes, sizes, "seed {seed}: {quirks:?}");
    let rises = world.pictures.windows(2).all(|pair| pair[1].1 >= pair[0].1 + 90);
    let is_shown_in_time = world.pictures.iter().all(|(_, dts, pts, _)| (0..=180_000).contains(&(pts - dts)));
    assert!(rises && is_shown_in_time, "seed {seed}: {quirks:?}");
    // Once a rate is known to be wrong, a minute is a minute.
    let settled = || world.pictures.iter().filter(|(.., now)| *now > 20 * 90_000).map(|(_, dts, _, now)| dts - now);
    let spread = settled().max().unwrap() - settled().min().unwrap();
    assert!(spread <= 90_000, "seed {seed}: {} ms apart; {quirks:?}", spread / 90);
}

#[test]
fn every_composition_of_quirks_gives_every_picture_at_its_time() {
    let range = std::env::var("QUIRK_SEEDS").unwrap_or_default();
    let (from, to) = range.split_once("..").unwrap_or(("0", if cfg!(miri) { "1" } else { "250" }));
    let (from, to): (u64, u64) = (from.parse().unwrap(), to.parse().unwrap());
    (from..to).for_each(run);
}
