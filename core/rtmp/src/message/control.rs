//! Protocol control and user control (§5.4, §7.1.7): read here, for client and server alike.

use crate::error::Cause;
use crate::message::abort::Abort;
use crate::message::acknowledgement::Acknowledgement;
use crate::message::set_chunk_size::SetChunkSize;
use crate::message::set_peer_bandwidth::SetPeerBandwidth;
use crate::message::type_id;
use crate::message::user_control::UserControl;
use crate::message::window_ack_size::WindowAckSize;

/// A message that concerns the connection, not a stream's media.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Control {
    SetChunkSize(SetChunkSize),
    Abort(Abort),
    Acknowledgement(Acknowledgement),
    UserControl(UserControl),
    WindowAckSize(WindowAckSize),
    SetPeerBandwidth(SetPeerBandwidth),
}

impl Control {
    /// Reads the body of a message of this type; `None` for a type that is no control message.
    pub(crate) fn decode(type_id: u8, body: &[u8]) -> Result<Option<Self>, Cause> {
        Ok(Some(match type_id {
            type_id::SET_CHUNK_SIZE => Self::SetChunkSize(SetChunkSize::decode(body)?),
            type_id::ABORT => Self::Abort(Abort::decode(body)?),
            type_id::ACKNOWLEDGEMENT => Self::Acknowledgement(Acknowledgement::decode(body)?),
            type_id::USER_CONTROL => Self::UserControl(UserControl::decode(body)?),
            type_id::WINDOW_ACK_SIZE => Self::WindowAckSize(WindowAckSize::decode(body)?),
            type_id::SET_PEER_BANDWIDTH => Self::SetPeerBandwidth(SetPeerBandwidth::decode(body)?),
            _ => return Ok(None),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Kind;

    #[test]
    fn what_is_a_control_message_reads_as_one_and_nothing_else_does() {
        for type_id in 0..=u8::MAX {
            let is_read = !matches!(Control::decode(type_id, &[0, 0, 0, 1, 0, 0]), Ok(None));
            assert_eq!(is_read, Kind::of(type_id) == Kind::Control, "type {type_id}");
        }
    }
}
