//! All that the camera's side has for itself, and its limits: `docs/design/0004-memory-on-the-chip.md`.

use crate::{
    Lent, Settings,
    mqtt::{Outgoing, Packets},
};
use core::cell::RefCell;
use sightline_pusher::Pusher;
use sightline_signal::Quality;
use static_cell::StaticCell;

/// The camera's brain, over frames that are lent.
pub type Brain<P> = Pusher<P, QUEUE_FRAMES>;

/// What the specification's 12 to 24 KB are about: the pusher with its session and its queue, one message to the broker, and the packets
/// that MQTT reads and writes. `QUEUE` frames may wait for the link, by reference.
pub struct Arena<P, const QUEUE: usize = QUEUE_FRAMES> {
    pub(crate) brain: RefCell<Pusher<P, QUEUE>>,
    pub(crate) outgoing: RefCell<Outgoing>,
    pub(crate) packets: Packets,
}

/// Frames that may wait for the link: a second of the preset's, which is more than a chip's encoder has buffers.
const fn queue_frames(preset: Quality) -> usize {
    match preset.settings() {
        Some(settings) => settings.fps as usize,
        None => 0,
    }
}

/// An image that streams `ultra` streams the others too: its queue is the longest.
pub const QUEUE_FRAMES: usize = queue_frames(Quality::Ultra);

const KIB: usize = 1024;

/// What a preset's arena takes on this machine, and the most that the specification gives it; in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Footprint {
    /// The preset's name.
    pub preset: &'static str,
    /// With a queue of its own length.
    pub bytes: usize,
    /// 12, 16, 20, 24 KB.
    pub limit_bytes: usize,
}

/// Of each preset.
pub const FOOTPRINTS: [Footprint; 4] = [
    Footprint { preset: "low", bytes: arena_bytes::<{ queue_frames(Quality::Low) }>(), limit_bytes: 12 * KIB },
    Footprint { preset: "medium", bytes: arena_bytes::<{ queue_frames(Quality::Medium) }>(), limit_bytes: 16 * KIB },
    Footprint { preset: "high", bytes: arena_bytes::<{ queue_frames(Quality::High) }>(), limit_bytes: 20 * KIB },
    Footprint { preset: "ultra", bytes: arena_bytes::<{ queue_frames(Quality::Ultra) }>(), limit_bytes: 24 * KIB },
];

const fn arena_bytes<const QUEUE: usize>() -> usize {
    size_of::<Arena<Lent, QUEUE>>()
}

/// The limits are the chip's, which has 32 bits.
#[cfg(target_pointer_width = "32")]
const _: () = {
    let [low, medium, high, ultra] = FOOTPRINTS;
    assert!(low.bytes <= low.limit_bytes, "the arena of low is larger than 12 KB");
    assert!(medium.bytes <= medium.limit_bytes, "the arena of medium is larger than 16 KB");
    assert!(high.bytes <= high.limit_bytes, "the arena of high is larger than 20 KB");
    assert!(ultra.bytes <= ultra.limit_bytes, "the arena of ultra is larger than 24 KB");
};

impl<P: AsRef<[u8]>> Arena<P> {
    /// The one arena, in its static. In a function of its own: what is made on the stack on its way there is gone afterwards.
    #[inline(never)]
    pub fn prepare(place: &'static StaticCell<Self>, settings: &Settings, seed: u64) -> &'static mut Self {
        place.uninit().write(Self {
            brain: RefCell::new(Pusher::new(settings.config(), seed)),
            outgoing: RefCell::new(Outgoing::default()),
            packets: Packets::NONE,
        })
    }
}
