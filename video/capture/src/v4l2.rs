//! Cameras of this machine: `/dev/videoN`, by Linux's V4L2. USB webcams, boards' own cameras, capture cards.

pub mod kernel;
pub mod modes;
mod planes;

use bytes::Bytes;
use sightline_media::{
    Frame, MediaTime, Track, TrackId,
    intake::{Family, Intake, Passed},
};
use std::{
    convert::Infallible,
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::{io::Interest, time::timeout};

use crate::outlet::{FIRST_FRAME_TIMEOUT, Outlet, SILENCE_TIMEOUT, Trouble};
use crate::picture::Picture;
use kernel::{Ability, Captured, Device, Identity, Settled, Stream};
use modes::{Choice, PixelFormat, Target};

/// How often a silent device is asked whether it is still there: not every driver wakes those that wait when it is unplugged.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Pictures in a row that can't be read before it is logged: the first of some cameras are short.
const BROKEN_SAID: u32 = 25;
/// Two pictures are at least this far apart: a tick of RTMP.
const STEP_MIN: Duration = Duration::from_millis(1);

/// A camera of this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct V4l2Camera {
    /// `/dev/videoN`, or a link to it: those in `/dev/v4l/by-id` stay the same when something else is plugged in.
    pub path: PathBuf,
    /// Its format; `None`: the one that costs least.
    pub format: Option<PixelFormat>,
}

/// Reads until the camera is lost, and says why. `start` is the zero of the media time.
pub(crate) async fn read(camera: &V4l2Camera, wanted: Target, start: Instant, outlet: &mut Outlet) -> Trouble {
    match play(camera, wanted, start, outlet).await {
        Ok(never) => match never {},
        Err(trouble) => trouble,
    }
}

/// `/dev/videoN`, by their numbers.
pub fn nodes() -> Vec<PathBuf> {
    let number = |path: &Path| path.file_name()?.to_str()?.strip_prefix("video")?.parse::<u32>().ok();
    let entries = std::fs::read_dir("/dev").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<(u32, PathBuf)> = entries.filter_map(|path| Some((number(&path)?, path))).collect();
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

/// Opens a device and asks what it is.
pub fn open(path: &Path) -> Result<(Device, Identity), Trouble> {
    let mut device = Device::open(path).map_err(|error| trouble_of(path, &error))?;
    let identity = device.identity().map_err(|error| match error.raw_os_error() {
        Some(libc::ENOTTY | libc::EINVAL) => Trouble::refusal("it is no V4L2 device: `sightline camera probe` lists those that are there"),
        _ => trouble_of(path, &error),
    })?;
    match identity.ability {
        Ability::Capture => Ok((device, identity)),
        Ability::Convert | Ability::Other => Err(Trouble::refusal(format!(
            "{} gives no pictures by this device (a camera can have several): take one that `sightline camera probe` lists",
            identity.name
        ))),
    }
}

/// Picks what comes nearest to what is wanted.
pub fn choose(device: &Device, wanted: Target, only: Option<PixelFormat>) -> Result<Choice, Trouble> {
    let offers = device.offers();
    modes::choose(&offers, wanted, only).ok_or_else(|| {
        let names: Vec<String> = offers.iter().map(|offer| offer.format.to_string()).collect();
        let asked =
            only.map_or("H264, NV12, YU12, YUYV and MJPG are read".to_owned(), |only| format!("v4l2_format asks for {}", only.name()));
        Trouble::format(format!("it gives {}; {asked}", if names.is_empty() { "no format".to_owned() } else { names.join(", ") }))
    })
}

/// Opens, negotiates and starts to capture.
fn begin(camera: &V4l2Camera, wanted: Target) -> Result<(Stream, PixelFormat, Settled), Trouble> {
    let path = camera.path.as_path();
    let failed = |error: io::Error| trouble_of(path, &error);
    let (device, identity) = open(path)?;
    let choice = choose(&device, wanted, camera.format)?;
    let settled = device.set(choice.code, choice.size, choice.rate).map_err(failed)?;
    let (width, height) = (settled.size.width, settled.size.height);
    if settled.format != choice.code || width < 2 || height < 2 {
        return Err(Trouble::format(format!(
            "asked for {}, its driver gives {} of {width}x{height}: set v4l2_format to another one",
            choice.code, settled.format
        )));
    }
    if settled.memories != 1 {
        return Err(Trouble::format(format!(
            "its {} lies in {} memories, and pictures in one are read: set v4l2_format to another one",
            choice.code, settled.memories
        )));
    }
    if choice.format == PixelFormat::H264 {
        device.set_encoder(wanted.settings.bitrate_bps);
    }
    let stream = device.start().map_err(failed)?;
    let fps = settled.rate.map(modes::FrameRate::fps);
    tracing::info!(camera = %path.display(), name = identity.name, format = choice.format.name(), width, height, fps, "the camera answers");
    Ok((stream, choice.format, settled))
}

async fn play(camera: &V4l2Camera, wanted: Target, start: Instant, outlet: &mut Outlet) -> Result<Infallible, Trouble> {
    let path = camera.path.as_path();
    let failed = |error: io::Error| trouble_of(path, &error);
    let (stream, format, settled) = begin(camera, wanted)?;
    let mut taker = Taker { format, settled, start, last: None, intake: Intake::new(Family::H264), broken: 0 };
    let mut stream = stream.watch().map_err(failed)?;
    let (mut bytes, mut deadline) = (Vec::new(), Instant::now() + FIRST_FRAME_TIMEOUT);
    loop {
        // Cleared before all is taken, not after: what comes in between wakes again.
        if let Ok(ready) = timeout(LOOK_INTERVAL, stream.ready(Interest::READABLE | Interest::ERROR)).await {
            ready.map_err(failed)?.clear_ready();
        }
        let taken = drain(stream.get_mut(), path, &mut bytes, &mut taker, outlet)?;
        if taken > 0 {
            deadline = Instant::now() + SILENCE_TIMEOUT;
        } else if Instant::now() > deadline {
            let limit = if outlet.has_given() { SILENCE_TIMEOUT } else { FIRST_FRAME_TIMEOUT };
            return Err(Trouble::passing(format!(
                "no picture within {} s: unplug it and plug it in again if this goes on",
                limit.as_secs()
            )));
        }
    }
}

/// Takes every picture that is there; gives how many.
fn drain(stream: &mut Stream, path: &Path, bytes: &mut Vec<u8>, taker: &mut Taker, outlet: &mut Outlet) -> Result<u32, Trouble> {
    let mut taken = 0;
    loop {
        match stream.take(bytes) {
            Ok(Some(captured)) => {
                taker.take(bytes, captured, outlet)?;
                taken += 1;
            }
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(taken),
            Err(error) => return Err(trouble_of(path, &error)),
        }
    }
}

/// What makes frames and pictures of a driver's buffers.
struct Taker {
    format: PixelFormat,
    settled: Settled,
    start: Instant,
    last: Option<Instant>,
    /// Of H.264.
    intake: Intake,
    /// Pictures in a row that could not be used.
    broken: u32,
}

impl Taker {
    fn take(&mut self, bytes: &[u8], captured: Captured, outlet: &mut Outlet) -> Result<(), Trouble> {
        // A driver's time may step back; ours may not.
        let at = self.last.map_or(captured.at, |last| captured.at.max(last + STEP_MIN));
        self.last = Some(at);
        match self.format {
            PixelFormat::H264 => self.take_h264(bytes, at, captured.follows_loss, outlet),
            PixelFormat::Mjpeg => outlet.picture(Bytes::copy_from_slice(bytes), at),
            PixelFormat::Nv12 | PixelFormat::Yu12 | PixelFormat::Yuyv => {
                let mut picture = Picture::new(2, 2);
                match planes::copy(self.format, &self.settled, bytes, &mut picture) {
                    Ok(()) => {
                        self.broken = 0;
                        outlet.pixels(picture, at)
                    }
                    Err(problem) => {
                        // The first pictures of some cameras are short.
                        self.broken += 1;
                        if self.broken == BROKEN_SAID {
                            tracing::warn!(
                                %problem,
                                "FRAME_FORMAT_UNSUPPORTED: the camera's pictures can't be read; set v4l2_format to another one"
                            );
                        }
                        Ok(())
                    }
                }
            }
        }
    }

    /// A buffer is an access unit; some cameras give the parameter sets in one of their own.
    fn take_h264(&mut self, bytes: &[u8], at: Instant, follows_loss: bool, outlet: &mut Outlet) -> Result<(), Trouble> {
        let (taken, payload) = match self.intake.take_unit(bytes) {
            Ok(taken) => taken,
            Err(Passed::NoPicture | Passed::NoConfig) => return Ok(()),
            Err(Passed::Unreadable) => {
                self.broken += 1;
                if self.broken == BROKEN_SAID {
                    tracing::warn!("FRAME_FORMAT_UNSUPPORTED: what the camera calls H.264 can't be read; set v4l2_format to another one");
                }
                return Ok(());
            }
        };
        self.broken = 0;
        if let Some(config) = taken.config {
            outlet.track(Track { id: TrackId::VIDEO, config });
        }
        let elapsed = i64::try_from(at.saturating_duration_since(self.start).as_micros()).unwrap_or(i64::MAX);
        let time = MediaTime::from_micros(elapsed);
        let (is_keyframe, is_disposable) = (taken.is_keyframe, taken.is_disposable);
        let payload = Bytes::from(payload);
        outlet.frame(Frame { track: TrackId::VIDEO, dts: time, pts: time, is_keyframe, is_disposable, payload }, at, follows_loss)
    }
}

/// The system's error, with the fix.
fn trouble_of(path: &Path, error: &io::Error) -> Trouble {
    match error.raw_os_error() {
        Some(libc::ENOENT) => {
            Trouble::refusal("there is no such device: plug the camera in; `sightline camera probe` lists those that are there")
        }
        Some(libc::EACCES | libc::EPERM) => Trouble::refusal(
            "PERMISSION_DENIED: this user may not open it: add the user to the group video (`sudo usermod -aG video USER`), and log in again",
        ),
        Some(libc::EBUSY) => Trouble::refusal(format!("another program uses it: end that one (`fuser -v {}` names it)", path.display())),
        Some(libc::ENOSPC) => Trouble::refusal(
            "its USB bus has no room for this size and rate beside its other devices: take a lower preset, or plug it in elsewhere",
        ),
        Some(libc::ENODEV | libc::ENXIO) => Trouble::passing("it was unplugged"),
        _ => Trouble::passing(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_camera_is_said_with_its_mend() {
        for (path, expected) in [("/dev/video-that-is-not-there", "no such device"), ("/dev/null", "no V4L2 device")] {
            let trouble = open(Path::new(path)).unwrap_err();
            assert!(trouble.is_refusal && trouble.problem.contains(expected), "{path}: {trouble}");
            assert!(trouble.problem.contains("sightline camera probe"), "{trouble}");
        }
        for (code, expected) in [(libc::EACCES, "PERMISSION_DENIED"), (libc::EACCES, "group video"), (libc::EBUSY, "fuser -v /dev/video3")]
        {
            let trouble = trouble_of(Path::new("/dev/video3"), &io::Error::from_raw_os_error(code));
            assert!(trouble.is_refusal && trouble.problem.contains(expected), "{trouble}");
        }
        assert!(!trouble_of(Path::new("/dev/video3"), &io::Error::from_raw_os_error(libc::ENODEV)).is_refusal);
    }

    /// What a device with an encoder gives: one access unit a buffer, Annex B.
    fn access_units(pictures: usize) -> Vec<Vec<u8>> {
        use crate::scene::Scene;
        use sightline_h264::{Encoder, Planes};
        let settings = sightline_signal::Settings { width: 320, height: 240, fps: 10, bitrate_bps: 200_000 };
        let (mut encoder, mut scene) = (Encoder::open(settings, 1.0).unwrap(), Scene::new(320, 240, "cam-1"));
        let units = (0..pictures).map(|index| {
            let time = i64::try_from(index).unwrap() * 100;
            let picture = scene.paint(u64::try_from(time).unwrap());
            let planes = Planes { planes: picture.planes(), width: 320, height: 240 };
            encoder.encode(planes, MediaTime::from_millis(time)).unwrap().to_vec()
        });
        units.filter(|unit| !unit.is_empty()).collect()
    }

    #[test]
    fn h264_of_a_device_passes_with_its_times_and_after_a_loss_waits_for_a_key_frame() {
        use crate::outlet::SourceEvent;
        let (sender, seen) = std::sync::mpsc::sync_channel(64);
        let mut outlet = Outlet::new(sender, std::sync::Arc::default());
        let settled = Settled {
            format: modes::FourCc(*b"H264"),
            size: modes::Size { width: 320, height: 240 },
            memories: 1,
            line_bytes: 0,
            is_full_range: false,
            rate: None,
        };
        let start = Instant::now();
        let mut taker = Taker { format: PixelFormat::H264, settled, start, last: None, intake: Intake::new(Family::H264), broken: 0 };
        let units = access_units(25);
        let is_key: Vec<bool> = units.iter().map(|unit| sightline_media::annexb::AccessUnit::scan(unit).is_keyframe).collect();
        let lost = 3;
        let next_key = lost + is_key[lost..].iter().position(|is_key| *is_key).unwrap();
        for (index, unit) in units.iter().enumerate() {
            // The driver's clock steps back once; the buffer before number three never came.
            let millis = if index == 2 { 150 } else { u64::try_from(index).unwrap() * 100 + 100 };
            let captured = Captured { at: start + Duration::from_millis(millis), follows_loss: index == lost };
            taker.take(unit, captured, &mut outlet).unwrap();
        }
        let mut seen = seen.try_iter();
        assert!(matches!(seen.next(), Some(SourceEvent::Track(track)) if track.config.size() == Some((320, 240))));
        let frames: Vec<_> = seen.map(|seen| if let SourceEvent::Frame(frame, _) = seen { frame } else { panic!("{seen:?}") }).collect();
        assert_eq!(frames.len(), lost + units.len() - next_key);
        assert!(frames[0].is_keyframe && frames[lost].is_keyframe && !frames[1].is_keyframe);
        let times: Vec<i64> = frames[..=lost].iter().map(|frame| frame.dts.as_millis()).collect();
        assert_eq!(times[..3], [100, 200, 201]);
        assert_eq!(times[3], i64::try_from(next_key).unwrap() * 100 + 100);
    }
}
