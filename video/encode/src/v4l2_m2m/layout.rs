//! How raw pictures lie in a driver's memories. Pure.

use sightline_capture::{Picture, v4l2::modes::FourCc};

/// The layouts of 4:2:0 that are written, cheapest first: our own pictures are planar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RawFormat {
    /// Three planes, one after another, in one memory.
    Yu12,
    /// Three planes in three memories.
    Ym12,
    /// Luma, then interleaved chroma, in one memory.
    Nv12,
    /// The same in two memories.
    Nm12,
}

impl RawFormat {
    pub(crate) const ALL: [Self; 4] = [Self::Yu12, Self::Ym12, Self::Nv12, Self::Nm12];

    pub(crate) const fn code(self) -> FourCc {
        FourCc(match self {
            Self::Yu12 => *b"YU12",
            Self::Ym12 => *b"YM12",
            Self::Nv12 => *b"NV12",
            Self::Nm12 => *b"NM12",
        })
    }

    pub(crate) const fn memories(self) -> usize {
        match self {
            Self::Yu12 | Self::Nv12 => 1,
            Self::Nm12 => 2,
            Self::Ym12 => 3,
        }
    }
}

/// What the driver settled for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Layout {
    pub(crate) format: RawFormat,
    /// Lines of luma, with those that only fill up the last blocks.
    pub(crate) rows: usize,
    /// Bytes from one line to the next, of each memory.
    pub(crate) strides: Vec<usize>,
}

impl Layout {
    /// Bytes that each memory must have. `None`: its lines are shorter than the picture's.
    pub(crate) fn needed(&self, width: usize, height: usize) -> Option<Vec<usize>> {
        let stride = |memory: usize| self.strides.get(memory).copied().unwrap_or(0);
        let chroma = |memory: usize, line: usize| (stride(memory) >= line).then_some(stride(memory) * (self.rows / 2));
        if stride(0) < width || self.rows < height {
            return None;
        }
        let luma = stride(0) * self.rows;
        Some(match self.format {
            RawFormat::Yu12 => vec![luma + stride(0) / 2 * (self.rows / 2) * 2],
            RawFormat::Nv12 => vec![luma + stride(0) * (self.rows / 2)],
            RawFormat::Nm12 => vec![luma, chroma(1, width)?],
            RawFormat::Ym12 => vec![luma, chroma(1, width / 2)?, chroma(2, width / 2)?],
        })
    }

    /// Gives each line with its memory and its place there.
    pub(crate) fn place(&self, picture: &Picture, mut put: impl FnMut(usize, usize, &[u8])) {
        let (width, stride) = (picture.width(), self.strides.first().copied().unwrap_or(0));
        let [y, u, v] = picture.planes();
        for (row, line) in y.chunks_exact(width).enumerate() {
            put(0, row * stride, line);
        }
        let chroma = stride * self.rows;
        // Memory, its first line's place, and its stride, of each plane of chroma.
        let places = match self.format {
            RawFormat::Yu12 => [(0, chroma, stride / 2), (0, chroma + stride / 2 * (self.rows / 2), stride / 2)],
            RawFormat::Ym12 => [(1, 0, self.strides[1]), (2, 0, self.strides[2])],
            RawFormat::Nv12 => [(0, chroma, stride); 2],
            RawFormat::Nm12 => [(1, 0, self.strides[1]); 2],
        };
        match self.format {
            RawFormat::Yu12 | RawFormat::Ym12 => {
                for (plane, (memory, at, stride)) in [u, v].into_iter().zip(places) {
                    for (row, line) in plane.chunks_exact(width / 2).enumerate() {
                        put(memory, at + row * stride, line);
                    }
                }
            }
            RawFormat::Nv12 | RawFormat::Nm12 => {
                let (memory, at, stride) = places[0];
                let mut pairs = vec![0; width];
                for (row, (u, v)) in u.chunks_exact(width / 2).zip(v.chunks_exact(width / 2)).enumerate() {
                    for (pair, (u, v)) in pairs.chunks_exact_mut(2).zip(u.iter().zip(v)) {
                        (pair[0], pair[1]) = (*u, *v);
                    }
                    put(memory, at + row * stride, &pairs);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of 4x2 in lines of `stride` bytes and four rows, with 99 where nothing is written.
    fn placed(format: RawFormat, strides: &[usize]) -> Vec<Vec<u8>> {
        let mut picture = Picture::new(4, 2);
        picture.bytes_mut().copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8, 100, 101, 200, 201]);
        let layout = Layout { format, rows: 4, strides: strides.to_vec() };
        let mut memories: Vec<Vec<u8>> = layout.needed(4, 2).unwrap().iter().map(|bytes| vec![99; *bytes]).collect();
        layout.place(&picture, |memory, at, line| memories[memory][at..at + line.len()].copy_from_slice(line));
        memories
    }

    #[test]
    fn each_layout_honours_the_driver_s_stride_and_its_rows() {
        let luma = [1, 2, 3, 4, 99, 99, 5, 6, 7, 8, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99];
        let pairs = [100, 200, 101, 201, 99, 99, 99, 99, 99, 99, 99, 99];
        let [u, v] = [[100, 101, 99, 99, 99, 99], [200, 201, 99, 99, 99, 99]];
        assert_eq!(placed(RawFormat::Yu12, &[6]), [[&luma[..], &u, &v].concat()]);
        assert_eq!(placed(RawFormat::Ym12, &[6, 3, 3]), [luma.to_vec(), u.to_vec(), v.to_vec()]);
        assert_eq!(placed(RawFormat::Nv12, &[6]), [[&luma[..], &pairs].concat()]);
        assert_eq!(placed(RawFormat::Nm12, &[6, 6]), [luma.to_vec(), pairs.to_vec()]);
    }

    #[test]
    fn lines_that_are_too_short_are_seen() {
        for format in RawFormat::ALL {
            let layout = |stride, rows| Layout { format, rows, strides: vec![stride; format.memories()] };
            assert_eq!(layout(638, 480).needed(640, 480), None);
            assert_eq!(layout(640, 478).needed(640, 480), None);
            assert_eq!(layout(640, 480).needed(640, 480).unwrap().len(), format.memories());
        }
    }
}
