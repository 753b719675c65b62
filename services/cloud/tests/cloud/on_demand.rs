//! Cameras that start because someone watches.

use crate::bench::{Bench, eventually, message, run, subscriber};
use serde_json::{Value, json};
use sightline_signal::DeviceId;

async fn want(bench: &Bench, more: Value) -> Value {
    let key = std::fs::read_to_string(bench.cloud.cluster_key_path()).unwrap();
    let asked = bench.http.post(bench.url("/api/v1/servers/o1/wanted")).bearer_auth(key.trim()).json(&more).send().await.unwrap();
    assert_eq!(asked.status(), 200);
    asked.json().await.unwrap()
}

/// The camera says what starts it.
async fn say_trigger(bench: &Bench, id: &DeviceId, trigger: &str) {
    let report = json!({ "version": null, "applied": true, "errors": [], "settings": { "stream": { "trigger": trigger } }, "timestamp": 1, "software": "" });
    let topic = format!("devices/{id}/config/reported");
    let (text, user) = (report.to_string(), format!("devices/{id}"));
    assert!(run(bench.mosquitto("mosquitto_pub", &user, id.as_str(), &["-V", "5", "-q", "1", "-t", &topic, "-m", &text])).await.0);
}

async fn playback(bench: &Bench, id: &DeviceId) -> String {
    bench.get(&format!("/api/v1/devices/{id}")).await["playback"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_viewer_starts_a_camera_that_is_on_demand_and_connected_once_and_on_a_lease() {
    let bench = Bench::start().await;
    let (cam, manual, away) = (bench.add("cam").await, bench.add("manual").await, bench.add("away").await);
    bench.report("o1", "boot", json!([])).await;
    for (id, trigger) in [(&cam, "on_demand"), (&manual, "manual"), (&away, "on_demand")] {
        say_trigger(&bench, id, trigger).await;
    }
    let down = "devices/cam/stream/command";
    let (_device, mut lines) =
        subscriber(bench.mosquitto("mosquitto_sub", "devices/cam", "cam", &["-V", "311", "-q", "1", "-t", down])).await;
    for (id, state) in [(&manual, "not_on_demand"), (&away, "offline"), (&cam, "starting"), (&cam, "starting")] {
        assert_eq!(want(&bench, json!({ "playback": playback(&bench, id).await })).await["state"], state, "{id}");
    }
    assert_eq!(want(&bench, json!({ "playback": "0123456789bcdefg" })).await["state"], "unknown");
    let command = message(&mut lines).await.unwrap();
    assert_eq!((&command["cmd"], &command["lease_sec"]), (&json!("start"), &json!(20)));
    assert!(bench.audit_has("device.command").await);
    // Told to end, it hears that next: there was one start.
    let told = bench.http.post(bench.url("/api/v1/devices/cam/command")).json(&json!({ "cmd": "stop" })).send();
    let (told, next) = tokio::join!(told, message(&mut lines));
    assert!(told.is_ok() && next.unwrap()["cmd"] == "stop");
    // Whoever comes to the cloud's port is sent where it is waited for.
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let id = playback(&bench, &cam).await;
    let sent_on = client.get(bench.url(&format!("/live/{id}.flv?token=a"))).send().await.unwrap();
    assert_eq!(
        (sent_on.status().as_u16(), &sent_on.headers()["location"]),
        (307, &format!("http://127.0.0.1:8080/live/{id}.flv?token=a").parse().unwrap())
    );
    let stranger = bench.http.post(bench.url("/api/v1/servers/o1/wanted")).json(&json!({ "playback": id })).send().await.unwrap();
    assert_eq!(stranger.status(), 401);
}

#[tokio::test]
async fn a_camera_that_did_not_come_is_an_event_and_one_that_another_origin_has_is_found_there() {
    let bench = Bench::start().await;
    let cam = bench.add("cam").await;
    let id = playback(&bench, &cam).await;
    want(&bench, json!({ "playback": id, "gave_up_after_sec": 10 })).await;
    want(&bench, json!({ "playback": id, "gave_up_after_sec": 10 })).await;
    let happened = || async { bench.get("/api/v1/events?device=cam").await["items"].as_array().unwrap().clone() };
    assert!(eventually(async || happened().await.iter().filter(|event| event["event"] == "start_failed").count() == 1).await);
    assert!(happened().await.iter().any(|event| event["detail"]["message"].as_str().is_some_and(|words| words.contains("within 10 s"))));
    let stream = json!({ "stream": "s", "device": "cam", "epoch": 1, "playback": id, "width": 1, "height": 1, "fps": 1.0, "bitrate_kbps": 1.0, "viewers": 0, "since": 1 });
    bench.report("o2", "boot", json!([stream])).await;
    let answer = want(&bench, json!({ "playback": id })).await;
    assert_eq!((&answer["state"], &answer["http_url"]), (&json!("elsewhere"), &json!("http://127.0.0.1:8080")));
}
