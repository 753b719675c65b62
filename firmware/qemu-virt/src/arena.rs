//! All that the camera's side has for itself, and its limits: `docs/design/0004-memory-on-the-chip.md`.

use core::cell::RefCell;
use sightline_pusher::{Config, Pusher};
use sightline_signal::Quality;
use static_cell::StaticCell;

use crate::mqtt::{MESSAGE_IN_BYTES_MAX, Outgoing};

/// What the specification's 12 to 24 KB are about: the pusher with its session and its queue, one message to the broker, and the memory in
/// which MQTT reads. `QUEUE` frames may wait for the link, by reference.
pub(crate) struct Arena<const QUEUE: usize> {
    pub(crate) brain: RefCell<Pusher<&'static [u8], QUEUE>>,
    pub(crate) outgoing: RefCell<Outgoing>,
    pub(crate) message: [u8; MESSAGE_IN_BYTES_MAX],
}

/// Frames that may wait for the link: a second of the preset's, which is more than a chip's encoder has buffers.
const fn queue_frames(preset: Quality) -> usize {
    match preset.settings() {
        Some(settings) => settings.fps as usize,
        None => 0,
    }
}

/// An image that streams `ultra` streams the others too: this one's queue is the longest.
pub(crate) const QUEUE_FRAMES: usize = queue_frames(Quality::Ultra);

const KIB: usize = 1024;
const _: () = assert!(size_of::<Arena<{ queue_frames(Quality::Low) }>>() <= 12 * KIB, "the arena of low is larger than 12 KB");
const _: () = assert!(size_of::<Arena<{ queue_frames(Quality::Medium) }>>() <= 16 * KIB, "the arena of medium is larger than 16 KB");
const _: () = assert!(size_of::<Arena<{ queue_frames(Quality::High) }>>() <= 20 * KIB, "the arena of high is larger than 20 KB");
const _: () = assert!(size_of::<Arena<{ queue_frames(Quality::Ultra) }>>() <= 24 * KIB, "the arena of ultra is larger than 24 KB");

static ARENA: StaticCell<Arena<QUEUE_FRAMES>> = StaticCell::new();

/// The one arena. In a function of its own: what is made on the stack on its way there is gone afterwards.
#[inline(never)]
pub(crate) fn prepare(config: Config, seed: u64) -> &'static mut Arena<QUEUE_FRAMES> {
    ARENA.uninit().write(Arena {
        brain: RefCell::new(Pusher::new(config, seed)),
        outgoing: RefCell::new(Outgoing::default()),
        message: [0; MESSAGE_IN_BYTES_MAX],
    })
}
