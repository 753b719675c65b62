//! Bytes that say nothing, to see what a link carries before there is a stream.
//!
//! They are `_checkbw` commands that ask for no answer, with a string: Flash Media Live Encoder sends that command, Adobe's servers know it,
//! and RTMP 1.0, section 7.2.1, has a server pass over a command that it does not know.

/// A message's body, in bytes: a chunk of its own for any chunk size that is not smaller.
pub(super) const BODY_BYTES: usize = 1024;
/// With its chunk's header (fmt 0).
const MESSAGE_BYTES: usize = 12 + BODY_BYTES;

static MESSAGE: [u8; MESSAGE_BYTES] = message();

/// A chunk's header: chunk stream 3, time 0, 1,024 bytes, a command, message stream 0; then the name, transaction 0 (no answer), null, and the
/// head of a string that fills the rest.
const PREFIX: &[u8; 36] = b"\x03\0\0\0\0\x04\0\x14\0\0\0\0\x02\0\x08_checkbw\0\0\0\0\0\0\0\0\0\x05\x02\x03\xe8";

const fn message() -> [u8; MESSAGE_BYTES] {
    let mut bytes = [b' '; MESSAGE_BYTES];
    let (prefix, _) = bytes.split_at_mut(PREFIX.len());
    prefix.copy_from_slice(PREFIX);
    bytes
}

/// What is still to be sent.
#[derive(Clone, Copy)]
pub(super) struct Padding {
    messages: u32,
    at: usize,
}

impl Padding {
    pub(super) const fn new() -> Self {
        Self { messages: 0, at: 0 }
    }

    /// At least this many bytes more.
    pub(super) fn add(&mut self, bytes: usize) {
        self.messages = self.messages.saturating_add(u32::try_from(bytes.div_ceil(MESSAGE_BYTES)).unwrap_or(u32::MAX));
    }

    /// True between the first byte of a message and its last.
    pub(super) const fn is_mid_message(self) -> bool {
        self.at > 0
    }

    pub(super) fn pending(self) -> &'static [u8] {
        if self.messages == 0 { &[] } else { MESSAGE.get(self.at..).unwrap_or(&[]) }
    }

    pub(super) fn consumed(&mut self, count: usize) {
        self.at += count;
        if self.at >= MESSAGE_BYTES {
            self.at = 0;
            self.messages = self.messages.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amf0::Value;
    use crate::message::command::Command;

    #[test]
    fn a_message_is_a_command_that_asks_for_no_answer() {
        let (header, body) = MESSAGE.split_at(12);
        assert_eq!(header, [3, 0, 0, 0, 0, 4, 0, 20, 0, 0, 0, 0]);
        let mut command = Command::decode(20, body).unwrap();
        assert_eq!((command.name, command.transaction), ("_checkbw", 0.0));
        assert!(command.arguments.value().unwrap().is_some_and(|value| matches!(value, Value::Null)), "null");
        let Some(Value::Text(text)) = command.arguments.value().unwrap() else { panic!("no string") };
        assert!(text.len() == BODY_BYTES - 24 && text.iter().all(|byte| *byte == b' '));
        assert!(command.arguments.value().unwrap().is_none());
    }
}
