//! `sightline push`: one source to one server.

use crate::{Failure, args::Push, terminal};
use indicatif::{ProgressBar, ProgressStyle};
use sightline_camera::{Agent, Config, Outcome, StreamEvent};
use sightline_rtmp::url::RtmpUrl;
use sightline_signal::StatusEvent;
use std::{path::PathBuf, time::Duration};
use tokio::sync::mpsc;

/// Events that may wait to be shown; a terminal that hangs loses some, the stream none.
const EVENTS_WAITING_MAX: usize = 64;
/// The authorities that Debian and its kin trust.
const SYSTEM_CA: &str = "/etc/ssl/certs/ca-certificates.crt";

pub(crate) async fn run(push: Push) -> Result<(), Failure> {
    let (tc_url, name) = split_name(&push.url)?;
    let mut config = Config::new("push", &push.source);
    config.stream.rtmp_server_url = tc_url.to_owned();
    config.stream.stream_key = name.to_owned();
    config.stream.trigger = "manual".to_owned();
    config.stream.quality = push.quality.map(|quality| quality.name().to_owned()).unwrap_or_default();
    // Someone waits at the terminal: short delays, and an answer after half a minute.
    config.stream.reconnect_interval_sec = 1;
    config.stream.metrics_interval_sec = 1;
    if push.url.starts_with("rtmps:") {
        config.stream.ca = push.ca.unwrap_or_else(|| PathBuf::from(SYSTEM_CA));
    }
    let agent = Agent::start(&config, push.once)?;
    let (sender, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
    let stop = terminal::stop_signal()?;
    let (outcome, ()) = tokio::join!(agent.run(stop, Some(sender)), show(receiver, push.json));
    match outcome {
        Outcome::Stopped => Ok(()),
        Outcome::GaveUp(code) => Err(format!("{tc_url}: gave up after several tries: {code}").into()),
        Outcome::Failed(problem) => Err(problem.into()),
    }
}

/// `rtmp://host/app/name?query` into what is connected to and what is published under.
fn split_name(url: &str) -> Result<(&str, &str), Failure> {
    let wrong = || "a push URL is rtmp(s)://host[:port]/app/name: the last part is the name, or stream key, to publish under";
    let parsed = RtmpUrl::parse(url).map_err(|error| format!("{error}; {}", wrong()))?;
    if parsed.name.is_empty() {
        return Err(wrong().into());
    }
    let tc_url = url.strip_suffix(parsed.name).map(|rest| rest.trim_end_matches('/')).ok_or_else(wrong)?;
    Ok((tc_url, parsed.name))
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
        assert_eq!(split_name("rtmp://h/live/n?token=a/b").unwrap(), ("rtmp://h/live", "n?token=a/b"));
        assert_eq!(split_name("rtmps://h:1/app/n").unwrap(), ("rtmps://h:1/app", "n"));
        assert!(split_name("rtmp://h/live").is_err());
        assert!(split_name("http://h/live/x").is_err());
    }
}
