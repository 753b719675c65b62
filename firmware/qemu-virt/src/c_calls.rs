//! What the C side calls, and how it is called: `c/board.h` in Rust.
#![expect(unsafe_code, reason = "C calls by names that are not mangled, and hands over pointers")]

use crate::{
    card::VirtioCard,
    machine::{self, Machine, println},
};
use core::{
    cell::{RefCell, RefMut},
    ffi::{CStr, c_char, c_int, c_void},
    slice,
};
use sightline_board::{Board as _, Network, Which};
use sightline_signal::Quality;
use smoltcp::wire::Ipv4Address;

/// The longest sleep, as `firmware/board`'s loop has it.
const SLEEP_MICROS_MAX: u64 = 25_000;

/// `SightlineSocketState`, as far as it is needed.
const CLOSED: u32 = 0;
const OPENING: u32 = 1;
const OPEN: u32 = 2;
const DNS_FAILED: u32 = 3;
const CONNECT_FAILED: u32 = 4;
const TLS_FAILED: u32 = 5;

/// The network behind the functions of the table.
pub(crate) struct Wiring {
    network: Network<VirtioCard>,
    /// What the connection comes to, once it is not open.
    ends_as: u32,
    random: u64,
    /// Of TCP/IP and the card.
    stack_instructions: u64,
}

impl Wiring {
    pub(crate) fn new(network: Network<VirtioCard>, seed: u64) -> Self {
        Self { network, ends_as: CLOSED, random: seed, stack_instructions: 0 }
    }

    fn poll(&mut self) -> u64 {
        let began = Machine.instructions();
        let now = Machine.micros();
        self.network.poll(now);
        let again = self.network.poll_at(now);
        self.stack_instructions += Machine.instructions() - began;
        again.map_or(now + SLEEP_MICROS_MAX, |at| at.min(now + SLEEP_MICROS_MAX))
    }

    fn open(&mut self, host: &CStr, port: u16, with_tls: bool) {
        let address = host.to_str().ok().and_then(|host| host.parse::<Ipv4Address>().ok());
        self.ends_as = match address {
            _ if with_tls => TLS_FAILED,
            None => DNS_FAILED,
            Some(address) => {
                // One that can't begin is closed, which says the same.
                let _ = self.network.connect(Machine.micros(), Which::Rtmp, address, port);
                CONNECT_FAILED
            }
        };
    }

    fn state(&mut self) -> u32 {
        if matches!(self.ends_as, DNS_FAILED | TLS_FAILED) {
            return self.ends_as;
        }
        let socket = self.network.socket(Which::Rtmp);
        let (may_send, is_open) = (socket.may_send(), socket.is_open());
        match (may_send, is_open) {
            (true, _) => {
                if self.ends_as == CONNECT_FAILED {
                    self.ends_as = CLOSED;
                    self.network.forget_last();
                }
                OPEN
            }
            (false, true) if self.ends_as == CONNECT_FAILED => OPENING,
            (false, _) => self.ends_as,
        }
    }

    /// SplitMix64: for jitter and ids.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ self.random >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

/// `BoardStart`.
#[repr(C)]
pub(crate) struct Start<'a> {
    /// A `RefCell<Wiring>`.
    context: *mut c_void,
    server_url: *const c_char,
    stream_key: *const c_char,
    quality: u32,
    seconds: u32,
    clip: *const u8,
    clip_bytes: usize,
    buffers: *mut u8,
    buffers_bytes: usize,
    texts: core::marker::PhantomData<&'a str>,
}

impl<'a> Start<'a> {
    pub(crate) fn new(
        context: &'static RefCell<Wiring>,
        [server_url, stream_key]: [&'a CStr; 2],
        (quality, seconds): (Quality, u32),
        clip: &'static [u8],
        buffers: &'static mut [u8],
    ) -> Self {
        Self {
            context: core::ptr::from_ref(context).cast_mut().cast(),
            server_url: server_url.as_ptr(),
            stream_key: stream_key.as_ptr(),
            quality: quality as u32,
            seconds,
            clip: clip.as_ptr(),
            clip_bytes: clip.len(),
            buffers: buffers.as_mut_ptr(),
            buffers_bytes: buffers.len(),
            texts: core::marker::PhantomData,
        }
    }
}

/// `BoardReport`.
#[repr(C)]
struct Report {
    face_instructions: u64,
    pusher_bytes: u32,
    lent: u32,
    refused: u32,
    left_out: u32,
    returned: u32,
    returned_wrongly: u32,
    states: u32,
    streaming_states: u32,
    orders: u32,
    metrics: u32,
    servers: u32,
}

/// Runs the C side to its end, and gives its exit status.
pub(crate) fn run(start: &Start<'_>) -> u32 {
    unsafe extern "C" {
        fn camera_run(start: *const Start<'_>) -> c_int;
    }
    // SAFETY: of c/camera.c; what it is handed lives until it is back.
    unsafe { camera_run(start) }.unsigned_abs()
}

/// # Safety
/// `context` is the one of [`Start`].
unsafe fn wiring<'a>(context: *mut c_void) -> RefMut<'a, Wiring> {
    // SAFETY: as the caller says; it is a static's.
    unsafe { &*context.cast::<RefCell<Wiring>>() }.borrow_mut()
}

/// # Safety
/// `text` ends with a NUL, and lives as long as what is made of it.
unsafe fn text<'a>(text: *const c_char) -> &'a str {
    // SAFETY: as the caller says.
    unsafe { CStr::from_ptr(text) }.to_str().unwrap_or("?")
}

/// Where `libsightline.a` ends when it panics.
#[unsafe(no_mangle)]
extern "C" fn abort() -> ! {
    println(format_args!("abort: a panic in libsightline.a"));
    machine::exit(2)
}

#[unsafe(no_mangle)]
extern "C" fn board_clock_us(_: *mut c_void) -> u64 {
    Machine.micros()
}

/// There is none.
#[unsafe(no_mangle)]
extern "C" fn board_wall_clock_us(_: *mut c_void) -> i64 {
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn board_random(context: *mut c_void) -> u64 {
    // SAFETY: the context that C was given.
    unsafe { wiring(context) }.random()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn board_socket_open(context: *mut c_void, host: *const c_char, port: u16, with_tls: bool) {
    // SAFETY: the context that C was given; the host ends with a NUL and lives for the call, by sightline.h.
    let (mut wiring, host) = unsafe { (wiring(context), CStr::from_ptr(host)) };
    wiring.open(host, port, with_tls);
}

#[unsafe(no_mangle)]
unsafe extern "C" fn board_socket_state(context: *mut c_void) -> u32 {
    // SAFETY: the context that C was given.
    unsafe { wiring(context) }.state()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn board_socket_send(context: *mut c_void, bytes: *const u8, length: usize) -> isize {
    // SAFETY: the context that C was given; that many bytes are there for the call, by sightline.h.
    let (mut wiring, bytes) = unsafe { (wiring(context), slice::from_raw_parts(bytes, length)) };
    wiring.network.socket(Which::Rtmp).send_slice(bytes).map_or(-1, usize::cast_signed)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn board_socket_recv(context: *mut c_void, bytes: *mut u8, size: usize) -> isize {
    // SAFETY: the context that C was given; so much room is there for the call, and is initialised, by firmware/capi.
    let (mut wiring, room) = unsafe { (wiring(context), slice::from_raw_parts_mut(bytes, size)) };
    wiring.network.socket(Which::Rtmp).recv_slice(room).map_or(-1, usize::cast_signed)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn board_socket_close(context: *mut c_void) {
    // SAFETY: the context that C was given.
    let mut wiring = unsafe { wiring(context) };
    wiring.ends_as = CLOSED;
    wiring.network.socket(Which::Rtmp).close();
}

#[unsafe(no_mangle)]
unsafe extern "C" fn board_socket_unacknowledged(context: *mut c_void) -> i64 {
    // SAFETY: the context that C was given.
    let waiting = unsafe { wiring(context) }.network.socket(Which::Rtmp).send_queue();
    i64::try_from(waiting).unwrap_or(-1)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn board_log(_: *mut c_void, _: u32, line: *const c_char) {
    // SAFETY: it ends with a NUL and lives for the call, by sightline.h.
    println(format_args!("log: {}", unsafe { text(line) }));
}

#[unsafe(no_mangle)]
unsafe extern "C" fn board_network_is_up(context: *mut c_void) -> bool {
    // SAFETY: the context that C was given.
    unsafe { wiring(context) }.network.address().is_some()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn board_network_poll(context: *mut c_void) -> u64 {
    // SAFETY: the context that C was given.
    unsafe { wiring(context) }.poll()
}

#[unsafe(no_mangle)]
extern "C" fn board_sleep_until_us(_: *mut c_void, at_us: u64) {
    Machine.sleep_until(at_us);
}

#[unsafe(no_mangle)]
extern "C" fn board_instructions(_: *mut c_void) -> u64 {
    Machine.instructions()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn board_say(_: *mut c_void, subject: *const c_char, what: *const c_char, detail: *const c_char) {
    // SAFETY: each ends with a NUL and lives for the call.
    let (subject, what, detail) = unsafe { (text(subject), text(what), text(detail)) };
    println(format_args!("{subject}: {what} {detail}"));
}

#[unsafe(no_mangle)]
unsafe extern "C" fn board_report(context: *mut c_void, report: *const Report) {
    // SAFETY: the context that C was given; the report is C's own, of the same layout, and lives for the call.
    let (wiring, report) = unsafe { (wiring(context), &*report) };
    let Report { face_instructions, pusher_bytes, lent, refused, left_out, returned, returned_wrongly, .. } = report;
    let Report { states, streaming_states, orders, metrics, servers, .. } = report;
    let (stack_bytes, static_bytes) = (machine::stack_high_water(), machine::static_bytes());
    let (frames, stack) = (u64::from((*lent).max(1)), wiring.stack_instructions);
    let (brain_per_frame, stack_per_frame) = (face_instructions / frames, stack / frames);
    println(format_args!(
        "report: {{\"pusher_bytes\":{pusher_bytes},\"stack_bytes\":{stack_bytes},\"static_bytes\":{static_bytes},\"frames\":{lent},\
         \"brain_instructions\":{face_instructions},\"stack_instructions\":{stack},\"brain_per_frame\":{brain_per_frame},\"stack_per_frame\":{stack_per_frame},\
         \"refused\":{refused},\"left_out\":{left_out},\"returned\":{returned},\"returned_wrongly\":{returned_wrongly},\
         \"states\":{states},\"streaming_states\":{streaming_states},\"orders\":{orders},\"metrics\":{metrics},\"servers\":{servers}}}"
    ));
}
