//! The digest handshake of Flash Player 9 and Flash Media Server 3 (published in no standard; as ffmpeg, nginx-rtmp and SRS do it):
//! a client that wants to be sure of its server puts an HMAC-SHA256 into C1, and the server answers with two of its own.
//! ffmpeg's own client always does. It protects nothing, for the keys are known; TLS does.

use super::PACKET_BYTES;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

const DIGEST_BYTES: usize = 32;
/// Where four bytes say at which offset the digest lies: schema 1, and schema 0.
const BASES: [usize; 2] = [8, 772];
/// The offsets are modulo this, so that four bytes, the offset and the digest stay within half a packet.
const OFFSETS: usize = 728;

/// What S1 says as its version, not zero: Flash Media Server 3.5.1.1.
const SERVER_VERSION: [u8; 4] = [3, 5, 1, 1];

/// Behind either name.
const SECRET: [u8; 32] = [
    0xf0, 0xee, 0xc2, 0x4a, 0x80, 0x68, 0xbe, 0xe8, 0x2e, 0x00, 0xd0, 0xd1, 0x02, 0x9e, 0x7e, 0x57, 0x6e, 0xec, 0x5d, 0x2d, 0x29, 0x80,
    0x6f, 0xab, 0x93, 0xb8, 0xe6, 0x36, 0xcf, 0xeb, 0x31, 0xae,
];
const PLAYER: &[u8] = b"Genuine Adobe Flash Player 001";
const SERVER: &[u8] = b"Genuine Adobe Flash Media Server 001";

/// A digest that was found in C1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Found {
    digest: [u8; DIGEST_BYTES],
    base: usize,
}

/// Looks for a client's digest in C1; `None`: it wants the simple handshake, or its digest is of something else.
pub(crate) fn find(c1: &[u8]) -> Option<Found> {
    find_with(c1, PLAYER)
}

fn find_with(packet: &[u8], key: &[u8]) -> Option<Found> {
    // Bytes 4 to 7 of a simple packet are zero (§5.2.3).
    if packet.len() != PACKET_BYTES || packet.get(4..8)? == [0; 4] {
        return None;
    }
    BASES.into_iter().find_map(|base| {
        let at = position(packet, base)?;
        let (before, rest) = packet.split_at_checked(at)?;
        let (digest, after) = rest.split_first_chunk::<DIGEST_BYTES>()?;
        (hmac(&[key], &[before, after]) == *digest).then_some(Found { digest: *digest, base })
    })
}

fn position(packet: &[u8], base: usize) -> Option<usize> {
    let sum: usize = packet.get(base..base + 4)?.iter().map(|&byte| usize::from(byte)).sum();
    Some(base + 4 + sum % OFFSETS)
}

/// Makes S1 and S2, given as random bytes, into the answer: S1's digest in the client's schema, S2's over the client's digest.
pub(crate) fn answer(found: &Found, s1: &mut [u8; PACKET_BYTES], s2: &mut [u8; PACKET_BYTES]) {
    if let Some(version) = s1.get_mut(4..8) {
        version.copy_from_slice(&SERVER_VERSION);
    }
    sign(s1, found.base, SERVER);
    let key = hmac(&[SERVER, &SECRET], &[&found.digest]);
    if let Some((body, digest)) = s2.split_last_chunk_mut::<DIGEST_BYTES>() {
        *digest = hmac(&[&key], &[body]);
    }
}

fn sign(packet: &mut [u8; PACKET_BYTES], base: usize, key: &[u8]) {
    let Some(at) = position(packet, base) else { return };
    let Some((before, rest)) = packet.split_at_mut_checked(at) else { return };
    let Some((digest, after)) = rest.split_first_chunk_mut::<DIGEST_BYTES>() else { return };
    *digest = hmac(&[key], &[before, after]);
}

/// HMAC-SHA256 of the parts. A key of two parts is put together: both are shorter than a block.
fn hmac(key: &[&[u8]], parts: &[&[u8]]) -> [u8; DIGEST_BYTES] {
    let mut whole: heapless::Vec<u8, 128> = heapless::Vec::new();
    for part in key {
        // 36 and 32 bytes fit.
        let _ = whole.extend_from_slice(part);
    }
    // Any length of key is taken.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&whole) else { return [0; DIGEST_BYTES] };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// C1 of a client that signs it in one of the two schemas.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn signed_c1(base: usize, seed: u64) -> [u8; PACKET_BYTES] {
    let mut opening = [0; super::OPENING_BYTES];
    super::write_opening(&mut opening, 0, seed);
    let mut c1 = [0; PACKET_BYTES];
    c1.copy_from_slice(&opening[1..]);
    c1[4..8].copy_from_slice(&[9, 0, 124, 2]);
    sign(&mut c1, base, PLAYER);
    c1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::{OPENING_BYTES, write_opening};

    /// Flash clients as ffmpeg's (schema 1) and older ones (schema 0).
    #[test]
    fn both_schemas_are_found_and_answered_in_the_same() {
        for base in BASES {
            // One under Miri, where each is a handful of hashes of 1.5 KB, in seconds.
            for seed in 0..if cfg!(miri) { 1 } else { 20 } {
                let found = find(&signed_c1(base, seed)).unwrap();
                assert_eq!(found.base, base);
                let (mut s1, mut s2) = ([7; PACKET_BYTES], [8; PACKET_BYTES]);
                answer(&found, &mut s1, &mut s2);
                assert_eq!(find_with(&s1, SERVER).unwrap().base, base, "what a client checks of S1");
                let key = hmac(&[SERVER, &SECRET], &[&found.digest]);
                assert_eq!(s2[PACKET_BYTES - 32..], hmac(&[&key], &[&s2[..PACKET_BYTES - 32]]), "and of S2");
            }
        }
    }

    #[test]
    fn a_wrong_digest_and_a_simple_packet_fall_back() {
        let mut c1 = signed_c1(8, 1);
        c1[1535] ^= 1;
        assert_eq!(find(&c1), None);
        let mut opening = [0; OPENING_BYTES];
        write_opening(&mut opening, 0, 1);
        assert_eq!(find(&opening[1..]), None);
        assert_eq!(find(&[]), None);
    }
}
