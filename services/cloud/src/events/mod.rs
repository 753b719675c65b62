//! What happened: device connections, streams, servers.

pub(crate) mod kind;
pub(crate) mod log;
pub(crate) mod status;
