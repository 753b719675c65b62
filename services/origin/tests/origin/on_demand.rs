//! Cameras that start because someone watches.

use crate::cloud::Cloud;
use crate::peers::{Player, Publisher};
use crate::tokens::{Signer, play_claims};
use crate::{config, until};
use sightline_origin::{Config, Origin, Play};
use sightline_signal::PlaybackIds;
use sightline_signal::report::{WantedAnswer, WantedState};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// An origin, its cloud and the playback id of its stream `s1`.
struct Scene {
    signer: Signer,
    origin: Origin,
    cloud: Arc<Cloud>,
    playback: String,
    _dir: tempfile::TempDir,
    _tasks: JoinSet<()>,
}

impl Scene {
    async fn start(state: WantedState, change: impl FnOnce(&mut Config)) -> Self {
        let signer = Signer::new("k1");
        let (dir, mut tasks) = (tempfile::tempdir().unwrap(), JoinSet::new());
        let mut config = config(dir.path());
        config.auth.play = Some(Play::Open);
        change(&mut config);
        let cloud = Cloud::start(&signer, &mut config, &mut tasks).await;
        *cloud.wanted_answer.lock().unwrap() = WantedAnswer { state, ..WantedAnswer::default() };
        let origin = Origin::start(config).await.unwrap();
        until("the keys", async || dir.path().join("jwks.json").exists()).await;
        let playback = PlaybackIds::of_installation("cluster-secret").of("s1").as_str().to_owned();
        Self { signer, origin, cloud, playback, _dir: dir, _tasks: tasks }
    }

    fn url(&self, rest: &str) -> String {
        format!("http://{}/live/{}{rest}", self.origin.http_addr().unwrap(), self.playback)
    }

    fn questions(&self) -> usize {
        self.cloud.wanted.lock().unwrap().len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_of_a_sleeping_camera_wait_for_its_first_picture_by_every_way_and_are_one_question() {
    let scene = Scene::start(WantedState::Starting, |_| {}).await;
    let mut viewers = JoinSet::new();
    for _ in 0..50 {
        for rest in [".flv", "/index.m3u8", "/frames"] {
            // Frames have few readers.
            if rest == "/frames" && viewers.len() > 30 {
                continue;
            }
            let url = scene.url(rest);
            viewers.spawn(async move {
                let mut answer = reqwest::get(&url).await.unwrap();
                assert_eq!(answer.status(), 200, "{url}");
                assert!(answer.chunk().await.unwrap().is_some());
            });
        }
    }
    let (rtmp, name) = (scene.origin.rtmp_addr(), scene.playback.clone());
    viewers.spawn(async move { assert!(Player::connect(rtmp, &name).await.frame().await.is_keyframe) });
    until("the question", async || scene.questions() > 0).await;
    let mut camera = Publisher::connect(rtmp, "live", &scene.signer.name("s1", 1)).await.unwrap();
    let all = async {
        while let Some(viewer) = viewers.join_next().await {
            viewer.unwrap()
        }
    };
    tokio::select! {
        _ = camera.stream_for(Duration::from_secs(60)) => panic!("the viewers are still waiting"),
        () = all => {}
    }
    // One a second.
    assert!(scene.questions() <= 4, "{}", scene.questions());
    until("it is reported as watched", async || {
        let reports = scene.cloud.reports.lock().unwrap();
        reports.last().is_some_and(|report| report.streams.iter().any(|stream| stream.is_watched))
    })
    .await;
    scene.origin.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_sleeps_under_its_viewers_is_asked_for_again() {
    let scene = Scene::start(WantedState::Starting, |_| {}).await;
    let name = scene.signer.name("s1", 1);
    let mut camera = Publisher::connect(scene.origin.rtmp_addr(), "live", &name).await.unwrap();
    assert!(camera.stream_for(Duration::from_millis(200)).await);
    let mut viewer = Player::connect(scene.origin.rtmp_addr(), &scene.playback).await;
    viewer.frame().await;
    assert_eq!(scene.questions(), 0, "it is there");
    camera.close().await;
    until("the question", async || scene.questions() > 0).await;
    scene.origin.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_does_not_come_is_504_in_words_and_the_cloud_hears_of_it() {
    let scene = Scene::start(WantedState::Starting, |config| config.limits.start_wait_sec = 1).await;
    let (flv, playlist) = tokio::join!(reqwest::get(scene.url(".flv")), reqwest::get(scene.url("/index.m3u8")));
    for answer in [flv.unwrap(), playlist.unwrap()] {
        assert_eq!(answer.status(), 504);
        let text = answer.text().await.unwrap();
        assert!(text.contains("NOT_STARTED") && text.contains("did not start within 1 s"), "{text}");
    }
    assert!(scene.cloud.wanted.lock().unwrap().iter().any(|wanted| wanted.gave_up_after_sec == Some(1)));
    scene.origin.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_right_starts_nothing_and_ids_that_no_one_has_are_one_question_a_while() {
    let scene = Scene::start(WantedState::Unknown, |config| config.auth.play = Some(Play::Signed)).await;
    let right = scene.signer.sign(&play_claims(&scene.playback));
    for query in ["", "?token=wrong"] {
        assert_eq!(reqwest::get(scene.url(&format!(".flv{query}"))).await.unwrap().status(), 401);
        assert_eq!(reqwest::get(scene.url(&format!("/index.m3u8{query}"))).await.unwrap().status(), 401);
    }
    assert_eq!(scene.questions(), 0);
    for rest in [".flv", "/index.m3u8", "/snapshot.jpg", "/frames", ".flv"] {
        assert_eq!(reqwest::get(scene.url(&format!("{rest}?token={right}"))).await.unwrap().status(), 404, "{rest}");
    }
    let named = format!("{}?token={right}", scene.playback);
    assert_eq!(Player::connect(scene.origin.rtmp_addr(), &named).await.error().await, "NetStream.Play.StreamNotFound");
    assert_eq!(scene.questions(), 1, "the answer counts for a while");
    scene.origin.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_another_origin_has_is_there_for_who_asks_here() {
    let scene = Scene::start(WantedState::Elsewhere, |_| {}).await;
    scene.cloud.wanted_answer.lock().unwrap().http_url = "http://other.example:8080/".to_owned();
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let answer = client.get(scene.url("/index.m3u8?token=abc")).send().await.unwrap();
    let location = format!("http://other.example:8080/live/{}/index.m3u8?token=abc", scene.playback);
    assert_eq!((answer.status().as_u16(), answer.headers()["location"].to_str().unwrap()), (307, location.as_str()));
    scene.origin.shutdown().await;
}
