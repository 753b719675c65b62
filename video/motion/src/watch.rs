//! Brings pictures to the detector: shrunk ones, or the decoded key frames of video that is passed through.

use bytes::Bytes;
use fast_image_resize::{
    FilterType, ResizeAlg, ResizeOptions, Resizer,
    images::{Image, ImageRef},
    pixels::{PixelType, U8},
};
use sightline_h264::Decoder;
use sightline_media::{Frame, Instant, Track, TrackId};
use std::time::Duration;

use crate::detector::Detector;

/// Pictures are shrunk to this width: a person at twenty metres is still four pixels wide, and a sensor's noise is gone.
const WIDTH: usize = 160;
/// More pictures a second tell nothing more of what walks or drives.
const INTERVAL: Duration = Duration::from_millis(120);

/// A detector and what it needs to look at a stream.
pub struct Watch {
    detector: Detector,
    resizer: Resizer,
    small: Vec<u8>,
    due: Instant,
    coded: Option<Coded>,
}

/// For video that is passed through.
struct Coded {
    decoder: Decoder,
    track: Track,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl Watch {
    pub fn new(detector: Detector) -> Self {
        Self { detector, resizer: Resizer::new(), small: Vec::new(), due: Instant::ZERO, coded: None }
    }

    /// A picture's luma with its stride. `Some`: something moves, and did not yet at that time.
    pub fn look(&mut self, luma: &[u8], (stride, width, height): (usize, usize, usize), at: Instant) -> Option<Instant> {
        if at < self.due || width == 0 || height == 0 {
            return None;
        }
        self.due = at + INTERVAL;
        let small_width = WIDTH.min(width);
        let small_height = (height * small_width / width).max(1);
        self.small.resize(small_width * small_height, 0);
        let packed: Vec<u8>;
        let luma = if stride == width {
            luma.get(..width * height)?
        } else {
            packed = luma.chunks(stride).take(height).flat_map(|row| &row[..width.min(row.len())]).copied().collect();
            &packed
        };
        let side = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
        let from = ImageRef::new(side(width), side(height), luma, PixelType::U8).ok()?;
        let mut to = Image::from_slice_u8(side(small_width), side(small_height), &mut self.small, PixelType::U8).ok()?;
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Box));
        // The typed call: the other one compiles the scaler for each of fifteen kinds of pixel, which takes a minute.
        self.resizer.resize_typed(&from.typed_image::<U8>()?, &mut to.typed_image_mut::<U8>()?, &options).ok()?;
        self.detector.see(&self.small, small_width, at)
    }

    /// What the next coded frames need.
    pub fn set_track(&mut self, track: &Track) {
        if track.id != TrackId::VIDEO || self.coded.as_ref().is_some_and(|coded| coded.track == *track) {
            return;
        }
        if track.config.avc().is_none() {
            let codec = track.config.codec().name();
            tracing::warn!(
                codec,
                "no motion is seen: key frames are looked at, and only H.264's can be decoded here; set the camera to H.264, or another trigger"
            );
        }
        match Decoder::for_keyframes() {
            Ok(decoder) => self.coded = Some(Coded { decoder, track: track.clone() }),
            Err(error) => tracing::warn!(%error, "no motion is seen"),
        }
    }

    /// A coded frame: key frames are decoded and looked at, the others are not.
    pub fn look_at_coded(&mut self, frame: &Frame<Bytes>, at: Instant) -> Option<Instant> {
        if frame.track != TrackId::VIDEO || !frame.is_keyframe {
            return None;
        }
        let mut coded = self.coded.take()?;
        let moves_since = self.look_at_key_frame(&mut coded, frame, at);
        self.coded = Some(coded);
        moves_since
    }

    fn look_at_key_frame(&mut self, coded: &mut Coded, frame: &Frame<Bytes>, at: Instant) -> Option<Instant> {
        let config = coded.track.config.avc()?;
        let decoded = coded.decoder.decode(Some(config), &frame.payload, config.length_bytes())?;
        let (width, height) = decoded.size();
        self.look(decoded.planes()[0], (decoded.strides()[0], width, height), at)
    }
}
