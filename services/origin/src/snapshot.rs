//! The last key frame as a JPEG.

use crate::ring::Packet;
use crate::stream::Stream;
use bytes::Bytes;
use sightline_h264::Still;
use sightline_media::{Codec, Instant, TrackId, avc};
use std::time::Duration;

/// How long a picture is served again: a wall of tiles must not decode a frame a viewer.
const FRESH: Duration = Duration::from_secs(1);
/// JPEG's quality: artefacts are not seen at the size of a tile.
const QUALITY: u8 = 80;

/// A stream's last picture.
#[derive(Default)]
pub(crate) struct Cache {
    last: tokio::sync::Mutex<Option<(Instant, Bytes)>>,
}

impl Cache {
    /// The picture is of another publisher now. Skipped when one is being made: it is fresh for a second at most.
    pub(crate) fn forget(&self, _now: Instant) {
        if let Ok(mut last) = self.last.try_lock() {
            *last = None;
        }
    }
}

/// Why there is no picture.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error("the stream has no key frame yet")]
    NoKeyFrame,
    #[error("the key frame can't be decoded")]
    Undecodable,
    #[error("snapshots are made of H.264 only")]
    Codec,
}

/// The last key frame as a JPEG, at most a second old beyond it.
pub(crate) async fn snapshot(stream: &Stream, now: Instant) -> Result<Bytes, SnapshotError> {
    // Held while it decodes: those who ask meanwhile get the same picture. It is this cache's own lock, no frame waits for it.
    let mut last = stream.snapshot.last.lock().await;
    if let Some((made, jpeg)) = &*last
        && now.since(*made) < FRESH
    {
        return Ok(jpeg.clone());
    }
    let packet = stream.last_key_frame().ok_or(SnapshotError::NoKeyFrame)?;
    if packet.config.codec_of(TrackId::VIDEO) != Codec::H264 {
        return Err(SnapshotError::Codec);
    }
    let decoded = tokio::task::spawn_blocking(move || decode(&packet)).await;
    let jpeg = decoded.map_err(|_| SnapshotError::Undecodable)?.ok_or(SnapshotError::Undecodable)?;
    *last = Some((now, jpeg.clone()));
    Ok(jpeg)
}

fn decode(packet: &Packet) -> Option<Bytes> {
    let avc = packet.config.tracks.iter().find_map(|track| track.config.avc())?;
    let still = Still::decode(avc, &packet.frame.payload, avc::LENGTH_BYTES)?;
    still.jpeg(QUALITY).map(Bytes::from)
}
