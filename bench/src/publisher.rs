//! The one publisher: a frame every 40 ms, as a camera does it.

use crate::picture::{self, FRAME_INTERVAL, Stamp};
use bytes::Bytes;
use sightline_media::{Frame, Instant, MediaTime, TrackId};
use sightline_rtmp::client::{Config, Event, Session};
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// Frames that may wait: over a second. More means that the server does not read, and the run is void.
const QUEUE_FRAMES: usize = 32;

type Publishing = Session<Bytes, QUEUE_FRAMES>;

/// What others see of the publisher.
#[derive(Default)]
pub(crate) struct Progress {
    /// Frames that went out.
    pub(crate) sent: AtomicU64,
    stop: AtomicBool,
}

/// A publisher in a thread of its own.
pub(crate) struct Publisher {
    pub(crate) progress: Arc<Progress>,
    thread: JoinHandle<io::Result<()>>,
}

impl Publisher {
    pub(crate) fn start(port: u16, stream: &'static str, began: std::time::Instant) -> io::Result<Self> {
        let progress = Arc::new(Progress::default());
        let seen = progress.clone();
        let thread = std::thread::Builder::new().name("publisher".into()).spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(publish(port, stream, began, &seen))
        })?;
        Ok(Self { progress, thread })
    }

    /// Ends it, and says what went wrong if something did.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.progress.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| io::Error::other("the publisher panicked"))?
    }
}

async fn publish(port: u16, stream: &str, began: std::time::Instant, progress: &Progress) -> io::Result<()> {
    let now = || Instant::from_micros(micros_since(began));
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
    socket.set_nodelay(true)?;
    let mut session =
        Publishing::publish(Config::default(), &format!("rtmp://127.0.0.1:{port}/live"), stream, now(), 1).map_err(io::Error::other)?;
    session.set_track(picture::track().map_err(|_| io::Error::other("the decoder configuration is wrong"))?);
    let mut ticks = tokio::time::interval(FRAME_INTERVAL);
    let mut counter = 0;
    let mut buffer = [0; 4096];
    while !progress.stop.load(Ordering::Relaxed) {
        write(&mut session, &mut socket).await?;
        tokio::select! {
            _ = ticks.tick() => if session.is_publishing() {
                send(&mut session, Stamp { counter, sent_micros: micros_since(began) })?;
                counter += 1;
                write(&mut session, &mut socket).await?;
                progress.sent.store(counter, Ordering::Relaxed);
            },
            readable = socket.readable() => {
                readable?;
                match socket.try_read(&mut buffer) {
                    Ok(0) => return Err(io::Error::other("the server closed the publisher's connection")),
                    Ok(read) => session.handle_bytes(now(), buffer.get(..read).unwrap_or(&[])).map_err(io::Error::other)?,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
                check(&mut session)?;
            }
        }
    }
    Ok(())
}

pub(crate) fn micros_since(began: std::time::Instant) -> u64 {
    u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn send(session: &mut Publishing, stamp: Stamp) -> io::Result<()> {
    let dts = MediaTime::from_millis(i64::try_from(stamp.counter).unwrap_or(0) * 40);
    let frame = Frame {
        track: TrackId::VIDEO,
        dts,
        pts: dts,
        is_keyframe: picture::is_key(stamp.counter),
        is_disposable: false,
        payload: picture::frame(stamp),
    };
    session.send_frame(frame).map_err(|_| io::Error::other("the server does not read what is published"))
}

async fn write(session: &mut Publishing, socket: &mut TcpStream) -> io::Result<()> {
    loop {
        let [header, payload] = session.pending();
        if header.is_empty() && payload.is_empty() {
            return Ok(());
        }
        let written = socket.write_vectored(&[IoSlice::new(header), IoSlice::new(payload)]).await?;
        session.consumed(written);
    }
}

fn check(session: &mut Publishing) -> io::Result<()> {
    while let Some(event) = session.poll_event() {
        match event {
            Event::Publishing | Event::Acknowledged { .. } | Event::FrameSent(_) | Event::ReconnectRequested { .. } => {}
            Event::Rejected { code, description } => {
                return Err(io::Error::other(format!("the publish was refused: {code} {description}")));
            }
            Event::Closed => return Err(io::Error::other("the server ended the stream")),
        }
    }
    Ok(())
}
