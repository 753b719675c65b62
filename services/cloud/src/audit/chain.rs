//! The chain of hashes that makes the audit log append-only.
//!
//! Each row's `hash` is SHA-256 over the previous row's hash and all of its own columns, each behind its length. So a change
//! of any bit of any row breaks the chain at that row. The number of rows and the last hash are kept twice more: in the row
//! `audit_head`, and in the file `audit.head` beside the database. So rows cut off at the end are noticed as well.
//!
//! What it can't show: someone who can write the whole data directory can make a new, consistent log. That one does not hold the signed
//! checkpoints that origins keep (`checkpoints.rs`). A crash
//! between a commit and the file's renewal leaves the file behind the table; that is no fault.

use crate::secrets::hex;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// The hash before the first row.
const HASH_ZERO: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Number of rows and last hash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    pub(crate) count: i64,
    pub(crate) hash: String,
}

impl Head {
    /// Of an empty log.
    pub(crate) fn empty() -> Self {
        Self { count: 0, hash: HASH_ZERO.to_owned() }
    }

    /// The head after one more row.
    pub(crate) fn followed_by(&self, row: &Columns<'_>) -> Self {
        Self { count: self.count + 1, hash: row.hash_after(self.hash.as_bytes()) }
    }

    /// Checks that a stored row follows this head; gives the head after it.
    pub(crate) fn check(&self, row: &StoredRow<'_>) -> Result<Self, Flaw> {
        if row.columns.seq != (self.count + 1).to_string().as_bytes() {
            return Err(Flaw::Missing(self.count + 1));
        }
        if row.prev_hash != self.hash.as_bytes() {
            return Err(Flaw::Unchained);
        }
        let next = self.followed_by(&row.columns);
        if row.hash == next.hash.as_bytes() { Ok(next) } else { Err(Flaw::Changed) }
    }
}

/// The columns of a row that its hash covers, as bytes: a flipped bit may have made a text no text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns<'a> {
    pub(crate) seq: &'a [u8],
    pub(crate) time: &'a [u8],
    pub(crate) actor: &'a [u8],
    pub(crate) action: &'a [u8],
    pub(crate) subject: &'a [u8],
    pub(crate) detail: &'a [u8],
}

impl Columns<'_> {
    /// Each column's length comes before it, so no two rows have the same bytes.
    fn hash_after(&self, prev_hash: &[u8]) -> String {
        let mut sha = Sha256::new().chain_update(prev_hash);
        for column in [self.seq, self.time, self.actor, self.action, self.subject, self.detail] {
            sha.update(u64::try_from(column.len()).unwrap_or(u64::MAX).to_be_bytes());
            sha.update(column);
        }
        hex(&sha.finalize())
    }
}

/// A row as it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredRow<'a> {
    pub(crate) columns: Columns<'a>,
    pub(crate) prev_hash: &'a [u8],
    pub(crate) hash: &'a [u8],
}

/// What is wrong with a row.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Flaw {
    #[error("row {0} is missing")]
    Missing(i64),
    #[error("it does not follow the row before it")]
    Unchained,
    #[error("its contents were changed")]
    Changed,
    #[error("when it was written, rows that were known before it were gone or rewritten: {0}")]
    Gap(String),
    #[error("column {column} can't be read: {problem}")]
    Unreadable { column: usize, problem: String },
}

/// One operation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
pub struct AuditEntry {
    /// Its number, from 1 without a gap.
    pub seq: i64,
    /// Seconds since 1970.
    pub time: i64,
    /// Who: `device:ID`, `operator`, `origin:ID`, `cli`, `system`.
    pub actor: String,
    /// What, as `noun.verb`.
    pub action: String,
    /// To whom.
    pub subject: String,
    /// More, as JSON.
    pub detail: String,
    /// The chain.
    pub hash: String,
}

/// What `audit verify` found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Every row is as it was written.
    Intact {
        /// How many rows.
        rows: i64,
        /// The last row's hash: keep it elsewhere.
        head: String,
    },
    /// A row was changed, or one is missing before it.
    Broken {
        /// The first row that does not fit.
        seq: i64,
        /// What does not fit.
        reason: String,
    },
    /// Rows are missing at the end.
    Truncated {
        /// The rows that are left.
        rows: i64,
        /// The rows that there must be.
        rows_expected: i64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_follows_its_head_and_nothing_else_does() {
        let columns = Columns { seq: b"1", time: b"1764000000", actor: b"cli", action: b"device.add", subject: b"cam", detail: b"{}" };
        let empty = Head::empty();
        let next = empty.followed_by(&columns);
        let row = StoredRow { columns, prev_hash: empty.hash.as_bytes(), hash: next.hash.as_bytes() };
        assert_eq!(empty.check(&row), Ok(next.clone()));
        assert_eq!(next.check(&row), Err(Flaw::Missing(2)));
        assert_eq!(empty.check(&StoredRow { columns: Columns { actor: b"operator", ..columns }, ..row }), Err(Flaw::Changed));
        assert_eq!(empty.check(&StoredRow { prev_hash: next.hash.as_bytes(), ..row }), Err(Flaw::Unchained));
        // Where one column ends and the next begins counts, too.
        let shifted = Columns { actor: b"clid", action: b"evice.add", ..columns };
        assert_ne!(empty.followed_by(&shifted).hash, next.hash);
    }

    /// The chain of existing databases: this hash was written by version 0.1.0.
    #[test]
    fn a_log_of_an_earlier_version_verifies() {
        let columns = Columns { seq: b"1", time: b"1764000000", actor: b"cli", action: b"device.add", subject: b"cam", detail: b"{}" };
        assert_eq!(Head::empty().followed_by(&columns).hash, "8a877399fc44af083285528ed47c345f0800ea4e09a2a7bc6eb8b48a63fe9503");
    }
}
