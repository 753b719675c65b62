//! Origins report, and the API shows it.

use crate::bench::{Bench, message, request, run, subscriber};
use serde_json::json;

#[tokio::test]
async fn cameras_of_an_origin_that_restarted_are_called_back_at_once() {
    let bench = Bench::start().await;
    let cam = bench.add("cam").await;
    bench.report("o1", "first", json!([])).await;
    assert_eq!(bench.request(&cam, &request(&cam, "r1")).await.0, 200);
    let down = format!("devices/{cam}/stream/command");
    let (_device, mut lines) =
        subscriber(bench.mosquitto("mosquitto_sub", "devices/cam", "cam", &["-V", "311", "-q", "1", "-t", &down])).await;
    bench.report("o1", "first", json!([])).await;
    bench.report("o1", "second", json!([])).await;
    let command = message(&mut lines).await.unwrap();
    assert_eq!(command["cmd"], "rotate");
    assert!(!command["command_id"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn a_duel_is_audited_and_an_event_with_both_addresses_and_the_device_is_called_for_a_fresh_token() {
    let bench = Bench::start().await;
    let cam = bench.add("cam").await;
    let down = format!("devices/{cam}/stream/command");
    let (_device, mut lines) =
        subscriber(bench.mosquitto("mosquitto_sub", "devices/cam", "cam", &["-V", "311", "-q", "1", "-t", &down])).await;
    let duel = json!({ "stream": "secret-name", "device": "cam", "epoch": 7, "holder": "192.0.2.1:5000", "rival": "198.51.100.9:6000", "attempts": 3 });
    bench.report_of("o1", "boot", json!({ "duels": [duel] })).await;
    assert_eq!(message(&mut lines).await.unwrap()["cmd"], "rotate");
    assert!(bench.audit_has("stream.duel").await);
    let events = bench.get("/api/v1/events?device=cam").await;
    let event = events["items"].as_array().unwrap().iter().find(|event| event["event"] == "stream_duel").unwrap().clone();
    assert_eq!((&event["detail"]["holder"], &event["detail"]["rival"]), (&json!("192.0.2.1:5000"), &json!("198.51.100.9:6000")));
    assert!(!events.to_string().contains("secret-name"), "the publishing name is no one's business: {events}");
}

#[tokio::test]
async fn what_becomes_of_an_origin_s_recordings_is_an_event_and_a_state() {
    let bench = Bench::start().await;
    let incident = |kind: &str| json!({ "kind": kind, "stream": "s", "device": "cam", "reason": "No space left on device" });
    let streams = json!([{ "stream": "s", "device": "cam", "epoch": 1, "playback": "p1", "width": 1280, "height": 720, "fps": 20.0,
        "bitrate_kbps": 990.5, "viewers": 2, "since": 5, "recording": "failing" }]);
    let store = json!({ "kind": "store_failed", "stream": "", "device": "", "reason": "the store does not answer" });
    let incidents = json!([incident("recording_failed"), incident("made_up_later"), store, incident("stream_limited")]);
    bench.report_of("o1", "boot", json!({ "streams": streams, "incidents": incidents })).await;
    let events = bench.get("/api/v1/events?device=cam").await;
    let kinds: Vec<&str> = events["items"].as_array().unwrap().iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["stream_limited", "recording_failed"]);
    assert_eq!(events["items"][1]["detail"]["message"], "No space left on device");
    let of_server = bench.get("/api/v1/events?device=o1").await;
    let told = of_server["items"].as_array().unwrap().iter().find(|event| event["event"] == "server_store_failed").unwrap();
    assert_eq!(told["detail"]["message"], "the store does not answer");
    assert_eq!(bench.get("/api/v1/streams").await["items"][0]["recording"], "failing");
}

#[tokio::test]
async fn the_api_joins_origin_and_device_and_answers_only_to_this_machine() {
    let bench = Bench::start().await;
    let cam = bench.add("cam").await;
    let streams = json!([{ "stream": "s", "device": "cam", "epoch": 1, "playback": "p1", "width": 1280, "height": 720, "fps": 20.04,
        "bitrate_kbps": 990.5, "viewers": 2, "since": 5 }]);
    bench.report("o1", "boot", streams).await;
    let state = json!({ "state": 3, "state_name": "streaming", "quality": "medium", "width": 1280, "height": 720, "fps": 20.0,
        "bitrate_kbps": 990.0, "latency_ms": 120, "latency_kind": "ack", "network_quality": 0.97, "timestamp": 1 });
    let topic = format!("devices/{cam}/stream/state");
    let publish = ["-V", "5", "-q", "1", "-r", "-t", topic.as_str(), "-m"].map(str::to_owned).to_vec();
    let text = state.to_string();
    let more: Vec<&str> = publish.iter().map(String::as_str).chain([text.as_str()]).collect();
    assert!(run(bench.mosquitto("mosquitto_pub", "devices/cam", "cam", &more)).await.0);
    let listed = bench.get("/api/v1/streams").await;
    let stream = &listed["items"][0];
    for (field, value) in [("device", json!("cam")), ("playback", json!("p1")), ("state", json!("streaming")), ("width", json!(1280))]
        .into_iter()
        .chain([("fps", json!(20.0)), ("bitrate_kbps", json!(990.5)), ("latency_ms", json!(120)), ("viewers", json!(2))])
        .chain([("server", json!("o1")), ("since", json!(5)), ("quality", json!("medium"))])
    {
        assert_eq!(stream[field], value, "{field} in {stream}");
    }
    assert_eq!(bench.get("/api/v1/servers").await["items"][0]["alive"], true);

    let get = |host: &'static str| bench.http.get(bench.url("/api/v1/devices")).header("host", host).send();
    assert_eq!(get("evil.example").await.unwrap().status(), 403);
    assert_eq!(get("localhost").await.unwrap().status(), 200);
    let foreign = bench.http.post(bench.url("/api/v1/devices/cam/rotate")).header("origin", "http://evil.example").send().await.unwrap();
    assert_eq!(foreign.status(), 403);
    // A redirect to the origin that has it, and the console's policy.
    let page = bench.http.get(bench.url("/")).send().await.unwrap();
    assert!(page.headers()["content-security-policy"].to_str().unwrap().contains("script-src 'self'"));
    assert_eq!(bench.http.get(bench.url("/live/unknown.flv")).send().await.unwrap().status(), 404);
    for path in ["/healthz", "/readyz", "/metrics", "/api/openapi.json"] {
        assert_eq!(bench.http.get(bench.url(path)).send().await.unwrap().status(), 200, "{path}");
    }
    let recordings = bench.get("/api/v1/recordings?device=cam").await;
    assert_eq!((&recordings["items"], &recordings["unreachable"][0]["server"]), (&json!([]), &"o1".into()), "{recordings}");
    for (query, status) in [("device=nobody", 404), ("from=5&to=5", 400), ("cursor=x", 400), ("limit=-1", 400), ("from=x", 400)] {
        assert_eq!(bench.http.get(bench.url(&format!("/api/v1/recordings?{query}"))).send().await.unwrap().status(), status, "{query}");
    }
}

#[tokio::test]
async fn streams_that_begin_and_end_and_publishers_that_an_origin_refused_are_in_the_audit_log() {
    let bench = Bench::start().await;
    let streams = |since: u64| {
        json!([{ "stream": "secret-name", "device": "cam", "epoch": 7, "playback": "p1", "width": 1280, "height": 720, "fps": 20.0,
        "bitrate_kbps": 990.5, "viewers": 2, "since": since }])
    };
    let refusals =
        json!([{ "address": "192.0.2.9", "reason": "expired", "count": 40 }, { "address": "", "reason": "no_token", "count": 1 }]);
    for _ in 0..3 {
        bench.report_of("o1", "boot", json!({ "streams": streams(u64::from(u32::MAX)), "refusals": refusals })).await;
    }
    for _ in 0..2 {
        bench.report("o1", "boot", json!([])).await;
    }
    let rows = sightline_cloud::admin::audit_entries(bench.dir(), None, 1000).await.unwrap();
    let of = |action: &str| rows.iter().filter(|row| row.action == action).collect::<Vec<_>>();
    let [begin] = of("stream.begin")[..] else { panic!("{rows:?}") };
    let [end] = of("stream.end")[..] else { panic!("{rows:?}") };
    assert_eq!((begin.actor.as_str(), begin.subject.as_str(), &begin.detail), ("origin:o1", "cam", &end.detail));
    assert!(begin.detail.contains("\"epoch\":7") && !begin.detail.contains("secret-name"), "{begin:?}");
    let refused: Vec<(&str, &str)> = of("stream.publish.refuse").iter().map(|row| (row.actor.as_str(), row.detail.as_str())).collect();
    let known = r#"{"count":40,"reason":"expired","server":"o1"}"#;
    assert_eq!(refused, [("origin:o1", r#"{"reason":"no_token","server":"o1"}"#), ("address:192.0.2.9", known)]);
    assert!(matches!(sightline_cloud::admin::verify_audit(bench.dir()).await.unwrap(), sightline_cloud::admin::Verdict::Intact { .. }));
}

#[tokio::test]
async fn the_api_describes_every_operation_with_its_name_and_the_shape_of_every_answer() {
    let bench = Bench::start().await;
    let api = bench.get("/api/openapi.json").await;
    let text = api.to_string();
    let mut names = std::collections::BTreeSet::new();
    let operations = api["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter().filter(|(_, operation)| operation["responses"].is_object());
        methods.map(move |(method, operation)| (format!("{method} {path}"), operation))
    });
    for (route, operation) in operations {
        assert!(names.insert(operation["operationId"].as_str().unwrap()), "{route}: its operation id is another's, too");
        assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{route}");
        for (status, answer) in operation["responses"].as_object().unwrap() {
            let content = answer["content"].as_object().unwrap_or_else(|| panic!("{route}: {status} has no shape"));
            assert!(content.values().all(|content| content["schema"].is_object()), "{route}: {status}");
        }
    }
    assert_eq!(names.len(), 66, "{names:?}");
    // Each shape that is referred to is there.
    for reference in text.split("\"#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(api["components"]["schemas"][reference].is_object(), "{reference}");
    }
    // Open on this machine: a token is one way, and none is another.
    assert_eq!(api["paths"]["/api/v1/devices"]["get"]["security"], json!([{ "operator": [] }, { "session": [] }, {}]));
}

#[tokio::test]
async fn what_the_api_can_t_read_is_refused_in_its_own_form() {
    let bench = Bench::start().await;
    for (path, status) in [
        ("/api/v1/devices?limit=-1", 400),
        ("/api/v1/devices?limit=many", 400),
        ("/api/v1/events?cursor=-1", 400),
        ("/api/v1/audit?cursor=zzz", 400),
        ("/api/v1/devices/%FF", 400),
        ("/api/v1/devices/nobody", 404),
    ] {
        let answer = bench.http.get(bench.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        let body: serde_json::Value = answer.json().await.unwrap();
        assert!(body["error_code"].is_string() && body["error_message"].is_string(), "{path}: {body}");
    }
    let cam = bench.add("cam").await;
    let put = |body: &'static str| {
        let url = bench.url(&format!("/api/v1/devices/{cam}/config"));
        bench.http.put(url).header("content-type", "application/json").body(body).send()
    };
    // A whole number is a whole number, however a language writes it.
    assert_eq!(put(r#"{"settings":{"stream":{"fps":20.0}}}"#).await.unwrap().status(), 200);
    let refused = put(r#"{"settings":[]}"#).await.unwrap();
    assert_eq!(refused.status(), 422);
    let problem: serde_json::Value = refused.json().await.unwrap();
    assert!(problem["error_message"].as_str().unwrap().starts_with("settings: "), "{problem}");
}

#[tokio::test]
async fn a_report_is_read_only_from_who_has_the_cluster_key_and_its_whole_numbers_may_have_a_point() {
    let bench = Bench::start().await;
    let url = bench.url("/api/v1/servers/o1/report");
    for body in ["", "{", "{\"server_id\":7}"] {
        let post = bench.http.post(&url).header("content-type", "application/json").body(body);
        assert_eq!(post.send().await.unwrap().status(), 401, "{body}: a stranger's is not looked at");
    }
    bench.report_of("o1", "boot", json!({ "viewers": 3.0, "capacity_kbps": 250_000.0 })).await;
    assert_eq!(bench.get("/api/v1/servers").await["items"][0]["capacity_kbps"], 250_000);
}

#[tokio::test]
async fn a_playback_key_s_name_has_as_many_characters_as_the_description_says() {
    let bench = Bench::start().await;
    let cam = bench.add("cam").await;
    for (name, status) in [("é".repeat(64), 201), ("é".repeat(65), 400), (" ".to_owned(), 400), ("a\u{7}b".to_owned(), 400)] {
        let post = bench.http.post(bench.url("/api/v1/playback-keys")).json(&json!({ "device": cam, "name": name }));
        assert_eq!(post.send().await.unwrap().status(), status, "{name:?}");
    }
    let description = bench.get("/api/openapi.json").await;
    let wish = &description["components"]["schemas"]["KeyWish"]["properties"];
    assert_eq!((&wish["name"]["minLength"], &wish["name"]["maxLength"], &wish["ways"]["maxItems"]), (&json!(1), &json!(64), &json!(7)));
    assert!(description["components"]["schemas"]["Way"]["enum"].as_array().unwrap().contains(&json!("whep")), "{wish}");
}
