//! A connection to a target: the shell around `sightline_rtmp::client::Session`.

use super::config::RelayUrl;
use crate::clock::Clock;
use crate::error::StartError;
use crate::live::packet::Packet;
use bytes::Bytes;
use rustls_pki_types::ServerName;
use sightline_media::Codec;
use sightline_rtmp::client::{Config, Event, Session, UrlTooLong};
use sightline_rtmp::url::UrlError;
use std::future::poll_fn;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long the way to a target may take: name, TCP and TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A target that takes nothing for this long while there is something to send is given up.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a target may take to read the goodbye.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(3);
/// Frames within the session. What waits beyond is in the queue before it.
const SESSION_FRAMES: usize = 16;
/// What one read takes: a target says little.
const READ_BYTES: usize = 4096;
/// Acknowledgements are of no use here: few.
const WINDOW_BYTES: u32 = 2_500_000;

/// Why a target is not fed.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("the address is wrong: {0}")]
    Url(#[from] UrlError),
    #[error("{0}")]
    TooLong(#[from] UrlTooLong),
    #[error("the name can't be resolved: {0}")]
    Name(io::Error),
    #[error("no connection: {0}")]
    Connect(io::Error),
    #[error("no connection within {} s", CONNECT_TIMEOUT.as_secs())]
    ConnectTimeout,
    #[error("the system has no authorities to check an rtmps:// target with: install ca-certificates")]
    NoAuthorities,
    #[error("{0}")]
    Authority(StartError),
    #[error("TLS: {0}")]
    Tls(io::Error),
    #[error("it refused the stream: {code} {description}")]
    Rejected { code: String, description: String },
    #[error("it does not take {0:?}")]
    Codec(Codec),
    #[error("it took nothing for {} s", STALL_TIMEOUT.as_secs())]
    Stalled,
    #[error("it closed the connection")]
    Closed,
    #[error("the connection broke: {0}")]
    Io(io::Error),
    #[error("{0}")]
    Protocol(#[from] sightline_rtmp::Error),
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

pub(super) struct Link {
    clock: Clock,
    wire: Box<dyn Wire>,
    session: Box<Session<Bytes, SESSION_FRAMES>>,
    /// The configuration that the session has.
    config_id: Option<u64>,
    /// What waits is given up then.
    stall_at: Option<tokio::time::Instant>,
    needs_flush: bool,
}

/// Trust in what the system trusts; `None`: it has nothing.
pub(super) fn system_tls() -> Option<Arc<rustls::ClientConfig>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return None;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    Some(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

impl Link {
    /// Connects and begins to publish. The target's answer comes with the first turns.
    pub(super) async fn connect(
        url: &RelayUrl,
        stream: &str,
        tls: Option<Arc<rustls::ClientConfig>>,
        clock: Clock,
    ) -> Result<Self, LinkError> {
        let parts = url.parts()?;
        let opened = tokio::time::timeout(CONNECT_TIMEOUT, open(parts.host, parts.port, parts.tls, tls)).await;
        let wire = opened.map_err(|_| LinkError::ConnectTimeout)??;
        let scheme = if parts.tls { "rtmps" } else { "rtmp" };
        let host = if parts.host.contains(':') { format!("[{}]", parts.host) } else { parts.host.to_owned() };
        let tc_url = format!("{scheme}://{host}:{}/{}", parts.port, parts.app);
        let name = if parts.name.is_empty() { stream } else { parts.name };
        let config = Config { window_ack_size: WINDOW_BYTES, ..Config::default() };
        let seed = RandomState::new().hash_one(0_u8);
        let session = Box::new(Session::publish(config, &tc_url, name, clock.now(), seed)?);
        Ok(Self { clock, wire, session, config_id: None, stall_at: None, needs_flush: false })
    }

    pub(super) fn is_publishing(&self) -> bool {
        self.session.is_publishing()
    }

    pub(super) fn bytes_sent(&self) -> u64 {
        self.session.bytes_sent()
    }

    /// Whether another frame may come: before the target has accepted, none.
    pub(super) fn has_room(&self) -> bool {
        self.session.is_publishing() && self.session.queue_len() < SESSION_FRAMES - 1
    }

    /// Queues a frame, after its configuration where that is another.
    pub(super) fn send(&mut self, packet: &Packet) -> Result<(), LinkError> {
        if self.config_id != Some(packet.config.id) {
            self.config_id = Some(packet.config.id);
            for track in packet.config.tracks.iter().filter(|track| track.id.is_default()) {
                let codec = track.config.codec();
                if self.session.is_taken(codec) {
                    self.session.set_track(track.clone());
                } else if codec.is_video() {
                    return Err(LinkError::Codec(codec));
                }
            }
        }
        // One of a track that is not taken is given back unsent.
        let _ = self.session.send_frame(packet.frame.clone());
        Ok(())
    }

    /// Writes what waits, or reads what was said, or waits for either. Dropping the future loses nothing.
    pub(super) async fn turn(&mut self) -> Result<(), LinkError> {
        let mut buffer = [0; READ_BYTES];
        let deadline = self.session.poll_timeout().map(|at| self.clock.at(at));
        let [header, payload] = self.session.pending();
        let wants_to_write = !header.is_empty() || !payload.is_empty() || self.needs_flush;
        let stall_at = match (wants_to_write, self.stall_at) {
            (true, None) => Some(tokio::time::Instant::now() + STALL_TIMEOUT),
            (true, at) => at,
            (false, _) => None,
        };
        self.stall_at = stall_at;
        let (wire, needs_flush) = (&mut self.wire, self.needs_flush);
        // Nothing to do: the next frame, or the target's next word, ends the wait.
        let turned = tokio::select! {
            biased;
            turned = poll_fn(|context| poll_turn(wire, context, [header, payload], needs_flush, &mut buffer)) => turned,
            () = until(stall_at), if stall_at.is_some() => return Err(LinkError::Stalled),
            () = until(deadline), if deadline.is_some() => Turned::Time,
        };
        match turned {
            Turned::Wrote(Err(error)) | Turned::Read(Err(error)) => {
                self.events()?;
                return Err(LinkError::Io(error));
            }
            Turned::Wrote(Ok(0)) => self.needs_flush = false,
            Turned::Wrote(Ok(bytes)) => {
                self.session.consumed(bytes);
                (self.needs_flush, self.stall_at) = (true, None);
            }
            Turned::Read(Ok(0)) => {
                self.events()?;
                return Err(LinkError::Closed);
            }
            Turned::Read(Ok(bytes)) => self.session.handle_bytes(self.clock.now(), buffer.get(..bytes).unwrap_or_default())?,
            Turned::Time => self.session.handle_timeout(self.clock.now())?,
        }
        self.events()
    }

    fn events(&mut self) -> Result<(), LinkError> {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Rejected { code, description } => {
                    return Err(LinkError::Rejected { code: code.as_str().to_owned(), description: description.as_str().to_owned() });
                }
                // A target that leaves is asked again where it was named.
                Event::Closed | Event::ReconnectRequested { .. } => return Err(LinkError::Closed),
                Event::Connected | Event::Publishing | Event::Acknowledged { .. } | Event::FrameSent(_) => {}
            }
        }
        Ok(())
    }

    /// Says goodbye.
    pub(super) async fn close(mut self) -> Result<(), LinkError> {
        self.session.close();
        let goodbye = async {
            loop {
                let [header, payload] = self.session.pending();
                if header.is_empty() && payload.is_empty() {
                    return self.wire.shutdown().await;
                }
                let bytes = self.wire.write_vectored(&[IoSlice::new(header), IoSlice::new(payload)]).await?;
                self.session.consumed(bytes);
            }
        };
        let _ = tokio::time::timeout(GOODBYE_TIMEOUT, goodbye).await;
        Ok(())
    }
}

enum Turned {
    /// Bytes; 0: what had been written was flushed.
    Wrote(io::Result<usize>),
    Read(io::Result<usize>),
    Time,
}

/// Writes if it can, else reads: a target that refuses is heard also while it takes nothing.
fn poll_turn(
    wire: &mut Box<dyn Wire>,
    context: &mut Context<'_>,
    [header, payload]: [&[u8]; 2],
    needs_flush: bool,
    buffer: &mut [u8],
) -> Poll<Turned> {
    let mut wire = Pin::new(&mut **wire);
    if !header.is_empty() || !payload.is_empty() {
        match wire.as_mut().poll_write_vectored(context, &[IoSlice::new(header), IoSlice::new(payload)]) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Turned::Wrote(Err(io::ErrorKind::WriteZero.into()))),
            Poll::Ready(written) => return Poll::Ready(Turned::Wrote(written)),
            Poll::Pending => {}
        }
    } else if needs_flush && let Poll::Ready(flushed) = wire.as_mut().poll_flush(context) {
        return Poll::Ready(Turned::Wrote(flushed.map(|()| 0)));
    }
    let mut read = ReadBuf::new(buffer);
    wire.poll_read(context, &mut read).map(|done| Turned::Read(done.map(|()| read.filled().len())))
}

async fn until(at: Option<tokio::time::Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}

async fn open(host: &str, port: u16, is_tls: bool, tls: Option<Arc<rustls::ClientConfig>>) -> Result<Box<dyn Wire>, LinkError> {
    let addresses: Vec<_> = tokio::net::lookup_host((host, port)).await.map_err(LinkError::Name)?.collect();
    let socket = TcpStream::connect(addresses.as_slice()).await.map_err(LinkError::Connect)?;
    let _ = socket.set_nodelay(true);
    if !is_tls {
        return Ok(Box::new(socket));
    }
    let tls = tls.ok_or(LinkError::NoAuthorities)?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| LinkError::Tls(io::Error::other(error)))?;
    let stream = TlsConnector::from(tls).connect(name, socket).await.map_err(LinkError::Tls)?;
    Ok(Box::new(stream))
}
