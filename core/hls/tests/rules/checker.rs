//! The rules for servers of draft-pantos-hls-rfc8216bis-22, held against the versions of a playlist that were seen one after another.
//! docs/protocol/hls.md lists them.

use crate::list::{List, Segment, attribute, number};
use std::collections::{HashMap, HashSet};

/// Digits of a playlist's times.
const ROUNDING_SECS: f64 = 0.000_02;
/// A time of day has milliseconds.
const DAY_ROUNDING_MS: i64 = 2;
/// Where parameters change, the last picture's length is not known yet: §6.2.1 allows overlaps below a second.
const OVERLAP_MS: i64 = 900;

/// What was seen so far.
#[derive(Default)]
pub(crate) struct Checker {
    /// In words, each with the version of the playlist that shows it.
    pub(crate) problems: Vec<String>,
    last: Option<List>,
    last_segment_ms: i64,
    /// What each segment was when it was first listed whole, by its number.
    known: HashMap<u64, Segment>,
    uris: HashSet<String>,
    lost_independence: bool,
    /// Parts that a hole ended: the picture before it did not fit.
    ended_by_hole: HashSet<String>,
    /// By URI, until when it must be served, in milliseconds.
    kept: HashMap<String, i64>,
    /// By number: when the segment was first listed, and the longest list that had it.
    listed: HashMap<u64, (i64, f64)>,
}

/// What can be said of the stream itself.
#[derive(Clone, Copy)]
pub(crate) struct Stream {
    /// Its pictures come at most this far apart, holes left out.
    pub(crate) interval_secs: f64,
    /// It had a hole, or a restart, since the version before.
    pub(crate) had_hole: bool,
    /// The server forgot its segments: no one had asked for a minute.
    pub(crate) was_cleared: bool,
}

impl Checker {
    /// A version of the playlist, as it was at a time in milliseconds.
    pub(crate) fn see(&mut self, at_ms: i64, text: &str, stream: Stream) {
        let list = List::read(text);
        let before = self.problems.len();
        self.head(&list, text);
        list.all().for_each(|segment| self.segment(&list, segment, stream));
        self.order(&list);
        if stream.was_cleared {
            (self.last, self.known, self.kept, self.listed) = (None, HashMap::new(), HashMap::new(), HashMap::new());
            self.lost_independence = false;
        }
        if let Some(last) = self.last.take() {
            self.change(&last, &list);
            self.pace(&last, &list, at_ms, stream);
        } else {
            self.last_segment_ms = at_ms;
        }
        self.keep(&list, at_ms);
        for problem in self.problems.iter_mut().skip(before) {
            *problem = format!("{problem}\nat {at_ms} ms, of\n{text}");
        }
        self.last = Some(list);
    }

    fn require(&mut self, holds: bool, rule: &str, what: impl FnOnce() -> String) {
        if !holds {
            self.problems.push(format!("{rule}: {}", what()));
        }
    }

    /// §4.4.1 to §4.4.3.
    fn head(&mut self, list: &List, text: &str) {
        self.require(text.starts_with("#EXTM3U\n"), "4.4.1.1", || "the first line".into());
        self.require(list.unknown.is_empty(), "4.1", || format!("{:?}", list.unknown));
        // A list of MPEG-TS promises nothing of parts, and old players read it.
        let (version, mut tags) = (if list.control.is_empty() { 3 } else { 9 }, vec!["VERSION", "TARGETDURATION"]);
        self.require(list.version == version, "8", || format!("version {}", list.version));
        tags.extend(["MEDIA-SEQUENCE", "DISCONTINUITY-SEQUENCE"]);
        if !list.control.is_empty() {
            tags.extend(["SERVER-CONTROL", "PART-INF"]);
        }
        for tag in tags {
            self.require(text.matches(&format!("#EXT-X-{tag}:")).count() == 1, "4.4.3", || format!("one {tag}"));
        }
        self.require(!list.is_ended || list.open.is_none(), "6.2.1 an end has nothing open", String::new);
        if list.control.is_empty() {
            let is_plain = !text.contains("#EXT-X-PART") && list.hints.is_empty() && !text.contains("#EXT-X-MAP");
            return self.require(is_plain, "4.4.3 parts without promises", String::new);
        }
        let value = |name| number(attribute(&list.control, name).unwrap_or_default());
        let target = list.target as f64;
        self.require(value("HOLD-BACK") >= 3.0 * target, "4.4.3.8 HOLD-BACK", || list.control.clone());
        self.require(value("PART-HOLD-BACK") + ROUNDING_SECS >= 3.0 * list.part_target, "4.4.3.8 PART-HOLD-BACK", || list.control.clone());
        self.require(value("CAN-SKIP-UNTIL") >= 6.0 * target, "4.4.3.8 CAN-SKIP-UNTIL", || list.control.clone());
        self.require(attribute(&list.control, "CAN-BLOCK-RELOAD") == Some("YES"), "4.4.3.8", || list.control.clone());
        self.require(list.hints.len() <= usize::from(!list.is_ended), "6.2.6 hints", || format!("{:?}", list.hints));
    }

    /// §4.4.4: what is promised of each segment and its parts.
    fn segment(&mut self, list: &List, segment: &Segment, stream: Stream) {
        let (number, is_open) = (segment.sequence, segment.uri.is_empty());
        self.require(is_open || segment.secs.round() <= list.target as f64, "4.4.3.1 target", || format!("{number}: {} s", segment.secs));
        self.require(segment.init.is_some() || list.control.is_empty(), "4.4.4.5 map", || number.to_string());
        self.require(segment.began_ms.is_some(), "4.4.4.6 date", || number.to_string());
        for (nth, part) in segment.parts.iter().enumerate() {
            let what = || format!("part {nth} of {number}: {} s of {}", part.secs, list.part_target);
            self.require(part.secs <= list.part_target + ROUNDING_SECS, "4.4.4.9 a part is not longer than its target", what);
            // A picture can't be divided: where the next one does not fit, a part is as long as it can be.
            let is_full = part.secs + stream.interval_secs > list.part_target - ROUNDING_SECS;
            let is_last = nth + 1 == segment.parts.len();
            if stream.had_hole {
                self.ended_by_hole.insert(part.uri.clone());
            }
            let is_full = is_full || self.ended_by_hole.contains(&part.uri);
            let is_long = part.secs >= list.part_target * 0.85 - ROUNDING_SECS || part.is_independent || is_last || is_full;
            self.require(is_long, "4.4.4.9 a part has 85 % of its target", what);
        }
        if !is_open && !segment.parts.is_empty() && !stream.had_hole {
            let parts: f64 = segment.parts.iter().map(|part| part.secs).sum();
            let slack = ROUNDING_SECS * (segment.parts.len() + 1) as f64;
            self.require(parts <= segment.secs + slack, "4.4.4.9 the parts are the segment", || {
                format!("{number}: {parts} of {}", segment.secs)
            });
        }
        if list.is_independent
            && let Some(first) = segment.parts.first()
        {
            self.require(first.is_independent, "4.4.2.1 independent segments", || number.to_string());
        }
    }

    /// §4.4.4.6: times of day follow one another; §6.2.1: and mean one thing.
    fn order(&mut self, list: &List) {
        let all: Vec<&Segment> = list.all().collect();
        for pair in all.windows(2) {
            let [one, next] = pair else { continue };
            let (Some(began), Some(then)) = (one.began_ms, next.began_ms) else { continue };
            let gap = then - began - (one.secs * 1000.0).round() as i64;
            let fits = if next.is_discontinuous { gap >= -OVERLAP_MS } else { gap.abs() <= DAY_ROUNDING_MS };
            self.require(fits, "6.2.1 dates", || format!("{} is {gap} ms behind", next.sequence));
            let same_init = one.init == next.init || next.is_discontinuous;
            self.require(same_init, "6.2.1 other parameters behind a discontinuity", || next.sequence.to_string());
        }
    }

    /// §6.2.1 and §6.2.2: what may change from one version to the next.
    fn change(&mut self, last: &List, list: &List) {
        self.require(last.target == list.target, "6.2.1 the target changed", String::new);
        self.require(last.control == list.control && last.part_target == list.part_target, "6.2.1 promises changed", String::new);
        self.require(list.sequence >= last.sequence, "6.2.2 media sequence", || format!("{} -> {}", last.sequence, list.sequence));
        self.require(list.discontinuity >= last.discontinuity, "6.2.2 discontinuity sequence", String::new);
        self.require(!last.is_ended || last == list, "6.2.1 a list that has ended stays", String::new);
        self.lost_independence |= last.is_independent && !list.is_independent;
        self.require(!(self.lost_independence && list.is_independent), "6.2.1 independent segments, again", String::new);
        if list.sequence > last.sequence && !list.is_ended {
            self.require(list.secs() + ROUNDING_SECS >= 3.0 * list.target as f64, "6.2.2 three target durations stay", || {
                format!("{} s", list.secs())
            });
        }
        let end = |list: &List| list.sequence + list.segments.len() as u64;
        self.require(end(list) >= end(last) && list.sequence <= end(last), "6.2.1 segments are appended", String::new);
        // Parts go in their order, from the front.
        let mut parts = list.all().flat_map(|segment| &segment.parts).peekable();
        let first = parts.peek().map(|part| part.uri.clone());
        let old: Vec<_> = last.all().flat_map(|segment| &segment.parts).skip_while(|part| Some(&part.uri) != first.as_ref()).collect();
        let stays = parts.take(old.len()).zip(&old).all(|(new, old)| new == *old);
        self.require(stays, "6.2.1 parts change", || format!("{old:?}"));
    }

    /// §6.2.1: a list grows while its stream goes on.
    fn pace(&mut self, last: &List, list: &List, at_ms: i64, stream: Stream) {
        let has_new = list.sequence + list.segments.len() as u64 > last.sequence + last.segments.len() as u64;
        let waited = (at_ms - self.last_segment_ms) as f64 / 1000.0;
        let is_late = waited > 1.5 * list.target as f64 + stream.interval_secs + 0.5;
        self.require(stream.had_hole || list.is_ended || !is_late, "6.2.1 a new segment within 1.5 targets", || {
            format!("after {waited} s")
        });
        if has_new || stream.had_hole {
            self.last_segment_ms = at_ms;
        }
    }

    /// §6.2.2: names that mean one thing, and how long each must be served.
    fn keep(&mut self, list: &List, at_ms: i64) {
        let (secs, target_ms) = (list.secs(), list.target as i64 * 1000);
        for segment in &list.segments {
            // Which parts are listed changes.
            let plain = Segment { parts: Vec::new(), ..segment.clone() };
            if let Some(known) = self.known.get(&segment.sequence).cloned() {
                self.require(known == plain, "6.2.1 a segment changed", || format!("{known:?} -> {plain:?}"));
            } else {
                let is_new = self.uris.insert(segment.uri.clone());
                self.require(is_new, "a name has two contents", || segment.uri.clone());
                self.known.insert(segment.sequence, plain);
            }
            let (first_ms, longest) = self.listed.entry(segment.sequence).or_insert((at_ms, 0.0));
            *longest = longest.max(secs);
            let until = *first_ms + ((segment.secs + *longest) * 1000.0) as i64;
            for uri in [Some(&segment.uri), segment.init.as_ref()].into_iter().flatten() {
                self.kept.entry(uri.clone()).and_modify(|known| *known = until.max(*known)).or_insert(until);
            }
        }
        for part in list.all().flat_map(|segment| &segment.parts) {
            self.kept.insert(part.uri.clone(), at_ms + 3 * target_ms);
        }
    }

    /// What need not be served any more is not looked at again.
    pub(crate) fn forget(&mut self, at_ms: i64) {
        self.kept.retain(|_, until| *until >= at_ms);
        self.listed.retain(|number, _| self.last.as_ref().is_some_and(|last| *number >= last.sequence));
    }

    /// What must be served now.
    pub(crate) fn served(&self, at_ms: i64) -> impl Iterator<Item = &String> {
        self.kept.iter().filter(move |(_, until)| **until >= at_ms).map(|(uri, _)| uri)
    }

    /// §6.2.5.1: what a player makes of a delta and the version before is the whole.
    pub(crate) fn delta(&mut self, whole: &str, delta: &str) {
        let (whole, mut list) = (List::read(whole), List::read(delta));
        let boundary = number(attribute(&whole.control, "CAN-SKIP-UNTIL").unwrap_or_default());
        let skipped: Vec<Segment> = whole.segments.iter().take(list.skipped as usize).cloned().collect();
        let kept: f64 = whole.segments.iter().skip(skipped.len()).map(|segment| segment.secs).sum();
        let last = skipped.last().map_or(f64::INFINITY, |_| kept);
        self.require(last + ROUNDING_SECS >= boundary, "6.2.5.1 what is skipped is older than the boundary", || {
            format!("{kept} s are left")
        });
        let could = whole.segments.get(skipped.len()).map_or(0.0, |segment| kept - segment.secs);
        self.require(
            whole.is_ended || whole.control.is_empty() || could <= boundary + ROUNDING_SECS,
            "6.2.5.1 all that is older is skipped",
            || format!("{could} s"),
        );
        self.require(
            !(whole.is_ended || whole.control.is_empty()) || list.skipped == 0,
            "6.2.5.1 a list that has ended is given whole",
            String::new,
        );
        list.skipped = 0;
        let discontinuities = skipped.iter().filter(|segment| segment.is_discontinuous).count() as u64;
        for segment in list.segments.iter_mut().chain(&mut list.open) {
            segment.discontinuity += discontinuities;
        }
        list.segments.splice(0..0, skipped);
        self.require(list == whole, "6.2.5.1 a delta and what was before are the whole", || format!("{list:#?}\nand\n{whole:#?}"));
    }
}
