//! The MQTT port: accepts connections and ends TLS.

use super::{broker::Broker, connection, figures};
use crate::identity::tls;
use sightline_listen::{Admission, Arrival, Door, Limits, Refused, TlsError, descriptors};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Connections at once: about 40 kB each was measured with TLS, so this is 400 MB at the most.
const CONNECTIONS_MAX: usize = 10_000;
/// Handshakes at once from one address. The more there are, the fewer rounds of half-open ones a camera behind the same router waits
/// for; one takes about 30 kB.
const HANDSHAKES_PER_ADDRESS_MAX: usize = 256;
/// The port's part of the descriptors, in hundredths: in one process with an origin all ports together leave a fifth.
const DESCRIPTORS_SHARE: u8 = 20;
/// The places, as the log names them.
const LIMITED_BY: &str = "the 10000 places of the MQTT port, or a fifth of the limit of open files";
/// Time for TLS. A good client is through in two round trips.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(6);
/// How often wills that are due are published, and what is over is dropped.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// How many sweeps come between two looks at certificates: five seconds.
const SWEEPS_PER_LOOK: u32 = 5;
/// How many sweeps come between two lines about clients that can't be talked to: ten seconds.
const SWEEPS_PER_LINE: u32 = 10;

/// Clients that were turned away before CONNECT, since the last line.
#[derive(Debug, Default)]
struct Strangers {
    no_tls: AtomicU64,
    too_slow: AtomicU64,
    no_identity: AtomicU64,
    too_many: AtomicU64,
}

impl Broker {
    /// Accepts connections until `stop`.
    pub(crate) async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        config: Arc<rustls::ServerConfig>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) {
        figures::announce();
        // Who has shown a certificate counts for that: `Connections` has those limits.
        let places = CONNECTIONS_MAX.min(descriptors::share(DESCRIPTORS_SHARE));
        let usual = Limits::of(places);
        let pending_per_address = HANDSHAKES_PER_ADDRESS_MAX.min(usual.pending / 4);
        let limits = Limits { connections_per_identity: usize::MAX, pending_per_address, ..usual };
        let door = Door::new("MQTT", LIMITED_BY, HANDSHAKE_TIMEOUT, Arc::new(Admission::new(limits)), tasks, stop.clone());
        let (acceptor, strangers) = (TlsAcceptor::from(config), Arc::<Strangers>::default());
        let on_refused = |refused: Refused| {
            metrics::counter!("sightline_mqtt_connections_refused_total", "reason" => refused.name()).increment(1);
        };
        let (broker, counted, stopped) = (Arc::clone(&self), Arc::clone(&strangers), stop.clone());
        let serve = move |arrival| Arc::clone(&broker).connection(arrival, acceptor.clone(), Arc::clone(&counted), stopped.clone());
        tokio::join!(Arc::new(door).run(listener, on_refused, serve), self.keep_house(&strangers, &stop));
    }

    async fn connection(self: Arc<Self>, arrival: Arrival, acceptor: TlsAcceptor, strangers: Arc<Strangers>, stop: CancellationToken) {
        let address = arrival.peer;
        let (stream, permit) = match arrival.accept_tls(&acceptor).await {
            Ok(accepted) => accepted,
            Err(error) => return strangers.count(&error),
        };
        let Some(shown) = tls::peer(stream.get_ref().1) else { return strangers.one(&strangers.no_identity, "no_identity") };
        let Some(entry) = self.connections.enter(shown.subject, shown.valid_until, address) else {
            return strangers.one(&strangers.too_many, "too_many");
        };
        // From here on it is not ended for others, so nothing of it is left half done. The error means that it is ending already.
        if permit.prove(&entry.owner.to_string()).is_err() {
            return;
        }
        connection::serve(self, stream, entry, stop).await;
        drop(permit);
    }

    async fn keep_house(&self, strangers: &Strangers, stop: &CancellationToken) {
        let mut interval = tokio::time::interval(SWEEP_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut sweeps = 0_u32;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = interval.tick() => {}
            }
            self.sweep().await;
            sweeps = sweeps.wrapping_add(1);
            if sweeps.is_multiple_of(SWEEPS_PER_LOOK) {
                self.end_outdated().await;
            }
            if sweeps.is_multiple_of(SWEEPS_PER_LINE) {
                strangers.log();
            }
        }
    }
}

impl Strangers {
    fn count(&self, error: &TlsError) {
        tracing::debug!(%error, "no TLS with an MQTT client");
        match error {
            TlsError::Handshake(_) => self.one(&self.no_tls, "no_tls"),
            TlsError::Timeout => self.one(&self.too_slow, "too_slow"),
        }
    }

    #[expect(clippy::unused_self, reason = "the counter is one of its own")]
    fn one(&self, counter: &AtomicU64, reason: &'static str) {
        counter.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("sightline_mqtt_strangers_total", "reason" => reason).increment(1);
    }

    /// One line for all since the last: how often this happens is not ours to choose.
    fn log(&self) {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        let (no_tls, too_slow, no_identity, too_many) =
            (take(&self.no_tls), take(&self.too_slow), take(&self.no_identity), take(&self.too_many));
        if no_tls + too_slow + no_identity + too_many > 0 {
            tracing::warn!(no_tls, too_slow, no_identity, too_many, "MQTT clients were turned away before CONNECT");
        }
    }
}
