//! Settings from afar.

use crate::bench::{Bench, eventually, message, run, subscriber};
use serde_json::{Value, json};
use sightline_cloud::admin;
use sightline_signal::DeviceId;

#[tokio::test]
async fn settings_from_afar_reach_a_device_that_comes_later_and_its_answer_is_shown() {
    let bench = Bench::start().await;
    let cam = bench.add("cam-1").await;
    let path = format!("/api/v1/devices/{cam}/config");
    let put = async |settings: Value| {
        let response = bench.http.put(bench.url(&path)).json(&json!({ "settings": settings })).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let nothing = bench.get(&path).await;
    assert_eq!((&nothing["desired"], &nothing["reported"], &nothing["in_sync"]), (&Value::Null, &Value::Null, &true.into()));
    // A wrong shape is refused by name, and changes nothing.
    for (settings, key) in
        [(json!({"mqtt": {}}), "mqtt"), (json!({"stream": 3}), "stream"), (json!({"recording": {"dir": "/"}}), "recording.dir")]
    {
        let (status, answer) = put(settings).await;
        assert!(status == 400 && answer["error_message"].as_str().unwrap().starts_with(key), "{answer}");
    }
    assert_eq!(bench.get(&path).await, nothing);
    assert_eq!(
        bench.http.put(bench.url("/api/v1/devices/nobody/config")).json(&json!({"settings": {}})).send().await.unwrap().status(),
        404
    );

    let (status, view) = put(json!({"stream": {"quality": "medium"}})).await;
    assert_eq!((status, &view["desired"]["version"], &view["in_sync"]), (200, &1.into(), &false.into()));
    assert_eq!(put(json!({"stream": {"quality": "low"}})).await.1["desired"]["version"], 2);

    // The device was not there; it hears the newest when it comes, as it does with a broker that has started again.
    let (desired, reported) = (format!("devices/{cam}/config/desired"), format!("devices/{cam}/config/reported"));
    let as_cam = format!("devices/{cam}");
    let (device, mut lines) = subscriber(bench.mosquitto("mosquitto_sub", &as_cam, cam.as_str(), &["-q", "1", "-t", &desired])).await;
    let heard = message(&mut lines).await.unwrap();
    assert_eq!(heard, json!({"version": 2, "settings": {"stream": {"quality": "low"}}}));
    drop(device);

    let answer =
        json!({"version": 2, "applied": true, "errors": [], "settings": {"stream": {"quality": "low"}}, "timestamp": 1, "software": "x 1"});
    let more = ["-q", "1", "-r", "-t", &reported, "-m", &answer.to_string()];
    assert!(run(bench.mosquitto("mosquitto_pub", &as_cam, cam.as_str(), &more)).await.0);
    assert!(eventually(async || bench.get(&path).await["in_sync"] == true).await);
    assert_eq!(bench.get(&path).await["reported"], answer);
    assert!(bench.audit_has("device.config").await);

    // The operator's own way, over MQTT: written down too, and the next version is above it.
    let more = ["-q", "1", "-r", "-t", &desired, "-m", r#"{"version":7,"settings":{"motion":{"hold_sec":20}}}"#];
    assert!(run(bench.mosquitto("mosquitto_pub", "operator", "operator-1", &more)).await.0);
    assert!(eventually(async || bench.get(&path).await["desired"]["version"] == 7).await);
    assert_eq!(bench.get(&path).await["in_sync"], false);

    let Bench { home, cloud, .. } = bench;
    cloud.shutdown().await;
    let bench = Bench::start_in(home).await;
    let (_device, mut lines) = subscriber(bench.mosquitto("mosquitto_sub", &as_cam, cam.as_str(), &["-q", "1", "-t", &desired])).await;
    assert_eq!(message(&mut lines).await.unwrap()["version"], 7);
    assert_eq!(bench.get(&path).await["reported"], answer, "what it said is known without it");
    let response = bench.http.put(bench.url(&path)).json(&json!({"settings": {}})).send().await.unwrap();
    assert_eq!(response.json::<Value>().await.unwrap()["desired"]["version"], 8);
}

#[tokio::test]
async fn settings_that_another_process_writes_down_reach_a_device_that_is_there() {
    let bench = Bench::start().await;
    let cam = bench.add("cam-1").await;
    let desired = format!("devices/{cam}/config/desired");
    let more = ["-q", "1", "-t", &desired];
    let (_device, mut lines) = subscriber(bench.mosquitto("mosquitto_sub", &format!("devices/{cam}"), cam.as_str(), &more)).await;
    let tables = |value: Value| Some(value.as_object().unwrap().clone());
    let refused = admin::set_device_settings(bench.dir(), &cam, tables(json!({"stream": {"stream_key": "x"}}))).await.unwrap_err();
    assert!(refused.to_string().contains("stream.stream_key"), "{refused}");
    for quality in ["low", "medium"] {
        let settings = json!({"stream": {"quality": quality}});
        let view = admin::set_device_settings(bench.dir(), &cam, tables(settings.clone())).await.unwrap();
        let heard = message(&mut lines).await.unwrap();
        assert_eq!((&heard["settings"], heard["version"].as_u64()), (&settings, view.desired.map(|desired| desired.version)));
    }
    let view = admin::set_device_settings(bench.dir(), &cam, None).await.unwrap();
    assert!(view.desired.is_none() && view.in_sync);
    // Nothing is left for who comes later.
    let path = format!("/api/v1/devices/{cam}/config");
    assert_eq!(bench.get(&path).await["desired"], Value::Null);
    let more = ["-q", "1", "-t", desired.as_str(), "-W", "2"];
    assert!(
        eventually(async || {
            let (_, out, _) = run(bench.mosquitto("mosquitto_sub", &format!("devices/{cam}"), cam.as_str(), &more)).await;
            out.is_empty()
        })
        .await
    );
    let nobody = DeviceId::new("nobody").unwrap();
    assert!(admin::set_device_settings(bench.dir(), &nobody, None).await.unwrap_err().to_string().contains("nobody"));
}

#[tokio::test]
async fn a_device_reads_its_own_settings_and_writes_its_own_answer_only() {
    let bench = Bench::start().await;
    let (a, b) = (bench.add("cam-a").await, bench.add("cam-b").await);
    let put = bench.http.put(bench.url("/api/v1/devices/cam-b/config")).json(&json!({"settings": {"stream": {"quality": "low"}}}));
    assert_eq!(put.send().await.unwrap().status(), 200);
    let as_a = format!("devices/{a}");
    for filter in [format!("devices/{b}/config/desired"), format!("devices/{b}/config/reported"), format!("devices/{b}/config/#")] {
        let more = ["-V", "5", "-t", filter.as_str(), "-C", "1", "-W", "3"];
        let (_, out, err) = run(bench.mosquitto("mosquitto_sub", &as_a, a.as_str(), &more)).await;
        assert!(out.is_empty() && err.contains("All subscription requests were denied"), "{filter}: {out} {err}");
    }
    // Neither what it shall be set to, nor another's answer.
    let answer = r#"{"version":9,"applied":true,"settings":{},"timestamp":1}"#;
    for topic in [format!("devices/{a}/config/desired"), format!("devices/{b}/config/desired"), format!("devices/{b}/config/reported")] {
        let _ = run(bench.mosquitto("mosquitto_pub", &as_a, a.as_str(), &["-V", "5", "-q", "1", "-r", "-t", &topic, "-m", answer])).await;
    }
    assert!(bench.audit_has("mqtt.publish.refuse").await);
    let of_b = bench.get("/api/v1/devices/cam-b/config").await;
    assert_eq!((&of_b["desired"]["version"], &of_b["reported"]), (&1.into(), &Value::Null));
    assert_eq!(bench.get("/api/v1/devices/cam-a/config").await["desired"], Value::Null);
}

#[tokio::test]
async fn a_device_enrolled_anew_hears_nothing_of_what_the_former_one_was_to_be_set_to() {
    let bench = Bench::start().await;
    let cam = bench.add("cam-1").await;
    let path = format!("/api/v1/devices/{cam}/config");
    let put = bench.http.put(bench.url(&path)).json(&json!({"settings": {"stream": {"quality": "low"}}}));
    assert_eq!(put.send().await.unwrap().status(), 200);
    admin::revoke_device(bench.dir(), &cam).await.unwrap();
    admin::add_device(bench.dir(), &cam).await.unwrap();
    assert_eq!(bench.get(&path).await["desired"], Value::Null);
    let desired = format!("devices/{cam}/config/desired");
    let more = ["-q", "1", "-t", desired.as_str(), "-W", "1"];
    assert!(
        eventually(async || {
            let (_, out, _) = run(bench.mosquitto("mosquitto_sub", &format!("devices/{cam}"), cam.as_str(), &more)).await;
            out.is_empty()
        })
        .await
    );
}
