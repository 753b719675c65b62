//! AAC-LC from samples, for sound that no viewer can play as the camera sends it. The only file that knows the encoder's crate, which is young.

use sightline_media::aac::{AudioConfig, SAMPLES_PER_FRAME};

/// Of speech from a camera's microphone, mono: more is not heard.
const BITS_PER_SAMPLE: u32 = 4;

/// Why there is no AAC.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AacEncoderError {
    #[error("AAC can't be made of it: {0}")]
    Encoder(#[from] syom::AacError),
    #[error("AAC can't be made of it: its configuration is unreadable: {0}")]
    Config(#[from] sightline_media::aac::AudioConfigError),
}

/// Mono AAC-LC at the rate of its samples.
pub(crate) struct AacEncoder {
    encoder: syom::Encoder,
    config: AudioConfig,
}

impl std::fmt::Debug for AacEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AacEncoder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl AacEncoder {
    /// Samples by which what is heard lags behind what was put in: the encoder's transform overlaps one frame.
    pub(crate) const DELAY_SAMPLES: u32 = SAMPLES_PER_FRAME;

    /// AAC knows the rates from 7,350 to 96,000 Hz that its table has.
    pub(crate) fn new(sample_rate_hz: u32) -> Result<Self, AacEncoderError> {
        let options = syom::EncodeOptions::raw().with_bitrate_bps(sample_rate_hz.saturating_mul(BITS_PER_SAMPLE));
        let encoder = syom::Encoder::new(sample_rate_hz, 1, &options)?;
        let config = AudioConfig::parse(encoder.asc())?;
        Ok(Self { encoder, config })
    }

    /// What a decoder needs first.
    pub(crate) fn config(&self) -> &AudioConfig {
        &self.config
    }

    /// A frame of [`SAMPLES_PER_FRAME`] samples, each from -1 to 1.
    pub(crate) fn encode(&mut self, samples: &[f32]) -> Result<Vec<u8>, AacEncoderError> {
        let mut coded = Vec::new();
        self.encoder.feed(&[samples], |frame| {
            coded.extend_from_slice(frame.payload);
            Ok(())
        })?;
        Ok(coded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_at_8_khz_is_the_same_tone_a_frame_later() {
        let rate = 8_000;
        let mut encoder = AacEncoder::new(rate).unwrap();
        assert_eq!((encoder.config().object_type(), encoder.config().sample_rate_hz(), encoder.config().channels()), (2, rate, 1));
        let tone: Vec<f32> = (0..32 * 1024_u16).map(|at| 0.5 * (f32::from(at) * 0.3).sin()).collect();
        let mut adts = Vec::new();
        for block in tone.chunks(1024) {
            let frame = encoder.encode(block).unwrap();
            assert!(!frame.is_empty(), "a frame for each frame of samples");
            adts.extend(syom::wrap_adts_au(&frame, rate, 1).unwrap());
        }
        let heard = syom::decode_with(&adts, &syom::DecodeOptions::unbounded()).unwrap();
        assert_eq!(heard.sample_rate, rate);
        // The first frames begin from nothing.
        let (delay, from) = (AacEncoder::DELAY_SAMPLES as usize, 4 * 1024);
        let pairs = tone[from..].iter().zip(&heard.channels[0][from + delay..]);
        let (signal, noise) = pairs.fold((0.0, 0.0), |(signal, noise), (put, got)| (signal + put * put, noise + (put - got) * (put - got)));
        assert!(signal > 100.0 * noise, "signal {signal}, noise {noise}");
    }

    #[test]
    fn a_rate_that_aac_does_not_know_is_an_error() {
        assert!(AacEncoder::new(8_001).is_err());
        assert!(AacEncoder::new(0).is_err());
    }
}
