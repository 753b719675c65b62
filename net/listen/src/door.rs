//! Accepting connections.

use crate::admission::{Admission, Entry, Permit, Ticket};
use crate::arrival::Arrival;
use crate::limits::{Counts, Refused};
use crate::neighbour::Proxies;
use crate::rarely::LOG_INTERVAL;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A pause after the system gave no connection: it is out of descriptors, and asking again at once only burns the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often it is looked whether pending connections have to go for others.
const SHED_INTERVAL: Duration = Duration::from_millis(250);
/// How long a connection may wait to be pending: what clients wait for an answer.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Who may come in, and how long newcomers may take. Several listeners may share one.
#[derive(Debug)]
pub struct Door {
    /// Of the port, for the log: "RTMP".
    name: &'static str,
    /// Which settings limit it, for the log.
    limited_by: &'static str,
    /// From the connection's beginning to the end of its handshakes.
    handshake_timeout: Duration,
    admission: Arc<Admission>,
    /// Connections from them are no strangers': their requests are.
    proxies: Proxies,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    logged: Mutex<Logged>,
}

/// What the log has.
#[derive(Debug, Default)]
struct Logged {
    counts: Counts,
    at: Option<Instant>,
    accept_error_at: Option<Instant>,
}

/// A connection that was let in, or that waits for it.
enum Newcomer {
    In(Arrival),
    Waits(TcpStream, SocketAddr, Ticket),
}

impl Door {
    /// `name` and `limited_by` (settings, or the constant that limits it) are for the log. Connections run on `tasks` until they end or
    /// `shutdown`, which ends the accepting.
    #[must_use]
    pub fn new(
        name: &'static str,
        limited_by: &'static str,
        handshake_timeout: Duration,
        admission: Arc<Admission>,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        let (proxies, logged) = (Proxies::default(), Mutex::default());
        Self { name, limited_by, handshake_timeout, admission, proxies, tasks, shutdown, logged }
    }

    /// Connections from these count for nobody's address; [`http`](crate::http) lets their requests in one by one.
    #[must_use]
    pub fn with_proxies(mut self, proxies: Proxies) -> Self {
        self.proxies = proxies;
        self
    }

    /// The counts now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.admission.counts()
    }

    /// Accepts until the shutdown, and runs `serve` for each connection that has a place. `on_refused` counts the others. A connection that
    /// has to go for another ends where it waits: what `serve` returned is dropped.
    pub async fn run<F>(
        self: Arc<Self>,
        listener: TcpListener,
        on_refused: impl Fn(Refused) + Send + Sync + 'static,
        serve: impl Fn(Arrival) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let (on_refused, serve) = (Arc::new(on_refused), Arc::new(serve));
        let mut turn = tokio::time::interval(SHED_INTERVAL);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let accepted = tokio::select! {
                // In this order: a flood of newcomers must not keep the slow ones in.
                biased;
                () = self.shutdown.cancelled() => return,
                _ = turn.tick() => {
                    self.admission.shed_the_slow();
                    self.log_refusals();
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, peer)) => match self.admit(socket, peer) {
                    Ok(Newcomer::In(arrival)) => {
                        let task = arrival.permit.task.clone();
                        let _ = task.set(self.tasks.spawn(serve(arrival)).abort_handle());
                    }
                    Ok(Newcomer::Waits(socket, peer, ticket)) => {
                        let (door, serve, on_refused, task) = (self.clone(), serve.clone(), on_refused.clone(), ticket.task.clone());
                        let waits = async move {
                            match door.wait(socket, peer, ticket).await {
                                Ok(arrival) => Box::pin(serve(arrival)).await,
                                Err(refused) => on_refused(refused),
                            }
                        };
                        let _ = task.set(self.tasks.spawn(waits).abort_handle());
                    }
                    Err(refused) => on_refused(refused),
                },
                // That peer has gone again: no reason to let the others wait.
                Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {}
                Err(error) => {
                    self.handle_accept_error(&error);
                    tokio::select! {
                        () = self.shutdown.cancelled() => return,
                        () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                    }
                }
            }
        }
    }

    fn admit(&self, socket: TcpStream, peer: SocketAddr) -> Result<Newcomer, Refused> {
        let entered = if self.proxies.contains(peer.ip()) {
            self.admission.enter_proxy(peer.ip()).map(Entry::In)
        } else {
            self.admission.enter(peer.ip())
        };
        match entered {
            Ok(Entry::In(permit)) => Ok(Newcomer::In(self.arrival(socket, peer, permit))),
            Ok(Entry::Waits(ticket)) => Ok(Newcomer::Waits(socket, peer, ticket)),
            Err(refused) => Err(self.refuse(&socket, peer, refused)),
        }
    }

    async fn wait(&self, socket: TcpStream, peer: SocketAddr, ticket: Ticket) -> Result<Arrival, Refused> {
        let waited = tokio::select! {
            () = self.shutdown.cancelled() => Err(Refused::Pending),
            waited = ticket.wait(Instant::now() + WAIT_MAX) => waited,
        };
        match waited {
            Ok(permit) => Ok(self.arrival(socket, peer, permit)),
            Err(refused) => Err(self.refuse(&socket, peer, refused)),
        }
    }

    fn refuse(&self, socket: &TcpStream, peer: SocketAddr, refused: Refused) -> Refused {
        // At debug level: the attacker chooses how often this happens.
        tracing::debug!(port = self.name, %peer, ?refused, "too many connections");
        // Reset, so that no half of it stays in the system for a minute.
        let _ = socket.set_zero_linger();
        refused
    }

    fn arrival(&self, socket: TcpStream, peer: SocketAddr, permit: Permit) -> Arrival {
        // Small messages go out at once: waiting for more only adds delay.
        let _ = socket.set_nodelay(true);
        Arrival { socket, peer, permit, deadline: Instant::now() + self.handshake_timeout, shutdown: self.shutdown.clone() }
    }

    fn handle_accept_error(&self, error: &io::Error) {
        self.admission.count_accept_error();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.accept_error_at.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
            let (port, limited_by) = (self.name, self.limited_by);
            tracing::warn!(port, %error, "no connection can be accepted; is the limit of open files too low? Places are limited by {limited_by}");
            logged.accept_error_at = Some(Instant::now());
        }
    }

    /// One line for all that were refused since the last.
    fn log_refusals(&self) {
        let (before, now) = {
            let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
            if logged.at.is_some_and(|at| at.elapsed() < LOG_INTERVAL) {
                return;
            }
            logged.at = Some(Instant::now());
            // Read under the lock: another listener of this door logs at the same time.
            let now = self.admission.counts();
            (std::mem::replace(&mut logged.counts, now), now)
        };
        let [total, address, identity, pending] = Refused::ALL.map(|reason| now.refused(reason) - before.refused(reason));
        let shed = now.shed - before.shed;
        if total + address + identity + pending + shed > 0 {
            let (port, limited_by, open) = (self.name, self.limited_by, now.open);
            tracing::warn!(port, total, address, identity, pending, shed, open, "connections were refused: see {limited_by}");
        }
    }
}
