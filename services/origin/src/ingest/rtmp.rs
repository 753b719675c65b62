//! RTMP connections: the shell around `sightline_rtmp::server::Session`. A connection publishes, or becomes a viewer.

use super::Ingest;
use super::budget::{Budget, OverBudget};
use super::fates::{Fate, Fates};
use crate::auth::duels::Claimant;
use crate::auth::grant::Refusal;
use crate::auth::viewing::Admitted;
use crate::auth::wish::{PlayRefusal, Way, Wish};
use crate::callbacks::{Subject, Verdict};
use crate::live::hub::{Begun, Hold};
use crate::live::stream::{Stream, Superseded};
use crate::play::rtmp_alone::PlayError;
use crate::play::waiting::Awaited;
use crate::play::{Missing, Play, rtmp_alone, rtmp_viewer};
use crate::pull::SearchError;
use crate::reading::read_with;
use bytes::Bytes;
use sightline_listen::{Arrival, Door, FirstByteError, Permit, Rarely, TlsError, shortened};
use sightline_media::{Fault, Frame, Instant};
use sightline_rtmp::Cause;
use sightline_rtmp::server::{Config as SessionConfig, Event, Output, Session};
use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// What one read takes: two key frames of a camera.
const READ_BYTES: usize = 64 * 1024;
/// What one read takes of a peer that has nothing more to say.
const LINGER_READ_BYTES: usize = 1024;
/// What is left of a session's time for the answer, where a viewer has waited for a camera.
const ANSWER_TIME: Duration = Duration::from_secs(1);
/// How long a publisher that was asked to reconnect may go on when the origin shuts down: a group of pictures and a bit.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a peer may take to read our answers.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long we wait for a peer to read a refusal before the connection is cut: closed at once, it might be lost with what is unread.
const LINGER: Duration = Duration::from_secs(1);

/// What strangers' connections had to be said.
static REMARKED: Rarely = Rarely::new();

/// A stream that a connection plays, and by what right.
type Playing = (Arc<Stream>, Admitted);

/// What RTMP connections may touch.
pub(crate) struct Rtmp {
    pub(crate) ingest: Ingest,
    pub(crate) play: Arc<Play>,
    pub(crate) door: Arc<Door>,
    pub(crate) fates: Arc<Fates>,
    pub(crate) session: SessionConfig,
    pub(crate) shutdown: CancellationToken,
}

impl Rtmp {
    /// Counts what became of a connection, and tells it where it is the peer's fault.
    fn tell(&self, peer: SocketAddr, Ended { stream, end }: &Ended) {
        match end.fate() {
            Some(fate) => {
                self.fates.count(fate);
                self.fates.tell(fate, |others| {
                    tracing::warn!(%peer, stream, %end, others, "an RTMP connection ended by its own fault");
                });
            }
            None => tracing::debug!(%peer, stream, %end, "an RTMP connection ended"),
        }
    }
}

/// A connection's end, and the stream that it published, if it came so far.
struct Ended {
    stream: String,
    end: End,
}

impl<E: Into<End>> From<E> for Ended {
    fn from(end: E) -> Self {
        Self { stream: String::new(), end: end.into() }
    }
}

/// Why a connection ended; for the log and the counts.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Protocol(#[from] sightline_rtmp::Error),
    #[error("the peer does not read")]
    Unread,
    #[error("{0}")]
    Tls(#[from] TlsError),
    #[error("{0}")]
    Play(#[from] PlayError),
    #[error("{0}")]
    FirstByte(#[from] FirstByteError),
}

impl End {
    /// What it counts as; a connection that breaks off is no fault.
    fn fate(&self) -> Option<Fate> {
        match self {
            Self::Io(_) | Self::Play(PlayError::Io(_)) => None,
            Self::FirstByte(FirstByteError::Closed) => Some(Fate::Silent),
            Self::FirstByte(FirstByteError::Timeout) | Self::Tls(TlsError::Timeout) => Some(Fate::Timeout),
            Self::Protocol(error) | Self::Play(PlayError::Protocol(error)) => Some(fate_of(error.cause)),
            Self::Tls(TlsError::Handshake(_)) => Some(Fate::Malformed),
            Self::Unread | Self::Play(PlayError::Stuck) => Some(Fate::Unread),
        }
    }
}

fn fate_of(cause: Cause) -> Fate {
    match cause {
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
    }
}

/// Accepts until the origin shuts down. With `tls` every connection begins with its handshake.
pub(crate) async fn listen(rtmp: Arc<Rtmp>, listener: TcpListener, tls: Option<TlsAcceptor>) {
    let door = rtmp.door.clone();
    let serve = move |arrival: Arrival| {
        // Boxed: each layer of the task would keep room for it, for as long as a viewer stays.
        let (rtmp, tls, arrival) = (rtmp.clone(), tls.clone(), Box::new(arrival));
        async move {
            let peer = arrival.peer;
            if let Err(end) = connection(&rtmp, arrival, tls).await {
                rtmp.tell(peer, &end);
            }
        }
    };
    door.run(listener, |_| {}, serve).await;
}

async fn connection(rtmp: &Arc<Rtmp>, arrival: Box<Arrival>, tls: Option<TlsAcceptor>) -> Result<(), Ended> {
    let began = rtmp.ingest.clock.now();
    // No buffer before the first byte.
    arrival.first_byte().await?;
    match tls {
        // Boxed: TLS is an order of magnitude larger, and the task has room for the larger of the two.
        Some(tls) => Box::pin(serve_tls(rtmp, &tls, arrival, began)).await,
        None => serve_tcp(rtmp, arrival, began).await,
    }
}

/// A connection's address, its beginning, and its place among the others.
struct Caller {
    peer: SocketAddr,
    began: Instant,
    permit: Permit,
}

async fn serve_tcp(rtmp: &Arc<Rtmp>, arrival: Box<Arrival>, began: Instant) -> Result<(), Ended> {
    let Arrival { mut socket, peer, permit, .. } = *arrival;
    let mut caller = Caller { peer, began, permit };
    // Boxed, as is what drives it: a viewer stays for hours in what follows, and its task must be no larger than that.
    let mut session = Box::new(new_session(rtmp, caller.began));
    let Some((stream, admitted)) = Box::pin(drive(rtmp, &mut socket, &mut session, &mut caller)).await? else { return Ok(()) };
    rtmp_viewer::play(&rtmp.play, socket, session, stream, admitted).await;
    Ok(())
}

async fn serve_tls(rtmp: &Arc<Rtmp>, tls: &TlsAcceptor, arrival: Box<Arrival>, began: Instant) -> Result<(), Ended> {
    let peer = arrival.peer;
    let (mut socket, permit) = arrival.accept_tls(tls).await?;
    let mut session = new_session(rtmp, began);
    // Held until the end: a viewer keeps its place at the door.
    let mut caller = Caller { peer, began, permit };
    let Some((stream, admitted)) = drive(rtmp, &mut socket, &mut session, &mut caller).await? else { return Ok(()) };
    Ok(rtmp_alone::play(&rtmp.play, socket, session, &stream, &admitted).await?)
}

fn new_session(rtmp: &Rtmp, began: Instant) -> Session {
    Session::new(rtmp.session.clone(), began, seed())
}

/// Differs between connections; no secret hangs on it.
fn seed() -> u64 {
    RandomState::new().hash_one(0_u8)
}

/// Runs a connection up to its end, or up to the point where it plays the stream that is returned.
async fn drive<S: AsyncRead + AsyncWrite + Unpin>(
    rtmp: &Arc<Rtmp>,
    socket: &mut S,
    session: &mut Session,
    caller: &mut Caller,
) -> Result<Option<Playing>, Ended> {
    let mut connection = Connection {
        rtmp,
        peer: caller.peer,
        hold: None,
        asking: None,
        deciding: None,
        budget: Budget::new(None, 0, caller.began),
        over: None,
        playing: None,
        is_over: false,
        has_token: false,
        shown: Shown::Nothing,
        faults_told: Vec::new(),
    };
    let driven = drive_to_end(socket, session, caller, &mut connection).await;
    driven.map_err(|end| Ended { stream: connection.stream_name().to_owned(), end })
}

async fn drive_to_end<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut S,
    session: &mut Session,
    caller: &mut Caller,
    connection: &mut Connection<'_>,
) -> Result<Option<Playing>, End> {
    let rtmp = connection.rtmp;
    // Made once: made anew for each read, they would be entered into and taken out of lists that all connections share.
    let mut shutdown = pin!(rtmp.shutdown.cancelled());
    let mut stopped: Option<Pin<Box<WaitForCancellationFutureOwned>>> = None;
    let mut leaving: Option<Pin<Box<tokio::time::Sleep>>> = None;
    let mut timer = pin!(tokio::time::sleep(rtmp.session.handshake_timeout));
    loop {
        let deadline = loop {
            match session.poll_output() {
                Output::Transmit(bytes) => {
                    tokio::time::timeout(WRITE_TIMEOUT, socket.write_all(&bytes)).await.map_err(|_| End::Unread)??;
                    tokio::time::timeout(WRITE_TIMEOUT, socket.flush()).await.map_err(|_| End::Unread)??;
                }
                // What comes behind the end of its budget is not looked at any more.
                Output::Event(_) if connection.over.is_some() => {}
                Output::Event(event) => connection.handle(session, event),
                Output::Timeout(deadline) => break deadline,
            }
        };
        if let Some(over) = connection.over.filter(|_| !connection.is_over) {
            connection.limit(session, over);
            continue;
        }
        if !connection.show(&caller.permit) {
            session.end_publish("NetStream.Publish.BadName", "this stream has too many connections");
        }
        if let Some(playing) = connection.playing.take() {
            return Ok(Some(playing));
        }
        if connection.is_over {
            linger(socket).await;
            return Ok(None);
        }
        // A deadline that has moved on is seen when the timer ends; only an earlier one, or one that has passed its timer, sets it.
        if let Some(at) = deadline.map(|at| rtmp.ingest.clock.at(at))
            && (at < timer.deadline() || timer.is_elapsed())
        {
            timer.as_mut().reset(at);
        }
        let has_timer = deadline.is_some();
        let again_at = connection.asking.as_ref().map(|asking| rtmp.ingest.clock.at(asking.again_at));
        stopped = match &connection.hold {
            Some(hold) => stopped.or_else(|| Some(Box::pin(hold.stop.clone().cancelled_owned()))),
            None => None,
        };
        let has_hold = stopped.is_some();
        // What ends the connection is looked at here too: with a peer that never pauses the last two below have no turn.
        let is_stopped = connection.hold.as_ref().is_some_and(|hold| hold.stop.is_cancelled());
        let is_ending = is_stopped || (rtmp.shutdown.is_cancelled() && leaving.is_none());
        let is_leaving = leaving.is_some();
        let mut deciding = connection.deciding.take();
        let is_deciding = deciding.is_some();
        tokio::select! {
            biased;
            decided = async { match &mut deciding { Some(deciding) => deciding.await, None => std::future::pending().await } }, if is_deciding => {
                deciding = None;
                connection.decided(session, decided);
            }
            // Before the bytes: one that sends without pause is decided upon too.
            () = async { if let Some(at) = again_at { tokio::time::sleep_until(at).await } }, if again_at.is_some() => connection.ask_again(session),
            handled = read_with::<READ_BYTES, _, _>(socket, |bytes| (session.handle_bytes(rtmp.ingest.clock.now(), bytes), bytes.len())), if !is_ending => match handled? {
                Some((handled, bytes)) => {
                    connection.hear(bytes);
                    handled?;
                }
                None => {
                    session.handle_end();
                    finish(session, connection);
                    return Ok(None);
                }
            },
            () = &mut timer, if has_timer => session.handle_timeout(rtmp.ingest.clock.now())?,
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
        // Unless the peer has taken back what it asked for.
        if connection.hold.is_none() && connection.playing.is_none() && !connection.is_over {
            connection.deciding = connection.deciding.take().or(deciding);
        }
    }
}

/// Takes what was complete by the peer's end; it hears nothing any more.
fn finish(session: &mut Session, connection: &mut Connection<'_>) {
    loop {
        match session.poll_output() {
            Output::Event(event) if connection.over.is_none() => connection.handle(session, event),
            Output::Transmit(_) | Output::Event(_) => {}
            Output::Timeout(_) => return,
        }
    }
}

/// Lets the peer read our last words.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut S) {
    let _ = tokio::time::timeout(LINGER, async {
        let _ = socket.shutdown().await;
        while matches!(read_with::<LINGER_READ_BYTES, _, _>(socket, |_| ()).await, Ok(Some(()))) {}
    })
    .await;
}

/// A publish that is not decided yet.
struct Asking {
    app: String,
    name: String,
    /// The client's own arguments, its token among them. A secret: this type has no `Debug`.
    query: String,
    asked_at: Instant,
    /// When it is looked at again.
    again_at: Instant,
}

/// What an operator's endpoint is asked.
enum Decision {
    Publish(Asking),
    Play(Subject),
}

/// What is known now.
enum Decided {
    /// What the operator's endpoint says.
    Verdict(Decision, Verdict),
    /// What came of waiting for a camera.
    Awaited(Subject, Awaited),
}

type Deciding = Pin<Box<dyn Future<Output = Decided> + Send>>;

/// What the door knows of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Nothing,
    /// It publishes or plays.
    Purpose,
    /// It publishes with a token.
    Stream,
}

struct Connection<'a> {
    rtmp: &'a Arc<Rtmp>,
    peer: SocketAddr,
    hold: Option<Hold>,
    /// It wants a stream that another one with its token has, or had a moment ago.
    asking: Option<Asking>,
    /// The operator's endpoint was asked.
    deciding: Option<Deciding>,
    /// Of what it publishes.
    budget: Budget,
    over: Option<OverBudget>,
    playing: Option<Playing>,
    is_over: bool,
    /// It publishes with a token.
    has_token: bool,
    shown: Shown,
    /// Faults of the publisher's times that were told: three kinds.
    faults_told: Vec<Fault>,
}

impl Connection<'_> {
    /// Bytes came.
    fn hear(&mut self, bytes: usize) {
        let Some(hold) = &self.hold else { return };
        let now = self.rtmp.ingest.clock.now();
        hold.hear(bytes, now);
        self.over = self.over.or(self.budget.take_bytes(bytes, now).err());
    }

    /// It has sent too much: it ends, by a name, and people hear of it.
    fn limit(&mut self, session: &mut Session, over: OverBudget) {
        self.rtmp.fates.limit(over, |others| {
            tracing::warn!(peer = %self.peer, stream = self.stream_name(), %over, others, "a publisher was ended");
        });
        if let Some(hold) = &self.hold {
            hold.tell("stream_limited", over.to_string());
        }
        session.end_publish("NetStream.Publish.Rejected", &over.to_string());
        self.is_over = true;
    }

    /// Shows the door what the connection is now: with a token it counts for its stream, and no more for its address. False when that has
    /// too many connections.
    fn show(&mut self, permit: &Permit) -> bool {
        let shown = match (&self.hold, &self.playing) {
            (Some(_), _) if self.has_token => Shown::Stream,
            (Some(_), _) | (None, Some(_)) => Shown::Purpose,
            (None, None) => Shown::Nothing,
        };
        if std::mem::replace(&mut self.shown, shown) == shown {
            return true;
        }
        match (shown, &self.hold) {
            (Shown::Stream, Some(hold)) => {
                let is_proved = permit.prove(hold.stream.name()).is_ok();
                self.is_over |= !is_proved;
                return is_proved;
            }
            (Shown::Stream | Shown::Purpose, _) => permit.set_pending(false),
            (Shown::Nothing, _) => permit.set_pending(true),
        }
        true
    }

    fn handle(&mut self, session: &mut Session, event: Event) {
        let ingest = &self.rtmp.ingest;
        match event {
            Event::PublishRequested { app, name, query, .. } => {
                let asked_at = ingest.clock.now();
                let asking = Asking { app, name, query: query.as_str().to_owned(), asked_at, again_at: asked_at };
                if ingest.callbacks.decides_publish() {
                    self.decide(Decision::Publish(asking));
                } else {
                    self.handle_publish(session, asking);
                }
            }
            Event::PlayRequested { app, name, query } => {
                let subject = self.subject(app, name, query.as_str().to_owned());
                if ingest.callbacks.decides_play() {
                    self.decide(Decision::Play(subject));
                } else {
                    self.handle_play(session, subject);
                }
            }
            // Further tracks of a multitrack publisher have no viewers yet; each is logged once.
            Event::Track(track) if !track.id.is_default() => {
                tracing::warn!(peer = %self.peer, track = track.id.0, "a publisher sends several tracks of a kind: only the first is taken");
            }
            Event::Frame(frame) if !frame.track.is_default() => {}
            Event::Track(track) => {
                self.over = self.over.or(self.budget.take_change(ingest.clock.now()).err());
                self.on_hold(|hold| hold.stream.set_track(hold.id, *track));
            }
            Event::Metadata(metadata) => {
                self.over = self.over.or(self.budget.take_message(ingest.clock.now()).err());
                self.on_hold(|hold| hold.stream.set_metadata(hold.id, metadata));
            }
            Event::Frame(frame) => self.handle_frame(frame),
            Event::Unsupported { what } => {
                ingest.remarks.left_out(what);
                tracing::warn!(peer = %self.peer, stream = self.stream_name(), what, "a publisher sends what is not taken");
            }
            Event::Quirk { what } => self.remark(what),
            Event::AppRefused { app, hint } => {
                let app = shortened(&app).escape_debug();
                self.rtmp.fates.tell_app(|others| tracing::warn!(peer = %self.peer, %app, others, "a client was refused: {hint}"));
                self.is_over = true;
            }
            Event::Unpublished => (self.hold, self.asking, self.deciding) = (None, None, None),
            Event::Closed => self.is_over = true,
        }
    }

    /// After a takeover this connection has no say any more: its end is under way.
    fn on_hold<T>(&self, act: impl FnOnce(&Hold) -> Result<T, Superseded>) -> Option<T> {
        self.hold.as_ref().and_then(|hold| act(hold).ok())
    }

    fn handle_frame(&mut self, frame: Frame<Bytes>) {
        let now = self.rtmp.ingest.clock.now();
        self.over = self.over.or(self.budget.take_message(now).err());
        let wall = self.rtmp.ingest.clock.wall();
        let fault = self.on_hold(|hold| hold.stream.push(hold.id, frame, now, wall)).flatten();
        if let Some(fault) = fault.filter(|fault| !self.faults_told.contains(fault)) {
            self.faults_told.push(fault);
            self.remark(fault.name());
        }
    }

    /// What is taken though it is not as it should be: named once a connection.
    fn remark(&self, what: &'static str) {
        self.rtmp.ingest.remarks.taken(what);
        if self.hold.is_none() {
            // A stranger's connections are as many as it likes.
            return REMARKED.write(|others| {
                tracing::info!(peer = %self.peer, what, others, "a client is not strict; it is taken as it is");
            });
        }
        tracing::info!(peer = %self.peer, stream = self.stream_name(), what, "a publisher is not strict; it is taken as it is");
    }

    /// The stream that it has, for the log.
    fn stream_name(&self) -> &str {
        self.hold.as_ref().map_or("", |hold| hold.stream.name())
    }

    /// Whether the one before has gone shows in time.
    fn ask_again(&mut self, session: &mut Session) {
        if let Some(asking) = self.asking.take() {
            self.handle_publish(session, asking);
        }
    }

    fn subject(&self, app: String, name: String, query: String) -> Subject {
        Subject { app, name, query, address: self.peer.ip() }
    }

    /// Asks the operator's endpoint; the connection goes on meanwhile, and hears the answer in its turn.
    fn decide(&mut self, decision: Decision) {
        let callbacks = self.rtmp.ingest.callbacks.clone();
        let subject = match &decision {
            Decision::Publish(asking) => self.subject(asking.app.clone(), asking.name.clone(), asking.query.clone()),
            Decision::Play(subject) => subject.clone(),
        };
        self.deciding = Some(Box::pin(async move {
            let verdict = match &decision {
                Decision::Publish(_) => callbacks.may_publish(&subject).await,
                Decision::Play(_) => callbacks.may_play(&subject, Way::Rtmp).await,
            };
            Decided::Verdict(decision, verdict)
        }));
    }

    fn decided(&mut self, session: &mut Session, decided: Decided) {
        let (decision, verdict) = match decided {
            Decided::Verdict(decision, verdict) => (decision, verdict),
            Decided::Awaited(subject, awaited) => return self.awaited(session, subject, &awaited),
        };
        match (decision, verdict) {
            (Decision::Publish(asking), Verdict::Allow) => self.handle_publish(session, asking),
            // As nginx-rtmp has it: what is no address is another name.
            (Decision::Publish(asking), Verdict::Redirect(name)) if !name.contains("://") => {
                self.handle_publish(session, Asking { name, ..asking });
            }
            (Decision::Publish(asking), Verdict::Deny | Verdict::Redirect(_)) => {
                self.refuse_publish(session, &asking.name, Refusal::Callback)
            }
            (Decision::Play(subject), Verdict::Allow) => self.handle_play(session, subject),
            (Decision::Play(subject), Verdict::Redirect(name)) if !name.contains("://") => {
                self.handle_play(session, Subject { name, ..subject })
            }
            (Decision::Play(_), Verdict::Deny | Verdict::Redirect(_)) => self.refuse_play(session, PlayRefusal::Callback),
        }
    }

    fn handle_publish(&mut self, session: &mut Session, asking: Asking) {
        let ingest = &self.rtmp.ingest;
        let token = sightline_rtmp::server::parameter(&asking.query, "token");
        let name = asking.name.as_str();
        match ingest.begin(&asking.app, name, token, Claimant { peer: self.peer, asked_at: asking.asked_at }) {
            Ok((_, Begun::Later(again_at))) => self.asking = Some(Asking { again_at, ..asking }),
            Ok((grant, Begun::Hold(mut hold))) => {
                tracing::info!(peer = %self.peer, stream = name, device = grant.device, epoch = grant.epoch, playback = hold.stream.playback, "a publisher began");
                session.accept_publish();
                self.has_token = grant.epoch.is_some();
                self.budget = Budget::new(grant.bitrate_kbps, ingest.publisher_kbps, ingest.clock.now());
                hold.told = Some(ingest.callbacks.published(self.subject(asking.app, asking.name, asking.query)));
                self.hold = Some(hold);
            }
            Err(refusal) => self.refuse_publish(session, name, refusal),
        }
    }

    fn refuse_publish(&mut self, session: &mut Session, name: &str, refusal: Refusal) {
        let ingest = &self.rtmp.ingest;
        // Whoever is refused chooses the name, and how often.
        ingest.hub.refusals.count(self.peer.ip(), refusal.name(), ingest.clock.now());
        self.rtmp.fates.refuse(refusal, |others| {
            tracing::info!(peer = %self.peer, stream = shortened(name), %refusal, others, "a publisher was refused");
        });
        if refusal == Refusal::UnknownKey {
            // The cloud may have a new key: the next report brings it, and this publisher comes back.
            ingest.hub.changed.notify_one();
        }
        session.reject_publish("NetStream.Publish.BadName", &refusal.to_string());
        self.is_over = true;
    }

    fn handle_play(&mut self, session: &mut Session, subject: Subject) {
        let token = sightline_rtmp::server::parameter(&subject.query, "token");
        let wish = Wish { app: &subject.app, playback: &subject.name, token, address: self.peer.ip(), way: Way::Rtmp };
        match self.rtmp.play.begin(wish) {
            Ok((stream, mut admitted)) => {
                session.accept_play();
                admitted.told = Some(self.rtmp.ingest.callbacks.played(subject));
                self.playing = Some((stream, admitted));
            }
            Err(Missing::Right(refusal)) => self.refuse_play(session, refusal),
            Err(_) => self.await_stream(subject),
        }
    }

    /// Its right is good. A camera that starts for its viewers is waited for; the connection goes on meanwhile.
    fn await_stream(&mut self, subject: Subject) {
        let play = self.rtmp.play.clone();
        let limit = self.rtmp.session.command_timeout.saturating_sub(ANSWER_TIME).min(play.start_wait);
        self.deciding = Some(Box::pin(async move {
            let awaited = play.wait(&subject.name, subject.address, limit).await;
            Decided::Awaited(subject, awaited)
        }));
    }

    fn awaited(&mut self, session: &mut Session, subject: Subject, awaited: &Awaited) {
        match awaited {
            Awaited::Here => self.handle_play(session, subject),
            Awaited::NotStarted(waited) => {
                let words = format!("the camera of this stream was told to start, and did not start within {} s", waited.as_secs());
                session.reject_play("NetStream.Play.Failed", &words);
                self.is_over = true;
            }
            Awaited::Silent(waited) => {
                let words = format!("this stream is published, and no picture of it came within {} s", waited.as_secs());
                session.reject_play("NetStream.Play.Failed", &words);
                self.is_over = true;
            }
            Awaited::Upstream(why) if *why != SearchError::Nowhere => {
                session.reject_play("NetStream.Play.Failed", &why.to_string());
                self.is_over = true;
            }
            // RTMP has no redirect that players follow.
            Awaited::Nowhere | Awaited::Offline | Awaited::Elsewhere(_) | Awaited::Upstream(_) => {
                self.refuse_play(session, PlayRefusal::Closed)
            }
        }
    }

    fn refuse_play(&mut self, session: &mut Session, refusal: PlayRefusal) {
        let code = if refusal == PlayRefusal::Closed { "NetStream.Play.StreamNotFound" } else { "NetStream.Play.Failed" };
        session.reject_play(code, &refusal.to_string());
        self.is_over = true;
    }
}
