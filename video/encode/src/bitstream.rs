//! Behind every encoder: what it made of a picture, in Annex B, becomes a frame and its track. Pure.

use sightline_media::{
    MediaTime, Track,
    annexb::{Arrival, Intake},
};

use crate::encoder::{Encoded, EncoderError};

/// One encoder's output, from its first key frame on.
///
/// Parameter sets travel in the track and not in the frame: one that repeats them before each key frame and one that gives them once, in a buffer
/// of their own, make the same stream. Key frames are recognised by their NAL units, whatever a driver's flags say.
#[derive(Debug, Default)]
pub(crate) struct Bitstream {
    intake: Intake,
    /// The track to be sent before the next frame.
    track: Option<Track>,
    has_begun: bool,
}

impl Bitstream {
    /// Takes one buffer. `None`: it contains no picture, or one that can't be decoded because nothing before it can.
    pub(crate) fn take(&mut self, stream: &[u8], time: MediaTime) -> Result<Option<Encoded>, EncoderError> {
        let Arrival { track, unit } = self.intake.take(stream)?;
        self.track = track.or(self.track.take());
        if !unit.has_picture || !(self.has_begun || unit.is_keyframe) {
            return Ok(None);
        }
        if !self.intake.has_track() {
            return Err(EncoderError::NoParameterSets);
        }
        self.has_begun = true;
        Ok(Some(Encoded { track: self.track.take(), frame: unit.to_frame(stream, time) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openh264::{
        encoder::{Encoder, EncoderConfig},
        formats::YUVSlices,
    };
    use sightline_capture::{Picture, scene::Scene};
    use sightline_media::{annexb, avc};

    const AUD: [u8; 6] = [0, 0, 0, 1, 9, 0xf0];
    const SEI: [u8; 9] = [0, 0, 0, 1, 6, 5, 1, 0xaa, 0x80];

    /// NAL units of a byte stream, by their type.
    fn nals(stream: &[u8]) -> Vec<(u8, Vec<u8>)> {
        annexb::NalUnits::new(stream).map(|nal| (nal[0] & 0x1f, nal.to_vec())).collect()
    }

    fn joined<'a>(nals: impl IntoIterator<Item = &'a Vec<u8>>) -> Vec<u8> {
        nals.into_iter().flat_map(|nal| [&[0, 0, 0, 1], nal.as_slice()].concat()).collect()
    }

    /// Buffers as openh264 makes them: a key frame first and as the fourth, each with its parameter sets.
    fn recorded() -> Vec<Vec<u8>> {
        let mut encoder = Encoder::with_api_config(openh264::OpenH264API::from_source(), EncoderConfig::new()).unwrap();
        let mut scene = Scene::new(320, 240, "cam-1");
        let buffer = |index: u64| {
            let picture: &Picture = scene.paint(1_795_364_000_000 + index * 50);
            if index == 3 {
                encoder.force_intra_frame();
            }
            encoder.encode(&YUVSlices::new(picture.planes().into(), (320, 240), (320, 160, 160))).unwrap().to_vec()
        };
        (0..6).map(buffer).collect()
    }

    /// Each frame: whether it is a key frame, whether a track comes with it, the types of its NAL units.
    fn taken(buffers: &[Vec<u8>]) -> Vec<(bool, bool, Vec<u8>)> {
        let mut bitstream = Bitstream::default();
        let mut decoder = openh264::decoder::Decoder::new().unwrap();
        let mut seen = Vec::new();
        for (index, buffer) in buffers.iter().enumerate() {
            let Some(encoded) = bitstream.take(buffer, MediaTime::from_millis(index as i64 * 50)).unwrap() else { continue };
            assert_eq!(encoded.frame.pts, MediaTime::from_millis(index as i64 * 50));
            let units: Vec<Vec<u8>> = avc::NalUnits::new(&encoded.frame.payload, 4).map(<[u8]>::to_vec).collect();
            let sets: Vec<Vec<u8>> = encoded
                .track
                .iter()
                .filter_map(|track| track.config.avc())
                .flat_map(|avc| avc.parameter_sets())
                .map(<[u8]>::to_vec)
                .collect();
            assert!(decoder.decode(&joined(sets.iter().chain(&units))).unwrap().is_some(), "frame {index} is decoded");
            seen.push((encoded.frame.is_keyframe, encoded.track.is_some(), units.iter().map(|nal| nal[0] & 0x1f).collect()));
        }
        seen
    }

    #[test]
    fn key_frames_are_told_by_their_nal_units_and_the_sets_are_announced_once() {
        let buffers = recorded();
        assert_eq!(nals(&buffers[3]).iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [7, 8, 5], "openh264 repeats them");
        let (key, other) = ((true, false, vec![5]), (false, false, vec![1]));
        assert_eq!(taken(&buffers), [(true, true, vec![5]), other.clone(), other.clone(), key, other.clone(), other]);
    }

    #[test]
    fn sets_in_a_buffer_of_their_own_and_never_again_make_the_same_stream() {
        let buffers = recorded();
        let pick = |buffer: &[u8], wanted: &[u8]| joined(nals(buffer).iter().filter(|(kind, _)| wanted.contains(kind)).map(|(_, nal)| nal));
        let mut separate = vec![pick(&buffers[0], &[7]), pick(&buffers[0], &[8])];
        separate.extend(buffers.iter().map(|buffer| pick(buffer, &[1, 5])));
        assert_eq!(taken(&separate), taken(&buffers));
    }

    #[test]
    fn delimiters_and_sei_do_not_hide_a_key_frame_or_its_sets() {
        let buffers = recorded();
        let with: Vec<Vec<u8>> = buffers.iter().map(|buffer| [&AUD[..], &SEI, buffer].concat()).collect();
        let kinds = |seen: Vec<(bool, bool, Vec<u8>)>| seen.into_iter().map(|(key, track, _)| (key, track)).collect::<Vec<_>>();
        assert_eq!(kinds(taken(&with)), kinds(taken(&buffers)));
        assert!(taken(&with).iter().all(|(_, _, units)| !units.contains(&9) && !units.contains(&7)), "{:?}", taken(&with));
    }

    #[test]
    fn what_comes_before_the_first_key_frame_is_left_out_and_one_without_sets_is_an_error() {
        let buffers = recorded();
        assert_eq!(taken(&buffers[1..]).len(), 3, "from the second key frame on");
        let bare = joined(nals(&buffers[0]).iter().filter(|(kind, _)| *kind == 5).map(|(_, nal)| nal));
        let error = Bitstream::default().take(&bare, MediaTime::from_millis(0)).unwrap_err();
        assert!(matches!(error, EncoderError::NoParameterSets), "{error}");
    }
}
