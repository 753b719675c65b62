//! The HTTP port: one address takes plain HTTP and HTTPS.

use super::access::Peer;
use crate::identity::tls;
use axum::Router;
use sightline_listen::{Admission, Arrival, Door, Limits, http};
use std::{sync::Arc, time::Duration};
use tokio::{net::TcpListener, time::Instant};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Connections at once, viewers of the demo's streams included.
const CONNECTIONS_MAX: usize = 4096;
/// Its places, as the log names them.
const LIMITED_BY: &str = "the 4096 places of the HTTP port";
/// Time for the first byte, and again for TLS: a slow uplink needs a few seconds.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The first byte of a TLS handshake record (RFC 8446 §5.1); no method of HTTP begins with it.
const TLS_HANDSHAKE: u8 = 0x16;

/// Serves until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    config: Arc<rustls::ServerConfig>,
    router: Router,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let limits = Limits { connections: CONNECTIONS_MAX, ..Limits::NONE };
    let door = Door::new("HTTP", LIMITED_BY, HANDSHAKE_TIMEOUT, Arc::new(Admission::new(limits)), tasks, stop.clone());
    let acceptor = TlsAcceptor::from(config);
    let on_refused = |_| metrics::counter!("sightline_http_connections_refused_total").increment(1);
    let serve = move |arrival| connection(arrival, acceptor.clone(), router.clone(), stop.clone());
    Arc::new(door).run(listener, on_refused, serve).await;
}

async fn connection(mut arrival: Arrival, acceptor: TlsAcceptor, router: Router, stop: CancellationToken) {
    let address = arrival.peer;
    let Ok(first) = arrival.first_byte().await else { return };
    if first != TLS_HANDSHAKE {
        let Arrival { socket, mut permit, .. } = arrival;
        permit.set_pending(false);
        return http::serve(socket, router, (address, Peer { address, is_tls: false, subject: None }), None, stop).await;
    }
    arrival.deadline = Instant::now() + HANDSHAKE_TIMEOUT;
    match arrival.accept_tls(&acceptor).await {
        Ok((stream, mut permit)) => {
            permit.set_pending(false);
            let subject = tls::peer(stream.get_ref().1).map(|shown| shown.subject);
            http::serve(stream, router, (address, Peer { address, is_tls: true, subject }), None, stop).await;
        }
        Err(error) => tracing::info!(%address, %error, "no TLS with an HTTP client"),
    }
}
