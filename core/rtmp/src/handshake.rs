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

/// Writes C0 C1 or S0 S1: version, time zero, four zero bytes that say "simple", and random bytes from `seed`.
pub(crate) fn write_opening(out: &mut [u8; OPENING_BYTES], seed: u64) {
    let (head, random) = out.split_at_mut(9);
    head.fill(0);
    if let Some(first) = head.first_mut() {
        *first = VERSION;
    }
    let mut state = seed;
    for eight in random.chunks_mut(8) {
        // SplitMix64: the bytes only have to differ between connections (§5.2.3: no need for cryptographic randomness).
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^= word >> 31;
        for (byte, random) in eight.iter_mut().zip(word.to_be_bytes()) {
            *byte = random;
        }
    }
}

/// S0 S1 S2 to a client's C1: with digests if it signed its own, else S2 is its echo.
#[cfg(feature = "server")]
pub(crate) fn answer(c1: &[u8], seed: u64, mut put: impl FnMut(&[u8])) {
    let mut opening = [0; OPENING_BYTES];
    write_opening(&mut opening, seed);
    let Some(found) = digest::find(c1) else {
        put(&opening);
        put(c1);
        return;
    };
    let mut second = [0; OPENING_BYTES];
    write_opening(&mut second, !seed);
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
        write_opening(&mut one, 1);
        write_opening(&mut two, 2);
        assert_eq!(one[..9], [3, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_ne!(one[9..], two[9..]);
    }

    #[test]
    fn other_versions_are_refused() {
        assert_eq!(check_version(3), Ok(()));
        assert_eq!(check_version(6), Err(Cause::Version(6)));
    }
}
