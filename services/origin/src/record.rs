//! Recordings of streams.

pub(crate) mod health;
pub(crate) mod tap;
