//! QEMU's network card.
#![expect(unsafe_code, reason = "memory that is shared with a device")]

use crate::machine;
use core::{
    cell::{RefCell, UnsafeCell},
    ptr::NonNull,
    sync::atomic::{AtomicUsize, Ordering},
};
use sightline_board::Card;
use smoltcp::{
    phy::{self, DeviceCapabilities, Medium},
    time::Instant,
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
/// The first slot's interrupt.
const FIRST_SOURCE: usize = 1;
const QUEUE: usize = 8;
/// A header of 12 and a frame of 1,514.
const FRAME_BYTES: usize = 1536;
const DMA_PAGES: usize = 4;

#[repr(C, align(4096))]
struct Dma(UnsafeCell<[[u8; PAGE_SIZE]; DMA_PAGES]>);
// SAFETY: pages are given away one by one, each once.
unsafe impl Sync for Dma {}
static DMA: Dma = Dma(UnsafeCell::new([[0; PAGE_SIZE]; DMA_PAGES]));
static DMA_NEXT: AtomicUsize = AtomicUsize::new(0);

struct Memory;

// SAFETY: addresses are physical on this machine, caches coherent, and pages come from a static, zeroed, each once.
unsafe impl Hal for Memory {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let first = DMA_NEXT.fetch_add(pages, Ordering::Relaxed);
        assert!(first + pages <= DMA_PAGES, "the card wants more than {DMA_PAGES} pages");
        let at = DMA.0.get().cast::<u8>().wrapping_add(first * PAGE_SIZE);
        (at as PhysAddr, NonNull::new(at).expect("a static has an address"))
    }

    unsafe fn dma_dealloc(_: PhysAddr, _: NonNull<u8>, _: usize) -> i32 {
        // The card is never released.
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

type Driver = VirtIONetRaw<Memory, MmioTransport<'static>, QUEUE>;

const RECEIVING: usize = 4;
const SENDING: usize = 8;

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
        let found = (0..VIRTIO_SLOTS).find_map(|slot| {
            let header = NonNull::new((VIRTIO_MMIO + slot * PAGE_SIZE) as *mut VirtIOHeader)?;
            // SAFETY: QEMU's `virt` has a device's registers, or an empty slot's, in each of these pages; they stay.
            let transport = unsafe { MmioTransport::new(header, PAGE_SIZE) }.ok()?;
            (transport.device_type() == DeviceType::Network).then(|| Some((slot, Driver::new(transport).ok()?)))?
        });
        let (slot, driver) = found.expect("no network card: start QEMU with -device virtio-net-device");
        machine::wake_on(FIRST_SOURCE + slot);
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

/// The card, as the network sees it.
pub(crate) struct VirtioCard(RefCell<Inner>);

impl VirtioCard {
    pub(crate) fn find() -> Self {
        Self(RefCell::new(Inner::find()))
    }
}

impl Card for VirtioCard {
    fn mac_address(&self) -> [u8; 6] {
        self.0.borrow().driver.mac_address()
    }

    /// It has no cable that the guest would know of: QEMU's `set_link` drops frames.
    fn is_up(&mut self) -> bool {
        true
    }
}

pub(crate) struct Received<'a> {
    card: &'a RefCell<Inner>,
    slot: usize,
    buffer: Option<&'static mut [u8; FRAME_BYTES]>,
    from: usize,
    bytes: usize,
}

pub(crate) struct Sent<'a>(&'a RefCell<Inner>);

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

impl phy::Device for VirtioCard {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Sent<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Sent<'_>)> {
        let (slot, buffer, from, bytes) = {
            let card = self.0.get_mut();
            // Before the queues are looked at: what comes afterwards interrupts again.
            card.driver.ack_interrupt();
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
