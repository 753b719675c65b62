//! One recorded file, read: complete fragments, and no byte behind them.

use crate::source::{LocalFile, Source};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use sightline_media::Frame;
use sightline_mp4::{BOX_HEADER_BYTES, BoxHeader, ReadError, Sample};
use sightline_recording::{Index, name};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The longest `moov` or `moof` that is read: ours are a few KiB.
const INDEX_BYTES_MAX: u64 = 4 << 20;

/// What comes before the first fragment of ours, with its index, fits into this: one read instead of a dozen.
const HEAD_BYTES: usize = 8 << 10;

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

/// What began before this is over at `from`: of the files that began longer than `length_max` before it, the last may be a long one.
pub(crate) fn earliest(files: &[RecordingFile], from: Timestamp, length_max: SignedDuration) -> Timestamp {
    let long_before = from.saturating_sub(length_max).unwrap_or(Timestamp::MIN);
    files.iter().rev().map(|file| file.began).find(|began| *began <= long_before).unwrap_or(Timestamp::MIN)
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
    let mut boxes = Boxes::of(Arc::new(LocalFile::open(path)?))?;
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
    /// Why a fragment of it was passed over, if one was.
    pub damage: Option<SegmentError>,
    source: Arc<dyn Source>,
}

impl Segment {
    /// Reads the index of a file: one that is complete begins with it; of others each fragment is looked at. Nothing behind the last complete fragment counts, and a fragment that
    /// can't be read is passed over.
    ///
    /// # Errors
    /// [`SegmentError`], where nothing of the file can be read.
    pub fn open(path: &Path) -> Result<Self, SegmentError> {
        Self::read_from(path, Arc::new(LocalFile::open(path)?))
    }

    /// The same of a recording whose bytes are elsewhere: `path` is where its file would be.
    ///
    /// # Errors
    /// [`SegmentError`], where nothing of it can be read.
    pub fn read_from(path: &Path, source: Arc<dyn Source>) -> Result<Self, SegmentError> {
        let mut index = Index::new(began(path).ok_or(SegmentError::Name)?);
        let mut boxes = Boxes::of(source)?;
        let (mut moof, mut damage) = (None, None);
        while let Some(found) = boxes.next()? {
            let read = match &found.header.kind {
                b"moov" => {
                    index.handle_moov(&boxes.read(found)?, found.offset)?;
                    Ok(())
                }
                b"sidx" => match boxes.read(found) {
                    Ok(sidx) if index.handle_index(&sidx, found.end(), boxes.end) => break,
                    read => read.map(|_| ()),
                },
                b"moof" => boxes.read(found).map(|read| moof = Some((found.offset, read))),
                b"mdat" => moof.take().map_or(Ok(()), |(offset, moof)| Ok(index.handle_fragment(&moof, offset, found.end())?)),
                _ => Ok(()),
            };
            damage = damage.or(read.err());
        }
        Ok(Self { path: path.to_owned(), index, damage, source: boxes.source })
    }

    /// The frames from the key frame at or before `from` up to `until`, by time; none where that holds no key frame. Only their fragments' heads are read.
    ///
    /// # Errors
    /// [`SegmentError`], where a fragment is not what the index says.
    pub fn samples(&self, from: Timestamp, until: Timestamp) -> Result<Vec<Sample>, SegmentError> {
        let places = self.index.between(from, until);
        let (Some(first), Some(last)) = (places.first(), places.last()) else { return Ok(Vec::new()) };
        let mut samples = Vec::new();
        let mut boxes = Boxes::between(&self.source, first.offset, last.end);
        while let Some(found) = boxes.next()? {
            if found.header.kind == *b"moof" {
                let moof = boxes.read(found)?;
                // One that is damaged costs its own frames alone.
                if let Err(problem) = sightline_mp4::read_fragment(&moof, found.offset, &mut samples) {
                    tracing::warn!(file = %self.path.display(), %problem, "a fragment of a recording is passed over");
                }
            }
        }
        Ok(self.index.played(samples, from, until).unwrap_or_default())
    }

    /// All its frames, by time.
    ///
    /// # Errors
    /// [`SegmentError`]
    pub fn all_samples(&self) -> Result<Vec<Sample>, SegmentError> {
        self.samples(Timestamp::MIN, Timestamp::MAX)
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
struct FoundBox {
    header: BoxHeader,
    offset: u64,
}

impl FoundBox {
    fn end(self) -> u64 {
        self.offset + self.header.bytes
    }
}

/// The boxes of a file, as far as they are complete.
struct Boxes {
    source: Arc<dyn Source>,
    offset: u64,
    end: u64,
    /// What was read ahead, and where it begins: the head of a file is read at once.
    ahead: Vec<u8>,
    ahead_at: u64,
}

impl Boxes {
    fn of(source: Arc<dyn Source>) -> io::Result<Self> {
        let end = source.bytes();
        let mut ahead = vec![0; HEAD_BYTES.min(usize::try_from(end).unwrap_or(HEAD_BYTES))];
        source.read_at(0, &mut ahead)?;
        Ok(Self { source, offset: 0, end, ahead, ahead_at: 0 })
    }

    /// Those in a part of a file.
    fn between(source: &Arc<dyn Source>, offset: u64, end: u64) -> Self {
        Self { source: source.clone(), offset, end, ahead: Vec::new(), ahead_at: offset }
    }

    fn next(&mut self) -> io::Result<Option<FoundBox>> {
        let left_bytes = self.end.saturating_sub(self.offset);
        if left_bytes < BOX_HEADER_BYTES as u64 {
            return Ok(None);
        }
        let mut header = [0; BOX_HEADER_BYTES];
        self.read_at(&mut header, self.offset)?;
        let Some(header) = BoxHeader::parse(header, left_bytes) else { return Ok(None) };
        let found = FoundBox { header, offset: self.offset };
        self.offset = found.end();
        Ok(Some(found))
    }

    fn read(&self, found: FoundBox) -> Result<Vec<u8>, SegmentError> {
        if found.header.bytes > INDEX_BYTES_MAX {
            return Err(SegmentError::TooLong { offset: found.offset, bytes: found.header.bytes });
        }
        let mut body = vec![0; found.header.bytes as usize];
        self.read_at(&mut body, found.offset)?;
        Ok(body)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let from = offset.checked_sub(self.ahead_at).and_then(|from| usize::try_from(from).ok());
        match from.and_then(|from| self.ahead.get(from..from.checked_add(into.len())?)) {
            Some(ahead) => into.copy_from_slice(ahead),
            None => self.source.read_at(offset, into)?,
        }
        Ok(())
    }
}
