//! OpenH264 behind an interface of its own: the software encoder, the decoder, and a key frame as a JPEG.
//!
//! This crate knows no source, no thread and no clock: pictures come as planes, coded video as NAL units.

mod decoder;
mod encoder;
mod still;

pub use decoder::{Decoded, Decoder, DecoderError};
pub use encoder::{ENCODER_BUILD, EncodeError, Encoder, Planes};
pub use still::Still;
