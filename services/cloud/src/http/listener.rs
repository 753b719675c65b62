//! Accepts connections, ends TLS where there is TLS, and serves HTTP/1.1 on both.

use super::access::Peer;
use crate::identity::tls::peer_subject;
use axum::{Router, body::Body, extract::ConnectInfo};
use hyper::{Request, body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

/// Connections at once, viewers of the demo's streams included.
const CONNECTIONS_MAX: usize = 4096;
/// Time for the first byte, and again for TLS.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a request's head; an idle connection is closed after it as well.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest head, in bytes: hyper's buffer.
const HEADERS_BYTES_MAX: usize = 32 << 10;
/// The most header fields of a request.
const HEADERS_MAX: usize = 64;
/// How long a connection may still take for its answer after the stop.
const GRACE: Duration = Duration::from_secs(2);
/// The first byte of a TLS handshake record (RFC 8446 §5.1); no method of HTTP begins with it.
const TLS_HANDSHAKE: u8 = 0x16;

/// Serves until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    router: Router,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(tls);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: accepting again at once would only burn a core.
                tracing::warn!(%error, "a connection to the HTTP port was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            metrics::counter!("sightline_http_connections_refused_total").increment(1);
            continue;
        };
        let (acceptor, router, stop) = (acceptor.clone(), router.clone(), stop.clone());
        tasks.spawn(async move {
            connection(stream, address, acceptor, router, stop).await;
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, address: SocketAddr, acceptor: TlsAcceptor, router: Router, stop: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let mut first = [0];
    let Ok(Ok(1)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, stream.peek(&mut first)).await else { return };
    if first != [TLS_HANDSHAKE] {
        return requests(stream, router, Peer { address, is_tls: false, subject: None }, stop).await;
    }
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let subject = peer_subject(stream.get_ref().1);
            requests(stream, router, Peer { address, is_tls: true, subject }, stop).await;
        }
        Ok(Err(error)) => tracing::info!(%address, %error, "TLS with an HTTP client failed"),
        Err(_) => tracing::info!(%address, "TLS with an HTTP client took too long"),
    }
}

async fn requests(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router, peer: Peer, stop: CancellationToken) {
    let address = peer.address;
    let service = router.map_request(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer.clone());
        request.extensions_mut().insert(ConnectInfo(peer.address));
        request
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIMEOUT)
        .max_buf_size(HEADERS_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            // A viewer's stream has no end of its own: it is cut.
            tokio::time::timeout(GRACE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%address, %error, "an HTTP connection ended");
    }
}
