//! Files as sources: our own readers first, ffmpeg for the rest.

use sightline_signal::Settings;
use std::{os::unix::fs::FileTypeExt as _, path::Path};

use crate::{
    clip::{Clip, Looked},
    error::SourceError,
    ffmpeg,
};

/// What a file turned out to be.
#[derive(Debug)]
pub enum Opened {
    /// H.264, and perhaps AAC, that can be sent as it is.
    Clip(Clip),
    /// Anything else: what ffmpeg makes of it, and what it is.
    Ffmpeg(Box<ffmpeg::Decoder>, String),
}

/// Looks into a file: our own readers first, ffmpeg for the rest, its pictures scaled down into the limits.
///
/// # Errors
/// Neither gives a picture.
pub fn open_file(path: &Path, limits: Settings) -> Result<Opened, SourceError> {
    let failed = |error| SourceError::Open { path: path.to_owned(), error };
    let kind = std::fs::metadata(path).map_err(failed)?.file_type();
    // To open a pipe waits for its writer, and it can't be read from its beginning.
    if kind.is_fifo() || kind.is_socket() || kind.is_char_device() {
        return Err(SourceError::NoFile { path: path.to_owned() });
    }
    if kind.is_dir() {
        return Err(failed(std::io::ErrorKind::IsADirectory.into()));
    }
    match Clip::open(path)? {
        Looked::Clip(clip) => Ok(Opened::Clip(clip)),
        Looked::Foreign(what) => Ok(Opened::Ffmpeg(Box::new(ffmpeg::Decoder::start(path, ffmpeg::Size::Within(limits), &what)?), what)),
    }
}
