//! Playback ids: the third name of a stream, the one that viewers hold.

use crate::Text;
use sha2::{Digest as _, Sha256};

/// Characters of a playback id.
pub const PLAYBACK_ID_BYTES: usize = 16;

/// The playback id of a stream's publishing name.
///
/// A one-way function that the cloud and every origin compute for themselves: a viewer that holds the playback id can't
/// derive the publishing name from it, and no one has to be asked.
#[must_use]
pub fn playback_id(stream: &str) -> Text<PLAYBACK_ID_BYTES> {
    // Base 32 in lower case, safe in a path and in a URL.
    const DIGITS: &[u8; 32] = b"0123456789bcdefghjklmnpqrstuvwxy";
    let digest = Sha256::new().chain_update(b"sightline playback id\0").chain_update(stream.as_bytes()).finalize();
    let mut id = Text::new();
    for byte in digest.iter().take(PLAYBACK_ID_BYTES) {
        if let Some(&digit) = DIGITS.get(usize::from(byte & 31)) {
            // Sixteen digits fit by construction.
            let _ = id.push(char::from(digit));
        }
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_and_differ() {
        assert_eq!(playback_id("a"), playback_id("a"));
        assert_ne!(playback_id("a"), playback_id("b"));
        assert_eq!(playback_id("").len(), PLAYBACK_ID_BYTES);
    }
}
