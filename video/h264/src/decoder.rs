//! OpenH264's decoder, over access units in AVCC form.

use openh264::{
    OpenH264API,
    decoder::{DecodeOptions, DecodedYUV, DecoderConfig, Flush},
    formats::YUVSource as _,
};
use sightline_media::avc;

/// Why the decoder does not open.
#[derive(Debug, thiserror::Error)]
#[error("openh264's decoder: {0}")]
pub struct DecoderError(#[from] openh264::Error);

/// A decoder for one stream.
pub struct Decoder {
    inner: openh264::decoder::Decoder,
    annex_b: Vec<u8>,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

impl Decoder {
    /// For every access unit of a stream, in decoding order.
    ///
    /// # Errors
    /// [`DecoderError`]: too little memory.
    pub fn for_stream() -> Result<Self, DecoderError> {
        // Flushing after each access unit would tear pictures out of the order that B-frames need.
        let config = DecoderConfig::new().flush_after_decode(Flush::NoFlush);
        let inner = openh264::decoder::Decoder::with_api_config(OpenH264API::from_source(), config)?;
        Ok(Self { inner, annex_b: Vec::new() })
    }

    /// For key frames alone: each is a whole picture, and is given out at once whatever order the stream has.
    ///
    /// # Errors
    /// [`DecoderError`]: too little memory.
    pub fn for_keyframes() -> Result<Self, DecoderError> {
        Ok(Self { inner: openh264::decoder::Decoder::new()?, annex_b: Vec::new() })
    }

    /// Decodes one access unit. `config`: the parameter sets, before a key frame. `payload`: NAL units, each behind its length in `length_bytes` bytes, big
    /// endian. `None`: no picture is ready, or openh264 can't read this one.
    pub fn decode(&mut self, config: Option<&avc::DecoderConfig>, payload: &[u8], length_bytes: usize) -> Option<Decoded<'_>> {
        self.gather(config, payload, length_bytes);
        self.inner.decode(&self.annex_b).ok().flatten().map(Decoded)
    }

    /// The same of a stream without B-frames: the picture is given out at once, and not held back for others that might come before it.
    pub fn decode_in_order(&mut self, config: Option<&avc::DecoderConfig>, payload: &[u8], length_bytes: usize) -> Option<Decoded<'_>> {
        self.gather(config, payload, length_bytes);
        let at_once = DecodeOptions::new().flush_after_decode(Flush::Flush);
        self.inner.decode_with_options(&self.annex_b, at_once).ok().flatten().map(Decoded)
    }

    /// An access unit as openh264 reads it.
    fn gather(&mut self, config: Option<&avc::DecoderConfig>, payload: &[u8], length_bytes: usize) {
        self.annex_b.clear();
        let sets = config.into_iter().flat_map(avc::DecoderConfig::parameter_sets);
        for nal in sets.chain(avc::NalUnits::new(payload, length_bytes)) {
            self.annex_b.extend_from_slice(&[0, 0, 0, 1]);
            self.annex_b.extend_from_slice(nal);
        }
    }

    /// The pictures that the decoder still holds back for reordering, at a stream's end.
    pub fn drain(&mut self, mut each: impl FnMut(&Decoded<'_>)) {
        for picture in self.inner.flush_remaining().into_iter().flatten() {
            each(&Decoded(picture));
        }
    }

    /// The first picture that the decoder holds back for reordering.
    pub(crate) fn flush(&mut self) -> Option<Decoded<'_>> {
        self.inner.flush_remaining().ok()?.into_iter().next().map(Decoded)
    }
}

/// A decoded picture, in the decoder's memory.
pub struct Decoded<'a>(DecodedYUV<'a>);

impl std::fmt::Debug for Decoded<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Decoded").field(&self.size()).finish()
    }
}

impl Decoded<'_> {
    /// Width and height in pixels.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        self.0.dimensions()
    }

    /// Y, U and V; the latter two half as wide and high.
    #[must_use]
    pub fn planes(&self) -> [&[u8]; 3] {
        [self.0.y(), self.0.u(), self.0.v()]
    }

    /// Bytes from one row to the next, of each plane.
    #[must_use]
    pub fn strides(&self) -> [usize; 3] {
        let (y, u, v) = self.0.strides();
        [y, u, v]
    }

    /// Red, green and blue, a byte each, row by row.
    pub(crate) fn to_rgb(&self) -> Vec<u8> {
        let (width, height) = self.size();
        let mut rgb = vec![0; width * height * 3];
        self.0.write_rgb8(&mut rgb);
        rgb
    }
}
