//! G.711, the sound of most cheap cameras: a byte a sample, by the two laws of ITU-T G.711.

/// How a byte stands for a sample.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Law {
    /// PCMU: North America and Japan.
    Mu,
    /// PCMA: elsewhere.
    A,
}

impl Law {
    /// The law of RTP's encoding name (RFC 3551 §4.5.14), in small letters.
    pub(crate) fn of_encoding(name: &str) -> Option<Self> {
        match name {
            "pcmu" => Some(Self::Mu),
            "pcma" => Some(Self::A),
            _ => None,
        }
    }

    /// The sample, 16 bits linear.
    pub(crate) fn decode(self, byte: u8) -> i16 {
        match self {
            Self::Mu => {
                let byte = !byte;
                let (segment, step) = ((byte >> 4) & 7, i16::from(byte & 15));
                let magnitude = (((step << 3) + 0x84) << segment) - 0x84;
                if byte & 0x80 == 0 { magnitude } else { -magnitude }
            }
            Self::A => {
                let byte = byte ^ 0x55;
                let (segment, step) = ((byte >> 4) & 7, i16::from(byte & 15));
                let magnitude = match segment {
                    0 => (step << 4) + 8,
                    _ => ((step << 4) + 0x108) << (segment - 1),
                };
                if byte & 0x80 == 0 { -magnitude } else { magnitude }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ends and the middle of both tables (ITU-T G.711, tables 1a to 2b), at 16 bits.
    #[test]
    fn bytes_are_the_samples_of_the_recommendation() {
        for (law, byte, sample) in [
            (Law::Mu, 0x00, -32_124),
            (Law::Mu, 0x80, 32_124),
            (Law::Mu, 0x7f, 0),
            (Law::Mu, 0xff, 0),
            (Law::Mu, 0xfe, 8),
            (Law::Mu, 0xef, 132),
            (Law::A, 0x2a, -32_256),
            (Law::A, 0xaa, 32_256),
            (Law::A, 0xd5, 8),
            (Law::A, 0x55, -8),
            (Law::A, 0xc5, 264),
        ] {
            assert_eq!(law.decode(byte), sample, "{law:?} {byte:#x}");
        }
    }

    #[test]
    fn louder_bytes_are_louder_samples_on_both_sides() {
        let rises = |mut samples: Vec<i16>| {
            samples.dedup();
            samples.windows(2).all(|pair| pair[0] < pair[1])
        };
        assert!(rises((0x80..=0xff).rev().map(|byte| Law::Mu.decode(byte)).collect()));
        assert!(rises((0..=0x7f).map(|byte| Law::Mu.decode(byte)).collect()));
        assert!(rises((0x80..=0xff).map(|byte: u8| Law::A.decode(byte ^ 0x55)).collect()));
    }
}
