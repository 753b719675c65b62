//! Ports of this machine: free, or who is there; and short questions to who listens, as clients ask them.

use super::item::{Found, Problem};
use sightline_capture::tls;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// For one question, its connection included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer that is read: a page of metrics.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// Whether a role can listen there. `is_running`: it listens already, and is asked by other items.
pub(super) async fn port(key: &str, address: SocketAddr, is_running: bool) -> Found {
    if address.port() == 0 {
        return Ok(format!("{key}: any free port"));
    }
    match TcpListener::bind(address).await {
        Ok(_) if is_running => {
            Err(Problem::new(format!("{address}: nobody listens, and it runs"), format!("start it again: {key} was changed since")))
        }
        Ok(_) => Ok(format!("{address}: free")),
        Err(_) if is_running => Ok(format!("{address}: it listens")),
        Err(error) => Err(Problem::new(format!("{key}: {address}: {error}"), format!("stop what listens there, or set another {key}"))),
    }
}

/// Where a client of this machine reaches a listener.
pub(super) fn near(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Who is asked, and how.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// `host:port`.
    pub(super) authority: String,
    /// The name in its certificate; `None`: plain HTTP.
    pub(super) tls: Option<(String, Arc<rustls::ClientConfig>)>,
}

/// An answer's status and body.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

/// Asks over HTTP. `body`: a POST of JSON.
pub(super) async fn ask(peer: &Peer, path: &str, bearer: Option<&str>, body: Option<&str>) -> Result<Answer, String> {
    let asking = async {
        let stream = TcpStream::connect(&peer.authority).await.map_err(|error| error.to_string())?;
        match peer.tls.clone() {
            None => exchange(stream, peer, path, bearer, body).await,
            Some((name, config)) => {
                let stream = tls::handshake(stream, &name, config).await.map_err(|error| format!("TLS: {error}"))?;
                exchange(stream, peer, path, bearer, body).await
            }
        }
    };
    timeout(ANSWER_TIMEOUT, asking).await.unwrap_or_else(|_| Err(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())))
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    peer: &Peer,
    path: &str,
    bearer: Option<&str>,
    body: Option<&str>,
) -> Result<Answer, String> {
    let method = if body.is_some() { "POST" } else { "GET" };
    let authorization = bearer.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let length = body.map(|body| format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len())).unwrap_or_default();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{authorization}{length}Connection: close\r\n\r\n", peer.authority);
    stream.write_all((head + body.unwrap_or_default()).as_bytes()).await.map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    // One that closes without a goodbye of TLS has answered all the same.
    let _ = stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("it does not speak HTTP")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("it does not speak HTTP")?;
    Ok(Answer { status, body: body.to_owned() })
}

/// Whether an RTMP server answers the first bytes of its handshake.
pub(super) async fn rtmp(address: SocketAddr) -> Result<(), String> {
    /// RTMP's version, and its handshake's length.
    const VERSION: u8 = 3;
    const HANDSHAKE_BYTES: usize = 1536;
    let greeting = async {
        let mut stream = TcpStream::connect(near(address)).await.map_err(|error| error.to_string())?;
        let mut hello = vec![0; 1 + HANDSHAKE_BYTES];
        hello[0] = VERSION;
        stream.write_all(&hello).await.map_err(|error| error.to_string())?;
        let version = stream.read_u8().await.map_err(|error| error.to_string())?;
        if version == VERSION { Ok(()) } else { Err(format!("it answers with {version:#04x}, and RTMP with 0x03")) }
    };
    timeout(ANSWER_TIMEOUT, greeting).await.unwrap_or_else(|_| Err("no answer to RTMP's handshake".to_owned()))
}

/// Whether a broker takes this client, by its certificate.
pub(super) async fn mqtt(address: SocketAddr, ca: &Path, client: (&Path, &Path)) -> Result<(), String> {
    /// CONNECT of MQTT 3.1.1: clean session, a keep-alive of 10 s, the client id `doctor`.
    const CONNECT: &[u8] = b"\x10\x12\x00\x04MQTT\x04\x02\x00\x0a\x00\x06doctor";
    let greeting = async {
        let config = tls::client_config(ca, Some(client)).map_err(|error| error.to_string())?;
        let stream = TcpStream::connect(near(address)).await.map_err(|error| error.to_string())?;
        let mut stream = tls::handshake(stream, "localhost", config).await.map_err(|error| format!("TLS: {error}"))?;
        stream.write_all(CONNECT).await.map_err(|error| error.to_string())?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.map_err(|error| error.to_string())?;
        if answer[0] == 0x20 && answer[3] == 0 { Ok(()) } else { Err(format!("CONNACK with {:#04x}", answer[3])) }
    };
    timeout(ANSWER_TIMEOUT, greeting).await.unwrap_or_else(|_| Err("no answer to MQTT's CONNECT".to_owned()))
}
