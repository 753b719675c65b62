//! Messages that wait for the broker. While it is away the newest count: what a camera is now, not what it was an hour ago.

use sightline_signal::topic::Topic;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// A few minutes of what is worth keeping.
const MESSAGES_MAX: usize = 64;
/// A few pictures: they are the only long messages.
const BYTES_MAX: usize = 2 << 20;

/// One message to the broker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Outgoing {
    pub(crate) topic: Topic,
    pub(crate) payload: Vec<u8>,
    pub(crate) retain: bool,
    /// The next one of its kind makes up for it: figures that come every few seconds.
    pub(crate) is_expendable: bool,
}

impl Outgoing {
    pub(crate) fn new(topic: Topic, payload: Vec<u8>) -> Self {
        Self { topic, payload, retain: false, is_expendable: false }
    }

    pub(crate) fn retained(topic: Topic, payload: Vec<u8>) -> Self {
        Self { retain: true, ..Self::new(topic, payload) }
    }

    /// Whether a newer message takes the place of this one: the broker would keep only the newest, and of two questions the cloud
    /// should answer the one that still waits for an answer.
    fn is_outdone_by(&self, newer: &Self) -> bool {
        self.topic == newer.topic && (self.retain && newer.retain || self.topic == Topic::Request)
    }
}

/// The queue; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outbox {
    waiting: Arc<Mutex<VecDeque<Outgoing>>>,
    arrived: Arc<Notify>,
}

impl Outbox {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Outgoing>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a message. Where there is no room the oldest figures go first, then the oldest pictures, then whatever is oldest.
    pub(crate) fn push(&self, message: Outgoing) {
        let mut waiting = self.waiting();
        waiting.retain(|older| !older.is_outdone_by(&message));
        waiting.push_back(message);
        while waiting.len() > MESSAGES_MAX || waiting.len() > 1 && bytes(&waiting) > BYTES_MAX {
            let is_full = waiting.len() > MESSAGES_MAX;
            let figures = waiting.iter().position(|message| is_full && message.is_expendable);
            let picture = waiting.iter().position(|message| message.topic == Topic::Snapshot);
            let dropped = waiting.remove(figures.or(picture).unwrap_or(0));
            tracing::debug!(topic = dropped.map(|message| message.topic.suffix()), "no room for an MQTT message while the broker is away");
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    /// The oldest message, once there is one. For one reader.
    pub(crate) async fn next(&self) -> Outgoing {
        loop {
            if let Some(message) = self.try_next() {
                return message;
            }
            self.arrived.notified().await;
        }
    }

    pub(crate) fn try_next(&self) -> Option<Outgoing> {
        self.waiting().pop_front()
    }
}

fn bytes(waiting: &VecDeque<Outgoing>) -> usize {
    waiting.iter().map(|message| message.payload.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(topic: Topic, number: u8) -> Outgoing {
        Outgoing::new(topic, vec![number])
    }

    fn left(outbox: &Outbox) -> Vec<(Topic, u8)> {
        std::iter::from_fn(|| outbox.try_next()).map(|message| (message.topic, message.payload[0])).collect()
    }

    /// paho.mqtt.c#441: the offline queue dropped the newest.
    #[test]
    fn while_the_broker_is_away_the_oldest_figures_go_and_errors_and_the_newest_stay() {
        let outbox = Outbox::default();
        outbox.push(numbered(Topic::Status, 200));
        for number in 0..100 {
            outbox.push(Outgoing { is_expendable: true, ..numbered(Topic::Status, number) });
        }
        outbox.push(numbered(Topic::Motion, 201));
        let left = left(&outbox);
        assert_eq!((left.len(), left[0], left[62], left[63]), (64, (Topic::Status, 200), (Topic::Status, 99), (Topic::Motion, 201)));
        assert_eq!(left[1].1, 38);
    }

    #[test]
    fn a_newer_state_or_question_takes_the_older_one_s_place() {
        let outbox = Outbox::default();
        for number in 0..3 {
            outbox.push(Outgoing::retained(Topic::State, vec![number]));
            outbox.push(numbered(Topic::Request, number));
            outbox.push(numbered(Topic::Result, number));
        }
        let results = (0..2).map(|number| (Topic::Result, number));
        assert_eq!(left(&outbox), results.chain([(Topic::State, 2), (Topic::Request, 2), (Topic::Result, 2)]).collect::<Vec<_>>());
    }

    #[test]
    fn pictures_do_not_push_out_what_a_camera_has_to_say() {
        let outbox = Outbox::default();
        outbox.push(numbered(Topic::Status, 1));
        for _ in 0..20 {
            outbox.push(Outgoing::new(Topic::Snapshot, vec![0; 500_000]));
        }
        let left = left(&outbox);
        assert_eq!((left.len(), left[0]), (5, (Topic::Status, 1)));
    }

    #[tokio::test]
    async fn a_message_that_comes_wakes_who_waits_for_it() {
        let outbox = Outbox::default();
        let (message, ()) = tokio::join!(outbox.next(), async { outbox.push(numbered(Topic::Motion, 7)) });
        assert_eq!(message.payload, [7]);
    }
}
