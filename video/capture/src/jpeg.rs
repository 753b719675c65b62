//! Pictures of MJPEG cameras: JPEG (JFIF, BT.601 full range) to what the encoder takes (4:2:0, BT.601 video range).

use std::borrow::Cow;
use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};
use zune_jpeg::JpegDecoder;

use crate::picture::Picture;

/// The longest side that is decoded, in pixels: 4K, and one step of sensors beyond. A picture of this size takes 48 MB while it is decoded.
pub const SIDE_MAX: usize = 4096;

/// Why a picture can't be decoded. The next one may be good.
#[derive(Debug, thiserror::Error)]
pub enum JpegError {
    /// The decoder refused it.
    #[error(transparent)]
    Decoder(#[from] zune_jpeg::errors::DecodeErrors),
    /// It has no frame header.
    #[error("no frame header")]
    NoHeader,
    /// It has no pixel, or a single row.
    #[error("{width}x{height} pixels")]
    TooSmall {
        /// In pixels.
        width: usize,
        /// In pixels.
        height: usize,
    },
    /// It ends before its last row.
    #[error("the picture is shorter than its size")]
    Short,
}

/// Decodes one picture into `picture`, which takes its size; an odd last column or row is left out.
///
/// # Errors
/// [`JpegError`]
pub fn decode(jpeg: &[u8], picture: &mut Picture) -> Result<(), JpegError> {
    let options = DecoderOptions::default()
        .set_max_width(SIDE_MAX)
        .set_max_height(SIDE_MAX)
        .set_strict_mode(false)
        .jpeg_set_out_colorspace(ColorSpace::YCbCr);
    let jpeg = with_tables(jpeg);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&*jpeg), options);
    decoder.decode_headers()?;
    let is_grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    if is_grey {
        decoder.set_options(options.jpeg_set_out_colorspace(ColorSpace::Luma));
    }
    let info = decoder.info().ok_or(JpegError::NoHeader)?;
    let (width, height) = (usize::from(info.width), usize::from(info.height));
    if width < 2 || height < 2 {
        return Err(JpegError::TooSmall { width, height });
    }
    let samples = decoder.decode()?;
    let pixel_bytes = if is_grey { 1 } else { 3 };
    if samples.len() < width * height * pixel_bytes {
        return Err(JpegError::Short);
    }
    if (picture.width(), picture.height()) != (width & !1, height & !1) {
        *picture = Picture::new(width & !1, height & !1);
    }
    fill_luma(&samples, width * pixel_bytes, pixel_bytes, picture);
    if is_grey {
        let [_, u, v] = picture.planes_mut();
        u.fill(128);
        v.fill(128);
    } else {
        fill_chroma(&samples, width * 3, picture);
    }
    Ok(())
}

/// USB cameras leave the Huffman tables out, which are always those of the standard (ITU-T T.81, Annex K), and not all mark their pictures as of that
/// kind, as AVI does: the decoder takes the standard's where it sees the mark.
fn with_tables(jpeg: &[u8]) -> Cow<'_, [u8]> {
    const MARK: &[u8] = b"\xff\xe0\x00\x07AVI1\0";
    let mut at = 2;
    while let Some(&[0xff, kind, high, low]) = jpeg.get(at..at + 4) {
        match kind {
            // A table, or the picture itself without one before it.
            0xc4 => return Cow::Borrowed(jpeg),
            0xda => return Cow::Owned([&jpeg[..2], MARK, &jpeg[2..]].concat()),
            _ => at += 2 + usize::from(u16::from_be_bytes([high, low])),
        }
    }
    Cow::Borrowed(jpeg)
}

/// 0..=255 to 16..=235.
pub const LUMA: [u8; 256] = scaled(219, 16, 0);
/// 0..=255 around 128 to 16..=240 around 128.
pub const CHROMA: [u8; 256] = scaled(224, 128, 128);

const fn scaled(range: i32, zero: i32, from: i32) -> [u8; 256] {
    let mut table = [0; 256];
    let mut value = 0;
    while value < 256 {
        // Rounded to the nearest, away from zero below it.
        let doubled = 2 * (value - from) * range;
        let rounded = (doubled + if doubled < 0 { -255 } else { 255 }) / 510;
        table[value as usize] = (rounded + zero) as u8;
        value += 1;
    }
    table
}

fn fill_luma(samples: &[u8], stride: usize, pixel_bytes: usize, picture: &mut Picture) {
    let width = picture.width();
    let [y, _, _] = picture.planes_mut();
    for (line, row) in y.chunks_exact_mut(width).zip(samples.chunks_exact(stride)) {
        for (target, pixel) in line.iter_mut().zip(row.chunks_exact(pixel_bytes)) {
            *target = LUMA[usize::from(pixel[0])];
        }
    }
}

/// Each chroma sample is the mean of four.
fn fill_chroma(samples: &[u8], stride: usize, picture: &mut Picture) {
    let half = picture.width() / 2;
    let [_, u, v] = picture.planes_mut();
    let rows = samples.chunks_exact(stride * 2);
    for ((u, v), rows) in u.chunks_exact_mut(half).zip(v.chunks_exact_mut(half)).zip(rows) {
        let (above, below) = rows.split_at(stride);
        for (index, (above, below)) in above.chunks_exact(6).zip(below.chunks_exact(6)).take(half).enumerate() {
            let mean = |at: usize| {
                let sum = [above[at], above[at + 3], below[at], below[at + 3]].map(usize::from).iter().sum::<usize>();
                CHROMA[(sum + 2) / 4]
            };
            (u[index], v[index]) = (mean(1), mean(2));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jpeg_encoder::{ColorType, Encoder};

    fn picture_of(colour: ColorType, pixel: &[u8], width: u16, height: u16) -> Picture {
        let mut jpeg = Vec::new();
        let pixels = pixel.repeat(usize::from(width) * usize::from(height));
        Encoder::new(&mut jpeg, 95).encode(&pixels, width, height, colour).unwrap();
        let mut picture = Picture::new(2, 2);
        decode(&jpeg, &mut picture).unwrap();
        picture
    }

    #[test]
    fn full_range_becomes_video_range() {
        for (rgb, expected) in [([0, 0, 0], [16, 128, 128]), ([255, 255, 255], [235, 128, 128]), ([255, 0, 0], [81, 90, 240])] {
            let picture = picture_of(ColorType::Rgb, &rgb, 32, 16);
            for (plane, expected) in picture.planes().iter().zip(expected) {
                let middle = i32::from(plane[plane.len() / 2]);
                assert!((middle - expected).abs() <= 2, "{rgb:?}: {middle}, not {expected}");
            }
        }
    }

    #[test]
    fn grey_pictures_and_odd_sides_are_taken() {
        let picture = picture_of(ColorType::Luma, &[128], 33, 17);
        assert_eq!((picture.width(), picture.height()), (32, 16));
        assert_eq!(picture.planes().map(|plane| plane[0]), [126, 128, 128]);
    }

    #[test]
    fn a_broken_picture_is_an_error() {
        let mut picture = Picture::new(2, 2);
        assert!(decode(b"\xff\xd8\xff\xd9", &mut picture).is_err());
        assert!(decode(b"", &mut picture).is_err());
    }

    #[test]
    fn pictures_of_usb_cameras_lack_their_huffman_tables() {
        let mut jpeg = Vec::new();
        Encoder::new(&mut jpeg, 90).encode(&[200, 30, 60].repeat(64 * 48), 64, 48, ColorType::Rgb).unwrap();
        let mut expected = Picture::new(2, 2);
        decode(&jpeg, &mut expected).unwrap();
        // As the USB video class has it: the tables are those of the standard (ITU-T T.81, Annex K), and are not sent.
        let mut bare = jpeg[..2].to_vec();
        let mut at = 2;
        while jpeg[at + 1] != 0xda {
            let end = at + 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
            if !matches!(jpeg[at + 1], 0xc4 | 0xe0) {
                bare.extend_from_slice(&jpeg[at..end]);
            }
            at = end;
        }
        bare.extend_from_slice(&jpeg[at..]);
        assert!(bare.len() + 300 < jpeg.len(), "the tables are gone");
        // Some say so by the mark of AVI, some do not.
        let marked = [&bare[..2], b"\xff\xe0\x00\x10AVI1\0\0\0\0\0\0\0\0\0\0", &bare[2..]].concat();
        for bytes in [bare, marked] {
            let mut picture = Picture::new(2, 2);
            decode(&bytes, &mut picture).unwrap();
            assert_eq!(picture, expected);
        }
    }
}
