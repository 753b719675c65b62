//! Which recordings are removed, and why.

use crate::segment::{self, RecordingFile};
use jiff::{SignedDuration, Timestamp};
use sightline_media::WallTime;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// How much a directory of recordings may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// Files older than this are removed; `None`: none is.
    pub age_max: Option<Duration>,
    /// All files together; the oldest are removed first.
    pub bytes_max: u64,
}

/// A clock that was set is not believed for this long: whoever spoofs the time once must not have the recordings removed, and a clock that
/// is right for so long is right.
const TRUST_AFTER: Duration = Duration::from_secs(6 * 3600);
/// Wall clock and monotonic clock may drift apart by this much between two files: NTP slews, and a leap second is one.
const DRIFT_MAX: SignedDuration = SignedDuration::from_secs(60);
/// At the start, a clock that is this far from the newest recording may have been set: it has to prove itself first.
const PAUSE_MAX: SignedDuration = SignedDuration::from_hours(24);

/// Whether the wall clock may remove recordings.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClockTrust {
    last: Option<(Timestamp, Duration)>,
    /// By the monotonic clock; `None`: it was right from the start.
    doubted_since: Option<Duration>,
}

impl ClockTrust {
    /// Looks at both clocks; `uptime` never jumps. Of a clock that jumps, forward or back, nothing is believed for a while.
    pub fn look(&mut self, now: Timestamp, uptime: Duration, newest: Option<Timestamp>) -> bool {
        let is_doubtful = match self.last {
            Some((before, then)) => {
                let passed = SignedDuration::try_from(uptime.saturating_sub(then)).unwrap_or(SignedDuration::MAX);
                (now.duration_since(before) - passed).abs() > DRIFT_MAX
            }
            None => newest.is_some_and(|newest| now.duration_since(newest).abs() > PAUSE_MAX),
        };
        self.last = Some((now, uptime));
        if is_doubtful {
            self.doubted_since = Some(uptime);
        }
        if self.doubted_since.is_some_and(|since| uptime.saturating_sub(since) >= TRUST_AFTER) {
            self.doubted_since = None;
        }
        self.doubted_since.is_none() && WallTime::from_unix_micros(now.as_microsecond()).is_set()
    }
}

impl Retention {
    /// Removes files by size, and at most one by age. It is called once a file begins, so the clock never removes more than was written: by
    /// one that jumps, or that was never set, nothing is removed for its age.
    pub(crate) fn apply(&self, dir: &Path, now: Timestamp, uptime: Duration, trust: &mut ClockTrust) {
        let mut files = sizes(dir);
        let newest = files.last().map(|(file, _)| file.began);
        let is_trusted = trust.look(now, uptime, newest);
        if let (Some(age_max), true, Some((oldest, _))) = (self.age_max, is_trusted, files.first())
            && oldest.began < now
            && now.duration_since(oldest.began).unsigned_abs() > age_max
        {
            remove(&oldest.path, "it is older than recording.keep_hours");
            files.remove(0);
        }
        let mut bytes: u64 = files.iter().map(|(_, bytes)| bytes).sum();
        for (file, size) in files {
            if bytes <= self.bytes_max {
                return;
            }
            remove(&file.path, "all recordings are larger than recording.keep_mb");
            bytes = bytes.saturating_sub(size);
        }
    }
}

/// Removes the oldest file for a full disk, unless it is `growing`; true when it did.
pub(crate) fn remove_oldest(dir: &Path, growing: Option<&PathBuf>) -> bool {
    match segment::files(dir).unwrap_or_default().first() {
        Some(file) if growing != Some(&file.path) => {
            remove(&file.path, "the disk is full");
            true
        }
        Some(_) | None => false,
    }
}

/// The recordings of a directory and their sizes, oldest first.
fn sizes(dir: &Path) -> Vec<(RecordingFile, u64)> {
    let files = segment::files(dir).unwrap_or_default();
    files.into_iter().filter_map(|file| file.path.metadata().ok().map(|metadata| (file, metadata.len()))).collect()
}

pub(crate) fn remove(path: &Path, why: &str) {
    match std::fs::remove_file(path) {
        Ok(()) => tracing::info!(file = %path.display(), why, "a recording is removed"),
        Err(error) => tracing::warn!(file = %path.display(), %error, "a recording can't be removed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: SignedDuration = SignedDuration::from_hours(1);

    /// A directory with a recording each hour, and what is left of it after files were begun at these times.
    fn left(began: &[Timestamp], looks: impl IntoIterator<Item = (Timestamp, Duration)>) -> usize {
        let dir = tempfile::tempdir().unwrap();
        for began in began {
            std::fs::write(
                dir.path().join(format!("{}.mp4", sightline_recording::name::stem(WallTime::from_unix_micros(began.as_microsecond())))),
                "x",
            )
            .unwrap();
        }
        let retention = Retention { age_max: Some(Duration::from_secs(168 * 3600)), bytes_max: u64::MAX };
        let mut trust = ClockTrust::default();
        for (now, uptime) in looks {
            retention.apply(dir.path(), now, uptime, &mut trust);
        }
        sizes(dir.path()).len()
    }

    fn start() -> Timestamp {
        "2026-11-30T08:00:00Z".parse().unwrap()
    }

    /// attacks.md 7: set eight days ahead, all recordings were gone at the next segment.
    #[test]
    fn a_clock_that_jumps_removes_nothing_and_one_that_has_proved_itself_goes_on() {
        let began: Vec<_> = (1..=10).map(|hours| start() - HOUR * hours).collect();
        let minute = |minutes: u32| Duration::from_secs(60 * u64::from(minutes));
        let jumped = |by: SignedDuration| {
            (0..120).map(move |at| {
                (start() + SignedDuration::from_mins(i64::from(at)) + if at >= 5 { by } else { SignedDuration::ZERO }, minute(at))
            })
        };
        for by in [HOUR * 192, -HOUR * 192, HOUR * 24 * 365 * 14, -HOUR * 24 * 365 * 56] {
            assert_eq!(left(&began, jumped(by)), 10, "{by}");
        }
        // There and back.
        let returned = (0..600).map(|at| {
            (
                start() + SignedDuration::from_mins(i64::from(at)) + if (5..200).contains(&at) { HOUR * 192 } else { SignedDuration::ZERO },
                minute(at),
            )
        });
        assert_eq!(left(&began, returned), 10);
        // Eight days pass in truth: all are gone, one a file.
        let day = (0..12 * 24 * 60 / 10).map(|at| (start() + SignedDuration::from_mins(10 * i64::from(at)), minute(10 * at as u32)));
        assert_eq!(left(&began, day), 0);
    }

    #[test]
    fn a_clock_that_is_days_from_the_newest_recording_at_the_start_has_to_prove_itself() {
        let began: Vec<_> = (0..3).map(|hours| start() - HOUR * (240 + hours)).collect();
        let minutes = |count: i64| (0..count).map(|at| (start() + SignedDuration::from_mins(at), Duration::from_secs(60 * at as u64)));
        assert_eq!(left(&began, minutes(300)), 3);
        assert_eq!(left(&began, minutes(363)), 0);
    }
}
