//! The connection to a media server: dialled, open, or watched in the background.

use sightline_signal::Text;
use std::{pin::Pin, sync::Arc};
use tokio::{sync::watch, time::Instant};

use crate::cloud::{
    link::{self, DialError, Link, Stage, StageTimeouts, Turn},
    tcp::Progress,
};

type Attempt = Pin<Box<dyn Future<Output = Result<Link, DialError>> + Send>>;

/// A dial under way.
struct Dial {
    url: Text<192>,
    attempt: Attempt,
    stage: watch::Receiver<Stage>,
    /// Since when it is at this stage; or since when the pusher waits for it, if that is later.
    since: Instant,
}

impl Dial {
    /// Ends with the attempt; or, as an error, once a stage takes too long: the attempt can be watched then.
    async fn next(&mut self, timeouts: StageTimeouts) -> Result<Result<Link, DialError>, DialError> {
        loop {
            let stage = *self.stage.borrow_and_update();
            let limit = timeouts.of(stage);
            tokio::select! {
                done = &mut self.attempt => return Ok(done),
                Ok(()) = self.stage.changed() => self.since = Instant::now(),
                () = tokio::time::sleep_until(self.since + limit) => return Err(stage.timeout(limit)),
            }
        }
    }
}

/// What is there, and what is tried.
enum State {
    /// Nothing.
    Closed,
    /// The pusher waits for this attempt.
    Dialling(Dial),
    Open(Link),
    /// An attempt that took too long for the pusher. Its success says that the link is back.
    Watching(Dial),
    /// A connection that watching has brought. The next dial to the same server takes it.
    Ready {
        url: Text<192>,
        link: Link,
    },
}

/// What happened to the connection.
#[derive(Debug)]
pub(super) enum ConnectionEvent {
    /// The attempt that the pusher waits for succeeded.
    Up,
    /// It failed.
    Failed(DialError),
    /// A watched attempt succeeded: the link is back.
    Back,
    /// The open connection moved bytes, or ended.
    Link(Turn),
}

/// The way to one server at a time.
pub(super) struct Connection {
    tls: Option<Arc<rustls::ClientConfig>>,
    timeouts: StageTimeouts,
    state: State,
    /// A connection on which nothing moves. It is reset once there is another: the server then learns of it over a link that works, and does not
    /// keep the stream's name for it.
    stalled: Option<Link>,
}

impl Connection {
    pub(super) fn new(tls: Option<Arc<rustls::ClientConfig>>, timeouts: StageTimeouts) -> Self {
        Self { tls, timeouts, state: State::Closed, stalled: None }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// What the far end has acknowledged, where the system knows.
    pub(super) fn progress(&self) -> Option<Progress> {
        if let State::Open(link) = &self.state { link.progress() } else { None }
    }

    /// Dials a server. True: a connection was ready, and is open now.
    pub(super) fn dial(&mut self, url: Text<192>) -> bool {
        let before = std::mem::replace(&mut self.state, State::Closed);
        let dial = match before {
            State::Ready { url: known, link } if known == url => {
                self.open(link);
                return true;
            }
            State::Watching(dial) if dial.url == url => Dial { since: Instant::now(), ..dial },
            State::Closed | State::Dialling(_) | State::Open(_) | State::Watching(_) | State::Ready { .. } => {
                let (sender, stage) = watch::channel(Stage::Dns);
                let attempt = Box::pin(link::dial(url.to_string(), self.tls.clone(), sender));
                Dial { url, attempt, stage, since: Instant::now() }
            }
        };
        self.state = State::Dialling(dial);
        false
    }

    /// Ends what is there. `is_wanted`: the pusher is about to dial again, so an attempt goes on in the background.
    pub(super) fn hang_up(&mut self, is_wanted: bool) {
        let before = std::mem::replace(&mut self.state, State::Closed);
        if !is_wanted {
            self.stalled = None;
            return;
        }
        match before {
            State::Open(link) => self.stalled = Some(link),
            State::Dialling(dial) => self.state = State::Watching(dial),
            State::Closed | State::Watching(_) | State::Ready { .. } => self.state = before,
        }
    }

    /// Waits for what happens next. `pending`: bytes for the open connection; what it brings is read into `buffer`.
    pub(super) async fn next(&mut self, pending: [&[u8]; 2], buffer: &mut [u8]) -> ConnectionEvent {
        match &mut self.state {
            State::Open(link) => {
                let turn = link.turn(pending, buffer).await;
                if matches!(turn, Turn::Closed) {
                    self.state = State::Closed;
                }
                return ConnectionEvent::Link(turn);
            }
            State::Dialling(dial) => match dial.next(self.timeouts).await {
                Ok(Ok(link)) => {
                    self.open(link);
                    return ConnectionEvent::Up;
                }
                Ok(Err(error)) => {
                    self.state = State::Closed;
                    return ConnectionEvent::Failed(error);
                }
                Err(slow) => {
                    if let State::Dialling(dial) = std::mem::replace(&mut self.state, State::Closed) {
                        self.state = State::Watching(dial);
                    }
                    return ConnectionEvent::Failed(slow);
                }
            },
            State::Watching(dial) => match (&mut dial.attempt).await {
                Ok(link) => {
                    let url = std::mem::take(&mut dial.url);
                    self.state = State::Ready { url, link };
                    return ConnectionEvent::Back;
                }
                // A refusal says that the server is down, not the link: the backoff decides.
                Err(_) => self.state = State::Closed,
            },
            State::Closed | State::Ready { .. } => {}
        }
        std::future::pending().await
    }

    fn open(&mut self, link: Link) {
        if let Some(stalled) = self.stalled.take() {
            stalled.abort();
        }
        self.state = State::Open(link);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sightline_signal::ErrorCode;
    use std::time::Duration;

    #[tokio::test]
    async fn each_stage_has_a_time_and_a_code_of_its_own_and_a_slow_attempt_goes_on_for_who_watches_it() {
        let (long, short) = (Duration::from_secs(600), Duration::from_millis(20));
        for (stage, code) in
            [(Stage::Dns, ErrorCode::DnsFailed), (Stage::Tcp, ErrorCode::RtmpConnectTimeout), (Stage::Tls, ErrorCode::TlsFailed)]
        {
            let mut timeouts = StageTimeouts { dns: long, tcp: long, tls: long };
            *(match stage {
                Stage::Dns => &mut timeouts.dns,
                Stage::Tcp => &mut timeouts.tcp,
                Stage::Tls => &mut timeouts.tls,
            }) = short;
            let mut connection = Connection::new(None, timeouts);
            let (sender, receiver) = watch::channel(Stage::Dns);
            let attempt = Box::pin(std::future::pending());
            connection.state = State::Dialling(Dial { url: Text::new(), attempt, stage: receiver, since: Instant::now() });
            let mut buffer = [0; 8];
            let (event, ()) = tokio::join!(connection.next([&[], &[]], &mut buffer), async {
                sender.send_replace(stage);
            });
            assert!(matches!(&event, ConnectionEvent::Failed(error) if error.code == code), "{stage:?}: {event:?}");
            connection.hang_up(true);
            assert!(matches!(connection.state, State::Watching(_)));
            assert!(
                !connection.dial(Text::new()) && matches!(connection.state, State::Dialling(_)),
                "the same attempt, with its time anew"
            );
        }
    }
}
