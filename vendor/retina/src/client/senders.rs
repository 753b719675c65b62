// sightline: this file is not upstream's.

//! Whose packets are a stream's over UDP. Whoever finds our port can send to it: a packet counts where it comes from the camera's address, and from one
//! port there.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// For so long the port that sent first keeps others of the camera's address out. A camera that begins to send from another one has paused.
const PORT_SILENCE: Duration = Duration::from_secs(2);

/// Who may send to one socket.
#[derive(Debug)]
pub(crate) struct Senders {
    /// Where the RTSP connection goes, as the system has it: with the interface of an address that is good on one alone.
    connected: SocketAddr,
    /// Its address.
    peer: IpAddr,
    /// What the camera's `Transport` names beside it.
    source: Option<IpAddr>,
    /// As the camera named it.
    port: Option<u16>,
    /// The port that sends, where the camera named none, and when its last packet came.
    sending: Option<(SocketAddr, Instant)>,
    /// Packets of others.
    strangers: u64,
    stranger: Option<SocketAddr>,
}

impl Senders {
    pub(crate) fn new(connected: SocketAddr, source: Option<IpAddr>, port: Option<u16>) -> Self {
        let peer = connected.ip().to_canonical();
        // A camera behind a translation of addresses names one of its own network, and some name 0.0.0.0.
        let source = source.map(|source| source.to_canonical());
        let source = source.filter(|source| *source != peer && !source.is_unspecified() && !source.is_multicast());
        Self { connected, peer, source, port: port.filter(|port| *port != 0), sending: None, strangers: 0, stranger: None }
    }

    /// The one place that packets may come from, where there is just one: the socket can be told, and the system keeps others off.
    pub(crate) fn only(&self) -> Option<SocketAddr> {
        let port = self.port.filter(|_| self.source.is_none())?;
        let mut only = self.connected;
        only.set_port(port);
        Some(only)
    }

    /// Where a packet of ours opens the way for the camera's.
    pub(crate) fn named(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.port.into_iter().flat_map(|port| {
            let mut connected = self.connected;
            connected.set_port(port);
            [Some(connected), self.source.map(|source| SocketAddr::new(source, port))].into_iter().flatten()
        })
    }

    /// Whether a packet is the camera's. Others are counted, and named in the log the first time and at each power of ten.
    pub(crate) fn take(&mut self, from: SocketAddr, now: Instant) -> bool {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        if self.is_camera(from, now) {
            return true;
        }
        self.strangers = self.strangers.saturating_add(1);
        self.stranger = Some(from);
        if self.strangers.checked_ilog10().is_some_and(|digits| 10_u64.pow(digits) == self.strangers) {
            log::warn!("{} packets are not taken, the last from {from}: the camera sends from {}", self.strangers, self.places());
        }
        false
    }

    fn is_camera(&mut self, from: SocketAddr, now: Instant) -> bool {
        if from.ip() != self.peer && Some(from.ip()) != self.source {
            return false;
        }
        if let Some(port) = self.port {
            return from.port() == port;
        }
        match &mut self.sending {
            Some((sending, last)) if *sending == from => *last = now,
            Some((_, last)) if now.saturating_duration_since(*last) < PORT_SILENCE => return false,
            sending => *sending = Some((from, now)),
        }
        true
    }

    fn places(&self) -> String {
        let mut places = self.peer.to_string();
        if let Some(source) = self.source {
            places.push_str(&format!(" or {source}"));
        }
        if let Some(port) = self.port.or(self.sending.map(|(from, _)| from.port())) {
            places.push_str(&format!(", port {port}"));
        }
        places
    }

    /// How many packets of others came, and where the last of them came from.
    pub(crate) fn strangers(&self) -> Option<(u64, SocketAddr)> {
        self.stranger.map(|stranger| (self.strangers, stranger))
    }
}
