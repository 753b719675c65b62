//! Endpoints that are told of events.

use crate::bench::Bench;
use aws_lc_rs::hmac;
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::task::JoinSet;

/// What came, and how many of it are refused before one is taken.
#[derive(Default)]
struct Endpoint {
    came: Mutex<Vec<(HeaderMap, Bytes)>>,
    refuses: Mutex<u32>,
}

impl Endpoint {
    async fn start(tasks: &mut JoinSet<()>) -> (Arc<Self>, SocketAddr) {
        let endpoint = Arc::new(Self::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/hook", post(take)).with_state(endpoint.clone());
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
        (endpoint, address)
    }

    /// The events that it has taken, by kind and device.
    fn taken(&self) -> Vec<(String, String)> {
        let came = self.came.lock().unwrap();
        let event = |body: &Bytes| {
            let event: Value = serde_json::from_slice(body).unwrap();
            (event["event"].as_str().unwrap().to_owned(), event["device"].as_str().unwrap().to_owned())
        };
        came.iter().map(|(_, body)| event(body)).collect()
    }

    async fn has(&self, count: usize) -> Vec<(String, String)> {
        for _ in 0..200 {
            if self.taken().len() >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.taken()
    }
}

async fn take(State(endpoint): State<Arc<Endpoint>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut refuses = endpoint.refuses.lock().unwrap();
    if *refuses > 0 {
        *refuses -= 1;
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    endpoint.came.lock().unwrap().push((headers, body));
    StatusCode::NO_CONTENT
}

async fn bench_with_hooks(home: tempfile::TempDir) -> Bench {
    Bench::start_with(home, |config| config.hooks.allow_private_addresses = true).await
}

async fn add_device(bench: &Bench, id: &str) {
    assert_eq!(bench.ask(Method::POST, "/api/v1/devices", json!({ "id": id })).await.0, 201);
}

#[tokio::test]
async fn an_endpoint_is_told_of_each_event_in_order_signed_again_until_it_takes_it_and_over_a_restart() {
    let mut tasks = JoinSet::new();
    let (endpoint, address) = Endpoint::start(&mut tasks).await;
    let bench = bench_with_hooks(tempfile::tempdir().unwrap()).await;
    add_device(&bench, "before").await;
    let url = format!("http://user:hunter2@{address}/hook?key=hunter2");
    let (status, hook) = bench.ask(Method::POST, "/api/v1/hooks", json!({ "url": url, "events": ["device_added"] })).await;
    assert_eq!((status, &hook["url"]), (201, &json!(format!("http://{address}/hook"))), "{hook}");
    *endpoint.refuses.lock().unwrap() = 2;
    add_device(&bench, "a").await;
    add_device(&bench, "b").await;
    add_device(&bench, "d").await;
    let expected = [("device_added", "a"), ("device_added", "b"), ("device_added", "d")].map(|(kind, id)| (kind.to_owned(), id.to_owned()));
    assert_eq!(endpoint.has(3).await, expected);

    let (headers, body) = endpoint.came.lock().unwrap()[0].clone();
    let header = |name: &str| headers[name].to_str().unwrap();
    let key = STANDARD.decode(hook["secret"].as_str().unwrap().strip_prefix("whsec_").unwrap()).unwrap();
    let signed = [header("webhook-id").as_bytes(), b".", header("webhook-timestamp").as_bytes(), b".", &body].concat();
    let signature = STANDARD.decode(header("webhook-signature").strip_prefix("v1,").unwrap()).unwrap();
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &key), &signed, &signature).unwrap();
    assert_eq!(header("authorization"), format!("Basic {}", STANDARD.encode("user:hunter2")));

    let listed = bench.get("/api/v1/hooks").await;
    let id = listed["items"][0]["id"].as_str().unwrap().to_owned();
    assert!(listed["items"][0]["failing_since"].is_null() && listed["items"][0]["taken"] == 3, "{listed}");
    let events = bench.get("/api/v1/events").await;
    let kinds: Vec<_> = events["items"].as_array().unwrap().iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"hook_failed") && kinds.contains(&"hook_recovered"), "{kinds:?}");
    assert!(!format!("{listed}{events}").contains("hunter2") && !listed.to_string().contains("whsec_"), "secrets are shown once");

    // What is told while the endpoint is away is told after a restart.
    *endpoint.refuses.lock().unwrap() = u32::MAX;
    add_device(&bench, "c").await;
    let Bench { home, cloud, .. } = bench;
    cloud.shutdown().await;
    *endpoint.refuses.lock().unwrap() = 0;
    let bench = bench_with_hooks(home).await;
    assert_eq!(endpoint.has(4).await[3], ("device_added".to_owned(), "c".to_owned()));

    // And all of it again, where someone asks: each message under the name that it had.
    let ids = |range: std::ops::Range<usize>| {
        endpoint.came.lock().unwrap()[range].iter().map(|(headers, _)| headers["webhook-id"].clone()).collect::<Vec<_>>()
    };
    let first = ids(0..4);
    assert_eq!(bench.ask(Method::POST, &format!("/api/v1/hooks/{id}/replay"), json!({ "after": hook["after"] })).await.0, 200);
    endpoint.has(9).await;
    assert_eq!(ids(5..9), first, "{:?}", endpoint.taken());
    assert_eq!(bench.ask(Method::DELETE, &format!("/api/v1/hooks/{id}"), json!(null)).await.0, 200);
    assert_eq!(bench.ask(Method::DELETE, &format!("/api/v1/hooks/{id}"), json!(null)).await.0, 404);
    for action in ["hook.add", "hook.replay", "hook.remove"] {
        assert!(bench.audit_has(action).await, "{action}");
    }
}

#[tokio::test]
async fn a_hook_that_can_t_be_is_refused_and_one_on_a_private_address_is_told_nothing() {
    let mut tasks = JoinSet::new();
    let (endpoint, address) = Endpoint::start(&mut tasks).await;
    let bench = Bench::start().await;
    for (wish, says) in [
        (json!({ "url": "ftp://h/x" }), "url"),
        (json!({ "url": "https://h/x", "events": ["smoke"] }), "smoke"),
        (json!({ "url": "https://h/x", "device": "a b" }), "device"),
    ] {
        let (status, answer) = bench.ask(Method::POST, "/api/v1/hooks", wish.clone()).await;
        assert!(status == 400 && answer["error_message"].as_str().unwrap().contains(says), "{wish}: {status} {answer}");
    }
    assert_eq!(bench.ask(Method::POST, "/api/v1/hooks", json!({ "url": format!("http://{address}/hook") })).await.0, 201);
    add_device(&bench, "a").await;
    let mut error = Value::Null;
    for _ in 0..100 {
        error = bench.get("/api/v1/hooks").await["items"][0]["error"].clone();
        if !error.is_null() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(error.as_str().unwrap().contains("hooks.allow_private_addresses"), "{error}");
    assert_eq!(endpoint.taken(), []);
}
