//! RTP packets, and what they are wrapped in.

/// The longest payload of a packet of the pictures.
const FRAGMENT_BYTES: usize = 400;

/// RTSP's frame around a packet (RFC 2326 §10.12).
pub(super) fn framed(channel: u8, packet: &[u8]) -> Vec<u8> {
    let length = u16::try_from(packet.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&[b'$', channel, length[0], length[1]], packet].concat()
}

/// A packet (RFC 3550 §5.1).
pub(super) fn rtp(kind: u8, mark: bool, seq: u16, ticks: u32, ssrc: u32, payload: &[u8], is_long: bool) -> Vec<u8> {
    // Padding, an extension and two contributing sources.
    let first = if is_long { 0x80 | 0x20 | 0x10 | 2 } else { 0x80 };
    let mut packet = vec![first, kind | if mark { 0x80 } else { 0 }];
    packet.extend(seq.to_be_bytes());
    packet.extend(ticks.to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    if is_long {
        packet.extend([0; 8]);
        packet.extend([0xbe, 0xde, 0, 1, 0, 0, 0, 0]);
    }
    packet.extend(payload);
    if is_long {
        packet.extend([0, 0, 0, 4]);
    }
    packet
}

/// The payloads of a NAL unit: itself, or fragments of it (FU-A, RFC 6184 §5.8).
pub(super) fn packets_of(nal: &[u8]) -> Vec<Vec<u8>> {
    if nal.len() <= FRAGMENT_BYTES {
        return vec![nal.to_vec()];
    }
    let (header, body) = (nal[0], &nal[1..]);
    let count = body.len().div_ceil(FRAGMENT_BYTES);
    let fragments = body.chunks(FRAGMENT_BYTES).enumerate().map(|(at, part)| {
        let edge = if at == 0 { 0x80 } else { 0 } | if at + 1 == count { 0x40 } else { 0 };
        [&[(header & 0xe0) | 28, (header & 0x1f) | edge], part].concat()
    });
    fragments.collect()
}

pub(super) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().enumerate().fold(0_u32, |bits, (at, &byte)| bits | (u32::from(byte) << (16 - 8 * at)));
        for at in 0..4 {
            let letter = if at <= group.len() { char::from(LETTERS[(bits >> (18 - 6 * at)) as usize & 63]) } else { '=' };
            text.push(letter);
        }
    }
    text
}
