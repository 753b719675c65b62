//! From a stream to a relay: a queue that never holds the stream up.

use super::state::RelayState;
use crate::live::packet::Packet;
use crate::live::stream::Stream;
use crate::live::tap::{Next, Tap};
use sightline_media::{Instant, TrackId};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc;

/// Frames that may wait for a target: ten seconds of pictures and sound.
const PACKETS_MAX: usize = 1024;
/// The bytes of them: ten seconds at 12 Mbit/s.
const BYTES_MAX: usize = 16 << 20;

/// What comes next.
pub(super) enum Received {
    Packet(Arc<Packet>),
    /// The stream is over.
    Over,
}

/// The relay's end.
pub(super) struct Feed {
    packets: mpsc::Receiver<Arc<Packet>>,
    waiting_bytes: Arc<AtomicUsize>,
}

impl Feed {
    /// From the stream's last key frame on.
    pub(super) fn attach(stream: &Stream, state: &Arc<RelayState>, now: Instant) -> Self {
        let (queue, packets) = mpsc::channel(PACKETS_MAX);
        let waiting_bytes = Arc::<AtomicUsize>::default();
        stream.attach(Box::new(Intake { queue, waiting_bytes: waiting_bytes.clone(), state: state.clone(), awaits_key: true }), now);
        Self { packets, waiting_bytes }
    }

    pub(super) async fn next(&mut self) -> Received {
        match self.packets.recv().await {
            Some(packet) => {
                self.waiting_bytes.fetch_sub(packet.frame.payload.len(), Ordering::Relaxed);
                Received::Packet(packet)
            }
            None => Received::Over,
        }
    }
}

/// The stream's end.
struct Intake {
    queue: mpsc::Sender<Arc<Packet>>,
    waiting_bytes: Arc<AtomicUsize>,
    state: Arc<RelayState>,
    /// Nothing is sent before a key frame: at the beginning, and where something was left out.
    awaits_key: bool,
}

impl Tap for Intake {
    fn handle_packet(&mut self, packet: &Arc<Packet>, _: Instant) -> Next {
        if self.queue.is_closed() {
            return Next::Leave;
        }
        let has_pictures = packet.config.tracks.iter().any(|track| track.id == TrackId::VIDEO);
        let is_start = packet.frame.is_keyframe && (packet.frame.track == TrackId::VIDEO || !has_pictures);
        if self.awaits_key && !is_start {
            return Next::Stay;
        }
        let bytes = packet.frame.payload.len();
        let has_room = self.waiting_bytes.load(Ordering::Relaxed) + bytes <= BYTES_MAX;
        self.awaits_key = !has_room || self.queue.try_send(packet.clone()).is_err();
        if self.awaits_key {
            self.state.lose_frame();
        } else {
            self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        Next::Stay
    }

    fn handle_takeover(&mut self) {
        self.awaits_key = true;
    }
}
