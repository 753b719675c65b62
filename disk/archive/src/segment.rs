//! One recorded file, read: complete fragments, and no byte behind them.

use crate::source::{LocalFile, Source};
use bytes::Bytes;
use jiff::Timestamp;
use sightline_media::Frame;
use sightline_mp4::{BOX_HEADER_BYTES, BoxHeader, ReadError, Sample};
use sightline_recording::{Index, name};
use std::{
    io,
    path::{Path, PathBuf},
};

/// The longest `moov` or `moof` that is read: ours are a few KiB.
const INDEX_BYTES_MAX: u64 = 4 << 20;

/// Why a recorded file can't be read.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The system does not give its bytes.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Its name does not begin with a time.
    #[error("its name is not that of a recording")]
    Name,
    /// An index is longer than this program writes.
    #[error("the box at byte {offset} has {bytes} bytes; at most {INDEX_BYTES_MAX} are read")]
    TooLong {
        /// Where it begins.
        offset: u64,
        /// Its length.
        bytes: u64,
    },
    /// Its boxes are not what this program writes.
    #[error("{0}")]
    Boxes(#[from] ReadError),
}

/// A recording by its name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct RecordingFile {
    /// First, so that files sort by time.
    pub(crate) began: Timestamp,
    pub(crate) path: PathBuf,
}

/// The recordings in a directory, oldest first. Other files are left out.
pub(crate) fn files(dir: &Path) -> io::Result<Vec<RecordingFile>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if let Some(began) = began(&path) {
            found.push(RecordingFile { began, path });
        }
    }
    found.sort();
    Ok(found)
}

pub(crate) fn began(path: &Path) -> Option<Timestamp> {
    name::began(path.file_name()?.to_str()?)
}

/// How many bytes of a file are complete fragments; 0 where there is not even one.
///
/// # Errors
/// The system's.
pub fn complete_bytes(path: &Path) -> io::Result<u64> {
    let mut complete = 0;
    let file = LocalFile::open(path)?;
    let mut boxes = Boxes::of(&file);
    while let Some(found) = boxes.next()? {
        if found.header.kind == *b"mdat" {
            complete = found.end();
        }
    }
    Ok(complete)
}

/// An open file and its index.
#[derive(Debug)]
pub struct Segment {
    /// Where it is.
    pub path: PathBuf,
    /// What is in it.
    pub index: Index,
    source: Box<dyn Source>,
}

impl Segment {
    /// Reads the index of a file. Nothing behind its last complete fragment counts.
    ///
    /// # Errors
    /// [`SegmentError`]
    pub fn open(path: &Path) -> Result<Self, SegmentError> {
        Self::read_from(path, Box::new(LocalFile::open(path)?))
    }

    /// The same of a recording whose bytes are elsewhere: `path` is where it would be.
    ///
    /// # Errors
    /// [`SegmentError`]
    pub fn read_from(path: &Path, source: Box<dyn Source>) -> Result<Self, SegmentError> {
        let mut index = Index::new(began(path).ok_or(SegmentError::Name)?);
        let mut boxes = Boxes::of(&*source);
        let mut moof = None;
        while let Some(found) = boxes.next()? {
            match &found.header.kind {
                b"moov" => index.handle_moov(&found.read(&*source)?, found.offset)?,
                b"moof" => moof = Some((found.offset, found.read(&*source)?)),
                b"mdat" => {
                    if let Some((offset, moof)) = moof.take() {
                        index.handle_fragment(&moof, offset, found.end())?;
                    }
                }
                _ => {}
            }
        }
        Ok(Self { path: path.to_owned(), index, source })
    }

    /// A frame with its bytes.
    ///
    /// # Errors
    /// The system's.
    pub fn read(&self, sample: &Sample) -> io::Result<Frame<Bytes>> {
        let mut payload = vec![0; sample.bytes as usize];
        self.source.read_at(sample.offset, &mut payload)?;
        Ok(Frame {
            track: sample.track,
            dts: sample.dts,
            pts: sample.dts + sample.composition,
            is_keyframe: sample.is_keyframe,
            is_disposable: false,
            payload: payload.into(),
        })
    }
}

/// A complete box in a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoundBox {
    pub(crate) header: BoxHeader,
    pub(crate) offset: u64,
}

impl FoundBox {
    pub(crate) fn end(self) -> u64 {
        self.offset + self.header.bytes
    }

    fn read(self, source: &dyn Source) -> Result<Vec<u8>, SegmentError> {
        if self.header.bytes > INDEX_BYTES_MAX {
            return Err(SegmentError::TooLong { offset: self.offset, bytes: self.header.bytes });
        }
        let mut body = vec![0; self.header.bytes as usize];
        source.read_at(self.offset, &mut body)?;
        Ok(body)
    }
}

/// The boxes of a file, as far as they are complete.
pub(crate) struct Boxes<'a> {
    source: &'a dyn Source,
    offset: u64,
}

impl<'a> Boxes<'a> {
    pub(crate) fn of(source: &'a dyn Source) -> Self {
        Self { source, offset: 0 }
    }

    pub(crate) fn next(&mut self) -> io::Result<Option<FoundBox>> {
        let left_bytes = self.source.bytes() - self.offset;
        if left_bytes < BOX_HEADER_BYTES as u64 {
            return Ok(None);
        }
        let mut header = [0; BOX_HEADER_BYTES];
        self.source.read_at(self.offset, &mut header)?;
        let Some(header) = BoxHeader::parse(header, left_bytes) else { return Ok(None) };
        let found = FoundBox { header, offset: self.offset };
        self.offset = found.end();
        Ok(Some(found))
    }
}
