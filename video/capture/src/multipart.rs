//! `multipart/x-mixed-replace` as cameras write it (RFC 2046 §5.1, and the ways they depart from it). No I/O.
//!
//! What is tolerated, and for whom:
//! - A boundary that is named with its dashes already, `boundary=--myboundary`, and `--myboundary` in the body: Sony SNC-EB640
//!   (scottlamb/multipart-stream-rs, pull request 2), Panasonic HE40 (janakj/py-mjpeg, pull request 2). The first delimiter in the body tells
//!   how many dashes there really are.
//! - Spaces around it, `;boundary =--myboundary`: Panasonic BL-VT164P (legege/node-mjpeg-proxy, pull request 8); quotes, as RFC 2045 §5.1 allows.
//! - No `Content-Length`: Mobotix T25 (AlexxIT/go2rtc, issue 1833). The part ends at the next delimiter.
//! - No delimiter before the first part: ESP32-CAM's `CameraWebServer` before 2020 (espressif/arduino-esp32, pull request 3720), Tasmota
//!   (arendst/Tasmota, issue 12376). That part is skipped.
//! - Line breaks before the first delimiter (ESP32-CAM's `CameraWebServer` since then begins with `\r\n--`), more of them before a delimiter or
//!   between the head and the picture, none before a delimiter, `\n` alone, and a `Content-Length` that does not reach the delimiter: no camera
//!   is known to us for these; they cost nothing.

use bytes::{Buf as _, Bytes, BytesMut};

/// The longest boundary, in bytes. RFC 2046 §5.1.1 allows 70.
const BOUNDARY_BYTES_MAX: usize = 128;
/// The longest head of a part, in bytes: cameras send three short lines.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// The longest part, in bytes: a 4K picture at the best quality has less than half of it.
pub(crate) const PART_BYTES_MAX: usize = 8 << 20;
/// Bytes that are skipped in search of a delimiter: a whole picture of a small camera, where none stands before it. Beyond it the stream is not
/// what its header said.
const GAP_BYTES_MAX: usize = 1 << 20;

/// Why a body can't be read on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum MultipartError {
    #[error(
        "its Content-Type is {0:?}, not multipart/x-mixed-replace: name the URL of the MJPEG stream (ESP32-CAM: http://HOST:81/stream)"
    )]
    NotMultipart(String),
    #[error("its Content-Type names no boundary of 1 to {BOUNDARY_BYTES_MAX} bytes")]
    NoBoundary,
    #[error("{GAP_BYTES_MAX} bytes without the boundary that its Content-Type names")]
    NoDelimiter,
    #[error("the head of a part is longer than {HEAD_BYTES_MAX} bytes")]
    LongHead,
    #[error("a picture is longer than {PART_BYTES_MAX} bytes: lower the camera's resolution or JPEG quality")]
    LongPart,
}

/// Where in the body it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// Before a delimiter.
    Gap { skipped: usize },
    /// After a delimiter's line.
    Head,
    /// Line breaks between the head and the picture, which no `Content-Length` counts.
    Break { length: Option<usize> },
    /// In the picture; `scanned` bytes of it hold no delimiter.
    Part { length: Option<usize>, scanned: usize },
    /// After the closing delimiter.
    End,
}

/// Cuts a body into its parts, however it is split on the way.
#[derive(Debug)]
pub(crate) struct Multipart {
    /// The boundary without the dashes before it.
    core: Vec<u8>,
    /// The delimiter as the body really has it, once one was seen.
    delimiter: Option<Vec<u8>>,
    buffer: BytesMut,
    place: Place,
}

impl Multipart {
    /// From a `Content-Type`.
    pub(crate) fn new(content_type: &str) -> Result<Self, MultipartError> {
        let mut fields = content_type.split(';');
        let kind = fields.next().unwrap_or_default().trim();
        if !kind.get(..10).is_some_and(|start| start.eq_ignore_ascii_case("multipart/")) {
            return Err(MultipartError::NotMultipart(kind.chars().take(64).collect()));
        }
        let named = fields.find_map(|field| {
            let (name, value) = field.split_once('=')?;
            name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"'))
        });
        let core = named.unwrap_or_default().trim_start_matches('-');
        if core.is_empty() || core.len() > BOUNDARY_BYTES_MAX {
            return Err(MultipartError::NoBoundary);
        }
        Ok(Self { core: core.into(), delimiter: None, buffer: BytesMut::new(), place: Place::Gap { skipped: 0 } })
    }

    /// Bytes of the body, as they come. Take the parts out with [`Self::next`] after each.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// True after the closing delimiter: there are no more parts.
    pub(crate) fn is_over(&self) -> bool {
        self.place == Place::End
    }

    /// The next whole part, without its head; `None`: more bytes are needed.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, MultipartError> {
        loop {
            let moved = match self.place {
                Place::Gap { skipped } => self.pass_gap(skipped)?,
                Place::Head => self.pass_head()?,
                Place::Break { length } => self.pass_break(length),
                Place::Part { length: Some(length), .. } => match self.take_counted(length) {
                    Some(part) => return Ok(Some(part)),
                    None => false,
                },
                Place::Part { length: None, scanned } => match self.take_delimited(scanned)? {
                    Some(part) => return Ok(Some(part)),
                    None => false,
                },
                Place::End => false,
            };
            if !moved {
                return Ok(None);
            }
        }
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

    /// Reads the head up to its empty line.
    fn pass_head(&mut self) -> Result<bool, MultipartError> {
        let (mut at, mut length) = (0, None);
        while let Some(end) = self.buffer[at..].iter().position(|&byte| byte == b'\n') {
            let line = self.buffer[at..at + end].trim_ascii();
            at += end + 1;
            if line.is_empty() {
                self.buffer.advance(at);
                self.place = Place::Break { length };
                return Ok(true);
            }
            if at > HEAD_BYTES_MAX {
                return Err(MultipartError::LongHead);
            }
            length = content_length(line)?.or(length);
        }
        if self.buffer.len() > HEAD_BYTES_MAX { Err(MultipartError::LongHead) } else { Ok(false) }
    }

    fn pass_break(&mut self, length: Option<usize>) -> bool {
        // A JPEG picture begins with 0xff: a line break here can only be one too many.
        let breaks = self.buffer.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.buffer.advance(breaks);
        if self.buffer.is_empty() {
            return false;
        }
        self.place = Place::Part { length: length.filter(|&length| length > 0), scanned: 0 };
        true
    }

    fn take_counted(&mut self, length: usize) -> Option<Bytes> {
        if self.buffer.len() < length {
            return None;
        }
        self.place = Place::Gap { skipped: 0 };
        Some(self.buffer.split_to(length).freeze())
    }

    fn take_delimited(&mut self, scanned: usize) -> Result<Option<Bytes>, MultipartError> {
        let delimiter = self.delimiter.as_ref().unwrap_or(&self.core);
        let from = scanned.saturating_sub(delimiter.len());
        let Some(at) = find(&self.buffer[from..], delimiter) else {
            self.place = Place::Part { length: None, scanned: self.buffer.len() };
            return if self.buffer.len() > PART_BYTES_MAX { Err(MultipartError::LongPart) } else { Ok(None) };
        };
        let mut part = self.buffer.split_to(from + at);
        for end in [b'\n', b'\r'] {
            if part.last() == Some(&end) {
                part.truncate(part.len() - 1);
            }
        }
        self.place = Place::Gap { skipped: 0 };
        Ok(Some(part.freeze()))
    }
}

/// The value of a line `Content-Length: N`; a value that is no number counts as none.
fn content_length(line: &[u8]) -> Result<Option<usize>, MultipartError> {
    let Some((name, value)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once(':')) else { return Ok(None) };
    if !name.trim().eq_ignore_ascii_case("content-length") {
        return Ok(None);
    }
    match value.trim().parse::<usize>() {
        Ok(length) if length > PART_BYTES_MAX => Err(MultipartError::LongPart),
        Ok(length) => Ok(Some(length)),
        Err(_) => Ok(None),
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/x-mixed-replace;boundary=frame";
    const A: &[u8] = b"\xff\xd8one\r\n-frame picture\xff\xd9";
    const B: &[u8] = b"\xff\xd8two\xff\xd9";

    /// All parts of a body that comes in pieces of so many bytes.
    fn parts(content_type: &str, body: &[u8], piece: usize) -> Result<Vec<Bytes>, MultipartError> {
        let mut multipart = Multipart::new(content_type)?;
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

    #[test]
    fn a_length_that_is_too_short_costs_its_picture_only() {
        let text = body(&[b"--frame\r\nContent-Length: 4\r\n\r\n", B, b"\r\n--frame\r\nContent-Length: 7\r\n\r\n", B, b"\r\n--frame\r\n"]);
        assert_eq!(parts(TYPE, &text, 3).unwrap(), [&B[..4], B]);
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
        let mut multipart = Multipart::new(TYPE).unwrap();
        multipart.feed(b"--frame\r\n\r\nx\r\n--frame--");
        assert_eq!(multipart.next().unwrap().as_deref(), Some(&b"x"[..]));
        assert_eq!((multipart.next().unwrap(), multipart.is_over()), (None, true));
    }

    #[test]
    fn what_is_too_long_ends_with_its_limit() {
        let long = vec![b'x'; PART_BYTES_MAX + 2];
        assert_eq!(parts(TYPE, &body(&[b"--frame\r\n\r\n", &long]), 1 << 20), Err(MultipartError::LongPart));
        assert_eq!(parts(TYPE, b"--frame\r\nContent-Length: 8388609\r\n\r\n", 64), Err(MultipartError::LongPart));
        assert_eq!(parts(TYPE, &body(&[b"--frame\r\n", &long[..10_000]]), 512), Err(MultipartError::LongHead));
        assert_eq!(parts(TYPE, &long, 64 * 1024), Err(MultipartError::NoDelimiter));
        assert_eq!(Multipart::new("multipart/x-mixed-replace").unwrap_err(), MultipartError::NoBoundary);
        assert!(matches!(Multipart::new("text/html").unwrap_err(), MultipartError::NotMultipart(kind) if kind == "text/html"));
    }
}
