//! Network cameras as sources: RTSP and MJPEG over HTTP.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::{
    Demo, Process, Stack, camera, media, nginx,
    process::{eventually, free_port, output, sightline},
};
use std::{path::Path, process::Command, time::Duration};
use tempfile::TempDir;

const USER: &str = "admin";
/// Of a kind that must be percent-encoded.
const PASSWORD: &str = "s3cret/pass word";
const PASSWORD_IN_URL: &str = "s3cret%2Fpass%20word";

fn hashes(packets: &[media::Packet], kind: &str) -> Vec<String> {
    packets.iter().filter(|packet| packet.kind == kind).map(|packet| packet.hash.clone()).collect()
}

/// The received hashes are a run of the file's, which the camera plays round and round.
fn assert_is_run_of(received: &[String], file: &[String], least: usize, what: &str) {
    assert!(received.len() >= least, "{what}: only {} packets", received.len());
    let fits = |start: usize| received.iter().enumerate().all(|(index, hash)| *hash == file[(start + index) % file.len()]);
    assert!((0..file.len()).any(fits), "{what}: {} received packets are no run of the file's {}", received.len(), file.len());
}

fn assert_keeps_secrets(log: &str) {
    assert!(!log.contains("s3cret") && !log.contains("pass word"), "a camera's password is in the log:\n{log}");
}

fn push(dir: &Path, args: &[&str]) -> Process {
    Process::start("push", dir, Command::new(sightline()).arg("push").args(args))
}

#[test]
fn an_rtsp_camera_arrives_byte_for_byte_and_comes_back_after_it_was_gone() {
    let dir = TempDir::new().unwrap();
    let clip = dir.path().join("clip.mp4");
    media::make_clip(&clip, 40, "640x360", 25);
    let file = media::packets(clip.to_str().unwrap(), None);
    let port = free_port();
    let start = || camera::rtsp(dir.path(), port, &camera::launch_of(&clip), Some((USER, PASSWORD)));
    let mut server = start();
    let demo = Demo::start(&["--source", &format!("rtsp://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{port}{}", camera::RTSP_PATH)]);
    let playback = demo.playback();
    let url = format!("http://{}/live/{playback}.flv", demo.http);
    let check = |least: usize| {
        let received = media::packets(&url, Some(5));
        for kind in ["video", "audio"] {
            assert_is_run_of(&hashes(&received, kind), &hashes(&file, kind), least, kind);
        }
        for kind in ["video", "audio"] {
            let times: Vec<i64> = received.iter().filter(|packet| packet.kind == kind).map(|packet| packet.dts_ms).collect();
            assert!(times.windows(2).all(|pair| pair[1] >= pair[0]), "decoding times of {kind} rise: {times:?}");
        }
    };
    check(75);
    server.kill();
    eventually("the loss is said", Duration::from_secs(30), || demo.process.log().contains("SOURCE_LOST").then_some(()));
    let answers = || demo.process.log().matches("the camera answers").count();
    let before = answers();
    let _server = start();
    eventually("the camera is found again", Duration::from_secs(60), || (answers() > before).then_some(()));
    // What was sent before the loss is still in the origin's ring: a viewer may begin with it, and see the file go back to its start.
    eventually("the stream goes on", Duration::from_secs(30), || {
        let received = hashes(&media::packets(&url, Some(5)), "video");
        let file = hashes(&file, "video");
        let fits = |start: usize| received.iter().enumerate().all(|(index, hash)| file.get(start + index) == Some(hash));
        (received.len() >= 75 && (0..file.len()).any(fits)).then_some(())
    });
    assert_eq!(demo.playback(), playback, "it is the same stream");
    assert_keeps_secrets(&demo.process.log());
}

/// What many cameras of today are set to when they leave the factory.
#[test]
fn h265_goes_through_byte_for_byte_and_g711_as_aac() {
    let dir = TempDir::new().unwrap();
    let clip = dir.path().join("clip.mkv");
    let mut make = Command::new("ffmpeg");
    make.args([
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=320x180:rate=25",
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=440:sample_rate=8000",
    ]);
    make.args(["-t", "40", "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error:info=0:bframes=0:repeat-headers=0"]);
    output(make.args(["-g", "50", "-pix_fmt", "yuv420p", "-c:a", "pcm_alaw"]).arg(&clip));
    let port = free_port();
    let launch = format!(
        "( filesrc location={} ! matroskademux name=d d.video_0 ! queue ! rtph265pay name=pay0 pt=96 d.audio_0 ! queue ! rtppcmapay name=pay1 pt=8 )",
        clip.display()
    );
    let _server = camera::rtsp(dir.path(), port, &launch, None);
    let stack = Stack::start();
    let _ = stack.add_device("cam");
    let source = format!("rtsp://127.0.0.1:{port}{}", camera::RTSP_PATH);
    let agent = stack.start_camera("cam", &source, "trigger = \"always_on\"\n");
    let recording = eventually("ten seconds are recorded", Duration::from_secs(60), || {
        let recording = stack.recordings("cam", "mp4").first().cloned()?;
        (hashes(&media::packets(recording.to_str()?, None), "video").len() >= 250).then_some(recording)
    });
    let (received, file) = (media::packets(recording.to_str().unwrap(), None), media::packets(clip.to_str().unwrap(), None));
    assert_is_run_of(&hashes(&received, "video"), &hashes(&file, "video"), 250, "pictures");
    assert!(hashes(&received, "audio").len() >= 70, "eight thousand samples a second, 1,024 a frame");
    let picture = media::probe(recording.to_str().unwrap());
    assert_eq!((picture["codec_name"].as_str(), picture["width"].as_i64()), (Some("hevc"), Some(320)), "{}", agent.log());
    assert!(media::decode(&recording) >= 245);
    let gstreamer = format!("filesrc location={} ! qtdemux ! h265parse ! libde265dec ! fakesink", recording.display());
    output(Command::new("gst-launch-1.0").arg("-q").args(gstreamer.split(' ')));
}

#[test]
fn rtsp_over_udp_arrives_byte_for_byte() {
    let dir = TempDir::new().unwrap();
    let (_nginx, url) = nginx::start(dir.path());
    let clip = dir.path().join("clip.mp4");
    media::make_clip_with(&clip, 30, "320x240", 25, 0);
    let port = free_port();
    let _server = camera::rtsp(dir.path(), port, &camera::launch_of(&clip), None);
    let source = format!("rtsp://127.0.0.1:{port}{}", camera::RTSP_PATH);
    let mut pushed = push(dir.path(), &[&source, &format!("{url}/udp"), "--rtsp-transport", "udp"]);
    let recording = dir.path().join("udp.flv");
    let received = eventually("nginx records five seconds", Duration::from_secs(40), || {
        let length = std::fs::metadata(&recording).map_or(0, |file| file.len());
        let received = (length > 0).then(|| media::packets(recording.to_str().unwrap(), None))?;
        (hashes(&received, "video").len() >= 125).then_some(received)
    });
    let file = media::packets(clip.to_str().unwrap(), None);
    for kind in ["video", "audio"] {
        assert_is_run_of(&hashes(&received, kind), &hashes(&file, kind), 125, kind);
    }
    pushed.signal("-INT");
    assert!(pushed.wait(Duration::from_secs(15)).success(), "{}", pushed.log());
}

#[test]
fn an_rtsp_camera_above_the_preset_is_encoded_again() {
    let dir = TempDir::new().unwrap();
    let (_nginx, url) = nginx::start(dir.path());
    let clip = dir.path().join("clip.mp4");
    media::make_clip(&clip, 30, "1280x720", 30);
    let port = free_port();
    let _server = camera::rtsp(dir.path(), port, &camera::launch_of(&clip), None);
    let source = format!("rtsp://127.0.0.1:{port}{}", camera::RTSP_PATH);
    let mut pushed = push(dir.path(), &[&source, &format!("{url}/small"), "--quality", "low"]);
    let recording = dir.path().join("small.flv");
    eventually("nginx records four seconds", Duration::from_secs(60), || {
        let length = std::fs::metadata(&recording).map_or(0, |file| file.len());
        (length > 0 && hashes(&media::packets(recording.to_str().unwrap(), None), "video").len() >= 60).then_some(())
    });
    pushed.signal("-INT");
    assert!(pushed.wait(Duration::from_secs(15)).success(), "{}", pushed.log());
    let stream = media::probe(recording.to_str().unwrap());
    assert_eq!((stream["width"].as_i64(), stream["height"].as_i64()), (Some(640), Some(360)));
    assert!(media::decode(&recording) >= 55);
}

fn assert_refused(dir: &Path, source: &str, url: &str, expected: &str) {
    let mut pushed = push(dir, &[source, url]);
    assert_eq!(pushed.wait(Duration::from_secs(30)).code(), Some(1), "{}", pushed.log());
    let log = pushed.log();
    assert!(log.contains(expected), "{expected}: {log}");
    assert_keeps_secrets(&log);
}

#[test]
fn what_an_rtsp_camera_refuses_is_said_with_its_mend() {
    let dir = TempDir::new().unwrap();
    let (_nginx, url) = nginx::start(dir.path());
    let (port, path) = (free_port(), camera::RTSP_PATH);
    let launch =
        |coded: &str| format!("( videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=10/1 ! {coded} )");
    let _server = camera::rtsp(dir.path(), port, &launch("jpegenc ! rtpjpegpay name=pay0 pt=26"), Some((USER, PASSWORD)));
    for (source, expected) in [
        (format!("rtsp://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{port}{path}"), "its video is JPEG, and only H.264 and H.265 are read"),
        (format!("rtsp://{USER}:wrong-s3cret@127.0.0.1:{port}{path}"), "refuses the user or the password (401)"),
        (format!("rtsp://127.0.0.1:{port}{path}"), "asks for a user and a password (401)"),
        (format!("rtsp://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{port}/elsewhere?no=s3cret"), "no stream at this path (404)"),
    ] {
        assert_refused(dir.path(), &source, &format!("{url}/refused"), expected);
    }
}

#[test]
fn an_mjpeg_camera_behind_a_password_is_encoded_and_comes_back_after_it_was_gone() {
    let dir = TempDir::new().unwrap();
    let port = free_port();
    let mut ffmpeg = camera::mjpeg(dir.path(), port, "800x600", 10);
    let (_proxy, proxy) = camera::with_password(dir.path(), port, USER, PASSWORD);
    let demo = Demo::start(&["--quality", "low", "--source", &format!("http://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{proxy}/stream")]);
    let playback = demo.playback();
    let url = format!("http://{}/live/{playback}.flv", demo.http);
    let recording = dir.path().join("mjpeg.flv");
    let decoded = |seconds: &str| {
        interop::process::output(
            Command::new("ffmpeg").args(["-v", "error", "-y", "-i", &url, "-t", seconds, "-c", "copy"]).arg(&recording),
        );
        media::decode(&recording)
    };
    assert!(decoded("4") >= 20);
    let stream = media::probe(recording.to_str().unwrap());
    assert_eq!((stream["width"].as_i64(), stream["height"].as_i64()), (Some(640), Some(480)));
    // The picture is the camera's: a red field of the test pattern is red at the far end, not dark, and not another colour.
    let first = interop::process::output(Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(&recording).args([
        "-frames:v",
        "1",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-",
    ]));
    let expected = interop::process::output(Command::new("ffmpeg").args([
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=640x480:rate=10",
        "-frames:v",
        "1",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-",
    ]));
    // The left fifth, whose vertical bars do not move.
    let column =
        |picture: &[u8], x: usize| -> Vec<i32> { (0..3).map(|channel| i32::from(picture[(240 * 640 + x) * 3 + channel])).collect() };
    let near = (4..636).step_by(8).filter(|&x| column(&first, x).iter().zip(column(&expected, x)).all(|(a, b)| (a - b).abs() < 60)).count();
    assert!(near > 40, "only {near} of 79 points of a line look like the test pattern");
    ffmpeg.kill();
    eventually("the loss is said", Duration::from_secs(30), || demo.process.log().contains("SOURCE_LOST").then_some(()));
    let answers = || demo.process.log().matches("the camera answers").count();
    let before = answers();
    let _ffmpeg = camera::mjpeg(dir.path(), port, "800x600", 10);
    eventually("the camera is found again", Duration::from_secs(60), || (answers() > before).then_some(()));
    let count = decoded("3");
    assert!(count >= 15, "{count} pictures of three seconds");
    assert_eq!(demo.playback(), playback, "it is the same stream");
    assert_keeps_secrets(&demo.process.log());
}

#[test]
fn what_an_http_camera_refuses_is_said_with_its_mend() {
    let dir = TempDir::new().unwrap();
    let (_nginx, url) = nginx::start(dir.path());
    let (_proxy, proxy) = camera::with_password(dir.path(), free_port(), USER, PASSWORD);
    for (source, expected) in [
        (format!("http://{USER}:wrong-s3cret@127.0.0.1:{proxy}/stream"), "refuses the user or the password (401)"),
        (format!("http://127.0.0.1:{proxy}/stream"), "asks for a user and a password (401)"),
        (format!("http://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{proxy}/video"), "no stream at this path (404)"),
    ] {
        assert_refused(dir.path(), &source, &format!("{url}/refused"), expected);
    }
}

#[test]
fn a_source_is_looked_at_before_it_is_used() {
    let dir = TempDir::new().unwrap();
    let clip = dir.path().join("clip.mp4");
    media::make_clip(&clip, 20, "1280x720", 25);
    let port = free_port();
    let _server = camera::rtsp(dir.path(), port, &camera::launch_of(&clip), Some((USER, PASSWORD)));
    let mjpeg_port = free_port();
    let _ffmpeg = camera::mjpeg(dir.path(), mjpeg_port, "800x600", 10);
    let (_proxy, proxy) = camera::with_password(dir.path(), mjpeg_port, USER, PASSWORD);
    let rtsp = format!("rtsp://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{port}{}", camera::RTSP_PATH);
    let mjpeg = format!("http://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{proxy}/stream");
    let audio = serde_json::json!({ "codec": "aac", "sample_rate_hz": 44_100, "channels": 1 });
    for (source, codec, size, audio, through) in [
        (clip.to_str().unwrap(), "h264", [1280, 720], &audio, [true, false, false, true, true]),
        (&rtsp, "h264", [1280, 720], &audio, [true, false, false, true, true]),
        (&mjpeg, "mjpeg", [800, 600], &serde_json::Value::Null, [false; 5]),
    ] {
        let run = Command::new(sightline()).args(["camera", "probe", source, "--json"]).output().unwrap();
        let said = String::from_utf8_lossy(&[run.stdout.as_slice(), &run.stderr].concat()).into_owned();
        assert!(run.status.success(), "{said}");
        assert_keeps_secrets(&said);
        let report: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
        assert_eq!((report["video"]["codec"].as_str(), &report["audio"]), (Some(codec), audio), "{report}");
        assert_eq!([&report["video"]["width"], &report["video"]["height"]].map(|side| side.as_u64()), size.map(Some), "{report}");
        assert!(report["video"]["fps"].as_f64().unwrap() > 5.0 && report["video"]["bitrate_bps"].as_u64().unwrap() > 10_000, "{report}");
        let passed: Vec<bool> =
            report["presets"].as_array().unwrap().iter().map(|preset| preset["is_passed_through"].as_bool().unwrap()).collect();
        assert_eq!(passed, through, "{report}");
    }
    let missing = format!("rtsp://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{}/", free_port());
    let run = Command::new(sightline()).args(["camera", "probe", &missing]).output().unwrap();
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.code() == Some(1) && said.contains("error: source rtsp://127.0.0.1:"), "{said}");
    assert_keeps_secrets(&said);
}

#[test]
fn cameras_by_tls_are_read_where_their_certificate_is_trusted() {
    let dir = TempDir::new().unwrap();
    // An authority, and a certificate of it for 127.0.0.1.
    let stack = Stack::start();
    let (ca, certificate, key) = (stack.file("cloud/ca.pem"), stack.file("cloud/server.pem"), stack.file("cloud/server.key"));
    let clip = dir.path().join("clip.mp4");
    media::make_clip(&clip, 20, "640x360", 25);
    let port = free_port();
    let _server = camera::rtsps(dir.path(), port, &camera::launch_of(&clip), (USER, PASSWORD), (&certificate, &key));
    let mjpeg_port = free_port();
    let _ffmpeg = camera::mjpeg(dir.path(), mjpeg_port, "320x240", 10);
    let (_proxy, proxy) = camera::with_password_and_tls(dir.path(), mjpeg_port, (USER, PASSWORD), (&certificate, &key));
    let rtsps = format!("rtsps://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{port}{}", camera::RTSP_PATH);
    let https = format!("https://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{proxy}/stream");
    let probe = |source: &str, options: &[&str]| {
        let run = Command::new(sightline()).args(["camera", "probe", source, "--json"]).args(options).output().unwrap();
        let said = String::from_utf8_lossy(&[run.stdout.as_slice(), &run.stderr].concat()).into_owned();
        assert_keeps_secrets(&said);
        (run.status.code(), serde_json::from_slice::<serde_json::Value>(&run.stdout).ok(), said)
    };
    for (source, codec, size) in [(&rtsps, "h264", [640, 360]), (&https, "mjpeg", [320, 240])] {
        let (status, _, said) = probe(source, &[]);
        assert!(status == Some(1) && said.contains("TLS_FAILED") && said.contains("set source_ca"), "{said}");
        let (_, report, said) = probe(source, &["--source-ca", ca.to_str().unwrap()]);
        let video = &report.unwrap_or_else(|| panic!("{said}"))["video"];
        assert_eq!(
            (video["codec"].as_str(), video["width"].as_u64(), video["height"].as_u64()),
            (Some(codec), Some(size[0]), Some(size[1]))
        );
    }
    let (status, _, said) = probe(&rtsps, &["--source-ca", ca.to_str().unwrap(), "--rtsp-transport", "udp"]);
    assert!(status == Some(1) && said.contains("set rtsp_transport to tcp"), "{said}");
}

/// A certificate that a camera has signed itself: its names are none of ours.
fn sign_itself(dir: &Path, name: &str) -> (std::path::PathBuf, std::path::PathBuf) {
    let (certificate, key) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
    let mut make = Command::new("openssl");
    make.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=IPCAM", "-out"]).arg(&certificate);
    output(make.arg("-keyout").arg(&key));
    (certificate, key)
}

#[test]
fn a_certificate_that_a_camera_has_signed_itself_is_pinned_when_it_is_first_seen() {
    let dir = TempDir::new().unwrap();
    let (_nginx, url) = nginx::start(dir.path());
    let clip = dir.path().join("clip.mp4");
    media::make_clip(&clip, 20, "320x240", 25);
    let port = free_port();
    let start = |(certificate, key): &(std::path::PathBuf, std::path::PathBuf)| {
        camera::rtsps(dir.path(), port, &camera::launch_of(&clip), (USER, PASSWORD), (certificate, key))
    };
    let own = sign_itself(dir.path(), "own");
    let mut server = start(&own);
    let toml = dir.path().join("camera.toml");
    let (path, source) = (dir.path().display(), format!("rtsps://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{port}{}", camera::RTSP_PATH));
    let stream = format!("rtmp_server_url = '{url}'\nstream_key = 'pinned'\ntrigger = 'always_on'\n");
    std::fs::write(&toml, format!("device_id = 'cam'\nsource = '{source}'\nstate_dir = '{path}/state'\n[stream]\n{stream}")).unwrap();
    let agent = || Process::start("cam", dir.path(), Command::new(sightline()).args(["camera", "--config"]).arg(&toml));
    let mut first = agent();
    eventually("pictures arrive", Duration::from_secs(30), || {
        std::fs::metadata(dir.path().join("pinned.flv")).ok().filter(|file| file.len() > 20_000)
    });
    assert!(first.log().contains("has signed its certificate itself"), "{}", first.log());
    assert_keeps_secrets(&first.log());
    first.kill();
    server.kill();
    let _other = start(&sign_itself(dir.path(), "other"));
    let second = agent();
    eventually("another certificate is refused over a restart", Duration::from_secs(30), || {
        second.log().contains("it shows another certificate").then_some(())
    });
    assert!(second.log().contains("state/camera-certificates"), "the mend is named: {}", second.log());
}

#[test]
fn of_a_camera_with_two_streams_the_one_nearest_to_the_preset_is_read() {
    let dir = TempDir::new().unwrap();
    let port = free_port();
    let pay = |size: (u32, u32), name: &str| {
        format!(
            "videotestsrc is-live=true ! video/x-raw,width={},height={},framerate=15/1 ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 \
             bitrate=300 ! rtph264pay name={name} config-interval=-1",
            size.0, size.1
        )
    };
    let launch = format!("( {} {} )", pay((1280, 720), "pay0 pt=96"), pay((640, 480), "pay1 pt=97"));
    let _camera = camera::rtsp(dir.path(), port, &launch, None);
    let (_nginx, server) = nginx::start(dir.path());
    let source = format!("rtsp://127.0.0.1:{port}{}", camera::RTSP_PATH);
    for (quality, size) in [("low", "640x480"), ("medium", "1280x720")] {
        let push = push(dir.path(), &["-v", &source, &format!("{server}/{quality}"), "--quality", quality]);
        eventually("it is told which is read", Duration::from_secs(20), || {
            push.log().contains(&format!("offered=\"1280x720, 640x480\" read={}", if size == "640x480" { 2 } else { 1 })).then_some(())
        });
        let file = dir.path().join(format!("{quality}.flv"));
        eventually("it arrives", Duration::from_secs(20), || std::fs::metadata(&file).is_ok_and(|file| file.len() > 60_000).then_some(()));
        let probed = media::probe(file.to_str().unwrap());
        assert_eq!(format!("{}x{}", probed["width"], probed["height"]), size);
    }
    // In one description two, and one at another address.
    let other = free_port();
    let _other = camera::rtsp(dir.path(), other, &format!("( {} )", pay((320, 240), "pay0 pt=96")), None);
    let second = format!("rtsp://127.0.0.1:{other}{}", camera::RTSP_PATH);
    let printed = output(Command::new(sightline()).args(["camera", "probe", &source, "--source-sub", &second, "--json"]));
    let printed: serde_json::Value = serde_json::from_slice(&printed).unwrap();
    let streams = printed["streams"].as_array().unwrap().iter().map(|stream| {
        let about = |key: &str| stream[key].to_string().trim_matches('"').to_owned();
        let is_rate = (14.0..16.0).contains(&stream["fps"].as_f64().unwrap());
        format!("{} {}x{} {is_rate} {}", about("codec"), about("width"), about("height"), about("source"))
    });
    let expected = [("1280x720", &source), ("640x480", &source), ("320x240", &second)];
    assert_eq!(streams.collect::<Vec<_>>(), expected.map(|(size, at)| format!("h264 {size} true {at}")));
}
