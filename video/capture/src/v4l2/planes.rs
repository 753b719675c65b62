//! Raw pictures of devices, in the layouts that are read, to the planes that the encoder takes.

use super::{kernel::Settled, modes::PixelFormat};
use crate::{
    jpeg::{CHROMA, LUMA},
    picture::Picture,
};

/// Why a buffer can't be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanesError {
    #[error("{0} is no raw picture")]
    NotRaw(&'static str),
    #[error("{bytes} bytes of a picture that has {needed}")]
    Short { bytes: usize, needed: usize },
}

/// Copies one picture; an odd last column or row is left out.
pub(crate) fn copy(format: PixelFormat, settled: &Settled, bytes: &[u8], picture: &mut Picture) -> Result<(), PlanesError> {
    let (width, height) = (settled.size.width as usize & !1, settled.size.height as usize & !1);
    let sample_bytes = if format == PixelFormat::Yuyv { 2 } else { 1 };
    let stride = settled.line_bytes.max(settled.size.width as usize * sample_bytes);
    // The last line need not be padded.
    let rows = settled.size.height as usize;
    let needed = match format {
        PixelFormat::Yuyv => stride * (rows - 1) + width * 2,
        PixelFormat::Nv12 => stride * (rows + height / 2 - 1) + width,
        PixelFormat::Yu12 => stride * rows + stride / 2 * (height - 1) + width / 2,
        PixelFormat::H264 | PixelFormat::Mjpeg => return Err(PlanesError::NotRaw(format.name())),
    };
    if bytes.len() < needed {
        return Err(PlanesError::Short { bytes: bytes.len(), needed });
    }
    if (picture.width(), picture.height()) != (width, height) {
        *picture = Picture::new(width, height);
    }
    match format {
        PixelFormat::Yuyv => interleaved(bytes, stride, picture),
        PixelFormat::Nv12 => {
            luma(bytes, stride, picture);
            let [_, u, v] = picture.planes_mut();
            for ((u, v), line) in lines(u, width / 2).zip(lines(v, width / 2)).zip(bytes[stride * rows..].chunks(stride)) {
                for ((u, v), pair) in u.iter_mut().zip(v).zip(line.chunks_exact(2)) {
                    (*u, *v) = (pair[0], pair[1]);
                }
            }
        }
        PixelFormat::Yu12 | PixelFormat::H264 | PixelFormat::Mjpeg => {
            luma(bytes, stride, picture);
            let [_, u, v] = picture.planes_mut();
            let (half, at) = (stride / 2, stride * rows);
            for (plane, from) in [(u, at), (v, at + half * (rows / 2))] {
                for (to, line) in lines(plane, width / 2).zip(bytes[from..].chunks(half)) {
                    to.copy_from_slice(&line[..width / 2]);
                }
            }
        }
    }
    if settled.is_full_range {
        let [y, u, v] = picture.planes_mut();
        y.iter_mut().for_each(|sample| *sample = LUMA[usize::from(*sample)]);
        u.iter_mut().chain(v).for_each(|sample| *sample = CHROMA[usize::from(*sample)]);
    }
    Ok(())
}

fn lines(plane: &mut [u8], width: usize) -> std::slice::ChunksExactMut<'_, u8> {
    plane.chunks_exact_mut(width)
}

fn luma(bytes: &[u8], stride: usize, picture: &mut Picture) {
    let width = picture.width();
    let [y, _, _] = picture.planes_mut();
    for (to, line) in lines(y, width).zip(bytes.chunks(stride)) {
        to.copy_from_slice(&line[..width]);
    }
}

/// Y0 U Y1 V; each chroma sample becomes the mean of two lines.
fn interleaved(bytes: &[u8], stride: usize, picture: &mut Picture) {
    let width = picture.width();
    let [y, u, v] = picture.planes_mut();
    for (to, line) in lines(y, width).zip(bytes.chunks(stride)) {
        for (to, pixel) in to.iter_mut().zip(line.chunks_exact(2)) {
            *to = pixel[0];
        }
    }
    for ((u, v), pair) in lines(u, width / 2).zip(lines(v, width / 2)).zip(bytes.chunks(stride * 2)) {
        let (above, below) = pair.split_at(stride);
        for ((u, v), (above, below)) in u.iter_mut().zip(v).zip(above.chunks_exact(4).zip(below.chunks_exact(4))) {
            (*u, *v) = (above[1].midpoint(below[1]), above[3].midpoint(below[3]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v4l2::modes::{FourCc, Size};

    fn settled(line_bytes: usize, is_full_range: bool) -> Settled {
        Settled { format: FourCc(*b"TEST"), size: Size { width: 4, height: 2 }, memories: 1, line_bytes, is_full_range, rate: None }
    }

    fn copied(format: PixelFormat, settled: &Settled, bytes: &[u8]) -> Picture {
        let mut picture = Picture::new(2, 2);
        copy(format, settled, bytes, &mut picture).unwrap();
        picture
    }

    #[test]
    fn each_layout_gives_the_same_picture_with_and_without_padding() {
        let mut expected = Picture::new(4, 2);
        expected.bytes_mut().copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8, 100, 101, 200, 201]);
        for pad in [0, 2] {
            let padded = |rows: &[&[u8]], pad: usize| rows.iter().flat_map(|row| [row, &[99; 2][..pad]].concat()).collect::<Vec<u8>>();
            let nv12 = padded(&[&[1, 2, 3, 4], &[5, 6, 7, 8], &[100, 200, 101, 201]], pad);
            let yuyv = padded(&[&[1, 100, 2, 200, 3, 101, 4, 201], &[5, 100, 6, 200, 7, 101, 8, 201]], pad);
            let mut yu12 = padded(&[&[1, 2, 3, 4], &[5, 6, 7, 8]], pad);
            yu12.extend(padded(&[&[100, 101], &[200, 201]], pad / 2));
            for (format, bytes, line) in [(PixelFormat::Nv12, nv12, 4), (PixelFormat::Yuyv, yuyv, 8), (PixelFormat::Yu12, yu12, 4)] {
                assert_eq!(copied(format, &settled(line + pad, false), &bytes), expected, "{format:?}, {pad} bytes of padding");
                // As many bytes as the picture has, without the last line's padding, and one less.
                let least = bytes.len() - if format == PixelFormat::Yu12 { pad / 2 } else { pad };
                assert_eq!(copied(format, &settled(line + pad, false), &bytes[..least]), expected, "{format:?}");
                assert!(copy(format, &settled(line + pad, false), &bytes[..least - 1], &mut Picture::new(2, 2)).is_err(), "{format:?}");
            }
        }
    }

    #[test]
    fn full_range_becomes_video_range() {
        let picture = copied(PixelFormat::Nv12, &settled(4, true), &[0, 255, 0, 255, 0, 0, 0, 0, 0, 255, 128, 128]);
        assert_eq!(picture.planes(), [&[16, 235, 16, 235, 16, 16, 16, 16][..], &[16, 128], &[240, 128]]);
    }
}
