//! Brings pictures to the detector: shrunk ones, or the decoded key frames of video that is passed through.

use bytes::Bytes;
use fast_image_resize::{
    FilterType, ResizeAlg, ResizeOptions, Resizer,
    images::{Image, ImageRef},
    pixels::PixelType,
};
use openh264::formats::YUVSource as _;
use sightline_media::{Frame, Instant, Track, TrackConfig, TrackId, avc};
use std::time::Duration;

use super::Detector;

/// Pictures are shrunk to this width: a person at twenty metres is still four pixels wide, and a sensor's noise is gone.
const WIDTH: usize = 160;
/// More pictures a second tell nothing more of what walks or drives.
const INTERVAL: Duration = Duration::from_millis(120);

/// A detector and what it needs to look at a stream.
pub(crate) struct Watch {
    detector: Detector,
    resizer: Resizer,
    small: Vec<u8>,
    due: Instant,
    coded: Option<Coded>,
}

/// For video that is passed through.
struct Coded {
    decoder: openh264::decoder::Decoder,
    track: Track,
    annex_b: Vec<u8>,
}

impl Watch {
    pub(crate) fn new(detector: Detector) -> Self {
        Self { detector, resizer: Resizer::new(), small: Vec::new(), due: Instant::ZERO, coded: None }
    }

    /// A picture's luma with its stride. `Some`: something moves, and did not yet at that time.
    pub(crate) fn look(&mut self, luma: &[u8], (stride, width, height): (usize, usize, usize), at: Instant) -> Option<Instant> {
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
        self.resizer.resize(&from, &mut to, &options).ok()?;
        self.detector.see(&self.small, small_width, at)
    }

    /// What the next coded frames need.
    pub(crate) fn set_track(&mut self, track: &Track) {
        if track.id != TrackId::VIDEO || self.coded.as_ref().is_some_and(|coded| coded.track == *track) {
            return;
        }
        match openh264::decoder::Decoder::new() {
            Ok(decoder) => self.coded = Some(Coded { decoder, track: track.clone(), annex_b: Vec::new() }),
            Err(error) => tracing::warn!(%error, "no motion is seen: openh264's decoder does not open"),
        }
    }

    /// A coded frame: key frames are decoded and looked at, the others are not.
    pub(crate) fn look_at_coded(&mut self, frame: &Frame<Bytes>, at: Instant) -> Option<Instant> {
        if frame.track != TrackId::VIDEO || !frame.is_keyframe {
            return None;
        }
        let mut coded = self.coded.take()?;
        let moves_since = self.look_at_key_frame(&mut coded, frame, at);
        self.coded = Some(coded);
        moves_since
    }

    fn look_at_key_frame(&mut self, coded: &mut Coded, frame: &Frame<Bytes>, at: Instant) -> Option<Instant> {
        let TrackConfig::H264(config) = &coded.track.config else { return None };
        coded.annex_b.clear();
        for nal in config.parameter_sets().chain(avc::NalUnits::new(&frame.payload, config.length_bytes())) {
            coded.annex_b.extend_from_slice(&[0, 0, 0, 1]);
            coded.annex_b.extend_from_slice(nal);
        }
        // A key frame alone is a whole picture: it is flushed out at once, whatever order the stream has.
        let decoded = coded.decoder.decode(&coded.annex_b).ok()??;
        let (width, height) = decoded.dimensions();
        self.look(decoded.y(), (decoded.strides().0, width, height), at)
    }
}
