//! What one identity may cost the broker. It is counted for the certificate's identity, so a new connection begins with no new budget.

use super::{connections::Owner, packet::End};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The window of all budgets: what was used is forgiven evenly over this time.
const WINDOW: Duration = Duration::from_secs(10);
/// What a packet costs besides its bytes: reading it, and finding who wants it.
const PACKET_OVERHEAD_BYTES: usize = 64;

/// How much is allowed in a window.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    messages: f64,
    packets: f64,
    bytes: f64,
    connects: f64,
}

/// A device: a camera sends one or two messages a second, and a picture now and then. Forty connections are one every quarter of a
/// second, which no client does that waits after a failure.
const OF_DEVICE: Allowance = Allowance { messages: 1000.0, packets: 2000.0, bytes: (20 << 20) as f64, connects: 40.0 };
/// An operator: a command to each camera of a large fleet at once, from scripts that connect for each.
const OF_OPERATOR: Allowance = Allowance { messages: 10_000.0, packets: 20_000.0, bytes: (20 << 20) as f64, connects: 1000.0 };

/// What is paid for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cost {
    Connect,
    /// A message.
    Message,
    /// Any other packet, and each filter of a SUBSCRIBE.
    Packet,
    /// Bytes that came.
    Bytes(usize),
}

/// What was exceeded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub(super) enum Exceeded {
    #[error("it connects too often")]
    Connects,
    #[error("it sends too many messages")]
    Messages,
    #[error("it sends too many packets")]
    Packets,
    #[error("it sends too many bytes")]
    Bytes,
}

impl Exceeded {
    /// All of them.
    pub(super) const ALL: [Self; 4] = [Self::Connects, Self::Messages, Self::Packets, Self::Bytes];

    /// As the metric's label has it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Connects => "connects",
            Self::Messages => "messages",
            Self::Packets => "packets",
            Self::Bytes => "bytes",
        }
    }

    /// What its connection is ended with.
    pub(super) const fn end(self) -> End {
        match self {
            Self::Bytes => End::Quota,
            Self::Connects | Self::Messages | Self::Packets => End::MessageRate,
        }
    }
}

/// What one identity has used.
#[derive(Clone, Copy, Debug)]
struct Used {
    messages: f64,
    packets: f64,
    bytes: f64,
    connects: f64,
    at: Instant,
}

/// The budgets of all identities. Only who has shown a certificate is here, so the registry bounds it; old entries are swept.
#[derive(Debug, Default)]
pub(super) struct Budgets {
    used: Mutex<HashMap<Owner, Used>>,
}

impl Budgets {
    /// Pays; the error says what was exceeded.
    pub(super) fn pay(&self, owner: &Owner, cost: Cost, now: Instant) -> Result<(), Exceeded> {
        let allowance = match owner {
            Owner::Device(_) => OF_DEVICE,
            Owner::Operator(_) => OF_OPERATOR,
        };
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let used = used.entry(owner.clone()).or_insert(Used { messages: 0.0, packets: 0.0, bytes: 0.0, connects: 0.0, at: now });
        used.forgive(allowance, now);
        let (level, amount, most, exceeded) = match cost {
            Cost::Connect => (&mut used.connects, 1.0, allowance.connects, Exceeded::Connects),
            Cost::Message => (&mut used.messages, 1.0, allowance.messages, Exceeded::Messages),
            Cost::Packet => (&mut used.packets, 1.0, allowance.packets, Exceeded::Packets),
            Cost::Bytes(bytes) => (&mut used.bytes, count(bytes), allowance.bytes, Exceeded::Bytes),
        };
        if *level + amount > most {
            return Err(exceeded);
        }
        *level += amount;
        if matches!(cost, Cost::Message | Cost::Packet) {
            used.bytes += count(PACKET_OVERHEAD_BYTES);
        }
        Ok(())
    }

    /// Drops those that have been quiet for a window: nothing is left of what they used.
    pub(super) fn sweep(&self, now: Instant) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, used| now.saturating_duration_since(used.at) < WINDOW);
    }
}

impl Used {
    fn forgive(&mut self, allowance: Allowance, now: Instant) {
        let share = now.saturating_duration_since(self.at).as_secs_f64() / WINDOW.as_secs_f64();
        self.at = now;
        self.messages = (self.messages - allowance.messages * share).max(0.0);
        self.packets = (self.packets - allowance.packets * share).max(0.0);
        self.bytes = (self.bytes - allowance.bytes * share).max(0.0);
        self.connects = (self.connects - allowance.connects * share).max(0.0);
    }
}

/// A packet's bytes stay far below 2^52.
#[allow(clippy::cast_precision_loss)]
fn count(bytes: usize) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use sightline_signal::DeviceId;

    fn device(id: &str) -> Owner {
        Owner::Device(DeviceId::new(id).unwrap())
    }

    #[test]
    fn a_budget_is_used_up_once_however_often_the_client_connects_and_comes_back_with_time() {
        let (budgets, start, cam) = (Budgets::default(), Instant::now(), device("cam"));
        let paid = (0..3000).filter(|_| budgets.pay(&cam, Cost::Message, start).is_ok()).count();
        assert_eq!(paid, 1000);
        for _ in 0..40 {
            budgets.pay(&cam, Cost::Connect, start).unwrap();
        }
        assert_eq!(budgets.pay(&cam, Cost::Connect, start), Err(Exceeded::Connects));
        assert_eq!(budgets.pay(&cam, Cost::Message, start), Err(Exceeded::Messages), "connecting forgives nothing");
        assert_eq!(budgets.pay(&device("other"), Cost::Message, start), Ok(()));
        let later = start + WINDOW / 2;
        assert_eq!((0..3000).filter(|_| budgets.pay(&cam, Cost::Message, later).is_ok()).count(), 500);
    }

    #[test]
    fn small_packets_cost_too_and_so_do_bytes() {
        let (budgets, start, cam) = (Budgets::default(), Instant::now(), device("cam"));
        assert_eq!((0..5000).filter(|_| budgets.pay(&cam, Cost::Packet, start).is_ok()).count(), 2000, "PINGREQs of two bytes");
        let megabytes = (0..100).filter(|_| budgets.pay(&cam, Cost::Bytes(1 << 20), start).is_ok()).count();
        assert_eq!(megabytes, 19, "and what the packets cost");
        budgets.sweep(start + WINDOW);
        assert!(budgets.used.lock().unwrap().is_empty());
    }
}
