//! Where a device shall stream.

pub(crate) mod allocator;
mod answer;
mod refusal;
