use super::*;
use crate::admission::{Admission, Entry};
use crate::limits::Limits;
use axum::extract::Extension;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

const SHORT: Duration = Duration::from_millis(50);
/// Far beyond what a busy machine needs.
const LONG: Duration = Duration::from_secs(60);
const PATIENT: Patience = Patience { stuck: LONG, idle: LONG, head: LONG, body: LONG };

fn router() -> Router {
    Router::new()
        .route("/", get(async || "hello"))
        .route("/who", get(async |Extension(ClientAddress(client)): Extension<ClientAddress>| client.to_string()))
        .route("/echo", post(async |body: String| body))
        .route("/large", get(async || vec![b'x'; 1 << 20]))
}

/// A connection from an address, and its other end.
fn connect(door: &Arc<Admission>, from: &str, patience: Patience, proxies: &[&str]) -> (DuplexStream, tokio::task::JoinSet<()>) {
    let (ours, theirs) = tokio::io::duplex(4096);
    let address: SocketAddr = format!("{from}:1000").parse().unwrap();
    let proxies = Proxies::parse(proxies).unwrap();
    let permit = if proxies.contains(address.ip()) { door.enter_proxy(address.ip()).unwrap() } else { permit(door, address.ip()) };
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let caller = Caller { address, permit, peer: () };
        serve_with(patience, theirs, router(), caller, &proxies, CancellationToken::new()).await;
    });
    (ours, tasks)
}

fn permit(door: &Arc<Admission>, from: IpAddr) -> Permit {
    match door.enter(from).unwrap() {
        Entry::In(permit) => permit,
        Entry::Waits(_) => panic!("it waits"),
    }
}

async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn read_all(mut stream: DuplexStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn a_head_that_does_not_end_is_cut_however_it_trickles() {
    let door = Arc::new(Admission::new(Limits::NONE));
    let (mut client, mut tasks) = connect(&door, "10.0.0.1", Patience { head: SHORT, ..PATIENT }, &[]);
    let trickle = async {
        client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        while client.write_all(b"a: b\r\n").await.is_ok() {
            tokio::time::sleep(SHORT / 10).await;
        }
    };
    trickle.await;
    tasks.join_next().await;
    assert_eq!(door.counts().open, 0);
}

#[tokio::test]
async fn a_connection_that_asks_nothing_more_is_closed_and_pending_until_then() {
    let door = Arc::new(Admission::new(Limits::NONE));
    let (mut client, mut tasks) = connect(&door, "10.0.0.1", Patience { idle: Duration::from_millis(300), ..PATIENT }, &[]);
    assert_eq!(door.counts().pending, 1);
    for _ in 0..2 {
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut answer = vec![];
        while !answer.ends_with(b"hello") {
            answer.push(client.read_u8().await.unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
    }
    until(|| door.counts().pending == 1).await;
    assert_eq!(read_all(client).await, "");
    tasks.join_next().await;
}

#[tokio::test]
async fn a_body_must_make_progress() {
    let door = Arc::new(Admission::new(Limits::NONE));
    let (mut client, _tasks) = connect(&door, "10.0.0.1", Patience { body: SHORT, ..PATIENT }, &[]);
    client.write_all(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nab").await.unwrap();
    until(|| door.counts().pending == 0).await;
    let answer = read_all(client).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let (mut client, _tasks) = connect(&door, "10.0.0.1", PATIENT, &[]);
    client.write_all(b"POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 4\r\n\r\nab").await.unwrap();
    tokio::time::sleep(SHORT).await;
    client.write_all(b"cd").await.unwrap();
    assert!(read_all(client).await.ends_with("abcd"));
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_and_one_that_takes_it_slowly_is_not_idle() {
    let door = Arc::new(Admission::new(Limits::NONE));
    let (mut client, mut tasks) = connect(&door, "10.0.0.1", Patience { stuck: SHORT, ..PATIENT }, &[]);
    client.write_all(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    tasks.join_next().await;
    let (mut client, _tasks) = connect(&door, "10.0.0.1", Patience { idle: Duration::from_millis(100), ..PATIENT }, &[]);
    client.write_all(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let (mut taken, mut buffer) = (0, vec![0; 64 << 10]);
    while taken < 1 << 20 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let read = client.read(&mut buffer).await.unwrap();
        assert!(read > 0, "cut after {taken} bytes");
        taken += read;
    }
}

#[tokio::test]
async fn a_trusted_proxy_s_word_is_taken_and_a_stranger_s_is_not() {
    let door = Arc::new(Admission::new(Limits { connections_per_address: 1, ..Limits::NONE }));
    let ask = async |from: &str, forwarded: &str| {
        let (mut client, _tasks) = connect(&door, from, PATIENT, &["10.0.0.0/8"]);
        let request = format!("GET /who HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-forwarded-for: {forwarded}\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        read_all(client).await
    };
    assert!(ask("10.0.0.1", "1.2.3.4, 203.0.113.1").await.ends_with("\r\n\r\n203.0.113.1"));
    assert!(ask("198.51.100.1", "203.0.113.1").await.ends_with("\r\n\r\n198.51.100.1"));
    until(|| door.counts().open == 0).await;
    let _held = permit(&door, "203.0.113.1".parse().unwrap());
    let answer = ask("10.0.0.1", "203.0.113.1").await;
    assert!(answer.starts_with("HTTP/1.1 429") && answer.contains("TOO_MANY_CONNECTIONS"), "{answer}");
    assert!(ask("10.0.0.1", "203.0.113.2").await.starts_with("HTTP/1.1 200"));
}
