//! The origin with real sockets, our own peers and the real ffmpeg.
#![expect(clippy::unwrap_used, reason = "all of it is a test, its peers too")]

mod abuse;
mod ages;
mod callbacks;
mod certificate;
mod clip;
mod cloud;
mod copies;
mod duel;
mod edges;
mod frames;
mod hls;
mod http;
mod on_demand;
mod peers;
mod quirks;
mod recording;
mod relays;
mod store;
mod tokens;
mod viewing;
mod vod;
mod watcher;
mod whep;
mod whip;

use clip::clip;
use peers::{Monotone, Player, Publisher};
use sightline_media::TrackId;
use sightline_origin::{Config, Origin};
use sightline_signal::playback_id;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokens::{Signer, claims, now};
use tokio::process::Command;

fn config(dir: &Path) -> Config {
    let mut config = Config { data_dir: dir.to_owned(), ..Config::default() };
    config.rtmp.listen = "127.0.0.1:0".parse().unwrap();
    config.rtmps.listen = "127.0.0.1:0".parse().unwrap();
    config.http.listen = "127.0.0.1:0".parse().unwrap();
    config.http.hls_segment_sec = 1;
    config
}

/// An origin that knows the signer's key from its cached file, and its directory.
async fn origin_with(signer: &Signer, change: impl FnOnce(&mut Config)) -> (Origin, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("jwks.json"), serde_json::to_vec(&signer.jwks()).unwrap()).unwrap();
    let mut config = config(dir.path());
    change(&mut config);
    (Origin::start(config).await.unwrap(), dir)
}

async fn run(program: &str, arguments: &str) -> (bool, String) {
    let output = Command::new(program).args(arguments.split(' ')).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_secs(30), output).await.expect("it hangs").unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

/// What ffprobe finds in three seconds of a stream or file: codecs and sizes, decoded.
async fn probe(url: &str) -> String {
    let arguments =
        format!("-v error -read_intervals %+2 -count_frames -show_entries stream=codec_name,width,height,nb_read_frames -of csv=p=0 {url}");
    let (is_ok, text) = run("ffprobe", &arguments).await;
    assert!(is_ok, "{url}: {text}");
    text
}

fn ffmpeg_publisher(url: &str) -> tokio::process::Child {
    let inputs = "-v error -re -f lavfi -i testsrc2=size=640x360:rate=25 -re -f lavfi -i sine=frequency=440:sample_rate=44100";
    let codecs = "-c:v libx264 -preset ultrafast -tune zerolatency -g 25 -pix_fmt yuv420p -c:a aac -f flv";
    Command::new("ffmpeg").args(inputs.split(' ')).args(codecs.split(' ')).arg(url).stdin(Stdio::null()).kill_on_drop(true).spawn().unwrap()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..150 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{what} did not come within 15 seconds");
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return vec![] };
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|is| is == extension)).collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_publishes_and_every_way_to_watch_works() {
    let signer = Signer::new("k1");
    let (origin, dir) = origin_with(&signer, |_| {}).await;
    let (rtmp, http) = (origin.rtmp_addr(), origin.http_addr().unwrap());
    let mut ffmpeg = ffmpeg_publisher(&format!("rtmp://{rtmp}/live/{}", signer.name("s1", 1)));
    let playback = playback_id("s1");
    let index = format!("http://{http}/live/{playback}/index.m3u8");
    until("a playlist of two segments", async || {
        let response = reqwest::get(&index).await.unwrap();
        response.status().is_success() && response.text().await.unwrap().matches("#EXTINF").count() >= 2
    })
    .await;
    for url in [format!("rtmp://{rtmp}/live/{playback}"), format!("http://{http}/live/{playback}.flv"), index] {
        let found = probe(&url).await;
        assert!(found.contains("h264,640,360,") && found.contains("aac,"), "{url}: {found}");
    }
    let snapshot = reqwest::get(format!("http://{http}/live/{playback}/snapshot.jpg")).await.unwrap();
    assert_eq!(snapshot.headers()["content-type"], "image/jpeg");
    assert_eq!(snapshot.headers()["access-control-allow-origin"], "*");
    std::fs::write(dir.path().join("snapshot.jpg"), snapshot.bytes().await.unwrap()).unwrap();
    assert!(probe(dir.path().join("snapshot.jpg").to_str().unwrap()).await.contains("mjpeg,640,360"));

    let streams = origin.streams();
    assert_eq!((streams[0].stream.as_str(), streams[0].device.as_str(), streams[0].playback.as_str()), ("s1", "cam-1", playback.as_str()));
    assert_eq!((streams[0].width, streams[0].height, streams[0].epoch), (640, 360, 1));
    assert!((20.0..30.0).contains(&streams[0].fps) && streams[0].bitrate_kbps > 50.0, "{streams:?}");
    let unknown = reqwest::get(format!("http://{http}/live/s1.flv")).await.unwrap();
    assert_eq!(unknown.status(), 404, "the publishing name plays nothing");
    assert!(unknown.text().await.unwrap().starts_with("{\"error_code\":\"NOT_FOUND\","));
    assert_eq!(Player::connect(rtmp, "s1").await.error().await, "NetStream.Play.StreamNotFound");
    ffmpeg.kill().await.unwrap();
    origin.shutdown().await;
    for extension in ["flv", "mp4"] {
        let found = files(&dir.path().join("recordings/cam-1"), extension);
        assert_eq!(found.len(), 1);
        assert!(probe(found[0].to_str().unwrap()).await.contains("h264,640,360,"));
    }
}

/// yasea#840, google/ExoPlayer#1654: of a stream with intra refresh and one IDR there was never a picture.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_with_intra_refresh_has_a_snapshot_once_it_was_refreshed() {
    let signer = Signer::new("k1");
    let (origin, dir) = origin_with(&signer, |config| config.auth.allow_unsigned_publish = true).await;
    let inputs = "-v error -re -f lavfi -i testsrc2=size=640x360:rate=25 -t 20";
    let codec = "-c:v libx264 -preset ultrafast -x264-params intra-refresh=1:keyint=10:bframes=0 -pix_fmt yuv420p -f flv";
    let url = format!("rtmp://{}/live/s1", origin.rtmp_addr());
    let mut ffmpeg = Command::new("ffmpeg")
        .args(inputs.split(' '))
        .args(codec.split(' '))
        .arg(url)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    until("the stream", async || !origin.streams().is_empty()).await;
    // Past the one IDR: what a viewer begins with now is a recovery point.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let playback = origin.streams()[0].playback.clone();
    let snapshot = reqwest::get(format!("http://{}/live/{playback}/snapshot.jpg", origin.http_addr().unwrap())).await.unwrap();
    assert_eq!(snapshot.status(), 200);
    std::fs::write(dir.path().join("snapshot.jpg"), snapshot.bytes().await.unwrap()).unwrap();
    assert!(probe(dir.path().join("snapshot.jpg").to_str().unwrap()).await.contains("mjpeg,640,360"));
    ffmpeg.kill().await.unwrap();
    origin.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publishers_without_the_right_are_refused_and_told_why() {
    let (signer, other) = (Signer::new("k1"), Signer::new("k1"));
    let (origin, _dir) = origin_with(&signer, |_| {}).await;
    let name = |claims: &_| format!("s1?token={}", signer.sign(claims));
    let good = claims("s1", 5);
    let stranger = signer.sign(&sightline_signal::Claims { origin_set: "elsewhere".try_into().unwrap(), ..good.clone() });
    for (name, words) in [
        ("s1".to_owned(), "no token"),
        ("s1?token=x.y.z".to_owned(), "not valid"),
        (other.name("s1", 5), "not valid"),
        (Signer::new("k2").name("s1", 5), "key that this origin does not have"),
        (name(&sightline_signal::Claims { expires_at: now() - 1, ..good.clone() }), "expired"),
        (name(&claims("s2", 5)), "another stream name"),
        (format!("s1?token={stranger}"), "another server"),
    ] {
        let (code, description) = Publisher::connect(origin.rtmp_addr(), "live", &name).await.err().unwrap();
        assert_eq!(code, "NetStream.Publish.BadName");
        assert!(description.contains(words), "{description}");
    }
    let (code, _) = Publisher::connect(origin.rtmp_addr(), "other", &name(&good)).await.err().unwrap();
    assert_eq!(code, "NetConnection.Connect.Rejected");
    assert!(Publisher::connect(origin.rtmp_addr(), "live", &name(&good)).await.is_ok());
    let ours = sightline_signal::Claims { origin_set: "origin-1".try_into().unwrap(), epoch: 6, ..good };
    assert!(Publisher::connect(origin.rtmp_addr(), "live", &name(&ours)).await.is_ok());
    origin.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_epoch_takes_over_viewers_stay_and_their_time_goes_on() {
    let signer = Signer::new("k1");
    let (origin, dir) = origin_with(&signer, |_| {}).await;
    let rtmp = origin.rtmp_addr();
    let mut first = Publisher::connect(rtmp, "live", &signer.name("s1", 10)).await.unwrap();
    assert!(first.stream_for(Duration::from_millis(1500)).await);
    let mut viewer = Player::connect(rtmp, &playback_id("s1")).await;
    let mut monotone = Monotone::default();
    let begin = viewer.frame().await;
    assert!(begin.is_keyframe && begin.track == TrackId::VIDEO);
    monotone.check(&begin);

    let name = signer.name("s1", 11);
    let mut second = Publisher::connect(rtmp, "live", &name).await.unwrap();
    assert!(first.ended().await, "the old publisher is told");
    let (code, words) = Publisher::connect(rtmp, "live", &signer.name("s1", 10)).await.err().unwrap();
    assert_eq!((code.as_str(), words.contains("newer publisher")), ("NetStream.Publish.BadName", true));
    // Same epoch, same token: a reconnect. The second is cut off without a word to us, as a network break would.
    let watching = async {
        let mut last = begin.dts;
        let mut key_frames = 0;
        for _ in 0..150 {
            let frame = viewer.frame().await;
            monotone.check(&frame);
            assert!((frame.dts - last).as_millis() < 3000, "no jump ahead either");
            last = frame.dts.max(last);
            key_frames += u32::from(frame.is_keyframe && frame.track == TrackId::VIDEO);
        }
        key_frames
    };
    let publishing = async {
        assert!(second.stream_for(Duration::from_millis(1000)).await);
        let mut third = Publisher::connect(rtmp, "live", &name).await.unwrap();
        assert!(third.stream_for(Duration::from_millis(2000)).await);
        third
    };
    let (key_frames, third) = tokio::join!(watching, publishing);
    assert!(key_frames >= 4);
    assert_eq!(origin.streams()[0].epoch, 11);
    third.close().await;
    drop(second);
    origin.shutdown().await;
    for extension in ["flv", "mp4"] {
        let found = files(&dir.path().join("recordings/cam-1"), extension);
        assert_eq!(found.len(), 3, "one a publish: {found:?}");
        for file in found {
            let text = probe(file.to_str().unwrap()).await;
            assert!(text.contains("h264,320,180,") && text.contains("aac,"), "{text}");
            let (is_ok, errors) = run("ffmpeg", &format!("-v error -i {} -f null -", file.display())).await;
            assert!(is_ok && errors.is_empty(), "{errors}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_wait_for_a_publisher_that_comes_back_and_leave_when_it_does_not() {
    let signer = Signer::new("k1");
    let (origin, _dir) = origin_with(&signer, |config| config.limits.publisher_grace_sec = 2).await;
    let rtmp = origin.rtmp_addr();
    let name = signer.name("s1", 1);
    let mut publisher = Publisher::connect(rtmp, "live", &name).await.unwrap();
    assert!(publisher.stream_for(Duration::from_millis(600)).await);
    let mut viewer = Player::connect(rtmp, &playback_id("s1")).await;
    let before = viewer.frame().await;
    drop(publisher);
    tokio::time::sleep(Duration::from_millis(1000)).await;
    let mut publisher = Publisher::connect(rtmp, "live", &name).await.unwrap();
    assert!(publisher.stream_for(Duration::from_millis(600)).await);
    let mut monotone = Monotone::default();
    monotone.check(&before);
    loop {
        let frame = viewer.frame().await;
        monotone.check(&frame);
        if (frame.dts - before.dts).as_millis() > 1500 {
            break;
        }
    }
    publisher.close().await;
    let gone = tokio::time::timeout(Duration::from_secs(6), viewer.last_words());
    let (was_ended, code) = gone.await.expect("the viewer is let go after the grace");
    assert!(was_ended && code == "NetStream.Play.UnpublishNotify", "StreamEOF, and then: {code}");
    assert_eq!(Player::connect(rtmp, &playback_id("s1")).await.error().await, "NetStream.Play.StreamNotFound");
    origin.shutdown().await;
}

/// E-RTMP v2, "Reconnect Request": who follows such a request is asked, and lets its pictures go on until its next key frame.
#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_shuts_down_asks_its_publishers_to_go_elsewhere() {
    let signer = Signer::new("k1");
    let (origin, _dir) = origin_with(&signer, |_| ()).await;
    let rtmp = origin.rtmp_addr();
    let mut publisher = Publisher::connect(rtmp, "live", &signer.name("s1", 1)).await.unwrap();
    assert!(publisher.stream_for(Duration::from_millis(200)).await);
    let goes = async {
        let asked = publisher.asked_to_leave().await;
        publisher.close().await;
        asked
    };
    let (asked, ()) = tokio::join!(goes, origin.shutdown());
    assert_eq!(asked.as_deref(), Some(format!("rtmp://{rtmp}/live").as_str()), "the origin names no other: the cloud will");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_that_does_not_read_costs_only_itself() {
    a_viewer_does_not_read(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_that_does_not_read_costs_only_itself_where_frames_are_merged() {
    a_viewer_does_not_read(350).await;
}

async fn a_viewer_does_not_read(merge_ms: u64) {
    /// A NAL unit holds no start code, and neither do the numbers from here on.
    const NUMBER_ZERO: u32 = 0x1010_0000;
    let signer = Signer::new("k1");
    let change = |config: &mut Config| {
        config.rtmp.merge_ms = merge_ms;
        config.limits.viewer_stuck_sec = 2;
        config.limits.viewer_queue_bytes = 500_000;
        config.record.enabled = false;
    };
    let (origin, _dir) = origin_with(&signer, change).await;
    let rtmp = origin.rtmp_addr();
    let mut publisher = Publisher::connect(rtmp, "live", &signer.name("s1", 1)).await.unwrap();
    assert!(publisher.stream_for(Duration::from_millis(100)).await);
    let mut stuck = Player::connect(rtmp, &playback_id("s1")).await;
    stuck.frame().await;
    let mut good = Player::connect(rtmp, &playback_id("s1")).await;
    let mut stuck_http = reqwest::get(format!("http://{}/live/{}.flv", origin.http_addr().unwrap(), playback_id("s1"))).await.unwrap();
    stuck_http.chunk().await.unwrap();
    // Far more than the sockets' buffers hold: large frames, each with its number.
    let total = 2000_u32;
    let publishing = async {
        let sample = clip().frames.iter().find(|frame| frame.is_keyframe && frame.track == TrackId::VIDEO).unwrap();
        for number in 0..total {
            let mut payload = 40_000_u32.to_be_bytes().to_vec();
            payload.push(if number % 50 == 0 { 0x65 } else { 0x41 });
            payload.extend_from_slice(&(NUMBER_ZERO + number).to_be_bytes());
            payload.resize(40_004, 0xff);
            let dts = sightline_media::MediaTime::from_millis(200 + i64::from(number) * 2);
            let frame = sightline_media::Frame { dts, pts: dts, is_keyframe: number % 50 == 0, payload: payload.into(), ..sample.clone() };
            assert!(publisher.send(frame).await);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let watching = async {
        let mut expected = 0;
        while expected < total {
            let frame = good.frame().await;
            if frame.payload.len() == 40_004 {
                assert_eq!(u32::from_be_bytes(frame.payload[5..9].try_into().unwrap()), NUMBER_ZERO + expected, "no frame is lost");
                expected += 1;
            }
        }
    };
    tokio::join!(publishing, watching);
    until("the stuck viewers' end", async || origin.streams()[0].viewers == 1).await;
    origin.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_and_play_over_tls() {
    let signer = Signer::new("k1");
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let (origin, _dir) = origin_with(&signer, |config| (config.rtmps.cert, config.rtmps.key) = (Some(cert), Some(key))).await;
    let rtmps = origin.rtmps_addr().unwrap();
    let mut ffmpeg = ffmpeg_publisher(&format!("rtmps://{rtmps}/live/{}", signer.name("s1", 1)));
    until("the stream", async || !origin.streams().is_empty() && origin.streams()[0].fps > 0.0).await;
    let url = format!("rtmps://{rtmps}/live/{}", playback_id("s1"));
    assert!(probe(&url).await.contains("h264,640,360,"));
    let mut viewer =
        tokio::process::Command::new("ffmpeg").args(["-v", "error", "-i", &url, "-f", "null", "-"]).kill_on_drop(true).spawn().unwrap();
    until("the viewer", async || origin.streams()[0].viewers == 1).await;
    assert_eq!(origin.connections().open, 2, "a viewer keeps its place at the door for as long as it plays");
    viewer.kill().await.unwrap();
    ffmpeg.kill().await.unwrap();
    origin.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_only_this_machine_publishes_and_only_if_allowed() {
    let (origin, _dir) = origin_with(&Signer::new("k1"), |config| config.auth.allow_unsigned_publish = true).await;
    let mut publisher = Publisher::connect(origin.rtmp_addr(), "live", "trial").await.unwrap();
    assert!(publisher.stream_for(Duration::from_millis(200)).await);
    assert_eq!(origin.streams()[0].device, "trial");
    assert!(Publisher::connect(origin.rtmp_addr(), "live", "trial").await.is_ok(), "the newest wins");
    origin.shutdown().await;
}
