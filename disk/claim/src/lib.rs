//! A directory that one process uses at a time.
//!
//! Two clouds on one directory would hand out the same epochs, and two recorders would write into each other's files. The lock is the
//! system's (`flock`): it ends with the process, however that ends, so there is nothing to clean up after a power cut. It is advisory:
//! it keeps our own programs apart, and nobody else out.
#![deny(missing_docs)]

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// The right to use a directory, until it is dropped.
#[derive(Debug)]
pub struct Claim {
    _locked: File,
}

/// Why a directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another process uses it.
    #[error(
        "{} is used by {}; stop it, or take another directory",
        dir.display(),
        by.map_or_else(|| "another process".to_owned(), |by| format!("process {by}"))
    )]
    Used {
        /// The directory.
        dir: PathBuf,
        /// The process's id, where it could be read.
        by: Option<u32>,
    },
    /// The lock's file can't be made.
    #[error("{}: {source}; check that the directory exists and belongs to this user", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What the system reported.
        source: io::Error,
    },
}

impl ClaimError {
    /// Whether it is this process that uses the directory already.
    #[must_use]
    pub fn is_own(&self) -> bool {
        matches!(self, Self::Used { by: Some(by), .. } if *by == std::process::id())
    }
}

impl Claim {
    /// Claims `dir`, which must exist, for this process in one `role`: different roles may share a directory. The lock is the file
    /// `{role}.lock` in it, which holds the process's id.
    ///
    /// # Errors
    /// [`ClaimError`]
    pub fn take(dir: &Path, role: &str) -> Result<Self, ClaimError> {
        let file = dir.join(format!("{role}.lock"));
        Self::lock(&file).map_err(|problem| match problem {
            TryLockError::WouldBlock => ClaimError::Used { dir: dir.to_owned(), by: holder(&file) },
            TryLockError::Error(source) => ClaimError::File { file, source },
        })
    }

    fn lock(file: &Path) -> Result<Self, TryLockError> {
        // Not truncated: until it is locked, it holds another process's id.
        let mut locked = fs::OpenOptions::new().write(true).create(true).truncate(false).open(file).map_err(TryLockError::Error)?;
        locked.try_lock()?;
        // The id is for people; a full disk must not keep a role from starting.
        let _ = locked.set_len(0).and_then(|()| locked.write_all(format!("{}\n", std::process::id()).as_bytes()));
        Ok(Self { _locked: locked })
    }
}

fn holder(file: &Path) -> Option<u32> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_user_a_role_and_the_next_is_told_which() {
        let home = tempfile::tempdir().unwrap();
        let claim = Claim::take(home.path(), "cloud").unwrap();
        let error = Claim::take(home.path(), "cloud").unwrap_err();
        assert!(matches!(error, ClaimError::Used { by, .. } if by == Some(std::process::id())), "{error}");
        assert!(error.to_string().contains(&format!("is used by process {}", std::process::id())));
        Claim::take(home.path(), "origin").unwrap();
        drop(claim);
        Claim::take(home.path(), "cloud").unwrap();
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let error = Claim::take(Path::new("/nowhere"), "cloud").unwrap_err().to_string();
        assert!(error.contains("/nowhere/cloud.lock"), "{error}");
    }
}
