//! An image that does nothing but hold the whole of the camera's side: if any of it asked for an allocator, an operating
//! system or `std`, this would not link. It is never run; the image that runs in QEMU is another.
#![no_std]
#![no_main]

use core::panic::PanicInfo;
use sightline_media::{Frame, Instant, MediaTime, TrackId, WallTime};
use sightline_pusher::{Action, Config, FromDevice, Input, Pusher, ToDevice};
use sightline_signal::{Command, DeviceId, Response, json};

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

/// Where the chip would begin.
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    let received: &[u8] = core::hint::black_box(&[0; 64]);
    let Ok(device) = DeviceId::new("chip-1") else { loop {} };
    let mut pusher: Pusher<&'static [u8], 16> = Pusher::new(Config::new(device), 1);
    let mut message = [0; 1024];
    let mut now = Instant::ZERO;
    loop {
        now += core::time::Duration::from_millis(1);
        if let Ok(response) = json::read::<Response>(received) {
            pusher.handle(now, Input::Signal(ToDevice::Response(&response)));
        }
        if let Ok(command) = json::read::<Command>(received) {
            pusher.handle(now, Input::Signal(ToDevice::Command(&command)));
        }
        pusher.handle(now, Input::LinkUp);
        pusher.handle(now, Input::LinkBytes(received));
        let time = MediaTime::from_micros(now.as_micros().cast_signed());
        let frame = Frame { track: TrackId::VIDEO, dts: time, pts: time, is_keyframe: true, is_disposable: false, payload: &[0_u8; 32][..] };
        pusher.handle(now, Input::Frame(frame, now));
        pusher.handle_timeout(now);
        let written = core::hint::black_box(pusher.pending()).iter().map(|slice| slice.len()).sum();
        pusher.consumed(now, written);
        while let Some(action) = pusher.poll_action(WallTime::from_unix_micros(0)) {
            if let Action::Signal(signal) = action {
                let length = match signal {
                    FromDevice::Request(request) => json::write(&request, &mut message),
                    FromDevice::Status(event) => json::write(&event, &mut message),
                    FromDevice::Result(result) => json::write(&result, &mut message),
                    FromDevice::State(report) => json::write(&report, &mut message),
                };
                core::hint::black_box((&message, length.unwrap_or(0)));
            }
        }
    }
}
