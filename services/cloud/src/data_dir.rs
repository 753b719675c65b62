//! The data directory: one place that knows every file's name.
//!
//! `ca.pem`, `ca.key`, `server.pem|key`, `operator.pem|key`, `operator.token`, `cluster.key`, `devices/{id}.pem|key|token`,
//! `sightline.sqlite`, `audit.head`. Everything that is secret is readable by its owner alone.

use crate::CloudError;
use sightline_signal::DeviceId;
use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// Paths in the data directory.
#[derive(Clone, Debug)]
pub(crate) struct DataDir(PathBuf);

impl DataDir {
    /// Makes the directory if it is not there.
    pub(crate) fn open(path: &Path) -> Result<Self, CloudError> {
        let devices = path.join("devices");
        fs::create_dir_all(&devices).map_err(|source| CloudError::File { path: devices, source })?;
        Ok(Self(path.to_owned()))
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.file("sightline.sqlite")
    }

    pub(crate) fn device_file(&self, device: &DeviceId, extension: &str) -> PathBuf {
        self.0.join("devices").join(format!("{device}.{extension}"))
    }
}

/// Reads a text file.
pub(crate) fn read(path: &Path) -> Result<String, CloudError> {
    fs::read_to_string(path).map_err(|source| CloudError::File { path: path.to_owned(), source })
}

/// Writes a file whole or not at all, readable by all (`0o644`) or by its owner alone (`0o600`).
pub(crate) fn write(path: &Path, contents: &str, mode: u32) -> Result<(), CloudError> {
    // The process id keeps two processes from writing one temporary file.
    let temporary = path.with_extension(format!("tmp{}", std::process::id()));
    let result = (|| -> io::Result<()> {
        let _ = fs::remove_file(&temporary);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(contents.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    result.map_err(|source| {
        let _ = fs::remove_file(&temporary);
        CloudError::File { path: path.to_owned(), source }
    })
}

/// Only the owner may read.
pub(crate) const MODE_SECRET: u32 = 0o600;
/// Everyone may read.
pub(crate) const MODE_PUBLIC: u32 = 0o644;

/// A secret's file: read if it is there, made of 32 random bytes if not.
pub(crate) fn read_or_make_secret(path: &Path) -> Result<String, CloudError> {
    if path.exists() {
        let secret = read(path)?.trim().to_owned();
        if secret.len() < SECRET_CHARACTERS_MIN {
            let reason = format!("a secret of at least {SECRET_CHARACTERS_MIN} characters is expected; remove the file to get a new one");
            return Err(CloudError::Certificate { path: path.to_owned(), reason });
        }
        return Ok(secret);
    }
    let secret = random_secret()?;
    write(path, &secret, MODE_SECRET)?;
    Ok(secret)
}

/// A file that was emptied by a full disk must not become a guessable password.
const SECRET_CHARACTERS_MIN: usize = 16;

/// 32 random bytes in base64url.
pub(crate) fn random_secret() -> Result<String, CloudError> {
    use base64::Engine as _;
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| CloudError::Crypto("draw random bytes"))?;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}

/// Seconds since 1970 by the machine's clock.
pub(crate) fn unix_secs() -> i64 {
    unix_millis().div_euclid(1000)
}

/// Milliseconds since 1970 by the machine's clock.
pub(crate) fn unix_millis() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
