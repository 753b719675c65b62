//! RTMP without I/O: bytes in, bytes out, time and seeds as arguments.
//!
//! Section numbers are those of Adobe's "Real Time Messaging Protocol Specification" 1.0.
//!
//! - [`client::Session`] publishes. It never allocates: payloads are lent from the caller's frames, headers made in a small scratch.
//! - [`server::Session`] (feature `server`) takes publishers and players. [`server::shared`] serialises a frame once for all players.
//! - [`player::Session`] (feature `server`) plays; for tests and load.
//! - [`flv`] frames the same bodies for files and HTTP.
//!
//! | section | what | done | shown by |
//! |---|---|---|---|
//! | 5.2 | simple handshake; wrong echo tolerated | yes | `session_tests::split_at_every_byte`, `server::tests` |
//! | – | digest handshake of Flash | no | |
//! | 5.3.1.1 | chunk stream ids of 1–3 bytes | yes | `chunk_stream_ids_of_one_two_and_three_bytes` |
//! | 5.3.1.2 | header types 0–3, interleaved; a header inside a message refused | yes | `row_1…`, `row_2…`, `row_4…` |
//! | 5.3.1.3 | extended timestamp, on type 3 present or absent | yes | `row_5…`, `a_payload_that_begins_like…` |
//! | – | timestamps unwrapped past 2^32 ms | yes | `row_3…`, `server::clock` |
//! | 5.4.1 | Set Chunk Size 1..=1 MiB, also inside a message | yes | `chunk_size_changes_at_the_next_chunk` |
//! | 5.4.2 | Abort Message | yes | `an_aborted_message_is_forgotten` |
//! | 5.4.3–4 | acknowledgements each window, both ways, past 2^32 | yes | `session_tests::acknowledgements…` |
//! | 5.4.5 | Set Peer Bandwidth: read and sent, not obeyed | yes | `set_peer_bandwidth` |
//! | 6.2, 7.1.7 | pings answered, stream begin and end | yes | `user_control`, `session_tests::pings…` |
//! | 7.1.1, 7.2 | `connect createStream releaseStream FCPublish FCUnpublish publish play deleteStream closeStream pause _checkbw`, `_error` to others | yes | `command`, `server::tests` |
//! | 7.1.2 | metadata, with and without `@setDataFrame` | yes | `data` |
//! | 7.1.3 | shared objects | ignored | |
//! | 7.1.4–5 | AAC and AVC | yes | `audio`, `video`, `session_tests` |
//! | 7.1.6 | aggregate messages | no | |
//! | – | AMF3 types 15 and 17: AMF0 inside | yes | `command` |
//! | – | E-RTMP v2 | no; reported as unsupported, the connection lives | `video` |
#![no_std]
#![deny(missing_docs, clippy::indexing_slicing, clippy::std_instead_of_core)]

#[cfg(feature = "server")]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod amf0;
mod chunk;
pub mod client;
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
#[cfg(feature = "server")]
pub mod server;
#[cfg(test)]
#[cfg(feature = "server")]
mod session_tests;
pub mod url;
mod wire;

pub use chunk::{CHUNK_SIZE_MAX, MESSAGE_BYTES_MAX};
pub use error::{Cause, Error};

/// The decoder configuration as a sequence header carries it.
fn config_bytes(config: &sightline_media::TrackConfig) -> &[u8] {
    match config {
        sightline_media::TrackConfig::H264(avc) => avc.as_bytes(),
        sightline_media::TrackConfig::Aac(aac) => aac.as_bytes(),
    }
}
