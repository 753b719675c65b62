//! The `test` source: hot-air balloons over hills, with a clock, a frame counter and a machine-readable stamp.
//!
//! The landscape is painted once; each frame copies it and draws what moves, so that the encoder gets the work, not the painter.

use font8x8::legacy::BASIC_LEGACY;
use std::f32::consts::TAU;

use crate::{picture::Picture, stamp::Stamp};

/// A colour in BT.601 video range.
type Colour = [u8; 3];

const fn yuv(red: i32, green: i32, blue: i32) -> Colour {
    let y = 16 + (66 * red + 129 * green + 25 * blue + 128) / 256;
    let u = 128 + (-38 * red - 74 * green + 112 * blue + 128) / 256;
    let v = 128 + (112 * red - 94 * green - 18 * blue + 128) / 256;
    [y as u8, u as u8, v as u8]
}

/// One balloon: where it begins, how it drifts, what it looks like. Lengths are shares of the picture's height.
struct Balloon {
    x: f32,
    y: f32,
    radius: f32,
    drift_per_second: f32,
    bob_seconds: f32,
    stripes: [Colour; 2],
}

const BALLOONS: [Balloon; 4] = [
    Balloon { x: 0.2, y: 0.30, radius: 0.125, drift_per_second: 0.035, bob_seconds: 7.0, stripes: [yuv(230, 70, 60), yuv(250, 205, 95)] },
    Balloon { x: 0.9, y: 0.44, radius: 0.080, drift_per_second: 0.022, bob_seconds: 9.0, stripes: [yuv(50, 120, 200), yuv(240, 240, 235)] },
    Balloon { x: 1.4, y: 0.22, radius: 0.060, drift_per_second: 0.016, bob_seconds: 6.0, stripes: [yuv(90, 160, 90), yuv(245, 220, 130)] },
    Balloon { x: 0.6, y: 0.52, radius: 0.045, drift_per_second: 0.012, bob_seconds: 8.0, stripes: [yuv(150, 80, 170), yuv(240, 150, 90)] },
];

/// Paints the moving scene.
#[derive(Debug)]
pub struct Scene {
    landscape: Picture,
    picture: Picture,
    title: String,
    frame: u32,
    grain: Option<Grain>,
}

impl Scene {
    /// `title` is drawn into the upper left corner. Both sides are even.
    #[must_use]
    pub fn new(width: usize, height: usize, title: &str) -> Self {
        let mut landscape = Picture::new(width, height);
        paint_landscape(&mut landscape);
        Self { picture: landscape.clone(), landscape, title: title.to_owned(), frame: 0, grain: None }
    }

    /// The same as a sensor sees it in poor light. Without grain the scene is so clean that an encoder can't spend a preset's bit rate on it.
    #[must_use]
    pub fn with_grain(width: usize, height: usize, title: &str) -> Self {
        Self { grain: Some(Grain::new()), ..Self::new(width, height, title) }
    }

    /// The scene at a moment: `unix_ms`, milliseconds since 1970, is drawn as clock and stamp, and moves the balloons.
    pub fn paint(&mut self, unix_ms: u64) -> &Picture {
        self.picture.bytes_mut().copy_from_slice(self.landscape.bytes_mut());
        // An hour's worth of milliseconds is exact in an f32 to better than a pixel's drift.
        let seconds = (unix_ms % 3_600_000) as f32 / 1000.0;
        for balloon in &BALLOONS {
            paint_balloon(&mut self.picture, balloon, seconds);
        }
        if let Some(grain) = &mut self.grain {
            grain.add(&mut self.picture);
        }
        self.paint_captions(unix_ms);
        let (width, height) = (self.picture.width(), self.picture.height());
        let [luma, _, _] = self.picture.planes_mut();
        Stamp { frame: self.frame, captured_unix_ms: unix_ms }.draw(luma, width, width, height);
        self.frame = self.frame.wrapping_add(1);
        &self.picture
    }

    fn paint_captions(&mut self, unix_ms: u64) {
        let scale = (self.picture.height() / 240).max(1);
        let time = i64::try_from(unix_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
        let margin = 8 * scale;
        caption(&mut self.picture, margin, margin, scale, &self.title);
        caption(&mut self.picture, margin, margin + 14 * scale, scale, &time.strftime("%Y-%m-%d %H:%M:%S%.3f UTC").to_string());
        let counter = format!("frame {}", self.frame);
        let x = self.picture.width().saturating_sub(margin + counter.len() * 8 * scale);
        caption(&mut self.picture, x, margin, scale, &counter);
        if let Some((left, top, width, height)) = Stamp::plate(self.picture.width(), self.picture.height()) {
            darken(&mut self.picture, left, top, width, height);
        }
    }
}

/// A sensor's noise: a tile of it, laid over each line from another place each time.
#[derive(Debug)]
struct Grain {
    tile: Vec<i8>,
    random: u32,
}

impl Grain {
    /// Longer than the widest preset, so that neighbouring lines do not repeat each other.
    const TILE: usize = 1 << 14;
    /// Deviation in steps of luma: a cheap sensor indoors.
    const DEVIATION: f32 = 3.0;

    fn new() -> Self {
        let mut random = 0x9e37_79b9;
        // Twelve uniform numbers are about normal, of deviation 1.
        let mut normal = || (0..12).map(|_| (next_random(&mut random) >> 8) as f32 / 16_777_216.0).sum::<f32>() - 6.0;
        let tile = (0..Self::TILE).map(|_| (normal() * Self::DEVIATION).round() as i8).collect();
        Self { tile, random: 1 }
    }

    fn add(&mut self, picture: &mut Picture) {
        let width = picture.width();
        let [luma, _, _] = picture.planes_mut();
        for line in luma.chunks_exact_mut(width) {
            let mut from = next_random(&mut self.random) as usize % Self::TILE;
            let mut rest = line;
            while !rest.is_empty() {
                let (part, later) = rest.split_at_mut(rest.len().min(Self::TILE - from));
                for (value, grain) in part.iter_mut().zip(&self.tile[from..]) {
                    *value = value.saturating_add_signed(*grain);
                }
                (rest, from) = (later, 0);
            }
        }
    }
}

/// xorshift32.
const fn next_random(state: &mut u32) -> u32 {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    *state
}

fn paint_landscape(picture: &mut Picture) {
    let (width, height) = (picture.width(), picture.height());
    let (high, low) = ([58.0, 120.0, 190.0], [250.0, 214.0, 178.0]);
    let horizon = height as f32 * 0.62;
    let ridges = [(0.60, 0.050, 1.7, yuv(120, 140, 165)), (0.68, 0.060, 2.6, yuv(84, 118, 118)), (0.78, 0.045, 4.1, yuv(58, 96, 70))];
    let [luma, blue, red] = picture.planes_mut();
    for y in 0..height {
        let share = (y as f32 / horizon).min(1.0);
        let mix = |index: usize| (high[index] + (low[index] - high[index]) * share * share) as i32;
        let sky = yuv(mix(0), mix(1), mix(2));
        for x in 0..width {
            let phase = x as f32 / width as f32;
            let colour = ridges
                .iter()
                .rev()
                .find(|(base, rise, waves, _)| {
                    let ridge = (phase * waves * TAU).sin() + 0.45 * (phase * waves * 2.7 * TAU + 1.3).sin();
                    y as f32 > (base - rise * ridge) * height as f32
                })
                .map_or(sky, |(_, _, _, colour)| *colour);
            luma[y * width + x] = colour[0];
            if y % 2 == 0 && x % 2 == 0 {
                let at = (y / 2) * (width / 2) + x / 2;
                (blue[at], red[at]) = (colour[1], colour[2]);
            }
        }
    }
}

fn paint_balloon(picture: &mut Picture, balloon: &Balloon, seconds: f32) {
    let height = picture.height() as f32;
    let span = picture.width() as f32 / height + 0.6;
    let x = ((balloon.x + balloon.drift_per_second * seconds) % span - 0.3) * height;
    let y = (balloon.y + 0.015 * (seconds / balloon.bob_seconds * TAU).sin()) * height;
    let radius = balloon.radius * height;
    let (rope, basket) = (radius * 0.55, radius * 0.24);
    fill(picture, x - radius, y - radius, x + radius, y + radius * 1.35, |dx, dy| {
        let (nx, ny) = ((dx - radius) / radius, (dy - radius) / radius);
        // Round above, drawn in to a point below.
        let half = if ny <= 0.0 { (1.0 - ny * ny).max(0.0).sqrt() } else { (1.0 - ny / 1.35).max(0.0).powf(0.7) };
        if nx.abs() > half {
            return None;
        }
        let bend = (nx / half.max(0.05)).asin() / TAU * 12.0;
        let mut colour = balloon.stripes[usize::from(bend.floor() as i32 % 2 != 0)];
        let light = 1.0 - 0.35 * ((nx + 0.35).powi(2) + (ny + 0.35).powi(2)).min(1.4);
        colour[0] = (16.0 + (f32::from(colour[0]) - 16.0) * light) as u8;
        Some(colour)
    });
    let top = y + radius * 1.35 + rope * 0.3;
    fill(picture, x - basket, top, x + basket, top + basket * 1.3, |_, _| Some(yuv(110, 72, 40)));
}

/// Colours the pixels of a rectangle that `colour_at`, given the offset from its corner, has a colour for.
fn fill(picture: &mut Picture, left: f32, top: f32, right: f32, bottom: f32, colour_at: impl Fn(f32, f32) -> Option<Colour>) {
    let (width, height) = (picture.width(), picture.height());
    let [luma, blue, red] = picture.planes_mut();
    for y in (top.max(0.0) as usize)..(bottom.clamp(0.0, height as f32) as usize) {
        for x in (left.max(0.0) as usize)..(right.clamp(0.0, width as f32) as usize) {
            let Some(colour) = colour_at(x as f32 - left, y as f32 - top) else { continue };
            luma[y * width + x] = colour[0];
            if y % 2 == 0 && x % 2 == 0 {
                let at = (y / 2) * (width / 2) + x / 2;
                (blue[at], red[at]) = (colour[1], colour[2]);
            }
        }
    }
}

/// Text on a dark plate.
fn caption(picture: &mut Picture, x: usize, y: usize, scale: usize, text: &str) {
    let pad = 2 * scale;
    darken(picture, x.saturating_sub(pad), y.saturating_sub(pad), text.len() * 8 * scale + 2 * pad, 8 * scale + 2 * pad);
    let (width, height) = (picture.width(), picture.height());
    let [luma, blue, red] = picture.planes_mut();
    for (index, character) in text.bytes().enumerate() {
        let Some(glyph) = BASIC_LEGACY.get(usize::from(character)) else { continue };
        for row in 0..8 * scale {
            for column in 0..8 * scale {
                let (px, py) = (x + index * 8 * scale + column, y + row);
                if px < width && py < height && (glyph[row / scale] >> (column / scale)) & 1 == 1 {
                    luma[py * width + px] = 235;
                    let at = (py / 2) * (width / 2) + px / 2;
                    (blue[at], red[at]) = (128, 128);
                }
            }
        }
    }
}

/// A translucent plate.
fn darken(picture: &mut Picture, left: usize, top: usize, plate_width: usize, plate_height: usize) {
    let (width, height) = (picture.width(), picture.height());
    let (right, bottom) = ((left + plate_width).min(width), (top + plate_height).min(height));
    let [luma, blue, red] = picture.planes_mut();
    for y in top..bottom {
        for value in &mut luma[y * width + left.min(right)..y * width + right] {
            *value = 16 + value.saturating_sub(16) / 3;
        }
    }
    for y in top / 2..bottom / 2 {
        for plane in [&mut *blue, &mut *red] {
            for value in &mut plane[y * width / 2 + left.min(right) / 2..y * width / 2 + right / 2] {
                *value = (128 + (i32::from(*value) - 128) / 3) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_frame_carries_its_number_and_time_and_moves() {
        let mut scene = Scene::new(640, 480, "cam-1");
        let first = scene.paint(1_795_364_000_000).clone();
        let second = scene.paint(1_795_364_000_040);
        let read = |picture: &Picture| Stamp::read(picture.planes()[0], 640, 640, 480).unwrap();
        assert_eq!((read(&first).frame, read(second).frame), (0, 1));
        assert_eq!(read(second).captured_unix_ms, 1_795_364_000_040);
        assert_ne!(&first, second);
    }
}
