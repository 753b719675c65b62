//! Why a session ends. Always the peer's doing or the clock's: a caller hangs up and logs it.

use core::fmt;

/// Why a session can't go on. The connection is to be closed; the session takes nothing more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Error {
    /// What the peer did, or failed to do.
    pub cause: Cause,
    /// How many bytes of the peer had been read when the fault was seen: it is in them, near their end. A client counts up to the piece that holds it.
    pub at_byte: u64,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, at byte {} of what the peer sent", self.cause, self.at_byte)
    }
}

impl core::error::Error for Error {}

/// What the peer did, or failed to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The first byte is not RTMP version 3 (§5.2.2). 6 is RTMPE, which no one should use; 22 is TLS, sent to a plain port.
    Version(u8),
    /// The handshake was not done in time.
    HandshakeTimeout,
    /// The handshake was done, and no publish or play followed in time.
    CommandTimeout,
    /// The server did not say yes or no to the publish in time.
    PublishTimeout,
    /// Nothing, or next to nothing, came for longer than the limit.
    IdleTimeout,
    /// A chunk size outside 1 to 2^31-1 (§5.4.1).
    ChunkSize(u32),
    /// More chunk streams than the limit.
    ChunkStreams,
    /// A message's declared length is over the limit.
    MessageLength(u32),
    /// Unfinished messages hold more bytes than the limit for all chunk streams together.
    PartialBytes,
    /// A new message header inside an unfinished message of the same chunk stream.
    HeaderMidMessage {
        /// The chunk stream.
        csid: u32,
    },
    /// A chunk stream began with a header that refers to one before it (§5.3.1.2).
    HeaderMissing {
        /// The chunk stream.
        csid: u32,
    },
    /// A message is shorter than its fields.
    Truncated {
        /// The message type id.
        type_id: u8,
    },
    /// AMF0 that can't be read: nested too deep, too many elements, a type that does not exist, cut off.
    Amf0,
    /// A command came before what it needs: `publish` before `connect`, say.
    OutOfOrder(&'static str),
    /// The peer asks for more than it reads the answers of.
    Unread,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(6) => f.write_str("the peer speaks RTMPE (version 6), which is not offered"),
            Self::Version(22) => f.write_str("the peer speaks TLS to a plain RTMP port"),
            Self::Version(version) => write!(f, "the peer does not speak RTMP: its first byte is {version}, not 3"),
            Self::HandshakeTimeout => f.write_str("the peer did not finish its handshake in time"),
            Self::CommandTimeout => f.write_str("the peer did not ask to publish or play in time"),
            Self::PublishTimeout => f.write_str("the server did not answer the publish in time"),
            Self::IdleTimeout => f.write_str("the peer sent next to nothing for too long"),
            Self::ChunkSize(size) => write!(f, "the peer set a chunk size of {size}, which is not 1 to 2147483647"),
            Self::ChunkStreams => f.write_str("the peer opened too many chunk streams"),
            Self::MessageLength(length) => write!(f, "the peer announced a message of {length} bytes"),
            Self::PartialBytes => f.write_str("the peer left too many bytes in unfinished messages"),
            Self::HeaderMidMessage { csid } => write!(f, "the peer began a message inside another on chunk stream {csid}"),
            Self::HeaderMissing { csid } => write!(f, "the peer began chunk stream {csid} with a header that refers to none"),
            Self::Truncated { type_id } => write!(f, "the peer sent a message of type {type_id} shorter than its fields"),
            Self::Amf0 => f.write_str("the peer sent AMF0 that can't be read"),
            Self::OutOfOrder(what) => write!(f, "the peer sent {what} out of order"),
            Self::Unread => f.write_str("the peer asks for more than it reads"),
        }
    }
}
