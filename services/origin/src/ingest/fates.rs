//! What became of RTMP connections that came through the door and ended badly. Each is counted once; the log has one line of each kind in ten seconds.

use super::budget::OverBudget;
use crate::auth::grant::Refusal;
use sightline_listen::Rarely;
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
    refused: [(AtomicU64, Rarely); Refusal::ALL.len()],
    limited: [(AtomicU64, Rarely); OverBudget::ALL.len()],
    told: [Rarely; FATES],
    apps: Rarely,
}

/// Kinds of ends.
const FATES: usize = 4;

impl Fates {
    /// Tells one in the log, unless one of its kind was told just now: `line` is given how many were withheld since.
    pub(crate) fn tell(&self, fate: Fate, line: impl FnOnce(u64)) {
        self.told[fate as usize].write(line);
    }

    /// The same of a client that asked for an application that is not here.
    pub(crate) fn tell_app(&self, line: impl FnOnce(u64)) {
        self.apps.write(line);
    }

    /// Counts a publisher that was refused, and tells it like that.
    pub(crate) fn refuse(&self, refusal: Refusal, line: impl FnOnce(u64)) {
        let (count, told) = &self.refused[refusal as usize];
        count.fetch_add(1, Ordering::Relaxed);
        told.write(line);
    }

    /// Counts a publisher that was ended because it sent too much, and tells it like that.
    pub(crate) fn limit(&self, over: OverBudget, line: impl FnOnce(u64)) {
        let (count, told) = &self.limited[over as usize];
        count.fetch_add(1, Ordering::Relaxed);
        told.write(line);
    }

    /// Publishers that were ended for this.
    pub(crate) fn limited(&self, over: OverBudget) -> u64 {
        self.limited[over as usize].0.load(Ordering::Relaxed)
    }

    /// Publishers that were refused for this.
    pub(crate) fn refused(&self, refusal: Refusal) -> u64 {
        self.refused[refusal as usize].0.load(Ordering::Relaxed)
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
