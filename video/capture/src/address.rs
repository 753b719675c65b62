//! A camera's URL, which may hold its password.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use url::Url;

use crate::pins::Pins;

/// The URL of a network camera. `Debug` and `Display` show scheme, host, port and path only: user, password and query (where some cameras
/// want both) may be secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct CameraUrl {
    url: Url,
    /// The authority that its certificate must come from, where it is not one of the machine's.
    ca: Option<PathBuf>,
    /// The certificates that cameras have signed themselves.
    pins: Arc<Pins>,
    /// Where a smaller stream of the same camera is.
    sub: Option<Box<CameraUrl>>,
}

/// Why a text is no URL of a camera. Never repeats the text, which may hold a password.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CameraUrlError {
    /// It does not parse.
    #[error(transparent)]
    Url(#[from] url::ParseError),
    /// It names no host.
    #[error("it names no host")]
    NoHost,
}

impl CameraUrl {
    /// Reads a URL of one of `schemes`.
    ///
    /// # Errors
    /// [`CameraUrlError`]
    pub(crate) fn parse(url: &str, schemes: &[&str]) -> Result<Self, CameraUrlError> {
        let parsed = Url::parse(url)?;
        if !schemes.contains(&parsed.scheme()) || parsed.host_str().is_none_or(str::is_empty) {
            return Err(CameraUrlError::NoHost);
        }
        Ok(Self { url: parsed, ca: None, pins: Arc::new(Pins::open(None)), sub: None })
    }

    /// Names where a smaller stream of the same camera is. User and password are those of the first where it has none.
    pub(crate) fn second(&mut self, mut sub: Self) {
        if sub.credentials().is_none() {
            // Both fail only for URLs without a host, which `parse` refuses.
            let _ = sub.url.set_username(self.url.username());
            let _ = sub.url.set_password(self.url.password());
        }
        self.sub = Some(Box::new(sub));
    }

    /// Without the other.
    pub(crate) fn alone(&self) -> Self {
        Self { sub: None, ..self.clone() }
    }

    pub(crate) fn sub(&self) -> Option<&Self> {
        self.sub.as_deref()
    }

    /// The whole URL, with what it hides. For settings that are handed on, never for people.
    pub(crate) fn reveal(&self) -> &str {
        self.url.as_str()
    }

    /// The URL without user and password, as a request names it.
    pub(crate) fn for_request(&self) -> Url {
        let mut url = self.url.clone();
        // Both fail only for URLs without a host, which `parse` refuses.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_fragment(None);
        url
    }

    /// A text of others about this camera, without what may be secret.
    pub(crate) fn scrub(&self, text: &str) -> String {
        let mut text = text.to_owned();
        let credentials = self.credentials();
        let (user, password) = credentials.as_ref().map_or(("", ""), |(user, password)| (user, password));
        for secret in [self.url.query().unwrap_or_default(), password, self.url.password().unwrap_or_default(), user, self.url.username()] {
            if !secret.is_empty() {
                text = text.replace(secret, "***");
            }
        }
        text
    }

    /// Names the authority that its certificate must come from.
    pub(crate) fn trust(&mut self, ca: &Path) {
        self.ca = Some(ca.to_owned());
        self.sub.iter_mut().for_each(|sub| sub.trust(ca));
    }

    /// Names the file in which the certificates that cameras have signed themselves are kept.
    pub(crate) fn pin_in(&mut self, file: &Path) {
        self.pins = Arc::new(Pins::open(Some(file)));
        if let Some(sub) = &mut self.sub {
            sub.pins = self.pins.clone();
        }
    }

    pub(crate) fn pins(&self) -> Arc<Pins> {
        self.pins.clone()
    }

    pub(crate) fn ca(&self) -> Option<&Path> {
        self.ca.as_deref()
    }

    /// Whether it is reached by TLS.
    pub(crate) fn is_secure(&self) -> bool {
        matches!(self.url.scheme(), "rtsps" | "https")
    }

    /// The host as it is named.
    pub(crate) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// The host as it is looked up, and the port, with the scheme's own where none is named.
    pub(crate) fn address(&self) -> (&str, u16) {
        let default = match self.url.scheme() {
            "rtsps" => 322,
            "rtsp" => 554,
            "https" => 443,
            _ => 80,
        };
        (self.host().trim_matches(['[', ']']), self.url.port().unwrap_or(default))
    }

    /// User and password, where the URL has them; percent signs are decoded.
    pub(crate) fn credentials(&self) -> Option<(String, String)> {
        let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        let has_any = !self.url.username().is_empty() || self.url.password().is_some();
        has_any.then(|| (decoded(self.url.username()), decoded(self.url.password().unwrap_or_default())))
    }
}

impl std::fmt::Display for CameraUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.url.scheme(), self.url.host_str().unwrap_or_default())?;
        if let Some(port) = self.url.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(self.url.path())
    }
}

impl std::fmt::Debug for CameraUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CameraUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_password_and_query_are_never_shown() {
        let url = CameraUrl::parse("rtsp://admin:p%40ss@[::1]:8554/cam/1?password=query#x", &["rtsp"]).unwrap();
        assert_eq!(url.credentials(), Some(("admin".into(), "p@ss".into())));
        assert_eq!(url.for_request().as_str(), "rtsp://[::1]:8554/cam/1?password=query");
        let scrubbed = url.scrub("rtsp://[::1]:8554/cam/1 of admin p@ss p%40ss password=query");
        for shown in [url.to_string(), format!("{url:?}"), scrubbed] {
            assert!(shown.contains("rtsp://[::1]:8554/cam/1"), "{shown}");
            assert!(!shown.contains("ss@") && !shown.contains("admin") && !shown.contains("query"), "{shown}");
        }
    }

    #[test]
    fn an_error_does_not_repeat_the_url() {
        for url in ["rtsp://secret:word@", "rtsp://secret:word@host:99999/", "rtsp://"] {
            let error = CameraUrl::parse(url, &["rtsp"]).unwrap_err().to_string();
            assert!(!error.contains("secret") && !error.contains("word"), "{error}");
        }
        assert_eq!(CameraUrl::parse("http://host/", &["http"]).unwrap().credentials(), None);
    }

    #[test]
    fn each_scheme_has_its_port() {
        for (url, expected, is_secure) in [
            ("rtsps://host/1", ("host", 322), true),
            ("rtsps://[::1]:8322/1", ("::1", 8322), true),
            ("https://host/", ("host", 443), true),
            ("http://host/", ("host", 80), false),
            ("rtsp://host/", ("host", 554), false),
        ] {
            let url = CameraUrl::parse(url, &["rtsps", "https", "http", "rtsp"]).unwrap();
            assert_eq!((url.address(), url.is_secure()), (expected, is_secure), "{url}");
        }
    }
}
