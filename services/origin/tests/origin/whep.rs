//! WHEP with a player of others.

use crate::clip::clip;
use crate::peers::Publisher;
use crate::tokens::Signer;
use crate::watcher::{Picture, Watcher};
use crate::{origin_with, until};
use reqwest::{Client, Method, StatusCode};
use sightline_origin::Origin;
use sightline_signal::playback_id;
use std::time::Duration;
use tempfile::TempDir;

/// Longer than any picture takes.
const LIMIT: Duration = Duration::from_secs(10);

async fn origin() -> (Origin, TempDir, Signer) {
    let signer = Signer::new("k1");
    let (origin, dir) = origin_with(&signer, |config| config.whep.listen = Some("127.0.0.1:0".parse().unwrap())).await;
    (origin, dir, signer)
}

async fn pictures(watcher: &mut Watcher, count: usize) -> Vec<Picture> {
    let mut found = vec![];
    while found.len() < count {
        found.push(watcher.picture(LIMIT).await.expect("a picture"));
    }
    found
}

/// The NAL units of a picture's slices.
fn slices(annex_b: &[u8]) -> Vec<Vec<u8>> {
    let units = sightline_media::annexb::NalUnits::new(annex_b).map(<[u8]>::to_vec);
    units.filter(|unit| matches!(unit[0] & 0x1f, 1 | 5)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_player_begins_with_the_group_of_pictures_and_stays_while_the_publisher_restarts() {
    let (origin, _dir, signer) = origin().await;
    let (rtmp, http, playback) = (origin.rtmp_addr(), origin.http_addr().unwrap(), playback_id("s1"));
    let mut first = Publisher::connect(rtmp, "live", &signer.name("s1", 1)).await.unwrap();
    assert!(first.stream_for(Duration::from_millis(400)).await);
    for by_tcp in [false, true] {
        let mut watcher = Watcher::connect(http, &playback, by_tcp).await.unwrap();
        let begin = pictures(&mut watcher, 8).await;
        assert!(begin[0].is_keyframe && begin.iter().all(|picture| picture.is_contiguous), "by TCP: {by_tcp}");
        let sent: Vec<Vec<Vec<u8>>> = clip()
            .frames
            .iter()
            .filter(|frame| frame.track.0 == 0)
            .map(|frame| {
                sightline_media::avc::NalUnits::new(&frame.payload, 4)
                    .filter(|unit| matches!(unit[0] & 0x1f, 1 | 5))
                    .map(<[u8]>::to_vec)
                    .collect()
            })
            .collect();
        for (at, picture) in begin.iter().enumerate() {
            assert_eq!(slices(&picture.annex_b), sent[at], "picture {at} comes byte for byte");
        }
    }
    let mut watcher = Watcher::connect(http, &playback, false).await.unwrap();
    let mut last = pictures(&mut watcher, 8).await.pop().unwrap().ticks;
    let name = signer.name("s1", 2);
    let publishing = async {
        let mut second = Publisher::connect(rtmp, "live", &name).await.unwrap();
        assert!(second.stream_for(Duration::from_millis(1500)).await);
        second
    };
    let watching = async {
        let mut key_frames = 0;
        while key_frames < 2 {
            let picture = watcher.picture(LIMIT).await.expect("pictures go on");
            assert!(picture.ticks > last && picture.ticks - last < 90_000 * 5, "{last} then {}", picture.ticks);
            last = picture.ticks;
            key_frames += u32::from(picture.is_keyframe);
        }
    };
    let (second, ()) = tokio::join!(publishing, watching);
    let metrics = reqwest::get(format!("http://{http}/metrics")).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("sightline_origin_viewers{protocol=\"whep\"} 3\n"), "{metrics}");
    second.close().await;
    drop(first);
    origin.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_player_loses_it_is_sent_again_and_no_picture_is_missing() {
    let (origin, _dir, signer) = origin().await;
    let (http, playback) = (origin.http_addr().unwrap(), playback_id("s1"));
    let mut publisher = Publisher::connect(origin.rtmp_addr(), "live", &signer.name("s1", 1)).await.unwrap();
    assert!(publisher.stream_for(Duration::from_millis(100)).await);
    let mut watcher = Watcher::connect(http, &playback, false).await.unwrap();
    watcher.loses_one_in = Some(9);
    let watching = async {
        // The last of the group of pictures that the player begins with has its own time, as has all that follows.
        let begin = pictures(&mut watcher, 3).await;
        assert!(begin[0].is_keyframe);
        let mut last = begin[2].ticks;
        while watcher.lost < 8 {
            let picture = watcher.picture(LIMIT).await.expect("pictures go on");
            assert!(picture.is_contiguous && (1..7201).contains(&(picture.ticks - last)), "{last} then {}", picture.ticks);
            last = picture.ticks;
        }
    };
    let publishing = publisher.stream_for(Duration::from_millis(2000));
    tokio::select! {
        () = watching => {}
        () = async {
            publishing.await;
            std::future::pending::<()>().await;
        } => {}
    }
    drop(publisher);
    origin.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_player_that_needs_a_key_frame_has_one_at_once_and_one_that_leaves_is_gone() {
    let (origin, _dir, signer) = origin().await;
    let (http, playback) = (origin.http_addr().unwrap(), playback_id("s1"));
    let mut publisher = Publisher::connect(origin.rtmp_addr(), "live", &signer.name("s1", 1)).await.unwrap();
    assert!(publisher.stream_for(Duration::from_millis(300)).await);
    let mut watcher = Watcher::connect(http, &playback, true).await.unwrap();
    let last = pictures(&mut watcher, 5).await.pop().unwrap();
    watcher.request_key_frame();
    assert!(watcher.answer.contains("a=ice-lite\r\n") && watcher.answer.contains(" tcptype passive\r\n"));
    // Nobody publishes: it is the key frame that is kept.
    let mut again = watcher.picture(LIMIT).await.expect("a picture");
    while !again.is_keyframe {
        again = watcher.picture(LIMIT).await.expect("a key frame");
    }
    assert!(again.ticks > last.ticks);

    let client = Client::new();
    let patch = |kind: &'static str, body: &'static str| client.patch(&watcher.session).header("content-type", kind).body(body).send();
    assert_eq!(patch("application/trickle-ice-sdpfrag", "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n").await.unwrap().status(), 204);
    assert_eq!(patch("application/trickle-ice-sdpfrag", "a=ice-ufrag:other\r\n").await.unwrap().status(), 422);
    assert_eq!(patch("text/plain", "").await.unwrap().status(), 415);
    assert_eq!(client.get(&watcher.session).send().await.unwrap().status(), 405);
    assert_eq!(client.delete(watcher.session.clone() + "x").send().await.unwrap().status(), 404);
    assert_eq!(client.delete(&watcher.session).send().await.unwrap().status(), 200);
    while watcher.is_alive() {
        watcher.picture(LIMIT).await;
    }
    until("nobody watches", async || {
        let metrics = reqwest::get(format!("http://{http}/metrics")).await.unwrap().text().await.unwrap();
        metrics.contains("sightline_origin_viewers{protocol=\"whep\"} 0\n")
    })
    .await;
    assert_eq!(client.delete(&watcher.session).send().await.unwrap().status(), 404);
    drop(publisher);
    origin.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_t_be_played_is_refused_in_words() {
    let (origin, _dir, signer) = origin().await;
    let (http, playback) = (origin.http_addr().unwrap(), playback_id("s1"));
    let refused = async |playback: &str, change: fn(String) -> String| {
        let (status, body) = Watcher::connect_with(http, playback, false, change).await.err().unwrap();
        (status.as_u16(), body["error_code"].as_str().unwrap().to_owned(), body["error_message"].as_str().unwrap().to_owned())
    };
    assert_eq!(refused(&playback, |offer| offer).await.0, 404);
    let mut publisher = Publisher::connect(origin.rtmp_addr(), "live", &signer.name("s1", 1)).await.unwrap();
    assert!(publisher.stream_for(Duration::from_millis(300)).await);
    let (status, code, words) = refused(&playback, |offer| offer.replace("H264", "H263")).await;
    assert!((status, code.as_str()) == (406, "CODEC_NOT_SUPPORTED") && words.contains("H.264") && words.contains("HLS"), "{words}");
    assert_eq!(refused(&playback, |_| "{}".to_owned()).await.0, 400);
    assert_eq!(refused(&playback, |offer| offer.replace("a=fingerprint", "a=x")).await.1, "BAD_OFFER");
    let url = format!("http://{http}/live/{playback}/whep");
    let plain = Client::new().post(&url).body(Watcher::new_offer()).send().await.unwrap();
    assert_eq!(plain.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let preflight = Client::new().request(Method::OPTIONS, &url).send().await.unwrap();
    assert_eq!(preflight.status(), 204);
    assert!(preflight.headers()["access-control-allow-methods"].to_str().unwrap().contains("POST"));
    assert_eq!(preflight.headers()["accept-post"], "application/sdp");

    let mut reordered = Publisher::connect(origin.rtmp_addr(), "live", &signer.name("s2", 1)).await.unwrap();
    for (at, mut frame) in clip().repeated().filter(|frame| frame.track.0 == 0).take(12).enumerate() {
        // A group of x264: every third is shown before the one that was decoded ahead of it.
        let delay = [80, 200, 40][at % 3];
        frame.pts = frame.dts + sightline_media::MediaTime::from_millis(delay);
        assert!(reordered.send(frame).await);
    }
    let playback = playback_id("s2");
    until("the stream", async || origin.streams().iter().any(|stream| stream.playback == playback.as_str())).await;
    let (status, _, words) = refused(&playback, |offer| offer).await;
    assert!(status == 406 && words.contains("B-frames") && words.contains("FLV"), "{status} {words}");
    drop((publisher, reordered));
    origin.shutdown().await;
}
