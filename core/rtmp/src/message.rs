//! The messages (§5.4, §6.2, §7): one wire message a file, read and written side by side.

pub(crate) mod abort;
pub(crate) mod acknowledgement;
#[cfg(feature = "server")]
pub(crate) mod aggregate;
pub(crate) mod audio;
pub(crate) mod command;
pub(crate) mod control;
pub(crate) mod data;
pub(crate) mod enhanced;
#[cfg(feature = "server")]
pub(crate) mod properties;
pub(crate) mod set_chunk_size;
pub(crate) mod set_peer_bandwidth;
pub(crate) mod user_control;
pub(crate) mod video;
pub(crate) mod window_ack_size;

/// Message type ids.
pub(crate) mod type_id {
    pub(crate) const SET_CHUNK_SIZE: u8 = 1;
    pub(crate) const ABORT: u8 = 2;
    pub(crate) const ACKNOWLEDGEMENT: u8 = 3;
    pub(crate) const USER_CONTROL: u8 = 4;
    pub(crate) const WINDOW_ACK_SIZE: u8 = 5;
    pub(crate) const SET_PEER_BANDWIDTH: u8 = 6;
    pub(crate) const AUDIO: u8 = 8;
    pub(crate) const VIDEO: u8 = 9;
    /// Data in AMF3's frame: a zero byte, then AMF0.
    pub(crate) const DATA_AMF3: u8 = 15;
    /// A command in AMF3's frame: a zero byte, then AMF0.
    pub(crate) const COMMAND_AMF3: u8 = 17;
    pub(crate) const DATA: u8 = 18;
    pub(crate) const COMMAND: u8 = 20;
    /// Several messages in one, as FLV tags.
    pub(crate) const AGGREGATE: u8 = 22;
}

/// What a message is, by its type id: the one place where the numbers are told apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// See [`control::Control`].
    Control,
    Audio,
    Video,
    /// Data; in AMF3's frame a zero byte comes before the AMF0.
    Data {
        is_amf3: bool,
    },
    /// A command; [`command::Command`] reads both frames.
    Command,
    Aggregate,
    /// Shared objects, and whatever else no camera or player sends.
    Other,
}

impl Kind {
    pub(crate) const fn of(type_id: u8) -> Self {
        match type_id {
            type_id::SET_CHUNK_SIZE..=type_id::SET_PEER_BANDWIDTH => Self::Control,
            type_id::AUDIO => Self::Audio,
            type_id::VIDEO => Self::Video,
            type_id::DATA => Self::Data { is_amf3: false },
            type_id::DATA_AMF3 => Self::Data { is_amf3: true },
            type_id::COMMAND | type_id::COMMAND_AMF3 => Self::Command,
            type_id::AGGREGATE => Self::Aggregate,
            _ => Self::Other,
        }
    }
}

/// The chunk stream of protocol control (§5.3.1.1).
pub(crate) const CSID_CONTROL: u32 = 2;
/// The chunk streams that Flash, librtmp and ffmpeg use; some servers know no others.
pub(crate) const CSID_COMMAND: u32 = 3;
pub(crate) const CSID_AUDIO: u32 = 4;
pub(crate) const CSID_DATA: u32 = 5;
pub(crate) const CSID_VIDEO: u32 = 6;

/// A message of one 32-bit number.
fn number_of(body: &[u8], type_id: u8) -> Result<u32, crate::error::Cause> {
    crate::wire::Fields::new(body).u32().ok_or(crate::error::Cause::Truncated { type_id })
}
