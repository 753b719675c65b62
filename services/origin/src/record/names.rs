//! Under which name a device published last: by it a recording's playback id is known when nobody publishes.

use std::path::{Path, PathBuf};

/// In the origin's own directory, a file a device.
#[derive(Debug)]
pub(crate) struct RecordedNames {
    dir: PathBuf,
}

impl RecordedNames {
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self { dir: data_dir.join("recorded-names") }
    }

    /// Blocks on the disk. Without it, a device is taken to have published under its own name.
    pub(crate) fn keep(&self, device: &str, stream: &str) {
        let file = self.dir.join(device);
        if std::fs::read_to_string(&file).is_ok_and(|known| known == stream) {
            return;
        }
        let kept = sightline_archive::make_private_dir(&self.dir).and_then(|()| std::fs::write(&file, stream));
        if let Err(error) = kept {
            tracing::warn!(file = %file.display(), %error, "the name of a recorded stream can't be kept");
        }
    }

    /// The name that a device published under. Blocks on the disk.
    pub(crate) fn of(&self, device: &str) -> String {
        std::fs::read_to_string(self.dir.join(device)).unwrap_or_else(|_| device.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_name_counts_and_a_device_without_one_has_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let names = RecordedNames::new(dir.path());
        assert_eq!(names.of("cam-1"), "cam-1");
        ["one", "two"].iter().for_each(|name| names.keep("cam-1", name));
        assert_eq!(RecordedNames::new(dir.path()).of("cam-1"), "two");
    }
}
