//! HTTP/1.1 on a connection that is through the door.

use crate::stall::Guarded;
use axum::{Router, body::Body};
use hyper::{Request, body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{net::SocketAddr, time::Duration};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// Time for the head of a request. An idle connection is closed after it as well.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest head, in bytes: hyper's buffer.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// The most header fields of a request.
const FIELDS_MAX: usize = 64;
/// How long a connection may still take for its answer after the shutdown.
const GRACE: Duration = Duration::from_secs(2);

/// Serves one connection until it ends. Each request carries `peer` as an extension.
///
/// `stuck`: a connection that takes nothing for this long while there is something to write is cut; `None`: it is not.
pub async fn serve<P: Clone + Send + Sync + 'static>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    (address, peer): (SocketAddr, P),
    stuck: Option<Duration>,
    shutdown: CancellationToken,
) {
    let ended = match stuck {
        Some(limit) => requests(Guarded::new(stream, limit), router, peer, shutdown).await,
        None => requests(stream, router, peer, shutdown).await,
    };
    if let Err(error) = ended {
        tracing::debug!(%address, %error, "an HTTP connection ended");
    }
}

async fn requests<P: Clone + Send + Sync + 'static>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    peer: P,
    shutdown: CancellationToken,
) -> Result<(), hyper::Error> {
    let service = router.map_request(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer.clone());
        request
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(FIELDS_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            // A viewer's stream has no end of its own: it is cut.
            tokio::time::timeout(GRACE, connection).await.unwrap_or(Ok(()))
        }
    }
}
