//! What waits for one client: messages that were not sent yet, and those that it has not acknowledged. No sockets, no clock.

use super::packet::{Delivery, Options, Publication, Qos};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

/// What may wait for one client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Room {
    /// Messages.
    messages: usize,
    /// What they may cost together.
    bytes: usize,
}

impl Room {
    /// A device gets commands and settings; one that is behind by more has other troubles.
    pub(super) const DEVICE: Self = Self { messages: 256, bytes: 1 << 20 };
    /// An operator hears a whole fleet: a second's messages of thousands of cameras, or some snapshots.
    pub(super) const OPERATOR: Self = Self { messages: 8192, bytes: 4 << 20 };
}

/// Messages that may be unacknowledged, whatever the client takes: each is kept until then.
const UNACKNOWLEDGED_MAX: u16 = 64;
/// Filters with retained messages that are still to be looked through: a client that is back goes on. It has no more subscriptions.
const SCANS_MAX: usize = 64;

/// A message that waits.
#[derive(Clone, Debug)]
struct Waiting {
    publication: Arc<Publication>,
    qos: Qos,
    is_retained: bool,
}

/// A message that the client has not acknowledged.
#[derive(Debug)]
struct Unacknowledged {
    id: u16,
    waiting: Waiting,
    /// It went out on this connection.
    is_sent: bool,
}

/// Retained messages of a filter that are still to be sent: read a few at a time, so that `#` costs no queue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Scan {
    pub(super) path: String,
    pub(super) options: Options,
    /// The last topic that was sent.
    pub(super) after: Option<Arc<str>>,
}

/// One client's session: it may outlive the connection.
#[derive(Debug)]
pub(super) struct Session {
    /// By the whole filter, `$share/…` included.
    pub(super) subscriptions: HashMap<String, Options>,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    unacknowledged: VecDeque<Unacknowledged>,
    scans: VecDeque<Scan>,
    last_id: u16,
    window: usize,
    room: Room,
    /// A client is connected: messages of QoS 0 are worth keeping.
    is_connected: bool,
}

impl Session {
    /// Nothing waits, and nobody is there.
    pub(super) fn new(room: Room) -> Self {
        Self {
            subscriptions: HashMap::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            unacknowledged: VecDeque::new(),
            scans: VecDeque::new(),
            last_id: 0,
            window: 1,
            room,
            is_connected: false,
        }
    }

    /// A client has connected; what it has not acknowledged goes out again, in the old order.
    pub(super) fn connect(&mut self, receive_maximum: u16) {
        self.is_connected = true;
        self.window = usize::from(receive_maximum.clamp(1, UNACKNOWLEDGED_MAX));
        for message in &mut self.unacknowledged {
            message.is_sent = false;
        }
    }

    /// The client is away: messages of QoS 0 are not for it.
    pub(super) fn disconnect(&mut self) {
        self.is_connected = false;
        self.waiting.retain(|message| message.qos == Qos::AtLeastOnce);
        self.waiting_bytes = self.waiting.iter().map(|message| message.publication.cost_bytes()).sum();
    }

    pub(super) fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// Queues a message; gives how many older ones had to go for it.
    pub(super) fn push(&mut self, publication: &Arc<Publication>, qos: Qos, is_retained: bool) -> usize {
        let qos = qos.min(publication.qos);
        if qos == Qos::AtMostOnce && !self.is_connected {
            return 0;
        }
        self.waiting_bytes += publication.cost_bytes();
        self.waiting.push_back(Waiting { publication: Arc::clone(publication), qos, is_retained });
        let mut dropped = 0;
        // The oldest go first: what is newest is what is still worth something. Order is kept.
        while self.waiting.len() > self.room.messages || self.waiting_bytes > self.room.bytes {
            let Some(oldest) = self.waiting.pop_front() else { break };
            self.waiting_bytes -= oldest.publication.cost_bytes();
            dropped += 1;
        }
        dropped
    }

    /// The next message to send; `None` if there is none, or the client has to acknowledge first.
    pub(super) fn next(&mut self, now: Instant) -> Option<Delivery> {
        if let Some(message) = self.unacknowledged.iter_mut().find(|message| !message.is_sent) {
            message.is_sent = true;
            let Waiting { publication, is_retained, .. } = message.waiting.clone();
            return Some(Delivery { publication, is_retained, id: Some(message.id), is_again: true });
        }
        loop {
            let front = self.waiting.front()?;
            let (has_expired, qos) = (front.publication.has_expired(now), front.qos);
            if !has_expired && qos == Qos::AtLeastOnce && self.unacknowledged.len() >= self.window {
                return None;
            }
            let message = self.waiting.pop_front()?;
            self.waiting_bytes -= message.publication.cost_bytes();
            if has_expired {
                continue;
            }
            let (publication, is_retained) = (Arc::clone(&message.publication), message.is_retained);
            let id = (qos == Qos::AtLeastOnce).then(|| self.free_id());
            if let Some(id) = id {
                self.unacknowledged.push_back(Unacknowledged { id, waiting: message, is_sent: true });
            }
            return Some(Delivery { publication, is_retained, id, is_again: false });
        }
    }

    /// The client has acknowledged a message; false if there was none of this number.
    pub(super) fn acknowledged(&mut self, id: u16) -> bool {
        let at = self.unacknowledged.iter().position(|message| message.id == id && message.is_sent);
        at.and_then(|at| self.unacknowledged.remove(at)).is_some()
    }

    /// Whether nothing is queued: the time for retained messages of a scan.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn scan(&mut self, scan: Scan) {
        // A repeated subscription begins anew.
        self.scans.retain(|older| older.path != scan.path);
        if self.scans.len() < SCANS_MAX {
            self.scans.push_back(scan);
        }
    }

    pub(super) fn take_scan(&mut self) -> Option<Scan> {
        self.scans.pop_front()
    }

    pub(super) fn continue_scan(&mut self, scan: Scan) {
        self.scans.push_front(scan);
    }

    /// What the queue costs.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    fn free_id(&mut self) -> u16 {
        // There are far fewer unacknowledged messages than numbers.
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if self.unacknowledged.iter().all(|message| message.id != self.last_id) {
                return self.last_id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn message(text: &str, qos: Qos) -> Arc<Publication> {
        let (topic, payload) = ("devices/cam/stream/command".into(), text.as_bytes().into());
        Arc::new(Publication { topic, payload, qos, is_retained: false, expires_at: None, properties: None })
    }

    fn connected(window: u16) -> Session {
        let mut session = Session::new(Room::DEVICE);
        session.connect(window);
        session
    }

    fn text(delivery: &Delivery) -> String {
        String::from_utf8(delivery.publication.payload.to_vec()).unwrap()
    }

    #[test]
    fn no_more_are_unacknowledged_than_the_client_takes_and_the_order_is_kept() {
        let (mut session, now) = (connected(2), Instant::now());
        for number in 0..4 {
            session.push(&message(&number.to_string(), Qos::AtLeastOnce), Qos::AtLeastOnce, false);
        }
        let first = session.next(now).unwrap();
        let second = session.next(now).unwrap();
        assert_eq!((text(&first), text(&second), session.next(now)), ("0".into(), "1".into(), None));
        assert!(session.acknowledged(second.id.unwrap()) && !session.acknowledged(second.id.unwrap()));
        assert_eq!(text(&session.next(now).unwrap()), "2");
        assert_eq!(session.next(now), None);
    }

    #[test]
    fn what_was_not_acknowledged_goes_out_again_first_and_marked() {
        let (mut session, now) = (connected(2), Instant::now());
        for number in 0..3 {
            session.push(&message(&number.to_string(), Qos::AtLeastOnce), Qos::AtLeastOnce, false);
        }
        let ids = [session.next(now).unwrap().id, session.next(now).unwrap().id];
        session.disconnect();
        session.push(&message("away, lost", Qos::AtMostOnce), Qos::AtLeastOnce, false);
        session.push(&message("3", Qos::AtLeastOnce), Qos::AtLeastOnce, false);
        session.connect(10);
        let again: Vec<_> = std::iter::from_fn(|| session.next(now)).collect();
        assert_eq!(again.iter().map(text).collect::<Vec<_>>(), ["0", "1", "2", "3"]);
        assert_eq!(again.iter().map(|delivery| delivery.is_again).collect::<Vec<_>>(), [true, true, false, false]);
        assert_eq!([again[0].id, again[1].id], ids);
    }

    #[test]
    fn the_queue_is_bounded_in_messages_and_in_bytes_and_the_oldest_go() {
        let (mut session, now) = (connected(1), Instant::now());
        let dropped: usize =
            (0..300).map(|number| session.push(&message(&number.to_string(), Qos::AtMostOnce), Qos::AtLeastOnce, false)).sum();
        assert_eq!((dropped, text(&session.next(now).unwrap())), (44, "44".into()));
        let big = message(&"x".repeat(1 << 18), Qos::AtLeastOnce);
        for _ in 0..200 {
            session.push(&big, Qos::AtLeastOnce, false);
        }
        assert!(session.waiting_bytes() <= Room::DEVICE.bytes);
        session.disconnect();
        session.connect(10);
        while session.next(now).is_some() {}
        assert_eq!(session.waiting_bytes(), 0, "what is counted comes back");
    }

    #[test]
    fn an_expired_message_is_not_sent() {
        let (mut session, now) = (connected(4), Instant::now());
        let mut old = Publication::clone(&message("old", Qos::AtLeastOnce));
        old.expires_at = Some(now + Duration::from_secs(1));
        session.push(&Arc::new(old), Qos::AtLeastOnce, false);
        session.push(&message("new", Qos::AtLeastOnce), Qos::AtLeastOnce, false);
        assert_eq!(text(&session.next(now + Duration::from_secs(2)).unwrap()), "new");
    }

    #[test]
    fn numbers_wrap_past_those_that_are_taken() {
        let (mut session, now) = (connected(2), Instant::now());
        session.push(&message("kept", Qos::AtLeastOnce), Qos::AtLeastOnce, false);
        let kept = session.next(now).unwrap().id.unwrap();
        for _ in 0..70_000 {
            session.push(&message("x", Qos::AtLeastOnce), Qos::AtLeastOnce, false);
            let id = session.next(now).unwrap().id.unwrap();
            assert!(id != 0 && id != kept && session.acknowledged(id));
        }
    }
}
