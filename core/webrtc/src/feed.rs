//! A viewer's place in a track, and the numbers and times that its packets bear.
//!
//! A viewer begins with the last key frame and catches up: the pictures up to now have times just below the newest one's, so that a player
//! shows them as fast as it decodes them and is live at once, instead of as late as the key frame was.
//!
//! A packet's number is never given to another content (see [`crate::srtp`]): a viewer that begins anew, or had to skip, goes on with higher
//! numbers, and what is sent again is what was sent.

use crate::history::{History, Packet};
use crate::rtp::Header;
use std::collections::VecDeque;

/// The time between two pictures while a viewer catches up, in ticks: a millisecond of 90 kHz.
const CATCH_UP_TICKS: i64 = 90;
/// A viewer that is so many packets before a newer key frame skips to it: what lies between would only make it later.
const SKIP_PACKETS: u64 = 64;
/// Beginnings of a viewer that are remembered, for packets before them that are asked for again.
const SPANS_MAX: usize = 4;
/// Pictures whose times were changed and are remembered, for the same: more than a group of pictures has that is not hopeless.
const STAMPS_MAX: usize = 2048;

/// A packet on its way to one viewer.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// What is written before the payload.
    pub header: Header,
    /// The header's number with its rollovers.
    pub index: u64,
    /// The payload.
    pub payload: &'a [u8],
}

/// A run of packets whose numbers lie as far from the history's.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// The viewer's number of its first packet.
    index: u64,
    /// The history's number of it.
    number: u64,
}

/// A viewer's place in a track.
#[derive(Debug)]
pub struct Feed {
    ssrc: u32,
    payload_type: u8,
    /// Added to all times of the track.
    ticks_offset: u32,
    spans: VecDeque<Span>,
    /// The number that the viewer's next packet has.
    next_index: u64,
    /// The history's number of the next packet; `None` before the first.
    next: Option<u64>,
    /// It has what there is.
    is_live: bool,
    /// Times that are not their pictures' own, by the viewer's number of the picture's first packet.
    stamps: VecDeque<(u64, Option<i64>)>,
    /// From here on every picture's time is remembered.
    stamped_from: u64,
    last_ticks: Option<i64>,
    packets: u32,
    bytes: u32,
}

impl Feed {
    /// Of a sender. `seed` decides where numbers and times begin.
    #[must_use]
    pub fn new(ssrc: u32, payload_type: u8, seed: u64) -> Self {
        // Below half of the range: a receiver that misses the first packets does not take a rollover for none (RFC 3711 §3.3.1).
        let first = seed & 0x7fff;
        Self {
            ssrc,
            payload_type,
            ticks_offset: (seed >> 32) as u32,
            spans: VecDeque::new(),
            next_index: first,
            next: None,
            is_live: false,
            stamps: VecDeque::new(),
            stamped_from: first,
            last_ticks: None,
            packets: 0,
            bytes: 0,
        }
    }

    /// Who sends.
    #[must_use]
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Packets sent and their payloads' bytes, as reports count them.
    #[must_use]
    pub fn sent(&self) -> (u32, u32) {
        (self.packets, self.bytes)
    }

    /// Whether it has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.next.is_some()
    }

    /// A moment of the track as a packet would bear it.
    #[must_use]
    pub fn timestamp(&self, ticks: i64) -> u32 {
        // The low half: times go round.
        (ticks as u32).wrapping_add(self.ticks_offset)
    }

    /// Begins at the last key frame, the first time or anew. Without one it waits for the next.
    pub fn begin_at_start(&mut self, history: &History) {
        self.begin(history.last_start());
    }

    /// Begins with what comes next.
    pub fn begin_at_head(&mut self, history: &History) {
        self.begin(Some(history.head()));
    }

    fn begin(&mut self, at: Option<u64>) {
        self.next = at;
        self.is_live = false;
        if let Some(number) = at {
            self.spans.push_back(Span { index: self.next_index, number });
            if self.spans.len() > SPANS_MAX {
                self.spans.pop_front();
            }
        }
    }

    /// The length of the next packet's payload; `None` where there is none yet. One that is behind what is kept begins anew.
    pub fn peek(&mut self, history: &History) -> Option<usize> {
        if self.next.is_none_or(|next| next < history.head() && history.get(next).is_none()) {
            self.begin_at_start(history);
        }
        let is_far = history.last_start().is_some_and(|start| self.next.is_some_and(|next| next + SKIP_PACKETS <= start));
        if is_far && self.next.and_then(|next| history.get(next)).is_some_and(|packet| packet.is_first) {
            self.begin_at_start(history);
        }
        let found = history.get(self.next?).map(|packet| packet.payload.len());
        self.is_live |= found.is_none();
        found
    }

    /// The next packet.
    pub fn take<'a>(&mut self, history: &'a History) -> Option<Outgoing<'a>> {
        self.peek(history)?;
        let number = self.next?;
        let packet = history.get(number)?;
        let index = self.next_index;
        if packet.is_first || self.stamps.is_empty() {
            self.stamp(index, packet, history);
        }
        self.next = Some(number + 1);
        self.next_index += 1;
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(u32::try_from(packet.payload.len()).unwrap_or_default());
        Some(self.outgoing(index, packet))
    }

    /// Decides on the time of a picture: its own when the viewer is live.
    fn stamp(&mut self, index: u64, packet: &Packet, history: &History) {
        let newest = history.newest().unwrap_or(packet);
        let behind = i64::try_from(newest.picture - packet.picture).unwrap_or(i64::MAX);
        let least = self.last_ticks.map_or(i64::MIN, |last| last.saturating_add(1));
        let is_own = packet.ticks >= least && (self.is_live || behind == 0);
        let ticks = if is_own { packet.ticks } else { newest.ticks.saturating_sub(behind.saturating_mul(CATCH_UP_TICKS)).max(least) };
        self.is_live |= behind == 0;
        self.last_ticks = Some(ticks);
        // Runs of own times are one entry.
        let stamp = (!is_own).then_some(ticks);
        if stamp.is_none() && self.stamps.back().is_some_and(|(_, before)| before.is_none()) {
            return;
        }
        self.stamps.push_back((index, stamp));
        if self.stamps.len() > STAMPS_MAX {
            self.stamps.pop_front();
            self.stamped_from = self.stamps.front().map_or(index, |(from, _)| *from);
        }
    }

    /// A packet that was sent, by the number in its header, as it was sent.
    #[must_use]
    pub fn resend<'a>(&self, sequence: u16, history: &'a History) -> Option<Outgoing<'a>> {
        // The latest one that has this number and was sent.
        let ago = (self.next_index as u16).wrapping_sub(sequence);
        let ago = if ago == 0 { 1 << 16 } else { u64::from(ago) };
        let index = self.next_index.checked_sub(ago).filter(|index| *index >= self.stamped_from)?;
        let at = self.spans.partition_point(|span| span.index <= index);
        let span = self.spans.get(at.checked_sub(1)?)?;
        let packet = history.get(span.number + (index - span.index))?;
        Some(self.outgoing(index, packet))
    }

    fn outgoing<'a>(&self, index: u64, packet: &'a Packet) -> Outgoing<'a> {
        let at = self.stamps.partition_point(|(from, _)| *from <= index);
        let stamp = at.checked_sub(1).and_then(|at| self.stamps.get(at)).and_then(|(_, stamp)| *stamp);
        let header = Header {
            payload_type: self.payload_type,
            marker: packet.is_last,
            sequence: index as u16,
            timestamp: self.timestamp(stamp.unwrap_or(packet.ticks)),
            ssrc: self.ssrc,
        };
        Outgoing { header, index, payload: &packet.payload }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::Payload;
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn push(history: &mut History, at: i64, packets: usize, is_start: bool) {
        let bytes = |number: usize| Bytes::from(format!("{at} {number}"));
        let payload = |number| Payload { bytes: bytes(number), is_last: number + 1 == packets };
        history.push((0..packets).map(payload).collect(), at * 3600, is_start);
    }

    fn taken(feed: &mut Feed, history: &History) -> Vec<(u16, u32, String)> {
        core::iter::from_fn(|| feed.take(history).map(|out| (out.header, String::from_utf8(out.payload.to_vec()).unwrap())))
            .map(|(header, text)| (header.sequence, header.timestamp, text))
            .collect()
    }

    #[test]
    fn a_viewer_begins_with_the_group_of_pictures_and_is_live_at_its_end() {
        let mut history = History::new(1 << 20);
        (0..50).for_each(|at| push(&mut history, at, 2, at % 25 == 0));
        let mut feed = Feed::new(1, 96, 7);
        let first = taken(&mut feed, &history);
        assert_eq!((first.len(), first[0].0, first[0].2.as_str()), (50, 7, "25 0"));
        assert_eq!(first[49].1, 49 * 3600, "the newest has its own time");
        assert_eq!(first[0].1, 49 * 3600 - 24 * 90, "the others are just before it");
        push(&mut history, 50, 1, true);
        assert_eq!(taken(&mut feed, &history), [(57, 50 * 3600, "50 0".to_owned())]);
    }

    #[test]
    fn what_is_sent_again_is_what_was_sent() {
        let mut history = History::new(1 << 20);
        (0..20).for_each(|at| push(&mut history, at, 2, at == 0));
        let mut feed = Feed::new(1, 96, 65_530 & 0x7fff);
        let sent = taken(&mut feed, &history);
        for (sequence, timestamp, text) in sent {
            let again = feed.resend(sequence, &history).unwrap();
            assert_eq!((again.header.timestamp, again.payload), (timestamp, text.as_bytes()));
        }
        assert!(feed.resend(0, &history).is_none(), "never sent");
    }

    #[test]
    fn a_viewer_that_needs_a_key_frame_begins_anew_and_its_time_goes_on() {
        let mut history = History::new(1 << 20);
        (0..10).for_each(|at| push(&mut history, at, 1, at == 0));
        let mut feed = Feed::new(1, 96, 0);
        let first = taken(&mut feed, &history);
        feed.begin_at_start(&history);
        let second = taken(&mut feed, &history);
        assert_eq!((second[0].0, second[0].2.as_str(), second.len()), (10, "0 0", 10));
        assert!(second.iter().all(|packet| packet.1 > first[9].1), "never back");
        push(&mut history, 10, 1, false);
        assert_eq!(taken(&mut feed, &history)[0].1, 36_000);
        assert_eq!(feed.resend(3, &history).unwrap().header.timestamp, first[3].1);
        assert_eq!(feed.resend(13, &history).unwrap().header.timestamp, second[3].1);
    }

    proptest! {
        /// The nonce of a packet hangs on its number: the same number with other bytes would give the key away.
        #[test]
        fn no_number_ever_has_two_contents_and_times_never_go_back(
            seed: u64,
            steps in prop::collection::vec((0_u8..6, any::<u16>()), 1..300),
        ) {
            let (mut history, mut feed) = (History::new(4000), Feed::new(1, 96, seed));
            let mut seen: HashMap<u64, (Header, Vec<u8>)> = HashMap::new();
            let (mut at, mut last) = (0, None::<u32>);
            for (step, value) in steps {
                match step {
                    0..=2 => {
                        push(&mut history, at, usize::from(value % 5) + 1, value % 7 == 0);
                        at += 1;
                    }
                    3 => {
                        for _ in 0..value % 9 {
                            let Some(out) = feed.take(&history) else { break };
                            prop_assert_eq!(out.index as u16, out.header.sequence);
                            prop_assert!(seen.insert(out.index, (out.header, out.payload.to_vec())).is_none());
                            prop_assert!(last.is_none_or(|last| out.header.timestamp.wrapping_sub(last) < 1 << 31));
                            last = Some(out.header.timestamp);
                        }
                    }
                    4 => {
                        if let Some(out) = feed.resend((feed.next_index as u16).wrapping_sub(value % 40), &history) {
                            prop_assert_eq!(seen.get(&out.index), Some(&(out.header, out.payload.to_vec())));
                        }
                    }
                    _ => feed.begin_at_start(&history),
                }
            }
        }
    }
}
