//! What is kept of the stream on the device: the recorder, the pre-roll of an event, and the backlog of a stream that begins in the past.

pub(crate) mod backlog;
pub(crate) mod preroll;
pub(crate) mod recorder;
