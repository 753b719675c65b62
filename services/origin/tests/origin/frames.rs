//! Decoded pictures for programs that look at them.

use crate::peers::Publisher;
use crate::tokens::{Signer, now};
use crate::{origin_with, run, until};
use sightline_origin::Origin;
use sightline_signal::playback_id;
use std::collections::HashMap;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

/// One who reads parts.
struct Reader {
    response: reqwest::Response,
    buffer: Vec<u8>,
}

/// A picture with its headers.
struct Part {
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Part {
    fn number(&self, name: &str) -> i64 {
        self.headers[name].parse().unwrap()
    }
}

impl Reader {
    async fn open(url: &str) -> Self {
        let response = reqwest::get(url).await.unwrap();
        assert_eq!(response.status(), 200, "{url}: {}", response.text().await.unwrap());
        assert_eq!(response.headers()["content-type"], "multipart/x-mixed-replace; boundary=sightline-frame");
        Self { response, buffer: vec![] }
    }

    async fn more(&mut self) {
        let chunk = tokio::time::timeout(Duration::from_secs(15), self.response.chunk()).await.expect("no picture").unwrap();
        self.buffer.extend_from_slice(&chunk.expect("the response goes on"));
    }

    async fn next(&mut self) -> Part {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end;
            }
            self.more().await;
        };
        let text = String::from_utf8(self.buffer.drain(..end + 4).collect()).unwrap();
        let mut lines = text.trim_end().split("\r\n");
        assert_eq!(lines.next(), Some("--sightline-frame"));
        let headers: HashMap<_, _> =
            lines.map(|line| line.split_once(": ").unwrap()).map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        let length: usize = headers["content-length"].parse().unwrap();
        while self.buffer.len() < length + 2 {
            self.more().await;
        }
        let body = self.buffer.drain(..length + 2).take(length).collect();
        Part { headers, body }
    }
}

async fn metric(origin: &Origin, name: &str) -> u64 {
    let text = reqwest::get(format!("http://{}/metrics", origin.http_addr().unwrap())).await.unwrap().text().await.unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("sightline_origin_{name} "))).unwrap_or_else(|| panic!("{name}: {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_readers_have_their_own_size_rate_and_format_of_one_decoder_that_ends_with_them() {
    let signer = Signer::new("k1");
    let (origin, _dir) = origin_with(&signer, |config| config.limits.frame_readers_per_stream = 2).await;
    let mut camera = Publisher::connect(origin.rtmp_addr(), "live", &signer.name("s1", 1)).await.unwrap();
    let read = async {
        let url = format!("http://{}/live/{}/frames", origin.http_addr().unwrap(), playback_id("s1"));
        until("the stream", async || !origin.streams().is_empty()).await;
        let (mut jpeg, mut raw) = (Reader::open(&url).await, Reader::open(&format!("{url}?fps=5&width=160&format=raw")).await);
        assert_eq!((metric(&origin, "frame_decoders").await, metric(&origin, "viewers{protocol=\"frames\"}").await), (1, 2));
        let (mut captured, mut number) = (0, -1);
        for _ in 0..10 {
            let part = jpeg.next().await;
            assert_eq!((part.headers["content-type"].as_str(), &part.body[..2]), ("image/jpeg", &[0xff, 0xd8][..]));
            assert!(part.number("x-frame") > number && part.number("x-capture-time-us") > captured, "{:?}", part.headers);
            (number, captured) = (part.number("x-frame"), part.number("x-capture-time-us"));
            assert_eq!(part.headers["x-capture-clock"], "arrival");
        }
        assert!((captured / 1_000_000).abs_diff(now()) < 60);
        let mut last = raw.next().await;
        for _ in 0..3 {
            let part = raw.next().await;
            assert_eq!((part.number("x-width"), part.number("x-height"), part.number("x-stride")), (160, 90, 480));
            assert_eq!((part.headers["x-pixel-format"].as_str(), part.body.len()), ("bgr24", 160 * 90 * 3));
            assert!(part.number("x-frame") - last.number("x-frame") >= 4, "a fifth of 25 a second");
            last = part;
        }
        let decoded = metric(&origin, "decoded_pictures_total").await;
        assert!(decoded < u64::try_from(last.number("x-frame")).unwrap() + 30, "each picture once: {decoded}");
        let third = reqwest::get(&url).await.unwrap();
        assert_eq!(third.status(), 503);
        assert!(third.text().await.unwrap().contains("limits.frame_readers_per_stream"));
        for (query, words) in
            [("fps=x", "fps is a number from"), ("width=8", "width is a whole number from"), ("format=png", "jpeg or raw")]
        {
            let wrong = reqwest::get(format!("{url}?{query}")).await.unwrap();
            assert_eq!(wrong.status(), 400);
            assert!(wrong.text().await.unwrap().contains(words));
        }
        drop((jpeg, raw));
        until("the decoder ends", async || metric(&origin, "frame_decoders").await == 0).await;
        until("no one reads", async || metric(&origin, "viewers{protocol=\"frames\"}").await == 0).await;
    };
    tokio::select! {
        _ = camera.stream_for(Duration::from_secs(120)) => panic!("the camera ended"),
        () = read => {}
    }
    drop(camera);
    origin.shutdown().await;
}

/// A stream whose pictures become brighter, with B-frames.
fn brighter(rtmp: std::net::SocketAddr, size: &str) -> Child {
    let inputs = format!("-v error -re -f lavfi -i color=black:size={size}:rate=25,geq=lum='16+4*mod(N,50)':cb=128:cr=128");
    let codec = "-c:v libx264 -preset ultrafast -bf 2 -x264-params b-adapt=0 -g 25 -pix_fmt yuv420p -f flv";
    let url = format!("rtmp://{rtmp}/live/s1");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(inputs.split(' ')).args(codec.split(' ')).arg(url).stdin(Stdio::null()).kill_on_drop(true).spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_come_in_the_order_in_which_they_are_shown_and_go_on_with_another_publisher_of_another_size() {
    let signer = Signer::new("k1");
    let (origin, _dir) = origin_with(&signer, |config| config.auth.allow_unsigned_publish = true).await;
    let mut ffmpeg = brighter(origin.rtmp_addr(), "160x90");
    until("the stream", async || !origin.streams().is_empty()).await;
    let url = format!("http://{}/live/{}/frames", origin.http_addr().unwrap(), playback_id("s1"));
    let mut reader = Reader::open(&format!("{url}?format=raw")).await;
    let (mut brightness, mut rose, mut captured) = (0, 0, 0);
    for _ in 0..30 {
        let part = reader.next().await;
        let bright = part.body[part.body.len() / 2];
        // It begins anew every two seconds.
        let fell = brightness > bright && brightness - bright < 150;
        assert!(!fell, "{brightness} then {bright}: not in order");
        rose += u32::from(bright > brightness);
        assert!(part.number("x-capture-time-us") >= captured);
        (brightness, captured) = (bright, part.number("x-capture-time-us"));
    }
    assert!(rose > 20);
    // What OpenCV reads it with.
    let (is_ok, text) = run("ffmpeg", &format!("-v error -f mpjpeg -i {url}?width=80 -frames:v 5 -f null -")).await;
    assert!(is_ok && text.is_empty(), "{text}");
    ffmpeg.kill().await.unwrap();
    let _other = brighter(origin.rtmp_addr(), "320x180");
    while reader.next().await.number("x-width") != 320 {}
    origin.shutdown().await;
}
