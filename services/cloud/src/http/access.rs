//! Who a request is from, and whether it may use the operator's API.

use super::error::ApiError;
use crate::{
    identity::{
        authority::Subject,
        operators::{Operators, TokenCheck},
    },
    store::actor::{Actor, Channel},
};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::net::SocketAddr;

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) is_tls: bool,
    /// Whom its certificate names.
    pub(super) subject: Option<Subject>,
}

impl Peer {
    /// Whoever comes by the operator's API, as the audit log names it.
    pub(super) fn operator(&self) -> Actor {
        Actor::Operator(Channel::Http(self.address.ip()))
    }
}

/// The token of `Authorization: Bearer`.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Lets the operator through: by certificate, by token, or, where the API asks for none, from this machine.
pub(super) async fn operator_only(State(operators): State<Operators>, request: Request, next: Next) -> Response {
    match permit(&operators, &request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn permit(operators: &Operators, request: &Request) -> Result<(), ApiError> {
    let headers = request.headers();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    // A page of another site may send requests here from the operator's own browser; it can't hide where it comes from.
    if request.method() != Method::GET && headers.get(header::ORIGIN).is_some_and(|origin| !is_same_site(origin.to_str().ok(), host)) {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "CROSS_ORIGIN", "another site's page may not change anything here"));
    }
    let peer = request.extensions().get::<Peer>();
    if peer.is_some_and(|peer| matches!(peer.subject, Some(Subject::Operator { .. }))) {
        return Ok(());
    }
    match operators.check(bearer(headers)) {
        TokenCheck::Right => Ok(()),
        TokenCheck::Wrong => Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "UNAUTHORIZED",
            "show the operator's token as Authorization: Bearer, or the operator's certificate",
        )),
        TokenCheck::NotNeeded if is_this_machine(host) => Ok(()),
        // A name that resolves to 127.0.0.1 is how a foreign page would reach this API (DNS rebinding).
        TokenCheck::NotNeeded => Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "HOST_NOT_LOCAL",
            "without an operator token the API answers to localhost, 127.0.0.1 and [::1] only",
        )),
    }
}

fn is_same_site(origin: Option<&str>, host: &str) -> bool {
    origin.and_then(|origin| origin.split_once("://")).is_some_and(|(_, site)| site.eq_ignore_ascii_case(host))
}

/// Whether a Host header names this machine, with or without a port.
fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(address, _)| address),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name == "127.0.0.1" || name == "::1"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_s_own_names_are_local() {
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:8080"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "127.0.0.2", "[::2]", "::1x"] {
            assert!(!is_this_machine(host), "{host}");
        }
        assert!(is_same_site(Some("http://localhost:8080"), "localhost:8080"));
        assert!(!is_same_site(Some("http://evil.example"), "localhost:8080"));
        assert!(!is_same_site(Some("null"), "localhost:8080"));
    }
}
