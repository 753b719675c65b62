//! What is measured: how many publish and watch, and what the server does besides.

use crate::picture::{FRAME_INTERVAL, GOP_FRAMES};
use std::time::Duration;

/// Streams that have one viewer, in the scenarios that are about publishers: enough to see whether frames come whole and how late.
const PROBED_SHARE: usize = 50;

/// Viewers that one processor carries with room to spare, at a camera's frame rate. For more the same frames come less often: a server
/// that is full merges and skips, and then the figure says nothing of what a frame costs.
const FULL_RATE_VIEWERS: usize = 1250;

/// SRS's own default, the rival's best figure at high fan-out.
pub(crate) const MERGE_MS: u64 = 350;

/// The name that a stream is published under.
pub(crate) fn stream_name(stream: usize) -> String {
    format!("bench{stream}")
}

/// A server that is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Sightline { merge_ms: u64 },
    Nginx,
}

impl Kind {
    /// In the table's order; nginx is what the others are compared with.
    pub(crate) const ALL: [Self; 3] = [Self::Nginx, Self::Sightline { merge_ms: 0 }, Self::Sightline { merge_ms: MERGE_MS }];

    pub(crate) fn name(self) -> String {
        match self {
            Self::Nginx => "nginx-rtmp".into(),
            Self::Sightline { merge_ms: 0 } => "sightline".into(),
            Self::Sightline { merge_ms } => format!("sightline, merge_ms={merge_ms}"),
        }
    }

    /// The name that a stream's viewers ask for.
    pub(crate) fn play_name(self, stream: usize) -> String {
        let name = stream_name(stream);
        match self {
            Self::Nginx => name,
            Self::Sightline { .. } => {
                let id: sightline_signal::Text<{ sightline_signal::PLAYBACK_ID_BYTES }> = sightline_signal::playback_id(&name);
                id.as_str().to_owned()
            }
        }
    }
}

/// What the server does with a stream besides passing it on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Extra {
    None,
    Hls,
    Flv,
}

/// One line of work.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    /// Publishers.
    pub(crate) streams: usize,
    /// RTMP viewers. With one stream they all watch it; with more each watches another.
    pub(crate) viewers: usize,
    pub(crate) extra: Extra,
    /// Processors that the server may use.
    pub(crate) cores: usize,
    pub(crate) frame_interval: Duration,
}

impl Scenario {
    pub(crate) fn fan_out(viewers: usize, cores: usize) -> Self {
        let on = if cores > 1 { format!(", server on {cores} processors") } else { String::new() };
        let times = u32::try_from(viewers.div_ceil(FULL_RATE_VIEWERS)).unwrap_or(1);
        let name = format!("fan-out to {viewers}{on}");
        Self { name, streams: 1, viewers, extra: Extra::None, cores, frame_interval: FRAME_INTERVAL * times }
    }

    pub(crate) fn ingest(streams: usize, extra: Extra) -> Self {
        let with = match extra {
            Extra::None => "",
            Extra::Hls => ", HLS",
            Extra::Flv => ", FLV recordings",
        };
        let (name, viewers) = (format!("ingest of {streams}{with}"), streams.div_ceil(PROBED_SHARE));
        Self { name, streams, viewers, extra, cores: 1, frame_interval: FRAME_INTERVAL }
    }

    /// Whether it is about viewers; else about publishers.
    pub(crate) fn is_fan_out(&self) -> bool {
        self.streams == 1
    }

    /// The stream that a viewer watches.
    pub(crate) fn watched(&self, viewer: usize) -> usize {
        viewer * self.streams / self.viewers.max(1)
    }

    /// How long is measured: whole groups of pictures, so that every run has its share of key frames.
    pub(crate) fn length(&self, at_least: Duration) -> Duration {
        let group = self.frame_interval * GOP_FRAMES;
        group * u32::try_from(at_least.as_micros().div_ceil(group.as_micros())).unwrap_or(1)
    }

    /// Those that it says something about.
    pub(crate) fn kinds(&self) -> Vec<Kind> {
        Kind::ALL.into_iter().filter(|kind| self.is_fan_out() || *kind != Kind::Sightline { merge_ms: MERGE_MS }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_spread_over_the_streams() {
        let ingest = Scenario::ingest(300, Extra::None);
        let watched: Vec<usize> = (0..ingest.viewers).map(|viewer| ingest.watched(viewer)).collect();
        assert_eq!(watched, [0, 50, 100, 150, 200, 250]);
        let fan_out = Scenario::fan_out(1000, 1);
        assert!((0..1000).all(|viewer| fan_out.watched(viewer) == 0));
    }

    #[test]
    fn many_viewers_get_their_frames_less_often() {
        assert_eq!(Scenario::fan_out(1000, 1).frame_interval, FRAME_INTERVAL);
        let many = Scenario::fan_out(5000, 1);
        assert_eq!(many.frame_interval, FRAME_INTERVAL * 4);
        assert_eq!(many.length(Duration::from_secs(10)), Duration::from_secs(16));
    }
}
