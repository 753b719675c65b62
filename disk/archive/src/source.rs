//! Where the bytes of a recording come from: a file, or wherever its copy is.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// The bytes of a recording, by their place. Asking blocks.
pub trait Source: Send + Sync + fmt::Debug {
    /// How many there are.
    fn bytes(&self) -> u64;

    /// Fills `into` with those from `offset` on.
    ///
    /// # Errors
    /// The system's, or the store's; also where there are fewer.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;
}

/// A file, as long as it was when it was opened.
#[derive(Debug)]
pub(crate) struct LocalFile {
    file: File,
    bytes: u64,
}

impl LocalFile {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { file, bytes })
    }
}

impl Source for LocalFile {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, offset)
    }
}
