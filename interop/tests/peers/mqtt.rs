//! mosquitto's clients with the demo's certificates: every message with every field, and no way into another device's topics.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::{
    Demo, Process, media,
    process::{eventually, output, sightline},
};
use serde_json::Value;
use std::{path::PathBuf, process::Command, time::Duration};

/// A mosquitto client as one of the demo's certificate holders.
fn mosquitto(program: &str, demo: &Demo, holder: &str) -> Command {
    let port = demo.mqtts.rsplit_once(':').unwrap().1;
    let mut command = Command::new(program);
    command.args(["-h", "localhost", "-p", port, "--cafile"]).arg(demo.file("ca.pem"));
    command.arg("--cert").arg(demo.file(&format!("{holder}.pem"))).arg("--key").arg(demo.file(&format!("{holder}.key")));
    command
}

/// What a subscriber has printed: topic and message, one a line.
fn messages(subscriber: &Process) -> Vec<(String, Value)> {
    let log = subscriber.log();
    log.lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(topic, text)| Some((topic.to_owned(), serde_json::from_str(text).ok()?)))
        .collect()
}

fn assert_fields(value: &Value, fields: &[&str], what: &str) {
    for field in fields {
        assert!(value.get(field).is_some_and(|value| !value.is_null()), "{what} lacks {field}: {value}");
    }
}

#[test]
fn the_whole_conversation_of_a_camera_has_every_field() {
    let mut demo = Demo::start(&["--quality", "low"]);
    let subscriber = Process::start(
        "mosquitto_sub",
        demo.dir.path(),
        mosquitto("mosquitto_sub", &demo, "operator").args(["-v", "-q", "1", "-t", "devices/#"]),
    );
    let find = |topic: &str, event: Option<&str>| {
        let topic = format!("devices/cam-1/{topic}");
        messages(&subscriber)
            .into_iter()
            .find(|(at, value)| *at == topic && event.is_none_or(|event| value["event"] == event))
            .map(|(_, value)| value)
    };
    let wait = |topic: &str, event: Option<&str>| eventually(&format!("{topic} {event:?}"), Duration::from_secs(20), || find(topic, event));
    // The camera may have asked before this subscriber was there: a command makes it ask again, and begin anew.
    let _ = demo.playback();
    let command = |text: &str| {
        output(mosquitto("mosquitto_pub", &demo, "operator").args(["-q", "1", "-t", "devices/cam-1/stream/command", "-m", text]));
    };
    eventually("the subscriber is there", Duration::from_secs(10), || find("online", None));
    command(r#"{"command_id":"c1","cmd":"stop"}"#);
    wait("stream/status", Some("stream_stopped"));
    command(r#"{"command_id":"c2","cmd":"start"}"#);
    wait("stream/status", Some("stream_started"));
    command(r#"{"command_id":"c3","cmd":"rotate"}"#);

    let request = wait("stream/request", None);
    assert_fields(
        &request,
        &["request_id", "device_id", "stream_type", "quality", "preferred_region", "max_bitrate", "supports_adaptive", "timestamp"],
        "request",
    );
    let response = wait("stream/response", None);
    let fields = [
        "success",
        "request_id",
        "rtmp_url",
        "stream_key",
        "server_name",
        "server_region",
        "max_bitrate",
        "recommended_fps",
        "supports_adaptive",
        "expires_at",
        "token",
    ];
    assert_fields(&response, &fields, "response");
    assert_fields(&response, &["servers", "refresh_at", "server_time", "stream_id"], "response");
    assert_eq!(response["request_id"], request["request_id"]);

    let started = wait("stream/status", Some("stream_started"));
    assert_fields(
        &started,
        &["event", "message", "timestamp", "state", "server_url", "stream_key", "quality", "metrics", "session_id"],
        "stream_started",
    );
    assert_fields(&started["metrics"], &["fps", "bitrate_kbps", "is_connected"], "stream_started.metrics");
    assert_eq!((&started["state"], &started["stream_key"]), (&3.into(), &"***".into()));
    let metrics = wait("stream/status", Some("stream_metrics"));
    let fields =
        ["fps", "bitrate_kbps", "total_frames", "dropped_frames", "latency_ms", "network_quality", "stream_duration_ms", "latency_kind"];
    assert_fields(&metrics["metrics"], &fields, "stream_metrics.metrics");
    for id in ["c1", "c2", "c3"] {
        let result = eventually("a result", Duration::from_secs(5), || {
            messages(&subscriber).into_iter().find(|(_, value)| value["command_id"] == id && value.get("success").is_some())
        });
        assert_eq!((result.0.as_str(), &result.1["success"]), ("devices/cam-1/stream/result", &true.into()));
    }

    demo.process.signal("-INT");
    let stopped = || messages(&subscriber).into_iter().filter(|(_, value)| value["event"] == "stream_stopped").collect::<Vec<_>>();
    let last = eventually("stream_stopped after Ctrl-C", Duration::from_secs(10), || stopped().into_iter().nth(1)).1;
    let figures = ["total_frames_sent", "total_bytes_sent", "stream_duration_ms", "average_fps", "average_bitrate_kbps", "dropped_frames"];
    assert_fields(&last["final_metrics"], &figures, "stream_stopped.final_metrics");
    let number = |field: &str| last["final_metrics"][field].as_f64().unwrap();
    let duration_ms = number("stream_duration_ms");
    assert!((number("average_fps") - number("total_frames_sent") * 1000.0 / duration_ms).abs() < 0.01, "{last}");
    assert!((number("average_bitrate_kbps") - number("total_bytes_sent") * 8.0 / duration_ms).abs() < 0.1, "{last}");
    assert!(demo.process.wait(Duration::from_secs(15)).success());
    let log = subscriber.log();
    assert!(
        !log.contains(r#""stream_key":"***","token""#)
            && messages(&subscriber).iter().any(|(topic, value)| topic.ends_with("/online") && value["online"] == false)
    );
}

#[test]
fn a_camera_that_is_asked_for_a_picture_publishes_a_jpeg() {
    let demo = Demo::start(&["--quality", "medium"]);
    let _ = demo.playback();
    let subscriber = Process::start(
        "results",
        demo.dir.path(),
        mosquitto("mosquitto_sub", &demo, "operator").args(["-v", "-q", "1", "-t", "devices/+/stream/#"]),
    );
    eventually("the subscriber is there", Duration::from_secs(10), || messages(&subscriber).first().cloned());
    let jpeg = demo.dir.path().join("picture.jpg");
    let mut picture = mosquitto("mosquitto_sub", &demo, "operator")
        .args(["-N", "-C", "1", "-W", "60", "-q", "1", "-t", "devices/cam-1/snapshot"])
        .stdout(std::fs::File::create(&jpeg).unwrap())
        .spawn()
        .unwrap();
    let ask = |id: &str| {
        let message = format!(r#"{{"command_id":"{id}","cmd":"snapshot"}}"#);
        output(mosquitto("mosquitto_pub", &demo, "operator").args(["-q", "1", "-t", "devices/cam-1/stream/command", "-m", &message]));
        let is_answer = |value: &Value| value["command_id"] == id && value.get("success").is_some();
        eventually("the result", Duration::from_secs(10), || messages(&subscriber).into_iter().find(|(_, value)| is_answer(value))).1
    };
    // It may be asked before the one that waits for the picture has subscribed.
    for number in 0.. {
        assert_eq!(ask(&format!("p{number}"))["success"], true);
        if picture.try_wait().unwrap().is_some() {
            break;
        }
    }
    let bytes = std::fs::read(&jpeg).unwrap();
    assert!(bytes.starts_with(&[0xff, 0xd8, 0xff]) && bytes.ends_with(&[0xff, 0xd9]) && bytes.len() <= 120 << 10, "{} bytes", bytes.len());
    let probed = media::probe(jpeg.to_str().unwrap());
    assert_eq!((&probed["width"], &probed["height"]), (&1280.into(), &720.into()), "{probed}");
    assert_eq!(media::decode(&jpeg), 1);

    // Nothing is captured once its stream has stopped.
    output(mosquitto("mosquitto_pub", &demo, "operator").args([
        "-q",
        "1",
        "-t",
        "devices/cam-1/stream/command",
        "-m",
        r#"{"cmd":"stop"}"#,
    ]));
    let refused = eventually("a camera at rest has no picture", Duration::from_secs(20), || {
        std::thread::sleep(Duration::from_secs(1));
        Some(ask(&format!("r{}", messages(&subscriber).len()))).filter(|answer| answer["success"] == false)
    });
    assert_eq!(refused["error_code"], "SOURCE_LOST", "{refused}");
}

#[test]
fn a_device_stays_in_its_own_topics() {
    let demo = Demo::start(&["--quality", "low", "--cameras", "2"]);
    let _ = demo.playback();
    let all =
        Process::start("all", demo.dir.path(), mosquitto("mosquitto_sub", &demo, "operator").args(["-v", "-q", "1", "-t", "devices/#"]));
    eventually("the operator hears", Duration::from_secs(10), || messages(&all).first().cloned());

    // Publishing: on its own topic it arrives, on the other's it does not.
    for version in ["mqttv311", "mqttv5"] {
        let publish = |device: &str, mark: &str| {
            let topic = format!("devices/{device}/motion");
            let message = format!(r#"{{"motion":true,"mark":"{mark}"}}"#);
            // As itself: its own agent is connected under the same id, and takes the id back.
            let _ = mosquitto("mosquitto_pub", &demo, "devices/cam-1")
                .args(["-V", version, "-i", "cam-1", "-q", "1", "-t", &topic, "-m", &message])
                .output();
        };
        publish("cam-2", &format!("{version}-other"));
        publish("cam-1", &format!("{version}-own"));
        let has = |mark: String| messages(&all).iter().any(|(_, value)| value["mark"] == mark.as_str());
        eventually("its own topic", Duration::from_secs(10), || has(format!("{version}-own")).then_some(()));
        assert!(!has(format!("{version}-other")), "{version}: cam-1 published as cam-2");
    }
    // Subscribing: refused.
    let subscribed = mosquitto("mosquitto_sub", &demo, "devices/cam-1")
        .args(["-V", "mqttv5", "-i", "cam-1", "-W", "3", "-t", "devices/cam-2/stream/response"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&subscribed.stderr).into_owned();
    assert!(
        subscribed.stdout.is_empty() && (said.contains("rejected") || said.contains("denied") || said.contains("Not authorized")),
        "{said}"
    );
    // Connecting under the other's id: refused.
    let connected = mosquitto("mosquitto_pub", &demo, "devices/cam-1")
        .args(["-i", "cam-2", "-q", "1", "-t", "devices/cam-2/motion", "-m", "{}"])
        .output()
        .unwrap();
    assert!(!connected.status.success(), "cam-1's certificate connected as cam-2");

    // A certificate of another authority: refused in the TLS handshake.
    let elsewhere = demo.dir.path().join("elsewhere");
    output(Command::new(sightline()).args(["device", "add", "cam-1", "--dir"]).arg(&elsewhere));
    let port = demo.mqtts.rsplit_once(':').unwrap().1;
    let file = |name: &str| -> PathBuf { elsewhere.join("devices").join(name) };
    let foreign = Command::new("mosquitto_pub")
        .args(["-h", "localhost", "-p", port, "-i", "cam-1", "-t", "devices/cam-1/motion", "-m", "{}", "--cafile"])
        .arg(demo.file("ca.pem"))
        .arg("--cert")
        .arg(file("cam-1.pem"))
        .arg("--key")
        .arg(file("cam-1.key"))
        .output()
        .unwrap();
    assert!(!foreign.status.success(), "a certificate of another authority was taken");
}
