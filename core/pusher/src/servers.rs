//! The set of servers that a discovery gave, and which of them is next.

use core::time::Duration;
use heapless::Vec;
use sightline_media::Instant;
use sightline_rtmp::url::RtmpUrl;
use sightline_signal::{Response, SERVERS_MAX, Text};

use crate::config::FixedServer;

/// How long before its end a token is no longer used to start a stream: the way to the server takes time too.
const EXPIRY_MARGIN: Duration = Duration::from_secs(5);

/// Where to publish, and with what.
pub(crate) struct Servers {
    tc_urls: Vec<Text<192>, SERVERS_MAX>,
    name: Text<512>,
    next: usize,
    expires_at: Option<Instant>,
    refresh_at: Option<Instant>,
}

impl core::fmt::Debug for Servers {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Servers").field("tc_urls", &self.tc_urls).field("name", &"***").field("next", &self.next).finish()
    }
}

impl Servers {
    /// From a successful answer, received `now`; `None` where it lacks a server or a name. Times are durations counted from
    /// receipt: the camera's own wall clock may be wrong.
    pub(crate) fn of(response: &Response, now: Instant) -> Option<Self> {
        let mut tc_urls = Vec::new();
        let mut listed: Vec<_, SERVERS_MAX> = response.servers.iter().collect();
        listed.sort_unstable_by_key(|server| server.priority);
        for server in listed {
            let _ = tc_urls.push(trimmed(&server.rtmp_url));
        }
        if tc_urls.is_empty() {
            let _ = tc_urls.push(trimmed(response.rtmp_url.as_ref()?));
        }
        let mut name = Text::new();
        name.push_str(response.stream_key.as_ref()?).ok()?;
        if let Some(token) = &response.token {
            name.push_str("?token=").ok()?;
            name.push_str(token.reveal()).ok()?;
        }
        let server_time = response.server_time;
        let after = |secs: i64| {
            let left = secs.checked_sub(server_time?)?;
            Some(now + Duration::from_secs(u64::try_from(left).unwrap_or(0)))
        };
        Some(Self {
            tc_urls,
            name,
            next: 0,
            expires_at: response.expires_at.and_then(after),
            refresh_at: response.refresh_at.and_then(after),
        })
    }

    /// The servers given by hand: they never expire.
    pub(crate) fn fixed(server: &FixedServer) -> Self {
        let tc_urls = server.tc_urls.iter().map(|url| trimmed(url)).collect();
        Self { tc_urls, name: server.name.clone(), next: 0, expires_at: None, refresh_at: None }
    }

    pub(crate) fn tc_url(&self) -> Text<192> {
        self.tc_urls.get(self.next).cloned().unwrap_or_default()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether a stream may still be started with it.
    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        self.expires_at.is_some_and(|at| now + EXPIRY_MARGIN >= at)
    }

    /// When to ask for a fresh token.
    pub(crate) const fn refresh_at(&self) -> Option<Instant> {
        self.refresh_at
    }

    /// Moves on to the next server; false when the round is over and the first is next again.
    pub(crate) fn advance(&mut self) -> bool {
        self.next += 1;
        if self.next >= self.tc_urls.len() {
            self.next = 0;
            return false;
        }
        true
    }

    /// The place of the server that a URL names, by its host and port.
    pub(crate) fn place_of(&self, tc_url: &str) -> Option<usize> {
        let wanted = RtmpUrl::parse(tc_url).ok()?;
        self.tc_urls.iter().position(|listed| {
            RtmpUrl::parse(listed).is_ok_and(|listed| (listed.tls, listed.host, listed.port) == (wanted.tls, wanted.host, wanted.port))
        })
    }

    /// The server at that place is next.
    pub(crate) const fn go_to(&mut self, place: usize) {
        self.next = place;
    }

    /// Begins a round with the first.
    pub(crate) const fn rewind(&mut self) {
        self.next = 0;
    }
}

/// `rtmp://host/live/` and `rtmp://host/live` are the same application.
fn trimmed(url: &str) -> Text<192> {
    Text::try_from(url.trim_end_matches('/')).unwrap_or_default()
}
