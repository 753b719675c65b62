//! What a peer says in `connect` that it can do beyond the standard (E-RTMP v2, "Enhancing NetConnection connect Command").

use crate::amf0::{Object, Value};
use crate::message::command::{CAN_DECODE, CAN_FORWARD, RECONNECT};
use crate::message::enhanced;
use heapless::Vec;
use sightline_media::Codec;

/// FourCCs that are kept of a peer's lists; there are not as many.
const FOUR_CCS_MAX: usize = 24;

/// What a peer says that it can do. Empty for a legacy peer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Capabilities {
    caps_ex: u32,
    is_enhanced: bool,
    /// The flags of `*`, which overrides all others.
    any: Option<u8>,
    four_ccs: Vec<([u8; 4], u8), FOUR_CCS_MAX>,
}

impl Capabilities {
    /// Reads the command object of `connect`.
    pub(crate) fn of(object: Object<'_>) -> Self {
        let mut read = Self::default();
        if let Some(number) = object.get("capsEx").and_then(|value| value.as_number()) {
            // Saturates for what no one sends.
            read.caps_ex = number as u32;
            read.is_enhanced = true;
        }
        if let Some(Value::Array(list)) = object.get("fourCcList") {
            read.is_enhanced = true;
            for four_cc in list.elements().filter_map(|value| value.as_str()) {
                read.add(four_cc.as_bytes(), CAN_DECODE | CAN_FORWARD);
            }
        }
        for key in ["videoFourCcInfoMap", "audioFourCcInfoMap"] {
            if let Some(Value::Object(map)) = object.get(key) {
                read.is_enhanced = true;
                for (four_cc, value) in map.members() {
                    // Saturates: three flags are defined.
                    read.add(four_cc, value.as_number().unwrap_or(0.0) as u8);
                }
            }
        }
        read
    }

    fn add(&mut self, four_cc: &[u8], flags: u8) {
        match four_cc {
            b"*" => self.any = Some(self.any.unwrap_or(0) | flags),
            _ => {
                if let Some(four_cc) = four_cc.first_chunk::<4>() {
                    // More than there are codecs are not kept.
                    let _ = self.four_ccs.push((*four_cc, flags));
                }
            }
        }
    }

    /// It said something of Enhanced RTMP.
    #[must_use]
    pub fn is_enhanced(&self) -> bool {
        self.is_enhanced
    }

    /// It follows a reconnect request.
    #[must_use]
    pub fn can_reconnect(&self) -> bool {
        self.caps_ex & RECONNECT != 0
    }

    /// It can decode a codec, as far as it says: legacy peers decode H.264 and AAC.
    #[must_use]
    pub fn can_decode(&self, codec: Codec) -> bool {
        let named =
            || self.four_ccs.iter().filter(|(four_cc, _)| *four_cc == enhanced::four_cc(codec)).any(|(_, flags)| flags & CAN_DECODE != 0);
        matches!(codec, Codec::H264 | Codec::Aac) || self.any.map_or_else(named, |flags| flags & CAN_DECODE != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amf0::{Decoder, Encoder};

    fn read(write: impl FnOnce(&mut Encoder<'_>)) -> Capabilities {
        let mut out = [0; 512];
        let mut encoder = Encoder::new(&mut out);
        encoder.object();
        write(&mut encoder);
        encoder.end();
        let length = encoder.finish().unwrap();
        let Ok(Some(Value::Object(object))) = Decoder::new(&out[..length]).value() else { panic!("no object") };
        Capabilities::of(object)
    }

    /// What ffmpeg 6.1 and later sends: a strict array of strings.
    #[test]
    fn a_four_cc_list_names_what_can_be_decoded() {
        let list = b"\x00\x0afourCcList\x0a\0\0\0\x02\x02\x00\x04hvc1\x02\x00\x04av01";
        let bytes = [&[3_u8][..], list, &[0, 0, 9]].concat();
        let Ok(Some(Value::Object(object))) = Decoder::new(&bytes).value() else { panic!("no object") };
        let read = Capabilities::of(object);
        assert!(read.can_decode(Codec::Hevc) && read.can_decode(Codec::Av1) && read.can_decode(Codec::H264));
        assert!(!read.can_decode(Codec::Vp9) && !read.can_reconnect() && read.is_enhanced());
    }

    #[test]
    fn a_star_overrides_the_named_ones() {
        let named = read(|amf| {
            amf.key("videoFourCcInfoMap").object().key("hvc1").number(1.0).key("av01").number(4.0).end();
            amf.key("capsEx").number(1.0);
        });
        assert!(named.can_decode(Codec::Hevc) && !named.can_decode(Codec::Av1) && named.can_reconnect());
        let star = read(|amf| {
            amf.key("videoFourCcInfoMap").object().key("hvc1").number(1.0).key("*").number(4.0).end();
        });
        assert!(!star.can_decode(Codec::Hevc), "the star only forwards");
        assert_eq!(
            read(|amf| {
                amf.key("app").text("live");
            }),
            Capabilities::default()
        );
    }
}
