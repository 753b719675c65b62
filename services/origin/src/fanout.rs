//! RTMP viewers over plain TCP: many sockets to a task. When a frame comes, the task writes it to each socket directly instead of
//! waking a task a viewer; a socket that is full waits for its own turn, and only it does.

use crate::ring::{Cursor, Wire};
use crate::stream::{Stream, ViewerCount};
use bytes::{Buf as _, Bytes};
use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::io::IoSlice;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Viewers of one task. A write takes about 5 µs, so a frame reaches the last of them within a few milliseconds, and two cores share a stream of more.
const SHARD_VIEWERS_MAX: usize = 256;
/// Bytes taken from the ring for a viewer at a time: it catches up in steps, and holds no more than this beyond the ring.
const BATCH_BYTES: usize = 256 * 1024;
/// Slices of one write.
const SLICES_MAX: usize = 16;
/// Control bytes that may wait for a viewer: answers to its pings. One who asks for more is not a player.
const CONTROL_BYTES_MAX: usize = 16 * 1024;
/// How often stuck viewers are looked for.
const TICK: Duration = Duration::from_secs(1);

/// The tasks of a stream.
#[derive(Default)]
pub(crate) struct Fanout {
    shards: Mutex<Vec<Arc<Shard>>>,
}

struct Shard {
    wake: Notify,
    joining: Mutex<Vec<Viewer>>,
    viewers: AtomicUsize,
}

/// What a viewer's reading task and its shard share.
#[derive(Default)]
pub(crate) struct ViewerLink {
    control: Mutex<Vec<u8>>,
    has_control: AtomicBool,
    /// Cancelled by whichever side sees the end first.
    pub(crate) gone: CancellationToken,
}

impl ViewerLink {
    /// Hands whole messages to be written between frames.
    pub(crate) fn send_control(&self, bytes: &[u8]) {
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        if control.len() + bytes.len() > CONTROL_BYTES_MAX {
            self.gone.cancel();
            return;
        }
        control.extend_from_slice(bytes);
        self.has_control.store(true, Ordering::Release);
    }

    fn take_control(&self) -> Option<Bytes> {
        if !self.has_control.swap(false, Ordering::AcqRel) {
            return None;
        }
        let control = std::mem::take(&mut *self.control.lock().unwrap_or_else(PoisonError::into_inner));
        (!control.is_empty()).then(|| Bytes::from(control))
    }
}

struct Viewer {
    socket: OwnedWriteHalf,
    link: Arc<ViewerLink>,
    cursor: Cursor,
    /// Whole messages; the first may be partly written.
    out: VecDeque<Bytes>,
    blocked_since: Option<tokio::time::Instant>,
    _count: ViewerCount,
}

impl Fanout {
    /// Tells the tasks that there is a frame.
    pub(crate) fn wake(&self) {
        for shard in self.shards.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            shard.wake.notify_one();
        }
    }

    /// Adds a viewer, whose session has said all that comes before media.
    pub(crate) fn join(&self, stream: &Arc<Stream>, socket: OwnedWriteHalf, link: Arc<ViewerLink>, stuck: Duration, tasks: &TaskTracker) {
        let viewer =
            Viewer { socket, link, cursor: Cursor::default(), out: VecDeque::new(), blocked_since: None, _count: stream.count_viewer() };
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        let shard = if let Some(shard) = shards.iter().find(|shard| shard.viewers.load(Ordering::Relaxed) < SHARD_VIEWERS_MAX) {
            shard.clone()
        } else {
            let shard = Arc::new(Shard { wake: Notify::new(), joining: Mutex::default(), viewers: AtomicUsize::new(0) });
            shards.push(shard.clone());
            tasks.spawn(run(shard.clone(), stream.clone(), stuck));
            shard
        };
        drop(shards);
        shard.viewers.fetch_add(1, Ordering::Relaxed);
        shard.joining.lock().unwrap_or_else(PoisonError::into_inner).push(viewer);
        shard.wake.notify_one();
    }
}

/// Serves a shard's viewers until the stream ends.
async fn run(shard: Arc<Shard>, stream: Arc<Stream>, stuck: Duration) {
    let mut viewers: Vec<Viewer> = Vec::new();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !stream.ended.is_cancelled() {
        viewers.append(&mut shard.joining.lock().unwrap_or_else(PoisonError::into_inner));
        let before = viewers.len();
        viewers.retain_mut(|viewer| viewer.serve(&stream, stuck));
        shard.viewers.fetch_sub(before - viewers.len(), Ordering::Relaxed);
        let mut woken = pin!(shard.wake.notified());
        let mut ended = pin!(stream.ended.cancelled());
        poll_fn(|context| {
            let mut is_ready = woken.as_mut().poll(context).is_ready() | ended.as_mut().poll(context).is_ready();
            is_ready |= tick.poll_tick(context).is_ready();
            for viewer in viewers.iter().filter(|viewer| viewer.blocked_since.is_some()) {
                is_ready |= viewer.socket.as_ref().poll_write_ready(context).is_ready();
            }
            if is_ready { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Viewer {
    /// Writes what the socket takes; false when the viewer is to be dropped.
    fn serve(&mut self, stream: &Stream, stuck: Duration) -> bool {
        let keeps = self.write(stream) && self.blocked_since.is_none_or(|since| since.elapsed() < stuck);
        if !keeps {
            self.link.gone.cancel();
        }
        keeps && !self.link.gone.is_cancelled()
    }

    fn write(&mut self, stream: &Stream) -> bool {
        loop {
            if self.out.is_empty() {
                self.out.extend(self.link.take_control());
                stream.fill(&mut self.cursor, Wire::Rtmp, &mut self.out, BATCH_BYTES);
                if self.out.is_empty() {
                    return true;
                }
            }
            match self.try_write() {
                // A socket that takes nothing though it is ready is closed.
                Ok(0) => return false,
                Ok(written) => {
                    self.blocked_since = None;
                    self.advance(written);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    self.blocked_since.get_or_insert_with(tokio::time::Instant::now);
                    return true;
                }
                Err(_) => return false,
            }
        }
    }

    fn try_write(&self) -> std::io::Result<usize> {
        if let [only] = self.out.as_slices().0
            && self.out.len() == 1
        {
            return self.socket.try_write(only);
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut count = 0;
        for (slice, bytes) in slices.iter_mut().zip(&self.out) {
            *slice = IoSlice::new(bytes);
            count += 1;
        }
        self.socket.try_write_vectored(slices.get(..count).unwrap_or(&[]))
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(first) = self.out.front_mut() {
            if written < first.len() {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.out.pop_front();
        }
    }
}
