//! What is in a recorded file.

use alloc::vec::Vec;
use jiff::{SignedDuration, Timestamp};
use sightline_media::{MediaTime, Track, TrackId};
use sightline_mp4::{ReadError, Sample};

/// The complete fragments of a file: nothing behind the last of them counts.
#[derive(Clone, Debug)]
pub struct Index {
    /// When its first frame was captured.
    pub began: Timestamp,
    /// What it holds.
    pub tracks: Vec<Track>,
    /// Its frames, in file order.
    pub samples: Vec<Sample>,
    /// Complete fragments.
    pub fragments: u32,
    /// Where each of them is, in file order.
    pub places: Vec<Place>,
    /// The length of what comes before the first one: a player needs it before any other byte.
    pub head_bytes: u64,
    /// Their length, what comes before them included.
    pub bytes: u64,
}

/// Where a fragment is in its file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Its first byte.
    pub offset: u64,
    /// The first byte behind it.
    pub end: u64,
    /// The number of its first sample in [`Index::samples`].
    pub first_sample: usize,
}

impl Index {
    /// An empty one, of a file whose first frame was captured at `began`.
    #[must_use]
    pub fn new(began: Timestamp) -> Self {
        Self { began, tracks: Vec::new(), samples: Vec::new(), fragments: 0, places: Vec::new(), head_bytes: 0, bytes: 0 }
    }

    /// Takes a whole `moov`, which begins at byte `offset`.
    ///
    /// # Errors
    /// [`ReadError`] for what this version does not write.
    pub fn handle_moov(&mut self, moov: &[u8], offset: u64) -> Result<(), ReadError> {
        self.tracks = sightline_mp4::read_tracks(moov, offset)?;
        self.head_bytes = offset.saturating_add(moov.len() as u64);
        Ok(())
    }

    /// Takes a whole `moof`, which begins at byte `offset`; its `mdat` is complete and ends at byte `end`.
    ///
    /// # Errors
    /// [`ReadError`] for what this version does not write.
    pub fn handle_fragment(&mut self, moof: &[u8], offset: u64, end: u64) -> Result<(), ReadError> {
        let first_sample = self.samples.len();
        sightline_mp4::read_fragment(moof, offset, &mut self.samples)?;
        self.places.push(Place { offset, end, first_sample });
        self.fragments += 1;
        self.bytes = end;
        Ok(())
    }

    /// When the frame of this time was captured.
    #[must_use]
    pub fn wall(&self, at: MediaTime) -> Timestamp {
        self.began.saturating_add(SignedDuration::from_micros(at.as_micros())).unwrap_or(Timestamp::MAX)
    }

    /// Where its video ends.
    #[must_use]
    pub fn length(&self) -> MediaTime {
        let video = self.samples.iter().filter(|sample| sample.track == TrackId::VIDEO);
        video.map(|sample| sample.dts + sample.duration).max().unwrap_or(MediaTime::ZERO)
    }

    /// The frames from the key frame at or before `from` up to `until`; `None` where that holds no key frame.
    #[must_use]
    pub fn between(&self, from: Timestamp, until: Timestamp) -> Option<Vec<Sample>> {
        let is_start = |sample: &&Sample| sample.track == TrackId::VIDEO && sample.is_keyframe;
        let mut starts = self.samples.iter().filter(is_start);
        let before = self.samples.iter().filter(is_start).rfind(|sample| self.wall(sample.dts) <= from);
        let first = before.or_else(|| starts.next())?.dts;
        let samples: Vec<Sample> =
            self.samples.iter().filter(|sample| sample.dts >= first && self.wall(sample.dts) < until).copied().collect();
        samples.iter().any(|sample| is_start(&sample)).then_some(samples)
    }
}
