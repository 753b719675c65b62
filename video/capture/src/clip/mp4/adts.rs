//! AAC samples with ADTS headers, which MP4 has no place for and some muxers copy from their encoder.

use sightline_media::aac::{self, AudioConfig};
use std::{fs::File, os::unix::fs::FileExt as _};

use super::Raw;
use crate::error::SAMPLE_BYTES_MAX;

/// Frames that may hold filling alone before the first with sound.
const FRAMES_SEARCHED: usize = 10;

/// The samples without headers, and what these say; `None`: there are none.
pub(super) fn strip(file: &File, raws: &[Raw], timescale: u32) -> Option<(Vec<Raw>, AudioConfig)> {
    let first = read(file, raws.first()?)?;
    let config = aac::adts_frames(&first).next()?.config().ok()?;
    let step = i64::from(aac::SAMPLES_PER_FRAME) * i64::from(timescale) / i64::from(config.sample_rate_hz());
    let mut stripped = Vec::with_capacity(raws.len());
    for raw in raws {
        let bytes = read(file, raw)?;
        let (mut offset, mut dts) = (raw.offset, raw.dts);
        for frame in aac::adts_frames(&bytes) {
            offset += frame.header_bytes() as u64;
            let bytes = u32::try_from(frame.payload.len()).ok()?;
            stripped.push(Raw { offset, bytes, dts, ..*raw });
            offset += u64::from(bytes);
            dts += step;
        }
        if offset == raw.offset {
            stripped.push(*raw);
        }
    }
    Some((stripped, config))
}

/// A configuration that nobody told, by the first frame that does not contradict it.
pub(super) fn with_channels_of_frames(file: &File, raws: &[Raw], told: &AudioConfig) -> Option<AudioConfig> {
    let mut frames = raws.iter().take(FRAMES_SEARCHED).filter_map(|raw| read(file, raw));
    let channels = frames.find_map(|frame| aac::channels_of(&frame))?;
    AudioConfig::low_complexity(told.sample_rate_hz(), channels)
}

fn read(file: &File, raw: &Raw) -> Option<Vec<u8>> {
    let mut bytes = vec![0; raw.bytes.min(SAMPLE_BYTES_MAX) as usize];
    file.read_exact_at(&mut bytes, raw.offset).ok()?;
    Some(bytes)
}
