//! How many connections may be there: in all, of strangers from one address, of one identity, and of those how many that have not yet
//! shown what they are. Who is over an address's share of the last waits for a place.

use crate::limits::{Counts, Limits, Refused};
use crate::neighbour::Neighbour;
use crate::tables::{Entered, Outcome, Tables, Task};
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// The table behind a [`Door`](crate::Door); several listeners may share one.
#[derive(Debug)]
pub struct Admission {
    limits: Limits,
    tables: Mutex<Tables>,
    /// Its keys are this process's own: nobody makes two identities count as one.
    hasher: RandomState,
    accepted: AtomicU64,
    refused: [AtomicU64; Refused::ALL.len()],
    shed: AtomicU64,
    accept_errors: AtomicU64,
}

/// What a newcomer has.
#[derive(Debug)]
pub(crate) enum Entry {
    /// A place.
    In(Permit),
    /// A place in the queue of its address.
    Waits(Ticket),
}

impl Admission {
    /// Nobody is in.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            tables: Mutex::default(),
            hasher: RandomState::new(),
            accepted: AtomicU64::new(0),
            refused: Default::default(),
            shed: AtomicU64::new(0),
            accept_errors: AtomicU64::new(0),
        }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a connection in, puts it into its queue, or counts why neither. It is pending at first.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Entry, Refused> {
        let (neighbour, task, now) = (Neighbour::of(address), Task::default(), Instant::now());
        let (entered, outcome) = {
            let mut tables = self.tables();
            let entered = tables.enter(neighbour, &task, &self.limits, now);
            (entered, tables.take_outcome())
        };
        self.settle(outcome);
        match entered {
            Ok(Entered::In(number)) => {
                self.accepted.fetch_add(1, Ordering::Relaxed);
                Ok(Entry::In(self.permit(neighbour, number, task, Standing::Pending)))
            }
            Ok(Entered::Waits(number, granted)) => {
                Ok(Entry::Waits(Ticket { admission: self.clone(), neighbour, number, task, granted, is_over: false }))
            }
            Err(refused) => Err(self.refuse(refused)),
        }
    }

    /// Lets in a connection of a proxy that is trusted: it counts in all, and its requests count for their clients.
    pub(crate) fn enter_proxy(self: &Arc<Self>, address: IpAddr) -> Result<Permit, Refused> {
        let neighbour = Neighbour::of(address);
        if !self.change(neighbour, |tables| tables.enter_proxy(&self.limits)) {
            return Err(self.refuse(Refused::Total));
        }
        self.accepted.fetch_add(1, Ordering::Relaxed);
        Ok(self.permit(neighbour, 0, Task::default(), Standing::Proxy))
    }

    /// A request that a trusted proxy brings from a stranger.
    pub(crate) fn enter_request(self: &Arc<Self>, client: IpAddr) -> Result<Permit, Refused> {
        let neighbour = Neighbour::of(client);
        if !self.tables().enter_request(neighbour, &self.limits) {
            return Err(self.refuse(Refused::Address));
        }
        Ok(self.permit(neighbour, 0, Task::default(), Standing::Request))
    }

    fn permit(self: &Arc<Self>, neighbour: Neighbour, number: u64, task: Task, standing: Standing) -> Permit {
        Permit { admission: self.clone(), neighbour, number, task, standing: Mutex::new(standing) }
    }

    fn refuse(&self, refused: Refused) -> Refused {
        self.refused[refused as usize].fetch_add(1, Ordering::Relaxed);
        refused
    }

    /// Ends what was pending for long while others wait, and lets those in. To be called a few times a second.
    pub(crate) fn shed_the_slow(self: &Arc<Self>) {
        let outcome = {
            let mut tables = self.tables();
            tables.shed_the_slow(&self.limits, Instant::now());
            tables.take_outcome()
        };
        self.settle(outcome);
    }

    /// Changes what an address has in the tables, and tells those whom it concerns after the lock is free.
    fn change<T>(self: &Arc<Self>, neighbour: Neighbour, act: impl FnOnce(&mut Tables) -> T) -> T {
        let (result, outcome) = {
            let mut tables = self.tables();
            let result = act(&mut tables);
            tables.let_in(neighbour, &self.limits, Instant::now());
            (result, tables.take_outcome())
        };
        self.settle(outcome);
        result
    }

    fn settle(self: &Arc<Self>, Outcome { granted, shed }: Outcome) {
        self.shed.fetch_add(shed.len() as u64, Ordering::Relaxed);
        for task in shed {
            if let Some(handle) = task.get() {
                handle.abort();
            }
        }
        self.accepted.fetch_add(granted.len() as u64, Ordering::Relaxed);
        for waits in granted {
            // Whoever waited has gone: then its ticket has given the place back.
            let _ = waits.send(());
        }
    }

    pub(crate) fn count_accept_error(&self) {
        self.accept_errors.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let [open, pending, waiting, identified] = self.tables().counts().map(|count| count as u64);
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let [refused_total, refused_address, refused_identity, refused_pending] =
            Refused::ALL.map(|reason| read(&self.refused[reason as usize]));
        Counts {
            open,
            pending,
            waiting,
            identified,
            accepted: read(&self.accepted),
            refused_total,
            refused_address,
            refused_identity,
            refused_pending,
            shed: read(&self.shed),
            accept_errors: read(&self.accept_errors),
        }
    }
}

/// A place in the queue; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Ticket {
    admission: Arc<Admission>,
    neighbour: Neighbour,
    number: u64,
    pub(crate) task: Task,
    granted: oneshot::Receiver<()>,
    /// Its place is a permit's now.
    is_over: bool,
}

impl Ticket {
    /// Waits for the place, until the deadline.
    pub(crate) async fn wait(mut self, deadline: Instant) -> Result<Permit, Refused> {
        match tokio::time::timeout_at(deadline, &mut self.granted).await {
            Ok(Ok(())) => {
                self.is_over = true;
                Ok(self.admission.permit(self.neighbour, self.number, self.task.clone(), Standing::Pending))
            }
            Ok(Err(_)) | Err(_) => Err(self.admission.refuse(Refused::Pending)),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        self.admission.change(self.neighbour, |tables| {
            // Let in at this very moment, unless it was shed as well.
            if !tables.leave_queue(self.neighbour, self.number) && tables.end_pending(self.neighbour, self.number) {
                tables.leave(self.neighbour);
            }
        });
    }
}

/// What a connection counts as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    Pending,
    Stranger,
    Identified(u64),
    Proxy,
    Request,
}

/// A connection's place; dropping it gives the place back.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    neighbour: Neighbour,
    number: u64,
    pub(crate) task: Task,
    standing: Mutex<Standing>,
}

impl Permit {
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the connection has still to show what it is. One that is pending again is a stranger again, whatever it had proved.
    pub fn set_pending(&self, is_pending: bool) {
        self.change_pending(is_pending, false);
    }

    /// The connection has shown what it is and waits for its next request: pending, and the first to go for another of its address.
    pub(crate) fn set_idle(&self) {
        self.change_pending(true, true);
    }

    fn change_pending(&self, is_pending: bool, is_idle: bool) {
        let mut standing = self.standing();
        match (*standing, is_pending) {
            (Standing::Pending, false) => {
                // One that was shed counts no more, and ends.
                if self.admission.change(self.neighbour, |tables| tables.end_pending(self.neighbour, self.number)) {
                    *standing = Standing::Stranger;
                }
            }
            (Standing::Stranger | Standing::Identified(_), true) => {
                self.admission.change(self.neighbour, |tables| {
                    if let Standing::Identified(identity) = *standing {
                        tables.forget(identity, self.neighbour);
                    }
                    tables.begin_pending(self.neighbour, self.number, &self.task, Instant::now(), is_idle);
                });
                *standing = Standing::Pending;
            }
            (Standing::Pending, true)
            | (Standing::Stranger | Standing::Identified(_), false)
            | (Standing::Proxy | Standing::Request, _) => {}
        }
    }

    /// Whether it counts for an identity, or for a proxy.
    pub(crate) fn is_identified(&self) -> bool {
        matches!(*self.standing(), Standing::Identified(_) | Standing::Proxy)
    }

    /// Lets in a request that a trusted proxy brings on this connection; `None` when the connection is no such proxy's.
    pub(crate) fn enter_request(&self, client: IpAddr) -> Option<Result<Permit, Refused>> {
        let is_proxy = *self.standing() == Standing::Proxy;
        is_proxy.then(|| self.admission.enter_request(client))
    }

    /// The connection has proved an identity, by a certificate or a token. It counts for that from now on, neither for its address nor as
    /// pending.
    ///
    /// # Errors
    /// [`Refused::Identity`] when that identity has all its connections: this one should end. [`Refused::Pending`] when it is ending
    /// already, because it took too long.
    pub fn prove(&self, identity: &str) -> Result<(), Refused> {
        let identity = self.admission.hasher.hash_one(identity);
        let mut standing = self.standing();
        let was_pending = match *standing {
            Standing::Pending => true,
            Standing::Stranger => false,
            Standing::Identified(known) if known == identity => return Ok(()),
            Standing::Identified(known) => {
                self.admission.change(self.neighbour, |tables| tables.forget(known, self.neighbour));
                *standing = Standing::Stranger;
                false
            }
            Standing::Proxy | Standing::Request => return Ok(()),
        };
        let proved = self.admission.change(self.neighbour, |tables| {
            if tables.connections_of(identity) >= self.admission.limits.connections_per_identity {
                return Err(Refused::Identity);
            }
            if was_pending && !tables.end_pending(self.neighbour, self.number) {
                return Err(Refused::Pending);
            }
            tables.identify(identity, self.neighbour);
            Ok(())
        });
        match proved {
            Ok(()) => *standing = Standing::Identified(identity),
            Err(Refused::Identity) => drop(self.admission.refuse(Refused::Identity)),
            // Shed, and counted as that.
            Err(Refused::Total | Refused::Address | Refused::Pending) => {}
        }
        proved
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let standing = *self.standing();
        self.admission.change(self.neighbour, |tables| match standing {
            // One that was shed has given its place back.
            Standing::Pending => {
                if tables.end_pending(self.neighbour, self.number) {
                    tables.leave(self.neighbour);
                }
            }
            Standing::Stranger => tables.leave(self.neighbour),
            Standing::Identified(identity) => {
                tables.forget(identity, self.neighbour);
                tables.leave(self.neighbour);
            }
            Standing::Proxy => tables.leave_proxy(),
            Standing::Request => tables.leave_request(self.neighbour),
        });
    }
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
