//! The fields of an SPS, in their order (H.264 §7.3.2.1.1 and Annex E).

use super::{ConfigError, Picture};
use crate::bits::BitReader;

/// The most macroblocks of a side: 16,384 pixels.
const SIDE_MBS_MAX: u32 = 1024;
/// The deepest samples that a profile has, in bits.
const BIT_DEPTH_MAX: u32 = 14;
/// The longest cycle of picture order count type 1 (§7.4.2.1.1).
const ORDER_CYCLE_MAX: u32 = 255;

/// How samples are coded.
struct Format {
    chroma_format: u32,
    bit_depth_luma: u32,
    bit_depth_chroma: u32,
    /// Each colour plane is coded as a picture of its own.
    planes_apart: bool,
}

/// A reader whose every read past the end is [`ConfigError::Truncated`].
struct Sps<'a>(BitReader<'a>);

/// Reads the bytes behind the NAL unit's header.
pub(super) fn read(body: &[u8]) -> Result<Picture, ConfigError> {
    let mut sps = Sps(BitReader::rbsp(body));
    let profile = sps.byte()?;
    // Constraints, and the level behind them.
    sps.byte()?;
    let level = sps.byte()?;
    sps.number()?;
    let format = sps.format(profile)?;
    sps.skip_order_count()?;
    let (width, height) = sps.size(&format)?;
    let small = |value: u32| u8::try_from(value).map_err(|_| ConfigError::Sps);
    Ok(Picture {
        width,
        height,
        profile,
        level,
        chroma_format: small(format.chroma_format)?,
        bit_depth_luma: small(format.bit_depth_luma)?,
        bit_depth_chroma: small(format.bit_depth_chroma)?,
        // A VUI that is cut short costs only the frame rate.
        frames_per_kilosecond: if sps.0.bit() == Some(true) { read_vui_rate(&mut sps.0) } else { None },
    })
}

impl Sps<'_> {
    fn flag(&mut self) -> Result<bool, ConfigError> {
        self.0.bit().ok_or(ConfigError::Truncated)
    }

    fn byte(&mut self) -> Result<u8, ConfigError> {
        self.0.bits(8).and_then(|byte| u8::try_from(byte).ok()).ok_or(ConfigError::Truncated)
    }

    /// `ue(v)`.
    fn number(&mut self) -> Result<u32, ConfigError> {
        self.0.unsigned_exp_golomb().ok_or(ConfigError::Truncated)
    }

    /// `se(v)`.
    fn signed(&mut self) -> Result<i32, ConfigError> {
        self.0.signed_exp_golomb().ok_or(ConfigError::Truncated)
    }

    /// Chroma format and bit depths, which only the high profiles name.
    fn format(&mut self, profile: u8) -> Result<Format, ConfigError> {
        let mut format = Format { chroma_format: 1, bit_depth_luma: 8, bit_depth_chroma: 8, planes_apart: false };
        if !matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135) {
            return Ok(format);
        }
        format.chroma_format = self.number()?;
        if format.chroma_format == 3 {
            format.planes_apart = self.flag()?;
        }
        format.bit_depth_luma = self.number()?.saturating_add(8);
        format.bit_depth_chroma = self.number()?.saturating_add(8);
        if format.chroma_format > 3 || format.bit_depth_luma > BIT_DEPTH_MAX || format.bit_depth_chroma > BIT_DEPTH_MAX {
            return Err(ConfigError::Sps);
        }
        self.flag()?;
        if self.flag()? {
            for list in 0..if format.chroma_format == 3 { 12 } else { 8 } {
                if self.flag()? {
                    self.skip_scaling_list(if list < 6 { 16 } else { 64 })?;
                }
            }
        }
        Ok(format)
    }

    fn skip_scaling_list(&mut self, size: u32) -> Result<(), ConfigError> {
        let (mut last, mut next) = (8_i64, 8_i64);
        for _ in 0..size {
            if next != 0 {
                next = (last + i64::from(self.signed()?) + 256) % 256;
            }
            last = if next == 0 { last } else { next };
        }
        Ok(())
    }

    /// Frame numbers, picture order count and reference frames: nothing here needs them.
    fn skip_order_count(&mut self) -> Result<(), ConfigError> {
        self.number()?;
        match self.number()? {
            0 => {
                self.number()?;
            }
            1 => {
                self.flag()?;
                self.signed()?;
                self.signed()?;
                let cycle = self.number()?;
                if cycle > ORDER_CYCLE_MAX {
                    return Err(ConfigError::Sps);
                }
                for _ in 0..cycle {
                    self.signed()?;
                }
            }
            _ => {}
        }
        self.number()?;
        self.flag()?;
        Ok(())
    }

    /// Width and height in pixels, cropped.
    fn size(&mut self, format: &Format) -> Result<(u32, u32), ConfigError> {
        let width_mbs = self.number()?.saturating_add(1);
        let height_units = self.number()?.saturating_add(1);
        if width_mbs > SIDE_MBS_MAX || height_units > SIDE_MBS_MAX {
            return Err(ConfigError::Sps);
        }
        let frames_only = self.flag()?;
        if !frames_only {
            self.flag()?;
        }
        self.flag()?;
        let fields = if frames_only { 1 } else { 2 };
        let (width, height) = (width_mbs * 16, height_units * 16 * fields);
        if !self.flag()? {
            return Ok((width, height));
        }
        let (unit_x, unit_y) = match format.chroma_format {
            1 if !format.planes_apart => (2, 2 * fields),
            2 if !format.planes_apart => (2, fields),
            _ => (1, fields),
        };
        let (left, right) = (self.edge(unit_x)?, self.edge(unit_x)?);
        let (top, bottom) = (self.edge(unit_y)?, self.edge(unit_y)?);
        let cropped = |side: u32, edges: u32| side.checked_sub(edges).filter(|&side| side > 0).ok_or(ConfigError::Sps);
        Ok((cropped(width, left.saturating_add(right))?, cropped(height, top.saturating_add(bottom))?))
    }

    /// What is cropped from an edge, in pixels.
    fn edge(&mut self, unit: u32) -> Result<u32, ConfigError> {
        Ok(self.number()?.saturating_mul(unit))
    }
}

/// The VUI up to its timing (H.264 §E.1.1); `None` where it has none.
fn read_vui_rate(bits: &mut BitReader<'_>) -> Option<u32> {
    const EXTENDED_SAR: u32 = 255;
    if bits.bit()? && bits.bits(8)? == EXTENDED_SAR {
        bits.bits(32)?;
    }
    if bits.bit()? {
        bits.bit()?;
    }
    if bits.bit()? {
        bits.bits(4)?;
        if bits.bit()? {
            bits.bits(24)?;
        }
    }
    if bits.bit()? {
        bits.unsigned_exp_golomb()?;
        bits.unsigned_exp_golomb()?;
    }
    if !bits.bit()? {
        return None;
    }
    let (units_in_tick, time_scale) = (u64::from(bits.bits(32)?), u64::from(bits.bits(32)?));
    // Two ticks a frame: H.264 counts fields.
    let rate = (time_scale * 1000).checked_div(units_in_tick * 2)?;
    u32::try_from(rate).ok().filter(|&rate| rate > 0 && rate <= 1_000_000)
}
