//! Quality presets (specification §1.1).

use core::fmt;
use serde::{Deserialize, Serialize};

/// H.264 that others encoded still fits a preset when its numbers are this much above the preset's: rounding, and a container's overhead.
pub const FIT_TOLERANCE: f64 = 1.1;

/// A preset's name.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// 640x480, 15 fps, 500 kbit/s.
    Low,
    /// 1280x720, 20 fps, 1 Mbit/s.
    Medium,
    /// 1920x1080, 25 fps, 2 Mbit/s. The default.
    #[default]
    High,
    /// 1920x1080, 30 fps, 4 Mbit/s.
    Ultra,
    /// Size, rate and bit rate are given.
    Custom,
}

/// Size, frame rate and bit rate.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// Width in pixels; even.
    pub width: u32,
    /// Height in pixels; even.
    pub height: u32,
    /// Frames a second.
    pub fps: u32,
    /// Bits a second.
    pub bitrate_bps: u32,
}

/// A preset with its numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Preset {
    /// Its name.
    pub quality: Quality,
    /// Its numbers.
    pub settings: Settings,
}

/// A custom quality that was checked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CustomQuality(Settings);

/// Why a custom quality was refused. The running stream stays as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InvalidQuality {
    /// A side is zero, odd, or above 8,192.
    Size {
        /// The width that was asked for.
        width: u32,
        /// The height that was asked for.
        height: u32,
    },
    /// 0 frames a second, or more than the source gives.
    FrameRate {
        /// The rate that was asked for.
        fps: u32,
        /// The most that the source gives.
        fps_max: u32,
    },
    /// Under 50 kbit/s, or above 100 Mbit/s.
    Bitrate {
        /// The bit rate that was asked for.
        bitrate_bps: u32,
    },
}

impl fmt::Display for InvalidQuality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size { width, height } => write!(f, "INVALID_QUALITY: size {width}x{height}: both sides must be even, 2 to 8192"),
            Self::FrameRate { fps, fps_max } => write!(f, "INVALID_QUALITY: {fps} fps: the source gives 1 to {fps_max}"),
            Self::Bitrate { bitrate_bps } => write!(f, "INVALID_QUALITY: {bitrate_bps} bit/s: take 50000 to 100000000"),
        }
    }
}

impl core::error::Error for InvalidQuality {}

impl Quality {
    /// The presets, from the least to the most.
    pub const PRESETS: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Ultra];

    /// The preset's numbers; `None` for [`Quality::Custom`].
    #[must_use]
    pub const fn settings(self) -> Option<Settings> {
        let (width, height, fps, bitrate_bps) = match self {
            Self::Low => (640, 480, 15, 500_000),
            Self::Medium => (1280, 720, 20, 1_000_000),
            Self::High => (1920, 1080, 25, 2_000_000),
            Self::Ultra => (1920, 1080, 30, 4_000_000),
            Self::Custom => return None,
        };
        Some(Settings { width, height, fps, bitrate_bps })
    }

    /// The preset that has these numbers; else [`Quality::Custom`].
    #[must_use]
    pub fn of(settings: Settings) -> Self {
        Self::PRESETS.into_iter().find(|preset| preset.settings() == Some(settings)).unwrap_or(Self::Custom)
    }

    /// The name as messages have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Ultra => "ultra",
            Self::Custom => "custom",
        }
    }
}

impl core::str::FromStr for Quality {
    type Err = UnknownQuality;
    fn from_str(name: &str) -> Result<Self, UnknownQuality> {
        [Self::Low, Self::Medium, Self::High, Self::Ultra, Self::Custom]
            .into_iter()
            .find(|quality| quality.name() == name)
            .ok_or(UnknownQuality)
    }
}

/// A string that is no preset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownQuality;

impl fmt::Display for UnknownQuality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a quality is low, medium, high, ultra or custom")
    }
}

impl core::error::Error for UnknownQuality {}

impl CustomQuality {
    /// Least bits a second of a custom quality.
    pub const BITRATE_BPS_MIN: u32 = 50_000;
    /// Most bits a second: above it no uplink that this is made for carries it.
    pub const BITRATE_BPS_MAX: u32 = 100_000_000;
    /// The longest side in pixels: level 6.2 of H.264.
    pub const SIDE_MAX: u32 = 8192;

    /// Checks a custom quality against a source of at most `fps_max`, before any I/O.
    ///
    /// # Errors
    /// See [`InvalidQuality`].
    pub fn new(settings: Settings, fps_max: u32) -> Result<Self, InvalidQuality> {
        let Settings { width, height, fps, bitrate_bps } = settings;
        let fits = |side: u32| side != 0 && side.is_multiple_of(2) && side <= Self::SIDE_MAX;
        if !fits(width) || !fits(height) {
            return Err(InvalidQuality::Size { width, height });
        }
        if fps == 0 || fps > fps_max {
            return Err(InvalidQuality::FrameRate { fps, fps_max });
        }
        if !(Self::BITRATE_BPS_MIN..=Self::BITRATE_BPS_MAX).contains(&bitrate_bps) {
            return Err(InvalidQuality::Bitrate { bitrate_bps });
        }
        Ok(Self(settings))
    }

    /// The numbers.
    #[must_use]
    pub const fn settings(self) -> Settings {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_presets_are_those_of_the_specification() {
        let numbers = Quality::PRESETS.map(|quality| {
            let s = quality.settings().unwrap();
            (quality.name(), s.width, s.height, s.fps, s.bitrate_bps)
        });
        assert_eq!(
            numbers,
            [
                ("low", 640, 480, 15, 500_000),
                ("medium", 1280, 720, 20, 1_000_000),
                ("high", 1920, 1080, 25, 2_000_000),
                ("ultra", 1920, 1080, 30, 4_000_000)
            ]
        );
    }

    #[test]
    fn a_custom_quality_is_checked_before_any_io() {
        let good = Settings { width: 1280, height: 720, fps: 24, bitrate_bps: 1_500_000 };
        assert!(CustomQuality::new(good, 30).is_ok());
        for bad in [
            Settings { width: 0, ..good },
            Settings { height: 721, ..good },
            Settings { fps: 0, ..good },
            Settings { fps: 31, ..good },
            Settings { bitrate_bps: 49_999, ..good },
        ] {
            assert!(CustomQuality::new(bad, 30).is_err(), "{bad:?}");
        }
    }
}
