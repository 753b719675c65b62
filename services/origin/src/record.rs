//! Recordings of streams.

pub(crate) mod health;
pub(crate) mod holds;
pub(crate) mod keeping;
pub(crate) mod names;
pub(crate) mod room;
pub(crate) mod syncing;
pub(crate) mod tap;
