//! `sightline backup` and `sightline restore`: all of a data directory, while the cloud runs.
//!
//! The database is copied by itself, whole and of one moment; a copy of its file alone would miss the write-ahead log
//! (oq-engine#11752). Keys and certificates are files of their own, and come after it: a device that was enrolled meanwhile has its
//! files in the copy and no row, which harms nobody.

use crate::{
    audit::{
        chain::{Head, Verdict},
        head_file,
    },
    clock::Clock,
    data_dir::{DataDir, DataDirError, MODE_SECRET},
    store::{Store, error::StoreError},
};
use sightline_claim::ClaimError;
use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// Only the owner may look into a backup: it holds every key.
const MODE_DIR: u32 = 0o700;
/// Files that are remade, or that are the database's.
const LEFT_OUT: [&str; 7] =
    ["sightline.sqlite", "sightline.migrate.lock", "sightline.sqlite-wal", "sightline.sqlite-shm", "cloud.lock", "reserve", "audit.head"];
/// Directories below a data directory that are the cloud's own; the demo keeps other roles' there, too.
const DIRS: [&str; 2] = ["devices", "operators"];

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// Something is there already.
    #[error("{} is there and not empty; take a directory that is new", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// It is no backup.
    #[error("{} holds no backup: there is no sightline.sqlite in it", path.display())]
    NoBackup {
        /// The directory.
        path: PathBuf,
    },
    /// The copy's audit log is not whole.
    #[error("{}: the audit log in it is not whole: {verdict}", path.display())]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        verdict: String,
    },
    /// A file can't be copied.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system reported.
        source: io::Error,
    },
    /// A cloud runs on the directory.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The data directory can't be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The database refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was copied.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Copied {
    /// Where the copy lies.
    pub path: PathBuf,
    /// Files besides the database.
    pub files: usize,
    /// Rows of the audit log, all of which were checked.
    pub audit_rows: i64,
    /// The last one's hash: kept elsewhere, it shows later whether anyone rewrote the log.
    pub audit_head: String,
}

/// Copies a data directory into a new directory, while a cloud runs on it or not. Whatever fails, what was there stays as it was.
///
/// # Errors
/// [`BackupError`]
pub async fn backup(data_dir: &Path, to: &Path) -> Result<Copied, BackupError> {
    make_empty(to)?;
    let store = Store::open(&DataDir::open(data_dir)?, Clock::default()).await?;
    let copied = store.copy_to(&to.join("sightline.sqlite")).await;
    store.close().await;
    copied?;
    set_mode(&to.join("sightline.sqlite"))?;
    let files = copy_files(data_dir, to)?;
    verified(to, files).await
}

/// Puts a backup into a data directory that is new or empty, on which no cloud runs.
///
/// # Errors
/// [`BackupError`]
pub async fn restore(from: &Path, data_dir: &Path) -> Result<Copied, BackupError> {
    let database = from.join("sightline.sqlite");
    if !database.is_file() {
        return Err(BackupError::NoBackup { path: from.to_owned() });
    }
    make_empty(data_dir)?;
    let claim = DataDir::open(data_dir)?.claim()?;
    copy(&database, &data_dir.join("sightline.sqlite"))?;
    set_mode(&data_dir.join("sightline.sqlite"))?;
    let files = copy_files(from, data_dir)?;
    let copied = verified(data_dir, files).await;
    drop(claim);
    copied
}

/// Opens the copy and checks its audit log, whose head it writes.
async fn verified(path: &Path, files: usize) -> Result<Copied, BackupError> {
    let dir = DataDir::open(path)?;
    let store = Store::open(&dir, Clock::default()).await?;
    let verdict = store.verify_audit().await;
    store.close().await;
    // A cloud that starts on it makes its own.
    let _ = fs::remove_file(dir.reserve());
    match verdict? {
        Verdict::Intact { rows: audit_rows, head: audit_head } => {
            head_file::save(&dir.audit_head(), &Head { count: audit_rows, hash: audit_head.clone() });
            Ok(Copied { path: path.to_owned(), files, audit_rows, audit_head })
        }
        Verdict::Broken { seq, reason } => Err(damaged(path, format!("entry {seq}: {reason}"))),
        Verdict::Truncated { rows, rows_expected } => Err(damaged(path, format!("{rows} entries of {rows_expected}"))),
    }
}

fn damaged(path: &Path, verdict: String) -> BackupError {
    BackupError::Damaged { path: path.to_owned(), verdict }
}

fn make_empty(path: &Path) -> Result<(), BackupError> {
    let failed = |source| BackupError::File { path: path.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(MODE_DIR).create(path).map_err(failed)?;
    if fs::read_dir(path).map_err(failed)?.next().is_some() {
        return Err(BackupError::NotEmpty { path: path.to_owned() });
    }
    Ok(())
}

fn copy_files(from: &Path, to: &Path) -> Result<usize, BackupError> {
    let mut files = copy_files_of(from, to)?;
    for dir in DIRS.into_iter().filter(|dir| from.join(dir).is_dir()) {
        let below = to.join(dir);
        fs::create_dir_all(&below).map_err(|source| BackupError::File { path: below.clone(), source })?;
        files += copy_files_of(&from.join(dir), &below)?;
    }
    Ok(files)
}

fn copy_files_of(from: &Path, to: &Path) -> Result<usize, BackupError> {
    let failed = |source| BackupError::File { path: from.to_owned(), source };
    let mut files = 0;
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        // Of a write that is under way: the file itself is copied, whole.
        let is_temporary = Path::new(&name).extension().is_some_and(|extension| extension.to_string_lossy().starts_with("tmp"));
        let is_left_out = LEFT_OUT.iter().any(|left_out| name.as_os_str() == *left_out);
        if !is_temporary && !is_left_out && entry.file_type().map_err(failed)?.is_file() {
            copy(&entry.path(), &to.join(&name))?;
            files += 1;
        }
    }
    Ok(files)
}

/// With its mode: secrets stay secret.
fn copy(from: &Path, to: &Path) -> Result<(), BackupError> {
    fs::copy(from, to).map(drop).map_err(|source| BackupError::File { path: from.to_owned(), source })
}

fn set_mode(path: &Path) -> Result<(), BackupError> {
    let mode = fs::Permissions::from_mode(MODE_SECRET);
    fs::set_permissions(path, mode).map_err(|source| BackupError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin;
    use sightline_signal::DeviceId;

    #[tokio::test]
    async fn a_backup_that_is_made_while_rows_are_written_is_whole_and_restores_to_the_same_devices_and_keys() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        let add = async |name: &str| admin::add_device(&path("data"), &DeviceId::new(name).unwrap()).await.unwrap();
        add("first").await;
        let (from, to) = (path("data"), path("backup"));
        let (copied, ()) = tokio::join!(backup(&from, &to), async {
            for name in ["a", "b", "c"] {
                add(name).await;
            }
        });
        let copied = copied.unwrap();
        assert!((1..=4).contains(&copied.audit_rows), "{copied:?}");
        let mode = |file: &str| fs::metadata(path(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("backup"), mode("backup/sightline.sqlite"), mode("backup/ca.key")), (0o700, 0o600, 0o600));

        let restored = restore(&path("backup"), &path("again")).await.unwrap();
        assert_eq!((restored.audit_rows, &restored.audit_head), (copied.audit_rows, &copied.audit_head));
        let ids = admin::list_devices(&path("again")).await.unwrap();
        assert!(ids.iter().any(|device| device.id.as_str() == "first"));
        let read = |file: &str| fs::read(path(file)).unwrap();
        assert_eq!(read("again/ca.key"), read("data/ca.key"));
        assert_eq!(read("again/devices/first.key"), read("data/devices/first.key"));

        assert!(matches!(backup(&path("data"), &path("backup")).await, Err(BackupError::NotEmpty { .. })));
        assert!(matches!(restore(&path("nowhere"), &path("other")).await, Err(BackupError::NoBackup { .. })));
        assert!(matches!(restore(&path("backup"), &path("data")).await, Err(BackupError::NotEmpty { .. })));
    }
}
