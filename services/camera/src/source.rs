//! Where pictures come from: `SRC` of the command line.

pub(crate) mod clip;
pub(crate) mod ffmpeg;
pub(crate) mod stdin;

use std::path::{Path, PathBuf};

/// A source, as it was named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// `test`: the moving scene.
    Test,
    /// A media file, looped in real time.
    File(PathBuf),
    /// `-`: Annex B on standard input.
    Stdin,
}

/// Why a source can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It names a kind that this version does not read.
    #[error("source {name:?}: {kind} is not read by this version; take `test`, a media file, or `-`")]
    Unsupported {
        /// The source as it was named.
        name: String,
        /// What it looks like.
        kind: &'static str,
    },
    /// There is no such file.
    #[error("source {path}: {error}; take `test`, a media file, or `-` for Annex B on standard input")]
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
        problem: String,
    },
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

impl std::str::FromStr for Source {
    type Err = SourceError;

    fn from_str(name: &str) -> Result<Self, SourceError> {
        let unsupported = |kind| Err(SourceError::Unsupported { name: name.to_owned(), kind });
        match name {
            "test" => Ok(Self::Test),
            "-" => Ok(Self::Stdin),
            _ if name.starts_with("/dev/video") => unsupported("a V4L2 camera"),
            _ if name.starts_with("rtsp://") || name.starts_with("rtsps://") => unsupported("an RTSP camera"),
            _ if name.starts_with("http://") || name.starts_with("https://") => unsupported("an HTTP source"),
            path => Ok(Self::File(PathBuf::from(path))),
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Test => f.write_str("test"),
            Self::Stdin => f.write_str("-"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What a file turned out to be.
pub(crate) enum Opened {
    /// H.264, and perhaps AAC, that can be sent as it is.
    Clip(clip::Clip),
    /// Anything else: pictures that ffmpeg decodes.
    Ffmpeg(PathBuf),
}

/// Looks into a file: our own readers first, ffmpeg for the rest.
pub(crate) fn open_file(path: &Path) -> Result<Opened, SourceError> {
    match clip::Clip::open(path)? {
        Some(clip) => Ok(Opened::Clip(clip)),
        None if ffmpeg::is_there() => Ok(Opened::Ffmpeg(path.to_owned())),
        None => Err(SourceError::NeedsFfmpeg { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_apart_by_their_names() {
        assert_eq!("test".parse::<Source>().unwrap(), Source::Test);
        assert_eq!("-".parse::<Source>().unwrap(), Source::Stdin);
        assert_eq!("a/b.mp4".parse::<Source>().unwrap(), Source::File("a/b.mp4".into()));
        let error = "rtsp://camera/1".parse::<Source>().unwrap_err().to_string();
        assert!(error.contains("RTSP") && error.contains("`test`"), "{error}");
    }
}
