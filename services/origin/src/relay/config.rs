//! What is relayed, and where to.

use crate::pattern::matches;
use serde::Deserialize;
use sightline_rtmp::url::RtmpUrl;
use sightline_signal::report::RelayRule;
use std::fmt;
use std::path::PathBuf;

/// The longest address of a target, in bytes: application and key of the cloud services are under 200.
const URL_BYTES_MAX: usize = 600;

/// One relay: of the settings (`[[relays]]`), or of the cloud's API.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relay {
    /// Names it, in logs, metrics and the console.
    pub name: String,
    /// The streams that it takes: a publishing name or a device's id, or a pattern with `*`.
    #[serde(default = "all")]
    pub streams: String,
    /// Where to: `rtmp(s)://host[:port]/application/key`. Without a key each stream goes on under the name that it is published under.
    pub url: RelayUrl,
    /// The authority that the certificate of an `rtmps://` target must come from (PEM); without it, those that the system trusts.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// The only device whose stream it takes, whatever `streams` says: of the API.
    #[serde(skip)]
    pub device: Option<String>,
}

fn all() -> String {
    "*".to_owned()
}

impl Relay {
    pub(super) fn takes(&self, stream: &str, device: &str) -> bool {
        match &self.device {
            Some(only) => only == device,
            None => matches(&self.streams, stream) || matches(&self.streams, device),
        }
    }

    /// `None`: it is one of a newer cloud's, whose form is unknown here.
    pub(super) fn of_api(rule: &RelayRule) -> Option<Self> {
        let device = (!rule.device.is_empty()).then(|| rule.device.clone());
        let url = RelayUrl(rule.url.reveal().to_owned());
        let relay = Self { name: rule.name.clone(), streams: rule.streams.clone(), url, ca: None, device };
        relay.check().is_ok().then_some(relay)
    }

    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.name.is_empty() || self.name.len() > 64 || self.name.chars().any(char::is_control) {
            return Err("has an entry whose name is not 1 to 64 bytes");
        }
        let parts = self.url.parts().map_err(|_| "has an entry whose url is no rtmp:// or rtmps:// address")?;
        if parts.app.is_empty() {
            return Err("has an entry whose url is not rtmp(s)://HOST/APPLICATION/KEY");
        }
        if self.url.0.len() > URL_BYTES_MAX { Err("has an entry whose url is longer than 600 bytes") } else { Ok(()) }
    }
}

/// The address of a target. What follows the application is a secret: neither `Debug` nor `Display` shows it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct RelayUrl(String);

impl From<&str> for RelayUrl {
    fn from(url: &str) -> Self {
        Self(url.to_owned())
    }
}

impl RelayUrl {
    pub(super) fn parts(&self) -> Result<RtmpUrl<'_>, sightline_rtmp::url::UrlError> {
        RtmpUrl::parse(&self.0)
    }

    pub(super) fn is_tls(&self) -> bool {
        self.parts().is_ok_and(|parts| parts.tls)
    }
}

impl fmt::Display for RelayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            Ok(url) => write!(f, "{}", url.without_key()),
            Err(_) => f.write_str("***"),
        }
    }
}

impl fmt::Debug for RelayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sightline_signal::report::RelayTarget;

    #[test]
    fn a_relay_of_the_api_takes_its_device_s_stream_alone_and_a_strange_one_is_passed_over() {
        let rule = |device: &str, streams: &str, url: &str| RelayRule {
            name: "r".into(),
            device: device.into(),
            streams: streams.into(),
            url: RelayTarget::new(url.into()),
        };
        let of_device = Relay::of_api(&rule("cam-1", "", "rtmp://h/app/key")).unwrap();
        assert!(of_device.takes("x", "cam-1") && !of_device.takes("cam-1", "cam-2"));
        let by_pattern = Relay::of_api(&rule("", "cam-*", "rtmp://h/app")).unwrap();
        assert!(by_pattern.takes("x", "cam-2") && !by_pattern.takes("x", "dome"));
        assert_eq!(Relay::of_api(&rule("cam-1", "", "srt://h/app/key")), None);
    }

    #[test]
    fn a_target_s_key_is_never_shown() {
        for url in [
            "rtmp://a.example/live2/hunter2",
            "rtmps://u:hunter2@b.example:443/app/x?k=hunter2",
            "hunter2",
            "rtmp://h/app?x=hunter2/hunter2",
        ] {
            let url = RelayUrl::from(url);
            assert!(!format!("{url} {url:?}").contains("hunter2"), "{url}");
        }
        assert_eq!(RelayUrl::from("rtmp://a.example/live2/hunter2").to_string(), "rtmp://a.example:1935/live2/***");
    }

    #[test]
    fn what_is_no_target_is_refused() {
        let relay = |url: &str| Relay { name: "r".into(), streams: "*".into(), url: url.into(), ca: None, device: None };
        assert_eq!(relay("rtmp://h/app/key").check(), Ok(()));
        assert_eq!(relay("rtmp://h/app").check(), Ok(()), "under its own name");
        for url in ["http://h/app/key", "rtmp://h", "rtmp:///app/key"] {
            assert!(relay(url).check().is_err(), "{url}");
        }
    }
}
