//! Where shall I stream? Over MQTT 3 and 5 and HTTP.

use crate::bench::{Bench, epoch_of, request, run};
use serde_json::{Value, json};
use sightline_cloud::admin;
use tokio::process::Command;

#[tokio::test]
async fn a_request_is_answered_over_mqtt_3_and_5_and_http_with_the_same_json() {
    let bench = Bench::start().await;
    let cam = bench.add("ESP32P4_CAM_001").await;
    bench.report("o1", "boot", json!([])).await;
    let (up, down) = (format!("devices/{cam}/stream/request"), format!("devices/{cam}/stream/response"));
    let mut epochs = Vec::new();
    for version in ["311", "5"] {
        let body = request(&cam, &format!("v{version}")).to_string();
        let more = ["-V", version, "-q", "1", "-t", &up, "-e", &down, "-m", &body, "-W", "8"];
        let (_, out, err) = run(bench.mosquitto("mosquitto_rr", &format!("devices/{cam}"), cam.as_str(), &more)).await;
        let answer: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("MQTT {version}: {out} {err}"));
        assert_eq!(answer["success"], true, "{answer}");
        assert_eq!(answer["rtmp_url"], "rtmp://127.0.0.1:1935/live/");
        assert_eq!(answer["servers"][0]["rtmp_url"], answer["rtmp_url"]);
        let token = answer["token"].as_str().unwrap();
        assert!(token.len() < 249, "{} bytes", token.len());
        for field in ["stream_key", "server_name", "server_region", "max_bitrate", "recommended_fps", "supports_adaptive", "expires_at"]
            .into_iter()
            .chain(["servers", "refresh_at", "server_time", "stream_id", "request_id"])
        {
            assert!(!answer[field].is_null(), "{field} in {answer}");
        }
        // Viewers' name for it: the API's, and nothing that the publishing name leads to.
        let device = bench.get(&format!("/api/v1/devices/{cam}")).await;
        assert_eq!(answer["stream_id"], device["playback"]);
        assert_ne!(answer["stream_id"].as_str().unwrap(), sightline_signal::playback_id(answer["stream_key"].as_str().unwrap()).as_str());
        let (status, again) = bench.request(&cam, &request(&cam, &format!("v{version}"))).await;
        assert_eq!((status, &again), (200, &answer), "the same request_id has the identical answer");
        epochs.push(epoch_of(token));
    }
    assert!(epochs[1] > epochs[0]);
    let mut secure = request(&cam, "secure");
    secure["stream_type"] = "rtmps".into();
    assert_eq!(bench.request(&cam, &secure).await.1["rtmp_url"], "rtmps://127.0.0.1:1936/live/");
    assert!(matches!(admin::verify_audit(bench.dir()).await.unwrap(), admin::Verdict::Intact { rows: 5.., .. }));
}

#[tokio::test]
async fn http_takes_certificate_or_bearer_and_answers_with_the_status_of_the_specification() {
    let bench = Bench::start().await;
    let cam = bench.add("cam").await;
    assert_eq!(
        bench.request(&cam, &request(&cam, "none")).await,
        (
            503,
            json!({
                "success": false, "request_id": "none", "error_code": "NO_SERVER_AVAILABLE", "error_message": "no server is registered", "retry_after": 5,
            })
        )
    );
    bench.report("o1", "boot", json!([])).await;
    let body = request(&cam, "r1");
    // The same question: by certificate over TLS on the same port, and by bearer token.
    let [ca, pem, key] = bench.certificate("devices/cam");
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--cacert"]).arg(&ca).arg("--cert").arg(pem).arg("--key").arg(key).args(["-d", &body.to_string()]);
    curl.arg(format!("https://localhost:{}/stream/request", bench.cloud.http_addr().port()));
    let (ok, out, err) = run(curl).await;
    assert!(ok, "{err}");
    let by_certificate: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(by_certificate["success"], true, "{by_certificate}");
    assert_eq!(bench.request(&cam, &body).await, (200, by_certificate));

    let post = |token: &str, body: String| bench.http.post(bench.url("/stream/request")).bearer_auth(token.to_owned()).body(body).send();
    assert_eq!(post("wrong", body.to_string()).await.unwrap().status(), 401);
    let malformed = post(&bench.token(&cam), r#"{"request_id":"m","nonsense":1}"#.into()).await.unwrap();
    assert_eq!(malformed.status(), 400);
    let malformed: Value = malformed.json().await.unwrap();
    assert_eq!(
        (&malformed["error_code"], &malformed["request_id"], &malformed["success"]),
        (&json!("BAD_REQUEST"), &json!("m"), &json!(false))
    );
    admin::permit_push(bench.dir(), &cam, false).await.unwrap();
    let (status, answer) = bench.request(&cam, &request(&cam, "r2")).await;
    assert_eq!((status, &answer["error_code"]), (403, &json!("PERMISSION_DENIED")));
    let mut last = (0, Value::Null);
    for number in 0..40 {
        last = bench.request(&cam, &request(&cam, &format!("flood{number}"))).await;
    }
    assert_eq!((last.0, &last.1["error_code"]), (429, &json!("SERVER_OVERLOADED")));
    assert!(last.1["retry_after"].as_u64().unwrap() >= 1);
}

#[tokio::test]
async fn a_second_start_on_the_same_directory_keeps_devices_keys_and_the_order_of_epochs() {
    let bench = Bench::start().await;
    let cam = bench.add("cam").await;
    bench.report("o1", "boot", json!([])).await;
    let first = bench.request(&cam, &request(&cam, "r1")).await.1;
    let keys = bench.get("/.well-known/jwks.json").await;
    let pem = std::fs::read(bench.dir().join("server.pem")).unwrap();
    let Bench { home, cloud, .. } = bench;
    cloud.shutdown().await;
    let bench = Bench::start_in(home).await;
    assert_eq!(bench.get("/.well-known/jwks.json").await, keys);
    assert_eq!(std::fs::read(bench.dir().join("server.pem")).unwrap(), pem);
    assert_eq!(bench.get("/api/v1/devices").await["items"][0]["id"], "cam");
    bench.report("o1", "boot", json!([])).await;
    let second = bench.request(&cam, &request(&cam, "r2")).await.1;
    assert_eq!(first["stream_key"], second["stream_key"]);
    let epochs = [&first, &second].map(|answer| epoch_of(answer["token"].as_str().unwrap()));
    assert!(epochs[1] > epochs[0]);
    assert!(matches!(admin::verify_audit(bench.dir()).await.unwrap(), admin::Verdict::Intact { .. }));
}

#[tokio::test]
async fn a_question_that_comes_again_after_a_restart_has_the_identical_answer() {
    let bench = Bench::start().await;
    let cam = bench.add("cam").await;
    bench.report("o1", "boot", json!([])).await;
    let (first, other) = (bench.request(&cam, &request(&cam, "r1")).await, bench.request(&cam, &request(&cam, "r2")).await);
    assert_ne!(first.1["token"], other.1["token"]);
    let Bench { home, cloud, .. } = bench;
    cloud.shutdown().await;
    let bench = Bench::start_in(home).await;
    assert_eq!(bench.request(&cam, &request(&cam, "r1")).await, first, "also without an origin");
    // Enrolled anew it has another stream, and the answers of the one before are gone.
    admin::revoke_device(bench.dir(), &cam).await.unwrap();
    admin::add_device(bench.dir(), &cam).await.unwrap();
    bench.report("o1", "boot", json!([])).await;
    assert_ne!(bench.request(&cam, &request(&cam, "r1")).await.1["stream_key"], first.1["stream_key"]);
}

#[tokio::test]
async fn what_a_simple_client_leaves_out_is_as_in_the_seed_and_an_unknown_quality_has_its_code() {
    let bench = Bench::start().await;
    let cam = bench.add("cam").await;
    bench.report("o1", "boot", json!([])).await;
    let (status, answer) = bench.request(&cam, &json!({ "request_id": "simple", "device_id": "cam" })).await;
    assert_eq!((status, &answer["rtmp_url"], &answer["recommended_fps"]), (200, &json!("rtmp://127.0.0.1:1935/live/"), &json!(20)));
    let (status, answer) = bench.request(&cam, &json!({ "request_id": "best", "device_id": "cam", "quality": "best" })).await;
    assert_eq!((status, &answer["error_code"]), (409, &json!("INVALID_QUALITY")), "{answer}");
}

#[tokio::test]
async fn a_device_asks_for_its_next_certificate_by_https_for_itself_alone() {
    let bench = Bench::start().await;
    let (cam, other) = (bench.add("cam").await, bench.add("other").await);
    let ask = async |id: &str, token: &str| {
        let post = bench.http.post(bench.url(&format!("/api/v1/devices/{id}/certificate"))).bearer_auth(token);
        let response = post.body(r#"{"request_id":"r1","csr":"x"}"#).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap()["error_code"].clone())
    };
    assert_eq!(ask("cam", &bench.token(&cam)).await, (403, json!("PERMISSION_DENIED")), "it is not near its end");
    assert_eq!(ask("cam", &bench.token(&other)).await, (401, json!("UNAUTHORIZED")));
    assert_eq!(ask("nobody", "made up").await, (401, json!("UNAUTHORIZED")));
    assert!(bench.audit_has("device.renew_certificate.refuse").await);
}
