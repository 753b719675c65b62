//! The handshake (§5.2): C0 C1 / S0 S1 S2 / C2. The server also takes the digest form of Flash (bytes 4–7 not zero); no server that is in
//! use demands it of a publisher, so the client's side does not make it.

#[cfg(feature = "server")]
pub(crate) mod digest;

use crate::error::Cause;

/// Bytes of C1, S1, C2 and S2 (§5.2.3).
pub(crate) const PACKET_BYTES: usize = 1536;

/// The one version (§5.2.2).
pub(crate) const VERSION: u8 = 3;

/// Version and packet: C0 and C1, or S0 and S1.
pub(crate) const OPENING_BYTES: usize = 1 + PACKET_BYTES;

/// Version, time zero, and four zero bytes that say "simple".
const HEAD: [u8; 9] = [VERSION, 0, 0, 0, 0, 0, 0, 0, 0];

/// C0 C1 or S0 S1 from byte `at` on: version, time zero, four zero bytes that say "simple", and random bytes from `seed`. A chip makes them in
/// pieces, and has no room for the whole.
pub(crate) fn write_opening(out: &mut [u8], at: usize, seed: u64) {
    let (mut index, mut word) = (usize::MAX, [0; 8]);
    for (byte, at) in out.iter_mut().zip(at..) {
        *byte = match (HEAD.get(at), at.saturating_sub(HEAD.len())) {
            (Some(fixed), _) => *fixed,
            (None, random_at) => {
                if index != random_at / 8 {
                    index = random_at / 8;
                    word = random(seed, index as u64).to_be_bytes();
                }
                word.get(random_at % 8).copied().unwrap_or(0)
            }
        };
    }
}

/// SplitMix64's word of that number: the bytes only have to differ between connections (§5.2.3: no need for cryptographic randomness).
const fn random(seed: u64, index: u64) -> u64 {
    let mut word = seed.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(index.wrapping_add(1)));
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// S0 S1 S2 to a client's C1: with digests if it signed its own, else S2 is its echo.
#[cfg(feature = "server")]
pub(crate) fn answer(c1: &[u8], seed: u64, mut put: impl FnMut(&[u8])) {
    let mut opening = [0; OPENING_BYTES];
    write_opening(&mut opening, 0, seed);
    let Some(found) = digest::find(c1) else {
        put(&opening);
        put(c1);
        return;
    };
    let mut second = [0; OPENING_BYTES];
    write_opening(&mut second, 0, !seed);
    let ([version, s1 @ ..], [_, s2 @ ..]) = (&mut opening, &mut second);
    digest::answer(&found, s1, s2);
    put(&[*version]);
    put(s1);
    put(s2);
}

/// Checks C0 or S0.
pub(crate) const fn check_version(version: u8) -> Result<(), Cause> {
    if version == VERSION { Ok(()) } else { Err(Cause::Version(version)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opening_is_version_3_with_eight_zero_bytes_and_differs_by_seed() {
        let (mut one, mut two) = ([0xff; OPENING_BYTES], [0xff; OPENING_BYTES]);
        write_opening(&mut one, 0, 1);
        write_opening(&mut two, 0, 2);
        assert_eq!(one[..9], [3, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_ne!(one[9..], two[9..]);
    }

    #[test]
    fn an_opening_in_pieces_is_the_same() {
        let (mut whole, mut pieces) = ([0; OPENING_BYTES], [0; OPENING_BYTES]);
        write_opening(&mut whole, 0, 7);
        // Single bytes are thousands of calls: too many for Miri.
        for size in if cfg!(miri) { [61, 67, 512, 700] } else { [1, 7, 512, 700] } {
            for (number, piece) in pieces.chunks_mut(size).enumerate() {
                write_opening(piece, number * size, 7);
            }
            assert_eq!(whole, pieces, "pieces of {size}");
        }
    }

    #[test]
    fn other_versions_are_refused() {
        assert_eq!(check_version(3), Ok(()));
        assert_eq!(check_version(6), Err(Cause::Version(6)));
    }
}
