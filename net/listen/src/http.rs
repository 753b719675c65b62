//! HTTP/1.1 on a connection that is through the door.
//!
//! A connection is pending while no request of it is being answered: a slow head, and one that only waits for a next request, go first when
//! others come.

use crate::admission::Permit;
use crate::body::{AnswerEnd, Answered, Paced};
use crate::neighbour::Proxies;
use crate::phase::Phase;
use crate::stall::{Guarded, Patience};
use axum::{
    Router,
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, net::IpAddr, net::SocketAddr, sync::Arc, time::Duration};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// Time from a request's first byte to the end of its head: a slow uplink needs a few seconds.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request's body may take before any of it counts: the same uplink.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may be idle between two requests.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest head, in bytes: hyper's buffer.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// The most header fields of a request.
const FIELDS_MAX: usize = 64;
/// How long a connection may still take for its answer after the shutdown.
const GRACE: Duration = Duration::from_secs(2);
/// The header in which proxies name their client.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// What holds for all connections of a port.
#[derive(Clone, Debug)]
pub struct Rules {
    /// A connection that takes nothing for this long while there is something to write is cut.
    pub stuck: Duration,
    /// Whose word on the client's address is taken.
    pub proxies: Proxies,
}

/// Who has connected.
#[derive(Debug)]
pub struct Caller<P> {
    /// The other end's address.
    pub address: SocketAddr,
    /// Its place.
    pub permit: Permit,
    /// Each request carries it as an extension.
    pub peer: P,
}

/// Whom a request comes from, for limits by address: the connection's address, or the one that a trusted proxy names. Each request carries
/// it as an extension.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientAddress(pub IpAddr);

/// Serves one connection until it ends.
pub async fn serve<P: Clone + Send + Sync + 'static>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    caller: Caller<P>,
    rules: &Rules,
    shutdown: CancellationToken,
) {
    let patience = Patience { stuck: rules.stuck, idle: IDLE_TIMEOUT, head: HEAD_TIMEOUT, body: BODY_TIMEOUT };
    serve_with(patience, stream, router, caller, &rules.proxies, shutdown).await;
}

async fn serve_with<P: Clone + Send + Sync + 'static>(
    patience: Patience,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    Caller { address, permit, peer }: Caller<P>,
    proxies: &Proxies,
    shutdown: CancellationToken,
) {
    let phase = Arc::new(Phase::new(permit));
    let stream = TokioIo::new(Guarded::new(stream, patience, phase.clone()));
    let service = service_fn(move |mut request: Request<Incoming>| {
        phase.begin_answer();
        let client = ClientAddress(client_of(address.ip(), request.headers(), proxies));
        let place = phase.permit().enter_request(client.0).transpose();
        let (router, phase) = (router.clone(), phase.clone());
        request.extensions_mut().insert(peer.clone());
        request.extensions_mut().insert(client);
        async move {
            let Ok(place) = place else {
                drop(AnswerEnd::new(phase, None));
                return Ok::<_, Infallible>(too_many());
            };
            // Held from here on: a client that goes away ends its answer too.
            let end = AnswerEnd::new(phase, place);
            let Ok(response) = router.oneshot(request.map(|body| Body::new(Paced::new(body, patience.body)))).await;
            Ok(response.map(|body| Body::new(Answered::new(body, end))))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // The timer of the socket ends it first; this one ends what is in hyper's buffer already.
        .header_read_timeout(IDLE_TIMEOUT + HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(FIELDS_MAX)
        .serve_connection(stream, service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            // A viewer's stream has no end of its own: it is cut.
            tokio::time::timeout(GRACE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%address, %error, "an HTTP connection ended");
    }
}

fn client_of(peer: IpAddr, headers: &HeaderMap, proxies: &Proxies) -> IpAddr {
    if !proxies.contains(peer) {
        return peer;
    }
    let lines = headers.get_all(FORWARDED_FOR);
    let lines: Vec<&str> = lines.iter().map(|line| line.to_str().unwrap_or_default()).collect();
    proxies.client(lines.into_iter()).unwrap_or(peer)
}

/// To a client behind a proxy that has all its places.
fn too_many() -> Response {
    let body = r#"{"error_code":"TOO_MANY_CONNECTIONS","error_message":"too many requests of this address are under way; try again when they have ended"}"#;
    let mut response = (StatusCode::TOO_MANY_REQUESTS, body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
