//! RTCP (RFC 3550 §6, RFC 4585): what players say of what they got, and the sender's reports.

/// Packets of a compound that are looked at: a browser sends four.
const PACKETS_MAX: usize = 32;
/// Sequence numbers that one compound may ask for again: more are a link that is down.
const NACKS_MAX: usize = 512;

/// What a player says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Feedback {
    /// It misses these packets of a sender (RFC 4585 §6.2.1).
    Nack {
        /// The sender.
        ssrc: u32,
        /// The packets' numbers.
        sequences: Vec<u16>,
    },
    /// It needs a key frame: picture loss indication or full intra request (RFC 4585 §6.3.1, RFC 5104 §4.3.1).
    KeyFrame {
        /// The sender.
        ssrc: u32,
    },
    /// What arrived (RFC 3550 §6.4.2).
    Report {
        /// The sender.
        ssrc: u32,
        /// Of the packets since its last report, in 256ths.
        fraction_lost: u8,
    },
    /// It leaves.
    Bye,
}

/// Reads a compound packet, as far as it can be read.
#[must_use]
pub fn parse(compound: &[u8]) -> Vec<Feedback> {
    let (mut found, mut rest, mut nacks) = (Vec::new(), compound, 0);
    for _ in 0..PACKETS_MAX {
        let Some(([first, kind, high, low], behind)) = rest.split_first_chunk::<4>() else { break };
        let length = usize::from(u16::from_be_bytes([*high, *low])) * 4;
        if first >> 6 != 2 {
            break;
        }
        let Some((body, behind)) = behind.split_at_checked(length) else { break };
        rest = behind;
        match (kind, first & 0x1f) {
            (200, _) => read_reports(body.get(24..).unwrap_or_default(), &mut found),
            (201, _) => read_reports(body.get(4..).unwrap_or_default(), &mut found),
            (203, _) => found.push(Feedback::Bye),
            (205, 1) => read_nack(body, &mut nacks, &mut found),
            (206, 1) => found.extend(word(body, 4).map(|ssrc| Feedback::KeyFrame { ssrc })),
            (206, 4) => {
                // Each entry names its sender; that of the packet is unused (RFC 5104 §4.3.1.2).
                let entries = body.get(8..).unwrap_or_default().chunks_exact(8);
                found.extend(entries.filter_map(|entry| word(entry, 0)).map(|ssrc| Feedback::KeyFrame { ssrc }));
            }
            _ => {}
        }
    }
    found
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
}

fn read_reports(blocks: &[u8], found: &mut Vec<Feedback>) {
    for block in blocks.chunks_exact(24) {
        if let (Some(ssrc), Some(&fraction_lost)) = (word(block, 0), block.get(4)) {
            found.push(Feedback::Report { ssrc, fraction_lost });
        }
    }
}

fn read_nack(body: &[u8], nacks: &mut usize, found: &mut Vec<Feedback>) {
    let Some(ssrc) = word(body, 4) else { return };
    let mut sequences = Vec::new();
    for entry in body.get(8..).unwrap_or_default().chunks_exact(4) {
        let Some([a, b, c, d]) = entry.first_chunk::<4>() else { break };
        let (first, others) = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
        let others = (0..16).filter(|bit| others >> bit & 1 == 1).map(|bit| first.wrapping_add(bit + 1));
        for sequence in core::iter::once(first).chain(others) {
            if *nacks >= NACKS_MAX {
                break;
            }
            *nacks += 1;
            sequences.push(sequence);
        }
    }
    found.push(Feedback::Nack { ssrc, sequences });
}

/// What a sender has sent so far, and how its times lie to the wall's (RFC 3550 §6.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SenderReport {
    /// The sender.
    pub ssrc: u32,
    /// The wall's time, in NTP's format.
    pub ntp: u64,
    /// The same moment in the sender's ticks.
    pub timestamp: u32,
    /// Packets sent.
    pub packets: u32,
    /// Bytes of their payloads.
    pub bytes: u32,
}

impl SenderReport {
    /// A compound packet: the report, and by which name its sender goes (RFC 3550 §6.1 asks for both).
    #[must_use]
    pub fn compound(&self, name: &str) -> Vec<u8> {
        let mut out = vec![0x80, 200, 0, 6];
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        out.extend_from_slice(&self.ntp.to_be_bytes());
        for word in [self.timestamp, self.packets, self.bytes] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        let name = name.as_bytes().get(..usize::from(u8::MAX)).unwrap_or(name.as_bytes());
        let mut chunk = self.ssrc.to_be_bytes().to_vec();
        chunk.push(1);
        chunk.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        chunk.extend_from_slice(name);
        // A zero at least ends the items.
        chunk.resize((chunk.len() / 4 + 1) * 4, 0);
        out.extend_from_slice(&[0x81, 202]);
        out.extend_from_slice(&u16::try_from(chunk.len() / 4).unwrap_or(u16::MAX).to_be_bytes());
        out.extend_from_slice(&chunk);
        out
    }
}

/// That a sender leaves.
#[must_use]
pub fn bye(ssrc: u32) -> Vec<u8> {
    let [a, b, c, d] = ssrc.to_be_bytes();
    // A compound begins with a report (RFC 3550 §6.1): an empty one.
    vec![0x80, 201, 0, 1, a, b, c, d, 0x81, 203, 0, 1, a, b, c, d]
}

/// A moment of the wall's clock in NTP's format: seconds since 1900 and their fraction.
#[must_use]
pub fn ntp(unix_micros: i64) -> u64 {
    /// Seconds from 1900 to 1970.
    const EPOCH_SECS: i64 = 2_208_988_800;
    let (secs, micros) = (unix_micros.div_euclid(1_000_000), unix_micros.rem_euclid(1_000_000));
    let fraction = (u64::try_from(micros).unwrap_or_default() << 32) / 1_000_000;
    let secs = u64::try_from(secs.saturating_add(EPOCH_SECS)).unwrap_or_default() & 0xffff_ffff;
    (secs << 32) | fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_s_compound_is_read() {
        // Receiver report with one block, NACK of 0x1234, 0x1235 and 0x1243, PLI, FIR of another, BYE.
        let report = [&[0x81, 201, 0, 7, 0, 0, 0, 1, 0, 0, 0, 9, 26, 0, 0, 5][..], &[0; 16]].concat();
        let nack = [0x81, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 9, 0x12, 0x34, 0x40, 0x01];
        let pli = [0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 9];
        let fir = [0x84, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 10, 1, 0, 0, 0];
        let bye = [0x81, 203, 0, 1, 0, 0, 0, 1];
        let compound = [&report[..], &nack, &pli, &fir, &bye].concat();
        let right = [
            Feedback::Report { ssrc: 9, fraction_lost: 26 },
            Feedback::Nack { ssrc: 9, sequences: vec![0x1234, 0x1235, 0x1243] },
            Feedback::KeyFrame { ssrc: 9 },
            Feedback::KeyFrame { ssrc: 10 },
            Feedback::Bye,
        ];
        assert_eq!(parse(&compound), right);
        for end in 0..compound.len() {
            let cut = parse(&compound[..end]);
            assert!(right.starts_with(&cut), "cut at {end}: {cut:?}");
        }
    }

    #[test]
    fn a_sender_s_report_is_that_of_the_rfc() {
        let report = SenderReport { ssrc: 0x0102_0304, ntp: 0x1112_1314_2122_2324, timestamp: 0x3132_3334, packets: 5, bytes: 600 };
        let right = [
            0x80, 200, 0, 6, 1, 2, 3, 4, 0x11, 0x12, 0x13, 0x14, 0x21, 0x22, 0x23, 0x24, 0x31, 0x32, 0x33, 0x34, 0, 0, 0, 5, 0, 0, 2, 88,
            0x81, 202, 0, 3, 1, 2, 3, 4, 1, 3, b'c', b'a', b'm', 0, 0, 0,
        ];
        assert_eq!(report.compound("cam")[..], right);
        assert_eq!(report.compound("came").len() % 4, 0);
        assert_eq!(parse(&bye(7)), [Feedback::Bye]);
    }

    #[test]
    fn the_epoch_of_unix_is_that_of_the_rfc_in_ntp_s_seconds() {
        assert_eq!(ntp(0), 2_208_988_800 << 32);
        assert_eq!(ntp(500_000), (2_208_988_800 << 32) | 1 << 31);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
            let _ = parse(&[&[0x81, 205, 0, 200][..], &bytes].concat());
        }
    }
}
