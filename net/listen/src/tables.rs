//! Who is where: the state behind an admission, changed under its lock. Whom a change concerns is told after the lock is free.

use crate::limits::{Limits, Refused};
use crate::neighbour::Neighbour;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// The task of a connection, once it has one: shed connections end with theirs.
pub(crate) type Task = Arc<OnceLock<AbortHandle>>;

/// A connection that is pending for longer may be ended for one that waits: four round trips over a bad radio link.
const SLOW: Duration = Duration::from_secs(2);

/// One entry for each address that has connections: there are at most as many as those.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    open: usize,
    pending: usize,
    waiting: usize,
    identified: usize,
    by_neighbour: HashMap<Neighbour, Places>,
    by_identity: HashMap<u64, usize>,
    /// Addresses that have pending connections, by how many.
    heaviest: BTreeSet<(usize, Neighbour)>,
    /// Addresses whose first in the queue, by number, could be pending if there is room in all.
    ready: BTreeSet<(u64, Neighbour)>,
    /// Addresses that have a queue.
    queued: BTreeSet<Neighbour>,
    next_number: u64,
    outcome: Outcome,
}

/// Whom a change concerns.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// They waited, and are pending now.
    pub(crate) granted: Vec<oneshot::Sender<()>>,
    /// The tasks that end.
    pub(crate) shed: Vec<Task>,
}

/// What a newcomer has.
pub(crate) enum Entered {
    In(u64),
    Waits(u64, oneshot::Receiver<()>),
}

/// What one address has.
#[derive(Debug, Default)]
struct Places {
    /// Connections that count for the address: all but those with an identity.
    strangers: usize,
    /// The others, so that the entry lives as long as they do.
    identified: usize,
    /// The oldest first. As short as the share is small.
    pending: VecDeque<Pending>,
    /// By number: in order of arrival.
    waiting: BTreeMap<u64, Waiting>,
    /// Its entries in the sets of the tables.
    weight: usize,
    ready: Option<u64>,
}

#[derive(Debug)]
struct Pending {
    number: u64,
    since: Instant,
    task: Task,
    /// It has shown what it is, and waits for nothing but its next request: it may go at once.
    is_idle: bool,
}

#[derive(Debug)]
struct Waiting {
    task: Task,
    sender: oneshot::Sender<()>,
}

impl Tables {
    pub(crate) fn counts(&self) -> [usize; 4] {
        [self.open, self.pending, self.waiting, self.identified]
    }

    pub(crate) fn take_outcome(&mut self) -> Outcome {
        std::mem::take(&mut self.outcome)
    }

    pub(crate) fn enter(&mut self, neighbour: Neighbour, task: &Task, limits: &Limits, now: Instant) -> Result<Entered, Refused> {
        let none = Places::default();
        let places = self.by_neighbour.get(&neighbour).unwrap_or(&none);
        let (strangers, pending, waiting) = (places.strangers, places.pending.len(), places.waiting.len());
        if strangers >= limits.connections_per_address {
            return Err(Refused::Address);
        }
        if self.open >= limits.connections && !self.shed_heaviest(pending, limits) {
            return Err(Refused::Total);
        }
        let has_share = waiting == 0 && (pending < limits.pending_per_address || self.shed_idle(neighbour, limits));
        if has_share && (self.pending < limits.pending || self.shed_heaviest(pending, limits)) {
            let number = self.arrive(neighbour);
            self.begin_pending(neighbour, number, task, now, false);
            self.note(neighbour, limits);
            return Ok(Entered::In(number));
        }
        if waiting >= limits.waiting_per_address || self.waiting >= limits.waiting {
            return Err(Refused::Pending);
        }
        let number = self.arrive(neighbour);
        let (sender, granted) = oneshot::channel();
        self.waiting += 1;
        self.by_neighbour.entry(neighbour).or_default().waiting.insert(number, Waiting { task: task.clone(), sender });
        self.queued.insert(neighbour);
        self.note(neighbour, limits);
        Ok(Entered::Waits(number, granted))
    }

    pub(crate) fn enter_proxy(&mut self, limits: &Limits) -> bool {
        let has_room = self.open < limits.connections || self.shed_heaviest(0, limits);
        self.open += usize::from(has_room);
        has_room
    }

    pub(crate) fn enter_request(&mut self, neighbour: Neighbour, limits: &Limits) -> bool {
        let places = self.by_neighbour.entry(neighbour).or_default();
        let has_room = places.strangers < limits.connections_per_address;
        places.strangers += usize::from(has_room);
        has_room
    }

    fn arrive(&mut self, neighbour: Neighbour) -> u64 {
        self.open += 1;
        self.next_number += 1;
        self.by_neighbour.entry(neighbour).or_default().strangers += 1;
        self.next_number
    }

    /// A connection that is there has to show what it is.
    pub(crate) fn begin_pending(&mut self, neighbour: Neighbour, number: u64, task: &Task, since: Instant, is_idle: bool) {
        self.pending += 1;
        let places = self.by_neighbour.entry(neighbour).or_default();
        places.pending.push_back(Pending { number, since, task: task.clone(), is_idle });
        self.weigh(neighbour);
    }

    /// It has; false when it is not pending, because it was shed.
    pub(crate) fn end_pending(&mut self, neighbour: Neighbour, number: u64) -> bool {
        let Some(places) = self.by_neighbour.get_mut(&neighbour) else { return false };
        let Some(at) = places.pending.iter().position(|pending| pending.number == number) else { return false };
        places.pending.remove(at);
        self.pending -= 1;
        self.weigh(neighbour);
        true
    }

    pub(crate) fn connections_of(&self, identity: u64) -> usize {
        self.by_identity.get(&identity).copied().unwrap_or(0)
    }

    /// A connection counts for its identity, and no more for its address.
    pub(crate) fn identify(&mut self, identity: u64, neighbour: Neighbour) {
        *self.by_identity.entry(identity).or_default() += 1;
        self.identified += 1;
        let places = self.by_neighbour.entry(neighbour).or_default();
        places.strangers = places.strangers.saturating_sub(1);
        places.identified += 1;
    }

    /// It counts for its address again.
    pub(crate) fn forget(&mut self, identity: u64, neighbour: Neighbour) {
        if let Some(count) = self.by_identity.get_mut(&identity) {
            *count -= 1;
            if *count == 0 {
                self.by_identity.remove(&identity);
            }
        }
        self.identified -= 1;
        let places = self.by_neighbour.entry(neighbour).or_default();
        places.strangers += 1;
        places.identified = places.identified.saturating_sub(1);
    }

    /// A stranger's connection has ended.
    pub(crate) fn leave(&mut self, neighbour: Neighbour) {
        self.open -= 1;
        self.leave_request(neighbour);
    }

    pub(crate) fn leave_request(&mut self, neighbour: Neighbour) {
        let Some(places) = self.by_neighbour.get_mut(&neighbour) else { return };
        places.strangers = places.strangers.saturating_sub(1);
        if places.strangers + places.identified == 0 {
            self.by_neighbour.remove(&neighbour);
            // After a flood the table goes back to what is in use.
            if self.by_neighbour.len() < self.by_neighbour.capacity() / 4 {
                self.by_neighbour.shrink_to_fit();
            }
        }
    }

    pub(crate) fn leave_proxy(&mut self) {
        self.open -= 1;
    }

    /// One that waits has gone; false when it does not wait, because it was let in.
    pub(crate) fn leave_queue(&mut self, neighbour: Neighbour, number: u64) -> bool {
        let Some(places) = self.by_neighbour.get_mut(&neighbour) else { return false };
        if places.waiting.remove(&number).is_none() {
            return false;
        }
        self.waiting -= 1;
        if places.waiting.is_empty() {
            self.queued.remove(&neighbour);
        }
        if places.ready.take_if(|ready| *ready == number).is_some() {
            self.ready.remove(&(number, neighbour));
        }
        self.leave(neighbour);
        true
    }

    /// Those that wait become pending, in order, as far as there is room: after a change of what this address has.
    pub(crate) fn let_in(&mut self, changed: Neighbour, limits: &Limits, now: Instant) {
        self.note(changed, limits);
        while self.by_neighbour.get(&changed).is_some_and(|places| !places.waiting.is_empty() && places.ready.is_none())
            && self.shed_idle(changed, limits)
        {}
        while self.pending < limits.pending
            && let Some(&(number, neighbour)) = self.ready.first()
        {
            self.grant(neighbour, number, now);
            self.note(neighbour, limits);
        }
    }

    fn grant(&mut self, neighbour: Neighbour, number: u64, now: Instant) {
        let Some(places) = self.by_neighbour.get_mut(&neighbour) else { return };
        let Some(Waiting { task, sender }) = places.waiting.remove(&number) else { return };
        self.waiting -= 1;
        if places.waiting.is_empty() {
            self.queued.remove(&neighbour);
        }
        self.begin_pending(neighbour, number, &task, now, false);
        self.outcome.granted.push(sender);
    }

    /// For a newcomer whose address has so many pending ones: ends the oldest of the address that has most, if that has more than the
    /// newcomer's would have.
    fn shed_heaviest(&mut self, pending: usize, limits: &Limits) -> bool {
        match self.heaviest.last() {
            Some(&(weight, neighbour)) if weight > pending + 1 => self.shed_oldest(neighbour, limits),
            Some(_) | None => false,
        }
    }

    /// Ends the address's oldest connection that has nothing to do. False when there is none.
    fn shed_idle(&mut self, neighbour: Neighbour, limits: &Limits) -> bool {
        let Some(places) = self.by_neighbour.get(&neighbour) else { return false };
        match places.pending.iter().position(|pending| pending.is_idle) {
            Some(at) => self.shed(neighbour, at, limits),
            None => false,
        }
    }

    fn shed_oldest(&mut self, neighbour: Neighbour, limits: &Limits) -> bool {
        self.shed(neighbour, 0, limits)
    }

    /// False when it can't be ended yet: its task is only just being made.
    fn shed(&mut self, neighbour: Neighbour, at: usize, limits: &Limits) -> bool {
        let Some(places) = self.by_neighbour.get_mut(&neighbour) else { return false };
        if places.pending.get(at).is_none_or(|pending| pending.task.get().is_none()) {
            return false;
        }
        let Some(oldest) = places.pending.remove(at) else { return false };
        self.pending -= 1;
        self.outcome.shed.push(oldest.task);
        self.weigh(neighbour);
        self.leave(neighbour);
        self.note(neighbour, limits);
        true
    }

    /// Ends what is pending for long for those that wait: of the same address, or of any when there is no room in all.
    pub(crate) fn shed_the_slow(&mut self, limits: &Limits, now: Instant) {
        if self.waiting == 0 {
            return;
        }
        let is_slow = |places: &Places| places.pending.front().is_some_and(|oldest| now.saturating_duration_since(oldest.since) >= SLOW);
        for neighbour in self.queued.iter().copied().collect::<Vec<_>>() {
            let waits = |places: &Places| places.waiting.len() > limits.pending_per_address.saturating_sub(places.pending.len());
            while self.by_neighbour.get(&neighbour).is_some_and(|places| waits(places) && is_slow(places)) {
                if !self.shed_oldest(neighbour, limits) {
                    break;
                }
            }
            self.let_in(neighbour, limits, now);
        }
        while !self.ready.is_empty()
            && let Some(&(_, neighbour)) = self.heaviest.last()
            && self.by_neighbour.get(&neighbour).is_some_and(is_slow)
            && self.shed_oldest(neighbour, limits)
        {
            self.let_in(neighbour, limits, now);
        }
    }

    /// After a change of an address's pending connections.
    fn weigh(&mut self, neighbour: Neighbour) {
        let Some(places) = self.by_neighbour.get_mut(&neighbour) else { return };
        let weight = places.pending.len();
        if places.weight != weight {
            self.heaviest.remove(&(places.weight, neighbour));
            places.weight = weight;
            if weight > 0 {
                self.heaviest.insert((weight, neighbour));
            }
        }
    }

    /// After a change of an address's share or queue.
    fn note(&mut self, neighbour: Neighbour, limits: &Limits) {
        let Some(places) = self.by_neighbour.get_mut(&neighbour) else { return };
        let has_room = places.pending.len() < limits.pending_per_address;
        let ready = if has_room { places.waiting.first_key_value().map(|(number, _)| *number) } else { None };
        if places.ready != ready {
            if let Some(before) = std::mem::replace(&mut places.ready, ready) {
                self.ready.remove(&(before, neighbour));
            }
            if let Some(number) = ready {
                self.ready.insert((number, neighbour));
            }
        }
    }
}

#[cfg(test)]
impl Tables {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_neighbour.is_empty()
            && self.by_identity.is_empty()
            && self.heaviest.is_empty()
            && self.ready.is_empty()
            && self.queued.is_empty()
    }
}
