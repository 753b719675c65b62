//! The camera's side of Sightline for a chip without an operating system: all of an image but its hardware.
//!
//! An image brings a [`Board`] (clock, sleep, serial port), a [`Card`] (frames of a network) and a [`Camera`] (with its encoder), and calls [`run`].
//! What is in between is here, and the same in each: the arena, the loop around the pusher, MQTT, RTMP, TCP/IP with an address by DHCP.
//! `firmware/qemu-virt` runs it against real peers; `firmware/esp32p4` is built for the chip.
#![no_std]

mod agent;
mod arena;
mod camera;
mod clock;
mod mqtt;
mod network;

pub use agent::{Agent, Cost, Parts, Settings, run};
pub use arena::{Arena, Brain, FOOTPRINTS, Footprint, QUEUE_FRAMES};
pub use camera::{Buffers, Camera, Clip, ClipCamera, Lent};
pub use network::{Card, Network, Which};

use core::fmt;

/// What the loop asks of the hardware besides network and camera.
pub trait Board {
    /// Microseconds since it was switched on. Never goes back.
    fn micros(&self) -> u64;

    /// Sleeps until then, or until the network card has something: the loop looks around after it. A board whose card does not end its sleep sleeps a
    /// millisecond at most.
    fn sleep_until(&self, at_micros: u64);

    /// A line for people, on the serial port. Secrets never get here.
    fn say(&self, line: fmt::Arguments<'_>);

    /// Instructions that its processor has retired; 0 where nobody counts them.
    fn instructions(&self) -> u64 {
        0
    }
}
