//! Who a request is from.

use super::{
    error::ApiError,
    person::{Person, Way},
};
use crate::{
    identity::{
        authority::Subject,
        operators::{Operators, TokenCheck},
    },
    people::sessions::Sessions,
    store::Store,
};
use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header},
    response::{IntoResponse, Response},
};
use sightline_listen::http::ClientAddress;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) is_tls: bool,
    /// Whom its certificate names.
    pub(super) subject: Option<Subject>,
}

/// The token of `Authorization: Bearer`.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The cookie of who has signed in.
pub(super) const COOKIE: &str = "sightline-session";

/// The value of that cookie.
pub(super) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let fields = headers.get_all(header::COOKIE).iter().filter_map(|field| field.to_str().ok());
    let mut pairs = fields.flat_map(|field| field.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

/// What of a request says who it is from.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    method: Method,
    version: Version,
    headers: HeaderMap,
    from: IpAddr,
    peer: Option<Peer>,
}

impl Asked {
    pub(super) fn of(request: &Request) -> Self {
        Self {
            method: request.method().clone(),
            version: request.version(),
            headers: request.headers().clone(),
            from: address(request),
            peer: request.extensions().get().cloned(),
        }
    }

    /// Its token, if it shows one so.
    pub(super) fn bearer(&self) -> Option<&str> {
        bearer(&self.headers)
    }

    fn is_local(&self) -> bool {
        is_local(&self.headers, self.version, host(&self.headers))
    }
}

/// Refuses what changes something and comes from a page of another site: it may send requests here from the browser of whoever has signed
/// in, and can't hide where it comes from.
pub(super) fn refuse_other_sites(asked: &Asked) -> Result<(), ApiError> {
    let headers = &asked.headers;
    if asked.method != Method::GET && headers.get(header::ORIGIN).is_some_and(|origin| !is_same_site(origin.to_str().ok(), host(headers))) {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "CROSS_ORIGIN", "another site's page may not change anything here"));
    }
    Ok(())
}

fn host(headers: &HeaderMap) -> &str {
    headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default()
}

/// By whom requests are known.
pub(super) struct Known<'a> {
    pub(super) operators: &'a Operators,
    pub(super) sessions: &'a Sessions,
    pub(super) store: &'a Store,
}

impl Known<'_> {
    /// Who asks: by token, by certificate, by a session's cookie, or, where the API asks for none, from this machine. `None`: nobody that
    /// is known here.
    pub(super) async fn person(&self, asked: &Asked) -> Result<Option<Person>, ApiError> {
        let (headers, from) = (&asked.headers, asked.from);
        let shown = bearer(headers);
        // No browser adds a token by itself: whose request shows it may come from any page.
        if self.operators.check(shown) == TokenCheck::Right {
            return Ok(Some(Person::operator(Way::Operator, from)));
        }
        if let Some(token) = shown
            && let Some(known) = self.sessions.of_token(token).await?
        {
            return Ok(Some(Person::user(known, from)));
        }
        refuse_other_sites(asked)?;
        if asked.peer.as_ref().is_some_and(|peer| peer.subject.as_ref().is_some_and(|subject| self.operators.takes(subject))) {
            return Ok(Some(Person::operator(Way::Operator, from)));
        }
        if let Some(cookie) = cookie(headers)
            && let Some(known) = self.sessions.of_cookie(cookie).await?
        {
            return Ok(Some(Person::user(known, from)));
        }
        if self.is_open_here().await? && asked.is_local() {
            return Ok(Some(Person::operator(Way::Here, from)));
        }
        Ok(None)
    }

    /// Whether who is plainly on this machine needs to show nothing: where there is no one to sign in, or the settings say so.
    async fn is_open_here(&self) -> Result<bool, ApiError> {
        Ok(self.operators.is_open_here() && (self.operators.stays_open_here() || !self.store.has_users().await?))
    }

    /// What nobody is told, and how to become somebody.
    pub(super) async fn refusal(&self, asked: &Asked) -> Response {
        let has_users = self.store.has_users().await.unwrap_or(true);
        let check = self.operators.check(asked.bearer());
        // A name that resolves to 127.0.0.1 is how a foreign page would reach this API (DNS rebinding).
        let is_open_here = self.operators.is_open_here() && (self.operators.stays_open_here() || !has_users);
        if is_open_here && check == TokenCheck::Missing && !is_this_machine(host(&asked.headers)) {
            let message = "without the operator's token (data_dir/operator.token) the API answers to localhost, 127.0.0.1 and [::1] only";
            return ApiError::new(StatusCode::FORBIDDEN, "HOST_NOT_LOCAL", message).into_response();
        }
        let message = match (check, has_users) {
            (TokenCheck::Wrong | TokenCheck::Right, false) => "the operator's token is not this one",
            (TokenCheck::Wrong | TokenCheck::Right, true) => "the token is not the operator's, and no user's API token that still lasts",
            (TokenCheck::Missing, false) => {
                "show the operator's token (data_dir/operator.token) as Authorization: Bearer, or the operator's certificate"
            }
            (TokenCheck::Missing, true) => {
                "sign in (POST /api/v1/session), or show an API token or the operator's token as Authorization: Bearer, or the operator's certificate"
            }
        };
        let mut response = ApiError::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message).into_response();
        // A page learns from it whether there are names to sign in with. Browsers ask nobody by themselves for these two.
        let ways = if has_users { "Session realm=\"sightline\", Bearer realm=\"sightline\"" } else { "Bearer realm=\"sightline\"" };
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(ways));
        response
    }
}

/// Whom a request comes from: what a trusted proxy says, or the connection's other end.
pub(super) fn address(request: &Request) -> IpAddr {
    let client = request.extensions().get::<ClientAddress>().map(|ClientAddress(address)| *address);
    let peer = || request.extensions().get::<Peer>().map(|peer| peer.address.ip());
    client.or_else(peer).unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
}

/// Whether a request plainly comes from this machine, not from a page of another site and not through a proxy, which brings anyone.
///
/// nginx's `proxy_pass` with its defaults says `Host: 127.0.0.1:PORT` and nothing of whom it asks for; what shows it is HTTP/1.0.
/// Caddy and others add a header. A page of another site has its name in `Origin` or `Referer`, and a name that resolves to 127.0.0.1
/// (DNS rebinding) in `Host`.
fn is_local(headers: &HeaderMap, version: Version, host: &str) -> bool {
    let is_forwarded = headers.keys().any(|name| FORWARDING.iter().any(|prefix| name.as_str().starts_with(prefix)));
    let is_foreign = |name| headers.get(name).is_some_and(|url: &HeaderValue| !is_this_machine(host_of(url.to_str().unwrap_or_default())));
    is_this_machine(host)
        && headers.get_all(header::HOST).iter().count() == 1
        && version != Version::HTTP_10
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
    fn the_session_s_cookie_is_found_among_others_and_no_other_one_is_taken_for_it() {
        let found = |fields: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(header::COOKIE, HeaderValue::from_static(field));
            }
            cookie(&headers).map(str::to_owned)
        };
        assert_eq!(found(&["a=b; sightline-session=c; d=e"]), Some("c".into()));
        assert_eq!(found(&["a=b", "sightline-session=c"]), Some("c".into()));
        assert_eq!(found(&["xsightline-session=c; sightline-sessions=d; sightline-session"]), None);
    }

    #[test]
    fn a_request_that_a_proxy_or_another_page_has_sent_is_not_local() {
        let request = |fields: &[(&str, &str)]| {
            let builder = fields.iter().fold(Request::builder(), |builder, (name, value)| builder.header(*name, *value));
            builder.body(axum::body::Body::empty()).unwrap()
        };
        let host = ("host", "127.0.0.1:8080");
        let is = |fields: &[(&str, &str)]| {
            let request = request(&[&[host], fields].concat());
            is_local(request.headers(), request.version(), host.1)
        };
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
        assert!(!is_local(old.headers(), old.version(), host.1), "nginx's default");
    }
}
