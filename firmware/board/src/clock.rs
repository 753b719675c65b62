//! The loop's time, for what asks for it without knowing a board: `minimq`, by way of `embassy-time`.

use core::{
    sync::atomic::{AtomicU32, Ordering},
    task::Waker,
};
use embassy_time_driver::{Driver, TICK_HZ, time_driver_impl};

const _: () = assert!(TICK_HZ == 1_000_000, "a crate has set embassy-time to other ticks than microseconds");

/// The time of the loop's turn, in two halves: RV32IMAFC has no atomics of 64 bits. The loop alone writes and reads them, and no interrupt does: between the
/// halves nothing happens.
struct Clock {
    high: AtomicU32,
    low: AtomicU32,
}

impl Driver for Clock {
    fn now(&self) -> u64 {
        u64::from(self.high.load(Ordering::Relaxed)) << 32 | u64::from(self.low.load(Ordering::Relaxed))
    }

    /// Nobody is woken: the loop polls every future in every turn, and sleeps milliseconds in between.
    fn schedule_wake(&self, _: u64, _: &Waker) {}
}

time_driver_impl!(static CLOCK: Clock = Clock { high: AtomicU32::new(0), low: AtomicU32::new(0) });

/// Sets the time, which never goes back.
pub(crate) fn set(micros: u64) {
    CLOCK.high.store((micros >> 32) as u32, Ordering::Relaxed);
    CLOCK.low.store(micros as u32, Ordering::Relaxed);
}
