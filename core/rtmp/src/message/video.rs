//! Video (§7.1.5): the body of an FLV video tag (FLV 10.1, E.4.3), for AVC.

use crate::wire::{Fields, signed_24, u24};

/// Frame type and codec, packet type, composition time.
pub(crate) const HEADER_BYTES: usize = 5;

const CODEC_AVC: u8 = 7;
/// HEVC as Chinese clouds and cameras sent it before Enhanced RTMP gave it a FourCC: AVC's layout under a codec id that FLV reserves.
const CODEC_HEVC_UNOFFICIAL: u8 = 12;
const FRAME_KEY: u8 = 1;
const FRAME_INTER: u8 = 2;
const FRAME_DISPOSABLE: u8 = 3;
const FRAME_COMMAND: u8 = 5;
/// What a video message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Video {
    /// The `avcC` record follows.
    SequenceHeader,
    /// One access unit in AVCC form follows.
    Frame {
        is_keyframe: bool,
        is_disposable: bool,
        /// `pts - dts` in milliseconds, signed.
        composition_millis: i32,
    },
    /// End of sequence, a seek's command frame, nothing at all: no picture.
    Nothing,
    /// As one of the two above, but HEVC under codec id 12. Read [`Video::decode_as`] it.
    UnofficialHevc,
    /// Enhanced RTMP: see [`super::enhanced`].
    Enhanced,
    /// A codec that is not taken: its id.
    Unsupported(u8),
}

impl Video {
    /// Reads the header. What follows it in the message is the record or the access unit.
    pub(crate) fn decode(body: &[u8]) -> Self {
        let mut fields = Fields::new(body);
        let Some(first) = fields.u8() else { return Self::Nothing };
        if first & super::enhanced::VIDEO_MARK != 0 {
            return Self::Enhanced;
        }
        let (frame, codec) = (first >> 4, first & 0x0f);
        if frame == FRAME_COMMAND {
            return Self::Nothing;
        }
        match codec {
            CODEC_AVC => Self::decode_as(body),
            CODEC_HEVC_UNOFFICIAL => Self::UnofficialHevc,
            _ => Self::Unsupported(codec),
        }
    }

    /// Reads the header in AVC's layout, whatever the codec id says.
    pub(crate) fn decode_as(body: &[u8]) -> Self {
        let mut fields = Fields::new(body);
        let frame = fields.u8().unwrap_or(0) >> 4;
        match (fields.u8(), fields.u24()) {
            (Some(0), Some(_)) => Self::SequenceHeader,
            (Some(1), Some(time)) => Self::Frame {
                is_keyframe: frame == FRAME_KEY,
                is_disposable: frame == FRAME_DISPOSABLE,
                composition_millis: signed_24(time),
            },
            (_, _) => Self::Nothing,
        }
    }

    /// Writes the header; `None` for what is never sent.
    pub(crate) const fn encode(self) -> Option<[u8; HEADER_BYTES]> {
        match self {
            Self::SequenceHeader => Some([(FRAME_KEY << 4) | CODEC_AVC, 0, 0, 0, 0]),
            Self::Frame { is_keyframe, is_disposable, composition_millis } => {
                let frame = if is_keyframe {
                    FRAME_KEY
                } else if is_disposable {
                    FRAME_DISPOSABLE
                } else {
                    FRAME_INTER
                };
                let [a, b, c] = u24(composition_millis.cast_unsigned());
                Some([(frame << 4) | CODEC_AVC, 1, a, b, c])
            }
            Self::Nothing | Self::UnofficialHevc | Self::Enhanced | Self::Unsupported(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_reads_and_writes() {
        let frame = |is_keyframe, is_disposable, composition_millis| Video::Frame { is_keyframe, is_disposable, composition_millis };
        for (bytes, video) in [
            ([0x17, 0, 0, 0, 0], Video::SequenceHeader),
            ([0x17, 1, 0, 0, 80], frame(true, false, 80)),
            ([0x27, 1, 0, 0, 0], frame(false, false, 0)),
            ([0x37, 1, 0xff, 0xff, 0xd8], frame(false, true, -40)),
            ([0x27, 1, 0x80, 0, 0], frame(false, false, -8_388_608)),
        ] {
            assert_eq!(Video::decode(&bytes), video);
            assert_eq!(video.encode(), Some(bytes));
        }
        for (bytes, video) in [
            (&[][..], Video::Nothing),
            (&[0x17], Video::Nothing),
            (&[0x17, 2, 0, 0, 0], Video::Nothing),
            (&[0x57, 0], Video::Nothing),
            (&[0x12, 0, 0, 0, 0], Video::Unsupported(2)),
            (&[0x1c, 0, 0, 0, 0], Video::UnofficialHevc),
            (&[0x90, b'h', b'v', b'c', b'1'], Video::Enhanced),
        ] {
            assert_eq!(Video::decode(bytes), video);
            assert_eq!(video.encode(), None);
        }
    }
}
