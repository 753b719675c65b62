//! One track's times.

use crate::time::MediaTime;

const SECOND: i64 = MediaTime::TICKS_PER_SECOND;
const MILLI: i64 = SECOND / 1000;

/// What a track's frames are taken to be apart before two have come: 25 pictures a second.
const INTERVAL_DEFAULT: i64 = SECOND / 25;
/// A step that is longer is no frame interval.
const INTERVAL_MAX: i64 = 2 * SECOND;
/// A step ahead that is longer than three frames and that no delay explains is a step of the clock, from this much on.
const JUMP_MIN: i64 = SECOND / 5;
/// How far times may run ahead of the time that passes, without a step, before their rate is not believed.
const AHEAD_MAX: i64 = SECOND * 7 / 10;
/// Frames that come faster than this one after another are what was kept for us, or a file that is not held back: no camera gives 125 a second.
const BURST_INTERVAL: i64 = SECOND / 125;
/// A source's clock may drift by a hundredth: more of being ahead is not taken for a lesser delay.
const DRIFT_DIVISOR: i64 = 100;
/// Frames in a row whose times do not rise, after which they say nothing.
const STANDING_FRAMES: u8 = 3;
/// Frames that a look at the rate needs.
const LOOK_FRAMES: u32 = 3;
/// Looks in a row that must agree.
const LOOKS: u8 = 3;
/// A rate that is wrong by a tenth is seen within seconds, one that is wrong by less needs longer to be told from a link's moods.
const SHORT: Kind = Kind { window: SECOND, tolerance: 100 };
const LONG: Kind = Kind { window: 10 * SECOND, tolerance: 15 };
/// What a step adds to a track's unrest, of which each frame without one takes a unit away; and how much of it is too much to believe any step.
const UNREST_OF_STEP: u8 = 4;
const UNREST_MAX: u8 = 12;
/// Pictures that may be reordered (H.264 §A.3.1: a decoded picture buffer of 16 frames).
const REORDER_MAX: i64 = 16;
/// No picture waits longer for those that are shown before it.
const COMPOSITION_MAX: i64 = 2 * SECOND;
/// A delay that changes by more than this by the wall's clock is a pause, and is not made up for little by little.
const PAUSE_MIN: i64 = 2 * SECOND;

/// What a frame's time is.
pub(super) enum Outcome {
    /// It is the first of this connection.
    First,
    /// It follows the one before it.
    Next(i64),
    /// The rate is not believed from here on; this is its time.
    Rate(i64),
    /// The clock stepped; if nothing else is known, the track goes on at `alone`.
    Step { alone: i64 },
}

/// One track of one source.
#[derive(Clone, Debug, Default)]
pub(super) struct Lane {
    /// The last frame of this connection.
    last: Option<Last>,
    /// The last time given, over all connections.
    given: Option<i64>,
    /// From the source's times to ours.
    offset: i64,
    /// How much of it is this track's alone.
    pub(super) skew: i64,
    pub(super) steps_seen: u32,
    /// The most that our times were ahead of the clock: the least delay.
    edge: i64,
    standing: u8,
    unrest: u8,
    /// Frame intervals: as the source says, and as they come.
    interval: Option<i64>,
    arrival: Option<i64>,
    follows_wall: bool,
    /// How much earlier than they say pictures are decoded.
    lead: i64,
    has_been_early: bool,
    short: Look,
    long: Look,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    source: i64,
    given: i64,
    at: i64,
}

/// How a look at the rate is taken.
struct Kind {
    /// How long it takes, at least.
    window: i64,
    /// Thousandths that are none of the source's fault.
    tolerance: i64,
}

/// The rate, looked at one window after another.
#[derive(Clone, Copy, Debug, Default)]
struct Look {
    began: Option<i64>,
    frames: u32,
    /// What the source's steps add up to.
    advanced: i64,
    /// Thousandths of the right rate, at the last look.
    rate: i64,
    alike: u8,
}

/// What a look at the rate says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    None,
    Wrong,
    Right,
}

impl Lane {
    pub(super) fn forget_source(&mut self) {
        *self = Self { given: self.given, ..Self::default() };
    }

    pub(super) const fn is_placed(&self) -> bool {
        self.last.is_some()
    }

    /// It gave a time, in this connection or one before it.
    pub(super) const fn has_given(&self) -> bool {
        self.given.is_some()
    }

    /// From the source's times to ours, where they are believed.
    pub(super) fn offset(&self) -> Option<i64> {
        self.last.filter(|_| !self.follows_wall).map(|_| self.offset)
    }

    /// The first frame of a connection.
    pub(super) fn begin(&mut self, source: i64, at: i64, now: i64) -> i64 {
        let given = self.move_to(source, at, now);
        self.skew = self.offset;
        self.edge = given.saturating_sub(now);
        given
    }

    /// Whether the track may go on at `at`, when by itself it would go on at `alone`: a little back is held for as long.
    pub(super) fn may_go_on_at(&self, at: i64, alone: i64) -> bool {
        at >= alone.saturating_sub(SECOND / 4) && at <= alone.saturating_add(SECOND / 2)
    }

    /// The source's time `source` is ours of `at`, from here on.
    pub(super) fn move_to(&mut self, source: i64, at: i64, now: i64) -> i64 {
        self.offset = at.saturating_sub(source);
        self.standing = 0;
        (self.short, self.long) = Default::default();
        self.give(source, at, now)
    }

    fn give(&mut self, source: i64, at: i64, now: i64) -> i64 {
        let given = self.given.map_or(at, |before| at.max(before.saturating_add(MILLI)));
        self.given = Some(given);
        self.last = Some(Last { source, given, at: now });
        given
    }

    pub(super) fn advance(&mut self, source: i64, now: i64) -> Outcome {
        let Some(last) = self.last else { return Outcome::First };
        let (step, elapsed) = (source.saturating_sub(last.source), now.saturating_sub(last.at).max(0));
        smooth(&mut self.arrival, elapsed.min(INTERVAL_MAX), 16);
        let (short, long) = (self.short.count(&SHORT, step, now), self.long.count(&LONG, step, now));
        if self.follows_wall {
            return Outcome::Next(self.follow_wall(source, step, now, long));
        }
        let interval = self.interval.unwrap_or(INTERVAL_DEFAULT);
        if step <= 0 {
            self.standing += 1;
            if self.standing >= STANDING_FRAMES {
                return self.begin_wall(source, now);
            }
            // Two fields, two slices, or a source whose clock is coarser than its pictures: the next one is on time again.
            if step > -interval.max(MILLI * 2) {
                let at = source.saturating_add(self.offset);
                return Outcome::Next(self.give(source, at, now));
            }
            return self.take_step(last, source, interval, elapsed, now);
        }
        let at = source.saturating_add(self.offset);
        let ahead = at.saturating_sub(now).saturating_sub(self.edge);
        if step > (3 * interval).max(JUMP_MIN) && ahead > JUMP_MIN {
            return self.take_step(last, source, interval, elapsed, now);
        }
        (self.standing, self.unrest) = (0, self.unrest.saturating_sub(1));
        if step <= INTERVAL_MAX {
            smooth(&mut self.interval, step, 8);
        }
        let is_wrong = |look: &Look, verdict| verdict == Verdict::Wrong && (ahead > 0 || look.rate < 1000);
        if is_wrong(&self.short, short) || is_wrong(&self.long, long) {
            return self.begin_wall(source, now);
        }
        if ahead > AHEAD_MAX {
            if !self.short.is_burst(now) {
                return self.begin_wall(source, now);
            }
            self.edge = at.saturating_sub(now);
        } else if ahead > 0 {
            self.edge = self.edge.saturating_add(ahead.min(elapsed / DRIFT_DIVISOR));
        }
        Outcome::Next(self.give(source, at, now))
    }

    /// Behind a step a track goes on a frame later, or as much later as nothing came. One that steps all the time is not believed at all.
    fn take_step(&mut self, last: Last, source: i64, interval: i64, elapsed: i64, now: i64) -> Outcome {
        self.unrest = self.unrest.saturating_add(UNREST_OF_STEP);
        let is_pause = elapsed > (4 * interval).max(SECOND / 4);
        let alone = last.given.saturating_add(if is_pause { elapsed } else { interval });
        let ahead = alone.saturating_sub(now).saturating_sub(self.edge);
        if self.unrest > UNREST_MAX || ahead > AHEAD_MAX { self.begin_wall(source, now) } else { Outcome::Step { alone } }
    }

    fn begin_wall(&mut self, source: i64, now: i64) -> Outcome {
        self.follows_wall = true;
        (self.short, self.long) = Default::default();
        Outcome::Rate(self.follow_wall(source, 0, now, Verdict::None))
    }

    /// As far apart as frames come, and by and by as late as the clock says.
    fn follow_wall(&mut self, source: i64, step: i64, now: i64, verdict: Verdict) -> i64 {
        let before = self.given.unwrap_or_default();
        if step > 0 && step <= INTERVAL_MAX {
            smooth(&mut self.interval, step, 8);
        }
        let arrival = self.arrival.unwrap_or(INTERVAL_DEFAULT).max(MILLI);
        let (next, due) = (before.saturating_add(arrival), now.saturating_add(self.edge));
        let late = due.saturating_sub(next);
        let at = if late > PAUSE_MIN { due } else { next.saturating_add((late / 16).clamp(-arrival / 2, arrival / 2)) };
        // In whole milliseconds, which are what FLV can say.
        let given = self.give(source, at - at.rem_euclid(MILLI), now);
        if verdict == Verdict::Right {
            self.follows_wall = false;
            self.offset = given.saturating_sub(source);
            (self.standing, self.unrest) = (0, 0);
        }
        given
    }

    /// How long after its decoding a picture is shown, from what the source says.
    pub(super) fn composition(&mut self, said: i64) -> i64 {
        let interval = self.interval.unwrap_or(INTERVAL_DEFAULT).max(MILLI);
        let longest = (REORDER_MAX * interval).clamp(SECOND, COMPOSITION_MAX);
        if said < -self.lead && said >= -longest {
            self.take_lead(-said);
        }
        let shown = said.saturating_add(self.lead);
        if !self.follows_wall {
            return shown.clamp(0, longest);
        }
        let arrival = self.arrival.unwrap_or(INTERVAL_DEFAULT);
        let scaled = i128::from(shown) * i128::from(arrival) / i128::from(interval);
        let shown = i64::try_from(scaled).unwrap_or(0).clamp(0, (REORDER_MAX * arrival.max(MILLI)).min(COMPOSITION_MAX));
        shown - shown.rem_euclid(MILLI)
    }

    /// Some sources count decoding times so that pictures are shown before them (MP4's composition offsets below zero): decoded as much earlier, all are shown
    /// at their own times. A picture alone may be a fault.
    fn take_lead(&mut self, lead: i64) {
        if !core::mem::replace(&mut self.has_been_early, true) {
            return;
        }
        let more = lead - self.lead;
        self.lead = lead;
        self.offset = self.offset.saturating_sub(more);
        self.skew = self.skew.saturating_sub(more);
    }
}

impl Look {
    /// Counts a frame; says something when a look is over.
    fn count(&mut self, kind: &Kind, step: i64, now: i64) -> Verdict {
        let began = *self.began.get_or_insert(now);
        self.frames += 1;
        if self.frames > 1 {
            self.advanced = self.advanced.saturating_add(step.max(0));
        }
        let passed = now.saturating_sub(began);
        if passed < kind.window || self.frames <= LOOK_FRAMES {
            return Verdict::None;
        }
        let is_burst = passed / i64::from(self.frames) < BURST_INTERVAL;
        let rate = self.advanced.saturating_mul(1000) / passed;
        let is_right = (rate - 1000).abs() <= kind.tolerance;
        let is_alike = rate.abs_diff(self.rate) <= rate.unsigned_abs() / 25;
        let alike = if is_right || is_burst {
            0
        } else if is_alike {
            self.alike.saturating_add(1)
        } else {
            1
        };
        *self = Self { began: Some(now), frames: 1, advanced: 0, rate, alike };
        match (alike >= LOOKS, is_right) {
            (true, _) => Verdict::Wrong,
            (_, true) => Verdict::Right,
            (false, false) => Verdict::None,
        }
    }

    /// Whether frames come faster than any source makes them.
    fn is_burst(&self, now: i64) -> bool {
        let passed = now.saturating_sub(self.began.unwrap_or(now));
        passed / i64::from(self.frames.max(1)) < BURST_INTERVAL
    }
}

/// A mean that follows, by one part in `parts` a value.
fn smooth(mean: &mut Option<i64>, value: i64, parts: i64) {
    *mean = Some(mean.map_or(value, |before| before + (value - before) / parts));
}
