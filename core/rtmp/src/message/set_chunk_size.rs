//! Set Chunk Size (§5.4.1): the largest chunk that its sender will send from the next chunk on.

use super::type_id;
use crate::error::Cause;

/// In bytes. The top bit must be zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SetChunkSize(pub(crate) u32);

impl SetChunkSize {
    pub(crate) fn decode(body: &[u8]) -> Result<Self, Cause> {
        let size = super::number_of(body, type_id::SET_CHUNK_SIZE)?;
        if size == 0 || size > i32::MAX.cast_unsigned() { Err(Cause::ChunkSize(size)) } else { Ok(Self(size)) }
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
        for (bytes, value) in [([0, 0, 0x10, 0], 4096), ([0, 0x10, 0, 0], 1 << 20)] {
            assert_eq!(SetChunkSize::decode(&bytes), Ok(SetChunkSize(value)));
            assert_eq!(SetChunkSize(value).encode(), bytes);
        }
        assert_eq!(SetChunkSize::decode(&[0, 0, 1]), Err(Cause::Truncated { type_id: type_id::SET_CHUNK_SIZE }));
        assert_eq!(SetChunkSize::decode(&[0x80, 0, 0, 0]), Err(Cause::ChunkSize(1 << 31)));
        assert_eq!(SetChunkSize::decode(&[0; 4]), Err(Cause::ChunkSize(0)));
    }
}
