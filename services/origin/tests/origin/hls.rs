//! The playlists beside `index.m3u8`, and how all of them are sent.

use crate::peers::Publisher;
use crate::tokens::Signer;
use crate::{origin_with, probe};
use sightline_signal::playback_id;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn sound_alone_and_mpeg_ts_are_made_for_whoever_asks_for_them() {
    let signer = Signer::new("k1");
    let (origin, _dir) = origin_with(&signer, |config| config.limits.hls_ts_streams = 1).await;
    let http = origin.http_addr().unwrap();
    let mut sending = tokio::task::JoinSet::new();
    for name in ["s1", "s2"] {
        let mut camera = Publisher::connect(origin.rtmp_addr(), "live", &signer.name(name, 1)).await.unwrap();
        sending.spawn(async move { camera.stream_for(Duration::from_secs(20)).await });
    }
    crate::until("both streams", async || origin.streams().len() == 2).await;
    let url = |name: &str, file: &str| format!("http://{http}/live/{}/{file}", playback_id(name));
    let ask = async |url: &str| {
        let answer = reqwest::Client::new().get(url).header("accept-encoding", "gzip").send().await.unwrap();
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), header("content-type"), header("content-encoding"), answer.bytes().await.unwrap())
    };
    let plain = async |url: &str| reqwest::get(url).await.unwrap().text().await.unwrap();
    // RFC 8216bis §6.2.1: text is compressed for whoever takes it, and what it names is not.
    let (status, kind, encoding, body) = ask(&url("s1", "ts.m3u8")).await;
    assert_eq!((status, kind.as_deref(), encoding.as_deref()), (200, Some("application/vnd.apple.mpegurl"), Some("gzip")));
    assert_eq!(body.get(..2), Some(&[0x1f, 0x8b][..]));
    let text = plain(&url("s1", "ts.m3u8")).await;
    let segment = text.lines().find(|line| line.starts_with("seg-")).unwrap();
    let (status, kind, encoding, body) = ask(&url("s1", segment)).await;
    assert_eq!((status, kind.as_deref(), encoding, body[0], body.len() % 188), (200, Some("video/mp2t"), None, 0x47, 0), "{segment}");
    // Tools and old players ask for ranges, caches for what they have.
    let part = reqwest::Client::new().get(url("s1", segment)).header("range", "bytes=188-375").send().await.unwrap();
    assert_eq!(
        (part.status().as_u16(), &part.headers()["content-range"]),
        (206, &format!("bytes 188-375/{}", body.len()).parse().unwrap())
    );
    let tag = part.headers()["etag"].clone();
    assert_eq!(part.bytes().await.unwrap(), body[188..376]);
    assert_eq!(reqwest::Client::new().get(url("s1", segment)).header("if-none-match", tag).send().await.unwrap().status(), 304);
    // Words that are not known are none to refuse a player for.
    assert_eq!(ask(&url("s1", "ts.m3u8?_HLS_skip=NO&t=17&_HLS_new=1")).await.0, 200);
    // As many streams as may be have such a playlist: the other one goes on by its own.
    let (status, _, _, body) = ask(&url("s2", "ts.m3u8")).await;
    assert!(status == 503 && body.starts_with(b"{\"error_code\":\"TOO_MANY_STREAMS\""), "{body:?}");
    assert_eq!(ask(&url("s2", "index.m3u8")).await.0, 200);
    let (ts, sound, heard) = (url("s1", "ts.m3u8"), url("s1", "audio.m3u8"), url("s2", "audio.m3u8"));
    let (ts, sound, heard) = tokio::join!(probe(&ts), probe(&sound), plain(&heard));
    assert!(ts.contains("h264,320,180,") && ts.contains("aac,"), "{ts}");
    assert!(sound.contains("aac,") && !sound.contains("h264"), "{sound}");
    assert!(heard.contains("#EXT-X-PART:") && heard.contains("#EXT-X-MAP:"), "{heard}");
    sending.abort_all();
    origin.shutdown().await;
}
