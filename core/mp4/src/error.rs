//! Why boxes can't be written or read.

use alloc::string::String;

/// Why boxes could not be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// There is no track, or no frame, to write.
    Empty,
    /// A parameter set is not what its box wants.
    Config,
    /// A size or an offset is beyond its field: over 2 GiB in one fragment.
    TooLarge,
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Empty => "no track or no frame to write",
            Self::Config => "the decoder configuration does not fit its MP4 box",
            Self::TooLarge => "a fragment is larger than MP4's offsets",
        })
    }
}

impl core::error::Error for Error {}

/// Why a recorded file can't be read. The offset is that of the box in its file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReadError {
    /// A box does not decode.
    Box {
        /// Its four characters.
        kind: &'static str,
        /// Where it begins, in bytes.
        offset: u64,
        /// What the decoder says.
        reason: String,
    },
    /// A fragment names a track that this version does not write.
    Track {
        /// Where the fragment begins, in bytes.
        offset: u64,
    },
    /// A fragment leaves out the size of a frame.
    SampleSize {
        /// Where the fragment begins, in bytes.
        offset: u64,
    },
    /// A track is coded in a way that this version does not record.
    Codec,
    /// A track's decoder configuration does not parse.
    Config {
        /// What its parser says.
        reason: String,
    },
}

impl core::fmt::Display for ReadError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Box { kind, offset, reason } => write!(f, "the {kind} at byte {offset} can't be read: {reason}"),
            Self::Track { offset } => write!(f, "the fragment at byte {offset} has a track that this version does not write"),
            Self::SampleSize { offset } => write!(f, "the fragment at byte {offset} does not give the size of its frames"),
            Self::Codec => f.write_str("it has a track that this version does not record"),
            Self::Config { reason } => write!(f, "a track's decoder configuration can't be read: {reason}"),
        }
    }
}

impl core::error::Error for ReadError {}
