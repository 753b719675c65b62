//! The counts of connections, for `/metrics` and tests.

use crate::auth::grant::Refusal;
use crate::ingest::budget::OverBudget;
use crate::ingest::fates::{Fate, Fates};
use crate::live::captured::{AGE_BOUNDS_MS, AgePath};
use crate::live::hub::Hub;
use crate::live::traffic::Protocol;
use crate::play::frames::Decoders;
use crate::record::health::RecordingCounts;
use sightline_listen::{Counts, Refused};
use sightline_recording::Removed;
use std::fmt::Write as _;

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
        let mut text = Text::default();
        let states =
            [("pending", self.pending), ("waiting", self.waiting), ("active", self.open.saturating_sub(self.pending + self.waiting))];
        text.family("rtmp_connections", Kind::Gauge, "RTMP and RTMPS connections now, by state.").each("state", states);
        let outcomes = [
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
        ];
        text.family("rtmp_connections_total", Kind::Counter, "RTMP and RTMPS connections since the start, by what became of them.")
            .each("outcome", outcomes);
        text.0
    }
}

/// Connections of the HTTP port, in the text format of Prometheus.
pub(crate) fn http_connections(counts: Counts) -> String {
    let mut text = Text::default();
    let active = counts.open.saturating_sub(counts.pending + counts.waiting);
    let states = [("pending", counts.pending), ("waiting", counts.waiting), ("active", active)];
    text.family("http_connections", Kind::Gauge, "HTTP connections now, by state: pending ones have no request that is answered.")
        .each("state", states);
    let refused = Refused::ALL.map(|reason| (reason.name(), counts.refused(reason)));
    text.family("http_connections_refused_total", Kind::Counter, "HTTP connections that had no place, by reason.").each("reason", refused);
    text.family("http_connections_shed_total", Kind::Counter, "HTTP connections that were ended for others that waited.").one(counts.shed);
    text.0
}

/// Streams and what goes in and out, in the text format of Prometheus.
pub(crate) fn streams(hub: &Hub) -> String {
    let (mut text, traffic) = (Text::default(), &hub.traffic);
    text.family("streams", Kind::Gauge, "Streams that are published now.").one(hub.published() as u64);
    text.family("received_bytes_total", Kind::Counter, "Bytes of publishers, RTMP and all.").one(traffic.received_bytes());
    let [pictures, sound] = traffic.frames();
    text.family("frames_total", Kind::Counter, "Frames of publishers, by track.").each("track", [("video", pictures), ("audio", sound)]);
    let sent = Protocol::ALL.map(|protocol| (protocol.name(), traffic.sent_bytes(protocol)));
    text.family("sent_bytes_total", Kind::Counter, "Bytes to viewers, by protocol; without those of TLS and HTTP.").each("protocol", sent);
    let connected = [Protocol::Rtmp, Protocol::Rtmps, Protocol::Flv, Protocol::Whep, Protocol::Frames];
    let connected = connected.map(|protocol| (protocol.name(), traffic.viewers(protocol)));
    text.family("viewers", Kind::Gauge, "Viewers now, by protocol; those of HLS have no connection to count.").each("protocol", connected);
    let mut ages = text.family("picture_age_seconds", Kind::Histogram, "Time since the capture of pictures, by path: as they come here, where their camera says when it captured them, and on viewers' screens, as the players of our pages say.");
    AgePath::ALL.into_iter().for_each(|path| ages.histogram("path", path.name(), traffic.ages(path)));
    text.0
}

/// Decoders for analysis, in the text format of Prometheus.
pub(crate) fn decoders(decoders: &Decoders) -> String {
    let mut text = Text::default();
    text.family("frame_decoders", Kind::Gauge, "Streams that are decoded now for readers of frames.").one(decoders.running());
    text.family("decoded_pictures_total", Kind::Counter, "Pictures that were decoded for readers of frames.").one(decoders.pictures());
    text.0
}

/// Recordings, in the text format of Prometheus.
pub(crate) fn recordings(counts: &RecordingCounts) -> String {
    let (mut text, (open, failing)) = (Text::default(), counts.now());
    text.family("recordings", Kind::Gauge, "Recordings now, by state: failing ones try again.")
        .each("state", [("on", open.saturating_sub(failing)), ("failing", failing)]);
    text.family("recording_failures_total", Kind::Counter, "Tries to write a recording that failed.").one(counts.failures());
    let (bytes, oldest) = counts.kept();
    text.family("recorded_bytes", Kind::Gauge, "Bytes of all recordings, looked at once a minute.").one(bytes);
    text.family("recorded_since_seconds", Kind::Gauge, "When the oldest recording begins, in seconds since 1970; 0: there is none.")
        .one(u64::try_from(oldest).unwrap_or(0));
    let (syncs, micros) = counts.syncs();
    text.family("recording_syncs_total", Kind::Counter, "How often the disk was asked to keep what was recorded.").one(syncs);
    text.family("recording_sync_microseconds_total", Kind::Counter, "How long that took, in all.").one(micros);
    text.family("recordings_held_bytes", Kind::Gauge, "Of the bytes of all recordings, those that are held: nothing removes them.")
        .one(counts.held_bytes());
    text.family(
        "recordings_room_seconds",
        Kind::Gauge,
        "How far back recordings will reach for their room, as the last day was; 0: not known yet.",
    )
    .one(counts.room_secs().unwrap_or(0));
    text.family("recordings_removed_total", Kind::Counter, "Recorded files that were removed, by why.")
        .each("reason", Removed::ALL.map(|why| (why.name(), counts.removed(why))));
    text.family("recording_fragments_lost_total", Kind::Counter, "Fragments of recordings that a slow disk cost.").one(counts.lost());
    text.0
}

/// Publishers that were refused or ended, in the text format of Prometheus.
pub(crate) fn publishers(fates: &Fates, duels: u64) -> String {
    let mut text = Text::default();
    text.family("publishers_refused_total", Kind::Counter, "Publishers that were refused, by reason.")
        .each("reason", Refusal::ALL.map(|refusal| (refusal.name(), fates.refused(refusal))));
    text.family("publishers_limited_total", Kind::Counter, "Publishers that were ended because they sent too much, by what.")
        .each("of", OverBudget::ALL.map(|over| (over.name(), fates.limited(over))));
    text.family("duels_total", Kind::Counter, "Tries to publish with a token that another connection uses.").one(duels);
    text.0
}

/// What kind of number it is.
#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Metrics as text.
#[derive(Default)]
struct Text(String);

impl Text {
    /// Begins a metric. Its name has `sightline_origin_` before it.
    fn family<'a>(&'a mut self, name: &'a str, kind: Kind, help: &str) -> Family<'a> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a string can't fail.
        let _ = writeln!(self.0, "# HELP sightline_origin_{name} {help}\n# TYPE sightline_origin_{name} {kind}");
        Family { text: &mut self.0, name }
    }
}

struct Family<'a> {
    text: &'a mut String,
    name: &'a str,
}

impl Family<'_> {
    fn one(self, value: u64) {
        let _ = writeln!(self.text, "sightline_origin_{} {value}", self.name);
    }

    /// Counts between bounds in milliseconds, and their sum.
    fn histogram<const N: usize>(&mut self, label: &str, which: &str, (counts, sum_ms): ([u64; N], u64)) {
        let (name, mut so_far) = (self.name, 0);
        let bounds = AGE_BOUNDS_MS.iter().map(|ms| (f64::from(*ms) / 1000.0).to_string()).chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(counts) {
            so_far += count;
            let _ = writeln!(self.text, "sightline_origin_{name}_bucket{{{label}=\"{which}\",le=\"{bound}\"}} {so_far}");
        }
        let _ = writeln!(self.text, "sightline_origin_{name}_sum{{{label}=\"{which}\"}} {}", sum_ms as f64 / 1000.0);
        let _ = writeln!(self.text, "sightline_origin_{name}_count{{{label}=\"{which}\"}} {so_far}");
    }

    fn each<const N: usize>(self, label: &str, values: [(&str, u64); N]) {
        for (which, value) in values {
            let _ = writeln!(self.text, "sightline_origin_{}{{{label}=\"{which}\"}} {value}", self.name);
        }
    }
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
        let all =
            text + &http_connections(Counts::default()) + &recordings(&RecordingCounts::default()) + &publishers(&Fates::default(), 0);
        for line in all.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            assert!(all.contains(&format!("# HELP {name} ")) && all.contains(&format!("# TYPE {name} ")), "{name}");
        }
        assert!(all.contains("sightline_origin_publishers_refused_total{reason=\"expired\"} 0\n"), "zeros from the start: {all}");
    }
}
