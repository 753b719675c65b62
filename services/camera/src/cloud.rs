//! The connections of a device: MQTT to the broker, and the link to a media server.

pub(crate) mod https;
pub(crate) mod link;
pub(crate) mod mqtt;
pub(crate) mod outbox;
pub(crate) mod renewal;
pub(crate) mod tcp;
