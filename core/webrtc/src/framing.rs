//! Datagrams on a TCP connection (RFC 4571, for ICE RFC 6544): a length of two bytes before each.

use bytes::{Buf as _, Bytes, BytesMut};

/// Bytes of the length.
pub const LENGTH_BYTES: usize = 2;

/// Takes datagrams out of what has come; what is not whole yet waits.
#[derive(Debug, Default)]
pub struct Deframer(BytesMut);

impl Deframer {
    /// Bytes came.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Bytes that are no whole datagram yet.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.0.len()
    }

    /// The next datagram that is whole. What waits is never longer than one datagram and what came with its end.
    pub fn poll_datagram(&mut self) -> Option<Bytes> {
        let (length, rest) = self.0.split_first_chunk::<LENGTH_BYTES>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        if rest.len() < length {
            return None;
        }
        self.0.advance(LENGTH_BYTES);
        Some(self.0.split_to(length).freeze())
    }
}

/// A datagram behind its length; `None` when it is too long.
#[must_use]
pub fn frame(datagram: &[u8]) -> Option<Bytes> {
    let length = u16::try_from(datagram.len()).ok()?;
    let mut out = BytesMut::with_capacity(LENGTH_BYTES + datagram.len());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(datagram);
    Some(out.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn datagrams_come_out_as_they_went_in_wherever_the_bytes_are_cut(datagrams: Vec<Vec<u8>>, sizes: Vec<u8>) {
            let bytes: Vec<u8> = datagrams.iter().flat_map(|datagram| frame(datagram).unwrap()).collect();
            let (mut deframer, mut out, mut rest, mut sizes) = (Deframer::default(), Vec::new(), &bytes[..], sizes.into_iter().cycle());
            while !rest.is_empty() {
                let size = usize::from(sizes.next().unwrap_or(9)).clamp(1, rest.len());
                deframer.handle_bytes(&rest[..size]);
                rest = &rest[size..];
                while let Some(datagram) = deframer.poll_datagram() {
                    out.push(datagram.to_vec());
                }
            }
            proptest::prop_assert_eq!(out, datagrams);
        }
    }
}
