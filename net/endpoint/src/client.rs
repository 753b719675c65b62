//! The way to an endpoint. A name is resolved once a connection, and what it resolves to is what is connected to.

use crate::url::EndpointUrl;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use axum::http::{Request, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Hyper;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioExecutor;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

/// What of an answer's body is read before it is let go: none of it counts.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Why an endpoint was not reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Its address is none of HTTP's.
    #[error("it is no http:// or https:// address")]
    Address,
    /// Nothing can be checked here.
    #[error("the system has no authorities to check an https:// endpoint with: install ca-certificates")]
    NoAuthorities,
    /// It has a private address, and the settings do not allow that.
    #[error("{host} is a private address: set {setting} where that is meant")]
    Private {
        /// The address.
        host: String,
        /// What allows it.
        setting: &'static str,
    },
    /// There is no connection, or it broke.
    #[error("{0}")]
    Connection(#[from] hyper_util::client::legacy::Error),
    /// Its answer broke off, or is longer than is read.
    #[error("its answer broke off, or has more than {bytes_max} bytes")]
    Answer {
        /// As much is read.
        bytes_max: usize,
    },
    /// A header or the address has characters that HTTP has not.
    #[error("the request can't be made: {0}")]
    Request(#[from] axum::http::Error),
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its header `Location`.
    pub location: Option<String>,
}

/// What is asked of an endpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// By POST.
    Post {
        /// The body's type, and other headers.
        headers: Vec<(&'static str, String)>,
        /// The body.
        body: Bytes,
    },
    /// By GET, with this behind the address's own query.
    Get {
        /// `key=value&…`
        query: String,
    },
}

/// Asks endpoints. Clones share the connections.
#[derive(Clone)]
pub struct Client {
    allow_private: bool,
    setting: &'static str,
    /// `None`: the system has no authorities.
    hyper: Option<Hyper<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("allow_private", &self.allow_private).finish_non_exhaustive()
    }
}

impl Client {
    /// Whether it connects to private addresses, and the setting's name, which errors name.
    #[must_use]
    pub fn new(allow_private: bool, setting: &'static str) -> Self {
        let mut connector = HttpConnector::new_with_resolver(Resolver { allow_private, setting });
        connector.enforce_http(false);
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let https = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider).ok();
        let https = https.map(|builder| builder.https_or_http().enable_http1().wrap_connector(connector));
        Self { allow_private, setting, hyper: https.map(|https| Hyper::builder(TokioExecutor::new()).build(https)) }
    }

    /// Asks once. A redirect is an answer.
    ///
    /// # Errors
    /// [`ClientError`]: there was none.
    pub async fn send(&self, url: &EndpointUrl, ask: Ask) -> Result<Reply, ClientError> {
        let uri = url.uri().ok_or(ClientError::Address)?;
        self.check_literal(&uri)?;
        let hyper = self.hyper.as_ref().ok_or(ClientError::NoAuthorities)?;
        let credentials = uri.authority().and_then(|authority| authority.as_str().rsplit_once('@')).map(|(user, _)| STANDARD.encode(user));
        let (mut request, body) = match ask {
            Ask::Post { headers, body } => {
                let request = Request::post(without_user(url.reveal()));
                (headers.into_iter().fold(request, |request, (name, value)| request.header(name, value)), body)
            }
            Ask::Get { query } => {
                let glue = if uri.query().is_some() { '&' } else { '?' };
                (Request::get(format!("{}{glue}{query}", without_user(url.reveal()))), Bytes::new())
            }
        };
        if let Some(credentials) = credentials {
            request = request.header(AUTHORIZATION, format!("Basic {credentials}"));
        }
        let answer = hyper.request(request.body(Full::from(body))?).await?;
        let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok()).map(str::to_owned);
        let status = answer.status().as_u16();
        // So that the connection can be used again.
        let _ = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok(Reply { status, location })
    }

    /// Fetches what is at an address: its status, and its body if that is not longer than `bytes_max`.
    ///
    /// # Errors
    /// [`ClientError`]: there was no answer, or it was too long.
    pub async fn fetch(&self, url: &EndpointUrl, bytes_max: usize) -> Result<(u16, Bytes), ClientError> {
        self.exchange(url, None, bytes_max).await
    }

    /// Posts JSON to an address, and gives what it answers, as [`Self::fetch`] does.
    ///
    /// # Errors
    /// As [`Self::fetch`].
    pub async fn post(&self, url: &EndpointUrl, json: Bytes, bytes_max: usize) -> Result<(u16, Bytes), ClientError> {
        self.exchange(url, Some(json), bytes_max).await
    }

    async fn exchange(&self, url: &EndpointUrl, json: Option<Bytes>, bytes_max: usize) -> Result<(u16, Bytes), ClientError> {
        let uri = url.uri().ok_or(ClientError::Address)?;
        self.check_literal(&uri)?;
        let hyper = self.hyper.as_ref().ok_or(ClientError::NoAuthorities)?;
        let request = match json {
            Some(json) => Request::post(uri).header(CONTENT_TYPE, "application/json").body(Full::from(json)),
            None => Request::get(uri).body(Full::default()),
        };
        let answer = hyper.request(request?).await?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), bytes_max).collect().await;
        Ok((status, body.map_err(|_| ClientError::Answer { bytes_max })?.to_bytes()))
    }

    /// An address instead of a name is not resolved: it is looked at here.
    fn check_literal(&self, uri: &Uri) -> Result<(), ClientError> {
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        match host.parse::<IpAddr>() {
            Ok(address) if !self.allow_private && is_private(address) => {
                Err(ClientError::Private { host: host.to_owned(), setting: self.setting })
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// hyper takes no user in an address.
fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let path = if path.starts_with('?') { format!("/{path}") } else { path.to_owned() };
    format!("{scheme}://{}{path}", authority.rsplit('@').next().unwrap_or_default())
}

/// Loopback, link-local, private and shared networks, and what is no unicast address.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_multicast()
                || v4.is_broadcast()
                || first == 0
                || (first == 100 && second & 0xc0 == 64)
        }
        IpAddr::V6(v6) => {
            v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() || v6.is_unique_local() || v6.is_unicast_link_local()
        }
    }
}

/// Resolves a name, and leaves the addresses out that may not be connected to.
#[derive(Clone)]
struct Resolver {
    allow_private: bool,
    setting: &'static str,
}

impl tower_service::Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let Self { allow_private, setting } = *self;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> = found.into_iter().filter(|address| allow_private || !is_private(address.ip())).collect();
            if allowed.is_empty() {
                return Err(io::Error::other(format!("it resolves to private addresses alone: set {setting} where that is meant")));
            }
            Ok(allowed.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_told_from_others_however_they_are_written() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_private(private.parse().unwrap()), "{private}");
        }
        for public in ["192.0.2.1", "8.8.8.8", "100.128.0.1", "172.32.0.1", "2001:db8::1"] {
            assert!(!is_private(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn a_user_in_an_address_goes_into_a_header() {
        assert_eq!(without_user("http://u:p@h:80/a?b"), "http://h:80/a?b");
        assert_eq!(without_user("http://h"), "http://h");
        assert_eq!(without_user("http://u@h?b"), "http://h/?b");
    }

    #[tokio::test]
    async fn no_request_goes_to_a_private_address_unless_that_is_allowed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = Client::new(false, "a.setting");
        for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
            let url = EndpointUrl::from(format!("http://{host}:{port}/x").as_str());
            let refused = client.send(&url, Ask::Get { query: String::new() }).await.unwrap_err();
            let said = format!("{refused} {refused:?}");
            assert!(said.contains("private") && said.contains("a.setting"), "{said}");
        }
        let nobody = tokio::time::timeout(std::time::Duration::from_millis(100), listener.accept()).await;
        assert!(nobody.is_err(), "nothing was connected to");
    }
}
