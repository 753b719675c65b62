//! The HTTP port: one address takes plain HTTP and HTTPS.

use super::access::Peer;
use crate::identity::{authority::Subject, tls};
use axum::Router;
use sightline_listen::{
    Admission, Arrival, Door, Limits, Proxies, Rarely, Refused, descriptors,
    http::{self, Caller, Rules},
};
use std::{sync::Arc, time::Duration};
use tokio::{net::TcpListener, time::Instant};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Connections at once, viewers of the demo's streams included.
const CONNECTIONS_MAX: usize = 4096;
/// The port's part of the descriptors, in hundredths: in one process with an origin all ports together leave a fifth.
const DESCRIPTORS_SHARE: u8 = 20;
/// Its places, as the log names them.
const LIMITED_BY: &str = "the 4096 places of the HTTP port, or a fifth of the limit of open files";
/// A client that takes nothing for this long while there is something to send is cut: a viewer of the demo that stopped reading.
const STUCK: Duration = Duration::from_secs(10);
/// Time for the first byte, and again for TLS: a slow uplink needs a few seconds.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The first byte of a TLS handshake record (RFC 8446 §5.1); no method of HTTP begins with it.
const TLS_HANDSHAKE: u8 = 0x16;

/// Serves until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    config: Arc<rustls::ServerConfig>,
    router: Router,
    proxies: Proxies,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let limits = Limits::of(CONNECTIONS_MAX.min(descriptors::share(DESCRIPTORS_SHARE)));
    let door = Door::new("HTTP", LIMITED_BY, HANDSHAKE_TIMEOUT, Arc::new(Admission::new(limits)), tasks, stop.clone());
    let door = door.with_proxies(proxies.clone());
    let acceptor = TlsAcceptor::from(config);
    let rules = Arc::new(Rules { stuck: STUCK, proxies });
    for reason in Refused::ALL {
        metrics::counter!("sightline_http_connections_refused_total", "reason" => reason.name()).increment(0);
    }
    let on_refused = |refused: Refused| {
        metrics::counter!("sightline_http_connections_refused_total", "reason" => refused.name()).increment(1);
    };
    let serve = move |arrival| connection(arrival, acceptor.clone(), router.clone(), rules.clone(), stop.clone());
    Arc::new(door).run(listener, on_refused, serve).await;
}

async fn connection(mut arrival: Arrival, acceptor: TlsAcceptor, router: Router, rules: Arc<Rules>, stop: CancellationToken) {
    let address = arrival.peer;
    let Ok(first) = arrival.first_byte().await else { return };
    if first != TLS_HANDSHAKE {
        let Arrival { socket, permit, .. } = arrival;
        let caller = Caller { address, permit, peer: Peer { address, is_tls: false, subject: None } };
        return http::serve(socket, router, caller, &rules, stop).await;
    }
    arrival.deadline = Instant::now() + HANDSHAKE_TIMEOUT;
    match arrival.accept_tls(&acceptor).await {
        Ok((stream, permit)) => {
            let subject = tls::peer(stream.get_ref().1).map(|shown| shown.subject);
            // A device that has all its connections has no other one, whatever it shows. An operator's browsers are many.
            if let Some(Subject::Device { id, .. }) = &subject
                && permit.prove(id.as_str()).is_err()
            {
                return;
            }
            let caller = Caller { address, permit, peer: Peer { address, is_tls: true, subject } };
            http::serve(stream, router, caller, &rules, stop).await;
        }
        Err(error) => {
            metrics::counter!("sightline_http_tls_failures_total").increment(1);
            NO_TLS.write(|others| tracing::info!(%address, %error, others, "no TLS with an HTTP client"));
        }
    }
}

/// Broken handshakes cost a stranger nothing: one line stands for all.
static NO_TLS: Rarely = Rarely::new();
