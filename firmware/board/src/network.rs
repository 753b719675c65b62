//! TCP/IP over a network card: a connection to the broker and one to a server, at an address that DHCP gives.

use smoltcp::{
    iface::{Config, Interface, SocketHandle, SocketSet, SocketStorage},
    phy,
    socket::{dhcpv4, tcp},
    time::Instant,
    wire::{EthernetAddress, HardwareAddress, IpCidr, Ipv4Address, Ipv4Cidr},
};
use static_cell::ConstStaticCell;

/// Bytes that a broker may send at once.
const MQTT_RECEIVE_BYTES: usize = 1024;
pub(crate) const MQTT_SEND_BYTES: usize = 1024;
/// RTMP servers say little.
const RTMP_RECEIVE_BYTES: usize = 1024;
/// What may be on its way: 1.3 times the bit rate times the round trip. 32 KiB carry 4 Mbit/s over 50 ms.
const RTMP_SEND_BYTES: usize = 32 * 1024;
/// The next look at what has arrived since the turn began, and at what the card did not take, where its interrupt does not come before.
const LOOK_AGAIN_MICROS: u64 = 1000;
/// How often the card is asked for its link: a cable is plugged in by hand, and some cards answer over a slow bus.
const LINK_LOOK_MICROS: u64 = 500_000;

/// A network card: frames both ways, at an address.
pub trait Card: phy::Device {
    /// Its address, which nobody else on its network has.
    fn mac_address(&self) -> [u8; 6];

    /// Whether its cable is plugged in at both ends.
    fn is_up(&mut self) -> bool;
}

/// A connection's memory: bytes that came, bytes that go.
struct Buffers {
    mqtt: ([u8; MQTT_RECEIVE_BYTES], [u8; MQTT_SEND_BYTES]),
    rtmp: [([u8; RTMP_RECEIVE_BYTES], [u8; RTMP_SEND_BYTES]); 2],
}

static BUFFERS: ConstStaticCell<Buffers> = ConstStaticCell::new(Buffers {
    mqtt: ([0; MQTT_RECEIVE_BYTES], [0; MQTT_SEND_BYTES]),
    rtmp: [([0; RTMP_RECEIVE_BYTES], [0; RTMP_SEND_BYTES]); 2],
});
static STORAGE: ConstStaticCell<[SocketStorage<'static>; 4]> = ConstStaticCell::new([SocketStorage::EMPTY; 4]);

/// Which of the two connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// To the broker.
    Mqtt,
    /// To the server.
    Rtmp,
}

/// A board's network: one card, one address; a connection to the broker, and one to a server, beside which the last one may still be there.
pub struct Network<N: Card> {
    card: N,
    interface: Interface,
    sockets: SocketSet<'static>,
    dhcp: SocketHandle,
    mqtt: SocketHandle,
    /// The present one, and the last.
    rtmp: [SocketHandle; 2],
    port: u16,
    address: Option<Ipv4Cidr>,
    is_up: bool,
    look_at: u64,
}

fn instant(micros: u64) -> Instant {
    Instant::from_micros(micros.cast_signed())
}

impl<N: Card> Network<N> {
    /// One without an address yet. `seed` is another one after each start.
    ///
    /// # Panics
    /// The second time: the connections' memory is there once.
    pub fn new(mut card: N, now_micros: u64, seed: u64) -> Self {
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(card.mac_address())));
        config.random_seed = seed;
        let interface = Interface::new(config, &mut card, instant(now_micros));
        let mut sockets = SocketSet::new(&mut STORAGE.take()[..]);
        let Buffers { mqtt, rtmp } = BUFFERS.take();
        let socket = |(receive, send): (&'static mut [u8], &'static mut [u8])| {
            let mut socket = tcp::Socket::new(tcp::SocketBuffer::new(receive), tcp::SocketBuffer::new(send));
            socket.set_nagle_enabled(false);
            socket
        };
        let dhcp = sockets.add(dhcpv4::Socket::new());
        let mqtt = sockets.add(socket((&mut mqtt.0, &mut mqtt.1)));
        let [rtmp, last] = rtmp;
        let rtmp = [sockets.add(socket((&mut rtmp.0, &mut rtmp.1))), sockets.add(socket((&mut last.0, &mut last.1)))];
        // Another local port after each start: the far end may remember the last one.
        let port = 49_152 + (seed % 8192) as u16;
        Self { card, interface, sockets, dhcp, mqtt, rtmp, port, address: None, is_up: false, look_at: 0 }
    }

    /// Moves frames both ways, and follows cable and lease.
    pub fn poll(&mut self, now_micros: u64) {
        if now_micros >= self.look_at {
            self.look_at = now_micros + LINK_LOOK_MICROS;
            self.look_at_card();
        }
        self.interface.poll(instant(now_micros), &mut self.card, &mut self.sockets);
        self.look_at_lease();
    }

    /// A cable that was plugged in may lead to another network: its address is asked for anew, and at once.
    #[inline(never)]
    fn look_at_card(&mut self) {
        let was_up = core::mem::replace(&mut self.is_up, self.card.is_up());
        if self.is_up && !was_up {
            self.sockets.get_mut::<dhcpv4::Socket<'static>>(self.dhcp).reset();
        }
    }

    fn look_at_lease(&mut self) {
        let lease = match self.sockets.get_mut::<dhcpv4::Socket<'static>>(self.dhcp).poll() {
            None => return,
            Some(dhcpv4::Event::Configured(lease)) => Some((lease.address, lease.router)),
            Some(dhcpv4::Event::Deconfigured) => None,
        };
        self.take(lease);
    }

    #[inline(never)]
    fn take(&mut self, lease: Option<(Ipv4Cidr, Option<Ipv4Address>)>) {
        self.address = lease.map(|(address, _)| address);
        self.interface.update_ip_addrs(|addresses| {
            addresses.clear();
            // One fits.
            addresses.extend(self.address.map(IpCidr::Ipv4));
        });
        let _ = match lease.and_then(|(_, router)| router) {
            // There is room for one.
            Some(router) => self.interface.routes_mut().add_default_ipv4_route(router).unwrap_or_default(),
            None => self.interface.routes_mut().remove_default_ipv4_route(),
        };
    }

    /// What DHCP gave.
    #[must_use]
    pub fn address(&self) -> Option<Ipv4Cidr> {
        self.address
    }

    /// When there is something to do even if nothing arrives. Asked after [`Self::poll`]: what is due at once then is what the card did not take.
    pub fn poll_at(&mut self, now_micros: u64) -> Option<u64> {
        // Without a cable frames wait for it, not the loop.
        if !self.is_up {
            return None;
        }
        let again = now_micros + LOOK_AGAIN_MICROS;
        if [Which::Mqtt, Which::Rtmp].into_iter().any(|which| self.socket(which).can_recv()) {
            return Some(again);
        }
        let at = self.interface.poll_at(instant(now_micros), &self.sockets)?.total_micros().cast_unsigned();
        Some(if at <= now_micros { again } else { at })
    }

    /// A connection, as smoltcp sees it.
    pub fn socket(&mut self, which: Which) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(if which == Which::Mqtt { self.mqtt } else { self.rtmp[0] })
    }

    /// Begins to connect. A connection to a broker that was there is reset first. One to a server stays until [`Self::forget_last`]: over a link that is
    /// down its reset would be lost, and the server would keep the stream's name for it.
    pub fn connect(&mut self, now_micros: u64, which: Which, address: Ipv4Address, port: u16) -> bool {
        if which == Which::Rtmp {
            self.rtmp.swap(0, 1);
        }
        self.socket(which).abort();
        self.poll(now_micros);
        self.port = if self.port == u16::MAX { 49_152 } else { self.port + 1 };
        let Self { interface, sockets, mqtt, rtmp, .. } = self;
        let socket = sockets.get_mut::<tcp::Socket<'static>>(if which == Which::Mqtt { *mqtt } else { rtmp[0] });
        socket.connect(interface.context(), (address, port), self.port).is_ok()
    }

    /// Resets the last connection to a server, now that there is another.
    pub fn forget_last(&mut self) {
        self.sockets.get_mut::<tcp::Socket<'static>>(self.rtmp[1]).abort();
    }
}
