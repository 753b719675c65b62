//! Files as sources: our own readers first, ffmpeg for the rest.

use std::path::{Path, PathBuf};

use crate::{clip::Clip, error::SourceError, ffmpeg};

/// What a file turned out to be.
#[derive(Debug)]
pub enum Opened {
    /// H.264, and perhaps AAC, that can be sent as it is.
    Clip(Clip),
    /// Anything else: pictures that ffmpeg decodes.
    Ffmpeg(PathBuf),
}

/// Looks into a file: our own readers first, ffmpeg for the rest.
pub fn open_file(path: &Path) -> Result<Opened, SourceError> {
    match Clip::open(path)? {
        Some(clip) => Ok(Opened::Clip(clip)),
        None if ffmpeg::is_there() => Ok(Opened::Ffmpeg(path.to_owned())),
        None => Err(SourceError::NeedsFfmpeg { path: path.to_owned() }),
    }
}
