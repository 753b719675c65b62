//! The way to a server: DNS, TCP and TLS, and bytes in both directions.

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use sightline_rtmp::url::RtmpUrl;
use sightline_signal::ErrorCode;
use std::{
    future::poll_fn,
    io::{self, IoSlice},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::watch,
};

use super::tcp::{Probe, Progress};
use sightline_capture::{clock, tls};

/// Between two SYNs to a server that does not answer.
const SYN_INTERVAL: Duration = Duration::from_secs(1);
/// After so long without an answer they come less often: the link is not about to come back within the second.
const SYN_BRISK: Duration = Duration::from_secs(120);
/// And then this often: 60 bytes each.
const SYN_SLOW_INTERVAL: Duration = Duration::from_secs(3);
/// SYNs that wait for their answers at a time: a round trip of 5 s is as good as none.
const SYNS_WAITING_MAX: u32 = 5;
/// For what the far end had said before it reset the connection: it has arrived, and only its notice is on the way to us.
const LAST_WORDS_WAIT: Duration = Duration::from_millis(200);
/// Addresses of a name that are tried.
const ADDRESSES_MAX: usize = 8;
/// How long the name servers may take before the addresses are used that the name had when it was last asked for: as long as two of their tries
/// in a local network.
const FRESH_ADDRESSES_WAIT: Duration = Duration::from_secs(2);
/// Names whose addresses are kept: the broker, the cloud, three servers, and those before them.
const NAMES_KEPT_MAX: usize = 32;

/// Anything that carries bytes.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An open connection.
pub(crate) struct Link {
    stream: Box<dyn Stream>,
    probe: Probe,
    needs_flush: bool,
    /// It takes no more bytes; what it sent before is read until then.
    broken_until: Option<tokio::time::Instant>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[error("{}: {message}", code.as_str())]
pub(crate) struct DialError {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
}

impl DialError {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// What a turn of the link brought.
#[derive(Debug)]
pub(crate) enum Turn {
    /// The link took this many bytes of what was pending.
    Wrote(usize),
    /// This many bytes were read.
    Read(usize),
    /// The peer closed it, or it broke.
    Closed,
}

/// What a dial is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    Dns,
    Tcp,
    Tls,
}

/// How long each stage may take (specification §1.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StageTimeouts {
    pub(crate) dns: Duration,
    pub(crate) tcp: Duration,
    pub(crate) tls: Duration,
}

impl StageTimeouts {
    pub(crate) fn of(self, stage: Stage) -> Duration {
        match stage {
            Stage::Dns => self.dns,
            Stage::Tcp => self.tcp,
            Stage::Tls => self.tls,
        }
    }
}

impl Stage {
    /// It took too long.
    pub(crate) fn timeout(self, limit: Duration) -> DialError {
        let (code, what) = match self {
            Self::Dns => (ErrorCode::DnsFailed, "no answer from the name servers"),
            Self::Tcp => (ErrorCode::RtmpConnectTimeout, "no answer to the connection"),
            Self::Tls => (ErrorCode::TlsFailed, "no answer to the handshake of TLS"),
        };
        DialError::new(code, format!("{what} within {} s", limit.as_secs()))
    }
}

/// Resolves, connects, and shakes hands where the URL says `rtmps`. `stage` follows it.
pub(crate) async fn dial(url: String, tls: Option<Arc<rustls::ClientConfig>>, stage: watch::Sender<Stage>) -> Result<Link, DialError> {
    let parsed = RtmpUrl::parse(&url).map_err(|error| DialError::new(ErrorCode::RtmpConnectRejected, error.to_string()))?;
    let addresses = resolve(parsed.host, parsed.port).await?;
    stage.send_replace(Stage::Tcp);
    let stream = connect_to(parsed.host, &addresses).await?;
    let probe = Probe::attach(&stream).map_err(|error| DialError::new(tcp_code(&error), error.to_string()))?;
    if !parsed.tls {
        return Ok(Link::over(Box::new(stream), probe));
    }
    let tls =
        tls.ok_or_else(|| DialError::new(ErrorCode::TlsFailed, "no certificate authority to check an rtmps server with: set stream.ca"))?;
    stage.send_replace(Stage::Tls);
    let stream = tls::handshake(stream, parsed.host, tls).await.map_err(|error| DialError::new(tls_code(&error), tls_words(&error)))?;
    Ok(Link::over(Box::new(stream), probe))
}

/// The first address that answers. While none does a fresh connection is tried each second, beside those that wait: the kernel sends a lost
/// SYN again after 1, 3, 7, 15 and 31 seconds only, and a camera whose link is back after 16 s would wait for the other 15.
///
/// It ends when every address has refused; as long as nobody answers it goes on, and whoever waits for it has a deadline.
pub(crate) async fn connect(host: &str, port: u16) -> Result<TcpStream, DialError> {
    connect_to(host, &resolve(host, port).await?).await
}

async fn connect_to(host: &str, addresses: &[SocketAddr]) -> Result<TcpStream, DialError> {
    let began = tokio::time::Instant::now();
    let mut waiting = FuturesUnordered::new();
    let mut refused = 0;
    for number in 0_usize.. {
        // One after the other, and again from the first.
        let Some(address) = addresses.get(number % addresses.len()) else { break };
        tracing::trace!(%address, number, "connecting");
        waiting.push(connect_within(*address, SYN_INTERVAL * SYNS_WAITING_MAX));
        let interval = if began.elapsed() < SYN_BRISK { SYN_INTERVAL } else { SYN_SLOW_INTERVAL };
        let next = tokio::time::sleep(interval);
        tokio::pin!(next);
        loop {
            tokio::select! {
                Some(tried) = waiting.next(), if !waiting.is_empty() => match tried {
                    Some(Ok(stream)) => return Ok(stream),
                    Some(Err(error)) => {
                        refused += 1;
                        if refused >= addresses.len() {
                            return Err(DialError::new(tcp_code(&error), format!("{address}: {error}")));
                        }
                        break;
                    }
                    // Nobody answered this one.
                    None => {}
                },
                () = &mut next => break,
            }
        }
    }
    Err(DialError::new(ErrorCode::DnsFailed, format!("{host} has no address")))
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
    static NAMES: Mutex<Names> = Mutex::new(Names(Vec::new()));
    let asked = async {
        let found: Vec<_> = tokio::net::lookup_host((host, port)).await?.take(ADDRESSES_MAX).collect();
        if found.is_empty() { Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")) } else { Ok(found) }
    };
    resolve_by(&NAMES, (host, port), FRESH_ADDRESSES_WAIT, asked).await
}

/// What names resolved to when they last did: the name servers may be away while the servers are not.
struct Names(Vec<(String, Vec<IpAddr>)>);

impl Names {
    fn kept(&self, host: &str, port: u16) -> Option<Vec<SocketAddr>> {
        let (_, addresses) = self.0.iter().find(|(name, _)| name == host)?;
        Some(addresses.iter().map(|address| SocketAddr::new(*address, port)).collect())
    }

    fn keep(&mut self, host: &str, addresses: &[SocketAddr]) {
        self.0.retain(|(name, _)| name != host);
        if self.0.len() >= NAMES_KEPT_MAX {
            self.0.remove(0);
        }
        self.0.push((host.to_owned(), addresses.iter().map(SocketAddr::ip).collect()));
    }
}

/// The name servers' answer, or what they said before where they fail or take too long. Whoever has a name's certificate is checked as ever.
async fn resolve_by(
    names: &Mutex<Names>,
    (host, port): (&str, u16),
    fresh_wait: Duration,
    asked: impl Future<Output = io::Result<Vec<SocketAddr>>>,
) -> Result<Vec<SocketAddr>, DialError> {
    let kept = names.lock().unwrap_or_else(PoisonError::into_inner).kept(host, port);
    let (asked, kept) = match kept {
        None => (asked.await, None),
        Some(kept) => {
            let late = || io::Error::new(io::ErrorKind::TimedOut, "no answer from the name servers");
            (tokio::time::timeout(fresh_wait, asked).await.unwrap_or_else(|_| Err(late())), Some(kept))
        }
    };
    match (asked, kept) {
        (Ok(addresses), _) => {
            names.lock().unwrap_or_else(PoisonError::into_inner).keep(host, &addresses);
            Ok(addresses)
        }
        (Err(error), Some(kept)) => {
            tracing::warn!(host, %error, "the name can't be resolved; the addresses that it had are tried");
            Ok(kept)
        }
        (Err(error), None) => Err(DialError::new(ErrorCode::DnsFailed, format!("{host}: {error}"))),
    }
}

/// `None`: no answer in that time.
async fn connect_within(address: SocketAddr, limit: Duration) -> Option<io::Result<TcpStream>> {
    tokio::time::timeout(limit, TcpStream::connect(address)).await.ok()
}

/// A full server takes the connection and resets it at once.
fn tcp_code(error: &io::Error) -> ErrorCode {
    if error.kind() == io::ErrorKind::ConnectionReset { ErrorCode::ServerOverloaded } else { ErrorCode::RtmpConnectTimeout }
}

/// What a TLS handshake, or what follows it, failed at.
///
/// A certificate that is not valid yet means that this device's clock is behind, as one without a battery is after a start. One that has run out
/// may mean either: its message has both times. A full server closes it unread.
pub(crate) fn tls_code(error: &io::Error) -> ErrorCode {
    use rustls::{AlertDescription as Alert, CertificateError as Certificate, Error};
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(Certificate::NotValidYet | Certificate::NotValidYetContext { .. })) => ErrorCode::ClockSkew,
        // The far end takes this device for no one that it knows.
        Some(Error::AlertReceived(
            Alert::BadCertificate
            | Alert::CertificateUnknown
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateRequired
            | Alert::UnknownCA
            | Alert::AccessDenied,
        )) => ErrorCode::Unauthorized,
        None if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof) => ErrorCode::ServerOverloaded,
        Some(_) | None if !clock::wall().is_set() => ErrorCode::ClockSkew,
        Some(_) | None => ErrorCode::TlsFailed,
    }
}

/// What went wrong, and where something else than the server seems to have answered, that it did: the portal of a hotel's network, an
/// inspecting proxy. No token has gone out.
pub(crate) fn tls_words(error: &io::Error) -> String {
    use rustls::{CertificateError as Certificate, Error};
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidMessage(_)) => {
            format!("{error}: what answers speaks no TLS; is there a portal to log in at, or a proxy in between?")
        }
        Some(Error::InvalidCertificate(
            Certificate::UnknownIssuer | Certificate::NotValidForName | Certificate::NotValidForNameContext { .. },
        )) => format!(
            "{error}: is there a portal to log in at, or an inspecting proxy in between? Else the authority or the name in the settings is wrong"
        ),
        Some(_) | None => error.to_string(),
    }
}

impl Link {
    /// Over a connection that is open; `probe` is attached to its TCP.
    pub(crate) fn over(stream: Box<dyn Stream>, probe: Probe) -> Self {
        Self { stream, probe, needs_flush: false, broken_until: None }
    }

    /// Writes what is pending, reads what is there, whichever comes first. Dropping the future loses nothing.
    ///
    /// A server that refuses may answer and reset the connection before all of ours was written: its answer is read first.
    pub(crate) async fn turn(&mut self, pending: [&[u8]; 2], buffer: &mut [u8]) -> Turn {
        if self.broken_until.is_none() {
            match poll_fn(|context| self.poll_write(context, pending, buffer)).await {
                Some(turn) => return turn,
                None => self.broken_until = Some(tokio::time::Instant::now() + LAST_WORDS_WAIT),
            }
        }
        let until = self.broken_until.unwrap_or_else(tokio::time::Instant::now);
        tokio::time::timeout_at(until, poll_fn(|context| self.poll_read(context, buffer))).await.unwrap_or(Turn::Closed)
    }

    /// `None`: it can no longer be written to.
    fn poll_write(&mut self, context: &mut Context<'_>, pending: [&[u8]; 2], buffer: &mut [u8]) -> Poll<Option<Turn>> {
        let stream = Pin::new(&mut *self.stream);
        if !pending[0].is_empty() {
            match stream.poll_write_vectored(context, &[IoSlice::new(pending[0]), IoSlice::new(pending[1])]) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(None),
                Poll::Ready(Ok(written)) => {
                    self.needs_flush = true;
                    return Poll::Ready(Some(Turn::Wrote(written)));
                }
                Poll::Pending => {}
            }
        } else if self.needs_flush {
            // TLS may hold a record that did not fit into the socket.
            match stream.poll_flush(context) {
                Poll::Ready(Ok(())) => self.needs_flush = false,
                Poll::Ready(Err(_)) => return Poll::Ready(None),
                Poll::Pending => {}
            }
        }
        self.poll_read(context, buffer).map(Some)
    }

    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Turn> {
        let mut read = ReadBuf::new(buffer);
        match Pin::new(&mut *self.stream).poll_read(context, &mut read) {
            Poll::Ready(Ok(())) if read.filled().is_empty() => Poll::Ready(Turn::Closed),
            Poll::Ready(Ok(())) => Poll::Ready(Turn::Read(read.filled().len())),
            Poll::Ready(Err(_)) => Poll::Ready(Turn::Closed),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Ends it so that the far end hears of it at once, whatever was lost before: a reset. What was written and not acknowledged is lost.
    pub(crate) fn abort(self) {
        self.probe.reset_when_closed();
    }

    /// What the far end has acknowledged; `None` where the kernel does not say.
    pub(crate) fn progress(&self) -> Option<Progress> {
        self.probe.progress()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn what_was_said_before_a_reset_is_heard() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        let probe = Probe::attach(&stream).unwrap();
        let mut link = Link::over(Box::new(stream), probe);
        let mut buffer = [0; 64];
        assert!(matches!(link.turn([b"asked", b" and more"], &mut buffer).await, Turn::Wrote(14)));
        // It answers, and closes with bytes unread: a reset.
        far.read_exact(&mut [0; 5]).await.unwrap();
        far.write_all(b"no").await.unwrap();
        drop(far);
        // Whether the reset is here already or comes in between: the answer, then the end.
        let mut heard = Vec::new();
        loop {
            match link.turn([b"more", b""], &mut buffer).await {
                Turn::Wrote(_) => tokio::task::yield_now().await,
                Turn::Read(bytes) => heard.extend_from_slice(&buffer[..bytes]),
                Turn::Closed => break,
            }
        }
        assert_eq!(heard, b"no");
    }

    #[tokio::test]
    async fn a_name_that_resolved_once_has_its_addresses_while_the_name_servers_are_away() {
        const WAIT: Duration = Duration::from_millis(20);
        let names = Mutex::new(Names(Vec::new()));
        let (first, second) = (SocketAddr::from(([192, 0, 2, 1], 1935)), SocketAddr::from(([192, 0, 2, 2], 1935)));
        let fails = || std::future::ready(Err(io::Error::other("SERVFAIL")));
        let unknown = resolve_by(&names, ("a.example", 1935), WAIT, fails()).await.unwrap_err();
        assert_eq!(unknown.code, ErrorCode::DnsFailed);
        assert_eq!(resolve_by(&names, ("a.example", 1935), WAIT, std::future::ready(Ok(vec![first]))).await.unwrap(), [first]);
        assert_eq!(resolve_by(&names, ("a.example", 8883), WAIT, fails()).await.unwrap(), [SocketAddr::from(([192, 0, 2, 1], 8883))]);
        // Servers that say nothing are not waited for.
        assert_eq!(resolve_by(&names, ("a.example", 1935), WAIT, std::future::pending()).await.unwrap(), [first]);
        // And the newest answer counts.
        assert_eq!(resolve_by(&names, ("a.example", 1935), WAIT, std::future::ready(Ok(vec![second]))).await.unwrap(), [second]);
        assert_eq!(resolve_by(&names, ("a.example", 1935), WAIT, fails()).await.unwrap(), [second]);
        for number in 0..2 * NAMES_KEPT_MAX {
            resolve_by(&names, (&number.to_string(), 1935), WAIT, std::future::ready(Ok(vec![first]))).await.unwrap();
        }
        assert_eq!(names.lock().unwrap().0.len(), NAMES_KEPT_MAX);
    }

    /// reference.md §6, row 8: a hotel's network answers for everyone.
    #[tokio::test]
    async fn a_portal_that_answers_instead_of_the_server_is_named_and_hears_nothing() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("rtmps://{}/live", listener.local_addr().unwrap());
        let portal = async {
            let (mut peer, _) = listener.accept().await.unwrap();
            let mut heard = vec![0; 4096];
            let bytes = peer.read(&mut heard).await.unwrap();
            heard.truncate(bytes);
            peer.write_all(b"HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\n\r\n").await.unwrap();
            heard
        };
        let roots = rustls::RootCertStore::empty();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = Arc::new(tls.with_root_certificates(roots).with_no_client_auth());
        let (dialled, heard) = tokio::join!(dial(url, Some(tls), watch::channel(Stage::Dns).0), portal);
        let error = dialled.err().unwrap();
        assert!(error.message.contains("portal"), "{error}");
        assert!(heard.starts_with(&[0x16, 3, 1]), "only a client's hello");
    }
}
