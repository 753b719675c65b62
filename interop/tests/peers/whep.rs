//! WHEP and WHIP in real headless Chromium, by UDP, and where a network lets only TCP out.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::{
    Process,
    browser::Browser,
    process::{eventually, free_port, sightline},
};
use serde_json::Value;
use std::{net::TcpStream, path::Path, process::Command, time::Duration};
use tempfile::TempDir;

/// Longer than anything here takes.
const HANG: Duration = Duration::from_secs(30);

/// Plays into `window.video`, with what `FILTER` leaves of the answer.
const PLAY: &str = r"
const video = window.video = document.createElement('video');
video.autoplay = video.playsInline = true;
document.body.append(video);
const peer = window.peer = new RTCPeerConnection();
peer.addTransceiver('video', {direction: 'recvonly'});
peer.addTransceiver('audio', {direction: 'recvonly'});
peer.ontrack = ({streams}) => { video.srcObject = streams[0]; };
(async () => {
  await peer.setLocalDescription();
  const request = {method: 'POST', headers: {'content-type': 'application/sdp'}, body: peer.localDescription.sdp};
  const answer = await fetch(URL, request);
  const lines = (await answer.text()).split('\r\n');
  await peer.setRemoteDescription({type: 'answer', sdp: lines.filter(FILTER).join('\r\n')});
})();
setInterval(async () => {
  const reading = {time: video.currentTime, width: video.videoWidth};
  for (const report of (await peer.getStats()).values()) {
    if (report.type === 'inbound-rtp' && report.kind === 'video') Object.assign(reading, {decoded: report.framesDecoded, lost: report.packetsLost});
    if (report.type === 'inbound-rtp' && report.kind === 'audio') reading.sound = report.audioLevel;
    if (report.type === 'remote-candidate') reading.protocol = report.protocol;
  }
  window.reading = reading;
}, 100);
";

/// Publishes a camera and a microphone that are made up.
const PUBLISH: &str = r"
(async () => {
  const peer = window.sender = new RTCPeerConnection();
  const media = await navigator.mediaDevices.getUserMedia({video: {width: 320, height: 240}, audio: true});
  for (const track of media.getTracks()) peer.addTransceiver(track, {direction: 'sendonly'});
  await peer.setLocalDescription();
  const request = {method: 'POST', headers: {'content-type': 'application/sdp'}, body: peer.localDescription.sdp};
  const answer = await fetch(URL, request);
  window.said = answer.status;
  await peer.setRemoteDescription({type: 'answer', sdp: await answer.text()});
})().catch(error => { window.said = String(error); });
";

fn origin(dir: &Path) -> (Process, String, String) {
    let [rtmp, http, media] = [(); 3].map(|()| format!("127.0.0.1:{}", free_port()));
    let toml = format!(
        "data_dir = '{}/origin'\n[rtmp]\nlisten = '{rtmp}'\n[http]\nlisten = '{http}'\n[whep]\nlisten = '{media}'\n\
         [auth]\nallow_unsigned_publish = true\n[record]\nenabled = false\n",
        dir.display()
    );
    std::fs::write(dir.join("origin.toml"), toml).unwrap();
    let origin = Process::start("origin", dir, Command::new(sightline()).args(["origin", "--config"]).arg(dir.join("origin.toml")));
    eventually("the origin listens", HANG, || TcpStream::connect(&http).ok());
    (origin, rtmp, http)
}

fn publish(dir: &Path, rtmp: &str, size: &str) -> Process {
    let inputs = format!("-v error -re -f lavfi -i testsrc2=size={size}:rate=25 -re -f lavfi -i sine=frequency=440:sample_rate=44100");
    let codecs = "-c:v libx264 -preset ultrafast -tune zerolatency -g 25 -pix_fmt yuv420p -c:a aac -f flv";
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(inputs.split(' ')).args(codecs.split(' ')).arg(format!("rtmp://{rtmp}/live/cam"));
    Process::start("ffmpeg", dir, &mut ffmpeg)
}

/// The stream's playback id, as the origin's log has it.
fn playback(origin: &Process) -> String {
    eventually("the stream is live", HANG, || {
        let log = origin.log();
        let (_, rest) = log.split_once("playback=\"")?;
        Some(rest.split_once('"')?.0.to_owned())
    })
}

fn reading(browser: &Browser, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    eventually(what, HANG, || Some(browser.run("return window.reading ?? {}")).filter(&is_it))
}

#[test]
fn chromium_plays_pictures_and_sound_over_a_publisher_s_restart_with_another_size_and_by_tcp_alone() {
    let dir = TempDir::new().unwrap();
    let (origin, rtmp, http) = origin(dir.path());
    let mut ffmpeg = publish(dir.path(), &rtmp, "640x360");
    let browser = Browser::start(800, 600);
    let url = format!("http://{http}/live/{}/whep", playback(&origin));
    let play = |filter: &str| {
        browser.open(&format!("http://{http}/healthz"));
        let _ = browser.run(&PLAY.replace("URL", &format!("'{url}'")).replace("FILTER", filter));
    };
    play("line => true");
    let is_live = |reading: &Value| reading["decoded"].as_u64() > Some(20) && reading["sound"].as_f64() > Some(0.01);
    let first = reading(&browser, "pictures and sound", is_live);
    assert_eq!((first["width"].as_u64(), first["protocol"].as_str()), (Some(640), Some("udp")), "{first}");
    ffmpeg.kill();
    let _ffmpeg = publish(dir.path(), &rtmp, "320x180");
    let later = reading(&browser, "pictures of the other size", |reading| {
        reading["width"] == 320 && reading["decoded"].as_u64() > first["decoded"].as_u64().map(|decoded| decoded + 20)
    });
    assert!(later["time"].as_f64() > first["time"].as_f64() && later["lost"] == 0, "{first} then {later}");
    play("line => !/^a=candidate.* udp /.test(line)");
    let by_tcp = reading(&browser, "pictures by TCP", |reading| reading["decoded"].as_u64() > Some(20));
    assert_eq!(by_tcp["protocol"], "tcp", "{by_tcp}");
}

#[test]
fn what_chromium_publishes_by_whip_it_plays_by_whep() {
    let dir = TempDir::new().unwrap();
    let (origin, _, http) = origin(dir.path());
    let [sender, browser] = [Browser::start_with_camera(800, 600), Browser::start(800, 600)];
    sender.open(&format!("http://{http}/healthz"));
    let _ = sender.run(&PUBLISH.replace("URL", &format!("'http://{http}/live/cam/whip'")));
    let playback = playback(&origin);
    browser.open(&format!("http://{http}/healthz"));
    let url = format!("'http://{http}/live/{playback}/whep'");
    let _ = browser.run(&PLAY.replace("URL", &url).replace("FILTER", "line => true"));
    let is_live = |reading: &Value| reading["decoded"].as_u64() > Some(20) && reading["width"] == 320;
    let _ = reading(&browser, "pictures", is_live);
    assert_eq!(sender.run("return window.said"), 201);
}
