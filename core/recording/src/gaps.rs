//! Where time is missing between files.

use alloc::vec::Vec;
use jiff::{SignedDuration, Timestamp};

/// A span of time in which nothing was recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gap {
    /// The end of the file before it.
    pub from: Timestamp,
    /// The beginning of the file after it.
    pub to: Timestamp,
}

/// The holes between files, given as beginning and end in the order of their beginnings, that are longer than `longest`.
#[must_use]
pub fn gaps(files: impl IntoIterator<Item = (Timestamp, Timestamp)>, longest: SignedDuration) -> Vec<Gap> {
    let mut found = Vec::new();
    let mut end: Option<Timestamp> = None;
    for (from, to) in files {
        if let Some(before) = end.filter(|before| from.duration_since(*before) > longest) {
            found.push(Gap { from: before, to: from });
        }
        end = Some(end.map_or(to, |before| before.max(to)));
    }
    found
}

/// Spans of time, in the order of their beginnings, as few as possible: those that follow within `longest` are one.
#[must_use]
pub fn joined(spans: impl IntoIterator<Item = (Timestamp, Timestamp)>, longest: SignedDuration) -> Vec<(Timestamp, Timestamp)> {
    let mut found: Vec<(Timestamp, Timestamp)> = Vec::new();
    for (from, to) in spans {
        match found.last_mut() {
            Some((_, end)) if from.duration_since(*end) <= longest => *end = to.max(*end),
            _ => found.push((from, to)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_are_no_gaps_and_short_holes_do_not_count() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let files = [(0, 10), (5, 12), (13, 20), (25, 30)].map(|(from, to)| (at(from), at(to)));
        assert_eq!(gaps(files, SignedDuration::from_secs(1)), [Gap { from: at(20), to: at(25) }]);
        assert_eq!(joined(files, SignedDuration::from_secs(1)), [(at(0), at(20)), (at(25), at(30))]);
        assert_eq!(joined([(at(0), at(9)), (at(1), at(2))], SignedDuration::ZERO), [(at(0), at(9))]);
    }
}
