//! A stream to many WebRTC viewers, without sockets: what WHEP needs behind its HTTP.
//!
//! Packets are made once for all viewers of a track ([`payloads`]) and kept in its [`History`]. A viewer is a [`Session`]: a place in the
//! history, and the keys that its packets are encrypted with. So a viewer more costs encryption and the system's call.
//!
//! ```text
//! Offer::parse ─▶ choose_video ─▶ Answer::text          Session::new
//! datagrams ─▶ Session::handle_datagram ─▶ poll_transmit ─▶ socket
//! pictures ─▶ payloads ─▶ History::push ─▶ Session::poll_media ─▶ socket
//! ```
//!
//! Nothing here reads a clock or opens a socket. The handshake's library draws its random numbers itself.
#![deny(missing_docs, clippy::indexing_slicing)]

mod answer;
mod feed;
mod framing;
mod history;
mod offer;
mod pace;
mod rtcp;
mod rtp;
mod session;
mod srtp;
mod stun;

pub use answer::{Answer, CANDIDATES_MAX, Chosen, Mismatch, choose_opus, choose_video, transport};
pub use feed::{Feed, Outgoing};
pub use framing::{Deframer, LENGTH_BYTES as FRAMING_BYTES, frame};
pub use history::{History, Packet, RESEND_PACKETS};
pub use offer::{IceText, Medium, MediumKind, OFFER_BYTES_MAX, Offer, OfferError, OfferedCodec, Setup, Transport};
pub use rtcp::{Feedback, SenderReport, bye, ntp, parse as parse_rtcp};
pub use rtp::{DATAGRAM_BYTES, HEADER_BYTES, Header, PAYLOAD_BYTES_MAX, Payload, payloads};
pub use session::{Burst, Identity, Moment, Over, Session, Transmit};
pub use srtp::{Keys, Profile, RTP_OVERHEAD_BYTES, RtcpReceiver, RtcpSender, RtpSender, SrtpError};
pub use stun::{Check, addressee, check, is_stun};
