//! A camera's sound: what is done with it, and that it never costs the pictures.

use bytes::Bytes;
use retina::{client::Stream, codec::ParametersRef};
use sightline_media::aac::{AudioConfig, SAMPLES_PER_FRAME};

use crate::{
    aac_encoder::{AacEncoder, AacEncoderError},
    g711::Law,
    sound_decoder::{Coding, SoundDecoder, SoundDecoderError},
};

/// What is known of a camera's sound, over all its connections.
#[derive(Debug, Default)]
pub(crate) struct Sound {
    /// The warning that was logged last: it is not repeated at each connection.
    warned: Option<String>,
    /// The warning that packets can't be read was logged.
    has_holes: bool,
    /// This connection asked for it.
    is_asked: bool,
    /// The last connection asked for it and gave no picture: this one does not ask.
    is_out: bool,
    /// Some has come.
    has_come: bool,
}

impl Sound {
    /// A connection begins. Gives whether it may ask for sound.
    pub(crate) fn begin(&mut self) -> bool {
        self.is_asked = false;
        !self.is_out
    }

    /// The connection asks for sound.
    pub(crate) fn ask(&mut self) {
        self.is_asked = true;
    }

    /// The connection gives pictures.
    pub(crate) fn pictures_come(&mut self) {
        if self.is_out {
            self.warn("it gives pictures only where its sound is not asked for");
        }
    }

    /// Some has come, now or in a connection before.
    pub(crate) fn has_come(&self) -> bool {
        self.has_come
    }

    /// Some comes. Gives whether it is the first.
    pub(crate) fn comes(&mut self) -> bool {
        !std::mem::replace(&mut self.has_come, true)
    }

    /// None has come while the first pictures waited for it.
    pub(crate) fn is_missed(&mut self) {
        if !self.has_holes {
            self.warn("it is announced and does not come");
        }
    }

    /// The connection ended.
    pub(crate) fn end(&mut self, had_pictures: bool) {
        // Without pictures either way it was not the sound: the next asks for it again.
        self.is_out = if had_pictures { self.is_out } else { self.is_asked };
    }

    /// Logs once why there is no sound.
    pub(crate) fn warn(&mut self, problem: impl Into<String>) {
        let problem = problem.into();
        if self.warned.as_ref() != Some(&problem) {
            tracing::warn!("the camera's sound is left out, its pictures go on: {problem}");
            self.warned = Some(problem);
        }
    }

    /// Logs once that some of it is missing, and why.
    pub(crate) fn note(&mut self, problem: &str) {
        if !std::mem::replace(&mut self.has_holes, true) {
            tracing::warn!("packets of the camera's sound can't be read and are passed over, the first because: {problem}");
        }
    }
}

/// How a track's sound goes on.
#[derive(Debug)]
pub(crate) enum Carrier {
    /// AAC, as it is.
    Aac(AudioConfig),
    /// AAC in LATM, out of it.
    Latm(AudioConfig, Latm),
    /// G.711 or samples as they are, as AAC.
    Samples(Samples, Box<Reencoder>),
    /// What ffmpeg decodes, as AAC.
    Decoded(Box<SoundDecoder>, Box<Reencoder>),
}

/// Sound that no longer goes on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SoundError {
    #[error(transparent)]
    Encoder(#[from] AacEncoderError),
    #[error(transparent)]
    Decoder(#[from] SoundDecoderError),
}

impl Carrier {
    /// The first track that can go on as it is, or else the first that can be encoded; none: why.
    pub(crate) fn choose(streams: &[Stream]) -> Result<Option<(usize, Self)>, String> {
        let mut chosen: Option<(usize, Self)> = None;
        let mut problem = None;
        for (index, stream) in streams.iter().enumerate().filter(|(_, stream)| stream.media() == "audio") {
            match Self::of(stream) {
                Ok(carrier @ Self::Aac(_)) => return Ok(Some((index, carrier))),
                Ok(carrier) => {
                    // What is decoded here costs less than what another program decodes.
                    let is_better =
                        matches!((&chosen, &carrier), (None, _) | (Some((_, Self::Decoded(..))), Self::Latm(..) | Self::Samples(..)));
                    if is_better {
                        chosen = Some((index, carrier));
                    }
                }
                Err(why) => {
                    problem.get_or_insert(why);
                }
            }
        }
        match (chosen, problem) {
            (None, Some(problem)) => Err(problem),
            (chosen, _) => Ok(chosen),
        }
    }

    fn of(stream: &Stream) -> Result<Self, String> {
        let name = stream.encoding_name();
        // RFC 3640 calls AAC mpeg4-generic.
        if name == "mpeg4-generic" {
            return match stream.parameters() {
                Some(ParametersRef::Audio(parameters)) => AudioConfig::parse(parameters.extra_data())
                    .map(Self::Aac)
                    .map_err(|error| format!("its AAC can't be read: {error}; choose another rate or G.711 in the camera")),
                _ => {
                    Err("its AAC is announced without a configuration that can be read (fmtp): choose another rate or G.711 in the camera"
                        .into())
                }
            };
        }
        let rate_hz = stream.clock_rate_hz();
        let said = |problem: String| format!("it is {}: {problem}", name.to_uppercase());
        let made = |rate_hz| Reencoder::new(rate_hz).map(Box::new).map_err(|error| said(error.to_string()));
        let channels = stream.channels().map_or(1, std::num::NonZeroU16::get);
        if name == "mp4a-latm" {
            return latm_config(stream).map(|config| Self::Latm(config, Latm::default())).ok_or_else(|| {
                said("it is announced without a configuration that can be read (fmtp): choose another rate or G.711 in the camera".into())
            });
        }
        if let Some(samples) = Samples::of_encoding(name, channels) {
            return made(rate_hz).map(|made| Self::Samples(samples, made));
        }
        if Law::of_encoding(name).is_some() {
            return Err(format!("it is G.711 with {channels} channels: set the camera to mono"));
        }
        let Some(coding) = Coding::of_encoding(name) else {
            return Err(format!("it is {}, and AAC or G.711 are passed on: set the camera to one of them", name.to_uppercase()));
        };
        let decoder = SoundDecoder::start(coding, rate_hz).map_err(|error| said(error.to_string()))?;
        let made = made(decoder.rate_hz())?;
        Ok(Self::Decoded(Box::new(decoder), made))
    }

    /// Samples a second, which the times of its frames count.
    pub(crate) fn rate_hz(&self, clock_rate_hz: u32) -> u32 {
        match self {
            Self::Aac(_) | Self::Latm(..) | Self::Samples(..) => clock_rate_hz,
            Self::Decoded(decoder, _) => decoder.rate_hz(),
        }
    }

    /// Takes a packet whose first sample is at `time`. Gives the frames that go on by it, each with its time.
    pub(crate) fn take(&mut self, time: i64, packet: &Bytes) -> Result<Vec<(i64, Bytes)>, SoundError> {
        Ok(match self {
            Self::Aac(_) => vec![(time, packet.clone())],
            Self::Latm(_, latm) => latm.take(packet).map(|frame| vec![(time, frame)]).unwrap_or_default(),
            Self::Samples(samples, made) => made.take(time, &samples.decode(packet))?,
            Self::Decoded(decoder, made) => {
                let mut frames = Vec::new();
                for (at, samples) in decoder.take(time, packet)? {
                    frames.extend(made.take(at, &samples)?);
                }
                frames
            }
        })
    }

    /// What a decoder needs first.
    pub(crate) fn config(&self) -> &AudioConfig {
        match self {
            Self::Aac(config) | Self::Latm(config, _) => config,
            Self::Samples(_, made) | Self::Decoded(_, made) => made.encoder.config(),
        }
    }
}

/// What `fmtp` says in `config`: a `StreamMuxConfig`.
fn latm_config(stream: &Stream) -> Option<AudioConfig> {
    let Some(ParametersRef::Audio(parameters)) = stream.parameters() else { return None };
    let fmtp = std::str::from_utf8(parameters.extra_data()).ok()?;
    let (_, config) =
        fmtp.split(';').filter_map(|param| param.trim().split_once('=')).find(|(key, _)| key.eq_ignore_ascii_case("config"))?;
    let bytes = (0..config.len() / 2).map(|at| u8::from_str_radix(config.get(2 * at..2 * at + 2)?, 16).ok());
    AudioConfig::of_any_form(&bytes.collect::<Option<Vec<u8>>>()?).ok()
}

/// The longest frame that is put together, in bytes: far beyond what AAC allows for two channels.
const LATM_BYTES_MAX: usize = 16 * 1024;

/// Frames behind their lengths (`PayloadLengthInfo`, ISO/IEC 14496-3 §1.7.3), over several packets where one is too short for it.
#[derive(Debug, Default)]
pub(crate) struct Latm {
    waiting: Vec<u8>,
}

impl Latm {
    fn take(&mut self, packet: &[u8]) -> Option<Bytes> {
        self.waiting.extend_from_slice(packet);
        let ones = self.waiting.iter().take_while(|&&byte| byte == 255).count();
        let bytes = ones * 255 + usize::from(*self.waiting.get(ones)?);
        let waiting = std::mem::take(&mut self.waiting);
        match waiting.get(ones + 1..ones + 1 + bytes) {
            Some(frame) => (!frame.is_empty()).then(|| Bytes::copy_from_slice(frame)),
            None => {
                self.waiting = if waiting.len() < LATM_BYTES_MAX { waiting } else { Vec::new() };
                None
            }
        }
    }
}

/// Sound whose samples are read here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Samples {
    G711(Law),
    /// 16 bits, big-endian (RFC 3551 §4.5.11), of so many channels by turns.
    Linear16(usize),
}

impl Samples {
    fn of_encoding(name: &str, channels: u16) -> Option<Self> {
        match name {
            "l16" => Some(Self::Linear16(usize::from(channels.max(1)))),
            _ => Law::of_encoding(name).filter(|_| channels == 1).map(Self::G711),
        }
    }

    /// From -1 to 1; of several channels the first.
    fn decode(self, packet: &[u8]) -> Vec<f32> {
        match self {
            Self::G711(law) => packet.iter().map(|&byte| f32::from(law.decode(byte)) / 32_768.0).collect(),
            Self::Linear16(channels) => {
                let samples = packet.chunks_exact(2).step_by(channels);
                samples.map(|sample| f32::from(i16::from_be_bytes([sample[0], sample[1]])) / 32_768.0).collect()
            }
        }
    }
}

/// Samples to AAC.
#[derive(Debug)]
pub(crate) struct Reencoder {
    encoder: AacEncoder,
    /// Less than a frame of samples, and the camera's time of the first.
    waiting: Vec<f32>,
    begin: i64,
}

impl Reencoder {
    fn new(sample_rate_hz: u32) -> Result<Self, AacEncoderError> {
        Ok(Self { encoder: AacEncoder::new(sample_rate_hz)?, waiting: Vec::new(), begin: 0 })
    }

    /// Takes samples, the first of which is at `time`, in samples. Gives the frames that they complete, each with the time at which it is heard.
    fn take(&mut self, mut time: i64, samples: &[f32]) -> Result<Vec<(i64, Bytes)>, AacEncoderError> {
        let frame_samples = SAMPLES_PER_FRAME as usize;
        let mut frames = Vec::new();
        let mut left = samples;
        while !left.is_empty() {
            if self.waiting.is_empty() {
                // Each frame has its time from its own packet: after lost packets the sound is where it belongs.
                self.begin = time;
            }
            let (now, later) = left.split_at(left.len().min(frame_samples - self.waiting.len()));
            self.waiting.extend_from_slice(now);
            time = time.saturating_add(i64::try_from(now.len()).unwrap_or(0));
            left = later;
            if self.waiting.len() == frame_samples {
                let coded = self.encoder.encode(&self.waiting);
                self.waiting.clear();
                frames.push((self.begin.saturating_sub(i64::from(AacEncoder::DELAY_SAMPLES)), Bytes::from(coded?)));
            }
        }
        Ok(frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_times_of_their_own_packets() {
        let mut sound = Reencoder::new(8_000).unwrap();
        let mut times = Vec::new();
        // Packets of 20 ms; a second of them is lost before the tenth.
        for packet in 0..20_i64 {
            let time = packet * 160 + if packet >= 10 { 8_000 } else { 0 };
            times.extend(sound.take(time, &[0.0; 160]).unwrap().into_iter().map(|(time, _)| time + 1_024));
        }
        assert_eq!(times, [0, 1_024, 2_048 + 8_000]);
        assert_eq!(sound.take(100_000, &[0.0; 5_000]).unwrap().len(), 5, "a long packet is several frames");
    }

    #[test]
    fn frames_come_out_of_latm_also_where_one_takes_several_packets() {
        let mut latm = Latm::default();
        assert_eq!(latm.take(&[3, 7, 8, 9]).unwrap()[..], [7, 8, 9]);
        let long = [&[255, 45][..], &[6; 300]].concat();
        assert!(latm.take(&long[..100]).is_none());
        assert_eq!(latm.take(&long[100..]).unwrap().len(), 300);
        assert!(latm.take(&[0]).is_none());
    }

    #[test]
    fn a_connection_without_pictures_is_followed_by_one_without_sound_and_that_by_one_with_it() {
        let mut sound = Sound::default();
        let mut connect = |gives_pictures: bool| {
            let asks = sound.begin();
            if asks {
                sound.ask();
            }
            sound.end(gives_pictures);
            asks
        };
        assert!(connect(false));
        assert!(!connect(false), "the sound may have been it");
        assert!(connect(false), "it was not");
        assert!(!connect(true), "now it was");
        assert!(!connect(true));
    }
}
