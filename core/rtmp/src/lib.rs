//! RTMP without I/O: bytes in, bytes out, time and seeds as arguments.
//!
//! ```text
//!            camera                                        server
//!   send_frame │   ▲ poll_event               poll_output │   ▲ accept_publish
//!              ▼   │ Publishing, FrameSent      Event      ▼   │
//!        ┌───────────────────┐  pending ──▶ handle_bytes ┌───────────────────┐
//!        │  client::Session  │                           │  server::Session  │
//!        └───────────────────┘  handle_bytes ◀── Transmit└───────────────────┘
//! ```
//!
//! - [`client::Session`] publishes. It never allocates: payloads are lent from the caller's frames, headers are made in a small scratch.
//! - [`server::Session`] (feature `server`) takes publishers and players. [`server::shared`] serialises a frame once for all players.
//! - [`player::Session`] (feature `server`) plays; for tests and load.
//! - [`flv`] frames the same bodies for files and HTTP.
//!
//! Section numbers in the documentation are those of Adobe's "Real Time Messaging Protocol Specification" 1.0. What is done of it, with the
//! test that shows it, is in `docs/protocol/rtmp.md`.
//!
//! # A run loop
//!
//! A camera publishes one frame to a server, without a socket: what one side has to write, the other reads. With sockets, each side has
//! such a loop of its own. `examples/publish.rs` is the camera's over TCP.
//!
#![cfg_attr(feature = "server", doc = "```")]
#![cfg_attr(not(feature = "server"), doc = "```ignore")]
//! use sightline_media::{Frame, Instant, MediaTime, Track, TrackConfig, TrackId, aac::AudioConfig};
//! use sightline_rtmp::{client, server};
//!
//! // Time comes from the caller; here it stands still.
//! let now = Instant::ZERO;
//! let mut camera = client::Session::<&[u8], 2>::publish(client::Config::default(), "rtmp://host/live", "cam?token=t", now, 1)?;
//! camera.set_track(Track { id: TrackId::AUDIO, config: TrackConfig::Aac(AudioConfig::parse(&[0x12, 0x10])?) });
//! let mut origin = server::Session::new(server::Config { apps: vec!["live".into()], ..Default::default() }, now, 2);
//! let mut received = None;
//!
//! while received.is_none() {
//!     // 1. What the camera has to write: a header from its scratch, a payload lent from the frame. Say how much the link took.
//!     let [header, payload] = camera.pending();
//!     let written = [header, payload].concat();
//!     camera.consumed(written.len());
//!     origin.handle_bytes(now, &written)?;
//!
//!     // 2. What the server wants, until it has nothing more: bytes for the link, events to decide on.
//!     loop {
//!         match origin.poll_output() {
//!             server::Output::Transmit(bytes) => camera.handle_bytes(now, &bytes)?,
//!             server::Output::Event(server::Event::PublishRequested { .. }) => origin.accept_publish(),
//!             server::Output::Event(server::Event::Frame(frame)) => received = Some(frame),
//!             server::Output::Event(_) => {}
//!             server::Output::Timeout(_) => break, // until then the shell may sleep
//!         }
//!     }
//!
//!     // 3. What the camera reports.
//!     while let Some(event) = camera.poll_event() {
//!         if event == client::Event::Publishing {
//!             let at = MediaTime::ZERO;
//!             let frame = Frame { track: TrackId::AUDIO, dts: at, pts: at, is_keyframe: true, is_disposable: false, payload: &b"sound"[..] };
//!             camera.send_frame(frame)?;
//!         }
//!     }
//! }
//! assert_eq!(received.unwrap().payload[..], *b"sound");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]
#![deny(missing_docs, clippy::indexing_slicing, clippy::std_instead_of_core)]

#[cfg(feature = "server")]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod amf0;
mod amf3;
#[cfg(feature = "server")]
mod capabilities;
mod chunk;
pub mod client;
#[cfg(test)]
#[cfg(feature = "server")]
mod conformance_tests;
mod error;
pub mod flv;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod handshake;
#[cfg_attr(not(feature = "server"), expect(dead_code, reason = "a message is read and written in one file; the camera does not need both"))]
mod message;
#[cfg(feature = "server")]
pub mod player;
#[cfg(test)]
#[cfg(feature = "server")]
mod quirks_tests;
#[cfg(feature = "server")]
pub mod server;
#[cfg(test)]
#[cfg(feature = "server")]
mod session_tests;
pub mod url;
mod wire;

pub use chunk::{CHUNK_SIZE_MAX, MESSAGE_BYTES_MAX};
pub use error::{Cause, Error};
