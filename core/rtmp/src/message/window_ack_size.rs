//! Window Acknowledgement Size (§5.4.4): after how many bytes its sender wants an acknowledgement.

use super::type_id;
use crate::error::Cause;

/// In bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct WindowAckSize(pub(crate) u32);

impl WindowAckSize {
    pub(crate) fn decode(body: &[u8]) -> Result<Self, Cause> {
        super::number_of(body, type_id::WINDOW_ACK_SIZE).map(Self)
    }

    pub(crate) const fn encode(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_reads_and_writes() {
        for (bytes, value) in [([0, 0x4c, 0x4b, 0x40], 5_000_000), ([0, 0, 0x80, 0], 32_768)] {
            assert_eq!(WindowAckSize::decode(&bytes), Ok(WindowAckSize(value)));
            assert_eq!(WindowAckSize(value).encode(), bytes);
        }
        assert_eq!(WindowAckSize::decode(&[0, 0, 1]), Err(Cause::Truncated { type_id: type_id::WINDOW_ACK_SIZE }));
    }
}
