//! Recordings that are to stay, what origins hear of it, and what they say about their room.

use crate::bench::Bench;
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn holds_are_set_told_to_origins_once_a_version_and_taken_back() {
    let bench = Bench::start().await;
    let _cam = bench.add("cam").await;
    let report = async |version: Value| bench.report_of("o1", "boot", json!({ "holds_version": version })).await;
    let none = report(json!(0)).await;
    assert_eq!(none["holds"]["holds"], json!([]));
    assert!(bench.report("o2", "boot", json!([])).await.get("holds").is_none(), "an origin that records nothing");

    let wish = |more: Value| {
        let mut wish = json!({ "device": "cam", "from": 1_000, "to": 2_000, "reason": "case 7" });
        wish.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        wish
    };
    let (status, held) = bench.ask(Method::POST, "/api/v1/holds", wish(json!({}))).await;
    assert_eq!((status, &held["device"], &held["by"], &held["ends_at"]), (201, &json!("cam"), &json!("operator"), &Value::Null));
    for (more, status, code) in [
        (json!({ "device": "dome" }), 404, "NOT_FOUND"),
        (json!({ "to": 1_000 }), 400, "BAD_REQUEST"),
        (json!({ "from": -1 }), 400, "BAD_REQUEST"),
        (json!({ "reason": " " }), 400, "BAD_REQUEST"),
        (json!({ "ends_at": 1 }), 400, "BAD_REQUEST"),
        (json!({ "until": 1 }), 422, "BAD_REQUEST"),
    ] {
        let (got, answer) = bench.ask(Method::POST, "/api/v1/holds", wish(more.clone())).await;
        assert_eq!((got, &answer["error_code"]), (status, &json!(code)), "{more}");
    }
    // The list is read anew after a second.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let told = report(none["holds"]["version"].clone()).await["holds"].clone();
    assert_eq!(told["holds"], json!([{ "device": "cam", "from": 1_000, "to": 2_000 }]));
    assert!(report(told["version"].clone()).await.get("holds").is_none(), "it has them");
    assert_eq!(bench.get("/api/v1/holds?device=cam").await["items"], json!([held]));
    assert_eq!(bench.get("/api/v1/holds?device=dome").await["items"], json!([]));
    let path = format!("/api/v1/holds/{}", held["id"]);
    assert_eq!(bench.ask(Method::DELETE, &path, json!(null)).await.0, 200);
    assert_eq!(bench.ask(Method::DELETE, &path, json!(null)).await.0, 404);
    assert!(bench.audit_has("hold.add").await && bench.audit_has("hold.remove").await);
}

#[tokio::test]
async fn an_origin_without_room_for_what_its_settings_promise_is_told_of_once_and_so_is_its_end() {
    let bench = Bench::start().await;
    let report = async |room_hours: Value| {
        let recordings = json!({ "bytes": 9, "held_bytes": 3, "oldest": 1, "room_hours": room_hours, "keep_hours": 100 });
        bench.report_of("o1", "boot", json!({ "recordings": recordings })).await;
    };
    for room_hours in [json!(null), json!(120), json!(99), json!(80), json!(102), json!(106), json!(90)] {
        report(room_hours).await;
    }
    assert_eq!(bench.get("/api/v1/servers").await["items"][0]["recordings"]["room_hours"], 90);
    let events = bench.get("/api/v1/events").await;
    let told = events["items"].as_array().unwrap().iter().rev().filter(|event| event["device"] == "o1");
    let told: Vec<_> = told.filter(|event| event["event"].as_str().unwrap().starts_with("server_recordings")).collect();
    let of = |at: usize| (told[at]["event"].as_str().unwrap(), told[at]["detail"]["room_hours"].as_i64().unwrap());
    assert_eq!(
        (of(0), of(1), of(2), told.len()),
        (("server_recordings_short", 99), ("server_recordings_enough", 106), ("server_recordings_short", 90), 3)
    );
}

#[tokio::test]
async fn a_fleet_s_coverage_says_what_nobody_could_be_asked_about() {
    let bench = Bench::start().await;
    for device in ["cam-1", "cam-2", "cam-3"] {
        let _ = bench.add(device).await;
    }
    // It reports, and nothing listens there.
    bench.report_of("o1", "boot", json!({ "http_url": "http://127.0.0.1:9" })).await;
    let first = bench.get("/api/v1/coverage?limit=2").await;
    assert_eq!((first["items"][0]["device"].as_str(), first["next"].as_str()), (Some("cam-1"), Some("cam-2")), "{first}");
    assert_eq!((&first["items"][0]["spans"], first["unreachable"][0]["server"].as_str()), (&json!([]), Some("o1")));
    let last = bench.get("/api/v1/coverage?limit=2&cursor=cam-2").await;
    assert_eq!((last["items"].as_array().unwrap().len(), &last["next"]), (1, &Value::Null));
    for query in ["from=2&to=1", "from=0&to=99999999999", "limit=-1", "from=x"] {
        assert_eq!(bench.ask(Method::GET, &format!("/api/v1/coverage?{query}"), json!(null)).await.0, 400, "{query}");
    }
    assert_eq!(bench.ask(Method::GET, "/api/v1/coverage?device=dome", json!(null)).await.0, 404);
}
