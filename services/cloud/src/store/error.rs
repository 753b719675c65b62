//! What can go wrong with the database.

use crate::data_dir::DataDirError;
use std::path::{Path, PathBuf};

/// The database refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A statement failed.
    #[error("database {}: {source}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What the database reported.
        source: sqlx::Error,
    },
    /// The database is of a version that this program can't bring up to date.
    #[error("database {}: {source}; use the version of sightline that wrote it, or a newer one", path.display())]
    Migration {
        /// The file.
        path: PathBuf,
        /// Which step failed.
        source: sqlx::migrate::MigrateError,
    },
    /// The database is new and the audit log's head beside it is not: the database was lost.
    #[error(
        "database {} is empty, and audit.head beside it tells of {rows} audited operations: the database was lost. Put a backup in its \
         place (`sightline restore`), or remove audit.head to begin without devices",
        path.display()
    )]
    Lost {
        /// The file.
        path: PathBuf,
        /// What the head's file counts.
        rows: i64,
    },
    /// Someone has removed the file while this program had it open.
    #[error(
        "database {} was removed while it was in use: nothing is written any more. Stop, put a backup in its place (`sightline restore`), and start again",
        path.display()
    )]
    Gone {
        /// The file.
        path: PathBuf,
    },
    /// The installation's key can't be read or made.
    #[error(transparent)]
    Key(#[from] DataDirError),
    /// The file can't be made.
    #[error("{}: {source}; check that the data directory exists and belongs to this user", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system reported.
        source: std::io::Error,
    },
}

impl StoreError {
    /// Whether the disk has no room.
    pub(super) fn is_full(&self) -> bool {
        /// `SQLITE_FULL`.
        const FULL: &str = "13";
        let Self::Database { source: sqlx::Error::Database(error), .. } = self else { return false };
        error.code().is_some_and(|code| code == FULL)
    }
}

/// Names the database in an error.
pub(super) trait At<T> {
    fn at(self, path: &Path) -> Result<T, StoreError>;
}

impl<T> At<T> for Result<T, sqlx::Error> {
    fn at(self, path: &Path) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Database { path: path.to_owned(), source })
    }
}
