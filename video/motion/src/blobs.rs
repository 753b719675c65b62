//! Connected parts of a mask.

/// A connected part: its size, and the rectangle around it (right and bottom are inside).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Blob {
    pub(super) pixels: usize,
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
}

impl Blob {
    /// Whether the rectangles come as near as `reach` pixels.
    pub(super) fn is_near(&self, other: &Self, reach: usize) -> bool {
        self.left <= other.right + reach
            && other.left <= self.right + reach
            && self.top <= other.bottom + reach
            && other.top <= self.bottom + reach
    }
}

/// Leaves only what most of its neighbourhood of three by three has, too: single pixels and thin lines go, holes are filled.
pub(super) fn smooth(mask: &[bool], width: usize, out: &mut Vec<bool>) {
    const MOST: usize = 5;
    out.clear();
    out.resize(mask.len(), false);
    let height = mask.len() / width;
    for y in 1..height.saturating_sub(1) {
        for x in 1..width - 1 {
            let rows = [y - 1, y, y + 1].map(|row| &mask[row * width + x - 1..=row * width + x + 1]);
            out[y * width + x] = rows.iter().flat_map(|row| row.iter()).filter(|&&is_set| is_set).count() >= MOST;
        }
    }
}

/// The connected parts (by side or corner) of at least this many pixels. `mask` is eaten up.
pub(super) fn find(mask: &mut [bool], width: usize, pixels_min: usize) -> Vec<Blob> {
    let mut found = Vec::new();
    let mut edge = Vec::new();
    for start in 0..mask.len() {
        if !std::mem::take(&mut mask[start]) {
            continue;
        }
        let mut blob = Blob { pixels: 0, left: usize::MAX, top: usize::MAX, right: 0, bottom: 0 };
        edge.push(start);
        while let Some(index) = edge.pop() {
            let (x, y) = (index % width, index / width);
            blob.pixels += 1;
            (blob.left, blob.right) = (blob.left.min(x), blob.right.max(x));
            (blob.top, blob.bottom) = (blob.top.min(y), blob.bottom.max(y));
            for row in y.saturating_sub(1)..=y + 1 {
                for column in x.saturating_sub(1)..=(x + 1).min(width - 1) {
                    let next = row * width + column;
                    if mask.get_mut(next).is_some_and(std::mem::take) {
                        edge.push(next);
                    }
                }
            }
        }
        if blob.pixels >= pixels_min {
            found.push(blob);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(rows: &[&str]) -> Vec<bool> {
        rows.iter().flat_map(|row| row.bytes().map(|byte| byte == b'#')).collect()
    }

    #[test]
    fn parts_are_told_apart_and_small_ones_left_out() {
        let mut picture = mask(&["##....", "##...#", "..#..#", "......", "#....."]);
        let blobs = find(&mut picture, 6, 2);
        assert_eq!(blobs.iter().map(|blob| blob.pixels).collect::<Vec<_>>(), [5, 2]);
        assert!(!blobs[0].is_near(&blobs[1], 2) && blobs[0].is_near(&blobs[1], 3));
    }

    #[test]
    fn a_thin_line_is_smoothed_away_and_a_square_stays() {
        let picture = mask(&["........", ".###..#.", ".#.#..#.", ".###..#.", "........"]);
        let mut smoothed = Vec::new();
        smooth(&picture, 8, &mut smoothed);
        assert_eq!(smoothed.iter().filter(|&&is_set| is_set).count(), 5);
        assert!(smoothed[2 * 8 + 2] && !smoothed[2 * 8 + 6]);
    }
}
