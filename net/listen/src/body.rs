//! Bodies of HTTP: requests' must make progress, answers' say when they end.

use crate::admission::Permit;
use crate::phase::Phase;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// What a body must bring from then on, in bytes a second: a modem's tenth.
const BODY_BYTES_PER_SEC_MIN: u64 = 512;

/// A request's body that fails when it is too slow.
pub(crate) struct Paced {
    body: Incoming,
    /// How long it may take before any of it counts.
    patience: Duration,
    deadline: Pin<Box<Sleep>>,
    began: Instant,
    received: u64,
}

impl Paced {
    pub(crate) fn new(body: Incoming, patience: Duration) -> Self {
        let began = Instant::now();
        Self { body, patience, deadline: Box::pin(tokio::time::sleep_until(began + patience)), began, received: 0 }
    }

    fn due(&self) -> Instant {
        self.began + self.patience + Duration::from_secs(self.received / BODY_BYTES_PER_SEC_MIN)
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            if let Some(Ok(frame)) = &frame {
                self.received += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)));
        }
        let due = self.due();
        if self.deadline.deadline() != due {
            self.deadline.as_mut().reset(due);
        }
        ready!(self.deadline.as_mut().poll(context));
        Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, "the body of the request came too slowly"))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body; what ends with it is dropped with it.
pub(crate) struct Answered {
    body: axum::body::Body,
    _end: AnswerEnd,
}

impl Answered {
    pub(crate) fn new(body: axum::body::Body, end: AnswerEnd) -> Self {
        Self { body, _end: end }
    }
}

impl Body for Answered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Ends the answer when it is dropped: sent, failed, or not wanted any more.
pub(crate) struct AnswerEnd {
    phase: Arc<Phase>,
    /// The place of the client whose request a proxy brought.
    _client: Option<Permit>,
}

impl AnswerEnd {
    pub(crate) fn new(phase: Arc<Phase>, client: Option<Permit>) -> Self {
        Self { phase, _client: client }
    }
}

impl Drop for AnswerEnd {
    fn drop(&mut self) {
        self.phase.end_answer();
    }
}
