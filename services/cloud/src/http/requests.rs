//! `POST /stream/request`: the specification's HTTP path to the allocator.

use super::access::{Peer, bearer};
use super::extract::Id;
use crate::{
    allocate::allocator::{Allocator, Identity},
    clock::Clock,
    devices::renewals::Renewals,
    identity::authority::Subject,
    secrets::sha256,
    store::Store,
};
use axum::{
    Extension, Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use sightline_listen::Rarely;
use sightline_signal::{CertificateRequest, CertificateResponse, DeviceId, ErrorCode, Text};
use std::sync::Arc;

/// Where shall this device stream?
///
/// As `devices/{id}/stream/request` over MQTT. `retry_after` is a header, too.
#[utoipa::path(post, path = "/stream/request", operation_id = "request_stream", request_body = sightline_signal::Request, responses(
    (status = 200, description = "Servers, a name and a token", body = sightline_signal::Response),
    (status = 400, description = "`BAD_REQUEST`", body = sightline_signal::Response),
    (status = 401, description = "`UNAUTHORIZED`", body = sightline_signal::Response),
    (status = 403, description = "`PERMISSION_DENIED`", body = sightline_signal::Response),
    (status = 409, description = "`INVALID_QUALITY`", body = sightline_signal::Response),
    (status = 429, description = "`SERVER_OVERLOADED`", body = sightline_signal::Response),
    (status = 503, description = "`NO_SERVER_AVAILABLE`", body = sightline_signal::Response),
))]
pub(super) async fn request(
    State(allocator): State<Arc<Allocator>>,
    State(store): State<Store>,
    State(clock): State<Clock>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let identity = identify(&store, &clock, &peer, &headers).await;
    let answer = allocator.handle_request(&identity, &body).await;
    answered(answer.error_code, answer.retry_after, &answer)
}

/// A device's next certificate, for a key of its own.
///
/// What `certificate/request` is by MQTT, for a device that has no broker, or whose certificate has ended: its bearer token proves it, too.
#[utoipa::path(post, path = "/api/v1/devices/{id}/certificate", operation_id = "renew_certificate", params(("id" = DeviceId, Path)), request_body = CertificateRequest, responses(
    (status = 200, description = "The certificate, and when it ends", body = CertificateResponse),
    (status = 400, description = "`BAD_REQUEST`", body = CertificateResponse),
    (status = 401, description = "`UNAUTHORIZED`", body = CertificateResponse),
    (status = 403, description = "`PERMISSION_DENIED`: denied, or too early", body = CertificateResponse),
    (status = 429, description = "`SERVER_OVERLOADED`: too often", body = CertificateResponse),
    (status = 503, description = "The database can't do that now", body = CertificateResponse),
))]
pub(super) async fn certificate(
    State(renewals): State<Arc<Renewals>>,
    State(store): State<Store>,
    State(clock): State<Clock>,
    Extension(peer): Extension<Peer>,
    Id(id): Id,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let issued_at_ms = match &peer.subject {
        Some(Subject::Device { issued_at_ms, .. }) => Some(*issued_at_ms),
        Some(Subject::Operator { .. }) | None => None,
    };
    let answer = match identify(&store, &clock, &peer, &headers).await {
        Identity::Device(device) if device.as_str() == id => renewals.handle_message(&device, issued_at_ms, &body).await,
        Identity::Device(_) | Identity::Unknown => {
            let message = "show this device's own certificate, or its token as Authorization: Bearer";
            CertificateResponse::refused(Text::new(), ErrorCode::Unauthorized, message, None)
        }
    };
    answered(answer.error_code, answer.retry_after, &answer)
}

/// An answer of the specification, with what it says about itself in status and header.
fn answered(error_code: Option<ErrorCode>, retry_after_secs: Option<u32>, answer: &impl Serialize) -> Response {
    let mut response = (status_of(error_code), [(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response();
    if let Some(seconds) = retry_after_secs {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// The certificate counts; a bearer token only where there is no certificate.
async fn identify(store: &Store, clock: &Clock, peer: &Peer, headers: &HeaderMap) -> Identity {
    let found = match (&peer.subject, bearer(headers)) {
        (Some(Subject::Device { id, issued_at_ms }), _) => {
            let device = store.device(id).await;
            device.map(|device| device.filter(|device| device.takes_certificate(*issued_at_ms, clock.unix_millis())))
        }
        (Some(Subject::Operator { .. }), _) | (None, None) => Ok(None),
        (None, Some(token)) => store.device_by_token(&sha256(token)).await,
    };
    match found {
        Ok(Some(device)) => Identity::Device(device.id),
        Ok(None) => {
            metrics::counter!("sightline_stream_requests_without_identity_total").increment(1);
            UNKNOWN.write(|others| {
                tracing::info!(address = %peer.address, is_tls = peer.is_tls, others, "a stream request without a known identity");
            });
            Identity::Unknown
        }
        Err(error) => {
            tracing::error!(%error, "a device could not be looked up");
            Identity::Unknown
        }
    }
}

/// Strangers may ask as often as they like: one line stands for all.
static UNKNOWN: Rarely = Rarely::new();

/// The status of an answer (specification §3).
fn status_of(error_code: Option<ErrorCode>) -> StatusCode {
    match error_code {
        None => StatusCode::OK,
        Some(ErrorCode::BadRequest) => StatusCode::BAD_REQUEST,
        Some(ErrorCode::Unauthorized) => StatusCode::UNAUTHORIZED,
        Some(ErrorCode::PermissionDenied) => StatusCode::FORBIDDEN,
        Some(ErrorCode::InvalidQuality) => StatusCode::CONFLICT,
        Some(ErrorCode::ServerOverloaded) => StatusCode::TOO_MANY_REQUESTS,
        Some(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}
