//! The copy of the log's head beside the database.

use super::chain::Head;
use crate::data_dir::{Durability, MODE_SECRET, write_with};
use std::path::Path;

/// Writes the copy, after the commit. The database is synced, so this need not be: a copy that a power cut has left behind is no fault.
pub(crate) fn save(path: &Path, head: &Head) {
    if let Err(error) = write_with(path, &format!("{} {}\n", head.count, head.hash), MODE_SECRET, Durability::System) {
        tracing::warn!(%error, "the copy of the audit log's head was not written");
    }
}

/// Reads the copy; `None` if there is none.
pub(crate) fn load(path: &Path) -> Option<Head> {
    let text = std::fs::read_to_string(path).ok()?;
    let (count, hash) = text.trim().split_once(' ')?;
    Some(Head { count: count.parse().ok()?, hash: hash.to_owned() })
}
