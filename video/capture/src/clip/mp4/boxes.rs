//! Boxes and their fields, big endian. Whatever is cut short reads as not there.

use std::{fs::File, os::unix::fs::FileExt as _};

use crate::error::ClipError;

/// A box at the top of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct TopBox {
    pub(super) kind: [u8; 4],
    /// Where the box begins.
    pub(super) start: u64,
    /// Where its content begins.
    pub(super) body: u64,
    /// Where it ends, at most the file's end.
    pub(super) end: u64,
    /// The file ends before it does.
    pub(super) is_cut: bool,
}

impl TopBox {
    /// The box at a place; `None` at the end of the file.
    pub(super) fn read(file: &File, start: u64, file_bytes: u64) -> Result<Option<Self>, ClipError> {
        let mut header = [0; 16];
        let there = usize::try_from(file_bytes.saturating_sub(start)).unwrap_or(usize::MAX).min(header.len());
        if there < 8 {
            return Ok(None);
        }
        let head = header.get_mut(..there).unwrap_or_default();
        file.read_exact_at(head, start).map_err(|source| ClipError::Read { offset: start, source })?;
        let kind = [header[4], header[5], header[6], header[7]];
        let (header_bytes, bytes) = match u64::from(u32_at(&header, 0).unwrap_or(0)) {
            0 => (8, file_bytes - start),
            1 if there < 16 => return Ok(None),
            1 => (16, u64_at(&header, 8).unwrap_or(0)),
            bytes => (8, bytes),
        };
        if bytes < header_bytes {
            return Ok(None);
        }
        let end = start.saturating_add(bytes);
        Ok(Some(Self { kind, start, body: start + header_bytes, end: end.min(file_bytes), is_cut: end > file_bytes }))
    }
}

/// A box within another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inner<'a> {
    pub(super) kind: [u8; 4],
    pub(super) body: &'a [u8],
}

/// The boxes of a box's content.
pub(super) struct Boxes<'a>(&'a [u8]);

impl<'a> Boxes<'a> {
    pub(super) const fn new(content: &'a [u8]) -> Self {
        Self(content)
    }
}

impl<'a> Iterator for Boxes<'a> {
    type Item = Inner<'a>;

    fn next(&mut self) -> Option<Inner<'a>> {
        let kind = self.0.get(4..8)?.try_into().ok()?;
        let (header_bytes, bytes) = match u32_at(self.0, 0)? {
            0 => (8, self.0.len()),
            1 => (16, usize::try_from(u64_at(self.0, 8)?).ok()?),
            bytes => (8, bytes as usize),
        };
        // One that is cut short counts as far as it is there.
        let end = bytes.min(self.0.len());
        let body = self.0.get(header_bytes..end)?;
        self.0 = self.0.get(end..)?;
        Some(Inner { kind, body })
    }
}

pub(super) fn find(content: &[u8], kind: [u8; 4]) -> Option<&[u8]> {
    Boxes::new(content).find(|found| found.kind == kind).map(|found| found.body)
}

pub(super) fn find_path<'a>(content: &'a [u8], path: &[[u8; 4]]) -> Option<&'a [u8]> {
    path.iter().try_fold(content, |content, kind| find(content, *kind))
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|two| u16::from_be_bytes(*two))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_be_bytes(*four))
}

pub(super) fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..)?.first_chunk().map(|four| i32::from_be_bytes(*four))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|eight| u64::from_be_bytes(*eight))
}

/// Of `mvhd` and `mdhd`: units a second.
pub(super) fn timescale_of_header(body: &[u8]) -> Option<u32> {
    let at = if *body.first()? == 1 { 20 } else { 12 };
    u32_at(body, at).filter(|timescale| *timescale > 0)
}

/// Of `tkhd`: id, whether it is enabled, and how its pictures are turned, clockwise in degrees.
pub(super) fn track_header(body: &[u8]) -> Option<(u32, bool, u16)> {
    let is_long = *body.first()? == 1;
    let id = u32_at(body, if is_long { 20 } else { 12 })?;
    let matrix = if is_long { 52 } else { 40 };
    let cell = |at: usize| i32_at(body, matrix + 4 * at).map_or(0, i32::signum);
    // a b u c d v: where x and y go.
    let rotation = match (cell(0), cell(1), cell(3), cell(4)) {
        (0, 1, -1, 0) => 90,
        (-1, 0, 0, -1) => 180,
        (0, -1, 1, 0) => 270,
        _ => 0,
    };
    Some((id, body.get(3).is_some_and(|flags| flags & 1 == 1), rotation))
}
