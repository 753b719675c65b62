//! Rate control: from what the far end has acknowledged and how late it is, to what the encoder shall make.
//!
//! It cuts fast and once per lag episode, probes up by a share a second, stays between the floor and the target, and holds the encoder
//! back while frames would only wait. The reasons and the figures behind the constants: `docs/design/0001-rate-control.md`.

use core::time::Duration;
use sightline_media::Instant;

/// Between two decisions: a frame and a half at 30 fps.
const TICK: Duration = Duration::from_millis(50);
/// Lag beyond this share of the target latency means that the link is slower than the encoder. A key frame on a link that is just fast
/// enough takes less than that, and is no reason to cut.
const LAG_SHARE: f32 = 0.13;
/// Above this share of the target latency the encoder is held back.
const HOLD_SHARE: f32 = 0.3;
/// A held encoder goes on below this share of it.
const RELEASE_SHARE: f32 = 0.13;
/// After a cut, the lag gets this long to go before the next one; what was encoded before the cut is late whatever is done.
const CUT_PAUSE: Duration = Duration::from_millis(1000);
/// While the encoder is held there is nothing to cut; but a link that holds it for so long is slow, and not in a hole.
const HELD_CUT_PAUSE: Duration = Duration::from_secs(3);
/// Without lag for this long the rate is raised.
const CLEAR: Duration = Duration::from_millis(200);
/// Raised by this share of the present rate a second, up to the rate that last was too much.
const RECOVER_PER_SECOND: f32 = 1.5;
/// And beyond it.
const PROBE_PER_SECOND: f32 = 0.4;
/// Cut to this share of what the link carried, so that the queue drains.
const CUT_TO_DELIVERED: f32 = 0.88;
/// Never cut below this share of the present rate at once: one hole is not the link's rate.
const CUT_AT_MOST: f32 = 0.6;
/// Not raised above this multiple of what is delivered: an encoder that does not use its rate proves nothing about the link (GCC has 1.5,
/// draft-ietf-rmcat-gcc-02, section 5.5; its packets can't be held back).
const DELIVERED_MULTIPLE_MAX: f32 = 2.0;
/// Bytes on their way are kept to this long at the delivered rate: what is in the network can't be taken back.
const WINDOW: Duration = Duration::from_millis(300);
/// But never to fewer: ten segments, with which TCP begins anyway.
const WINDOW_BYTES_MIN: u64 = 14 * 1024;

/// A link that carries less than the floor for so long is no link for this stream: a hole of a cellular link is shorter.
const STARVED_AFTER: Duration = Duration::from_secs(15);
/// It is fed again at this multiple of the floor.
const FED_SHARE: f32 = 1.5;

/// What is seen of the link at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkSample {
    /// How much older the oldest frame that has not arrived is than the link's own latency.
    pub(crate) lag: Duration,
    /// Bits a second that the far end acknowledged; `None` on a link that is too young to say.
    pub(crate) delivered_bps: Option<f32>,
    /// The same over the last moments alone.
    pub(crate) fresh_bps: Option<f32>,
    /// Bytes that have arrived on this link.
    pub(crate) arrived: u64,
}

/// What has arrived over a longer time. Behind a proxy that takes bytes in bursts the moments say nothing: each burst looks like a fast link.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    since: Instant,
    arrived: u64,
    ticks: u16,
    /// Those at which frames waited.
    short: u16,
}

/// What changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Decision {
    /// Another bit rate.
    Rate,
    /// Encode nothing for a while, or go on.
    Hold(bool),
    /// The link has carried less than the least rate for [`STARVED_AFTER`]: report it, once.
    Starved,
}

/// Decides the encoder's bit rate, and when it is held back.
#[derive(Clone, Debug)]
pub(crate) struct RateControl {
    target_bps: u32,
    floor_bps: u32,
    present_bps: f32,
    told_bps: u32,
    /// The rate that last was too much.
    too_much_bps: f32,
    target_latency: Duration,
    next_tick: Option<Instant>,
    cut_at: Option<Instant>,
    clear_since: Option<Instant>,
    is_held: bool,
    starved_since: Option<Instant>,
    has_starved: bool,
    stretch: Option<Stretch>,
}

impl RateControl {
    /// Starts at the target. The floor is never above it.
    pub(crate) fn new(target_bps: u32, floor_bps: u32, target_latency: Duration) -> Self {
        Self {
            target_bps,
            floor_bps: floor_bps.min(target_bps),
            present_bps: target_bps as f32,
            told_bps: target_bps,
            too_much_bps: 0.0,
            target_latency,
            next_tick: None,
            cut_at: None,
            clear_since: None,
            is_held: false,
            starved_since: None,
            has_starved: false,
            stretch: None,
        }
    }

    /// The present bit rate.
    pub(crate) const fn bitrate_bps(&self) -> u32 {
        self.told_bps
    }

    /// Another target; the present rate is lowered to it, or probes up to it.
    pub(crate) fn set_target(&mut self, target_bps: u32) {
        self.target_bps = target_bps;
        self.floor_bps = self.floor_bps.min(target_bps);
        self.present_bps = self.present_bps.min(target_bps as f32);
        self.told_bps = self.present_bps as u32;
    }

    /// The link has been tried before the stream, and carries this.
    pub(crate) fn begin_at(&mut self, bps: f32) {
        self.set_present(bps);
        self.told_bps = self.present_bps as u32;
    }

    /// The caller has reported already that the link carries less than the least rate.
    pub(crate) const fn has_told(&mut self) {
        self.has_starved = true;
    }

    /// A new link; the rate that the last one found is kept.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.next_tick = Some(now + TICK);
        self.cut_at = None;
        self.clear_since = None;
        self.is_held = false;
        self.stretch = None;
        self.told_bps = self.present_bps as u32;
    }

    /// True when the link carries less than the floor: nothing lower can be asked of the encoder.
    fn is_starved(&self, sample: LinkSample) -> bool {
        self.present_bps <= self.floor_bps as f32 && (self.is_held || sample.lag >= self.share(LAG_SHARE))
    }

    /// Once for each time that the link starves: it has carried less than the floor for long.
    fn starves(&mut self, now: Instant, sample: LinkSample) -> bool {
        if self.present_bps > self.floor_bps as f32 * FED_SHARE {
            self.starved_since = None;
        }
        let was_short = self.stretch_was_short(now, sample);
        if was_short == Some(false) {
            self.has_starved = false;
        } else if was_short == Some(true) && !self.has_starved {
            self.has_starved = true;
            return true;
        }
        if self.is_starved(sample) {
            let since = *self.starved_since.get_or_insert(now);
            if !self.has_starved && now.since(since) >= STARVED_AFTER {
                self.has_starved = true;
                return true;
            }
        }
        false
    }

    /// Once a stretch: whether less than the floor has arrived in it, while frames waited for a third of it and more.
    fn stretch_was_short(&mut self, now: Instant, sample: LinkSample) -> Option<bool> {
        let is_short = self.is_held || sample.lag >= self.share(LAG_SHARE);
        let stretch = self.stretch.get_or_insert(Stretch { since: now, arrived: sample.arrived, ticks: 0, short: 0 });
        stretch.ticks = stretch.ticks.saturating_add(1);
        stretch.short = stretch.short.saturating_add(u16::from(is_short));
        let Stretch { since, arrived, ticks, short } = *stretch;
        let took = now.since(since);
        if took < STARVED_AFTER {
            return None;
        }
        self.stretch = None;
        let bps = sample.arrived.saturating_sub(arrived) as f32 * 8.0 / took.as_secs_f32();
        Some(bps < self.floor_bps as f32 && short >= ticks / 3)
    }

    /// When to call [`Self::tick`].
    pub(crate) const fn next_tick(&self) -> Option<Instant> {
        self.next_tick
    }

    /// How many bytes may be on their way.
    pub(crate) fn window_bytes(&self, delivered_bps: Option<f32>) -> u64 {
        let rate = delivered_bps.unwrap_or(self.present_bps).max(self.present_bps / 2.0);
        ((rate / 8.0 * WINDOW.as_secs_f32()) as u64).max(WINDOW_BYTES_MIN)
    }

    /// Decides, if it is time.
    pub(crate) fn tick(&mut self, now: Instant, sample: LinkSample) -> Option<Decision> {
        if self.next_tick.is_none_or(|at| now < at) {
            return None;
        }
        self.next_tick = Some(now + TICK);
        if self.starves(now, sample) {
            return Some(Decision::Starved);
        }
        if self.turns(sample) {
            self.is_held = !self.is_held;
            self.clear_since = None;
            if !self.is_held {
                self.come_back(now, sample);
            }
            return Some(Decision::Hold(self.is_held));
        }
        if sample.lag >= self.share(LAG_SHARE) {
            self.clear_since = None;
            let pause = if self.is_held { HELD_CUT_PAUSE } else { CUT_PAUSE };
            match self.cut_at {
                Some(at) if now.since(at) < pause => {}
                Some(_) if self.is_held => {
                    self.cut_at = Some(now);
                    self.set_present(self.present_bps * CUT_AT_MOST);
                }
                Some(_) | None => self.cut(now, sample),
            }
        } else if sample.lag <= self.share(LAG_SHARE) / 2 && !self.is_held {
            let since = *self.clear_since.get_or_insert(now);
            if now.since(since) >= CLEAR {
                self.probe(sample);
            }
        }
        self.tell()
    }

    fn share(&self, share: f32) -> Duration {
        self.target_latency.mul_f32(share)
    }

    /// Whether the encoder is to be held back, or to go on.
    fn turns(&self, sample: LinkSample) -> bool {
        if self.is_held { sample.lag <= self.share(RELEASE_SHARE) } else { sample.lag >= self.share(HOLD_SHARE) }
    }

    fn cut(&mut self, now: Instant, sample: LinkSample) {
        self.cut_at = Some(now);
        let before = self.present_bps;
        let delivered = sample.delivered_bps.unwrap_or(before * CUT_AT_MOST);
        self.too_much_bps = before;
        self.set_present((delivered * CUT_TO_DELIVERED).clamp(before * CUT_AT_MOST, before * 0.97));
    }

    /// The hole is over, and what waited has gone: how fast it went is what the link carries now. That may be all it carried before.
    fn come_back(&mut self, now: Instant, sample: LinkSample) {
        // The next lag is another one.
        self.cut_at = Some(now);
        let before = self.present_bps.max(self.too_much_bps);
        let carried = sample.fresh_bps.unwrap_or(self.present_bps) * CUT_TO_DELIVERED;
        self.set_present(carried.clamp(self.present_bps * CUT_AT_MOST, before * 0.97));
    }

    fn probe(&mut self, sample: LinkSample) {
        let share = if self.present_bps < self.too_much_bps * 0.9 { RECOVER_PER_SECOND } else { PROBE_PER_SECOND };
        let raised = self.present_bps * (1.0 + share * TICK.as_secs_f32());
        let most = sample.delivered_bps.map_or(self.present_bps, |delivered| delivered * DELIVERED_MULTIPLE_MAX);
        self.set_present(raised.min(most.max(self.present_bps)));
    }

    fn set_present(&mut self, bps: f32) {
        self.present_bps = bps.clamp(self.floor_bps as f32, self.target_bps as f32);
    }

    /// The encoder hears of changes of 2 % and more, and of the target.
    fn tell(&mut self) -> Option<Decision> {
        let present = self.present_bps as u32;
        let is_worth = present.abs_diff(self.told_bps) >= self.told_bps / 50 || present == self.target_bps || present == self.floor_bps;
        (is_worth && present != self.told_bps).then(|| {
            self.told_bps = present;
            Decision::Rate
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flight::Flight;
    use std::collections::VecDeque;

    #[test]
    fn the_design_page_has_the_shares_that_are_in_use() {
        const PAGE: &str = include_str!("../../../docs/design/0001-rate-control.md");
        // Of the default target latency, 3 s.
        for (name, share) in [("lag", LAG_SHARE), ("lag", HOLD_SHARE)] {
            let row = std::format!("| {name} over {:.0} % ({:.0} ms) |", share * 100.0, share * 3_000.0);
            assert!(PAGE.contains(&row), "docs/design/0001-rate-control.md has no row {row:?}");
        }
        assert!(PAGE.contains(&std::format!("until the lag is under {:.0} %", RELEASE_SHARE * 100.0)));
    }

    /// An encoder that follows its settings, a camera's queue, and a link of some rate, in steps of 20 ms.
    struct World {
        control: RateControl,
        flight: Flight<32>,
        now_ms: u64,
        waiting: VecDeque<(u64, Instant)>,
        in_network: u64,
        in_proxy: u64,
        acknowledged: u64,
        lag_max: Duration,
        /// Bytes that a proxy holds: it acknowledges at once what fits, and is silent then until half of it has gone on. 0: none is there.
        proxy_bytes: u64,
        is_proxy_full: bool,
        starved: u32,
    }

    impl World {
        fn new(target_bps: u32) -> Self {
            let mut control = RateControl::new(target_bps, 150_000, Duration::from_secs(3));
            control.restart(Instant::ZERO);
            let flight = Flight::<32>::new(Instant::ZERO);
            Self {
                control,
                flight,
                now_ms: 0,
                waiting: VecDeque::new(),
                in_network: 0,
                in_proxy: 0,
                acknowledged: 0,
                lag_max: Duration::ZERO,
                proxy_bytes: 0,
                is_proxy_full: false,
                starved: 0,
            }
        }

        fn run(&mut self, seconds: u64, kbps: u64) {
            for _ in 0..seconds * 50 {
                self.now_ms += 20;
                let now = Instant::from_micros(self.now_ms * 1000);
                if self.now_ms.is_multiple_of(40) && !self.control.is_held {
                    self.waiting.push_back((u64::from(self.control.bitrate_bps()) / 8 / 25, now));
                }
                let window = self.control.window_bytes(self.flight.delivered_bps(now));
                while self.flight.unacknowledged() < window
                    && let Some((bytes, captured_at)) = self.waiting.pop_front()
                {
                    self.flight.hand(now, bytes as usize);
                    self.flight.hand_frame(captured_at);
                    self.in_network += bytes;
                }
                let step = kbps * 20 / 8;
                let taken = if self.proxy_bytes == 0 {
                    step
                } else {
                    self.in_proxy = self.in_proxy.saturating_sub(step);
                    self.is_proxy_full &= self.in_proxy > self.proxy_bytes / 2;
                    if self.is_proxy_full { 0 } else { self.proxy_bytes - self.in_proxy }
                };
                let taken = self.in_network.min(taken);
                self.in_network -= taken;
                self.acknowledged += taken;
                self.in_proxy += taken;
                self.is_proxy_full |= self.in_proxy >= self.proxy_bytes;
                self.flight.report(now, self.acknowledged, self.in_network, |_| {});
                let oldest = self.flight.oldest().or_else(|| self.waiting.front().map(|(_, at)| *at));
                let lag = oldest.map_or(Duration::ZERO, |at| now.since(at));
                self.lag_max = self.lag_max.max(lag);
                let (delivered_bps, fresh_bps) = (self.flight.delivered_bps(now), self.flight.fresh_bps(now));
                let sample = LinkSample { lag, delivered_bps, fresh_bps, arrived: self.flight.acknowledged() };
                self.starved += u32::from(self.control.tick(now, sample) == Some(Decision::Starved));
            }
        }
    }

    #[test]
    fn a_link_at_half_the_rate_is_found_and_left_again() {
        let mut world = World::new(2_000_000);
        world.run(20, 1000);
        assert!((600_000..=1_150_000).contains(&world.control.bitrate_bps()), "{}", world.control.bitrate_bps());
        assert!(world.lag_max < Duration::from_millis(1200), "{:?}", world.lag_max);
        world.run(10, 10_000);
        assert_eq!(world.control.bitrate_bps(), 2_000_000);
    }

    #[test]
    fn a_hole_holds_the_encoder_and_costs_the_rate_once() {
        let mut world = World::new(2_000_000);
        world.run(5, 4000);
        world.run(4, 0);
        assert!(world.control.is_held);
        assert!(world.control.bitrate_bps() >= 700_000, "one hole is not the link's rate: {}", world.control.bitrate_bps());
        world.run(5, 4000);
        assert!(!world.control.is_held && world.control.bitrate_bps() > 1_900_000, "{}", world.control.bitrate_bps());
    }

    #[test]
    fn a_link_below_the_floor_is_told_once_behind_a_proxy_that_takes_bytes_in_bursts_too() {
        for proxy_bytes in [0, 16 << 10, 32 << 10, 64 << 10] {
            let mut world = World::new(1_000_000);
            world.proxy_bytes = proxy_bytes;
            world.run(if cfg!(miri) { 46 } else { 120 }, 60);
            assert_eq!(world.starved, 1, "{proxy_bytes}");
        }
        let mut world = World::new(1_000_000);
        world.run(if cfg!(miri) { 31 } else { 90 }, 400);
        assert_eq!(world.starved, 0, "above the floor");
    }

    #[test]
    fn it_never_leaves_its_bounds() {
        let mut world = World::new(1_000_000);
        // Down in a quarter of it, where each step costs: under Miri.
        world.run(if cfg!(miri) { 15 } else { 60 }, 20);
        assert_eq!(world.control.bitrate_bps(), 150_000);
        world.control.set_target(100_000);
        assert_eq!(world.control.bitrate_bps(), 100_000);
    }
}
