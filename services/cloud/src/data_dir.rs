//! The data directory: the one place that knows every file's name.
//!
//! `ca.pem`, `ca.key`, `server.pem|key`, `operator.pem|key`, `operator.token`, `cluster.key`, `devices/{id}.pem|key|token`, `operators.json`, `operators/{name}.pem|key`,
//! `sightline.sqlite`, `audit.head`, `audit.key`, `reserve`, `cloud.lock`, `sightline.migrate.lock`. Only the owner can read the secret ones.

use crate::secrets::{CryptoError, Secret, random_secret};
use sightline_claim::{Claim, ClaimError};
use sightline_signal::DeviceId;
use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// Only the owner may read.
pub(crate) const MODE_SECRET: u32 = 0o600;
/// Everyone may read.
pub(crate) const MODE_PUBLIC: u32 = 0o644;
/// A file that was emptied by a full disk must not become a guessable password.
const SECRET_CHARACTERS_MIN: usize = 16;

/// A file of the data directory can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataDirError {
    /// It can't be read or written.
    #[error("{}: {source}; check that the data directory exists and belongs to this user", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system reported.
        source: io::Error,
    },
    /// A certificate or key can't be used, or can't be made.
    #[error("{}: {reason}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong, and the fix.
        reason: String,
    },
    /// A secret is too short to be one.
    #[error("{}: a secret of at least {SECRET_CHARACTERS_MIN} characters is expected; remove the file to get a new one", path.display())]
    SecretTooShort {
        /// The file.
        path: PathBuf,
    },
    /// No random bytes for a new secret.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

impl DataDirError {
    /// A certificate or key of `path` is unusable.
    pub(crate) fn certificate(path: &Path, reason: &impl std::fmt::Display) -> Self {
        Self::Certificate { path: path.to_owned(), reason: reason.to_string() }
    }
}

/// Paths in the data directory.
#[derive(Clone, Debug)]
pub(crate) struct DataDir(PathBuf);

impl DataDir {
    /// Makes the directory if there is none.
    pub(crate) fn open(path: &Path) -> Result<Self, DataDirError> {
        let devices = path.join("devices");
        fs::create_dir_all(&devices).map_err(|source| DataDirError::File { path: devices, source })?;
        Ok(Self(path.to_owned()))
    }

    /// The right to run a cloud on it: one process at a time. Administration needs none.
    pub(crate) fn claim(&self) -> Result<Claim, ClaimError> {
        Claim::take(&self.0, "cloud")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.file("sightline.sqlite")
    }

    pub(crate) fn audit_head(&self) -> PathBuf {
        self.file("audit.head")
    }

    pub(crate) fn reserve(&self) -> PathBuf {
        self.file("reserve")
    }

    pub(crate) fn device_file(&self, device: &DeviceId, extension: &str) -> PathBuf {
        self.0.join("devices").join(format!("{device}.{extension}"))
    }

    /// A file of an operator besides the first one, whose files are `operator.pem` and `operator.key`. Makes the folder.
    pub(crate) fn operator_file(&self, name: &str, extension: &str) -> Result<PathBuf, DataDirError> {
        let operators = self.0.join("operators");
        fs::create_dir_all(&operators).map_err(|source| DataDirError::File { path: operators.clone(), source })?;
        Ok(operators.join(format!("{name}.{extension}")))
    }
}

/// Reads a text file.
pub(crate) fn read(path: &Path) -> Result<String, DataDirError> {
    fs::read_to_string(path).map_err(|source| DataDirError::File { path: path.to_owned(), source })
}

/// When a file's bytes are on the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Durability {
    /// Before the write returns.
    Synced,
    /// When the system writes them: a power cut may leave the file that was there before.
    System,
}

/// Writes a file whole or not at all, with [`MODE_PUBLIC`] or [`MODE_SECRET`].
pub(crate) fn write(path: &Path, contents: &str, mode: u32) -> Result<(), DataDirError> {
    write_with(path, contents, mode, Durability::Synced)
}

/// The same.
pub(crate) fn write_with(path: &Path, contents: &str, mode: u32, durability: Durability) -> Result<(), DataDirError> {
    // Two that write the same file at once, in one process or two, each have a temporary file of their own.
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let temporary = path.with_extension(format!("tmp{}-{}", std::process::id(), WRITES.fetch_add(1, Ordering::Relaxed)));
    let result = (|| -> io::Result<()> {
        let _ = fs::remove_file(&temporary);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(contents.as_bytes())?;
        if durability == Durability::Synced {
            file.sync_all()?;
        }
        fs::rename(&temporary, path)
    })();
    result.map_err(|source| {
        let _ = fs::remove_file(&temporary);
        DataDirError::File { path: path.to_owned(), source }
    })
}

/// Reads a secret's file, or makes it of 32 random bytes if there is none.
pub(crate) fn read_or_make_secret(path: &Path) -> Result<Secret<String>, DataDirError> {
    if path.exists() {
        let secret = read(path)?.trim().to_owned();
        if secret.len() < SECRET_CHARACTERS_MIN {
            return Err(DataDirError::SecretTooShort { path: path.to_owned() });
        }
        return Ok(Secret::new(secret));
    }
    let secret = random_secret()?;
    write(path, secret.reveal(), MODE_SECRET)?;
    Ok(secret)
}
