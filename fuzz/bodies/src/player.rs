//! The playing session against a server of any kind.

use crate::cursor::{Cursor, sizes};
use crate::script::Peer;
use sightline_rtmp::Cause;
use sightline_rtmp::player::{Event, Output, Session};

fn feed(session: &mut Session, bytes: &[u8], mut size: impl FnMut() -> usize) -> (Vec<Event>, Option<Cause>) {
    let (mut events, mut rest) = (vec![], bytes);
    loop {
        let (piece, later) = rest.split_at(size().clamp(1, rest.len().max(1)).min(rest.len()));
        rest = later;
        let failed = session.handle_bytes(piece).err().map(|error| error.cause);
        loop {
            match session.poll_output() {
                Output::Transmit(_) => {}
                Output::Event(event) => events.push(event),
                Output::Idle => break,
            }
        }
        if failed.is_some() || rest.is_empty() {
            return (events, failed);
        }
    }
}

/// First byte: whether the handshake is done; second: how each piece is cut; then instructions.
pub fn run(data: &[u8]) {
    let mut cursor = Cursor::new(data);
    let (mode, cut) = (cursor.u8(), cursor.u8());
    // The handshake is many bytes that say little: with this bit alone it is gone through.
    let is_opened = mode & 0x20 == 0;
    let play = || if is_opened { Session::opened("rtmp://h/live", "cam") } else { Session::play("rtmp://h/live", "cam", 1) };
    let (mut whole, mut split) = (play(), play());
    let mut cuts = sizes(cut);
    let mut peer = Peer::new();
    if !is_opened && mode & 1 == 0 {
        peer.put_opening(mode, 2);
    }
    while !cursor.is_empty() {
        peer.step(&mut cursor);
        let wire = std::mem::take(&mut peer.wire);
        let (events, failed) = feed(&mut whole, &wire, || usize::MAX);
        let (split_events, split_failed) = feed(&mut split, &wire, &mut cuts);
        if [failed, split_failed].contains(&Some(Cause::Unread)) {
            return;
        }
        assert_eq!((&events, failed), (&split_events, split_failed));
        let again = events.windows(2).find(|pair| pair[0] == pair[1] && matches!(pair[0], Event::Track(_) | Event::Remark { .. }));
        assert!(again.is_none(), "it is said twice: {again:?}");
        crate::served::words_of(&events);
        if failed.is_some() {
            return;
        }
    }
}
