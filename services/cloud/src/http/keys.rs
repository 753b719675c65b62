//! `/.well-known/jwks.json`.

use crate::identity::signing_keys::SigningKeys;
use axum::{Json, extract::State};
use sightline_signal::report::Jwks;

pub(super) async fn jwks(State(keys): State<SigningKeys>) -> Json<Jwks> {
    Json(keys.jwks())
}
