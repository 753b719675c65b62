//! Where a camera's packets go: in RTSP's own connection, or over UDP, where others may send to the same ports.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpStream, UdpSocket},
};

/// Where packets go.
#[derive(Default)]
pub(super) struct Ways {
    pub(super) tcp: Option<TcpStream>,
    /// By the channel that a packet would have over TCP.
    udp: Vec<(u8, UdpSocket)>,
    /// Others that send to the same ports.
    strangers: Vec<(u8, Place, UdpSocket)>,
}

/// When a stranger sends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Ahead,
    Behind,
}

impl Ways {
    pub(super) fn write(&mut self, bytes: &[u8]) -> bool {
        self.tcp.as_mut().is_some_and(|stream| stream.write_all(bytes).is_ok())
    }

    /// A packet behind RTSP's frame.
    pub(super) fn send(&mut self, framed: &[u8]) -> bool {
        if self.udp.is_empty() {
            return self.write(framed);
        }
        if let (Some(&channel), Some(packet)) = (framed.get(1), framed.get(4..)) {
            self.send_as_strangers(channel, packet, Place::Ahead);
            // Nobody at the other end is no end of the camera.
            self.udp.iter().filter(|(of, _)| *of == channel).for_each(|(_, socket)| drop(socket.send(packet)));
            self.send_as_strangers(channel, packet, Place::Behind);
        }
        self.tcp.is_some()
    }

    /// RTP and RTCP of a track, to two ports that follow one another.
    pub(super) fn open_udp(&mut self, first: SocketAddr, is_sound: bool, stranger: Option<&str>) {
        for at in 0..2 {
            let to = SocketAddr::new(first.ip(), first.port().wrapping_add(at));
            let open = |address: &str| {
                let socket = UdpSocket::bind((address, 0)).expect("loopback has a free port");
                socket.connect(to).ok().map(|()| socket)
            };
            let channel = at as u8 + if is_sound { 2 } else { 0 };
            if let Some(socket) = open("127.0.0.1") {
                self.udp.push((channel, socket));
            }
            if let Some(address) = stranger {
                self.strangers.extend(open(address).map(|socket| (channel, Place::Ahead, socket)));
                self.strangers.extend(open("127.0.0.1").map(|socket| (channel, Place::Behind, socket)));
            }
        }
    }

    /// Where a track's packets come from.
    pub(super) fn server_ports(&self, is_sound: bool) -> String {
        let first = if is_sound { 2 } else { 0 };
        let port = |channel| {
            let socket = self.udp.iter().find(|(of, _)| *of == channel);
            socket.and_then(|(_, socket)| socket.local_addr().ok()).map_or(0, |address| address.port())
        };
        format!("{}-{}", port(first), port(first + 1))
    }

    /// The camera's packet with other samples: what a decoder would show.
    fn send_as_strangers(&self, channel: u8, packet: &[u8], place: Place) {
        let mut other = packet.to_vec();
        if let Some(last) = other.last_mut() {
            *last ^= 0xff;
        }
        let these = self.strangers.iter().filter(|(of, at, _)| (*of, *at) == (channel, place));
        these.for_each(|(_, _, socket)| drop(socket.send(&other)));
    }
}
