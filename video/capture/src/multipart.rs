//! `multipart/x-mixed-replace` as cameras write it (RFC 2046 §5.1, and the ways they depart from it). No I/O.
//!
//! What is tolerated, and for whom:
//! - A boundary that is named with its dashes already, `boundary=--myboundary`, and `--myboundary` in the body: Sony SNC-EB640
//!   (scottlamb/multipart-stream-rs, pull request 2), Panasonic HE40 (janakj/py-mjpeg, pull request 2). The first delimiter in the body tells
//!   how many dashes there really are.
//! - Spaces around it, `;boundary =--myboundary`: Panasonic BL-VT164P (legege/node-mjpeg-proxy, pull request 8); quotes, as RFC 2045 §5.1 allows.
//! - No `Content-Length`: Mobotix T25 (AlexxIT/go2rtc, issue 1833). The part ends at the next delimiter.
//! - No delimiter before the first part: ESP32-CAM's `CameraWebServer` before 2020 (espressif/arduino-esp32, pull request 3720), Tasmota
//!   (arendst/Tasmota, issue 12376). That part is skipped where it begins with a head.
//! - No boundary named, no `Content-Type` (AlexxIT/go2rtc, issue 545), or another one named than sent: the first line of the body tells. Pictures
//!   without any delimiter, whatever was named, are told apart by JPEG's own markers.
//! - A `Content-Length` that is wrong: the part ends at the next delimiter, or where its picture does. Counted: [`Multipart::faults`].
//! - Line breaks before the first delimiter (ESP32-CAM's `CameraWebServer` since then begins with `\r\n--`), more of them before a delimiter or
//!   between the head and the picture, none before a delimiter or after the head, and `\n` alone: they cost nothing.

use bytes::{Buf as _, Bytes, BytesMut};

use crate::jpeg_end::JpegEnd;

/// The longest boundary, in bytes. RFC 2046 §5.1.1 allows 70.
const BOUNDARY_BYTES_MAX: usize = 128;
/// The longest head of a part, in bytes: cameras send three short lines.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// The longest part, in bytes: a 4K picture at the best quality has less than half of it.
pub(crate) const PART_BYTES_MAX: usize = 8 << 20;
/// How the head of a part without a delimiter before it begins.
const HEAD_BEGINS: &[u8] = b"Content-";
/// Bytes that are skipped in search of a delimiter: a whole picture of a small camera, where none stands before it. Beyond it the stream is not
/// what its header said.
const GAP_BYTES_MAX: usize = 1 << 20;

/// Why a body can't be read on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum MultipartError {
    #[error(
        "its Content-Type is {0:?}, not multipart/x-mixed-replace, and no JPEG pictures come: name the URL of the MJPEG stream (ESP32-CAM: http://HOST:81/stream)"
    )]
    NotMultipart(String),
    #[error("{GAP_BYTES_MAX} bytes without the boundary that its Content-Type names")]
    NoDelimiter,
    #[error("its pictures are neither divided by a boundary nor whole")]
    NoPicture,
    #[error("the head of a part is longer than {HEAD_BYTES_MAX} bytes")]
    LongHead,
    #[error("a picture is longer than {PART_BYTES_MAX} bytes: lower the camera's resolution or JPEG quality")]
    LongPart,
}

impl MultipartError {
    /// Someone must name another URL.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::NotMultipart(_))
    }
}

/// Where in the body it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// Where a delimiter is to tell the boundary.
    Start,
    /// Before a delimiter.
    Gap { skipped: usize },
    /// After a delimiter's line.
    Head,
    /// Line breaks between the head and the picture, which no `Content-Length` counts.
    Break { length: Option<usize> },
    /// In the picture; `scanned` bytes of it hold no delimiter.
    Part { length: Option<usize>, scanned: usize },
    /// In a picture that only its own markers end.
    Jpeg(JpegEnd),
    /// After the closing delimiter.
    End,
}

/// Cuts a body into its parts, however it is split on the way.
#[derive(Debug)]
pub(crate) struct Multipart {
    /// The type that was named, for people.
    kind: String,
    /// The boundary without the dashes before it; empty: none was named.
    core: Vec<u8>,
    /// The delimiter as the body really has it, once one was seen.
    delimiter: Option<Vec<u8>>,
    buffer: BytesMut,
    place: Place,
    faults: u64,
}

impl Multipart {
    /// From a `Content-Type`, where there is one.
    pub(crate) fn new(content_type: Option<&str>) -> Result<Self, MultipartError> {
        let mut fields = content_type.unwrap_or_default().split(';');
        let kind: String = fields.next().unwrap_or_default().trim().chars().take(64).collect();
        // One picture, and no stream of them.
        if kind.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("image/")) {
            return Err(MultipartError::NotMultipart(kind));
        }
        let named = fields.find_map(|field| {
            let (name, value) = field.split_once('=')?;
            name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches(['"', '\'']))
        });
        let core = named.unwrap_or_default().trim().trim_start_matches('-');
        let core = if core.len() > BOUNDARY_BYTES_MAX { Vec::new() } else { core.into() };
        Ok(Self { kind, core, delimiter: None, buffer: BytesMut::new(), place: Place::Start, faults: 0 })
    }

    /// Bytes of the body, as they come. Take the parts out with [`Self::next`] after each.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// True after the closing delimiter: there are no more parts.
    pub(crate) fn is_over(&self) -> bool {
        self.place == Place::End
    }

    /// Lengths and boundaries so far that were not as announced.
    pub(crate) fn faults(&self) -> u64 {
        self.faults
    }

    /// The next whole part, without its head; `None`: more bytes are needed.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, MultipartError> {
        loop {
            let (moved, part) = match self.place {
                Place::Start => (self.pass_start()?, None),
                Place::Gap { skipped } => (self.pass_gap(skipped)?, None),
                Place::Head => (self.pass_head()?, None),
                Place::Break { length } => (self.pass_break(length), None),
                Place::Part { length: Some(length), scanned } => self.take_counted(length, scanned),
                Place::Part { length: None, scanned } => (false, self.take_delimited(scanned)?),
                Place::Jpeg(end) => (false, self.take_jpeg(end)?),
                Place::End => (false, None),
            };
            if part.is_some() || !moved {
                return Ok(part);
            }
        }
    }

    /// The first line that is one: a delimiter, the head of a part without one before it, or a picture.
    fn pass_start(&mut self) -> Result<bool, MultipartError> {
        let blank = self.buffer.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.buffer.advance(blank);
        let begins = |with: &[u8]| self.buffer.get(..with.len()).map(|begin| begin == with);
        let (is_delimiter, is_picture) = match (begins(b"--"), begins(&[0xff, 0xd8])) {
            (Some(is_delimiter), Some(is_picture)) => (is_delimiter, is_picture),
            _ => return Ok(false),
        };
        if is_delimiter {
            return self.learn_delimiter();
        }
        self.place = if is_picture {
            Place::Jpeg(JpegEnd::default())
        } else if !self.core.is_empty() {
            Place::Gap { skipped: 0 }
        } else {
            match self.buffer.get(..HEAD_BEGINS.len()) {
                Some(begin) if self.kind.is_empty() && begin[0].is_ascii_alphabetic() => Place::Head,
                Some(begin) if begin.eq_ignore_ascii_case(HEAD_BEGINS) => Place::Head,
                Some(_) if self.kind.is_empty() => return Err(MultipartError::NoPicture),
                Some(_) => return Err(MultipartError::NotMultipart(self.kind.clone())),
                None => return Ok(false),
            }
        };
        Ok(true)
    }

    /// The delimiter that the body begins with, whatever was named.
    fn learn_delimiter(&mut self) -> Result<bool, MultipartError> {
        let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') else {
            return if self.buffer.len() > BOUNDARY_BYTES_MAX * 2 { Err(MultipartError::NoDelimiter) } else { Ok(false) };
        };
        // Also where it came at once: what is taken must not hang on how the network cuts it.
        if end > BOUNDARY_BYTES_MAX * 2 {
            return Err(MultipartError::NoDelimiter);
        }
        let line = self.buffer[..end].trim_ascii_end();
        if !self.core.is_empty() && find(line, &self.core).is_some() {
            self.place = Place::Gap { skipped: 0 };
            return Ok(true);
        }
        if line.len() <= 2 {
            return Err(MultipartError::NoDelimiter);
        }
        self.faults += u64::from(!self.core.is_empty());
        self.delimiter = Some(line.to_vec());
        self.buffer.advance(end + 1);
        self.place = Place::Head;
        Ok(true)
    }

    /// Skips to the delimiter's line and past it.
    fn pass_gap(&mut self, skipped: usize) -> Result<bool, MultipartError> {
        let wanted = self.delimiter.as_ref().unwrap_or(&self.core);
        let Some((at, after)) = find(&self.buffer, wanted).map(|at| (at, at + wanted.len())) else {
            // The last bytes may be the beginning of a delimiter, with the dashes before it.
            let kept = self.buffer.len().min(BOUNDARY_BYTES_MAX * 2);
            let dropped = self.buffer.len() - kept;
            self.buffer.advance(dropped);
            self.place = Place::Gap { skipped: skipped + dropped };
            return if skipped + dropped > GAP_BYTES_MAX { Err(MultipartError::NoDelimiter) } else { Ok(false) };
        };
        let Some(end) = self.buffer[at..].iter().position(|&byte| byte == b'\n') else {
            return if self.buffer.len() > GAP_BYTES_MAX { Err(MultipartError::NoDelimiter) } else { self.pass_close(after) };
        };
        if self.delimiter.is_none() {
            let dashes = self.buffer[..at].iter().rev().take_while(|&&byte| byte == b'-').count();
            self.delimiter = Some([vec![b'-'; dashes], self.core.clone()].concat());
        }
        if self.is_close(after) {
            self.place = Place::End;
            return Ok(true);
        }
        self.buffer.advance(at + end + 1);
        self.place = Place::Head;
        Ok(true)
    }

    /// The closing delimiter may be the last of the body, without a line break.
    fn pass_close(&mut self, after: usize) -> Result<bool, MultipartError> {
        if self.is_close(after) {
            self.place = Place::End;
        }
        Ok(false)
    }

    /// Whether a delimiter that ends before `after` is the closing one.
    fn is_close(&self, after: usize) -> bool {
        self.buffer.get(after..after + 2) == Some(b"--")
    }

    /// Reads the head up to its empty line, or to the picture where there is none.
    fn pass_head(&mut self) -> Result<bool, MultipartError> {
        let (mut at, mut length, mut faults) = (0, None, 0);
        loop {
            let is_picture = match self.buffer[at..] {
                [0xff, 0xd8, ..] => true,
                [] | [0xff] => return Ok(false),
                _ => false,
            };
            let end = self.buffer[at..].iter().position(|&byte| byte == b'\n');
            if !is_picture && let Some(end) = end {
                let line = self.buffer[at..at + end].trim_ascii();
                at += end + 1;
                if !line.is_empty() {
                    if at > HEAD_BYTES_MAX {
                        return Err(MultipartError::LongHead);
                    }
                    if let Some(named) = content_length(line) {
                        // What is no length of a picture counts as none.
                        length = named.filter(|&length| length <= PART_BYTES_MAX);
                        faults += u64::from(length.is_none());
                    }
                    continue;
                }
            } else if !is_picture {
                return if self.buffer.len() > HEAD_BYTES_MAX { Err(MultipartError::LongHead) } else { Ok(false) };
            }
            self.buffer.advance(at);
            self.faults += faults;
            self.place = Place::Break { length };
            return Ok(true);
        }
    }

    fn pass_break(&mut self, length: Option<usize>) -> bool {
        // A JPEG picture begins with 0xff: a line break here can only be one too many.
        let breaks = self.buffer.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.buffer.advance(breaks);
        if self.buffer.is_empty() {
            return false;
        }
        self.place = if self.delimiter.is_none() && self.core.is_empty() {
            // That head was the answer's, or that of a part without a delimiter.
            Place::Start
        } else {
            Place::Part { length: length.filter(|&length| length > 0), scanned: 0 }
        };
        true
    }

    /// A length is believed where the picture really ends there; a delimiter that comes sooner is.
    fn take_counted(&mut self, length: usize, scanned: usize) -> (bool, Option<Bytes>) {
        let within = self.buffer.len().min(length);
        let delimiter = self.delimiter.as_ref().unwrap_or(&self.core);
        let from = scanned.saturating_sub(delimiter.len());
        if let Some(at) = find_after_picture(&self.buffer[..within], from, delimiter) {
            self.faults += 1;
            return (false, Some(self.cut(at)));
        }
        if self.buffer.len() < length {
            self.place = Place::Part { length: Some(length), scanned: within };
            return (false, None);
        }
        let part = &self.buffer[..length];
        if part.starts_with(&[0xff, 0xd8]) && !ends_picture(part) {
            self.faults += 1;
            self.place = Place::Part { length: None, scanned: 0 };
            return (true, None);
        }
        let breaks = part.iter().rev().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let kept = if part.starts_with(&[0xff, 0xd8]) { length - breaks } else { length };
        self.place = Place::Gap { skipped: 0 };
        let mut part = self.buffer.split_to(length);
        part.truncate(kept);
        (false, Some(part.freeze()))
    }

    fn take_delimited(&mut self, scanned: usize) -> Result<Option<Bytes>, MultipartError> {
        let delimiter = self.delimiter.as_ref().unwrap_or(&self.core);
        let from = scanned.saturating_sub(delimiter.len());
        let Some(at) = find(&self.buffer[from..], delimiter) else {
            self.place = Place::Part { length: None, scanned: self.buffer.len() };
            return if self.buffer.len() > PART_BYTES_MAX { Err(MultipartError::LongPart) } else { Ok(None) };
        };
        Ok(Some(self.cut(from + at)))
    }

    fn take_jpeg(&mut self, mut end: JpegEnd) -> Result<Option<Bytes>, MultipartError> {
        match end.find(&self.buffer) {
            Some(Ok(length)) => {
                self.place = Place::Start;
                Ok(Some(self.buffer.split_to(length).freeze()))
            }
            // Not a picture after all: the boundary that was named tells where one begins.
            Some(Err(_)) if !self.core.is_empty() => {
                self.place = Place::Gap { skipped: 0 };
                self.next()
            }
            Some(Err(_)) => Err(MultipartError::NoPicture),
            None if self.buffer.len() > PART_BYTES_MAX => Err(MultipartError::LongPart),
            None => {
                self.place = Place::Jpeg(end);
                Ok(None)
            }
        }
    }

    /// The part before a delimiter, without its line break.
    fn cut(&mut self, at: usize) -> Bytes {
        let mut part = self.buffer.split_to(at);
        for end in [b'\n', b'\r'] {
            if part.last() == Some(&end) {
                part.truncate(part.len() - 1);
            }
        }
        self.place = Place::Gap { skipped: 0 };
        part.freeze()
    }
}

/// The value of a line `Content-Length: N`, if it is one; a value that is no number is none.
fn content_length(line: &[u8]) -> Option<Option<usize>> {
    let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
    name.trim().eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())
}

/// Whether a part ends where its picture does; some cameras fill up behind it.
fn ends_picture(part: &[u8]) -> bool {
    let filled = part.iter().rev().take_while(|byte| matches!(byte, 0 | b'\r' | b'\n' | 0xff)).count();
    part[..part.len() - filled].ends_with(&[0xff, 0xd9])
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let (&first, rest) = needle.split_first()?;
    let mut at = 0;
    loop {
        at += haystack.get(at..)?.iter().position(|&byte| byte == first)?;
        if haystack[at + 1..].starts_with(rest) {
            return Some(at);
        }
        at += 1;
    }
}

/// A delimiter that comes after a line break or the end of a picture: in the middle of one it is chance.
fn find_after_picture(haystack: &[u8], from: usize, needle: &[u8]) -> Option<usize> {
    let mut from = from;
    loop {
        let at = from + find(haystack.get(from..)?, needle)?;
        if at == 0 || haystack[at - 1] == b'\n' || haystack[..at].ends_with(&[0xff, 0xd9]) {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/x-mixed-replace;boundary=frame";
    const A: &[u8] = b"\xff\xd8one\r\n-frame picture\xff\xd9";
    const B: &[u8] = b"\xff\xd8two\xff\xd9";

    /// All parts of a body that comes in pieces of so many bytes.
    fn parts(content_type: &str, body: &[u8], piece: usize) -> Result<Vec<Bytes>, MultipartError> {
        let mut multipart = Multipart::new(Some(content_type))?;
        let mut parts = Vec::new();
        for bytes in body.chunks(piece) {
            multipart.feed(bytes);
            while let Some(part) = multipart.next()? {
                parts.push(part);
            }
        }
        Ok(parts)
    }

    fn body(lines: &[&[u8]]) -> Vec<u8> {
        lines.concat()
    }

    fn assert_parts(content_type: &str, body: &[u8]) {
        for piece in 1..=body.len() {
            assert_eq!(parts(content_type, body, piece).unwrap(), [A, B], "{content_type}, {piece} bytes at once");
        }
    }

    #[test]
    fn parts_with_a_length_are_the_same_however_they_are_split() {
        assert_parts(
            TYPE,
            &body(&[
                b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 23\r\n\r\n",
                A,
                b"\r\n--frame\r\nContent-Type: image/jpeg\r\ncontent-length:7\r\n\r\n",
                B,
                b"\r\n--frame--\r\n",
            ]),
        );
    }

    #[test]
    fn parts_without_a_length_end_at_the_delimiter() {
        assert_parts(TYPE, &body(&[b"--frame\r\nContent-Type: image/jpeg\r\n\r\n", A, b"\r\n--frame\r\n\r\n", B, b"\r\n--frame\r\n"]));
    }

    /// Sony SNC-EB640, Panasonic HE40, Panasonic BL-VT164P.
    #[test]
    fn a_boundary_may_be_named_with_its_dashes() {
        let text = body(&[b"--frame\r\n\r\n", A, b"\r\n--frame\r\n\r\n", B, b"\r\n--frame--"]);
        assert_parts("multipart/x-mixed-replace; boundary=--frame", &text);
        assert_parts("multipart/x-mixed-replace;boundary =--frame", &text);
        assert_parts("Multipart/X-Mixed-Replace; charset=x; Boundary = \"frame\"", &text);
        let four = body(&[b"----frame\r\n\r\n", A, b"\r\n----frame\r\n\r\n", B, b"\r\n----frame--"]);
        assert_parts("multipart/x-mixed-replace;boundary=--frame", &four);
        let none = body(&[b"frame\r\n\r\n", B, b"\r\nframe\r\n\r\n", B, b"\r\nframe\r\n"]);
        assert_eq!(parts(TYPE, &none, 1).unwrap(), [B, B]);
    }

    /// ESP32-CAM's CameraWebServer sends `\r\n--boundary\r\n` before each part.
    #[test]
    fn line_breaks_too_many_and_too_few_are_passed() {
        assert_parts(
            TYPE,
            &body(&[b"\r\n\r\n--frame\r\nContent-Length: 23\r\n\r\n\r\n", A, b"--frame\nContent-Length: 7\n\n", B, b"\n\n\n--frame--"]),
        );
    }

    /// ESP32-CAM's CameraWebServer before 2020, Tasmota.
    #[test]
    fn a_first_part_without_a_delimiter_is_skipped() {
        let picture = [b"\xff\xd8", vec![7; 200_000].as_slice(), b"\xff\xd9"].concat();
        let head = b"Content-Type: image/jpeg\r\nContent-Length: 200004\r\n\r\n";
        let text = body(&[head, &picture, b"\r\n--frame\r\nContent-Length: 7\r\n\r\n", B, b"\r\n--frame\r\n"]);
        for piece in [1_460, 100_000, text.len()] {
            assert_eq!(parts(TYPE, &text, piece).unwrap(), [B]);
        }
    }

    /// AlexxIT/go2rtc#725 and its kind.
    #[test]
    fn a_length_that_is_wrong_costs_no_picture() {
        for (first, second) in
            [("4", "7"), ("123", "107"), ("-1", "-1"), ("26", "9"), ("99999999999999999999", "8388609"), ("x", ""), ("30", "8000000")]
        {
            let text = format!("--frame\r\nContent-Length: {first}\r\n\r\n");
            let next = format!("\r\n--frame\r\nContent-Length: {second}\r\n\r\n");
            assert_parts(TYPE, &body(&[text.as_bytes(), A, next.as_bytes(), B, b"\r\n--frame\r\n"]));
        }
        let mut multipart = Multipart::new(Some(TYPE)).unwrap();
        multipart.feed(&body(&[b"--frame\r\nContent-Length: 9\r\n\r\n", A, b"\r\n--frame\r\nContent-Length: 7\r\n\r\n", B]));
        assert_eq!((multipart.next().unwrap().unwrap(), multipart.faults()), (Bytes::from_static(A), 1));
        assert_eq!(
            (multipart.next().unwrap().unwrap(), multipart.faults()),
            (Bytes::from_static(B), 1),
            "at once, not at the next delimiter"
        );
    }

    /// AlexxIT/go2rtc#545, and a name that is not what comes.
    #[test]
    fn the_body_tells_its_boundary() {
        let text =
            body(&[b"--frame\r\nContent-Type: image/jpeg\r\n\r\n", A, b"\r\n--frame\r\nContent-Length: 7\r\n\r\n", B, b"\r\n--frame\r\n"]);
        for kind in ["multipart/x-mixed-replace", "multipart/x-mixed-replace; boundary=", "multipart/mixed;boundary=other", "", "text/html"]
        {
            assert_parts(kind, &text);
            assert_parts(kind, &body(&[b"\r\n\n", &text]));
        }
    }

    /// espressif/arduino-esp32#3597: the head of the first part, or the picture itself, comes at once.
    #[test]
    fn pictures_without_a_delimiter_end_by_themselves() {
        let jpeg = |colour: u8| {
            let mut jpeg = Vec::new();
            jpeg_encoder::Encoder::new(&mut jpeg, 80).encode(&[colour; 16 * 16], 16, 16, jpeg_encoder::ColorType::Luma).unwrap();
            jpeg
        };
        let (a, b) = (jpeg(20), jpeg(200));
        let head = b"Content-Type: image/jpeg\r\nContent-Length: 9\r\n\r\n";
        for text in
            [body(&[&a, &b]), body(&[head, &a, b"\r\n--frame\r\n", head, &b, b"\r\n--frame\r\n"]), body(&[b"\r\n", &a, b"\r\n", head, &b])]
        {
            for piece in [1, 7, text.len()] {
                assert_eq!(parts("", &text, piece).unwrap(), [a.clone(), b.clone()]);
            }
        }
    }

    #[test]
    fn a_head_without_its_empty_line_is_read() {
        assert_parts(TYPE, &body(&[b"--frame\r\nContent-Length: 23\r\n", A, b"\r\n--frame\r\n", B, b"\r\n--frame\r\n"]));
    }

    /// What a broken or hostile camera may send, from the pieces that mean something.
    #[test]
    fn any_bytes_give_the_same_parts_at_once_and_one_by_one() {
        const PIECES: [&[u8]; 10] =
            [b"--frame", b"frame", b"-", b"\r", b"\n", b"\r\n\r\n", b"Content-Length: 3\r\n", b"Content-Length: x\n", b"\xff\xd8", b"y"];
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        for _ in 0..3_000 {
            let mut text = b"--frame\r\n".to_vec();
            for _ in 0..24 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.extend_from_slice(PIECES[(random >> 33) as usize % PIECES.len()]);
            }
            assert_eq!(parts(TYPE, &text, text.len()), parts(TYPE, &text, 1), "{:?}", String::from_utf8_lossy(&text));
        }
    }

    #[test]
    fn the_end_is_the_closing_delimiter() {
        let mut multipart = Multipart::new(Some(TYPE)).unwrap();
        multipart.feed(b"--frame\r\n\r\nx\r\n--frame--");
        assert_eq!(multipart.next().unwrap().as_deref(), Some(&b"x"[..]));
        assert_eq!((multipart.next().unwrap(), multipart.is_over()), (None, true));
    }

    #[test]
    fn what_is_too_long_ends_with_its_limit() {
        let long = vec![b'x'; PART_BYTES_MAX + 2];
        assert_eq!(parts(TYPE, &body(&[b"--frame\r\n\r\n", &long]), 1 << 20), Err(MultipartError::LongPart));
        assert_eq!(parts(TYPE, &body(&[b"--frame\r\nContent-Length: 8388609\r\n\r\n", &long]), 1 << 20), Err(MultipartError::LongPart));
        assert_eq!(parts(TYPE, &body(&[b"--frame\r\n", &long[..10_000]]), 512), Err(MultipartError::LongHead));
        assert_eq!(parts(TYPE, &long, 64 * 1024), Err(MultipartError::NoDelimiter));
        assert_eq!(parts("multipart/x-mixed-replace", &body(&[b"--", &long[..1_000]]), 64), Err(MultipartError::NoDelimiter));
        for (kind, text) in [("text/html", "<html>none</html>"), ("image/jpeg", ""), ("text/plain", "Not found.")] {
            assert!(matches!(parts(kind, text.as_bytes(), 64).unwrap_err(), MultipartError::NotMultipart(named) if named == kind));
        }
    }
}
