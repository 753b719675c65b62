//! Who may watch, by every way out.

use crate::cloud::Cloud;
use crate::peers::{Player, Publisher};
use crate::tokens::{Signer, now, play_claims};
use crate::vod::device;
use crate::watcher::Watcher;
use crate::{config, until};
use sightline_origin::{App, Origin, Play, Relay};
use sightline_rtmp::player::Event;
use sightline_signal::PlayClaims;
use sightline_signal::PlaybackIds;
use sightline_signal::report::{PlaybackKey, PlaybackKeys};
use std::time::Duration;

/// The answer by each way: FLV, the three playlists, snapshot, frames, the clock, what was recorded, WHEP, RTMP.
async fn answers(origin: &Origin, playback: &str, token: &str) -> [bool; 10] {
    let http = origin.http_addr().unwrap();
    let query = if token.is_empty() { String::new() } else { format!("?token={token}") };
    let ask = async |path: &str| {
        let answer = reqwest::get(format!("http://{http}/live/{playback}{path}{query}")).await.unwrap();
        let is_good = answer.status().is_success();
        // FLV has no end; errors have.
        if is_good {
            return true;
        }
        // A picture of zeros is none, and a playlist may not be there yet: but the right was good.
        let text = answer.text().await.unwrap();
        ["NO_PICTURE", "NOT_READY"].iter().any(|code| text.contains(code))
    };
    let mut player = Player::connect(origin.rtmp_addr(), &format!("{playback}{query}")).await;
    let plays = tokio::time::timeout(Duration::from_secs(5), async {
        loop {
            match player.next().await {
                Some(Event::Frame(_)) => return true,
                Some(_) => {}
                None => return false,
            }
        }
    });
    let offer = reqwest::Client::new().post(format!("http://{http}/live/{playback}/whep{query}")).header("content-type", "application/sdp");
    let whep = offer.body(Watcher::new_offer()).send().await.unwrap().status() == 201;
    let recorded = reqwest::get(format!("http://{http}/vod/{}/list{query}", device())).await.unwrap().status() == 200;
    let [whole, sound, ts] = [ask("/index.m3u8").await, ask("/audio.m3u8").await, ask("/ts.m3u8").await];
    let [flv, snapshot, frames] = [ask(".flv").await, ask("/snapshot.jpg").await, ask("/frames").await];
    [flv, whole, sound, ts, snapshot, frames, ask("/clock").await, recorded, whep, plays.await.unwrap_or(false)]
}

#[tokio::test(flavor = "multi_thread")]
async fn open_signed_and_closed_by_every_way_out() {
    let signer = Signer::new("k1");
    let playback = PlaybackIds::of_installation("cluster-secret").of("s1");
    let right = signer.sign(&play_claims(&playback));
    let expired = signer.sign(&PlayClaims { expires_at: now() - 1, ..play_claims(&playback) });
    let wrong = Signer::new("k1").sign(&play_claims(&playback));
    let elsewhere = signer.sign(&PlayClaims { address: "192.0.2.1".try_into().unwrap(), ..play_claims(&playback) });
    for (rule, expected) in [(Play::Open, [true; 5]), (Play::Signed, [true, false, false, false, false]), (Play::Closed, [false; 5])] {
        let (dir, mut tasks) = (tempfile::tempdir().unwrap(), tokio::task::JoinSet::new());
        let mut config = config(dir.path());
        config.auth.play = Some(rule);
        let _cloud = Cloud::start(&signer, &mut config, &mut tasks).await;
        let origin = Origin::start(config).await.unwrap();
        until("the keys", async || dir.path().join("jwks.json").exists()).await;
        let mut camera = Publisher::connect(origin.rtmp_addr(), "live", &signer.name("s1", 5)).await.unwrap();
        let watched = async {
            until("something is recorded", async || dir.path().join("recordings").join(device()).exists()).await;
            for (token, expected) in [right.as_str(), "", &expired, &wrong, &elsewhere].into_iter().zip(expected) {
                assert_eq!(answers(&origin, &playback, token).await, [expected; 10], "{rule:?} {token}");
            }
        };
        tokio::select! {
            _ = camera.stream_for(Duration::from_secs(120)) => panic!("the camera ended"),
            () = watched => {}
        }
        drop(camera);
        origin.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_revoked_cuts_off_whoever_watches_with_it_and_its_playlists_carry_it() {
    let signer = Signer::new("k1");
    let playback = PlaybackIds::of_installation("cluster-secret").of("s1");
    let (dir, mut tasks) = (tempfile::tempdir().unwrap(), tokio::task::JoinSet::new());
    let mut config = config(dir.path());
    (config.auth.play, config.http.hls_segment_sec) = (Some(Play::Signed), 1);
    let cloud = Cloud::start(&signer, &mut config, &mut tasks).await;
    // SHA-256 of "secret-a".
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"secret-a");
    let sha256 = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let key = PlaybackKey { id: "a".into(), sha256, playback: playback.as_str().into(), ..PlaybackKey::default() };
    cloud.answer.lock().unwrap().playback_keys = Some(PlaybackKeys { version: 1, keys: vec![key] });
    let origin = Origin::start(config).await.unwrap();
    until("the keys", async || dir.path().join("playback-keys.json").exists()).await;
    let mut camera = Publisher::connect(origin.rtmp_addr(), "live", &signer.name("s1", 5)).await.unwrap();
    let watched = async {
        let http = origin.http_addr().unwrap();
        let url = |path: &str| format!("http://{http}/live/{playback}{path}?token=secret-a");
        let playlist = reqwest::get(url("/index.m3u8")).await.unwrap().text().await.unwrap();
        let segment = playlist
            .lines()
            .find(|line| line.starts_with("seg-") || line.starts_with("#EXT-X-MAP"))
            .unwrap_or_else(|| panic!("{playlist}"));
        assert!(segment.contains("?token=secret-a"), "{playlist}");
        let mut flv = reqwest::get(url(".flv")).await.unwrap();
        let mut player = Player::connect(origin.rtmp_addr(), &format!("{playback}?token=secret-a")).await;
        player.frame().await;
        assert!(flv.chunk().await.unwrap().is_some());
        let mut watcher = Watcher::connect(http, &format!("{playback}?token=secret-a"), true).await.ok().unwrap();
        assert!(watcher.picture(Duration::from_secs(10)).await.is_some());
        until("its last use is reported", async || {
            let reports = cloud.reports.lock().unwrap();
            reports.iter().flat_map(|report| &report.played).any(|used| used.id == "a" && used.address == "127.0.0.1")
        })
        .await;
        cloud.answer.lock().unwrap().playback_keys = Some(PlaybackKeys { version: 2, keys: vec![] });
        // All end, within a report's interval.
        while flv.chunk().await.is_ok_and(|chunk| chunk.is_some()) {}
        while player.next().await.is_some() {}
        while watcher.picture(Duration::from_secs(5)).await.is_some() {}
        assert!(!watcher.is_alive());
        assert_eq!(reqwest::get(url("/index.m3u8")).await.unwrap().status(), 401);
        assert_eq!(origin.streams().len(), 1, "the stream goes on");
    };
    tokio::select! {
        _ = camera.stream_for(Duration::from_secs(60)) => panic!("the camera ended"),
        () = watched => {}
    }
    drop(camera);
    origin.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_and_relays_change_while_a_stream_runs_and_other_settings_need_a_new_start() {
    let signer = Signer::new("k1");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("jwks.json"), serde_json::to_vec(&signer.jwks()).unwrap()).unwrap();
    let mut settings = config(dir.path());
    settings.auth.play = Some(Play::Open);
    let mut origin = Origin::start(settings.clone()).await.unwrap();
    let (target_dir, mut target_settings) = (tempfile::tempdir().unwrap(), config(dir.path()));
    (target_settings.data_dir, target_settings.auth.allow_unsigned_publish) = (target_dir.path().to_owned(), true);
    let target = Origin::start(target_settings).await.unwrap();
    let mut camera = Publisher::connect(origin.rtmp_addr(), "live", &signer.name("s1", 5)).await.unwrap();
    let playback = sightline_signal::playback_id("s1");
    let watched = async {
        let mut viewer = Player::connect(origin.rtmp_addr(), &playback).await;
        viewer.frame().await;
        settings.apps = vec![App { name: "live".into(), rules: vec!["deny play all".into()] }];
        let url = format!("rtmp://{}/live/copy", target.rtmp_addr());
        settings.relays = vec![Relay { name: "copy".into(), streams: "*".into(), url: url.as_str().into(), ca: None, device: None }];
        assert!(origin.change(&settings));
        let asked = format!("http://{}/live/{playback}/snapshot.jpg", origin.http_addr().unwrap());
        assert_eq!(reqwest::get(&asked).await.unwrap().status(), 403, "who comes now is refused");
        until("the relay feeds its target", async || target.streams().iter().any(|stream| stream.stream == "copy")).await;
        viewer.frame().await;
        settings.apps.clear();
        settings.relays.clear();
        assert!(origin.change(&settings));
        until("whoever comes now may play", async || reqwest::get(&asked).await.unwrap().status() != 403).await;
        until("the relay has ended", async || target.streams().is_empty()).await;
        viewer.frame().await;
        settings.rtmp.chunk_size = 8192;
        assert!(!origin.change(&settings), "that is agreed with each connection");
        assert_eq!(origin.streams().len(), 1);
    };
    tokio::select! {
        _ = camera.stream_for(Duration::from_secs(120)) => panic!("the camera ended"),
        () = watched => {}
    }
    drop(camera);
    origin.shutdown().await;
    target.shutdown().await;
}
