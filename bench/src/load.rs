//! The viewers: many sockets on a few threads, each of which checks every frame it gets.

use crate::picture;
use crate::publisher::micros_since;
use sightline_media::Frame;
use sightline_rtmp::player::{Event, Output, Session};
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Poll, ready};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Between two viewers' connects of a thread: a herd would only fill the listener's queue.
const CONNECT_INTERVAL: Duration = Duration::from_millis(2);
/// One read: a key frame.
const READ_BYTES: usize = 32 * 1024;

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
    /// The next counter that is due; `None` before the first key frame.
    next: Option<u64>,
    pub(crate) frames: u64,
    /// Counters that never came.
    pub(crate) lost: u64,
    /// Frames that were not what was sent.
    pub(crate) corrupt: u64,
    pub(crate) latency_micros: Vec<u32>,
}

impl Seen {
    fn take(&mut self, frame: &Frame<bytes::Bytes>, shared: &Shared) {
        let Some(stamp) = picture::read(&frame.payload) else {
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
        self.frames += 1;
        let window = shared.from_micros.load(Ordering::Relaxed)..shared.to_micros.load(Ordering::Relaxed);
        if window.contains(&stamp.sent_micros) {
            let micros = micros_since(shared.began).saturating_sub(stamp.sent_micros);
            self.latency_micros.push(u32::try_from(micros).unwrap_or(u32::MAX));
        }
    }

    /// At the end: frames before `sent` that never came are lost too.
    fn close(&mut self, sent: u64) {
        self.lost += sent.saturating_sub(self.next.unwrap_or(0));
    }
}

/// The viewers' threads.
pub(crate) struct Load {
    pub(crate) shared: Arc<Shared>,
    threads: Vec<JoinHandle<io::Result<Vec<Seen>>>>,
}

impl Load {
    pub(crate) fn start(threads: usize, viewers: usize, port: u16, name: &str, began: Instant) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            began,
            bytes: AtomicU64::new(0),
            playing: AtomicUsize::new(0),
            dropped: AtomicUsize::new(0),
            from_micros: AtomicU64::new(u64::MAX),
            to_micros: AtomicU64::new(u64::MAX),
            is_over: AtomicBool::new(false),
        });
        let threads = (0..threads).map(|thread| {
            let (shared, name) = (shared.clone(), name.to_owned());
            let count = viewers / threads + usize::from(thread < viewers % threads);
            std::thread::Builder::new().name(format!("viewers-{thread}")).spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                Ok(runtime.block_on(watch_all(shared, count, port, name)))
            })
        });
        Ok(Self { threads: threads.collect::<io::Result<_>>()?, shared })
    }

    /// From now on an end of a connection is no failure.
    pub(crate) fn expect_end(&self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
    }

    /// Waits until the server's end has ended all connections. `sent`: frames that every viewer must have.
    pub(crate) fn finish(self, sent: u64) -> io::Result<Vec<Seen>> {
        let mut all = Vec::new();
        for thread in self.threads {
            all.append(&mut thread.join().map_err(|_| io::Error::other("a thread of viewers panicked"))??);
        }
        all.iter_mut().for_each(|seen| seen.close(sent));
        Ok(all)
    }
}

async fn watch_all(shared: Arc<Shared>, count: usize, port: u16, name: String) -> Vec<Seen> {
    let mut viewers = JoinSet::new();
    let mut ticks = tokio::time::interval(CONNECT_INTERVAL);
    for seed in 0..count {
        ticks.tick().await;
        let session = Session::play(&format!("rtmp://127.0.0.1:{port}/live"), &name, seed as u64);
        let shared = shared.clone();
        viewers.spawn(async move {
            let mut seen = Seen::default();
            let _ = watch(session, port, &mut seen, &shared).await;
            if !shared.is_over.load(Ordering::Relaxed) {
                shared.dropped.fetch_add(1, Ordering::Relaxed);
            }
            seen
        });
    }
    viewers.join_all().await
}

/// Watches until the connection ends.
async fn watch(mut session: Session, port: u16, seen: &mut Seen, shared: &Shared) -> io::Result<()> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
    loop {
        loop {
            match session.poll_output() {
                // A few bytes now and then: a socket that can't take them is broken.
                Output::Transmit(bytes) => transmit(&socket, &bytes).await?,
                Output::Event(Event::Frame(frame)) => seen.take(&frame, shared),
                Output::Event(Event::Status { code, is_error: true, .. }) => return Err(io::Error::other(code)),
                Output::Event(Event::Track(_) | Event::Status { .. } | Event::Remark { .. } | Event::Ended) => {}
                Output::Idle => break,
            }
        }
        let read = poll_fn(|context| {
            let mut space = [const { MaybeUninit::uninit() }; READ_BYTES];
            let mut buffer = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut socket).poll_read(context, &mut buffer))?;
            let handled = session.handle_bytes(buffer.filled()).map_err(io::Error::other);
            Poll::Ready(handled.map(|()| buffer.filled().len()))
        })
        .await?;
        if read == 0 {
            return Ok(());
        }
        shared.bytes.fetch_add(read as u64, Ordering::Relaxed);
    }
}

async fn transmit(socket: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        socket.writable().await?;
        match socket.try_write(bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or(&[]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
