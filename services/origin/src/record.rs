//! Recordings of streams.

pub(crate) mod health;
pub(crate) mod room;
pub(crate) mod tap;
