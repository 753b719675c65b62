//! The last key frame as a JPEG.

use super::Play;
use crate::live::packet::Packet;
use crate::live::stream::Stream;
use bytes::Bytes;
use sightline_h264::Still;
use sightline_media::{Codec, Instant, TrackId, avc};
use std::time::Duration;

/// How long a picture is served again: a wall of tiles must not decode a frame for each viewer.
const FRESH: Duration = Duration::from_secs(1);
/// JPEG's quality: artefacts are not seen at the size of a tile.
const QUALITY: u8 = 80;

/// A stream's last picture.
#[derive(Default)]
struct Cache(tokio::sync::Mutex<Option<Picture>>);

struct Picture {
    made_at: Instant,
    /// The publisher that it is of, by [`Stream::publishers`].
    publishers: u64,
    jpeg: Bytes,
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotError {
    #[error("the stream has no key frame yet")]
    NoKeyFrame,
    #[error("the key frame can't be decoded")]
    Undecodable,
    #[error("snapshots are made of H.264 only")]
    Codec,
    #[error("decoding the key frame failed: {0}")]
    Panicked(tokio::task::JoinError),
}

/// The last key frame as a JPEG, made at most a second ago.
pub(super) async fn snapshot(play: &Play, stream: &Stream) -> Result<Bytes, SnapshotError> {
    let cache = stream.extensions.get_or_make(Cache::default);
    // Held while it decodes: those who ask meanwhile get the same picture. It is this cache's own lock, no frame waits for it.
    let mut last = cache.0.lock().await;
    let (now, publishers) = (play.clock.now(), stream.publishers());
    if let Some(picture) = &*last
        && picture.publishers == publishers
        && now.since(picture.made_at) < FRESH
    {
        return Ok(picture.jpeg.clone());
    }
    let packet = stream.last_key_frame().ok_or(SnapshotError::NoKeyFrame)?;
    if packet.config.codec_of(TrackId::VIDEO) != Codec::H264 {
        return Err(SnapshotError::Codec);
    }
    let decoded = play.tasks.spawn_blocking(move || decode(&packet)).await;
    let jpeg = decoded.map_err(SnapshotError::Panicked)?.ok_or(SnapshotError::Undecodable)?;
    *last = Some(Picture { made_at: now, publishers, jpeg: jpeg.clone() });
    Ok(jpeg)
}

fn decode(packet: &Packet) -> Option<Bytes> {
    let avc = packet.config.tracks.iter().find_map(|track| track.config.avc())?;
    let still = Still::decode(avc, &packet.frame.payload, avc::LENGTH_BYTES)?;
    still.jpeg(QUALITY).map(Bytes::from)
}
