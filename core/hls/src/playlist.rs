//! The media playlist as text.

use crate::muxer::{Container, Muxer, Run};
use crate::pace::Targets;
use crate::segment::{Part, Segment, ticks_of};
use alloc::string::String;
use core::fmt::{self, Write as _};
use sightline_media::MediaTime;

/// Parts are listed of the segments of this many target durations at the end (RFC 8216bis §4.4.4.9).
const PARTS_TARGETS: i64 = 3;
/// A player of whole segments stays this many target durations behind the end (RFC 8216bis §4.4.3.8).
const HOLD_BACK_TARGETS: i64 = 3;
/// A player of parts stays this many part targets behind it: at least three are asked for.
const PART_HOLD_BACK_TARGETS: i64 = 3;
/// Segments further from the end than this many target durations may be left out of a delta update (RFC 8216bis §4.4.3.8: at least six).
const SKIP_UNTIL_TARGETS: i64 = 6;

/// Ticks as seconds with five digits.
pub(crate) struct Seconds(pub(crate) i64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, ticks) = (self.0.max(0) / MediaTime::TICKS_PER_SECOND, self.0.max(0) % MediaTime::TICKS_PER_SECOND);
        write!(f, "{secs}.{:05}", ticks * 100_000 / MediaTime::TICKS_PER_SECOND)
    }
}

/// A time of day, by ISO 8601, in UTC.
pub(crate) struct Utc(pub(crate) i64);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = jiff::Timestamp::from_microsecond(self.0).unwrap_or_default();
        write!(f, "{time:.3}")
    }
}

impl Muxer {
    /// The media playlist; `None` without a segment yet. `is_delta`: the player has an earlier one and may be told the new segments alone
    /// (`_HLS_skip=YES`).
    #[must_use]
    pub fn playlist(&self, is_delta: bool) -> Option<String> {
        let targets = self.targets()?;
        let listed = self.listed();
        let first = listed.clone().next()?;
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = self.write_head(&mut text, targets, first);
        let skipped = if is_delta && !self.is_ended() && self.container() == Container::Mp4 { self.skippable(targets) } else { 0 };
        if skipped > 0 {
            let _ = writeln!(text, "#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}");
        }
        let names = Names { run: self.run(), suffix: self.suffix(), has_init: self.container() == Container::Mp4, targets };
        let parts_from = self.parts_from(targets);
        let mut init = None;
        for segment in listed.skip(skipped) {
            let parts = if segment.has_parts && segment.sequence >= parts_from { segment.parts.as_slice() } else { &[] };
            let _ = write_segment(&mut text, segment, &names, &mut init, parts);
        }
        let _ = self.write_open(&mut text, &names, init);
        Some(text)
    }

    fn write_head(&self, text: &mut String, targets: Targets, first: &Segment) -> fmt::Result {
        let target_ticks = targets.segment_secs * MediaTime::TICKS_PER_SECOND;
        writeln!(text, "#EXTM3U\n#EXT-X-VERSION:{}\n#EXT-X-TARGETDURATION:{}", self.version(), targets.segment_secs)?;
        if self.container() == Container::Mp4 {
            writeln!(
                text,
                "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL={},HOLD-BACK={},PART-HOLD-BACK={}\n#EXT-X-PART-INF:PART-TARGET={}",
                Seconds(target_ticks * SKIP_UNTIL_TARGETS),
                Seconds(target_ticks * HOLD_BACK_TARGETS),
                Seconds(targets.part_ticks.saturating_mul(PART_HOLD_BACK_TARGETS)),
                Seconds(targets.part_ticks),
            )?;
        }
        writeln!(text, "#EXT-X-MEDIA-SEQUENCE:{}\n#EXT-X-DISCONTINUITY-SEQUENCE:{}", first.sequence, first.discontinuities)?;
        if self.has_dependent() { Ok(()) } else { text.write_str("#EXT-X-INDEPENDENT-SEGMENTS\n") }
    }

    /// Deltas need nine; old players read three, which has fractions of seconds.
    const fn version(&self) -> u8 {
        match self.container() {
            Container::Mp4 => 9,
            Container::MpegTs => 3,
        }
    }

    /// What is there of the segment that is not whole, and what comes next.
    fn write_open(&self, text: &mut String, names: &Names, init: Option<u64>) -> fmt::Result {
        if self.is_ended() {
            return text.write_str("#EXT-X-ENDLIST\n");
        }
        let nth = match self.open_segment() {
            // It was begun before anything was promised, or its pictures are further apart than a part is long.
            Some(open) if !open.has_parts => return Ok(()),
            Some(open) => {
                write_tags(text, open, names, init)?;
                write_parts(text, open, names, &open.parts)?;
                open.parts.len()
            }
            None if !self.has_parts_next() => return Ok(()),
            None => 0,
        };
        writeln!(text, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"part-{}-{nth}-{}.m4s\"", self.next_sequence(), names.run)
    }

    /// The first segment whose parts are listed: it begins within so many target durations of the end.
    fn parts_from(&self, targets: Targets) -> u64 {
        let room = targets.segment_secs * MediaTime::TICKS_PER_SECOND * PARTS_TARGETS;
        let mut ticks = self.open_segment().map_or(0, |open| ticks_of(&open.parts));
        let mut from = u64::MAX;
        for segment in self.listed().rev() {
            ticks = segment.duration_ticks.saturating_add(ticks);
            if ticks > room {
                break;
            }
            from = segment.sequence;
        }
        from
    }

    /// Segments that a delta update leaves out: all that end further from the end of the last whole one than was said.
    fn skippable(&self, targets: Targets) -> usize {
        let room = targets.segment_secs * MediaTime::TICKS_PER_SECOND * SKIP_UNTIL_TARGETS;
        let mut behind = self.listed().fold(0, |ticks: i64, segment| ticks.saturating_add(segment.duration_ticks));
        self.listed()
            .take_while(|segment| {
                behind = behind.saturating_sub(segment.duration_ticks);
                behind >= room
            })
            .count()
    }
}

/// What all names of a playlist have in common, and what its parts promise.
struct Names {
    run: Run,
    suffix: &'static str,
    has_init: bool,
    targets: Targets,
}

fn write_segment(text: &mut String, segment: &Segment, names: &Names, init: &mut Option<u64>, parts: &[Part]) -> fmt::Result {
    write_tags(text, segment, names, *init)?;
    *init = Some(segment.init);
    write_parts(text, segment, names, parts)?;
    writeln!(text, "#EXTINF:{},\nseg-{}-{}.{}", Seconds(segment.duration_ticks), segment.sequence, names.run, names.suffix)
}

/// What stands before a segment, or before its first part.
fn write_tags(text: &mut String, segment: &Segment, names: &Names, init: Option<u64>) -> fmt::Result {
    if segment.is_discontinuous {
        text.write_str("#EXT-X-DISCONTINUITY\n")?;
    }
    if names.has_init && init != Some(segment.init) {
        writeln!(text, "#EXT-X-MAP:URI=\"init-{}-{}.mp4\"", segment.init, names.run)?;
    }
    writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{}", Utc(segment.began_unix_micros))
}

fn write_parts(text: &mut String, segment: &Segment, names: &Names, parts: &[Part]) -> fmt::Result {
    for (nth, part) in parts.iter().enumerate() {
        let independent = if part.is_independent { ",INDEPENDENT=YES" } else { "" };
        // A picture that stands for longer than a part may can't be divided: its segment has the whole time.
        let ticks = part.duration_ticks.min(names.targets.part_ticks);
        let (sequence, run) = (segment.sequence, names.run);
        writeln!(text, "#EXT-X-PART:DURATION={},URI=\"part-{sequence}-{nth}-{run}.m4s\"{independent}", Seconds(ticks))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;

    #[test]
    fn times_are_written_as_iso_8601_has_them() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999_999, "2000-02-28T23:59:59.999Z"),
            (951_868_800_000_000, "2000-03-01T00:00:00.000Z"),
            (1_796_034_600_123_000, "2026-11-30T10:30:00.123Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Utc(micros).to_string(), text);
        }
        assert_eq!((Seconds(18_000).to_string().as_str(), Seconds(360_900).to_string().as_str()), ("0.20000", "4.01000"));
    }
}
