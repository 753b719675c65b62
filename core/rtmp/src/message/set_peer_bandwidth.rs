//! Set Peer Bandwidth (§5.4.5): how much may be under way unacknowledged.

use super::type_id;
use crate::error::Cause;
use crate::wire::Fields;

/// The window in bytes and how strictly it is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SetPeerBandwidth {
    pub(crate) window: u32,
    /// 0 hard, 1 soft, 2 dynamic; others are taken as dynamic.
    pub(crate) limit: u8,
}

impl SetPeerBandwidth {
    pub(crate) const DYNAMIC: u8 = 2;

    pub(crate) fn decode(body: &[u8]) -> Result<Self, Cause> {
        let mut fields = Fields::new(body);
        let window = fields.u32().ok_or(Cause::Truncated { type_id: type_id::SET_PEER_BANDWIDTH })?;
        // Some servers leave the limit out.
        Ok(Self { window, limit: fields.u8().unwrap_or(Self::DYNAMIC) })
    }

    #[cfg(any(feature = "server", test))]
    pub(crate) const fn encode(self) -> [u8; 5] {
        let [a, b, c, d] = self.window.to_be_bytes();
        [a, b, c, d, self.limit]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_reads_and_writes() {
        for limit in 0..3 {
            let (bytes, message) = ([0, 0x4c, 0x4b, 0x40, limit], SetPeerBandwidth { window: 5_000_000, limit });
            assert_eq!(SetPeerBandwidth::decode(&bytes), Ok(message));
            assert_eq!(message.encode(), bytes);
        }
        assert_eq!(SetPeerBandwidth::decode(&[0, 0, 0, 1]), Ok(SetPeerBandwidth { window: 1, limit: 2 }));
        assert!(SetPeerBandwidth::decode(&[0, 0, 0]).is_err());
    }
}
