//! An origin that is out of file descriptors. A program of its own: the limit is the whole process's.
#![expect(clippy::unwrap_used, reason = "all of it is a test")]

use sightline_origin::{Config, Origin};
use std::process::Command;
use std::time::Duration;
use tokio::net::TcpStream;

/// The pause of the origin's accept loop when the system gives it no descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Sets the limit so that this many more descriptors can be had.
fn leave(count: usize) {
    let taken: Vec<usize> =
        std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
    // One of them is the directory's own, which is closed again.
    let free = (0..).filter(|number| !taken.contains(number)).nth(count - 1).unwrap();
    limit(&free.to_string());
}

fn limit(soft: &str) {
    let limit = format!("--nofile={soft}:");
    let status = Command::new("prlimit").args(["--pid", &std::process::id().to_string(), &limit]).status().unwrap();
    assert!(status.success());
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..150 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{what} did not come within 15 seconds");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_descriptors_accepting_pauses_and_goes_on_when_there_are_some() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config { data_dir: dir.path().to_owned(), ..Config::default() };
    config.rtmp.listen = "127.0.0.1:0".parse().unwrap();
    config.http.enabled = false;
    let origin = Origin::start(config).await.unwrap();
    // Two for each of two connections, and one for the third's own side.
    leave(5);
    let began = std::time::Instant::now();
    let mut peers = vec![];
    for number in 0..3 {
        peers.push(TcpStream::connect(origin.rtmp_addr()).await.unwrap());
        if number < 2 {
            until("a connection", || origin.connections().accepted == number + 1).await;
        }
    }
    until("five refusals of the system", || origin.connections().accept_errors >= 5).await;
    // A loop that spins would count thousands: sleeps are never shorter than asked.
    let most = began.elapsed().as_millis() / ACCEPT_PAUSE.as_millis() + 2;
    let counted = origin.connections().accept_errors;
    assert!(u128::from(counted) <= most, "{counted} refusals, {most} pauses");
    peers.drain(..2);
    until("the third connection", || origin.connections().accepted == 3).await;
    limit("1024");
    origin.shutdown().await;
}
