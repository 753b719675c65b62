//! A track's last packets, shared by all its viewers: each has a place in it ([`crate::Feed`]), and what one lost is sent again from it.

use crate::rtp::Payload;
use bytes::Bytes;
use std::collections::VecDeque;

/// Packets that are kept for who lost one: a second of a stream of 10 Mbit/s. Later than that a player does not ask any more.
pub const RESEND_PACKETS: usize = 1024;
/// What keeping a packet costs beside its bytes.
const PACKET_OVERHEAD_BYTES: usize = 64;

/// A packet, as all viewers share it.
#[derive(Clone, Debug)]
pub struct Packet {
    /// What is behind the header.
    pub payload: Bytes,
    /// When its picture is shown, in ticks of the track's clock.
    pub ticks: i64,
    /// The number of its picture.
    pub picture: u64,
    /// The last of its picture.
    pub is_last: bool,
    /// The first of its picture.
    pub is_first: bool,
}

/// The last packets of a track.
#[derive(Debug)]
pub struct History {
    packets: VecDeque<Packet>,
    /// The number of `packets`' first.
    base: u64,
    bytes: usize,
    bytes_max: usize,
    /// The number of the last packet that a viewer can begin with.
    last_start: Option<u64>,
    /// Bytes since then, and when that was.
    start_bytes: u64,
    start_ticks: i64,
    pictures: u64,
}

impl History {
    /// Keeps the packets since the last that a viewer can begin with, as long as they cost no more than `bytes_max`.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { packets: VecDeque::new(), base: 0, bytes: 0, bytes_max, last_start: None, start_bytes: 0, start_ticks: 0, pictures: 0 }
    }

    /// Adds a picture, or a frame of sound.
    pub fn push(&mut self, payloads: Vec<Payload>, ticks: i64, is_start: bool) {
        if payloads.is_empty() {
            return;
        }
        if is_start {
            (self.last_start, self.start_bytes, self.start_ticks) = (Some(self.head()), 0, ticks);
        }
        self.pictures += 1;
        for (at, Payload { bytes, is_last }) in payloads.into_iter().enumerate() {
            self.bytes += bytes.len() + PACKET_OVERHEAD_BYTES;
            self.start_bytes += bytes.len() as u64;
            self.packets.push_back(Packet { payload: bytes, ticks, picture: self.pictures, is_last, is_first: at == 0 });
        }
        self.trim();
    }

    fn trim(&mut self) {
        // A group of pictures without end: new viewers wait for the next key frame.
        if self.bytes > self.bytes_max {
            self.last_start = None;
        }
        while self.packets.len() > RESEND_PACKETS && self.last_start.is_none_or(|start| self.base < start) {
            if let Some(packet) = self.packets.pop_front() {
                self.bytes -= packet.payload.len() + PACKET_OVERHEAD_BYTES;
                self.base += 1;
            }
        }
    }

    /// The number that the next packet will have.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.base + self.packets.len() as u64
    }

    /// Where a viewer begins.
    #[must_use]
    pub fn last_start(&self) -> Option<u64> {
        self.last_start
    }

    /// A packet, if it is still here.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&Packet> {
        usize::try_from(number.checked_sub(self.base)?).ok().and_then(|at| self.packets.get(at))
    }

    /// The newest packet.
    #[must_use]
    pub fn newest(&self) -> Option<&Packet> {
        self.packets.back()
    }

    /// Bytes and ticks since the last start: what the track takes on average.
    #[must_use]
    pub fn since_start(&self) -> Option<(u64, i64)> {
        self.last_start?;
        Some((self.start_bytes, self.newest()?.ticks - self.start_ticks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(history: &mut History, at: i64, packets: usize, is_start: bool) {
        let payload = |number| Payload { bytes: Bytes::from_static(&[0; 100]), is_last: number + 1 == packets };
        history.push((0..packets).map(payload).collect(), at, is_start);
    }

    #[test]
    fn packets_since_the_last_key_frame_are_kept_and_a_second_of_those_before() {
        let mut history = History::new(1 << 20);
        (0..2000).for_each(|at| push(&mut history, at, 1, at % 1500 == 0));
        assert_eq!((history.head(), history.last_start()), (2000, Some(1500)));
        assert!(history.get(1500).is_some() && history.get(976).is_some() && history.get(975).is_none());
        (2000..4000).for_each(|at| push(&mut history, at, 1, false));
        assert_eq!(history.last_start(), Some(1500));
        assert_eq!(history.since_start(), Some((250_000, 2499)));
    }

    #[test]
    fn a_group_of_pictures_without_end_does_not_fill_the_memory() {
        let mut history = History::new(1 << 20);
        push(&mut history, 0, 1, true);
        (1..20_000).for_each(|at| push(&mut history, at, 1, false));
        assert!(history.last_start().is_none() && history.packets.len() <= 2 * RESEND_PACKETS);
        push(&mut history, 20_000, 3, true);
        assert_eq!(history.last_start(), Some(20_000));
    }
}
