// sightline: this file is ours.

//! Connections that are no sockets, for fuzz targets: what the next ones say is set here, and what is said to them is lost.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One connection: all that its server says, in pieces of the sizes that `size` gives, and then its end.
pub struct Said {
    bytes: Vec<u8>,
    at: usize,
    size: Box<dyn FnMut() -> usize + Send>,
}

impl Said {
    /// A server that says this, whatever it is asked.
    pub fn new(bytes: Vec<u8>, size: impl FnMut() -> usize + Send + 'static) -> Self {
        Self { bytes, at: 0, size: Box::new(size) }
    }
}

thread_local! {
    static NEXT: RefCell<Option<VecDeque<Said>>> = const { RefCell::new(None) };
}

/// From here on this thread's sessions connect to these, in their order, and after the last to nobody; `None`: to the network again.
pub fn connect_to(said: Option<Vec<Said>>) {
    NEXT.with_borrow_mut(|next| *next = said.map(VecDeque::from));
}

/// Whether this thread's sessions connect to such.
pub fn is_connected_to() -> bool {
    NEXT.with_borrow(Option::is_some)
}

/// `None`: the network's turn.
pub(crate) fn connect() -> Option<io::Result<Said>> {
    NEXT.with_borrow_mut(|next| Some(next.as_mut()?.pop_front().ok_or_else(|| io::ErrorKind::ConnectionRefused.into())))
}

impl AsyncRead for Said {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let rest = this.bytes.get(this.at..).unwrap_or_default();
        let count = (this.size)().clamp(1, rest.len().max(1)).min(rest.len()).min(into.remaining());
        into.put_slice(&rest[..count]);
        this.at += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Said {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
