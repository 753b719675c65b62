//! The counts of connections, for `/metrics` and tests.

use crate::auth::grant::Refusal;
use crate::ingest::budget::OverBudget;
use crate::ingest::fates::{Fate, Fates};
use crate::record::health::RecordingCounts;
use sightline_listen::Counts;

/// How many connections there are and were since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ConnectionCounts {
    /// RTMP and RTMPS connections now.
    pub open: u64,
    /// Of these, how many neither publish nor play yet.
    pub pending: u64,
    /// Of these, how many wait for a place to say what they are.
    pub waiting: u64,
    /// Let in since the start.
    pub accepted: u64,
    /// Closed unread because of `limits.connections`.
    pub refused_total: u64,
    /// Closed unread because of `limits.connections_per_address`.
    pub refused_address: u64,
    /// Closed unread because one stream's publishers had too many.
    pub refused_identity: u64,
    /// Ended, before they published or played, for others that waited.
    pub shed: u64,
    /// Closed unread because of `limits.pending_per_address`.
    pub refused_pending: u64,
    /// Closed by the peer before its first byte.
    pub silent: u64,
    /// Ended by a deadline.
    pub timeouts: u64,
    /// Ended by what they sent.
    pub malformed: u64,
    /// Ended because they did not read.
    pub unread: u64,
    /// Times that the system gave no connection: it was out of descriptors or memory.
    pub accept_errors: u64,
}

impl ConnectionCounts {
    pub(crate) fn new(door: Counts, fates: &Fates) -> Self {
        Self {
            open: door.open,
            pending: door.pending,
            accepted: door.accepted,
            refused_total: door.refused_total,
            refused_address: door.refused_address,
            refused_identity: door.refused_identity,
            shed: door.shed,
            waiting: door.waiting,
            refused_pending: door.refused_pending,
            silent: fates.of(Fate::Silent),
            timeouts: fates.of(Fate::Timeout),
            malformed: fates.of(Fate::Malformed),
            unread: fates.of(Fate::Unread),
            accept_errors: door.accept_errors,
        }
    }

    /// In the text format of Prometheus.
    #[must_use]
    pub fn metrics(&self) -> String {
        use std::fmt::Write as _;
        let mut out = String::from("# TYPE sightline_origin_rtmp_connections gauge\n");
        for (state, count) in
            [("pending", self.pending), ("waiting", self.waiting), ("active", self.open.saturating_sub(self.pending + self.waiting))]
        {
            // Writing to a string can't fail.
            let _ = writeln!(out, "sightline_origin_rtmp_connections{{state=\"{state}\"}} {count}");
        }
        out.push_str("# TYPE sightline_origin_rtmp_connections_total counter\n");
        for (outcome, count) in [
            ("accepted", self.accepted),
            ("refused_total", self.refused_total),
            ("refused_address", self.refused_address),
            ("refused_identity", self.refused_identity),
            ("refused_pending", self.refused_pending),
            ("shed", self.shed),
            ("silent", self.silent),
            ("timeout", self.timeouts),
            ("malformed", self.malformed),
            ("unread", self.unread),
            ("accept_error", self.accept_errors),
        ] {
            let _ = writeln!(out, "sightline_origin_rtmp_connections_total{{outcome=\"{outcome}\"}} {count}");
        }
        out
    }
}

/// Recordings, in the text format of Prometheus.
pub(crate) fn recordings(counts: &RecordingCounts) -> String {
    use std::fmt::Write as _;
    let (open, failing) = counts.now();
    let mut out = String::from("# HELP sightline_origin_recordings Recordings now, by state: failing ones try again.\n");
    out.push_str("# TYPE sightline_origin_recordings gauge\n");
    for (state, count) in [("on", open.saturating_sub(failing)), ("failing", failing)] {
        // Writing to a string can't fail.
        let _ = writeln!(out, "sightline_origin_recordings{{state=\"{state}\"}} {count}");
    }
    for (name, help, count) in [
        ("recording_failures_total", "Tries to write a recording that failed.", counts.failures()),
        ("recording_fragments_lost_total", "Fragments that a slow disk cost.", counts.lost()),
    ] {
        let _ =
            writeln!(out, "# HELP sightline_origin_{name} {help}\n# TYPE sightline_origin_{name} counter\nsightline_origin_{name} {count}");
    }
    out
}

/// Publishers that were refused, in the text format of Prometheus.
pub(crate) fn publishers(fates: &Fates, duels: u64) -> String {
    use std::fmt::Write as _;
    let mut out = String::from("# HELP sightline_origin_publishers_refused_total Publishers that were refused, by reason.\n");
    out.push_str("# TYPE sightline_origin_publishers_refused_total counter\n");
    for refusal in Refusal::ALL {
        // Writing to a string can't fail.
        let _ = writeln!(out, "sightline_origin_publishers_refused_total{{reason=\"{}\"}} {}", refusal.name(), fates.refused(refusal));
    }
    out.push_str("# HELP sightline_origin_publishers_limited_total Publishers that were ended because they sent too much, by what.\n");
    out.push_str("# TYPE sightline_origin_publishers_limited_total counter\n");
    for over in OverBudget::ALL {
        let _ = writeln!(out, "sightline_origin_publishers_limited_total{{of=\"{}\"}} {}", over.name(), fates.limited(over));
    }
    out.push_str("# HELP sightline_origin_duels_total Tries to publish with a token that another connection uses.\n");
    let _ = writeln!(out, "# TYPE sightline_origin_duels_total counter\nsightline_origin_duels_total {duels}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_are_what_prometheus_reads() {
        let text = ConnectionCounts { open: 5, pending: 2, refused_address: 7, ..ConnectionCounts::default() }.metrics();
        assert!(text.contains("sightline_origin_rtmp_connections{state=\"active\"} 3\n"), "{text}");
        assert!(text.contains("sightline_origin_rtmp_connections_total{outcome=\"refused_address\"} 7\n"), "{text}");
        assert!(text.lines().all(|line| line.starts_with('#') || line.split(' ').count() == 2));
    }
}
