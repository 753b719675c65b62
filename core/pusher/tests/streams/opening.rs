//! What the uplink carries before the stream begins, and the preset that it picks.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use crate::world::{FRAMES_IN_ONE, World, config, fixed};
use sightline_pusher::{Config, Input, Trigger};
use sightline_signal::{CustomQuality, ErrorCode, Quality, Settings, StatusEvent, StreamStarted, StreamState};

/// A camera of this quality on a link of so many bits a second, streaming: the numbers that it began with, and what it told.
fn started(quality: Quality, link_bps: f64) -> (World, Settings, StreamStarted) {
    let custom = CustomQuality::new(Settings { width: 1280, height: 960, fps: 20, bitrate_bps: 2_000_000 }, 20).ok();
    let mut world = World::new(Config { quality, custom, server: fixed(&["rtmp://a/live"]), ..config(Trigger::Manual) });
    world.set_rate(link_bps / 8.0);
    world.input(Input::Start);
    while !world.pusher.is_streaming() {
        world.run(0.1);
        assert!(world.now.as_micros() < 4_000_000, "a picture within three seconds");
    }
    let settings = world.pusher.settings();
    world.run(1.1);
    let started =
        world.events.iter().find_map(|(_, event)| if let StatusEvent::Started(started) = event { Some(started.clone()) } else { None });
    (world, settings, started.unwrap())
}

#[test]
fn the_uplink_picks_the_preset_that_the_stream_begins_with() {
    let cases = [
        (Quality::Ultra, 20e6, Quality::Ultra, (1920, 30)),
        (Quality::Ultra, 3.2e6, Quality::High, (1920, 25)),
        (Quality::High, 1.7e6, Quality::Medium, (1280, 20)),
        (Quality::High, 0.8e6, Quality::Low, (640, 15)),
        (Quality::Low, 20e6, Quality::Low, (640, 15)),
    ];
    for (wanted, link_bps, picked, (width, fps)) in cases {
        let (_, settings, first) = started(wanted, link_bps);
        assert_eq!((first.quality, settings.width, settings.fps), (picked, width, fps), "{wanted:?} on {link_bps}: {first:?}");
        let uplink_bps = first.metrics.uplink_kbps.unwrap() * 1000.0;
        assert!(
            uplink_bps < link_bps as f32 * 1.3 && uplink_bps > 0.6 * (link_bps as f32).min(wanted.settings().unwrap().bitrate_bps as f32),
            "{uplink_bps} of {link_bps}"
        );
        assert!(settings.bitrate_bps as f32 <= uplink_bps);
        let (asked, sent) = (settings.fps as f32 / FRAMES_IN_ONE as f32, first.metrics);
        assert!((sent.fps / asked - 1.0).abs() < 0.2 && sent.bitrate_kbps > 50.0 && sent.bitrate_kbps < 4500.0, "{asked} {sent:?}");
        assert_eq!(first.server_url, "rtmp://a/live/");
    }
}

#[test]
fn a_stream_on_a_slow_link_begins_without_a_lag_and_grows_with_the_link() {
    let (mut world, ..) = started(Quality::High, 0.8e6);
    world.run(10.0);
    assert!(
        world.received.len() > 130 / FRAMES_IN_ONE as usize && world.errors().is_empty(),
        "{} frames, {:?}",
        world.received.len(),
        world.errors()
    );
    world.assert_decodable();
    world.set_rate(2e6);
    world.run(90.0);
    let settings = world.pusher.settings();
    assert_eq!((settings.width, settings.fps, settings.bitrate_bps), (1920, 25, 2_000_000));
    world.input(Input::Stop);
    world.run(3.0);
    world.assert_decodable();
    // The next stream looks anew.
    world.set_rate(0.8e6 / 8.0);
    world.input(Input::Start);
    world.run(4.0);
    assert_eq!((world.pusher.state(), world.pusher.settings().width), (StreamState::Streaming, 640));
}

#[test]
fn below_the_least_preset_pictures_are_fewer_and_below_the_least_rate_it_is_told() {
    let (world, settings, small) = started(Quality::High, 220e3);
    assert_eq!((small.quality, world.errors().len()), (Quality::Low, 0));
    assert!(settings.fps < 15 && settings.bitrate_bps < 300_000, "{settings:?}");
    let (mut world, ..) = started(Quality::High, 100e3);
    let told = |world: &World| world.errors().iter().filter(|(code, ..)| *code == ErrorCode::BandwidthInsufficient).count();
    assert_eq!(told(&world), 1);
    world.run(40.0);
    assert!(told(&world) == 1 && world.pusher.is_streaming(), "{:?}", world.errors());
}

#[test]
fn a_custom_quality_keeps_its_name_and_begins_at_the_rate_that_fits() {
    let (_, settings, first) = started(Quality::Custom, 1.2e6);
    assert_eq!((first.quality, settings.width, settings.fps), (Quality::Custom, 1280, 20));
    assert!((700_000..=1_200_000).contains(&settings.bitrate_bps), "{settings:?}");
}

#[test]
fn a_server_that_leaves_when_it_is_padded_is_asked_again_without() {
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), ..config(Trigger::Manual) });
    world.set_rate(30_000.0);
    world.input(Input::Start);
    world.run(0.5);
    assert_eq!((world.pusher.state(), world.names.len()), (StreamState::Connecting, 0));
    world.link = None;
    world.input(Input::LinkClosed(None));
    world.run(0.5);
    assert_eq!((world.dials.len(), world.names.len(), world.errors()), (2, 1, vec![]));
    assert!(world.pusher.is_streaming());
}

#[test]
fn later_connections_and_those_that_are_not_to_be_checked_publish_at_once() {
    let off = Config { bandwidth_check: false, ..config(Trigger::Manual) };
    let fixed_rate = Config { adaptive_bitrate: false, ..config(Trigger::Manual) };
    for config in [off, fixed_rate] {
        let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), ..config });
        world.set_rate(60_000.0);
        world.input(Input::Start);
        world.run(0.2);
        assert!(world.pusher.is_streaming());
        assert_eq!(world.pusher.settings().bitrate_bps, 2_000_000);
    }
    let (mut world, ..) = started(Quality::High, 4e6);
    world.run(10.0);
    world.link = None;
    world.input(Input::LinkClosed(None));
    world.run(0.1);
    assert!(world.pusher.is_streaming(), "the last connection has shown what the link carries");
}
