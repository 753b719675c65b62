//! Who may publish: tokens that the cloud signed, and the fence that lets only the newest of them have a stream.

pub(crate) mod duels;
pub(crate) mod edges;
pub(crate) mod fence;
pub(crate) mod grant;
pub(crate) mod keys;
pub(crate) mod policy;
pub(crate) mod rules;
pub(crate) mod viewing;
pub(crate) mod wish;
