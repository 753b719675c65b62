//! Acknowledgement (§5.4.3): how many bytes its sender has received, modulo 2^32.

use super::type_id;
use crate::error::Cause;

/// The sequence number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Acknowledgement(pub(crate) u32);

impl Acknowledgement {
    pub(crate) fn decode(body: &[u8]) -> Result<Self, Cause> {
        super::number_of(body, type_id::ACKNOWLEDGEMENT).map(Self)
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
        for (bytes, value) in [([0, 0x26, 0x25, 0xa0], 2_500_000), ([0xff; 4], u32::MAX)] {
            assert_eq!(Acknowledgement::decode(&bytes), Ok(Acknowledgement(value)));
            assert_eq!(Acknowledgement(value).encode(), bytes);
        }
        assert_eq!(Acknowledgement::decode(&[0, 0, 1]), Err(Cause::Truncated { type_id: type_id::ACKNOWLEDGEMENT }));
    }
}
