//! The server session against a peer that knows the protocol: deep states, in any order.

use crate::cursor::{Cursor, sizes};
use crate::script::{Peer, Step};
use crate::served::{Served, agree};
use sightline_media::Instant;

/// First byte: the handshake; second: how each piece is cut; then instructions.
pub fn run(data: &[u8]) {
    let mut cursor = Cursor::new(data);
    let (opening, cut) = (cursor.u8(), cursor.u8());
    let mut peer = Peer::new();
    // The handshake is many bytes that say little: with this bit alone it is gone through.
    let begin = if opening & 0x20 == 0 { Served::opened } else { Served::new };
    if opening & 0x20 != 0 {
        peer.put_opening(opening, 2);
    }
    let (mut whole, mut split) = (begin(Instant::ZERO), begin(Instant::ZERO));
    let mut cuts = sizes(cut);
    while !cursor.is_empty() && whole.failed.is_none() {
        let step = peer.step(&mut cursor);
        // What is held back arrives together with the next.
        if matches!(step, Step::Wire) && cursor.u8() & 3 == 3 && !cursor.is_empty() {
            continue;
        }
        let wire = std::mem::take(&mut peer.wire);
        whole.feed(&wire, || usize::MAX);
        split.feed(&wire, &mut cuts);
        for served in [&mut whole, &mut split] {
            match step {
                Step::Wire => {}
                Step::Pass(time) => served.pass(time),
                Step::Act(0..64) => served.session.end_publish("NetStream.Publish.BadName", "a newer publisher took over"),
                Step::Act(64..128) => served.session.end_play(),
                Step::Act(128..224) => served.accepts = !served.accepts,
                Step::Act(224..240) => {
                    let _ = served.session.request_reconnect(None, "the server goes");
                }
                Step::Act(240..) => served.session.handle_end(),
            }
            served.drain();
        }
        if !agree(&mut whole, &mut split) {
            break;
        }
    }
    // Reading takes as long as all that was sent took to make.
    if cut & 1 == 0 { whole.check_sent() } else { split.check_sent() }
}
