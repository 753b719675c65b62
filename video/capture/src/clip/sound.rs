//! AAC in FLV files, with and without a configuration, with and without ADTS headers.

use sightline_media::{
    MediaTime, TrackId,
    aac::{self, AudioConfig, Guess},
};

use super::index::{Coding, Index, Sample};
use crate::error::ClipError;

/// Frames kept while nothing tells how they are coded: a guess is made of half of them.
const FRAMES_HELD_MAX: usize = 64;

/// Follows a file's sound.
#[derive(Debug, Default)]
pub(super) struct Sound {
    coding: Option<u16>,
    guess: Guess,
    held: Vec<Sample>,
}

impl Sound {
    /// The sequence header.
    pub(super) fn configure(&mut self, record: &[u8], offset: u64, index: &mut Index) -> Result<(), ClipError> {
        match AudioConfig::of_any_form(record) {
            Ok(config) => self.announce(config, index)?,
            Err(problem) => index.remark(format!("its sound's configuration at byte {offset} is left out: {problem}")),
        }
        Ok(())
    }

    /// What the container calls a frame.
    pub(super) fn take(&mut self, data: &[u8], offset: u64, time: MediaTime, index: &mut Index) -> Result<(), ClipError> {
        let (mut at, mut time) = (offset, time);
        for frame in aac::adts_frames(data) {
            at += frame.header_bytes() as u64;
            let Ok(config) = frame.config() else { continue };
            let step = MediaTime::from_timescale(i64::from(aac::SAMPLES_PER_FRAME), config.sample_rate_hz());
            if self.coding.is_none() {
                self.announce(config, index)?;
            }
            index.remark("its AAC frames have ADTS headers, which are left out");
            self.push(frame.payload, at, time, index)?;
            at += frame.payload.len() as u64;
            time = time + step;
        }
        if at > offset {
            return Ok(());
        }
        if self.coding.is_none()
            && let Some(config) = self.guess.see(time, data)
        {
            index.remark("its AAC has no configuration: its frames and their times say it");
            self.announce(config, index)?;
        }
        self.push(data, offset, time, index)
    }

    fn announce(&mut self, config: AudioConfig, index: &mut Index) -> Result<(), ClipError> {
        let coding = index.coding(Coding::Audio(config))?;
        self.coding = Some(coding);
        self.held.drain(..).try_for_each(|sample| index.push(Sample { coding, ..sample }))
    }

    fn push(&mut self, data: &[u8], offset: u64, time: MediaTime, index: &mut Index) -> Result<(), ClipError> {
        let sample = Sample {
            offset,
            bytes: u32::try_from(data.len()).unwrap_or(u32::MAX),
            track: TrackId::AUDIO,
            coding: self.coding.unwrap_or(0),
            dts: time,
            pts: time,
            is_keyframe: true,
            is_hidden: false,
            keeps_sets: false,
        };
        if self.coding.is_some() {
            return index.push(sample);
        }
        if self.held.len() < FRAMES_HELD_MAX {
            self.held.push(sample);
        }
        Ok(())
    }

    /// All of it was seen.
    pub(super) fn end(&self, index: &mut Index) {
        if self.coding.is_none() && !self.held.is_empty() {
            index.remark("its sound is left out: its AAC has no configuration, and its times are of no rate");
        }
    }
}
