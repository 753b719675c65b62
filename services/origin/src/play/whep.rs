//! WHEP: a stream to WebRTC players, browsers first. HTTP brings the offer and takes the answer ([`http`]); all media goes through one port,
//! by UDP and by TCP ([`port`], [`arrivals`]); a stream's packets are made once for all its viewers ([`pump`]).

mod arrivals;
pub(crate) mod http;
mod places;
mod port;
mod pump;
mod sound;
mod table;
mod viewer;

pub(crate) use port::{Bound, Way};
pub(crate) use table::{Datagram, Guest};

use crate::clock::Clock;
use crate::error::StartError;
use crate::live::traffic::Traffic;
use places::Places;
use port::Port;
use sightline_webrtc::{IceText, Identity};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use table::Table;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Random bytes of a user name fragment: six bits a letter, more than RFC 8839 §5.4 asks for.
const UFRAG_BYTES: usize = 9;
/// Random bytes of a password, and of a session's address, which is a secret too: who knows it may end the session.
const SECRET_BYTES: usize = 24;

/// What WHEP needs beside the streams.
pub(crate) struct Whep {
    clock: Clock,
    identity: Identity,
    port: Arc<Port>,
    table: Arc<Table>,
    places: Places,
    /// Addresses that are named first, from the settings.
    candidates: Vec<SocketAddr>,
    /// What keeps a stream's packets, in bytes.
    history_bytes: usize,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// What the settings say.
pub(crate) struct Rules {
    /// Addresses that are named in answers, and ports of them.
    pub(crate) candidates: Vec<String>,
    /// Viewers at a time.
    pub(crate) viewers_max: usize,
    /// What keeps a stream's packets, in bytes.
    pub(crate) history_bytes: usize,
}

impl Whep {
    /// With what was bound.
    pub(crate) fn new(
        bound: Bound,
        rules: Rules,
        clock: Clock,
        traffic: Arc<Traffic>,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> Result<Self, StartError> {
        let candidates = parse_candidates(&rules.candidates, bound.address.port())?;
        let port = Arc::new(Port::new(bound.udp, bound.address, traffic)?);
        let table = Arc::new(Table::new(clock));
        tasks.spawn(arrivals::receive(port.clone(), table.clone(), shutdown.clone()));
        tasks.spawn(arrivals::accept(port.clone(), table.clone(), bound.tcp, tasks.clone(), shutdown.clone()));
        Ok(Self {
            clock,
            identity: identity(clock)?,
            port,
            table,
            places: Places::new(rules.viewers_max),
            candidates,
            history_bytes: rules.history_bytes,
            tasks: tasks.clone(),
            shutdown: shutdown.clone(),
        })
    }

    /// Where the media port is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address
    }

    /// A publisher is to come: its datagrams go to it.
    pub(crate) fn expect(&self, guest: Guest) {
        self.table.expect(guest);
    }

    /// It has gone, and its connections with it.
    pub(crate) fn forget(&self, ufrag: &str, ways: impl Iterator<Item = Way>) {
        self.table.forget_guest(ufrag);
        ways.for_each(|way| self.port.close(way));
    }

    /// Sends a datagram of a publisher's.
    pub(crate) fn send(&self, way: Way, bytes: &[u8]) {
        self.port.send_one(way, bytes);
    }

    /// Addresses for an answer: those of the settings, the one that the viewer asked by, and the one of this machine that leads to it.
    pub(crate) fn candidates(&self, asked: Option<IpAddr>, viewer: Option<IpAddr>) -> Vec<SocketAddr> {
        let here = self.port.address;
        let mut found = self.candidates.clone();
        if here.ip().is_unspecified() {
            let reached = viewer.and_then(local_address_to);
            // Over an IPv4 socket there is no IPv6; one of IPv6 takes both.
            let fits = |ip: &IpAddr| !ip.is_unspecified() && (here.is_ipv6() || ip.to_canonical().is_ipv4());
            found.extend(asked.into_iter().chain(reached).filter(fits).map(|ip| SocketAddr::new(ip.to_canonical(), here.port())));
        } else {
            found.push(here);
        }
        let mut seen = Vec::with_capacity(found.len());
        found.retain(|address| {
            !seen.contains(address) && {
                seen.push(*address);
                true
            }
        });
        found.truncate(sightline_webrtc::CANDIDATES_MAX);
        found
    }
}

/// A name and a password for the checks of a session.
pub(crate) fn new_ice() -> Option<IceText> {
    Some(IceText { ufrag: random_text(UFRAG_BYTES)?, password: random_text(SECRET_BYTES)? })
}

/// Letters and digits that nobody guesses.
pub(crate) fn random_text(bytes: usize) -> Option<String> {
    use base64::Engine as _;
    let mut random = vec![0; bytes];
    aws_lc_rs::rand::fill(&mut random).ok()?;
    // RFC 8839 §5.4 has letters, digits, + and /; those two are escaped in addresses.
    Some(base64::engine::general_purpose::STANDARD_NO_PAD.encode(random).replace(['+', '/'], "x"))
}

fn random_number() -> u64 {
    let mut bytes = [0; 8];
    // Without random numbers the session's keys fail first; no secret hangs on this one.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u64::from_be_bytes(bytes)
}

/// The address of this machine from which packets to another leave: nothing is sent.
fn local_address_to(viewer: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = if viewer.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let socket = std::net::UdpSocket::bind((any, 0)).ok()?;
    socket.connect((viewer, 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

fn parse_candidates(entries: &[String], port: u16) -> Result<Vec<SocketAddr>, StartError> {
    let parse = |entry: &String| {
        let entry = entry.trim();
        let alone = entry.parse().map(|ip: IpAddr| SocketAddr::new(ip, port));
        alone.or_else(|_| entry.parse()).map_err(|_| StartError::Setting {
            key: "whep.candidates",
            reason: "has an entry that is neither an address like 203.0.113.7 nor one with a port like 203.0.113.7:8189",
        })
    };
    entries.iter().map(parse).collect()
}

/// Checks the settings alone.
pub(crate) fn check_candidates(entries: &[String]) -> Result<(), StartError> {
    parse_candidates(entries, 0).map(drop)
}

/// A certificate for this run: players know it from the answer alone.
fn identity(clock: Clock) -> Result<Identity, StartError> {
    let made = rcgen::KeyPair::generate().and_then(|key| {
        let certificate = rcgen::CertificateParams::new(Vec::new())?.self_signed(&key)?;
        Ok((certificate.der().to_vec(), key.serialize_der()))
    });
    let reason = |reason: String| StartError::WebRtc { reason };
    let (certificate, key) = made.map_err(|error| reason(error.to_string()))?;
    Identity::new(certificate, key, clock.began()).map_err(|error| reason(error.to_string()))
}
