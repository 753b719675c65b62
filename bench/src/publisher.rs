//! The publishers: each a frame every 40 ms as a rule, as a camera does it, and no two at the same moment.

use crate::picture::{self, Stamp};
use crate::scenario::Scenario;
use crate::scenario::stream_name;
use bytes::Bytes;
use sightline_media::{Frame, Instant, MediaTime, TrackId};
use sightline_rtmp::client::{Config, Event, Session};
use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Frames that may wait: over a second. More means that the server does not read, and the run is void.
const QUEUE_FRAMES: usize = 32;
/// How long a server may take to accept a publisher.
const ACCEPT_LIMIT: Duration = Duration::from_secs(10);

type Publishing = Session<Bytes, QUEUE_FRAMES>;

/// What others see of the publishers.
pub(crate) struct Progress {
    /// Frames that went out, by stream.
    pub(crate) sent: Vec<AtomicU64>,
    /// Bytes that went out, of all streams.
    pub(crate) bytes: AtomicU64,
    stop: AtomicBool,
}

impl Progress {
    /// Frames that a stream sent.
    pub(crate) fn sent(&self, stream: usize) -> u64 {
        self.sent.get(stream).map_or(0, |sent| sent.load(Ordering::Relaxed))
    }

    /// Whether all publish.
    pub(crate) fn have_begun(&self) -> bool {
        self.sent.iter().all(|sent| sent.load(Ordering::Relaxed) > 1)
    }

    /// The mean of the streams' present groups of pictures, in bytes.
    pub(crate) fn group_bytes(&self) -> f64 {
        let bytes: usize = (0_u64..).zip(&self.sent).map(|(stream, sent)| picture::group_bytes(stream, sent.load(Ordering::Relaxed))).sum();
        bytes as f64 / self.sent.len().max(1) as f64
    }
}

/// All publishers, in a thread of their own.
pub(crate) struct Publishers {
    pub(crate) progress: Arc<Progress>,
    thread: JoinHandle<io::Result<()>>,
}

impl Publishers {
    pub(crate) fn start(port: u16, mss: Option<u32>, scenario: &Scenario, began: std::time::Instant) -> io::Result<Self> {
        let (interval, sent) = (scenario.frame_interval, (0..scenario.streams).map(|_| AtomicU64::new(0)).collect());
        let progress = Arc::new(Progress { sent, bytes: AtomicU64::new(0), stop: AtomicBool::new(false) });
        let seen = progress.clone();
        let thread = std::thread::Builder::new().name("publishers".into()).spawn(move || publish(port, mss, interval, began, &seen))?;
        Ok(Self { progress, thread })
    }

    /// Whether they have failed.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends them, and says what went wrong if something did.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.progress.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| io::Error::other("the publishers panicked"))?
    }
}

fn publish(port: u16, mss: Option<u32>, interval: Duration, began: std::time::Instant, progress: &Progress) -> io::Result<()> {
    let streams = progress.sent.len();
    let mut cameras = (0..streams).map(|stream| Camera::connect(port, mss, stream, interval, began)).collect::<io::Result<Vec<_>>>()?;
    let first = std::time::Instant::now();
    let phase = interval.div_f64(streams as f64);
    for counter in 0_u32.. {
        for (number, camera) in (0_u32..).zip(&mut cameras) {
            // Each at its own moment: a server that gathers what comes together must not find it together here.
            let due = first + interval * counter + phase * number;
            std::thread::sleep(due.saturating_duration_since(std::time::Instant::now()));
            if progress.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            progress.bytes.fetch_add(camera.send(u64::from(counter))?, Ordering::Relaxed);
            if let Some(sent) = progress.sent.get(camera.stream) {
                sent.store(u64::from(counter) + 1, Ordering::Relaxed);
            }
        }
    }
    Ok(())
}

pub(crate) fn micros_since(began: std::time::Instant) -> u64 {
    u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// A connection over loopback. `mss`: what the other side may put into a segment, as an Ethernet would have it.
pub(crate) fn connect(port: u16, mss: Option<u32>) -> io::Result<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    if let Some(mss) = mss {
        socket.set_tcp_mss(mss)?;
    }
    socket.connect(&std::net::SocketAddr::from(([127, 0, 0, 1], port)).into())?;
    Ok(socket.into())
}

struct Camera {
    stream: usize,
    socket: TcpStream,
    session: Box<Publishing>,
    interval: Duration,
    began: std::time::Instant,
}

impl Camera {
    /// Connects, and waits until it may publish.
    fn connect(port: u16, mss: Option<u32>, stream: usize, interval: Duration, began: std::time::Instant) -> io::Result<Self> {
        let socket = connect(port, mss)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(ACCEPT_LIMIT))?;
        let url = format!("rtmp://127.0.0.1:{port}/live");
        let now = Instant::from_micros(micros_since(began));
        let session = Publishing::publish(Config::default(), &url, &stream_name(stream), now, 1).map_err(io::Error::other)?;
        let mut camera = Self { stream, socket, session: Box::new(session), interval, began };
        camera.session.set_track(picture::track().map_err(|_| io::Error::other("the decoder configuration is wrong"))?);
        while !camera.session.is_publishing() {
            camera.write()?;
            camera.read()?;
        }
        camera.socket.set_nonblocking(true)?;
        Ok(camera)
    }

    /// Sends a frame, and says how many bytes went out.
    fn send(&mut self, counter: u64) -> io::Result<u64> {
        let stream = self.stream as u64;
        let stamp = Stamp { stream, counter, sent_micros: micros_since(self.began) };
        let dts = MediaTime::from_micros(i64::try_from(u128::from(counter) * self.interval.as_micros()).unwrap_or(0));
        let is_keyframe = picture::is_key(stream, counter);
        let payload = picture::frame(stamp);
        let frame = Frame { track: TrackId::VIDEO, dts, pts: dts, is_keyframe, is_disposable: false, payload };
        self.session.send_frame(frame).map_err(|_| io::Error::other("the server does not read what is published"))?;
        let written = self.write()?;
        self.read()?;
        Ok(written)
    }

    fn write(&mut self) -> io::Result<u64> {
        let mut sum = 0;
        loop {
            let [header, payload] = self.session.pending();
            if header.is_empty() && payload.is_empty() {
                return Ok(sum);
            }
            match self.socket.write_vectored(&[IoSlice::new(header), IoSlice::new(payload)]) {
                Ok(written) => {
                    self.session.consumed(written);
                    sum += written as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(sum),
                Err(error) => return Err(error),
            }
        }
    }

    /// Once what the server says.
    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        match self.socket.read(&mut buffer) {
            Ok(0) => return Err(io::Error::other("the server closed a publisher's connection")),
            Ok(read) => {
                let now = Instant::from_micros(micros_since(self.began));
                self.session.handle_bytes(now, buffer.get(..read).unwrap_or(&[])).map_err(io::Error::other)?;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && self.session.is_publishing() => {}
            Err(error) => return Err(error),
        }
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Connected
                | Event::Publishing
                | Event::Acknowledged { .. }
                | Event::FrameSent(_)
                | Event::ReconnectRequested { .. } => {}
                Event::Rejected { code, description } => {
                    return Err(io::Error::other(format!("the publish was refused: {code} {description}")));
                }
                Event::Closed => return Err(io::Error::other("the server ended the stream")),
            }
        }
        Ok(())
    }
}
