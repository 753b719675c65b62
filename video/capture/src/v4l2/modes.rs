//! What a device offers, and which of it is taken for a preset. Pure.

use sightline_signal::Settings;
use std::{cmp::Ordering, fmt, str::FromStr};

use crate::jpeg;

/// The longest side that is taken, in pixels: pictures are copied and scaled in memory.
const SIDE_MAX: u32 = jpeg::SIDE_MAX as u32;
/// A rate this much below the wanted one still counts as it: 29.97 is 30.
const RATE_TOLERANCE: f64 = 0.95;
/// H.264 this much above the wanted rate still fits, as of any other source.
const FIT_TOLERANCE: f64 = sightline_signal::FIT_TOLERANCE;

/// V4L2's name of a pixel format: four characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FourCc(pub [u8; 4]);

impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(String::from_utf8_lossy(&self.0.map(|byte| if byte.is_ascii_graphic() { byte } else { b'.' })).trim_end_matches('.'))
    }
}

impl fmt::Debug for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The formats that are read, cheapest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PixelFormat {
    /// Encoded in the camera: passed through where it fits.
    H264,
    /// Planar luma, interleaved chroma, 4:2:0.
    Nv12,
    /// Planar, 4:2:0.
    Yu12,
    /// Interleaved, 4:2:2.
    Yuyv,
    /// JPEG pictures.
    Mjpeg,
}

impl PixelFormat {
    const ALL: [(Self, &'static str); 5] =
        [(Self::H264, "h264"), (Self::Nv12, "nv12"), (Self::Yu12, "yu12"), (Self::Yuyv, "yuyv"), (Self::Mjpeg, "mjpeg")];

    /// As it is named in settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(format, _)| *format == self).map_or("", |(_, name)| name)
    }

    pub fn of(code: FourCc) -> Option<Self> {
        match &code.0 {
            b"H264" => Some(Self::H264),
            b"NV12" => Some(Self::Nv12),
            b"YU12" => Some(Self::Yu12),
            b"YUYV" => Some(Self::Yuyv),
            // Some drivers call it JPEG: whole files, with tables.
            b"MJPG" | b"JPEG" => Some(Self::Mjpeg),
            _ => None,
        }
    }
}

/// A name that is no format.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is none of auto, h264, nv12, yu12, yuyv, mjpeg")]
pub struct UnknownFormat(String);

impl FromStr for PixelFormat {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        let found = Self::ALL.iter().find(|(_, known)| *known == name).map(|(format, _)| *format);
        found.ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}

/// Pixels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size {
    pub width: u32,
    pub height: u32,
}

/// Pictures a second, as the fraction that a driver deals in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameRate {
    pub frames: u32,
    pub seconds: u32,
}

impl FrameRate {
    /// Of an interval between two pictures.
    pub fn from_interval(seconds: u32, frames: u32) -> Option<Self> {
        (frames > 0 && seconds > 0).then_some(Self { frames, seconds })
    }

    pub fn fps(self) -> f64 {
        f64::from(self.frames) / f64::from(self.seconds.max(1))
    }
}

/// Sizes of a format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sides {
    Exactly(Size),
    Between { least: Size, most: Size, step: Size },
}

/// Rates of a size.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rates {
    Listed(Vec<FrameRate>),
    Between {
        least: FrameRate,
        most: FrameRate,
    },
    /// The driver does not say.
    Unknown,
}

/// A format as a driver offers it. Without sizes: the driver lists none, and takes what it is asked for, or something near.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    pub format: FourCc,
    pub description: String,
    pub sizes: Vec<(Sides, Rates)>,
}

/// What is asked of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    pub settings: Settings,
    /// False: H.264 is passed through whatever its numbers.
    pub is_limit: bool,
}

/// What is taken.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Choice {
    pub format: PixelFormat,
    pub code: FourCc,
    pub size: Size,
    pub rate: Option<FrameRate>,
}

/// The choice that comes nearest: size and rate at or above those wanted before anything else, of these the smallest picture (what is above is scaled
/// away), the format that costs least, and the lowest rate. `only`: no other format. `None`: nothing that is read here.
pub fn choose(offers: &[Offer], wanted: Target, only: Option<PixelFormat>) -> Option<Choice> {
    let mut best: Option<(Choice, Merit)> = None;
    for (format, offer) in offers.iter().filter_map(|offer| Some((PixelFormat::of(offer.format)?, offer))) {
        if only.is_some_and(|only| only != format) {
            continue;
        }
        for (size, rate) in candidates(offer, wanted.settings) {
            let choice = Choice { format, code: offer.format, size, rate };
            let merit = Merit::of(&choice, wanted);
            if best.as_ref().is_none_or(|(_, best)| merit.compare(best) == Ordering::Greater) {
                best = Some((choice, merit));
            }
        }
    }
    best.map(|(choice, _)| choice)
}

/// Every size of an offer with its best rates for what is wanted.
fn candidates(offer: &Offer, wanted: Settings) -> Vec<(Size, Option<FrameRate>)> {
    if offer.sizes.is_empty() {
        return vec![(Size { width: wanted.width, height: wanted.height }, None)];
    }
    let sizes = offer.sizes.iter().flat_map(|(sides, rates)| {
        let size = match *sides {
            Sides::Exactly(size) => size,
            Sides::Between { least, most, step } => Size {
                width: within(wanted.width, least.width, most.width, step.width),
                height: within(wanted.height, least.height, most.height, step.height),
            },
        };
        let rates = match rates {
            Rates::Unknown => vec![None],
            Rates::Listed(listed) => listed.iter().copied().map(Some).collect(),
            Rates::Between { least, most } => {
                let wanted = FrameRate { frames: wanted.fps, seconds: 1 };
                let rate = if wanted.fps() > most.fps() {
                    *most
                } else if wanted.fps() < least.fps() {
                    *least
                } else {
                    wanted
                };
                vec![Some(rate)]
            }
        };
        rates.into_iter().map(move |rate| (size, rate))
    });
    sizes.filter(|(size, _)| (2..=SIDE_MAX).contains(&size.width) && (2..=SIDE_MAX).contains(&size.height)).collect()
}

/// The least of a stepped range that is at or above `side`; its most where none is.
fn within(side: u32, least: u32, most: u32, step: u32) -> u32 {
    let steps = side.saturating_sub(least).div_ceil(step.max(1));
    let above = least.saturating_add(steps.saturating_mul(step.max(1)));
    if above <= most { above } else { most.saturating_sub(most.saturating_sub(least) % step.max(1)) }
}

/// How good a choice is.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Merit {
    /// The share of what is wanted that it gives: 1 is all.
    share: f64,
    pixels: u64,
    /// The format's place; H.264 that would be decoded to be encoded again comes last.
    cost: u32,
    fps: f64,
}

impl Merit {
    fn of(choice: &Choice, Target { settings, is_limit }: Target) -> Self {
        let part = |given: f64, wanted: u32| (given / f64::from(wanted.max(1))).min(1.0);
        let fps = choice.rate.map_or(f64::from(settings.fps), FrameRate::fps);
        let rate = part(fps, settings.fps);
        let rate = if rate >= RATE_TOLERANCE { 1.0 } else { rate };
        let (width, height) = (choice.size.width, choice.size.height);
        let share = rate * part(f64::from(width), settings.width) * part(f64::from(height), settings.height);
        let fits = !is_limit || (width <= settings.width && height <= settings.height && fps <= f64::from(settings.fps) * FIT_TOLERANCE);
        let cost = if choice.format == PixelFormat::H264 && !fits { u32::MAX } else { choice.format as u32 };
        Self { share, pixels: u64::from(width) * u64::from(height), cost, fps }
    }

    /// Greater is better.
    fn compare(&self, other: &Self) -> Ordering {
        let share = self.share.total_cmp(&other.share);
        let pixels = other.pixels.cmp(&self.pixels);
        let (cost, fps) = (other.cost.cmp(&self.cost), other.fps.total_cmp(&self.fps));
        share.then(pixels).then(cost).then(fps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: Settings = Settings { width: 640, height: 480, fps: 15, bitrate_bps: 500_000 };
    const MEDIUM: Settings = Settings { width: 1280, height: 720, fps: 20, bitrate_bps: 1_000_000 };
    const HIGH: Settings = Settings { width: 1920, height: 1080, fps: 25, bitrate_bps: 2_000_000 };

    fn offer(format: &[u8; 4], sizes: &[(u32, u32, &[u32])]) -> Offer {
        let listed = |rates: &[u32]| Rates::Listed(rates.iter().map(|fps| FrameRate { frames: *fps, seconds: 1 }).collect());
        let sizes = sizes.iter().map(|(width, height, rates)| (Sides::Exactly(Size { width: *width, height: *height }), listed(rates)));
        Offer { format: FourCc(*format), description: String::new(), sizes: sizes.collect() }
    }

    fn chosen(offers: &[Offer], settings: Settings, is_limit: bool) -> (&'static str, u32, u32, f64) {
        let choice = choose(offers, Target { settings, is_limit }, None).unwrap();
        (choice.format.name(), choice.size.width, choice.size.height, choice.rate.map_or(0.0, FrameRate::fps))
    }

    /// As USB webcams are: raw pictures as far as USB 2 carries them, JPEG beyond.
    fn webcam() -> Vec<Offer> {
        vec![
            offer(b"YUYV", &[(640, 480, &[30, 15, 5]), (1280, 720, &[10, 5]), (1920, 1080, &[5])]),
            offer(b"MJPG", &[(640, 480, &[30]), (1280, 720, &[30]), (1920, 1080, &[30])]),
        ]
    }

    #[test]
    fn a_webcam_gives_raw_pictures_where_they_are_fast_enough_and_jpeg_beyond() {
        assert_eq!(chosen(&webcam(), LOW, true), ("yuyv", 640, 480, 15.0));
        assert_eq!(chosen(&webcam(), MEDIUM, true), ("mjpeg", 1280, 720, 30.0));
        assert_eq!(chosen(&webcam(), HIGH, true), ("mjpeg", 1920, 1080, 30.0));
    }

    #[test]
    fn a_preset_above_everything_takes_the_largest_that_is_fast_and_one_below_the_smallest() {
        let camera = [offer(b"NV12", &[(320, 240, &[60]), (640, 480, &[30]), (800, 600, &[2])])];
        assert_eq!(chosen(&camera, HIGH, true), ("nv12", 640, 480, 30.0));
        let small = Settings { width: 160, height: 120, fps: 10, bitrate_bps: 100_000 };
        assert_eq!(chosen(&camera, small, true), ("nv12", 320, 240, 60.0));
    }

    #[test]
    fn h264_is_taken_where_it_fits_and_raw_pictures_of_the_same_size_where_it_does_not() {
        let camera = [
            offer(b"YUYV", &[(1280, 720, &[30])]),
            offer(b"H264", &[(1280, 720, &[30]), (1920, 1080, &[30, 25])]),
            offer(b"MJPG", &[(1920, 1080, &[30])]),
        ];
        assert_eq!(chosen(&camera, HIGH, true), ("h264", 1920, 1080, 25.0));
        // 30 frames a second are above `medium`; without a preset they are not.
        assert_eq!(chosen(&camera, MEDIUM, true), ("yuyv", 1280, 720, 30.0));
        assert_eq!(chosen(&camera, MEDIUM, false), ("h264", 1280, 720, 30.0));
    }

    #[test]
    fn ranges_are_met_within_their_steps_and_silent_drivers_are_asked_for_what_is_wanted() {
        let sides = Sides::Between {
            least: Size { width: 32, height: 32 },
            most: Size { width: 3280, height: 2464 },
            step: Size { width: 32, height: 16 },
        };
        let rates = Rates::Between { least: FrameRate { frames: 1, seconds: 1 }, most: FrameRate { frames: 90, seconds: 1 } };
        let ranged = Offer { format: FourCc(*b"YU12"), description: String::new(), sizes: vec![(sides, rates)] };
        assert_eq!(chosen(&[ranged], HIGH, true), ("yu12", 1920, 1088, 25.0));
        let silent = Offer { format: FourCc(*b"YUYV"), description: String::new(), sizes: Vec::new() };
        assert_eq!(chosen(&[silent], LOW, true), ("yuyv", 640, 480, 0.0));
        assert_eq!([within(1, 32, 96, 32), within(33, 32, 96, 32), within(100, 32, 90, 32)], [32, 64, 64]);
    }

    #[test]
    fn a_format_can_be_asked_for_and_others_are_not_read() {
        let wanted = Target { settings: LOW, is_limit: true };
        assert_eq!(choose(&webcam(), wanted, Some(PixelFormat::Mjpeg)).unwrap().format, PixelFormat::Mjpeg);
        assert_eq!(choose(&webcam(), wanted, Some(PixelFormat::Nv12)), None);
        assert_eq!(choose(&[offer(b"BA81", &[(640, 480, &[30])])], wanted, None), None);
        assert_eq!(choose(&[offer(b"YUYV", &[(8000, 6000, &[30])])], wanted, None), None);
    }

    #[test]
    fn a_rate_of_29_97_is_as_good_as_30() {
        let mut camera = offer(b"YUYV", &[(640, 480, &[60])]);
        camera
            .sizes
            .push((Sides::Exactly(Size { width: 640, height: 480 }), Rates::Listed(vec![FrameRate { frames: 30_000, seconds: 1001 }])));
        let choice = choose(&[camera], Target { settings: Settings { fps: 30, ..LOW }, is_limit: true }, None).unwrap();
        assert_eq!(choice.rate, Some(FrameRate { frames: 30_000, seconds: 1001 }));
    }
}
