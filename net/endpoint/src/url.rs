//! An endpoint's address.

use serde::Deserialize;
use std::fmt;

/// An endpoint's address, http(s)://…. User, password and query are secrets: neither `Debug` nor `Display` shows them.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct EndpointUrl(String);

impl From<&str> for EndpointUrl {
    fn from(url: &str) -> Self {
        Self(url.to_owned())
    }
}

impl EndpointUrl {
    /// Whether it is an address of HTTP's with a host.
    #[must_use]
    pub fn is_http(&self) -> bool {
        self.uri().is_some()
    }

    /// The address itself; `None`: it is none of HTTP's.
    pub(crate) fn uri(&self) -> Option<axum::http::Uri> {
        let uri: axum::http::Uri = self.0.parse().ok()?;
        (matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())).then_some(uri)
    }

    /// The server that it is on, `scheme://host:port`: what is away together. Without secrets.
    #[must_use]
    pub fn server(&self) -> String {
        let Some(uri) = self.uri() else { return String::new() };
        let port = uri.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{}{port}", uri.scheme_str().unwrap_or_default(), uri.host().unwrap_or_default())
    }

    /// With its secrets, for who connects to it or keeps it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.uri() {
            Some(uri) => write!(f, "{}{}", self.server(), uri.path()),
            None => f.write_str("***"),
        }
    }
}

impl fmt::Debug for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_s_secrets_are_never_shown() {
        for url in ["http://u:hunter2@h:8000/auth?key=hunter2", "https://h/auth?hunter2", "hunter2"] {
            let url = EndpointUrl::from(url);
            assert!(!format!("{url} {url:?}").contains("hunter2"), "{url}");
        }
        assert_eq!(EndpointUrl::from("http://u:p@h:8000/auth?key=x").to_string(), "http://h:8000/auth");
        assert_eq!(EndpointUrl::from("https://u:p@h/auth?key=x").server(), "https://h");
        for wrong in ["ftp://h/x", "h/x", "http:///x", ""] {
            assert!(!EndpointUrl::from(wrong).is_http(), "{wrong}");
        }
    }
}
