//! Why a source can't be used, with the limits that its files have.

use shiguredo_mp4::demux::DemuxError;
use sightline_media::{aac, avc};
use std::path::PathBuf;

use crate::address::CameraUrlError;

/// Samples in one file: a day of 30 fps with audio. An index of them is 300 MB; longer files are cut up elsewhere.
pub(crate) const SAMPLES_MAX: usize = 8_000_000;
/// The longest sample that is read.
pub(crate) const SAMPLE_BYTES_MAX: u32 = 8 << 20;
/// The longest box that is read: a `moov` of a day's recording is about 30 MB.
pub(crate) const BOX_BYTES_MAX: u64 = 256 << 20;
/// The kinds of sources, for errors.
const WANTED: &str = "take `test`, a media file, `/dev/videoN`, `rtsp(s)://…`, `http(s)://…` (MJPEG), or `-` (Annex B on standard input)";

/// Why a source can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It names a kind that this version does not read.
    #[error("{kind} is not read by this version; {WANTED}")]
    Unsupported {
        /// What it looks like. The source itself is not repeated: it may hold a password.
        kind: &'static str,
    },
    /// It is no URL of a camera.
    #[error(
        "the camera's URL: {problem}; take {scheme}://[USER:PASSWORD@]HOST[:PORT]/PATH, with what is none of A-Z a-z 0-9 . _ ~ - percent-encoded"
    )]
    Url {
        /// The URL's scheme.
        scheme: &'static str,
        /// What is wrong with it.
        problem: CameraUrlError,
    },
    /// There is no such file.
    #[error("source {path}: {error}; {WANTED}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file can't be read as what it is.
    #[error("source {path}: {problem}")]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        problem: ClipError,
    },
    /// The system gives no thread for it.
    #[error("source thread: {0}")]
    Thread(std::io::Error),
    /// It needs `ffmpeg`, which is not there.
    #[error(
        "source {path}: its container or codec is not one that Sightline reads itself (H.264 in MP4, FLV or Annex B), and `ffmpeg` is not on the PATH: install ffmpeg, or convert the file with `ffmpeg -i IN -c:v libx264 OUT.mp4` elsewhere"
    )]
    NeedsFfmpeg {
        /// The file.
        path: PathBuf,
    },
    /// ffmpeg could not read it.
    #[error("source {path}: ffmpeg can't read it: {problem}")]
    Ffmpeg {
        /// The file.
        path: PathBuf,
        /// The last line that ffmpeg wrote.
        problem: String,
    },
}

/// Why a file can't be read as what it is.
#[derive(Debug, thiserror::Error)]
pub enum ClipError {
    /// The system can't read it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The system can't read a part of it.
    #[error("byte {offset}: {source}")]
    Read {
        /// Where.
        offset: u64,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Its H.264 parameter sets are unreadable.
    #[error("byte {offset}: {source}")]
    Avc {
        /// Where.
        offset: u64,
        /// What is wrong with them.
        source: avc::ConfigError,
    },
    /// Its H.264 parameter sets, in an MP4, are unreadable.
    #[error(transparent)]
    AvcEntry(#[from] avc::ConfigError),
    /// Its AAC configuration is unreadable.
    #[error("byte {offset}: {source}")]
    Aac {
        /// Where.
        offset: u64,
        /// What is wrong with it.
        source: aac::AudioConfigError,
    },
    /// Its boxes are not those of an MP4.
    #[error(transparent)]
    Mp4(#[from] DemuxError),
    /// A box of it is unreadable.
    #[error(transparent)]
    Box(#[from] shiguredo_mp4::Error),
    /// Its times are out of range.
    #[error(transparent)]
    Time(#[from] std::num::TryFromIntError),
    /// It has no picture that decoding can start at.
    #[error("it has no key frame")]
    NoKeyframe,
    /// A sample is longer than any picture.
    #[error("the sample at byte {offset} has {bytes} bytes; at most {SAMPLE_BYTES_MAX} are read")]
    SampleTooLong {
        /// Where.
        offset: u64,
        /// Its length.
        bytes: u32,
    },
    /// It is longer than a day.
    #[error("it has more than {SAMPLES_MAX} samples: cut it up, for instance with `ffmpeg -f segment`")]
    TooManySamples,
    /// A box is longer than any index.
    #[error("a box at byte {offset} has {bytes} bytes; at most {BOX_BYTES_MAX} are read")]
    BoxTooLong {
        /// Where.
        offset: u64,
        /// Its length.
        bytes: u64,
    },
}
