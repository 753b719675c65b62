//! The network card, and TCP/IP over it.
#![expect(unsafe_code, reason = "memory that is shared with a device")]

use core::{
    cell::{RefCell, UnsafeCell},
    ptr::NonNull,
    sync::atomic::{AtomicUsize, Ordering},
};
use smoltcp::{
    iface::{Config, Interface, SocketHandle, SocketSet, SocketStorage},
    phy::{self, DeviceCapabilities, Medium},
    socket::tcp,
    time::Instant,
    wire::{EthernetAddress, HardwareAddress, IpCidr, Ipv4Address},
};
use static_cell::ConstStaticCell;
use virtio_drivers::{
    BufferDirection, Hal, PAGE_SIZE, PhysAddr,
    device::net::VirtIONetRaw,
    transport::{
        DeviceType, Transport as _,
        mmio::{MmioTransport, VirtIOHeader},
    },
};

/// Eight slots of a page from here on; QEMU fills the last one first.
const VIRTIO_MMIO: usize = 0x1000_1000;
const VIRTIO_SLOTS: usize = 8;
const QUEUE: usize = 8;
/// A header of 12 and a frame of 1,514.
const FRAME_BYTES: usize = 1536;
const DMA_PAGES: usize = 4;

/// QEMU's user network: this machine, and the host.
const ADDRESS: Ipv4Address = Ipv4Address::new(10, 0, 2, 15);
const GATEWAY: Ipv4Address = Ipv4Address::new(10, 0, 2, 2);

/// Bytes that a broker may send at once.
pub(crate) const MQTT_RECEIVE_BYTES: usize = 1024;
pub(crate) const MQTT_SEND_BYTES: usize = 1024;
/// RTMP servers say little.
pub(crate) const RTMP_RECEIVE_BYTES: usize = 1024;
/// What may be on its way: 1.3 times the bit rate times the round trip. 32 KiB carry 4 Mbit/s over 50 ms.
pub(crate) const RTMP_SEND_BYTES: usize = 32 * 1024;

#[repr(C, align(4096))]
struct Dma(UnsafeCell<[[u8; PAGE_SIZE]; DMA_PAGES]>);
// SAFETY: pages are given away one by one, each once.
unsafe impl Sync for Dma {}
static DMA: Dma = Dma(UnsafeCell::new([[0; PAGE_SIZE]; DMA_PAGES]));
static DMA_NEXT: AtomicUsize = AtomicUsize::new(0);

struct Machine;

// SAFETY: addresses are physical on this machine, caches coherent, and pages come from a static, zeroed, each once.
unsafe impl Hal for Machine {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let first = DMA_NEXT.fetch_add(pages, Ordering::Relaxed);
        assert!(first + pages <= DMA_PAGES, "the card wants more than {DMA_PAGES} pages");
        let at = DMA.0.get().cast::<u8>().wrapping_add(first * PAGE_SIZE);
        (at as PhysAddr, NonNull::new(at).expect("a static has an address"))
    }

    unsafe fn dma_dealloc(_: PhysAddr, _: NonNull<u8>, _: usize) -> i32 {
        // The card is never given up.
        0
    }

    unsafe fn mmio_phys_to_virt(at: PhysAddr, _: usize) -> NonNull<u8> {
        NonNull::new(at as *mut u8).expect("no device lies at zero")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        buffer.as_ptr().cast::<u8>() as PhysAddr
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}

type Driver = VirtIONetRaw<Machine, MmioTransport<'static>, QUEUE>;

const RECEIVING: usize = 4;
const SENDING: usize = 4;

/// The card with the buffers that it works on.
struct Inner {
    driver: Driver,
    /// Before each frame.
    header_bytes: usize,
    receiving: [Slot; RECEIVING],
    sending: [Slot; SENDING],
}

/// A buffer, unless somebody reads it; and what the card calls it while it has it.
struct Slot {
    buffer: Option<&'static mut [u8; FRAME_BYTES]>,
    token: Option<u16>,
    /// Of a frame that is sent, with its header.
    bytes: usize,
}

static FRAMES: ConstStaticCell<[[u8; FRAME_BYTES]; RECEIVING + SENDING]> = ConstStaticCell::new([[0; FRAME_BYTES]; RECEIVING + SENDING]);

impl Inner {
    fn find() -> Self {
        let driver = (0..VIRTIO_SLOTS).find_map(|slot| {
            let header = NonNull::new((VIRTIO_MMIO + slot * PAGE_SIZE) as *mut VirtIOHeader)?;
            // SAFETY: QEMU's `virt` has a device's registers, or an empty slot's, in each of these pages; they stay.
            let transport = unsafe { MmioTransport::new(header, PAGE_SIZE) }.ok()?;
            (transport.device_type() == DeviceType::Network).then(|| Driver::new(transport).ok())?
        });
        let driver = driver.expect("no network card: start QEMU with -device virtio-net-device");
        let mut buffers = FRAMES.take().iter_mut().map(|buffer| Slot { buffer: Some(buffer), token: None, bytes: 0 });
        let mut slot = |_| buffers.next().expect("as many as slots");
        let receiving = core::array::from_fn(&mut slot);
        let sending = core::array::from_fn(&mut slot);
        let mut card = Self { driver, header_bytes: 0, receiving, sending };
        for slot in &mut card.sending {
            if let Some(buffer) = &mut slot.buffer {
                card.header_bytes = card.driver.fill_buffer_header(buffer.as_mut_slice()).expect("a buffer is longer than a header");
            }
        }
        card.listen();
        card
    }

    /// Hands the card every buffer that is free.
    fn listen(&mut self) {
        for slot in self.receiving.iter_mut().filter(|slot| slot.token.is_none()) {
            if let Some(buffer) = &mut slot.buffer {
                // SAFETY: the buffer is not touched before `receive_complete`: the slot has a token.
                slot.token = unsafe { self.driver.receive_begin(buffer.as_mut_slice()) }.ok();
            }
        }
    }

    /// Takes back what the card has sent.
    fn reclaim(&mut self) {
        while let Some(token) = self.driver.poll_transmit() {
            let Some(slot) = self.sending.iter_mut().find(|slot| slot.token == Some(token)) else { return };
            slot.token = None;
            if let Some(buffer) = &slot.buffer {
                // SAFETY: the buffer that was given with this token; only its address is looked at.
                let _ = unsafe { self.driver.transmit_complete(token, &buffer[..slot.bytes]) };
            }
        }
    }

    /// The next frame: its slot, its buffer, where it begins, and its bytes.
    fn receive(&mut self) -> Option<(usize, &'static mut [u8; FRAME_BYTES], usize, usize)> {
        let token = self.driver.poll_receive()?;
        let at = self.receiving.iter().position(|slot| slot.token == Some(token))?;
        let slot = &mut self.receiving[at];
        slot.token = None;
        let buffer = slot.buffer.take()?;
        // SAFETY: the buffer that was given with this token.
        let received = unsafe { self.driver.receive_complete(token, buffer.as_mut_slice()) };
        match received {
            Ok((from, bytes)) => Some((at, buffer, from, bytes)),
            Err(_) => {
                self.receiving[at].buffer = Some(buffer);
                self.listen();
                None
            }
        }
    }
}

struct Card(RefCell<Inner>);

struct Received<'a> {
    card: &'a RefCell<Inner>,
    slot: usize,
    buffer: Option<&'static mut [u8; FRAME_BYTES]>,
    from: usize,
    bytes: usize,
}

struct Sent<'a>(&'a RefCell<Inner>);

impl phy::RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        let frame = self.buffer.as_ref().and_then(|buffer| buffer.get(self.from..self.from + self.bytes));
        read(frame.unwrap_or(&[]))
    }
}

impl Drop for Received<'_> {
    fn drop(&mut self) {
        let mut card = self.card.borrow_mut();
        card.receiving[self.slot].buffer = self.buffer.take();
        card.listen();
    }
}

impl phy::TxToken for Sent<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, bytes: usize, write: F) -> R {
        let Inner { driver, header_bytes, sending, .. } = &mut *self.0.borrow_mut();
        let slot = sending.iter_mut().find(|slot| slot.token.is_none()).expect("smoltcp asked whether there is one");
        let buffer = slot.buffer.as_mut().expect("only received ones are lent");
        let result = write(&mut buffer[*header_bytes..*header_bytes + bytes]);
        // SAFETY: the buffer is not touched before `transmit_complete`: the slot has a token.
        slot.token = unsafe { driver.transmit_begin(&buffer[..*header_bytes + bytes]) }.ok();
        slot.bytes = *header_bytes + bytes;
        result
    }
}

impl phy::Device for Card {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Sent<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Sent<'_>)> {
        let (slot, buffer, from, bytes) = {
            let card = self.0.get_mut();
            card.reclaim();
            if !card.sending.iter().any(|slot| slot.token.is_none()) {
                return None;
            }
            card.receive()?
        };
        Some((Received { card: &self.0, slot, buffer: Some(buffer), from, bytes }, Sent(&self.0)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sent<'_>> {
        let card = self.0.get_mut();
        card.reclaim();
        card.sending.iter().any(|slot| slot.token.is_none()).then_some(Sent(&self.0))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

/// A connection's memory.
struct Buffers {
    mqtt: ([u8; MQTT_RECEIVE_BYTES], [u8; MQTT_SEND_BYTES]),
    rtmp: [([u8; RTMP_RECEIVE_BYTES], [u8; RTMP_SEND_BYTES]); 2],
}

static BUFFERS: ConstStaticCell<Buffers> = ConstStaticCell::new(Buffers {
    mqtt: ([0; MQTT_RECEIVE_BYTES], [0; MQTT_SEND_BYTES]),
    rtmp: [([0; RTMP_RECEIVE_BYTES], [0; RTMP_SEND_BYTES]); 2],
});
static STORAGE: ConstStaticCell<[SocketStorage<'static>; 3]> = ConstStaticCell::new([SocketStorage::EMPTY; 3]);

/// Which of the two connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Which {
    Mqtt,
    Rtmp,
}

/// The machine's network: one card, one address; a connection to the broker, and one to a server, beside which the last one may still be there.
pub(crate) struct Network {
    card: Card,
    interface: Interface,
    sockets: SocketSet<'static>,
    mqtt: SocketHandle,
    /// The present one, and the last.
    rtmp: [SocketHandle; 2],
    port: u16,
}

fn instant(micros: u64) -> Instant {
    Instant::from_micros(micros.cast_signed())
}

impl Network {
    pub(crate) fn new(now_micros: u64, seed: u64) -> Self {
        let mut card = Card(RefCell::new(Inner::find()));
        let mac = EthernetAddress(card.0.get_mut().driver.mac_address());
        let mut config = Config::new(HardwareAddress::Ethernet(mac));
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut card, instant(now_micros));
        interface.update_ip_addrs(|addresses| {
            // One fits.
            let _ = addresses.push(IpCidr::new(ADDRESS.into(), 24));
        });
        let _ = interface.routes_mut().add_default_ipv4_route(GATEWAY);
        let mut sockets = SocketSet::new(&mut STORAGE.take()[..]);
        let Buffers { mqtt, rtmp } = BUFFERS.take();
        let socket = |(receive, send): (&'static mut [u8], &'static mut [u8])| {
            let mut socket = tcp::Socket::new(tcp::SocketBuffer::new(receive), tcp::SocketBuffer::new(send));
            socket.set_nagle_enabled(false);
            socket
        };
        let mqtt = sockets.add(socket((&mut mqtt.0, &mut mqtt.1)));
        let [rtmp, last] = rtmp;
        let rtmp = [sockets.add(socket((&mut rtmp.0, &mut rtmp.1))), sockets.add(socket((&mut last.0, &mut last.1)))];
        // Another local port after each start: the far end may remember the last one.
        Self { card, interface, sockets, mqtt, rtmp, port: 49_152 + (seed % 8192) as u16 }
    }

    /// Moves frames both ways.
    pub(crate) fn poll(&mut self, now_micros: u64) {
        self.interface.poll(instant(now_micros), &mut self.card, &mut self.sockets);
    }

    /// When there is something to do even if nothing arrives.
    pub(crate) fn poll_at(&mut self, now_micros: u64) -> Option<u64> {
        self.interface.poll_at(instant(now_micros), &self.sockets).map(|at| at.total_micros().cast_unsigned())
    }

    pub(crate) fn socket(&mut self, which: Which) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(if which == Which::Mqtt { self.mqtt } else { self.rtmp[0] })
    }

    /// Begins to connect. A connection to a broker that was there is reset first. One to a server stays until [`Self::forget_last`]: over a link that is
    /// down its reset would be lost, and the server would keep the stream's name for it.
    pub(crate) fn connect(&mut self, now_micros: u64, which: Which, address: Ipv4Address, port: u16) -> bool {
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
    pub(crate) fn forget_last(&mut self) {
        self.sockets.get_mut::<tcp::Socket<'static>>(self.rtmp[1]).abort();
    }
}
