//! Who wants the stream: commands, on a lease or not, and the trigger. It runs while one of them does.

use core::time::Duration;
use sightline_media::Instant;
use sightline_signal::{Quality, Settings, StreamState};

use super::timers::Timer;
use super::{CLOSE_TIMEOUT, Pusher};
use crate::{config::Trigger, io::EncoderAction};

/// Who wants it.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Wish {
    /// A command, or the start of an always-on one.
    pub(super) is_commanded: bool,
    /// Motion, or the schedule.
    pub(super) is_triggered: bool,
}

impl Wish {
    pub(super) const fn is_any(self) -> bool {
        self.is_commanded || self.is_triggered
    }
}

/// What commands have asked for: a shell that is to survive a restart keeps it, and asks for it again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Commanded {
    /// A command has started the stream, or it is always on.
    pub is_started: bool,
    /// When the lease of that start ends.
    pub lease_until: Option<Instant>,
    /// The preset that is aimed at.
    pub quality: Quality,
    /// The numbers that are aimed at.
    pub settings: Settings,
}

impl<P: AsRef<[u8]>, const QUEUE: usize> Pusher<P, QUEUE> {
    /// What commands have asked for so far.
    #[must_use]
    pub const fn commanded(&self) -> Commanded {
        Commanded {
            is_started: self.wish.is_commanded,
            lease_until: self.timers.get(Timer::Lease),
            quality: self.config.quality,
            settings: self.ceiling,
        }
    }

    /// By command.
    pub(super) fn start(&mut self, now: Instant, lease: Option<Duration>) {
        if self.config.trigger == Trigger::OnDemand || lease.is_some() {
            self.timers.set(Timer::Lease, Some(now + lease.unwrap_or(self.config.lease)));
        }
        let was_wanted = self.wish.is_any();
        self.wish.is_commanded = true;
        self.start_unless(now, was_wanted);
    }

    /// The trigger opened or closed. A stop by command holds until it opens again.
    pub(super) fn on_trigger(&mut self, now: Instant, is_open: bool) {
        let was_wanted = self.wish.is_any();
        if is_open {
            self.wish.is_triggered = true;
            self.start_unless(now, was_wanted);
        } else {
            let was_triggered = core::mem::take(&mut self.wish.is_triggered);
            if was_triggered && !self.wish.is_commanded {
                self.stop(now);
            }
        }
    }

    /// A lease ran out: what the trigger wants goes on.
    pub(super) fn end_lease(&mut self, now: Instant) {
        self.timers.set(Timer::Lease, None);
        self.wish.is_commanded = false;
        if !self.wish.is_triggered {
            self.stop(now);
        }
    }

    fn start_unless(&mut self, now: Instant, was_wanted: bool) {
        if was_wanted && self.state != StreamState::Error {
            return;
        }
        self.sets_exhausted = 0;
        self.backoff.reset();
        self.begin(now);
    }

    pub(super) fn stop(&mut self, now: Instant) {
        self.wish = Wish::default();
        self.timers.set(Timer::Lease, None);
        match self.state {
            StreamState::Streaming if self.session.has_begun() => {
                self.session.close();
                self.queue.clear_as_dropped();
                self.outbox.encoder(EncoderAction::Stop);
                // What comes next is no stream that held: a start during the goodbye begins with the backoff's first delay.
                self.streaming_since = None;
                self.enter(StreamState::Stopping, Some(now + CLOSE_TIMEOUT));
            }
            StreamState::Stopping => {}
            StreamState::Idle
            | StreamState::Requesting
            | StreamState::Connecting
            | StreamState::Streaming
            | StreamState::Reconnecting
            | StreamState::Error
            | StreamState::Standby => self.rest(now),
        }
    }
}
