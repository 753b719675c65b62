//! The simple handshake (§5.2): C0 C1 / S0 S1 S2 / C2. The digest form of Flash (bytes 4–7 not zero) will be a second way to make and to check these packets.

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
