//! `/.well-known/jwks.json`.

use crate::identity::signing_keys::SigningKeys;
use axum::{Json, extract::State};
use sightline_signal::report::Jwks;

/// The public keys that stream tokens are checked with (RFC 7517).
#[utoipa::path(get, path = "/.well-known/jwks.json", operation_id = "jwks", responses((status = 200, description = "The set", body = Jwks)))]
pub(super) async fn jwks(State(keys): State<SigningKeys>) -> Json<Jwks> {
    Json(keys.jwks())
}
