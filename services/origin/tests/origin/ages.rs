//! How old pictures are: what the origin says of a camera that marks them, of one whose clock is wrong, and of one that does not.

use crate::origin_with;
use crate::peers::Publisher;
use crate::tokens::Signer;
use sightline_media::{CaptureMark, WallTime};
use sightline_origin::Play;
use sightline_signal::playback_id;
use std::time::{Duration, SystemTime};

fn wall_now() -> WallTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    WallTime::from_unix_micros(i64::try_from(since.as_micros()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_s_clock_says_when_its_newest_picture_was_captured_and_whose_word_that_is() {
    let signer = Signer::new("k1");
    let (origin, _dir) = origin_with(&signer, |_| {}).await;
    let http = origin.http_addr().unwrap();
    let ask = async |stream: &str, query: &str| {
        let answer = reqwest::get(format!("http://{http}/live/{}/clock{query}", playback_id(stream))).await.unwrap();
        (answer.status().as_u16(), answer.json::<serde_json::Value>().await.unwrap())
    };
    assert_eq!(ask("nobody", "").await.0, 404);
    let old = |ago_ms: i64| CaptureMark {
        captured: WallTime::from_unix_micros(wall_now().unix_micros - ago_ms * 1_000),
        clock_error_ms: Some(7),
        number: 1,
    };
    for (stream, mark, by, age_ms) in [
        ("marks", Some(old(700)), "camera", 700.0..3_000.0),
        ("marks_nothing", None, "arrival", 0.0..2_000.0),
        ("lives_in_1970", Some(old(1_700_000_000_000)), "arrival", 0.0..2_000.0),
    ] {
        let mut camera = Publisher::connect(origin.rtmp_addr(), "live", &signer.name(stream, 1)).await.unwrap();
        camera.mark(mark);
        assert!(camera.stream_for(Duration::from_millis(200)).await);
        let (status, told) = ask(stream, "?via=whep&age_ms=180").await;
        assert_eq!((status, &told["captured_by"]), (200, &by.into()), "{stream}: {told}");
        assert_eq!(told["clock_error_ms"], if by == "camera" { 7.into() } else { serde_json::Value::Null });
        let micros = |name: &str| told[name].as_f64().unwrap();
        let age = (micros("now_unix_us") - micros("captured_unix_us")) / 1_000.0;
        assert!(age_ms.contains(&age) && told["media_ticks"].is_i64(), "{stream}: {age} ms, {told}");
        drop(camera);
    }
    for query in ["?via=arrival", "?via=radio", "?age_ms=-1", "?age_ms=old"] {
        let (status, told) = ask("marks", query).await;
        assert!(status == 400 && told["error_code"] == "BAD_REQUEST", "{query}: {told}");
    }
    let metrics = reqwest::get(format!("http://{http}/metrics")).await.unwrap().text().await.unwrap();
    let value = |name: &str| -> f64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name} in {metrics}"));
        line.trim().parse().unwrap()
    };
    let family = "sightline_origin_picture_age_seconds";
    assert_eq!(value(&format!("{family}_count{{path=\"whep\"}}")), 3.0);
    assert_eq!(value(&format!("{family}_bucket{{path=\"whep\",le=\"0.15\"}}")), 0.0);
    assert_eq!(value(&format!("{family}_bucket{{path=\"whep\",le=\"0.2\"}}")), 3.0);
    assert_eq!(value(&format!("{family}_bucket{{path=\"arrival\",le=\"0.5\"}}")), 0.0, "those that were believed are 0.7 s old");
    assert!(value(&format!("{family}_count{{path=\"arrival\"}}")) >= 2.0);
    origin.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_watch_is_not_told_how_old_the_picture_is() {
    let signer = Signer::new("k1");
    let (origin, _dir) = origin_with(&signer, |config| config.auth.play = Some(Play::Signed)).await;
    let mut camera = Publisher::connect(origin.rtmp_addr(), "live", &signer.name("s1", 1)).await.unwrap();
    assert!(camera.stream_for(Duration::from_millis(100)).await);
    let url = format!("http://{}/live/{}/clock", origin.http_addr().unwrap(), playback_id("s1"));
    let answer = reqwest::get(url).await.unwrap();
    assert_eq!(answer.status(), 401);
    drop(camera);
    origin.shutdown().await;
}
