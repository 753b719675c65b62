//! The HTTP port: TLS, pages of other sites, and the form of errors.

use crate::certificate::{connect, write};
use crate::origin_with;
use crate::peers::Publisher;
use crate::tokens::Signer;
use reqwest::Method;
use sightline_signal::playback_id;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test(flavor = "multi_thread")]
async fn one_port_takes_http_and_https_with_the_certificate_of_rtmps() {
    let dir = tempfile::tempdir().unwrap();
    let trusted = write(dir.path());
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let (origin, _dir) = origin_with(&Signer::new("k1"), |config| (config.rtmps.cert, config.rtmps.key) = (Some(cert), Some(key))).await;
    let http = origin.http_addr().unwrap();
    let mut secure = connect(http, &trusted).await.unwrap();
    secure.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    // The end may come without TLS's goodbye.
    let _ = secure.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");
    assert_eq!(reqwest::get(format!("http://{http}/healthz")).await.unwrap().status(), 200);
    origin.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_anywhere_may_play_and_errors_have_one_form() {
    let signer = Signer::new("k1");
    let (origin, _dir) = origin_with(&signer, |_| {}).await;
    let mut camera = Publisher::connect(origin.rtmp_addr(), "live", &signer.name("s1", 1)).await.unwrap();
    assert!(camera.stream_for(Duration::from_millis(200)).await);
    let (client, playback) = (reqwest::Client::new(), playback_id("s1"));
    let ask = async |method: Method, path: &str| {
        let url = format!("http://{}{path}", origin.http_addr().unwrap());
        client.request(method, url).header("origin", "https://page.example").send().await.unwrap()
    };
    for path in [format!("/live/{playback}.flv"), format!("/live/{playback}/index.m3u8"), "/live/unknown/x".into(), "/live/a/b/c".into()] {
        let preflight = ask(Method::OPTIONS, &path).await;
        assert_eq!(
            (preflight.status().as_u16(), &preflight.headers()["access-control-allow-origin"]),
            (204, &"*".parse().unwrap()),
            "{path}"
        );
        assert!(preflight.headers()["access-control-allow-methods"].to_str().unwrap().contains("GET"));
    }
    let head = ask(Method::HEAD, &format!("/live/{playback}.flv")).await;
    assert_eq!((head.status().as_u16(), &head.headers()["content-type"]), (200, &"video/x-flv".parse().unwrap()));
    for (method, path, status, code) in [
        (Method::GET, "/live/unknown.flv", 404, "NOT_FOUND"),
        (Method::GET, "/live/unknown/index.m3u8", 404, "NOT_FOUND"),
        (Method::GET, "/live/a/b/c", 404, "NOT_FOUND"),
        (Method::GET, "/nothing", 404, "NOT_FOUND"),
        (Method::POST, "/live/unknown.flv", 405, "METHOD_NOT_ALLOWED"),
        (Method::DELETE, "/healthz", 405, "METHOD_NOT_ALLOWED"),
    ] {
        let answer = ask(method.clone(), path).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (status, &"application/json".parse().unwrap()),
            "{method} {path}"
        );
        assert_eq!(answer.headers().contains_key("access-control-allow-origin"), path.starts_with("/live/"), "{path}");
        let body: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(body["error_code"], code);
        assert!(!body["error_message"].as_str().unwrap().is_empty());
    }
    drop(camera);
    origin.shutdown().await;
}
