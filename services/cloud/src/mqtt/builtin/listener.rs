//! The MQTT port: accepts connections and ends TLS.

use super::broker::{Broker, CONNECTIONS_MAX};
use crate::identity::tls::peer_subject;
use sightline_listen::{Admission, Arrival, Door, Limits, Rarely};
use std::{sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Handshakes at once: a flood of half-open ones costs no more than this many.
const HANDSHAKES_MAX: usize = 256;
/// The places, as the log names them.
const LIMITED_BY: &str = "the 10000 places of the MQTT port, 256 of them for handshakes";
/// Time for TLS. The library gives CONNECT ten seconds more.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often abandoned sessions and rate windows are swept.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// Broken handshakes cost a stranger nothing: one line stands for all.
static NO_TLS: Rarely = Rarely::new();

impl Broker {
    /// Accepts connections until `stop`.
    pub(crate) async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        tls: Arc<rustls::ServerConfig>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) {
        let limits = Limits { connections: CONNECTIONS_MAX, pending: HANDSHAKES_MAX, ..Limits::NONE };
        let door = Door::new("MQTT", LIMITED_BY, HANDSHAKE_TIMEOUT, Arc::new(Admission::new(limits)), tasks, stop.clone());
        let acceptor = TlsAcceptor::from(tls);
        let on_refused = |_| metrics::counter!("sightline_mqtt_connections_refused_total").increment(1);
        let (broker, stopped) = (Arc::clone(&self), stop.clone());
        let serve = move |arrival| Arc::clone(&broker).connection(arrival, acceptor.clone(), stopped.clone());
        tokio::join!(Arc::new(door).run(listener, on_refused, serve), self.sweep_until(&stop));
    }

    async fn connection(self: Arc<Self>, arrival: Arrival, acceptor: TlsAcceptor, stop: CancellationToken) {
        let address = arrival.peer;
        let (stream, permit) = match arrival.accept_tls(&acceptor).await {
            Ok(accepted) => accepted,
            Err(error) => return NO_TLS.write(|others| tracing::info!(%address, %error, others, "no TLS with an MQTT client")),
        };
        permit.set_pending(false);
        let Some(subject) = peer_subject(stream.get_ref().1) else {
            return tracing::warn!(%address, "an MQTT client's certificate names neither a device nor the operator");
        };
        self.serve_client(stream, subject, address, &stop).await;
    }

    async fn sweep_until(&self, stop: &CancellationToken) {
        let mut interval = tokio::time::interval(SWEEP_INTERVAL);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = interval.tick() => self.sweep().await,
            }
        }
    }
}
