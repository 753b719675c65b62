//! The camera's side of Sightline for C and C++ (`include/sightline.h`, `include/stream_pusher.hpp`): for firmware that has its own network,
//! encoder and MQTT client, such as one made with ESP-IDF.
//!
//! [`SightlinePusher`] lives in the caller's memory; nothing here allocates, waits, or starts a thread. What the platform has comes in as a table of
//! functions, [`SightlinePlatform`]. All decisions are `sightline_pusher::Pusher`'s: this crate translates.
#![no_std]

#[cfg(test)]
extern crate std;

mod calls;
mod face;
mod flv;
mod lent;
mod platform;
#[cfg(test)]
mod tests;
mod types;

pub use calls::*;
pub use flv::*;
pub use platform::*;
pub use types::*;

/// A panic is our bug, and there is nothing to go on with.
#[cfg(all(not(test), panic = "abort"))]
#[panic_handler]
#[expect(unsafe_code, reason = "the C library's way out")]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        fn abort() -> !;
    }
    // SAFETY: of the C library that every user of this crate has; takes nothing and does not come back.
    unsafe { abort() }
}

/// Named by the unwinding tables of core's library on hosts, and never called: a panic aborts.
#[cfg(all(not(test), not(target_os = "none")))]
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "the name that the tables have")]
extern "C" fn rust_eh_personality() {}
