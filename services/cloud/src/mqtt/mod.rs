//! MQTT: what devices publish, what the cloud publishes to them, and the bus between.

pub(crate) mod builtin;
pub(crate) mod bus;
pub(crate) mod downlink;
pub(crate) mod uplink;
