//! The camera's streaming brain: where to stream, when to try again, what to send, what to leave out, how much to encode.
//!
//! One type, [`Pusher`], without a clock, a socket or an allocator. The same one runs in the Linux agent, in the firmware and
//! in the simulation. Its shell does four things, in any order, whenever it likes:
//!
//! 1. hand in what happened with [`Pusher::handle`],
//! 2. write [`Pusher::pending`] to the link and say with [`Pusher::consumed`] how much the link took,
//! 3. carry out [`Pusher::poll_action`] until it is `None`,
//! 4. sleep until [`Pusher::poll_timeout`] or the next input, then call [`Pusher::handle_timeout`].
//!
//! Nothing here returns an error: a bad peer becomes a [`Action::HangUp`], a `connection_error` and a backoff.
#![no_std]
#![deny(missing_docs, clippy::indexing_slicing, clippy::std_instead_of_core)]

#[cfg(test)]
extern crate std;

mod backoff;
mod bandwidth;
mod config;
mod describe;
mod flight;
mod gate;
mod io;
mod ladder;
mod outbox;
mod pusher;
mod queue;
mod rate;
mod servers;
mod tally;

pub use backoff::Backoff;
pub use bandwidth::{BandwidthCheck, BandwidthProgress, USABLE_SHARE};
pub use config::{Config, FixedServer, Trigger};
pub use gate::{GateConfig, MotionGate};
pub use io::{Action, EncoderAction, FromDevice, Input, Status, ToDevice};
pub use pusher::{Commanded, Pusher};
