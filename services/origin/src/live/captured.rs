//! When a frame was captured, and how old pictures are.

use sightline_media::{CaptureMark, MediaTime, WallTime};
use sightline_signal::report::PathAge;
use std::time::Duration;

/// A mark that is further in the future than its clock may be off by and this, in microseconds, is of a clock that is wrong.
const FUTURE_MAX_MICROS: i64 = 2_000_000;
/// One that is older than this says nothing of the way here: no queue of a camera holds as much.
const PAST_MAX_MICROS: i64 = 120_000_000;

/// Whose time it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum CapturedBy {
    /// The camera wrote it into the picture; its clock may be off by so many milliseconds, where that is known.
    Camera { clock_error_ms: Option<u16> },
    /// When it came to the origin.
    Arrival,
}

impl CapturedBy {
    /// As the API names it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Camera { .. } => "camera",
            Self::Arrival => "arrival",
        }
    }

    pub(crate) const fn clock_error_ms(self) -> Option<u16> {
        match self {
            Self::Camera { clock_error_ms } => clock_error_ms,
            Self::Arrival => None,
        }
    }
}

/// When a frame was captured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Captured {
    pub(crate) at: WallTime,
    pub(crate) by: CapturedBy,
}

impl Captured {
    pub(crate) const fn on_arrival(wall: WallTime) -> Self {
        Self { at: wall, by: CapturedBy::Arrival }
    }

    /// By its mark, unless that can't be.
    pub(crate) fn new(mark: Option<CaptureMark>, arrived: WallTime) -> Self {
        let believed = mark.filter(|mark| {
            let error = mark.clock_error_ms.map_or(0, |error| i64::from(error) * 1_000);
            let age = arrived.unix_micros.saturating_sub(mark.captured.unix_micros);
            (-(FUTURE_MAX_MICROS + error)..=PAST_MAX_MICROS + error).contains(&age)
        });
        believed.map_or(Self::on_arrival(arrived), |mark| Self {
            at: mark.captured,
            by: CapturedBy::Camera { clock_error_ms: mark.clock_error_ms },
        })
    }

    /// How old it is; nothing is younger than now, whatever clocks say.
    pub(crate) fn age(self, now: WallTime) -> Duration {
        let micros = now.unix_micros.saturating_sub(self.at.unix_micros);
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}

/// The newest picture of a stream: by it a player tells when what it shows was captured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Newest {
    pub(crate) pts: MediaTime,
    pub(crate) captured: Captured,
}

/// Where an age is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AgePath {
    /// As it comes to the origin; of pictures that their camera has marked.
    Arrival,
    /// On the screen, as the players of the pages say.
    Whep,
    Flv,
    Hls,
}

impl AgePath {
    pub(crate) const ALL: [Self; 4] = [Self::Arrival, Self::Whep, Self::Flv, Self::Hls];

    /// As metrics and the API name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Arrival => "arrival",
            Self::Whep => "whep",
            Self::Flv => "flv",
            Self::Hls => "hls",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|path| path.name() == name)
    }
}

/// Ages up to these are counted apart, in milliseconds; those above the last together.
pub(crate) const AGE_BOUNDS_MS: [u32; 15] = [50, 100, 150, 200, 300, 400, 500, 750, 1_000, 1_500, 2_000, 3_000, 5_000, 10_000, 30_000];

/// Ages of one path, counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct AgeCounts {
    counts: [u64; AGE_BOUNDS_MS.len() + 1],
}

impl AgeCounts {
    /// Which of the counts an age belongs to.
    pub(crate) fn place(age: Duration) -> usize {
        AGE_BOUNDS_MS.iter().position(|bound| age.as_millis() <= u128::from(*bound)).unwrap_or(AGE_BOUNDS_MS.len())
    }

    fn count(&mut self, age: Duration) {
        self.counts[Self::place(age)] += 1;
    }

    fn with(self, other: Self) -> Self {
        Self { counts: std::array::from_fn(|at| self.counts[at] + other.counts[at]) }
    }

    /// The age that this share of all is not above, in milliseconds; within its bounds as if all were spread evenly. `None` without any.
    fn quantile(self, share: f64) -> Option<u32> {
        let all: u64 = self.counts.iter().sum();
        let wanted = ((all as f64) * share).ceil().max(1.0) as u64;
        let mut before = 0;
        let (place, &count) = self.counts.iter().enumerate().find(|(_, count)| {
            before += **count;
            before >= wanted
        })?;
        let from = if place == 0 { 0 } else { AGE_BOUNDS_MS[place - 1] };
        let to = AGE_BOUNDS_MS.get(place).copied().unwrap_or(2 * from);
        let part = (wanted - (before - count)) as f64 / count.max(1) as f64;
        Some(from + (f64::from(to - from) * part) as u32)
    }
}

/// A stream's ages over the last half to one minute.
#[derive(Debug, Default)]
pub(crate) struct Ages {
    present: [AgeCounts; AgePath::ALL.len()],
    before: [AgeCounts; AgePath::ALL.len()],
    since: sightline_media::Instant,
}

impl Ages {
    const MEMORY: Duration = Duration::from_secs(30);

    pub(crate) fn count(&mut self, path: AgePath, age: Duration, now: sightline_media::Instant) {
        self.forget(now);
        self.present[path as usize].count(age);
    }

    fn forget(&mut self, now: sightline_media::Instant) {
        let passed = now.since(self.since);
        if passed >= Self::MEMORY {
            let present = std::mem::take(&mut self.present);
            self.before = if passed < 2 * Self::MEMORY { present } else { Default::default() };
            self.since = now;
        }
    }

    /// Of each path that has any.
    pub(crate) fn tell(&mut self, now: sightline_media::Instant) -> Vec<PathAge> {
        self.forget(now);
        let tell = |path: AgePath| {
            let counts = self.present[path as usize].with(self.before[path as usize]);
            Some(PathAge { path: path.name().to_owned(), p50_ms: counts.quantile(0.5)?, p99_ms: counts.quantile(0.99)? })
        };
        AgePath::ALL.into_iter().filter_map(tell).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sightline_media::Instant;

    fn wall(ms: i64) -> WallTime {
        WallTime::from_unix_micros(1_795_000_000_000_000 + ms * 1_000)
    }

    #[test]
    fn a_camera_s_time_is_believed_unless_its_clock_is_wrong_and_no_picture_is_younger_than_now() {
        let by = |captured_ms: i64, clock_error_ms: Option<u16>| {
            let mark = CaptureMark { captured: wall(captured_ms), clock_error_ms, number: 0 };
            Captured::new(Some(mark), wall(0))
        };
        assert_eq!(by(-80, Some(3)), Captured { at: wall(-80), by: CapturedBy::Camera { clock_error_ms: Some(3) } });
        assert_eq!(by(1_000, None).age(wall(0)), Duration::ZERO);
        for (ms, error) in [(-3_600_000, None), (5_000, Some(100)), (-1_795_000_000_000, Some(16_000))] {
            assert_eq!(by(ms, error), Captured::on_arrival(wall(0)), "{ms}");
        }
        assert_eq!(by(5_000, Some(4_000)).by.name(), "camera", "a clock that says how far it may be off");
        assert_eq!(Captured::new(None, wall(0)).by.name(), "arrival");
    }

    #[test]
    fn quantiles_are_those_of_the_last_minute() {
        let at = |secs: u64| Instant::from_micros(secs * 1_000_000);
        let mut ages = Ages::default();
        (1..=100).for_each(|ms| ages.count(AgePath::Flv, Duration::from_millis(ms), at(1)));
        ages.count(AgePath::Arrival, Duration::from_secs(100), at(1));
        let told = ages.tell(at(2));
        assert_eq!(
            told.iter().map(|age| (age.path.as_str(), age.p50_ms, age.p99_ms)).collect::<Vec<_>>(),
            [("arrival", 60_000, 60_000), ("flv", 50, 99)]
        );
        assert_eq!(ages.tell(at(40)).len(), 2);
        assert_eq!(ages.tell(at(101)), []);
    }
}
