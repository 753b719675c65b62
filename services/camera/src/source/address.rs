//! A camera's URL, which may hold its password.

use url::Url;

/// The URL of a network camera. `Debug` and `Display` show scheme, host, port and path only: user, password and query (where some cameras
/// want both) may be secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct CameraUrl(Url);

impl CameraUrl {
    /// Reads a URL of one of `schemes`.
    ///
    /// The error says what is wrong, never the URL itself.
    pub(crate) fn parse(url: &str, schemes: &[&str]) -> Result<Self, String> {
        let parsed = Url::parse(url).map_err(|error| error.to_string())?;
        if !schemes.contains(&parsed.scheme()) || parsed.host_str().is_none_or(str::is_empty) {
            return Err("it names no host".to_owned());
        }
        Ok(Self(parsed))
    }

    /// The whole URL, with what it hides. For settings that are handed on, never for people.
    pub(crate) fn reveal(&self) -> &str {
        self.0.as_str()
    }

    /// The URL without user and password, as a request names it.
    pub(crate) fn for_request(&self) -> Url {
        let mut url = self.0.clone();
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
        for secret in [self.0.query().unwrap_or_default(), password, self.0.password().unwrap_or_default(), user, self.0.username()] {
            if !secret.is_empty() {
                text = text.replace(secret, "***");
            }
        }
        text
    }

    /// Host and port, where one is named.
    pub(crate) fn host_and_port(&self) -> (&str, Option<u16>) {
        (self.0.host_str().unwrap_or_default(), self.0.port_or_known_default())
    }

    /// User and password, where the URL has them; percent signs are decoded.
    pub(crate) fn credentials(&self) -> Option<(String, String)> {
        let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        let has_any = !self.0.username().is_empty() || self.0.password().is_some();
        has_any.then(|| (decoded(self.0.username()), decoded(self.0.password().unwrap_or_default())))
    }
}

impl std::fmt::Display for CameraUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.0.host_str().unwrap_or_default())?;
        if let Some(port) = self.0.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(self.0.path())
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
            let error = CameraUrl::parse(url, &["rtsp"]).unwrap_err();
            assert!(!error.contains("secret") && !error.contains("word"), "{error}");
        }
        assert_eq!(CameraUrl::parse("http://host/", &["http"]).unwrap().credentials(), None);
    }
}
