//! What is in a recorded file.

use alloc::vec::Vec;
use jiff::{SignedDuration, Timestamp};
use sightline_media::{MediaTime, Track, TrackId};
use sightline_mp4::{IndexEntry, ReadError, Sample};

/// The complete fragments of a file: nothing behind the last of them counts. 40 bytes a fragment; frames are read when they are wanted.
#[derive(Clone, Debug)]
pub struct Index {
    /// When its first frame was captured.
    pub began: Timestamp,
    /// What it holds.
    pub tracks: Vec<Track>,
    /// Where its fragments are, in file order.
    pub places: Vec<Place>,
    /// The length of what comes before the first one: a player needs it before any other byte.
    pub head_bytes: u64,
    /// Their length, what comes before them included.
    pub bytes: u64,
    /// The file says so itself: nothing is appended to it any more.
    pub is_complete: bool,
}

/// A fragment in its file; in a file that is complete and has very many, a run of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Its first byte.
    pub offset: u64,
    /// The first byte behind it.
    pub end: u64,
    /// When its first picture is decoded, from the file's zero (its first frame of sound, where there are no pictures).
    pub began: MediaTime,
    /// Where its last one ends.
    pub ends: MediaTime,
    /// Whether a decoder can begin with it.
    pub is_start: bool,
}

impl Index {
    /// An empty one, of a file whose first frame was captured at `began`.
    #[must_use]
    pub const fn new(began: Timestamp) -> Self {
        Self { began, tracks: Vec::new(), places: Vec::new(), head_bytes: 0, bytes: 0, is_complete: false }
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

    /// Takes the whole `sidx` of a file that is complete: the box ends at byte `end` of `file_bytes`. False, and nothing is taken, where its entries are not the rest of the file:
    /// then the fragments themselves say where they are.
    pub fn handle_index(&mut self, sidx: &[u8], end: u64, file_bytes: u64) -> bool {
        let Some((first_offset, entries)) = sightline_mp4::read_segment_index(sidx) else { return false };
        let mut offset = end.saturating_add(first_offset);
        let mut began = MediaTime::ZERO;
        let mut places = Vec::with_capacity(entries.len());
        for entry in entries {
            let (end, ends) = (offset.saturating_add(entry.bytes), began + entry.duration);
            places.push(Place { offset, end, began, ends, is_start: entry.is_start });
            (offset, began) = (end, ends);
        }
        let is_whole = offset == file_bytes;
        if is_whole {
            (self.places, self.bytes, self.is_complete) = (places, file_bytes, true);
        }
        is_whole
    }

    /// Takes a whole `moof`, which begins at byte `offset`; its `mdat` is complete and ends at byte `end`.
    ///
    /// # Errors
    /// [`ReadError`] for what this version does not write.
    pub fn handle_fragment(&mut self, moof: &[u8], offset: u64, end: u64) -> Result<(), ReadError> {
        let mut samples = Vec::new();
        sightline_mp4::read_fragment(moof, offset, &mut samples)?;
        let track = self.track();
        let mut shown = samples.iter().filter(|sample| sample.track == track);
        let first = shown.next();
        let last = shown.next_back().or(first);
        self.add(offset, end, first.map(|first| (first.dts, first.is_keyframe)), last.map(|last| last.dts + last.duration));
        Ok(())
    }

    /// A fragment in bytes `offset` to `end`, behind all others. `first`: of [`Self::track`], when its first frame is decoded and whether that is a key frame; `ends`: where its last
    /// one ends. A fragment without frames of that track is a part of the one before it.
    pub fn add(&mut self, offset: u64, end: u64, first: Option<(MediaTime, bool)>, ends: Option<MediaTime>) {
        self.bytes = end;
        match (first, self.places.last_mut()) {
            (Some((began, is_start)), _) => {
                let ends = ends.map_or(began, |ends| ends.max(began));
                self.places.push(Place { offset, end, began, ends, is_start });
            }
            (None, Some(before)) => before.end = end,
            (None, None) => self.places.push(Place { offset, end, began: MediaTime::ZERO, ends: MediaTime::ZERO, is_start: false }),
        }
    }

    /// What the file's own index says when it is complete: each lasts up to the next, so that their sum is the time of the last.
    #[must_use]
    pub fn entries(&self) -> Vec<IndexEntry> {
        let next = self.places.iter().skip(1).map(|place| place.began).chain([self.length()]);
        // What is in front of the first picture counts to it: an index begins at zero.
        let mut began = MediaTime::ZERO;
        let entry = |(place, next): (&Place, MediaTime)| {
            let duration = next.max(began) - began;
            began = began + duration;
            IndexEntry { bytes: place.end - place.offset, duration, is_start: place.is_start }
        };
        self.places.iter().zip(next).map(entry).collect()
    }

    /// The track whose time is the file's: the pictures, or the sound where there are none.
    #[must_use]
    pub fn track(&self) -> TrackId {
        let is_video = |track: &&Track| track.id == TrackId::VIDEO;
        self.tracks.iter().find(is_video).or(self.tracks.first()).map_or(TrackId::VIDEO, |track| track.id)
    }

    /// When the frame of this time was captured.
    #[must_use]
    pub fn wall(&self, at: MediaTime) -> Timestamp {
        self.began.saturating_add(SignedDuration::from_micros(at.as_micros())).unwrap_or(Timestamp::MAX)
    }

    /// Where its pictures end.
    #[must_use]
    pub fn length(&self) -> MediaTime {
        self.places.iter().map(|place| place.ends).max().unwrap_or(MediaTime::ZERO)
    }

    /// The fragments from the last one that can be begun with at or before `from` (the first, where none is) up to `until`; empty where there is none to begin with.
    #[must_use]
    pub fn between(&self, from: Timestamp, until: Timestamp) -> &[Place] {
        let mut starts = self.places.iter().enumerate().filter(|(_, place)| place.is_start);
        let before = starts.clone().rfind(|(_, place)| self.wall(place.began) <= from);
        let Some((first, _)) = before.or_else(|| starts.next()) else { return &[] };
        let end = self.places.iter().rposition(|place| self.wall(place.began) < until).map_or(0, |last| last + 1);
        self.places.get(first..end).unwrap_or_default()
    }

    /// Of the samples of [`Self::between`], in file order, those from the key frame at or before `from` up to `until`, by time; `None` where that holds no key frame.
    #[must_use]
    pub fn played(&self, mut samples: Vec<Sample>, from: Timestamp, until: Timestamp) -> Option<Vec<Sample>> {
        let track = self.track();
        let is_start = |sample: &&Sample| sample.track == track && sample.is_keyframe;
        let mut starts = samples.iter().filter(is_start);
        let before = samples.iter().filter(is_start).rfind(|sample| self.wall(sample.dts) <= from);
        let first = before.or_else(|| starts.next())?.dts;
        samples.retain(|sample| sample.dts >= first && self.wall(sample.dts) < until);
        samples.sort_by_key(|sample| sample.dts);
        samples.iter().any(|sample| is_start(&sample)).then_some(samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sightline_media::{TrackConfig, aac::AudioConfig};

    fn at(ms: i64) -> MediaTime {
        MediaTime::from_millis(ms)
    }

    #[test]
    fn the_index_of_a_complete_file_says_what_its_fragments_do() {
        let mut walked = Index::new(Timestamp::UNIX_EPOCH);
        walked.head_bytes = 700;
        for (offset, end, first, ends) in [
            (11_000, 12_000, Some((at(0), true)), Some(at(2_000))),
            (12_000, 12_500, None, None),
            (12_500, 14_000, Some((at(2_000), false)), Some(at(3_900))),
            // The publisher was silent for a second.
            (14_000, 15_000, Some((at(5_000), true)), Some(at(6_000))),
        ] {
            walked.add(offset, end, first, ends);
        }
        let entries = walked.entries();
        assert_eq!(entries.iter().map(|entry| entry.duration.as_millis()).collect::<Vec<_>>(), [2_000, 3_000, 1_000]);
        let box_of = |entries| sightline_mp4::segment_index(TrackId::VIDEO, entries).unwrap();
        let written = box_of(&entries);
        let sidx = usize::try_from(u32::from_be_bytes(written[..4].try_into().unwrap())).unwrap();
        let first_offset = (written.len() - sidx) as u64;
        let mut read = Index::new(Timestamp::UNIX_EPOCH);
        assert!(!read.handle_index(&written[..sidx], 11_000 - first_offset, 15_001), "there is more behind it");
        assert!(!read.handle_index(&written[..sidx], 11_000 - first_offset, 14_999), "it is cut short");
        assert!(read.places.is_empty() && read.handle_index(&written[..sidx], 11_000 - first_offset, 15_000));
        let place = |place: &Place| (place.offset, place.end, place.began, place.is_start);
        assert_eq!(read.places.iter().map(place).collect::<Vec<_>>(), walked.places.iter().map(place).collect::<Vec<_>>());
        assert_eq!((read.length(), read.bytes), (at(6_000), 15_000));
    }

    #[test]
    fn sound_alone_has_a_length_and_a_beginning() {
        let mut index = Index::new(Timestamp::UNIX_EPOCH);
        index.tracks = alloc::vec![Track { id: TrackId::AUDIO, config: TrackConfig::Aac(AudioConfig::parse(&[0x12, 0x10]).unwrap()) }];
        index.add(700, 900, Some((at(0), true)), Some(at(2_000)));
        assert_eq!(
            (index.track(), index.length(), index.between(Timestamp::UNIX_EPOCH, Timestamp::MAX).len()),
            (TrackId::AUDIO, at(2_000), 1)
        );
    }
}
