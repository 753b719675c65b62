//! What an operator's own endpoint decides and hears.

use crate::peers::{Player, Publisher};
use crate::tokens::Signer;
use crate::{config, origin_with, until};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use interop::process::free_port;
use sightline_origin::{EndpointUrl, Origin, WhenFailing};
use sightline_signal::playback_id;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;

type Fields = BTreeMap<String, String>;

/// An endpoint as nginx-rtmp's users have it.
#[derive(Default)]
struct Endpoint {
    heard: Mutex<Vec<Fields>>,
}

impl Endpoint {
    fn calls(&self) -> Vec<String> {
        self.heard.lock().unwrap().iter().map(|fields| format!("{} {}", fields["call"], fields["name"])).collect()
    }

    async fn serve(self: &Arc<Self>, at: SocketAddr) -> (SocketAddr, tokio::task::JoinSet<()>) {
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/{call}", post(answer)).with_state(self.clone());
        let mut serving = tokio::task::JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        (address, serving)
    }
}

async fn answer(State(endpoint): State<Arc<Endpoint>>, body: String) -> Response {
    let fields: Fields = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let name = fields["name"].clone();
    let key = fields.get("key").cloned();
    endpoint.heard.lock().unwrap().push(fields.clone());
    match (fields["call"].as_str(), name.as_str(), key.as_deref()) {
        ("publish", "renamed", _) => (StatusCode::FOUND, [("location", "s-of-another-name")]).into_response(),
        ("publish", "slow", _) => {
            tokio::time::sleep(Duration::from_secs(5)).await;
            StatusCode::OK.into_response()
        }
        ("publish", _, Some("right")) | ("play", _, None | Some("right")) => StatusCode::OK.into_response(),
        ("publish" | "play", ..) => StatusCode::FORBIDDEN.into_response(),
        _ => StatusCode::NO_CONTENT.into_response(),
    }
}

fn url(address: SocketAddr, call: &str) -> Option<EndpointUrl> {
    Some(format!("http://{address}/{call}").as_str().into())
}

async fn origin(endpoint: SocketAddr, dir: &std::path::Path) -> Origin {
    let mut config = config(dir);
    let callbacks = &mut config.callbacks;
    callbacks.allow_private_addresses = true;
    callbacks.timeout_ms = 500;
    (callbacks.on_publish, callbacks.on_publish_done) = (url(endpoint, "publish"), url(endpoint, "publish_done"));
    (callbacks.on_play, callbacks.on_play_done) = (url(endpoint, "play"), url(endpoint, "play_done"));
    callbacks.on_record_done = url(endpoint, "record_done");
    Origin::start(config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_of_nginx_rtmp_decides_who_publishes_and_plays_and_hears_of_their_ends() {
    let (endpoint, dir) = (Arc::<Endpoint>::default(), tempfile::tempdir().unwrap());
    // It goes, and comes back where it was.
    let (address, mut serving) = endpoint.serve(SocketAddr::from(([127, 0, 0, 1], free_port()))).await;
    let origin = origin(address, dir.path()).await;
    let rtmp = origin.rtmp_addr();
    let (code, words) = Publisher::connect(rtmp, "live", "s1?key=wrong").await.err().unwrap();
    assert!(code == "NetStream.Publish.BadName" && words.contains("endpoint"), "{code}: {words}");
    assert!(Publisher::connect(rtmp, "live", "slow?key=right").await.is_err(), "who does not answer in time refuses");
    let renamed = Publisher::connect(rtmp, "live", "renamed").await.unwrap();
    until("it has the other name", async || origin.streams().iter().any(|stream| stream.stream == "s-of-another-name")).await;
    drop(renamed);
    // A forged token is refused whatever the endpoint says.
    let forged = Signer::new("k1").name("s1", 1);
    assert!(Publisher::connect(rtmp, "live", &format!("{forged}&key=right")).await.is_err());

    let mut camera = Publisher::connect(rtmp, "live", "s1?key=right").await.unwrap();
    let playback = playback_id("s1");
    let watched = async {
        let mut viewer = Player::connect(rtmp, &playback).await;
        viewer.frame().await;
        drop(viewer);
        let mut refused = Player::connect(rtmp, &format!("{playback}?key=wrong")).await;
        while refused.next().await.is_some() {}
        let http = origin.http_addr().unwrap();
        let ask = async |path: String| reqwest::get(format!("http://{http}/live/{path}")).await.unwrap().status().as_u16();
        assert_eq!(ask(format!("{playback}.flv?key=wrong")).await, 403);
        assert_eq!(ask(format!("{playback}/index.m3u8?key=wrong")).await, 403);
        assert_eq!(ask(format!("{playback}/index.m3u8?key=right")).await, 200);
        let before = endpoint.calls().len();
        assert_eq!(ask(format!("{playback}/index.m3u8?key=right")).await, 200);
        assert_eq!(endpoint.calls().len(), before, "the verdict is kept for who asks again");
        until("the viewer's end is told", async || endpoint.calls().contains(&format!("play_done {playback}"))).await;
        // The endpoint is away, and back: what is told comes late, and in order.
        serving.shutdown().await;
    };
    tokio::select! {
        _ = camera.stream_for(Duration::from_secs(60)) => panic!("the camera ended"),
        () = watched => {}
    }
    let heard_of_publish =
        endpoint.heard.lock().unwrap().iter().find(|fields| fields["name"] == "s1" && fields["call"] == "publish").cloned();
    let heard_of_publish = heard_of_publish.unwrap();
    assert_eq!(
        (heard_of_publish["app"].as_str(), heard_of_publish["addr"].as_str(), heard_of_publish["type"].as_str()),
        ("live", "127.0.0.1", "live")
    );
    drop(camera);
    until("the publish has ended", async || origin.streams().is_empty()).await;
    assert!(Publisher::connect(rtmp, "live", "s2?key=right").await.is_err(), "nobody decides: it is denied");
    endpoint.heard.lock().unwrap().clear();
    origin.shutdown().await;
    assert!(dir.path().join("callbacks.outbox").exists(), "what waits outlives the process");
    // Both are back.
    let (_, serving) = endpoint.serve(address).await;
    let origin = self::origin(address, dir.path()).await;
    until("all of it is told", async || endpoint.calls().iter().filter(|call| call.ends_with(" s1")).count() >= 2).await;
    let told: Vec<String> = endpoint.calls().into_iter().filter(|call| call.ends_with(" s1")).collect();
    assert!(told.contains(&"publish_done s1".into()) && told.contains(&"record_done s1".into()), "{told:?}");
    until("nothing waits", async || !dir.path().join("callbacks.outbox").exists()).await;
    origin.shutdown().await;
    drop(serving);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_that_is_chosen_a_dead_endpoint_lets_everyone_in_by_our_own_rules() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    (config.callbacks.allow_private_addresses, config.callbacks.when_failing) = (true, WhenFailing::Allow);
    config.callbacks.on_publish = url(gone, "publish");
    let origin = Origin::start(config).await.unwrap();
    assert!(Publisher::connect(origin.rtmp_addr(), "live", "s1").await.is_ok());
    origin.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_lets_everyone_in_gives_no_one_the_stream_of_a_device() {
    let (endpoint, signer) = (Arc::<Endpoint>::default(), Signer::new("k1"));
    let (address, _serving) = endpoint.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await;
    let (origin, _dir) = origin_with(&signer, |config| {
        (config.callbacks.allow_private_addresses, config.callbacks.on_publish) = (true, url(address, "publish"));
    })
    .await;
    let rtmp = origin.rtmp_addr();
    let camera = Publisher::connect(rtmp, "live", &format!("{}&key=right", signer.name("s1", 5))).await.unwrap();
    let (_, words) = Publisher::connect(rtmp, "live", "s1?key=right").await.err().unwrap();
    assert!(words.contains("no token"), "{words}");
    assert!(Publisher::connect(rtmp, "live", "s2?key=right").await.is_ok());
    drop(camera);
    origin.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_away_holds_up_no_other() {
    let (endpoint, dir) = (Arc::<Endpoint>::default(), tempfile::tempdir().unwrap());
    let (address, serving) = endpoint.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await;
    let away = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut config = config(dir.path());
    config.callbacks.allow_private_addresses = true;
    (config.callbacks.on_publish, config.callbacks.on_publish_done) = (url(address, "publish"), url(away, "publish_done"));
    config.callbacks.on_record_done = url(address, "record_done");
    let origin = Origin::start(config).await.unwrap();
    let mut camera = Publisher::connect(origin.rtmp_addr(), "live", "s1?key=right").await.unwrap();
    assert!(camera.stream_for(Duration::from_millis(500)).await);
    drop(camera);
    until("who is there is told", async || endpoint.calls().contains(&"record_done s1".to_owned())).await;
    assert!(std::fs::read_to_string(dir.path().join("callbacks.outbox")).is_ok_and(|left| left.contains("publish_done")));
    origin.shutdown().await;
    drop(serving);
}
