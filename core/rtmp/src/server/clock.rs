//! 32-bit milliseconds unwrapped.

use sightline_media::MediaTime;

/// A step of this or more is one of 2^31, or a jump.
const HALF_RANGE_31: u32 = 1 << 30;
/// Frames of one stream that follow one another are not further apart than this, an hour and a bit.
const NEAR_MILLIS: u32 = 1 << 22;

/// Follows a stream's timestamps past 2^32 ms (49.7 days). One for all tracks, so that both wrap alike.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    last_millis: Option<i64>,
}

impl Clock {
    /// The time that `timestamp` means: the one nearest to the last.
    pub(crate) fn unwrap(&mut self, timestamp: u32) -> MediaTime {
        let millis = match self.last_millis {
            None => i64::from(timestamp),
            Some(last) => {
                let ahead = timestamp.wrapping_sub((last & 0xffff_ffff) as u32);
                let step = ahead.cast_signed();
                // SRS keeps 31 bits of a timestamp: half the range away, and next to it in the range of 31 bits.
                let step_31 = (ahead << 1).cast_signed() >> 1;
                let is_31 = step.unsigned_abs() > HALF_RANGE_31 && step_31.unsigned_abs() < NEAR_MILLIS;
                last + i64::from(if is_31 { step_31 } else { step })
            }
        };
        self.last_millis = Some(millis);
        MediaTime::from_millis(millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SRS relays with 31 bits.
    #[test]
    fn timestamps_of_31_bits_go_on_past_their_end() {
        let mut clock = Clock::default();
        for (timestamp, millis) in
            [(0x7fff_fff0, 0x7fff_fff0_i64), (0x10, 0x8000_0010), (0x38, 0x8000_0038), (0x7fff_ffff, 0x7fff_ffff), (0x40, 0x8000_0040)]
        {
            assert_eq!(clock.unwrap(timestamp).as_millis(), millis, "{timestamp:#x}");
        }
    }

    #[test]
    fn timestamps_go_on_past_32_bits_and_a_little_back() {
        let mut clock = Clock::default();
        for (timestamp, millis) in [
            (0xffff_fff0, 0xffff_fff0_i64),
            (0x10, 0x1_0000_0010),
            (0x0c, 0x1_0000_000c),
            (0xffff_fff8, 0xffff_fff8),
            (0x7000_0000, 0x1_7000_0000),
            (0xe000_0000, 0x1_e000_0000),
            (5, 0x2_0000_0005),
        ] {
            assert_eq!(clock.unwrap(timestamp).as_millis(), millis, "{timestamp:#x}");
        }
    }
}
