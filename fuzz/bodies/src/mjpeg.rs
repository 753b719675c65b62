//! HTTP cameras: the same pictures however the network cuts the bytes, and those that were sent in any of the forms that are tolerated.

use crate::cursor::{Cursor, sizes};
use sightline_capture::fuzzing::mjpeg;

/// What stands before the bytes, so that what lies behind it is reached.
const HEADS: [&str; 4] = [
    "",
    "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=--frame\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.0 200 OK\n\n",
];
/// The beginning of a picture's samples, and its end.
const BEGIN: [u8; 8] = [0xff, 0xd8, 0xff, 0xda, 0, 4, 0, 0];
const END: [u8; 2] = [0xff, 0xd9];

/// First byte: what the rest is; second: how it is cut.
pub fn run(data: &[u8]) {
    let mut cursor = Cursor::new(data);
    let (kind, cut) = (cursor.u8(), cursor.u8());
    if kind & 0x80 != 0 {
        return in_a_form(kind, cut, &mut cursor);
    }
    let said = [HEADS[usize::from(kind & 3)].as_bytes(), cursor.rest()].concat();
    let (whole, split) = (mjpeg(&said, || usize::MAX), mjpeg(&said, sizes(cut)));
    assert_eq!(whole, split);
}

/// Pictures with heads and boundaries in one of the forms that cameras have: all come out but the last, whose end nothing tells.
fn in_a_form(kind: u8, cut: u8, cursor: &mut Cursor<'_>) {
    let (length_form, boundary_form, ending) = (cursor.u8() % 5, cursor.u8() % 4, if kind & 1 == 0 { "\r\n" } else { "\n" });
    let named = [" boundary=frame", "boundary=\"--frame\"", " boundary=another", ""][usize::from(boundary_form)];
    let mut said = format!("HTTP/1.1 200 OK{ending}Content-Type: multipart/x-mixed-replace;{named}{ending}{ending}").into_bytes();
    let mut pictures = vec![];
    while !cursor.is_empty() && pictures.len() < 8 {
        let length = usize::from(cursor.u8());
        // No byte of a picture's samples is a marker, or a dash.
        let samples: Vec<u8> = cursor.take(length).iter().map(|&byte| byte & 0x7f | 0x40).collect();
        let picture = [&BEGIN[..], &samples, &END].concat();
        let said_length = match length_form {
            0 => Some(picture.len()),
            1 => None,
            2 => Some(picture.len() + 7),
            3 => Some(picture.len() - 5),
            _ => Some(usize::MAX),
        };
        let length = said_length.map_or(String::new(), |length| format!("Content-Length: {length}{ending}"));
        said.extend_from_slice(format!("--frame{ending}Content-Type: image/jpeg{ending}{length}{ending}").as_bytes());
        said.extend_from_slice(&picture);
        said.extend_from_slice(ending.as_bytes());
        pictures.push(picture);
    }
    let seen = mjpeg(&said, sizes(cut));
    assert_eq!(seen.problem, None);
    assert!(seen.parts.len() + 1 >= pictures.len(), "{} of {}", seen.parts.len(), pictures.len());
    for (part, picture) in seen.parts.iter().zip(&pictures) {
        assert_eq!(part, picture);
    }
}
