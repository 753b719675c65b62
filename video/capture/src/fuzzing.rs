//! Doors to what is private here, for the fuzz targets in `fuzz/`. No part of the interface: they come with the feature `fuzzing`.

use bytes::{Bytes, BytesMut};
use retina::{client::SessionGroup, fuzzing::connect_to};
use std::{io::Read, sync::Arc, time::Instant};

pub use crate::ffmpeg::Item;
pub use retina::fuzzing::Said;

use crate::{
    address::CameraUrl,
    ffmpeg,
    http_answer::Head,
    multipart::Multipart,
    outlet::{Outlet, SourceEvent, Trouble},
    rtsp,
    sound::Sound,
    timeline::Timeline,
};

/// Events that are kept of one camera: more than an input can make, since none may be lost where two runs are compared.
const EVENTS_MAX: usize = 1 << 16;

/// What a camera gave, and why that was all.
#[derive(Debug)]
pub struct Seen {
    /// In their order.
    pub events: Vec<SourceEvent>,
    /// Each camera ends.
    pub trouble: Trouble,
}

/// Reads an RTSP camera that says this, in one connection after another, whatever it is asked; `None`: there is no runtime to do it.
#[must_use]
pub fn rtsp(connections: Vec<Said>) -> Option<Seen> {
    let url = CameraUrl::parse("rtsp://user:password@camera/1", &["rtsp"]).ok()?;
    let (sender, seen) = std::sync::mpsc::sync_channel(EVENTS_MAX);
    let (mut outlet, mut timeline) = (Outlet::new(sender, Arc::default()), Timeline::new(Instant::now()));
    let mut sound = Sound::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().ok()?;
    connect_to(Some(connections));
    let trouble = runtime.block_on(async {
        let (group, wanted) = (Arc::<SessionGroup>::default(), None);
        let session = rtsp::Session { group, wanted, outlet: &mut outlet, timeline: &mut timeline, sound: &mut sound };
        rtsp::read(&url, rtsp::Transport::Tcp, session).await
    });
    connect_to(None);
    Some(Seen { events: seen.try_iter().collect(), trouble })
}

/// What an HTTP camera gave: its pictures, what was odd about them, and why there are no more.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Parts {
    /// Whole parts, whether or not they are pictures.
    pub parts: Vec<Bytes>,
    /// As they are counted.
    pub faults: u64,
    /// `None`: it ended.
    pub problem: Option<String>,
}

/// Reads an HTTP camera's answer in pieces of the sizes given, none of them empty.
pub fn mjpeg(bytes: &[u8], mut size: impl FnMut() -> usize) -> Parts {
    let (mut rest, mut buffer, mut seen) = (bytes, BytesMut::new(), Parts::default());
    let mut reader: Option<(crate::http_answer::Body, Multipart)> = None;
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(size().clamp(1, rest.len()));
        rest = later;
        buffer.extend_from_slice(piece);
        match take_parts(&mut reader, &mut buffer, &mut seen.parts) {
            Ok(false) => {}
            Ok(true) => break,
            Err(problem) => {
                seen.problem = Some(problem);
                break;
            }
        }
    }
    seen.faults = reader.map_or(0, |(_, multipart)| multipart.faults());
    seen
}

/// As `mjpeg::read` does with each piece; true: it is over.
fn take_parts(
    reader: &mut Option<(crate::http_answer::Body, Multipart)>,
    buffer: &mut BytesMut,
    parts: &mut Vec<Bytes>,
) -> Result<bool, String> {
    if reader.is_none() {
        let Some(head) = Head::take(buffer).map_err(|error| error.to_string())? else { return Ok(false) };
        let multipart = Multipart::new(head.content_type.as_deref()).map_err(|error| error.to_string())?;
        *reader = Some((head.body(), multipart));
    }
    let Some((body, multipart)) = reader else { return Ok(false) };
    while let Some(piece) = body.take(buffer).map_err(|error| error.to_string())? {
        multipart.feed(&piece);
        while let Some(part) = multipart.next().map_err(|error| error.to_string())? {
            parts.push(part);
        }
        if multipart.is_over() {
            break;
        }
    }
    Ok(multipart.is_over() || body.is_over())
}

/// Reads what ffmpeg writes for us, and gives each item to `see`.
///
/// # Errors
/// It can't be read, in words.
pub fn matroska(input: impl Read, see: impl FnMut(Item)) -> Result<(), String> {
    ffmpeg::read_stream(input, see).map_err(|error| error.to_string())
}
