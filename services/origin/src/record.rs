//! Recordings of streams.

pub(crate) mod tap;
