//! Who may do what, and who can read what.

use crate::bench::{Bench, message, request, run, subscriber};
use serde_json::{Value, json};
use sightline_cloud::{Cloud, Config, admin};
use sightline_signal::DeviceId;
use tokio::process::Command;

#[tokio::test]
async fn one_device_can_t_speak_for_listen_to_or_connect_as_another() {
    let bench = Bench::start().await;
    let (a, b) = (bench.add("cam-a").await, bench.add("cam-b").await);
    bench.report("o1", "boot", json!([])).await;
    let as_a = format!("devices/{a}");

    // Listening.
    for filter in [format!("devices/{b}/stream/response"), "devices/+/stream/response".into(), "#".into(), format!("devices/{b}/#")] {
        let more = ["-V", "5", "-t", filter.as_str(), "-C", "1", "-W", "3"];
        let (_, _, err) = run(bench.mosquitto("mosquitto_sub", &as_a, a.as_str(), &more)).await;
        assert!(err.contains("All subscription requests were denied"), "{filter}: {err}");
    }
    assert!(bench.audit_has("mqtt.subscribe.refuse").await);

    // Speaking: the operator hears everything, and only A's own word arrives.
    let (_operator, mut heard) = subscriber(bench.mosquitto("mosquitto_sub", "operator", "watcher", &["-V", "5", "-t", "#"])).await;
    for version in ["311", "5"] {
        let (foreign, own) = (format!("devices/{b}/stream/status"), format!("devices/{a}/stream/status"));
        for (topic, text) in [(&foreign, r#"{"from":"a as b"}"#), (&own, r#"{"from":"a"}"#)] {
            run(bench.mosquitto("mosquitto_pub", &as_a, a.as_str(), &["-V", version, "-q", "1", "-t", topic, "-m", text])).await;
        }
        assert_eq!(message(&mut heard).await.unwrap()["from"], "a");
    }
    assert!(bench.audit_has("mqtt.publish.refuse").await);

    // Connecting under B's id, or with a will on B's topic.
    for (id, more) in [("cam-b", vec![]), ("cam-a", vec!["--will-topic", "devices/cam-b/online", "--will-payload", "x"])] {
        let more = [vec!["-V", "5", "-q", "1", "-t", "devices/cam-b/online", "-m", "{}"], more].concat();
        let (ok, _, err) = run(bench.mosquitto("mosquitto_pub", &as_a, id, &more)).await;
        assert!(!ok, "{id}: {err}");
    }
    assert!(bench.audit_has("mqtt.connect.refuse").await);

    // A body that names another device, over both ways.
    let (status, answer) = bench.request(&a, &request(&b, "r1")).await;
    assert_eq!((status, &answer["error_code"]), (401, &json!("UNAUTHORIZED")));
    assert!(bench.audit_has("allocation.impersonate").await);
    // The operator may not take a device's session.
    let (ok, ..) = run(bench.mosquitto("mosquitto_pub", "operator", "cam-a", &["-t", "devices/cam-a/stream/command", "-m", "{}"])).await;
    assert!(!ok);
}

#[tokio::test]
async fn a_certificate_of_another_authority_and_none_at_all_are_refused() {
    let (bench, other) = (Bench::start().await, tempfile::tempdir().unwrap());
    let cam = bench.add("cam").await;
    admin::add_device(other.path(), &cam).await.unwrap();
    let port = bench.cloud.mqtts_addr().unwrap().port().to_string();
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "localhost", "-p", &port, "-i", "cam", "-t", "devices/cam/online", "-m", "{}", "--cafile"]);
    command.arg(bench.dir().join("ca.pem"));
    assert!(!run(command).await.0, "no certificate");
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "localhost", "-p", &port, "-i", "cam", "-q", "1", "-t", "devices/cam/online", "-m", "{}", "--cafile"]);
    command.arg(bench.dir().join("ca.pem")).arg("--cert").arg(other.path().join("devices/cam.pem"));
    command.arg("--key").arg(other.path().join("devices/cam.key"));
    assert!(!run(command).await.0, "another authority's certificate");
    // And a camera that knows another authority does not talk to this cloud.
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "localhost", "-p", &port, "-i", "cam", "-t", "devices/cam/online", "-m", "{}", "--cafile"]);
    command.arg(other.path().join("ca.pem")).arg("--cert").arg(bench.dir().join("devices/cam.pem"));
    command.arg("--key").arg(bench.dir().join("devices/cam.key"));
    assert!(!run(command).await.0, "another authority's server");
}

#[tokio::test]
async fn a_network_address_asks_for_the_operator_s_token() {
    let home = tempfile::tempdir().unwrap();
    let mut config = Config::in_dir(home.path()).unwrap();
    config.http.listen = "0.0.0.0:0".parse().unwrap();
    config.mqtt.enabled = false;
    let cloud = Cloud::start(config, axum::Router::new()).await.unwrap();
    assert_eq!(cloud.mqtts_addr(), None);
    let url = format!("http://127.0.0.1:{}/api/v1/devices", cloud.http_addr().port());
    let http = reqwest::Client::new();
    assert_eq!(http.get(&url).send().await.unwrap().status(), 401);
    let token = std::fs::read_to_string(cloud.operator_token_path().unwrap()).unwrap();
    assert_eq!(http.get(&url).bearer_auth(token).send().await.unwrap().status(), 200);
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "--cacert"]).arg(home.path().join("ca.pem"));
    curl.arg("--cert").arg(home.path().join("operator.pem")).arg("--key").arg(home.path().join("operator.key"));
    curl.arg(format!("https://localhost:{}/api/v1/devices", cloud.http_addr().port()));
    assert_eq!(run(curl).await.1, "200");
    cloud.shutdown().await;
}

#[tokio::test]
async fn secrets_are_readable_by_their_owner_alone_and_never_in_the_database_or_the_log() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::start().await;
    let cam = bench.add("cam").await;
    bench.report("o1", "boot", json!([])).await;
    let answer = bench.request(&cam, &request(&cam, "r1")).await.1;
    for name in ["ca.key", "server.key", "operator.key", "cluster.key", "sightline.sqlite", "devices/cam.key", "devices/cam.token"] {
        let mode = std::fs::metadata(bench.dir().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let secrets = [bench.token(&cam), answer["token"].as_str().unwrap().to_owned()];
    let logged = serde_json::to_string(&admin::audit_entries(bench.dir(), None, 1000).await.unwrap()).unwrap();
    let told = bench.get("/api/v1/events").await.to_string() + &bench.get("/api/v1/devices").await.to_string();
    let metrics = bench.http.get(bench.url("/metrics")).send().await.unwrap().text().await.unwrap();
    for secret in &secrets {
        assert!(![&logged, &told, &metrics].iter().any(|text| text.contains(secret.as_str())));
    }
    let Bench { home, cloud, .. } = bench;
    cloud.shutdown().await;
    let database = std::fs::read(home.path().join("sightline.sqlite")).unwrap();
    for secret in &secrets {
        assert!(!database.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
}

#[tokio::test]
async fn an_id_of_the_system_is_refused_as_reserved() {
    let bench = Bench::start().await;
    bench.add("cam").await;
    for (id, code) in [("operator", "DEVICE_RESERVED"), ("cam", "DEVICE_EXISTS")] {
        let response = bench.http.post(bench.url("/api/v1/devices")).json(&json!({ "id": id })).send().await.unwrap();
        assert_eq!(response.status(), 409);
        assert_eq!(response.json::<Value>().await.unwrap()["error_code"], code);
    }
    let reserved = admin::add_device(bench.dir(), &DeviceId::new("operator").unwrap()).await.unwrap_err();
    assert!(reserved.to_string().contains("is reserved"), "{reserved}");
}
