//! Accepting connections.

use crate::admission::{Admission, Counts, Refused};
use crate::arrival::Arrival;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A pause after the system gave no connection: it is out of descriptors, and asking again at once only burns the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often refused connections and failed accepts are logged, if there were any.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

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
    tasks: TaskTracker,
    shutdown: CancellationToken,
    logged: Mutex<Logged>,
}

/// What the log has.
#[derive(Debug, Default)]
struct Logged {
    counts: Counts,
    accept_error_at: Option<Instant>,
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
        Self { name, limited_by, handshake_timeout, admission, tasks, shutdown, logged: Mutex::default() }
    }

    /// The counts now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.admission.counts()
    }

    /// Accepts until the shutdown, and runs `serve` for each connection that has a place. `on_refused` counts the others.
    pub async fn run<F>(self: Arc<Self>, listener: TcpListener, on_refused: impl Fn(Refused) + Send, serve: impl Fn(Arrival) -> F + Send)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut log = tokio::time::interval(LOG_INTERVAL);
        loop {
            let accepted = tokio::select! {
                () = self.shutdown.cancelled() => return,
                _ = log.tick() => {
                    self.log_refusals();
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, peer)) => match self.admit(socket, peer) {
                    Ok(arrival) => drop(self.tasks.spawn(serve(arrival))),
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

    fn admit(&self, socket: TcpStream, peer: SocketAddr) -> Result<Arrival, Refused> {
        let permit = match self.admission.enter(peer.ip()) {
            Ok(permit) => permit,
            Err(refused) => {
                // At debug level: the attacker chooses how often this happens.
                tracing::debug!(port = self.name, %peer, ?refused, "too many connections");
                // Reset, so that no half of it stays in the system for a minute.
                let _ = socket.set_zero_linger();
                return Err(refused);
            }
        };
        // Small messages go out at once: waiting for more only adds delay.
        let _ = socket.set_nodelay(true);
        Ok(Arrival { socket, peer, permit, deadline: Instant::now() + self.handshake_timeout, shutdown: self.shutdown.clone() })
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
            // Read under the lock: another listener of this door logs at the same time.
            let now = self.admission.counts();
            (std::mem::replace(&mut logged.counts, now), now)
        };
        let (total, address) = (now.refused_total - before.refused_total, now.refused_address - before.refused_address);
        let pending = now.refused_pending - before.refused_pending;
        if total + address + pending > 0 {
            let (port, limited_by) = (self.name, self.limited_by);
            tracing::warn!(port, total, address, pending, open = now.open, "connections were refused: see {limited_by}");
        }
    }
}
