//! The camera's streaming brain: where to stream, when to try again, what to send, what to leave out, how much to encode.
//!
//! One type, [`Pusher`], without a clock, a socket or an allocator. The same one runs in the Linux agent, in the firmware and
//! in the simulation.
//!
//! ```text
//!   MQTT  ──Signal──▶ ┌──────────┐ ──Action::Signal──▶ MQTT
//!   encoder ──Frame─▶ │  Pusher  │ ──Action::Encoder─▶ encoder
//!   link ──LinkBytes▶ │ (no I/O) │ ──Action::Dial, HangUp▶ link
//!   clock ──timeout─▶ └──────────┘ ──pending()───────▶ link
//! ```
//!
//! Its shell does four things, in any order, whenever it likes:
//!
//! 1. hand in what happened with [`Pusher::handle`],
//! 2. write [`Pusher::pending`] to the link and say with [`Pusher::consumed`] how much the link took,
//! 3. carry out [`Pusher::poll_action`] until it is `None`,
//! 4. sleep until [`Pusher::poll_timeout`] or the next input, then call [`Pusher::handle_timeout`].
//!
//! Nothing here returns an error: a bad peer becomes a [`Action::HangUp`], a `connection_error` and a backoff.
//!
//! # A run loop
//!
//! A camera with its server given by hand, whose server never answers: the loop runs in virtual time, from timeout to timeout, and shows
//! when the pusher dials. A real shell does the same with a real clock and a socket; `services/camera/src/agent` and `firmware/board` are
//! two.
//!
//! ```
//! use core::time::Duration;
//! use sightline_media::{Instant, WallTime};
//! use sightline_pusher::{Action, Config, FixedServer, Input, Pusher};
//! use sightline_signal::{DeviceId, Text};
//!
//! let server = FixedServer {
//!     tc_urls: [Text::try_from("rtmp://192.0.2.1/live").unwrap()].into_iter().collect(),
//!     name: Text::try_from("cam-1?token=t").unwrap(),
//! };
//! let config = Config { server: Some(server), ..Config::new(DeviceId::new("cam-1").unwrap()) };
//! let mut pusher = Pusher::<&[u8], 30>::new(config, 1);
//! let (mut now, wall, mut dialled_at) = (Instant::ZERO, WallTime::default(), Vec::new());
//!
//! while dialled_at.len() < 3 {
//!     // 4. Time passed, up to the timeout that the pusher asked for.
//!     pusher.handle_timeout(now);
//!     // 3. What it wants done.
//!     while let Some(action) = pusher.poll_action(wall) {
//!         match action {
//!             Action::Dial { url } => {
//!                 assert_eq!(url.as_str(), "rtmp://192.0.2.1/live");
//!                 dialled_at.push(now);
//!             }
//!             Action::HangUp | Action::Signal(_) | Action::Encoder(_) | Action::Status(_) => {}
//!         }
//!     }
//!     // 2. Nothing to write: there is no link. 1. Nothing happened. So sleep.
//!     now = pusher.poll_timeout().expect("an always-on pusher always has something to wait for");
//! }
//! // It gave the server 10 s to answer, and then waited longer each time.
//! let waits = [dialled_at[1].since(dialled_at[0]), dialled_at[2].since(dialled_at[1])];
//! assert!(waits[0] > Duration::from_secs(15) && waits[1] > waits[0], "{waits:?}");
//!
//! // 1. The system says that the network is back: it dials at once.
//! pusher.handle(now, Input::NetworkUp);
//! ```
#![no_std]
#![deny(missing_docs, clippy::indexing_slicing, clippy::std_instead_of_core)]

#[cfg(test)]
extern crate std;

mod backoff;
mod bandwidth;
mod capture_clock;
mod config;
mod debut;
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

pub use bandwidth::{BandwidthCheck, BandwidthProgress, USABLE_SHARE};
pub use config::{Config, FixedServer, Trigger};
pub use gate::{GateConfig, MotionGate};
pub use io::{Action, EncoderAction, FromDevice, Input, Status, ToDevice};
pub use pusher::{Commanded, Pusher};
