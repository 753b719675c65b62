//! Which recordings go, so that the rest has room. Pure: the files and the clock are the caller's.

use alloc::vec::Vec;
use jiff::{SignedDuration, Timestamp};

/// How much is kept. What no rule names is kept as long as there is room.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KeepRules {
    /// Files that began longer ago go.
    pub age_max: Option<SignedDuration>,
    /// All files together.
    pub bytes_max: Option<u64>,
    /// So much of the disk stays free.
    pub free_min_bytes: u64,
}

/// A recorded file, with what belongs to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeptFile {
    /// When its first picture was captured.
    pub began: Timestamp,
    /// What removing it gives back.
    pub bytes: u64,
    /// It may still grow.
    pub is_newest: bool,
    /// The store that it is to be copied to does not have it yet: it goes for room alone.
    pub is_uncopied: bool,
}

/// Why a file goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Removed {
    /// It is older than is kept.
    Age,
    /// All are larger than is kept.
    Size,
    /// The disk has less room than it shall have.
    Room,
}

impl Removed {
    /// All of them, in their order.
    pub const ALL: [Self; 3] = [Self::Age, Self::Size, Self::Room];

    /// For the log.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Age => "it is older than record.keep_hours",
            Self::Size => "all recordings are larger than record.keep_gb",
            Self::Room => "the disk has less room than record.free_percent",
        }
    }

    /// As metrics name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Size => "size",
            Self::Room => "room",
        }
    }
}

/// For room alone nothing is removed that is younger: a disk that something else has filled shall not cost what has just happened.
const ROOM_AGE_MIN: SignedDuration = SignedDuration::from_hours(1);

/// The files that go, by their place in `files`, the oldest first, whosever they are. The newest file of a device stays whatever its size.
///
/// `trusted_now`: the clock, if it may be believed; `None`: nothing goes for its age, nor for room. `free_bytes`: what the disk has left.
#[must_use]
pub fn to_remove(files: &[KeptFile], rules: &KeepRules, trusted_now: Option<Timestamp>, free_bytes: u64) -> Vec<(usize, Removed)> {
    let mut by_age: Vec<(usize, &KeptFile)> = files.iter().enumerate().filter(|(_, file)| !file.is_newest).collect();
    by_age.sort_by_key(|(place, file)| (file.began, *place));
    let mut bytes: u64 = files.iter().map(|file| file.bytes).sum();
    let mut free = free_bytes;
    let mut found = Vec::new();
    for (place, file) in by_age {
        let age = trusted_now.map(|now| now.duration_since(file.began));
        let is_older = |limit: SignedDuration| age.is_some_and(|age| age > limit);
        let lacks_room = free < rules.free_min_bytes && is_older(ROOM_AGE_MIN);
        if file.is_uncopied && !lacks_room {
            continue;
        }
        let why = if file.is_uncopied {
            Removed::Room
        } else if rules.age_max.is_some_and(is_older) {
            Removed::Age
        } else if rules.bytes_max.is_some_and(|most| bytes > most) {
            Removed::Size
        } else if lacks_room {
            Removed::Room
        } else {
            // Those behind it are younger, and no rule asks for more.
            break;
        };
        bytes = bytes.saturating_sub(file.bytes);
        free = free.saturating_add(file.bytes);
        found.push((place, why));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GB: u64 = 1 << 30;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_760_000_000 + hours * 3600).unwrap()
    }

    fn file(hours: i64) -> KeptFile {
        KeptFile { began: at(hours), bytes: GB, is_newest: false, is_uncopied: false }
    }

    #[test]
    fn the_oldest_go_first_by_whichever_rule_asks() {
        let files = [file(5), file(1), file(9), KeptFile { is_newest: true, ..file(0) }];
        let rules = KeepRules { age_max: Some(SignedDuration::from_hours(6)), ..KeepRules::default() };
        assert_eq!(to_remove(&files, &rules, Some(at(10)), 0), [(1, Removed::Age)], "the newest of a device stays");
        assert_eq!(to_remove(&files, &rules, None, 0), [], "a clock that is not believed");
        let rules = KeepRules { bytes_max: Some(2 * GB), ..KeepRules::default() };
        assert_eq!(to_remove(&files, &rules, None, 0), [(1, Removed::Size), (0, Removed::Size)]);
        let rules = KeepRules { free_min_bytes: 3 * GB, ..KeepRules::default() };
        assert_eq!(to_remove(&files, &rules, Some(at(10)), 2 * GB), [(1, Removed::Room)]);
        assert_eq!(to_remove(&files, &rules, Some(at(1)), 0), [], "what has just happened stays");
        assert_eq!(to_remove(&files, &rules, Some(at(10)), 3 * GB), []);
    }

    #[test]
    fn what_is_not_copied_yet_outlives_age_and_size_and_goes_when_the_disk_has_no_room() {
        let uncopied = |hours| KeptFile { is_uncopied: true, ..file(hours) };
        let files = [uncopied(0), file(1), uncopied(2), file(3)];
        let rules = KeepRules { age_max: Some(SignedDuration::from_hours(6)), bytes_max: Some(GB), free_min_bytes: 2 * GB };
        assert_eq!(to_remove(&files, &rules, Some(at(20)), 2 * GB), [(1, Removed::Age), (3, Removed::Age)]);
        assert_eq!(to_remove(&files, &rules, Some(at(20)), 0), [(0, Removed::Room), (1, Removed::Age), (3, Removed::Age)]);
    }

    proptest! {
        /// A month in a second: each hour a file comes, and what goes is looked at.
        #[test]
        fn a_month_stays_within_its_rules(
            sizes in proptest::collection::vec(1_u64..GB, 720), days in 1_i64..20, gigabytes in 1_u64..40
        ) {
            let rules = KeepRules { age_max: Some(SignedDuration::from_hours(days * 24)), bytes_max: Some(gigabytes * GB), free_min_bytes: 0 };
            let mut files: Vec<KeptFile> = Vec::new();
            for (hour, bytes) in sizes.into_iter().enumerate() {
                let now = at(i64::try_from(hour).unwrap());
                files.iter_mut().for_each(|file| file.is_newest = false);
                files.push(KeptFile { began: now, bytes, is_newest: true, is_uncopied: false });
                let gone = to_remove(&files, &rules, Some(now), u64::MAX);
                let youngest_gone = gone.iter().map(|(place, _)| files[*place].began).max();
                let mut place = 0;
                files.retain(|_| { place += 1; gone.iter().all(|(removed, _)| *removed != place - 1) });
                let all: u64 = files.iter().map(|file| file.bytes).sum();
                prop_assert!(all <= gigabytes * GB || files.len() == 1);
                prop_assert!(files.iter().all(|file| now.duration_since(file.began) <= SignedDuration::from_hours(days * 24)));
                prop_assert!(youngest_gone.is_none_or(|gone| files.iter().all(|file| file.began > gone)));
            }
        }
    }
}
