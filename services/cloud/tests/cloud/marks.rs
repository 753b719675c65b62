//! What was noted about a device's pictures.

use crate::bench::Bench;
use serde_json::{Value, json};

async fn add(bench: &Bench, device: &str, mark: Value) -> (u16, Value) {
    let response = bench.http.post(bench.url(&format!("/api/v1/streams/{device}/marks"))).json(&mark).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn marks_are_kept_by_time_told_audited_and_listed_in_pages() {
    let bench = Bench::start().await;
    let cam = bench.add("cam").await;
    bench.add("other").await;
    let mut events = bench.http.get(bench.url("/api/v1/events/stream")).send().await.unwrap();
    // They come in another order than they happened in.
    for at in [3000, 1000, 2000] {
        let mark = json!({ "kind": "person", "at": at, "duration_ms": 500, "score": 0.9, "box": { "x": 0.25, "y": 0, "width": 0.5, "height": 1 }, "text": "at the door" });
        let (status, made) = add(&bench, "cam", mark).await;
        assert_eq!((status, &made["at"], &made["box"]["x"]), (201, &json!(at), &json!(0.25)));
    }
    assert_eq!(add(&bench, "other", json!({ "kind": "car" })).await.0, 201);
    let told = String::from_utf8(events.chunk().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(told.contains("mark_added") && told.contains("at the door"), "{told}");
    let at = |page: &Value| page["items"].as_array().unwrap().iter().map(|mark| mark["at"].as_i64().unwrap()).collect::<Vec<_>>();
    let first = bench.get("/api/v1/streams/cam/marks?limit=2").await;
    assert_eq!(at(&first), [3000, 2000]);
    let rest = bench.get(&format!("/api/v1/streams/cam/marks?limit=2&cursor={}", first["next"].as_str().unwrap())).await;
    assert_eq!((at(&rest), &rest["next"]), (vec![1000], &Value::Null));
    assert_eq!(at(&bench.get("/api/v1/streams/cam/marks?from=1400&to=3000").await), [2000, 1000], "the first goes on until 1500");
    assert!(bench.audit_has("mark.add").await);
    sightline_cloud::admin::remove_device(bench.dir(), &cam).await.unwrap();
    bench.add("cam").await;
    assert_eq!(at(&bench.get("/api/v1/streams/cam/marks").await), [0_i64; 0], "another device of this name has none");
}

#[tokio::test]
async fn a_mark_that_can_t_be_and_one_too_many_are_refused_in_words() {
    let bench = Bench::start().await;
    bench.add("cam").await;
    for (mark, words) in
        [(json!({ "kind": "" }), "kind:"), (json!({ "kind": "a", "score": 2 }), "score:"), (json!({ "kind": "a", "at": i64::MAX }), "at:")]
    {
        let (status, answer) = add(&bench, "cam", mark).await;
        assert!(status == 400 && answer["error_message"].as_str().unwrap().starts_with(words), "{answer}");
    }
    assert_eq!(add(&bench, "cam", json!({ "kind": "a", "colour": "red" })).await.0, 422);
    assert_eq!(add(&bench, "nobody", json!({ "kind": "a" })).await.0, 404);
    let mut last = (0, Value::Null);
    for _ in 0..200 {
        last = add(&bench, "cam", json!({ "kind": "a" })).await;
        if last.0 != 201 {
            break;
        }
    }
    assert_eq!((last.0, &last.1["error_code"]), (429, &json!("TOO_MANY_MARKS")));
    for query in ["cursor=x", "limit=-1", "from=x"] {
        let answer = bench.http.get(bench.url(&format!("/api/v1/streams/cam/marks?{query}"))).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{query}");
    }
}
