//! What sources there are and what they give, for `sightline camera probe`: found out by reading them as the agent would.

mod encoders;

pub use encoders::{EncoderReport, Trial, TrialReport, encoders, try_encoder};

use serde::Serialize;
use sightline_media::{Codec, MediaTime, Track, TrackConfig, TrackId};
use sightline_signal::{Quality, Settings};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use sightline_capture::{
    Opened, Picture, PixelFormat, Source, SourceError, SourceEvent, Transport, Trouble, V4l2Camera,
    clip::Character,
    jpeg,
    live::{Live, LiveError, LiveSource},
    offers, open_file,
    v4l2::{
        self,
        kernel::{Ability, Device},
        modes::{Choice, FrameRate, Offer, Rates, Sides, Target},
    },
};
use sightline_encode::{exceeds, scaled_into};

/// A camera's rates are measured over this long: two usual groups of pictures.
const MEASURED: Duration = Duration::from_secs(4);
/// Between two looks at the clock while a camera is silent.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// A file's own size and rate are wanted, whatever they are.
const UNBOUNDED: Settings = Settings { width: 8192, height: 8192, fps: 240, bitrate_bps: 0 };

/// A camera of this machine.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct DeviceReport {
    /// `/dev/videoN`.
    pub path: PathBuf,
    /// Links to it that stay the same when something else is plugged in.
    pub links: Vec<PathBuf>,
    /// What it calls itself; empty where it can't be asked.
    pub name: String,
    /// Its driver in the kernel.
    pub driver: String,
    /// Where it is plugged in.
    pub bus: String,
    /// Every format that it offers.
    pub formats: Vec<FormatReport>,
    /// Why it can't be used, and the fix.
    pub problem: Option<String>,
}

/// A pixel format of a device.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FormatReport {
    /// V4L2's four characters.
    pub format: String,
    /// The driver's words.
    pub description: String,
    /// Whether Sightline reads it.
    pub is_read: bool,
    /// Its sizes; none where the driver lists none.
    pub sizes: Vec<SizeReport>,
}

/// A size, or a range of sizes up to it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SizeReport {
    /// In pixels; of a range the most.
    pub width: u32,
    /// In pixels; of a range the most.
    pub height: u32,
    /// Of a range the least, in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width_min: Option<u32>,
    /// Of a range the least, in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height_min: Option<u32>,
    /// Its rates, in pictures a second; none where the driver lists none.
    pub fps: Vec<f64>,
    /// The least, where `fps` holds the most of a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fps_min: Option<f64>,
}

/// What a source gives.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SourceReport {
    /// The source, without what may be secret.
    pub source: String,
    /// Its pictures.
    pub video: VideoReport,
    /// Its sound, where it has one that is passed on.
    pub audio: Option<AudioReport>,
    /// Of an RTSP camera that offers several: each. Of these the one that comes nearest to the preset is read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<StreamReport>,
    /// What becomes of it: without a preset first, then by each.
    pub presets: Vec<PresetReport>,
}

/// The pictures of a source.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct VideoReport {
    /// `h264`, `h265`, `mjpeg`, `nv12`, `yu12`, `yuyv`; `drawn` of the test scene, `decoded` where ffmpeg reads it.
    pub codec: &'static str,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Pictures a second, as measured.
    pub fps: f64,
    /// Bits a second, as measured; `None` of raw pictures.
    pub bitrate_bps: Option<u32>,
}

/// One of several streams of a camera.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct StreamReport {
    /// Its address, without what may be secret.
    pub source: String,
    /// `h264`, `h265`, or another that is not read.
    pub codec: String,
    /// In pixels; `None`: its description does not tell.
    pub width: Option<u32>,
    /// In pixels; `None`: its description does not tell.
    pub height: Option<u32>,
    /// Pictures a second: as measured where it was read, else as its description has it.
    pub fps: Option<f64>,
    /// Why it can't be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// The sound of a source.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AudioReport {
    /// `aac`.
    pub codec: &'static str,
    /// Samples a second.
    pub sample_rate_hz: u32,
    /// Channels.
    pub channels: u8,
}

/// What is sent of a source.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PresetReport {
    /// The preset; `None`: none is asked for.
    pub quality: Option<Quality>,
    /// As it comes, byte for byte; otherwise it is encoded here.
    pub is_passed_through: bool,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Pictures a second.
    pub fps: u32,
    /// Bits a second; of what is passed through as measured.
    pub bitrate_bps: u32,
    /// Of a camera of this machine: what is read from it, as `FORMAT WIDTHxHEIGHT@FPS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_as: Option<String>,
}

/// Why a source can't be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// It can't be opened or read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It gives no pictures.
    #[error("source {name}: {problem}")]
    Silent {
        /// The source, without what may be secret.
        name: String,
        /// Why, and the fix.
        problem: String,
    },
    /// An encoder can't be tried.
    #[error("{problem}")]
    Encoder {
        /// Which, why, and the fix.
        problem: String,
    },
    /// It is a pipe.
    #[error("source -: what is read from a pipe is gone: look at a file of it")]
    Pipe,
}

/// The cameras of this machine, by their numbers. What gives no pictures is left out, also where it is a camera's: outputs, metadata.
#[must_use]
pub fn devices() -> Vec<DeviceReport> {
    let links: Vec<PathBuf> = ["/dev/v4l/by-id", "/dev/v4l/by-path"].iter().flat_map(|dir| entries(Path::new(dir))).collect();
    v4l2::nodes().into_iter().filter_map(|path| device(path, &links)).collect()
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn device(path: PathBuf, links: &[PathBuf]) -> Option<DeviceReport> {
    let links = links.iter().filter(|link| std::fs::canonicalize(link).is_ok_and(|target| target == path)).cloned().collect();
    let empty = DeviceReport {
        path: path.clone(),
        links,
        name: String::new(),
        driver: String::new(),
        bus: String::new(),
        formats: Vec::new(),
        problem: None,
    };
    let identity = Device::open(&path).and_then(|mut device| device.identity());
    if identity.as_ref().is_ok_and(|identity| identity.ability != Ability::Capture) {
        return None;
    }
    let named = identity.map_or_else(
        |_| empty.clone(),
        |identity| DeviceReport { name: identity.name, driver: identity.driver, bus: identity.bus, ..empty.clone() },
    );
    Some(match v4l2::open(&path) {
        Ok((device, _)) => DeviceReport { formats: device.offers().iter().map(format_report).collect(), ..named },
        Err(trouble) => DeviceReport { problem: Some(trouble.to_string()), ..named },
    })
}

fn format_report(offer: &Offer) -> FormatReport {
    let sizes = offer.sizes.iter().map(|(sides, rates)| {
        let (size, least) = match *sides {
            Sides::Exactly(size) => (size, None),
            Sides::Between { least, most, .. } => (most, Some(least)),
        };
        let (fps, fps_min) = match rates {
            Rates::Listed(listed) => (listed.iter().map(|rate| rate.fps()).collect(), None),
            Rates::Between { least, most } => (vec![most.fps()], Some(least.fps())),
            Rates::Unknown => (Vec::new(), None),
        };
        let (width_min, height_min) = (least.map(|least| least.width), least.map(|least| least.height));
        SizeReport { width: size.width, height: size.height, width_min, height_min, fps, fps_min }
    });
    FormatReport {
        format: offer.format.to_string(),
        description: offer.description.clone(),
        is_read: PixelFormat::of(offer.format).is_some(),
        sizes: sizes.collect(),
    }
}

/// Reads a source for a few seconds, as the agent would, and reports what becomes of it. It blocks: not for a thread that others wait for.
///
/// # Errors
/// [`ProbeError`]: it can't be read.
pub fn look(source: &Source, rtsp_transport: Transport) -> Result<SourceReport, ProbeError> {
    let silent = |problem: String| ProbeError::Silent { name: source.to_string(), problem };
    let camera = match source {
        Source::Stdin => return Err(ProbeError::Pipe),
        Source::Test { .. } => return Ok(look_at_scene()),
        Source::File(path) => return look_at_file(path),
        Source::Rtsp(url) => LiveSource::Rtsp(url.clone(), rtsp_transport),
        Source::Mjpeg(url) => LiveSource::Mjpeg(url.clone()),
        Source::V4l2(camera) => LiveSource::V4l2(camera.clone()),
    };
    let local = match source {
        Source::V4l2(camera) => Some(camera),
        Source::Stdin | Source::Test { .. } | Source::File(_) | Source::Rtsp(_) | Source::Mjpeg(_) => None,
    };
    // Looked through before it is read: a device that captures may refuse to be asked.
    let offers = local.map(|camera| v4l2::open(&camera.path).map(|(device, _)| device.offers())).transpose();
    let offers = offers.map_err(|trouble| silent(trouble.to_string()))?;
    let wanted = Target { settings: default_settings(), is_limit: false };
    let (mut seen, mut streams) = std::thread::scope(|scope| {
        let streams = scope.spawn(|| streams(source, rtsp_transport));
        let seen = watch(camera, wanted).map_err(|error| silent(error.to_string()));
        seen.map(|seen| (seen, streams.join().unwrap_or_default()))
    })?;
    if let (Some(offers), Some(camera), true) = (&offers, local, seen.codec.is_empty()) {
        seen.codec = v4l2::modes::choose(offers, wanted, camera.format).map_or("", |choice| choice.format.name());
    }
    let own = seen.character();
    let presets = match (&offers, local) {
        (Some(offers), Some(camera)) => presets_of_device(offers, camera, own),
        _ => presets(own, matches!(seen.codec, "h264" | "h265")),
    };
    let bitrate_bps = matches!(seen.codec, "h264" | "h265" | "mjpeg").then_some(own.bitrate_bps);
    let video = VideoReport { codec: seen.codec, width: own.width, height: own.height, fps: own.fps, bitrate_bps };
    if let Some(first) = streams.first_mut().filter(|first| first.problem.is_none()) {
        (first.width, first.height, first.fps) = (Some(video.width), Some(video.height), Some(video.fps));
    }
    Ok(SourceReport { source: source.to_string(), video, audio: audio_of(&seen.tracks), streams, presets })
}

/// The streams of a camera, where there are several: in one description, or at an address each.
fn streams(source: &Source, transport: Transport) -> Vec<StreamReport> {
    let mut found = Vec::new();
    for (place, address) in source.each().iter().enumerate() {
        let Source::Rtsp(url) = address else { return Vec::new() };
        let empty = StreamReport { source: address.to_string(), codec: String::new(), width: None, height: None, fps: None, problem: None };
        match offers::of(url, transport) {
            Ok(offers) => found.extend(offers.into_iter().map(|offer| {
                let (width, height) = offer.size.unzip();
                StreamReport { codec: offer.codec, width, height, fps: offer.fps, ..empty.clone() }
            })),
            Err(trouble) => found.push(StreamReport { problem: Some(trouble.to_string()), ..empty }),
        }
        // An address of its own can be read as the first was.
        if place > 0
            && let Ok(seen) = watch(LiveSource::Rtsp(url.clone(), transport), Target { settings: default_settings(), is_limit: false })
            && let Some(last) = found.last_mut().filter(|last| last.problem.is_none())
        {
            let own = seen.character();
            (last.width, last.height, last.fps) = (Some(own.width), Some(own.height), Some(own.fps));
        }
    }
    if found.len() < 2 { Vec::new() } else { found }
}

fn default_settings() -> Settings {
    Quality::default().settings().unwrap_or(UNBOUNDED)
}

fn look_at_scene() -> SourceReport {
    let Settings { width, height, fps, .. } = default_settings();
    let own = Character { width, height, fps: f64::from(fps), bitrate_bps: 0 };
    let mut presets = presets(own, false);
    // It is drawn in the size that is wanted.
    for preset in &mut presets {
        if let Some(Settings { width, height, fps, .. }) = preset.quality.and_then(Quality::settings) {
            (preset.width, preset.height, preset.fps) = (width, height, fps);
        }
    }
    let video = VideoReport { codec: "drawn", width, height, fps: own.fps, bitrate_bps: None };
    SourceReport { source: "test".to_owned(), video, audio: None, streams: Vec::new(), presets }
}

fn look_at_file(path: &Path) -> Result<SourceReport, ProbeError> {
    let (own, codec, audio) = match open_file(path, UNBOUNDED)? {
        Opened::Clip(clip) => (clip.character(), if clip.is_hevc() { "h265" } else { "h264" }, audio_of(clip.tracks())),
        Opened::Ffmpeg(decoder, _) => {
            let (width, height) = (decoder.size().0 as u32, decoder.size().1 as u32);
            let own = Character { width, height, fps: decoder.fps().unwrap_or(0.0), bitrate_bps: 0 };
            (own, "decoded", audio_of(decoder.sound().as_slice()))
        }
    };
    let is_ours = codec != "decoded";
    let video = VideoReport { codec, width: own.width, height: own.height, fps: own.fps, bitrate_bps: is_ours.then_some(own.bitrate_bps) };
    Ok(SourceReport { source: path.display().to_string(), video, audio, streams: Vec::new(), presets: presets(own, is_ours) })
}

fn audio_of(tracks: &[Track]) -> Option<AudioReport> {
    tracks.iter().find_map(|track| {
        let TrackConfig::Aac(config) = &track.config else { return None };
        Some(AudioReport { codec: "aac", sample_rate_hz: config.sample_rate_hz(), channels: config.channels() })
    })
}

/// None asked for, then each.
fn qualities() -> impl Iterator<Item = (Option<Quality>, Settings)> {
    let named = Quality::PRESETS.into_iter().filter_map(|quality| Some((Some(quality), quality.settings()?)));
    std::iter::once((None, default_settings())).chain(named)
}

/// What each preset makes of a source with these numbers.
fn presets(own: Character, is_h264: bool) -> Vec<PresetReport> {
    qualities().map(|(quality, limits)| preset(quality, limits, own, is_h264)).collect()
}

fn preset(quality: Option<Quality>, limits: Settings, own: Character, is_h264: bool) -> PresetReport {
    let own_fps = (own.fps.round() as u32).max(1);
    let is_passed_through = is_h264 && (quality.is_none() || !exceeds(own, limits));
    let Settings { width, height, fps, bitrate_bps } = if is_passed_through {
        Settings { width: own.width, height: own.height, fps: own_fps, bitrate_bps: own.bitrate_bps }
    } else {
        Settings { fps: limits.fps.min(own_fps), ..scaled_into((own.width, own.height), limits) }
    };
    PresetReport { quality, is_passed_through, width, height, fps, bitrate_bps, read_as: None }
}

/// A device is read in another size for each.
fn presets_of_device(offers: &[Offer], camera: &V4l2Camera, seen: Character) -> Vec<PresetReport> {
    let each = qualities().filter_map(|(quality, settings)| {
        let wanted = Target { settings, is_limit: quality.is_some() };
        let Choice { format, size, rate, .. } = v4l2::modes::choose(offers, wanted, camera.format)?;
        let fps = rate.map_or(f64::from(settings.fps), FrameRate::fps);
        // Its encoder follows the bit rate that it is set to.
        let own = Character { width: size.width, height: size.height, fps, bitrate_bps: seen.bitrate_bps.min(settings.bitrate_bps) };
        let read_as = Some(format!("{} {}x{}@{}", format.name(), size.width, size.height, (fps * 100.0).round() / 100.0));
        Some(PresetReport { read_as, ..preset(quality, settings, own, format == PixelFormat::H264) })
    });
    each.collect()
}

/// What a camera gave while it was watched.
#[derive(Debug, Default)]
struct Watched {
    tracks: Vec<Track>,
    codec: &'static str,
    size: (u32, u32),
    /// Of the first and the last picture.
    times: Option<(MediaTime, MediaTime)>,
    pictures: u32,
    bytes: u64,
}

/// Why a camera gave nothing to look at.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error(transparent)]
    Reader(#[from] LiveError),
    #[error(transparent)]
    Camera(#[from] Trouble),
}

/// Reads a camera for a few seconds from its first picture on.
fn watch(camera: LiveSource, wanted: Target) -> Result<Watched, WatchError> {
    let start = Instant::now();
    let live = Live::open(camera, wanted, start)?;
    let (mut watched, mut until) = (Watched::default(), None);
    let time = |at: Instant| MediaTime::from_micros(i64::try_from(at.saturating_duration_since(start).as_micros()).unwrap_or(i64::MAX));
    while until.is_none_or(|until| Instant::now() < until) {
        match live.next(LOOK_INTERVAL)? {
            Some(SourceEvent::Track(track)) => {
                if let Some(size) = track.config.size() {
                    (watched.size, watched.codec) = (size, if track.config.codec() == Codec::Hevc { "h265" } else { "h264" });
                }
                watched.tracks.retain(|known| known.id != track.id);
                watched.tracks.push(*track);
            }
            Some(SourceEvent::Frame(frame, _)) if frame.track == TrackId::VIDEO => watched.count(frame.dts, frame.payload.len()),
            Some(SourceEvent::Frame(..)) | None => {}
            Some(SourceEvent::Picture(jpeg, at)) => {
                if watched.size == (0, 0) {
                    let mut picture = Picture::new(2, 2);
                    if jpeg::decode(&jpeg, &mut picture).is_err() {
                        continue;
                    }
                    (watched.size, watched.codec) = ((picture.width() as u32, picture.height() as u32), "mjpeg");
                }
                watched.count(time(at), jpeg.len());
            }
            Some(SourceEvent::Pixels(picture, at)) => {
                watched.size = (picture.width() as u32, picture.height() as u32);
                watched.count(time(at), 0);
            }
            Some(SourceEvent::Lost { trouble, .. }) if watched.pictures == 0 => return Err(trouble.into()),
            Some(SourceEvent::Lost { .. }) => break,
        }
        if watched.pictures > 0 {
            until.get_or_insert_with(|| Instant::now() + MEASURED);
        }
    }
    Ok(watched)
}

impl Watched {
    fn count(&mut self, at: MediaTime, bytes: usize) {
        self.pictures += 1;
        self.bytes += bytes as u64;
        let (first, _) = *self.times.get_or_insert((at, at));
        self.times = Some((first, at));
    }

    fn character(&self) -> Character {
        let seconds = self.times.map_or(0.0, |(first, last)| (last - first).ticks_90k as f64 / 90_000.0);
        let (width, height) = self.size;
        if self.pictures < 2 || seconds <= 0.0 {
            return Character { width, height, fps: 0.0, bitrate_bps: 0 };
        }
        let fps = f64::from(self.pictures - 1) / seconds;
        // Times of arrival: as many digits as they are worth.
        let bitrate_bps = self.bytes as f64 * 8.0 / seconds;
        Character { width, height, fps: (fps * 100.0).round() / 100.0, bitrate_bps: bitrate_bps.min(f64::from(u32::MAX)) as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h264_is_passed_through_by_the_presets_that_it_fits() {
        let own = Character { width: 1920, height: 1080, fps: 24.99, bitrate_bps: 2_000_000 };
        let through: Vec<bool> = presets(own, true).iter().map(|preset| preset.is_passed_through).collect();
        assert_eq!(through, [true, false, false, true, true]);
        let reports = presets(own, true);
        let low = &reports[1];
        assert_eq!((low.quality, low.width, low.height, low.fps, low.bitrate_bps), (Some(Quality::Low), 640, 360, 15, 500_000));
        assert!(presets(own, false).iter().all(|preset| !preset.is_passed_through));
    }

    #[test]
    fn the_scene_is_what_is_asked_for_and_a_pipe_is_not_emptied() {
        let report = look(&Source::Test { has_grain: false }, Transport::Tcp).unwrap();
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(
            json["presets"][1],
            serde_json::json!({
                "quality": "low", "is_passed_through": false, "width": 640, "height": 480, "fps": 15, "bitrate_bps": 500_000
            })
        );
        assert!(matches!(look(&Source::Stdin, Transport::Tcp), Err(ProbeError::Pipe)));
    }

    #[test]
    fn a_device_is_read_in_the_size_of_each_preset() {
        use sightline_capture::v4l2::modes::{FourCc, Size};
        let size = |width, height| (Sides::Exactly(Size { width, height }), Rates::Listed(vec![FrameRate { frames: 30, seconds: 1 }]));
        let offers = [
            Offer { format: FourCc(*b"YUYV"), description: String::new(), sizes: vec![size(640, 480), size(1280, 720)] },
            Offer { format: FourCc(*b"H264"), description: String::new(), sizes: vec![size(1920, 1080)] },
        ];
        let camera = V4l2Camera { path: "/dev/video0".into(), format: None };
        let seen = Character { width: 1920, height: 1080, fps: 30.0, bitrate_bps: 3_000_000 };
        let reports = presets_of_device(&offers, &camera, seen);
        let read: Vec<(bool, &str)> =
            reports.iter().map(|report| (report.is_passed_through, report.read_as.as_deref().unwrap_or_default())).collect();
        // 30 frames a second are above `high`, but not above `ultra`.
        assert_eq!(
            read,
            [
                (true, "h264 1920x1080@30"),
                (false, "yuyv 640x480@30"),
                (false, "yuyv 1280x720@30"),
                (false, "h264 1920x1080@30"),
                (true, "h264 1920x1080@30"),
            ]
        );
    }
}
