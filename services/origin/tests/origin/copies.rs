//! Copies of recordings in a store: what arrives, what stays, what is played of it, and what is said when it fails.

use crate::cloud::Cloud;
use crate::peers::Publisher;
use crate::store::{Mood, Store};
use crate::tokens::Signer;
use crate::{config, files, origin_with, until};
use interop::media;
use serde_json::Value;
use sightline_origin::{Config, Origin};
use std::path::Path;
use std::time::Duration;

/// Bytes that no two places of have alike.
fn content(bytes: usize) -> Vec<u8> {
    (0_u32..).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).take(bytes).collect()
}

const NAME: &str = "20251009T085320.123Z-7.mp4";

/// A recording that was left by a process before. Two parts and some.
fn leave_recording(dir: &Path, bytes: usize) -> Vec<u8> {
    let dir = dir.join("recordings/cam-1");
    std::fs::create_dir_all(&dir).unwrap();
    let content = content(bytes);
    std::fs::write(dir.join(NAME), &content).unwrap();
    content
}

fn with_store(store: &Store, dir: &Path) -> Config {
    let mut config = config(dir);
    store.set(&mut config);
    config
}

async fn metric(origin: &Origin, name: &str) -> Option<u64> {
    let text = reqwest::get(format!("http://{}/metrics", origin.http_addr().unwrap())).await.unwrap().text().await.unwrap();
    text.lines().find_map(|line| line.strip_prefix("sightline_origin_")?.strip_prefix(name)?.trim().parse().ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_recorded_is_copied_byte_for_byte_and_played_from_the_store_when_it_is_gone_here() {
    let (signer, store) = (Signer::new("k1"), Store::start().await);
    store.mood(Mood::Busy);
    let (origin, dir) = origin_with(&signer, |config| store.set(config)).await;
    let mut camera = Publisher::connect(origin.rtmp_addr(), "live", &signer.name("s1", 1)).await.unwrap();
    assert!(camera.stream_for(Duration::from_millis(2_500)).await);
    drop(camera);
    until("the copy", async || metric(&origin, "copied_files_total").await == Some(1)).await;
    assert_eq!((metric(&origin, "copies_behind_files").await, metric(&origin, "store_up").await), (Some(0), Some(1)));
    let local = files(&dir.path().join("recordings/cam-1"), "mp4").remove(0);
    let name = local.file_name().unwrap().to_str().unwrap().to_owned();
    let recorded = std::fs::read(&local).unwrap();
    assert!(std::fs::read(store.object(&format!("cam-1/{name}"))).unwrap() == recorded, "all bytes are the same");
    assert_eq!(store.objects(), [name.as_str()], "and nothing else is there");
    let pictures = media::decode(&local);
    // What is here is shown while the store is not well, and that it is not is said.
    store.mood(Mood::Full);
    let listed =
        reqwest::get(format!("http://{}/vod/cam-1/list", origin.http_addr().unwrap())).await.unwrap().json::<Value>().await.unwrap();
    assert_eq!((&listed["files"][0]["name"], &listed["unreadable"][0]["name"]), (&name.as_str().into(), &"copies in the store".into()));
    origin.shutdown().await;

    // Another start, with copies alone: what the store has goes here, and nothing is sent twice.
    store.mood(Mood::Well);
    store.take_asked();
    let mut config = config(dir.path());
    store.set(&mut config);
    config.store.keep_local = false;
    let origin = Origin::start(config).await.unwrap();
    until("the local file goes", async || !local.exists()).await;
    assert!(files(&dir.path().join("recordings/cam-1"), "flv").is_empty(), "what belongs to it goes with it");
    assert!(store.take_asked().iter().all(|asked| !asked.starts_with("PUT")), "it was there already");

    let base = format!("http://{}/vod/cam-1", origin.http_addr().unwrap());
    let ask = async |path: &str| reqwest::get(format!("{base}/{path}")).await.unwrap();
    let listed = ask("list").await.json::<Value>().await.unwrap();
    let file = &listed["files"][0];
    assert_eq!((file["name"].as_str(), file["bytes"].as_u64()), (Some(name.as_str()), Some(recorded.len() as u64)), "{listed}");
    let (from, to) = (file["from"].as_i64().unwrap(), file["to"].as_i64().unwrap());
    let question = serde_json::json!({ "from": from, "to": to, "devices": [["cam-1", ""]] }).to_string();
    let coverage = format!("http://{}/vod/coverage", origin.http_addr().unwrap());
    let covered = reqwest::Client::new().post(coverage).body(question).send().await.unwrap().json::<Value>().await.unwrap();
    assert_eq!(covered["devices"]["cam-1"][0][0].as_i64(), Some(from), "{covered}");
    let clip = dir.path().join("clip.mp4");
    std::fs::write(&clip, ask(&format!("{from}-{}.mp4", to + 1)).await.bytes().await.unwrap()).unwrap();
    assert_eq!(media::decode(&clip), pictures);
    let playlist = ask(&format!("{from}-{to}.m3u8")).await.text().await.unwrap();
    assert!(playlist.contains(&name) && playlist.ends_with("#EXT-X-ENDLIST\n"), "{playlist}");
    let still = ask(&format!("{}.jpg", from + 1_000)).await;
    assert_eq!(still.status(), 200);
    assert!(ask(&name).await.bytes().await.unwrap() == recorded);
    let ranged = async |range: &str| reqwest::Client::new().get(format!("{base}/{name}")).header("range", range).send().await.unwrap();
    let some = ranged("bytes=100-299").await;
    assert_eq!((some.status().as_u16(), some.headers()["content-length"].to_str().unwrap()), (206, "200"));
    assert!(some.bytes().await.unwrap() == recorded[100..300]);
    assert!(ranged("bytes=-50").await.bytes().await.unwrap() == recorded[recorded.len() - 50..]);
    assert_eq!(ranged(&format!("bytes={}-", recorded.len())).await.status(), 416);
    assert_eq!(ask("20200101T000000.000Z.mp4").await.status(), 404);
    origin.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_was_cut_by_the_end_of_the_process_is_given_back_and_begun_again() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Store::start().await);
    let content = leave_recording(dir.path(), (20 << 20) + 77);
    store.mood(Mood::StuckInParts);
    let origin = Origin::start(with_store(&store, dir.path())).await.unwrap();
    until("two parts are on their way", async || store.take_asked().iter().any(|asked| asked.contains("partNumber=2"))).await;
    until("one has arrived", async || store.objects().iter().any(|name| name.contains(".part-1"))).await;
    origin.shutdown().await;
    store.mood(Mood::Busy);
    let origin = Origin::start(with_store(&store, dir.path())).await.unwrap();
    until("the copy", async || metric(&origin, "copied_files_total").await == Some(1)).await;
    assert_eq!(store.objects(), [NAME], "of the first upload nothing is left");
    assert!(std::fs::read(store.object(&format!("cam-1/{NAME}"))).unwrap() == content);
    assert!(!dir.path().join("store-upload.json").exists());
    origin.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_is_told_of_once_with_its_end_and_then_has_everything() {
    let (signer, store) = (Signer::new("k1"), Store::start().await);
    let (dir, mut tasks) = (tempfile::tempdir().unwrap(), tokio::task::JoinSet::new());
    let content = leave_recording(dir.path(), 100_000);
    let mut config = with_store(&store, dir.path());
    let cloud = Cloud::start(&signer, &mut config, &mut tasks).await;
    store.mood(Mood::Full);
    let origin = Origin::start(config).await.unwrap();
    let told = |kind: &str| {
        let reports = cloud.reports.lock().unwrap();
        let mut incidents = reports.iter().flat_map(|report| &report.incidents);
        incidents.find(|incident| incident.kind == kind).map(|incident| incident.reason.clone())
    };
    until("the failure is told", async || told("store_failed").is_some()).await;
    assert!(told("store_failed").unwrap().contains("QuotaExceeded"));
    assert_eq!(metric(&origin, "store_up").await, Some(0));
    assert!(metric(&origin, "copy_failures_total{reason=\"refused\"}").await.unwrap() > 0);
    store.mood(Mood::Well);
    until("the copy", async || metric(&origin, "copied_files_total").await == Some(1)).await;
    until("the end is told", async || told("store_resumed").is_some()).await;
    assert!(std::fs::read(store.object(&format!("cam-1/{NAME}"))).unwrap() == content);
    origin.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_go_by_their_own_age_and_what_is_held_stays() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Store::start().await);
    let name = |device: &str, minutes_ago: i64| {
        let began = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(minutes_ago);
        format!("{device}/{}-7.mp4", began.strftime("%Y%m%dT%H%M%S.000Z"))
    };
    let [old, held, new] = [name("cam-1", 150), name("cam-2", 150), name("cam-1", 2)];
    for key in [&old, &held, &new] {
        std::fs::create_dir_all(store.object(key).parent().unwrap()).unwrap();
        std::fs::write(store.object(key), "x").unwrap();
    }
    std::fs::write(store.object("cam-1/notes.txt"), "mine").unwrap();
    let mut config = with_store(&store, dir.path());
    config.store.keep_hours = 2;
    let holds = serde_json::json!({ "version": 1, "holds": [{ "device": "cam-2", "from": 0, "to": i64::from(u32::MAX) * 1_000 }] });
    std::fs::write(dir.path().join("recording-holds.json"), holds.to_string()).unwrap();
    let origin = Origin::start(config).await.unwrap();
    until("the old copy goes", async || metric(&origin, "copies_removed_total").await == Some(1)).await;
    assert!(!store.object(&old).exists());
    assert!([&held, &new, "cam-1/notes.txt"].iter().all(|key| store.object(key).exists()), "{:?}", store.objects());
    origin.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_copy_is_nothing_that_the_store_can_read_and_plays_by_its_key_alone() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Store::start().await);
    // More than a part, and no whole number of chunks.
    let content = leave_recording(dir.path(), (9 << 20) + 77);
    let keys = ["1", "2"].map(|digit| {
        let file = dir.path().join(format!("{digit}.key"));
        std::fs::write(&file, digit.repeat(64) + "\n").unwrap();
        file
    });
    let with_key = |key: usize| {
        let mut config = with_store(&store, dir.path());
        (config.store.encryption_key_file, config.store.keep_local) = (Some(keys[key].clone()), false);
        config
    };
    store.mood(Mood::Busy);
    let origin = Origin::start(with_key(0)).await.unwrap();
    let local = dir.path().join("recordings/cam-1").join(NAME);
    until("the local file goes", async || !local.exists()).await;
    assert_eq!(store.objects(), [format!("{NAME}.sealed")]);
    let sealed = std::fs::read(store.object(&format!("cam-1/{NAME}.sealed"))).unwrap();
    assert!(sealed.starts_with(b"SLSEAL01") && !sealed.windows(16).any(|window| window == &content[..16]), "nothing of it is seen");
    let ask = async |origin: &Origin, range: &str| {
        let url = format!("http://{}/vod/cam-1/{NAME}", origin.http_addr().unwrap());
        let answer = reqwest::Client::new().get(url).header("range", range).send().await.unwrap();
        (answer.status().as_u16(), answer.bytes().await.map(Vec::from).unwrap_or_default())
    };
    store.mood(Mood::Well);
    assert!(ask(&origin, "bytes=0-").await == (206, content.clone()));
    assert!(ask(&origin, "bytes=65530-131079").await == (206, content[65_530..131_080].to_vec()));
    assert!(ask(&origin, "bytes=-5").await == (206, content[content.len() - 5..].to_vec()));
    origin.shutdown().await;
    // The same file here once more: nothing is sent again, whatever its object's length.
    leave_recording(dir.path(), (9 << 20) + 77);
    store.take_asked();
    let origin = Origin::start(with_key(0)).await.unwrap();
    until("the local file goes", async || !local.exists()).await;
    assert!(store.take_asked().iter().all(|asked| !asked.starts_with("PUT") && !asked.starts_with("POST")));
    origin.shutdown().await;
    let origin = Origin::start(with_key(1)).await.unwrap();
    assert_eq!(ask(&origin, "bytes=0-").await.0, 503, "another key opens nothing");
    origin.shutdown().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_store_is_said_with_what_to_do() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Store::start().await);
    let tried = async |change: &dyn Fn(&mut Config)| {
        let mut config = with_store(&store, dir.path());
        change(&mut config);
        Origin::try_store(&config).await
    };
    assert!(tried(&|_| {}).await.unwrap().unwrap().starts_with("s3://video/site-1 at http://127.0.0.1:"));
    assert!(store.objects().is_empty(), "a look leaves nothing");
    let wrong_key = |config: &mut Config| config.store.secret_key = Some("another".into());
    let wrong_name = |config: &mut Config| config.store.access_key = Some("nobody".to_owned());
    let no_bucket = |config: &mut Config| config.store.url = Some("s3://elsewhere".to_owned());
    let nobody = |config: &mut Config| config.store.endpoint = Some("http://127.0.0.1:1".to_owned());
    for (change, words) in [
        (&wrong_key as &dyn Fn(&mut Config), "set store.access_key and store.secret_key to a pair of its own"),
        (&wrong_name, "set store.access_key and store.secret_key to a pair of its own"),
        (&no_bucket, "create it, or correct store.url"),
        (&nobody, "see whether it runs"),
    ] {
        let said = tried(change).await.unwrap_err();
        assert!(said.contains(words) && !said.contains("another"), "{said}");
    }
    store.mood(Mood::OtherTime);
    assert!(tried(&|_| {}).await.unwrap_err().contains("set the clock"));
    // By TLS, whose authority is the operator's.
    let certificate = dir.path().join("store.pem");
    let safe = Store::start_with_tls(&certificate).await;
    let mut config = with_store(&safe, dir.path());
    assert!(Origin::try_store(&config).await.unwrap_err().contains("store.ca"));
    config.store.ca = Some(certificate);
    assert!(Origin::try_store(&config).await.is_ok());
}
