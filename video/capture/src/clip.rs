//! Files that are sent as they are: H.264 and AAC in MP4 (plain and fragmented), FLV, or Annex B.
//!
//! A file is indexed once and its samples are read as they are due: the access units that go out are the file's, byte for byte.

mod annexb;
mod flv;
mod index;
mod mp4;
mod playback;
mod sound;

use bytes::Bytes;
use sightline_media::{Frame, MediaTime, Track, TrackId, avc};
use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use crate::{
    error::{ClipError, SourceError},
    h264::{self, Sets},
};
use index::{Coding, Index, Sample};
pub use playback::{Playback, Step};

/// Key frames that are searched for parameter sets where a file's header has none, and for pictures at all.
const KEYFRAMES_SEARCHED: usize = 10;

/// An indexed file.
#[derive(Debug)]
pub struct Clip {
    path: PathBuf,
    file: File,
    index: Index,
    tracks: Vec<Track>,
}

/// What a file turned out to be.
#[derive(Debug)]
pub enum Looked {
    /// One of ours.
    Clip(Clip),
    /// What is in it that is not read here, in a few words.
    Foreign(String),
}

/// What a clip is like: to be held against a preset.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Character {
    pub width: u32,
    pub height: u32,
    pub fps: f64,
    pub bitrate_bps: u32,
}

impl Clip {
    /// Indexes a file.
    ///
    /// # Errors
    /// It can't be read, or is broken in a way that no other reader would do better with.
    pub fn open(path: &Path) -> Result<Looked, SourceError> {
        let failed = |error| SourceError::Open { path: path.to_owned(), error };
        let broken = |problem| SourceError::Broken { path: path.to_owned(), problem };
        let mut file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() == 0 {
            return Err(broken(ClipError::Empty));
        }
        let mut head = Vec::new();
        file.by_ref().take(64).read_to_end(&mut head).map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut index = Index::default();
        let foreign = match container(&head) {
            Some(Container::Flv) => flv::Reader::new(&mut index).read(&file),
            Some(Container::Mp4) => mp4::read(&file, &mut index),
            // A byte stream of another codec begins like ours.
            Some(Container::AnnexB) => match annexb::read(&file, &mut index) {
                Ok(()) if index.has_video() => Ok(None),
                Ok(()) | Err(ClipError::Io(_)) => Ok(Some("a byte stream that is no H.264".to_owned())),
                Err(problem) => Err(problem),
            },
            None => Ok(Some("its container is none of MP4, FLV and Annex B".to_owned())),
        };
        if let Some(foreign) = foreign.map_err(broken)? {
            return Ok(Looked::Foreign(foreign));
        }
        let mut clip = Self { path: path.to_owned(), file, index, tracks: Vec::new() };
        clip.settle().map_err(broken)?;
        Ok(Looked::Clip(clip))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its tracks, as they are at its beginning.
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// How many samples.
    pub fn sample_count(&self) -> usize {
        self.index.samples.len()
    }

    /// What is in the file and is not sent, one sentence each.
    pub fn remarks(&self) -> &[String] {
        &self.index.remarks
    }

    /// The codec of its sound, where that is not one that can be sent.
    pub fn foreign_sound(&self) -> Option<&str> {
        self.index.foreign_sound.as_deref()
    }

    /// What counts as zero in a round, on the clock of the file.
    pub fn zero(&self) -> MediaTime {
        self.index.zero
    }

    /// How a player turns its pictures: clockwise, in degrees.
    pub fn rotation(&self) -> u16 {
        self.index.rotation
    }

    /// Whether its edit list hides pictures that others need: it can't be sent as it is.
    pub fn hides_pictures(&self) -> bool {
        self.index.samples.iter().any(|sample| sample.is_hidden)
    }

    /// What of its pictures usual decoders don't read; `None`: nothing.
    pub fn oddity(&self) -> Option<&'static str> {
        self.index.codings.iter().find_map(|coding| match coding {
            Coding::Video(Some(config), _) => h264::oddity(config),
            Coding::Video(None, _) | Coding::Hevc(..) | Coding::Audio(_) => None,
        })
    }

    /// Whether its pictures are H.265, which not every server takes.
    pub fn is_hevc(&self) -> bool {
        self.index.codings.iter().any(|coding| matches!(coding, Coding::Hevc(..)))
    }

    /// Plays it from its beginning, once.
    pub fn play(&self) -> Playback<'_> {
        Playback::new(self)
    }

    /// How long one round lasts: to one frame after the last.
    pub fn duration(&self) -> MediaTime {
        let ends = [TrackId::VIDEO, TrackId::AUDIO].map(|track| {
            let mut times = self.index.samples.iter().rev().filter(|sample| sample.track == track).map(|sample| sample.dts);
            let Some(last) = times.next() else { return MediaTime::ZERO };
            let step = times.next().map_or(MediaTime::from_millis(40), |before| last - before);
            last + step
        });
        ends.into_iter().max().unwrap_or(MediaTime::ZERO).max(MediaTime::from_millis(1))
    }

    /// Size, rate and bit rate of its video.
    pub fn character(&self) -> Character {
        let sizes = self.index.codings.iter().filter_map(|coding| coding.track_config()?.size());
        // The largest of them all: a preset's limit holds for each.
        let size = sizes.chain(self.tracks.iter().filter_map(|track| track.config.size()));
        let (width, height) = size.reduce(|one, other| (one.0.max(other.0), one.1.max(other.1))).unwrap_or((0, 0));
        let mut video = self.index.samples.iter().filter(|sample| sample.track == TrackId::VIDEO && !sample.is_hidden).peekable();
        let start = video.peek().map_or(MediaTime::ZERO, |first| first.dts);
        let (mut frames, mut bytes, mut last, mut step) = (0_u32, 0_u64, start, MediaTime::from_millis(40));
        for sample in video {
            (frames, bytes) = (frames + 1, bytes + u64::from(sample.bytes));
            if frames > 1 {
                step = sample.dts - last;
            }
            last = sample.dts;
        }
        let seconds = (last + step - start).ticks_90k.max(1) as f64 / 90_000.0;
        let bitrate = bytes as f64 * 8.0 / seconds;
        Character { width, height, fps: f64::from(frames) / seconds, bitrate_bps: bitrate.min(f64::from(u32::MAX)) as u32 }
    }

    /// The sample of a number, its NAL units behind lengths of four bytes.
    fn read(&self, sample: &Sample) -> std::io::Result<Frame<Bytes>> {
        let mut bytes = vec![0; sample.bytes as usize];
        self.file.read_exact_at(&mut bytes, sample.offset)?;
        let coding = self.index.codings.get(usize::from(sample.coding));
        let is_h264 = matches!(coding, Some(Coding::Video(..)));
        if let Some(length_bytes) = coding.and_then(Coding::length_bytes) {
            if is_h264 && (self.index.is_annex_b || h264::is_annex_b(&bytes, length_bytes)) {
                bytes = h264::to_lengths(&bytes, sample.keeps_sets);
            } else if length_bytes != avc::LENGTH_BYTES {
                bytes = h264::with_lengths(avc::NalUnits::new(&bytes, length_bytes), bytes.len());
            }
        }
        let is_disposable = is_h264 && avc::is_disposable(&bytes, avc::LENGTH_BYTES);
        Ok(Frame {
            track: sample.track,
            dts: sample.dts,
            pts: sample.pts,
            is_keyframe: sample.is_keyframe,
            is_disposable,
            payload: Bytes::from(bytes),
        })
    }

    /// What can only be done once all is indexed.
    fn settle(&mut self) -> Result<(), ClipError> {
        if !self.index.has_video() {
            return Err(ClipError::NoPictures);
        }
        if !self.index.samples.iter().any(|sample| sample.track == TrackId::VIDEO && sample.is_keyframe) {
            return Err(ClipError::NoKeyframe);
        }
        self.index.settle();
        self.tracks = self.first_tracks()?;
        Ok(())
    }

    /// The tracks at the beginning. Where the header has no parameter sets, the pictures do, or nobody can decode them.
    fn first_tracks(&mut self) -> Result<Vec<Track>, ClipError> {
        let keys = self.index.samples.iter().filter(|sample| sample.track == TrackId::VIDEO && sample.is_keyframe);
        let keys: Vec<Sample> = keys.take(KEYFRAMES_SEARCHED).copied().collect();
        let (mut has_picture, mut video) = (false, None);
        for key in &keys {
            let frame = self.read(key).map_err(|source| ClipError::Read { offset: key.offset, source })?;
            let coding = self.index.codings.get(usize::from(key.coding));
            let known = coding.and_then(Coding::track_config);
            has_picture |= coding.and_then(Coding::family).is_some_and(|family| family.has_picture(&frame.payload));
            video = video.or(known).or_else(|| sets_within(&frame.payload));
            if has_picture && video.is_some() {
                break;
            }
        }
        if !has_picture {
            return Err(ClipError::NoH264);
        }
        let video = video.ok_or(ClipError::NoSets)?;
        let audio = self.index.samples.iter().find(|sample| sample.track == TrackId::AUDIO);
        let audio = audio.and_then(|sample| self.index.codings.get(usize::from(sample.coding))?.track_config());
        let tracks = [(TrackId::VIDEO, Some(video)), (TrackId::AUDIO, audio)];
        Ok(tracks.into_iter().filter_map(|(id, config)| Some(Track { id, config: config? })).collect())
    }
}

/// The configuration from the parameter sets that come with a picture.
fn sets_within(payload: &[u8]) -> Option<sightline_media::TrackConfig> {
    let mut sets = Sets::default();
    avc::NalUnits::new(payload, avc::LENGTH_BYTES).for_each(|nal| {
        sets.see(nal);
    });
    sets.config().map(|(config, _)| sightline_media::TrackConfig::H264(config))
}

/// Containers that are read here.
enum Container {
    Flv,
    Mp4,
    AnnexB,
}

/// By a file's first bytes.
fn container(head: &[u8]) -> Option<Container> {
    match head {
        [b'F', b'L', b'V', 1, ..] => return Some(Container::Flv),
        // QuickTime's files need not begin with their type.
        [_, _, _, _, kind @ ..] => {
            let is_box = |name: &&[u8]| kind.starts_with(name);
            if [&b"ftyp"[..], b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp"].iter().any(is_box) {
                return Some(Container::Mp4);
            }
        }
        _ => return None,
    }
    // Zeros may stand before the first start code.
    let zeros = head.iter().take_while(|byte| **byte == 0).count();
    match head.get(zeros..) {
        Some([1, nal, ..]) if zeros >= 2 && matches!(nal & 0x9f, 1..=9) => Some(Container::AnnexB),
        _ => None,
    }
}

#[cfg(test)]
mod clip_tests;
