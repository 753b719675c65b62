//! AAC: the `AudioSpecificConfig` (ISO/IEC 14496-3 §1.6.2.1).

mod guess;
mod latm;

pub use guess::{Guess, channels_of};
use heapless::Vec;

/// The longest `AudioSpecificConfig` kept, in bytes. AAC-LC needs 2, HE-AAC v2 with its extension 7.
pub const AUDIO_CONFIG_BYTES_MAX: usize = 32;

/// Samples in one AAC frame.
pub const SAMPLES_PER_FRAME: u32 = 1024;

const SAMPLE_RATES_HZ: [u32; 13] = [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// An `AudioSpecificConfig`, kept byte for byte, with its first fields read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AudioConfig {
    bytes: Vec<u8, AUDIO_CONFIG_BYTES_MAX>,
    object_type: u8,
    sample_rate_hz: u32,
    channels: u8,
}

/// Why an `AudioSpecificConfig` was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AudioConfigError {
    /// It ends before its first fields do.
    Truncated,
    /// It is longer than [`AUDIO_CONFIG_BYTES_MAX`].
    TooLong,
    /// Its sample-rate index is reserved (13 or 14), or the explicit rate is zero.
    SampleRate,
}

impl core::fmt::Display for AudioConfigError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Truncated => "AudioSpecificConfig is shorter than its fields",
            Self::TooLong => "AudioSpecificConfig is longer than 32 bytes",
            Self::SampleRate => "AudioSpecificConfig has a reserved sample rate",
        })
    }
}

impl core::error::Error for AudioConfigError {}

impl AudioConfig {
    /// Reads an `AudioSpecificConfig` as FLV and MP4 carry it.
    ///
    /// # Errors
    /// See [`AudioConfigError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, AudioConfigError> {
        use AudioConfigError::{SampleRate, TooLong, Truncated};
        let kept = Vec::from_slice(bytes).map_err(|_| TooLong)?;
        let mut bits = crate::bits::BitReader::raw(bytes);
        let mut object_type = bits.bits(5).ok_or(Truncated)?;
        if object_type == 31 {
            object_type = 32 + bits.bits(6).ok_or(Truncated)?;
        }
        let index = bits.bits(4).ok_or(Truncated)?;
        let sample_rate_hz = if index == 15 {
            bits.bits(24).ok_or(Truncated)?
        } else {
            let index = usize::try_from(index).map_err(|_| SampleRate)?;
            *SAMPLE_RATES_HZ.get(index).ok_or(SampleRate)?
        };
        if sample_rate_hz == 0 {
            return Err(SampleRate);
        }
        let channels = bits.bits(4).ok_or(Truncated)?;
        Ok(Self {
            bytes: kept,
            object_type: u8::try_from(object_type).unwrap_or(0),
            sample_rate_hz,
            channels: u8::try_from(channels).unwrap_or(0),
        })
    }

    /// What encoders send as a configuration: the record, or an ADTS header or LATM's `StreamMuxConfig` in its place.
    ///
    /// # Errors
    /// See [`AudioConfigError`].
    pub fn of_any_form(bytes: &[u8]) -> Result<Self, AudioConfigError> {
        if let Some(adts) = next_adts(&mut &*bytes) {
            return adts.config();
        }
        match latm::specific_config(bytes) {
            Some(record) => Self::parse(&record),
            // The header alone, without the frame that it speaks of.
            None => match bytes {
                &[first, second, third, fourth, ..] if is_adts(first, second) => {
                    AdtsFrame { payload: &[], header: [first, second, third, fourth] }.config()
                }
                _ => Self::parse(bytes),
            },
        }
    }

    /// That of AAC-LC at one of the standard's rates, with up to seven channels; `None`: there is no such.
    #[must_use]
    pub fn low_complexity(sample_rate_hz: u32, channels: u8) -> Option<Self> {
        let index = SAMPLE_RATES_HZ.iter().position(|&rate| rate == sample_rate_hz)?;
        let index = u8::try_from(index).ok()?;
        (1..=7).contains(&channels).then(|| Self::parse(&[(2 << 3) | (index >> 1), (index << 7) | (channels << 3)]).ok())?
    }

    /// The record, byte for byte.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The audio object type: 2 is AAC-LC, 5 HE-AAC.
    #[must_use]
    pub fn object_type(&self) -> u8 {
        self.object_type
    }

    /// Samples a second.
    #[must_use]
    pub fn sample_rate_hz(&self) -> u32 {
        self.sample_rate_hz
    }

    /// The channel configuration; 0 means that the stream itself says.
    #[must_use]
    pub fn channels(&self) -> u8 {
        self.channels
    }
}

/// One raw frame behind an ADTS header (ISO/IEC 13818-7 §6.2), as encoders write them that know AAC from files and broadcasting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AdtsFrame<'a> {
    /// The frame without its header.
    pub payload: &'a [u8],
    header: [u8; 4],
}

/// Bytes of an ADTS header without a checksum.
const ADTS_HEADER_BYTES: usize = 7;

/// With its checksum, where it has one.
const fn adts_header_bytes(second: u8) -> usize {
    if second & 1 == 1 { ADTS_HEADER_BYTES } else { ADTS_HEADER_BYTES + 2 }
}

impl AdtsFrame<'_> {
    /// Bytes of the header before the payload.
    #[must_use]
    pub const fn header_bytes(&self) -> usize {
        let [_, second, ..] = self.header;
        adts_header_bytes(second)
    }

    /// What the header says, as a record.
    ///
    /// # Errors
    /// [`AudioConfigError::SampleRate`] for a reserved rate.
    pub fn config(&self) -> Result<AudioConfig, AudioConfigError> {
        let [_, _, third, fourth] = self.header;
        // Profile, rate and channels are the record's first fields, with the object type one more than the profile.
        let (object_type, rate, channels) = ((third >> 6) + 1, (third >> 2) & 15, ((third & 1) << 2) | (fourth >> 6));
        AudioConfig::parse(&[(object_type << 3) | (rate >> 1), (rate << 7) | (channels << 3)])
    }
}

/// The frames of a payload that is ADTS from its beginning to its end; none where it is anything else. A raw frame can't be taken for it: one that begins so
/// would hold nothing (`ID_END`).
pub fn adts_frames(payload: &[u8]) -> impl Iterator<Item = AdtsFrame<'_>> {
    let mut rest = payload;
    let is_adts = core::iter::from_fn(|| next_adts(&mut rest)).count() > 0 && rest.is_empty();
    let mut rest = if is_adts { payload } else { &[] };
    core::iter::from_fn(move || next_adts(&mut rest))
}

/// Twelve ones, then the layer, which is 0.
const fn is_adts(first: u8, second: u8) -> bool {
    first == 0xff && second & 0xf6 == 0xf0
}

fn next_adts<'a>(rest: &mut &'a [u8]) -> Option<AdtsFrame<'a>> {
    let &[first, second, third, fourth, fifth, sixth, _, ..] = *rest else { return None };
    if !is_adts(first, second) {
        return None;
    }
    let bytes = (usize::from(fourth & 3) << 11) | (usize::from(fifth) << 3) | usize::from(sixth >> 5);
    let (frame, later) = rest.split_at_checked(bytes)?;
    let payload = frame.get(adts_header_bytes(second)..)?;
    *rest = later;
    Some(AdtsFrame { payload, header: [first, second, third, fourth] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_ffmpeg_writes_for_lc_44100_stereo() {
        let config = AudioConfig::parse(&[0x12, 0x10, 0x56, 0xe5, 0x00]).unwrap();
        assert_eq!((config.object_type(), config.sample_rate_hz(), config.channels()), (2, 44_100, 2));
        assert_eq!(config.as_bytes(), [0x12, 0x10, 0x56, 0xe5, 0x00]);
    }

    /// 44,100 Hz, stereo, AAC-LC: 7 bytes of header and `body`.
    fn adts(body: &[u8]) -> std::vec::Vec<u8> {
        let bytes = u8::try_from(body.len() + 7).unwrap();
        [&[0xff, 0xf1, 0x50, 0x80, bytes >> 3, (bytes << 5) | 0x1f, 0xfc], body].concat()
    }

    #[test]
    fn adts_frames_are_told_from_raw_ones_and_say_their_configuration() {
        let two = [adts(&[0x21, 1, 2]), adts(&[0x21, 3])].concat();
        let frames: std::vec::Vec<_> = adts_frames(&two).collect();
        assert_eq!(frames.iter().map(|frame| frame.payload).collect::<std::vec::Vec<_>>(), [&[0x21, 1, 2][..], &[0x21, 3]]);
        let config = frames[0].config().unwrap();
        assert_eq!((config.object_type(), config.sample_rate_hz(), config.channels()), (2, 44_100, 2));
        for other in [&[0x21, 0xff, 0xf1][..], &two[..two.len() - 1], &[0xff, 0xf1], &[]] {
            assert_eq!(adts_frames(other).count(), 0, "{other:?}");
        }
    }

    #[test]
    fn a_configuration_is_read_in_the_forms_that_encoders_send() {
        // LC, 44,100 Hz, mono: the record; LATM's with 15 bits before it, and what follows it; a whole ADTS frame, and its header alone.
        let record = [0x12, 0x08];
        let latm = [0x40, 0x00, 0x24, 0x10, 0x3f, 0xc0];
        let frame = [&[0xff, 0xf1, 0x50, 0x40, 0x01, 0x5f, 0xfc][..], &[1, 2, 3]].concat();
        for form in [&record[..], &latm, &frame, &frame[..7]] {
            let config = AudioConfig::of_any_form(form).unwrap();
            assert_eq!((config.as_bytes(), config.object_type()), (&record[..], 2), "{form:02x?}");
        }
        assert_eq!(AudioConfig::low_complexity(44_100, 1).unwrap().as_bytes(), record);
        assert_eq!((AudioConfig::low_complexity(44_000, 1), AudioConfig::low_complexity(8_000, 0)), (None, None));
    }

    #[test]
    fn frames_without_a_configuration_say_theirs_by_their_times() {
        for (rate, channels, first) in [(44_100, 1, 0x01), (48_000, 2, 0x21), (8_000, 1, 0x01), (16_000, 2, 0x21)] {
            let mut guess = Guess::default();
            // In milliseconds, as RTMP has them, and the first frame holds filling.
            let found = (0..30).find_map(|at| {
                let time = crate::MediaTime::from_millis(at * 1_024_000 / i64::from(rate));
                guess.see(time, &[if at == 0 { 0xc0 } else { first }, 7])
            });
            assert_eq!(found, AudioConfig::low_complexity(rate, channels), "{rate} Hz");
        }
        let mut guess = Guess::default();
        assert!((0..200).all(|at| guess.see(crate::MediaTime::from_millis(at * 30), &[0x21]).is_none()), "no rate has such frames");
        assert!((0..200).all(|_| guess.see(crate::MediaTime::ZERO, &[0x21]).is_none()), "nor such");
    }

    #[test]
    fn refuses_what_has_no_sample_rate() {
        assert_eq!(AudioConfig::parse(&[0x16, 0x90]), Err(AudioConfigError::SampleRate));
        assert_eq!(AudioConfig::parse(&[0x12]), Err(AudioConfigError::Truncated));
        assert_eq!(AudioConfig::parse(&[0; 33]), Err(AudioConfigError::TooLong));
    }
}
