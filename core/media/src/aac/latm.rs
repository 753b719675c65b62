//! LATM's configuration, `StreamMuxConfig` (ISO/IEC 14496-3 §1.7.3.1), which some encoders send where an `AudioSpecificConfig` belongs.

use heapless::Vec;

use crate::bits::BitReader;

/// An `AudioSpecificConfig` with an explicit rate and an extension has 12.
const SPECIFIC_BYTES_MAX: usize = 16;
/// Of the fields before the `AudioSpecificConfig`, in a configuration of one program with one layer.
const HEAD_BITS: u32 = 15;

/// The `AudioSpecificConfig` within a `StreamMuxConfig` of one program and one layer; `None`: it is something else. An `AudioSpecificConfig` can't be taken
/// for one: it would be of CELP, which is no AAC.
pub(super) fn specific_config(bytes: &[u8]) -> Option<Vec<u8, SPECIFIC_BYTES_MAX>> {
    let mut bits = BitReader::raw(bytes);
    // Version 0, the same time framing, one subframe, one program, one layer.
    if bits.bits(HEAD_BITS)? != 1 << (HEAD_BITS - 2) {
        return None;
    }
    let mut out = Bits::default();
    if copy(&mut bits, &mut out, 5)? != 2 {
        // HE-AAC, whose fields are others, and objects that are no AAC-LC: as much as there is.
        while let Some(bit) = bits.bits(1) {
            out.put(bit, 1)?;
        }
        return Some(out.bytes);
    }
    if copy(&mut bits, &mut out, 4)? == 15 {
        copy(&mut bits, &mut out, 24)?;
    }
    copy(&mut bits, &mut out, 4 + 3)?;
    Some(out.bytes)
}

fn copy(bits: &mut BitReader<'_>, out: &mut Bits, count: u32) -> Option<u32> {
    let value = bits.bits(count)?;
    out.put(value, count)?;
    Some(value)
}

/// Bits behind each other, filled up with zeros.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8, SPECIFIC_BYTES_MAX>,
    count: u32,
}

impl Bits {
    fn put(&mut self, value: u32, count: u32) -> Option<()> {
        for at in (0..count).rev() {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0).ok()?;
            }
            let bit = u8::from((value >> at) & 1 == 1);
            *self.bytes.last_mut()? |= bit << (7 - self.count % 8);
            self.count += 1;
        }
        Some(())
    }
}
