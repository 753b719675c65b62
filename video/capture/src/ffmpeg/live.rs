//! Pictures that a camera has coded, on their way into ffmpeg: Matroska (RFC 9559), which carries them as they are, each with its time.

use bytes::Bytes;
use sightline_media::{Codec, MediaTime, TrackConfig};
use std::{
    io::Read,
    sync::mpsc::{Receiver, SyncSender, TrySendError},
};

use super::matroska::{
    AUDIO, CHANNELS, CLUSTER, CODEC_ID, CODEC_PRIVATE, EBML, PIXEL_HEIGHT, PIXEL_WIDTH, SAMPLING_FREQUENCY, SEGMENT, SIMPLE_BLOCK,
    TIMESTAMP, TRACK_ENTRY, TRACK_NUMBER, TRACK_TYPE, TRACKS, VIDEO,
};

/// Pictures that may wait for ffmpeg: two seconds of them. Beyond it the machine is too slow, and what follows is left out up to the next key frame.
const PICTURES_WAITING_MAX: usize = 64;
/// A size that is not known: all that follows.
const UNKNOWN_SIZE: [u8; 8] = [0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
/// `EBMLMaxIDLength` and its like have their defaults: the document's type is all that is said.
const DOC_TYPE: u32 = 0x4282;

/// The end that takes pictures.
#[derive(Debug)]
pub struct CodedWriter {
    out: SyncSender<Bytes>,
    begin: Option<MediaTime>,
    awaits_key: bool,
}

/// The end that ffmpeg reads.
#[derive(Debug)]
pub struct CodedReader {
    from: Receiver<Bytes>,
    left: Bytes,
}

/// A way for pictures of this configuration; `None`: ffmpeg is not asked for such.
#[must_use]
pub fn channel(config: &TrackConfig) -> Option<(CodedWriter, CodedReader)> {
    let codec = match config.codec() {
        Codec::H264 => "V_MPEG4/ISO/AVC",
        Codec::Hevc => "V_MPEGH/ISO/HEVC",
        Codec::Aac | Codec::Av1 | Codec::Vp9 | Codec::Opus | Codec::Flac | Codec::Ac3 | Codec::Eac3 | Codec::Mp3 => return None,
    };
    let (width, height) = config.size()?;
    let video = [element(PIXEL_WIDTH, &width.to_be_bytes()), element(PIXEL_HEIGHT, &height.to_be_bytes())].concat();
    let entry = [
        element(TRACK_NUMBER, &[1]),
        element(TRACK_TYPE, &[1]),
        element(CODEC_ID, codec.as_bytes()),
        element(CODEC_PRIVATE, config.as_bytes()),
        element(VIDEO, &video),
    ];
    let head = [
        element(EBML, &element(DOC_TYPE, b"matroska")),
        [&id(SEGMENT)[..], &UNKNOWN_SIZE].concat(),
        element(TRACKS, &element(TRACK_ENTRY, &entry.concat())),
    ];
    let (out, from) = std::sync::mpsc::sync_channel(PICTURES_WAITING_MAX);
    Some((CodedWriter { out, begin: None, awaits_key: true }, CodedReader { from, left: Bytes::from(head.concat()) }))
}

impl CodedWriter {
    /// Hands a picture over. False: ffmpeg has ended.
    pub fn put(&mut self, payload: &[u8], pts: MediaTime, is_keyframe: bool) -> bool {
        self.awaits_key &= !is_keyframe;
        let begin = *self.begin.get_or_insert(pts);
        // What is shown before the first key frame can't be decoded.
        let Ok(millis) = u64::try_from((pts - begin).as_millis()) else { return true };
        if self.awaits_key {
            return true;
        }
        let block = [&[0x81, 0, 0, if is_keyframe { 0x80 } else { 0 }], payload].concat();
        let cluster = [element(TIMESTAMP, &millis.to_be_bytes()), element(SIMPLE_BLOCK, &block)].concat();
        match self.out.try_send(Bytes::from(element(CLUSTER, &cluster))) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.awaits_key = true;
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }

    /// The time that ffmpeg's zero stands for.
    #[must_use]
    pub fn begin(&self) -> MediaTime {
        self.begin.unwrap_or(MediaTime::ZERO)
    }
}

impl Read for CodedReader {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        while self.left.is_empty() {
            // Its writer is gone: the end.
            let Ok(next) = self.from.recv() else { return Ok(0) };
            self.left = next;
        }
        let now = self.left.split_to(self.left.len().min(out.len()));
        out[..now.len()].copy_from_slice(&now);
        Ok(now.len())
    }
}

/// What comes before the blocks of an Opus stream (RFC 7845 §5.1), of which no samples are to be skipped.
pub(crate) fn opus_head() -> Vec<u8> {
    let head = [&b"OpusHead"[..], &[1, 2, 0, 0], &48_000_u32.to_le_bytes(), &[0, 0, 0]].concat();
    let sound = [element(SAMPLING_FREQUENCY, &48_000_f64.to_be_bytes()), element(CHANNELS, &[2])].concat();
    let entry = [
        element(TRACK_NUMBER, &[1]),
        element(TRACK_TYPE, &[2]),
        element(CODEC_ID, b"A_OPUS"),
        element(CODEC_PRIVATE, &head),
        element(AUDIO, &sound),
    ];
    let parts = [
        element(EBML, &element(DOC_TYPE, b"matroska")),
        [&id(SEGMENT)[..], &UNKNOWN_SIZE].concat(),
        element(TRACKS, &element(TRACK_ENTRY, &entry.concat())),
    ];
    parts.concat()
}

/// A packet of sound.
pub(crate) fn sound_block(millis: i64, packet: &[u8]) -> Vec<u8> {
    let block = [&[0x81, 0, 0, 0x80], packet].concat();
    element(CLUSTER, &[element(TIMESTAMP, &millis.to_be_bytes()), element(SIMPLE_BLOCK, &block)].concat())
}

/// An id has its own length in its first bits.
fn id(id: u32) -> Vec<u8> {
    id.to_be_bytes().into_iter().skip_while(|&byte| byte == 0).collect()
}

fn element(kind: u32, body: &[u8]) -> Vec<u8> {
    let size = (body.len() as u64 | (1 << 56)).to_be_bytes();
    [&id(kind)[..], &size, body].concat()
}
