//! Relays by the API, and what origins hear of them.

use crate::bench::Bench;
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn relays_are_set_told_to_origins_once_a_version_and_removed_and_no_answer_shows_a_key() {
    let bench = Bench::start().await;
    let _cam = bench.add("cam").await;
    let report = async |version: Value, streams: Value| {
        bench.report_of("o1", "boot", json!({ "relays_version": version, "streams": streams })).await
    };
    let none = report(json!(0), json!([])).await;
    assert_eq!(none["relays"]["rules"], json!([]));
    assert!(bench.report("o2", "boot", json!([])).await.get("relays").is_none(), "an origin that takes none");

    let wish = json!({ "name": "youtube", "url": "rtmps://a.example/live2/hunter2" });
    let (status, added) = bench.ask(Method::POST, "/api/v1/streams/cam/relays", wish.clone()).await;
    assert_eq!((status, &added["target"], &added["state"]), (201, &json!("rtmps://a.example:443/live2/***"), &json!("idle")));
    assert_eq!(bench.ask(Method::POST, "/api/v1/streams/cam/relays", wish).await.0, 409);
    let wish = json!({ "name": "copy", "streams": "cam-*", "url": "rtmp://b.example/live" });
    assert_eq!(bench.ask(Method::POST, "/api/v1/relays", wish).await.0, 201);
    // The list is read anew after a second.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let live = json!([{ "stream": "s", "device": "cam", "epoch": 1, "playback": "p1", "width": 1280, "height": 720, "fps": 20.0,
        "bitrate_kbps": 900.0, "viewers": 0, "since": 1, "relays": [
            { "name": "youtube", "target": "rtmps://a.example:443/live2/***", "state": "publishing", "since": 5, "connects": 1, "sent_bytes": 9, "lost_frames": 0 },
            { "name": "file", "target": "rtmp://c.example:1935/live/***", "state": "waiting", "since": 5, "error": "refused", "connects": 2, "sent_bytes": 0, "lost_frames": 0 },
        ] }]);
    let told = report(none["relays"]["version"].clone(), live).await["relays"].clone();
    assert_eq!(
        told["rules"],
        json!([
            { "name": "copy", "streams": "cam-*", "url": "rtmp://b.example/live" },
            { "name": "youtube", "device": "cam", "url": "rtmps://a.example/live2/hunter2" },
        ])
    );
    assert!(report(told["version"].clone(), json!([])).await.get("relays").is_none(), "it has them");
    let shown = bench.get("/api/v1/streams/cam/relays").await;
    let of = |at: usize| (&shown["items"][at]["name"], &shown["items"][at]["set_by"], &shown["items"][at]["state"]);
    assert_eq!(of(0), (&json!("youtube"), &json!("api"), &json!("idle")), "the last report has no stream any more: {shown}");
    let listed = bench.get("/api/v1/relays").await;
    assert_eq!((&listed["items"][0]["streams"], listed["items"].as_array().unwrap().len()), (&json!("cam-*"), 1));
    assert!(!format!("{shown}{listed}{added}").contains("hunter2"));

    for (path, status) in
        [("/api/v1/streams/cam/relays/youtube", 200), ("/api/v1/streams/cam/relays/youtube", 404), ("/api/v1/relays/copy", 200)]
    {
        assert_eq!(bench.ask(Method::DELETE, path, json!(null)).await.0, status, "{path}");
    }
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    assert_eq!(report(told["version"].clone(), json!([])).await["relays"]["rules"], json!([]));
    assert!(bench.audit_has("relay.add").await && bench.audit_has("relay.remove").await);
}

#[tokio::test]
async fn a_relay_that_an_origin_would_not_take_is_refused_with_its_reason() {
    let bench = Bench::start().await;
    let _cam = bench.add("cam").await;
    let long = format!("rtmp://a.example/live/{}", "x".repeat(600));
    for (path, wish, status, says) in [
        ("streams/cam/relays", json!({ "name": "x", "url": "http://a.example/live/x" }), 400, "rtmp://"),
        ("streams/cam/relays", json!({ "name": "x", "url": "rtmp://a.example" }), 400, "APPLICATION"),
        ("streams/cam/relays", json!({ "name": "x", "url": long }), 400, "600"),
        ("streams/cam/relays", json!({ "name": "a/b", "url": "rtmp://a.example/live/x" }), 400, "name"),
        ("streams/cam/relays", json!({ "name": "", "url": "rtmp://a.example/live/x" }), 400, "name"),
        ("streams/cam/relays", json!({ "nam": "x", "url": "rtmp://a.example/live/x" }), 422, "nam"),
        ("streams/dome/relays", json!({ "name": "x", "url": "rtmp://a.example/live/x" }), 404, "dome"),
        ("relays", json!({ "name": "x", "streams": "", "url": "rtmp://a.example/live" }), 400, "streams"),
    ] {
        let (found, answer) = bench.ask(Method::POST, &format!("/api/v1/{path}"), wish.clone()).await;
        let message = answer["error_message"].as_str().unwrap_or_default();
        assert!(found == status && message.contains(says), "{path} {wish}: {found} {answer}");
    }
}
