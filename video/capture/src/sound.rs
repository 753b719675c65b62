//! A camera's sound: what is done with it, and that it never costs the pictures.

use bytes::Bytes;
use retina::{client::Stream, codec::ParametersRef};
use sightline_media::aac::{AudioConfig, SAMPLES_PER_FRAME};

use crate::{
    aac_encoder::{AacEncoder, AacEncoderError},
    g711::Law,
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
    /// G.711, as AAC.
    G711(Box<Reencoder>),
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
                    chosen.get_or_insert((index, carrier));
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
        let Some(law) = Law::of_encoding(name) else {
            return Err(format!("it is {}, and AAC or G.711 are passed on: set the camera to one of them", name.to_uppercase()));
        };
        match stream.channels().map_or(1, std::num::NonZeroU16::get) {
            1 => Reencoder::new(law, stream.clock_rate_hz()).map(|made| Self::G711(Box::new(made))).map_err(|error| error.to_string()),
            channels => Err(format!("it is G.711 with {channels} channels: set the camera to mono")),
        }
    }

    /// What a decoder needs first.
    pub(crate) fn config(&self) -> &AudioConfig {
        match self {
            Self::Aac(config) => config,
            Self::G711(made) => made.encoder.config(),
        }
    }
}

/// G.711 to AAC.
#[derive(Debug)]
pub(crate) struct Reencoder {
    law: Law,
    encoder: AacEncoder,
    /// Less than a frame of samples, and the camera's time of the first.
    waiting: Vec<f32>,
    begin: i64,
}

impl Reencoder {
    fn new(law: Law, sample_rate_hz: u32) -> Result<Self, AacEncoderError> {
        Ok(Self { law, encoder: AacEncoder::new(sample_rate_hz)?, waiting: Vec::new(), begin: 0 })
    }

    /// Takes a packet whose first sample is at `time`, in samples. Gives the frames that it completes, each with the time at which it is heard.
    pub(crate) fn take(&mut self, mut time: i64, packet: &[u8]) -> Result<Vec<(i64, Bytes)>, AacEncoderError> {
        let frame_samples = SAMPLES_PER_FRAME as usize;
        let mut frames = Vec::new();
        let mut left = packet;
        while !left.is_empty() {
            if self.waiting.is_empty() {
                // Each frame has its time from its own packet: after lost packets the sound is where it belongs.
                self.begin = time;
            }
            let (now, later) = left.split_at(left.len().min(frame_samples - self.waiting.len()));
            self.waiting.extend(now.iter().map(|&byte| f32::from(self.law.decode(byte)) / 32_768.0));
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
        let mut sound = Reencoder::new(Law::A, 8_000).unwrap();
        let mut times = Vec::new();
        // Packets of 20 ms; a second of them is lost before the tenth.
        for packet in 0..20_i64 {
            let time = packet * 160 + if packet >= 10 { 8_000 } else { 0 };
            times.extend(sound.take(time, &[0xd5; 160]).unwrap().into_iter().map(|(time, _)| time + 1_024));
        }
        assert_eq!(times, [0, 1_024, 2_048 + 8_000]);
        assert_eq!(sound.take(100_000, &[0xd5; 5_000]).unwrap().len(), 5, "a long packet is several frames");
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
