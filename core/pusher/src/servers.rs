//! The set of servers that a discovery gave, and which of them is next.

use core::time::Duration;
use heapless::Vec;
use sightline_media::Instant;
use sightline_rtmp::url::RtmpUrl;
use sightline_signal::{Response, SERVERS_MAX};

use crate::config::FixedServer;

/// How long before its end a token is no longer used to start a stream: the way to the server takes time too.
const EXPIRY_MARGIN: Duration = Duration::from_secs(5);

/// Which server of the set is next, and how long the set is valid. The set itself is in [`crate::Config::server`], wherever it came from: it is
/// 1.1 KB, and a chip has room for one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Servers {
    next: usize,
    expires_at: Option<Instant>,
    refresh_at: Option<Instant>,
}

impl Servers {
    /// From a successful answer, received `now`, whose servers go to `room`; `None` where it lacks a server or a name, and `room` is as it
    /// was. Times are durations counted from receipt: the camera's own wall clock may be wrong.
    pub(crate) fn of(response: &Response, now: Instant, room: &mut Option<FixedServer>) -> Option<Self> {
        let key = response.stream_key.as_ref()?;
        if response.servers.is_empty() && response.rtmp_url.is_none() {
            return None;
        }
        let set = room.get_or_insert_with(FixedServer::default);
        set.tc_urls.clear();
        let mut listed: Vec<_, SERVERS_MAX> = response.servers.iter().collect();
        listed.sort_unstable_by_key(|server| server.priority);
        let only = if listed.is_empty() { response.rtmp_url.as_ref() } else { None };
        for url in listed.into_iter().map(|server| &server.rtmp_url).chain(only) {
            let _ = set.tc_urls.push(url.clone());
        }
        trim(set);
        set.name.clear();
        // 64, 7 and 384 bytes fit 512.
        let _ = set.name.push_str(key);
        if let Some(token) = &response.token {
            let _ = set.name.push_str("?token=");
            let _ = set.name.push_str(token.reveal());
        }
        let server_time = response.server_time;
        let after = |secs: i64| {
            let left = secs.checked_sub(server_time?)?;
            Some(now + Duration::from_secs(u64::try_from(left).unwrap_or(0)))
        };
        Some(Self { next: 0, expires_at: response.expires_at.and_then(after), refresh_at: response.refresh_at.and_then(after) })
    }

    /// The servers given by hand: they never expire.
    pub(crate) fn fixed(set: &mut FixedServer) -> Self {
        trim(set);
        Self { next: 0, expires_at: None, refresh_at: None }
    }

    /// The place of the next one in its set.
    pub(crate) const fn next(&self) -> usize {
        self.next
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
    pub(crate) fn advance(&mut self, set: &FixedServer) -> bool {
        self.next = self.next.wrapping_add(1);
        if self.next >= set.tc_urls.len() {
            self.next = 0;
            return false;
        }
        true
    }

    /// The server at that place is next.
    pub(crate) const fn go_to(&mut self, place: usize) {
        self.next = place;
    }

    /// The server in use is none of the set: after it comes the first.
    pub(crate) const fn go_before_the_first(&mut self) {
        self.next = usize::MAX;
    }

    /// Begins a round with the first.
    pub(crate) const fn rewind(&mut self) {
        self.next = 0;
    }
}

/// The place of the server that a URL names, by its host and port.
pub(crate) fn place_of(set: &FixedServer, tc_url: &str) -> Option<usize> {
    let wanted = RtmpUrl::parse(tc_url).ok()?;
    set.tc_urls.iter().position(|listed| {
        RtmpUrl::parse(listed).is_ok_and(|listed| (listed.tls, listed.host, listed.port) == (wanted.tls, wanted.host, wanted.port))
    })
}

/// `rtmp://host/live/` and `rtmp://host/live` are the same application.
fn trim(set: &mut FixedServer) {
    for url in &mut set.tc_urls {
        url.truncate(url.trim_end_matches('/').len());
    }
}
