//! The answer of an HTTP camera, as cameras write it (RFC 9112, and the ways they depart from it). No I/O.
//!
//! What is tolerated, and for whom:
//! - A `Content-Length` that is no length, `-1` (AlexxIT/go2rtc, issue 725), or any other: the stream ends where the connection does.
//! - No status line: the headers begin at once, or the body does (espressif/arduino-esp32, issue 3597); `HTTP/0.9`; `ICY 200 OK`.
//! - `\n` alone at the end of lines; no empty line between the headers and the first boundary or picture.
//! - `Transfer-Encoding: chunked` without chunks.

use bytes::{Buf as _, Bytes, BytesMut};

/// The longest head, in bytes. Cameras send ten short lines; a proxy before one adds cookies.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// The longest line with a chunk's size: digits, and extensions that nobody sends.
const CHUNK_LINE_BYTES_MAX: usize = 256;

/// Why an answer can't be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    #[error("it does not answer in HTTP: name the port and path of its MJPEG stream")]
    NotHttp,
    #[error("the head of its answer is longer than {HEAD_BYTES_MAX} bytes")]
    LongHead,
    #[error("the chunks of its answer have no readable size")]
    Chunk,
}

/// What the head says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) content_type: Option<String>,
    /// It names authentication, and none that is basic.
    pub(crate) refuses_basic: bool,
    is_chunked: bool,
}

impl Head {
    /// Takes the head off the front; `None`: more bytes are needed. Without a status line all is left to the body, whose first part's head looks
    /// the same.
    pub(crate) fn take(buffer: &mut BytesMut) -> Result<Option<Self>, AnswerError> {
        loop {
            let blank = buffer.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            buffer.advance(blank);
            let Some(line) = next_line(buffer)? else { return Ok(None) };
            let head = match line {
                Line::Body => return Ok(Some(Self { status: 200, ..Self::default() })),
                Line::Text(line, length) => match status_of(&line) {
                    Some(status) => Self::take_fields(status, length, buffer)?,
                    None if line.contains(':') => return Ok(Some(Self { status: 200, ..Self::default() })),
                    None => return Err(AnswerError::NotHttp),
                },
            };
            match head {
                // 100 Continue and its kin come before the answer.
                Some(head) if (100..200).contains(&head.status) => {}
                head => return Ok(head),
            }
        }
    }

    /// The fields from `at` on, behind the status line.
    fn take_fields(status: u16, mut at: usize, buffer: &mut BytesMut) -> Result<Option<Self>, AnswerError> {
        let mut head = Self { status, ..Self::default() };
        let mut schemes = Vec::new();
        loop {
            match next_line(&buffer[at..])? {
                None => return Ok(None),
                Some(Line::Body) => break,
                Some(Line::Text(line, length)) => {
                    at += length;
                    if line.is_empty() {
                        break;
                    }
                    if at > HEAD_BYTES_MAX {
                        return Err(AnswerError::LongHead);
                    }
                    head.note(&line, &mut schemes);
                }
            }
        }
        buffer.advance(at);
        head.refuses_basic = !schemes.is_empty() && !schemes.iter().any(|scheme| scheme.starts_with("basic"));
        Ok(Some(head))
    }

    fn note(&mut self, line: &str, schemes: &mut Vec<String>) {
        let Some((name, value)) = line.split_once(':') else { return };
        let value = value.trim();
        match name.trim().to_ascii_lowercase().as_str() {
            "content-type" => self.content_type = Some(value.to_owned()),
            "transfer-encoding" => self.is_chunked = value.to_ascii_lowercase().contains("chunked"),
            "www-authenticate" => schemes.push(value.to_ascii_lowercase()),
            _ => {}
        }
    }

    /// What the body after it is made of.
    pub(crate) fn body(&self) -> Body {
        if self.is_chunked { Body::Size { is_first: true } } else { Body::Plain }
    }
}

enum Line {
    /// Without its end, and its length with it.
    Text(String, usize),
    /// No line: the body has begun.
    Body,
}

fn next_line(bytes: &[u8]) -> Result<Option<Line>, AnswerError> {
    match bytes {
        [b'-', b'-', ..] | [0xff, 0xd8, ..] => return Ok(Some(Line::Body)),
        [] | [b'-' | 0xff] => return Ok(None),
        _ => {}
    }
    match bytes.iter().position(|&byte| byte == b'\n') {
        Some(end) => Ok(Some(Line::Text(String::from_utf8_lossy(bytes[..end].trim_ascii()).into_owned(), end + 1))),
        None if bytes.len() > HEAD_BYTES_MAX => Err(AnswerError::LongHead),
        None => Ok(None),
    }
}

/// Of `HTTP/1.1 200 OK` and what resembles it; 200 where it names none. `None`: it is no status line.
fn status_of(line: &str) -> Option<u16> {
    let mut words = line.split_ascii_whitespace();
    let name = words.next()?.to_ascii_uppercase();
    let is_status =
        ["HTTP", "ICY", "RTSP"].iter().any(|kind| name.strip_prefix(kind).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
    is_status.then(|| words.next().and_then(|code| code.parse().ok()).filter(|code| (100..600).contains(code)).unwrap_or(200))
}

/// The body on its way out of its transfer coding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Body {
    /// As it comes.
    Plain,
    /// Before a line with a chunk's size.
    Size { is_first: bool },
    /// In a chunk, with so many bytes to come.
    Data(usize),
    /// After the last chunk.
    End,
}

impl Body {
    /// The next piece of it; `None`: more bytes are needed.
    pub(crate) fn take(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, AnswerError> {
        loop {
            match *self {
                Self::End => return Ok(None),
                _ if buffer.is_empty() => return Ok(None),
                Self::Plain => return Ok(Some(buffer.split().freeze())),
                Self::Data(0) => *self = Self::Size { is_first: false },
                Self::Data(left) => {
                    let piece = buffer.split_to(left.min(buffer.len())).freeze();
                    *self = Self::Data(left - piece.len());
                    return Ok(Some(piece));
                }
                Self::Size { is_first } => {
                    if !self.pass_size(is_first, buffer)? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn pass_size(&mut self, is_first: bool, buffer: &mut BytesMut) -> Result<bool, AnswerError> {
        // A chunk ends with a line break, which its size does not count.
        let blank = if is_first { 0 } else { buffer.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count() };
        let rest = &buffer[blank..];
        let end = rest.iter().position(|&byte| byte == b'\n');
        let line = &rest[..end.unwrap_or(rest.len())];
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let is_size = digits > 0 && matches!(line.get(digits), None | Some(b'\r' | b';' | b' '));
        match (is_size, end) {
            (true, Some(end)) if line.len() <= CHUNK_LINE_BYTES_MAX => {
                let size = std::str::from_utf8(&line[..digits]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
                let size = size.ok_or(AnswerError::Chunk)?;
                *self = if size == 0 { Self::End } else { Self::Data(size) };
                buffer.advance(blank + end + 1);
                Ok(true)
            }
            (true, None) if line.len() <= CHUNK_LINE_BYTES_MAX => Ok(false),
            (false, None) if line.is_empty() => Ok(false),
            // It says that it is in chunks, and is not.
            (false, _) if is_first => {
                *self = Self::Plain;
                Ok(true)
            }
            _ => Err(AnswerError::Chunk),
        }
    }

    /// True after the last chunk.
    pub(crate) fn is_over(self) -> bool {
        self == Self::End
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Status, type, and the bytes of the body, of an answer that comes in pieces of so many bytes.
    fn read(answer: &[u8], piece: usize) -> Result<(u16, Option<String>, Vec<u8>), AnswerError> {
        let (mut buffer, mut head, mut body, mut bytes) = (BytesMut::new(), None, Body::Plain, Vec::new());
        for piece in answer.chunks(piece) {
            buffer.extend_from_slice(piece);
            if head.is_none() {
                head = Head::take(&mut buffer)?;
                body = head.as_ref().map_or(Body::Plain, Head::body);
            }
            while head.is_some()
                && let Some(piece) = body.take(&mut buffer)?
            {
                bytes.extend_from_slice(&piece);
            }
        }
        let head = head.unwrap_or_default();
        Ok((head.status, head.content_type, bytes))
    }

    fn assert_read(answer: &[u8], status: u16, kind: Option<&str>, body: &[u8]) {
        for piece in 1..=answer.len() {
            let expected = (status, kind.map(str::to_owned), body.to_vec());
            assert_eq!(read(answer, piece), Ok(expected), "{:?}, {piece} bytes at once", String::from_utf8_lossy(answer));
        }
    }

    /// AlexxIT/go2rtc#725.
    #[test]
    fn a_length_that_is_none_is_passed_over() {
        for length in ["-1", "0", "18446744073709551616", "many", ""] {
            let answer = format!("HTTP/1.0 200 OK\r\nContent-Length: {length}\r\nCONTENT-TYPE:multipart/x-mixed-replace\r\n\r\n--a\r\n");
            assert_read(answer.as_bytes(), 200, Some("multipart/x-mixed-replace"), b"--a\r\n");
        }
    }

    /// espressif/arduino-esp32#3597 and its kin.
    #[test]
    fn a_status_line_that_is_missing_or_odd_is_taken() {
        assert_read(b"--frame\r\n\r\nx", 200, None, b"--frame\r\n\r\nx");
        assert_read(b"\r\n--frame\r\n", 200, None, b"--frame\r\n");
        assert_read(b"\xff\xd8\xff", 200, None, b"\xff\xd8\xff");
        assert_read(b"Content-Type: a\n\n--b\n", 200, None, b"Content-Type: a\n\n--b\n");
        for line in ["HTTP/0.9", "HTTP/0.9 200", "ICY 200 OK", "HTTP 200 OK", "http/1.1 200", "RTSP/1.0 200 OK"] {
            assert_read(format!("{line}\nContent-Type: a\n\n--b\n").as_bytes(), 200, Some("a"), b"--b\n");
        }
        assert_read(b"HTTP/1.1 404 Not Found\r\n\r\nno", 404, None, b"no");
        assert_read(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n--b\n", 200, None, b"--b\n");
        assert_read(b"HTTP/1.1 200 OK\r\nContent-Type: a\r\n--b\n", 200, Some("a"), b"--b\n");
        assert_eq!(read(b"SSH-2.0-dropbear\r\n", 4), Err(AnswerError::NotHttp));
    }

    #[test]
    fn chunks_are_joined_and_missing_ones_not_missed() {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_read(&[&head[..], b"3\r\n--b\r\nA;x=y\r\n\n012345678\r\n0\r\n\r\n"].concat(), 200, None, b"--b\n012345678");
        assert_read(&[&head[..], b"--frame\r\n\r\n"].concat(), 200, None, b"--frame\r\n\r\n");
        assert_eq!(read(&[&head[..], b"1\r\nx\r\nno\r\n"].concat(), 7), Err(AnswerError::Chunk));
        assert_eq!(read(&[&head[..], b"fffffffffffffffff\r\n"].concat(), 7), Err(AnswerError::Chunk));
    }

    #[test]
    fn what_is_too_long_ends_with_its_limit() {
        let long = vec![b'x'; HEAD_BYTES_MAX + 2];
        assert_eq!(read(&long, 1_000), Err(AnswerError::LongHead));
        assert_eq!(read(&[&b"HTTP/1.1 200 OK\r\n"[..], &b"a: b\r\n".repeat(8_000)].concat(), 1_000), Err(AnswerError::LongHead));
    }

    #[test]
    fn what_authentication_it_knows_is_told() {
        for (fields, refuses) in
            [("WWW-Authenticate: Digest x\n", true), ("WWW-Authenticate: Digest x\nwww-authenticate: Basic y\n", false), ("", false)]
        {
            let mut buffer = BytesMut::from(format!("HTTP/1.1 401 No\n{fields}\n").as_bytes());
            assert_eq!(Head::take(&mut buffer).unwrap().unwrap().refuses_basic, refuses, "{fields}");
        }
    }
}
