//! Servers of others that are entered, and servers that are emptied: by the API and by the command line.

use crate::bench::{Bench, request};
use reqwest::Method;
use serde_json::{Value, json};
use sightline_cloud::admin::servers;

async fn server_of(bench: &Bench, number: &str) -> Value {
    let cam = sightline_signal::DeviceId::new("cam").unwrap();
    bench.request(&cam, &request(&cam, number)).await.1["rtmp_url"].clone()
}

#[tokio::test]
async fn a_server_that_is_entered_gets_cameras_one_that_is_drained_none_and_what_is_removed_is_gone() {
    let bench = Bench::start().await;
    let _cam = bench.add("cam").await;
    assert_eq!(server_of(&bench, "1").await, Value::Null, "there is none");
    let wish = json!({ "id": "yt", "name": "YouTube", "region": "eu", "rtmp_url": "rtmp://user:hunter2@a.example/live2?k=hunter2" });
    let (status, added) = bench.ask(Method::POST, "/api/v1/servers", wish.clone()).await;
    assert_eq!((status, &added["rtmp_url"]), (201, &json!("rtmp://a.example/live2")), "{added}");
    for (change, status) in [
        (json!({}), 409),
        (json!({ "id": "a b" }), 400),
        (json!({ "id": "b", "rtmp_url": "http://a.example/live" }), 400),
        (json!({ "id": "b", "name": "x".repeat(65) }), 400),
        (json!({ "id": "b", "port": 1 }), 422),
    ] {
        let mut wish = wish.clone();
        wish.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        assert_eq!(bench.ask(Method::POST, "/api/v1/servers", wish).await.0, status, "{change}");
    }
    assert_eq!(server_of(&bench, "2").await, "rtmp://user:hunter2@a.example/live2?k=hunter2/");
    bench.report("o1", "boot", json!([])).await;

    // Drained, without a body and with one; a camera is sent elsewhere, and the server says so.
    let drain = async |path: &str, body: Option<Value>| {
        let request = bench.http.post(bench.url(path));
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(drain("/api/v1/servers/yt/drain", None).await, 200);
    for number in ["3", "4", "5"] {
        assert_eq!(server_of(&bench, number).await, "rtmp://127.0.0.1:1935/live/");
    }
    let listed = bench.get("/api/v1/servers").await;
    assert_eq!((&listed["items"][0]["draining"], &listed["items"][1]["draining"]), (&json!(false), &json!(true)), "{listed}");
    assert_eq!(drain("/api/v1/servers/o1/drain", Some(json!({ "drain": true }))).await, 200);
    assert_eq!(server_of(&bench, "6").await, Value::Null, "both are emptied");
    assert_eq!(drain("/api/v1/servers/yt/drain", Some(json!({ "drain": false }))).await, 200);
    assert!(server_of(&bench, "7").await.as_str().unwrap().contains("a.example"));
    for (path, body, status) in [("nobody/drain", None, 404), ("yt/drain", Some(json!({ "drain": 1 })), 400), ("a%20b/drain", None, 404)] {
        assert_eq!(drain(&format!("/api/v1/servers/{path}"), body).await, status, "{path}");
    }

    assert_eq!(bench.ask(Method::DELETE, "/api/v1/servers/yt", json!(null)).await.0, 200);
    assert_eq!(bench.ask(Method::DELETE, "/api/v1/servers/yt", json!(null)).await.0, 404);
    assert_eq!(bench.ask(Method::DELETE, "/api/v1/servers/o1", json!(null)).await.0, 404, "an origin goes when it ends");
    assert_eq!(server_of(&bench, "8").await, Value::Null);
    for action in ["server.add", "server.drain", "server.remove"] {
        assert!(bench.audit_has(action).await, "{action}");
    }
    assert!(!format!("{added}{listed}{}", bench.get("/api/v1/audit").await).contains("hunter2"));
}

#[tokio::test]
async fn what_the_command_line_enters_and_drains_the_cloud_that_runs_follows() {
    let bench = Bench::start().await;
    let _cam = bench.add("cam").await;
    let new = servers::NewServer {
        id: "eu".into(),
        name: String::new(),
        region: "eu".into(),
        rtmp_url: "rtmp://a.example/live".into(),
        capacity_kbps: 0,
    };
    servers::add_server(bench.dir(), new.clone()).await.unwrap();
    assert!(servers::add_server(bench.dir(), new).await.is_err());
    let follows = async |number: &str, is_there: bool| {
        for attempt in 0.. {
            if server_of(&bench, &format!("{number}-{attempt}")).await.is_string() == is_there {
                return;
            }
            assert!(attempt < 50, "the cloud does not follow");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    follows("a", true).await;
    servers::drain_server(bench.dir(), "eu", true).await.unwrap();
    assert!(servers::list_servers(bench.dir()).await.unwrap()[0].draining);
    follows("b", false).await;
    servers::remove_server(bench.dir(), "eu").await.unwrap();
    assert!(servers::list_servers(bench.dir()).await.unwrap().is_empty());
}
