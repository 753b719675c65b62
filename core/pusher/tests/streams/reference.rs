//! The pusher beside a model of it: the table of states of specification §1.7, written down as plainly as it can be. Whatever happens,
//! in whatever order, both are in the same state.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use crate::world::{config, fixed};
use bytes::Bytes;
use proptest::prelude::*;
use sightline_media::{Instant, WallTime};
use sightline_pusher::{Action, Config, Input, Pusher, Trigger};
use sightline_rtmp::server;
use sightline_signal::StreamState;
use std::time::Duration;

/// For a link to come up, publish accepted included (the default of `connect_timeout`).
const CONNECT: Duration = Duration::from_secs(10);
/// For the goodbye.
const CLOSE: Duration = Duration::from_secs(2);
/// A stream that held this long is dialled again at once.
const WORTH_RETRYING: Duration = Duration::from_secs(5);
/// One that held this long has forgotten the failures before it.
const HEALTHY: Duration = Duration::from_secs(60);
/// The longest wait between two rounds.
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// Between rounds of a pusher that never gives up.
const SLOW_RETRY: Duration = Duration::from_secs(300);

/// What happens to a pusher.
#[derive(Clone, Copy, Debug)]
enum Event {
    Start,
    Stop,
    Trigger(bool),
    /// The link that it dials comes up, and the server accepts the publish.
    Accepted,
    /// The link can't be made, or breaks.
    Broken,
    NetworkUp,
    /// So many seconds pass.
    Passes(u64),
}

/// The state that a pusher is in, and until when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Nobody wants the stream.
    Rest,
    Connecting {
        until: Instant,
    },
    Streaming {
        since: Instant,
    },
    Reconnecting {
        until: Instant,
    },
    Stopping {
        until: Instant,
    },
    /// Gave up, although someone wants it.
    Failed,
}

/// The model: a server set given by hand, reconnecting without jitter.
#[derive(Debug)]
struct Model {
    trigger: Trigger,
    servers: usize,
    attempts_max: u32,
    interval: Duration,
    now: Instant,
    phase: Phase,
    is_commanded: bool,
    is_triggered: bool,
    /// The server that is dialled next.
    next: usize,
    /// Rounds that failed in a row.
    failures: u32,
    /// An always-on pusher starts with the first look at the clock.
    starts_by_itself: bool,
}

impl Model {
    fn new(config: &Config, servers: usize, now: Instant) -> Self {
        Self {
            trigger: config.trigger,
            servers,
            attempts_max: config.max_reconnect_attempts,
            interval: config.reconnect_interval,
            now,
            phase: Phase::Rest,
            is_commanded: false,
            is_triggered: false,
            next: 0,
            failures: 0,
            starts_by_itself: config.trigger == Trigger::AlwaysOn,
        }
    }

    fn is_wanted(&self) -> bool {
        self.is_commanded || self.is_triggered
    }

    fn state(&self) -> StreamState {
        match self.phase {
            Phase::Rest if matches!(self.trigger, Trigger::Manual | Trigger::AlwaysOn) => StreamState::Idle,
            Phase::Rest => StreamState::Standby,
            Phase::Connecting { .. } => StreamState::Connecting,
            Phase::Streaming { .. } => StreamState::Streaming,
            Phase::Reconnecting { .. } => StreamState::Reconnecting,
            Phase::Stopping { .. } => StreamState::Stopping,
            Phase::Failed => StreamState::Error,
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Start => {
                let was_wanted = self.is_wanted();
                self.is_commanded = true;
                self.begin_unless(was_wanted);
            }
            Event::Trigger(true) => {
                let was_wanted = self.is_wanted();
                self.is_triggered = true;
                self.begin_unless(was_wanted);
            }
            Event::Trigger(false) => {
                let was_triggered = std::mem::take(&mut self.is_triggered);
                if was_triggered && !self.is_commanded {
                    self.stop();
                }
            }
            Event::Stop => self.stop(),
            Event::Accepted => {
                if matches!(self.phase, Phase::Connecting { .. }) {
                    self.phase = Phase::Streaming { since: self.now };
                }
            }
            Event::Broken => match self.phase {
                Phase::Connecting { .. } => self.fail(),
                Phase::Streaming { since } if self.now.since(since) >= WORTH_RETRYING => {
                    self.next = (self.next + 1) % self.servers;
                    self.dial();
                }
                Phase::Streaming { .. } => self.fail(),
                Phase::Stopping { .. } => self.phase = Phase::Rest,
                Phase::Rest | Phase::Reconnecting { .. } | Phase::Failed => {}
            },
            Event::NetworkUp => {
                if matches!(self.phase, Phase::Reconnecting { .. }) {
                    self.dial();
                }
            }
            Event::Passes(secs) => self.pass(self.now + Duration::from_secs(secs)),
        }
    }

    /// Everything that ends until then, in its order.
    fn pass(&mut self, until: Instant) {
        loop {
            let ends_at = match self.phase {
                Phase::Connecting { until } | Phase::Reconnecting { until } | Phase::Stopping { until } => until,
                Phase::Streaming { since } if self.failures > 0 => since + HEALTHY,
                Phase::Rest if self.starts_by_itself => self.now,
                Phase::Rest | Phase::Streaming { .. } | Phase::Failed => break,
            };
            if ends_at > until {
                break;
            }
            self.now = ends_at;
            match self.phase {
                Phase::Connecting { .. } => self.fail(),
                Phase::Reconnecting { .. } => self.dial(),
                Phase::Stopping { .. } => self.phase = Phase::Rest,
                Phase::Streaming { .. } => self.failures = 0,
                Phase::Rest => self.handle(Event::Start),
                Phase::Failed => {}
            }
        }
        self.now = until;
    }

    /// A stream that runs, or is on its way, is not begun again.
    fn begin_unless(&mut self, was_wanted: bool) {
        if !was_wanted || self.phase == Phase::Failed {
            self.failures = 0;
            self.dial();
        }
    }

    fn dial(&mut self) {
        self.starts_by_itself = false;
        self.phase = Phase::Connecting { until: self.now + CONNECT };
    }

    /// The next server at once; after the round a wait that doubles; after too many rounds it gives up, unless it is always on.
    fn fail(&mut self) {
        self.next += 1;
        if self.next < self.servers {
            return self.dial();
        }
        self.next = 0;
        self.failures += 1;
        let doubled = self.interval * 2_u32.saturating_pow(self.failures - 1).min(1 << 16);
        let wait = match (self.failures >= self.attempts_max, self.trigger) {
            (true, Trigger::AlwaysOn) => SLOW_RETRY,
            (true, _) => return self.phase = Phase::Failed,
            (false, _) => doubled.min(BACKOFF_MAX),
        };
        self.phase = Phase::Reconnecting { until: self.now + wait };
    }

    fn stop(&mut self) {
        self.starts_by_itself = false;
        (self.is_commanded, self.is_triggered) = (false, false);
        self.phase = match self.phase {
            Phase::Streaming { .. } => Phase::Stopping { until: self.now + CLOSE },
            stopping @ Phase::Stopping { .. } => stopping,
            Phase::Rest | Phase::Connecting { .. } | Phase::Reconnecting { .. } | Phase::Failed => Phase::Rest,
        };
    }
}

/// The pusher, and a server that accepts when the test says so.
struct Real {
    pusher: Pusher<Bytes, 30>,
    now: Instant,
    sent: u64,
}

impl Real {
    fn handle(&mut self, event: Event) {
        match event {
            Event::Start => self.pusher.handle(self.now, Input::Start),
            Event::Stop => self.pusher.handle(self.now, Input::Stop),
            Event::Trigger(is_open) => self.pusher.handle(self.now, Input::Trigger(is_open)),
            Event::NetworkUp => self.pusher.handle(self.now, Input::NetworkUp),
            Event::Broken => self.pusher.handle(self.now, Input::LinkClosed(None)),
            Event::Accepted => {
                if self.pusher.state() == StreamState::Connecting {
                    self.publish();
                }
            }
            Event::Passes(secs) => self.pass(self.now + Duration::from_secs(secs)),
        }
        self.act();
    }

    fn act(&mut self) {
        while let Some(action) = self.pusher.poll_action(WallTime::default()) {
            drop::<Action>(action);
        }
    }

    fn pass(&mut self, until: Instant) {
        while let Some(at) = self.pusher.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.pusher.handle_timeout(self.now);
            self.act();
        }
        self.now = until;
    }

    /// The link comes up, and a real server session takes the publish, in no time.
    fn publish(&mut self) {
        self.pusher.handle(self.now, Input::LinkUp);
        let config = server::Config { apps: vec!["live".into()], ..server::Config::default() };
        let mut session = server::Session::new(config, self.now, 1);
        self.sent = 0;
        loop {
            let written = self.pusher.pending().concat();
            self.pusher.consumed(self.now, written.len());
            self.sent += written.len() as u64;
            session.handle_bytes(self.now, &written).unwrap();
            let mut answers = Vec::new();
            loop {
                match session.poll_output() {
                    server::Output::Transmit(bytes) => answers.push(bytes),
                    server::Output::Event(server::Event::PublishRequested { .. }) => session.accept_publish(),
                    server::Output::Event(_) => {}
                    server::Output::Timeout(_) => break,
                }
            }
            if written.is_empty() && answers.is_empty() {
                break;
            }
            for bytes in answers {
                self.pusher.handle(self.now, Input::LinkBytes(&bytes));
            }
            self.pusher.handle(self.now, Input::Acknowledged { bytes: self.sent, outstanding: 0 });
            self.act();
        }
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => Just(Event::Start),
        2 => Just(Event::Stop),
        1 => any::<bool>().prop_map(Event::Trigger),
        4 => Just(Event::Accepted),
        4 => Just(Event::Broken),
        1 => Just(Event::NetworkUp),
        6 => prop_oneof![1..6_u64, 6..70_u64, 70..400_u64].prop_map(Event::Passes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 512 }, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_the_pusher_is_in_the_state_that_the_specification_says(
        trigger in prop_oneof![Just(Trigger::Manual), Just(Trigger::AlwaysOn), Just(Trigger::Motion), Just(Trigger::Scheduled)],
        servers in 1..4_usize,
        events in proptest::collection::vec(any_event(), 1..60),
    ) {
        let urls = &["rtmp://a/live", "rtmp://b/live", "rtmp://c/live"][..servers];
        let config = Config { server: fixed(urls), bandwidth_check: false, ..config(trigger) };
        let start = Instant::ZERO;
        let mut model = Model::new(&config, servers, start);
        let mut real = Real { pusher: Pusher::new(config, 1), now: start, sent: 0 };
        prop_assert_eq!(real.pusher.state(), model.state());
        for (index, event) in events.iter().enumerate() {
            model.handle(*event);
            real.handle(*event);
            prop_assert_eq!(real.pusher.state(), model.state(), "after {:?}, the last of {:?}; the model: {:?}", event, &events[..=index], model);
        }
    }
}
