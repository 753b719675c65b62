//! Reading from a connection without a buffer of its own while there is nothing to read.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

/// Reads once and hands over what came; `None` at the connection's end. The buffer is on the stack, and only while there is something to
/// read: an idle connection has none.
pub(crate) async fn read_with<const BYTES: usize, S: AsyncRead + Unpin, T>(
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
