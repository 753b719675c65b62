//! What became of RTMP connections that came through the door and ended badly. Each is counted once, and told in the log as long as they are few.

use sightline_media::Instant;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Lines in each [`TOLD_WINDOW`]: what a person reads. A scanner of the whole network makes hundreds.
const TOLD_MAX: u32 = 20;
const TOLD_WINDOW: Duration = Duration::from_secs(10);

/// Why a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// Closed before its first byte: a port scan, a health check.
    Silent,
    /// Too slow: in the TLS or RTMP handshake, with its commands, or as a publisher that trickled.
    Timeout,
    /// What it sent breaks the protocol, or a limit of it.
    Malformed,
    /// It did not read what it was sent.
    Unread,
}

/// How many ended how, since the start.
#[derive(Debug, Default)]
pub(crate) struct Fates {
    silent: AtomicU64,
    timeouts: AtomicU64,
    malformed: AtomicU64,
    unread: AtomicU64,
    told: Mutex<Told>,
}

/// The lines of the present window.
#[derive(Debug, Default)]
struct Told {
    since: Instant,
    lines: u32,
    withheld: u64,
}

impl Fates {
    /// Tells one in the log, unless there were too many just now: those are counted, and the count is told with the next.
    pub(crate) fn tell(&self, now: Instant, line: impl FnOnce()) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(told.since) >= TOLD_WINDOW {
            if told.withheld > 0 {
                tracing::warn!(connections = told.withheld, "more connections ended by their own fault than are told one by one");
            }
            *told = Told { since: now, ..Told::default() };
        }
        if told.lines < TOLD_MAX {
            told.lines += 1;
            line();
        } else {
            told.withheld += 1;
        }
    }

    fn counter(&self, fate: Fate) -> &AtomicU64 {
        match fate {
            Fate::Silent => &self.silent,
            Fate::Timeout => &self.timeouts,
            Fate::Malformed => &self.malformed,
            Fate::Unread => &self.unread,
        }
    }

    pub(crate) fn count(&self, fate: Fate) {
        self.counter(fate).fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn of(&self, fate: Fate) -> u64 {
        self.counter(fate).load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_few_and_the_next_window_has_its_own() {
        let (fates, mut lines) = (Fates::default(), 0);
        for second in 0..12 {
            for _ in 0..100 {
                fates.tell(Instant::from_micros(second * 1_000_000), || lines += 1);
            }
        }
        assert_eq!(lines, 2 * TOLD_MAX);
        assert_eq!(fates.told.lock().unwrap().withheld, 200 - u64::from(TOLD_MAX));
    }
}
