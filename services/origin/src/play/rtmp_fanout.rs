//! RTMP viewers over plain TCP: many sockets to a task. When a frame comes, the task writes it to each socket directly instead of
//! waking a task a viewer; a socket that is full waits for its own turn, and only it does.
//!
//! Viewers that keep up are all at the same place, so what comes next is taken from the ring once for all of them ([`Batch`]).
//! With `rtmp.merge_ms` the task lets frames gather for that long and writes them in one call: a write costs the system much the
//! same whether it carries one frame or nine.

use super::{BATCH_BYTES, Pace, Play};
use crate::live::readers::Reader;
use crate::live::stream::{Stream, ViewerCount};
use crate::live::traffic::Protocol;
use crate::wire::{Scratch, Wire, WireCursor};
use bytes::{Buf as _, Bytes};
use std::collections::VecDeque;
use std::future::{Future as _, pending, poll_fn};
use std::io::IoSlice;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Viewers of one task. A write takes about 5 µs, so a frame reaches the last of them within a few milliseconds, and two cores share a stream of more.
const SHARD_VIEWERS_MAX: usize = 256;
/// Slices of one write to a viewer that is behind.
const SLICES_MAX: usize = 64;
/// Control bytes that may wait for a viewer: answers to its pings. One who asks for more is not a player.
const CONTROL_BYTES_MAX: usize = 16 * 1024;
/// How often stuck viewers are looked for.
const TICK: Duration = Duration::from_secs(1);

/// The tasks of a stream.
#[derive(Default)]
pub(super) struct Fanout {
    shards: Mutex<Vec<Arc<Shard>>>,
}

/// A task with up to [`SHARD_VIEWERS_MAX`] viewers.
struct Shard {
    reader: Arc<Reader>,
    joining: Mutex<Vec<Viewer>>,
    viewers: AtomicUsize,
}

/// What a viewer's reading task and its shard share.
#[derive(Default)]
pub(super) struct ViewerLink {
    control: Mutex<Vec<u8>>,
    /// There is control to send, or the viewer has gone: all that the shard looks at for each frame.
    wants_attention: AtomicBool,
    /// Cancelled by whichever side sees the end first.
    gone: CancellationToken,
}

impl ViewerLink {
    /// Queues whole messages, which are written between frames.
    pub(super) fn send_control(&self, bytes: &[u8]) {
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        if control.len() + bytes.len() > CONTROL_BYTES_MAX {
            self.leave();
            return;
        }
        control.extend_from_slice(bytes);
        self.wants_attention.store(true, Ordering::Release);
    }

    /// Disconnects the viewer, or notes that it has gone.
    pub(super) fn leave(&self) {
        self.gone.cancel();
        self.wants_attention.store(true, Ordering::Release);
    }

    /// Ends when the viewer does.
    pub(super) async fn left(&self) {
        self.gone.cancelled().await;
    }

    fn take_control(&self) -> Option<Bytes> {
        if !self.wants_attention.swap(false, Ordering::AcqRel) {
            return None;
        }
        let control = std::mem::take(&mut *self.control.lock().unwrap_or_else(PoisonError::into_inner));
        (!control.is_empty()).then(|| Bytes::from(control))
    }
}

struct Viewer {
    socket: OwnedWriteHalf,
    link: Arc<ViewerLink>,
    cursor: WireCursor,
    /// Whole messages; the first may be partly written. Empty while the viewer keeps up.
    out: VecDeque<Bytes>,
    blocked_since: Option<Instant>,
    _count: ViewerCount,
}

impl Fanout {
    /// That of a stream.
    pub(super) fn of(stream: &Stream) -> Arc<Self> {
        stream.extensions.get_or_make(Self::default)
    }

    /// Adds a viewer, whose session has sent all that comes before media.
    pub(super) fn join(&self, play: &Play, stream: &Arc<Stream>, socket: OwnedWriteHalf, link: Arc<ViewerLink>) {
        let count = stream.count_viewer(Protocol::Rtmp);
        let viewer = Viewer { socket, link, cursor: WireCursor::default(), out: VecDeque::new(), blocked_since: None, _count: count };
        let shard = self.shard(play, stream);
        shard.viewers.fetch_add(1, Ordering::Relaxed);
        let mut joining = shard.joining.lock().unwrap_or_else(PoisonError::into_inner);
        joining.push(viewer);
        // Where it begins is known when it has begun: until then the frames that it could begin with must stay.
        shard.reader.set_oldest(0);
        drop(joining);
        shard.reader.wake.notify_one();
    }

    /// One with room for a viewer.
    fn shard(&self, play: &Play, stream: &Arc<Stream>) -> Arc<Shard> {
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shard) = shards.iter().find(|shard| shard.viewers.load(Ordering::Relaxed) < SHARD_VIEWERS_MAX) {
            return shard.clone();
        }
        let reader = Arc::new(Reader::new(BATCH_BYTES));
        stream.readers.add(reader.clone());
        let shard = Arc::new(Shard { reader, joining: Mutex::default(), viewers: AtomicUsize::new(0) });
        shards.push(shard.clone());
        play.tasks.spawn(run(shard.clone(), stream.clone(), play.rtmp(), play.pace));
        shard
    }
}

impl Shard {
    /// Notes what the viewers need, unless there are others that wait to be served for the first time.
    fn set_oldest(&self, viewers: &[Viewer]) {
        let oldest = viewers.iter().map(|viewer| viewer.cursor.needed_from()).min().unwrap_or(u64::MAX);
        let joining = self.joining.lock().unwrap_or_else(PoisonError::into_inner);
        if joining.is_empty() {
            self.reader.set_oldest(oldest);
        }
    }
}

/// Serves a shard's viewers until the stream ends.
async fn run(shard: Arc<Shard>, stream: Arc<Stream>, wire: Wire, pace: Pace) {
    let mut viewers: Vec<Viewer> = Vec::new();
    let mut gathering = Gathering { bound: pace.merge, until: None };
    let (mut batch, mut feed) = (Batch::default(), Feed { stream: &stream, wire, scratch: Scratch::new() });
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !stream.ended.is_cancelled() {
        viewers.append(&mut shard.joining.lock().unwrap_or_else(PoisonError::into_inner));
        let before = viewers.len();
        if gathering.is_over(&shard.reader.waiting_bytes, Instant::now()) {
            batch.take(&mut feed);
            let slices = batch.slices();
            viewers.retain_mut(|viewer| viewer.serve(&mut feed, Some((&batch, &slices)), pace.stuck));
        } else {
            viewers.retain_mut(|viewer| !viewer.has_own_turn() || viewer.serve(&mut feed, None, pace.stuck));
        }
        batch.release();
        shard.viewers.fetch_sub(before - viewers.len(), Ordering::Relaxed);
        shard.set_oldest(&viewers);
        let mut woken = pin!(shard.reader.wake.notified());
        let mut ended = pin!(stream.ended.cancelled());
        let mut gathered = pin!(gathering.wait());
        poll_fn(|context| {
            let mut is_ready = woken.as_mut().poll(context).is_ready() | ended.as_mut().poll(context).is_ready();
            is_ready |= tick.poll_tick(context).is_ready() | gathered.as_mut().poll(context).is_ready();
            for viewer in viewers.iter().filter(|viewer| viewer.blocked_since.is_some()) {
                is_ready |= viewer.socket.as_ref().poll_write_ready(context).is_ready();
            }
            if is_ready { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
    let end = sightline_rtmp::server::shared::end_message();
    for viewer in viewers.iter().filter(|viewer| viewer.out.is_empty()) {
        // A viewer that is behind sees it by the closed connection.
        let _ = viewer.socket.try_write(&end);
    }
}

/// Frames that wait for those after them.
struct Gathering {
    bound: Duration,
    /// Set by the first of them.
    until: Option<Instant>,
}

impl Gathering {
    /// Whether what waits is to be written now.
    fn is_over(&mut self, waiting_bytes: &AtomicUsize, now: Instant) -> bool {
        if !self.bound.is_zero() {
            let bytes = waiting_bytes.load(Ordering::Acquire);
            if bytes == 0 {
                return false;
            }
            let until = *self.until.get_or_insert(now + self.bound);
            if now < until && bytes < BATCH_BYTES {
                return false;
            }
        }
        // Before the ring is read: a frame that comes in between wakes the task once too often, never too seldom.
        waiting_bytes.swap(0, Ordering::AcqRel);
        self.until = None;
        true
    }

    async fn wait(&self) {
        match self.until {
            Some(until) => tokio::time::sleep_until(until).await,
            None => pending().await,
        }
    }
}

/// Where a shard's bytes come from.
struct Feed<'a> {
    stream: &'a Stream,
    wire: Wire,
    scratch: Scratch,
}

impl Feed<'_> {
    fn send(&self, socket: &OwnedWriteHalf, slices: &[IoSlice<'_>]) -> std::io::Result<usize> {
        let sent = send(socket, slices)?;
        self.stream.traffic.send(Protocol::Rtmp, sent);
        Ok(sent)
    }

    fn fill(&mut self, cursor: &mut WireCursor, out: &mut VecDeque<Bytes>) {
        cursor.fill(self.stream, self.wire, &mut self.scratch, out, BATCH_BYTES);
    }
}

/// What comes next for the viewers that keep up.
#[derive(Default)]
struct Batch {
    from: WireCursor,
    to: WireCursor,
    parts: VecDeque<Bytes>,
    bytes: usize,
}

impl Batch {
    fn take(&mut self, feed: &mut Feed<'_>) {
        self.from = self.to;
        feed.fill(&mut self.to, &mut self.parts);
        self.bytes = self.parts.iter().map(Bytes::len).sum();
    }

    fn slices(&self) -> Vec<IoSlice<'_>> {
        self.parts.iter().map(|part| IoSlice::new(part)).collect()
    }

    /// Drops the frames: the ring decides how long they stay.
    fn release(&mut self) {
        self.parts.clear();
    }
}

impl Viewer {
    /// Whether there is something to do for this viewer though no frames are to be written.
    fn has_own_turn(&self) -> bool {
        self.blocked_since.is_some() || self.cursor == WireCursor::default() || self.link.wants_attention.load(Ordering::Acquire)
    }

    /// Writes what the socket takes; false when the viewer is to be dropped.
    fn serve(&mut self, feed: &mut Feed<'_>, batch: Option<(&Batch, &[IoSlice<'_>])>, stuck: Duration) -> bool {
        let wants_attention = self.link.wants_attention.load(Ordering::Acquire);
        if wants_attention && self.link.gone.is_cancelled() {
            return false;
        }
        let is_with_all = !wants_attention && self.out.is_empty();
        let keeps = match batch {
            Some((batch, slices)) if is_with_all && self.cursor == batch.from => self.write_batch(feed, batch, slices),
            Some(_) | None => self.write(feed),
        };
        let keeps = keeps && self.blocked_since.is_none_or(|since| since.elapsed() < stuck);
        if !keeps {
            self.link.leave();
        }
        keeps
    }

    /// One write for a viewer that keeps up.
    fn write_batch(&mut self, feed: &mut Feed<'_>, batch: &Batch, slices: &[IoSlice<'_>]) -> bool {
        if slices.is_empty() {
            return true;
        }
        let written = match feed.send(&self.socket, slices) {
            Ok(0) => return false,
            Ok(written) => written,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => 0,
            Err(_) => return false,
        };
        self.cursor = batch.to;
        if written == batch.bytes && batch.bytes < BATCH_BYTES {
            return true;
        }
        // From here on it is on its own: it is behind, or all are and there is more than one batch.
        self.out.extend(batch.parts.iter().cloned());
        self.advance(written);
        self.write(feed)
    }

    fn write(&mut self, feed: &mut Feed<'_>) -> bool {
        loop {
            if self.out.is_empty() {
                self.out.extend(self.link.take_control());
                feed.fill(&mut self.cursor, &mut self.out);
                if self.out.is_empty() {
                    // Most never need it again: they keep up.
                    self.out = VecDeque::new();
                    return true;
                }
            }
            match self.try_write(feed) {
                // A socket that takes nothing though it is ready is closed.
                Ok(0) => return false,
                Ok(written) => {
                    self.blocked_since = None;
                    self.advance(written);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    self.blocked_since.get_or_insert_with(Instant::now);
                    return true;
                }
                Err(_) => return false,
            }
        }
    }

    fn try_write(&self, feed: &Feed<'_>) -> std::io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut count = 0;
        for (slice, bytes) in slices.iter_mut().zip(&self.out) {
            *slice = IoSlice::new(bytes);
            count += 1;
        }
        feed.send(&self.socket, slices.get(..count).unwrap_or(&[]))
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

/// One slice by `send`, which the system does a little faster.
fn send(socket: &OwnedWriteHalf, slices: &[IoSlice<'_>]) -> std::io::Result<usize> {
    match slices {
        [only] => socket.try_write(only),
        several => socket.try_write_vectored(several),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_over(gathering: &mut Gathering, bytes: usize, at: Instant) -> (bool, usize) {
        let waiting = AtomicUsize::new(bytes);
        (gathering.is_over(&waiting, at), waiting.into_inner())
    }

    #[test]
    fn frames_gather_up_to_the_bound_or_a_batch() {
        let now = Instant::now();
        let mut gathering = Gathering { bound: Duration::from_millis(350), until: None };
        assert_eq!(is_over(&mut gathering, 0, now), (false, 0));
        assert_eq!(is_over(&mut gathering, 100, now), (false, 100), "the first frame begins it");
        assert_eq!(is_over(&mut gathering, 200, now + Duration::from_millis(349)), (false, 200));
        assert_eq!(is_over(&mut gathering, 200, now + Duration::from_millis(350)), (true, 0));
        assert_eq!(gathering.until, None);
        assert_eq!(is_over(&mut gathering, BATCH_BYTES, now), (true, 0), "so many do not wait");
    }

    #[test]
    fn nothing_gathers_by_default() {
        let mut gathering = Gathering { bound: Duration::ZERO, until: None };
        assert_eq!(is_over(&mut gathering, 1, Instant::now()), (true, 0));
    }
}
