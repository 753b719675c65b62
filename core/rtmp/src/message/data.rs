//! Data (§7.1.2): metadata.

use crate::amf0::Encoder;
#[cfg(any(feature = "server", test))]
use crate::amf0::{self, Decoder, Value};
#[cfg(any(feature = "server", test))]
use crate::error::Cause;
use sightline_media::avc::Picture;

const SET_DATA_FRAME: &str = "@setDataFrame";
const ON_METADATA: &str = "onMetaData";

/// Metadata that came: the AMF0 values behind `onMetaData`, checked and not read.
#[cfg(any(feature = "server", test))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Metadata<'a> {
    pub(crate) values: &'a [u8],
    /// The message ends inside its object, between two members.
    pub(crate) lacks_end: bool,
    /// An array announces another number of members than it has, and not 0, which means "unknown".
    pub(crate) miscounts: bool,
}

#[cfg(any(feature = "server", test))]
impl<'a> Metadata<'a> {
    /// Reads `@setDataFrame onMetaData …` and bare `onMetaData …`; `None` for other data.
    pub(crate) fn decode(body: &'a [u8]) -> Result<Option<Self>, Cause> {
        let mut decoder = Decoder::new(body);
        let Some(mut name) = decoder.value()?.and_then(|value| value.as_str()) else { return Ok(None) };
        if name == SET_DATA_FRAME {
            name = decoder.text()?;
        }
        if name != ON_METADATA {
            return Ok(None);
        }
        let values = decoder.rest();
        let counted =
            values.strip_prefix(&[amf0::ECMA_ARRAY]).and_then(|array| array.first_chunk()).map_or(0, |count| u32::from_be_bytes(*count));
        let (mut lacks_end, mut miscounts, mut is_first) = (false, false, true);
        while let Some(value) = decoder.value()? {
            if let Value::Object(object) = value {
                lacks_end |= decoder.is_empty() && !object.has_end();
                miscounts |= is_first && counted != 0 && object.members().count() != counted as usize;
            }
            is_first = false;
        }
        Ok(Some(Self { values, lacks_end, miscounts }))
    }

    /// What is not to the letter.
    pub(crate) fn quirks(self) -> impl Iterator<Item = &'static str> {
        let lacks_end = self.lacks_end.then_some("metadata without an end marker");
        lacks_end.into_iter().chain(self.miscounts.then_some("metadata with a wrong array count"))
    }
}

/// Metadata that the camera sends before its first sequence header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Announcement {
    pub(crate) video: Option<Picture>,
    /// Samples a second and channels.
    pub(crate) audio: Option<(u32, u8)>,
}

impl Announcement {
    /// Writes `@setDataFrame onMetaData {…}` and returns its length; `None` when it does not fit.
    pub(crate) fn encode(&self, out: &mut [u8]) -> Option<usize> {
        let mut encoder = Encoder::new(out);
        encoder.text(SET_DATA_FRAME).text(ON_METADATA).ecma_array(0);
        if let Some(picture) = self.video {
            encoder.key("width").number(f64::from(picture.width)).key("height").number(f64::from(picture.height));
            if let Some(rate) = picture.frames_per_kilosecond {
                encoder.key("framerate").number(f64::from(rate) / 1000.0);
            }
            encoder.key("videocodecid").number(7.0);
        }
        if let Some((rate, channels)) = self.audio {
            encoder.key("audiocodecid").number(10.0).key("audiosamplerate").number(f64::from(rate));
            encoder.key("audiosamplesize").number(16.0).key("stereo").boolean(channels == 2);
        }
        encoder.key("encoder").text("Sightline").end();
        encoder.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: &[u8] = b"\x02\x00\x0aonMetaData\x08\0\0\0\x01\x00\x05width\x00\x40\x94\0\0\0\0\0\0\0\0\x09";

    #[test]
    fn metadata_with_and_without_set_data_frame() {
        let framed = [b"\x02\x00\x0d@setDataFrame", BARE].concat();
        for bytes in [BARE, &framed] {
            let plain = Metadata { values: &BARE[13..], lacks_end: false, miscounts: false };
            assert_eq!(Metadata::decode(bytes), Ok(Some(plain)));
        }
        let mut miscounted = BARE.to_vec();
        miscounted[17] = 7;
        assert_eq!(Metadata::decode(&miscounted).unwrap().unwrap().quirks().next(), Some("metadata with a wrong array count"));
        miscounted[17] = 0;
        assert!(Metadata::decode(&miscounted).unwrap().unwrap().quirks().next().is_none(), "0 is unknown");
        let endless = Metadata::decode(&BARE[..BARE.len() - 3]).unwrap().unwrap();
        assert_eq!(endless.quirks().next(), Some("metadata without an end marker"));
        assert_eq!(Metadata::decode(b"\x02\x00\x0aonCuePoint\x05"), Ok(None));
        assert_eq!(Metadata::decode(b""), Ok(None));
        assert!(Metadata::decode(&BARE[..20]).is_err());
    }

    #[test]
    fn an_announcement_reads_back() {
        let picture = Picture {
            width: 1280,
            height: 720,
            profile: 66,
            level: 31,
            chroma_format: 1,
            bit_depth_luma: 8,
            bit_depth_chroma: 8,
            frames_per_kilosecond: Some(25_000),
        };
        let announcement = Announcement { video: Some(picture), audio: Some((44_100, 2)) };
        let mut out = [0; 512];
        let length = announcement.encode(&mut out).unwrap();
        let metadata = Metadata::decode(&out[..length]).unwrap().unwrap();
        let Ok(Some(Value::Object(object))) = Decoder::new(metadata.values).value() else { panic!("no object") };
        for (key, expected) in [("width", 1280.0), ("height", 720.0), ("framerate", 25.0), ("videocodecid", 7.0), ("audiocodecid", 10.0)] {
            assert_eq!(object.get(key).and_then(|value| value.as_number()), Some(expected), "{key}");
        }
        assert_eq!(announcement.encode(&mut [0; 20]), None);
    }
}
