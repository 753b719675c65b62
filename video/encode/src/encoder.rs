//! What every encoder does, whatever it is made of.

use bytes::Bytes;
use sightline_capture::Picture;
use sightline_h264::EncodeError;
use sightline_media::{Frame, MediaTime, Track, avc};
use sightline_signal::{ErrorCode, Settings};
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Why there is no frame.
#[derive(Debug, thiserror::Error)]
pub enum EncoderError {
    /// openh264 does not open, or refused a picture.
    #[error(transparent)]
    Software(#[from] EncodeError),
    /// Its parameter sets are unreadable.
    #[error("the encoder made parameter sets that can't be read: {0}")]
    ParameterSets(#[from] avc::ConfigError),
    /// It made a key frame without the parameter sets that a decoder needs.
    #[error("the encoder made a key frame without parameter sets")]
    NoParameterSets,
    /// An encoder of the machine does not open for these numbers.
    #[error("encoder {path} can't be opened: {problem}")]
    DeviceOpen {
        /// Its device.
        path: PathBuf,
        /// Why, and where.
        problem: String,
    },
    /// An encoder of the machine failed at its work.
    #[error("encoder {path}: {problem}")]
    Device {
        /// Its device.
        path: PathBuf,
        /// Why, and where.
        problem: String,
    },
}

impl EncoderError {
    pub(crate) fn device_open(path: &Path, problem: String) -> Self {
        Self::DeviceOpen { path: path.to_owned(), problem }
    }

    /// The code that is reported for it.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Software(EncodeError::Open(_)) | Self::DeviceOpen { .. } => ErrorCode::EncoderOutOfResources,
            Self::Software(EncodeError::Library(_)) | Self::ParameterSets(_) | Self::NoParameterSets | Self::Device { .. } => {
                ErrorCode::EncoderFailed
            }
        }
    }
}

/// From pictures of one size to H.264.
pub trait VideoEncoder {
    /// Follows new numbers where it can. False: open another one.
    fn follow(&mut self, settings: Settings) -> bool;
    /// The next frame will be an IDR.
    fn force_keyframe(&mut self);
    /// Encodes one picture. `None`: the rate control left it out.
    ///
    /// # Errors
    /// [`EncoderError`]
    fn encode(&mut self, picture: &Picture, time: MediaTime) -> Result<Option<Encoded>, EncoderError>;
    /// Another finished frame: an encoder with a queue may give none for one picture, and two for the next.
    fn take(&mut self) -> Option<Encoded> {
        None
    }
    /// Ends the stream, and gives the frames that are still inside.
    fn finish(&mut self) -> Vec<Encoded> {
        Vec::new()
    }
}

/// An encoded picture.
#[derive(Debug)]
pub struct Encoded {
    /// New parameter sets, to be sent before the frame.
    pub track: Option<Track>,
    /// The access unit.
    pub frame: Frame<Bytes>,
}

/// Opens encoders, one after another.
pub trait EncoderSource: fmt::Debug + Send + Sync {
    /// Opens one for these numbers, with a key frame at least every `keyframe_interval_sec` seconds.
    fn open(&self, settings: Settings, keyframe_interval_sec: f32) -> Result<Box<dyn VideoEncoder>, EncoderError>;

    /// Notes that the encoder opened last does not do its work. True: the next opening gives another one.
    fn give_up(&self) -> bool {
        false
    }
}

/// What a pipeline opens its encoders with.
pub type OpenEncoder = Arc<dyn EncoderSource>;

/// A kind of encoder of which there is one.
pub type Opening = fn(Settings, f32) -> Result<Box<dyn VideoEncoder>, EncoderError>;

impl EncoderSource for Opening {
    fn open(&self, settings: Settings, keyframe_interval_sec: f32) -> Result<Box<dyn VideoEncoder>, EncoderError> {
        self(settings, keyframe_interval_sec)
    }
}
