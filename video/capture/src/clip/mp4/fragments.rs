//! Movie fragments (ISO/IEC 14496-12 §8.8).

use super::{
    Raw,
    boxes::{Boxes, TopBox, find, u32_at, u64_at},
};
use crate::error::{ClipError, SAMPLES_MAX};

/// `sample_is_non_sync_sample`.
const NON_SYNC: u32 = 0x0001_0000;

/// What a track's samples have unless it is told.
#[derive(Clone, Copy, Debug, Default)]
struct Defaults {
    entry: u32,
    duration: u32,
    bytes: u32,
    flags: u32,
}

/// One track's samples, fragment by fragment.
#[derive(Debug)]
pub(super) struct Fragments {
    track: u32,
    defaults: Defaults,
    dts: i64,
    file_bytes: u64,
}

/// Fields that are there or not, one after another.
struct Fields<'a> {
    body: &'a [u8],
    at: usize,
    flags: u32,
}

impl<'a> Fields<'a> {
    fn new(body: &'a [u8], at: usize) -> Option<Self> {
        Some(Self { body, at, flags: u32_at(body, 0)? & 0x00ff_ffff })
    }

    fn take(&mut self, flag: u32) -> Option<u32> {
        if self.flags & flag == 0 {
            return None;
        }
        let value = u32_at(self.body, self.at);
        self.at += 4;
        value
    }
}

impl Fragments {
    pub(super) fn new(moov: &[u8], track: u32, dts: i64, file_bytes: u64) -> Self {
        let extends = find(moov, *b"mvex").into_iter().flat_map(Boxes::new).filter(|found| found.kind == *b"trex");
        let mine = extends.map(|found| found.body).find(|body| u32_at(body, 4) == Some(track));
        let field = |at: usize| mine.and_then(|body| u32_at(body, at)).unwrap_or(0);
        let defaults = Defaults { entry: field(8).saturating_sub(1), duration: field(12), bytes: field(16), flags: field(20) };
        Self { track, defaults, dts, file_bytes }
    }

    /// Reads all fragments that are there as a whole.
    pub(super) fn read(
        mut self,
        moofs: &[TopBox],
        body_of: impl Fn(&TopBox) -> Result<Vec<u8>, ClipError>,
        raws: &mut Vec<Raw>,
    ) -> Result<(), ClipError> {
        for moof in moofs.iter().filter(|moof| !moof.is_cut) {
            let body = body_of(moof)?;
            // Where a track fragment begins that does not say: behind the one before it, the first at the fragment's own start.
            let mut next = moof.start;
            for traf in Boxes::new(&body).filter(|found| found.kind == *b"traf") {
                self.read_track(traf.body, moof.start, &mut next, raws)?;
            }
        }
        Ok(())
    }

    fn read_track(&mut self, traf: &[u8], moof: u64, next: &mut u64, raws: &mut Vec<Raw>) -> Result<(), ClipError> {
        let Some(header) = find(traf, *b"tfhd") else { return Ok(()) };
        let Some(mut fields) = Fields::new(header, 8) else { return Ok(()) };
        let is_mine = u32_at(header, 4) == Some(self.track);
        let mut base = if fields.flags & 0x02_0000 == 0 { *next } else { moof };
        if fields.flags & 1 != 0 {
            base = u64_at(header, fields.at).unwrap_or(base);
            fields.at += 8;
        }
        let defaults = Defaults {
            entry: fields.take(2).map_or(self.defaults.entry, |entry| entry.saturating_sub(1)),
            duration: fields.take(8).unwrap_or(self.defaults.duration),
            bytes: fields.take(0x10).unwrap_or(self.defaults.bytes),
            flags: fields.take(0x20).unwrap_or(self.defaults.flags),
        };
        if let Some(time) = find(traf, *b"tfdt").filter(|_| is_mine) {
            let dts = if time.first() == Some(&1) { u64_at(time, 4) } else { u32_at(time, 4).map(u64::from) };
            self.dts = dts.and_then(|dts| i64::try_from(dts).ok()).unwrap_or(self.dts);
        }
        let mut offset = base;
        for run in Boxes::new(traf).filter(|found| found.kind == *b"trun") {
            self.read_run(run.body, base, &mut offset, defaults, is_mine.then_some(&mut *raws))?;
        }
        *next = offset;
        Ok(())
    }

    /// `raws`: of other tracks only the length counts.
    fn read_run(
        &mut self,
        run: &[u8],
        base: u64,
        offset: &mut u64,
        defaults: Defaults,
        mut raws: Option<&mut Vec<Raw>>,
    ) -> Result<(), ClipError> {
        let (Some(mut fields), Some(count)) = (Fields::new(run, 8), u32_at(run, 4)) else { return Ok(()) };
        if let Some(shift) = fields.take(1) {
            *offset = base.saturating_add_signed(i64::from(shift.cast_signed()));
        }
        let mut first_flags = fields.take(4);
        for left in (1..=count).rev() {
            let has_fields = fields.flags & 0xf00 != 0;
            if has_fields && fields.at >= run.len() {
                // It promises more samples than it has.
                break;
            }
            let duration = fields.take(0x100).unwrap_or(defaults.duration);
            let bytes = fields.take(0x200).unwrap_or(defaults.bytes);
            let own_flags = fields.take(0x400);
            let flags = first_flags.take().or(own_flags).unwrap_or(defaults.flags);
            let shift = fields.take(0x800).map_or(0, |shift| i64::from(shift.cast_signed()));
            let Some(raws) = raws.as_deref_mut() else {
                *offset = offset.saturating_add(u64::from(bytes));
                if !has_fields {
                    *offset = offset.saturating_add(u64::from(bytes).saturating_mul(u64::from(count - 1)));
                    break;
                }
                continue;
            };
            if !has_fields && (bytes == 0 || *offset > self.file_bytes) {
                // A run of a few bytes may name millions of samples that the file does not have.
                self.dts = self.dts.saturating_add(i64::from(left).saturating_mul(i64::from(duration)));
                *offset = offset.saturating_add(u64::from(left).saturating_mul(u64::from(bytes)));
                break;
            }
            if raws.len() >= SAMPLES_MAX {
                return Err(ClipError::TooManySamples);
            }
            let (dts, entry) = (self.dts, defaults.entry);
            raws.push(Raw { offset: *offset, bytes, dts, shift, duration, is_keyframe: flags & NON_SYNC == 0, entry });
            self.dts = self.dts.saturating_add(i64::from(duration));
            *offset = offset.saturating_add(u64::from(bytes));
        }
        Ok(())
    }
}
