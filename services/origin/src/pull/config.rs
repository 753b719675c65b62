//! Where an edge pulls from.

use axum::http::Uri;
use std::path::PathBuf;

/// How long a pull may go on for nobody, in seconds: an hour is a stream that is always there.
const LINGER_SEC: std::ops::RangeInclusive<u64> = 1..=3600;
/// How long an upstream may be silent, in seconds: less is a link's mood, more is a viewer's patience.
const SILENT_SEC: std::ops::RangeInclusive<u64> = 1..=60;
/// Origins that one edge asks.
const UPSTREAMS_MAX: usize = 16;

/// An origin that takes streams from other origins at the first viewer, and drops them after the last.
#[derive(Clone, PartialEq, Eq, Debug, confique::Config)]
pub struct Edge {
    /// The HTTP addresses of the origins that it pulls from, http(s)://HOST:PORT, in the order in which they are asked. With one or more this
    /// origin is an edge: the cloud gives it no cameras. Where the origins ask for a right to play, both have the same cloud.cluster_key_file.
    #[config(default = [], env = "SIGHTLINE_ORIGIN_EDGE_UPSTREAMS", parse_env = confique::env::parse::list_by_comma)]
    pub upstreams: Vec<String>,
    /// The authority that the certificates of https:// upstreams must come from (PEM). Unset: those that the system trusts.
    #[config(env = "SIGHTLINE_ORIGIN_EDGE_CA")]
    pub ca: Option<PathBuf>,
    /// How long a stream is still pulled when its last viewer has gone, in seconds: 1 to 3600.
    #[config(env = "SIGHTLINE_ORIGIN_EDGE_LINGER_SEC", default = 10)]
    pub linger_sec: u64,
    /// An upstream that sends nothing of a stream for this long is left for the next one, in seconds: 1 to 60, and more than a camera takes
    /// from one picture to the next.
    #[config(env = "SIGHTLINE_ORIGIN_EDGE_SILENT_SEC", default = 5)]
    pub silent_sec: u64,
}

impl Edge {
    /// Whether it is one.
    #[must_use]
    pub fn is_edge(&self) -> bool {
        !self.upstreams.is_empty()
    }

    /// What a start would fail on: the setting, and what is wrong with it.
    pub(crate) fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if self.upstreams.len() > UPSTREAMS_MAX {
            return Err(("edge.upstreams", "has more than 16 addresses"));
        }
        if self.upstreams.iter().any(|url| address(url).is_none()) {
            return Err(("edge.upstreams", "has an entry that is not http://HOST:PORT or https://HOST:PORT, without a path or a user"));
        }
        if !LINGER_SEC.contains(&self.linger_sec) {
            return Err(("edge.linger_sec", "is 1 to 3600"));
        }
        if SILENT_SEC.contains(&self.silent_sec) { Ok(()) } else { Err(("edge.silent_sec", "is 1 to 60")) }
    }
}

/// `scheme://host:port` of an address, as two that are one server have it; `None`: it is none, or has more than that.
pub(super) fn address(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let is_whole = matches!(uri.path(), "" | "/") && uri.query().is_none();
    server(&uri).filter(|_| is_whole)
}

/// The server of an address, whatever the path.
pub(super) fn server(uri: &Uri) -> Option<String> {
    let (scheme, host) = (uri.scheme_str()?, uri.host()?.to_ascii_lowercase());
    let usual = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let has_user = uri.authority()?.as_str().contains('@');
    (!host.is_empty() && !has_user).then(|| format!("{scheme}://{host}:{}", uri.port_u16().unwrap_or(usual)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_a_server_and_nothing_more() {
        for (url, is) in [
            ("http://a:8080", Some("http://a:8080")),
            ("https://A.example/", Some("https://a.example:443")),
            ("http://[::1]:8080", Some("http://[::1]:8080")),
            ("http://a:8080/live", None),
            ("http://u:p@a:8080", None),
            ("http://a?x", None),
            ("rtmp://a/live", None),
            ("a:8080", None),
            ("", None),
        ] {
            assert_eq!(address(url).as_deref(), is, "{url}");
        }
        assert_eq!(server(&"http://a:8080/live/x.flv?token=1".parse().unwrap()).as_deref(), Some("http://a:8080"));
    }
}
