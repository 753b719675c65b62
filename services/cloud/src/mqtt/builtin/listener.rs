//! The MQTT port: accepts connections and ends TLS.

use super::broker::{Broker, CONNECTIONS_MAX};
use crate::identity::tls::peer_subject;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Handshakes at once: a flood of half-open ones costs no more than this many.
const HANDSHAKES_MAX: usize = 256;
/// Time for TLS. The library gives CONNECT ten seconds more.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often abandoned sessions and rate windows are swept.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// The pause after a failed accept. The cause is mostly a lack of file descriptors: accepting again at once would only burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Broker {
    /// Accepts connections until `stop`.
    pub(crate) async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        tls: Arc<rustls::ServerConfig>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) {
        let acceptor = TlsAcceptor::from(tls);
        let (connections, handshakes) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), Arc::new(Semaphore::new(HANDSHAKES_MAX)));
        let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                _ = sweep.tick() => {
                    self.sweep().await;
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection to the MQTT port was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (Ok(place), Ok(handshake)) = (Arc::clone(&connections).try_acquire_owned(), Arc::clone(&handshakes).try_acquire_owned())
            else {
                metrics::counter!("sightline_mqtt_connections_refused_total").increment(1);
                continue;
            };
            let (broker, acceptor, stop) = (Arc::clone(&self), acceptor.clone(), stop.clone());
            tasks.spawn(async move {
                broker.connection(acceptor, stream, address, handshake, stop).await;
                drop(place);
            });
        }
    }

    async fn connection(
        &self,
        acceptor: TlsAcceptor,
        stream: TcpStream,
        address: SocketAddr,
        handshake: tokio::sync::OwnedSemaphorePermit,
        stop: CancellationToken,
    ) {
        let _ = stream.set_nodelay(true);
        let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::info!(%address, %error, "TLS with an MQTT client failed"),
            Err(_) => return tracing::info!(%address, "TLS with an MQTT client took too long"),
        };
        drop(handshake);
        let Some(subject) = peer_subject(stream.get_ref().1) else {
            return tracing::warn!(%address, "an MQTT client's certificate names neither a device nor the operator");
        };
        self.serve_client(stream, subject, address, &stop).await;
    }
}
