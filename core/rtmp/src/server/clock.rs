//! 32-bit milliseconds unwrapped.

use sightline_media::MediaTime;

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
                let step = timestamp.wrapping_sub((last & 0xffff_ffff) as u32).cast_signed();
                last + i64::from(step)
            }
        };
        self.last_millis = Some(millis);
        MediaTime::from_millis(millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
