//! The C face from Rust: what it refuses, and that every frame comes back once.
#![expect(unsafe_code, reason = "calls the face as C does")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that can't go on fails")]

use core::ffi::{c_char, c_void};
use core::ptr;
use sightline_signal::ErrorCode;
use std::{boxed::Box, vec, vec::Vec};

use crate::{
    calls::*,
    flv::*,
    lent,
    platform::SightlinePlatform,
    types::{CODE_BYTES_MAX, SightlineConfig, SightlineError, SightlineState, SightlineStatus, SightlineUnit},
};

/// A platform whose connection opens and takes everything, and says nothing.
#[derive(Default)]
struct World {
    now_us: u64,
    released: Vec<usize>,
    sent: usize,
    socket: u32,
    handle: Option<*mut SightlinePusher>,
    inner: Option<SightlineError>,
    outer: Option<SightlineError>,
}

/// # Safety
/// Each function gets the context that `table` put into the table: a `World` that outlives the pusher.
unsafe fn world<'a>(context: *mut c_void) -> &'a mut World {
    // SAFETY: this function's own contract; one function of the table runs at a time.
    unsafe { &mut *context.cast() }
}

unsafe extern "C" fn clock(context: *mut c_void) -> u64 {
    // SAFETY: as `world` wants.
    unsafe { world(context) }.now_us
}
unsafe extern "C" fn wall(_: *mut c_void) -> i64 {
    0
}
unsafe extern "C" fn random(_: *mut c_void) -> u64 {
    7
}
unsafe extern "C" fn open(context: *mut c_void, _: *const c_char, _: u16, _: bool) {
    // SAFETY: as `world` wants.
    unsafe { world(context) }.socket = 2;
}
unsafe extern "C" fn state(context: *mut c_void) -> u32 {
    // SAFETY: as `world` wants.
    unsafe { world(context) }.socket
}
unsafe extern "C" fn send(context: *mut c_void, _: *const u8, length: usize) -> isize {
    // SAFETY: as `world` wants.
    unsafe { world(context) }.sent += length;
    length.cast_signed()
}
unsafe extern "C" fn receive(_: *mut c_void, _: *mut u8, _: usize) -> isize {
    0
}
unsafe extern "C" fn close(context: *mut c_void) {
    // SAFETY: as `world` wants.
    unsafe { world(context) }.socket = 0;
}
unsafe extern "C" fn release(context: *mut c_void, token: *mut c_void) {
    // SAFETY: as `world` wants.
    let world = unsafe { world(context) };
    world.released.push(token.addr());
    // SAFETY: the handle, which is busy.
    world.inner = world.handle.map(|handle| unsafe { sightline_pusher_stop_stream(handle) });
}
unsafe extern "C" fn on_state(context: *mut c_void, _: *const crate::types::SightlineStateChange) {
    // SAFETY: as `world` wants; the reference ends here, because the calls below use the clock.
    let Some(handle) = unsafe { world(context) }.handle else { return };
    // SAFETY: the handle, outside of which this runs.
    let outcome = unsafe { sightline_pusher_adjust_bitrate(handle, 1_000_000) };
    // SAFETY: as `world` wants.
    unsafe { world(context) }.outer = Some(outcome);
    // SAFETY: the handle.
    assert_eq!(unsafe { sightline_pusher_poll(handle, ptr::null_mut()) }, SightlineError::Busy);
}

fn table(world: *mut World) -> SightlinePlatform {
    SightlinePlatform {
        struct_size: size_of::<SightlinePlatform>() as u32,
        context: world.cast(),
        clock_us: Some(clock),
        wall_clock_us: Some(wall),
        random: Some(random),
        socket_open: Some(open),
        socket_state: Some(state),
        socket_send: Some(send),
        socket_recv: Some(receive),
        socket_close: Some(close),
        socket_unacknowledged: None,
        release: Some(release),
        encoder: None,
        publish: None,
        on_state: Some(on_state),
        on_metrics: None,
        on_server: None,
        log: None,
    }
}

fn config() -> SightlineConfig {
    let mut config = core::mem::MaybeUninit::uninit();
    // SAFETY: room for one.
    unsafe { sightline_config_default(config.as_mut_ptr()) };
    // SAFETY: just written.
    let mut config = unsafe { config.assume_init() };
    config.device_id = c"cam-1".as_ptr();
    config.trigger = 0;
    config.rtmp_server_url = c"rtmp://127.0.0.1/live".as_ptr();
    config
}

/// Memory of the caller's, aligned for anything.
fn memory() -> Vec<u128> {
    vec![0; sightline_pusher_size().div_ceil(16)]
}

fn init(
    memory: &mut [u128],
    size: usize,
    config: &SightlineConfig,
    table: &SightlinePlatform,
) -> Result<*mut SightlinePusher, SightlineError> {
    let mut pusher = ptr::null_mut();
    // SAFETY: all of it lives longer than the tests' pushers.
    match unsafe { sightline_pusher_init(memory.as_mut_ptr().cast(), size, config, table, &raw mut pusher) } {
        SightlineError::Ok => Ok(pusher),
        error => Err(error),
    }
}

fn unit() -> Vec<u8> {
    let mut unit = vec![0, 0, 0, 1];
    unit.extend_from_slice(&[
        0x67, 0x42, 0xc0, 0x0a, 0xda, 0x7a, 0x11, 0, 0, 0, 1, 0x68, 0xce, 0x38, 0x80, 0, 0, 0, 1, 0x65, 0x88, 0x84, 0x21,
    ]);
    unit
}

#[test]
fn what_can_not_be_a_pusher_is_refused() {
    let (mut world, mut memory, size) = (World::default(), memory(), sightline_pusher_size());
    let (good, table) = (config(), table(&raw mut world));
    assert_eq!(init(&mut memory, size - 1, &good, &table), Err(SightlineError::WrongSize));
    type Change = fn(&mut SightlineConfig);
    let cases: [(Change, SightlineError); 12] = [
        (|config| config.struct_size -= 4, SightlineError::WrongSize),
        (|config| config.device_id = ptr::null(), SightlineError::BadDeviceId),
        (|config| config.device_id = c"a/b".as_ptr(), SightlineError::BadDeviceId),
        (|config| config.device_id = c"\xff".as_ptr(), SightlineError::BadText),
        (|config| config.quality = 5, SightlineError::OutOfRange),
        (|config| config.quality = 4, SightlineError::InvalidQuality),
        (|config| config.trigger = 77, SightlineError::OutOfRange),
        (|config| config.format = 2, SightlineError::OutOfRange),
        (|config| config.secure = 2, SightlineError::OutOfRange),
        (|config| config.reconnect_interval_sec = 0, SightlineError::OutOfRange),
        (|config| config.rtmp_server_url = c"http://a/b".as_ptr(), SightlineError::BadServerUrl),
        (|config| config.preferred_region = c"a region whose name is longer than 32".as_ptr(), SightlineError::BadText),
    ];
    for (number, (change, error)) in cases.into_iter().enumerate() {
        let mut bad = good;
        change(&mut bad);
        assert_eq!(init(&mut memory, size, &bad, &table), Err(error), "case {number}");
    }
    let (mut without, mut other) = (table, table);
    without.release = None;
    other.struct_size += 8;
    assert_eq!(init(&mut memory, size, &good, &without), Err(SightlineError::NullPointer));
    assert_eq!(init(&mut memory, size, &good, &other), Err(SightlineError::WrongSize));
    let mut pusher = ptr::null_mut();
    // SAFETY: refused before anything is read.
    unsafe {
        let shifted = memory.as_mut_ptr().cast::<u8>().add(1).cast();
        assert_eq!(sightline_pusher_init(shifted, size, &good, &table, &raw mut pusher), SightlineError::WrongAlignment);
        assert_eq!(sightline_pusher_init(ptr::null_mut(), size, &good, &table, &raw mut pusher), SightlineError::NullPointer);
        assert_eq!(sightline_pusher_start(ptr::null_mut()), SightlineError::NullPointer);
        assert_eq!(sightline_pusher_start(memory.as_mut_ptr().cast()), SightlineError::NotInitialised);
        assert!(!sightline_pusher_is_streaming(ptr::null()));
    }
}

#[test]
fn every_frame_that_was_taken_is_given_back_once() {
    let mut world = Box::new(World::default());
    let world = &raw mut *world;
    let mut memory = memory();
    let pusher = init(&mut memory, sightline_pusher_size(), &config(), &table(world)).unwrap();
    let mut frame = unit();
    let token = ptr::without_provenance_mut::<c_void>;
    // SAFETY: a live handle, whose platform's world and frames outlive it.
    unsafe {
        (*world).handle = Some(pusher);
        let push = |bytes: &mut [u8], number| sightline_pusher_push_frame(pusher, bytes.as_mut_ptr(), bytes.len(), 0, 0, token(number));
        assert_eq!(push(&mut frame, 1), SightlineError::NotRunning);
        assert_eq!(frame, unit());
        assert_eq!(sightline_pusher_start(pusher), SightlineError::Ok);
        assert_eq!(sightline_pusher_start(pusher), SightlineError::Ok);
        assert_eq!(push(&mut [1, 2, 3], 2), SightlineError::FrameFormatUnsupported);
        assert_eq!(sightline_pusher_push_frame(pusher, ptr::null_mut(), 4, 0, 0, token(3)), SightlineError::NullPointer);
        assert!((*world).released.is_empty(), "what was not taken is not given back");
        // No stream: taken, and given back at once, from within.
        assert_eq!(push(&mut frame, 4), SightlineError::Ok);
        assert_eq!((*world).released, [4]);
        assert_eq!((*world).inner, Some(SightlineError::Busy));
        assert_eq!(sightline_pusher_start_stream(pusher, c"key".as_ptr()), SightlineError::Ok);
        let mut wait_us = 0;
        assert_eq!(sightline_pusher_poll(pusher, &raw mut wait_us), SightlineError::Ok);
        assert_eq!((*world).outer, Some(SightlineError::Ok), "a callback may call");
        assert_eq!(sightline_pusher_poll(pusher, &raw mut wait_us), SightlineError::Ok);
        assert!((*world).sent > 1500, "the handshake's first bytes: {}", (*world).sent);
        let mut status = core::mem::MaybeUninit::<SightlineStatus>::uninit();
        assert_eq!(sightline_pusher_status(pusher, status.as_mut_ptr()), SightlineError::Ok);
        assert_eq!(status.assume_init().state, SightlineState::Connecting);
        assert_eq!(sightline_pusher_set_custom_quality(pusher, 1281, 720, 25, 1_000_000), SightlineError::InvalidQuality);
        assert_eq!(sightline_pusher_adjust_bitrate(pusher, 10), SightlineError::InvalidQuality);
        assert_eq!(sightline_pusher_on_motion(pusher), SightlineError::WrongTrigger);
        let topic = c"devices/other/stream/command".as_ptr();
        assert_eq!(sightline_pusher_on_message(pusher, topic, b"{}".as_ptr(), 2), SightlineError::UnknownTopic);
        let topic = c"devices/cam-1/stream/command".as_ptr();
        assert_eq!(sightline_pusher_on_message(pusher, topic, b"{}".as_ptr(), 2), SightlineError::BadMessage);
        assert_eq!(sightline_pusher_stop(pusher), SightlineError::Ok);
        assert_eq!(sightline_pusher_poll(pusher, &raw mut wait_us), SightlineError::Ok);
        assert_eq!(wait_us, SIGHTLINE_NEVER);
        assert_eq!(sightline_pusher_deinit(pusher), SightlineError::Ok);
        assert_eq!(sightline_pusher_deinit(pusher), SightlineError::NotInitialised);
        assert_eq!((*world).released, [4]);
    }
}

#[test]
fn a_lent_frame_comes_back_when_it_is_dropped() {
    let mut world = Box::new(World::default());
    let platform = crate::platform::Platform::new(table(&raw mut *world)).unwrap();
    let count = core::sync::atomic::AtomicU32::new(0);
    let bytes = unit();
    // SAFETY: all of it outlives the frame.
    let frame = unsafe { lent::Lent::new(&bytes, ptr::without_provenance_mut(9), &raw const platform, &raw const count) };
    assert_eq!((frame.as_ref(), count.load(core::sync::atomic::Ordering::Relaxed)), (&bytes[..], 1));
    drop(frame);
    assert_eq!((&world.released[..], count.load(core::sync::atomic::Ordering::Relaxed)), (&[9][..], 0));
}

#[test]
fn start_codes_of_three_bytes_move_into_the_room_before_them() {
    let expected = [0, 0, 0, 3, 0x65, 0x88, 0x84, 0, 0, 0, 2, 0x65, 0x80];
    for before in [&[0, 0, 0, 1, 9, 0xf0][..], &[0, 0], &[0, 0, 1, 0x68, 0xce]] {
        let mut unit = [before, &[0, 0, 1, 0x65, 0x88, 0x84, 0, 0, 1, 0x65, 0x80]].concat();
        let found = lent::annex_b_in_place(&mut unit, |_| Ok(())).unwrap();
        assert!(found.is_keyframe && unit[found.payload] == expected, "{before:?}");
    }
    let mut tight = vec![0, 0, 0, 1, 0x65, 0x88, 0x84, 0, 0, 1, 0x65, 0x80];
    let as_it_was = tight.clone();
    assert!(lent::annex_b_in_place(&mut tight, |_| Ok(())).is_err());
    assert_eq!(tight, as_it_was);
    // Whoever can't take what it found has it as it was, whatever the start codes.
    for start in [&[0, 0, 0, 1][..], &[0, 0, 1]] {
        let mut refused = [&[0, 0, 0, 1, 9, 0xf0][..], start, &[0x65, 0x88, 0x84], start, &[0x65, 0x80]].concat();
        let as_it_was = refused.clone();
        assert!(lent::annex_b_in_place(&mut refused, |_| Err(SightlineError::WrongSize)).is_err());
        assert_eq!(refused, as_it_was);
    }
}

/// NAL units behind start codes, or behind lengths.
fn framed(nals: &[&[u8]], has_lengths: bool) -> Vec<u8> {
    let length = |nal: &[u8]| u32::try_from(nal.len()).unwrap().to_be_bytes();
    nals.iter().flat_map(|nal| [if has_lengths { length(nal) } else { [0, 0, 0, 1] }.as_slice(), *nal].concat()).collect()
}

/// There is no allocator here and there is one there: key frames, what may be left out, and the configuration are one reading.
#[test]
fn a_unit_is_read_as_servers_read_it() {
    let sps: &[u8] = &[0x67, 0x42, 0xc0, 0x0a, 0xda, 0x7a, 0x11];
    let (pps, other_pps): (&[u8], &[u8]) = (&[0x68, 0xce, 0x38, 0x80], &[0x68, 0x5c, 0x38, 0x80]);
    let (idr, idr_by_other): (&[u8], &[u8]) = (&[0x65, 0x88, 0x84, 0x21], &[0x65, 0x88, 0x44, 0x21]);
    let (inter, left_out): (&[u8], &[u8]) = (&[0x41, 0x9a, 0x24], &[0x01, 0x9a, 0x24]);
    // A recovery point, alone and behind a message of another kind.
    let (recovery, later_recovery): (&[u8], &[u8]) = (&[6, 6, 1, 0xc4, 0x80], &[6, 5, 2, 7, 7, 6, 1, 0xc4, 0x80]);
    for nals in [
        vec![sps, pps, idr],
        vec![&[9, 0xf0], sps, pps, idr, &[0x65, 0x40, 0x80]],
        vec![sps, pps, other_pps, idr],
        vec![sps, pps, other_pps, idr_by_other],
        vec![sps, pps, recovery, inter],
        vec![sps, pps, later_recovery, left_out],
        vec![sps, pps, &[6, 5, 1, 7, 0x80], idr, &[0x0c, 0xff, 0x80]],
    ] {
        let mut unit = framed(&nals, false);
        let mut intake = sightline_media::intake::Intake::new(sightline_media::intake::Family::H264);
        let (taken, payload) = intake.take_unit(&unit).unwrap();
        let config = taken.config.as_ref().and_then(sightline_media::TrackConfig::avc).unwrap();
        let mut track = None;
        let found = lent::annex_b_in_place(&mut unit, |found| {
            track = found;
            Ok(())
        });
        let found = found.unwrap();
        assert_eq!((found.is_keyframe, found.is_disposable), (taken.is_keyframe, taken.is_disposable), "{nals:x?}");
        assert_eq!(track.as_ref().and_then(|track| track.config.avc()), Some(config), "{nals:x?}");
        assert_eq!(unit[found.payload], payload, "{nals:x?}");
        let (track, found) = lent::look_avcc(&framed(&nals, true)).unwrap();
        assert_eq!((found.is_keyframe, found.is_disposable), (taken.is_keyframe, taken.is_disposable), "{nals:x?}");
        assert_eq!(track.as_ref().and_then(|track| track.config.avc()), Some(config), "{nals:x?}");
    }
}

#[test]
fn a_unit_becomes_an_flv_tag_where_it_lies() {
    let mut bytes = unit();
    let mut found = core::mem::MaybeUninit::<SightlineUnit>::uninit();
    let mut room = [0; SIGHTLINE_FLV_SEQUENCE_HEADER_BYTES_MAX];
    // SAFETY: bytes and rooms of this function, with their lengths.
    unsafe {
        assert_eq!(sightline_unit_read(bytes.as_mut_ptr(), bytes.len(), found.as_mut_ptr()), SightlineError::Ok);
        let found = found.assume_init();
        let payload = &bytes[found.offset as usize..][..found.length as usize];
        assert_eq!((payload, found.is_keyframe, found.is_disposable), (&[0, 0, 0, 4, 0x65, 0x88, 0x84, 0x21][..], 1, 0));
        let set = |offset: u32, length: u32| &found.record[offset as usize..][..length as usize];
        assert_eq!(set(found.sps_offset, found.sps_length), [0x67, 0x42, 0xc0, 0x0a, 0xda, 0x7a, 0x11]);
        assert_eq!(set(found.pps_offset, found.pps_length), [0x68, 0xce, 0x38, 0x80]);
        assert_eq!(sightline_flv_file_header(room.as_mut_ptr(), room.len()), SIGHTLINE_FLV_FILE_HEADER_BYTES);
        assert_eq!(&room[..5], b"FLV\x01\x01");
        let written = sightline_flv_sequence_header(&raw const found, 7, room.as_mut_ptr(), room.len());
        let (record, tag) = (found.record_bytes as usize, &room[..written]);
        assert_eq!((written, &tag[..16]), (record + 20, &[9, 0, 0, record as u8 + 5, 0, 0, 7, 0, 0, 0, 0, 0x17, 0, 0, 0, 0][..]));
        assert_eq!(&tag[16..16 + record], &found.record[..record]);
        assert_eq!(&tag[written - 4..], &(record as u32 + 16).to_be_bytes());
        let written = sightline_flv_frame_header(&raw const found, 0x0100_0203, 1, room.as_mut_ptr(), room.len());
        assert_eq!(written, SIGHTLINE_FLV_FRAME_HEADER_BYTES);
        assert_eq!(room[..16], [9, 0, 0, 13, 0, 2, 3, 1, 0, 0, 0, 0x17, 1, 0, 0, 1]);
        assert_eq!(sightline_flv_frame_trailer(&raw const found, room.as_mut_ptr(), 4), SIGHTLINE_FLV_FRAME_TRAILER_BYTES);
        assert_eq!(room[..4], [0, 0, 0, 24]);
        assert_eq!(sightline_flv_frame_header(&raw const found, 0, 0, room.as_mut_ptr(), 15), 0);
        let huge = SightlineUnit { length: 1 << 24, ..found };
        assert_eq!(sightline_flv_frame_trailer(&raw const huge, room.as_mut_ptr(), 4), 0);
        assert_eq!(sightline_flv_sequence_header(&SightlineUnit::default(), 0, room.as_mut_ptr(), room.len()), 0);
        let mut none = SightlineUnit::default();
        assert_eq!(sightline_unit_read([0, 0, 0, 1, 9, 0xf0].as_mut_ptr(), 6, &raw mut none), SightlineError::FrameFormatUnsupported);
        assert_eq!(sightline_unit_read(ptr::null_mut(), 6, &raw mut none), SightlineError::NullPointer);
    }
}

#[test]
fn every_error_has_a_name_and_every_code_fits() {
    for error in SightlineError::ALL {
        // SAFETY: a string that lives for ever.
        let name = unsafe { core::ffi::CStr::from_ptr(sightline_error_name(error as u32)) };
        assert_eq!(name, error.name());
    }
    // SAFETY: the same.
    assert_eq!(unsafe { core::ffi::CStr::from_ptr(sightline_error_name(99)) }, c"UNKNOWN");
    assert!(ErrorCode::ALL.iter().all(|code| code.as_str().len() < CODE_BYTES_MAX));
}
