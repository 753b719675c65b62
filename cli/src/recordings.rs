//! `sightline recordings …`: on a camera's own directory, while it records or not.

use crate::{
    Failure,
    args::{Recordings, RecordingsAction},
    cameras,
    terminal::{self, WrongUse},
};
use sightline_archive::{self as archive, Recording};
use std::path::PathBuf;

pub(crate) fn run(recordings: &Recordings) -> Result<(), Failure> {
    let dir = dir(recordings)?;
    match &recordings.action {
        RecordingsAction::List => {
            let (found, unreadable) = archive::list(&dir)?;
            unreadable.iter().for_each(|file| terminal::say(&format!("note: passed over, whole or in part: {file}")));
            if recordings.json {
                terminal::print(&serde_json::to_string(&found)?);
                return Ok(());
            }
            if found.is_empty() {
                terminal::say(&format!("{}: nothing is recorded here yet", dir.display()));
            }
            found.iter().for_each(show_row);
        }
        RecordingsAction::Export { from, to, out } => {
            if from >= to {
                return Err(WrongUse(format!("FROM ({from}) is not before TO ({to})")).into());
            }
            let exported = archive::export(&dir, *from, *to, out)?;
            exported.unreadable.iter().for_each(|file| terminal::say(&format!("note: passed over, whole or in part: {file}")));
            if recordings.json {
                terminal::print(&serde_json::to_string(&exported)?);
                return Ok(());
            }
            let seconds = exported.duration_ms as f64 / 1000.0;
            terminal::say(&format!("{}: {seconds:.1} s from {}, {} frames", out.display(), exported.start, exported.frames));
            if exported.gaps > 0 {
                terminal::say(&format!("note: {} times nothing was recorded in between; the film goes on without a pause", exported.gaps));
            }
        }
    }
    Ok(())
}

/// The directory that was named, or the configuration's.
fn dir(recordings: &Recordings) -> Result<PathBuf, Failure> {
    match (&recordings.dir, &recordings.config) {
        (Some(dir), _) => Ok(dir.clone()),
        (None, Some(file)) => Ok(cameras::load_one(file, "say whose with --dir DIR")?.recording.dir),
        (None, None) => Err(WrongUse("say where the camera records: --dir DIR, or --config FILE".to_owned()).into()),
    }
}

fn show_row(found: &Recording) {
    let seconds = found.duration_ms as f64 / 1000.0;
    let file = found.path.file_name().unwrap_or_default().to_string_lossy();
    terminal::print(&format!(
        "{}  {seconds:8.1} s  {:4}x{:<4}  {:8.1} MB  {file}",
        found.start,
        found.width,
        found.height,
        found.bytes as f64 / 1e6
    ));
}
