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

/// The names of a playlist: its lines that are no tags.
fn names(playlist: &str) -> Vec<&str> {
    playlist.lines().filter(|line| !line.starts_with('#')).collect()
}

/// RFC 8216bis §6.2.5.2 and §4.4.5.3; hls.js#760.
#[tokio::test(flavor = "multi_thread")]
async fn a_player_of_low_latency_hls_waits_for_what_it_names_and_learns_the_end() {
    let signer = Signer::new("k1");
    let (origin, _dir) = origin_with(&signer, |config| config.limits.publisher_grace_sec = 1).await;
    let mut camera = Publisher::connect(origin.rtmp_addr(), "live", &signer.name("s1", 1)).await.unwrap();
    let (http, playback) = (origin.http_addr().unwrap(), playback_id("s1"));
    let ask = async |file: &str| {
        let answer = reqwest::get(format!("http://{http}/live/{playback}/{file}")).await.unwrap();
        (answer.status().as_u16(), answer.bytes().await.unwrap())
    };
    let text = async |file: &str| {
        let (status, body) = ask(file).await;
        assert_eq!(status, 200, "{file}");
        String::from_utf8(body.to_vec()).unwrap()
    };
    let mut sending = tokio::task::JoinSet::new();
    sending.spawn(async move { camera.stream_for(Duration::from_millis(3500)).await });
    let first = text("index.m3u8").await;
    let sequence: u64 = first.lines().find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:")).unwrap().parse().unwrap();
    let next = sequence + names(&first).len() as u64;
    // The hint is answered once it is there, and so is the playlist that has it.
    let hint = first.split("PRELOAD-HINT:TYPE=PART,URI=\"").nth(1).unwrap().split('"').next().unwrap();
    let asked = format!("index.m3u8?_HLS_msn={next}&_HLS_part=0");
    let ((status, part), listed) = tokio::join!(ask(hint), text(&asked));
    assert!(status == 200 && part.get(4..8) == Some(b"moof") && listed.contains(&format!("part-{next}-0-")), "{listed}");
    let whole = text(&format!("index.m3u8?_HLS_msn={next}&_HLS_skip=YES")).await;
    assert!(names(&whole).len() > names(&first).len());
    assert!(whole.contains("#EXT-X-PROGRAM-DATE-TIME:20"));
    for (file, status) in
        [("index.m3u8?_HLS_part=1", 400), ("index.m3u8?_HLS_msn=x", 400), ("index.m3u8?_HLS_msn=99999999999", 400), ("seg-1.m4s", 404)]
    {
        assert_eq!(ask(file).await.0, status, "{file}");
    }
    assert!(sending.join_next().await.unwrap().unwrap());
    // It has hung up. Whoever waits for the next segment is held: another publisher may come, and if none does the list has its end.
    let stands = text("index.m3u8").await;
    let number = |tag: &str| stands.lines().find_map(|line| line.strip_prefix(tag)).unwrap().parse::<u64>().unwrap();
    let next = number("#EXT-X-MEDIA-SEQUENCE:") + names(&stands).len() as u64;
    let waited = text(&format!("index.m3u8?_HLS_msn={next}&_HLS_part=9")).await;
    assert!(waited.ends_with("#EXT-X-ENDLIST\n"), "{waited}");
    // It has hung up. Until its grace is over the playlist stands; then it has its end, and its last segments.
    let end = loop {
        let (status, body) = ask("index.m3u8").await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        let text = String::from_utf8(body.to_vec()).unwrap();
        if text.ends_with("#EXT-X-ENDLIST\n") {
            break text;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    for name in names(&end) {
        assert_eq!(ask(name).await.0, 200, "{name}");
    }
    origin.shutdown().await;
}
