//! A frame in the ring.

use crate::live::captured::Captured;
use bytes::Bytes;
use sightline_media::{Frame, StreamConfig, WallTime};
use std::sync::{Arc, OnceLock};

/// Serialised forms that a packet can keep: two wires, each with a frame and the headers before it.
const FORMS_MAX: usize = 4;

/// A frame with the stream's own time, the configuration that it belongs to, and its serialised forms.
///
/// The forms are made by `wire/`, outside of all locks, when the first viewer needs one, and then shared by all. What they are is not
/// known here.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) frame: Frame<Bytes>,
    pub(crate) config: Arc<StreamConfig>,
    /// When it was captured.
    pub(crate) captured: Captured,
    /// Whose it is: how many publishers the stream has had.
    pub(crate) publisher: u64,
    forms: [OnceLock<Bytes>; FORMS_MAX],
}

impl Packet {
    pub(crate) fn new(frame: Frame<Bytes>, config: Arc<StreamConfig>) -> Self {
        Self { frame, config, captured: Captured::on_arrival(WallTime::default()), publisher: 0, forms: Default::default() }
    }

    /// The same with the time when it was captured.
    pub(crate) fn captured(self, captured: Captured) -> Self {
        Self { captured, ..self }
    }

    /// The same with the number of its publisher.
    pub(crate) fn of_publisher(self, publisher: u64) -> Self {
        Self { publisher, ..self }
    }

    /// A serialised form, by the number that its maker gave it; `make` runs at most once.
    pub(crate) fn form(&self, number: usize, make: impl FnOnce() -> Bytes) -> Bytes {
        match self.forms.get(number) {
            Some(form) => form.get_or_init(make).clone(),
            None => make(),
        }
    }
}
