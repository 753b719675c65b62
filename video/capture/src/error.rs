//! Why a source can't be used, with the limits that its files have.

use std::path::PathBuf;

use crate::address::CameraUrlError;

/// Samples in one file: a day of 30 fps with audio. An index of them is 300 MB; longer files are cut up elsewhere.
pub(crate) const SAMPLES_MAX: usize = 8_000_000;
/// The longest sample that is read.
pub(crate) const SAMPLE_BYTES_MAX: u32 = 8 << 20;
/// The longest box that is read: a `moov` of a day's recording is about 30 MB.
pub(crate) const BOX_BYTES_MAX: u64 = 256 << 20;
/// The kinds of sources, for errors.
const WANTED: &str = "take `test`, a media file, `/dev/videoN`, `rtsp(s)://…`, `http(s)://…` (MJPEG), or `-` (standard input)";

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
    /// A second stream is of an RTSP camera alone.
    #[error("a second stream is that of a camera by RTSP: take rtsp(s)://[USER:PASSWORD@]HOST[:PORT]/PATH for both")]
    NoSecond,
    /// There is no such file.
    #[error("source {path}: {error}; {WANTED}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// It is a pipe, a socket or a device.
    #[error(
        "source {path}: it is no file that can be read from its beginning; give a pipe as standard input: `sightline push - URL < {path}`"
    )]
    NoFile {
        /// Its path.
        path: PathBuf,
    },
    /// Its H.264 is one that the decoder of this build does not read, and there is no other.
    #[error(
        "source {path}: its H.264 ({what}) can't be decoded here, which the preset asks for: install ffmpeg, leave the preset out so that it is sent as it is, or convert the file with `ffmpeg -i IN -c:v libx264 -pix_fmt yuv420p OUT.mp4`"
    )]
    CantDecode {
        /// The file.
        path: PathBuf,
        /// What is unusual about it.
        what: String,
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
        "source {path}: Sightline itself reads H.264 in MP4, FLV or Annex B, and this is something else ({what}), for which it needs `ffmpeg`, and there is none on the PATH: install ffmpeg, or convert the file with `ffmpeg -i IN -c:v libx264 -c:a aac OUT.mp4` elsewhere"
    )]
    NeedsFfmpeg {
        /// The file.
        path: PathBuf,
        /// What is in it that is not read here.
        what: String,
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
    /// Nothing is in it.
    #[error("the file is empty")]
    Empty,
    /// An MP4 without its index.
    #[error(
        "its index (moov) is missing: the recording was cut short; a program that rebuilds an index (untrunc, for instance) may save it"
    )]
    NoMoov,
    /// It has sound alone, or neither.
    #[error("it has no track of pictures")]
    NoVideo,
    /// Nothing of its pictures is there.
    #[error("it holds no whole picture: it was cut short, or its tables point elsewhere")]
    NoPictures,
    /// What its tables point at is something else.
    #[error("what its index calls pictures is no H.264: the file is damaged")]
    NoH264,
    /// Nobody can decode it.
    #[error(
        "it has no H.264 parameter sets (SPS and PPS), neither in its header nor in its pictures: nothing can decode it; record it anew"
    )]
    NoSets,
    /// More than a camera makes.
    #[error("its video changes its parameter sets too often: encode it again, for instance with `ffmpeg -i IN -c:v libx264 OUT.mp4`")]
    TooManyConfigs,
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
