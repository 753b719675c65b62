//! Where motion counts.

use serde::{Deserialize, Serialize};

/// Corners of one polygon: what people draw has fewer, and each costs a division a row of the small picture, once.
const POINTS_MAX: usize = 64;

/// A part of the picture in which motion counts, or does not.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// Whether motion inside counts.
    pub kind: ZoneKind,
    /// Corners, as shares of width and height from the upper left: two for a rectangle, three or more for a polygon.
    pub points: Vec<(f32, f32)>,
}

/// What a zone does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ZoneKind {
    /// Only motion inside one of these counts, where there are any.
    Include,
    /// Motion inside never counts.
    Exclude,
}

/// Why a zone can't be used.
#[derive(Clone, Copy, PartialEq, Debug, thiserror::Error)]
pub enum ZoneError {
    /// Too few or too many corners.
    #[error("{0} points; take two corners for a rectangle, or 3 to {POINTS_MAX} for a polygon")]
    Points(usize),
    /// A corner is outside of the picture.
    #[error("the point [{x}, {y}] is outside of the picture; take shares of width and height, 0 to 1")]
    Outside {
        /// From the left.
        x: f32,
        /// From above.
        y: f32,
    },
}

impl Zone {
    /// Checks its corners.
    ///
    /// # Errors
    /// [`ZoneError`]
    pub fn check(&self) -> Result<(), ZoneError> {
        if !(2..=POINTS_MAX).contains(&self.points.len()) {
            return Err(ZoneError::Points(self.points.len()));
        }
        match self.points.iter().find(|(x, y)| !(0.0..=1.0).contains(x) || !(0.0..=1.0).contains(y)) {
            Some((x, y)) => Err(ZoneError::Outside { x: *x, y: *y }),
            None => Ok(()),
        }
    }

    fn holds(&self, x: f32, y: f32) -> bool {
        if let [(left, top), (right, bottom)] = self.points[..] {
            return (left.min(right)..=left.max(right)).contains(&x) && (top.min(bottom)..=top.max(bottom)).contains(&y);
        }
        // A ray to the right crosses the outline an odd number of times.
        let edges = self.points.iter().zip(self.points.iter().cycle().skip(1));
        let crossings = edges.filter(|((x0, y0), (x1, y1))| (*y0 > y) != (*y1 > y) && x < (x1 - x0) * (y - y0) / (y1 - y0) + x0);
        crossings.count() % 2 == 1
    }
}

/// For each pixel of a picture of this size, whether motion counts there.
pub(super) fn mask(zones: &[Zone], width: usize, height: usize) -> Vec<bool> {
    let includes_all = !zones.iter().any(|zone| zone.kind == ZoneKind::Include);
    let counts = |index: usize| {
        let (x, y) = (((index % width) as f32 + 0.5) / width as f32, ((index / width) as f32 + 0.5) / height as f32);
        let is_in = |kind: ZoneKind| zones.iter().any(|zone| zone.kind == kind && zone.holds(x, y));
        (includes_all || is_in(ZoneKind::Include)) && !is_in(ZoneKind::Exclude)
    };
    (0..width * height).map(counts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(kind: ZoneKind, points: &[(f32, f32)]) -> Zone {
        Zone { kind, points: points.to_vec() }
    }

    #[test]
    fn a_triangle_is_cut_out_of_a_rectangle() {
        let zones = [zone(ZoneKind::Include, &[(1.0, 1.0), (0.5, 0.0)]), zone(ZoneKind::Exclude, &[(0.5, 0.0), (1.0, 0.0), (1.0, 1.0)])];
        let mask = mask(&zones, 10, 10);
        let row = |y: usize| mask[y * 10..][..10].iter().map(|&counts| if counts { '#' } else { '.' }).collect::<String>();
        assert_eq!((row(0).as_str(), row(4).as_str(), row(9).as_str()), ("..........", ".....##...", ".....#####"));
    }

    #[test]
    fn without_zones_all_counts() {
        assert!(mask(&[], 4, 4).iter().all(|&counts| counts));
    }

    #[test]
    fn a_zone_outside_of_the_picture_says_so() {
        assert!(zone(ZoneKind::Include, &[(0.0, 0.0), (1.5, 1.0)]).check().unwrap_err().to_string().contains("[1.5, 1]"));
        assert!(zone(ZoneKind::Include, &[(0.0, 0.0)]).check().unwrap_err().to_string().contains("1 points"));
    }
}
