//! Who gets what: sessions, subscriptions and retained messages. No sockets and no clock: time comes in, messages come out.
//!
//! One lock is around all of it. Under it a message is matched and a pointer put into queues: some microseconds, never a wait. What is
//! copied and encoded is copied and encoded by each connection's own task.

use super::{
    connections::{Handle, Owner},
    packet::{Connect, Delivery, End, Options, Publication, RetainedFor, Will},
    retained::{Kept, Retained},
    session::{Room, Scan, Session},
    topics::Filter,
    tree::{SessionId, Tree},
};
use sightline_signal::{DeviceId, topic::Topic};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

/// Subscriptions of one client; a device needs three, a dashboard a few.
const SUBSCRIPTIONS_MAX: usize = 64;
/// How long the messages of a client that is away are kept.
const SESSION_EXPIRY_MAX: Duration = Duration::from_secs(3600);
/// How long a will may be delayed: what it says is about now.
const WILL_DELAY_MAX: Duration = Duration::from_secs(300);
/// Sessions of one operator, those that are away included.
const OPERATOR_SESSIONS_MAX: usize = 64;
/// What all queues together may cost: above it, messages are dropped rather than the process killed.
const WAITING_BYTES_MAX: usize = 256 << 20;

/// Whose session: two operators with the same client id have one each.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct ClientKey {
    pub(super) owner: Owner,
    pub(super) client_id: String,
}

/// A connection as the router knows it.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) number: u64,
    pub(super) address: SocketAddr,
    pub(super) handle: Arc<Handle>,
}

/// What a CONNECT has found and changed.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) session: SessionId,
    /// Subscriptions and messages of before are there.
    pub(super) has_session: bool,
    /// How long the session will outlive the connection.
    pub(super) expiry: Duration,
    /// The connection that had the session until now. It was ended.
    pub(super) taken_from: Option<Link>,
    /// Wills of before that are due now.
    pub(super) wills: Vec<Will>,
}

/// The broker's state.
#[derive(Debug, Default)]
pub(super) struct Router {
    sessions: HashMap<SessionId, Client>,
    ids: HashMap<ClientKey, SessionId>,
    tree: Tree,
    retained: Retained,
    last_session: SessionId,
    /// When each device that was here was enrolled. The registry bounds it.
    enrolled_at: HashMap<DeviceId, i64>,
    waiting_bytes: usize,
    dropped: u64,
}

/// A session with what belongs to it.
#[derive(Debug)]
struct Client {
    key: ClientKey,
    session: Session,
    link: Option<Link>,
    /// For when the connection ends without a good-bye.
    will: Option<Will>,
    /// When a delayed will is due.
    will_at: Option<Instant>,
    expiry: Duration,
    ends_at: Option<Instant>,
}

impl Router {
    /// A device is about to connect that was enrolled then. What is here of an earlier one of the same id is another owner's: it goes.
    pub(super) fn enrolled(&mut self, device: &DeviceId, at: i64) {
        let before = self.enrolled_at.insert(device.clone(), at);
        if before.is_some_and(|before| before != at) {
            self.forget(device);
        }
    }

    /// Begins or resumes a session. `None` if the operator has too many.
    pub(super) fn connect(&mut self, key: &ClientKey, connect: &Connect, link: Link) -> Option<Connected> {
        let (mut taken_from, mut wills) = (None, Vec::new());
        let earlier = self.ids.get(key).copied();
        if let Some(client) = earlier.and_then(|id| self.sessions.get_mut(&id)) {
            taken_from = client.link.take();
            if let Some(older) = &taken_from {
                older.handle.end(End::TakenOver);
                // A will that was to wait is not needed: the client is here.
                wills.extend(client.will.take().filter(|will| will.delay_sec == 0 || connect.is_clean));
            } else if connect.is_clean {
                wills.extend(client.will.take());
            }
            client.will = None;
        }
        // A session that was to end with its connection has ended with it.
        let lasts = earlier.and_then(|id| self.sessions.get(&id)).is_some_and(|client| !client.expiry.is_zero());
        let has_session = lasts && !connect.is_clean;
        let session = match earlier {
            Some(id) if has_session => id,
            _ => {
                if let Some(id) = earlier {
                    self.remove(id);
                }
                self.begin(key)?
            }
        };
        let client = self.sessions.get_mut(&session)?;
        let expiry = Duration::from_secs(u64::from(connect.session_expiry_sec)).min(SESSION_EXPIRY_MAX);
        client.link = Some(link);
        client.will = connect.will.clone();
        (client.will_at, client.ends_at, client.expiry) = (None, None, expiry);
        client.session.connect(connect.receive_maximum);
        Some(Connected { session, has_session, expiry, taken_from, wills })
    }

    fn begin(&mut self, key: &ClientKey) -> Option<SessionId> {
        if matches!(key.owner, Owner::Operator(_)) {
            let own: Vec<_> = self.sessions.iter().filter(|(_, client)| client.key.owner == key.owner).collect();
            if own.len() >= OPERATOR_SESSIONS_MAX {
                // The one that has been away for longest makes room.
                let oldest = own.iter().filter(|(_, client)| client.link.is_none()).min_by_key(|(_, client)| client.ends_at)?;
                let oldest = *oldest.0;
                self.remove(oldest);
            }
        }
        self.last_session += 1;
        let room = if matches!(key.owner, Owner::Device(_)) { Room::DEVICE } else { Room::OPERATOR };
        let (session, link, expiry) = (Session::new(room), None, Duration::ZERO);
        let client = Client { key: key.clone(), session, link, will: None, will_at: None, expiry, ends_at: None };
        self.sessions.insert(self.last_session, client);
        self.ids.insert(key.clone(), self.last_session);
        Some(self.last_session)
    }

    fn remove(&mut self, id: SessionId) -> Option<Client> {
        let client = self.sessions.remove(&id)?;
        self.ids.remove(&client.key);
        for filter in client.session.subscriptions.keys().filter_map(|filter| Filter::parse(filter)) {
            self.tree.remove(filter, id);
        }
        self.waiting_bytes -= client.session.waiting_bytes();
        Some(client)
    }

    /// A connection has ended; gives the will that is due now. Does nothing if a newer connection has taken over.
    ///
    /// `expiry_sec` is the client's last word on its session. `keeps_will`: it is gone without a good-bye.
    pub(super) fn disconnect(
        &mut self,
        id: SessionId,
        number: u64,
        keeps_will: bool,
        expiry_sec: Option<u32>,
        now: Instant,
    ) -> Option<Will> {
        let client = self.of(id, number)?;
        client.link = None;
        let before = client.session.waiting_bytes();
        client.session.disconnect();
        let freed = before - client.session.waiting_bytes();
        // A session that was to end with its connection does (MQTT 5, 3.14.2.2.2).
        if let Some(seconds) = expiry_sec.filter(|_| !client.expiry.is_zero()) {
            client.expiry = Duration::from_secs(u64::from(seconds)).min(SESSION_EXPIRY_MAX);
        }
        if !keeps_will {
            client.will = None;
        }
        let (expiry, delay) = (client.expiry, client.will.as_ref().map_or(0, |will| will.delay_sec));
        let delay = Duration::from_secs(u64::from(delay)).min(WILL_DELAY_MAX).min(expiry);
        client.ends_at = Some(now + expiry);
        let due = if delay.is_zero() { client.will.take() } else { None };
        client.will_at = client.will.as_ref().map(|_| now + delay);
        self.waiting_bytes -= freed;
        if expiry.is_zero() {
            self.remove(id);
        }
        due
    }

    /// The session, if this connection still has it.
    fn of(&mut self, id: SessionId, number: u64) -> Option<&mut Client> {
        self.sessions.get_mut(&id).filter(|client| client.link.as_ref().is_some_and(|link| link.number == number))
    }

    /// Subscribes; false if the session has too many subscriptions.
    pub(super) fn subscribe(&mut self, id: SessionId, number: u64, text: &str, filter: Filter<'_>, options: Options) -> bool {
        let Some(client) = self.of(id, number) else { return true };
        let subscriptions = &mut client.session.subscriptions;
        let is_new = !subscriptions.contains_key(text);
        if is_new && subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return false;
        }
        subscriptions.insert(text.to_owned(), options);
        let wants_retained = match options.retained {
            RetainedFor::Every => true,
            RetainedFor::New => is_new,
            RetainedFor::Nobody => false,
        };
        // A group has no one to whom what was kept is news.
        if wants_retained && filter.group.is_none() {
            client.session.scan(Scan { path: filter.path.to_owned(), options, after: None });
        }
        self.tree.insert(filter, id, options);
        true
    }

    /// Unsubscribes; false if there was no such subscription.
    pub(super) fn unsubscribe(&mut self, id: SessionId, number: u64, text: &str) -> bool {
        let Some(client) = self.of(id, number) else { return false };
        let existed = client.session.subscriptions.remove(text).is_some();
        if let Some(filter) = Filter::parse(text).filter(|_| existed) {
            self.tree.remove(filter, id);
        }
        existed
    }

    /// Hands a message to its subscribers, and keeps it if it asks for that. `from`: the session that published it.
    pub(super) fn publish(&mut self, from: Option<SessionId>, device: &DeviceId, topic: Topic, mut publication: Publication) -> Kept {
        let mut kept = Kept::Yes;
        let mut shared = Arc::new(publication.clone());
        if publication.is_retained {
            kept = self.retained.set(device, topic, &shared);
            if kept != Kept::Yes {
                publication.is_retained = false;
                shared = Arc::new(publication);
            }
        }
        let Self { sessions, tree, waiting_bytes, dropped, .. } = self;
        let is_there = |id: SessionId| sessions.get(&id).is_some_and(|client| client.session.is_connected());
        let subscribers = tree.subscribers(&shared.topic, is_there);
        for (id, options) in subscribers {
            if options.no_local && from == Some(id) {
                continue;
            }
            let Some(client) = sessions.get_mut(&id) else { continue };
            if *waiting_bytes > WAITING_BYTES_MAX {
                *dropped += 1;
                continue;
            }
            let before = client.session.waiting_bytes();
            *dropped += client.session.push(&shared, options.qos, options.retain_as_published && shared.is_retained) as u64;
            *waiting_bytes = *waiting_bytes + client.session.waiting_bytes() - before;
            if let Some(link) = &client.link {
                link.handle.wake.notify_one();
            }
        }
        kept
    }

    /// The next message for a connection.
    pub(super) fn next(&mut self, id: SessionId, number: u64, now: Instant) -> Option<Delivery> {
        let Self { sessions, retained, waiting_bytes, .. } = self;
        let client = sessions.get_mut(&id).filter(|client| client.link.as_ref().is_some_and(|link| link.number == number))?;
        let session = &mut client.session;
        let before = session.waiting_bytes();
        // What is retained is read when there is room, so it is never older than what was sent meanwhile.
        while session.is_idle() {
            let Some(scan) = session.take_scan() else { break };
            let (messages, after) = retained.step(&scan.path, scan.after.as_ref(), now);
            for message in messages {
                session.push(&message, scan.options.qos, true);
            }
            if let Some(after) = after {
                session.continue_scan(Scan { after: Some(after), ..scan });
                break;
            }
        }
        let delivery = session.next(now);
        *waiting_bytes = *waiting_bytes + session.waiting_bytes() - before;
        delivery
    }

    /// A client has acknowledged a message; false if that was none that it had.
    pub(super) fn acknowledged(&mut self, id: SessionId, number: u64, packet: u16) -> bool {
        self.of(id, number).is_none_or(|client| client.session.acknowledged(packet))
    }

    /// Forgets a device: its sessions, its will, and what was kept of it.
    pub(super) fn forget(&mut self, device: &DeviceId) {
        // A device has one client id: its own.
        let key = ClientKey { owner: Owner::Device(device.clone()), client_id: device.as_str().to_owned() };
        let client = self.ids.get(&key).copied().and_then(|id| self.remove(id));
        if let Some(link) = client.and_then(|client| client.link) {
            link.handle.end(End::Revoked);
        }
        self.retained.forget(device);
    }

    /// Wills that are due; sessions and messages that have had their time go.
    pub(super) fn sweep(&mut self, now: Instant) -> Vec<Will> {
        let is_due = |at: &Option<Instant>| at.is_some_and(|at| at <= now);
        let mut wills = Vec::new();
        for client in self.sessions.values_mut().filter(|client| is_due(&client.will_at) || is_due(&client.ends_at)) {
            client.will_at = None;
            wills.extend(client.will.take());
        }
        let ended: Vec<_> = self.sessions.iter().filter(|(_, client)| is_due(&client.ends_at)).map(|(id, _)| *id).collect();
        for id in ended {
            self.remove(id);
        }
        self.retained.sweep(now);
        wills
    }

    /// Figures for the metrics.
    pub(super) fn figures(&self) -> Figures {
        Figures { sessions: self.sessions.len(), retained: self.retained.len(), waiting_bytes: self.waiting_bytes, dropped: self.dropped }
    }
}

/// How much there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Figures {
    pub(super) sessions: usize,
    pub(super) retained: usize,
    pub(super) waiting_bytes: usize,
    /// Messages that had no room in a queue, since the start.
    pub(super) dropped: u64,
}

#[cfg(test)]
#[path = "router_tests.rs"]
mod tests;
