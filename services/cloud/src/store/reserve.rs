//! Room on the disk for what can't wait until there is room: shutting a device out.

use crate::data_dir::MODE_SECRET;
use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A revocation takes some pages of the write-ahead log, of 4 KiB each; the log may have to grow by its index, too.
const RESERVE_BYTES: usize = 1 << 20;

/// A file that only takes room.
#[derive(Clone, Debug)]
pub(super) struct Reserve(Arc<Path>);

impl Reserve {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path.into())
    }

    /// Takes the room, where there is enough of it.
    pub(super) fn fill(&self) {
        if fs::metadata(&self.0).is_ok_and(|file| file.len() == RESERVE_BYTES as u64) {
            return;
        }
        if let Err(error) = self.write() {
            tracing::debug!(%error, path = %self.0.display(), "no room for the reserve");
            // A part of it may be all the room that is left.
            let _ = fs::remove_file(&self.0);
        }
    }

    fn write(&self) -> io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(MODE_SECRET).open(&self.0)?;
        // Zeros that are written take room; a length that is set does not.
        file.write_all(&vec![0; RESERVE_BYTES])?;
        file.sync_all()
    }

    /// Gives the room back; false if there was none.
    pub(super) fn open(&self) -> bool {
        fs::remove_file(&self.0).is_ok()
    }
}
