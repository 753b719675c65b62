//! Where pictures come from: the moving test scene, files, pipes, network cameras and V4L2 devices.
//!
//! A source gives pictures, or video that is encoded already, each with the time of its capture. This crate knows no encoder, no stream and no cloud.

mod aac_encoder;
mod address;
pub mod clip;
pub mod clock;
mod error;
pub mod ffmpeg;
mod file;
mod first_pictures;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod g711;
mod h264;
mod http_answer;
pub mod jpeg;
mod jpeg_end;
pub mod live;
mod mjpeg;
mod multipart;
pub mod offers;
mod outlet;
mod picture;
pub mod pictures;
mod pins;
pub mod pipe;
mod rtsp;
pub mod scene;
mod secure;
mod sniff;
mod sound;
mod sound_decoder;
mod source;
pub mod stamp;
pub mod stdin;
mod timeline;
pub mod tls;
pub mod v4l2;
pub mod videodev;

pub use address::{CameraUrl, CameraUrlError};
pub use error::{ClipError, SourceError};
pub use file::{Opened, open_file};
pub use h264::oddity;
pub use outlet::{SourceEvent, Trouble};
pub use picture::{Picture, Scaler};
pub use rtsp::{Transport, UnknownTransport};
pub use source::Source;
pub use v4l2::{
    V4l2Camera,
    modes::{PixelFormat, UnknownFormat},
};
