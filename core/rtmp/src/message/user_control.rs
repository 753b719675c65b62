//! User Control (§6.2, §7.1.7): stream begin and end, pings.

use super::type_id;
use crate::error::Cause;
use crate::wire::Fields;

/// One event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum UserControl {
    /// The stream can be used.
    StreamBegin(u32),
    /// Playback of the stream is over.
    StreamEof(u32),
    /// A player's buffer, in milliseconds.
    SetBufferLength { stream_id: u32, millis: u32 },
    /// To be answered with the same number.
    PingRequest(u32),
    /// The answer.
    PingResponse(u32),
    /// Anything else; ignored.
    Unknown(u16),
}

/// The longest event, in bytes.
pub(crate) const EVENT_BYTES_MAX: usize = 10;

impl UserControl {
    pub(crate) fn decode(body: &[u8]) -> Result<Self, Cause> {
        let truncated = Cause::Truncated { type_id: type_id::USER_CONTROL };
        let mut fields = Fields::new(body);
        let event = fields.u16().ok_or(truncated)?;
        let mut number = || fields.u32().ok_or(truncated);
        Ok(match event {
            0 => Self::StreamBegin(number()?),
            1 => Self::StreamEof(number()?),
            3 => Self::SetBufferLength { stream_id: number()?, millis: number()? },
            6 => Self::PingRequest(number()?),
            7 => Self::PingResponse(number()?),
            unknown => Self::Unknown(unknown),
        })
    }

    pub(crate) fn encode(self) -> heapless::Vec<u8, EVENT_BYTES_MAX> {
        let (event, numbers) = match self {
            Self::StreamBegin(id) => (0_u16, [Some(id), None]),
            Self::StreamEof(id) => (1, [Some(id), None]),
            Self::SetBufferLength { stream_id, millis } => (3, [Some(stream_id), Some(millis)]),
            Self::PingRequest(number) => (6, [Some(number), None]),
            Self::PingResponse(number) => (7, [Some(number), None]),
            Self::Unknown(event) => (event, [None, None]),
        };
        let mut bytes = heapless::Vec::new();
        // Ten bytes fit by construction.
        let _ = bytes.extend_from_slice(&event.to_be_bytes());
        for number in numbers.into_iter().flatten() {
            let _ = bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_reads_and_writes() {
        for (bytes, event) in [
            (&[0, 0, 0, 0, 0, 1][..], UserControl::StreamBegin(1)),
            (&[0, 1, 0, 0, 0, 1], UserControl::StreamEof(1)),
            (&[0, 3, 0, 0, 0, 1, 0, 0, 0x0b, 0xb8], UserControl::SetBufferLength { stream_id: 1, millis: 3000 }),
            (&[0, 6, 1, 2, 3, 4], UserControl::PingRequest(0x0102_0304)),
            (&[0, 7, 1, 2, 3, 4], UserControl::PingResponse(0x0102_0304)),
            (&[0, 31], UserControl::Unknown(31)),
        ] {
            assert_eq!(UserControl::decode(bytes), Ok(event));
            assert_eq!(event.encode(), bytes);
        }
        assert!(UserControl::decode(&[0]).is_err() && UserControl::decode(&[0, 6, 1]).is_err());
    }
}
