//! A picture in memory: planar YUV 4:2:0, BT.601 video range, as every encoder here takes it.

use fast_image_resize::{
    FilterType, ResizeAlg, ResizeOptions, Resizer,
    images::{Image, ImageRef},
    pixels::{PixelType, U8},
};

/// Planes without padding. Sides are even.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    planes: Vec<u8>,
}

impl Picture {
    /// Black. Both sides are even.
    #[must_use]
    pub fn new(width: usize, height: usize) -> Self {
        let luma = width * height;
        let mut planes = vec![16; luma + luma / 2];
        planes[luma..].fill(128);
        Self { width, height, planes }
    }

    /// In pixels.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// In pixels.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// All planes in one: Y, then U, then V.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.planes
    }

    /// Y, U and V; the latter two a quarter of the first's size each.
    #[must_use]
    pub fn planes(&self) -> [&[u8]; 3] {
        let luma = self.width * self.height;
        let (y, chroma) = self.planes.split_at(luma);
        let (u, v) = chroma.split_at(luma / 4);
        [y, u, v]
    }

    /// Y, U and V, to draw on.
    pub fn planes_mut(&mut self) -> [&mut [u8]; 3] {
        let luma = self.width * self.height;
        let (y, chroma) = self.planes.split_at_mut(luma);
        let (u, v) = chroma.split_at_mut(luma / 4);
        [y, u, v]
    }

    /// Copies planes with strides, as decoders give them; the picture takes their size.
    pub fn copy_from(&mut self, planes: [&[u8]; 3], strides: [usize; 3], width: usize, height: usize) {
        if (self.width, self.height) != (width, height) {
            *self = Self::new(width, height);
        }
        for (index, target) in self.planes_mut().into_iter().enumerate() {
            let row_bytes = if index == 0 { width } else { width / 2 };
            for (row, line) in target.chunks_exact_mut(row_bytes).enumerate() {
                let at = row * strides[index];
                if let Some(source) = planes[index].get(at..at + row_bytes) {
                    line.copy_from_slice(source);
                }
            }
        }
    }
}

impl Picture {
    /// The picture, turned clockwise by 90, 180 or 270 degrees; anything else leaves it as it is.
    #[must_use]
    pub fn turned(&self, degrees: u16) -> Self {
        let (width, height) = if degrees == 180 { (self.width, self.height) } else { (self.height, self.width) };
        if !matches!(degrees, 90 | 180 | 270) {
            return self.clone();
        }
        let mut turned = Self::new(width, height);
        for (index, (from, to)) in self.planes().into_iter().zip(turned.planes_mut()).enumerate() {
            let halved = |side: usize| if index == 0 { side } else { side / 2 };
            let (from_width, from_height, to_width) = (halved(self.width), halved(self.height), halved(width));
            for (y, row) in from.chunks_exact(from_width).enumerate() {
                for (x, &value) in row.iter().enumerate() {
                    let (to_x, to_y) = match degrees {
                        90 => (from_height - 1 - y, x),
                        180 => (from_width - 1 - x, from_height - 1 - y),
                        _ => (y, from_width - 1 - x),
                    };
                    to[to_y * to_width + to_x] = value;
                }
            }
        }
        turned
    }
}

/// Scales pictures to one size.
#[derive(Debug)]
pub struct Scaler {
    resizer: Resizer,
    target: Picture,
}

impl Scaler {
    pub fn new(width: usize, height: usize) -> Self {
        Self { resizer: Resizer::new(), target: Picture::new(width, height) }
    }

    /// Of the pictures that come out.
    pub const fn size(&self) -> (usize, usize) {
        (self.target.width, self.target.height)
    }

    /// The picture in this scaler's size; the same one where it has it already.
    pub fn scale<'a>(&'a mut self, source: &'a Picture) -> &'a Picture {
        let (width, height) = (self.target.width, self.target.height);
        if (source.width, source.height) == (width, height) {
            return source;
        }
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        for (index, (from, to)) in source.planes().into_iter().zip(self.target.planes_mut()).enumerate() {
            let halved = |side: usize| u32::try_from(if index == 0 { side } else { side / 2 }).unwrap_or(u32::MAX);
            let from = ImageRef::new(halved(source.width), halved(source.height), from, PixelType::U8);
            let to = Image::from_slice_u8(halved(width), halved(height), to, PixelType::U8);
            // The typed call: the other one compiles the scaler for each of fifteen kinds of pixel, which takes a minute.
            if let (Ok(from), Ok(mut to)) = (from, to)
                && let (Some(from), Some(mut to)) = (from.typed_image::<U8>(), to.typed_image_mut::<U8>())
            {
                // Both have exact buffers: nothing is left that could fail.
                let _ = self.resizer.resize_typed(&from, &mut to, &options);
            }
        }
        &self.target
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_that_is_turned_has_its_corners_where_they_belong() {
        let mut source = Picture::new(4, 2);
        source.planes_mut()[0].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        source.planes_mut()[1].copy_from_slice(&[1, 2]);
        let turned = |degrees| {
            (source.turned(degrees).width(), source.turned(degrees).planes()[0].to_vec(), source.turned(degrees).planes()[1].to_vec())
        };
        assert_eq!(turned(90), (2, vec![5, 1, 6, 2, 7, 3, 8, 4], vec![1, 2]));
        assert_eq!(turned(180), (4, vec![8, 7, 6, 5, 4, 3, 2, 1], vec![2, 1]));
        assert_eq!(turned(270), (2, vec![4, 8, 3, 7, 2, 6, 1, 5], vec![2, 1]));
        assert_eq!(source.turned(0), source);
    }

    #[test]
    fn scaling_keeps_a_flat_colour_and_each_plane_apart() {
        let mut source = Picture::new(64, 48);
        let [y, u, v] = source.planes_mut();
        y.fill(200);
        u.fill(90);
        v.fill(30);
        let mut scaler = Scaler::new(32, 24);
        let scaled = scaler.scale(&source);
        assert_eq!((scaled.width(), scaled.height()), (32, 24));
        assert_eq!(scaled.planes().map(|plane| (plane[0], plane[plane.len() - 1])), [(200, 200), (90, 90), (30, 30)]);
    }
}
