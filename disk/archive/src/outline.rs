//! A recording without its pictures: what its index is read from. It lies beside a copy, so that whoever looks at the copy fetches a few hundred kilobytes at once
//! instead of walking through the file in hundreds of small reads.
//!
//! Its form: `SLOUTLN1`, the file's length, then runs of the file's own bytes, each with its place and its length; numbers are big-endian.

use crate::segment::Boxes;
use crate::source::{LocalFile, Source};
use std::io;
use std::path::Path;

/// The first bytes.
const MAGIC: &[u8; 8] = b"SLOUTLN1";
/// Place and length before a run.
const RUN_HEADER_BYTES: usize = 12;
/// The header of a box without its 64-bit size, which recordings do not have.
const BOX_HEADER_BYTES: u64 = 8;
/// The longest that is read or made: an hour of thirty pictures a second, with sound.
const BYTES_MAX: u64 = 32 << 20;

/// What is wrong with an outline.
#[derive(Debug, thiserror::Error)]
#[error("the outline of a recording is broken at byte {at}")]
pub struct OutlineError {
    at: usize,
}

/// Runs of a file's bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outline {
    /// The length of the file itself.
    pub bytes: u64,
    runs: Vec<(u64, Vec<u8>)>,
}

/// Reads a file's outline: everything but what its `mdat`s hold. Behind its last complete fragment nothing counts.
///
/// # Errors
/// The system's.
pub fn outline(path: &Path) -> io::Result<Outline> {
    let file = LocalFile::open(path)?;
    let mut outline = Outline { bytes: file.bytes(), runs: Vec::new() };
    let (mut begin, mut held, mut boxes) = (0, 0, Boxes::of(&file));
    while let Some(found) = boxes.next()? {
        if found.header.kind != *b"mdat" {
            continue;
        }
        let bytes = found.offset + BOX_HEADER_BYTES - begin;
        held += bytes;
        if held > BYTES_MAX {
            return Err(io::Error::other("the recording's index has more than 32 MiB"));
        }
        let mut run = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
        file.read_at(begin, &mut run)?;
        outline.runs.push((begin, run));
        begin = found.end();
    }
    Ok(outline)
}

impl Outline {
    /// As it lies in the store.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(self.bytes.to_be_bytes());
        for (offset, run) in &self.runs {
            out.extend(offset.to_be_bytes());
            out.extend(u32::try_from(run.len()).unwrap_or(u32::MAX).to_be_bytes());
            out.extend(run);
        }
        out
    }

    /// Of what [`Outline::write`] made.
    ///
    /// # Errors
    /// [`OutlineError`]
    pub fn parse(all: &[u8]) -> Result<Self, OutlineError> {
        let broken = |left: &[u8]| OutlineError { at: all.len() - left.len() };
        let rest = all.strip_prefix(MAGIC).ok_or_else(|| broken(all))?;
        let (bytes, mut rest) = rest.split_first_chunk().ok_or_else(|| broken(rest))?;
        let mut runs: Vec<(u64, Vec<u8>)> = Vec::new();
        let bytes = u64::from_be_bytes(*bytes);
        while !rest.is_empty() {
            let (header, behind) = rest.split_first_chunk::<RUN_HEADER_BYTES>().ok_or_else(|| broken(rest))?;
            let [a, b, c, d, e, f, g, h, length @ ..] = *header;
            let (offset, length) = (u64::from_be_bytes([a, b, c, d, e, f, g, h]), u32::from_be_bytes(length));
            let end = runs.last().map_or(0, |(before, run)| before + run.len() as u64);
            let is_in_order = offset >= end && offset.checked_add(length.into()).is_some_and(|end| end <= bytes);
            let run = behind.get(..length as usize).filter(|_| is_in_order).ok_or_else(|| broken(rest))?;
            runs.push((offset, run.to_vec()));
            rest = behind.get(run.len()..).unwrap_or_default();
        }
        Ok(Self { bytes, runs })
    }

    /// The bytes from `offset` on that it holds, if it holds all of them.
    fn held(&self, offset: u64, bytes: usize) -> Option<&[u8]> {
        let behind = self.runs.partition_point(|(begin, _)| *begin <= offset);
        let (begin, run) = self.runs.get(behind.checked_sub(1)?)?;
        let at = usize::try_from(offset - begin).ok()?;
        run.get(at..at.checked_add(bytes)?)
    }
}

/// A copy whose outline is here: only its pictures are fetched.
#[derive(Debug)]
pub struct Outlined {
    outline: Outline,
    rest: Box<dyn Source>,
}

impl Outlined {
    /// `rest` has all bytes.
    #[must_use]
    pub fn new(outline: Outline, rest: Box<dyn Source>) -> Self {
        Self { outline, rest }
    }
}

impl Source for Outlined {
    fn bytes(&self) -> u64 {
        self.outline.bytes
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        match self.outline.held(offset, into.len()) {
            Some(held) => into.copy_from_slice(held),
            None => self.rest.read_at(offset, into)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_box(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        [&(content.len() as u32 + 8).to_be_bytes()[..], kind, content].concat()
    }

    /// Fetches nothing.
    #[derive(Debug)]
    struct Nothing(u64);

    impl Source for Nothing {
        fn bytes(&self) -> u64 {
            self.0
        }

        fn read_at(&self, offset: u64, _: &mut [u8]) -> io::Result<()> {
            Err(io::Error::other(format!("byte {offset} is fetched")))
        }
    }

    #[test]
    fn an_outline_has_all_bytes_but_the_pictures_and_every_cut_or_turned_byte_is_noticed_or_harmless() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.mp4");
        let pieces = [a_box(b"ftyp", b"isom"), a_box(b"moov", &[1; 50]), a_box(b"moof", &[2; 30]), a_box(b"mdat", &[3; 5_000])];
        let more = [a_box(b"moof", &[4; 30]), a_box(b"mdat", &[5; 7_000]), b"\0\0\xff\xffmoofcut".to_vec()];
        let all = [pieces.concat(), more.concat()].concat();
        std::fs::write(&path, &all).unwrap();
        let found = outline(&path).unwrap();
        let written = found.write();
        assert!(written.len() < 300 && Outline::parse(&written).unwrap() == found);
        let source = Outlined::new(found, Box::new(Nothing(all.len() as u64)));
        let mut boxes = Boxes::of(&source);
        let mut kinds = Vec::new();
        while let Some(found) = boxes.next().ok().flatten() {
            kinds.push(String::from_utf8(found.header.kind.to_vec()).unwrap());
        }
        assert_eq!(kinds, ["ftyp", "moov", "moof", "mdat", "moof", "mdat"]);
        let mut moof = vec![0; 38];
        source.read_at((pieces.concat().len()) as u64, &mut moof).unwrap();
        assert_eq!(moof, more[0]);
        assert!(source.read_at(200, &mut [0; 10]).unwrap_err().to_string().contains("byte 200"), "pictures are fetched");
        for cut in 0..written.len() {
            let _ = Outline::parse(&written[..cut]);
            let mut turned = written.clone();
            turned[cut] ^= 0xff;
            if let Ok(parsed) = Outline::parse(&turned) {
                let mut boxes = Boxes::of(&parsed);
                while let Ok(Some(_)) = boxes.next() {}
            }
        }
    }

    impl Source for Outline {
        fn bytes(&self) -> u64 {
            self.bytes
        }

        fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
            let held = self.held(offset, into.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            into.copy_from_slice(held);
            Ok(())
        }
    }
}
