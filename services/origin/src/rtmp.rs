//! RTMP connections: the shell around `sightline_rtmp::server::Session`.

use crate::auth::{Keys, Refusal};
use crate::config::Play;
use crate::fanout::ViewerLink;
use crate::hub::Hold;
use crate::ring::{Cursor, Wire};
use crate::stream::Stream;
use crate::{Shared, seed};
use sightline_rtmp::server::{Event, Output, Session};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::WaitForCancellationFutureOwned;

/// What one read takes: two key frames of a camera. It lies on the stack while there is something to read, so an idle connection has none.
const READ_BYTES: usize = 64 * 1024;
/// What one read takes of a viewer: a ping's answer, an acknowledgement.
const VIEWER_READ_BYTES: usize = 1024;
/// How long a peer may take to read our answers.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long we wait for a peer to read a refusal before the connection is cut: closed at once, it might be lost with what is unread.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes taken from the ring at a time for a viewer with a task of its own.
const BATCH_BYTES: usize = 256 * 1024;
/// A pause after the system refused a connection: it is out of descriptors, and asking again at once only burns the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a connection ended; only for the log.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Protocol(#[from] sightline_rtmp::Error),
    #[error("the peer does not read")]
    Unread,
    #[error("the TLS handshake took too long")]
    TlsTimeout,
    #[error("the viewer took nothing for too long")]
    Stuck,
}

/// Accepts until the origin shuts down. With `tls` every connection begins with its handshake.
pub(crate) async fn listen(shared: Arc<Shared>, listener: TcpListener, tls: Option<TlsAcceptor>) {
    loop {
        let accepted = tokio::select! {
            () = shared.shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Over the limit the connection is closed unread: the limit is the operator's, the log's level the attacker's.
        let Ok(permit) = shared.connections.clone().try_acquire_owned() else {
            tracing::debug!(%peer, "too many connections");
            continue;
        };
        let (shared, tls) = (shared.clone(), tls.clone());
        let tasks = shared.tasks.clone();
        tasks.spawn(async move {
            let _permit = permit;
            // Frames go out whole: waiting for more only adds delay.
            let _ = socket.set_nodelay(true);
            let ended = match tls {
                // Boxed: TLS is an order of magnitude larger, and the task has room for the larger of the two.
                Some(tls) => Box::pin(serve_tls(&shared, tls, socket, peer)).await,
                None => serve_tcp(&shared, socket, peer).await,
            };
            if let Err(end) = ended {
                tracing::debug!(%peer, %end, "an RTMP connection ended");
            }
        });
    }
}

async fn serve_tcp(shared: &Arc<Shared>, mut socket: TcpStream, peer: SocketAddr) -> Result<(), End> {
    // Boxed, as is what drives it: a viewer stays for hours in what follows, and its task must be no larger than that.
    let mut session = Box::new(new_session(shared));
    let Some(stream) = Box::pin(drive(shared, &mut socket, &mut session, peer)).await? else { return Ok(()) };
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

async fn serve_tls(shared: &Arc<Shared>, tls: TlsAcceptor, socket: TcpStream, peer: SocketAddr) -> Result<(), End> {
    let handshake = Duration::from_secs(shared.config.rtmp.handshake_timeout_sec);
    let mut socket = tokio::time::timeout(handshake, tls.accept(socket)).await.map_err(|_| End::TlsTimeout)??;
    let mut session = new_session(shared);
    let Some(stream) = drive(shared, &mut socket, &mut session, peer).await? else { return Ok(()) };
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
            () = stream.ended.cancelled() => return Ok(()),
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

fn new_session(shared: &Shared) -> Session {
    Session::new(shared.session_config.clone(), shared.clock.now(), seed())
}

/// Runs a connection up to its end, or up to the point where it plays the stream that is returned.
async fn drive<S: AsyncRead + AsyncWrite + Unpin>(
    shared: &Arc<Shared>,
    socket: &mut S,
    session: &mut Session,
    peer: SocketAddr,
) -> Result<Option<Arc<Stream>>, End> {
    let mut connection = Connection { shared, peer: peer.ip(), hold: None, playing: None, is_over: false };
    // Made once: made anew for each read, they would be entered into and taken out of lists that all connections share.
    let mut shutdown = pin!(shared.shutdown.cancelled());
    let mut stopped: Option<Pin<Box<WaitForCancellationFutureOwned>>> = None;
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
        let is_ending = is_stopped || shared.shutdown.is_cancelled();
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
            () = &mut shutdown => return Ok(None),
        }
    }
}

/// Lets the peer read our last words.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut S) {
    let _ = tokio::time::timeout(LINGER, async {
        let _ = socket.shutdown().await;
        let mut waste = [0; 1024];
        while matches!(socket.read(&mut waste).await, Ok(1..)) {}
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
            Event::Track(track) => self.on_hold(|hold| hold.stream.set_track(hold.id, *track)),
            Event::Metadata(values) => self.on_hold(|hold| hold.stream.set_metadata(hold.id, values)),
            Event::Frame(frame) => {
                let now = self.shared.clock.now();
                self.on_hold(|hold| hold.stream.push(hold.id, frame, now));
            }
            Event::Unsupported { what } => tracing::warn!(peer = %self.peer, what, "a publisher sends what is not taken"),
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
