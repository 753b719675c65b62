//! What became of RTMP connections that came through the door and ended badly. Each is counted once.

use std::sync::atomic::{AtomicU64, Ordering};

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
}

impl Fates {
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
