//! A day in virtual time, with outages, slow links and servers that refuse: the camera is always back, holds no more than its limits, and every
//! figure that it publishes agrees with the others and with what arrived.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use crate::world::{World, config, fixed};
use sightline_pusher::{Config, Input, Trigger};
use sightline_signal::{CustomQuality, ErrorCode, Quality, Settings, StatusEvent, StreamState};
use std::time::Duration;

/// Under Miri, where it would take days, two minutes.
const DAY_SECS: f64 = if cfg!(miri) { 120.0 } else { 86_400.0 };
/// Each calm and each outage is shorter then, so that there are some of both.
const SHORTER: f64 = if cfg!(miri) { 0.1 } else { 1.0 };
const STRIKES_MIN: u64 = if cfg!(miri) { 3 } else { 100 };
/// A slow camera: the day is long enough.
const SETTINGS: Settings = Settings { width: 320, height: 240, fps: 5, bitrate_bps: 100_000 };

/// xorshift64*, between zero and one.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, least: f64, most: f64) -> f64 {
        least + self.unit() * (most - least)
    }
}

/// What befalls the link; how long it lasts.
fn strike(world: &mut World, random: &mut Random) {
    let secs = SHORTER * if random.unit() < 0.8 { random.between(0.5, 40.0) } else { random.between(40.0, 900.0) };
    match (random.unit() * 4.0) as u32 {
        0 => {
            // Nothing passes, and nothing says so: a dead zone.
            world.set_rate(0.0);
            world.listens = vec![("", false)];
            world.run(secs);
        }
        1 => {
            world.set_rate(random.between(2_000.0, 15_000.0));
            world.run(secs);
        }
        2 => {
            // The server goes, and comes back.
            world.listens = vec![("", false)];
            world.input(Input::LinkClosed(None));
            world.act();
            world.run(secs);
        }
        _ => {
            // It holds the name for a connection that it has not missed yet.
            world.accepts = false;
            world.input(Input::LinkClosed(Some(ErrorCode::ConnectionLost)));
            world.act();
            world.run(secs.min(20.0));
        }
    }
    world.accepts = true;
    world.listens = vec![("", true)];
    world.set_rate(2e5);
}

#[test]
fn a_day_of_outages_leaves_the_camera_streaming_and_its_figures_in_agreement() {
    let custom = CustomQuality::new(SETTINGS, SETTINGS.fps).unwrap();
    let quality = Config { quality: Quality::Custom, custom: Some(custom), min_bitrate_bps: 50_000, ..config(Trigger::AlwaysOn) };
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live", "rtmp://b/live"]), ..quality });
    world.step = Duration::from_millis(25);
    world.bytes_per_second = 2e5;
    let mut random = Random(0x5eed);
    let began = world.now;
    let mut slowest_secs = 0.0_f64;
    let (mut strikes, mut held_bytes_max) = (0, 0);
    while world.now.since(began).as_secs_f64() < DAY_SECS {
        world.run(SHORTER * random.between(60.0, 600.0));
        assert!(world.pusher.is_streaming(), "at {:?} after {strikes} strikes: {:?}", world.now, world.pusher.state());
        strike(&mut world, &mut random);
        strikes += 1;
        // An always-on camera that has failed for long tries every five minutes; one that has not, within a minute.
        let mut waited_secs = 0.0;
        while world.pusher.state() != StreamState::Streaming {
            world.run(1.0);
            waited_secs += 1.0;
            assert!(waited_secs < 400.0, "not back: {:?}", world.pusher.state());
        }
        slowest_secs = slowest_secs.max(waited_secs);
        held_bytes_max = held_bytes_max.max(world.held_bytes());
        world.assert_decodable();
        world.forget_all_but_the_last();
    }
    assert!(strikes > STRIKES_MIN && held_bytes_max < 256 * 1024, "{strikes} strikes, {held_bytes_max} bytes held");
    world.input(Input::Stop);
    world.run(5.0);
    let stopped = world.events.iter().find_map(|(_, event)| match event {
        StatusEvent::Stopped(stopped) => Some(stopped.final_metrics),
        StatusEvent::Started(_) | StatusEvent::Metrics(_) | StatusEvent::ConnectionError(_) => None,
    });
    let last = stopped.unwrap();
    let secs = last.stream_duration_ms as f64 / 1000.0;
    assert!((secs - world.now.since(began).as_secs_f64()).abs() < 60.0, "one session, a day long: {secs}");
    let kbps = last.total_bytes_sent as f64 * 8.0 / 1000.0 / secs;
    let fps = last.total_frames_sent as f64 / secs;
    assert!((kbps / f64::from(last.average_bitrate_kbps) - 1.0).abs() < 1e-4 && (fps / f64::from(last.average_fps) - 1.0).abs() < 1e-4);
    // What left whole arrived, but for what was on its way when a connection ended.
    let lost = last.total_frames_sent - world.received_total;
    assert!(lost <= strikes * 64, "{lost} of {} frames lost in {strikes} strikes", last.total_frames_sent);
    eprintln!(
        "{strikes} strikes, back after {slowest_secs} s at most; {} frames, {:.1} kbit/s, {lost} lost on their way",
        last.total_frames_sent, kbps
    );
}
