//! A playlist of recorded files (RFC 8216): nothing is written anew, its segments are ranges of the files' own bytes.

use crate::index::Index;
use alloc::{format, string::String, vec::Vec};
use core::fmt::Write as _;
use jiff::{Timestamp, tz::Offset};
use sightline_media::{MediaTime, TrackId};

/// A segment is at least this long, where key frames allow: fewer requests, and a seek still lands near.
const SEGMENT_TICKS_MIN: i64 = 4 * MediaTime::TICKS_PER_SECOND;
/// Two files that follow within this are one recording: what is missing between is less than a picture that anybody would miss.
const GAP_MICROS_MAX: i64 = 1_000_000;

/// A recorded file in a playlist.
#[derive(Clone, Copy, Debug)]
pub struct Played<'a> {
    /// Its address, relative to the playlist's.
    pub url: &'a str,
    /// What is in it.
    pub index: &'a Index,
}

struct Segment {
    offset: u64,
    end: u64,
    began: MediaTime,
    ends: MediaTime,
}

/// What was captured from `from` to `to`, from the key frame at or before `from` on; `files` oldest first. `None`: nothing was.
///
/// Each segment begins with a key frame. Where a recording stops and another begins there is a discontinuity, and the next segment's date says how long the
/// gap was. `EXT-X-START` names `from` itself.
#[must_use]
pub fn playlist(files: &[Played<'_>], from: Timestamp, to: Timestamp) -> Option<String> {
    let mut body = String::new();
    let (mut target_ticks, mut first, mut before) = (0, None, None::<Timestamp>);
    for (number, file) in files.iter().enumerate() {
        // Where files overlap, the later one continues.
        let until = files.get(number + 1).map_or(to, |next| next.index.began.min(to));
        let segments = segments(file.index, from, until);
        let (Some(head), Some(tail)) = (segments.first(), segments.last()) else { continue };
        let begins = file.index.wall(head.began);
        if before.is_some() {
            body.push_str("#EXT-X-DISCONTINUITY\n");
        }
        first.get_or_insert(begins);
        if before.is_none_or(|before| begins.as_microsecond() - before.as_microsecond() > GAP_MICROS_MAX) {
            // Writing to a string can't fail.
            let _ = writeln!(body, "#EXT-X-PROGRAM-DATE-TIME:{}", date(begins));
        }
        let _ = writeln!(body, "#EXT-X-MAP:URI=\"{}\",BYTERANGE=\"{}@0\"", file.url, file.index.head_bytes);
        for segment in &segments {
            let ticks = (segment.ends - segment.began).ticks_90k.max(1);
            target_ticks = target_ticks.max(ticks);
            let micros = ticks.saturating_mul(100) / 9;
            let _ = writeln!(body, "#EXTINF:{}.{:06},", micros / 1_000_000, micros % 1_000_000);
            let _ = writeln!(body, "#EXT-X-BYTERANGE:{}@{}\n{}", segment.end - segment.offset, segment.offset, file.url);
        }
        before = Some(file.index.wall(tail.ends));
    }
    let offset_ms = (from.as_millisecond() - first?.as_millisecond()).max(0);
    // Rounded to the nearest whole number, no segment's length is above it (§4.3.3.1).
    let target_secs = (target_ticks + MediaTime::TICKS_PER_SECOND / 2) / MediaTime::TICKS_PER_SECOND;
    let start = format!("#EXT-X-START:TIME-OFFSET={}.{:03},PRECISE=YES\n", offset_ms / 1000, offset_ms % 1000);
    Some(format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{}\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-INDEPENDENT-SEGMENTS\n{start}{body}#EXT-X-ENDLIST\n",
        target_secs.max(1)
    ))
}

/// RFC 3339 with milliseconds.
fn date(at: Timestamp) -> String {
    format!("{}", Offset::UTC.to_datetime(at).strftime("%Y-%m-%dT%H:%M:%S%.3fZ"))
}

/// Runs of fragments that begin with a key frame, of those that are shown between two moments.
fn segments(index: &Index, from: Timestamp, until: Timestamp) -> Vec<Segment> {
    let mut found: Vec<Segment> = Vec::new();
    for (number, place) in index.places.iter().enumerate() {
        let Some((began, is_start)) = beginning(index, number) else { continue };
        let next = (number + 1..index.places.len()).find_map(|next| beginning(index, next));
        let ends = next.map_or_else(|| index.length().max(began), |(next, _)| next);
        match found.last_mut() {
            Some(open) if !is_start || (began - open.began).ticks_90k < SEGMENT_TICKS_MIN => (open.end, open.ends) = (place.end, ends),
            _ if is_start => found.push(Segment { offset: place.offset, end: place.end, began, ends }),
            // Nothing can begin with it.
            _ => {}
        }
    }
    found.retain(|segment| index.wall(segment.began) < until && index.wall(segment.ends) > from);
    found
}

/// When a fragment's first picture is shown (its first frame of sound, where there are no pictures), and whether decoding can start there.
fn beginning(index: &Index, number: usize) -> Option<(MediaTime, bool)> {
    let has_video = index.tracks.iter().any(|track| track.id == TrackId::VIDEO);
    let next = index.places.get(number + 1).map_or(index.samples.len(), |next| next.first_sample);
    let samples = index.samples.get(index.places.get(number)?.first_sample..next)?;
    let first = samples.iter().find(|sample| (sample.track == TrackId::VIDEO) == has_video)?;
    Some((first.dts, first.is_keyframe))
}
