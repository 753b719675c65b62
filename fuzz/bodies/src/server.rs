//! The server session over any bytes, from any of its states: before the handshake, after it, as a publisher's, as a player's.

use crate::cursor::{Cursor, sizes};
use crate::script::Peer;
use crate::served::{Served, agree};
use sightline_media::Instant;

/// First byte: how far the session is; second: how the input is cut; the rest is what the peer sends.
pub fn run(data: &[u8]) {
    let mut cursor = Cursor::new(data);
    let (state, cut) = (cursor.u8(), cursor.u8());
    let mut peer = Peer::new();
    if !state.is_multiple_of(4) {
        peer.put_opening(state, 2);
    }
    if state % 4 >= 2 {
        // connect, createStream, then publish or play, each as an instruction of the script.
        for instruction in [[0, 0, 0, 0], [1, 0, 0, 0], [state % 4, 0, 0, 0]] {
            peer.step(&mut Cursor::new(&instruction));
        }
    }
    let (mut whole, mut split) = (Served::new(Instant::ZERO), Served::new(Instant::ZERO));
    for served in [&mut whole, &mut split] {
        served.feed(&peer.wire, || usize::MAX);
        assert_eq!(served.failed, None);
        assert_eq!((served.session.is_publishing(), served.session.is_playing()), (state % 4 == 2, state % 4 == 3));
    }
    let bytes = cursor.rest();
    whole.feed(bytes, || usize::MAX);
    split.feed(bytes, sizes(cut));
    agree(&mut whole, &mut split);
    // Reading takes as long as all that was sent took to make.
    if cut & 1 == 0 { whole.check_sent() } else { split.check_sent() }
}
