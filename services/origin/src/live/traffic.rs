//! What goes in and out, for `/metrics`.

use crate::live::captured::{AGE_BOUNDS_MS, AgeCounts, AgePath};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How a viewer watches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    Rtmp,
    Rtmps,
    Flv,
    Hls,
    Snapshot,
    Whep,
    Frames,
    Vod,
}

impl Protocol {
    /// All of them, in their order.
    pub(crate) const ALL: [Self; 8] = [Self::Rtmp, Self::Rtmps, Self::Flv, Self::Hls, Self::Snapshot, Self::Whep, Self::Frames, Self::Vod];

    /// As metrics name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::Rtmps => "rtmps",
            Self::Flv => "flv",
            Self::Hls => "hls",
            Self::Snapshot => "snapshot",
            Self::Whep => "whep",
            Self::Frames => "frames",
            Self::Vod => "vod",
        }
    }
}

/// Counts since the start, and viewers now.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    received_bytes: AtomicU64,
    /// Pictures and frames of sound.
    frames: [AtomicU64; 2],
    sent_bytes: [AtomicU64; Protocol::ALL.len()],
    /// Of those that have a connection each.
    viewers: [AtomicU64; Protocol::ALL.len()],
    ages: [AgeHistogram; AgePath::ALL.len()],
}

/// How old pictures were.
#[derive(Debug, Default)]
struct AgeHistogram {
    counts: [AtomicU64; AGE_BOUNDS_MS.len() + 1],
    sum_ms: AtomicU64,
}

impl Traffic {
    pub(crate) fn receive(&self, bytes: usize) {
        self.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn count_frame(&self, is_picture: bool) {
        self.frames[usize::from(!is_picture)].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn send(&self, protocol: Protocol, bytes: usize) {
        self.sent_bytes[protocol as usize].fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn come(&self, protocol: Protocol) {
        self.viewers[protocol as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn go(&self, protocol: Protocol) {
        self.viewers[protocol as usize].fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn count_age(&self, path: AgePath, age: Duration) {
        let histogram = &self.ages[path as usize];
        histogram.counts[AgeCounts::place(age)].fetch_add(1, Ordering::Relaxed);
        histogram.sum_ms.fetch_add(u64::try_from(age.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How many pictures of a path were not older than each of [`AGE_BOUNDS_MS`] and above the one before, how many were above all, and the sum in milliseconds.
    pub(crate) fn ages(&self, path: AgePath) -> ([u64; AGE_BOUNDS_MS.len() + 1], u64) {
        let histogram = &self.ages[path as usize];
        (histogram.counts.each_ref().map(|count| count.load(Ordering::Relaxed)), histogram.sum_ms.load(Ordering::Relaxed))
    }

    /// Bytes of publishers.
    pub(crate) fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }

    /// Pictures, and frames of sound.
    pub(crate) fn frames(&self) -> [u64; 2] {
        self.frames.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    pub(crate) fn sent_bytes(&self, protocol: Protocol) -> u64 {
        self.sent_bytes[protocol as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn viewers(&self, protocol: Protocol) -> u64 {
        self.viewers[protocol as usize].load(Ordering::Relaxed)
    }
}
