//! `POST /stream/request`: the seed's HTTP path to the allocator.

use super::access::{Peer, bearer};
use crate::{
    admin::sha256,
    allocator::{Identity, http_status},
    authority::Subject,
    state::State,
};
use axum::{
    Extension, Json,
    body::Bytes,
    extract::State as Shared,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use std::sync::Arc;

pub(super) async fn request(
    Shared(state): Shared<Arc<State>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let identity = identify(&state, &peer, &headers).await;
    let answer = state.allocator.handle_request(&identity, &body).await;
    let status = StatusCode::from_u16(http_status(&answer)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, [(header::CACHE_CONTROL, "no-store")], Json(&answer)).into_response();
    if let Some(seconds) = answer.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// The certificate counts; a bearer token only where there is none.
async fn identify(state: &State, peer: &Peer, headers: &HeaderMap) -> Identity {
    let found = match (&peer.subject, bearer(headers)) {
        (Some(Subject::Device { id, issued_at_ms }), _) => {
            let device = state.database.device(id).await;
            device.map(|device| device.filter(|device| device.takes_certificate(*issued_at_ms)))
        }
        (Some(Subject::Operator), _) | (None, None) => Ok(None),
        (None, Some(token)) => state.database.device_by_token(&sha256(token)).await,
    };
    match found {
        Ok(Some(device)) => Identity::Device(device.id),
        Ok(None) => {
            tracing::info!(address = %peer.address, is_tls = peer.is_tls, "a stream request without a known identity");
            Identity::Unknown
        }
        Err(error) => {
            tracing::error!(%error, "a device could not be looked up");
            Identity::Unknown
        }
    }
}
