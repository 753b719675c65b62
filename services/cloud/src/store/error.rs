//! What can go wrong with the database.

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
    /// The file can't be made.
    #[error("{}: {source}; check that the data directory exists and belongs to this user", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system reported.
        source: std::io::Error,
    },
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
