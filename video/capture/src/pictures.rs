//! Pictures from a byte stream, one after another: what a file in Annex B form and a pipe have in common.

use bytes::{Bytes, BytesMut};
use sightline_media::{
    annexb,
    avc::{DecoderConfig, NalKind},
};
use std::io::Read;

use crate::{
    h264::{self, Sets, SliceHead},
    stdin::AccessUnits,
};

/// One picture, of two fields where it was coded so.
#[derive(Clone, Debug)]
pub struct CodedPicture {
    /// Annex B.
    pub stream: Bytes,
    /// Where it begins in the input.
    pub offset: u64,
    /// Other parameter sets than before: a decoder needs them first.
    pub config: Option<DecoderConfig>,
    /// Decoding can start here.
    pub is_keyframe: bool,
    /// The order count begins anew.
    pub is_idr: bool,
    /// No other picture refers to it.
    pub is_disposable: bool,
    /// Its parameter sets have to stay with it: there is no record that holds them.
    pub keeps_sets: bool,
    /// `pic_order_cnt_lsb`, and how many bits it has.
    pub order: Option<(u32, u32)>,
    /// By how many pictures it is shown later than decoded, as far as its SPS tells how they are reordered.
    pub later: u32,
    /// Frames in 1,000 s, as its SPS has it.
    pub frames_per_kilosecond: Option<u32>,
}

impl CodedPicture {
    /// Its NAL units, each behind a length of four bytes.
    #[must_use]
    pub fn payload(&self) -> Vec<u8> {
        h264::to_lengths(&self.stream, self.keeps_sets)
    }
}

/// Pictures that a decoder of H.264 holds back at most (§A.3.1).
const REORDERED_MAX: u32 = 16;

/// How much later pictures are shown than decoded, as they come: by their order count, which goes by two from frame to frame (H.264 §8.2.1).
#[derive(Clone, Copy, Debug, Default)]
struct Reordering {
    depth: u32,
    /// Pictures since the last IDR.
    decoded: i64,
    last: i64,
}

impl Reordering {
    fn later(&mut self, order: Option<(u32, u32)>, is_idr: bool) -> u32 {
        let Some((low, bits)) = order.filter(|_| self.depth > 0) else { return 0 };
        if is_idr {
            (self.decoded, self.last) = (0, 0);
        }
        let cycle = 1_i64 << bits;
        let base = self.last.div_euclid(cycle) * cycle + i64::from(low);
        let count = [base - cycle, base, base + cycle].into_iter().min_by_key(|count| (count - self.last).abs()).unwrap_or(base);
        self.last = count;
        let later = i64::from(self.depth) + count / 2 - self.decoded;
        self.decoded += 1;
        u32::try_from(later).unwrap_or(0).min(2 * REORDERED_MAX)
    }
}

/// Cuts a byte stream into pictures.
#[derive(Debug)]
pub struct Pictures<R> {
    units: AccessUnits<R>,
    offset: u64,
    sets: Sets,
    config: Option<DecoderConfig>,
    reordering: Reordering,
    /// Read to see whether it is a second field, which it was not.
    ahead: Option<Bytes>,
}

/// What an access unit holds.
struct Looked {
    head: Option<SliceHead>,
    has_picture: bool,
    has_sets: bool,
    is_idr: bool,
    is_keyframe: bool,
    is_disposable: bool,
}

impl<R: Read> Pictures<R> {
    /// Of this input.
    pub fn new(input: R) -> Self {
        let units = AccessUnits::new(input);
        Self { units, offset: 0, sets: Sets::default(), config: None, reordering: Reordering::default(), ahead: None }
    }

    /// The next picture that has parameter sets; `None` at the end.
    ///
    /// # Errors
    /// The input can't be read, or is no H.264.
    pub fn next_picture(&mut self) -> std::io::Result<Option<CodedPicture>> {
        loop {
            let Some(mut stream) = self.next_unit()? else { return Ok(None) };
            let looked = look(&mut self.sets, &stream);
            if looked.has_picture && looked.head.is_some_and(SliceHead::is_field) {
                stream = self.with_second_field(looked.head, stream)?;
            }
            let offset = self.offset;
            self.offset += stream.len() as u64;
            if !looked.has_picture {
                continue;
            }
            let is_keyframe = looked.is_keyframe;
            let mut keeps_sets = looked.has_sets && !is_keyframe;
            let mut config = None;
            if let Some((now, has_more)) = self.sets.config().filter(|_| is_keyframe || self.config.is_none()) {
                keeps_sets |= has_more;
                if self.config.as_ref() != Some(&now) {
                    self.config = Some(now.clone());
                    self.reordering.depth = h264::reordered(&now).unwrap_or(0).min(REORDERED_MAX);
                    config = Some(now);
                }
            }
            let Some(known) = &self.config else { continue };
            let frames_per_kilosecond = known.picture().frames_per_kilosecond;
            let order = looked.head.and_then(|head| head.order);
            let later = self.reordering.later(order, looked.is_idr);
            let (is_idr, is_disposable) = (looked.is_idr, looked.is_disposable);
            let picture = CodedPicture {
                stream,
                offset,
                config,
                is_keyframe,
                is_idr,
                is_disposable,
                keeps_sets,
                order,
                later,
                frames_per_kilosecond,
            };
            return Ok(Some(picture));
        }
    }

    fn next_unit(&mut self) -> std::io::Result<Option<Bytes>> {
        match self.ahead.take() {
            Some(unit) => Ok(Some(unit)),
            None => self.units.next_unit(),
        }
    }

    /// Two fields are one picture (H.264 §7.4.1.2.4): players take a unit for a frame.
    fn with_second_field(&mut self, first: Option<SliceHead>, stream: Bytes) -> std::io::Result<Bytes> {
        let Some(next) = self.units.next_unit()? else { return Ok(stream) };
        let second = look(&mut self.sets.clone(), &next).head;
        if first.zip(second).is_some_and(|(first, second)| first.is_completed_by(second)) {
            look(&mut self.sets, &next);
            let mut both = BytesMut::from(&stream[..]);
            both.extend_from_slice(&next);
            return Ok(both.freeze());
        }
        self.ahead = Some(next);
        Ok(stream)
    }
}

fn look(sets: &mut Sets, stream: &[u8]) -> Looked {
    // One reading of what a key frame is, whoever takes the pictures.
    let annexb::AccessUnit { is_keyframe, is_disposable, .. } = annexb::AccessUnit::scan(stream);
    let mut looked = Looked { head: None, has_picture: false, has_sets: false, is_idr: false, is_keyframe, is_disposable };
    for nal in annexb::NalUnits::new(stream) {
        match nal.first().map(|&header| NalKind::of(header)) {
            Some(NalKind::Sps | NalKind::Pps) => {
                looked.has_sets = true;
                sets.see(nal);
            }
            Some(kind @ (NalKind::Slice | NalKind::Idr)) => {
                looked.is_idr |= kind == NalKind::Idr;
                if !looked.has_picture {
                    looked.has_picture = true;
                    looked.head = sets.begin_picture(nal);
                }
            }
            Some(NalKind::Delimiter | NalKind::Sei | NalKind::Other(_)) | None => {}
        }
    }
    looked
}
