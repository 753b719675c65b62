//! The connection to a media server: dialled, open, or watched in the background.

use sightline_signal::Text;
use std::{pin::Pin, sync::Arc};

use crate::cloud::{
    link::{self, DialError, Link, Turn},
    tcp::Progress,
};

type Attempt = Pin<Box<dyn Future<Output = Result<Link, DialError>> + Send>>;

/// What is there, and what is tried.
enum State {
    /// Nothing.
    Closed,
    /// The pusher waits for this attempt.
    Dialling {
        url: Text<192>,
        attempt: Attempt,
    },
    Open(Link),
    /// An attempt that took too long for the pusher. Its success says that the link is back.
    Watching {
        url: Text<192>,
        attempt: Attempt,
    },
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
    state: State,
    /// A connection on which nothing moves. It is reset once there is another: the server then learns of it over a link that works, and does not
    /// keep the stream's name for it.
    stalled: Option<Link>,
}

impl Connection {
    pub(super) fn new(tls: Option<Arc<rustls::ClientConfig>>) -> Self {
        Self { tls, state: State::Closed, stalled: None }
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
        let attempt = match before {
            State::Ready { url: known, link } if known == url => {
                self.open(link);
                return true;
            }
            State::Watching { url: known, attempt } if known == url => attempt,
            State::Closed | State::Dialling { .. } | State::Open(_) | State::Watching { .. } | State::Ready { .. } => {
                Box::pin(link::dial(url.to_string(), self.tls.clone()))
            }
        };
        self.state = State::Dialling { url, attempt };
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
            State::Dialling { url, attempt } => self.state = State::Watching { url, attempt },
            State::Closed | State::Watching { .. } | State::Ready { .. } => self.state = before,
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
            State::Dialling { attempt, .. } => match attempt.await {
                Ok(link) => {
                    self.open(link);
                    return ConnectionEvent::Up;
                }
                Err(error) => {
                    self.state = State::Closed;
                    return ConnectionEvent::Failed(error);
                }
            },
            State::Watching { url, attempt } => match attempt.await {
                Ok(link) => {
                    let url = std::mem::take(url);
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
