//! The far end: a player beside the server, which writes down what comes and when; later it is decoded.

use super::emulator::{enter, unix_ms};
use openh264::decoder::Decoder;
use openh264::formats::YUVSource as _;
use sightline_capture::stamp::Stamp;
use sightline_media::{Track, TrackConfig, TrackId, avc};
use sightline_rtmp::player::{Event, Output, Session};
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The server, seen from its own namespace.
const SERVER_ADDRESS: &str = "127.0.0.1:1935";
/// One read.
const READ_BYTES: usize = 64 * 1024;
/// So long it waits for bytes before it looks whether it shall end.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Before it asks again for a stream that is not there.
const ASK_INTERVAL: Duration = Duration::from_millis(100);

/// An access unit as it came.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) arrived_ms: u64,
    /// Annex B, parameter sets before each IDR.
    annex_b: Vec<u8>,
    /// As it travelled.
    pub(crate) bytes: usize,
}

/// Waits until the server listens.
pub(crate) fn wait_for_server(namespace: &str, limit: Duration) -> io::Result<()> {
    enter(namespace)?;
    let until = Instant::now() + limit;
    while let Err(error) = TcpStream::connect(SERVER_ADDRESS) {
        if Instant::now() > until {
            return Err(io::Error::other(format!("the server does not listen: {error}")));
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    Ok(())
}

/// Plays in the server's namespace until it is over.
pub(crate) fn receive_in(namespace: &str, name: &str, is_over: &AtomicBool) -> io::Result<Vec<Arrival>> {
    enter(namespace)?;
    receive(SERVER_ADDRESS, name, is_over)
}

/// Plays until it is over, again after each end of the connection.
pub(crate) fn receive(address: &str, name: &str, is_over: &AtomicBool) -> io::Result<Vec<Arrival>> {
    let mut arrivals = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        // A server that is not there yet, a stream that has not begun or has ended: asked for again.
        let _ = play(address, name, is_over, &mut arrivals);
        std::thread::sleep(ASK_INTERVAL);
    }
    Ok(arrivals)
}

fn play(address: &str, name: &str, is_over: &AtomicBool, arrivals: &mut Vec<Arrival>) -> io::Result<()> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(LOOK_INTERVAL))?;
    let mut session = Session::play(&format!("rtmp://{address}/live"), name, 1);
    let mut parameter_sets = Vec::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        loop {
            match session.poll_output() {
                Output::Transmit(bytes) => socket.write_all(&bytes)?,
                Output::Event(Event::Track(track)) => parameter_sets = annex_b_sets(&track).unwrap_or(parameter_sets),
                Output::Event(Event::Frame(frame)) if frame.track == TrackId::VIDEO => {
                    let mut annex_b = if frame.is_keyframe { parameter_sets.clone() } else { Vec::new() };
                    avc::NalUnits::new(&frame.payload, 4).for_each(|nal| annex_b.extend_from_slice(&[&[0, 0, 0, 1], nal].concat()));
                    arrivals.push(Arrival { arrived_ms: unix_ms(), annex_b, bytes: frame.payload.len() });
                }
                Output::Event(Event::Status { code, is_error: true, .. }) => return Err(io::Error::other(code)),
                Output::Event(Event::Frame(_) | Event::Status { .. } | Event::Remark { .. } | Event::Ended) => {}
                Output::Idle => break,
            }
        }
        match socket.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => session.handle_bytes(buffer.get(..read).unwrap_or_default()).map_err(io::Error::other)?,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
        if is_over.load(Ordering::Relaxed) {
            return Ok(());
        }
    }
}

fn annex_b_sets(track: &Track) -> Option<Vec<u8>> {
    let TrackConfig::H264(config) = &track.config else { return None };
    Some(config.parameter_sets().flat_map(|set| [&[0, 0, 0, 1], set].concat()).collect())
}

/// A picture that came: when, when it was captured, and what it cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Picture {
    pub(crate) arrived_ms: u64,
    pub(crate) captured_ms: u64,
    pub(crate) bytes: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

impl Picture {
    pub(crate) fn latency_ms(&self) -> u64 {
        self.arrived_ms.saturating_sub(self.captured_ms)
    }
}

/// Reads the capture time off each picture. What can't be decoded, or read, is counted.
pub(crate) fn decode(arrivals: &[Arrival]) -> io::Result<(Vec<Picture>, usize)> {
    let mut decoder = Decoder::new().map_err(io::Error::other)?;
    let mut unreadable = 0;
    let mut pictures = Vec::with_capacity(arrivals.len());
    for arrival in arrivals {
        let stamp = decoder.decode(&arrival.annex_b).ok().flatten().and_then(|picture| {
            let (width, height) = picture.dimensions();
            Some((Stamp::read(picture.y(), picture.strides().0, width, height)?, width, height))
        });
        match stamp {
            Some((stamp, width, height)) => {
                let Arrival { arrived_ms, bytes, .. } = *arrival;
                pictures.push(Picture { arrived_ms, captured_ms: stamp.captured_unix_ms, bytes, width, height });
            }
            None => unreadable += 1,
        }
    }
    Ok((pictures, unreadable))
}

/// Lines that ffmpeg's decoder complains in.
pub(crate) fn decoder_errors(arrivals: &[Arrival], dir: &Path) -> io::Result<usize> {
    let file = dir.join("arrived.h264");
    let mut out = io::BufWriter::new(std::fs::File::create(&file)?);
    arrivals.iter().try_for_each(|arrival| out.write_all(&arrival.annex_b))?;
    out.flush()?;
    let output = Command::new("ffmpeg").args(["-v", "error", "-f", "h264", "-i"]).arg(&file).args(["-f", "null", "-"]).output()?;
    Ok(String::from_utf8_lossy(&output.stderr).lines().count())
}
