//! The parameter sets of a stream, wherever they came from.

use alloc::vec::Vec;

use crate::avc;
use crate::bits::BitReader;
use crate::nal::{Family, SET_BYTES_MAX, pps_ids, sps_id};
use crate::track::{Codec, TrackConfig};

/// Parameter sets kept: an encoder has two or three; the standards allow 32 SPS and 256 PPS.
const SETS_MAX: usize = 32;

#[derive(Debug)]
pub(super) struct Sets {
    family: Family,
    known: Vec<Set>,
    /// The SPS that the pictures are made by.
    active: Option<u32>,
    /// Something was learnt since the last configuration.
    has_changed: bool,
}

#[derive(Debug)]
struct Set {
    level: Level,
    id: u32,
    /// The set that it refers to.
    parent: Option<u32>,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Level {
    Video,
    Sequence,
    Picture,
}

impl Sets {
    pub(super) const fn new(family: Family) -> Self {
        Self { family, known: Vec::new(), active: None, has_changed: false }
    }

    /// Those of a record, which is the configuration now.
    pub(super) fn replace(&mut self, sets: Vec<Vec<u8>>) {
        self.known.clear();
        self.active = None;
        for set in sets {
            self.learn(&set);
        }
        self.active = self.first_sequence();
        self.has_changed = false;
    }

    fn first_sequence(&self) -> Option<u32> {
        self.of(Level::Sequence).next().map(|set| set.id)
    }

    /// One that came in the stream. What can't be read, or is no parameter set, is passed over.
    pub(super) fn learn(&mut self, unit: &[u8]) {
        let Some((level, id, parent)) = read(self.family, unit).filter(|_| unit.len() <= SET_BYTES_MAX) else { return };
        if let Some(known) = self.known.iter_mut().find(|known| known.level == level && known.id == id) {
            if known.bytes != unit {
                known.bytes = unit.to_vec();
                known.parent = parent;
                self.has_changed = true;
            }
        } else if self.known.len() < SETS_MAX {
            self.known.push(Set { level, id, parent, bytes: unit.to_vec() });
            self.has_changed = true;
        }
    }

    /// A picture goes by this PPS. True where the configuration is another one than before.
    pub(super) fn select(&mut self, pps_id: Option<u32>) -> bool {
        let pps = self.of(Level::Picture).find(|pps| Some(pps.id) == pps_id);
        let sps = pps.and_then(|pps| pps.parent).filter(|&parent| self.of(Level::Sequence).any(|sps| sps.id == parent));
        let is_other = sps.is_some_and(|sps| self.active != Some(sps));
        self.active = sps.or(self.active).or_else(|| self.first_sequence());
        is_other || self.has_changed
    }

    /// The configuration by the active sets; `None` where one is missing or can't be read.
    pub(super) fn config(&mut self) -> Option<TrackConfig> {
        self.has_changed = false;
        let sps = self.of(Level::Sequence).find(|sps| Some(sps.id) == self.active)?;
        let of_it = |set: &&Set| set.parent.is_none_or(|parent| parent == sps.id);
        let pictures = self.of(Level::Picture).filter(of_it).map(|set| set.bytes.as_slice());
        match self.family {
            Family::H264 => avc::DecoderConfig::from_parameter_sets(&sps.bytes, pictures).ok().map(TrackConfig::H264),
            Family::Hevc => {
                let videos = self.of(Level::Video).map(|set| set.bytes.as_slice());
                let record = super::hevc::record(videos, &sps.bytes, pictures)?;
                crate::coded::Config::parse(Codec::Hevc, &record).ok().map(TrackConfig::Coded)
            }
        }
    }

    fn of(&self, level: Level) -> impl Iterator<Item = &Set> {
        self.known.iter().filter(move |set| set.level == level)
    }
}

/// Which one it is, and which it refers to.
fn read(family: Family, unit: &[u8]) -> Option<(Level, u32, Option<u32>)> {
    let picture = |header_bytes: usize| pps_ids(unit.get(header_bytes..)?).map(|(id, parent)| (Level::Picture, id, Some(parent)));
    match (family, family.kind(*unit.first()?)) {
        (Family::H264, 7) => Some((Level::Sequence, sps_id(unit)?, None)),
        (Family::H264, 8) => picture(1),
        (Family::Hevc, 32) => Some((Level::Video, BitReader::rbsp(unit.get(2..)?).bits(4)?, None)),
        (Family::Hevc, 33) => Some((Level::Sequence, super::hevc::sps_id(unit)?, None)),
        (Family::Hevc, 34) => picture(2),
        (_, _) => None,
    }
}
