//! Streams that go on to other servers.

use crate::certificate;
use crate::cloud::Cloud;
use crate::peers::{Player, Publisher};
use crate::tokens::Signer;
use crate::{config, origin_with, until};
use interop::process::free_port;
use sightline_origin::{Origin, Relay};
use sightline_signal::playback_id;
use sightline_signal::report::{RelayRule, RelayRules, RelayTarget};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpListener;

fn relay(name: &str, to: SocketAddr, key: &str) -> Relay {
    Relay { name: name.into(), streams: "s1".into(), url: format!("rtmp://{to}/live/{key}").as_str().into(), ca: None, device: None }
}

/// A server that takes whoever is on this machine, in a directory of its own.
async fn target(rtmp: Option<SocketAddr>) -> (Origin, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    (config.auth.allow_unsigned_publish, config.record.enabled) = (true, false);
    if let Some(rtmp) = rtmp {
        config.rtmp.listen = rtmp;
    }
    (Origin::start(config).await.unwrap(), dir)
}

fn has(origin: &Origin, name: &str) -> bool {
    origin.streams().iter().any(|stream| stream.stream == name && stream.fps > 0.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_to_its_targets_and_one_that_returns_is_fed_again_whatever_the_others_do() {
    let (first, _first_dir) = target(None).await;
    // It comes back where it was: on a port that no connection is given meanwhile.
    let second_addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let (second, _second_dir) = target(Some(second_addr)).await;
    // One that accepts and says nothing, one that refuses, one whose name does not resolve.
    let stalls = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (stalls_addr, refuses_addr) = (stalls.local_addr().unwrap(), SocketAddr::from(([127, 0, 0, 1], free_port())));
    let unknown =
        Relay { name: "unknown".into(), streams: "*".into(), url: "rtmp://nowhere.invalid/live/x".into(), ca: None, device: None };
    let relays = vec![
        relay("stalls", stalls_addr, "x"),
        relay("refuses", refuses_addr, "x"),
        unknown,
        relay("first", first.rtmp_addr(), "copy"),
        relay("second", second_addr, "copy"),
        Relay { streams: "other".into(), ..relay("other", first.rtmp_addr(), "not-this") },
    ];
    let signer = Signer::new("k1");
    let (origin, _dir) = origin_with(&signer, |config| config.relays = relays).await;
    let mut camera = Publisher::connect(origin.rtmp_addr(), "live", &signer.name("s1", 5)).await.unwrap();
    let watched = async {
        until("both targets have it", async || has(&first, "copy") && has(&second, "copy")).await;
        let mut viewer = Player::connect(first.rtmp_addr(), &playback_id("copy")).await;
        for _ in 0..20 {
            viewer.frame().await;
        }
        assert!(!has(&first, "not-this"));
        let publishing = async |origin: &Origin| {
            let metrics = reqwest::get(format!("http://{}/metrics", origin.http_addr().unwrap())).await.unwrap().text().await.unwrap();
            metrics
                .lines()
                .find_map(|line| line.strip_prefix("sightline_origin_relays{state=\"publishing\"} ")?.parse::<u32>().ok())
                .unwrap()
        };
        assert_eq!(publishing(&origin).await, 2);
        // One goes away, and comes back where it was.
        second.shutdown().await;
        until("its loss is seen", async || publishing(&origin).await == 1).await;
        let (second, _dir) = target(Some(second_addr)).await;
        until("it is fed again", async || has(&second, "copy")).await;
        viewer.frame().await;
        second.shutdown().await;
    };
    tokio::select! {
        _ = camera.stream_for(Duration::from_secs(120)) => panic!("the camera ended"),
        () = watched => {}
    }
    drop(camera);
    origin.shutdown().await;
    first.shutdown().await;
    drop(stalls);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_by_rtmps_with_an_authority_of_its_own_gets_the_stream_and_no_other_is_trusted() {
    let dir = tempfile::tempdir().unwrap();
    certificate::write(dir.path());
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let ca = cert.clone();
    let (target, _target_dir) = origin_with(&Signer::new("k1"), |config| {
        (config.auth.allow_unsigned_publish, config.record.enabled) = (true, false);
        (config.rtmps.cert, config.rtmps.key) = (Some(cert), Some(key));
    })
    .await;
    let port = target.rtmps_addr().unwrap().port();
    let relay = |name: &str, ca: Option<PathBuf>| {
        let url = format!("rtmps://localhost:{port}/live/{name}").as_str().into();
        Relay { name: name.into(), streams: "*".into(), url, ca, device: None }
    };
    let relays = vec![relay("trusted", Some(ca)), relay("stranger", None)];
    let signer = Signer::new("k1");
    let (origin, _dir) = origin_with(&signer, |config| config.relays = relays).await;
    let mut camera = Publisher::connect(origin.rtmp_addr(), "live", &signer.name("s1", 5)).await.unwrap();
    tokio::select! {
        _ = camera.stream_for(Duration::from_secs(120)) => panic!("the camera ended"),
        () = until("the target has it", async || has(&target, "trusted")) => {}
    }
    assert!(!has(&target, "stranger"));
    drop(camera);
    origin.shutdown().await;
    target.shutdown().await;
    let relays = vec![relay("r", Some(dir.path().join("none.pem")))];
    let wrong = sightline_origin::Config { relays, ..sightline_origin::Config::default() };
    assert!(Origin::check(&wrong).unwrap_err().to_string().starts_with("relays: "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_of_the_cloud_s_begins_with_its_list_and_ends_with_it_while_the_stream_goes_on() {
    let (first, _first_dir) = target(None).await;
    let signer = Signer::new("k1");
    let (dir, mut tasks) = (tempfile::tempdir().unwrap(), tokio::task::JoinSet::new());
    let mut config = config(dir.path());
    let cloud = Cloud::start(&signer, &mut config, &mut tasks).await;
    let origin = Origin::start(config).await.unwrap();
    until("the keys are here", async || dir.path().join("jwks.json").exists()).await;
    let mut camera = Publisher::connect(origin.rtmp_addr(), "live", &signer.name("s1", 5)).await.unwrap();
    let answer = |rules: Option<RelayRules>| cloud.answer.lock().unwrap().relays = rules;
    let last = || cloud.reports.lock().unwrap().last().unwrap().clone();
    let watched = async {
        until("its stream is told", async || last().streams.len() == 1).await;
        let device = last().streams[0].device.clone();
        let rule = |name: &str, device: &str| RelayRule {
            name: name.into(),
            device: device.into(),
            url: RelayTarget::new(format!("rtmp://{}/live/{name}", first.rtmp_addr())),
            ..RelayRule::default()
        };
        answer(Some(RelayRules { version: 3, rules: vec![rule("copy", &device), rule("not-this", "another")] }));
        until("the target has it", async || has(&first, "copy")).await;
        until("its state is told", async || {
            last().relays_version == Some(3)
                && last().streams.iter().any(|stream| stream.relays.iter().any(|relay| relay.state == "publishing"))
        })
        .await;
        assert!(!has(&first, "not-this"));
        answer(Some(RelayRules { version: 4, rules: Vec::new() }));
        until("it has ended", async || last().relays_version == Some(4) && last().streams.iter().all(|stream| stream.relays.is_empty()))
            .await;
        assert_eq!(last().streams.len(), 1, "the stream goes on");
    };
    tokio::select! {
        _ = camera.stream_for(Duration::from_secs(120)) => panic!("the camera ended"),
        () = watched => {}
    }
    drop(camera);
    origin.shutdown().await;
    first.shutdown().await;
}
