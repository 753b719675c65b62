//! RTMP connections: the shell around `sightline_rtmp::server::Session`.

use crate::admission::{Fate, Permit};
use crate::auth::{Keys, Refusal};
use crate::config::Play;
use crate::fanout::ViewerLink;
use crate::hub::Hold;
use crate::ring::{Cursor, Wire};
use crate::stream::Stream;
use crate::{Shared, seed};
use sightline_media::Instant;
use sightline_rtmp::Cause;
use sightline_rtmp::server::{Event, Output, Session, shared as messages};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::WaitForCancellationFutureOwned;

/// What one read takes: two key frames of a camera. It lies on the stack while there is something to read, so an idle connection has none.
const READ_BYTES: usize = 64 * 1024;
/// What one read takes of a viewer: a ping's answer, an acknowledgement.
const VIEWER_READ_BYTES: usize = 1024;
/// How long a publisher that was asked to reconnect may go on when the origin shuts down: a group of pictures and a bit.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a peer may take to read our answers.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long we wait for a peer to read a refusal before the connection is cut: closed at once, it might be lost with what is unread.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes taken from the ring at a time for a viewer with a task of its own.
const BATCH_BYTES: usize = 256 * 1024;
/// A pause after the system refused a connection: it is out of descriptors, and asking again at once only burns the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often such refusals are told of.
const ACCEPT_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Why a connection ended; for the log and the counts.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Protocol(#[from] sightline_rtmp::Error),
    #[error("the peer does not read")]
    Unread,
    #[error("the TLS handshake failed: {0}")]
    Tls(std::io::Error),
    #[error("the peer said nothing, or not enough for a TLS handshake, in time")]
    Timeout,
    #[error("the viewer took nothing for too long")]
    Stuck,
}

impl End {
    /// What it counts as; a connection that breaks off is no fault.
    fn fate(&self) -> Option<Fate> {
        match self {
            Self::Io(_) => None,
            Self::Protocol(error) => Some(match error.cause {
                Cause::HandshakeTimeout | Cause::CommandTimeout | Cause::IdleTimeout | Cause::PublishTimeout => Fate::Timeout,
                Cause::Unread => Fate::Unread,
                Cause::Version(_)
                | Cause::ChunkSize(_)
                | Cause::ChunkStreams
                | Cause::MessageLength(_)
                | Cause::PartialBytes
                | Cause::HeaderMidMessage { .. }
                | Cause::HeaderMissing { .. }
                | Cause::Truncated { .. }
                | Cause::Amf0
                | Cause::OutOfOrder(_) => Fate::Malformed,
            }),
            Self::Tls(_) => Some(Fate::Malformed),
            Self::Timeout => Some(Fate::Timeout),
            Self::Unread | Self::Stuck => Some(Fate::Unread),
        }
    }
}

/// Accepts until the origin shuts down. With `tls` every connection begins with its handshake.
pub(crate) async fn listen(shared: Arc<Shared>, listener: TcpListener, tls: Option<TlsAcceptor>) {
    let mut told: Option<tokio::time::Instant> = None;
    loop {
        let accepted = tokio::select! {
            () = shared.shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            // That peer has gone again: no reason to let the others wait.
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => continue,
            Err(error) => {
                shared.admission.count_accept_error();
                if told.is_none_or(|told| told.elapsed() >= ACCEPT_LOG_INTERVAL) {
                    tracing::warn!(%error, "no connection can be accepted; is the limit of open files below limits.connections?");
                    told = Some(tokio::time::Instant::now());
                }
                tokio::select! {
                    () = shared.shutdown.cancelled() => return,
                    () = tokio::time::sleep(ACCEPT_PAUSE) => continue,
                }
            }
        };
        // Over a limit the connection is closed unread: the limit is the operator's, the log's level the attacker's.
        let permit = match shared.admission.enter(peer.ip()) {
            Ok(permit) => permit,
            Err(full) => {
                tracing::debug!(%peer, ?full, "too many connections");
                // Reset, so that no half of it stays in the system for a minute.
                let _ = socket.set_zero_linger();
                continue;
            }
        };
        let (shared, tls) = (shared.clone(), tls.clone());
        let tasks = shared.tasks.clone();
        tasks.spawn(async move {
            let began = shared.clock.now();
            match first_byte(&shared, &socket, began).await {
                Ok(true) => {}
                Ok(false) => return shared.admission.count(Fate::Silent),
                Err(End::Io(_)) => return shared.admission.count(Fate::Silent),
                Err(_) => return shared.admission.count(Fate::Timeout),
            }
            // Frames go out whole: waiting for more only adds delay.
            let _ = socket.set_nodelay(true);
            let arrival = Arrival { peer, began, permit };
            let ended = match tls {
                // Boxed: TLS is an order of magnitude larger, and the task has room for the larger of the two.
                Some(tls) => Box::pin(serve_tls(&shared, tls, socket, arrival)).await,
                None => serve_tcp(&shared, socket, arrival).await,
            };
            if let Err(end) = ended {
                tracing::debug!(%peer, %end, "an RTMP connection ended");
                if let Some(fate) = end.fate() {
                    shared.admission.count(fate);
                }
            }
        });
    }
}

/// A connection's address, its beginning, and its place among the others.
struct Arrival {
    peer: SocketAddr,
    began: Instant,
    permit: Permit,
}

/// Waits until the peer says something; false when it closes instead.
async fn first_byte(shared: &Shared, socket: &TcpStream, began: Instant) -> Result<bool, End> {
    let deadline = shared.clock.at(began + shared.session_config.handshake_timeout);
    let mut byte = [0];
    tokio::select! {
        () = shared.shutdown.cancelled() => Ok(false),
        peeked = tokio::time::timeout_at(deadline, socket.peek(&mut byte)) => match peeked {
            Ok(count) => Ok(count? > 0),
            Err(_) => Err(End::Timeout),
        },
    }
}

async fn serve_tcp(shared: &Arc<Shared>, mut socket: TcpStream, mut arrival: Arrival) -> Result<(), End> {
    // Boxed, as is what drives it: a viewer stays for hours in what follows, and its task must be no larger than that.
    let mut session = Box::new(new_session(shared, arrival.began));
    let Some(stream) = Box::pin(drive(shared, &mut socket, &mut session, &mut arrival)).await? else { return Ok(()) };
    let (mut reader, writer) = socket.into_split();
    let link = Arc::new(ViewerLink::default());
    stream.fanout.join(&stream, writer, link.clone(), shared.pace(), &shared.tasks);
    loop {
        let goes_on = tokio::select! {
            () = link.left() => return Ok(()),
            () = stream.ended.cancelled() => return Ok(()),
            goes_on = read_with::<VIEWER_READ_BYTES, _, _>(&mut reader, |bytes| {
                session.handle_bytes(shared.clock.now(), bytes).is_ok() && answer_viewer(&mut session, |bytes| link.send_control(bytes))
            }) => goes_on,
        };
        if !matches!(goes_on, Ok(Some(true))) {
            break;
        }
    }
    link.leave();
    Ok(())
}

/// Reads once and hands over what came; `None` at the connection's end. Waits first and has a buffer afterwards.
async fn read_with<const BYTES: usize, S: AsyncRead + Unpin, T>(
    socket: &mut S,
    mut take: impl FnMut(&[u8]) -> T,
) -> std::io::Result<Option<T>> {
    poll_fn(|context| {
        let mut space = [const { MaybeUninit::uninit() }; BYTES];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut *socket).poll_read(context, &mut buffer))?;
        let bytes = buffer.filled();
        Poll::Ready(Ok((!bytes.is_empty()).then(|| take(bytes))))
    })
    .await
}

/// Passes a playing session's answers on; false when the viewer has stopped.
fn answer_viewer(session: &mut Session, mut send: impl FnMut(&[u8])) -> bool {
    loop {
        match session.poll_output() {
            Output::Transmit(bytes) => send(&bytes),
            Output::Event(_) => return false,
            Output::Timeout(_) => return session.is_playing(),
        }
    }
}

async fn serve_tls(shared: &Arc<Shared>, tls: TlsAcceptor, socket: TcpStream, mut arrival: Arrival) -> Result<(), End> {
    let deadline = shared.clock.at(arrival.began + shared.session_config.handshake_timeout);
    let accepted = tokio::time::timeout_at(deadline, tls.accept(socket)).await.map_err(|_| End::Timeout)?;
    let mut socket = accepted.map_err(End::Tls)?;
    let mut session = new_session(shared, arrival.began);
    let Some(stream) = drive(shared, &mut socket, &mut session, &mut arrival).await? else { return Ok(()) };
    play_alone(shared, socket, session, &stream).await
}

/// Plays in a task of its own: over TLS each viewer's bytes differ, so there is nothing to share but the frames.
async fn play_alone<S: AsyncRead + AsyncWrite>(shared: &Shared, socket: S, mut session: Session, stream: &Arc<Stream>) -> Result<(), End> {
    let _count = stream.count_lone_viewer();
    let (mut reader, mut writer) = tokio::io::split(socket);
    let mut head = stream.watch();
    let (mut cursor, mut out) = (Cursor::default(), VecDeque::new());
    loop {
        head.borrow_and_update();
        stream.fill(&mut cursor, Wire::Rtmp, &mut out, BATCH_BYTES);
        if !out.is_empty() {
            while let Some(bytes) = out.pop_front() {
                tokio::time::timeout(shared.viewer_stuck(), writer.write_all(&bytes)).await.map_err(|_| End::Stuck)??;
            }
            tokio::time::timeout(shared.viewer_stuck(), writer.flush()).await.map_err(|_| End::Stuck)??;
            continue;
        }
        tokio::select! {
            () = stream.ended.cancelled() => {
                let told = async { writer.write_all(&messages::end_message()).await?; writer.shutdown().await };
                return tokio::time::timeout(WRITE_TIMEOUT, told).await.map_err(|_| End::Unread)?.map_err(End::from);
            }
            _ = head.changed() => {}
            handled = read_with::<VIEWER_READ_BYTES, _, _>(&mut reader, |bytes| session.handle_bytes(shared.clock.now(), bytes)) => {
                let Some(handled) = handled? else { return Ok(()) };
                handled?;
                if !answer_viewer(&mut session, |bytes| out.push_back(bytes::Bytes::copy_from_slice(bytes))) {
                    return Ok(());
                }
            }
        }
    }
}

fn new_session(shared: &Shared, began: Instant) -> Session {
    Session::new(shared.session_config.clone(), began, seed())
}

/// Runs a connection up to its end, or up to the point where it plays the stream that is returned.
async fn drive<S: AsyncRead + AsyncWrite + Unpin>(
    shared: &Arc<Shared>,
    socket: &mut S,
    session: &mut Session,
    arrival: &mut Arrival,
) -> Result<Option<Arc<Stream>>, End> {
    let mut connection = Connection { shared, peer: arrival.peer.ip(), hold: None, playing: None, is_over: false };
    // Made once: made anew for each read, they would be entered into and taken out of lists that all connections share.
    let mut shutdown = pin!(shared.shutdown.cancelled());
    let mut stopped: Option<Pin<Box<WaitForCancellationFutureOwned>>> = None;
    let mut leaving: Option<Pin<Box<tokio::time::Sleep>>> = None;
    let mut timer = pin!(tokio::time::sleep(Duration::from_secs(shared.config.rtmp.handshake_timeout_sec)));
    loop {
        let deadline = loop {
            match session.poll_output() {
                Output::Transmit(bytes) => {
                    tokio::time::timeout(WRITE_TIMEOUT, socket.write_all(&bytes)).await.map_err(|_| End::Unread)??;
                    tokio::time::timeout(WRITE_TIMEOUT, socket.flush()).await.map_err(|_| End::Unread)??;
                }
                Output::Event(event) => connection.handle(session, event),
                Output::Timeout(deadline) => break deadline,
            }
        };
        arrival.permit.set_pending(connection.hold.is_none() && connection.playing.is_none());
        if let Some(stream) = connection.playing.take() {
            return Ok(Some(stream));
        }
        if connection.is_over {
            linger(socket).await;
            return Ok(None);
        }
        // A deadline that has moved on is seen when the timer ends; only an earlier one, or one that has passed its timer, sets it.
        if let Some(at) = deadline.map(|at| shared.clock.at(at))
            && (at < timer.deadline() || timer.is_elapsed())
        {
            timer.as_mut().reset(at);
        }
        let has_timer = deadline.is_some();
        stopped = match &connection.hold {
            Some(hold) => stopped.or_else(|| Some(Box::pin(hold.stop.clone().cancelled_owned()))),
            None => None,
        };
        let has_hold = stopped.is_some();
        // What ends the connection is looked at here too: with a peer that never pauses the last two below have no turn.
        let is_stopped = connection.hold.as_ref().is_some_and(|hold| hold.stop.is_cancelled());
        let is_ending = is_stopped || (shared.shutdown.is_cancelled() && leaving.is_none());
        let is_leaving = leaving.is_some();
        tokio::select! {
            biased;
            handled = read_with::<READ_BYTES, _, _>(socket, |bytes| session.handle_bytes(shared.clock.now(), bytes)), if !is_ending => match handled? {
                Some(handled) => handled?,
                None => return Ok(None),
            },
            () = &mut timer, if has_timer => session.handle_timeout(shared.clock.now())?,
            () = async { if let Some(stopped) = &mut stopped { stopped.await } }, if has_hold => {
                session.end_publish("NetStream.Publish.BadName", "another publisher has this stream now, or its right was taken back");
                connection.is_over = true;
            }
            () = async { if let Some(leaving) = &mut leaving { leaving.await } }, if is_leaving => return Ok(None),
            () = &mut shutdown, if !is_leaving => {
                // A publisher that can be asked goes on to its next key frame and leaves by itself.
                if connection.hold.is_none() || !session.request_reconnect(None, "this server is going away") {
                    return Ok(None);
                }
                leaving = Some(Box::pin(tokio::time::sleep(LEAVE_TIMEOUT)));
            }
        }
    }
}

/// Lets the peer read our last words.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut S) {
    let _ = tokio::time::timeout(LINGER, async {
        let _ = socket.shutdown().await;
        while matches!(read_with::<VIEWER_READ_BYTES, _, _>(socket, |_| ()).await, Ok(Some(()))) {}
    })
    .await;
}

struct Connection<'a> {
    shared: &'a Arc<Shared>,
    peer: IpAddr,
    hold: Option<Hold>,
    playing: Option<Arc<Stream>>,
    is_over: bool,
}

impl Connection<'_> {
    fn handle(&mut self, session: &mut Session, event: Event) {
        match event {
            Event::PublishRequested { name, query, .. } => self.handle_publish(session, &name, query.get("token")),
            Event::PlayRequested { name, .. } => self.handle_play(session, &name),
            // Further tracks of a multitrack publisher have no viewers yet; they are told once.
            Event::Track(track) if !track.id.is_default() => {
                tracing::warn!(peer = %self.peer, track = track.id.0, "a publisher sends several tracks of a kind: only the first is taken");
            }
            Event::Frame(frame) if !frame.track.is_default() => {}
            Event::Track(track) => self.on_hold(|hold| hold.stream.set_track(hold.id, *track)),
            Event::Metadata(values) => self.on_hold(|hold| hold.stream.set_metadata(hold.id, values)),
            Event::Frame(frame) => {
                let now = self.shared.clock.now();
                self.on_hold(|hold| hold.stream.push(hold.id, frame, now));
            }
            Event::Unsupported { what } => {
                self.shared.remarks.left_out(what);
                tracing::warn!(peer = %self.peer, what, "a publisher sends what is not taken");
            }
            Event::Quirk { what } => {
                self.shared.remarks.taken(what);
                tracing::info!(peer = %self.peer, what, "a publisher is not strict; it is taken as it is");
            }
            Event::Unpublished => self.hold = None,
            Event::Closed => self.is_over = true,
        }
    }

    /// What comes after a takeover is not this connection's to say: its end is under way.
    fn on_hold(&self, act: impl FnOnce(&Hold) -> Result<(), crate::stream::Superseded>) {
        if let Some(hold) = &self.hold {
            let _ = act(hold);
        }
    }

    fn handle_publish(&mut self, session: &mut Session, name: &str, token: Option<&str>) {
        let unix_secs = self.shared.clock.wall().unix_secs();
        let grant = match token {
            Some(token) => self.shared.keys.check(name, token, unix_secs),
            None if self.shared.config.auth.allow_unsigned_publish && self.peer.to_canonical().is_loopback() => Ok(Keys::unsigned(name)),
            None => Err(Refusal::NoToken),
        };
        match grant.and_then(|grant| self.shared.hub.begin(&grant).map(|hold| (grant, hold))) {
            Ok((grant, hold)) => {
                tracing::info!(peer = %self.peer, stream = name, device = grant.device, epoch = grant.epoch, "a publisher began");
                session.accept_publish();
                self.hold = Some(hold);
            }
            Err(refusal) => {
                tracing::info!(peer = %self.peer, stream = name, %refusal, "a publisher was refused");
                if refusal == Refusal::UnknownKey {
                    // The cloud may have a new key: the next report brings it, this publisher comes back.
                    self.shared.hub.changed.notify_one();
                }
                session.reject_publish("NetStream.Publish.BadName", &refusal.to_string());
                self.is_over = true;
            }
        }
    }

    fn handle_play(&mut self, session: &mut Session, name: &str) {
        let found = if self.shared.config.auth.play == Play::Open { self.shared.hub.find(name) } else { None };
        match found {
            Some(stream) => {
                session.accept_play();
                self.playing = Some(stream);
            }
            None => {
                session.reject_play("NetStream.Play.StreamNotFound", "no live stream has this playback id");
                self.is_over = true;
            }
        }
    }
}
