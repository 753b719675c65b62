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
    http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header},
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
    let check = operators.check(bearer(headers));
    // No browser adds a token by itself: whose request shows it may come from any page.
    if check == TokenCheck::Right {
        return Ok(());
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    // A page of another site may send requests here from the operator's own browser; it can't hide where it comes from.
    if request.method() != Method::GET && headers.get(header::ORIGIN).is_some_and(|origin| !is_same_site(origin.to_str().ok(), host)) {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "CROSS_ORIGIN", "another site's page may not change anything here"));
    }
    let peer = request.extensions().get::<Peer>();
    if peer.is_some_and(|peer| peer.subject.as_ref().is_some_and(|subject| operators.takes(subject)))
        || operators.is_open_here() && is_local(request, host)
    {
        return Ok(());
    }
    // A name that resolves to 127.0.0.1 is how a foreign page would reach this API (DNS rebinding).
    if operators.is_open_here() && check == TokenCheck::Missing && !is_this_machine(host) {
        let message = "without the operator's token (data_dir/operator.token) the API answers to localhost, 127.0.0.1 and [::1] only";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "HOST_NOT_LOCAL", message));
    }
    let message = match check {
        TokenCheck::Wrong | TokenCheck::Right => "the operator's token is not this one",
        TokenCheck::Missing => {
            "show the operator's token (data_dir/operator.token) as Authorization: Bearer, or the operator's certificate"
        }
    };
    Err(ApiError::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message))
}

/// Whether a request plainly comes from this machine, not from a page of another site and not through a proxy, which brings anyone.
///
/// nginx's `proxy_pass` with its defaults says `Host: 127.0.0.1:PORT` and nothing of whom it asks for; what shows it is HTTP/1.0.
/// Caddy and others add a header. A page of another site has its name in `Origin` or `Referer`, and a name that resolves to 127.0.0.1
/// (DNS rebinding) in `Host`.
fn is_local(request: &Request, host: &str) -> bool {
    let headers = request.headers();
    let is_forwarded = headers.keys().any(|name| FORWARDING.iter().any(|prefix| name.as_str().starts_with(prefix)));
    let is_foreign = |name| headers.get(name).is_some_and(|url: &HeaderValue| !is_this_machine(host_of(url.to_str().unwrap_or_default())));
    is_this_machine(host)
        && headers.get_all(header::HOST).iter().count() == 1
        && request.version() != Version::HTTP_10
        && !is_forwarded
        && !is_foreign(header::ORIGIN)
        && !is_foreign(header::REFERER)
        && headers.get("sec-fetch-site").is_none_or(|site| site != "cross-site")
}

/// How the headers begin by which proxies tell of whom they ask for.
const FORWARDING: [&str; 8] =
    ["forwarded", "x-forwarded", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "via", "cf-", "true-client-ip"];

/// `host:port` of a URL.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
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
        assert_eq!((host_of("http://a:1/b?c"), host_of("null"), host_of("")), ("a:1", "", ""));
        assert!(is_same_site(Some("http://localhost:8080"), "localhost:8080"));
        assert!(!is_same_site(Some("http://evil.example"), "localhost:8080"));
        assert!(!is_same_site(Some("null"), "localhost:8080"));
    }

    #[test]
    fn a_request_that_a_proxy_or_another_page_has_sent_is_not_local() {
        let request = |fields: &[(&str, &str)]| {
            let builder = fields.iter().fold(Request::builder(), |builder, (name, value)| builder.header(*name, *value));
            builder.body(axum::body::Body::empty()).unwrap()
        };
        let host = ("host", "127.0.0.1:8080");
        let is = |fields: &[(&str, &str)]| is_local(&request(&[&[host], fields].concat()), host.1);
        assert!(is(&[]) && is(&[("origin", "http://localhost:8080"), ("referer", "http://127.0.0.1:8080/#/")]));
        assert!(is(&[("sec-fetch-site", "same-origin")]));
        for field in [
            ("forwarded", "for=10.0.0.9"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-real-ip", "10.0.0.9"),
            ("via", "1.1 caddy"),
            ("cf-connecting-ip", "10.0.0.9"),
            ("origin", "http://evil.example"),
            ("origin", "null"),
            ("referer", "http://evil.example/localhost"),
            ("sec-fetch-site", "cross-site"),
            ("host", "localhost"),
        ] {
            assert!(!is(&[field]), "{field:?}");
        }
        let mut old = request(&[host]);
        *old.version_mut() = Version::HTTP_10;
        assert!(!is_local(&old, host.1), "nginx's default");
    }
}
