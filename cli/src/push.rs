//! `sightline push`: one source to one server.

use crate::{
    Failure,
    args::Push,
    terminal::{self, WrongUse},
};
use indicatif::{ProgressBar, ProgressStyle};
use sightline_camera::{Agent, Config, Outcome, Rounds, StreamEvent};
use sightline_capture::Source;
use sightline_rtmp::url::RtmpUrl;
use sightline_signal::StatusEvent;
use std::{path::PathBuf, time::Duration};
use tokio::sync::mpsc;

/// Events that may wait to be shown; a terminal that hangs loses some, the stream none.
const EVENTS_WAITING_MAX: usize = 64;
/// The authorities that Debian and its kin trust.
const SYSTEM_CA: &str = "/etc/ssl/certs/ca-certificates.crt";

pub(crate) async fn run(push: Push) -> Result<(), Failure> {
    // Not by clap: it would print a wrong URL, and with it the key.
    let PushUrl { tc_url, name } = push.url.reveal().parse().map_err(|problem: PushUrlError| WrongUse(format!("URL: {problem}")))?;
    let is_secure = tc_url.starts_with("rtmps:");
    // Nor this: a camera's URL holds its password.
    push.source.reveal().parse::<Source>().map_err(|error| WrongUse(format!("SRC: {error}")))?;
    let mut config = Config::new("push", push.source.reveal());
    config.rtsp_transport = push.rtsp_transport;
    config.v4l2_format = push.v4l2_format;
    config.source_ca = push.source_ca.unwrap_or_default();
    config.stream.rtmp_server_url.clone_from(&tc_url);
    config.stream.stream_key = name.into();
    config.stream.trigger = "manual".to_owned();
    config.stream.quality = push.quality.map(|quality| quality.name().to_owned()).unwrap_or_default();
    // Someone waits at the terminal: short delays, and an answer after half a minute.
    config.stream.reconnect_interval_sec = 1;
    config.stream.metrics_interval_sec = 1;
    if is_secure {
        config.stream.ca = push.ca.unwrap_or_else(|| PathBuf::from(SYSTEM_CA));
    }
    let agent = Agent::start(&config, if push.once { Rounds::Once } else { Rounds::Looped })?;
    let (sender, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
    let stop = terminal::stop_signal()?;
    let (outcome, ()) = tokio::join!(agent.run(stop, Some(sender)), show(receiver, push.json));
    match outcome {
        Outcome::Stopped => Ok(()),
        Outcome::GaveUp(code) => Err(format!("{tc_url}: gave up after several tries: {code}").into()),
        Outcome::Failed(problem) => Err(problem.into()),
    }
}

/// `rtmp(s)://host[:port]/app/name[?query]`, as what is connected to and what is published under. The name may be a key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PushUrl {
    tc_url: String,
    name: String,
}

impl std::fmt::Debug for PushUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PushUrl").field("tc_url", &self.tc_url).field("name", &"***").finish()
    }
}

/// Where no stream can be sent to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PushUrlError {
    #[error("{0}; {WANTED}")]
    Url(sightline_rtmp::url::UrlError),
    #[error("it names no stream; {WANTED}")]
    NoName,
}

const WANTED: &str = "take rtmp(s)://host[:port]/app/name, where the last part is the name, or stream key, to publish under";

impl std::str::FromStr for PushUrl {
    type Err = PushUrlError;

    fn from_str(url: &str) -> Result<Self, PushUrlError> {
        let parsed = RtmpUrl::parse(url).map_err(PushUrlError::Url)?;
        let tc_url = url.strip_suffix(parsed.name).filter(|_| !parsed.name.is_empty());
        let tc_url = tc_url.ok_or(PushUrlError::NoName)?;
        Ok(Self { tc_url: tc_url.trim_end_matches('/').to_owned(), name: parsed.name.to_owned() })
    }
}

async fn show(mut events: mpsc::Receiver<StreamEvent>, json: bool) {
    let line = ProgressBar::new_spinner()
        .with_style(ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
    line.enable_steady_tick(Duration::from_millis(120));
    while let Some(event) = events.recv().await {
        match event {
            StreamEvent::Status(status) => {
                let retry = status.next_retry.map(|delay| format!(", again in {:.0} s", delay.as_secs_f32())).unwrap_or_default();
                line.set_message(format!("{}{retry}", status.state.name()));
            }
            StreamEvent::Event(event) => {
                if json {
                    line.suspend(|| terminal::print(&serde_json::to_string(&*event).unwrap_or_default()));
                }
                match &*event {
                    StatusEvent::Metrics(event) => line.set_message(format!(
                        "streaming  {:.1} fps  {:.0} kbit/s  {} frames  {} left out",
                        event.metrics.fps, event.metrics.bitrate_kbps, event.metrics.total_frames, event.metrics.dropped_frames
                    )),
                    StatusEvent::Stopped(event) => line.suspend(|| {
                        terminal::say(&format!(
                            "sent {} frames, {} bytes in {:.1} s",
                            event.final_metrics.total_frames_sent,
                            event.final_metrics.total_bytes_sent,
                            event.final_metrics.stream_duration_ms as f64 / 1000.0
                        ))
                    }),
                    StatusEvent::Started(_) | StatusEvent::ConnectionError(_) => {}
                }
            }
        }
    }
    line.finish_and_clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_told_from_the_application() {
        let split = |url: &str| url.parse::<PushUrl>().map(|url| (url.tc_url, url.name));
        assert_eq!(split("rtmp://h/live/n?token=a/b").unwrap(), ("rtmp://h/live".into(), "n?token=a/b".into()));
        assert_eq!(split("rtmps://h:1/app/n").unwrap(), ("rtmps://h:1/app".into(), "n".into()));
        assert!(split("rtmp://h/live").is_err() && split("http://h/live/x").is_err());
        assert!(!format!("{:?}", "rtmp://h/live/secret".parse::<PushUrl>()).contains("secret"));
    }
}
