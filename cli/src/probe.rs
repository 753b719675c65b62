//! `sightline camera probe`: which cameras there are, and what a source gives.

use crate::{
    Failure,
    terminal::{self, WrongUse},
};
use indicatif::{ProgressBar, ProgressStyle};
use sightline_camera::{
    SourceName,
    probe::{self, DeviceReport, EncoderReport, FormatReport, PresetReport, SizeReport, SourceReport, StreamReport, Trial, TrialReport},
};
use sightline_capture::{Source, Transport};
use std::{fmt::Write as _, path::Path, time::Duration};

pub(crate) async fn run(
    source: Option<&SourceName>,
    source_sub: Option<&SourceName>,
    rtsp_transport: &str,
    source_ca: Option<&Path>,
    json: bool,
) -> Result<(), Failure> {
    let Some(source) = source else {
        let (devices, encoders) = blocking(|| (probe::devices(), probe::encoders())).await?;
        if json {
            terminal::print(&serde_json::to_string(&serde_json::json!({ "devices": devices, "encoders": encoders }))?);
            return Ok(());
        }
        devices.iter().for_each(|device| terminal::print(describe_device(device).trim_end()));
        encoders.iter().for_each(|encoder| terminal::print(describe_encoder(encoder).trim_end()));
        if devices.is_empty() {
            terminal::say(
                "no camera of this machine: nothing that gives pictures is at /dev/video*. A network camera is looked at by its URL: sightline camera probe rtsp://…",
            );
        }
        if encoders.is_empty() {
            terminal::say("no H.264 encoder of this machine: pictures are encoded by openh264, on the processor");
        }
        return Ok(());
    };
    // Not by clap: a camera's URL holds its password.
    let mut source: Source = source.reveal().parse().map_err(|error| WrongUse(format!("SRC: {error}")))?;
    source_sub.map_or(Ok(()), |sub| source.second(sub.reveal())).map_err(|error| WrongUse(format!("--source-sub: {error}")))?;
    source_ca.into_iter().for_each(|ca| source.trust(ca));
    let line = ProgressBar::new_spinner()
        .with_style(ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()))
        .with_message(format!("looking at {source}"));
    line.enable_steady_tick(Duration::from_millis(120));
    // Only RTSP has a transport: another source is not refused for it.
    let transport = match &source {
        Source::Rtsp(_) => rtsp_transport.parse().map_err(|problem| format!("source {source}: {problem}"))?,
        Source::Test { .. } | Source::File(_) | Source::Stdin | Source::Mjpeg(_) | Source::V4l2(_) => Transport::Tcp,
    };
    let report = blocking(move || probe::look(&source, transport)).await?;
    line.finish_and_clear();
    let report = report?;
    if json {
        terminal::print(&serde_json::to_string(&report)?);
    } else {
        terminal::print(describe_source(&report).trim_end());
    }
    Ok(())
}

/// `sightline camera probe --encoder`.
pub(crate) async fn try_encoder(path: &Path, size: &str, coded: &str, json: bool) -> Result<(), Failure> {
    let sides = size.split_once('x').and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    let (width, height) = sides.ok_or_else(|| WrongUse(format!("--encoder-size {size}: take WIDTHxHEIGHT, as in 1280x720")))?;
    let (path, trial) = (path.to_owned(), Trial { width, height, coded: coded.to_owned() });
    let report = blocking(move || probe::try_encoder(&path, &trial)).await??;
    if json {
        terminal::print(&serde_json::to_string(&report)?);
    } else {
        terminal::print(describe_trial(&report).trim_end());
    }
    Ok(())
}

fn describe_trial(report: &TrialReport) -> String {
    let TrialReport { path, coded, raw_format, stride, rows, memories, missing, follows_bitrate, pictures_in, .. } = report;
    let TrialReport { frames, bytes, keyframes, drained, picture_ms, picture_ms_max, .. } = report;
    let mut text = format!("{}  {coded} from {raw_format}: lines of {stride} bytes, {rows} of them, in {memories}\n", path.display());
    let _ = writeln!(
        text,
        "  {pictures_in} pictures in, {} frames out ({drained} at the end), {} bytes",
        frames.len(),
        bytes.iter().sum::<usize>()
    );
    let _ = writeln!(text, "  key frames by its driver's word: {keyframes:?}");
    let _ = writeln!(text, "  {picture_ms:.1} ms a picture, at most {picture_ms_max:.1}");
    let _ = writeln!(text, "  another bit rate while it runs: {}", if *follows_bitrate { "taken" } else { "not taken" });
    if !missing.is_empty() {
        let _ = writeln!(text, "  can't be told: {}", missing.join(", "));
    }
    text
}

fn describe_encoder(encoder: &EncoderReport) -> String {
    let EncoderReport { path, name, driver, bus, formats, raw_formats } = encoder;
    let mut text = format!("{}  {name} ({driver}, {bus}), encoder\n  takes {}\n", path.display(), raw_formats.join(", "));
    for FormatReport { format, description, is_read, sizes } in formats {
        let remark = if *is_read { "" } else { ", not used by this version" };
        let _ = writeln!(text, "  makes {format}  {description}{remark}");
        for size in sizes {
            let _ = writeln!(text, "    {}", describe_size(size));
        }
    }
    text
}

/// Looking at devices blocks: on a thread for it, which ends with whoever waits.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn_blocking(work);
    tasks.join_next().await.ok_or("nothing was looked at")?.map_err(Into::into)
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
    let SourceReport { source, video, audio, streams, presets } = report;
    let mut text = format!("{source}\n  video      {}, {}x{}, {} fps", video.codec, video.width, video.height, trim(video.fps));
    if let Some(bitrate_bps) = video.bitrate_bps {
        let _ = write!(text, ", {} kbit/s", bitrate_bps / 1000);
    }
    text.push('\n');
    for StreamReport { source, codec, width, height, fps, problem } in streams {
        let size = width.zip(*height).map_or("size not told".to_owned(), |(width, height)| format!("{width}x{height}"));
        let fps = fps.map_or("rate not told".to_owned(), |fps| format!("{} fps", trim(fps)));
        let _ = match problem {
            Some(problem) => writeln!(text, "  stream     {source}: {problem}"),
            None => writeln!(text, "  stream     {codec}, {size}, {fps}, at {source}"),
        };
    }
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
        let text = describe_source(&probe::look(&Source::Test { has_grain: false }, Transport::Tcp).unwrap());
        assert!(text.contains("low        encoded here: 640x480, 15 fps, 500 kbit/s\n"), "{text}");
    }
}
