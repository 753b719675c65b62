//! Annex B, the byte stream of encoders and files (H.264 Annex B): NAL units behind start codes 00 00 01 or 00 00 00 01.

#[cfg(feature = "alloc")]
use crate::frame::Frame;
use crate::{
    avc::{self, ConfigError, DECODER_CONFIG_BYTES_MAX, DecoderConfig, LENGTH_BYTES, NalKind},
    nal::{Family, Look, config_beside},
    time::MediaTime,
    track::{Track, TrackConfig, TrackId},
};

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
    // Every byte of a start code is 0 or 1, so that one byte in three is looked at where it is neither: a chip's processor sees each access unit here.
    let mut at = 2;
    loop {
        // Four of them in one look, which is most of what coded pictures are.
        while let Some([first, _, _, second, _, _, third, _, _, fourth]) = bytes.get(at..).and_then(|rest| rest.first_chunk())
            && *first > 1
            && *second > 1
            && *third > 1
            && *fourth > 1
        {
            at += 12;
        }
        match *bytes.get(at)? {
            0 => at += 1,
            1 if bytes.get(at - 2..at) == Some(&[0, 0]) => return Some(at - 2),
            _ => at += 3,
        }
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
    /// True when a decoder can begin at it: it holds an IDR slice or a recovery point.
    pub is_keyframe: bool,
    /// True when it holds a slice at all.
    pub has_picture: bool,
    /// True when no slice of it is a reference, and it is no key frame.
    pub is_disposable: bool,
}

impl<'a> AccessUnit<'a> {
    /// Looks through one access unit.
    #[must_use]
    pub fn scan(stream: &'a [u8]) -> Self {
        Self::of(NalUnits::new(stream))
    }

    /// The same of one that is in AVCC form already, with lengths of four bytes.
    #[must_use]
    pub fn scan_avcc(payload: &'a [u8]) -> Self {
        Self::of(avc::NalUnits::new(payload, LENGTH_BYTES))
    }

    fn of(units: impl Iterator<Item = &'a [u8]>) -> Self {
        let (mut unit, mut look) = (Self::default(), Look::default());
        for nal in units {
            look.see(Family::H264, nal);
            let header = nal.first().copied().unwrap_or(0);
            match NalKind::of(header) {
                NalKind::Sps => unit.sps = Some(nal),
                NalKind::Pps => unit.pps = Some(nal),
                NalKind::Slice | NalKind::Idr | NalKind::Delimiter | NalKind::Sei | NalKind::Other(_) => {}
            }
            if is_sent(header) {
                unit.avcc_bytes += LENGTH_BYTES + nal.len();
            }
        }
        (unit.has_picture, unit.is_keyframe, unit.is_disposable) = (look.has_picture, look.is_keyframe(), look.is_disposable());
        unit
    }
}

#[cfg(feature = "alloc")]
impl AccessUnit<'_> {
    /// This unit, which `stream` was scanned for, as a frame of the video track. The parameter sets stay out: the track holds them.
    #[must_use]
    pub fn to_frame<P: From<alloc::vec::Vec<u8>>>(&self, stream: &[u8], time: MediaTime) -> Frame<P> {
        let mut payload = alloc::vec![0; self.avcc_bytes];
        let written = write_avcc(stream, &mut payload).unwrap_or(0);
        payload.truncate(written);
        Frame {
            track: TrackId::VIDEO,
            dts: time,
            pts: time,
            is_keyframe: self.is_keyframe,
            is_disposable: self.is_disposable,
            payload: P::from(payload),
        }
    }
}

/// Follows the parameter sets of a byte stream, one access unit after another, from an encoder, a device or a file.
#[derive(Clone, Debug, Default)]
pub struct Intake {
    sps: ParameterSet,
    pps: ParameterSet,
    has_track: bool,
    last: Option<MediaTime>,
}

/// No longer than a [`DecoderConfig`], which has to hold it.
type ParameterSet = heapless::Vec<u8, DECODER_CONFIG_BYTES_MAX>;

/// An access unit, and the track that begins with it.
#[derive(Clone, Debug)]
pub struct Arrival<'a> {
    /// Other parameter sets than before: to be sent before this unit.
    pub track: Option<Track>,
    /// The unit, taken apart.
    pub unit: AccessUnit<'a>,
}

impl Intake {
    /// Two frames are at least this far apart: a tick of RTMP.
    const STEP_MIN: MediaTime = MediaTime::from_millis(1);

    /// Takes one access unit apart. SPS and PPS may come in units of their own.
    ///
    /// # Errors
    /// New parameter sets can't be read; those before are still known.
    pub fn take<'a>(&mut self, stream: &'a [u8]) -> Result<Arrival<'a>, ConfigError> {
        let unit = AccessUnit::scan(stream);
        let (sps, pps) = (unit.sps.unwrap_or(&self.sps), unit.pps.unwrap_or(&self.pps));
        if sps == self.sps.as_slice() && pps == self.pps.as_slice() {
            return Ok(Arrival { track: None, unit });
        }
        let config = match (config_beside(NalUnits::new(stream)), sps.is_empty() || pps.is_empty()) {
            (Some(beside), _) => Some(beside?),
            (None, true) => None,
            (None, false) => Some(DecoderConfig::from_sets(sps, pps)?),
        };
        let track = config.map(|config| Track { id: TrackId::VIDEO, config: TrackConfig::H264(config) });
        let kept = |set: &[u8]| ParameterSet::from_slice(set).map_err(|_| ConfigError::TooLong);
        (self.sps, self.pps) = (kept(sps)?, kept(pps)?);
        self.has_track |= track.is_some();
        Ok(Arrival { track, unit })
    }

    /// Whether a decoder can be set up: both parameter sets have come.
    #[must_use]
    pub const fn has_track(&self) -> bool {
        self.has_track
    }

    /// The time of a frame that arrived at `at`: later than that of the frame before it.
    #[must_use]
    pub fn time_of(&mut self, at: MediaTime) -> MediaTime {
        let time = self.last.map_or(at, |last| at.max(last + Self::STEP_MIN));
        self.last = Some(time);
        time
    }
}

/// Whether a NAL unit with this header goes on. Parameter sets travel in the track, delimiters not at all, filler (12) neither; nor what is no NAL unit.
#[must_use]
pub fn is_sent(header: u8) -> bool {
    header & 0x80 == 0
        && header & 0x1f != 0
        && !matches!(NalKind::of(header), NalKind::Sps | NalKind::Pps | NalKind::Delimiter | NalKind::Other(12))
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

/// An access unit in AVCC form where it lies, and what leads it.
#[derive(Debug)]
pub struct LentUnit<'a> {
    /// What is sent: a length of four bytes before each NAL unit.
    pub avcc: &'a mut [u8],
    /// The last SPS before it.
    pub sps: Option<&'a [u8]>,
    /// The last PPS before it.
    pub pps: Option<&'a [u8]>,
    /// What leads it.
    head: &'a [u8],
    /// True when a decoder can begin at it: it holds an IDR slice or a recovery point.
    pub is_keyframe: bool,
    /// True when it holds a slice at all.
    pub has_picture: bool,
    /// True when no slice of it is a reference, and it is no key frame.
    pub is_disposable: bool,
}

impl LentUnit<'_> {
    /// As [`config_beside`]; all sets that there are lead it.
    ///
    /// # Errors
    /// [`ConfigError`]: the sets can't be read.
    #[must_use]
    pub fn config(&self) -> Option<Result<DecoderConfig, ConfigError>> {
        config_beside(NalUnits::new(self.head).chain(avc::NalUnits::new(self.avcc, LENGTH_BYTES)))
    }
}

/// Turns an access unit into AVCC form where it lies: for encoders whose buffers are lent, not copied. Converts in a single pass.
///
/// Each start code becomes the length of what follows it, for which it has to be the one of four bytes: hardware encoders write only
/// those. What is sent begins behind the parameter sets and the delimiter that lead it, as encoders write them. `None`, and the unit as it was, where a
/// start code is of three bytes, where something that is not sent lies between what is, or where nothing is to be sent: [`write_avcc`] takes it then.
#[must_use]
pub fn lend_avcc(unit: &mut [u8]) -> Option<LentUnit<'_>> {
    let (mut from, mut at) = (None, find_start_code(unit)?.checked_sub(1)?);
    let mut look = Look::default();
    while at < unit.len() {
        let header = unit.get(at + LENGTH_BYTES).copied();
        let is_sent = header.is_some_and(is_sent);
        if unit.get(at..at + LENGTH_BYTES) != Some(&[0, 0, 0, 1]) || (from.is_some() && !is_sent) {
            // Half a conversion could be read by nobody.
            put_start_codes(unit.get_mut(from?..at)?);
            return None;
        }
        let next = next_start(unit, at);
        if is_sent {
            from = from.or(Some(at));
            unit.get_mut(at..at + LENGTH_BYTES)?.copy_from_slice(&u32::try_from(next - at - LENGTH_BYTES).ok()?.to_be_bytes());
        }
        // Without the zeros behind it, as others read it.
        if let Some(nal) = unit.get(at + LENGTH_BYTES..next) {
            let end = nal.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            look.see(Family::H264, nal.get(..end).unwrap_or_default());
        }
        at = next;
    }
    let (head, avcc) = unit.split_at_mut_checked(from?)?;
    let head: &[u8] = head;
    let AccessUnit { sps, pps, .. } = AccessUnit::scan(head);
    let (is_keyframe, is_disposable) = (look.is_keyframe(), look.is_disposable());
    Some(LentUnit { avcc, sps, pps, head, is_keyframe, has_picture: look.has_picture, is_disposable })
}

/// Undoes [`lend_avcc`]: each length becomes a start code again. For who can't use what was lent, or lends it once more.
pub fn put_start_codes(avcc: &mut [u8]) {
    let mut rest = avcc;
    while let Some((length, behind)) = rest.split_first_chunk_mut::<LENGTH_BYTES>() {
        let nal_bytes = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        *length = [0, 0, 0, 1];
        let Some((_, next)) = behind.split_at_mut_checked(nal_bytes) else { return };
        rest = next;
    }
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
    fn sets_that_come_apart_make_one_track_and_bad_ones_leave_it() {
        const SPS: [u8; 27] =
            [0, 0, 1, 0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0, 0, 3, 0, 4, 0, 0, 3, 0, 0xc8, 0x3c];
        const PPS: [u8; 9] = [0, 0, 1, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];
        let mut intake = Intake::default();
        assert!(intake.take(&SPS).unwrap().track.is_none() && !intake.has_track());
        let track = intake.take(&PPS).unwrap().track;
        assert_eq!(track.and_then(|track| track.config.size()), Some((1920, 1080)));
        let again = [&SPS[..], &PPS, &[0, 0, 1, 0x65, 1]].concat();
        let arrival = intake.take(&again).unwrap();
        assert!(arrival.track.is_none() && arrival.unit.is_keyframe && intake.has_track());
        for _ in 0..2 {
            assert!(intake.take(&[0, 0, 1, 0x67, 0x64]).is_err(), "each time that they come");
        }
        assert!(intake.take(&again).unwrap().track.is_none(), "the good ones are still known");
    }

    #[test]
    fn two_frames_within_a_tick_of_rtmp_follow_one_another() {
        let mut intake = Intake::default();
        let times = [5, 5, 4, 9].map(|millis| intake.time_of(MediaTime::from_millis(millis)).as_millis());
        assert_eq!(times, [5, 6, 7, 9]);
    }

    #[test]
    fn a_unit_is_lent_where_it_lies_or_left_alone() {
        let unit = [0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2, 0, 0, 0, 1, 0x65, 7, 8, 0, 0, 0, 1, 0x65, 0x80, 9];
        let mut lent = unit;
        let mut written = [0; 64];
        let length = write_avcc(&unit, &mut written).unwrap();
        let found = lend_avcc(&mut lent).unwrap();
        assert_eq!((&*found.avcc, found.sps, found.pps), (&written[..length], Some(&[0x67, 1][..]), Some(&[0x68, 2][..])));
        assert!(found.is_keyframe && found.has_picture && !found.is_disposable);
        put_start_codes(found.avcc);
        assert_eq!(lent, unit);
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
            let before = unit.clone();
            if let Some(lent) = lend_avcc(&mut unit) {
                proptest::prop_assert_eq!(&*lent.avcc, &written[..length]);
                let scanned = AccessUnit::scan(&before);
                let found = (lent.is_keyframe, lent.has_picture, lent.is_disposable);
                proptest::prop_assert_eq!(found, (scanned.is_keyframe, scanned.has_picture, scanned.is_disposable));
                put_start_codes(lent.avcc);
            } else {
                proptest::prop_assert_eq!(length, 0);
            }
            proptest::prop_assert_eq!(unit, before);
        }
    }

    proptest::proptest! {
        #[test]
        fn a_start_code_is_found_wherever_it_lies(bytes in proptest::collection::vec(proptest::sample::select(std::vec![0, 0, 1, 2, 2, 2, 2, 2]), 0..80)) {
            let plain = bytes.windows(3).position(|three| three == [0, 0, 1]);
            proptest::prop_assert_eq!(find_start_code(&bytes), plain);
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
        assert!(unit.is_keyframe && unit.has_picture && !unit.is_disposable);
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
