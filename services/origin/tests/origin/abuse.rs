//! Peers that mean no good: each costs only itself, and nothing of it stays.

use crate::clip::clip;
use crate::peers::{Player, Publisher};
use crate::tokens::Signer;
use crate::{origin_with, until};
use sightline_media::TrackId;
use sightline_signal::playback_id;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// File descriptors of this process: the origin's and its peers'.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Waits for the other side's end of a connection.
async fn ended(peer: &mut TcpStream) {
    let mut waste = [0; 4096];
    let drain = async { while matches!(peer.read(&mut waste).await, Ok(1..)) {} };
    tokio::time::timeout(Duration::from_secs(15), drain).await.expect("it is let go");
}

/// C0 C1 C2, all zeros.
fn opening() -> Vec<u8> {
    let mut bytes = vec![0; 1 + 2 * 1536];
    bytes[0] = 3;
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_port_scans_leave_nothing_behind() {
    let signer = Signer::new("k1");
    let (origin, _dir) = origin_with(&signer, |_| {}).await;
    let before = descriptors();
    for _ in 0..200 {
        drop(TcpStream::connect(origin.rtmp_addr()).await.unwrap());
    }
    until("the end of all scans", async || (origin.connections().silent, origin.connections().open) == (200, 0)).await;
    assert_eq!((origin.connections().accepted, origin.connections().pending), (200, 0));
    until("every descriptor", async || descriptors() <= before).await;
    assert!(Publisher::connect(origin.rtmp_addr(), "live", &signer.name("s1", 1)).await.is_ok());
    origin.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_half_open_and_undecided_peers_are_let_go_by_their_deadlines() {
    let signer = Signer::new("k1");
    let change = |config: &mut sightline_origin::Config| (config.rtmp.handshake_timeout_sec, config.rtmp.command_timeout_sec) = (1, 2);
    let (origin, _dir) = origin_with(&signer, change).await;
    let mut peers = vec![];
    let handshake = opening();
    for said in [&[][..], &handshake[..700], &handshake[..1537], &handshake] {
        let mut peer = TcpStream::connect(origin.rtmp_addr()).await.unwrap();
        peer.write_all(said).await.unwrap();
        peers.push(peer);
    }
    for peer in &mut peers {
        ended(peer).await;
    }
    until("the counts", async || origin.connections().timeouts == 4 && origin.connections().open == 0).await;
    origin.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_rtmp_is_let_go_at_once_and_counted() {
    let signer = Signer::new("k1");
    let (origin, _dir) = origin_with(&signer, |_| {}).await;
    let broken_chunk = [&opening()[..], &[0xc3, 0]].concat();
    for said in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x16, 3, 1], &broken_chunk] {
        let mut peer = TcpStream::connect(origin.rtmp_addr()).await.unwrap();
        peer.write_all(said).await.unwrap();
        ended(&mut peer).await;
    }
    until("the counts", async || origin.connections().malformed == 3).await;
    let metrics = reqwest::get(format!("http://{}/metrics", origin.http_addr().unwrap())).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("sightline_origin_rtmp_connections_total{outcome=\"malformed\"} 3\n"), "{metrics}");
    origin.shutdown().await;
}

/// Encoders on chips write from the handshake to the first key frame without reading once, and their headers before each key frame.
#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_waits_for_no_answer_is_taken_and_counted() {
    let signer = Signer::new("k1");
    let (origin, _dir) = origin_with(&signer, |_| {}).await;
    let key = clip().frames.iter().find(|frame| frame.track == TrackId::VIDEO).unwrap();
    let (header, picture) = header_and_picture();
    let said = [publishing(&signer.name("s1", 1)), header.clone(), header, picture];
    let mut peer = TcpStream::connect(origin.rtmp_addr()).await.unwrap();
    peer.write_all(&said.concat()).await.unwrap();
    until("the stream", async || !origin.streams().is_empty()).await;
    let mut viewer = Player::connect(origin.rtmp_addr(), &playback_id("s1")).await;
    assert_eq!(viewer.frame().await.payload, key.payload);
    let metrics = reqwest::get(format!("http://{}/metrics", origin.http_addr().unwrap())).await.unwrap().text().await.unwrap();
    for what in ["publish before createStream was answered", "media before publish was answered", "a sequence header again, unchanged"] {
        let line = format!("sightline_origin_publisher_remarks_total{{fate=\"taken\",what=\"{what}\"}} 1\n");
        assert!(metrics.contains(&line), "{metrics}");
    }
    origin.shutdown().await;
}

/// All that a publisher says before its first picture, without waiting for an answer.
fn publishing(name: &str) -> Vec<u8> {
    let publish = [&b"\x02\0\x07publish\0\x40\x14\0\0\0\0\0\0\x05\x02"[..], &(name.len() as u16).to_be_bytes(), name.as_bytes()].concat();
    [
        opening(),
        chunks(20, 0, b"\x02\0\x07connect\0\x3f\xf0\0\0\0\0\0\0\x03\0\x03app\x02\0\x04live\0\0\x09"),
        chunks(20, 0, b"\x02\0\x0ccreateStream\0\x40\0\0\0\0\0\0\0\x05"),
        chunks(20, 1, &publish),
    ]
    .concat()
}

/// The messages of a sequence header and of a key frame.
fn header_and_picture() -> (Vec<u8>, Vec<u8>) {
    let key = clip().frames.iter().find(|frame| frame.track == TrackId::VIDEO).unwrap();
    let header = [&[0x17, 0, 0, 0, 0][..], clip().tracks[0].config.as_bytes()].concat();
    let picture = [&[0x17, 1, 0, 0, 0][..], &key.payload].concat();
    (chunks(9, 1, &header), chunks(9, 1, &picture))
}

/// The end of a metric's line.
async fn metric(origin: &sightline_origin::Origin, name: &str) -> String {
    let metrics = reqwest::get(format!("http://{}/metrics", origin.http_addr().unwrap())).await.unwrap().text().await.unwrap();
    metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name} in {metrics}")).trim().to_owned()
}

/// Each kind of message, as small as it can be, as often as a publisher likes.
#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_floods_is_ended_by_a_name_whatever_it_floods_with() {
    let signer = Signer::new("k1");
    let (origin, _dir) = origin_with(&signer, |_| {}).await;
    let (header, picture) = header_and_picture();
    let small_picture = chunks(9, 1, &[0x27, 1, 0, 0, 0, 0, 0, 0, 1, 0x41]);
    let sound = [chunks(8, 1, &[0xaf, 0, 0x12, 0x10]), chunks(8, 1, &[0xaf, 1, 1]).repeat(70_000)].concat();
    let metadata = chunks(18, 1, b"\x02\0\x0d@setDataFrame\x02\0\x0aonMetaData\x08\0\0\0\0\0\0\x09");
    for (number, flood) in [small_picture.repeat(70_000), sound, metadata.repeat(70_000)].into_iter().enumerate() {
        let name = signer.name(&format!("s{number}"), 1);
        let said = [publishing(&name), header.clone(), picture.clone(), flood].concat();
        let mut peer = TcpStream::connect(origin.rtmp_addr()).await.unwrap();
        let (mut reader, mut writer) = peer.split();
        let mut heard = vec![];
        let (_, read) = tokio::join!(writer.write_all(&said), reader.read_to_end(&mut heard));
        let told = String::from_utf8_lossy(&heard).into_owned();
        assert!(told.contains("NetStream.Publish.Rejected") || read.is_err(), "{number}: {} bytes", told.len());
        assert_eq!(metric(&origin, "sightline_origin_publishers_limited_total{of=\"messages\"}").await, (number + 1).to_string());
    }
    origin.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_sends_many_times_what_its_token_allows_is_ended_and_one_at_its_rate_is_not() {
    let signer = Signer::new("k1");
    let (origin, _dir) = origin_with(&signer, |config| config.limits.publisher_kbps = 0).await;
    let (header, picture) = header_and_picture();
    let claims = sightline_signal::Claims { bitrate_kbps_max: 50, ..crate::tokens::claims("s1", 1) };
    let said = [publishing(&format!("s1?token={}", signer.sign(&claims))), header, picture.clone()].concat();
    let mut peer = TcpStream::connect(origin.rtmp_addr()).await.unwrap();
    peer.write_all(&said).await.unwrap();
    until("it publishes", async || !origin.streams().is_empty()).await;
    // A minute and a half of 50 kbit/s, twice, and what sound takes: 6.9 MB.
    let burst = picture.repeat(6_000_000 / picture.len());
    peer.write_all(&burst).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(metric(&origin, "sightline_origin_publishers_limited_total{of=\"bitrate\"}").await, "0");
    let _ = peer.write_all(&burst).await;
    until("its end", async || metric(&origin, "sightline_origin_publishers_limited_total{of=\"bitrate\"}").await == "1").await;
    origin.shutdown().await;
}

/// A message in chunks of 128 bytes, all of it with headers of type 0 and 3.
fn chunks(type_id: u8, stream_id: u8, body: &[u8]) -> Vec<u8> {
    let [_, l1, l2, l3] = (body.len() as u32).to_be_bytes();
    let mut out = vec![3, 0, 0, 0, l1, l2, l3, type_id, stream_id, 0, 0, 0];
    for (place, chunk) in body.chunks(128).enumerate() {
        if place > 0 {
            out.push(0xc3);
        }
        out.extend_from_slice(chunk);
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_takes_no_more_than_its_share() {
    let signer = Signer::new("k1");
    let change = |config: &mut sightline_origin::Config| {
        (config.limits.connections_per_address, config.limits.pending_per_address) = (3, 3);
    };
    let (origin, _dir) = origin_with(&signer, change).await;
    let rtmp = origin.rtmp_addr();
    let mut publisher = Publisher::connect(rtmp, "live", &signer.name("s1", 1)).await.unwrap();
    assert!(publisher.stream_for(Duration::from_millis(200)).await);
    let mut silent = vec![];
    for _ in 0..3 {
        silent.push(TcpStream::connect(rtmp).await.unwrap());
    }
    until("three that wait", async || origin.connections().pending == 3).await;
    refused("127.0.0.1", rtmp).await;
    assert_eq!(origin.connections().refused_address, 1, "the publisher has shown a token: it is no stranger");
    let _elsewhere = from("127.0.0.2", rtmp).await;
    until("one from elsewhere", async || origin.connections().open == 5).await;
    // A place that is given up is taken by a viewer.
    silent.pop();
    until("a place", async || origin.connections().open == 4).await;
    let mut viewer = Player::connect(rtmp, &playback_id("s1")).await;
    viewer.frame().await;
    until("a viewer that does not wait", async || (origin.connections().open, origin.connections().pending) == (5, 3)).await;
    origin.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_undecided_has_a_share_of_its_own_and_others_wait_for_it_and_those_that_publish_do_not_count() {
    let signer = Signer::new("k1");
    let (origin, _dir) = origin_with(&signer, |config| config.limits.pending_per_address = 1).await;
    let rtmp = origin.rtmp_addr();
    let mut publishers = vec![];
    for stream in ["s1", "s2", "s3"] {
        publishers.push(Publisher::connect(rtmp, "live", &signer.name(stream, 1)).await.unwrap());
        until("it is let in", async || origin.connections().pending == 0).await;
    }
    let silent = TcpStream::connect(rtmp).await.unwrap();
    until("one that is undecided", async || origin.connections().pending == 1).await;
    let name = signer.name("s4", 1);
    let (late, ()) = tokio::join!(Publisher::connect(rtmp, "live", &name), async {
        until("one that waits for its place", async || origin.connections().waiting == 1).await;
        let _elsewhere = from("127.0.0.3", rtmp).await;
        until("one from elsewhere", async || origin.connections().pending == 2).await;
        drop(silent);
    });
    assert!(late.is_ok(), "its place came when the silent one had gone");
    assert_eq!((origin.connections().refused_pending, origin.connections().refused_address), (0, 0));
    drop((publishers, late));
    origin.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_total_has_a_limit() {
    let signer = Signer::new("k1");
    let (origin, _dir) = origin_with(&signer, |config| config.limits.connections = 2).await;
    let rtmp = origin.rtmp_addr();
    let _silent = [from("127.0.0.2", rtmp).await, from("127.0.0.3", rtmp).await];
    until("two", async || origin.connections().open == 2).await;
    refused("127.0.0.4", rtmp).await;
    assert_eq!(origin.connections().refused_total, 1);
    origin.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_trickles_loses_its_stream() {
    let signer = Signer::new("k1");
    let (origin, _dir) = origin_with(&signer, |config| config.rtmp.idle_timeout_sec = 2).await;
    let mut publisher = Publisher::connect(origin.rtmp_addr(), "live", &signer.name("s1", 1)).await.unwrap();
    assert!(publisher.stream_for(Duration::from_millis(300)).await);
    // A ping's answer now and then is no stream.
    until("its end", async || !publisher.trickle().await).await;
    until("the count", async || origin.connections().timeouts == 1).await;
    origin.shutdown().await;
}

/// A connection from an address of this machine.
async fn from(address: &str, to: SocketAddr) -> TcpStream {
    try_from(address, to).await.unwrap()
}

async fn try_from(address: &str, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(address.parse().unwrap(), 0))?;
    socket.connect(to).await
}

/// A connection that is reset: while it is made, or right after.
async fn refused(address: &str, to: SocketAddr) {
    if let Ok(mut socket) = try_from(address, to).await {
        ended(&mut socket).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_requests_of_one_address_leave_the_http_port_to_others() {
    let signer = Signer::new("k1");
    let (origin, _dir) = origin_with(&signer, |config| config.http.connections = 64).await;
    let http = origin.http_addr().unwrap();
    let mut slow = vec![];
    for _ in 0..200 {
        if let Ok(mut socket) = try_from("127.0.0.2", http).await {
            let _ = socket.write_all(b"GET /healthz HTTP/1.1\r\n").await;
            slow.push(socket);
        }
    }
    let mut socket = from("127.0.0.3", http).await;
    socket.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(slow);
    origin.shutdown().await;
}
