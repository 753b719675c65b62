//! A background that is learned, and what differs from it for long enough.
//!
//! Of each pixel its usual brightness and its usual deviation are known. A picture is first held against the background as a whole: another
//! exposure is a factor and an offset of everything, and is taken out. What still differs must be a connected part of some size, must last
//! over several pictures, and must change while it does. Pixels that come and go all the time (rain, leaves, a lamp) stop counting.

use sightline_media::Instant;
use std::time::Duration;

use super::{
    blobs::{self, Blob},
    zones::{self, Zone},
};

/// A picture that comes this long after the one before it is held against nothing: the scene may be another.
const GAP_MAX: Duration = Duration::from_secs(20);
/// What the background is learned from before anything counts: this long, and this many pictures.
const LEARNING: Duration = Duration::from_secs(2);
const LEARNING_PICTURES: u32 = 3;
/// How fast the background follows what is background; while the exposure settles; and what is not.
const FOLLOW_SEC: f32 = 5.0;
const FOLLOW_SETTLING_SEC: f32 = 0.7;
const ABSORB_SEC: f32 = 60.0;
/// How fast the usual deviation is learned.
const DEVIATION_SEC: f32 = 10.0;
/// A difference is one from this many usual deviations on, besides the threshold: noise and the encoder's own.
const DEVIATIONS: f32 = 4.0;
/// How fast the extra tolerance after a change of exposure goes, and its share of the change: no camera's curve is quite a factor.
const SETTLE_SEC: f32 = 1.5;
const TOLERANCE_SHARE: f32 = 0.5;
/// Another exposure must explain this much more of the picture than the old one.
const FIT_GAIN: f32 = 1.05;
/// What counts as explained, in levels of brightness.
const FIT_LEVELS: f32 = 8.0;
/// Beyond these a sensor or an encoder clips: how bright it really was is not known.
const CLIP_LOW: f32 = 18.0;
const CLIP_HIGH: f32 = 232.0;
/// Above this share of differing pixels it is another scene (the lamp went on, the camera was turned): learned again.
const SCENE_SHARE: f32 = 0.6;
/// Of the last 64 pictures or so, a pixel that changed sides in more than this share is restless and does not count.
const RESTLESS_SHARE: f32 = 0.15;
const RESTLESS_PICTURES: f32 = 64.0;
/// What has been seen in this many pictures, over this long, moves. Where pictures come slowly, two are enough, or one with a large part.
const SEEN_PICTURES: u32 = 3;
const SEEN_FOR: Duration = Duration::from_millis(300);
const SLOW: Duration = Duration::from_millis(500);
const SLOW_LARGE: usize = 4;
/// The fastest that is followed, in widths of the picture a second, and what the rectangle itself may jump.
const SPEED_MAX: f32 = 0.4;
const JUMP_SHARE: f32 = 0.05;
/// "Just now", to tell moving objects from stationary ones.
const RECENT_SEC: f32 = 0.5;

/// Tells whether something moves. The same pictures at the same times give the same answers.
#[derive(Debug)]
pub struct Detector {
    zones: Vec<Zone>,
    /// Levels of brightness.
    threshold: f32,
    /// Of the picture's pixels.
    share_min: f32,
    scene: Option<Scene>,
}

/// What a picture shows beside those before it.
enum Sighting {
    /// Something moves, and did not yet at that time.
    Moving {
        since: Instant,
    },
    Still,
    /// More has changed than anything that moves: a cut, or another light.
    OtherScene,
}

/// What is known of a scene.
#[derive(Debug)]
struct Scene {
    width: usize,
    counts: Vec<bool>,
    background: Vec<f32>,
    deviation: Vec<f32>,
    recent: Vec<f32>,
    restless: Vec<f32>,
    differs: Vec<bool>,
    smoothed: Vec<bool>,
    tolerance: f32,
    began: Instant,
    last: Instant,
    pictures: u32,
    tracked: Vec<Tracked>,
}

/// A part that differs, and since when.
#[derive(Clone, Copy, Debug)]
struct Tracked {
    blob: Blob,
    since: Instant,
    /// The picture before: it was not there yet.
    before: Instant,
    pictures: u32,
}

/// Another exposure: what was `x` is now `gain * x + offset`.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Exposure {
    gain: f32,
    offset: f32,
}

impl Exposure {
    const SAME: Self = Self { gain: 1.0, offset: 0.0 };

    fn of(self, level: f32) -> f32 {
        self.gain * level + self.offset
    }
}

impl Detector {
    /// `sensitivity`: 0 to 1.
    pub fn new(sensitivity: f32, zones: Vec<Zone>) -> Self {
        // 32, 14, 6 levels and 1, 0.25, 0.06 % of the picture at 0, a half and 1.
        let from_middle = 1.0 - 2.0 * sensitivity.clamp(0.0, 1.0);
        Self { zones, threshold: 14.0 * 2.3_f32.powf(from_middle), share_min: 0.0025 * 4.0_f32.powf(from_middle), scene: None }
    }

    /// One small luma picture of `width`, without padding. `Some`: something moves, and did not yet at that time.
    pub fn see(&mut self, luma: &[u8], width: usize, at: Instant) -> Option<Instant> {
        let fits = |scene: &Scene| (scene.background.len(), scene.width) == (luma.len(), width) && at.since(scene.last) <= GAP_MAX;
        match &mut self.scene {
            Some(scene) if fits(scene) => match scene.see(luma, at, self.threshold, self.share_min) {
                Sighting::Moving { since } => Some(since),
                Sighting::Still => None,
                Sighting::OtherScene => {
                    self.scene = Some(Scene::new(&self.zones, luma, width, at));
                    None
                }
            },
            _ if width < 3 || luma.len() < 3 * width => None,
            _ => {
                self.scene = Some(Scene::new(&self.zones, luma, width, at));
                None
            }
        }
    }
}

impl Scene {
    fn new(zones: &[Zone], luma: &[u8], width: usize, at: Instant) -> Self {
        let levels: Vec<f32> = luma.iter().map(|&level| f32::from(level)).collect();
        let pixels = luma.len();
        Self {
            width,
            counts: zones::mask(zones, width, pixels / width),
            recent: levels.clone(),
            background: levels,
            deviation: vec![2.0; pixels],
            restless: vec![0.0; pixels],
            differs: vec![false; pixels],
            smoothed: Vec::new(),
            tolerance: 0.0,
            began: at,
            last: at,
            pictures: 1,
            tracked: Vec::new(),
        }
    }

    fn see(&mut self, luma: &[u8], at: Instant, threshold: f32, share_min: f32) -> Sighting {
        let before = std::mem::replace(&mut self.last, at);
        let elapsed = at.since(before);
        self.pictures = self.pictures.saturating_add(1);
        self.expose(luma, elapsed.as_secs_f32());
        let is_learning = at.since(self.began) < LEARNING || self.pictures <= LEARNING_PICTURES;
        let differing = self.compare(luma, threshold, elapsed.as_secs_f32(), is_learning);
        if differing as f32 > SCENE_SHARE * luma.len() as f32 {
            return Sighting::OtherScene;
        }
        if is_learning {
            return Sighting::Still;
        }
        let pixels_min = ((share_min * luma.len() as f32) as usize).max(4);
        blobs::smooth(&self.moving(luma, threshold), self.width, &mut self.smoothed);
        let moving = self.smoothed.iter().filter(|&&is_set| is_set).count();
        let usable: Vec<bool> =
            (0..luma.len()).map(|index| self.differs[index] && self.counts[index] && self.restless[index] < RESTLESS_SHARE).collect();
        blobs::smooth(&usable, self.width, &mut self.smoothed);
        let found = blobs::find(&mut self.smoothed, self.width, pixels_min);
        self.follow_recent(luma, elapsed.as_secs_f32());
        let since = self.track(&found, at, before, pixels_min).filter(|_| moving * 4 >= pixels_min);
        since.map_or(Sighting::Still, |since| Sighting::Moving { since })
    }

    /// What counts, differs, and is not as it was just now.
    fn moving(&self, luma: &[u8], threshold: f32) -> Vec<bool> {
        let limit = threshold / 2.0 + self.tolerance;
        let moves = |(index, &level): (usize, &u8)| {
            self.differs[index]
                && self.counts[index]
                && self.restless[index] < RESTLESS_SHARE
                && (f32::from(level) - self.recent[index]).abs() > limit
        };
        luma.iter().enumerate().map(moves).collect()
    }

    fn follow_recent(&mut self, luma: &[u8], elapsed_sec: f32) {
        let share = share_of(elapsed_sec, RECENT_SEC);
        for (recent, &level) in self.recent.iter_mut().zip(luma) {
            *recent += share * (f32::from(level) - *recent);
        }
    }

    /// Brings the background to the picture's exposure.
    fn expose(&mut self, luma: &[u8], elapsed_sec: f32) {
        self.tolerance *= (-elapsed_sec / SETTLE_SEC).exp();
        let fitted = self.fit(luma);
        let explained = |exposure: Exposure| {
            let pairs = luma.iter().zip(&self.background);
            pairs.filter(|(level, known)| (f32::from(**level) - exposure.of(**known)).abs() < FIT_LEVELS).count() as f32
        };
        if explained(fitted) < explained(Exposure::SAME) * FIT_GAIN {
            return;
        }
        let mut change = 0.0;
        for ((known, recent), &level) in self.background.iter_mut().zip(&mut self.recent).zip(luma) {
            let is_clipped = *known <= CLIP_LOW || *known >= CLIP_HIGH;
            let exposed = if is_clipped { f32::from(level) } else { fitted.of(*known) };
            change += (exposed - *known).abs();
            (*known, *recent) = (exposed, fitted.of(*recent));
        }
        self.tolerance = self.tolerance.max(TOLERANCE_SHARE * change / luma.len() as f32);
    }

    /// The factor and offset with the least squares, first over all, then twice without what does not fit.
    fn fit(&self, luma: &[u8]) -> Exposure {
        let mut fitted = Exposure::SAME;
        let mut limit = f32::INFINITY;
        for _ in 0..3 {
            let (mut count, mut sum_x, mut sum_y, mut sum_xx, mut sum_xy) = (0.0_f64, 0.0_f64, 0.0_f64, 0.0_f64, 0.0_f64);
            let mut misfit = 0.0;
            for (&level, &known) in luma.iter().zip(&self.background) {
                let level = f32::from(level);
                let off = (level - fitted.of(known)).abs();
                if off > limit || !(CLIP_LOW..=CLIP_HIGH).contains(&level) || !(CLIP_LOW..=CLIP_HIGH).contains(&known) {
                    continue;
                }
                let (x, y) = (f64::from(known), f64::from(level));
                count += 1.0;
                sum_x += x;
                sum_y += y;
                sum_xx += x * x;
                sum_xy += x * y;
                misfit += off;
            }
            if count < 100.0 {
                return Exposure::SAME;
            }
            let spread = sum_xx / count - (sum_x / count).powi(2);
            // A picture of one brightness tells no factor from an offset.
            let gain = if spread < 16.0 { 1.0 } else { ((sum_xy / count - sum_x * sum_y / count / count) / spread).clamp(0.2, 5.0) };
            fitted = Exposure { gain: gain as f32, offset: ((sum_y - gain * sum_x) / count) as f32 };
            limit = if limit.is_infinite() { 24.0 } else { (2.5 * misfit / count as f32).max(6.0) };
        }
        fitted
    }

    /// Marks what differs from the background, and lets the background learn. Gives the number of pixels that differ.
    fn compare(&mut self, luma: &[u8], threshold: f32, elapsed_sec: f32, is_learning: bool) -> usize {
        let follow = share_of(elapsed_sec, if is_learning || self.tolerance > 1.0 { FOLLOW_SETTLING_SEC } else { FOLLOW_SEC });
        let absorb = share_of(elapsed_sec, ABSORB_SEC);
        let learn = share_of(elapsed_sec, if is_learning { FOLLOW_SETTLING_SEC } else { DEVIATION_SEC });
        let mut differing = 0;
        for (index, &level) in luma.iter().enumerate() {
            let level = f32::from(level);
            let known = &mut self.background[index];
            let deviation = &mut self.deviation[index];
            let off = (level.clamp(CLIP_LOW, CLIP_HIGH) - known.clamp(CLIP_LOW, CLIP_HIGH)).abs();
            let differs = off > threshold + self.tolerance + DEVIATIONS * *deviation;
            differing += usize::from(off > threshold + self.tolerance);
            let share = if differs && !is_learning { absorb } else { follow };
            *known += share * (level - *known);
            if !differs || is_learning {
                *deviation += learn * (off.min(threshold) - *deviation);
            }
            let has_changed = f32::from(u8::from(differs != self.differs[index]));
            self.restless[index] += (has_changed - self.restless[index]) / RESTLESS_PICTURES;
            self.differs[index] = differs;
        }
        differing
    }

    /// Follows the parts from picture to picture. `Some`: one of them has been there for long enough, and was not yet at that time.
    fn track(&mut self, found: &[Blob], at: Instant, before: Instant, pixels_min: usize) -> Option<Instant> {
        let elapsed = at.since(before);
        let reach = (self.width as f32 * (JUMP_SHARE + SPEED_MAX * elapsed.as_secs_f32())) as usize;
        let tracked: Vec<Tracked> = found
            .iter()
            .map(|&blob| {
                let known = self.tracked.iter().filter(|known| known.blob.is_near(&blob, reach)).max_by_key(|known| known.pictures);
                known.map_or(Tracked { blob, since: at, before, pictures: 1 }, |known| Tracked {
                    blob,
                    since: known.since,
                    before: known.before,
                    pictures: known.pictures.saturating_add(1),
                })
            })
            .collect();
        self.tracked = tracked;
        let moving = self.tracked.iter().filter(|part| {
            let is_long = part.pictures >= SEEN_PICTURES && at.since(part.since) >= SEEN_FOR;
            let is_enough = elapsed >= SLOW && (part.pictures >= 2 || part.blob.pixels >= SLOW_LARGE * pixels_min);
            is_long || is_enough
        });
        moving.map(|part| part.before).min()
    }
}

/// How much of the way is gone after a time, for something that follows with a time constant.
fn share_of(elapsed_sec: f32, constant_sec: f32) -> f32 {
    1.0 - (-elapsed_sec / constant_sec).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zones::ZoneKind;

    const WIDTH: usize = 160;
    const HEIGHT: usize = 90;
    const INTERVAL_MS: u64 = 125;

    /// Small and repeatable: splitmix64.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        }

        /// Near enough to a normal distribution: the sum of twelve uniform ones.
        fn normal(&mut self) -> f32 {
            (0..12).map(|_| (self.next() >> 40) as f32 / (1u64 << 24) as f32).sum::<f32>() - 6.0
        }

        fn below(&mut self, limit: usize) -> usize {
            (self.next() % limit as u64) as usize
        }
    }

    /// A yard: sky above, walls with windows, dark ground.
    fn yard() -> Vec<f32> {
        let at = |index: usize| {
            let (x, y) = (index % WIDTH, index / WIDTH);
            let wall = 90.0 + 40.0 * ((x / 12 + y / 9) % 2) as f32;
            if y < 20 {
                190.0 + x as f32 / 8.0
            } else if y < 60 {
                wall
            } else {
                45.0 + (x % 17) as f32
            }
        };
        (0..WIDTH * HEIGHT).map(at).collect()
    }

    /// What a sensor makes of a scene: factor, noise, clipping.
    fn picture(scene: &[f32], gain: f32, noise: f32, random: &mut Random) -> Vec<u8> {
        scene.iter().map(|level| (level * gain + noise * random.normal()).clamp(16.0, 235.0) as u8).collect()
    }

    fn put(scene: &mut [f32], left: usize, top: usize, (width, height): (usize, usize), level: f32) {
        for y in top..(top + height).min(HEIGHT) {
            for x in left..(left + width).min(WIDTH) {
                scene[y * WIDTH + x] = level;
            }
        }
    }

    /// The times, in milliseconds, at which a detector sees motion.
    fn moments(detector: &mut Detector, pictures: usize, interval_ms: u64, mut paint: impl FnMut(usize) -> Vec<u8>) -> Vec<u64> {
        let at = |index: usize| 1_000 + index as u64 * interval_ms;
        let sees = |&index: &usize| detector.see(&paint(index), WIDTH, Instant::from_micros(at(index) * 1000)).is_some();
        (0..pictures).filter(sees).map(|index| at(index) - 1_000).collect()
    }

    fn detector() -> Detector {
        Detector::new(0.5, Vec::new())
    }

    #[test]
    fn noise_alone_is_no_motion_for_minutes_with_any_seed() {
        for seed in 1..=4 {
            for noise in [1.5, 6.0] {
                let (scene, mut random) = (yard(), Random(seed));
                let seen = moments(&mut detector(), 2 * 60 * 8, INTERVAL_MS, |_| picture(&scene, 1.0, noise, &mut random));
                assert!(seen.is_empty(), "seed {seed}, noise {noise}: {seen:?}");
            }
        }
    }

    #[test]
    fn noise_in_key_frames_alone_is_no_motion() {
        for seed in 1..=6 {
            let (scene, mut random) = (yard(), Random(seed));
            let seen = moments(&mut detector(), 300, 2_000, |_| picture(&scene, 1.0, 4.0, &mut random));
            assert!(seen.is_empty(), "seed {seed}: {seen:?}");
        }
    }

    #[test]
    fn steps_and_ramps_of_the_exposure_are_no_motion() {
        for seed in 1..=4 {
            let (scene, mut random) = (yard(), Random(seed));
            let gain = |index: usize| match index / 80 {
                0 => 1.0,
                1 => 1.35,
                2 => 0.7,
                3 => 0.7 + 0.6 * (index % 80) as f32 / 80.0,
                4 => 1.3,
                _ => 0.45,
            };
            let seen = moments(&mut detector(), 560, INTERVAL_MS, |index| picture(&scene, gain(index), 2.0, &mut random));
            assert!(seen.is_empty(), "seed {seed}: {seen:?}");
        }
    }

    #[test]
    fn a_lamp_that_beats_with_the_frame_rate_is_no_motion() {
        let (scene, mut random) = (yard(), Random(7));
        let gain = |index: usize| 1.0 + 0.12 * (index as f32 * 2.1).sin();
        let seen = moments(&mut detector(), 1_000, INTERVAL_MS, |index| picture(&scene, gain(index), 2.0, &mut random));
        assert!(seen.is_empty(), "{seen:?}");
    }

    #[test]
    fn rain_is_no_motion() {
        for seed in 1..=3 {
            let (dry, mut random, mut drops) = (yard(), Random(seed), Random(seed + 100));
            let seen = moments(&mut detector(), 1_000, INTERVAL_MS, |_| {
                let mut scene = dry.clone();
                for _ in 0..60 {
                    let (left, top) = (drops.below(WIDTH), drops.below(HEIGHT));
                    put(&mut scene, left, top, (1, 4 + drops.below(8)), 215.0);
                }
                picture(&scene, 1.0, 2.0, &mut random)
            });
            assert!(seen.is_empty(), "seed {seed}: {seen:?}");
        }
    }

    /// A person far away: 5 by 13 of 160 by 90 pixels, across the yard within 16 s.
    fn walk(detector: &mut Detector, gain: impl Fn(usize) -> f32) -> Vec<u64> {
        let (still, mut random) = (yard(), Random(3));
        moments(detector, 400, INTERVAL_MS, |index| {
            let mut scene = still.clone();
            if (160..288).contains(&index) {
                put(&mut scene, (index - 160) * WIDTH / 128, 55, (5, 13), 25.0);
            }
            picture(&scene, gain(index), 2.0, &mut random)
        })
    }

    #[test]
    fn a_small_object_that_crosses_is_seen_within_a_second_and_only_while_it_does() {
        let seen = walk(&mut detector(), |_| 1.0);
        let (first, last) = (*seen.first().unwrap(), *seen.last().unwrap());
        assert!((20_000..=21_000).contains(&first) && (34_000..=37_000).contains(&last), "{seen:?}");
        assert!(seen.len() > 80, "it is seen most of the way: {}", seen.len());
        assert_eq!(seen, walk(&mut detector(), |_| 1.0), "the same pictures give the same answers");
    }

    #[test]
    fn it_is_seen_while_the_light_changes_too() {
        let seen = walk(&mut detector(), |index| 1.0 + 0.3 * (index as f32 / 40.0).sin());
        assert!(seen.len() > 25 && seen.iter().all(|at| (20_000..=37_000).contains(at)), "{seen:?}");
    }

    #[test]
    fn what_moves_in_an_excluded_zone_does_not_count() {
        let path = Zone { kind: ZoneKind::Exclude, points: vec![(0.0, 0.5), (1.0, 0.8)] };
        assert!(walk(&mut Detector::new(0.5, vec![path.clone()]), |_| 1.0).is_empty());
        assert!(!walk(&mut Detector::new(0.5, vec![Zone { kind: ZoneKind::Include, ..path }]), |_| 1.0).is_empty());
    }

    #[test]
    fn what_comes_and_stays_is_motion_when_it_comes() {
        let (still, mut random) = (yard(), Random(5));
        let seen = moments(&mut detector(), 800, INTERVAL_MS, |index| {
            let mut scene = still.clone();
            if index >= 160 {
                put(&mut scene, ((index - 160) * 2).min(70), 50, (24, 14), 220.0);
            }
            picture(&scene, 1.0, 2.0, &mut random)
        });
        assert!((20_000..=21_500).contains(seen.first().unwrap()) && *seen.last().unwrap() < 32_000, "{seen:?}");
    }

    #[test]
    fn of_key_frames_two_seconds_apart_a_walker_is_seen() {
        let (still, mut random) = (yard(), Random(9));
        let seen = moments(&mut detector(), 60, 2_000, |index| {
            let mut scene = still.clone();
            if (20..28).contains(&index) {
                put(&mut scene, (index - 20) * 20, 50, (8, 18), 25.0);
            }
            picture(&scene, 1.0, 2.0, &mut random)
        });
        assert!((40_000..=44_000).contains(seen.first().unwrap()) && *seen.last().unwrap() <= 60_000, "{seen:?}");
    }

    #[test]
    fn the_light_that_is_switched_on_is_no_motion() {
        let (still, mut random) = (yard(), Random(11));
        let lit: Vec<f32> = still.iter().enumerate().map(|(index, level)| 255.0 - level + (index % 7) as f32).collect();
        let seen =
            moments(&mut detector(), 400, INTERVAL_MS, |index| picture(if index < 200 { &still } else { &lit }, 1.0, 2.0, &mut random));
        assert!(seen.is_empty(), "{seen:?}");
    }
}
