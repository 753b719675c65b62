//! The audit log's chain and the copy of its head. The rows are in `store/audit.rs`.

pub(crate) mod chain;
pub(crate) mod checkpoints;
pub(crate) mod head_file;
pub(crate) mod refusals;
