//! The door of every port of the server's side: RTMP, RTMPS, MQTT and HTTP come in through a [`Door`].
//!
//! A door has places: in all, for one address, and for connections that have not yet shown what they are. It accepts, refuses what has
//! no place, and hands out [`Arrival`]s, which know their deadline and do the TLS handshake. Refusals are counted, and logged in one
//! line every ten seconds, so that the log's length is not the attacker's to choose. [`http`] serves requests behind a door.
#![deny(missing_docs)]

mod admission;
mod arrival;
mod door;
pub mod http;
mod stall;

pub use admission::{Admission, Counts, Limits, Permit, Refused};
pub use arrival::{Arrival, FirstByteError, TlsError};
pub use door::Door;
