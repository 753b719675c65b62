//! The devices: who they are, whether they are there, what they shall be set to and do.

pub(crate) mod commands;
pub(crate) mod on_demand;
pub(crate) mod presence;
pub(crate) mod registry;
pub(crate) mod renewals;
pub(crate) mod results;
pub(crate) mod revocation;
pub(crate) mod settings;
