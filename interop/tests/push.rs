//! `sightline push` to the server that everyone has: nginx with its RTMP module.

use interop::{
    Process, media,
    process::{eventually, free_port, sightline},
};
use std::{path::Path, process::Command, time::Duration};
use tempfile::TempDir;

/// A private nginx: own prefix, own port, nothing of the system's configuration.
fn nginx(dir: &Path) -> (Process, String) {
    let port = free_port();
    let path = dir.display();
    let conf = format!(
        "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;\ndaemon off;\nmaster_process off;\npid {path}/nginx.pid;\nerror_log {path}/error.log;\nevents {{}}\n\
         rtmp {{ server {{ listen 127.0.0.1:{port}; chunk_size 4096; max_message 8M;\n application live {{ live on; record all; record_path {path}; record_suffix .flv; }} }} }}\n"
    );
    std::fs::write(dir.join("nginx.conf"), conf).unwrap();
    let process = Process::start(
        "nginx",
        dir,
        Command::new("/usr/sbin/nginx").arg("-p").arg(dir).arg("-c").arg(dir.join("nginx.conf")).arg("-e").arg(dir.join("error.log")),
    );
    eventually("nginx listens", Duration::from_secs(10), || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    (process, format!("rtmp://127.0.0.1:{port}/live"))
}

#[test]
fn the_moving_scene_plays_from_nginx() {
    let dir = TempDir::new().unwrap();
    let (_nginx, url) = nginx(dir.path());
    let mut push =
        Process::start("push", dir.path(), Command::new(sightline()).args(["push", "test", &format!("{url}/scene"), "--quality", "low"]));
    let stream = eventually("nginx plays it", Duration::from_secs(20), || {
        let probed = Command::new("ffprobe")
            .args(["-v", "error", "-rw_timeout", "4000000", "-show_streams", "-of", "json", &format!("{url}/scene")])
            .output()
            .ok()?;
        let streams: serde_json::Value = serde_json::from_slice(&probed.stdout).ok()?;
        streams["streams"].as_array()?.iter().find(|stream| stream["codec_type"] == "video").cloned()
    });
    assert_eq!((stream["codec_name"].as_str(), stream["width"].as_i64(), stream["height"].as_i64()), (Some("h264"), Some(640), Some(480)));
    push.signal("-INT");
    assert!(push.wait(Duration::from_secs(10)).success());
    assert!(push.log().contains("sent "), "{}", push.log());
}

#[test]
fn a_file_pushed_once_is_recorded_by_nginx_byte_for_byte() {
    let dir = TempDir::new().unwrap();
    let (_nginx, url) = nginx(dir.path());
    let clip = dir.path().join("clip.mp4");
    media::make_clip(&clip, 4, "320x240", 25);
    let mut push = Process::start(
        "push",
        dir.path(),
        Command::new(sightline()).args(["push", clip.to_str().unwrap(), &format!("{url}/once"), "--once"]),
    );
    assert!(push.wait(Duration::from_secs(30)).success(), "{}", push.log());
    let hashes = |path: &Path, kind: &str| {
        let packets = media::packets(path.to_str().unwrap(), None);
        packets.into_iter().filter(|packet| packet.kind == kind).map(|packet| packet.hash).collect::<Vec<_>>()
    };
    let recording = eventually("nginx has closed its recording", Duration::from_secs(10), || {
        let path = dir.path().join("once.flv");
        (path.exists() && hashes(&path, "video").len() == 100).then_some(path)
    });
    for kind in ["video", "audio"] {
        assert_eq!(hashes(&recording, kind), hashes(&clip, kind), "{kind}");
    }
}

#[test]
fn a_server_that_is_not_there_is_said_so() {
    let dir = TempDir::new().unwrap();
    let url = format!("rtmp://127.0.0.1:{}/live/x?token=secret-in-the-url", free_port());
    let mut push = Process::start("push", dir.path(), Command::new(sightline()).args(["push", "test", &url, "--quality", "low"]));
    assert_eq!(push.wait(Duration::from_secs(60)).code(), Some(1));
    let log = push.log();
    assert!(log.contains("RTMP_CONNECT_TIMEOUT") && log.contains("refused"), "{log}");
    assert!(!log.contains("secret-in-the-url"), "the key is in the log: {log}");
}
