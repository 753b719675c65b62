//! Devices come and go, take commands, and leave events.

use crate::bench::{Bench, eventually, message, run, subscriber};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;

#[tokio::test]
async fn a_command_reaches_the_device_and_an_absent_one_is_named() {
    let bench = Bench::start().await;
    let cam = bench.add("cam").await;
    let send = |body: Value| bench.http.post(bench.url("/api/v1/devices/cam/command")).json(&body).send();
    let offline = send(json!({ "cmd": "keyframe" })).await.unwrap();
    assert_eq!(offline.status(), 409);
    assert_eq!(offline.json::<Value>().await.unwrap()["error_code"], "DEVICE_OFFLINE");
    assert_eq!(send(json!({ "cmd": "explode" })).await.unwrap().status(), 422);
    let down = format!("devices/{cam}/stream/command");
    let (_device, mut lines) = subscriber(bench.mosquitto("mosquitto_sub", "devices/cam", "cam", &["-V", "5", "-t", &down])).await;
    let sent = send(json!({ "cmd": "set_quality", "quality": "low" })).await.unwrap();
    assert_eq!(sent.status(), 202, "mosquitto_sub does not answer");
    let sent: Value = sent.json().await.unwrap();
    let command = message(&mut lines).await.unwrap();
    assert_eq!((&command["cmd"], &command["quality"], &command["command_id"]), (&json!("set_quality"), &json!("low"), &sent["command_id"]));
}

#[tokio::test]
async fn a_will_tells_everyone_that_a_device_is_gone_and_events_arrive_as_they_happen() {
    let bench = Bench::start().await;
    let cam = bench.add("cam").await;
    let mut events = bench.http.get(bench.url("/api/v1/events/stream")).send().await.unwrap();
    let online = format!("devices/{cam}/online");
    let will = ["--will-topic", &online, "--will-payload", r#"{"online":false}"#, "--will-retain", "--will-qos", "1"];
    let more = [vec!["-V", "311", "-t", "devices/cam/stream/command"], will.to_vec()].concat();
    let (mut device, _lines) = subscriber(bench.mosquitto("mosquitto_sub", "devices/cam", "cam", &more)).await;
    let first = timeout(Duration::from_secs(5), events.chunk()).await.unwrap().unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("device_online"), "{first:?}");
    // Without a good-bye.
    device.kill().await.unwrap();
    assert!(eventually(async || bench.get("/api/v1/devices/cam").await["online"] == false).await);
    let more = ["-V", "5", "-t", &online, "-C", "1", "-W", "5"];
    let (ok, out, _) = run(bench.mosquitto("mosquitto_sub", "operator", "late", &more)).await;
    assert!(ok && out.contains("false"), "retained for those who come later: {out}");
}

#[tokio::test]
async fn events_count_on_after_a_restart() {
    let bench = Bench::start().await;
    bench.report("o1", "boot", json!([])).await;
    let seq = async |bench: &Bench| bench.get("/api/v1/events?limit=1").await["items"][0]["seq"].as_u64().unwrap_or(0);
    assert!(eventually(async || seq(&bench).await > 0).await, "server_up");
    let before = seq(&bench).await;
    let Bench { home, cloud, .. } = bench;
    cloud.shutdown().await;
    let bench = Bench::start_in(home).await;
    assert_eq!(seq(&bench).await, before);
    bench.report("o1", "boot", json!([])).await;
    assert!(eventually(async || seq(&bench).await > before).await);
}
