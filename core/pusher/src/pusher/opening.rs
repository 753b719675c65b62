//! Between the server's yes to the application and the publish: what the uplink carries picks where the stream begins.

use core::time::Duration;
use sightline_media::Instant;
use sightline_signal::{ErrorCode, Quality, Settings};

use super::Pusher;
use crate::bandwidth::{BandwidthCheck, BandwidthProgress, USABLE_SHARE};
use crate::io::EncoderAction;

/// A preset that the check picked is left for the next one after so long at its full rate: a moment's weakness shall not keep a camera
/// small, and each size begins with a key frame.
const BETTER_AFTER: Duration = Duration::from_secs(20);

/// What the check found, and what came of it.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Opening {
    check: Option<BandwidthCheck>,
    /// Acknowledged when the present round began.
    round_from: u64,
    /// A server that left during a check is not tried with one again.
    is_skipped: bool,
    /// Bits a second that the link carried before the stream.
    pub(super) uplink_bps: Option<u32>,
    /// The preset that was picked, where it is not the wanted one.
    picked: Option<Quality>,
    /// Since when the picked preset's full rate has been in use.
    full_since: Option<Instant>,
}

impl<P: AsRef<[u8]>, const QUEUE: usize> Pusher<P, QUEUE> {
    /// What is sent: the wanted quality, or the one that the uplink made of it.
    pub(super) fn quality(&self) -> Quality {
        self.opening.picked.unwrap_or(self.config.quality)
    }

    /// The server has the application. Only a stream's first connection is checked: later ones know what the last one carried.
    pub(super) fn on_connected(&mut self, now: Instant) {
        let is_checked = self.config.bandwidth_check
            && self.config.adaptive_bitrate
            && self.flight.reports()
            && !self.opening.is_skipped
            && self.tally.is_none();
        if !is_checked {
            self.session.go_on(now);
            return;
        }
        let enough_bps = (self.target.bitrate_bps as f32 / USABLE_SHARE) as u32;
        let check = BandwidthCheck::new(now, enough_bps);
        self.pad(check.round_bytes());
        self.opening.check = Some(check);
    }

    fn pad(&mut self, bytes: u32) {
        self.opening.round_from = self.flight.acknowledged();
        self.session.pad(usize::try_from(bytes).unwrap_or(usize::MAX));
    }

    /// When [`Self::tend_check`] has something to do, at the latest.
    pub(super) fn check_ends_at(&self) -> Option<Instant> {
        self.opening.check.as_ref().map(BandwidthCheck::poll_timeout)
    }

    /// Acknowledgements came, or time passed.
    pub(super) fn tend_check(&mut self, now: Instant) {
        let is_over = self.flight.unacknowledged() == 0 && self.pending()[0].is_empty();
        let arrived = self.flight.acknowledged().saturating_sub(self.opening.round_from);
        let Some(check) = &mut self.opening.check else { return };
        let progress = if is_over && arrived > 0 { Some(check.round_arrived(now)) } else { check.handle_timeout(now, arrived) };
        match progress {
            Some(BandwidthProgress::Pad(bytes)) => self.pad(bytes),
            Some(BandwidthProgress::Done(seen_bps)) => {
                self.opening.check = None;
                self.opening.uplink_bps = seen_bps;
                if let Some(seen_bps) = seen_bps {
                    self.begin_at(seen_bps as f32 * USABLE_SHARE);
                }
                self.session.go_on(now);
            }
            None => {}
        }
    }

    /// The link ended while it was tried. True the first time: the server may not like to be padded, and is asked again without.
    pub(super) fn check_was_cut(&mut self) -> bool {
        let was_checked = self.opening.check.take().is_some();
        self.opening.is_skipped |= was_checked;
        was_checked
    }

    /// A stream ended: the next one looks again.
    pub(super) fn forget_check(&mut self) {
        self.opening = Opening { is_skipped: self.opening.is_skipped, ..Opening::default() };
        self.retarget();
    }

    /// The best preset that the link carries, up to the wanted one; below `low`, its fewer and smaller pictures.
    fn begin_at(&mut self, usable_bps: f32) {
        let fits = |quality: &Quality| quality.settings().is_some_and(|settings| settings.bitrate_bps as f32 <= usable_bps);
        let wanted = self.config.quality;
        let is_lowered = usable_bps < self.ceiling.bitrate_bps as f32 && !matches!(wanted, Quality::Custom | Quality::Low);
        let below = Quality::PRESETS.into_iter().take_while(|preset| *preset != wanted);
        self.opening.picked = is_lowered.then(|| below.filter(fits).last().unwrap_or(Quality::Low));
        self.retarget();
        self.rate.begin_at(usable_bps);
        self.ladder.begin_at(usable_bps / self.target.bitrate_bps.max(1) as f32);
        if usable_bps < self.config.min_bitrate_bps as f32 {
            self.report_error(ErrorCode::BandwidthInsufficient, Duration::ZERO);
            self.rate.has_told();
        }
    }

    /// The picked preset, under what was agreed.
    pub(super) fn retarget(&mut self) {
        let ceiling = self.ceiling;
        self.target = self.opening.picked.and_then(Quality::settings).map_or(ceiling, |picked| Settings {
            width: picked.width.min(ceiling.width),
            height: picked.height.min(ceiling.height),
            fps: picked.fps.min(ceiling.fps),
            bitrate_bps: picked.bitrate_bps.min(ceiling.bitrate_bps),
        });
        self.rate.set_target(self.target.bitrate_bps);
    }

    /// A link that carries a picked preset in full may carry the next one.
    pub(super) fn tend_picked(&mut self, now: Instant) {
        let Some(picked) = self.opening.picked.filter(|_| self.rate.bitrate_bps() >= self.target.bitrate_bps) else {
            self.opening.full_since = None;
            return;
        };
        let since = *self.opening.full_since.get_or_insert(now);
        if now.since(since) < BETTER_AFTER {
            return;
        }
        self.opening.full_since = None;
        let better = Quality::PRESETS.into_iter().skip_while(|preset| *preset != picked).nth(1);
        self.opening.picked = better.filter(|better| *better != self.config.quality);
        self.retarget();
        self.outbox.encoder(EncoderAction::Change(self.settings()));
    }
}
