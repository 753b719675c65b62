//! Which encoder is used: of those of the machine the first that proves itself, or openh264.

use sightline_signal::Settings;
use std::{
    collections::VecDeque,
    path::PathBuf,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    encoder::{EncoderError, EncoderSource, OpenEncoder, Opening, VideoEncoder},
    software::SoftwareEncoder,
    v4l2_m2m,
};

/// The setting `encoder`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EncoderChoice {
    /// The first of the machine that proves itself; openh264 where there is none, or when it fails.
    Auto,
    /// openh264.
    Software,
    /// This one, and no other.
    Device(PathBuf),
}

/// A name that is no encoder.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is none of auto, software, /dev/videoN; `sightline camera probe` lists the encoders of a machine")]
pub struct UnknownEncoder(String);

impl FromStr for EncoderChoice {
    type Err = UnknownEncoder;

    fn from_str(name: &str) -> Result<Self, UnknownEncoder> {
        match name {
            "auto" => Ok(Self::Auto),
            "software" => Ok(Self::Software),
            path if path.starts_with("/dev/") => Ok(Self::Device(path.into())),
            other => Err(UnknownEncoder(other.to_owned())),
        }
    }
}

impl EncoderChoice {
    /// As a pipeline takes it.
    pub fn source(&self) -> OpenEncoder {
        match self {
            Self::Auto => Arc::new(Auto::default()),
            Self::Software => Arc::new(SoftwareEncoder::open as Opening),
            Self::Device(path) => Arc::new(Fixed(path.clone())),
        }
    }

    /// The device that would be used for these numbers. `None`: openh264. An error: the one that is asked for does not do it.
    pub fn device(&self, settings: Settings) -> Result<Option<PathBuf>, EncoderError> {
        match self {
            Self::Software => Ok(None),
            Self::Auto => {
                let mut found = v4l2_m2m::find(v4l2_m2m::H264).into_iter().map(|found| found.path);
                Ok(found.find(|path| v4l2_m2m::prove(path, settings, 2.0).is_ok()))
            }
            Self::Device(path) => v4l2_m2m::prove(path, settings, 2.0).map(|()| Some(path.clone())),
        }
    }
}

#[derive(Debug)]
struct Fixed(PathBuf);

impl EncoderSource for Fixed {
    fn open(&self, settings: Settings, keyframe_interval_sec: f32) -> Result<Box<dyn VideoEncoder>, EncoderError> {
        Ok(Box::new(v4l2_m2m::M2mEncoder::new(&self.0, settings, keyframe_interval_sec)?))
    }
}

/// Looks for encoders when the first one is opened, and remembers which did not do.
#[derive(Debug, Default)]
struct Auto {
    state: Mutex<Candidates>,
}

#[derive(Debug, Default)]
struct Candidates {
    /// `None`: not looked for yet. The first is the one that is used.
    left: Option<VecDeque<PathBuf>>,
    /// Whether the first has been tried.
    is_proven: bool,
}

impl EncoderSource for Auto {
    fn open(&self, settings: Settings, keyframe_interval_sec: f32) -> Result<Box<dyn VideoEncoder>, EncoderError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Candidates { left, is_proven } = &mut *state;
        let left = left.get_or_insert_with(|| v4l2_m2m::find(v4l2_m2m::H264).into_iter().map(|found| found.path).collect());
        while let Some(path) = left.front() {
            if *is_proven {
                return Ok(Box::new(v4l2_m2m::M2mEncoder::new(path, settings, keyframe_interval_sec)?));
            }
            match v4l2_m2m::prove(path, settings, keyframe_interval_sec) {
                Ok(()) => {
                    tracing::info!(encoder = %path.display(), "an encoder of the machine is used");
                    *is_proven = true;
                }
                Err(problem) => {
                    tracing::warn!(%problem, "an encoder of the machine is not used");
                    left.pop_front();
                }
            }
        }
        SoftwareEncoder::open(settings, keyframe_interval_sec)
    }

    fn give_up(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_proven = false;
        let given_up = state.left.as_mut().and_then(VecDeque::pop_front);
        if let Some(path) = &given_up {
            tracing::warn!(encoder = %path.display(), "the encoder of the machine is given up; what is left is used, openh264 at last, which takes more of the processor");
        }
        given_up.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: Settings = Settings { width: 640, height: 480, fps: 15, bitrate_bps: 500_000 };

    #[test]
    fn names_are_read_and_others_say_what_there_is() {
        assert_eq!("auto".parse(), Ok(EncoderChoice::Auto));
        assert_eq!("software".parse(), Ok(EncoderChoice::Software));
        assert_eq!("/dev/video11".parse(), Ok(EncoderChoice::Device("/dev/video11".into())));
        assert!("video11".parse::<EncoderChoice>().unwrap_err().to_string().contains("/dev/videoN"));
    }

    #[test]
    fn what_is_no_encoder_is_passed_over_by_itself_and_an_error_where_it_is_asked_for() {
        let auto = Auto {
            state: Mutex::new(Candidates { left: Some(VecDeque::from(["/dev/null".into(), "/dev/video-none".into()])), is_proven: false }),
        };
        assert!(auto.open(LOW, 2.0).is_ok(), "openh264");
        assert!(!auto.give_up(), "nothing is left to take instead of it");
        let error = EncoderChoice::Device("/dev/null".into()).source().open(LOW, 2.0).err().unwrap();
        assert!(error.to_string().contains("/dev/null"), "{error}");
        let error = EncoderChoice::Device("/dev/video-none".into()).device(LOW).unwrap_err();
        assert!(error.to_string().contains("/dev/video-none"), "{error}");
    }

    #[test]
    fn one_that_is_given_up_is_not_opened_again() {
        let auto = Auto { state: Mutex::new(Candidates { left: Some(VecDeque::from(["/dev/null".into()])), is_proven: true }) };
        assert!(auto.open(LOW, 2.0).is_err(), "it was proven: what it does now counts as its fault");
        assert!(auto.give_up());
        assert!(auto.open(LOW, 2.0).is_ok());
        assert!(!auto.give_up());
    }
}
