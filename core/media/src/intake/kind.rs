//! Records of H.264 and H.265.

use alloc::vec::Vec;

use crate::avc;
use crate::coded;
use crate::nal::Family;
use crate::track::{Codec, TrackConfig};

impl Family {
    /// A record and the size of the lengths that it speaks of.
    pub(super) fn parse(self, record: &[u8]) -> Option<(TrackConfig, usize)> {
        match self {
            Self::H264 => {
                let config = avc::DecoderConfig::parse(record).ok()?;
                let length_bytes = config.length_bytes();
                Some((TrackConfig::H264(config.with_long_lengths()), length_bytes))
            }
            Self::Hevc => {
                let config = coded::Config::parse(Codec::Hevc, record).ok()?;
                let length_bytes = config.length_bytes();
                Some((TrackConfig::Coded(config.with_long_lengths()), length_bytes))
            }
        }
    }

    /// The parameter sets of a configuration.
    pub(super) fn sets_of(self, config: &TrackConfig) -> Vec<Vec<u8>> {
        match config {
            TrackConfig::H264(config) => config.parameter_sets().map(<[u8]>::to_vec).collect(),
            TrackConfig::Coded(config) => super::hevc::sets_of(config.as_bytes()),
            TrackConfig::Aac(_) => Vec::new(),
        }
    }
}
