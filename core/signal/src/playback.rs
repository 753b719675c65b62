//! Playback ids: the third name of a stream, the one that viewers hold.

use crate::Text;
use sha2::{Digest as _, Sha256};

/// Characters of a playback id.
pub const PLAYBACK_ID_BYTES: usize = 16;

/// The playback id of a publishing name on an origin that belongs to no cloud.
///
/// A one-way function: a viewer that holds the playback id can't derive the publishing name from it. Whoever has the name can make the id;
/// where a cloud hands out the names it takes [`PlaybackIds`].
#[must_use]
pub fn playback_id(stream: &str) -> Text<PLAYBACK_ID_BYTES> {
    digits(&Sha256::new().chain_update(b"sightline playback id\0").chain_update(stream.as_bytes()).finalize())
}

/// Base 32 in lower case, safe in a path and in a URL.
fn digits(digest: &[u8]) -> Text<PLAYBACK_ID_BYTES> {
    const DIGITS: &[u8; 32] = b"0123456789bcdefghjklmnpqrstuvwxy";
    let mut id = Text::new();
    for byte in digest.iter().take(PLAYBACK_ID_BYTES) {
        if let Some(&digit) = DIGITS.get(usize::from(byte & 31)) {
            // Sixteen digits fit by construction.
            let _ = id.push(char::from(digit));
        }
    }
    id
}

/// Makes the playback ids of one installation: the cloud and all its origins make the same ones and no one has to be asked.
///
/// They are random to whoever has not the installation's key: neither a publishing name, which cameras and servers of others know, nor a
/// playback id of another stream leads to one.
#[cfg(feature = "alloc")]
#[derive(Clone)]
pub struct PlaybackIds {
    /// `None`: no cloud has handed out the names.
    key: Option<[u8; 32]>,
}

#[cfg(feature = "alloc")]
impl PlaybackIds {
    /// Of an origin by itself: [`playback_id`].
    #[must_use]
    pub const fn without_cloud() -> Self {
        Self { key: None }
    }

    /// Of an installation, by the key that its servers share. What is kept can't be turned back into that key.
    #[must_use]
    pub fn of_installation(cluster_key: &str) -> Self {
        let digest = Sha256::new().chain_update(b"sightline playback ids\0").chain_update(cluster_key.as_bytes()).finalize();
        Self { key: Some(digest.into()) }
    }

    /// The playback id of a publishing name.
    #[must_use]
    pub fn of(&self, stream: &str) -> Text<PLAYBACK_ID_BYTES> {
        use hmac::{KeyInit as _, Mac as _};
        let Some(mut mac) = self.key.and_then(|key| hmac::Hmac::<Sha256>::new_from_slice(&key).ok()) else { return playback_id(stream) };
        mac.update(stream.as_bytes());
        digits(&mac.finalize().into_bytes())
    }
}

#[cfg(feature = "alloc")]
impl core::fmt::Debug for PlaybackIds {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("PlaybackIds(***)")
    }
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

    #[test]
    #[cfg(feature = "alloc")]
    fn ids_of_an_installation_are_its_own() {
        let [ours, again, other] = ["key", "key", "yek"].map(PlaybackIds::of_installation);
        assert_eq!((ours.of("a"), ours.of("a").len()), (again.of("a"), PLAYBACK_ID_BYTES));
        assert_ne!(ours.of("a"), other.of("a"));
        assert_ne!(ours.of("a"), ours.of("b"));
        assert_ne!(ours.of("a"), playback_id("a"));
        assert_eq!(PlaybackIds::without_cloud().of("a"), playback_id("a"));
        assert_eq!(std::format!("{ours:?}"), "PlaybackIds(***)");
    }
}
