//! How a recording is: whether it fails, and when it tries again. A failure is never the end of it: disks get room, mounts come back.

use sightline_archive::Looked;
use sightline_media::Instant;
use sightline_recording::Removed;
use sightline_signal::report::OriginRecordings;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// The first wait after a failure; it doubles with each.
const RETRY_WAIT: Duration = Duration::from_secs(1);
/// The longest: what is lost at most once there is room again, and the wait for a key frame.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(8);

/// All recordings of an origin.
#[derive(Debug, Default)]
pub(crate) struct RecordingCounts {
    open: AtomicU64,
    failing: AtomicU64,
    failures: AtomicU64,
    lost: AtomicU64,
    /// Bytes of all files, when they were last looked at.
    kept_bytes: AtomicU64,
    /// Seconds since 1970; 0: there is none.
    oldest_unix_secs: AtomicI64,
    /// Of these, what is held.
    held_bytes: AtomicU64,
    /// How far back there is room for; [`UNKNOWN`]: too little was recorded to tell.
    room_secs: AtomicI64,
    removed: [AtomicU64; Removed::ALL.len()],
    syncs: AtomicU64,
    sync_micros: AtomicU64,
}

/// No forecast.
const UNKNOWN: i64 = -1;

impl RecordingCounts {
    /// Recordings now, and how many of these fail.
    pub(crate) fn now(&self) -> (u64, u64) {
        (self.open.load(Ordering::Relaxed), self.failing.load(Ordering::Relaxed))
    }

    /// Failed tries to write, since the start.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Fragments that a slow disk cost, since the start.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// What a look at the files has found, and removed.
    pub(crate) fn looked(&self, looked: &Looked) {
        self.kept_bytes.store(looked.bytes, Ordering::Relaxed);
        self.oldest_unix_secs.store(looked.oldest.map_or(0, |oldest| oldest.as_second()), Ordering::Relaxed);
        self.held_bytes.store(looked.forecast.held_bytes, Ordering::Relaxed);
        self.room_secs.store(looked.forecast.room.map_or(UNKNOWN, |room| room.as_secs()), Ordering::Relaxed);
        looked.removed.iter().for_each(|(_, why)| _ = self.removed[*why as usize].fetch_add(1, Ordering::Relaxed));
    }

    /// Bytes of all files, and when the oldest begins, in seconds since 1970; 0: there is none.
    pub(crate) fn kept(&self) -> (u64, i64) {
        (self.kept_bytes.load(Ordering::Relaxed), self.oldest_unix_secs.load(Ordering::Relaxed))
    }

    /// Bytes that are held.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// So many seconds back recordings will reach for their room, if it goes on as in the last day.
    pub(crate) fn room_secs(&self) -> Option<u64> {
        let room = self.room_secs.load(Ordering::Relaxed);
        // Zero is what nobody has looked at yet.
        u64::try_from(room).ok().filter(|room| *room > 0)
    }

    /// For reports; `None`: there is nothing.
    pub(crate) fn describe(&self, keep_hours: u32) -> Option<OriginRecordings> {
        let (bytes, oldest) = self.kept();
        let (held_bytes, room_hours) = (self.held_bytes(), self.room_secs().map(|room| room / 3600));
        (bytes > 0).then_some(OriginRecordings { bytes, held_bytes, oldest, room_hours, keep_hours })
    }

    /// Files that were removed for this, since the start.
    pub(crate) fn removed(&self, why: Removed) -> u64 {
        self.removed[why as usize].load(Ordering::Relaxed)
    }

    /// What was written is on the disk.
    pub(crate) fn synced(&self, took: Duration) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.sync_micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How often the disk was asked to keep what was written, and how many microseconds that took in all.
    pub(crate) fn syncs(&self) -> (u64, u64) {
        (self.syncs.load(Ordering::Relaxed), self.sync_micros.load(Ordering::Relaxed))
    }

    pub(crate) fn lose_fragment(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }
}

/// One recording, as its two ends know it: the stream's, and the one that writes.
#[derive(Debug)]
pub(crate) struct RecordingHealth {
    counts: Arc<RecordingCounts>,
    is_failing: AtomicBool,
    /// The file has ended by a failure, and the stream's end does not know yet.
    has_failed: AtomicBool,
    /// In a row.
    failures: AtomicU32,
    /// In microseconds.
    retry_at: AtomicU64,
}

impl RecordingHealth {
    pub(crate) fn new(counts: Arc<RecordingCounts>) -> Self {
        counts.open.fetch_add(1, Ordering::Relaxed);
        Self { counts, is_failing: false.into(), has_failed: false.into(), failures: 0.into(), retry_at: 0.into() }
    }

    /// As reports name it.
    pub(crate) fn name(&self) -> &'static str {
        if self.is_failing.load(Ordering::Relaxed) { "failing" } else { "on" }
    }

    /// Nothing could be written. True the first time in a row.
    pub(crate) fn fail(&self, now: Instant) -> bool {
        self.counts.failures.fetch_add(1, Ordering::Relaxed);
        let failures = self.failures.fetch_add(1, Ordering::Relaxed);
        let wait = RETRY_WAIT.saturating_mul(1 << failures.min(8)).min(RETRY_WAIT_MAX);
        self.retry_at.store((now + wait).as_micros(), Ordering::Relaxed);
        // After the time: whoever sees the failure sees when to try again.
        self.has_failed.store(true, Ordering::Release);
        let is_first = !self.is_failing.swap(true, Ordering::Relaxed);
        if is_first {
            self.counts.failing.fetch_add(1, Ordering::Relaxed);
        }
        is_first
    }

    /// A fragment is written. True when that is news.
    pub(crate) fn succeed(&self) -> bool {
        self.failures.store(0, Ordering::Relaxed);
        let was_failing = self.is_failing.swap(false, Ordering::Relaxed);
        if was_failing {
            self.counts.failing.fetch_sub(1, Ordering::Relaxed);
        }
        was_failing
    }

    /// Whether the file has ended by a failure since the last time.
    pub(crate) fn take_failure(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed) && self.has_failed.swap(false, Ordering::Acquire)
    }

    /// When the next file may begin.
    pub(crate) fn retry_at(&self) -> Instant {
        Instant::from_micros(self.retry_at.load(Ordering::Relaxed))
    }
}

impl Drop for RecordingHealth {
    fn drop(&mut self) {
        self.counts.open.fetch_sub(1, Ordering::Relaxed);
        if *self.is_failing.get_mut() {
            self.counts.failing.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_eight_seconds_and_a_success_forgets_it() {
        let counts = Arc::<RecordingCounts>::default();
        let health = RecordingHealth::new(counts.clone());
        let waits: Vec<u64> = (0..6)
            .map(|_| {
                health.fail(Instant::ZERO);
                health.retry_at().as_micros() / 1_000_000
            })
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 8, 8]);
        assert_eq!((counts.now(), counts.failures(), health.name()), ((1, 1), 6, "failing"));
        assert!(health.take_failure() && !health.take_failure());
        assert!(health.succeed() && !health.succeed());
        health.fail(Instant::ZERO);
        assert_eq!(health.retry_at().as_micros(), 1_000_000);
        drop(health);
        assert_eq!(counts.now(), (0, 0));
    }
}
