//! Several cameras in one agent, settings from afar, and what survives a kill: with a real cloud, a real origin and mosquitto.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::{
    Process, Stack, media,
    process::{eventually, output, sightline},
    stack::{self, get_json},
};
use serde_json::{Value, json};
use std::{process::Command, time::Duration};

/// Of everything that the agent, the broker and the origin have to do together on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);

fn mosquitto(program: &str, stack: &Stack) -> Command {
    let port = stack.mqtts.rsplit_once(':').unwrap().1;
    let mut command = Command::new(program);
    command.args(["-h", "localhost", "-p", port, "--cafile"]).arg(stack.file("cloud/ca.pem"));
    command.arg("--cert").arg(stack.file("cloud/operator.pem")).arg("--key").arg(stack.file("cloud/operator.key"));
    command
}

fn said(subscriber: &Process, topic: &str) -> Vec<Value> {
    let log = subscriber.log();
    let of_topic = log.lines().filter_map(|line| line.split_once(' ')).filter(|(at, _)| *at == topic);
    of_topic.filter_map(|(_, text)| serde_json::from_str(text).ok()).collect()
}

/// The file of a fleet: what all have, and each camera's own table.
fn write_fleet(stack: &Stack, cameras: &str) {
    let path = stack.file("");
    let path = path.display();
    let text = format!(
        "state_dir = '{path}state/{{device_id}}'\n[stream]\nquality = 'low'\ntrigger = 'always_on'\nreconnect_interval_sec = 1\n\
         [mqtt]\nurl = 'mqtts://{}'\nca = '{path}cloud/ca.pem'\ncert = '{path}cloud/devices/{{device_id}}.pem'\n\
         key = '{path}cloud/devices/{{device_id}}.key'\n{cameras}",
        stack.mqtts
    );
    std::fs::write(stack.file("fleet.toml"), text).unwrap();
}

fn start_fleet(stack: &Stack) -> Process {
    Process::start("fleet", &stack.file(""), Command::new(sightline()).args(["camera", "--config"]).arg(stack.file("fleet.toml")))
}

fn stream_of(stack: &Stack, device: &str) -> Option<Value> {
    stack::streams(&stack.http).0.into_iter().find(|stream| stream["device"] == device && stream["state"] == "streaming")
}

fn live(stack: &Stack, device: &str) -> Value {
    eventually(&format!("{device} is live"), LIMIT, || stream_of(stack, device))
}

fn config_of(stack: &Stack, device: &str) -> Value {
    get_json(&format!("http://{}/api/v1/devices/{device}/config", stack.http)).unwrap_or_default()
}

fn send(stack: &Stack, method: &str, device: &str, what: &str, body: &Value) -> Value {
    let url = format!("http://{}/api/v1/devices/{device}/{what}", stack.http);
    let args = ["-s", "--max-time", "8", "-X", method, "-H", "Content-Type: application/json", "--data", &body.to_string(), &url];
    serde_json::from_slice(&output(Command::new("curl").args(args))).unwrap()
}

/// The size of a picture that a viewer gets now.
fn seen(stack: &Stack, stream: &Value) -> Option<(u64, u64)> {
    let file = stack.file("seen.jpg");
    let url = format!("http://{}/live/{}/snapshot.jpg", stack.origin_http, stream["playback"].as_str().unwrap());
    let status = Command::new("curl").args(["-sf", "--max-time", "5", &url, "-o"]).arg(&file).status().ok()?;
    let probed = status.success().then(|| media::probe(file.to_str().unwrap()))?;
    Some((probed["width"].as_u64()?, probed["height"].as_u64()?))
}

#[test]
fn one_agent_runs_three_cameras_and_those_that_can_t_start_join_once_they_are_mended() {
    let stack = Stack::start();
    for id in ["cam-1", "cam-2", "cam-3"] {
        let _ = stack.add_device(id);
    }
    // A certificate of another installation.
    let (path, elsewhere) = (stack.file(""), stack.file("elsewhere"));
    output(Command::new(sightline()).args(["device", "add", "cam-3", "--dir"]).arg(&elsewhere));
    let copy = |from: &std::path::Path, ending: &str| {
        std::fs::copy(from.join(format!("devices/cam-3.{ending}")), stack.file(&format!("own.{ending}"))).unwrap();
    };
    ["pem", "key"].iter().for_each(|ending| copy(&elsewhere, ending));
    let path = path.display();
    let cameras = format!(
        "[[cameras]]\ndevice_id = 'cam-1'\n[[cameras]]\ndevice_id = 'cam-2'\nsource = '{path}late.mp4'\n\
         [[cameras]]\ndevice_id = 'cam-3'\n[cameras.mqtt]\ncert = '{path}own.pem'\nkey = '{path}own.key'\n"
    );
    write_fleet(&stack, &cameras);
    output(Command::new(sightline()).args(["config", "check"]).arg(stack.file("fleet.toml")));
    let mut fleet = start_fleet(&stack);
    let first = live(&stack, "cam-1");
    eventually("the log says which can't run, and why", LIMIT, || {
        let log = fleet.log();
        let says = |device: &str, what: &str| log.lines().any(|line| line.contains(device) && line.contains(what));
        (says("cam-2", "late.mp4") && says("cam-3", "TLS_FAILED")).then_some(())
    });
    assert!(stream_of(&stack, "cam-2").is_none() && stream_of(&stack, "cam-3").is_none());

    media::make_clip(&stack.file("making.mp4"), 4, "320x240", 15);
    std::fs::rename(stack.file("making.mp4"), stack.file("late.mp4")).unwrap();
    ["pem", "key"].iter().for_each(|ending| copy(&stack.file("cloud"), ending));
    live(&stack, "cam-2");
    live(&stack, "cam-3");
    assert_eq!(stream_of(&stack, "cam-1").unwrap()["since"], first["since"], "the first one did not notice");

    fleet.signal("-TERM");
    assert!(fleet.wait(Duration::from_secs(15)).success(), "{}", fleet.log());
    for id in ["cam-1", "cam-2", "cam-3"] {
        let device = get_json(&format!("http://{}/api/v1/devices/{id}", stack.http)).unwrap();
        assert_eq!(device["online"], false, "{device}");
    }

    write_fleet(&stack, "[[cameras]]\ndevice_id = 'cam-1'\n[[cameras]]\ndevice_id = 'cam-1'\nsource = 'other.mp4'\n");
    let refused = Command::new(sightline()).args(["config", "check"]).arg(stack.file("fleet.toml")).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("the same device_id \"cam-1\""), "{said}");
}

#[test]
fn settings_from_afar_reach_the_running_stream_or_begin_it_anew_and_bad_ones_change_nothing() {
    let stack = Stack::start();
    for id in ["cam-1", "cam-2"] {
        let _ = stack.add_device(id);
    }
    write_fleet(&stack, "[[cameras]]\ndevice_id = 'cam-1'\n[[cameras]]\ndevice_id = 'cam-2'\n");
    let fleet = start_fleet(&stack);
    let (first, second) = (live(&stack, "cam-1"), live(&stack, "cam-2"));
    let reported = eventually("what it does is reported", LIMIT, || {
        let config = config_of(&stack, "cam-1");
        (config["in_sync"] == true && config["reported"].is_object()).then(|| config["reported"].clone())
    });
    assert_eq!((&reported["version"], &reported["settings"]["stream"]["quality"]), (&Value::Null, &"low".into()));
    assert!(!reported.to_string().contains("stream_key") && reported["settings"].get("mqtt").is_none(), "{reported}");

    // Inside the running stream.
    let put = |settings: Value| send(&stack, "PUT", "cam-1", "config", &json!({ "settings": settings }));
    assert_eq!(put(json!({"stream": {"quality": "medium"}}))["desired"]["version"], 1);
    eventually("a viewer sees the other size", LIMIT, || {
        stream_of(&stack, "cam-1").and_then(|stream| seen(&stack, &stream)).filter(|size| *size == (1280, 720))
    });
    let stream = stream_of(&stack, "cam-1").unwrap();
    assert_eq!((&stream["since"], &stream["playback"]), (&first["since"], &first["playback"]), "it is the same publish");
    let config = config_of(&stack, "cam-1");
    assert_eq!((&config["in_sync"], &config["reported"]["settings"]["stream"]["quality"]), (&true.into(), &"medium".into()));

    // A bad one: the API refuses it, in the camera's words.
    let bad = json!({"stream": {"quality": "best", "trigger": "manual"}});
    let refusal = put(bad.clone());
    assert_eq!(refusal["error_code"], "INVALID_SETTINGS");
    assert!(refusal["error_message"].as_str().unwrap().starts_with("stream.quality: "), "{refusal}");
    assert_eq!(config_of(&stack, "cam-1")["desired"]["version"], 1);
    // Past the API it reaches the camera, which refuses it by key, and everything stays.
    let bad = json!({"version": 2, "settings": bad}).to_string();
    output(mosquitto("mosquitto_pub", &stack).args(["-q", "1", "-r", "-t", "devices/cam-1/config/desired", "-m", &bad]));
    let refused =
        eventually("it is refused", LIMIT, || Some(config_of(&stack, "cam-1")).filter(|config| config["reported"]["version"] == 2));
    let told = &refused["reported"];
    assert_eq!(
        (&told["applied"], &told["errors"][0]["key"], &refused["in_sync"]),
        (&false.into(), &"stream.quality".into(), &false.into())
    );
    assert_eq!((&told["settings"]["stream"]["quality"], &told["settings"]["stream"]["trigger"]), (&"medium".into(), &"always_on".into()));
    assert_eq!(stream_of(&stack, "cam-1").unwrap()["since"], first["since"]);

    // The operator's own way. Another trigger: that camera begins anew, and waits for a command now.
    let wanted = json!({"version": 10, "settings": {"stream": {"quality": "medium", "trigger": "manual"}}}).to_string();
    output(mosquitto("mosquitto_pub", &stack).args(["-q", "1", "-r", "-t", "devices/cam-1/config/desired", "-m", &wanted]));
    let config = eventually("it has begun anew", LIMIT, || {
        Some(config_of(&stack, "cam-1")).filter(|config| config["in_sync"] == true && config["reported"]["version"] == 10)
    });
    assert_eq!(config["reported"]["settings"]["stream"]["trigger"], "manual");
    eventually("its stream has ended", LIMIT, || stream_of(&stack, "cam-1").is_none().then_some(()));
    assert_eq!(stream_of(&stack, "cam-2").unwrap()["since"], second["since"], "the other camera did not notice");
    send(&stack, "POST", "cam-1", "command", &json!({"cmd": "start"}));
    assert_eq!(live(&stack, "cam-1")["width"], 1280);

    // Back to the file, which is always on.
    output(mosquitto("mosquitto_pub", &stack).args(["-q", "1", "-r", "-n", "-t", "devices/cam-1/config/desired"]));
    let config = eventually("it is as in its file", LIMIT, || {
        Some(config_of(&stack, "cam-1")).filter(|config| config["in_sync"] == true && config["reported"]["version"].is_null())
    });
    assert_eq!(config["reported"]["settings"], reported["settings"]);

    // A dashboard that flaps: the last one counts, and the camera is not begun anew for each.
    let starts = || fleet.log().lines().filter(|line| line.contains("cam-1") && line.contains("connected to the broker")).count();
    let before = starts();
    for version in 20..28 {
        let wanted = json!({"version": version, "settings": {"stream": {"metrics_interval_sec": version}}}).to_string();
        output(mosquitto("mosquitto_pub", &stack).args(["-q", "1", "-r", "-t", "devices/cam-1/config/desired", "-m", &wanted]));
    }
    let config = eventually("the last one runs", LIMIT, || {
        Some(config_of(&stack, "cam-1")).filter(|config| config["in_sync"] == true && config["reported"]["version"] == 27)
    });
    assert_eq!(config["reported"]["settings"]["stream"]["metrics_interval_sec"], 27);
    assert!(starts() - before <= 2, "{} starts for eight versions", starts() - before);
}

#[test]
fn after_a_kill_settings_and_a_started_stream_are_back_and_a_lease_that_ended_is_not() {
    let stack = Stack::start();
    for id in ["cam-1", "cam-2"] {
        let _ = stack.add_device(id);
    }
    let cameras = "[[cameras]]\ndevice_id = 'cam-1'\n[cameras.stream]\ntrigger = 'manual'\n\
                   [[cameras]]\ndevice_id = 'cam-2'\n[cameras.stream]\ntrigger = 'on_demand'\n";
    write_fleet(&stack, cameras);
    let mut fleet = start_fleet(&stack);
    let subscriber =
        Process::start("mosquitto_sub", &stack.file(""), mosquitto("mosquitto_sub", &stack).args(["-v", "-q", "1", "-t", "devices/#"]));
    let reports = |id: &str| said(&subscriber, &format!("devices/{id}/config/reported"));
    let requests = |id: &str| said(&subscriber, &format!("devices/{id}/stream/request")).len();
    for id in ["cam-1", "cam-2"] {
        eventually("it is there", LIMIT, || reports(id).first().cloned());
    }
    send(&stack, "PUT", "cam-1", "config", &json!({"settings": {"stream": {"quality": "medium"}}}));
    send(&stack, "POST", "cam-1", "command", &json!({"cmd": "start"}));
    let lease = Duration::from_secs(20);
    send(&stack, "POST", "cam-2", "command", &json!({"cmd": "start", "lease_sec": lease.as_secs()}));
    live(&stack, "cam-1");
    eventually("cam-2 asks for a server", LIMIT, || (requests("cam-2") > 0).then_some(()));
    eventually("what was asked is written", LIMIT, || {
        let kept = |id: &str| std::fs::read_to_string(stack.file(&format!("state/{id}/state.json"))).unwrap_or_default();
        (kept("cam-1").contains("medium") && kept("cam-1").contains("\"start\"") && kept("cam-2").contains("\"lease\"")).then_some(())
    });
    fleet.kill();
    let (reports_before, requests_before) = (reports("cam-1").len(), requests("cam-2"));
    // The lease ends while nobody is there to end it.
    std::thread::sleep(lease);
    let fleet = start_fleet(&stack);
    let report = eventually("it is back", LIMIT, || reports("cam-1").into_iter().nth(reports_before));
    assert_eq!((&report["version"], &report["settings"]["stream"]["quality"]), (&1.into(), &"medium".into()), "before the broker told it");
    eventually("its stream is back", LIMIT, || stream_of(&stack, "cam-1").filter(|stream| stream["width"] == 1280));
    eventually("the other one waits", LIMIT, || {
        let last = said(&subscriber, "devices/cam-2/stream/state").pop()?;
        (last["state_name"] == "standby").then_some(())
    });
    assert_eq!(requests("cam-2"), requests_before, "an ended lease starts nothing\n{}", fleet.log());
}
