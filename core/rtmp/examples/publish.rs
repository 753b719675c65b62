//! Publishes a second of silence over plain TCP, with nothing but the standard library around the session:
//!
//! ```text
//! cargo run -p sightline-rtmp --example publish -- 127.0.0.1:1935 live NAME
//! ```

#![expect(clippy::disallowed_methods, reason = "an example is a shell: it is here to read the clock for the core")]

use sightline_media::{Frame, Instant, MediaTime, Track, TrackConfig, TrackId, aac::AudioConfig};
use sightline_rtmp::client::{Config, Event, Session};
use std::error::Error;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// An AAC frame of silence at 44.1 kHz, stereo: 1,024 samples.
const SILENCE: &[u8] = &[0x21, 0x10, 0x04, 0x60, 0x8c, 0x1c];
const FRAMES: i64 = 43;
/// How long a read waits before the loop looks at its other work.
const READ_WAIT: Duration = Duration::from_millis(10);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, app, name] = arguments.as_slice() else { return Err("usage: publish HOST:PORT APP NAME".into()) };
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(READ_WAIT))?;

    let began = std::time::Instant::now();
    let now = || Instant::from_micros(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
    let mut session = Session::<&[u8], 4>::publish(Config::default(), &format!("rtmp://{address}/{app}"), name, now(), 1)?;
    session.set_track(Track { id: TrackId::AUDIO, config: TrackConfig::Aac(AudioConfig::parse(&[0x12, 0x10])?) });

    let (mut next, mut sent, mut is_publishing) = (0, 0, false);
    while sent < FRAMES {
        // Frames go in as long as the session has room.
        while is_publishing && next < FRAMES && session.send_frame(silence(next)).is_ok() {
            next += 1;
        }
        // What is pending goes out; the session is told how much of it did.
        let written = socket.write(session.pending()[0])?;
        session.consumed(written);
        read(&mut socket, |bytes| session.handle_bytes(now(), bytes).map_err(Into::into))?;
        session.handle_timeout(now())?;
        while let Some(event) = session.poll_event() {
            match event {
                Event::Publishing => is_publishing = true,
                Event::FrameSent(_) => sent += 1,
                Event::Rejected { code, description } => return Err(format!("{code}: {description}").into()),
                Event::Closed => return Err("the server ended the stream".into()),
                Event::Connected | Event::Acknowledged { .. } | Event::ReconnectRequested { .. } => {}
            }
        }
    }
    eprintln!("{sent} frames sent");
    Ok(())
}

fn silence(number: i64) -> Frame<&'static [u8]> {
    let at = MediaTime::from_timescale(number * 1024, 44_100);
    Frame { track: TrackId::AUDIO, dts: at, pts: at, is_keyframe: true, is_disposable: false, payload: SILENCE }
}

/// Reads what there is, if there is something.
fn read(socket: &mut TcpStream, take: impl FnOnce(&[u8]) -> Result<(), Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    let mut buffer = [0; 4096];
    match socket.read(&mut buffer) {
        Ok(0) => Err("the server closed the connection".into()),
        Ok(count) => take(buffer.get(..count).unwrap_or_default()),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
