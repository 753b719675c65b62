//! The last key frame as a JPEG.

use super::{Play, refreshed};
use crate::live::packet::Packet;
use crate::live::stream::Stream;
use bytes::Bytes;
use sightline_h264::Still;
use sightline_media::{Codec, Instant, TrackId, avc};
use std::sync::Arc;
use std::time::Duration;

/// How long a picture is served again: a wall of tiles must not decode a frame for each viewer.
const FRESH: Duration = Duration::from_secs(1);
/// How long it is not tried again where there was no picture.
const HOPELESS: Duration = Duration::from_secs(10);
/// JPEG's quality: artefacts are not seen at the size of a tile.
const QUALITY: u8 = 80;

/// A stream's last picture.
#[derive(Default)]
struct Cache(tokio::sync::Mutex<Option<Picture>>);

struct Picture {
    made_at: Instant,
    /// The publisher that it is of, by [`Stream::publishers`].
    publishers: u64,
    /// `None`: nothing here makes one.
    jpeg: Option<Bytes>,
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotError {
    #[error("the stream has no key frame yet")]
    NoKeyFrame,
    #[error("the key frame can't be decoded, not by ffmpeg either, or there is none")]
    Undecodable,
    #[error("snapshots are made of H.264 only")]
    Codec,
    #[error("decoding the key frame failed: {0}")]
    Panicked(tokio::task::JoinError),
}

/// The last key frame as a JPEG, made at most a second ago.
pub(super) async fn snapshot(play: &Play, stream: &Arc<Stream>) -> Result<Bytes, SnapshotError> {
    let cache = stream.extensions.get_or_make(Cache::default);
    // Held while it decodes: those who ask meanwhile get the same picture. It is this cache's own lock, no frame waits for it.
    let mut last = cache.0.lock().await;
    let (now, publishers) = (play.clock.now(), stream.publishers());
    if let Some(picture) = &*last
        && picture.publishers == publishers
        && now.since(picture.made_at) < if picture.jpeg.is_some() { FRESH } else { HOPELESS }
    {
        return picture.jpeg.clone().ok_or(SnapshotError::Undecodable);
    }
    let packet = stream.last_key_frame().ok_or(SnapshotError::NoKeyFrame)?;
    if packet.config.codec_of(TrackId::VIDEO) != Codec::H264 {
        return Err(SnapshotError::Codec);
    }
    let decoded = play.tasks.spawn_blocking(move || decode(&packet)).await;
    let jpeg = match decoded.map_err(SnapshotError::Panicked)? {
        Some(jpeg) => Some(jpeg),
        None => refreshed::picture(stream).await,
    };
    *last = Some(Picture { made_at: play.clock.now(), publishers, jpeg: jpeg.clone() });
    jpeg.ok_or(SnapshotError::Undecodable)
}

fn decode(packet: &Packet) -> Option<Bytes> {
    let avc = packet.config.tracks.iter().find_map(|track| track.config.avc())?;
    let still = Still::decode(avc, &packet.frame.payload, avc::LENGTH_BYTES)?;
    still.jpeg(QUALITY).map(Bytes::from)
}
