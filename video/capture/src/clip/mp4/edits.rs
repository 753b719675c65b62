//! Edit lists (`elst`, ISO/IEC 14496-12 §8.6.6): what of a track is shown, and when.

use sightline_media::MediaTime;

use super::{
    Raw,
    boxes::{i32_at, u32_at, u64_at},
};

/// Edits of one track: a list of each picture of a day is none.
const EDITS_MAX: usize = 4_096;

/// One entry of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Edit {
    /// In the movie's units; zero: to the end, as fragmented files have it.
    duration: u64,
    /// In the track's units; -1: nothing is shown.
    media_time: i64,
    /// 1 is normal speed.
    rate: i16,
}

/// Units a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scales {
    pub(super) movie: u32,
    pub(super) track: u32,
}

/// A sample that is needed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed<'a> {
    pub(super) raw: &'a Raw,
    /// To be added to its own times.
    pub(super) shift: MediaTime,
    pub(super) is_hidden: bool,
}

pub(super) fn read(elst: &[u8]) -> Vec<Edit> {
    let is_long = elst.first() == Some(&1);
    let entry_bytes = if is_long { 20 } else { 12 };
    let count = (u32_at(elst, 4).unwrap_or(0) as usize).min(EDITS_MAX);
    let rows = elst.get(8..).unwrap_or_default().chunks_exact(entry_bytes).take(count);
    let edit = |row: &[u8]| {
        let (duration, media_time) = if is_long {
            (u64_at(row, 0)?, u64_at(row, 8)?.cast_signed())
        } else {
            (u64::from(u32_at(row, 0)?), i64::from(i32_at(row, 4)?))
        };
        let rate = (i32_at(row, entry_bytes - 4)? >> 16) as i16;
        Some(Edit { duration, media_time, rate })
    };
    rows.filter_map(edit).collect()
}

/// The samples that a list needs. `None`: it asks for another speed than one.
pub(super) fn apply<'a>(raws: &'a [Raw], edits: &[Edit], scales: Scales, is_audio: bool) -> Option<Vec<Placed<'a>>> {
    if edits.iter().any(|edit| edit.media_time >= 0 && edit.rate != 1) {
        return None;
    }
    let (mut placed, mut at) = (Vec::new(), MediaTime::ZERO);
    for edit in edits {
        let duration = MediaTime::from_timescale(i64::try_from(edit.duration).unwrap_or(i64::MAX), scales.movie);
        if edit.media_time >= 0 {
            let window = Window::of(edit, scales);
            let shift = at - MediaTime::from_timescale(edit.media_time, scales.track);
            if placed.len().saturating_add(raws.len()) > crate::error::SAMPLES_MAX {
                return None;
            }
            if is_audio { window.audio(raws, shift, &mut placed) } else { window.video(raws, shift, &mut placed) }
        }
        at = at + duration;
    }
    if placed.is_empty() {
        // No list, or one that leaves nothing: a mistake of its writer.
        placed.extend(raws.iter().map(|raw| Placed { raw, shift: MediaTime::ZERO, is_hidden: false }));
    }
    Some(placed)
}

/// What an edit shows, in the track's units.
struct Window {
    start: i64,
    end: i64,
}

impl Window {
    fn of(edit: &Edit, scales: Scales) -> Self {
        if edit.duration == 0 {
            return Self { start: edit.media_time, end: i64::MAX };
        }
        // Its length is rounded to the movie's units.
        let length = (u128::from(edit.duration) + 1) * u128::from(scales.track) / u128::from(scales.movie.max(1));
        let end = edit.media_time.saturating_add(i64::try_from(length).unwrap_or(i64::MAX));
        Self { start: edit.media_time, end }
    }

    /// The frame before the start comes along: a decoder of AAC overlaps two.
    fn audio<'a>(&self, raws: &'a [Raw], shift: MediaTime, placed: &mut Vec<Placed<'a>>) {
        let is_heard =
            |raw: &&Raw| raw.dts.saturating_add(2 * i64::from(raw.duration)) > self.start && (raw.dts < self.end || raw.duration == 0);
        placed.extend(raws.iter().filter(is_heard).map(|raw| Placed { raw, shift, is_hidden: false }));
    }

    /// Decoding begins at the key frame before the start: pictures in between are needed, and are not shown.
    fn video<'a>(&self, raws: &'a [Raw], shift: MediaTime, placed: &mut Vec<Placed<'a>>) {
        let shown_at = |raw: &Raw| raw.dts.saturating_add(raw.shift);
        // A start that is rounded into a picture hides none; one that leaves most of it out does.
        let is_shown = |raw: &Raw| shown_at(raw).saturating_add(i64::from(raw.duration / 4 + 1)) > self.start && shown_at(raw) < self.end;
        let Some(last) = raws.iter().rposition(is_shown) else { return };
        let first_shown = raws.iter().position(is_shown).unwrap_or(0);
        // B-frames that are shown before the key frame that follows them belong to the pictures before it.
        let first = raws.iter().take(first_shown + 1).rposition(|raw| raw.is_keyframe).unwrap_or(0);
        placed.extend(raws.iter().take(last + 1).skip(first).map(|raw| Placed { raw, shift, is_hidden: !is_shown(raw) }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCALES: Scales = Scales { movie: 1_000, track: 25 };

    fn pictures() -> Vec<Raw> {
        let raw = |index: i64| Raw { offset: 0, bytes: 1, dts: index, shift: 0, duration: 1, is_keyframe: index % 50 == 0, entry: 0 };
        (0..200).map(raw).collect()
    }

    #[test]
    fn an_empty_edit_delays_and_a_cut_hides_what_is_before_it() {
        let raws = pictures();
        let delay = Edit { duration: 2_000, media_time: -1, rate: 1 };
        let cut = Edit { duration: 7_000, media_time: 25, rate: 1 };
        let placed = apply(&raws, &[delay, cut], SCALES, false).unwrap();
        assert_eq!((placed.len(), placed.iter().filter(|sample| sample.is_hidden).count()), (200, 25));
        assert_eq!(placed[0].shift, MediaTime::from_millis(1_000));
        // From a key frame on nothing needs to be hidden.
        let cut = Edit { duration: 2_000, media_time: 50, rate: 1 };
        let placed = apply(&raws, &[cut], SCALES, false).unwrap();
        assert!(placed.iter().all(|sample| !sample.is_hidden) && (50..=51).contains(&placed.len()), "{}", placed.len());
    }

    #[test]
    fn other_speeds_are_for_others_and_a_list_of_nothing_is_none() {
        let raws = pictures();
        assert!(apply(&raws, &[Edit { duration: 8_000, media_time: 0, rate: 2 }], SCALES, false).is_none());
        assert_eq!(apply(&raws, &[Edit { duration: 10, media_time: 5_000, rate: 1 }], SCALES, false).unwrap().len(), 200);
        assert_eq!(apply(&raws, &[], SCALES, true).unwrap().len(), 200);
    }
}
