//! What an RTMP server says up to its answer to `connect`, and what the way to it carries.

use bytes::Bytes;
use sightline_pusher::{BandwidthCheck, BandwidthProgress, USABLE_SHARE};
use sightline_rtmp::client::{self, Event, Session};
use sightline_signal::{Quality, Settings};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Finding;
use crate::{
    agent::random_seed,
    cloud::link::{Link, Turn},
};
use sightline_capture::clock;

/// How often the kernel is asked what has arrived: as the agent does.
const LOOK_INTERVAL: Duration = Duration::from_millis(25);
const MEND: &str = "look whether an RTMP server listens at that port (rtmps: with TLS), and whether it has this application";

/// Why a server does not take the application.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error("RTMP: the server refuses: {0}")]
    Refused(String),
    #[error("RTMP: the server ended the connection")]
    Ended,
    #[error("RTMP: {0}")]
    Protocol(sightline_rtmp::Error),
}

/// A server that has taken the application.
pub(super) struct Greeted {
    session: Session<Bytes, 1>,
    link: Link,
}

/// RTMP's handshake and `connect`. Neither name nor token is sent.
pub(super) async fn greet(link: Link, tc_url: &str, name: &str) -> (Finding, Option<Greeted>) {
    let config = client::Config { waits_connected: true, ..client::Config::default() };
    let limit = config.handshake_timeout + config.publish_timeout;
    let session = match Session::publish(config, tc_url, "doctor", clock::now(), random_seed()) {
        Ok(session) => session,
        Err(problem) => return (Finding::failed(format!("{name}: {problem}"), "shorten the server's URL"), None),
    };
    let mut greeted = Greeted { session, link };
    match timeout(limit, greeted.connect()).await {
        Ok(Ok(())) => (Finding::Passed(format!("{name}: RTMP's handshake is done, and the application taken")), Some(greeted)),
        Ok(Err(problem)) => (Finding::failed(format!("{name}: {problem}"), MEND), None),
        Err(_) => (Finding::failed(format!("{name}: no answer in RTMP within {} s", limit.as_secs()), MEND), None),
    }
}

/// What the way to the first server that was greeted carries, beside what is wanted of it.
pub(super) async fn bandwidth(greeted: Option<(Greeted, String)>, wanted: Settings) -> Finding {
    let Some((mut greeted, name)) = greeted else { return Finding::not_applicable("not tried: no RTMP server has taken the application") };
    match greeted.measure((wanted.bitrate_bps as f32 / USABLE_SHARE) as u32).await {
        Ok(Some(bps)) => judge(&name, bps, wanted.bitrate_bps),
        Ok(None) => Finding::not_applicable(format!("{name}: nothing was acknowledged in time, or this system does not tell")),
        Err(problem) => {
            Finding::not_applicable(format!("can't be told: {name}: {problem}; the agent, too, then begins without having looked"))
        }
    }
}

fn judge(name: &str, bps: u32, wanted_bps: u32) -> Finding {
    let usable_bps = bps as f32 * USABLE_SHARE;
    let carries = format!("the way to {name} carries {:.0} kbit/s", bps as f32 / 1000.0);
    let wants = format!("of which {:.0} are for the picture, and {} are wanted", usable_bps / 1000.0, wanted_bps / 1000);
    if usable_bps >= wanted_bps as f32 {
        return Finding::Passed(format!("{carries} or more: enough for the {} that are wanted", wanted_bps / 1000));
    }
    let fits = |preset: &Quality| preset.settings().is_some_and(|settings| settings.bitrate_bps as f32 <= usable_bps);
    let fitting = Quality::PRESETS.into_iter().rfind(fits);
    let mend = match fitting {
        Some(preset) => {
            format!(
                "get a better uplink, or set stream.quality to {}: the agent begins with that, and goes on with what comes through",
                preset.name()
            )
        }
        None => "get a better uplink: even the preset low wants 500 kbit/s; the agent sends fewer and smaller pictures".to_owned(),
    };
    Finding::failed(format!("{carries}, {wants}"), mend)
}

impl Greeted {
    async fn connect(&mut self) -> Result<(), SessionError> {
        loop {
            while let Some(event) = self.session.poll_event() {
                match event {
                    Event::Connected => return Ok(()),
                    Event::Rejected { code, description } => return Err(SessionError::Refused(format!("{code} {description}"))),
                    Event::Closed => return Err(SessionError::Ended),
                    Event::Publishing | Event::Acknowledged { .. } | Event::FrameSent(_) | Event::ReconnectRequested { .. } => {}
                }
            }
            self.turn().await?;
        }
    }

    async fn turn(&mut self) -> Result<(), SessionError> {
        let mut buffer = [0; 4096];
        match self.link.turn(self.session.pending(), &mut buffer).await {
            Turn::Wrote(bytes) => self.session.consumed(bytes),
            Turn::Read(bytes) => {
                self.session.handle_bytes(clock::now(), &buffer[..bytes]).map_err(SessionError::Protocol)?;
            }
            Turn::Closed => return Err(SessionError::Ended),
        }
        Ok(())
    }

    /// `None`: nothing came back.
    async fn measure(&mut self, enough_bps: u32) -> Result<Option<u32>, SessionError> {
        // What is still on its way is no part of it.
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut check = BandwidthCheck::new(clock::now(), enough_bps);
        self.session.pad(usize::try_from(check.round_bytes()).unwrap_or(usize::MAX));
        let mut round_from = self.acknowledged();
        loop {
            tokio::select! {
                turned = self.turn() => turned?,
                _ = looks.tick() => {
                    let arrived = self.acknowledged().saturating_sub(round_from);
                    let is_over = arrived > 0 && self.is_quiet();
                    let progress = if is_over { Some(check.round_arrived(clock::now())) } else { check.handle_timeout(clock::now(), arrived) };
                    match progress {
                        Some(BandwidthProgress::Done(seen_bps)) => return Ok(seen_bps),
                        Some(BandwidthProgress::Pad(bytes)) => {
                            self.session.pad(usize::try_from(bytes).unwrap_or(usize::MAX));
                            round_from = self.acknowledged();
                        }
                        None => {}
                    }
                }
            }
        }
    }

    fn acknowledged(&self) -> u64 {
        self.link.progress().map_or(0, |progress| progress.acknowledged)
    }

    /// All that was written has arrived.
    fn is_quiet(&self) -> bool {
        self.session.pending()[0].is_empty() && self.link.progress().is_some_and(|progress| progress.outstanding == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_is_too_slow_names_the_preset_that_fits() {
        assert!(matches!(judge("a:1935", 5_000_000, 2_000_000), Finding::Passed(detail) if detail.contains("5000 kbit/s or more")));
        assert!(matches!(judge("a:1935", 1_600_000, 2_000_000), Finding::Failed { mend, .. } if mend.contains("stream.quality to medium")));
        assert!(matches!(judge("a:1935", 300_000, 2_000_000), Finding::Failed { mend, .. } if mend.contains("preset low")));
    }
}
