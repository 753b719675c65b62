//! A bar code of blocks in the picture: the frame's number and its capture time, readable from any decoded picture.
//!
//! Two rows of 48 blocks near the lower edge hold 96 bits, most significant first: the frame counter (32), the capture time in
//! milliseconds since 1970 (48), and a CRC-16 (CCITT, start 0xffff) over those ten bytes. A block's side is the width over 64;
//! the rows begin 8 blocks from the left, and end one block above the lower edge. Light is one, dark is zero.
//!
//! Black on white in blocks of ten pixels or more survives any bit rate that leaves a picture at all.

/// Bits in a row.
const COLUMNS: usize = 48;
/// Rows.
const ROWS: usize = 2;
/// Luma of a one and of a zero: the ends of the video range.
const LIGHT: u8 = 235;
const DARK: u8 = 16;

/// What is drawn into a picture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Counts the frames of a source from zero.
    pub frame: u32,
    /// When the picture was made, milliseconds since 1970.
    pub captured_unix_ms: u64,
}

/// Where the code lies in a picture of a given size.
#[derive(Clone, Copy, Debug)]
struct Layout {
    side: usize,
    left: usize,
    top: usize,
}

impl Layout {
    fn of(width: usize, height: usize) -> Option<Self> {
        let side = width / 64;
        let top = height.checked_sub(side * (ROWS + 1))?;
        (side >= 2).then_some(Self { side, left: side * 8, top })
    }
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xffff, |mut crc: u16, &byte| {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
        }
        crc
    })
}

impl Stamp {
    fn to_bits(self) -> u128 {
        let data = (u128::from(self.frame) << 48) | u128::from(self.captured_unix_ms & 0xffff_ffff_ffff);
        (data << 16) | u128::from(crc16(&data.to_be_bytes()[6..]))
    }

    /// Draws the code into a luma plane. Nothing is drawn where the picture is narrower than 128 pixels.
    pub fn draw(self, luma: &mut [u8], stride: usize, width: usize, height: usize) {
        let Some(Layout { side, left, top }) = Layout::of(width, height) else { return };
        let bits = self.to_bits();
        for row in 0..ROWS {
            for y in (top + row * side)..(top + (row + 1) * side) {
                let Some(line) = luma.get_mut(y * stride + left..y * stride + left + COLUMNS * side) else { return };
                for (column, block) in line.chunks_exact_mut(side).enumerate() {
                    let bit = (bits >> (ROWS * COLUMNS - 1 - row * COLUMNS - column)) & 1;
                    block.fill(if bit == 1 { LIGHT } else { DARK });
                }
            }
        }
    }

    /// Reads the code from a luma plane; `None` where there is none, or the CRC does not fit.
    #[must_use]
    pub fn read(luma: &[u8], stride: usize, width: usize, height: usize) -> Option<Self> {
        let Layout { side, left, top } = Layout::of(width, height)?;
        let mut bits = 0_u128;
        for row in 0..ROWS {
            for column in 0..COLUMNS {
                // The middle half of the block: its edges are where compression smears.
                let (x, y) = (left + column * side + side / 4, top + row * side + side / 4);
                let span = (side / 2).max(1);
                let mut sum = 0_usize;
                for line in y..y + span {
                    sum += luma.get(line * stride + x..line * stride + x + span)?.iter().map(|&value| usize::from(value)).sum::<usize>();
                }
                bits = (bits << 1) | u128::from(sum / (span * span) > 128);
            }
        }
        let data = bits >> 16;
        (u128::from(crc16(&data.to_be_bytes()[6..])) == bits & 0xffff)
            .then_some(Self { frame: (data >> 48) as u32, captured_unix_ms: (data & 0xffff_ffff_ffff) as u64 })
    }

    /// The plate that the code lies on: left, top, width and height in pixels, one block wider on each side.
    pub fn plate(width: usize, height: usize) -> Option<(usize, usize, usize, usize)> {
        let Layout { side, left, top } = Layout::of(width, height)?;
        Some((left - side, top - side / 2, (COLUMNS + 2) * side, height - top + side / 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { frame: 0x89ab_cdef, captured_unix_ms: 1_795_364_000_123 };

    #[test]
    fn it_reads_back_from_every_preset_s_size() {
        for (width, height) in [(640, 480), (1280, 720), (1920, 1080), (768, 576), (320, 240)] {
            let mut luma = vec![90; width * height];
            STAMP.draw(&mut luma, width, width, height);
            assert_eq!(Stamp::read(&luma, width, width, height), Some(STAMP), "{width}x{height}");
        }
    }

    #[test]
    fn a_wrong_block_is_refused() {
        let mut luma = vec![90; 640 * 480];
        STAMP.draw(&mut luma, 640, 640, 480);
        let Layout { side, left, top } = Layout::of(640, 480).unwrap();
        for y in top..top + side {
            for value in &mut luma[y * 640 + left..y * 640 + left + side] {
                *value = LIGHT - *value + DARK;
            }
        }
        assert_eq!(Stamp::read(&luma, 640, 640, 480), None);
    }
}
