//! Copies that the store can't read: AES-256-GCM, by a key of the file's own, which the operator's key wraps.
//!
//! A sealed object is a header and chunks. The header: `SLSEAL01`, 12 bytes of nonce, and the file's key sealed by the operator's (48 bytes), for this name alone. Each chunk
//! has 64 KiB of the file, the last one what is left, and 16 bytes of tag behind it; its nonce is a byte that is 1 for the last chunk, three zeros, and its number (big-endian). So any range is
//! read by whole chunks, and a chunk that is changed, moved or left out is noticed.

use crate::secret::Secret;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// What names of sealed objects end with.
pub(crate) const ENDING: &str = ".sealed";
const MAGIC: &[u8; 8] = b"SLSEAL01";
const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
/// Of the file: what one must fetch at least, and little enough to be held often.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;
const SEALED_CHUNK_BYTES: u64 = (CHUNK_BYTES + TAG_BYTES) as u64;
pub(crate) const HEADER_BYTES: usize = MAGIC.len() + NONCE_LEN + KEY_BYTES + TAG_BYTES;

/// Why something can't be sealed or opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SealError {
    /// The operator's key has another form.
    #[error("the key is 64 hexadecimal digits: make one by `openssl rand -hex 32`")]
    Key,
    /// It begins with something else.
    #[error("it is no sealed copy")]
    Header,
    /// The header can't be opened.
    #[error("it was sealed by another key, or for another name")]
    OtherKey,
    /// A chunk can't be opened.
    #[error("it was changed since it was sealed")]
    Changed,
    /// The system gives no random numbers.
    #[error("no random numbers can be had")]
    Random,
}

/// The operator's key.
#[derive(Clone)]
pub struct SealKey(Arc<LessSafeKey>);

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl SealKey {
    /// Of 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`SealError::Key`]
    pub fn parse(text: &Secret) -> Result<Self, SealError> {
        let digits = text.reveal().trim();
        if digits.len() != 2 * KEY_BYTES || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(SealError::Key);
        }
        let byte = |at: usize| digits.get(2 * at..2 * at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let bytes: Option<Vec<u8>> = (0..KEY_BYTES).map(byte).collect();
        key(&bytes.ok_or(SealError::Key)?).map(Self).ok_or(SealError::Key)
    }

    /// A header, and the key of a new file of this name.
    pub(crate) fn new_file(&self, name: &str) -> Result<(Vec<u8>, FileKey), SealError> {
        let (mut nonce, mut bytes) = ([0; NONCE_LEN], vec![0; KEY_BYTES]);
        rand::fill(&mut nonce).and_then(|()| rand::fill(&mut bytes)).map_err(|_| SealError::Random)?;
        let file = FileKey(key(&bytes).ok_or(SealError::Random)?);
        let sealed = self.0.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(name), &mut bytes);
        sealed.map_err(|_| SealError::Random)?;
        Ok(([&MAGIC[..], &nonce, &bytes].concat(), file))
    }

    /// The key of a file, by its header.
    pub(crate) fn open(&self, name: &str, header: &[u8]) -> Result<FileKey, SealError> {
        let rest = header.strip_prefix(MAGIC).filter(|_| header.len() == HEADER_BYTES).ok_or(SealError::Header)?;
        let (nonce, sealed) = rest.split_first_chunk().ok_or(SealError::Header)?;
        let mut bytes = sealed.to_vec();
        let opened = self.0.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(name), &mut bytes);
        key(opened.map_err(|_| SealError::OtherKey)?).map(FileKey).ok_or(SealError::Header)
    }
}

fn key(bytes: &[u8]) -> Option<Arc<LessSafeKey>> {
    UnboundKey::new(&AES_256_GCM, bytes).ok().map(LessSafeKey::new).map(Arc::new)
}

/// The key of one file, by which nothing else is sealed.
#[derive(Clone)]
pub(crate) struct FileKey(Arc<LessSafeKey>);

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl FileKey {
    /// Seals a chunk.
    pub(crate) fn seal(&self, number: u64, is_last: bool, mut chunk: Vec<u8>) -> Result<Vec<u8>, SealError> {
        let sealed = self.0.seal_in_place_append_tag(nonce(number, is_last), Aad::empty(), &mut chunk);
        sealed.map(|()| chunk).map_err(|_| SealError::Changed)
    }

    /// Opens whole chunks that begin with this one, of a file with so many bytes.
    pub(crate) fn open(&self, first: u64, file_bytes: u64, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (last, mut opened) = (chunks(file_bytes) - 1, Vec::with_capacity(sealed.len()));
        for (number, chunk) in (first..).zip(sealed.chunks(CHUNK_BYTES + TAG_BYTES)) {
            let mut chunk = chunk.to_vec();
            let plain = self.0.open_in_place(nonce(number, number == last), Aad::empty(), &mut chunk);
            opened.extend_from_slice(plain.map_err(|_| SealError::Changed)?);
        }
        Ok(opened)
    }
}

fn nonce(number: u64, is_last: bool) -> Nonce {
    let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
    Nonce::assume_unique_for_key([is_last.into(), 0, 0, 0, a, b, c, d, e, f, g, h])
}

/// A file without a byte has one chunk, too: its end is sealed.
fn chunks(file_bytes: u64) -> u64 {
    file_bytes.div_ceil(CHUNK_BYTES as u64).max(1)
}

/// The length of a file's sealed object.
pub(crate) fn sealed_bytes(file_bytes: u64) -> u64 {
    HEADER_BYTES as u64 + file_bytes + chunks(file_bytes) * TAG_BYTES as u64
}

/// The length of the file in a sealed object of this length; `None`: no sealed object is so long.
pub(crate) fn file_bytes(sealed: u64) -> Option<u64> {
    let body = sealed.checked_sub(HEADER_BYTES as u64)?;
    let bytes = body.checked_sub(body.div_ceil(SEALED_CHUNK_BYTES) * TAG_BYTES as u64)?;
    (sealed_bytes(bytes) == sealed).then_some(bytes)
}

/// What has to be fetched for a range of a file: the first chunk's number, and the bytes of the sealed object.
pub(crate) fn place(range: &Range<u64>, file_bytes: u64) -> (u64, Range<u64>) {
    let (first, behind) = (range.start / CHUNK_BYTES as u64, range.end.div_ceil(CHUNK_BYTES as u64));
    let at = |chunk: u64| (HEADER_BYTES as u64 + chunk * SEALED_CHUNK_BYTES).min(sealed_bytes(file_bytes));
    (first, at(first)..at(behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(key: &SealKey, name: &str, file: &[u8]) -> Vec<u8> {
        let (mut object, key) = key.new_file(name).unwrap();
        let count = chunks(file.len() as u64);
        for number in 0..count {
            let at = number as usize * CHUNK_BYTES;
            let chunk = file[at..file.len().min(at + CHUNK_BYTES)].to_vec();
            object.extend(key.seal(number, number == count - 1, chunk).unwrap());
        }
        object
    }

    fn open(key: &SealKey, name: &str, object: &[u8], range: Range<u64>) -> Result<Vec<u8>, SealError> {
        let bytes = file_bytes(object.len() as u64).ok_or(SealError::Changed)?;
        let file = key.open(name, &object[..HEADER_BYTES])?;
        let (first, fetched) = place(&range, bytes);
        let opened = file.open(first, bytes, &object[fetched.start as usize..fetched.end as usize])?;
        let skip = (range.start - first * CHUNK_BYTES as u64) as usize;
        Ok(opened[skip..skip + (range.end - range.start) as usize].to_vec())
    }

    #[test]
    fn any_range_opens_and_what_was_changed_moved_cut_or_sealed_by_another_does_not() {
        let key = |digit: &str| SealKey::parse(&Secret::from(&*digit.repeat(64))).unwrap();
        for bytes in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 77] {
            let file: Vec<u8> = (0..bytes).map(|number| (number * 31 % 251) as u8).collect();
            let object = seal(&key("a"), "cam-1/x.mp4", &file);
            assert_eq!((object.len() as u64, file_bytes(object.len() as u64)), (sealed_bytes(bytes as u64), Some(bytes as u64)));
            let cuts = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, 2 * CHUNK_BYTES + 5, bytes].map(|cut| cut.min(bytes));
            for (from, to) in cuts.iter().flat_map(|from| cuts.iter().map(move |to| (*from, *to))).filter(|(from, to)| from <= to) {
                assert_eq!(open(&key("a"), "cam-1/x.mp4", &object, from as u64..to as u64).unwrap(), file[from..to], "{bytes} {from} {to}");
            }
        }
        let file = vec![7; 3 * CHUNK_BYTES];
        let object = seal(&key("a"), "cam-1/x.mp4", &file);
        let all = 0..file.len() as u64;
        assert_eq!(open(&key("b"), "cam-1/x.mp4", &object, all.clone()), Err(SealError::OtherKey));
        assert_eq!(open(&key("a"), "cam-2/x.mp4", &object, all.clone()), Err(SealError::OtherKey));
        let chunk = CHUNK_BYTES + TAG_BYTES;
        let mut changed = object.clone();
        changed[HEADER_BYTES + chunk + 3] ^= 1;
        assert_eq!(open(&key("a"), "cam-1/x.mp4", &changed, all.clone()), Err(SealError::Changed));
        let mut moved = object.clone();
        moved[HEADER_BYTES..HEADER_BYTES + 2 * chunk].rotate_left(chunk);
        assert_eq!(open(&key("a"), "cam-1/x.mp4", &moved, all), Err(SealError::Changed));
        let cut = &object[..object.len() - chunk];
        assert_eq!(open(&key("a"), "cam-1/x.mp4", cut, 0..2 * CHUNK_BYTES as u64), Err(SealError::Changed), "the end is sealed");
    }

    #[test]
    fn a_key_is_64_digits_and_is_never_shown() {
        for wrong in ["", "abc", &"g".repeat(64), &"a".repeat(63), &"é".repeat(32)] {
            assert_eq!(SealKey::parse(&Secret::from(wrong)).err(), Some(SealError::Key), "{wrong}");
        }
        assert_eq!(format!("{:?}", SealKey::parse(&Secret::from(&*format!("{}\n", "0f".repeat(32)))).unwrap()), "***");
        assert!((0..HEADER_BYTES as u64 + 16).all(|bytes| file_bytes(bytes).is_none()));
    }
}
