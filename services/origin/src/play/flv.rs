//! HTTP-FLV: a file that is downloaded without end.

use crate::auth::viewing::Admitted;
use crate::live::stream::{Stream, ViewerCount};
use crate::live::traffic::Protocol;
use crate::wire::{Scratch, Wire, WireCursor};
use axum::body::Body;
use bytes::Bytes;
use futures_util::stream::unfold;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::watch;

/// Bytes taken from the ring at a time; what hyper holds for a viewer beyond the ring stays near it.
const BATCH_BYTES: usize = 64 * 1024;

/// One viewer: a place in the ring. It is asked for more when its connection has room, and skips if that takes too long.
struct Viewer {
    stream: Arc<Stream>,
    head: watch::Receiver<u64>,
    cursor: WireCursor,
    scratch: Scratch,
    out: VecDeque<Bytes>,
    admitted: Admitted,
    /// An edge's ends with the present publisher: it must hear at once that others may have the stream now.
    ends_with: Option<u64>,
    _count: ViewerCount,
}

/// The stream from its last key frame on.
pub(super) fn body(stream: Arc<Stream>, admitted: Admitted, is_edge: bool) -> Body {
    let viewer = Viewer {
        ends_with: is_edge.then(|| stream.publishers()),
        head: stream.watch(),
        _count: stream.count_lone_viewer(Protocol::Flv),
        stream,
        admitted,
        cursor: WireCursor::default(),
        scratch: Scratch::new(),
        out: VecDeque::new(),
    };
    Body::from_stream(unfold(viewer, Viewer::next))
}

impl Viewer {
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        loop {
            if let Some(bytes) = self.out.pop_front() {
                self.stream.traffic.send(Protocol::Flv, bytes.len());
                return Some((Ok(bytes), self));
            }
            if self.cursor.is_over() || self.admitted.over.is_cancelled() {
                return None;
            }
            self.head.borrow_and_update();
            self.cursor.fill(&self.stream, Wire::Flv, &mut self.scratch, &mut self.out, BATCH_BYTES);
            if !self.out.is_empty() {
                continue;
            }
            if self.ends_with.is_some_and(|publisher| !self.stream.is_published() || self.stream.publishers() != publisher) {
                return None;
            }
            tokio::select! {
                () = self.stream.ended.cancelled() => return None,
                () = self.admitted.over.cancelled() => return None,
                changed = self.head.changed() => changed.ok()?,
            }
        }
    }
}
