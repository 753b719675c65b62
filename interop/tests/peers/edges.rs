//! Two origins and an edge, a real camera and a real viewer.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::{
    Stack,
    process::{Process, eventually, free_port, output, sightline},
    stack,
};
use std::{process::Command, time::Duration};

/// Only a hang takes so long.
const LIMIT: Duration = Duration::from_secs(30);

/// Another origin of a stack; gives where its HTTP is.
fn origin(stack: &Stack, id: &str, more: &str) -> (Process, String) {
    let [http, rtmp, rtmps] = [(); 3].map(|()| format!("127.0.0.1:{}", free_port()));
    let path = stack.file("").display().to_string();
    let toml = format!(
        "server_id = '{id}'\ndata_dir = '{path}/{id}'\n[rtmp]\nlisten = '{rtmp}'\n[rtmps]\nlisten = '{rtmps}'\n\
         cert = '{path}/cloud/server.pem'\nkey = '{path}/cloud/server.key'\n[http]\nlisten = '{http}'\n[auth]\nplay = 'signed'\n\
         [cloud]\nurl = 'http://{}'\ncluster_key_file = '{path}/cloud/cluster.key'\n[record]\nenabled = false\n{more}\n",
        stack.http
    );
    let file = stack.file(&format!("{id}.toml"));
    std::fs::write(&file, toml).unwrap();
    (Process::start(id, &stack.file(""), Command::new(sightline()).args(["origin", "--config"]).arg(file)), http)
}

#[test]
fn a_viewer_of_an_edge_stays_and_sees_the_next_pictures_when_the_origin_of_the_camera_is_killed() {
    let mut stack = Stack::start_with("", "[auth]\nplay = 'signed'");
    let (mut other, other_http) = origin(&stack, "origin-b", "");
    let upstreams = format!("upstreams = ['https://{}', 'https://{other_http}']", stack.origin_http);
    let (_edge, edge_http) = origin(&stack, "edge", &format!("[edge]\n{upstreams}\nca = '{}'", stack.file("cloud/ca.pem").display()));
    eventually("all are known", LIMIT, || {
        let servers = stack::get_json(&format!("http://{}/api/v1/servers", stack.http))?["items"].as_array()?.clone();
        let edges = servers.iter().filter(|server| server["is_edge"] == true).count();
        (servers.len() == 3 && edges == 1).then_some(())
    });
    let _ = stack.add_device("cam-1");
    let camera = stack.start_camera("cam-1", "test", "quality = 'low'");
    let live = || stack::streams(&stack.http).0.first().cloned();
    let stream = eventually("the camera is live", LIMIT, || live().filter(|stream| stream["fps"].as_f64() > Some(0.0)));
    let on = stream["server"].as_str().unwrap().to_owned();
    let playback = stream["playback"].as_str().unwrap();

    let address = format!("http://{}/api/v1/streams/cam-1/playback", stack.http);
    let (status, answer) = stack::ask(&address, &["-X", "POST", "-H", "content-type: application/json", "-d", "{}"]);
    let token = answer["token"].as_str().unwrap_or_else(|| panic!("{status} {answer}"));
    let url = format!("http://{edge_http}/live/{playback}.flv?token={token}");
    let hashes = stack.file("seen.framecrc");
    let decode = ["-f", "framecrc", "-flush_packets", "1"];
    let mut viewer = Process::start(
        "viewer",
        &stack.file(""),
        Command::new("ffmpeg").args(["-v", "error", "-i", &url, "-an"]).args(decode).arg(&hashes),
    );
    let seen = || std::fs::read_to_string(&hashes).unwrap_or_default().lines().filter(|line| !line.starts_with('#')).count();
    eventually("the viewer sees pictures", LIMIT, || (seen() > 10).then_some(()));

    if on == "origin-a" {
        stack.origin.kill()
    } else {
        other.kill()
    }
    let switched = || {
        let metrics = String::from_utf8(output(Command::new("curl").args(["-s", &format!("http://{edge_http}/metrics")]))).ok()?;
        metrics.contains("sightline_origin_pull_switches_total 1\n").then_some(())
    };
    eventually("the edge goes on from the next origin", LIMIT, switched);
    let before = seen();
    eventually("the viewer sees the next pictures", LIMIT, || (seen() > before + 10).then_some(()));
    eventually("the cloud knows where from", LIMIT, || {
        let servers = stack::get_json(&format!("http://{}/api/v1/servers", stack.http))?["items"].as_array()?.clone();
        let next = if on == "origin-a" { &other_http } else { &stack.origin_http };
        let edge = servers.into_iter().find(|server| server["id"] == "edge")?;
        (edge["pulls"][0]["upstream"] == format!("https://{next}")).then_some(())
    });
    assert!(viewer.is_running(), "{}", camera.log());
}
