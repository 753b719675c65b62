//! The viewers: many sockets on a few threads, each of which checks every frame it gets.
//!
//! They look at their sockets every half a millisecond instead of waiting on them. On one machine a write pays for waking whoever
//! waits at the other end; over a network no server does. So every server is spared it, and the latency is half a millisecond coarser.

use crate::picture;
use crate::publisher::{connect, micros_since};
use mio::{Events, Interest, Poll, Token};
use sightline_media::Frame;
use sightline_rtmp::player::{Event, Output, Session};
use std::io::{self, Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two looks at the sockets.
const LOOK_INTERVAL: Duration = Duration::from_micros(500);
/// Connects of a thread between two looks: a herd would only fill the listener's queue.
const CONNECTS_MAX: usize = 2;
/// Sockets of which one look takes note; others wait for the next, which follows at once.
const EVENTS_MAX: usize = 1024;
/// One read: two key frames.
const READ_BYTES: usize = 64 * 1024;

/// What the viewers and the run share.
pub(crate) struct Shared {
    pub(crate) began: Instant,
    /// Bytes that all viewers got so far.
    pub(crate) bytes: AtomicU64,
    /// Viewers that got their first key frame.
    pub(crate) playing: AtomicUsize,
    /// Viewers whose connection ended before the run did.
    pub(crate) dropped: AtomicUsize,
    /// Frames sent from here on have their latency measured, in microseconds since the run began.
    pub(crate) from_micros: AtomicU64,
    /// Up to here.
    pub(crate) to_micros: AtomicU64,
    is_over: AtomicBool,
}

/// What a viewer saw.
#[derive(Default, Debug)]
pub(crate) struct Seen {
    /// The stream that it asked for.
    pub(crate) stream: usize,
    /// The next counter that is due; `None` before the first key frame.
    next: Option<u64>,
    /// Counters that never came.
    pub(crate) lost: u64,
    /// Frames that were not what was sent.
    pub(crate) corrupt: u64,
    pub(crate) latency_micros: Vec<u32>,
}

impl Seen {
    fn take(&mut self, frame: &Frame<bytes::Bytes>, shared: &Shared) {
        let Some(stamp) = picture::read(&frame.payload).filter(|stamp| stamp.stream == self.stream as u64) else {
            self.corrupt += 1;
            return;
        };
        if self.next.is_none() {
            if !frame.is_keyframe {
                return;
            }
            shared.playing.fetch_add(1, Ordering::Relaxed);
        }
        let due = self.next.unwrap_or(stamp.counter);
        // A counter that comes again, or late, is as wrong as one that is missing.
        self.lost += stamp.counter.abs_diff(due);
        self.next = Some(stamp.counter + 1);
        let window = shared.from_micros.load(Ordering::Relaxed)..shared.to_micros.load(Ordering::Relaxed);
        if window.contains(&stamp.sent_micros) {
            let micros = micros_since(shared.began).saturating_sub(stamp.sent_micros);
            self.latency_micros.push(u32::try_from(micros).unwrap_or(u32::MAX));
        }
    }

    /// At the end: frames before `sent` that never came are lost too.
    pub(crate) fn close(&mut self, sent: u64) {
        self.lost += sent.saturating_sub(self.next.unwrap_or(0));
    }
}

/// Whom a viewer watches.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    pub(crate) stream: usize,
    /// The name that the server plays it under.
    pub(crate) name: String,
}

/// The viewers' threads.
pub(crate) struct Load {
    pub(crate) shared: Arc<Shared>,
    threads: Vec<JoinHandle<io::Result<Vec<Seen>>>>,
}

impl Load {
    pub(crate) fn start(threads: usize, watches: &[Watch], port: u16, mss: Option<u32>, began: Instant) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            began,
            bytes: AtomicU64::new(0),
            playing: AtomicUsize::new(0),
            dropped: AtomicUsize::new(0),
            from_micros: AtomicU64::new(u64::MAX),
            to_micros: AtomicU64::new(u64::MAX),
            is_over: AtomicBool::new(false),
        });
        let share = watches.len().div_ceil(threads.max(1)).max(1);
        let threads = watches.chunks(share).enumerate().map(|(thread, watches)| {
            let (shared, watches) = (shared.clone(), watches.to_vec());
            std::thread::Builder::new().name(format!("viewers-{thread}")).spawn(move || watch_all(&shared, &watches, port, mss))
        });
        Ok(Self { threads: threads.collect::<io::Result<_>>()?, shared })
    }

    /// From now on an end of a connection is no failure.
    pub(crate) fn expect_end(&self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
    }

    /// Waits until the server's end has ended all connections.
    pub(crate) fn finish(self) -> io::Result<Vec<Seen>> {
        let mut all = Vec::new();
        for thread in self.threads {
            all.append(&mut thread.join().map_err(|_| io::Error::other("a thread of viewers panicked"))??);
        }
        Ok(all)
    }
}

fn watch_all(shared: &Shared, watches: &[Watch], port: u16, mss: Option<u32>) -> io::Result<Vec<Seen>> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(EVENTS_MAX);
    let mut buffer = vec![0; READ_BYTES];
    let mut viewers: Vec<Viewer> = Vec::with_capacity(watches.len());
    let mut open = watches.len();
    while open > 0 {
        for _ in 0..CONNECTS_MAX {
            let Some(watch) = watches.get(viewers.len()) else { break };
            let mut viewer = Viewer::connect(watch, port, mss, viewers.len())?;
            poll.registry().register(&mut viewer.socket, Token(viewers.len()), Interest::READABLE)?;
            viewers.push(viewer);
        }
        poll.poll(&mut events, Some(Duration::ZERO))?;
        let mut has_more = false;
        for event in &events {
            has_more = true;
            let Some(viewer) = viewers.get_mut(event.token().0).filter(|viewer| viewer.is_open) else { continue };
            if !matches!(viewer.read(&mut buffer, shared), Ok(true)) {
                viewer.is_open = false;
                open -= 1;
                if !shared.is_over.load(Ordering::Relaxed) {
                    shared.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        if !has_more || events.iter().count() < EVENTS_MAX {
            std::thread::sleep(LOOK_INTERVAL);
        }
    }
    Ok(viewers.into_iter().map(|viewer| viewer.seen).collect())
}

struct Viewer {
    socket: mio::net::TcpStream,
    session: Session,
    seen: Seen,
    is_open: bool,
}

impl Viewer {
    fn connect(watch: &Watch, port: u16, mss: Option<u32>, seed: usize) -> io::Result<Self> {
        let socket = connect(port, mss)?;
        socket.set_nonblocking(true)?;
        let session = Session::play(&format!("rtmp://127.0.0.1:{port}/live"), &watch.name, seed as u64);
        let seen = Seen { stream: watch.stream, ..Seen::default() };
        let mut viewer = Self { socket: mio::net::TcpStream::from_std(socket), session, seen, is_open: true };
        viewer.transmit()?;
        Ok(viewer)
    }

    /// Sends what the session has to say.
    fn transmit(&mut self) -> io::Result<()> {
        while let Output::Transmit(bytes) = self.session.poll_output() {
            // A few bytes now and then: a socket that can't take them is broken.
            self.socket.write_all(&bytes)?;
        }
        Ok(())
    }

    /// Takes all that has come; false at the end.
    fn read(&mut self, buffer: &mut [u8], shared: &Shared) -> io::Result<bool> {
        loop {
            let read = match self.socket.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            };
            shared.bytes.fetch_add(read as u64, Ordering::Relaxed);
            self.session.handle_bytes(buffer.get(..read).unwrap_or(&[])).map_err(io::Error::other)?;
            loop {
                match self.session.poll_output() {
                    Output::Transmit(bytes) => self.socket.write_all(&bytes)?,
                    Output::Event(Event::Frame(frame)) => self.seen.take(&frame, shared),
                    Output::Event(Event::Status { code, is_error: true, .. }) => return Err(io::Error::other(code)),
                    Output::Event(Event::Track(_) | Event::Status { .. } | Event::Remark { .. } | Event::Ended) => {}
                    Output::Idle => break,
                }
            }
            // Less than there was room for is all there was: what comes later is announced anew.
            if read < buffer.len() {
                return Ok(true);
            }
        }
    }
}
