//! Two that publish with one token.

use crate::cloud::Cloud;
use crate::peers::{Player, Publisher};
use crate::tokens::Signer;
use crate::{config, origin_with, until};
use sightline_origin::Origin;
use sightline_signal::playback_id;
use std::time::Duration;

/// What `/metrics` counts of duels.
async fn duels(origin: &Origin) -> String {
    let metrics = reqwest::get(format!("http://{}/metrics", origin.http_addr().unwrap())).await.unwrap().text().await.unwrap();
    metrics.lines().find_map(|line| line.strip_prefix("sightline_origin_duels_total ")).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thief_is_refused_while_the_camera_sends_and_the_cloud_hears_both_addresses() {
    let signer = Signer::new("k1");
    let (dir, mut tasks) = (tempfile::tempdir().unwrap(), tokio::task::JoinSet::new());
    let mut config = config(dir.path());
    let cloud = Cloud::start(&signer, &mut config, &mut tasks).await;
    let origin = Origin::start(config).await.unwrap();
    until("the keys", async || dir.path().join("jwks.json").exists()).await;
    let (rtmp, name) = (origin.rtmp_addr(), signer.name("s1", 5));
    let mut camera = Publisher::connect(rtmp, "live", &name).await.unwrap();
    let (goes_on, stolen) =
        tokio::join!(camera.stream_for(Duration::from_millis(1200)), Publisher::connect_from("127.0.0.2", rtmp, "live", &name));
    let (code, words) = stolen.err().expect("the camera sends");
    assert!(goes_on && code == "NetStream.Publish.BadName" && words.contains("same token"), "{code}: {words}");
    until("the report", async || cloud.reports.lock().unwrap().iter().any(|report| !report.duels.is_empty())).await;
    let duel = cloud.reports.lock().unwrap().iter().find_map(|report| report.duels.first().cloned()).unwrap();
    assert_eq!((duel.stream.as_str(), duel.device.as_str(), duel.epoch, duel.attempts), ("s1", "cam-1", 5, 1));
    assert!(duel.holder.starts_with("127.0.0.1:") && duel.rival.starts_with("127.0.0.2:"), "{duel:?}");
    // The camera is away for longer than a reconnect takes: the token is known to be stolen, and good from its address alone.
    drop(camera);
    until("its end", async || origin.streams().is_empty()).await;
    assert!(Publisher::connect_from("127.0.0.2", rtmp, "live", &name).await.is_err());
    let camera = Publisher::connect(rtmp, "live", &name).await.unwrap();
    drop(camera);
    // With a fresh one it may be anywhere.
    assert!(Publisher::connect_from("127.0.0.3", rtmp, "live", &signer.name("s1", 6)).await.is_ok());
    assert_eq!(duels(&origin).await, "2");
    origin.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_has_only_changed_its_address_has_its_stream_back_and_is_no_thief() {
    let signer = Signer::new("k1");
    let (origin, _dir) = origin_with(&signer, |_| {}).await;
    let (rtmp, name) = (origin.rtmp_addr(), signer.name("s1", 5));
    let mut camera = Publisher::connect(rtmp, "live", &name).await.unwrap();
    assert!(camera.stream_for(Duration::from_millis(300)).await);
    let mut viewer = Player::connect(rtmp, &playback_id("s1")).await;
    viewer.frame().await;
    // Its old connection stays half open: nobody says that it has ended.
    let mut moved = Publisher::connect_from("127.0.0.2", rtmp, "live", &name).await.unwrap();
    assert!(camera.ended().await, "the old one is told, should it be there");
    assert!(moved.stream_for(Duration::from_millis(300)).await);
    viewer.frame().await;
    assert_eq!(duels(&origin).await, "0");
    drop((moved, viewer));
    origin.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thief_behind_the_camera_s_own_address_loses_to_the_fresh_token_and_is_reported() {
    let signer = Signer::new("k1");
    let (origin, _dir) = origin_with(&signer, |_| {}).await;
    let (rtmp, name) = (origin.rtmp_addr(), signer.name("s1", 5));
    let mut camera = Publisher::connect(rtmp, "live", &name).await.unwrap();
    assert!(camera.stream_for(Duration::from_millis(300)).await);
    let mut thief = Publisher::connect(rtmp, "live", &name).await.unwrap();
    assert!(camera.ended().await);
    assert!(thief.stream_for(Duration::from_millis(100)).await);
    let mut camera = Publisher::connect(rtmp, "live", &signer.name("s1", 6)).await.unwrap();
    assert!(thief.ended().await);
    assert!(camera.stream_for(Duration::from_millis(100)).await);
    assert!(Publisher::connect(rtmp, "live", &name).await.is_err(), "its token is void");
    assert_eq!(duels(&origin).await, "1");
    drop(camera);
    origin.shutdown().await;
}

/// A token that was refreshed in the running stream, and that the camera has not shown yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_thief_with_a_newer_token_loses_to_the_next_one_and_is_reported() {
    let signer = Signer::new("k1");
    let (origin, _dir) = origin_with(&signer, |_| {}).await;
    let rtmp = origin.rtmp_addr();
    let mut camera = Publisher::connect(rtmp, "live", &signer.name("s1", 5)).await.unwrap();
    let stolen = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        Publisher::connect_from("127.0.0.2", rtmp, "live", &signer.name("s1", 6)).await.unwrap()
    };
    let (_, mut thief) = tokio::join!(camera.stream_for(Duration::from_secs(5)), stolen);
    assert!(thief.stream_for(Duration::from_millis(100)).await);
    let camera = Publisher::connect(rtmp, "live", &signer.name("s1", 7)).await.unwrap();
    assert!(thief.ended().await);
    assert_eq!(duels(&origin).await, "1");
    drop(camera);
    origin.shutdown().await;
}
