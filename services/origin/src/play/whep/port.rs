//! The media port: one UDP socket for all viewers, and TCP on the same number for those whose network lets no UDP out (RFC 6544).

use crate::error::StartError;
use crate::live::traffic::{Protocol, Traffic};
use bytes::Bytes;
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use sightline_webrtc::{Burst, frame};
use std::collections::HashMap;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::Interest;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;

/// The port that firewalls are opened for.
const PORT: u16 = 8189;
/// Tries to have one number for UDP and TCP, where the system chooses it.
const BIND_TRIES: u32 = 16;
/// The socket's buffers, in bytes: a key frame of one picture to a hundred viewers at once. The system gives as much as it allows.
const SOCKET_BYTES: usize = 4 << 20;
/// The most that one call may hand over, in bytes: an IP packet's.
const SEGMENTS_BYTES_MAX: usize = 65_000;
/// Packets that a viewer is given at a time.
pub(super) const BURST_PACKETS: usize = 64;
/// Packets that wait for a viewer's TCP connection: half a second of 8 Mbit/s. Then it is sent none until there is room.
const TCP_QUEUE: usize = 512;

/// How a viewer is reached.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Way {
    Udp {
        peer: SocketAddr,
        /// The address of ours that it sends to: answers come from there.
        local: Option<IpAddr>,
    },
    /// A connection, by number.
    Tcp(u64),
}

/// A port that is ours, and not served yet.
pub(crate) struct Bound {
    pub(super) udp: std::net::UdpSocket,
    pub(super) tcp: TcpListener,
    pub(crate) address: SocketAddr,
}

impl Bound {
    /// Where the settings say; without a word from them at the usual port of this address, or at another one where that is taken.
    pub(crate) async fn bind(wanted: Option<SocketAddr>, otherwise: IpAddr) -> Result<Self, StartError> {
        let error = |address| move |source| StartError::Listen { key: "whep.listen", address, source };
        if let Some(address) = wanted {
            return Self::at(address).await.map_err(error(address));
        }
        let usual = SocketAddr::new(otherwise, PORT);
        match Self::at(usual).await {
            Ok(bound) => Ok(bound),
            Err(taken) => {
                let any = SocketAddr::new(otherwise, 0);
                let bound = Self::at(any).await.map_err(error(any))?;
                tracing::warn!(error = %taken, port = bound.address.port(), "port {PORT} is taken: WHEP's media goes through another one; set whep.listen to choose");
                Ok(bound)
            }
        }
    }

    async fn at(address: SocketAddr) -> io::Result<Self> {
        let mut tries = 0;
        loop {
            let udp = std::net::UdpSocket::bind(address)?;
            let bound = udp.local_addr()?;
            match TcpListener::bind(bound).await {
                Ok(tcp) => return Ok(Self { udp, tcp, address: bound }),
                Err(error) if address.port() != 0 || tries >= BIND_TRIES => return Err(error),
                Err(_) => tries += 1,
            }
        }
    }
}

/// The port in use.
pub(super) struct Port {
    socket: UdpSocket,
    state: UdpSocketState,
    pub(super) address: SocketAddr,
    traffic: Arc<Traffic>,
    connections: Mutex<HashMap<u64, mpsc::Sender<Bytes>>>,
    next_connection: AtomicU64,
}

impl Port {
    pub(super) fn new(udp: std::net::UdpSocket, address: SocketAddr, traffic: Arc<Traffic>) -> Result<Self, StartError> {
        let error = |source| StartError::Listen { key: "whep.listen", address, source };
        udp.set_nonblocking(true).map_err(error)?;
        let state = UdpSocketState::new((&udp).into()).map_err(error)?;
        // Less than this is what the system gives: packets are lost sooner, and no worse comes of it.
        let _ = state.set_send_buffer_size((&udp).into(), SOCKET_BYTES);
        let _ = state.set_recv_buffer_size((&udp).into(), SOCKET_BYTES);
        let socket = UdpSocket::from_std(udp).map_err(error)?;
        Ok(Self { socket, state, address, traffic, connections: Mutex::default(), next_connection: AtomicU64::new(0) })
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<u64, mpsc::Sender<Bytes>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Packets that a viewer can be sent now.
    pub(super) fn room(&self, way: Way) -> usize {
        match way {
            Way::Udp { .. } => BURST_PACKETS,
            Way::Tcp(number) => self.connections().get(&number).map_or(0, mpsc::Sender::capacity).min(BURST_PACKETS),
        }
    }

    /// Sends a datagram. What can't be sent now is lost, as on any network.
    pub(super) fn send_one(&self, way: Way, bytes: &[u8]) {
        match way {
            Way::Udp { peer, local } => self.send_udp(peer, local, bytes, None),
            Way::Tcp(number) => self.send_tcp(number, bytes),
        }
    }

    /// Sends packets of one viewer, as few calls as they allow.
    pub(super) fn send(&self, way: Way, burst: &Burst) {
        self.traffic.send(Protocol::Whep, burst.bytes.len());
        let mut rest = burst.bytes.as_slice();
        let mut lengths = burst.lengths.as_slice();
        while let Some(&first) = lengths.first() {
            let (count, bytes) = match way {
                Way::Udp { .. } => run(lengths, self.state.max_gso_segments()),
                Way::Tcp(_) => (1, first),
            };
            let (now, later) = rest.split_at(bytes.min(rest.len()));
            match way {
                Way::Udp { peer, local } => self.send_udp(peer, local, now, (count > 1).then_some(first)),
                Way::Tcp(number) => self.send_tcp(number, now),
            }
            (rest, lengths) = (later, &lengths[count..]);
        }
    }

    fn send_udp(&self, destination: SocketAddr, src_ip: Option<IpAddr>, contents: &[u8], segment_size: Option<usize>) {
        let transmit = Transmit { destination, ecn: None, contents, segment_size, src_ip };
        let sent = self.socket.try_io(Interest::WRITABLE, || self.state.try_send((&self.socket).into(), &transmit));
        if let (Err(error), Some(length)) = (sent, segment_size)
            && error.kind() != io::ErrorKind::WouldBlock
        {
            // This way's card takes no several at once: one by one then.
            for contents in contents.chunks(length) {
                let transmit = Transmit { destination, ecn: None, contents, segment_size: None, src_ip };
                let _ = self.socket.try_io(Interest::WRITABLE, || self.state.try_send((&self.socket).into(), &transmit));
            }
        }
    }

    fn send_tcp(&self, number: u64, bytes: &[u8]) {
        if let (Some(connection), Some(framed)) = (self.connections().get(&number), frame(bytes)) {
            let _ = connection.try_send(framed);
        }
    }

    /// Datagrams that the system may join in one buffer.
    pub(super) fn joined_max(&self) -> usize {
        self.state.gro_segments().max(1)
    }

    /// Until there are datagrams.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Those that are there, without waiting.
    pub(super) fn receive(&self, slices: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> io::Result<usize> {
        self.socket.try_io(Interest::READABLE, || self.state.recv((&self.socket).into(), slices, metas))
    }

    /// A connection has come: how it is called, and what is to be written to it.
    pub(super) fn open(&self) -> (Way, mpsc::Receiver<Bytes>) {
        let (sender, receiver) = mpsc::channel(TCP_QUEUE);
        let number = self.next_connection.fetch_add(1, Ordering::Relaxed);
        self.connections().insert(number, sender);
        (Way::Tcp(number), receiver)
    }

    /// Ends a viewer's connection.
    pub(super) fn close(&self, way: Way) {
        if let Way::Tcp(number) = way {
            self.connections().remove(&number);
        }
    }
}

/// How many of these packets go in one call, and their bytes: all as long as the first, but for a shorter last one.
fn run(lengths: &[usize], segments_max: usize) -> (usize, usize) {
    let first = lengths.first().copied().unwrap_or_default();
    let (mut count, mut bytes) = (0, 0);
    for &length in lengths.iter().take(segments_max.max(1)) {
        if length > first || bytes + length > SEGMENTS_BYTES_MAX {
            break;
        }
        (count, bytes) = (count + 1, bytes + length);
        if length < first {
            break;
        }
    }
    if count == 0 { (1, first) } else { (count, bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_go_together_as_long_as_only_the_last_is_shorter() {
        assert_eq!(run(&[1200, 1200, 300, 1200], 64), (3, 2700));
        assert_eq!(run(&[1200, 1200, 1200], 2), (2, 2400));
        assert_eq!(run(&[300, 1200], 64), (1, 300));
        assert_eq!(run(&[1200], 1), (1, 1200));
        assert_eq!(run(&[1200; 64], 64), (54, 64_800), "an IP packet has an end");
    }
}
