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

/// What holds for one device. Size and free space of all hold for it, too.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OwnRules {
    /// In place of that of all; `None`: nothing of it goes for its age.
    pub age_max: Option<SignedDuration>,
    /// Its files together.
    pub bytes_max: Option<u64>,
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
    /// Somebody wants it to stay: nothing removes it.
    pub is_held: bool,
    /// The rules of its device, by their place, where it has some.
    pub own: Option<usize>,
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
            Self::Age => "it is older than keep_hours",
            Self::Size => "recordings are larger than keep_gb",
            Self::Room => "the disk has less room than free_percent",
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

/// The files that go, by their place in `files`, the oldest first, whosever they are. The newest file of a device stays whatever its size, and so does what is held.
///
/// `own`: the rules that `files` name. `trusted_now`: the clock, if it may be believed; `None`: nothing goes for its age, nor for room. `free_bytes`: what the disk has left.
#[must_use]
pub fn to_remove(
    files: &[KeptFile],
    rules: &KeepRules,
    own: &[OwnRules],
    trusted_now: Option<Timestamp>,
    free_bytes: u64,
) -> Vec<(usize, Removed)> {
    let mut by_age: Vec<(usize, &KeptFile)> = files.iter().enumerate().filter(|(_, file)| !file.is_newest && !file.is_held).collect();
    by_age.sort_by_key(|(place, file)| (file.began, *place));
    let mut bytes: u64 = files.iter().map(|file| file.bytes).sum();
    let mut own_bytes: Vec<u64> = own.iter().map(|_| 0).collect();
    for file in files {
        file.own.and_then(|own| own_bytes.get_mut(own)).into_iter().for_each(|sum| *sum += file.bytes);
    }
    let mut free = free_bytes;
    let mut found = Vec::new();
    for (place, file) in by_age {
        let of = file.own.and_then(|place| Some((own.get(place)?, own_bytes.get_mut(place)?)));
        let age = trusted_now.map(|now| now.duration_since(file.began));
        let is_older = |limit: SignedDuration| age.is_some_and(|age| age > limit);
        let age_max = of.as_ref().map_or(rules.age_max, |(own, _)| own.age_max);
        let is_over = of.as_ref().is_some_and(|(own, bytes)| own.bytes_max.is_some_and(|most| **bytes > most));
        let lacks_room = free < rules.free_min_bytes && is_older(ROOM_AGE_MIN);
        let why = if file.is_uncopied && !lacks_room {
            continue;
        } else if file.is_uncopied {
            Removed::Room
        } else if age_max.is_some_and(is_older) {
            Removed::Age
        } else if is_over || rules.bytes_max.is_some_and(|most| bytes > most) {
            Removed::Size
        } else if lacks_room {
            Removed::Room
        } else {
            continue;
        };
        bytes = bytes.saturating_sub(file.bytes);
        free = free.saturating_add(file.bytes);
        of.into_iter().for_each(|(_, sum)| *sum = sum.saturating_sub(file.bytes));
        found.push((place, why));
    }
    found
}

/// What is to be expected, if it goes on as in the last day.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Forecast {
    /// So far back recordings will reach for their room, whatever the rules of age say; `None`: nothing was recorded in the last day.
    pub room: Option<SignedDuration>,
    /// What is held.
    pub held_bytes: u64,
}

/// By so much of the past the future is judged.
const FORECAST_OF: SignedDuration = SignedDuration::from_hours(24);
/// Before so much is recorded there is no forecast: a camera that has just begun tells little.
const FORECAST_OF_MIN: SignedDuration = SignedDuration::from_hours(1);

/// Judged by what was recorded in the last day, and by the room that all have together.
#[must_use]
pub fn forecast(files: &[KeptFile], rules: &KeepRules, now: Timestamp, free_bytes: u64) -> Forecast {
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();
    let sum = |takes: fn(&KeptFile) -> bool| files.iter().filter(|file| takes(file)).map(|file| file.bytes).sum::<u64>();
    let held_bytes = sum(|file| file.is_held);
    // A device of its own rules takes about what it has now, however long the others reach back.
    let apart = sum(|file| file.is_held || file.own.is_some());
    let on_disk = bytes.saturating_add(free_bytes).saturating_sub(rules.free_min_bytes);
    let room = rules.bytes_max.map_or(on_disk, |most| most.min(on_disk)).saturating_sub(apart);
    let recent =
        || files.iter().filter(|file| file.own.is_none() && (SignedDuration::ZERO..=FORECAST_OF).contains(&now.duration_since(file.began)));
    let recorded: u64 = recent().map(|file| file.bytes).sum();
    let over = recent().map(|file| now.duration_since(file.began)).max().unwrap_or_default();
    let is_enough = over >= FORECAST_OF_MIN && recorded > 0;
    let seconds = || u128::from(room).saturating_mul(over.as_secs().unsigned_abs().into()) / u128::from(recorded.max(1));
    // A thousand years are for ever.
    let most = i64::from(u32::MAX) * 8;
    let room = is_enough.then(|| SignedDuration::from_secs(i64::try_from(seconds()).map_or(most, |seconds| seconds.min(most))));
    Forecast { room, held_bytes }
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
        KeptFile { began: at(hours), bytes: GB, is_newest: false, is_uncopied: false, is_held: false, own: None }
    }

    #[test]
    fn the_oldest_go_first_by_whichever_rule_asks() {
        let files = [file(5), file(1), file(9), KeptFile { is_newest: true, ..file(0) }];
        let rules = KeepRules { age_max: Some(SignedDuration::from_hours(6)), ..KeepRules::default() };
        assert_eq!(to_remove(&files, &rules, &[], Some(at(10)), 0), [(1, Removed::Age)], "the newest of a device stays");
        assert_eq!(to_remove(&files, &rules, &[], None, 0), [], "a clock that is not believed");
        let rules = KeepRules { bytes_max: Some(2 * GB), ..KeepRules::default() };
        assert_eq!(to_remove(&files, &rules, &[], None, 0), [(1, Removed::Size), (0, Removed::Size)]);
        let rules = KeepRules { free_min_bytes: 3 * GB, ..KeepRules::default() };
        assert_eq!(to_remove(&files, &rules, &[], Some(at(10)), 2 * GB), [(1, Removed::Room)]);
        assert_eq!(to_remove(&files, &rules, &[], Some(at(1)), 0), [], "what has just happened stays");
        assert_eq!(to_remove(&files, &rules, &[], Some(at(10)), 3 * GB), []);
    }

    #[test]
    fn a_device_of_its_own_rules_is_kept_by_these_and_what_is_held_stays() {
        let own = [
            OwnRules { age_max: Some(SignedDuration::from_hours(20)), bytes_max: None },
            OwnRules { age_max: None, bytes_max: Some(2 * GB) },
        ];
        let rules = KeepRules { age_max: Some(SignedDuration::from_hours(6)), ..KeepRules::default() };
        let of = |hours, own| KeptFile { own: Some(own), ..file(hours) };
        let held = KeptFile { is_held: true, ..file(0) };
        let files = [file(1), of(1, 0), of(-11, 0), held, of(1, 1), of(2, 1), of(3, 1)];
        assert_eq!(to_remove(&files, &rules, &own, Some(at(10)), 0), [(2, Removed::Age), (0, Removed::Age), (4, Removed::Size)]);
        // Size of all is stronger than age of one's own, and holds are stronger than all.
        let rules = KeepRules { bytes_max: Some(0), ..rules };
        let gone = to_remove(&files, &rules, &own, Some(at(10)), 0);
        assert_eq!((gone.len(), gone.iter().any(|(place, _)| *place == 3)), (6, false));
    }

    #[test]
    fn what_is_not_copied_yet_outlives_age_and_size_and_goes_when_the_disk_has_no_room() {
        let uncopied = |hours| KeptFile { is_uncopied: true, ..file(hours) };
        let files = [uncopied(0), file(1), uncopied(2), file(3)];
        let rules = KeepRules { age_max: Some(SignedDuration::from_hours(6)), bytes_max: Some(GB), free_min_bytes: 2 * GB };
        assert_eq!(to_remove(&files, &rules, &[], Some(at(20)), 2 * GB), [(1, Removed::Age), (3, Removed::Age)]);
        assert_eq!(to_remove(&files, &rules, &[], Some(at(20)), 0), [(0, Removed::Room), (1, Removed::Age), (3, Removed::Age)]);
    }

    #[test]
    fn without_a_day_s_recordings_there_is_no_forecast() {
        assert_eq!(forecast(&[], &KeepRules::default(), at(10), GB), Forecast::default());
        assert_eq!(forecast(&[file(10)], &KeepRules::default(), at(10), GB).room, None, "it has just begun");
        let files: Vec<_> = (0..10).map(file).chain([KeptFile { is_held: true, ..file(-500) }]).collect();
        let forecast = forecast(&files, &KeepRules { free_min_bytes: GB, ..KeepRules::default() }, at(10), 6 * GB);
        assert_eq!((forecast.room, forecast.held_bytes), (Some(SignedDuration::from_hours(15)), GB), "ten and five more, at one an hour");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// A small disk, holds, rules of one's own: after a day it is known what a month leaves.
        #[test]
        fn what_is_foretold_after_a_day_is_what_a_month_leaves(
            sizes in proptest::collection::vec(GB / 2..GB, 4 * 720), gigabytes in 60_u64..150, hold_every in 40_usize..400
        ) {
            let rules = KeepRules { bytes_max: Some(gigabytes * GB), ..KeepRules::default() };
            let own = [OwnRules { age_max: Some(SignedDuration::from_hours(9)), bytes_max: None }];
            let (mut files, mut foretold) = (Vec::<KeptFile>::new(), None);
            let mut held = 0;
            for (number, bytes) in sizes.into_iter().enumerate() {
                let hour = i64::try_from(number / 4).unwrap();
                if number % 4 == 0 {
                    files.iter_mut().for_each(|file| file.is_newest = false);
                }
                // Holds for the first days alone: later ones would take from what was foretold.
                let is_held = number < 4 * 48 && number % hold_every == 0;
                held += usize::from(is_held);
                files.push(KeptFile { bytes, is_newest: true, is_held, own: (number % 4 == 3).then_some(0), ..file(hour) });
                if number % 4 != 3 {
                    continue;
                }
                let gone = to_remove(&files, &rules, &own, Some(at(hour)), u64::MAX);
                prop_assert!(gone.is_sorted_by_key(|(place, _)| files[*place].began), "the oldest first");
                let mut place = 0;
                files.retain(|_| { place += 1; gone.iter().all(|(removed, _)| *removed != place - 1) });
                prop_assert!(files.iter().map(|file| file.bytes).sum::<u64>() <= gigabytes * GB);
                prop_assert_eq!(files.iter().filter(|file| file.is_held).count(), held);
                prop_assert!(files.iter().all(|file| file.own.is_none() || file.is_held || at(hour).duration_since(file.began) <= SignedDuration::from_hours(9)));
                if hour == 72 {
                    // When the newest has its length.
                    foretold = forecast(&files, &rules, at(hour + 1), u64::MAX - (1 << 50)).room;
                }
            }
            let oldest = files.iter().filter(|file| !file.is_held && file.own.is_none()).map(|file| file.began).min().unwrap();
            let (kept, foretold) = (at(720).duration_since(oldest).as_secs_f64(), foretold.unwrap().as_secs_f64());
            // Whole files go: what is kept is known to a file's length, an hour here.
            prop_assert!((kept - foretold).abs() <= foretold * 0.1 + 3_600.0, "{kept} s are kept, {foretold} s were foretold");
        }

        /// A month: each hour a file comes, and what goes is looked at.
        #[test]
        fn a_month_stays_within_its_rules(
            sizes in proptest::collection::vec(1_u64..GB, 720), days in 1_i64..20, gigabytes in 1_u64..40
        ) {
            let rules = KeepRules { age_max: Some(SignedDuration::from_hours(days * 24)), bytes_max: Some(gigabytes * GB), free_min_bytes: 0 };
            let mut files: Vec<KeptFile> = Vec::new();
            for (hour, bytes) in sizes.into_iter().enumerate() {
                let now = at(i64::try_from(hour).unwrap());
                files.iter_mut().for_each(|file| file.is_newest = false);
                files.push(KeptFile { bytes, is_newest: true, ..file(i64::try_from(hour).unwrap()) });
                let gone = to_remove(&files, &rules, &[], Some(now), u64::MAX);
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
