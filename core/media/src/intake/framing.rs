//! How NAL units are told apart.

use alloc::vec::Vec;

use crate::annexb;
use crate::avc;
use crate::nal::{Family, Role};

/// What is kept of the supplements between two pictures: one that announces a recovery point has ten bytes, and what encoders write beside it is short.
const RECOVERY_BYTES_MAX: usize = 4096;

/// What stands before each NAL unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Framing {
    /// Its length, of 1 to 4 bytes. `is_cut`: the last one reaches past the end.
    Lengths { bytes: usize, is_cut: bool },
    /// A start code.
    StartCodes,
}

impl Framing {
    /// What a payload is framed by: what is expected if it can be, else start codes, else lengths of another size, else as much as is whole.
    pub(super) fn of(payload: &[u8], expected: usize, family: Family) -> Option<Self> {
        if are_lengths(payload, expected, family) {
            return Some(Self::Lengths { bytes: expected, is_cut: false });
        }
        if starts_with_code(payload) {
            return Some(Self::StartCodes);
        }
        if let Some(bytes) = [4, 2, 3, 1].into_iter().find(|&bytes| are_lengths(payload, bytes, family)) {
            return Some(Self::Lengths { bytes, is_cut: false });
        }
        let first = avc::NalUnits::new(payload, expected).next()?;
        family.is_sane(first).then_some(Self::Lengths { bytes: expected, is_cut: true })
    }

    /// What our frames have.
    pub(super) fn is_ours(self) -> bool {
        self == Self::Lengths { bytes: avc::LENGTH_BYTES, is_cut: false }
    }

    /// The NAL units, in order.
    pub(super) fn units(self, payload: &[u8]) -> impl Iterator<Item = &[u8]> {
        let (lengths, codes) = match self {
            Self::Lengths { bytes, .. } => (Some(avc::NalUnits::new(payload, bytes)), None),
            Self::StartCodes => (None, Some(annexb::NalUnits::new(payload))),
        };
        lengths.into_iter().flatten().chain(codes.into_iter().flatten())
    }

    /// The same in our form. Delimiters and filler are left out, parameter sets stay: they may hold for this picture alone.
    pub(super) fn rewrite(self, payload: &[u8], family: Family, has_codes_within: bool) -> Vec<u8> {
        // Three bytes more a unit, and a unit is two bytes long at least.
        let mut out = Vec::with_capacity(payload.len() + 64);
        for unit in self.units(payload) {
            if has_codes_within && holds_several(unit, family) {
                split(unit, family).filter(|inner| family.is_sane(inner)).for_each(|inner| put(inner, &mut out));
            } else if family.is_sane(unit) {
                put(unit, &mut out);
            }
        }
        out
    }

    /// Of a frame without a picture, the supplements that announce one to begin at, in our form. What is longer than any of those is left out.
    pub(super) fn recovery_points(self, payload: &[u8], family: Family) -> Vec<u8> {
        let mut out = Vec::new();
        for unit in self.units(payload) {
            for inner in split(unit, family).filter(|inner| is_recovery_point(inner, family)) {
                if out.len() + inner.len() <= RECOVERY_BYTES_MAX {
                    put(inner, &mut out);
                }
            }
        }
        out
    }
}

fn is_recovery_point(unit: &[u8], family: Family) -> bool {
    family.role(unit) == Role::Supplement && family.is_recovery_point(unit)
}

/// A frame in our form with other NAL units before its first slice: behind delimiters and parameter sets, as the standards have it (H.264 §7.4.1.2.3).
pub(super) fn before_slices(payload: &[u8], units: &[u8], family: Family) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + units.len());
    let mut is_in = false;
    for unit in avc::NalUnits::new(payload, avc::LENGTH_BYTES) {
        if !is_in && matches!(family.role(unit), Role::Slice { .. }) {
            out.extend_from_slice(units);
            is_in = true;
        }
        put(unit, &mut out);
    }
    out
}

pub(super) fn put(unit: &[u8], out: &mut Vec<u8>) {
    if !unit.is_empty() {
        out.extend_from_slice(&u32::try_from(unit.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(unit);
    }
}

/// Whether all of it is NAL units behind lengths of so many bytes.
fn are_lengths(payload: &[u8], bytes: usize, family: Family) -> bool {
    let mut units = avc::NalUnits::new(payload, bytes);
    let mut has_any = false;
    for unit in units.by_ref() {
        if !unit.is_empty() {
            has_any = true;
            // Some write a start code behind the length.
            if !family.is_sane(unit) && !starts_with_code(unit) {
                return false;
            }
        }
    }
    has_any && units.is_exhausted()
}

/// Whether it begins with a start code of three or four bytes, or more zeros.
pub(super) fn starts_with_code(bytes: &[u8]) -> bool {
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    zeros >= 2 && bytes.get(zeros) == Some(&1)
}

/// Whether several NAL units stand in one.
pub(super) fn holds_several(unit: &[u8], family: Family) -> bool {
    starts_with_code(unit) || code_within(unit, family).is_some()
}

/// What stands before the first start code in it, and the units behind each.
pub(super) fn split(unit: &[u8], family: Family) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(unit);
    core::iter::from_fn(move || {
        loop {
            let unit = without_code(rest.take()?);
            let (head, later) = match code_within(unit, family) {
                Some(at) => (unit.get(..at)?, unit.get(at + 3..)),
                None => (unit, None),
            };
            rest = later;
            let end = head.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            if let Some(head) = head.get(..end).filter(|head| !head.is_empty()) {
                return Some(head);
            }
        }
    })
}

fn without_code(unit: &[u8]) -> &[u8] {
    if !starts_with_code(unit) {
        return unit;
    }
    let zeros = unit.iter().take_while(|&&byte| byte == 0).count();
    unit.get(zeros + 1..).unwrap_or_default()
}

/// Where a start code in it begins that another unit stands behind. No NAL unit may hold one (H.264 §7.4.1, H.265 §7.4.2: emulation prevention), but there are
/// encoders on chips that forget to prevent it: within a slice only another slice of the same kind is taken for one.
fn code_within(unit: &[u8], family: Family) -> Option<usize> {
    let &header = unit.first()?;
    let is_slice = matches!(family.role(unit), Role::Slice { .. });
    let mut from = 0;
    loop {
        let at = from + annexb::find_start_code(unit.get(from..)?)?;
        let behind = unit.get(at + 3..)?;
        if if is_slice { behind.first() == Some(&header) } else { family.is_sane(behind) } {
            return Some(at);
        }
        from = at + 3;
    }
}
