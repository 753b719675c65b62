//! The pusher as a library: an application's own access units, from `push_frame` to nginx's disk.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::{media, nginx, process::eventually};
use sightline_camera::{Callbacks, Config, PushError, StreamPusher};
use sightline_signal::{StatusEvent, StreamState};
use std::{
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;

/// Access units as an encoder with delimiters gives them.
fn access_units(dir: &Path) -> Vec<Vec<u8>> {
    let file = dir.join("units.h264");
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=3"])
        .args(["-c:v", "libx264", "-tune", "zerolatency", "-g", "25", "-x264-params", "aud=1:repeat-headers=1", "-f", "h264"])
        .arg(&file)
        .status()
        .unwrap();
    assert!(made.success());
    let bytes = std::fs::read(&file).unwrap();
    let delimiter = [0, 0, 0, 1, 9];
    let starts: Vec<usize> = bytes.windows(5).enumerate().filter(|(_, window)| *window == delimiter).map(|(at, _)| at).collect();
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    starts.iter().zip(ends).map(|(start, end)| bytes[*start..end].to_vec()).collect()
}

#[test]
fn frames_of_an_application_arrive_and_its_callbacks_are_called() {
    let dir = TempDir::new().unwrap();
    let (_nginx, url) = nginx::start(dir.path());
    let units = access_units(dir.path());
    assert_eq!(units.len(), 75);
    let mut config = Config::new("cam-1", "test");
    config.stream.rtmp_server_url = url;
    config.stream.trigger = "manual".into();
    config.stream.metrics_interval_sec = 1;
    let mut pusher = StreamPusher::initialize(config).unwrap();
    assert_eq!(pusher.push_frame(&units[0]), Err(PushError::NotRunning));
    pusher.start().unwrap();
    assert!(pusher.set_custom_quality(321, 240, 25, 500_000).is_err() && pusher.set_custom_quality(320, 240, 25, 500_000).is_ok());
    pusher.start_stream("library").unwrap();
    eventually("it streams", Duration::from_secs(20), || pusher.is_streaming().then_some(()));
    for unit in &units {
        pusher.push_frame(unit).unwrap();
        std::thread::sleep(Duration::from_millis(40));
    }
    let seen = Arc::new(Mutex::new((Vec::new(), 0, Vec::new())));
    let (states, metrics, servers) = (seen.clone(), seen.clone(), seen.clone());
    let mut callbacks = Callbacks {
        on_state: Some(Box::new(move |state, _| states.lock().unwrap().0.push(state))),
        on_metrics: Some(Box::new(move |_| metrics.lock().unwrap().1 += 1)),
        on_server_info: Some(Box::new(move |info, is_success| servers.lock().unwrap().2.push((info.url.clone(), is_success)))),
    };
    let events = pusher.events();
    events.iter().for_each(|event| callbacks.deliver(event));
    {
        let seen = seen.lock().unwrap();
        assert!(seen.0.ends_with(&[StreamState::Connecting, StreamState::Streaming]), "{:?}", seen.0);
        assert!(seen.1 >= 1 && seen.2.len() == 1 && seen.2[0].1, "{seen:?}");
    }
    let status = pusher.status();
    assert!(status.state == StreamState::Streaming && status.network_quality() > 0.9 && status.metrics.total_frames > 0, "{status:?}");
    pusher.stop_stream();
    let stopped = eventually("the stream has ended", Duration::from_secs(10), || {
        let events = pusher.events();
        events.iter().find_map(|event| match event {
            sightline_camera::StreamEvent::Event(event) => match &**event {
                StatusEvent::Stopped(stopped) => Some(stopped.final_metrics),
                StatusEvent::Started(_) | StatusEvent::Metrics(_) | StatusEvent::ConnectionError(_) => None,
            },
            sightline_camera::StreamEvent::Status(_) => None,
        })
    });
    assert!(!pusher.is_streaming());
    pusher.stop();
    assert_eq!(pusher.push_frame(&units[0]), Err(PushError::NotRunning));
    let recording = dir.path().join("library.flv");
    let packets = eventually("nginx has closed its recording", Duration::from_secs(10), || {
        let packets = media::packets(recording.exists().then(|| recording.to_str())??, None);
        (packets.len() as u64 == stopped.total_frames_sent).then_some(packets)
    });
    assert_eq!(packets.len(), units.len(), "all of them, none twice");
    assert_eq!(media::decode(&recording), units.len());
}
