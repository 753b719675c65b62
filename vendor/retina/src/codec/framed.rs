// sightline: this file is not upstream's.

//! Sound of which each packet is passed on as it came: Opus (RFC 7587), and AAC in LATM (RFC 6416).

use std::num::{NonZeroU16, NonZeroU32};

use bytes::Bytes;

use crate::buf::PacketRef;

use super::{AudioParameters, CodecItem};

#[derive(Debug)]
pub(crate) struct Depacketizer {
    parameters: AudioParameters,
    pending: Option<super::AudioFrame>,
}

impl Depacketizer {
    /// The `extra_data` is what the description has in `fmtp`, as text.
    pub(super) fn new(clock_rate: u32, channels: Option<NonZeroU16>, fmtp: Option<&str>) -> Self {
        Self {
            parameters: AudioParameters {
                rfc6381_codec: None,
                frame_length: None,
                clock_rate,
                channels: channels.unwrap_or(const { NonZeroU16::new(1).unwrap() }),
                extra_data: fmtp.unwrap_or_default().as_bytes().to_vec(),
                codec: super::AudioParametersCodec::Other,
            },
            pending: None,
        }
    }

    pub(super) fn parameters(&self) -> Option<super::ParametersRef<'_>> {
        Some(super::ParametersRef::Audio(&self.parameters))
    }

    pub(super) fn push(&mut self, pkt: &PacketRef<'_>) -> Result<(), String> {
        let (s1, s2) = pkt.payload().slices();
        self.pending = Some(super::AudioFrame {
            loss: pkt.meta.loss,
            ctx: pkt.meta.ctx,
            stream_id: pkt.meta.stream_id,
            timestamp: pkt.meta.timestamp,
            frame_length: const { NonZeroU32::new(1).unwrap() },
            data: Bytes::from([s1, s2].concat()),
        });
        Ok(())
    }

    pub(super) fn pull(&mut self) -> Option<Result<super::CodecItem, super::DepacketizeError>> {
        self.pending.take().map(|f| Ok(CodecItem::AudioFrame(f)))
    }
}
