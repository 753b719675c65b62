//! The pusher and a real RTMP server session, back to back in virtual time, over a link with a capacity, a delay, stalls and cuts.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use crate::world::{FRAMES_IN_ONE, World, config, fixed};
use sightline_media::Instant;
use sightline_pusher::{Config, Input, Trigger};
use sightline_signal::{ErrorCode, Response, StatusEvent, StreamState, Text};
use std::time::Duration;

#[test]
fn a_stream_arrives_whole_and_its_figures_agree() {
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), ..config(Trigger::Manual) });
    world.input(Input::Start);
    world.run(20.0);
    assert_eq!((world.pusher.state(), world.names.as_slice()), (StreamState::Streaming, &["name".to_owned()][..]));
    world.input(Input::Stop);
    world.run(3.0);
    assert_eq!(world.pusher.state(), StreamState::Idle);
    world.assert_decodable();
    let Some((_, StatusEvent::Stopped(stopped))) = world.events.last() else { panic!("{:?}", world.events.last()) };
    let last = stopped.final_metrics;
    assert_eq!(last.total_frames_sent, world.received.len() as u64);
    assert!(last.dropped_frames <= 2, "{last:?}");
    let secs = last.stream_duration_ms as f32 / 1000.0;
    assert!((last.average_fps * secs - last.total_frames_sent as f32).abs() < 1.0, "{last:?}");
    assert!((last.average_bitrate_kbps * secs * 125.0 / last.total_bytes_sent as f32 - 1.0).abs() < 0.001, "{last:?}");
}

#[test]
fn a_camera_that_is_gone_is_told_and_the_stream_stays() {
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), ..config(Trigger::Manual) });
    world.input(Input::Start);
    world.run(5.0);
    world.input(Input::SourceLost { code: ErrorCode::SourceLost, attempts: 3, next_retry: Duration::from_millis(3_500) });
    world.run(5.0);
    assert_eq!((world.pusher.state(), world.errors()), (StreamState::Streaming, vec![(ErrorCode::SourceLost, 3, 4)]));
}

#[test]
fn the_published_delays_are_the_real_ones() {
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), max_reconnect_attempts: 4, ..config(Trigger::Manual) });
    world.listens = vec![("", false)];
    world.input(Input::Start);
    world.run(200.0);
    let delays: Vec<(u32, u32)> = world.errors().iter().map(|(_, attempts, delay)| (*attempts, *delay)).collect();
    assert_eq!(delays, [(1, 10), (2, 20), (3, 40), (4, 0)]);
    let gaps: Vec<u64> = world.dials.windows(2).map(|pair| (pair[1].0.since(pair[0].0).as_millis() as u64 + 50) / 1000).collect();
    assert_eq!(gaps, [10, 20, 40]);
    assert_eq!(world.pusher.state(), StreamState::Error);
    // A person starts it again.
    world.listens = vec![("", true)];
    world.input(Input::Start);
    world.run(2.0);
    assert_eq!(world.pusher.state(), StreamState::Streaming);
}

#[test]
fn an_always_on_camera_never_gives_up() {
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), max_reconnect_attempts: 2, ..config(Trigger::AlwaysOn) });
    world.listens = vec![("", false)];
    world.run(2000.0);
    assert!(world.dials.len() > 6);
    let last = world.dials.len() - 1;
    assert_eq!(world.dials[last].0.since(world.dials[last - 1].0).as_secs(), 300);
    world.listens = vec![("", true)];
    world.input(Input::NetworkUp);
    world.run(1.0);
    assert_eq!(world.pusher.state(), StreamState::Streaming);
}

#[test]
fn the_cloud_is_asked_and_its_answer_obeyed() {
    let mut world = World::new(config(Trigger::AlwaysOn));
    world.run(0.1);
    assert_eq!((world.pusher.state(), world.requests.len()), (StreamState::Requesting, 1));
    assert_eq!((world.requests[0].device_id.as_str(), world.requests[0].max_bitrate), ("cam-1", 2_000_000));
    // Someone else's answer, then a refusal with a delay of its own.
    world.answer(|response| response.request_id = Text::try_from("other").unwrap());
    assert_eq!(world.pusher.state(), StreamState::Requesting);
    world.answer(|response| {
        let id = response.request_id.clone();
        *response = Response::failure(&id, ErrorCode::NoServerAvailable, "none", Some(25));
    });
    assert_eq!(world.errors(), [(ErrorCode::NoServerAvailable, 1, 25)]);
    world.run(26.0);
    assert_eq!(world.requests.len(), 2);
    world.answer(|response| response.max_bitrate = Some(800_000));
    world.run(2.0);
    assert_eq!((world.pusher.state(), world.pusher.settings().bitrate_bps), (StreamState::Streaming, 800_000));
    assert_eq!(world.dials[0].1, "rtmp://a/live");
}

#[test]
fn silence_from_the_cloud_is_a_timeout_and_its_return_is_used_at_once() {
    let mut world = World::new(config(Trigger::AlwaysOn));
    world.run(11.0);
    assert_eq!(world.errors(), [(ErrorCode::DiscoveryTimeout, 1, 10)]);
    world.input(Input::SignalUp);
    assert_eq!((world.pusher.state(), world.requests.len()), (StreamState::Requesting, 2));
    // While it waits for the answer, the same question again: the cloud answers it once.
    world.input(Input::SignalUp);
    assert_eq!((world.requests.len(), &world.requests[2].request_id), (3, &world.requests[1].request_id));
}

#[test]
fn a_refused_name_asks_the_cloud_again() {
    let mut world = World::new(config(Trigger::AlwaysOn));
    world.accepts = false;
    world.run(0.1);
    world.answer(|_| {});
    world.run(1.0);
    assert_eq!(world.errors(), [(ErrorCode::StreamKeyInvalid, 1, 10)]);
    world.accepts = true;
    world.run(10.0);
    assert_eq!(world.requests.len(), 2);
    world.answer(|_| {});
    world.run(1.0);
    assert_eq!(world.pusher.state(), StreamState::Streaming);
}

#[test]
fn a_dead_link_is_found_within_five_seconds_and_left() {
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), ..config(Trigger::AlwaysOn) });
    world.run(20.0);
    let cut_at = world.now;
    world.link.as_mut().unwrap().bytes_per_second = 0.0;
    world.run(8.0);
    let found = world.events.iter().find_map(|(at, event)| {
        matches!(event, StatusEvent::ConnectionError(error) if error.error_code == ErrorCode::SendTimeout).then_some(*at)
    });
    let found = found.expect("SEND_TIMEOUT").since(cut_at);
    assert!((Duration::from_secs(5)..Duration::from_millis(5300)).contains(&found), "{found:?}");
    // It had held for long: the next try comes at once, and begins with a key frame.
    assert_eq!((world.pusher.state(), world.dials.len()), (StreamState::Streaming, 2));
    world.run(5.0);
    world.assert_decodable();
}

#[test]
fn a_name_that_the_server_still_holds_for_the_lost_connection_is_asked_for_again_each_second() {
    let mut test = World::new(Config { server: fixed(&["rtmp://a/live"]), reconnect_jitter: 0.0, ..config(Trigger::AlwaysOn) });
    test.run(10.0);
    test.accepts = false;
    test.input(Input::LinkClosed(None));
    test.act();
    test.run(4.5);
    assert!(!test.pusher.is_streaming() && (4..=6).contains(&test.dials.len()), "{:?}", test.dials);
    test.accepts = true;
    test.run(1.5);
    assert!(test.pusher.is_streaming());
    let refusals: Vec<_> = test.errors().into_iter().filter(|(code, _, _)| *code == ErrorCode::StreamKeyInvalid).collect();
    assert!(refusals.iter().all(|(_, _, next_sec)| *next_sec == 1), "{refusals:?}");
    test.assert_decodable();
}

#[test]
fn the_next_server_is_tried_at_once() {
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live", "rtmp://b/live"]), ..config(Trigger::AlwaysOn) });
    world.run(10.0);
    world.listens = vec![("rtmp://a", false), ("rtmp://b", true)];
    let cut_at = world.now;
    world.link = None;
    world.input(Input::LinkClosed(None));
    world.run(1.0);
    assert_eq!((world.pusher.state(), world.dials.last().unwrap().1.as_str()), (StreamState::Streaming, "rtmp://b/live"));
    assert!(world.dials.last().unwrap().0.since(cut_at) < Duration::from_secs(1));
}

#[test]
fn a_slow_link_lowers_the_rate_and_a_good_one_raises_it() {
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), ..config(Trigger::AlwaysOn) });
    world.bytes_per_second = 100_000.0;
    world.run(60.0);
    let low = world.pusher.settings().bitrate_bps;
    assert!((300_000..1_100_000).contains(&low), "{low} around 800 kbit/s: it probes");
    world.assert_decodable();
    assert!(world.age_max <= Duration::from_secs(3), "{:?}", world.age_max);
    let late = world
        .received
        .iter()
        .filter(|(at, number, _)| *number > 100 / i64::from(FRAMES_IN_ONE) && at.since(Instant::from_micros(1_000_000)).as_secs() > 20)
        .count();
    assert!(late > 600 / FRAMES_IN_ONE as usize, "{late} frames in the last 40 s");
    world.link.as_mut().unwrap().bytes_per_second = 2e6;
    world.run(40.0);
    assert_eq!(world.pusher.settings().bitrate_bps, 2_000_000);
    world.assert_decodable();
}

#[test]
fn a_link_below_the_least_rate_is_told_once_and_the_stream_goes_on() {
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), ..config(Trigger::AlwaysOn) });
    world.run(10.0);
    let told = |world: &World| world.errors().iter().filter(|(code, _, _)| *code == ErrorCode::BandwidthInsufficient).count();
    world.link.as_mut().unwrap().bytes_per_second = 9_000.0;
    world.run(60.0);
    assert!(told(&world) == 1 && world.pusher.is_streaming(), "{:?}", world.errors());
    world.link.as_mut().unwrap().bytes_per_second = 2e6;
    world.run(30.0);
    world.link.as_mut().unwrap().bytes_per_second = 9_000.0;
    world.run(60.0);
    assert_eq!(told(&world), 2, "it came back, and went again");
    world.assert_decodable();
}

#[test]
fn frames_that_a_stall_makes_too_old_are_left_out_and_a_decoder_does_not_notice() {
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), ..config(Trigger::AlwaysOn) });
    world.run(10.0);
    for _ in 0..5 {
        world.link.as_mut().unwrap().bytes_per_second = 1_000.0;
        world.run(4.0);
        world.link.as_mut().unwrap().bytes_per_second = 2e6;
        world.run(6.0);
    }
    assert_eq!(world.pusher.state(), StreamState::Streaming);
    world.assert_decodable();
    let missing = (world.frame - world.received.len() as i64) * i64::from(FRAMES_IN_ONE);
    assert!(missing > 10 && missing < 900, "{missing} frames left out of {}", world.frame);
}

#[test]
fn a_lost_stop_ends_by_its_lease() {
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), ..config(Trigger::OnDemand) });
    world.run(5.0);
    assert_eq!((world.pusher.state(), world.dials.len()), (StreamState::Standby, 0));
    world.command(r#"{"command_id":"1","cmd":"start","lease_sec":10}"#);
    world.run(8.0);
    world.command(r#"{"command_id":"2","cmd":"renew","lease_sec":10}"#);
    world.run(8.0);
    assert_eq!(world.pusher.state(), StreamState::Streaming);
    world.run(4.0);
    assert_eq!(world.pusher.state(), StreamState::Standby);
    assert!(matches!(world.events.last(), Some((_, StatusEvent::Stopped(_)))));
    assert_eq!(
        world.results.iter().map(|result| (result.command_id.as_str(), result.success)).collect::<Vec<_>>(),
        [("1", true), ("2", true)]
    );
}

#[test]
fn the_cloud_s_word_brings_a_waiting_camera_back_at_once() {
    let mut world = World::new(config(Trigger::AlwaysOn));
    world.run(0.1);
    world.answer(|_| {});
    world.run(30.0);
    world.listens = vec![("", false)];
    world.link = None;
    world.input(Input::LinkClosed(None));
    world.run(1.0);
    assert_eq!(world.pusher.state(), StreamState::Reconnecting);
    world.listens = vec![("", true)];
    world.command(r#"{"command_id":"r","cmd":"rotate"}"#);
    world.answer(|_| {});
    world.run(0.5);
    assert_eq!(world.pusher.state(), StreamState::Streaming);
}

#[test]
fn a_command_that_can_t_be_done_says_why_and_changes_nothing() {
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), ..config(Trigger::AlwaysOn) });
    world.run(2.0);
    let before = world.pusher.settings();
    world.command(r#"{"command_id":"1","cmd":"set_bitrate","bitrate_bps":10}"#);
    world.command(r#"{"command_id":"2","cmd":"set_quality","quality":"custom","width":641,"height":480,"fps":15,"bitrate_bps":500000}"#);
    assert_eq!(world.pusher.settings(), before);
    assert!(world.results.iter().all(|result| !result.success && result.error_code == Some(ErrorCode::InvalidQuality)));
    world.command(r#"{"command_id":"3","cmd":"set_quality","quality":"low"}"#);
    assert_eq!(world.encoder.map(|settings| (settings.width, settings.fps)), Some((640, 15)));
}

#[test]
fn more_pictures_than_the_source_gives_are_refused_and_a_preset_has_as_many_as_there_are() {
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), ..config(Trigger::AlwaysOn) });
    world.input(Input::SourceRate(12));
    world.run(2.0);
    assert_eq!(world.pusher.settings().fps, 12);
    world.command(r#"{"command_id":"1","cmd":"set_quality","quality":"custom","width":640,"height":480,"fps":13,"bitrate_bps":500000}"#);
    assert_eq!(world.results.last().unwrap().error_code, Some(ErrorCode::InvalidQuality));
    world.command(r#"{"command_id":"2","cmd":"set_quality","quality":"custom","width":640,"height":480,"fps":12,"bitrate_bps":500000}"#);
    world.command(r#"{"command_id":"3","cmd":"set_quality","quality":"low"}"#);
    assert!(world.results.iter().skip(1).all(|result| result.success), "{:?}", world.results);
    assert_eq!(world.encoder.map(|settings| (settings.width, settings.fps)), Some((640, 12)));
}

#[test]
fn a_new_token_is_fetched_inside_the_running_stream() {
    let mut world = World::new(config(Trigger::AlwaysOn));
    world.run(0.1);
    world.answer(|response| response.refresh_at = Some(1_020));
    world.run(25.0);
    assert_eq!((world.requests.len(), world.pusher.state(), world.dials.len()), (2, StreamState::Streaming, 1));
    world.answer(|_| {});
    world.run(5.0);
    assert_eq!((world.pusher.state(), world.dials.len()), (StreamState::Streaming, 1));
    world.assert_decodable();
}

/// E-RTMP v2, "Reconnect Request": to the next IDR on the old connection, then to the new server, if the cloud has named it.
#[test]
fn a_reconnect_request_is_followed_at_an_idr_and_only_within_the_set() {
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live", "rtmp://b/live"]), ..config(Trigger::Manual) });
    world.input(Input::Start);
    world.run(12.0);
    let ask = |world: &mut World, tc_url| {
        assert!(world.link.as_mut().unwrap().server.request_reconnect(tc_url, "this server is going away"));
        world.run(5.0);
        (world.dials.len(), world.dials.last().unwrap().1.clone())
    };
    assert_eq!(ask(&mut world, Some("rtmp://elsewhere/live")), (1, "rtmp://a/live".to_owned()), "a host that no one named");
    assert_eq!(ask(&mut world, Some("rtmp://b/live")), (2, "rtmp://b/live".to_owned()));
    assert_eq!(ask(&mut world, Some("rtmp://a/live")), (2, "rtmp://b/live".to_owned()), "two servers do not toss it to and fro");
    world.run(6.0);
    assert_eq!(ask(&mut world, None), (3, "rtmp://b/live".to_owned()), "the same server again");
    assert_eq!((world.pusher.state(), world.errors()), (StreamState::Streaming, vec![]));
    world.assert_decodable();
    let gap = world.received.windows(2).map(|pair| pair[1].0.since(pair[0].0)).max().unwrap();
    assert!(gap < Duration::from_millis(300) * FRAMES_IN_ONE, "{gap:?}");
}

#[test]
fn the_trigger_and_commands_each_keep_the_stream_and_a_lease_ends_by_itself() {
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), ..config(Trigger::Motion) });
    world.run(1.0);
    assert_eq!(world.pusher.state(), StreamState::Standby);
    world.input(Input::Trigger(true));
    world.run(3.0);
    assert_eq!(world.pusher.state(), StreamState::Streaming);
    // A viewer's command on a lease, lost without a stop: the stream stays while motion wants it, and after motion while the lease does.
    world.command(r#"{"command_id":"c1","cmd":"start","lease_sec":5}"#);
    world.run(2.0);
    world.input(Input::Trigger(false));
    world.run(1.0);
    assert_eq!(world.pusher.state(), StreamState::Streaming);
    world.run(5.0);
    assert_eq!(world.pusher.state(), StreamState::Standby);
    world.input(Input::Trigger(true));
    world.command(r#"{"command_id":"c2","cmd":"start","lease_sec":2}"#);
    world.run(5.0);
    assert_eq!(world.pusher.state(), StreamState::Streaming, "the lease is over, the motion is not");
    // Stopped by a person: it stays so until the trigger opens again, and closing it is nothing.
    world.command(r#"{"command_id":"c3","cmd":"stop"}"#);
    world.run(3.0);
    world.input(Input::Trigger(false));
    assert_eq!(world.pusher.state(), StreamState::Standby);
    world.input(Input::Trigger(true));
    world.run(3.0);
    assert_eq!(world.pusher.state(), StreamState::Streaming);
    world.assert_decodable();
}

#[test]
fn a_triggered_camera_gives_up_with_the_event_and_tries_again_with_the_next() {
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), max_reconnect_attempts: 2, ..config(Trigger::Scheduled) });
    world.listens = vec![("", false)];
    world.input(Input::Trigger(true));
    world.run(60.0);
    assert_eq!(world.pusher.state(), StreamState::Error);
    world.input(Input::Trigger(false));
    assert_eq!(world.pusher.state(), StreamState::Standby);
    world.listens = vec![("", true)];
    world.input(Input::Trigger(true));
    world.run(2.0);
    assert_eq!(world.pusher.state(), StreamState::Streaming);
}

#[test]
fn a_device_that_does_not_stream_says_so() {
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), live_streaming: false, ..config(Trigger::Manual) });
    world.command(r#"{"command_id":"c1","cmd":"start"}"#);
    world.run(2.0);
    assert_eq!((world.pusher.state(), world.results[0].error_code), (StreamState::Idle, Some(ErrorCode::PermissionDenied)));
}

#[test]
fn a_server_that_only_closes_is_told_by_what_it_was_asked_for_last() {
    let cases: [(&[u8], ErrorCode); 3] = [
        (b"", ErrorCode::ServerOverloaded),
        (b"\x03half of a handshake", ErrorCode::RtmpHandshakeFailed),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ErrorCode::RtmpHandshakeFailed),
    ];
    for (answer, expected) in cases {
        let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), ..config(Trigger::Manual) });
        world.input(Input::Start);
        world.link = None;
        world.input(Input::LinkBytes(answer));
        world.input(Input::LinkClosed(None));
        assert_eq!(world.errors(), [(expected, 1, 10)], "{answer:?}");
    }
    // Its half of the handshake, and then the end.
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), ..config(Trigger::Manual) });
    world.input(Input::Start);
    world.link = None;
    let mut handshake = vec![3];
    handshake.resize(1 + 2 * 1536, 0);
    world.input(Input::LinkBytes(&handshake[..1537]));
    let sent: usize = world.pusher.pending().iter().map(|part| part.len()).sum();
    world.pusher.consumed(world.now, sent);
    world.input(Input::LinkBytes(&handshake[1537..]));
    while !world.pusher.pending()[0].is_empty() {
        let sent: usize = world.pusher.pending().iter().map(|part| part.len()).sum();
        world.pusher.consumed(world.now, sent);
    }
    world.input(Input::LinkClosed(None));
    assert_eq!(world.errors(), [(ErrorCode::RtmpConnectRejected, 1, 10)]);
}

#[test]
fn a_server_that_says_nothing_is_given_up_and_told() {
    let mut world = World::new(Config { server: fixed(&["rtmp://a/live"]), ..config(Trigger::Manual) });
    world.input(Input::Start);
    world.link = None;
    world.run(12.0);
    assert_eq!(world.errors()[0].0, ErrorCode::RtmpConnectTimeout);
    let told = |error: &StatusEvent| matches!(error, StatusEvent::ConnectionError(error) if error.message == "The server did not finish the RTMP handshake in time");
    assert!(world.events.iter().any(|(_, event)| told(event)));
}

#[test]
fn why_the_cloud_can_t_be_asked_is_told_instead_of_a_timeout() {
    let mut world = World::new(config(Trigger::AlwaysOn));
    world.run(0.1);
    world.input(Input::SignalDown(ErrorCode::ClockSkew));
    assert_eq!(world.errors(), [(ErrorCode::ClockSkew, 1, 10)]);
    // The next question has no answer either, for the same reason.
    world.run(20.5);
    assert_eq!(world.errors()[1].0, ErrorCode::ClockSkew);
    world.input(Input::SignalUp);
    world.run(0.1);
    assert_eq!((world.pusher.state(), world.requests.len()), (StreamState::Requesting, 3));
    world.run(10.0);
    assert_eq!(world.errors()[2].0, ErrorCode::DiscoveryTimeout);
}

#[test]
fn an_encoder_that_failed_for_good_ends_the_stream_until_a_command_starts_it() {
    let mut world = World::new(config(Trigger::AlwaysOn));
    world.run(0.1);
    world.answer(|_| {});
    world.run(3.0);
    assert!(world.pusher.is_streaming());
    world.input(Input::Failed(ErrorCode::EncoderFailed));
    assert_eq!((world.pusher.state(), world.errors()), (StreamState::Error, vec![(ErrorCode::EncoderFailed, 0, 0)]));
    assert!(world.events.iter().any(|(_, event)| matches!(event, StatusEvent::Stopped(_))) && world.link.is_none());
    world.run(600.0);
    assert_eq!((world.pusher.state(), world.dials.len()), (StreamState::Error, 1), "nothing starts it by itself");
    world.command(r#"{"command_id":"c","cmd":"start"}"#);
    world.run(2.0);
    assert!(world.pusher.is_streaming());
}

/// A set of servers, as an answer lists them.
fn listed(response: &mut sightline_signal::Response, urls: &[&str]) {
    let servers: Vec<String> = urls
        .iter()
        .enumerate()
        .map(|(place, url)| format!(r#"{{"server_id":"s{place}","rtmp_url":"{url}","priority":{place}}}"#))
        .collect();
    let text = format!(
        r#"{{"success":true,"request_id":"","stream_key":"name","expires_at":4600,"server_time":1000,"token":"t2","servers":[{}]}}"#,
        servers.join(",")
    );
    let fresh: sightline_signal::Response = sightline_signal::json::read(text.as_bytes()).unwrap();
    *response = sightline_signal::Response { request_id: response.request_id.clone(), ..fresh };
}

/// A camera that streams to the second of two servers, because the first did not answer.
fn on_the_second() -> World {
    let mut world = World::new(config(Trigger::AlwaysOn));
    world.listens = vec![("rtmp://a", false), ("", true)];
    world.run(0.1);
    world.answer(|response| listed(response, &["rtmp://a/live", "rtmp://b/live"]));
    world.run(10.0);
    assert_eq!((world.pusher.is_streaming(), world.dials.last().unwrap().1.as_str()), (true, "rtmp://b/live"));
    world
}

#[test]
fn after_a_refresh_in_the_running_stream_the_next_server_is_the_one_after_the_one_in_use() {
    for (fresh, expected) in [
        (&["rtmp://a/live", "rtmp://b/live", "rtmp://c/live"][..], "rtmp://c/live"),
        (&["rtmp://b/live", "rtmp://c/live"], "rtmp://c/live"),
        (&["rtmp://c/live", "rtmp://b/live"], "rtmp://c/live"),
        (&["rtmp://c/live", "rtmp://d/live"], "rtmp://c/live"),
    ] {
        let mut world = on_the_second();
        world.command(r#"{"command_id":"r","cmd":"rotate"}"#);
        world.answer(|response| listed(response, fresh));
        world.run(10.0);
        assert!(world.pusher.is_streaming() && world.dials.len() == 2, "a refresh moves nothing: {:?}", world.dials);
        // It hangs: nothing is taken any more, and a new connection is not answered.
        world.listens = vec![("rtmp://a", false), ("rtmp://b", false), ("", true)];
        let hung_at = world.now;
        world.link.as_mut().unwrap().bytes_per_second = 0.0;
        world.run(7.0);
        let (at, url) = world.dials[2].clone();
        assert_eq!((url.as_str(), world.dials.len(), world.pusher.is_streaming()), (expected, 3, true), "{fresh:?}: {:?}", world.dials);
        assert!(at.since(hung_at) < Duration::from_millis(5500), "after the send's timeout, at once");
    }
}

#[test]
fn a_refresh_while_it_connects_to_a_server_that_is_no_longer_listed_dials_the_first_that_is() {
    let mut world = World::new(config(Trigger::AlwaysOn));
    world.run(0.1);
    world.answer(|response| listed(response, &["rtmp://a/live"]));
    world.link = None;
    world.command(r#"{"command_id":"r","cmd":"rotate"}"#);
    world.answer(|response| listed(response, &["rtmp://c/live"]));
    world.run(1.0);
    assert_eq!((world.pusher.is_streaming(), world.dials.last().unwrap().1.as_str()), (true, "rtmp://c/live"));
}

/// The server gives the stream to another: `BadName` in the middle of it.
fn take_over(world: &mut World) {
    let link = world.link.as_mut().unwrap();
    link.server.end_publish("NetStream.Publish.BadName", "another publisher has this stream now");
    world.run(0.1);
}

#[test]
fn a_stream_that_another_takes_is_won_back_with_a_fresh_token_at_once_and_costs_no_backoff() {
    let mut world = World::new(config(Trigger::AlwaysOn));
    world.run(0.1);
    world.answer(|_| {});
    world.run(2.0);
    let (mut lost, mut rounds) = (Duration::ZERO, 0);
    let end = world.now + Duration::from_secs(600);
    while world.now < end {
        let asked = world.requests.len();
        take_over(&mut world);
        let taken_at = world.now;
        while !world.pusher.is_streaming() {
            if world.requests.len() > asked {
                let token = format!("t{}", world.requests.len());
                world.answer(|response| response.token = Some(sightline_signal::Redacted::try_from(token.as_str()).unwrap()));
            }
            world.run(0.05);
            assert!(world.now.since(taken_at) < Duration::from_secs(3), "{:?}", world.errors());
        }
        assert_eq!(world.requests.len(), asked + 1, "it asks once, and at once");
        assert_eq!(*world.tokens.last().unwrap(), format!("t{}", asked + 1), "with the fresh token");
        lost += world.now.since(taken_at) + Duration::from_millis(100);
        rounds += 1;
        world.run(59.0);
    }
    assert!(rounds >= 10 && lost < Duration::from_secs(6), "{rounds} times, {lost:?} of 600 s");
    assert!(world.errors().iter().all(|(code, attempts, next_sec)| (*code, *attempts, *next_sec) == (ErrorCode::StreamKeyInvalid, 0, 0)));
}

#[test]
fn a_name_that_another_holds_when_the_camera_comes_back_is_asked_for_at_the_cloud_at_once() {
    let mut world = World::new(config(Trigger::AlwaysOn));
    world.run(0.1);
    world.answer(|_| {});
    world.run(10.0);
    world.accepts = false;
    world.link = None;
    world.input(Input::LinkClosed(None));
    world.run(0.2);
    assert_eq!((world.pusher.state(), world.requests.len()), (StreamState::Requesting, 2), "{:?}", world.errors());
    // The fresh one is refused as well: not one question a try.
    world.answer(|_| {});
    world.run(3.0);
    assert_eq!(world.requests.len(), 2);
    world.run(3.0);
    assert_eq!((world.pusher.state(), world.requests.len()), (StreamState::Requesting, 3));
    world.accepts = true;
    world.answer(|_| {});
    world.run(0.5);
    assert!(world.pusher.is_streaming());
}
