//! What was recorded, played back: by ffmpeg as a playlist and as one MP4, as stills, and by whoever may.

use crate::clip::{clip, larger_clip};
use crate::peers::Publisher;
use crate::tokens::Signer;
use crate::{origin_with, until};
use interop::media;
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

/// The device of the signer's tokens.
pub(crate) fn device() -> String {
    crate::tokens::claims("s1", 1).device.as_str().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_recorded_plays_by_range_over_files_gaps_and_sizes() {
    let signer = Signer::new("k1");
    let (origin, dir) = origin_with(&signer, |_| {}).await;
    let base = format!("http://{}/vod/{}", origin.http_addr().unwrap(), device());
    let ask = async |path: &str| reqwest::get(format!("{base}/{path}")).await.unwrap();
    let list = async || ask("list").await.json::<Value>().await.unwrap();
    assert_eq!(ask("list").await.status(), 404, "nothing is recorded yet");
    for (epoch, length_ms) in [(1, 2_500), (2, 1_500)] {
        let mut camera = Publisher::connect(origin.rtmp_addr(), "live", &signer.name("s1", epoch)).await.unwrap();
        assert!(camera.stream_for(Duration::from_millis(length_ms)).await);
        drop(camera);
        tokio::time::sleep(Duration::from_millis(1_200)).await;
    }
    until("both files are listed", async || list().await["files"].as_array().is_some_and(|files| files.len() == 2)).await;
    let listed = list().await;
    let file = |number: usize, name: &str| listed["files"][number][name].as_i64().unwrap();
    assert_eq!(listed["gaps"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!((&listed["gaps"][0]["from"], &listed["gaps"][0]["to"]), (&listed["files"][0]["to"], &listed["files"][1]["from"]));
    assert!((2_000..3_000).contains(&(file(0, "to") - file(0, "from"))), "{listed}");
    let (from, to) = (file(0, "from"), file(1, "to") + 1_000);

    let clip_file = dir.path().join("clip.mp4");
    let answer = ask(&format!("{from}-{to}.mp4")).await;
    assert_eq!((answer.status().as_u16(), &answer.headers()["content-type"]), (200, &"video/mp4".parse().unwrap()));
    std::fs::write(&clip_file, answer.bytes().await.unwrap()).unwrap();
    let in_clip = media::decode(&clip_file);
    let by_hls = dir.path().join("hls.mp4");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-y", "-i", &format!("{base}/{from}-{to}.m3u8"), "-c", "copy"]).arg(&by_hls);
    tokio::task::block_in_place(|| interop::process::output(&mut ffmpeg));
    let fps = clip().fps();
    let sent = fps * 4.0;
    for (what, pictures) in [("one MP4", in_clip), ("the playlist", media::decode(&by_hls))] {
        assert!((pictures as f64 - sent).abs() <= fps / 4.0, "{what}: {pictures} pictures of {sent}");
    }
    let playlist = ask(&format!("{from}-{to}.m3u8")).await.text().await.unwrap();
    assert!(playlist.contains("#EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:") && playlist.ends_with("#EXT-X-ENDLIST\n"), "{playlist}");

    for at in [from, from + 1_500, file(1, "from") + 500] {
        let still = ask(&format!("{at}.jpg")).await;
        assert_eq!((still.status().as_u16(), &still.headers()["content-type"]), (200, &"image/jpeg".parse().unwrap()), "{at}");
        assert!(still.bytes().await.unwrap().starts_with(&[0xff, 0xd8]));
    }
    let name = listed["files"][0]["name"].as_str().unwrap();
    let ranged = reqwest::Client::new().get(format!("{base}/{name}")).header("range", "bytes=4-7").send().await.unwrap();
    assert_eq!((ranged.status().as_u16(), ranged.bytes().await.unwrap().as_ref()), (206, b"ftyp".as_slice()));

    for (path, status, code) in [
        (format!("{}-{}.mp4", from - 100_000, from - 90_000), 404, "NOT_RECORDED"),
        (format!("{}.jpg", file(0, "to") + 600), 404, "NOT_RECORDED"),
        (format!("{to}-{from}.mp4"), 400, "BAD_REQUEST"),
        ("yesterday-today.m3u8".to_owned(), 400, "BAD_REQUEST"),
        ("list?from=x".to_owned(), 400, "BAD_REQUEST"),
        ("20200101T000000.000Z.mp4".to_owned(), 404, "NOT_FOUND"),
        ("..%2f..%2fjwks.json".to_owned(), 404, "NOT_FOUND"),
        ("../%2e%2e/list".to_owned(), 404, "NOT_FOUND"),
    ] {
        let answer = ask(&path).await;
        let got = (answer.status().as_u16(), answer.json::<Value>().await.unwrap()["error_code"].clone());
        assert_eq!(got, (status, code.into()), "{path}");
    }

    // What can't be read costs its own time alone: a file of someone else under a recording's name, and a fragment that is no more what it was.
    let recorded = dir.path().join("recordings").join(device());
    let foreign = listed["files"][0]["name"].as_str().unwrap().replace("Z-1", "Z-9");
    std::fs::write(recorded.join(&foreign), [&b"\0\0\0\x20moov"[..], &[7; 100]].concat()).unwrap();
    let second = recorded.join(listed["files"][1]["name"].as_str().unwrap());
    let whole = std::fs::read(&second).unwrap();
    let sidx = whole.windows(4).position(|bytes| bytes == b"sidx").expect("a complete file begins with its index");
    let mut damaged = whole.clone();
    damaged[sidx..sidx + 4].copy_from_slice(b"free");
    let traf = damaged.windows(4).rposition(|bytes| bytes == b"traf").unwrap();
    damaged[traf - 4..traf].fill(0xff);
    std::fs::write(&second, &damaged).unwrap();
    let told = list().await;
    assert_eq!((told["files"].as_array().unwrap().len(), told["unreadable"][0]["name"].as_str()), (2, Some(foreign.as_str())), "{told}");
    assert_eq!(told["unreadable"][1]["name"], listed["files"][1]["name"], "{told}");
    for path in [format!("{from}-{to}.m3u8"), format!("{from}-{to}.mp4"), format!("{from}.jpg")] {
        assert_eq!(ask(&path).await.status(), 200, "{path}");
    }
    std::fs::remove_file(recorded.join(&foreign)).unwrap();
    std::fs::write(&second, &whole).unwrap();

    let mut camera = Publisher::connect_with(origin.rtmp_addr(), "live", &signer.name("s1", 3), larger_clip()).await.unwrap();
    assert!(camera.stream_for(Duration::from_millis(500)).await);
    drop(camera);
    until("the third file is listed", async || list().await["files"].as_array().is_some_and(|files| files.len() == 3)).await;
    let to = list().await["files"][2]["to"].as_i64().unwrap();
    let answer = ask(&format!("{from}-{to}.mp4")).await;
    assert_eq!((answer.status().as_u16(), &answer.json::<Value>().await.unwrap()["error_code"]), (409, &"SIZE_CHANGES".into()));
    let playlist = ask(&format!("{from}-{to}.m3u8")).await.text().await.unwrap();
    assert_eq!(playlist.matches("#EXT-X-MAP:").count(), 3, "{playlist}");
    origin.shutdown().await;
}
