//! A session whose handshake is done, for fuzz targets: thousands of bytes that are the same each time.

use super::{Config, OPENING_BYTES, Opening, PACKET_BYTES, Session};
use sightline_media::Instant;

impl Session {
    /// As [`Self::new`], with the client's half of the handshake behind it and the server's not to be sent.
    #[doc(hidden)]
    #[must_use]
    pub fn opened(config: Config, now: Instant, seed: u64) -> Self {
        let mut session = Self { opening: Opening::Done, ..Self::new(config, now, seed) };
        session.link.count(OPENING_BYTES + PACKET_BYTES);
        session
    }
}
