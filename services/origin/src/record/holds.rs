//! Recordings that nothing removes, as the cloud's list has them.

use jiff::Timestamp;
use sightline_archive::Held;
use sightline_signal::report::RecordingHolds;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// In `data_dir`.
const KEPT: &str = "recording-holds.json";

/// The newest list, and its file: it holds while the cloud is away, and from the first moment after a start.
#[derive(Debug)]
pub(crate) struct Holds {
    file: PathBuf,
    /// Its version, and what is held. `None`: there was a list, and it can't be read; until the cloud sends it again everything is held.
    known: Mutex<Option<(u64, Arc<Vec<Held>>)>>,
}

impl Holds {
    /// With the list that was kept before.
    pub(crate) fn load(data_dir: &Path) -> Self {
        let file = data_dir.join(KEPT);
        let known = match fs::read(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some((0, Arc::default())),
            Err(error) => unreadable(&file, &error),
            Ok(bytes) => match serde_json::from_slice::<RecordingHolds>(&bytes) {
                Ok(list) => Some((list.version, Arc::new(held(&list)))),
                Err(error) => unreadable(&file, &error),
            },
        };
        Self { file, known: Mutex::new(known) }
    }

    fn known(&self) -> MutexGuard<'_, Option<(u64, Arc<Vec<Held>>)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the cloud is told that we have.
    pub(crate) fn version(&self) -> u64 {
        self.known().as_ref().map_or(0, |(version, _)| *version)
    }

    /// What is held now; `None`: nobody knows, so everything is.
    pub(crate) fn held(&self) -> Option<Arc<Vec<Held>>> {
        self.known().as_ref().map(|(_, held)| held.clone())
    }

    /// The cloud's list is another one now. Blocks on the disk.
    pub(crate) fn replace(&self, list: &RecordingHolds) {
        *self.known() = Some((list.version, Arc::new(held(list))));
        let temporary = self.file.with_extension("json.new");
        let written = serde_json::to_vec(list).map_err(io::Error::other).and_then(|bytes| {
            let mut file = fs::File::create(&temporary)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &self.file)
        });
        if let Err(error) = written {
            tracing::error!(file = %self.file.display(), %error, "the list of held recordings can't be kept: after a restart without the cloud the list before holds");
        }
    }
}

fn unreadable<T>(file: &Path, error: &dyn std::fmt::Display) -> Option<T> {
    tracing::error!(file = %file.display(), %error, "the list of held recordings can't be read: nothing is removed until the cloud sends it again");
    None
}

/// A span that this version can't read is held as far as it can be: too much is kept rather than too little.
fn held(list: &RecordingHolds) -> Vec<Held> {
    let at = |ms: i64, or: Timestamp| Timestamp::from_millisecond(ms).unwrap_or(or);
    let of = |hold: &sightline_signal::report::RecordingHold| Held {
        device: hold.device.clone(),
        from: at(hold.from, Timestamp::MIN),
        to: at(hold.to, Timestamp::MAX),
    };
    list.holds.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sightline_signal::report::RecordingHold;

    #[test]
    fn a_list_outlives_a_restart_and_one_that_can_t_be_read_holds_everything() {
        let dir = tempfile::tempdir().unwrap();
        let holds = Holds::load(dir.path());
        assert_eq!((holds.version(), holds.held().unwrap().len()), (0, 0));
        let hold = RecordingHold { device: "cam-1".into(), from: 1_000, to: i64::MAX };
        holds.replace(&RecordingHolds { version: 7, holds: vec![hold] });
        let again = Holds::load(dir.path());
        let expected = Held { device: "cam-1".into(), from: Timestamp::from_second(1).unwrap(), to: Timestamp::MAX };
        assert_eq!((again.version(), again.held().unwrap().as_slice()), (7, &[expected][..]));
        fs::write(dir.path().join(KEPT), "{").unwrap();
        let broken = Holds::load(dir.path());
        assert_eq!((broken.version(), broken.held()), (0, None));
        broken.replace(&RecordingHolds { version: 9, holds: Vec::new() });
        assert_eq!((broken.version(), broken.held().unwrap().len(), Holds::load(dir.path()).version()), (9, 0, 9));
    }
}
