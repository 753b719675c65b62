//! A playlist of recorded files (RFC 8216): nothing is written anew, its segments are ranges of the files' own bytes.

use crate::index::{Index, Place};
use alloc::{format, string::String, vec::Vec};
use core::fmt::Write as _;
use jiff::{Timestamp, tz::Offset};
use sightline_media::MediaTime;

/// A segment is at least this long, where key frames allow: fewer requests, and a seek still lands near.
const SEGMENT_TICKS_MIN: i64 = 4 * MediaTime::TICKS_PER_SECOND;
/// Two files that follow within this are one recording: what is missing between is less than a picture that anybody would miss.
const GAP_MICROS_MAX: i64 = 1_000_000;

struct Segment {
    offset: u64,
    end: u64,
    began: MediaTime,
    ends: MediaTime,
}

/// What was captured in a range, from the key frame at or before its beginning on. Files are added one after another, so that one index is held at a time.
///
/// Each segment begins with a key frame. Where a recording stops and another begins there is a discontinuity, and the next segment's date says how long the
/// gap was. `EXT-X-START` names the range's beginning itself.
#[derive(Debug)]
pub struct Playlist {
    from: Timestamp,
    to: Timestamp,
    body: String,
    target_ticks: i64,
    first: Option<Timestamp>,
    before: Option<Timestamp>,
}

impl Playlist {
    /// Of a range.
    #[must_use]
    pub const fn new(from: Timestamp, to: Timestamp) -> Self {
        Self { from, to, body: String::new(), target_ticks: 0, first: None, before: None }
    }

    /// The next file: its address, relative to the playlist's, what is in it, and when the one after it begins. Where files overlap, the later one continues.
    pub fn add(&mut self, url: &str, index: &Index, next_began: Option<Timestamp>) {
        let until = next_began.map_or(self.to, |next| next.min(self.to));
        let segments = segments(index, self.from, until);
        let (Some(head), Some(tail)) = (segments.first(), segments.last()) else { return };
        let begins = index.wall(head.began);
        let body = &mut self.body;
        if self.before.is_some() {
            body.push_str("#EXT-X-DISCONTINUITY\n");
        }
        self.first.get_or_insert(begins);
        if self.before.is_none_or(|before| begins.as_microsecond() - before.as_microsecond() > GAP_MICROS_MAX) {
            // Writing to a string can't fail.
            let _ = writeln!(body, "#EXT-X-PROGRAM-DATE-TIME:{}", date(begins));
        }
        let _ = writeln!(body, "#EXT-X-MAP:URI=\"{url}\",BYTERANGE=\"{}@0\"", index.head_bytes);
        for segment in &segments {
            let ticks = (segment.ends - segment.began).ticks_90k.max(1);
            self.target_ticks = self.target_ticks.max(ticks);
            let micros = ticks.saturating_mul(100) / 9;
            let _ = writeln!(body, "#EXTINF:{}.{:06},", micros / 1_000_000, micros % 1_000_000);
            let _ = writeln!(body, "#EXT-X-BYTERANGE:{}@{}\n{url}", segment.end - segment.offset, segment.offset);
        }
        self.before = Some(index.wall(tail.ends));
    }

    /// The text; `None`: nothing was captured then.
    #[must_use]
    pub fn finish(self) -> Option<String> {
        let offset_ms = (self.from.as_millisecond() - self.first?.as_millisecond()).max(0);
        // Rounded to the nearest whole number, no segment's length is above it (§4.3.3.1).
        let target_secs = (self.target_ticks + MediaTime::TICKS_PER_SECOND / 2) / MediaTime::TICKS_PER_SECOND;
        let start = format!("#EXT-X-START:TIME-OFFSET={}.{:03},PRECISE=YES\n", offset_ms / 1000, offset_ms % 1000);
        Some(format!(
            "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{}\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-INDEPENDENT-SEGMENTS\n{start}{}#EXT-X-ENDLIST\n",
            target_secs.max(1),
            self.body
        ))
    }
}

/// RFC 3339 with milliseconds.
fn date(at: Timestamp) -> String {
    format!("{}", Offset::UTC.to_datetime(at).strftime("%Y-%m-%dT%H:%M:%S%.3fZ"))
}

/// Runs of fragments that begin with a key frame, of those that are shown between two moments.
fn segments(index: &Index, from: Timestamp, until: Timestamp) -> Vec<Segment> {
    let mut found: Vec<Segment> = Vec::new();
    for (number, &Place { offset, end, began, is_start, .. }) in index.places.iter().enumerate() {
        let ends = index.places.get(number + 1).map_or_else(|| index.length(), |next| next.began).max(began);
        match found.last_mut() {
            Some(open) if !is_start || (began - open.began).ticks_90k < SEGMENT_TICKS_MIN => (open.end, open.ends) = (end, ends),
            _ if is_start => found.push(Segment { offset, end, began, ends }),
            // Nothing can begin with it.
            _ => {}
        }
    }
    found.retain(|segment| index.wall(segment.began) < until && index.wall(segment.ends) > from);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_760_000_000_000 + ms).unwrap()
    }

    /// A file that begins `began` ms on, with a fragment a second, of which each `key_every`th begins with a key frame.
    fn file(began: i64, seconds: i64, key_every: i64) -> Index {
        let mut index = Index::new(at(began));
        index.head_bytes = 700;
        for second in 0..seconds {
            let offset = 700 + u64::try_from(second).unwrap() * 1_000;
            let began = MediaTime::from_millis(second * 1_000);
            index.add(offset, offset + 1_000, Some((began, second % key_every == 0)), Some(began + MediaTime::from_millis(1_000)));
        }
        index
    }

    fn playlist(files: &[(&str, &Index)], from: Timestamp, to: Timestamp) -> Option<String> {
        let mut playlist = Playlist::new(from, to);
        for (number, (url, index)) in files.iter().enumerate() {
            playlist.add(url, index, files.get(number + 1).map(|(_, next)| next.began));
        }
        playlist.finish()
    }

    #[test]
    fn a_range_begins_with_the_key_frame_before_it_and_names_its_gaps() {
        let (first, second) = (file(0, 10, 1), file(20_000, 5, 2));
        let files = [("a.mp4", &first), ("b.mp4", &second)];
        let text = playlist(&files, at(5_500), at(60_000)).unwrap();
        assert_eq!(
            text,
            "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:4\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-INDEPENDENT-SEGMENTS\n\
             #EXT-X-START:TIME-OFFSET=1.500,PRECISE=YES\n#EXT-X-PROGRAM-DATE-TIME:2025-10-09T08:53:24.000Z\n\
             #EXT-X-MAP:URI=\"a.mp4\",BYTERANGE=\"700@0\"\n#EXTINF:4.000000,\n#EXT-X-BYTERANGE:4000@4700\na.mp4\n\
             #EXTINF:2.000000,\n#EXT-X-BYTERANGE:2000@8700\na.mp4\n\
             #EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:2025-10-09T08:53:40.000Z\n\
             #EXT-X-MAP:URI=\"b.mp4\",BYTERANGE=\"700@0\"\n#EXTINF:4.000000,\n#EXT-X-BYTERANGE:4000@700\nb.mp4\n\
             #EXTINF:1.000000,\n#EXT-X-BYTERANGE:1000@4700\nb.mp4\n#EXT-X-ENDLIST\n"
        );
    }

    #[test]
    fn what_follows_at_once_has_no_date_of_its_own_what_overlaps_is_played_once_and_nothing_is_no_playlist() {
        let (first, second) = (file(0, 10, 1), file(4_000, 4, 1));
        let files = [("a.mp4", &first), ("b.mp4", &second)];
        let text = playlist(&files, at(0), at(60_000)).unwrap();
        assert_eq!((text.matches("a.mp4\n").count(), text.matches("PROGRAM-DATE-TIME").count()), (1, 1), "{text}");
        assert_eq!(playlist(&files, at(100_000), at(200_000)), None);
        assert_eq!(playlist(&[], at(0), at(1)), None);
    }

    #[test]
    fn a_file_that_goes_on_for_a_long_time_is_cut_without_looking_at_all_of_it_for_each_segment() {
        let day = file(0, 86_400, 2);
        let text = playlist(&[("a.mp4", &day)], at(0), at(86_400_000)).unwrap();
        assert_eq!(text.matches("#EXTINF").count(), 21_600);
    }
}
