//! What comes in a pipe, by its first bytes.

use sightline_media::annexb;

/// Bytes that are looked at, at most: the pictures of what begins elsewhere in a stream come within them.
pub(crate) const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The name of a container that has its index at its end, as a rule.
pub(crate) const MP4: &str = "MP4";
/// Of an MPEG transport stream (ISO/IEC 13818-1 §2.4.3.2).
const TS_PACKET_BYTES: usize = 188;

/// What it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// H.264 in Annex B form.
    H264,
    /// Another kind, by its name.
    Foreign {
        what: &'static str,
        /// A container: it tells when its pictures are shown.
        has_times: bool,
    },
}

/// Tells a stream's kind; `None`: more of it is needed. `is_all`: there is no more.
pub(crate) fn kind(head: &[u8], is_all: bool) -> Option<Kind> {
    let is_all = is_all || head.len() >= HEAD_BYTES_MAX;
    if let Some(kind) = by_magic(head) {
        return Some(kind);
    }
    // Its packets hold start codes as well.
    if head.first() == Some(&0x47) {
        match (head.get(TS_PACKET_BYTES), head.get(2 * TS_PACKET_BYTES)) {
            (Some(0x47), Some(0x47)) => return Some(Kind::Foreign { what: "an MPEG transport stream", has_times: true }),
            (None | Some(0x47), None) if !is_all => return None,
            _ => {}
        }
    }
    // Whatever else it is, the reader of H.264 says what it lacks.
    by_start_codes(head).or(is_all.then_some(Kind::H264))
}

fn by_magic(head: &[u8]) -> Option<Kind> {
    let foreign = |what, has_times| Some(Kind::Foreign { what, has_times });
    if let [_, _, _, _, b'f', b't', b'y', b'p', ..] | [_, _, _, _, b's', b't', b'y', b'p', ..] | [_, _, _, _, b'm', b'o', b'o', b'v', ..] =
        head
    {
        return foreign(MP4, true);
    }
    match head {
        [0x1a, 0x45, 0xdf, 0xa3, ..] => foreign("Matroska or WebM", true),
        [b'F', b'L', b'V', 1, ..] => foreign("FLV", true),
        [0xff, 0xd8, 0xff, ..] => foreign("MJPEG", false),
        [b'-', b'-', ..] if head.windows(13).any(|text| text.eq_ignore_ascii_case(b"content-type:")) => foreign("multipart MJPEG", false),
        [b'R', b'I', b'F', b'F', ..] => foreign("AVI", true),
        [b'O', b'g', b'g', b'S', ..] => foreign("Ogg", true),
        [b'Y', b'U', b'V', b'4', b'M', b'P', b'E', b'G', b'2', ..] => foreign("raw pictures (YUV4MPEG2)", false),
        [b'D', b'K', b'I', b'F', ..] => foreign("IVF", true),
        [0x30, 0x26, 0xb2, 0x75, ..] => foreign("ASF", true),
        [0x06, 0x0e, 0x2b, 0x34, ..] => foreign("MXF", true),
        [0x89, b'P', b'N', b'G', ..] => foreign("PNG pictures", false),
        _ => None,
    }
}

/// By what stands behind the first start codes: some of H.265's headers could be H.264's, but its parameter sets come first, in their order.
fn by_start_codes(head: &[u8]) -> Option<Kind> {
    let mut from = 0;
    while let Some(at) = annexb::find_start_code(head.get(from..)?) {
        from += at + 3;
        let is_first = from <= 4 || head.get(..from - 3)?.iter().all(|&byte| byte == 0);
        match head.get(from..from + 2)? {
            [0xba, _] if is_first => return Some(Kind::Foreign { what: "an MPEG program stream", has_times: true }),
            [0xb3 | 0xb0 | 0x00 | 0x20, _] if is_first => return Some(Kind::Foreign { what: "MPEG-2 or MPEG-4 video", has_times: false }),
            // VPS or SPS of layer 0; an SPS of H.264.
            [0x40 | 0x42, 0x01] => return Some(Kind::Foreign { what: "H.265", has_times: false }),
            [header, _] if header & 0x9f == 7 => return Some(Kind::H264),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_told_by_its_first_bytes_and_none_is_waited_for_in_vain() {
        let what = |head: &[u8], is_all| match kind(head, is_all) {
            Some(Kind::Foreign { what, .. }) => what,
            Some(Kind::H264) => "H.264",
            None => "more",
        };
        assert_eq!(what(&[0, 0, 0, 1, 0x09, 0xf0, 0, 0, 0, 1, 0x67, 0x42], false), "H.264");
        assert_eq!(what(&[0x88, 1, 2, 0, 0, 1, 0x41, 0x9a, 0, 0, 1, 0x27, 0x42], false), "H.264");
        assert_eq!(what(&[0, 0, 0, 1, 0x46, 0x01, 0x10, 0, 0, 0, 1, 0x40, 0x01, 0x0c], false), "H.265");
        assert_eq!(what(&[0, 0, 0, 1, 0x65, 0x88, 0x80], false), "more");
        assert_eq!(what(&[0, 0, 0, 1, 0x65, 0x88, 0x80], true), "H.264");
        assert_eq!(what(&[0, 0, 1, 0xba, 0x44], false), "an MPEG program stream");
        assert_eq!(what(b"\0\0\0\x20ftypisom", false), "MP4");
        assert_eq!(what(&[0xff, 0xd8, 0xff, 0xe0], false), "MJPEG");
        assert_eq!(what(b"--frame\r\nContent-Type: image/jpeg\r\n", false), "multipart MJPEG");
        let mut ts = vec![0; 2 * TS_PACKET_BYTES + 1];
        ts[100..105].copy_from_slice(&[0, 0, 1, 0x67, 0x42]);
        (ts[0], ts[TS_PACKET_BYTES], ts[2 * TS_PACKET_BYTES]) = (0x47, 0x47, 0x47);
        assert_eq!((what(&ts[..200], false), what(&ts, false)), ("more", "an MPEG transport stream"));
        assert_eq!((what(b"no pictures", false), what(&[7; HEAD_BYTES_MAX], false)), ("more", "H.264"));
    }
}
