//! HLS and recordings: asked for as players and operators do, and looked at afterwards.

use crate::picture;
use crate::scenario::Kind;
use crate::server::Server;
use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often a player asks for a playlist, and how often a round of all streams begins.
const ASK_INTERVAL: Duration = Duration::from_secs(3);
/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// One HLS player a stream, in a thread of their own: each asks for its playlist every three seconds. nginx writes playlists to its
/// disk whether someone asks or not, and is not asked.
pub(crate) struct Askers {
    /// Segments in the shortest playlist of the last round.
    pub(crate) segments_min: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<()>>,
}

impl Askers {
    pub(crate) fn start(server: &Server, streams: usize) -> io::Result<Self> {
        let segments_min = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let places: Vec<Place> = (0..streams).map(|stream| Place::of(server, stream)).collect();
        let (seen, is_over) = (segments_min.clone(), stop.clone());
        let thread = std::thread::Builder::new().name("hls".into()).spawn(move || ask(&places, &seen, &is_over))?;
        Ok(Self { segments_min, stop, thread })
    }

    pub(crate) fn finish(self) -> io::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| io::Error::other("the HLS players panicked"))?
    }
}

/// Where a playlist is.
enum Place {
    File(std::path::PathBuf),
    Http { port: u16, path: String },
}

impl Place {
    fn of(server: &Server, stream: usize) -> Self {
        match server.kind {
            Kind::Nginx => Self::File(server.playlist_file(stream)),
            Kind::Sightline { .. } => {
                Self::Http { port: server.http_port, path: format!("/live/{}/index.m3u8", server.kind.play_name(stream)) }
            }
        }
    }

    fn read(&self) -> io::Result<String> {
        match self {
            Self::File(path) => Ok(std::fs::read_to_string(path).unwrap_or_default()),
            Self::Http { port, path } => {
                let mut socket = TcpStream::connect(("127.0.0.1", *port))?;
                socket.set_read_timeout(Some(ANSWER_LIMIT))?;
                socket.write_all(format!("GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").as_bytes())?;
                let mut answer = String::new();
                socket.read_to_string(&mut answer)?;
                Ok(answer)
            }
        }
    }
}

fn ask(places: &[Place], segments_min: &AtomicUsize, is_over: &AtomicBool) -> io::Result<()> {
    let pause = ASK_INTERVAL.div_f64(places.len().max(1) as f64);
    loop {
        let mut least = usize::MAX;
        for place in places {
            if is_over.load(Ordering::Relaxed) {
                return Ok(());
            }
            least = least.min(place.read()?.matches("#EXTINF").count());
            std::thread::sleep(pause);
        }
        segments_min.store(least, Ordering::Relaxed);
    }
}

/// What recordings hold.
#[derive(Default, Debug)]
pub(crate) struct Recorded {
    /// Streams with frames.
    pub(crate) streams: usize,
    /// Frames missing between those that are there.
    pub(crate) lost: u64,
    pub(crate) corrupt: u64,
    /// Of the stream that has the fewest.
    pub(crate) frames_min: u64,
}

/// Bytes before the first tag, and of a tag's header and of what follows it (FLV, annex E).
const FLV_HEADER_BYTES: usize = 13;
const TAG_HEADER_BYTES: usize = 11;
const TAG_TAIL_BYTES: usize = 4;
/// A picture's body begins with these: an AVC frame, not its configuration.
const BODY_HEADER_BYTES: usize = 5;

/// Reads all FLV files below a directory.
pub(crate) fn recordings(dir: &Path) -> io::Result<Recorded> {
    let mut files = Vec::new();
    find(dir, &mut files)?;
    let mut by_stream: HashMap<u64, u64> = HashMap::new();
    let mut sum = Recorded::default();
    for file in files {
        read_flv(&std::fs::read(file)?, &mut by_stream, &mut sum);
    }
    sum.streams = by_stream.len();
    sum.frames_min = by_stream.values().copied().min().unwrap_or(0);
    Ok(sum)
}

fn find(dir: &Path, files: &mut Vec<std::path::PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "flv") {
            files.push(path);
        }
    }
    Ok(())
}

/// Reads one file. A tag that its end cuts off is not there yet.
fn read_flv(bytes: &[u8], by_stream: &mut HashMap<u64, u64>, sum: &mut Recorded) {
    let mut rest = bytes.get(FLV_HEADER_BYTES..).unwrap_or(&[]);
    let mut due = None;
    while let Some(&[kind, l0, l1, l2, ..]) = rest.first_chunk::<TAG_HEADER_BYTES>() {
        let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        let Some(body) = rest.get(TAG_HEADER_BYTES..TAG_HEADER_BYTES + length) else { break };
        rest = rest.get(TAG_HEADER_BYTES + length + TAG_TAIL_BYTES..).unwrap_or(&[]);
        if kind != 9 || body.get(1) != Some(&1) {
            continue;
        }
        let Some(stamp) = picture::read(body.get(BODY_HEADER_BYTES..).unwrap_or(&[])) else {
            sum.corrupt += 1;
            continue;
        };
        sum.lost += stamp.counter.abs_diff(due.unwrap_or(stamp.counter));
        due = Some(stamp.counter + 1);
        *by_stream.entry(stamp.stream).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sightline_media::{Frame, MediaTime, TrackId};

    fn tag(counter: u64) -> bytes::Bytes {
        let payload = picture::frame(picture::Stamp { stream: 3, counter, sent_micros: 5 });
        let dts = MediaTime::from_millis(40);
        let frame = Frame { track: TrackId::VIDEO, dts, pts: dts, is_keyframe: true, is_disposable: false, payload };
        sightline_rtmp::flv::frame_tag(&frame, sightline_media::Codec::H264)
    }

    #[test]
    fn what_a_recording_lacks_is_found() {
        let mut file = sightline_rtmp::flv::file_header(true, false).to_vec();
        for counter in [7, 8, 11] {
            file.extend_from_slice(&tag(counter));
        }
        file.extend_from_slice(&tag(12)[..100]);
        let (mut streams, mut sum) = (HashMap::new(), Recorded::default());
        read_flv(&file, &mut streams, &mut sum);
        assert_eq!((streams[&3], sum.lost, sum.corrupt), (3, 2, 0));
    }
}
