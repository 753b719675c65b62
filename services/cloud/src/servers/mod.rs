//! The media servers: who they are, how loaded they are, what they report.

pub(crate) mod entered;
pub(crate) mod id;
pub(crate) mod inventory;
pub(crate) mod lists;
pub(crate) mod lives;
pub(crate) mod publishing;
pub(crate) mod reports;
