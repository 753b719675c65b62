//! `rtmp(s)://host[:port]/app[/name[?query]]`.

use core::fmt;

/// RTMP's registered port.
pub const RTMP_PORT: u16 = 1935;
/// RTMPS where the URL names no port: that of HTTPS, as Facebook and others use it.
pub const RTMPS_PORT: u16 = 443;

/// An RTMP URL, borrowed. Its `name` may hold a token, and so may the application's query: `Debug` leaves both out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RtmpUrl<'a> {
    /// True for `rtmps`.
    pub tls: bool,
    /// Host name or address; an IPv6 address without its brackets.
    pub host: &'a str,
    /// The port; 1935 by default, with TLS 443.
    pub port: u16,
    /// The application, with its query if it has one; may be empty.
    pub app: &'a str,
    /// The stream's name with its query; may be empty.
    pub name: &'a str,
}

impl fmt::Debug for RtmpUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RtmpUrl")
            .field("tls", &self.tls)
            .field("host", &self.host)
            .field("port", &self.port)
            .field("app", &self.app.split('?').next().unwrap_or_default())
            .finish_non_exhaustive()
    }
}

/// Why a string is no RTMP URL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UrlError {
    /// It does not begin with `rtmp://` or `rtmps://`.
    Scheme,
    /// It names no host, an IPv6 address without its closing bracket, or a query before its path.
    Host,
    /// The port is not 1..=65535.
    Port,
    /// It holds white space or a control character.
    Character,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "an RTMP URL begins with rtmp:// or rtmps://",
            Self::Host => "the RTMP URL names no host",
            Self::Port => "the RTMP URL's port is not 1 to 65535",
            Self::Character => "the RTMP URL holds white space or a control character",
        })
    }
}

impl core::error::Error for UrlError {}

impl<'a> RtmpUrl<'a> {
    /// Takes a URL apart. What follows the first `/` after the application is the name, further slashes included.
    ///
    /// # Errors
    /// See [`UrlError`].
    pub fn parse(url: &'a str) -> Result<Self, UrlError> {
        if url.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err(UrlError::Character);
        }
        let (scheme, rest) = url.split_once("://").ok_or(UrlError::Scheme)?;
        let tls = match scheme {
            _ if scheme.eq_ignore_ascii_case("rtmp") => false,
            _ if scheme.eq_ignore_ascii_case("rtmps") => true,
            _ => return Err(UrlError::Scheme),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = split_authority(authority)?;
        let port = match port {
            Some(digits) => digits.parse().ok().filter(|&port| port != 0).ok_or(UrlError::Port)?,
            None if tls => RTMPS_PORT,
            None => RTMP_PORT,
        };
        let (app, name) = path.split_once('/').unwrap_or((path, ""));
        Ok(Self { tls, host, port, app, name })
    }

    /// For people: `rtmp://host:port/app/***`, without what may be a key.
    pub fn without_key(&self) -> impl fmt::Display + use<'_> {
        fmt::from_fn(|f| {
            let (scheme, app) = (if self.tls { "rtmps" } else { "rtmp" }, self.app.split('?').next().unwrap_or_default());
            let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
            write!(f, "{scheme}://{open}{}{close}:{}/{app}/***", self.host, self.port)
        })
    }
}

/// A URI reference of a reconnect request against the present `tcUrl` (RFC 3986 §5.2, for the forms that E-RTMP names): empty, absolute,
/// `//host/app`, `/app`. `None` when it is none of them, no RTMP URL, or too long.
pub(crate) fn resolve<const N: usize>(tc_url: &str, reference: &str) -> Option<heapless::String<N>> {
    let (scheme, rest) = tc_url.split_once("://")?;
    let authority = rest.split_once('/').map_or(rest, |(authority, _)| authority);
    let mut url = heapless::String::new();
    let parts = match reference {
        "" => [tc_url, "", "", ""],
        _ if reference.contains("://") => [reference, "", "", ""],
        _ if reference.starts_with("//") => [scheme, ":", reference, ""],
        _ if reference.starts_with('/') => [scheme, "://", authority, reference],
        _ => return None,
    };
    for part in parts {
        url.push_str(part).ok()?;
    }
    RtmpUrl::parse(&url).ok()?;
    Some(url)
}

fn split_authority(authority: &str) -> Result<(&str, Option<&str>), UrlError> {
    let (host, port) = if let Some(bracketed) = authority.strip_prefix('[') {
        let (host, after) = bracketed.split_once(']').ok_or(UrlError::Host)?;
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return Err(UrlError::Port),
        }
    } else {
        authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)))
    };
    // A query has no place before the path; taken for a host, it would be looked up and shown.
    if host.is_empty() || host.contains(['?', '#']) { Err(UrlError::Host) } else { Ok((host, port)) }
}

/// The path of a `tcUrl`: what `connect` calls the application. May hold slashes (`app/instance`).
pub(crate) fn application(tc_url: &str) -> &str {
    let rest = tc_url.split_once("://").map_or(tc_url, |(_, rest)| rest);
    rest.split_once('/').map_or("", |(_, path)| path.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    fn parsed(url: &str) -> (bool, &str, u16, &str, &str) {
        let url = RtmpUrl::parse(url).unwrap();
        (url.tls, url.host, url.port, url.app, url.name)
    }

    #[test]
    fn urls_of_servers_in_use() {
        assert_eq!(parsed("rtmp://a.rtmp.youtube.com/live2/k-e-y"), (false, "a.rtmp.youtube.com", 1935, "live2", "k-e-y"));
        assert_eq!(
            parsed("rtmps://live-api-s.facebook.com:443/rtmp/FB-1?s=a/b&c=d"),
            (true, "live-api-s.facebook.com", 443, "rtmp", "FB-1?s=a/b&c=d")
        );
        assert_eq!(parsed("RTMPS://h/live/s?token=t"), (true, "h", 443, "live", "s?token=t"));
        assert_eq!(parsed("rtmp://[::1]:1936/live/s"), (false, "::1", 1936, "live", "s"));
        assert_eq!(parsed("rtmp://[::1]/live"), (false, "::1", 1935, "live", ""));
        assert_eq!(parsed("rtmp://h/live/"), (false, "h", 1935, "live", ""));
        assert_eq!(parsed("rtmp://h"), (false, "h", 1935, "", ""));
    }

    #[test]
    fn what_is_no_rtmp_url() {
        for (url, error) in [
            ("http://h/a", UrlError::Scheme),
            ("h/a/b", UrlError::Scheme),
            ("rtmp:///a", UrlError::Host),
            ("rtmp://?token=x/a", UrlError::Host),
            ("rtmp://[::1/a", UrlError::Host),
            ("rtmp://h:0/a", UrlError::Port),
            ("rtmp://h:65536/a", UrlError::Port),
            ("rtmp://[::1]x/a", UrlError::Port),
            ("rtmp://h/a b", UrlError::Character),
        ] {
            assert_eq!(RtmpUrl::parse(url), Err(error), "{url}");
        }
    }

    #[test]
    fn debug_does_not_tell_the_token() {
        assert!(!format!("{:?}", RtmpUrl::parse("rtmp://h/live/s?token=secret")).contains("secret"));
        assert!(!format!("{:?}", RtmpUrl::parse("rtmp://h/live?token=secret/s")).contains("secret"));
    }

    #[test]
    fn the_application_is_the_whole_path_of_the_tc_url() {
        assert_eq!(application("rtmp://h:1/live/"), "live");
        assert_eq!(application("rtmp://h/app/instance"), "app/instance");
        assert_eq!(application("rtmp://h"), "");
    }

    /// E-RTMP v2, "Reconnect Request": the four examples of `tcUrl`, and none.
    #[test]
    fn a_reconnect_reference_is_resolved_against_the_present_url() {
        let resolve = |reference: &str| super::resolve::<60>("rtmps://[::1]:1936/live/x", reference);
        for (reference, url) in [
            ("", "rtmps://[::1]:1936/live/x"),
            ("rtmp://foo.example:1935/realtimeapp", "rtmp://foo.example:1935/realtimeapp"),
            ("//192.0.2.0/realtimeapp", "rtmps://192.0.2.0/realtimeapp"),
            ("/realtimeapp", "rtmps://[::1]:1936/realtimeapp"),
        ] {
            assert_eq!(resolve(reference).as_deref(), Some(url));
        }
        for reference in ["realtimeapp", "http://h/a", "//", "rtmp://h/a b", &"/".repeat(80)] {
            assert_eq!(resolve(reference), None, "{reference}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_string_is_read_without_a_panic(url: std::string::String) {
            let _ = RtmpUrl::parse(&url);
            let _ = RtmpUrl::parse(&format!("rtmp://{url}"));
        }
    }
}
