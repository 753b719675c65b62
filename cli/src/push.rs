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
use sightline_signal::{ErrorCode, StatusEvent};
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Events that may wait to be shown; a terminal that hangs loses some, the stream none.
const EVENTS_WAITING_MAX: usize = 64;
/// A server that has refused the name this often will not take it the next time. More than once: the one before may still hold it.
const REFUSALS_MAX: u32 = 3;
/// Between two lines of figures where there is no terminal.
const FIGURES_INTERVAL: Duration = Duration::from_secs(10);
/// The authorities that Debian and its kin trust.
const SYSTEM_CA: &str = "/etc/ssl/certs/ca-certificates.crt";

pub(crate) async fn run(push: Push) -> Result<(), Failure> {
    // Not by clap: it would print a wrong URL, and with it the key.
    let PushUrl { tc_url, name } = push.url.reveal().parse().map_err(|problem: PushUrlError| WrongUse(format!("URL: {problem}")))?;
    let is_secure = tc_url.starts_with("rtmps:");
    // Nor this: a camera's URL holds its password.
    push.source.reveal().parse::<Source>().map_err(|error| WrongUse(format!("SRC: {error}")))?;
    let mut config = Config::new("push", push.source.reveal());
    config.source_sub = push.source_sub.unwrap_or_else(|| "".into());
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
    let mut shown = Shown { tc_url: tc_url.clone(), json: push.json, ..Shown::default() };
    let (outcome, ()) = tokio::join!(agent.run(stop.clone(), Some(sender)), shown.follow(receiver, &stop));
    match (outcome, shown.last_error) {
        (Outcome::Failed(problem), _) => Err(problem.into()),
        (Outcome::GaveUp(code), _) => Err(format!("{tc_url}: gave up after several tries: {code}").into()),
        // What ends without ever having begun has failed, whoever ended it.
        (Outcome::Stopped, Some(error)) if !shown.has_published => Err(format!("{tc_url}: nothing was published: {error}").into()),
        (Outcome::Stopped, None) if !shown.has_published => Err(format!("{tc_url}: nothing was published").into()),
        (Outcome::Stopped, _) => Ok(()),
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

/// What was shown of a push, and is known of it.
#[derive(Debug, Default)]
struct Shown {
    tc_url: String,
    json: bool,
    has_published: bool,
    /// Refusals of the name before anything was published.
    refusals: u32,
    last_error: Option<String>,
    figures_at: Option<Instant>,
}

impl Shown {
    /// Shows events until there are no more. On a terminal one line changes; elsewhere a line comes now and then.
    async fn follow(&mut self, mut events: mpsc::Receiver<StreamEvent>, stop: &CancellationToken) {
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
                    if self.json {
                        line.suspend(|| terminal::print(&serde_json::to_string(&*event).unwrap_or_default()));
                    }
                    self.show(&event, &line);
                }
            }
            if self.refusals >= REFUSALS_MAX {
                stop.cancel();
            }
        }
        line.finish_and_clear();
    }

    fn show(&mut self, event: &StatusEvent, line: &ProgressBar) {
        match event {
            StatusEvent::Started(_) => {
                self.has_published = true;
                line.suspend(|| terminal::say(&format!("connected to {}; streaming", self.tc_url)));
            }
            StatusEvent::Metrics(event) => {
                let figures = format!(
                    "streaming  {:.1} fps  {:.0} kbit/s  {} frames  {} left out",
                    event.metrics.fps, event.metrics.bitrate_kbps, event.metrics.total_frames, event.metrics.dropped_frames
                );
                if line.is_hidden() && self.figures_at.is_none_or(|at| at.elapsed() >= FIGURES_INTERVAL) {
                    terminal::say(&figures);
                    self.figures_at = Some(Instant::now());
                }
                line.set_message(figures);
            }
            StatusEvent::Stopped(event) => line.suspend(|| {
                terminal::say(&format!(
                    "sent {} frames, {} bytes in {:.1} s",
                    event.final_metrics.total_frames_sent,
                    event.final_metrics.total_bytes_sent,
                    event.final_metrics.stream_duration_ms as f64 / 1000.0
                ))
            }),
            StatusEvent::ConnectionError(event) => {
                let is_refusal = matches!(event.error_code, ErrorCode::StreamKeyInvalid | ErrorCode::RtmpConnectRejected);
                self.refusals += u32::from(is_refusal && !self.has_published);
                let error = format!("{}: {}", event.error_code, event.message.as_str());
                if line.is_hidden() && self.last_error.as_ref() != Some(&error) {
                    terminal::say(&error);
                }
                self.last_error = Some(error);
            }
        }
    }
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
