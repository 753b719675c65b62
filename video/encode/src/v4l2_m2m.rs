//! Encoders of the machine: H.264 in hardware, by Linux's V4L2 from memory to memory. Raspberry Pi, NXP, Rockchip, Qualcomm, Samsung and others
//! have them behind the one interface.

mod bench;
mod controls;
mod layout;
mod machine;

use sightline_media::MediaTime;
use sightline_signal::Settings;
use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    bitstream::Bitstream,
    encoder::{Encoded, EncoderError, VideoEncoder},
};
pub use bench::{Exercise, exercise};
use machine::{Coded, Machine, Setup, Taken};
use sightline_capture::{
    Picture,
    v4l2::{
        self,
        kernel::{Ability, Device, Identity},
        modes::{FourCc, Offer},
    },
    videodev::{CAPTURE_MPLANE, OUTPUT, OUTPUT_MPLANE, set_format},
};

/// The coded format of every product.
pub const H264: FourCc = FourCc(*b"H264");
/// A drain is a few pictures: one that takes longer hangs.
const DRAIN_MAX: Duration = Duration::from_secs(1);
/// Pictures within which one must give its first key frame, to be taken by itself: more than any of its queues holds.
const PROOF_PICTURES: i64 = 12;
/// Tags of pictures that are kept: more than both queues hold. A driver that leaves pictures out never gives theirs back.
const TAGS_MAX: usize = 32;

/// What one buffer of the driver held.
#[derive(Debug)]
struct Chunk {
    tag: i64,
    bytes: Vec<u8>,
    is_keyframe: bool,
}

/// Pictures in, coded chunks out, whatever the coded format is.
struct Pump {
    machine: Machine,
    interval: Duration,
    /// Tags of pictures that are in it.
    inside: VecDeque<i64>,
    /// The next picture begins a stream of its own: the driver can't make a key frame on demand.
    begins_anew: bool,
    chunks: VecDeque<Chunk>,
}

impl Pump {
    fn open(path: &Path, wanted: Setup) -> Result<Self, EncoderError> {
        let interval = Duration::from_secs(1) / wanted.settings.fps.max(1);
        let machine = Machine::open(path, wanted)?;
        Ok(Self { machine, interval, inside: VecDeque::new(), begins_anew: false, chunks: VecDeque::new() })
    }

    fn force_keyframe(&mut self) {
        self.begins_anew |= !self.machine.force_keyframe();
    }

    /// Gives it a picture, and waits for what comes out no longer than until the next one. A picture that does not fit is left out.
    fn encode(&mut self, picture: &Picture, tag: i64) -> Result<(), EncoderError> {
        if self.begins_anew {
            self.drain()?;
            self.machine.restart()?;
            self.inside.clear();
            self.begins_anew = false;
        }
        let until = Instant::now() + self.interval;
        while !self.machine.put(picture, tag)? {
            let left = until.saturating_duration_since(Instant::now());
            if self.collect()? == 0 && left.is_zero() {
                return Ok(());
            }
            self.machine.wait(left)?;
        }
        self.inside.push_back(tag);
        while self.inside.len() > TAGS_MAX {
            self.inside.pop_front();
        }
        while self.collect()? == 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.machine.wait(left)?;
        }
        Ok(())
    }

    /// Takes all that is there; gives how many.
    fn collect(&mut self) -> Result<usize, EncoderError> {
        let mut taken = 0;
        let mut bytes = Vec::new();
        while let Coded::Frame(frame) = self.machine.take(&mut bytes)? {
            self.keep(frame, std::mem::take(&mut bytes));
            taken += 1;
        }
        Ok(taken)
    }

    fn keep(&mut self, Taken { tag, is_keyframe }: Taken, bytes: Vec<u8>) {
        let tag = match self.inside.iter().position(|known| *known == tag) {
            // Those before it were left out.
            Some(position) => self.inside.drain(..=position).next_back().unwrap_or(tag),
            // A driver that does not copy it.
            None => self.inside.pop_front().unwrap_or(tag),
        };
        self.chunks.push_back(Chunk { tag, bytes, is_keyframe });
    }

    /// All that went in comes out. Afterwards it takes no picture until it is begun again.
    fn drain(&mut self) -> Result<(), EncoderError> {
        self.machine.stop()?;
        let until = Instant::now() + DRAIN_MAX;
        let mut bytes = Vec::new();
        loop {
            match self.machine.take(&mut bytes)? {
                Coded::Frame(frame) => self.keep(frame, std::mem::take(&mut bytes)),
                Coded::Drained => return Ok(()),
                Coded::Pending => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        tracing::warn!("the encoder did not give its last frames within {} s", DRAIN_MAX.as_secs());
                        return Ok(());
                    }
                    self.machine.wait(left)?;
                }
            }
        }
    }
}

/// H.264 by an encoder of the machine.
pub(crate) struct M2mEncoder {
    pump: Pump,
    settings: Settings,
    bitstream: Bitstream,
    ready: VecDeque<Encoded>,
}

impl M2mEncoder {
    /// Opens the one at `path`. `keyframe_interval_sec`: a key frame at least this often.
    pub(crate) fn new(path: &Path, settings: Settings, keyframe_interval_sec: f32) -> Result<Self, EncoderError> {
        let keyframe_interval = (settings.fps as f32 * keyframe_interval_sec).round().max(1.0) as u32;
        let pump = Pump::open(path, Setup { coded: H264, settings, keyframe_interval })?;
        if pump.machine.missing().contains(&"bit rate") {
            return Err(EncoderError::device_open(path, "its driver can't be told a bit rate".to_owned()));
        }
        Ok(Self { pump, settings, bitstream: Bitstream::default(), ready: VecDeque::new() })
    }

    fn sort(&mut self) -> Result<(), EncoderError> {
        while let Some(chunk) = self.pump.chunks.pop_front() {
            self.ready.extend(self.bitstream.take(&chunk.bytes, MediaTime::from_ticks(chunk.tag))?);
        }
        Ok(())
    }
}

impl VideoEncoder for M2mEncoder {
    // Only the bit rate: another size or frame rate needs its queues set up again.
    fn follow(&mut self, settings: Settings) -> bool {
        let is_same = (settings.width, settings.height, settings.fps) == (self.settings.width, self.settings.height, self.settings.fps);
        let follows = is_same && (settings.bitrate_bps == self.settings.bitrate_bps || self.pump.machine.set_bitrate(settings.bitrate_bps));
        self.settings = settings;
        follows
    }

    fn force_keyframe(&mut self) {
        self.pump.force_keyframe();
    }

    fn encode(&mut self, picture: &Picture, time: MediaTime) -> Result<Option<Encoded>, EncoderError> {
        self.pump.encode(picture, time.ticks_90k)?;
        self.sort()?;
        Ok(self.ready.pop_front())
    }

    fn take(&mut self) -> Option<Encoded> {
        self.ready.pop_front()
    }

    fn finish(&mut self) -> Vec<Encoded> {
        if let Err(problem) = self.pump.drain().and_then(|()| self.sort()) {
            tracing::warn!(%problem, "the encoder's last frames are lost");
        }
        self.ready.drain(..).collect()
    }
}

/// Tries one: it opens with these numbers, and gives a key frame with its parameter sets.
pub(crate) fn prove(path: &Path, settings: Settings, keyframe_interval_sec: f32) -> Result<(), EncoderError> {
    let mut encoder = M2mEncoder::new(path, settings, keyframe_interval_sec)?;
    let picture = Picture::new(settings.width as usize, settings.height as usize);
    let ticks = i64::from(90_000 / settings.fps.max(1));
    for index in 0..PROOF_PICTURES {
        let mut encoded = encoder.encode(&picture, MediaTime::from_ticks(index * ticks))?;
        while let Some(first) = encoded {
            if first.frame.is_keyframe && first.track.is_some() {
                return Ok(());
            }
            encoded = encoder.take();
        }
    }
    Err(EncoderError::Device { path: path.to_owned(), problem: format!("it gives no key frame within {PROOF_PICTURES} pictures") })
}

/// An encoder that is there.
#[derive(Debug)]
pub struct Found {
    /// `/dev/videoN`.
    pub path: PathBuf,
    /// What its driver says of itself.
    pub identity: Identity,
    /// Its coded formats, with their sizes.
    pub coded: Vec<Offer>,
    /// The raw formats that it takes and that are written here.
    pub raw: Vec<FourCc>,
}

/// The encoders of this machine that make `coded`, by their devices' numbers.
#[must_use]
pub fn find(coded: FourCc) -> Vec<Found> {
    v4l2::nodes().into_iter().filter_map(|path| found(path, coded)).collect()
}

fn found(path: PathBuf, coded: FourCc) -> Option<Found> {
    let mut device = Device::open(&path).ok()?;
    let identity = device.identity().ok().filter(|identity| identity.ability == Ability::Convert)?;
    let offers = device.offers();
    offers.iter().any(|offer| offer.format == coded).then_some(())?;
    // It lists the raw formats for the coded one that is set. Only this opening of the device has it so.
    set_format(&device.file, device.kind, u32::from_le_bytes(coded.0), (640, 480), 0).ok()?;
    let raw_kind = if device.kind == CAPTURE_MPLANE { OUTPUT_MPLANE } else { OUTPUT };
    let raw: Vec<FourCc> = machine::raw_formats(&device.file, raw_kind).into_iter().map(layout::RawFormat::code).collect();
    (!raw.is_empty()).then_some(Found { path, identity, coded: offers, raw })
}
