//! Connections of HTTP that end when their peer stalls: one that takes nothing, begins no request for long, or does not end its head.

use crate::phase::{Phase, Step};
use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// How long a peer may take for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// To take some of what is written.
    pub(crate) stuck: Duration,
    /// To begin the next request.
    pub(crate) idle: Duration,
    /// From a request's first byte to the end of its head.
    pub(crate) head: Duration,
    /// To send some of a request's body.
    pub(crate) body: Duration,
}

/// A connection whose writes and reads fail with `TimedOut` when the peer stalls.
pub(crate) struct Guarded<S> {
    socket: S,
    patience: Patience,
    phase: Arc<Phase>,
    write_timer: Pin<Box<Sleep>>,
    /// The last write could not be done, and the timer runs.
    is_write_waiting: bool,
    read_timer: Pin<Box<Sleep>>,
    /// The step that the read timer runs for.
    timed: Option<(Step, u32)>,
}

impl<S> Guarded<S> {
    pub(crate) fn new(socket: S, patience: Patience, phase: Arc<Phase>) -> Self {
        let timer = || Box::pin(tokio::time::sleep(patience.stuck));
        Self { socket, patience, phase, write_timer: timer(), is_write_waiting: false, read_timer: timer(), timed: None }
    }

    fn guard_write<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.is_write_waiting = false;
            // The end of an answer may be on its way long after the answer is made: who takes it is not idle.
            self.timed = None;
            return written;
        }
        if !self.is_write_waiting {
            self.is_write_waiting = true;
            self.write_timer.as_mut().reset(Instant::now() + self.patience.stuck);
        }
        match self.write_timer.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Nothing came: may that go on?
    fn guard_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let now = self.phase.step();
        let limit = match now.0 {
            Step::Idle => self.patience.idle,
            Step::Head => self.patience.head,
            Step::Answer => return Poll::Pending,
        };
        if self.timed != Some(now) {
            self.timed = Some(now);
            self.read_timer.as_mut().reset(Instant::now() + limit);
        }
        match self.read_timer.as_mut().poll(context) {
            Poll::Ready(()) if !self.is_write_waiting => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Ready(()) | Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(context, buffer);
        match read {
            Poll::Ready(Ok(())) => {
                if buffer.filled().len() > before {
                    self.phase.handle_bytes();
                }
                // A head that comes a byte at a time must end in time too.
                if self.guard_read(context).is_ready() { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { read }
            }
            Poll::Ready(Err(_)) => read,
            Poll::Pending => self.guard_read(context),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.guard_write(context, written)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(context, slices);
        self.guard_write(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
