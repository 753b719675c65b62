//! Aggregate (§7.1.6): several messages in one, each with an FLV tag's header before it and its size behind it.

use super::type_id;
use crate::wire::Fields;

/// One message of an aggregate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Part<'a> {
    pub(crate) type_id: u8,
    /// On the stream's clock.
    pub(crate) timestamp: u32,
    pub(crate) body: &'a [u8],
}

/// The parts, in order; ends at the first that is cut off.
#[derive(Clone, Debug)]
pub(crate) struct Parts<'a> {
    fields: Fields<'a>,
    timestamp: u32,
    /// What is added to the parts' own times: the aggregate's timestamp is that of the first part.
    offset: Option<u32>,
}

/// The parts of an aggregate of this timestamp.
pub(crate) const fn parts(timestamp: u32, body: &[u8]) -> Parts<'_> {
    Parts { fields: Fields::new(body), timestamp, offset: None }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let type_id = self.fields.u8()?;
        let length = usize::try_from(self.fields.u24()?).ok()?;
        let (low, high) = (self.fields.u24()?, self.fields.u8()?);
        // The part's stream id is ignored: it belongs to the aggregate's stream.
        self.fields.u24()?;
        let body = self.fields.take(length)?;
        // The size behind it repeats the length; some senders leave the last out.
        self.fields.u32();
        let own = low | (u32::from(high) << 24);
        let offset = *self.offset.get_or_insert(self.timestamp.wrapping_sub(own));
        // An aggregate in an aggregate has no meaning.
        (type_id != type_id::AGGREGATE).then_some(Part { type_id, timestamp: own.wrapping_add(offset), body })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::vec::Vec;

    pub(crate) fn part(type_id: u8, timestamp: u32, body: &[u8]) -> Vec<u8> {
        let [high, t2, t1, t0] = timestamp.to_be_bytes();
        let length = u32::try_from(body.len()).unwrap();
        let mut bytes = [&[type_id][..], &crate::wire::u24(length), &[t2, t1, t0, high, 0, 0, 0], body].concat();
        bytes.extend_from_slice(&(length + 11).to_be_bytes());
        bytes
    }

    #[test]
    fn the_parts_times_are_moved_to_the_aggregates() {
        let bytes = [part(8, 0x0100_0000, b"a"), part(9, 0x0100_0028, b"video"), part(8, 0x0100_0017, b"")].concat();
        let read: Vec<_> = parts(5000, &bytes).map(|part| (part.type_id, part.timestamp, part.body)).collect();
        assert_eq!(read, [(8, 5000, &b"a"[..]), (9, 5040, b"video"), (8, 5023, b"")]);
    }

    #[test]
    fn times_go_back_past_zero_and_a_cut_part_ends_it() {
        let bytes = [part(8, 100, b"a"), part(8, 60, b"b")].concat();
        assert_eq!(parts(10, &bytes).map(|part| part.timestamp).collect::<Vec<_>>(), [10, 10_u32.wrapping_sub(40)]);
        for end in 0..bytes.len() {
            assert!(parts(10, &bytes[..end]).count() <= 2);
        }
        assert_eq!(parts(0, &part(22, 0, b"x")).count(), 0, "none within another");
    }
}
