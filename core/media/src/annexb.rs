//! Annex B, the byte stream of encoders and files (H.264 Annex B): NAL units behind start codes 00 00 01 or 00 00 00 01.

use crate::avc::{LENGTH_BYTES, NalKind};

/// The NAL units of a byte stream, in order, without start codes and trailing zeros. Bytes before the first start code are skipped.
#[derive(Clone, Debug)]
pub struct NalUnits<'a> {
    /// What follows the current start code; `None` after the last.
    rest: Option<&'a [u8]>,
}

impl<'a> NalUnits<'a> {
    /// Over a whole byte stream, or one access unit of it.
    #[must_use]
    pub fn new(stream: &'a [u8]) -> Self {
        let rest = find_start_code(stream).and_then(|at| stream.get(at + 3..));
        Self { rest }
    }
}

impl<'a> Iterator for NalUnits<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let rest = self.rest?;
            let (nal, next) = match find_start_code(rest) {
                Some(at) => (rest.get(..at)?, rest.get(at + 3..)),
                None => (rest, None),
            };
            self.rest = next;
            let end = nal.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            if let Some(nal) = nal.get(..end).filter(|nal| !nal.is_empty()) {
                return Some(nal);
            }
        }
    }
}

/// Where the next 00 00 01 begins.
#[must_use]
pub fn find_start_code(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        // A 1 is rare in coded data: look for it, then behind it.
        let one = from + bytes.get(from..)?.iter().position(|&byte| byte == 1)?;
        if one >= 2 && bytes.get(one - 2..one) == Some(&[0, 0]) {
            return Some(one - 2);
        }
        from = one + 1;
    }
}

/// One access unit taken apart: what goes to the decoder's configuration, and what is sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct AccessUnit<'a> {
    /// The last SPS in it.
    pub sps: Option<&'a [u8]>,
    /// The last PPS in it.
    pub pps: Option<&'a [u8]>,
    /// Bytes that [`write_avcc`] will write.
    pub avcc_bytes: usize,
    /// True when it holds an IDR slice.
    pub is_idr: bool,
    /// True when it holds a slice at all.
    pub has_picture: bool,
    /// True when no slice of it is a reference.
    pub is_disposable: bool,
}

impl<'a> AccessUnit<'a> {
    /// Looks through one access unit.
    #[must_use]
    pub fn scan(stream: &'a [u8]) -> Self {
        let mut unit = Self { is_disposable: true, ..Self::default() };
        for nal in NalUnits::new(stream) {
            let header = nal.first().copied().unwrap_or(0);
            match NalKind::of(header) {
                NalKind::Sps => unit.sps = Some(nal),
                NalKind::Pps => unit.pps = Some(nal),
                NalKind::Slice | NalKind::Idr => {
                    unit.has_picture = true;
                    unit.is_idr |= NalKind::of(header) == NalKind::Idr;
                    unit.is_disposable &= header & 0x60 == 0;
                }
                NalKind::Delimiter | NalKind::Sei | NalKind::Other(_) => {}
            }
            if is_sent(header) {
                unit.avcc_bytes += LENGTH_BYTES + nal.len();
            }
        }
        unit.is_disposable &= unit.has_picture;
        unit
    }
}

/// Parameter sets travel in the track, delimiters not at all, filler (12) neither.
fn is_sent(header: u8) -> bool {
    !matches!(NalKind::of(header), NalKind::Sps | NalKind::Pps | NalKind::Delimiter | NalKind::Other(12))
}

/// Writes an access unit in AVCC form, without parameter sets, delimiters and filler, and returns the bytes written.
/// `None` when `out` is too small: [`AccessUnit::avcc_bytes`] says how much it takes.
#[must_use]
pub fn write_avcc(stream: &[u8], out: &mut [u8]) -> Option<usize> {
    let mut at = 0;
    for nal in NalUnits::new(stream).filter(|nal| nal.first().is_some_and(|&header| is_sent(header))) {
        let length = u32::try_from(nal.len()).ok()?.to_be_bytes();
        out.get_mut(at..at + LENGTH_BYTES)?.copy_from_slice(&length);
        at += LENGTH_BYTES;
        out.get_mut(at..at + nal.len())?.copy_from_slice(nal);
        at += nal.len();
    }
    Some(at)
}

/// Turns an access unit into AVCC form where it lies, and returns what is sent of it: for encoders whose buffers are lent, not copied.
///
/// Each start code becomes the length of what follows it, for which it has to be the one of four bytes: hardware encoders write only
/// those. What is sent begins behind the parameter sets and the delimiter that lead it, as encoders write them. `None`, and the unit as it was, where a
/// start code is of three bytes, where something that is not sent lies between what is, or where nothing is to be sent: [`write_avcc`] takes it then.
#[must_use]
pub fn lend_avcc(unit: &mut [u8]) -> Option<&mut [u8]> {
    let mut from = None;
    // Checked whole first: half a conversion could be read by nobody.
    let mut at = find_start_code(unit)?.checked_sub(1)?;
    while at < unit.len() {
        if unit.get(at..at + LENGTH_BYTES) != Some(&[0, 0, 0, 1]) {
            return None;
        }
        let sent = unit.get(at + LENGTH_BYTES).is_some_and(|&header| is_sent(header));
        match (sent, from) {
            (true, None) => from = Some(at),
            (false, Some(_)) => return None,
            (true, Some(_)) | (false, None) => {}
        }
        at = next_start(unit, at);
    }
    let from = from?;
    let mut at = from;
    while at < unit.len() {
        let next = next_start(unit, at);
        let length = u32::try_from(next - at - LENGTH_BYTES).ok()?.to_be_bytes();
        unit.get_mut(at..at + LENGTH_BYTES)?.copy_from_slice(&length);
        at = next;
    }
    unit.get_mut(from..)
}

/// Where the start code after the one at `at` begins, of whatever length; the end where there is none.
fn next_start(unit: &[u8], at: usize) -> usize {
    let body = at + LENGTH_BYTES;
    let next = unit.get(body..).and_then(find_start_code).map(|offset| body + offset);
    // The zero before it is part of it.
    next.map_or(unit.len(), |start| if start > body && unit.get(start - 1) == Some(&0) { start - 1 } else { start })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn a_unit_is_lent_where_it_lies_or_left_alone() {
        let unit = [0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2, 0, 0, 0, 1, 0x65, 7, 8, 0, 0, 0, 1, 0x65, 0x80, 9];
        let mut lent = unit;
        let mut written = [0; 64];
        let length = write_avcc(&unit, &mut written).unwrap();
        assert_eq!(lend_avcc(&mut lent).unwrap(), &written[..length]);
        // A start code of three bytes, a delimiter in the middle, parameter sets alone, nothing.
        for other in [
            &[0, 0, 0, 1, 0x65, 7, 8, 0, 0, 1, 0x65, 0x80][..],
            &[0, 0, 1, 0x65, 7],
            &[0, 0, 0, 1, 0x65, 7, 0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1, 0x65, 0x80],
            &[0, 0, 0, 1, 0x67, 1],
            &[1, 2, 3],
            &[],
        ] {
            let mut left = other.to_vec();
            assert!(lend_avcc(&mut left).is_none());
            assert_eq!(left, other);
        }
    }

    /// Up to a hundred of a hundred bytes; of ten under Miri, to which each byte is a loop's turn.
    fn units() -> impl proptest::strategy::Strategy<Value = Vec<Vec<u8>>> {
        let most = if cfg!(miri) { 10 } else { 100 };
        proptest::collection::vec(proptest::collection::vec(proptest::prelude::any::<u8>(), 0..most), 0..most)
    }

    proptest::proptest! {
        #[test]
        fn what_is_lent_is_what_would_be_written(nals in units()) {
            // Whatever an encoder writes: no start code within, no zero at the end.
            let nals: Vec<Vec<u8>> = nals.into_iter().map(|nal| {
                let body = nal.into_iter().map(|byte| byte | 1).chain([0x80]);
                [0x41].into_iter().chain(body).collect()
            }).collect();
            let mut unit: Vec<u8> = [0, 0, 0, 1, 9, 0xf0].into_iter().chain(nals.iter().flat_map(|nal| [0, 0, 0, 1].into_iter().chain(nal.iter().copied()))).collect();
            let mut written = std::vec![0; unit.len()];
            let length = write_avcc(&unit, &mut written).unwrap();
            let lent = lend_avcc(&mut unit).map(|lent| lent.to_vec());
            proptest::prop_assert_eq!(lent.unwrap_or_default(), &written[..length]);
        }
    }

    #[test]
    fn start_codes_of_three_and_four_bytes_and_trailing_zeros() {
        let stream = [9, 9, 0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x68, 3, 0, 0, 0, 0, 1, 0x65, 4, 5];
        let units: Vec<&[u8]> = NalUnits::new(&stream).collect();
        assert_eq!(units, [&[0x67, 1, 2][..], &[0x68, 3], &[0x65, 4, 5]]);
    }

    #[test]
    fn an_access_unit_becomes_avcc_without_its_parameter_sets() {
        let stream = [0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 2, 0, 0, 1, 6, 5, 0x80, 0, 0, 1, 0x65, 7, 8];
        let unit = AccessUnit::scan(&stream);
        assert!(unit.is_idr && unit.has_picture && !unit.is_disposable);
        assert_eq!((unit.sps, unit.pps), (Some(&[0x67, 1][..]), Some(&[0x68, 2][..])));
        let mut out = [0; 14];
        assert_eq!(unit.avcc_bytes, out.len());
        assert_eq!(write_avcc(&stream, &mut out), Some(14));
        assert_eq!(out, [0, 0, 0, 3, 6, 5, 0x80, 0, 0, 0, 3, 0x65, 7, 8]);
        assert_eq!(write_avcc(&stream, &mut [0; 13]), None);
    }

    proptest::proptest! {
        #[test]
        fn avcc_of_any_units_reads_back_as_those_units(units in proptest::collection::vec(proptest::collection::vec(1_u8.., 1..40), 0..6)) {
            let units: Vec<Vec<u8>> = units.into_iter().map(|mut unit| { unit[0] = 0x41; unit.retain(|&byte| byte != 1); unit }).collect();
            let stream: Vec<u8> = units.iter().flat_map(|unit| [&[0, 0, 0, 1][..], unit].concat()).collect();
            let mut out = std::vec![0; stream.len()];
            let written = write_avcc(&stream, &mut out).unwrap();
            let read: Vec<&[u8]> = crate::avc::NalUnits::new(&out[..written], 4).collect();
            proptest::prop_assert_eq!(read, units);
        }
    }
}
