//! `sightline camera probe`: which cameras there are, and what a source gives.

use crate::{
    Failure,
    terminal::{self, WrongUse},
};
use indicatif::{ProgressBar, ProgressStyle};
use sightline_camera::{
    Source,
    probe::{self, DeviceReport, FormatReport, PresetReport, SizeReport, SourceReport},
};
use std::{fmt::Write as _, path::Path, time::Duration};

pub(crate) async fn run(source: Option<&str>, rtsp_transport: &str, source_ca: Option<&Path>, json: bool) -> Result<(), Failure> {
    let Some(source) = source else {
        let devices = tokio::task::spawn_blocking(probe::devices).await?;
        if json {
            terminal::print(&serde_json::to_string(&serde_json::json!({ "devices": devices }))?);
        } else if devices.is_empty() {
            terminal::say(
                "no camera of this machine: nothing that gives pictures is at /dev/video*. A network camera is looked at by its URL: sightline camera probe rtsp://…",
            );
        } else {
            devices.iter().for_each(|device| terminal::print(describe_device(device).trim_end()));
        }
        return Ok(());
    };
    // Not by clap: a camera's URL holds its password.
    let mut source: Source = source.parse().map_err(|error| WrongUse(format!("SRC: {error}")))?;
    source_ca.into_iter().for_each(|ca| source.trust(ca));
    let line = ProgressBar::new_spinner()
        .with_style(ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()))
        .with_message(format!("looking at {source}"));
    line.enable_steady_tick(Duration::from_millis(120));
    let rtsp_transport = rtsp_transport.to_owned();
    let report = tokio::task::spawn_blocking(move || probe::look(&source, &rtsp_transport)).await?;
    line.finish_and_clear();
    let report = report?;
    if json {
        terminal::print(&serde_json::to_string(&report)?);
    } else {
        terminal::print(describe_source(&report).trim_end());
    }
    Ok(())
}

fn describe_device(device: &DeviceReport) -> String {
    let DeviceReport { path, links, name, driver, bus, formats, problem } = device;
    let mut text = path.display().to_string();
    if !name.is_empty() {
        let _ = write!(text, "  {name} ({driver}, {bus})");
    }
    text.push('\n');
    for link in links {
        let _ = writeln!(text, "  also {}", link.display());
    }
    if let Some(problem) = problem {
        let _ = writeln!(text, "  can't be used: {problem}");
    }
    for FormatReport { format, description, is_read, sizes } in formats {
        let remark = if *is_read { "" } else { ", not read by this version" };
        let _ = writeln!(text, "  {format}  {description}{remark}");
        for size in sizes {
            let _ = writeln!(text, "    {}", describe_size(size));
        }
    }
    text
}

fn describe_size(size: &SizeReport) -> String {
    let mut text = format!("{}x{}", size.width, size.height);
    if let (Some(width), Some(height)) = (size.width_min, size.height_min) {
        text = format!("{width}x{height} to {text}");
    }
    let rates: Vec<String> = size.fps.iter().map(|fps| trim(*fps)).collect();
    match (size.fps_min, rates.as_slice()) {
        (_, []) => text,
        (Some(least), _) => format!("{text}  {} to {} fps", trim(least), rates.join(", ")),
        (None, _) => format!("{text}  {} fps", rates.join(", ")),
    }
}

/// Two digits where they say something.
fn trim(number: f64) -> String {
    format!("{number:.2}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn describe_source(report: &SourceReport) -> String {
    let SourceReport { source, video, audio, presets } = report;
    let mut text = format!("{source}\n  video      {}, {}x{}, {} fps", video.codec, video.width, video.height, trim(video.fps));
    if let Some(bitrate_bps) = video.bitrate_bps {
        let _ = write!(text, ", {} kbit/s", bitrate_bps / 1000);
    }
    text.push('\n');
    if let Some(audio) = audio {
        let _ = writeln!(text, "  sound      {}, {} Hz, {} channels", audio.codec, audio.sample_rate_hz, audio.channels);
    }
    for PresetReport { quality, is_passed_through, width, height, fps, bitrate_bps, read_as } in presets {
        let name = quality.map_or("no preset", |quality| quality.name());
        let read = read_as.as_ref().map(|read| format!(" from {read}")).unwrap_or_default();
        let _ = if *is_passed_through {
            writeln!(text, "  {name:<9}  passed through as it is{read}")
        } else {
            writeln!(text, "  {name:<9}  encoded here: {width}x{height}, {fps} fps, {} kbit/s{read}", bitrate_bps / 1000)
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_and_a_source_are_said_in_a_few_lines() {
        let size = SizeReport { width: 640, height: 480, width_min: None, height_min: None, fps: vec![30.0, 29.97], fps_min: None };
        let format = FormatReport { format: "YUYV".into(), description: "YUYV 4:2:2".into(), is_read: true, sizes: vec![size] };
        let device = DeviceReport {
            path: "/dev/video0".into(),
            links: Vec::new(),
            name: "Webcam".into(),
            driver: "uvcvideo".into(),
            bus: "usb-1".into(),
            formats: vec![format],
            problem: None,
        };
        let text = describe_device(&device);
        assert_eq!(text, "/dev/video0  Webcam (uvcvideo, usb-1)\n  YUYV  YUYV 4:2:2\n    640x480  30, 29.97 fps\n");
        let text = describe_source(&probe::look(&Source::Test { has_grain: false }, "tcp").unwrap());
        assert!(text.contains("low        encoded here: 640x480, 15 fps, 500 kbit/s\n"), "{text}");
    }
}
