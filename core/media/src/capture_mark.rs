//! When a picture was captured, written into its access unit: a supplement that every decoder passes over, and every way of a stream keeps.
//!
//! It is user data of our own (H.264 §7.3.2.3.1 and §D.1.6, H.265 §D.2.6: `user_data_unregistered`), 38 or 39 bytes with its length:
//!
//! ```text
//! length 4 │ NAL header 1 or 2 │ 5 │ 30 │ UUID 16 │ captured 8 │ number 4 │ clock error 2 │ 0x80
//! ```
//!
//! The numbers have seven bits a byte, the highest first, and the eighth is always set. So no two zeros follow each other, nothing needs an emulation
//! prevention byte, and the mark is found in a byte stream as in ours, by the same 32 bytes.

use crate::avc;
use crate::nal::Family;
use crate::time::WallTime;
use crate::track::Codec;

/// The longest mark, its length of four bytes included.
pub const MARK_BYTES_MAX: usize = 39;
/// A delimiter, its length of four bytes included, is moved in front of the mark (H.264 §7.4.1.2.3: it comes first).
const DELIMITER_BYTES_MAX: usize = 4 + 3;
/// What goes in front of an access unit at the most: its own delimiter and a mark.
pub const HEAD_BYTES_MAX: usize = DELIMITER_BYTES_MAX + MARK_BYTES_MAX;
/// Ours; no byte of it is 0.
const UUID: [u8; 16] = [0x5b, 0x1e, 0x7a, 0x3c, 0x91, 0xd4, 0x4f, 0x27, 0xa6, 0x0d, 0x53, 0x69, 0x67, 0x68, 0x74, 0xc1];
/// `user_data_unregistered` in both standards.
const USER_DATA: u8 = 5;
/// `buffering_period`: the first message of a picture that has it (H.264 §7.4.1.2.3).
const BUFFERING_PERIOD: u8 = 0;
const MICROS_BYTES: usize = 8;
const NUMBER_BYTES: usize = 4;
const ERROR_BYTES: usize = 2;
const BODY_BYTES: usize = UUID.len() + MICROS_BYTES + NUMBER_BYTES + ERROR_BYTES;
/// Numbers of pictures begin at 0 again after so many: 28 bits.
pub const NUMBERS: u32 = 1 << (7 * NUMBER_BYTES);
/// Written for an error that is not known; the largest that can be is one less.
const ERROR_UNKNOWN: u16 = (1 << (7 * ERROR_BYTES)) - 1;
/// NAL units before the first slice that are looked through: parameter sets, supplements.
const UNITS_MAX: usize = 16;

/// When a picture was captured, as its camera says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CaptureMark {
    /// By the camera's estimate of the cloud's clock, or by its own where it has none. Times before 1970 and after the year 4253 are not written.
    pub captured: WallTime,
    /// How far the camera's clock may be from the cloud's, in milliseconds, 16,382 at the most; `None`: it has not been compared.
    pub clock_error_ms: Option<u16>,
    /// Counts the camera's pictures; one that is missing was left out on its way. Begins at 0 again after [`NUMBERS`].
    pub number: u32,
}

impl CaptureMark {
    /// Puts into `head` what takes the place of the first bytes of an access unit, so that it carries the mark; gives how long that is, and how many bytes of
    /// the access unit it stands for. `None`: this one takes no mark (a codec without supplements, a picture that begins with a buffering period).
    pub fn put(&self, codec: Codec, unit: &[u8], head: &mut [u8; HEAD_BYTES_MAX]) -> Option<(usize, usize)> {
        let family = Family::of(codec)?;
        let micros = u64::try_from(self.captured.unix_micros).ok().filter(|micros| micros >> (7 * MICROS_BYTES) == 0)?;
        let before = delimiter_bytes(family, unit)?;
        let nal: &[u8] = match family {
            Family::H264 => &[6],
            Family::Hevc => &[39 << 1, 1],
        };
        let length = u32::try_from(nal.len() + 2 + BODY_BYTES + 1).unwrap_or(0).to_be_bytes();
        let mut parts = heapless::Vec::<u8, HEAD_BYTES_MAX>::new();
        parts.extend_from_slice(unit.get(..before)?).ok()?;
        parts.extend_from_slice(&length).ok()?;
        parts.extend_from_slice(nal).ok()?;
        parts.extend_from_slice(&[USER_DATA, BODY_BYTES as u8]).ok()?;
        parts.extend_from_slice(&UUID).ok()?;
        parts.extend_from_slice(&septets::<MICROS_BYTES>(micros)).ok()?;
        parts.extend_from_slice(&septets::<NUMBER_BYTES>(u64::from(self.number))).ok()?;
        let error = self.clock_error_ms.map_or(ERROR_UNKNOWN, |error| error.min(ERROR_UNKNOWN - 1));
        parts.extend_from_slice(&septets::<ERROR_BYTES>(u64::from(error))).ok()?;
        parts.push(0x80).ok()?;
        head.get_mut(..parts.len())?.copy_from_slice(&parts);
        Some((parts.len(), before))
    }

    /// The mark of an access unit in our form.
    #[must_use]
    pub fn find(codec: Codec, unit: &[u8]) -> Option<Self> {
        let family = Family::of(codec)?;
        leading(family, unit).find_map(|nal| Self::read(family, nal))
    }

    fn read(family: Family, nal: &[u8]) -> Option<Self> {
        let body = message(family, nal)?.strip_prefix(&[USER_DATA, BODY_BYTES as u8])?.strip_prefix(&UUID)?;
        let (micros, rest) = body.split_at_checked(MICROS_BYTES)?;
        let (number, rest) = rest.split_at_checked(NUMBER_BYTES)?;
        let (error, _) = rest.split_at_checked(ERROR_BYTES)?;
        let error = u16::try_from(number_of(error)?).ok()?;
        Some(Self {
            captured: WallTime::from_unix_micros(i64::try_from(number_of(micros)?).ok()?),
            clock_error_ms: (error != ERROR_UNKNOWN).then_some(error),
            number: u32::try_from(number_of(number)?).ok()?,
        })
    }
}

/// The NAL units before the first slice.
fn leading(family: Family, unit: &[u8]) -> impl Iterator<Item = &[u8]> {
    avc::NalUnits::new(unit, avc::LENGTH_BYTES).take(UNITS_MAX).take_while(move |nal| !family.is_slice(nal))
}

/// What a supplement holds, behind its header.
fn message(family: Family, nal: &[u8]) -> Option<&[u8]> {
    let header = *nal.first()?;
    match (family, family.kind(header)) {
        (Family::H264, 6) => nal.get(1..),
        (Family::Hevc, 39) => nal.get(2..),
        (_, _) => None,
    }
}

/// How long the delimiter is that the access unit begins with, 0 without one; `None` where no mark may come first.
fn delimiter_bytes(family: Family, unit: &[u8]) -> Option<usize> {
    if leading(family, unit).any(|nal| message(family, nal).is_some_and(|message| message.first() == Some(&BUFFERING_PERIOD))) {
        return None;
    }
    let first = avc::NalUnits::new(unit, avc::LENGTH_BYTES).next()?;
    let is_delimiter = first.first().is_some_and(|&header| {
        let kind = family.kind(header);
        match family {
            Family::H264 => kind == 9,
            Family::Hevc => kind == 35,
        }
    });
    let bytes = avc::LENGTH_BYTES + first.len();
    match is_delimiter {
        false => Some(0),
        true => (bytes <= DELIMITER_BYTES_MAX).then_some(bytes),
    }
}

/// A number in `N` bytes of seven bits.
fn septets<const N: usize>(number: u64) -> [u8; N] {
    core::array::from_fn(|at| 0x80 | ((number >> (7 * (N - 1 - at))) & 0x7f) as u8)
}

fn number_of(septets: &[u8]) -> Option<u64> {
    septets.iter().try_fold(0_u64, |sum, &byte| (byte & 0x80 != 0).then_some((sum << 7) | u64::from(byte & 0x7f)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const IDR: [u8; 4] = [0x65, 0x88, 0x80, 0x10];
    const HEVC_IDR: [u8; 4] = [19 << 1, 1, 0x80, 0x10];

    fn unit(nals: &[&[u8]]) -> Vec<u8> {
        nals.iter().flat_map(|nal| (nal.len() as u32).to_be_bytes().into_iter().chain(nal.iter().copied())).collect()
    }

    fn marked(mark: CaptureMark, codec: Codec, unit: &[u8]) -> Option<Vec<u8>> {
        let mut head = [0; HEAD_BYTES_MAX];
        let (bytes, instead_of) = mark.put(codec, unit, &mut head)?;
        Some([&head[..bytes], &unit[instead_of..]].concat())
    }

    fn mark(unix_micros: i64) -> CaptureMark {
        CaptureMark { captured: WallTime::from_unix_micros(unix_micros), clock_error_ms: Some(12), number: 77 }
    }

    #[test]
    fn a_picture_keeps_its_slices_and_its_delimiter_comes_first() {
        let [plain, delimited] = [unit(&[&IDR]), unit(&[&[9, 0xf0], &IDR])];
        let with = marked(mark(1_795_000_000_000_000), Codec::H264, &plain).unwrap();
        assert_eq!((with.len(), &with[38..]), (plain.len() + 38, plain.as_slice()));
        let with = marked(mark(1_795_000_000_000_000), Codec::H264, &delimited).unwrap();
        let kinds: Vec<u8> = avc::NalUnits::new(&with, 4).map(|nal| nal[0] & 0x1f).collect();
        assert_eq!(kinds, [9, 6, 5]);
        let with = marked(mark(1_795_000_000_000_000), Codec::Hevc, &unit(&[&[35 << 1, 1, 0x50], &HEVC_IDR])).unwrap();
        let kinds: Vec<u8> = avc::NalUnits::new(&with, 4).map(|nal| nal[0] >> 1).collect();
        assert_eq!(kinds, [35, 39, 19]);
        assert_eq!(CaptureMark::find(Codec::Hevc, &with), Some(mark(1_795_000_000_000_000)));
    }

    #[test]
    fn a_buffering_period_stays_the_first_message_and_sound_has_no_mark() {
        let buffered = unit(&[&[0x67, 1], &[0x68, 1], &[6, 0, 1, 0x80, 0x80], &IDR]);
        assert_eq!(marked(mark(1), Codec::H264, &buffered), None);
        assert_eq!(marked(mark(1), Codec::Aac, &[1, 2, 3]), None);
        assert_eq!(marked(mark(-1), Codec::H264, &unit(&[&IDR])), None, "a clock before 1970");
        assert_eq!(marked(mark(1 << 56), Codec::H264, &unit(&[&IDR])), None);
    }

    #[test]
    fn what_others_write_into_supplements_and_what_stands_behind_a_slice_is_no_mark() {
        let x264 = [&[6, 5, 20][..], &[0xdc; 20], &[0x80]].concat();
        assert_eq!(CaptureMark::find(Codec::H264, &unit(&[&x264, &IDR])), None);
        let with = marked(mark(5), Codec::H264, &unit(&[&IDR])).unwrap();
        let late = [unit(&[&IDR]), with].concat();
        assert_eq!(CaptureMark::find(Codec::H264, &late), None);
    }

    proptest! {
        #[test]
        fn any_mark_comes_back_and_needs_no_prevention_of_start_codes(
            micros in 0_i64..1 << 56, error in proptest::option::of(0_u16..ERROR_UNKNOWN), number in 0..NUMBERS, is_hevc: bool
        ) {
            let wanted = CaptureMark { captured: WallTime::from_unix_micros(micros), clock_error_ms: error, number };
            let (codec, slice) = if is_hevc { (Codec::Hevc, HEVC_IDR) } else { (Codec::H264, IDR) };
            let with = marked(wanted, codec, &unit(&[&slice])).unwrap();
            prop_assert_eq!(CaptureMark::find(codec, &with), Some(wanted));
            let nal = avc::NalUnits::new(&with, 4).next().unwrap();
            prop_assert!(!nal.windows(2).any(|pair| pair == [0, 0]));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, is_hevc: bool) {
            let codec = if is_hevc { Codec::Hevc } else { Codec::H264 };
            let _ = CaptureMark::find(codec, &bytes);
            let mut head = [0; HEAD_BYTES_MAX];
            if let Some((_, instead_of)) = mark(1).put(codec, &bytes, &mut head) {
                prop_assert!(instead_of <= bytes.len());
            }
        }
    }
}
