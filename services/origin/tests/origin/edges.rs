//! Origins that take streams from other origins.

use crate::cloud::Cloud;
use crate::peers::{Monotone, Player, Publisher};
use crate::tokens::{Signer, play_claims};
use crate::watcher::Watcher;
use crate::{config, until};
use interop::process::free_port;
use sightline_media::Frame;
use sightline_origin::{Config, Origin, Play};
use sightline_rtmp::flv::{Event, Reader};
use sightline_signal::report::{WantedAnswer, WantedState};
use sightline_signal::{PlaybackIds, playback_id};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::task::JoinSet;

/// An origin by itself that takes whoever is on this machine.
async fn origin(change: impl FnOnce(&mut Config)) -> (Origin, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    (config.auth.allow_unsigned_publish, config.record.enabled) = (true, false);
    change(&mut config);
    (Origin::start(config).await.unwrap(), dir)
}

fn address(origin: &Origin) -> String {
    format!("http://{}", origin.http_addr().unwrap())
}

async fn edge_of(upstreams: &[String], change: impl FnOnce(&mut Config)) -> (Origin, TempDir) {
    origin(|config| {
        config.edge.upstreams = upstreams.to_vec();
        config.edge.linger_sec = 1;
        change(config);
    })
    .await
}

async fn get(origin: &Origin, rest: &str) -> reqwest::Response {
    reqwest::get(format!("{}/live/{rest}", address(origin))).await.unwrap()
}

/// A number among what an origin measures.
async fn measured(origin: &Origin, name: &str) -> u64 {
    let metrics = reqwest::get(format!("{}/metrics", address(origin))).await.unwrap().text().await.unwrap();
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
    line.unwrap_or_else(|| panic!("{name}: {metrics}")).parse().unwrap()
}

/// A viewer by HTTP-FLV.
struct FlvViewer {
    answer: reqwest::Response,
    reader: Reader,
    frames: VecDeque<Frame<bytes::Bytes>>,
}

impl FlvViewer {
    async fn come(origin: &Origin, playback: &str) -> Self {
        let answer = get(origin, &format!("{playback}.flv")).await;
        assert_eq!(answer.status(), 200);
        Self { answer, reader: Reader::new(1 << 24), frames: VecDeque::new() }
    }

    /// The next frame; `None` at the end.
    async fn frame(&mut self) -> Option<Frame<bytes::Bytes>> {
        while self.frames.is_empty() {
            let bytes = tokio::time::timeout(Duration::from_secs(15), self.answer.chunk()).await.expect("nothing comes").unwrap()?;
            self.reader.handle_bytes(&bytes).unwrap();
            while let Some(event) = self.reader.poll_event() {
                if let Event::Frame(frame) = event {
                    self.frames.push_back(frame);
                }
            }
        }
        self.frames.pop_front()
    }
}

/// Runs something while cameras stream.
async fn meanwhile<T>(cameras: impl Future<Output = bool>, act: impl Future<Output = T>) -> T {
    tokio::select! {
        _ = cameras => panic!("a camera has ended"),
        done = act => done,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_plays_by_every_way_what_an_upstream_has_once_for_all_and_drops_it_after_the_last_viewer() {
    let (upstream, _dir) = origin(|_| {}).await;
    let (nobody, _nobody_dir) = origin(|_| {}).await;
    let off = format!("http://127.0.0.1:{}", free_port());
    let (edge, _edge_dir) = edge_of(&[off, address(&nobody), address(&upstream)], |_| {}).await;
    let playback = playback_id("s1");
    let mut camera = Publisher::connect(upstream.rtmp_addr(), "live", "s1").await.unwrap();
    let watch = async {
        let mut viewers = JoinSet::new();
        let base = format!("{}/live/{playback}", address(&edge));
        for rest in [".flv", "/index.m3u8", "/snapshot.jpg", "/frames"].into_iter().cycle().take(40) {
            let url = format!("{base}{rest}");
            viewers.spawn(async move {
                let mut answer = reqwest::get(&url).await.unwrap();
                assert_eq!(answer.status(), 200, "{url}");
                assert!(answer.chunk().await.unwrap().is_some());
            });
        }
        let mut player = Player::connect(edge.rtmp_addr(), &playback).await;
        assert!(player.frame().await.is_keyframe);
        let mut whep = Watcher::connect(edge.http_addr().unwrap(), &playback, false).await.unwrap_or_else(|why| panic!("{why:?}"));
        assert!(whep.picture(Duration::from_secs(5)).await.is_some());
        while let Some(viewer) = viewers.join_next().await {
            viewer.unwrap();
        }
        // One viewer there for all of them here, and no publisher here.
        assert_eq!(upstream.streams()[0].viewers, 1);
        assert!(edge.streams().is_empty());
        assert_eq!(measured(&edge, "sightline_origin_streams").await, 0);
        assert_eq!(measured(&edge, "sightline_origin_pulls{state=\"pulling\"}").await, 1);
        assert_eq!(measured(&edge, "sightline_origin_pulls_total").await, 1);
        assert_eq!(reqwest::Client::new().delete(&whep.session).send().await.unwrap().status(), 200);
        drop((player, whep));
        until("it is dropped", async || upstream.streams()[0].viewers == 0).await;
        assert_eq!(measured(&edge, "sightline_origin_pulls{state=\"pulling\"}").await, 0);
        // And begins anew with the next viewer, by HLS too, whose playlist of before has its end.
        let playlist = get(&edge, &format!("{playback}/index.m3u8")).await.text().await.unwrap();
        assert!(!playlist.contains("#EXT-X-ENDLIST"), "{playlist}");
        assert!(FlvViewer::come(&edge, &playback).await.frame().await.unwrap().is_keyframe);
    };
    meanwhile(camera.stream_for(Duration::from_secs(120)), watch).await;
    drop(camera);
    for origin in [edge, upstream, nobody] {
        origin.shutdown().await;
    }
}

/// What a camera's stream goes through on its way, as an upstream's viewers and an edge's have it.
#[tokio::test(flavor = "multi_thread")]
async fn viewers_of_an_edge_get_the_very_frames_and_times_that_viewers_of_its_upstream_get() {
    let (upstream, _dir) = origin(|_| {}).await;
    let (edge, _edge_dir) = edge_of(&[address(&upstream)], |_| {}).await;
    let playback = playback_id("s1");
    let mut camera = Publisher::connect(upstream.rtmp_addr(), "live", "s1").await.unwrap();
    let watch = async {
        until("the stream", async || get(&upstream, &format!("{playback}.flv")).await.status() == 200).await;
        let (mut there, mut here) = (FlvViewer::come(&upstream, &playback).await, FlvViewer::come(&edge, &playback).await);
        let (mut of_there, mut of_here) = (Vec::new(), Vec::new());
        for _ in 0..60 {
            of_there.push(there.frame().await.unwrap());
            of_here.push(here.frame().await.unwrap());
        }
        let first = of_here.iter().position(|frame| *frame == of_there[0]).or_else(|| {
            of_there.drain(..of_there.iter().position(|frame| *frame == of_here[0]).expect("they have a frame in common"));
            Some(0)
        });
        of_here.drain(..first.unwrap());
        let common = of_here.len().min(of_there.len());
        assert!(common > 20, "{common}");
        assert_eq!(of_here[..common], of_there[..common]);
    };
    meanwhile(camera.stream_for(Duration::from_secs(120)), watch).await;
    drop(camera);
    edge.shutdown().await;
    upstream.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_of_an_edge_stay_and_see_the_next_pictures_when_their_upstream_dies() {
    let ((first, _first_dir), (second, _second_dir)) = (origin(|_| {}).await, origin(|_| {}).await);
    let (edge, _edge_dir) = edge_of(&[address(&first), address(&second)], |_| {}).await;
    let playback = playback_id("s1");
    let mut camera = Publisher::connect(first.rtmp_addr(), "live", "s1").await.unwrap();
    let (mut monotone, mut monotone_rtmp) = (Monotone::default(), Monotone::default());
    let watch = async {
        let mut flv = FlvViewer::come(&edge, &playback).await;
        let mut rtmp = Player::connect(edge.rtmp_addr(), &playback).await;
        for _ in 0..10 {
            monotone.check(&flv.frame().await.unwrap());
            monotone_rtmp.check(&rtmp.frame().await);
        }
        (flv, rtmp)
    };
    let (mut flv, mut rtmp) = meanwhile(camera.stream_for(Duration::from_secs(60)), watch).await;
    // The camera moves, as it does when its server has gone.
    let second_addr = second.rtmp_addr();
    drop(camera);
    first.shutdown().await;
    let mut camera = Publisher::connect(second_addr, "live", "s1").await.unwrap();
    let watch = async {
        let has_moved = async || measured(&edge, "sightline_origin_pull_switches_total").await >= 1;
        let (mut last, mut seen) = (None, 0);
        while seen < 60 {
            let frame = flv.frame().await.expect("the viewer stays");
            monotone.check(&frame);
            last = Some(frame.dts);
            monotone_rtmp.check(&rtmp.frame().await);
            if has_moved().await {
                seen += 1;
            }
        }
        assert!(last.is_some());
        assert_eq!(second.streams()[0].viewers, 1);
    };
    meanwhile(camera.stream_for(Duration::from_secs(120)), watch).await;
    drop(camera);
    edge.shutdown().await;
    second.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_moves_takes_the_viewers_of_an_edge_with_it_though_both_upstreams_live() {
    let ((first, _first_dir), (second, _second_dir)) = (origin(|_| {}).await, origin(|_| {}).await);
    let (edge, _edge_dir) = edge_of(&[address(&first), address(&second)], |_| {}).await;
    let playback = playback_id("s1");
    let mut camera = Publisher::connect(first.rtmp_addr(), "live", "s1").await.unwrap();
    assert!(camera.stream_for(Duration::from_millis(200)).await);
    let mut viewer = FlvViewer::come(&edge, &playback).await;
    let mut monotone = Monotone::default();
    monotone.check(&viewer.frame().await.unwrap());
    for (number, origin) in [&second, &first, &first].into_iter().enumerate() {
        camera.close().await;
        camera = Publisher::connect(origin.rtmp_addr(), "live", "s1").await.unwrap();
        let moves = u64::try_from(number).unwrap() + 1;
        let watch = async {
            while measured(&edge, "sightline_origin_pull_switches_total").await < moves {
                monotone.check(&viewer.frame().await.expect("the viewer stays"));
            }
            monotone.check(&viewer.frame().await.expect("the viewer stays"));
        };
        meanwhile(camera.stream_for(Duration::from_secs(60)), watch).await;
    }
    drop(camera);
    for origin in [edge, first, second] {
        origin.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_no_upstream_has_is_404_and_asked_for_once_a_while_and_without_a_right_not_at_all() {
    let questions = Arc::new(Mutex::new(0));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://{}", listener.local_addr().unwrap());
    let counted = questions.clone();
    let router = axum::Router::new().fallback(async move || {
        *counted.lock().unwrap() += 1;
        axum::http::StatusCode::NOT_FOUND
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    let (edge, _dir) = edge_of(std::slice::from_ref(&upstream), |_| {}).await;
    let playback = playback_id("s1");
    for _ in 0..5 {
        for rest in [".flv", "/index.m3u8", "/snapshot.jpg", "/frames"] {
            assert_eq!(get(&edge, &format!("{playback}{rest}")).await.status(), 404, "{rest}");
        }
    }
    assert_eq!(Player::connect(edge.rtmp_addr(), &playback).await.error().await, "NetStream.Play.StreamNotFound");
    assert_eq!(*questions.lock().unwrap(), 1);
    for strange in ["s1.flv", "no-playback-id.flv", "UPPERCASE0000000.flv"] {
        assert_eq!(get(&edge, strange).await.status(), 404);
    }
    assert_eq!(*questions.lock().unwrap(), 1, "what can be no id is no question");
    // One address may ask for a hundred that are not there, and then for a few a second.
    for number in 0..150 {
        assert_eq!(get(&edge, &format!("{number:016}.flv")).await.status(), 404);
    }
    assert!(*questions.lock().unwrap() < 140, "{}", questions.lock().unwrap());
    edge.shutdown().await;

    let asked = *questions.lock().unwrap();
    let (edge, _dir) = edge_of(&[upstream], |config| config.auth.play = Some(Play::Signed)).await;
    assert_eq!(get(&edge, &format!("{playback}.flv")).await.status(), 401);
    assert_eq!(get(&edge, &format!("{playback}/index.m3u8?token=wrong")).await.status(), 401);
    assert_eq!(*questions.lock().unwrap(), asked);
    edge.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_that_can_not_be_asked_are_named_in_words() {
    let off = format!("http://127.0.0.1:{}", free_port());
    let (edge, _dir) = edge_of(std::slice::from_ref(&off), |_| {}).await;
    let answer = get(&edge, &format!("{}.flv", playback_id("s1"))).await;
    assert_eq!(answer.status(), 502);
    let text = answer.text().await.unwrap();
    assert!(text.contains("UPSTREAM_FAILED") && text.contains(&off) && text.contains("refused"), "{text}");
    edge.shutdown().await;
    for upstream in ["rtmp://a/live", "http://a/live", "a:80"] {
        let mut config = Config::default();
        config.edge.upstreams = vec![upstream.to_owned()];
        assert!(Origin::check(&config).unwrap_err().to_string().starts_with("edge.upstreams has an entry that is not http://HOST:PORT"));
    }
}

fn at(addr: SocketAddr) -> String {
    format!("http://{addr}")
}

#[tokio::test(flavor = "multi_thread")]
async fn edges_that_lead_to_one_another_or_to_themselves_end_in_words_and_a_stream_still_comes_through() {
    let [one, two] = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
    let (itself, _dir) = edge_of(&[at(one)], |config| config.http.listen = one).await;
    let playback = playback_id("s1");
    let answer = get(&itself, &format!("{playback}.flv")).await;
    assert_eq!(answer.status(), 508);
    let text = answer.text().await.unwrap();
    assert!(text.contains("EDGE_LOOP") && text.contains("lead back to it"), "{text}");
    itself.shutdown().await;

    let (left, _left_dir) = edge_of(&[at(two)], |config| config.http.listen = one).await;
    let (right, _right_dir) = edge_of(&[at(one)], |config| config.http.listen = two).await;
    let flv = format!("{}.flv", playback_id("of-no-one"));
    let (from_left, from_right) = tokio::join!(get(&left, &flv), get(&right, &flv));
    assert_eq!((from_left.status().as_u16(), from_right.status().as_u16()), (404, 404), "no one has it");
    // One of them has a camera; it goes to the other, and the viewers with it.
    let mut camera = Publisher::connect(left.rtmp_addr(), "live", "s1").await.unwrap();
    assert!(camera.stream_for(Duration::from_millis(100)).await);
    let mut viewer = meanwhile(camera.stream_for(Duration::from_secs(60)), async {
        let mut viewer = FlvViewer::come(&right, &playback).await;
        viewer.frame().await.unwrap();
        viewer
    })
    .await;
    camera.close().await;
    let mut camera = Publisher::connect(right.rtmp_addr(), "live", "s1").await.unwrap();
    let watch = async {
        until("it is published there", async || right.streams().first().is_some_and(|stream| stream.fps > 0.0)).await;
        for _ in 0..20 {
            viewer.frame().await.expect("the viewer stays");
        }
        assert_eq!(right.streams()[0].stream, "s1");
    };
    meanwhile(camera.stream_for(Duration::from_secs(60)), watch).await;
    drop(camera);
    left.shutdown().await;
    right.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_edges_plays_up_to_four_and_ends_in_words_beyond() {
    let (first, _dir) = origin(|_| {}).await;
    let mut chain = vec![edge_of(&[address(&first)], |_| {}).await];
    for _ in 0..4 {
        let before = address(&chain.last().unwrap().0);
        chain.push(edge_of(&[before], |_| {}).await);
    }
    let playback = playback_id("s1");
    let mut camera = Publisher::connect(first.rtmp_addr(), "live", "s1").await.unwrap();
    let watch = async {
        let answer = get(&chain[4].0, &format!("{}.flv", playback_id("further"))).await;
        assert_eq!(answer.status(), 508);
        assert!(answer.text().await.unwrap().contains("TOO_MANY_EDGES"));
        assert!(FlvViewer::come(&chain[3].0, &playback).await.frame().await.unwrap().is_keyframe);
    };
    meanwhile(camera.stream_for(Duration::from_secs(60)), watch).await;
    drop(camera);
    for (edge, _) in chain {
        edge.shutdown().await;
    }
    first.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_of_the_installation_pulls_what_only_signed_viewers_may_play_and_tells_the_cloud() {
    let (signer, mut tasks) = (Signer::new("k1"), JoinSet::new());
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let mut settings = dirs.each_ref().map(|dir| config(dir.path()));
    for config in &mut settings {
        config.auth.play = Some(Play::Signed);
        config.limits.viewers_per_address = 2;
    }
    let [mut of_upstream, mut of_edge] = settings;
    let cloud_there = Cloud::start(&signer, &mut of_upstream, &mut tasks).await;
    let cloud_here = Cloud::start(&signer, &mut of_edge, &mut tasks).await;
    let upstream = Origin::start(of_upstream).await.unwrap();
    of_edge.edge.upstreams = vec![address(&upstream)];
    let edge = Origin::start(of_edge.clone()).await.unwrap();
    until("the keys", async || dirs.iter().all(|dir| dir.path().join("jwks.json").exists())).await;
    let playback = PlaybackIds::of_installation("cluster-secret").of("s1").as_str().to_owned();
    let right = format!("{playback}.flv?token={}", signer.sign(&play_claims(&playback)));
    let mut camera = Publisher::connect(upstream.rtmp_addr(), "live", &signer.name("s1", 1)).await.unwrap();
    let watch = async {
        assert_eq!(get(&upstream, &format!("{playback}.flv")).await.status(), 401);
        let mut viewer = get(&edge, &right).await;
        assert_eq!(viewer.status(), 200);
        assert!(viewer.chunk().await.unwrap().is_some());
        until("the cloud hears of it", async || {
            let reports = cloud_here.reports.lock().unwrap();
            let last = reports.last().unwrap();
            let pulled = last.pulls.iter().any(|pull| pull.playback == playback && pull.state == "pulling" && pull.viewers == 1);
            last.is_edge && last.streams.is_empty() && last.viewers == 1 && pulled
        })
        .await;
        assert!(!cloud_there.reports.lock().unwrap().last().unwrap().is_edge);
    };
    meanwhile(camera.stream_for(Duration::from_secs(60)), watch).await;
    edge.shutdown().await;
    // Of another installation, it is refused, and says what to do.
    std::fs::write(of_edge.cloud.cluster_key_file.as_ref().unwrap(), "another-secret\n").unwrap();
    let edge = Origin::start(of_edge).await.unwrap();
    let answer = meanwhile(camera.stream_for(Duration::from_secs(60)), get(&edge, &right)).await;
    assert_eq!(answer.status(), 502);
    let text = answer.text().await.unwrap();
    assert!(text.contains("cloud.cluster_key_file"), "{text}");
    drop(camera);
    edge.shutdown().await;
    upstream.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_sleeps_behind_an_upstream_starts_for_a_viewer_of_the_edge_who_waits_for_its_picture() {
    let (signer, mut tasks, dir) = (Signer::new("k1"), JoinSet::new(), tempfile::tempdir().unwrap());
    let mut settings = config(dir.path());
    settings.auth.play = Some(Play::Open);
    let cloud = Cloud::start(&signer, &mut settings, &mut tasks).await;
    *cloud.wanted_answer.lock().unwrap() = WantedAnswer { state: WantedState::Starting, ..WantedAnswer::default() };
    let upstream = Origin::start(settings).await.unwrap();
    until("the keys", async || dir.path().join("jwks.json").exists()).await;
    let (edge, _edge_dir) = edge_of(&[address(&upstream)], |_| {}).await;
    let playback = PlaybackIds::of_installation("cluster-secret").of("s1").as_str().to_owned();
    let mut waits = Box::pin(FlvViewer::come(&edge, &playback));
    let asked = until("the cloud is asked", async || !cloud.wanted.lock().unwrap().is_empty());
    tokio::select! {
        _ = &mut waits => panic!("there is nothing to see yet"),
        () = asked => {}
    }
    let mut camera = Publisher::connect(upstream.rtmp_addr(), "live", &signer.name("s1", 1)).await.unwrap();
    let watch = async {
        assert!(waits.await.frame().await.unwrap().is_keyframe);
        until("it is reported as watched, so that it goes on", async || {
            cloud.reports.lock().unwrap().last().unwrap().streams.iter().any(|stream| stream.is_watched)
        })
        .await;
    };
    meanwhile(camera.stream_for(Duration::from_secs(60)), watch).await;
    drop(camera);
    edge.shutdown().await;
    upstream.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_falls_silent_is_left_for_the_next_and_the_cloud_hears_of_what_none_gives() {
    let (signer, mut tasks, dir) = (Signer::new("k1"), JoinSet::new(), tempfile::tempdir().unwrap());
    let ((first, _first_dir), (second, _second_dir)) = (origin(|_| {}).await, origin(|_| {}).await);
    let mut settings = config(dir.path());
    settings.auth.play = Some(Play::Open);
    (settings.edge.upstreams, settings.edge.silent_sec) = (vec![address(&first), address(&second)], 1);
    let cloud = Cloud::start(&signer, &mut settings, &mut tasks).await;
    let edge = Origin::start(settings).await.unwrap();
    let playback = playback_id("s1");
    // Its machine is off the network: its connection stays, and nothing comes.
    let mut silent = Publisher::connect(first.rtmp_addr(), "live", "s1").await.unwrap();
    let mut viewer = meanwhile(silent.stream_for(Duration::from_secs(60)), async {
        let mut viewer = FlvViewer::come(&edge, &playback).await;
        viewer.frame().await.unwrap();
        viewer
    })
    .await;
    let told = |kind: &str| {
        let reports = cloud.reports.lock().unwrap();
        reports.iter().flat_map(|report| &report.incidents).any(|told| told.kind == kind && told.playback == *playback)
    };
    until("the cloud hears that no upstream gives it", async || told("pull_failed")).await;
    let mut camera = Publisher::connect(second.rtmp_addr(), "live", "s1").await.unwrap();
    let watch = async {
        until("the cloud hears that one does", async || told("pull_resumed")).await;
        let mut last = viewer.frame().await.unwrap();
        for _ in 0..20 {
            let frame = viewer.frame().await.expect("the viewer stays");
            assert!(frame.track != last.track || frame.dts > last.dts);
            last = frame;
        }
        assert_eq!((first.streams().len(), second.streams()[0].viewers), (1, 1));
    };
    meanwhile(camera.stream_for(Duration::from_secs(60)), watch).await;
    drop((camera, silent));
    for origin in [edge, first, second] {
        origin.shutdown().await;
    }
}
