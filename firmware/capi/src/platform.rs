//! What the platform gives: a table of functions, and the calls to it.
#![expect(unsafe_code, reason = "every function of the table is the platform's")]

use core::ffi::{c_char, c_void};

use crate::types::{SightlineMetrics, SightlineServer, SightlineSettings, SightlineSocketState, SightlineStateChange};

/// What the platform gives. Each function gets `context` first, and returns at once: nothing here may wait. Fill what is not wanted with null where
/// that is allowed.
///
/// Functions marked **inner** run while the pusher is at work: a call of the pusher's from within them gives `BUSY`. All others may call everything but
/// `sightline_pusher_poll` and `sightline_pusher_deinit`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SightlinePlatform {
    /// Bytes of this structure: `sizeof(SightlinePlatform)`.
    pub struct_size: u32,
    /// Given to each function; may be null.
    pub context: *mut c_void,
    /// **inner.** A clock in microseconds that never runs backwards, from any start.
    pub clock_us: Option<unsafe extern "C" fn(context: *mut c_void) -> u64>,
    /// **inner.** Microseconds since 1970 by the device's clock; may be wrong, 0 where there is none.
    pub wall_clock_us: Option<unsafe extern "C" fn(context: *mut c_void) -> i64>,
    /// **inner.** 64 random bits, other for each start of the device: for jitter and ids, no secrets.
    pub random: Option<unsafe extern "C" fn(context: *mut c_void) -> u64>,
    /// **inner.** Begins a connection; one that is there is dropped. `host`: a name or an address, ends with a NUL, lives for the call. How it goes,
    /// `socket_state` says.
    pub socket_open: Option<unsafe extern "C" fn(context: *mut c_void, host: *const c_char, port: u16, with_tls: bool)>,
    /// **inner.** A `SightlineSocketState`.
    pub socket_state: Option<unsafe extern "C" fn(context: *mut c_void) -> u32>,
    /// **inner.** Takes some of the bytes and says how many: 0 when there is no room now, -1 when the connection has ended.
    pub socket_send: Option<unsafe extern "C" fn(context: *mut c_void, bytes: *const u8, length: usize) -> isize>,
    /// **inner.** Writes at most `size` received bytes and says how many: 0 when there are none now, -1 when the connection has ended.
    pub socket_recv: Option<unsafe extern "C" fn(context: *mut c_void, bytes: *mut u8, size: usize) -> isize>,
    /// **inner.** Drops the connection, whatever it is doing. Bytes that it took may still go out.
    pub socket_close: Option<unsafe extern "C" fn(context: *mut c_void)>,
    /// **inner.** Null where the platform can't say. Bytes of this connection that were sent and are not acknowledged by the far end (`TCP_INFO`, or the fill
    /// of the send buffer); -1 when it can't say now.
    pub socket_unacknowledged: Option<unsafe extern "C" fn(context: *mut c_void) -> i64>,
    /// **inner.** A lent frame is given back: exactly once for each that was taken.
    pub release: Option<unsafe extern "C" fn(context: *mut c_void, token: *mut c_void)>,
    /// Null where there is no encoder to tell. `order`: a `SightlineOrder`; `settings` live for the call, and count for `START` and `CHANGE`.
    pub encoder: Option<unsafe extern "C" fn(context: *mut c_void, order: u32, settings: *const SightlineSettings)>,
    /// Null where there is no MQTT. Publishes with QoS 1; both strings live for the call, the topic ends with a NUL. False: there is no connection, the message
    /// is lost, which is allowed.
    pub publish:
        Option<unsafe extern "C" fn(context: *mut c_void, topic: *const c_char, payload: *const u8, length: usize, retain: bool) -> bool>,
    /// Null where nobody looks. The state changed.
    pub on_state: Option<unsafe extern "C" fn(context: *mut c_void, change: *const SightlineStateChange)>,
    /// Null where nobody looks. New figures.
    pub on_metrics: Option<unsafe extern "C" fn(context: *mut c_void, metrics: *const SightlineMetrics)>,
    /// Null where nobody looks. A stream runs at this server, or failed.
    pub on_server: Option<unsafe extern "C" fn(context: *mut c_void, server: *const SightlineServer, success: bool)>,
    /// Null where nobody looks. **inner.** A line for the log; `level`: a `SightlineLogLevel`. No secret is in it.
    pub log: Option<unsafe extern "C" fn(context: *mut c_void, level: u32, line: *const c_char)>,
}

/// The table, checked: what must be there is there.
#[derive(Clone, Copy)]
pub(crate) struct Platform {
    table: SightlinePlatform,
    release: unsafe extern "C" fn(*mut c_void, *mut c_void),
    clock_us: unsafe extern "C" fn(*mut c_void) -> u64,
}

/// How sending or receiving went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ended;

impl Platform {
    /// `None` where one is missing that must be there.
    pub(crate) fn new(table: SightlinePlatform) -> Option<Self> {
        let sockets = table.socket_open.is_some() && table.socket_state.is_some() && table.socket_send.is_some();
        let rest = table.socket_recv.is_some() && table.socket_close.is_some() && table.wall_clock_us.is_some() && table.random.is_some();
        Some(Self { release: table.release?, clock_us: table.clock_us?, table }).filter(|_| sockets && rest)
    }

    pub(crate) const fn table(&self) -> &SightlinePlatform {
        &self.table
    }

    pub(crate) fn now_us(&self) -> u64 {
        // SAFETY: sightline_pusher_init's contract: the table's functions can be called with its context until the pusher's end.
        unsafe { (self.clock_us)(self.table.context) }
    }

    pub(crate) fn wall_us(&self) -> i64 {
        // SAFETY: as for `now_us`.
        self.table.wall_clock_us.map_or(0, |call| unsafe { call(self.table.context) })
    }

    pub(crate) fn random(&self) -> u64 {
        // SAFETY: as for `now_us`.
        self.table.random.map_or(0, |call| unsafe { call(self.table.context) })
    }

    pub(crate) fn open(&self, host: &core::ffi::CStr, port: u16, with_tls: bool) {
        if let Some(call) = self.table.socket_open {
            // SAFETY: as for `now_us`; the string ends with a NUL and outlives the call.
            unsafe { call(self.table.context, host.as_ptr(), port, with_tls) }
        }
    }

    pub(crate) fn socket_state(&self) -> SightlineSocketState {
        // SAFETY: as for `now_us`.
        let state = self.table.socket_state.map_or(0, |call| unsafe { call(self.table.context) });
        match state {
            1 => SightlineSocketState::Opening,
            2 => SightlineSocketState::Open,
            3 => SightlineSocketState::DnsFailed,
            4 => SightlineSocketState::ConnectFailed,
            5 => SightlineSocketState::TlsFailed,
            _ => SightlineSocketState::Closed,
        }
    }

    pub(crate) fn send(&self, bytes: &[u8]) -> Result<usize, Ended> {
        let Some(call) = self.table.socket_send.filter(|_| !bytes.is_empty()) else { return Ok(0) };
        // SAFETY: as for `now_us`; the bytes are a slice's, which outlives the call.
        let taken = unsafe { call(self.table.context, bytes.as_ptr(), bytes.len()) };
        usize::try_from(taken).ok().filter(|&taken| taken <= bytes.len()).ok_or(Ended)
    }

    pub(crate) fn receive<'a>(&self, room: &'a mut [u8]) -> Result<&'a [u8], Ended> {
        let Some(call) = self.table.socket_recv else { return Ok(&[]) };
        // SAFETY: as for `now_us`; the room is a slice's, initialised, and outlives the call.
        let read = unsafe { call(self.table.context, room.as_mut_ptr(), room.len()) };
        usize::try_from(read).ok().and_then(|read| room.get(..read)).ok_or(Ended)
    }

    pub(crate) fn close(&self) {
        if let Some(call) = self.table.socket_close {
            // SAFETY: as for `now_us`.
            unsafe { call(self.table.context) }
        }
    }

    pub(crate) fn unacknowledged(&self) -> Option<u64> {
        // SAFETY: as for `now_us`.
        self.table.socket_unacknowledged.and_then(|call| u64::try_from(unsafe { call(self.table.context) }).ok())
    }

    pub(crate) fn release(&self, token: *mut c_void) {
        // SAFETY: as for `now_us`; the token is one that was taken and is given back once, by `Lent`'s drop.
        unsafe { (self.release)(self.table.context, token) }
    }

    pub(crate) fn log(&self, level: crate::types::SightlineLogLevel, line: core::fmt::Arguments<'_>) {
        use core::fmt::Write as _;
        let Some(call) = self.table.log else { return };
        let mut text = heapless::String::<LOG_BYTES_MAX>::new();
        // A line that is too long is cut, at the latest before its NUL.
        let _ = text.write_fmt(line);
        while text.push('\0').is_err() {
            let _ = text.pop();
        }
        // SAFETY: as for `now_us`; the line ends with a NUL and outlives the call.
        unsafe { call(self.table.context, level as u32, text.as_ptr().cast()) }
    }
}

/// The longest line of the log: an address of 192 bytes and a sentence about it.
const LOG_BYTES_MAX: usize = 256;
