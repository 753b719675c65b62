//! A reader of bits, for parameter sets. In a NAL unit it skips emulation prevention bytes (H.264 §7.4.1: 00 00 03 is read as 00 00).

/// Reads an RBSP bit by bit; every read past the end is `None`.
pub(crate) struct BitReader<'a> {
    bytes: core::slice::Iter<'a, u8>,
    current: u8,
    bits_left: u32,
    zeros: u32,
    skips_emulation: bool,
}

impl<'a> BitReader<'a> {
    /// Over the bytes of a NAL unit.
    pub(crate) fn rbsp(bytes: &'a [u8]) -> Self {
        Self { bytes: bytes.iter(), current: 0, bits_left: 0, zeros: 0, skips_emulation: true }
    }

    /// Over bytes as they are.
    pub(crate) fn raw(bytes: &'a [u8]) -> Self {
        Self { skips_emulation: false, ..Self::rbsp(bytes) }
    }

    fn next_byte(&mut self) -> Option<u8> {
        let mut byte = *self.bytes.next()?;
        if self.skips_emulation && self.zeros >= 2 && byte == 3 {
            self.zeros = 0;
            byte = *self.bytes.next()?;
        }
        self.zeros = if byte == 0 { self.zeros + 1 } else { 0 };
        Some(byte)
    }

    pub(crate) fn bit(&mut self) -> Option<bool> {
        if self.bits_left == 0 {
            self.current = self.next_byte()?;
            self.bits_left = 8;
        }
        self.bits_left -= 1;
        Some((self.current >> self.bits_left) & 1 == 1)
    }

    /// `count` bits, most significant first; at most 32.
    pub(crate) fn bits(&mut self, count: u32) -> Option<u32> {
        let mut value: u32 = 0;
        for _ in 0..count.min(32) {
            value = (value << 1) | u32::from(self.bit()?);
        }
        Some(value)
    }

    /// `ue(v)`, H.264 §9.1. None past 31 leading zeros: no field of an SPS is that large.
    pub(crate) fn unsigned_exp_golomb(&mut self) -> Option<u32> {
        let mut zeros: u32 = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let tail = self.bits(zeros)?;
        let base = u32::try_from((1_u64 << zeros) - 1).ok()?;
        base.checked_add(tail)
    }

    /// `se(v)`, H.264 §9.1.1.
    pub(crate) fn signed_exp_golomb(&mut self) -> Option<i32> {
        let code = i64::from(self.unsigned_exp_golomb()?);
        let magnitude = (code + 1) / 2;
        i32::try_from(if code % 2 == 1 { magnitude } else { -magnitude }).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb_codes_of_table_9_2() {
        // 1 | 010 | 011 | 00100 | 00101 -> 0 1 2 3 4
        let mut reader = BitReader::rbsp(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        for expected in 0..5 {
            assert_eq!(reader.unsigned_exp_golomb(), Some(expected));
        }
        let mut reader = BitReader::rbsp(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        for expected in [0, 1, -1, 2, -2] {
            assert_eq!(reader.signed_exp_golomb(), Some(expected));
        }
    }

    #[test]
    fn emulation_prevention_bytes_are_not_data() {
        let mut reader = BitReader::rbsp(&[0, 0, 3, 1]);
        assert_eq!(reader.bits(24), Some(1));
        assert_eq!(reader.bit(), None);
    }

    #[test]
    fn a_run_of_zeros_without_end_is_refused() {
        assert_eq!(BitReader::rbsp(&[0; 64]).unsigned_exp_golomb(), None);
    }
}
