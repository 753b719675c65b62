//! What is where in a file: the samples of its tracks, and the configurations that they go by.

use sightline_media::{MediaTime, TrackConfig, TrackId, aac::AudioConfig, avc, coded, intake::Family};

use crate::error::{ClipError, SAMPLE_BYTES_MAX, SAMPLES_MAX};

/// Configurations in one file: a camera that changes its size each minute has fewer in a day.
const CONFIGS_MAX: usize = 4_096;
/// A time that steps back by less is the order of two tracks, in 1/90,000 s.
const STEP_BACK_TICKS_MIN: i64 = 90_000;
/// Two samples of a track are at least this far apart: RTMP counts milliseconds.
const STEP_MIN: MediaTime = MediaTime::from_millis(1);
/// From the last frame before a step to the first behind it.
const STEP_BRIDGE: MediaTime = MediaTime::from_millis(40);

/// How samples are coded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Coding {
    /// H.264; its parameter sets where the container has them, and the bytes of the length before each NAL unit.
    Video(Option<Box<avc::DecoderConfig>>, usize),
    /// H.265, its record already for lengths of four bytes, and the bytes of the length before each NAL unit.
    Hevc(coded::Config, usize),
    /// AAC.
    Audio(AudioConfig),
}

impl Coding {
    /// As it is announced; `None`: only the pictures have the parameter sets.
    pub(crate) fn track_config(&self) -> Option<TrackConfig> {
        match self {
            // Samples are handed out with lengths of four bytes.
            Self::Video(config, _) => config.as_deref().map(|config| TrackConfig::H264(config.clone().with_long_lengths())),
            Self::Hevc(config, _) => Some(TrackConfig::Coded(config.clone())),
            Self::Audio(config) => Some(TrackConfig::Aac(config.clone())),
        }
    }

    /// The bytes of the length before each NAL unit; `None`: there are no NAL units.
    pub(crate) fn length_bytes(&self) -> Option<usize> {
        match self {
            Self::Video(_, length_bytes) | Self::Hevc(_, length_bytes) => Some(*length_bytes),
            Self::Audio(_) => None,
        }
    }

    /// How its pictures are coded.
    pub(crate) fn family(&self) -> Option<Family> {
        match self {
            Self::Video(..) => Some(Family::H264),
            Self::Hevc(..) => Some(Family::Hevc),
            Self::Audio(_) => None,
        }
    }
}

/// One sample in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sample {
    pub(crate) offset: u64,
    pub(crate) bytes: u32,
    pub(crate) track: TrackId,
    /// Its place in [`Index::codings`].
    pub(crate) coding: u16,
    pub(crate) dts: MediaTime,
    pub(crate) pts: MediaTime,
    pub(crate) is_keyframe: bool,
    /// Others refer to it, but an edit list hides it.
    pub(crate) is_hidden: bool,
    /// Annex B with parameter sets that no record holds.
    pub(crate) keeps_sets: bool,
}

/// What is where.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) samples: Vec<Sample>,
    pub(crate) codings: Vec<Coding>,
    /// Clockwise, in degrees: how a player turns the pictures.
    pub(crate) rotation: u16,
    /// The whole file is Annex B.
    pub(crate) is_annex_b: bool,
    /// The codec of its sound, where that is not one of ours.
    pub(crate) foreign_sound: Option<String>,
    /// What counts as zero, on the clock of the file.
    pub(crate) zero: MediaTime,
    /// What is in the file and is not sent, one sentence each.
    pub(crate) remarks: Vec<String>,
}

impl Index {
    pub(crate) fn push(&mut self, sample: Sample) -> Result<(), ClipError> {
        if sample.bytes > SAMPLE_BYTES_MAX {
            return Err(ClipError::SampleTooLong { offset: sample.offset, bytes: sample.bytes });
        }
        if self.samples.len() >= SAMPLES_MAX {
            return Err(ClipError::TooManySamples);
        }
        self.samples.push(sample);
        Ok(())
    }

    /// The place of a coding, which may be known.
    pub(crate) fn coding(&mut self, coding: Coding) -> Result<u16, ClipError> {
        let known = self.codings.iter().position(|known| *known == coding);
        let place = known.unwrap_or_else(|| {
            self.codings.push(coding);
            self.codings.len() - 1
        });
        if self.codings.len() > CONFIGS_MAX {
            return Err(ClipError::TooManyConfigs);
        }
        u16::try_from(place).map_err(|_| ClipError::TooManyConfigs)
    }

    pub(crate) fn has_video(&self) -> bool {
        self.samples.iter().any(|sample| sample.track == TrackId::VIDEO)
    }

    pub(crate) fn remark(&mut self, remark: impl Into<String>) {
        let remark = remark.into();
        if !self.remarks.contains(&remark) {
            self.remarks.push(remark);
        }
    }

    /// Brings the samples into the order of their decoding, from zero, without two of a track at one time.
    pub(crate) fn settle(&mut self) {
        self.settle_order();
        // Decoding starts at a key frame: the pictures before the first are of no use.
        let first = self.samples.iter().position(|sample| sample.track == TrackId::VIDEO && sample.is_keyframe);
        let first_video = first.unwrap_or(self.samples.len());
        let mut index = 0;
        self.samples.retain(|sample| {
            index += 1;
            index > first_video || sample.track != TrackId::VIDEO
        });
        let zero = self.samples.iter().map(|sample| sample.dts).min().unwrap_or(MediaTime::ZERO);
        self.zero = zero;
        for sample in &mut self.samples {
            (sample.dts, sample.pts) = (sample.dts - zero, sample.pts - zero);
        }
        for track in [TrackId::VIDEO, TrackId::AUDIO] {
            self.spread(track);
        }
        self.samples.sort_by_key(|sample| sample.dts);
    }

    /// Samples of a track at one and the same millisecond, which is all that RTMP counts, share the time up to the next.
    fn spread(&mut self, track: TrackId) {
        let mine: Vec<usize> = (0..self.samples.len()).filter(|&at| self.samples[at].track == track).collect();
        let mut last: Option<MediaTime> = None;
        let mut from = 0;
        while from < mine.len() {
            let start = self.samples[mine[from]].dts;
            // The first at least, also at the end of what a time can be.
            let together = mine[from..].iter().take_while(|&&at| self.samples[at].dts < start + STEP_MIN).count().max(1);
            let next = mine.get(from + together).map_or(start + STEP_BRIDGE, |&at| self.samples[at].dts);
            let share = (next - start).ticks_90k / i64::try_from(together).unwrap_or(1);
            let step = MediaTime::from_ticks(share.clamp(STEP_MIN.ticks_90k, STEP_BRIDGE.ticks_90k));
            let mut due = last.map_or(start, |last| start.max(last + STEP_MIN));
            for &at in &mine[from..from + together] {
                let sample = &mut self.samples[at];
                let late = (due - sample.dts).max(MediaTime::ZERO);
                (sample.dts, sample.pts) = (sample.dts + late, (sample.pts + late).max(sample.dts + late));
                last = Some(sample.dts);
                due = due + step;
            }
            from += together;
        }
    }

    /// Pictures that are shown before they are decoded, as some lists of offsets have it, are decoded earlier.
    fn settle_order(&mut self) {
        let videos = || self.samples.iter().filter(|sample| sample.track == TrackId::VIDEO);
        let early = videos().map(|sample| sample.dts - sample.pts).max().unwrap_or(MediaTime::ZERO).max(MediaTime::ZERO);
        for sample in self.samples.iter_mut().filter(|sample| sample.track == TrackId::VIDEO) {
            sample.dts = sample.dts - early;
        }
        self.samples.sort_by_key(|sample| sample.dts);
    }
}

/// Follows the times of a container whose tracks share one clock, over a clock that begins anew.
#[derive(Debug, Default)]
pub(crate) struct SharedClock {
    last: Option<MediaTime>,
    shift: MediaTime,
}

impl SharedClock {
    /// What a time counts for.
    pub(crate) fn place(&mut self, time: MediaTime) -> MediaTime {
        let placed = time + self.shift;
        let Some(last) = self.last else {
            self.last = Some(placed);
            return placed;
        };
        if (last - placed).ticks_90k > STEP_BACK_TICKS_MIN {
            self.shift = self.shift + (last - placed) + STEP_BRIDGE;
        }
        let placed = time + self.shift;
        self.last = Some(last.max(placed));
        placed
    }
}
