//! Audio (§7.1.4): the body of an FLV audio tag (FLV 10.1, E.4.2), for AAC.

use crate::wire::Fields;

/// Sound format, and AAC's packet type.
pub(crate) const HEADER_BYTES: usize = 2;

const FORMAT_AAC: u8 = 10;
/// AAC, 44 kHz, 16 bit, stereo: what E.4.2.1 prescribes for AAC whatever it really is.
const AAC: u8 = 0xaf;

/// What an audio message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Audio {
    /// The `AudioSpecificConfig` follows.
    SequenceHeader,
    /// One raw AAC frame follows.
    Frame,
    /// No sound: an empty message.
    Nothing,
    /// Enhanced RTMP: see [`super::enhanced`].
    Enhanced,
    /// Another sound format: its number.
    Unsupported(u8),
}

impl Audio {
    /// Reads the header. What follows it in the message is the record or the frame.
    pub(crate) fn decode(body: &[u8]) -> Self {
        let mut fields = Fields::new(body);
        let Some(first) = fields.u8() else { return Self::Nothing };
        if first & 0xf0 == super::enhanced::AUDIO_MARK {
            return Self::Enhanced;
        }
        let format = first >> 4;
        if format != FORMAT_AAC {
            return Self::Unsupported(format);
        }
        match fields.u8() {
            Some(0) => Self::SequenceHeader,
            Some(1) => Self::Frame,
            Some(_) | None => Self::Nothing,
        }
    }

    /// Writes the header; `None` for what is never sent.
    pub(crate) const fn encode(self) -> Option<[u8; HEADER_BYTES]> {
        match self {
            Self::SequenceHeader => Some([AAC, 0]),
            Self::Frame => Some([AAC, 1]),
            Self::Nothing | Self::Enhanced | Self::Unsupported(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_reads_and_writes() {
        for (bytes, audio) in [([0xaf, 0], Audio::SequenceHeader), ([0xaf, 1], Audio::Frame)] {
            assert_eq!(Audio::decode(&bytes), audio);
            assert_eq!(audio.encode(), Some(bytes));
        }
        // MP3, G.711 A-law, an empty message, ffmpeg's AAC mono flag.
        assert_eq!(Audio::decode(&[0x2f, 1]), Audio::Unsupported(2));
        assert_eq!(Audio::decode(&[0x72, 1]), Audio::Unsupported(7));
        assert_eq!(Audio::decode(&[0x90, b'O', b'p', b'u', b's']), Audio::Enhanced);
        assert_eq!(Audio::decode(&[]), Audio::Nothing);
        assert_eq!(Audio::decode(&[0xae, 1]), Audio::Frame);
    }
}
