//! A picture of a stream whose key frames are no whole pictures: intra refresh repairs a picture strip by strip, from a recovery point on
//! (yasea#840, google/ExoPlayer#1654). OpenH264 begins at an IDR only, so `ffmpeg` makes these, where it is.

use crate::live::{packet::Packet, ring::Cursor, stream::Stream};
use bytes::{Bytes, BytesMut};
use sightline_media::{TrackId, avc};
use std::{process::Stdio, sync::Arc, time::Duration};
use tokio::{io::AsyncWriteExt as _, process::Command, sync::Semaphore, time::timeout};

/// Tries, while the refresh goes on: ten seconds in all, as long as anyone waits for a picture.
const TRIES_MAX: u32 = 12;
/// Between two.
const TRY_INTERVAL: Duration = Duration::from_millis(800);
/// For one: ffmpeg starts, decodes a few seconds and ends.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);
/// What one try hands over at the most. A group that is longer than this is no live picture's.
const GROUP_BYTES_MAX: usize = 16 << 20;
/// Decoders at a time, of all streams: who asks for pictures must not take the machine.
static DECODERS: Semaphore = Semaphore::const_new(2);
/// JPEG's quality as ffmpeg counts it, 2 (best) to 31: about as our own.
const QUALITY: &str = "4";

/// The last picture that is whole, as soon as there is one. `None`: there is no `ffmpeg`, or it makes nothing of it.
pub(super) async fn picture(stream: &Arc<Stream>) -> Option<Bytes> {
    // A refresh may take as long as one recovery point is from the next: what came before the newest is needed, too.
    let (_held, mut cursor, mut frames) = (stream.hold(), Cursor::default(), Vec::new());
    for number in 0..TRIES_MAX {
        if number > 0 {
            tokio::time::sleep(TRY_INTERVAL).await;
        }
        let Ok(_one) = DECODERS.acquire().await else { return None };
        if stream.take(&mut cursor, &mut frames, GROUP_BYTES_MAX) {
            // Frames are missing before these.
            frames.clear();
            cursor = Cursor::default();
            stream.take(&mut cursor, &mut frames, GROUP_BYTES_MAX);
        }
        let group = annex_b(&frames)?;
        match timeout(TRY_TIMEOUT, decode(group)).await {
            Ok(Ok(jpeg)) if !jpeg.is_empty() => return Some(jpeg),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::debug!(%error, "no ffmpeg for a picture of a stream with intra refresh");
                return None;
            }
            Err(_) => return None,
        }
    }
    None
}

/// The group with its parameter sets before it.
fn annex_b(group: &[Arc<Packet>]) -> Option<Bytes> {
    let config = group.first()?.config.tracks.iter().find_map(|track| track.config.avc())?;
    let mut out = BytesMut::new();
    let video = group.iter().filter(|packet| packet.frame.track == TrackId::VIDEO);
    let pictures = video.flat_map(|packet| avc::NalUnits::new(&packet.frame.payload, avc::LENGTH_BYTES));
    for nal in config.parameter_sets().chain(pictures) {
        out.extend_from_slice(&[0, 0, 0, 1]);
        out.extend_from_slice(nal);
        if out.len() > GROUP_BYTES_MAX {
            return None;
        }
    }
    Some(out.freeze())
}

/// The last picture of a stream as a JPEG; empty where none of it is whole yet.
async fn decode(annex_b: Bytes) -> std::io::Result<Bytes> {
    let arguments = ["-v", "quiet", "-f", "h264", "-i", "pipe:0", "-q:v", QUALITY, "-f", "image2pipe", "-c:v", "mjpeg", "pipe:1"];
    let mut command = Command::new("ffmpeg");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut ffmpeg = command.spawn()?;
    let stdin = ffmpeg.stdin.take();
    let write = async {
        if let Some(mut stdin) = stdin {
            // It may have ended early: what it has said tells.
            let _ = stdin.write_all(&annex_b).await;
        }
    };
    let (output, ()) = tokio::join!(ffmpeg.wait_with_output(), write);
    Ok(last_jpeg(&Bytes::from(output?.stdout)))
}

/// The last of the pictures that were written one after another. Inside of a picture no marker follows 0xff 0xd8 0xff.
fn last_jpeg(pictures: &Bytes) -> Bytes {
    let start = pictures.windows(3).rposition(|bytes| bytes == [0xff, 0xd8, 0xff]);
    start.map_or_else(Bytes::new, |start| pictures.slice(start..))
}
