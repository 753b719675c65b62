//! The state that survives a restart: settings from afar, and what commands have asked for. It contains no secret.
//!
//! One small file, written whole: to a temporary name, synced, then renamed, so that a power cut leaves the old one or the new one.

use serde::{Deserialize, Serialize};
use sightline_media::WallTime;
use sightline_signal::Settings;
use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::config::afar::Tables;

/// A file of another layout is not read.
const FORMAT: u32 = 1;
/// The longest file that is read: the longest settings, and some spare.
const BYTES_MAX: u64 = 64 << 10;

/// The saved state.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SavedState {
    format: u32,
    /// Whose it is: a directory that two devices share by mistake must not make one the other.
    device_id: String,
    /// Settings from afar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) desired: Option<Applied>,
    /// A command has started the stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) start: Option<Start>,
    /// A command has set other numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) quality: Option<SetQuality>,
}

/// Numbers that a command has set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct SetQuality {
    pub(crate) settings: Settings,
    /// Those of the file at that time: who changes the file since has the last word.
    pub(crate) file: Settings,
}

/// Settings from afar that were found good.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Applied {
    pub(crate) version: u64,
    pub(crate) settings: Tables,
}

/// A start by command.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    /// `None`: until a command stops it.
    pub(crate) lease: Option<Lease>,
}

/// How a start by command is repeated after a restart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Resumption {
    /// Not at all: its lease is over, or a clock that was never set can't tell.
    Over,
    /// Until a command stops it.
    UntilStopped,
    /// For what is left of its lease.
    For(Duration),
}

/// A lease in civil time, which goes on while the agent is off.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Lease {
    until_unix_secs: i64,
    /// What was left of it when it was written: a clock that was set back can't make it longer.
    left_secs: i64,
}

impl Lease {
    pub(crate) fn of(left: Duration, wall: WallTime) -> Self {
        let left_secs = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
        Self { until_unix_secs: wall.unix_secs().saturating_add(left_secs), left_secs }
    }
}

impl Start {
    /// How the start is repeated after a restart.
    pub(crate) fn again(self, wall: WallTime) -> Resumption {
        let Some(lease) = self.lease else { return Resumption::UntilStopped };
        let written_secs = lease.until_unix_secs.saturating_sub(lease.left_secs);
        let written = WallTime::from_unix_micros(written_secs.saturating_mul(1_000_000));
        if !wall.is_set() || !written.is_set() {
            return Resumption::Over;
        }
        let left_secs = lease.until_unix_secs.saturating_sub(wall.unix_secs()).min(lease.left_secs);
        u64::try_from(left_secs).ok().filter(|secs| *secs > 0).map_or(Resumption::Over, |secs| Resumption::For(Duration::from_secs(secs)))
    }
}

/// Why the state is not read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    #[error(transparent)]
    Read(#[from] io::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("its format is {0}, and this version reads {FORMAT}")]
    Format(u32),
    #[error("it is that of {0}: give each device a state_dir of its own, with {{device_id}} in it")]
    Foreign(String),
    #[error("{}: {source}; check that state_dir exists, belongs to this user and has room", file.display())]
    Write { file: PathBuf, source: io::Error },
}

/// The file of one device.
#[derive(Clone, Debug)]
pub(crate) struct StateFile {
    dir: PathBuf,
    device_id: String,
}

impl StateFile {
    pub(crate) fn new(dir: &Path, device_id: &str) -> Self {
        Self { dir: dir.to_owned(), device_id: device_id.to_owned() }
    }

    fn path(&self) -> PathBuf {
        self.dir.join("state.json")
    }

    /// Loads the saved state. An unusable file is logged and ignored.
    pub(crate) fn load(&self) -> SavedState {
        let none = SavedState { format: FORMAT, device_id: self.device_id.clone(), ..SavedState::default() };
        match self.read() {
            Ok(Some(kept)) => kept,
            Ok(None) => none,
            Err(problem) => {
                let file = self.path();
                tracing::warn!(
                    file = %file.display(),
                    %problem,
                    "what was kept over the restart can't be used, and the camera begins without it; it is written anew at the next change, or remove it"
                );
                none
            }
        }
    }

    fn read(&self) -> Result<Option<SavedState>, StateError> {
        let file = match fs::File::open(self.path()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut text = String::new();
        io::Read::read_to_string(&mut io::Read::take(file, BYTES_MAX), &mut text)?;
        let kept: SavedState = serde_json::from_str(&text)?;
        if kept.format != FORMAT {
            return Err(StateError::Format(kept.format));
        }
        if kept.device_id != self.device_id {
            return Err(StateError::Foreign(kept.device_id));
        }
        Ok(Some(kept))
    }

    /// Writes it whole.
    ///
    /// # Errors
    /// [`StateError::Write`]; the state before is still there.
    pub(crate) fn save(&self, kept: &SavedState) -> Result<(), StateError> {
        let write = || {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
            let temporary = self.dir.join("state.json.new");
            // Left by a power cut, with whatever rights.
            if let Err(error) = fs::remove_file(&temporary)
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(error);
            }
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(&serde_json::to_vec(kept)?)?;
            file.sync_all()?;
            fs::rename(&temporary, self.path())?;
            fs::File::open(&self.dir)?.sync_all()
        };
        write().map_err(|source| StateError::Write { file: self.path(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn wall(secs: i64) -> WallTime {
        WallTime::from_unix_micros(secs * 1_000_000)
    }

    #[test]
    fn what_is_saved_is_loaded_and_no_one_else_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::new(&dir.path().join("deep/cam-1"), "cam-1");
        let mut kept = file.load();
        assert_eq!((&kept.desired, kept.start), (&None, None));
        kept.desired = Some(Applied { version: 7, settings: Tables::new() });
        kept.start = Some(Start { lease: None });
        file.save(&kept).unwrap();
        let low = sightline_signal::Quality::Low.settings().unwrap();
        kept.quality = Some(SetQuality { settings: low, file: low });
        file.save(&kept).unwrap();
        assert_eq!(file.load(), kept);
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path().join("deep/cam-1")).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_broken_file_and_another_device_s_are_begun_without() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::new(dir.path(), "cam-1");
        let none = file.load();
        for broken in ["", "{", "[]", r#"{"format":2,"device_id":"cam-1"}"#, r#"{"format":1,"device_id":"cam-2"}"#, "\u{0}\u{0}\u{0}"] {
            fs::write(file.path(), broken).unwrap();
            assert!(file.read().is_err(), "{broken:?}");
            assert_eq!(file.load(), none, "{broken:?}");
        }
        // Left by a power cut, and read-only.
        fs::write(dir.path().join("state.json.new"), "{").unwrap();
        fs::set_permissions(dir.path().join("state.json.new"), fs::Permissions::from_mode(0o400)).unwrap();
        file.save(&none).unwrap();
        assert_eq!(file.load(), none);
        let elsewhere = StateFile::new(&file.path().join("below-a-file"), "cam-1");
        let error = elsewhere.save(&none).unwrap_err().to_string();
        assert!(error.contains("state_dir") && error.contains("below-a-file"), "{error}");
    }

    #[test]
    fn a_lease_ends_while_the_agent_is_off_and_an_unset_clock_restores_none() {
        let now = 1_795_371_496;
        let start = Start { lease: Some(Lease::of(Duration::from_secs(60), wall(now))) };
        assert_eq!(start.again(wall(now + 20)), Resumption::For(Duration::from_secs(40)));
        assert_eq!(start.again(wall(now + 60)), Resumption::Over);
        assert_eq!(start.again(wall(now + 3600)), Resumption::Over);
        assert_eq!(
            start.again(wall(now - 3600)),
            Resumption::For(Duration::from_secs(60)),
            "a clock that was set back does not prolong it"
        );
        assert_eq!(start.again(wall(5)), Resumption::Over, "the clock was not set yet");
        let unset = Start { lease: Some(Lease::of(Duration::from_secs(60), wall(5))) };
        assert_eq!(unset.again(wall(now)), Resumption::Over, "nor was it when this was written");
        assert_eq!(Start { lease: None }.again(wall(5)), Resumption::UntilStopped);
    }
}
