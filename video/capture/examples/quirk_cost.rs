//! What cameras of many quirks cost against plain ones with the same sound: the time of the processor that their readers take, connections, and memory.
//!
//! `cargo run --example quirk_cost -- SECONDS CAMERAS`: reads so many of each kind at one time, in real time.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that can't go on fails, and its words are its result")]

use interop::dice::{self, Dice};
use interop::{quirk_camera, quirk_mjpeg};
use sightline_capture::{
    Source, SourceEvent, Transport,
    live::{Live, LiveSource},
    scene::Scene,
    v4l2::modes::Target,
};
use sightline_h264::{Encoder, Planes};
use sightline_media::{MediaTime, TrackId, annexb::NalUnits};
use sightline_signal::Settings;
use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

const SETTINGS: Settings = Settings { width: 640, height: 368, fps: 50, bitrate_bps: 2_000_000 };
/// Before it, what is allocated once is.
const SETTLED: Duration = Duration::from_secs(10);

fn clip() -> quirk_camera::Clip {
    let (mut scene, mut encoder) = (Scene::with_grain(640, 368, "cost"), Encoder::open(SETTINGS, 0.2).unwrap());
    let mut units = Vec::new();
    for at in 0.. {
        let picture = scene.paint(at * 20);
        let planes = Planes { planes: picture.planes(), width: 640, height: 368 };
        let coded = encoder.encode(planes, MediaTime::from_millis(at as i64 * 20)).unwrap();
        let unit: Vec<Vec<u8>> = NalUnits::new(coded).map(<[u8]>::to_vec).collect();
        if !unit.is_empty() {
            units.push(unit);
        }
        if units.len() == 40 {
            break;
        }
    }
    quirk_camera::Clip { units }
}

fn jpegs() -> Vec<Vec<u8>> {
    let pictures = (0..7_u16).map(|at| {
        let (width, height) = (320 + at * 32, 240);
        let pixels: Vec<u8> = (0..u32::from(width) * u32::from(height)).map(|pixel| (pixel * u32::from(at + 3)) as u8).collect();
        let mut jpeg = Vec::new();
        jpeg_encoder::Encoder::new(&mut jpeg, 85).encode(&pixels, width, height, jpeg_encoder::ColorType::Luma).unwrap();
        jpeg
    });
    pictures.collect()
}

/// Threads that read a camera.
fn readers() -> BTreeSet<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().file_name().to_string_lossy().into_owned());
    tasks.filter(|task| fs::read_to_string(format!("/proc/self/task/{task}/comm")).is_ok_and(|name| name.trim() == "camera")).collect()
}

/// The time that a thread has had of a processor.
fn cpu(task: &str) -> Duration {
    let text = fs::read_to_string(format!("/proc/self/task/{task}/schedstat")).unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

fn memory_kb() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A camera that is being read, and what has come of it.
struct Read {
    name: String,
    live: Live,
    task: String,
    pictures: u64,
    sounds: u64,
    losses: Vec<String>,
    begun: Option<Duration>,
}

fn read(name: String, source: LiveSource) -> Read {
    let before = readers();
    let live = Live::open(source, Target { settings: SETTINGS, is_limit: false }, Instant::now()).unwrap();
    let task = loop {
        if let Some(task) = readers().difference(&before).next() {
            break task.clone();
        }
        std::thread::yield_now();
    };
    Read { name, live, task, pictures: 0, sounds: 0, losses: Vec::new(), begun: None }
}

impl Read {
    fn drain(&mut self) {
        while let Some(event) = self.live.next(Duration::ZERO).unwrap() {
            match event {
                SourceEvent::Frame(frame, _) if frame.track == TrackId::VIDEO => self.pictures += 1,
                SourceEvent::Picture(..) => self.pictures += 1,
                SourceEvent::Lost { trouble, .. } => self.losses.push(trouble.to_string()),
                SourceEvent::Frame(..) => self.sounds += 1,
                SourceEvent::Track(_) | SourceEvent::Pixels(..) => {}
            }
        }
    }
}

fn main() {
    let mut words = std::env::args().skip(1).filter_map(|word| word.parse::<u64>().ok());
    let (secs, count) = (words.next().unwrap_or(30), words.next().unwrap_or(8));
    let (seed, clip, jpegs) = (dice::seed(), clip(), jpegs());
    let (mut cameras, mut mjpegs, mut all) = (Vec::new(), Vec::new(), Vec::new());
    let mut start = |name: String, quirks: quirk_camera::Quirks| {
        let camera = quirk_camera::QuirkCamera::start(clip.clone(), quirks);
        let Source::Rtsp(url) = camera.url().replace("://", "://user:word@").parse().unwrap() else { panic!("it is RTSP") };
        let transport = if camera.is_udp() { Transport::Udp } else { Transport::Tcp };
        cameras.push(camera);
        read(name, LiveSource::Rtsp(url, transport))
    };
    for number in 0..count {
        let quirks = quirk_camera::Quirks::composed(&mut Dice::of(seed, number));
        // With the same sound, which may have to be encoded.
        let quirk_camera::Quirks { sound, sound_setup, has_sounds_around, is_udp, .. } = quirks;
        let plain = quirk_camera::Quirks { sound, sound_setup, has_sounds_around, is_udp, ..Default::default() };
        all.push((start(format!("{plain:?}"), plain), start(format!("{quirks:?}"), quirks)));
    }
    let mut start = |name: String, quirks: quirk_mjpeg::Quirks| {
        let camera = quirk_mjpeg::QuirkMjpeg::start(jpegs.clone(), quirks);
        let Source::Mjpeg(url) = camera.url().parse().unwrap() else { panic!("it is MJPEG") };
        mjpegs.push(camera);
        read(name, LiveSource::Mjpeg(url))
    };
    for number in 0..count {
        let quirks = quirk_mjpeg::Quirks::composed(&mut Dice::of(seed, number));
        let plain = quirk_mjpeg::Quirks::default();
        all.push((start(format!("MJPEG {plain:?}"), plain), start(format!("MJPEG {quirks:?}"), quirks)));
    }
    let begin = Instant::now();
    let mut memory = Vec::new();
    while begin.elapsed() < Duration::from_secs(secs) {
        std::thread::sleep(Duration::from_millis(20));
        for one in all.iter_mut().flat_map(|(plain, composed)| [plain, composed]) {
            one.drain();
            if one.begun.is_none() && begin.elapsed() > SETTLED {
                // From here on.
                (one.begun, one.pictures, one.sounds) = (Some(cpu(&one.task)), 0, 0);
            }
        }
        if begin.elapsed() > SETTLED * (u32::try_from(memory.len()).unwrap() + 1) {
            memory.push(memory_kb());
        }
    }
    let micros = |one: &Read| (cpu(&one.task) - one.begun.unwrap_or_default()).as_micros() as f64 / one.pictures.max(1) as f64;
    for (plain, composed) in &all {
        let (plain_micros, composed_micros) = (micros(plain), micros(composed));
        println!(
            "{:.2} times: {plain_micros:.0} and {composed_micros:.0} µs a picture ({} and {}, of sound {} and {}), lost {:?} and {:?}: {}",
            composed_micros / plain_micros,
            plain.pictures,
            composed.pictures,
            plain.sounds,
            composed.sounds,
            plain.losses,
            composed.losses,
            composed.name
        );
    }
    println!("memory, each {} s, in kB: {memory:?}", SETTLED.as_secs());
}
