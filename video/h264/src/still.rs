//! A key frame of H.264 as a JPEG: an origin serves it for a tile, and a camera publishes it when it is asked for a picture.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::pixels::{PixelType, U8x3};
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use sightline_media::avc;

use crate::decoder::{Decoded, Decoder};

/// A decoded picture.
pub struct Still {
    /// Red, green and blue, a byte each, row by row.
    rgb: Vec<u8>,
    width: u16,
    height: u16,
}

impl std::fmt::Debug for Still {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Still").field("width", &self.width).field("height", &self.height).finish_non_exhaustive()
    }
}

impl Still {
    /// Decodes an IDR access unit alone. `payload`: its NAL units, each behind its length in `length_bytes` bytes, big endian. `None`: openh264 makes
    /// no picture of it, or one larger than a JPEG can be. This takes tens of milliseconds of processor time.
    #[must_use]
    pub fn decode(config: &avc::DecoderConfig, payload: &[u8], length_bytes: usize) -> Option<Self> {
        let mut decoder = Decoder::for_keyframes().ok()?;
        let first = decoder.decode(Some(config), payload, length_bytes).map(|picture| Self::of(&picture));
        // The decoder may hold the picture back for reordering.
        first.or_else(|| decoder.flush().map(|picture| Self::of(&picture))).flatten()
    }

    /// A copy of a decoded picture. `None`: larger than a JPEG can be.
    #[must_use]
    pub fn of(picture: &Decoded<'_>) -> Option<Self> {
        let (width, height) = picture.size();
        Some(Self { rgb: picture.to_rgb(), width: u16::try_from(width).ok()?, height: u16::try_from(height).ok()? })
    }

    /// Width and height in pixels.
    #[must_use]
    pub const fn size(&self) -> (u16, u16) {
        (self.width, self.height)
    }

    /// The picture in another size. `None`: a side is zero.
    #[must_use]
    pub fn scaled(&self, width: u16, height: u16) -> Option<Self> {
        if width == 0 || height == 0 {
            return None;
        }
        let mut rgb = vec![0; usize::from(width) * usize::from(height) * 3];
        let from = ImageRef::new(self.width.into(), self.height.into(), &self.rgb, PixelType::U8x3).ok()?;
        let mut to = Image::from_slice_u8(width.into(), height.into(), &mut rgb, PixelType::U8x3).ok()?;
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        // The typed call: the other one compiles the scaler for each of fifteen kinds of pixel.
        Resizer::new().resize_typed(&from.typed_image::<U8x3>()?, &mut to.typed_image_mut::<U8x3>()?, &options).ok()?;
        drop(to);
        Some(Self { rgb, width, height })
    }

    /// Blue, green and red, a byte each, row by row without padding: as OpenCV has pictures.
    #[must_use]
    pub fn to_bgr(&self) -> Vec<u8> {
        self.rgb.as_chunks::<3>().0.iter().flat_map(|&[red, green, blue]| [blue, green, red]).collect()
    }

    /// The picture as a JPEG. `quality`: 1 to 100. `None`: it can't be encoded.
    #[must_use]
    pub fn jpeg(&self, quality: u8) -> Option<Vec<u8>> {
        let mut jpeg = Vec::new();
        let encoder = jpeg_encoder::Encoder::new(&mut jpeg, quality);
        encoder.encode(&self.rgb, self.width, self.height, jpeg_encoder::ColorType::Rgb).ok()?;
        Some(jpeg)
    }

    /// The best JPEG of at most `bytes_max` bytes. `None`: even the coarsest is larger.
    #[must_use]
    pub fn jpeg_within(&self, bytes_max: usize) -> Option<Vec<u8>> {
        /// From one without visible artefacts down to one that only shows what is in the picture.
        const QUALITIES: [u8; 5] = [85, 70, 50, 30, 10];
        QUALITIES.into_iter().filter_map(|quality| self.jpeg(quality)).find(|jpeg| jpeg.len() <= bytes_max)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

    use super::*;

    /// Noise: what JPEG makes large.
    fn noise(width: u16, height: u16) -> Still {
        let mut state = 1_u32;
        let rgb = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        Still { rgb: rgb.take(usize::from(width) * usize::from(height) * 3).collect(), width, height }
    }

    #[test]
    fn a_jpeg_is_as_good_as_its_limit_lets_it_be() {
        let still = noise(320, 240);
        let best = still.jpeg_within(usize::MAX).unwrap();
        let smaller = still.jpeg_within(best.len() - 1).unwrap();
        assert!(smaller.len() < best.len());
        for jpeg in [&best, &smaller] {
            let mut decoder = zune_jpeg::JpegDecoder::new(zune_core::bytestream::ZCursor::new(jpeg.as_slice()));
            decoder.decode_headers().unwrap();
            assert_eq!(decoder.dimensions(), Some((320, 240)));
        }
        assert_eq!(still.jpeg_within(100), None);
    }

    #[test]
    fn a_picture_is_scaled_and_given_as_opencv_has_it() {
        let still = Still { rgb: [200, 100, 50].repeat(64 * 48), width: 64, height: 48 };
        let half = still.scaled(32, 24).unwrap();
        assert_eq!((half.size(), half.to_bgr()), ((32, 24), [50, 100, 200].repeat(32 * 24)));
        assert!(still.scaled(0, 24).is_none());
    }

    #[test]
    fn what_is_no_picture_gives_none() {
        const SPS: [u8; 24] =
            [0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0, 0, 3, 0, 4, 0, 0, 3, 0, 0xc8, 0x3c];
        const PPS: [u8; 6] = [0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];
        let config = avc::DecoderConfig::from_sets(&SPS, &PPS).unwrap();
        for payload in [&[][..], &[0, 0, 0, 9, 0x65], &[0, 0, 0, 2, 0x65, 0xff]] {
            assert!(Still::decode(&config, payload, avc::LENGTH_BYTES).is_none());
        }
    }
}
