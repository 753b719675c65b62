//! A track's sample tables (ISO/IEC 14496-12 §8.6 and §8.7): which sample is where, and when.

use super::{
    Raw,
    boxes::{find, i32_at, u16_at, u32_at, u64_at},
};
use crate::error::{ClipError, SAMPLES_MAX};

/// A table of entries of one size, which may be cut short.
#[derive(Clone, Copy)]
struct Table<'a> {
    entries: &'a [u8],
    entry_bytes: usize,
}

impl<'a> Table<'a> {
    /// Behind version, flags and the count of entries.
    fn of(stbl: &'a [u8], kind: [u8; 4], entry_bytes: usize) -> Option<Self> {
        let body = find(stbl, kind)?;
        let count = u32_at(body, 4)? as usize;
        let there = body.get(8..)?;
        let entries = there.get(..count.saturating_mul(entry_bytes).min(there.len()))?;
        Some(Self { entries, entry_bytes })
    }

    fn rows(self) -> impl Iterator<Item = &'a [u8]> {
        self.entries.chunks_exact(self.entry_bytes)
    }
}

/// The number of a run of samples, one sample at a time; the last number holds on.
struct Runs<'a> {
    rows: Box<dyn Iterator<Item = &'a [u8]> + 'a>,
    left: u32,
    value: i32,
}

impl<'a> Runs<'a> {
    fn new(table: Option<Table<'a>>) -> Self {
        let rows: Box<dyn Iterator<Item = &'a [u8]>> = match table {
            Some(table) => Box::new(table.rows()),
            None => Box::new(std::iter::empty()),
        };
        Self { rows, left: 0, value: 0 }
    }

    fn next(&mut self) -> i32 {
        while self.left == 0 {
            let Some(row) = self.rows.next() else { return self.value };
            (self.left, self.value) = (u32_at(row, 0).unwrap_or(0), i32_at(row, 4).unwrap_or(0));
        }
        self.left -= 1;
        self.value
    }

    /// Passes over so many samples. Gives the sum of their numbers, as unsigned ones.
    fn skip(&mut self, count: u32) -> i64 {
        let (mut left, mut sum) = (count, 0_i64);
        while left > 0 {
            if self.left == 0 {
                if let Some(row) = self.rows.next() {
                    (self.left, self.value) = (u32_at(row, 0).unwrap_or(0), i32_at(row, 4).unwrap_or(0));
                    continue;
                }
                self.left = left;
            }
            let some = left.min(self.left);
            sum = sum.saturating_add(i64::from(self.value.cast_unsigned()).saturating_mul(i64::from(some)));
            (self.left, left) = (self.left - some, left - some);
        }
        sum
    }
}

/// The bytes of each sample.
enum Sizes<'a> {
    Fixed { bytes: u32, count: usize },
    Each { entries: &'a [u8], bits: usize, count: usize },
}

impl<'a> Sizes<'a> {
    fn of(stbl: &'a [u8]) -> Option<Self> {
        if let Some(body) = find(stbl, *b"stsz") {
            let (bytes, count) = (u32_at(body, 4)?, u32_at(body, 8)? as usize);
            return Some(if bytes > 0 { Self::Fixed { bytes, count } } else { Self::Each { entries: body.get(12..)?, bits: 32, count } });
        }
        let body = find(stbl, *b"stz2")?;
        let bits = usize::from(*body.get(7)?);
        matches!(bits, 4 | 8 | 16).then_some(Self::Each { entries: body.get(12..)?, bits, count: u32_at(body, 8)? as usize })
    }

    /// `None` behind the last.
    fn get(&self, index: usize) -> Option<u32> {
        match *self {
            Self::Fixed { bytes, count } => (index < count).then_some(bytes),
            Self::Each { count, .. } if index >= count => None,
            Self::Each { entries, bits: 4, .. } => {
                entries.get(index / 2).map(|&pair| u32::from(if index.is_multiple_of(2) { pair >> 4 } else { pair & 15 }))
            }
            Self::Each { entries, bits: 8, .. } => entries.get(index).map(|&byte| u32::from(byte)),
            Self::Each { entries, bits: 16, .. } => u16_at(entries, index * 2).map(u32::from),
            Self::Each { entries, .. } => u32_at(entries, index * 4),
        }
    }
}

/// Walks through the chunks: how many samples each has, and which entry they go by.
struct Layout<'a> {
    rows: Vec<&'a [u8]>,
    row: usize,
}

impl Layout<'_> {
    /// Samples in a chunk, counted from one, and the entry, counted from zero.
    fn at(&mut self, chunk: u32) -> (u32, u32) {
        let first_of = |row: &[u8]| u32_at(row, 0).unwrap_or(u32::MAX);
        while self.rows.get(self.row + 1).is_some_and(|next| first_of(next) <= chunk) {
            self.row += 1;
        }
        let Some(row) = self.rows.get(self.row) else { return (1, 0) };
        (u32_at(row, 4).unwrap_or(0), u32_at(row, 8).unwrap_or(1).saturating_sub(1))
    }
}

/// All samples of a track that its tables name and the file has: a table of a few bytes may name millions.
pub(super) fn read(stbl: &[u8], file_bytes: u64) -> Result<Vec<Raw>, ClipError> {
    let Some(sizes) = Sizes::of(stbl) else { return Ok(Vec::new()) };
    let chunks: Vec<u64> = match Table::of(stbl, *b"stco", 4) {
        Some(table) => table.rows().filter_map(|row| u32_at(row, 0)).map(u64::from).collect(),
        None => Table::of(stbl, *b"co64", 8).map(|table| table.rows().filter_map(|row| u64_at(row, 0)).collect()).unwrap_or_default(),
    };
    let mut layout = Layout { rows: Table::of(stbl, *b"stsc", 12).map(|table| table.rows().collect()).unwrap_or_default(), row: 0 };
    let mut durations = Runs::new(Table::of(stbl, *b"stts", 8));
    let mut shifts = Runs::new(Table::of(stbl, *b"ctts", 8));
    let mut keys = Table::of(stbl, *b"stss", 4).map(|table| table.rows().filter_map(|row| u32_at(row, 0)).peekable());
    let (mut raws, mut index, mut dts) = (Vec::new(), 0_usize, 0_i64);
    for (chunk, &start) in (1_u32..).zip(&chunks) {
        let (count, entry) = layout.at(chunk);
        let mut offset = start;
        for at in 0..count {
            if offset >= file_bytes {
                // The rest of the chunk is not there, and may be millions.
                let left = count - at;
                dts = dts.saturating_add(durations.skip(left));
                shifts.skip(left);
                index = index.saturating_add(left as usize);
                break;
            }
            let Some(bytes) = sizes.get(index) else { return Ok(raws) };
            if index >= SAMPLES_MAX {
                return Err(ClipError::TooManySamples);
            }
            // Numbers of key frames rise, and count from one.
            index += 1;
            let number = u32::try_from(index).unwrap_or(u32::MAX);
            let is_keyframe = keys.as_mut().is_none_or(|keys| {
                while keys.next_if(|key| *key < number).is_some() {}
                keys.peek() == Some(&number)
            });
            // As unsigned: 32 bits.
            let duration = durations.next().cast_unsigned();
            let (shift, end) = (i64::from(shifts.next()), offset.saturating_add(u64::from(bytes)));
            if end <= file_bytes {
                raws.push(Raw { offset, bytes, dts, shift, duration, is_keyframe, entry });
            }
            dts = dts.saturating_add(i64::from(duration));
            offset = end;
        }
    }
    Ok(raws)
}
