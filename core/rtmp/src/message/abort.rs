//! Abort Message (§5.4.2): the unfinished message of a chunk stream won't be finished.

use super::type_id;
use crate::error::Cause;

/// The chunk stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Abort(pub(crate) u32);

impl Abort {
    pub(crate) fn decode(body: &[u8]) -> Result<Self, Cause> {
        super::number_of(body, type_id::ABORT).map(Self)
    }

    #[cfg(test)]
    pub(crate) const fn encode(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_reads_and_writes() {
        for (bytes, value) in [([0, 0, 0, 6], 6), ([0, 0, 1, 0x40], 320)] {
            assert_eq!(Abort::decode(&bytes), Ok(Abort(value)));
            assert_eq!(Abort(value).encode(), bytes);
        }
        assert_eq!(Abort::decode(&[0, 0, 1]), Err(Cause::Truncated { type_id: type_id::ABORT }));
    }
}
