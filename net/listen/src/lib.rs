//! The door of every port of the server's side: RTMP, RTMPS, MQTT and HTTP come in through a [`Door`].
//!
//! A door has places: in all, for strangers of one address, for one identity, and for connections that have not yet shown what they are
//! ("pending"). Of the last one address has a small share; who is over it waits in the address's queue, in order and not for long. When
//! others wait, what is pending for long has to go. A connection that has proved an identity ([`Permit::prove`]) counts for that and no
//! more for its address, so that a building full of cameras behind one router comes in.
//!
//! It accepts, refuses what has no place, and hands out [`Arrival`]s, which know their deadline and do the TLS handshake. Refusals are
//! counted, and logged in one line every ten seconds, so that the log's length is not the attacker's to choose; [`Rarely`] does the same
//! for other lines. [`http`] serves requests behind a door. [`descriptors`] says how many places a process can have, [`process`] what it uses.
#![deny(missing_docs)]

mod admission;
mod arrival;
mod body;
pub mod cors;
pub mod descriptors;
mod door;
pub mod http;
mod limits;
mod neighbour;
mod phase;
pub mod process;
mod rarely;
mod stall;
mod tables;

pub use admission::{Admission, Permit};
pub use arrival::{Arrival, FirstByteError, TlsError};
pub use door::Door;
pub use limits::{Counts, Limits, Refused};
pub use neighbour::{Network, NetworkError, Proxies};
pub use rarely::{Rarely, shortened};
