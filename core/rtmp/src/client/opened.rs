//! A session whose handshake is done, for fuzz targets: thousands of bytes that are the same each time.

use super::{OPENING_BYTES, Phase, Session};
use sightline_media::Instant;

impl<P: AsRef<[u8]>, const QUEUE: usize> Session<P, QUEUE> {
    /// What [`Self::begin`] began has got as far as `connect`.
    #[doc(hidden)]
    pub fn skip_handshake(&mut self, now: Instant) {
        self.inbox.skip_handshake();
        self.scratch.clear();
        self.handshake_at = OPENING_BYTES * 2;
        self.phase = Phase::Connect;
        self.deadline = Some(now + self.config.publish_timeout);
        self.advance();
    }
}
