//! The calls. Each checks what it is given, enters the pusher, and leaves it; none waits.
#![expect(unsafe_code, reason = "the C face: pointers come from outside")]
#![allow(clippy::missing_safety_doc, reason = "the header's contract is in each text, for readers of C")]

use core::{
    cell::UnsafeCell,
    ffi::{CStr, c_char, c_void},
    mem::{MaybeUninit, align_of, size_of},
    ptr,
    sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering},
    time::Duration,
};
use sightline_pusher::{Action, Config, EncoderAction, FixedServer, FromDevice, Input, Status, Trigger};
use sightline_rtmp::url::RtmpUrl;
use sightline_signal::{CustomQuality, DeviceId, ErrorCode, Quality, StatusEvent, StreamState, Text, json, topic::Topic};

use crate::{
    face::{Face, Names, Pushed},
    lent,
    platform::{Platform, SightlinePlatform},
    types::{
        SightlineConfig, SightlineError, SightlineFormat, SightlineLogLevel, SightlineMetrics, SightlineOrder, SightlineServer,
        SightlineSettings, SightlineStateChange, SightlineStatus, code_text,
    },
};

/// `sightline_pusher_poll` need not be called before something else was.
pub const SIGHTLINE_NEVER: u64 = u64::MAX;

/// Says that the memory holds a pusher.
const MAGIC: u32 = 0x5167_4c31;
/// The longest message to the cloud: an event with its figures, a request.
const MESSAGE_BYTES_MAX: usize = 640;
/// The longest topic and its NUL.
const TOPIC_BYTES_MAX: usize = 104;
/// Things to do in one turn; what is left is for the next, which comes at once.
const ACTIONS_MAX: usize = 16;
/// The longest message from the cloud: an answer with three servers and a token is half of it.
const MESSAGE_IN_BYTES_MAX: usize = 4096;

/// A pusher in the caller's memory. It may not be moved or copied while it is one.
pub struct SightlinePusher {
    magic: AtomicU32,
    /// Someone is inside.
    is_busy: AtomicBool,
    /// Someone carries out what there is to do.
    is_polling: AtomicBool,
    /// The state, for those who ask from a callback.
    state: AtomicU8,
    lent: AtomicU32,
    device: DeviceId,
    platform: Platform,
    face: UnsafeCell<Face>,
}

/// What the specification gives the camera's side of a chip.
const PUSHER_BYTES_MAX: usize = 24 * 1024;
const _: () = assert!(size_of::<SightlinePusher>() <= PUSHER_BYTES_MAX, "the pusher is larger than the specification's 24 KB");

/// Set while it lives.
struct Held<'a>(&'a AtomicBool);

impl<'a> Held<'a> {
    fn take(flag: &'a AtomicBool) -> Result<Self, SightlineError> {
        if flag.swap(true, Ordering::Acquire) { Err(SightlineError::Busy) } else { Ok(Self(flag)) }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// The pusher behind a handle.
///
/// # Safety
/// Null, or memory of `sightline_pusher_size` bytes that can be read, which nobody ends while the reference lives.
unsafe fn of<'a>(handle: *const SightlinePusher) -> Result<&'a SightlinePusher, SightlineError> {
    if handle.is_null() {
        return Err(SightlineError::NullPointer);
    }
    if !handle.is_aligned() {
        return Err(SightlineError::WrongAlignment);
    }
    // SAFETY: not null, aligned; readable by the contract. Looked at alone first: the rest is a pusher only behind this number.
    let magic = unsafe { &(*handle).magic };
    if magic.load(Ordering::Acquire) != MAGIC {
        return Err(SightlineError::NotInitialised);
    }
    // SAFETY: `sightline_pusher_init` has put a pusher there, and it was not ended.
    Ok(unsafe { &*handle })
}

impl SightlinePusher {
    /// Goes inside, alone.
    fn enter<R>(&self, work: impl FnOnce(&mut Face, &Platform) -> R) -> Result<R, SightlineError> {
        let _held = Held::take(&self.is_busy)?;
        // SAFETY: `is_busy` lets one in at a time, and the reference ends before the flag is given back.
        let face = unsafe { &mut *self.face.get() };
        let outcome = work(face, &self.platform);
        self.state.store(face.state().number(), Ordering::Relaxed);
        Ok(outcome)
    }
}

/// A call on a handle, as C gets it.
///
/// # Safety
/// As for [`of`].
unsafe fn call(handle: *const SightlinePusher, work: impl FnOnce(&mut Face, &Platform) -> Result<(), SightlineError>) -> SightlineError {
    // SAFETY: this function's own contract.
    match unsafe { of(handle) }.and_then(|pusher| pusher.enter(work)) {
        Ok(Ok(())) => SightlineError::Ok,
        Ok(Err(error)) | Err(error) => error,
    }
}

/// A string of the caller's, at most `max` bytes; null: empty.
///
/// # Safety
/// Null, or readable up to its NUL, or for `max` + 1 bytes where there is none; unchanged while the text lives.
unsafe fn text<'a>(string: *const c_char, max: usize) -> Result<&'a str, SightlineError> {
    if string.is_null() {
        return Ok("");
    }
    // SAFETY: readable up to the NUL, which ends the search.
    let length = (0..=max).find(|&at| unsafe { *string.add(at) } == 0).ok_or(SightlineError::BadText)?;
    // SAFETY: these bytes were just read.
    let bytes = unsafe { core::slice::from_raw_parts(string.cast::<u8>(), length) };
    core::str::from_utf8(bytes).map_err(|_| SightlineError::BadText)
}

/// Bytes that a pusher takes of the caller's memory.
#[unsafe(no_mangle)]
pub const extern "C" fn sightline_pusher_size() -> usize {
    size_of::<SightlinePusher>()
}

/// What the address of that memory must be a multiple of.
#[unsafe(no_mangle)]
pub const extern "C" fn sightline_pusher_align() -> usize {
    align_of::<SightlinePusher>()
}

/// The name of an error, for logs; lives for ever. `UNKNOWN` for a number that is none.
#[unsafe(no_mangle)]
pub extern "C" fn sightline_error_name(error: u32) -> *const c_char {
    SightlineError::ALL.into_iter().find(|known| *known as u32 == error).map_or(c"UNKNOWN", SightlineError::name).as_ptr()
}

/// Fills settings with their defaults. `config` may be null: then nothing happens.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sightline_config_default(config: *mut SightlineConfig) {
    if config.is_null() || !config.is_aligned() {
        return;
    }
    let defaults = SightlineConfig {
        struct_size: size_of::<SightlineConfig>() as u32,
        device_id: ptr::null(),
        quality: 2,
        custom: SightlineSettings::default(),
        trigger: 1,
        format: 0,
        enable_live_streaming: 1,
        enable_adaptive_bitrate: 1,
        enable_auto_reconnect: 1,
        enable_frame_dropping: 1,
        enable_bandwidth_check: 1,
        secure: 1,
        max_reconnect_attempts: 5,
        reconnect_interval_sec: 10,
        target_latency_ms: 3000,
        min_bitrate_bps: 150_000,
        connect_timeout_sec: 10,
        send_timeout_sec: 5,
        metrics_interval_sec: 5,
        frame_queue_bytes_max: 4 << 20,
        source_fps_max: 60,
        preferred_region: ptr::null(),
        rtmp_server_url: ptr::null(),
        backup_server_urls: [ptr::null(); 2],
        stream_key: ptr::null(),
    };
    // SAFETY: not null, aligned; the caller's contract is that a whole structure can be written there.
    unsafe { config.write(defaults) }
}

/// Makes a pusher in `memory`: `size` bytes of the caller's, at least `sightline_pusher_size`, aligned by `sightline_pusher_align`, not used by anyone else
/// until `sightline_pusher_deinit`. `config` and `platform` are copied; the platform's functions must be callable until then. The handle for all
/// other calls goes to `pusher`: the same address as `memory`. On an error nothing was made.
///
/// NULL_POINTER (also for a function that must be in the table), WRONG_SIZE, WRONG_ALIGNMENT, BAD_TEXT, BAD_DEVICE_ID, BAD_SERVER_URL, OUT_OF_RANGE,
/// INVALID_QUALITY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sightline_pusher_init(
    memory: *mut c_void,
    size: usize,
    config: *const SightlineConfig,
    platform: *const SightlinePlatform,
    pusher: *mut *mut SightlinePusher,
) -> SightlineError {
    let place = memory.cast::<SightlinePusher>();
    if memory.is_null() || config.is_null() || platform.is_null() || pusher.is_null() {
        return SightlineError::NullPointer;
    }
    if !place.is_aligned() || !config.is_aligned() || !platform.is_aligned() || !pusher.is_aligned() {
        return SightlineError::WrongAlignment;
    }
    // SAFETY: not null, aligned; the number comes first in both, and says whether the rest is of this version.
    let sizes = unsafe { ((*config).struct_size as usize, (*platform).struct_size as usize) };
    if size < size_of::<SightlinePusher>() || sizes != (size_of::<SightlineConfig>(), size_of::<SightlinePlatform>()) {
        return SightlineError::WrongSize;
    }
    // SAFETY: whole structures of this version, by the caller's contract; both are plain numbers and pointers.
    let (config, table) = unsafe { (config.read(), platform.read()) };
    let Some(platform) = Platform::new(table) else { return SightlineError::NullPointer };
    // SAFETY: its strings are readable during this call, by the contract.
    let (checked, format) = match unsafe { checked(&config) } {
        Ok(checked) => checked,
        Err(error) => return error,
    };
    // SAFETY: aligned and large enough, as looked at above; the memory is the caller's to give.
    make(unsafe { &mut *place.cast::<MaybeUninit<SightlinePusher>>() }, checked, format, platform);
    // SAFETY: as for `memory`.
    unsafe { pusher.write(place) };
    SightlineError::Ok
}

/// Makes a pusher where it stays. In a function of its own, and without a name for what is written: a pusher on the stack on its way to its place takes more of
/// it than all that follows.
#[inline(never)]
fn make(place: &mut MaybeUninit<SightlinePusher>, config: Config, format: SightlineFormat, platform: Platform) {
    let state = if matches!(config.trigger, Trigger::Manual | Trigger::AlwaysOn) { StreamState::Idle } else { StreamState::Standby };
    place.write(SightlinePusher {
        magic: AtomicU32::new(MAGIC),
        is_busy: AtomicBool::new(false),
        is_polling: AtomicBool::new(false),
        state: AtomicU8::new(state.number()),
        lent: AtomicU32::new(0),
        device: config.device.clone(),
        face: UnsafeCell::new(Face::new(config, format, platform.random())),
        platform,
    });
}

/// The settings, checked.
///
/// # Safety
/// Its strings are as [`text`] wants them.
#[inline(never)]
unsafe fn checked(config: &SightlineConfig) -> Result<(Config, SightlineFormat), SightlineError> {
    // SAFETY: this function's own contract, for each.
    let (device, region) = unsafe { (text(config.device_id, 64)?, text(config.preferred_region, 32)?) };
    let mut checked = Config::new(DeviceId::new(device).map_err(|_| SightlineError::BadDeviceId)?);
    checked.quality = match config.quality {
        0 => Quality::Low,
        1 => Quality::Medium,
        2 => Quality::High,
        3 => Quality::Ultra,
        4 => Quality::Custom,
        _ => return Err(SightlineError::OutOfRange),
    };
    checked.trigger = match config.trigger {
        0 => Trigger::Manual,
        1 => Trigger::Motion,
        2 => Trigger::Scheduled,
        3 => Trigger::AlwaysOn,
        4 => Trigger::OnDemand,
        _ => return Err(SightlineError::OutOfRange),
    };
    let format = match config.format {
        0 => SightlineFormat::AnnexB,
        1 => SightlineFormat::Avcc,
        _ => return Err(SightlineError::OutOfRange),
    };
    let yes = |value: u8| match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(SightlineError::OutOfRange),
    };
    let at_least = |value: u32, least: u32| if value < least { Err(SightlineError::OutOfRange) } else { Ok(value) };
    let secs = |value: u32| at_least(value, 1).map(|secs| Duration::from_secs(secs.into()));
    checked.source_fps_max = at_least(config.source_fps_max, 1)?;
    if checked.quality == Quality::Custom {
        let custom = CustomQuality::new(config.custom.into(), checked.source_fps_max).map_err(|_| SightlineError::InvalidQuality)?;
        checked.custom = Some(custom);
    }
    checked.live_streaming = yes(config.enable_live_streaming)?;
    checked.adaptive_bitrate = yes(config.enable_adaptive_bitrate)?;
    checked.auto_reconnect = yes(config.enable_auto_reconnect)?;
    checked.frame_dropping = yes(config.enable_frame_dropping)?;
    checked.bandwidth_check = yes(config.enable_bandwidth_check)?;
    checked.secure = yes(config.secure)?;
    checked.max_reconnect_attempts = at_least(config.max_reconnect_attempts, 1)?;
    checked.reconnect_interval = secs(config.reconnect_interval_sec)?;
    checked.target_latency = Duration::from_millis(at_least(config.target_latency_ms, 100)?.into());
    checked.min_bitrate_bps = at_least(config.min_bitrate_bps, CustomQuality::BITRATE_BPS_MIN)?;
    checked.connect_timeout = secs(config.connect_timeout_sec)?;
    checked.send_timeout = secs(config.send_timeout_sec)?;
    checked.metrics_interval = secs(config.metrics_interval_sec)?;
    checked.queue_bytes_max = at_least(config.frame_queue_bytes_max, 1)? as usize;
    checked.region = Text::try_from(region).map_err(|_| SightlineError::BadText)?;
    // SAFETY: as above.
    unsafe { read_server(config, device, &mut checked.server)? };
    Ok((checked, format))
}

/// The server that was given by hand, written where it stays: it is half of all settings.
///
/// # Safety
/// As for [`checked`].
unsafe fn read_server(config: &SightlineConfig, device: &str, server: &mut Option<FixedServer>) -> Result<(), SightlineError> {
    // SAFETY: this function's own contract.
    let key = unsafe { text(config.stream_key, 512)? };
    let set = server.insert(FixedServer { tc_urls: heapless::Vec::new(), name: Text::new() });
    set.name.push_str(if key.is_empty() { device } else { key }).map_err(|_| SightlineError::BadText)?;
    for url in [config.rtmp_server_url].into_iter().chain(config.backup_server_urls) {
        // SAFETY: this function's own contract.
        let url = unsafe { text(url, 192)? };
        if !url.is_empty() {
            RtmpUrl::parse(url).map_err(|_| SightlineError::BadServerUrl)?;
            let url = Text::try_from(url).map_err(|_| SightlineError::BadText)?;
            set.tc_urls.push(url).map_err(|_| SightlineError::BadServerUrl)?;
        }
    }
    if set.tc_urls.is_empty() {
        *server = None;
    }
    Ok(())
}

/// Ends the pusher at once: the connection is dropped, every lent frame is given back before this returns, the memory is the caller's again. To say goodbye
/// to server and cloud first: `sightline_pusher_stop`, then `sightline_pusher_poll` until it answers SIGHTLINE_NEVER. BUSY from within any
/// function of the table, and while another thread is in the pusher: nothing was ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sightline_pusher_deinit(pusher: *mut SightlinePusher) -> SightlineError {
    // SAFETY: the contract of every handle (`of`).
    let known = match unsafe { of(pusher) } {
        Ok(known) => known,
        Err(error) => return error,
    };
    let (polling, busy) = match (Held::take(&known.is_polling), Held::take(&known.is_busy)) {
        (Ok(polling), Ok(busy)) => (polling, busy),
        (Err(error), _) | (_, Err(error)) => return error,
    };
    known.platform.close();
    // Both flags stay set for callers that still have the handle; the number is gone first.
    core::mem::forget((polling, busy));
    known.magic.store(0, Ordering::Release);
    // SAFETY: nobody is inside, and nobody can enter; dropped once, because the number is gone. What lent frames refer to is outside of it.
    unsafe { known.face.get().drop_in_place() };
    SightlineError::Ok
}

/// Begins to work: from now on `sightline_pusher_poll` is to be called. An always-on pusher begins its stream. A second call does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sightline_pusher_start(pusher: *mut SightlinePusher) -> SightlineError {
    let work = |face: &mut Face, platform: &Platform| {
        face.start(platform);
        Ok(())
    };
    // SAFETY: the contract of every handle (`of`).
    unsafe { call(pusher, work) }
}

/// Starts the stream; one that runs stays as it is. `key`: the name to publish under at `rtmp_server_url`, 512 bytes at most; null or empty: as before; with a
/// cloud, which gives the name, it is not used. NOT_RUNNING, BAD_TEXT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sightline_pusher_start_stream(pusher: *mut SightlinePusher, key: *const c_char) -> SightlineError {
    // SAFETY: a string that lives for the call.
    let key = match unsafe { text(key, 512) } {
        Ok(key) => key,
        Err(error) => return error,
    };
    // SAFETY: the contract of every handle (`of`).
    unsafe { call(pusher, |face, platform| face.start_stream(platform, key)) }
}

/// Lends one access unit, in decoding order. It is not copied: on OK the `length` bytes at `data` belong to the pusher, which may change them, until the
/// platform's `release` is called with `token`: exactly once, perhaps before this call returns. On an error nothing was taken, `release` is not called, and the
/// bytes are as they were.
///
/// `pts_us` and `dts_us`: when to show and to decode it, in microseconds on the stream's own timeline. Whether it is a key frame is read from its slices.
///
/// In Annex B start codes of four bytes become lengths in place. Those of three bytes need a byte more each, which the leading delimiter and parameter
/// sets have room for, or zeros before the first start code, which are allowed there.
///
/// NULL_POINTER, NOT_RUNNING, FRAME_FORMAT_UNSUPPORTED. Outside of a stream frames are taken and given back at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sightline_pusher_push_frame(
    pusher: *mut SightlinePusher,
    data: *mut u8,
    length: usize,
    pts_us: i64,
    dts_us: i64,
    token: *mut c_void,
) -> SightlineError {
    if data.is_null() {
        return SightlineError::NullPointer;
    }
    if length == 0 || isize::try_from(length).is_err() {
        return SightlineError::FrameFormatUnsupported;
    }
    // SAFETY: the contract of every handle (`of`).
    let known = match unsafe { of(pusher) } {
        Ok(known) => known,
        Err(error) => return error,
    };
    let outcome = known.enter(|face, platform| {
        // SAFETY: not null, a length that can be; the caller lends them by this call.
        let bytes = unsafe { core::slice::from_raw_parts_mut(data, length) };
        // SAFETY: lent until the release; the counter is in the handle's memory, and outlives all that was lent.
        unsafe { face.push_frame(Pushed { bytes, token, pts_us, dts_us }, platform, &raw const known.lent) }
    });
    match outcome {
        Ok(Ok(())) => SightlineError::Ok,
        Ok(Err(error)) | Err(error) => error,
    }
}

/// Tells the parameter sets of an encoder that gives them apart, without start codes; they are copied. NULL_POINTER, FRAME_FORMAT_UNSUPPORTED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sightline_pusher_set_parameter_sets(
    pusher: *mut SightlinePusher,
    sps: *const u8,
    sps_length: usize,
    pps: *const u8,
    pps_length: usize,
) -> SightlineError {
    if sps.is_null() || pps.is_null() {
        return SightlineError::NullPointer;
    }
    if sps_length > MESSAGE_IN_BYTES_MAX || pps_length > MESSAGE_IN_BYTES_MAX {
        return SightlineError::FrameFormatUnsupported;
    }
    // SAFETY: not null; readable for their lengths during this call, by the contract.
    let (sps, pps) = unsafe { (core::slice::from_raw_parts(sps, sps_length), core::slice::from_raw_parts(pps, pps_length)) };
    let track = match lent::track(sps, pps) {
        Ok(track) => track,
        Err(error) => return error,
    };
    let work = |face: &mut Face, platform: &Platform| {
        face.set_track(platform, track);
        Ok(())
    };
    // SAFETY: the contract of every handle (`of`).
    unsafe { call(pusher, work) }
}

/// Ends the stream; one that does not run stays as it is. NOT_RUNNING.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sightline_pusher_stop_stream(pusher: *mut SightlinePusher) -> SightlineError {
    // SAFETY: the contract of every handle (`of`).
    unsafe { call(pusher, |face, platform| face.stop_stream(platform)) }
}

/// Ends the stream and the work: no frame is taken from now on. The goodbyes are sent by the next calls of `sightline_pusher_poll`, two seconds long at
/// most, until it answers SIGHTLINE_NEVER. A second call does nothing; `sightline_pusher_start` begins again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sightline_pusher_stop(pusher: *mut SightlinePusher) -> SightlineError {
    let work = |face: &mut Face, platform: &Platform| {
        face.stop(platform);
        Ok(())
    };
    // SAFETY: the contract of every handle (`of`).
    unsafe { call(pusher, work) }
}

/// Another size, frame rate and bit rate, from the next key frame on. INVALID_QUALITY: the running stream stays as it was.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sightline_pusher_set_custom_quality(
    pusher: *mut SightlinePusher,
    width: u32,
    height: u32,
    fps: u32,
    bitrate_bps: u32,
) -> SightlineError {
    let settings = SightlineSettings { width, height, fps, bitrate_bps };
    // SAFETY: the contract of every handle (`of`).
    unsafe { call(pusher, |face, platform| face.set_custom_quality(platform, settings.into())) }
}

/// Another bit rate to aim at, in bits a second. INVALID_QUALITY: under 50 kbit/s, or above 100 Mbit/s.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sightline_pusher_adjust_bitrate(pusher: *mut SightlinePusher, bitrate_bps: u32) -> SightlineError {
    // SAFETY: the contract of every handle (`of`).
    unsafe { call(pusher, |face, platform| face.adjust_bitrate(platform, bitrate_bps)) }
}

/// Whether the bit rate follows the link.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sightline_pusher_set_adaptive_bitrate(pusher: *mut SightlinePusher, is_adaptive: bool) -> SightlineError {
    let work = |face: &mut Face, platform: &Platform| {
        face.set_adaptive_bitrate(platform, is_adaptive);
        Ok(())
    };
    // SAFETY: the contract of every handle (`of`).
    unsafe { call(pusher, work) }
}

/// True while frames are taken by a server. False for a handle that is none. May be called from every function of the table.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sightline_pusher_is_streaming(pusher: *const SightlinePusher) -> bool {
    // SAFETY: the contract of every handle (`of`).
    unsafe { of(pusher) }.is_ok_and(|known| known.state.load(Ordering::Relaxed) == StreamState::Streaming.number())
}

/// Writes how the pusher fares to `status`. NULL_POINTER, WRONG_ALIGNMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sightline_pusher_status(pusher: *const SightlinePusher, status: *mut SightlineStatus) -> SightlineError {
    if status.is_null() {
        return SightlineError::NullPointer;
    }
    if !status.is_aligned() {
        return SightlineError::WrongAlignment;
    }
    // SAFETY: the contract of every handle (`of`).
    let known = match unsafe { of(pusher) } {
        Ok(known) => known,
        Err(error) => return error,
    };
    match known.enter(|face, _| face.status(known.lent.load(Ordering::Relaxed))) {
        Ok(now) => {
            // SAFETY: not null, aligned; a whole structure can be written there, by the contract.
            unsafe { status.write(now) };
            SightlineError::Ok
        }
        Err(error) => error,
    }
}

/// A message came by MQTT on devices/{id}/stream/response or …/command: subscribe to both with QoS 1. `topic` ends with a NUL. NOT_RUNNING, NULL_POINTER,
/// UNKNOWN_TOPIC, BAD_MESSAGE (also above 4,096 bytes).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sightline_pusher_on_message(
    pusher: *mut SightlinePusher,
    topic: *const c_char,
    payload: *const u8,
    length: usize,
) -> SightlineError {
    if topic.is_null() || payload.is_null() {
        return SightlineError::NullPointer;
    }
    if length > MESSAGE_IN_BYTES_MAX {
        return SightlineError::BadMessage;
    }
    // SAFETY: a string that lives for the call.
    let Ok(topic) = (unsafe { text(topic, TOPIC_BYTES_MAX) }) else { return SightlineError::UnknownTopic };
    // SAFETY: not null; readable for its length during this call, by the contract.
    let payload = unsafe { core::slice::from_raw_parts(payload, length) };
    // SAFETY: the contract of every handle (`of`).
    let known = match unsafe { of(pusher) } {
        Ok(known) => known,
        Err(error) => return error,
    };
    match known.enter(|face, platform| face.on_message(platform, &known.device, topic, payload)) {
        Ok(Ok(())) => SightlineError::Ok,
        Ok(Err(error)) | Err(error) => error,
    }
}

/// The way to the cloud is open, with its subscriptions (`is_up`), or gone: what waits for an answer is asked at once, or reported as DISCOVERY_TIMEOUT. NOT_RUNNING.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sightline_pusher_on_mqtt(pusher: *mut SightlinePusher, is_up: bool) -> SightlineError {
    let input = if is_up { Input::SignalUp } else { Input::SignalDown(ErrorCode::DiscoveryTimeout) };
    // SAFETY: the contract of every handle (`of`).
    unsafe { call(pusher, |face, platform| face.simple(platform, input)) }
}

/// The network is back: what waits is tried at once. NOT_RUNNING.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sightline_pusher_on_network_up(pusher: *mut SightlinePusher) -> SightlineError {
    // SAFETY: the contract of every handle (`of`).
    unsafe { call(pusher, |face, platform| face.simple(platform, Input::NetworkUp)) }
}

/// Something moves, now: call it again while it does. When the event ends is decided here. NOT_RUNNING, WRONG_TRIGGER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sightline_pusher_on_motion(pusher: *mut SightlinePusher) -> SightlineError {
    // SAFETY: the contract of every handle (`of`).
    unsafe { call(pusher, |face, platform| face.on_motion(platform)) }
}

/// A window of the schedule begins or ends. NOT_RUNNING, WRONG_TRIGGER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sightline_pusher_on_schedule(pusher: *mut SightlinePusher, is_open: bool) -> SightlineError {
    // SAFETY: the contract of every handle (`of`).
    unsafe { call(pusher, |face, platform| face.on_schedule(platform, is_open)) }
}

/// The encoder failed for good: the stream ends in error, and is started again by `sightline_pusher_start_stream`. NOT_RUNNING.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sightline_pusher_on_encoder_failed(pusher: *mut SightlinePusher) -> SightlineError {
    // SAFETY: the contract of every handle (`of`).
    unsafe { call(pusher, |face, platform| face.simple(platform, Input::Failed(ErrorCode::EncoderFailed))) }
}

/// One turn: reads and writes the connection, does what is due, and calls the platform's functions. Never waits. To be called again after at most
/// `wait_us` microseconds, which it writes (SIGHTLINE_NEVER: not before something was called), and after each other call; sooner does no
/// harm. `wait_us` may be null. BUSY from within a function of the table.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sightline_pusher_poll(pusher: *mut SightlinePusher, wait_us: *mut u64) -> SightlineError {
    // SAFETY: the contract of every handle (`of`).
    let outcome = unsafe { of(pusher) }.and_then(|known| {
        let _polling = Held::take(&known.is_polling)?;
        known.enter(Face::turn)?;
        for _ in 0..ACTIONS_MAX {
            let next = known.enter(|face, platform| face.next_action(platform).map(|action| (action, face.names.clone())))?;
            let Some((action, names)) = next else { return known.enter(Face::settle) };
            // Outside: what is called here may call back.
            carry_out(known, &action, &names);
        }
        known.enter(Face::settle).map(|_| Some(Duration::ZERO))
    });
    match outcome {
        Ok(wait) => {
            let wait = wait.map_or(SIGHTLINE_NEVER, |wait| u64::try_from(wait.as_micros()).unwrap_or(SIGHTLINE_NEVER));
            if !wait_us.is_null() && wait_us.is_aligned() {
                // SAFETY: not null, aligned; writable by the contract.
                unsafe { wait_us.write(wait) };
            }
            SightlineError::Ok
        }
        Err(error) => error,
    }
}

fn carry_out(pusher: &SightlinePusher, action: &Action, names: &Names) {
    let table = pusher.platform.table();
    match action {
        Action::Signal(message) => {
            publish(pusher, message);
            if let FromDevice::Status(event) = message {
                tell_event(table, event, names);
            }
        }
        Action::Encoder(order) => tell_encoder(table, *order),
        Action::Status(status) => tell_state(pusher, *status),
        // The face has taken these.
        Action::Dial { .. } | Action::HangUp => {}
    }
}

fn publish(pusher: &SightlinePusher, message: &FromDevice) {
    let table = pusher.platform.table();
    let Some(call) = table.publish else { return };
    let mut bytes = [0; MESSAGE_BYTES_MAX];
    let (kind, written) = match message {
        FromDevice::Request(request) => (Topic::Request, json::write(request, &mut bytes)),
        FromDevice::Status(event) => (Topic::Status, json::write(event, &mut bytes)),
        FromDevice::Result(result) => (Topic::Result, json::write(result, &mut bytes)),
        FromDevice::State(report) => (Topic::State, json::write(report, &mut bytes)),
    };
    let mut topic = heapless::String::<TOPIC_BYTES_MAX>::new();
    let is_whole = topic.push_str(&kind.of(&pusher.device)).is_ok() && topic.push('\0').is_ok();
    let Some(payload) = written.ok().and_then(|length| bytes.get(..length)).filter(|_| is_whole) else {
        let warning = SightlineLogLevel::Warning;
        return pusher.platform.log(warning, format_args!("a message for {} is longer than {MESSAGE_BYTES_MAX} bytes", kind.suffix()));
    };
    // SAFETY: sightline_pusher_init's contract; the topic ends with a NUL, both outlive the call.
    let is_taken = unsafe { call(table.context, topic.as_ptr().cast(), payload.as_ptr(), payload.len(), kind == Topic::State) };
    if !is_taken {
        pusher.platform.log(SightlineLogLevel::Warning, format_args!("no way to the cloud for {}", kind.suffix()));
    }
}

fn tell_encoder(table: &SightlinePlatform, order: EncoderAction) {
    let Some(call) = table.encoder else { return };
    let (order, settings) = match order {
        EncoderAction::Start(settings) => (SightlineOrder::Start, settings.into()),
        EncoderAction::Change(settings) => (SightlineOrder::Change, settings.into()),
        EncoderAction::Keyframe => (SightlineOrder::Keyframe, SightlineSettings::default()),
        EncoderAction::Pause => (SightlineOrder::Pause, SightlineSettings::default()),
        EncoderAction::Resume => (SightlineOrder::Resume, SightlineSettings::default()),
        EncoderAction::Stop => (SightlineOrder::Stop, SightlineSettings::default()),
    };
    // SAFETY: sightline_pusher_init's contract; the settings outlive the call.
    unsafe { call(table.context, order as u32, &raw const settings) }
}

fn tell_state(pusher: &SightlinePusher, status: Status) {
    let table = pusher.platform.table();
    let error = code_text(status.error);
    let name = state_name(status.state);
    pusher.platform.log(SightlineLogLevel::Info, format_args!("{} {}", status.state.name(), status.error.map_or("", ErrorCode::as_str)));
    let Some(call) = table.on_state else { return };
    let change = SightlineStateChange {
        state: status.state.into(),
        state_name: name.as_ptr(),
        error_code: error.as_ptr().cast(),
        next_retry_ms: status.next_retry.map_or(0, |delay| u32::try_from(delay.as_millis()).unwrap_or(u32::MAX)),
    };
    // SAFETY: sightline_pusher_init's contract; the change and its strings outlive the call.
    unsafe { call(table.context, &raw const change) }
}

const fn state_name(state: StreamState) -> &'static CStr {
    match state {
        StreamState::Idle => c"idle",
        StreamState::Requesting => c"requesting",
        StreamState::Connecting => c"connecting",
        StreamState::Streaming => c"streaming",
        StreamState::Reconnecting => c"reconnecting",
        StreamState::Stopping => c"stopping",
        StreamState::Error => c"error",
        StreamState::Standby => c"standby",
    }
}

fn tell_event(table: &SightlinePlatform, event: &StatusEvent, names: &Names) {
    match event {
        StatusEvent::Metrics(event) => {
            let Some(call) = table.on_metrics else { return };
            let metrics = SightlineMetrics::from(event.metrics);
            // SAFETY: sightline_pusher_init's contract; the figures outlive the call.
            unsafe { call(table.context, &raw const metrics) }
        }
        StatusEvent::Started(event) => tell_server(table, &event.server_url, names, None),
        StatusEvent::ConnectionError(event) => tell_server(table, "", names, Some(event.error_code)),
        StatusEvent::Stopped(_) => {}
    }
}

fn tell_server(table: &SightlinePlatform, url: &str, names: &Names, error: Option<ErrorCode>) {
    let Some(call) = table.on_server else { return };
    let url = terminated::<193>(url);
    let (name, region) = (terminated::<65>(&names.server), terminated::<33>(&names.region));
    let code = code_text(error);
    let server = SightlineServer {
        rtmp_url: url.as_ptr().cast(),
        server_name: name.as_ptr().cast(),
        server_region: region.as_ptr().cast(),
        error_code: code.as_ptr().cast(),
    };
    // SAFETY: sightline_pusher_init's contract; the server and its strings outlive the call.
    unsafe { call(table.context, &raw const server, error.is_none()) }
}

/// With its NUL; each caller's room is one more than what it holds.
fn terminated<const N: usize>(text: &str) -> heapless::String<N> {
    let mut out = heapless::String::new();
    let _ = out.push_str(text);
    let _ = out.push('\0');
    out
}
