//! `sightline recordings …`: on a camera's own directory, while it records or not, or of a cloud's origins.

mod remote;

use crate::{
    Failure,
    args::{Recordings, RecordingsAction},
    cameras,
    terminal::{self, WrongUse},
};
use jiff::Timestamp;
use remote::Cloud;
use sightline_archive::{self as archive, Recording};
use std::path::PathBuf;

pub(crate) async fn run(recordings: &Recordings) -> Result<(), Failure> {
    match &recordings.cloud {
        Some(url) => of_cloud(recordings, &Cloud::new(recordings, url)?).await,
        None => tokio::task::block_in_place(|| of_camera(recordings)),
    }
}

async fn of_cloud(recordings: &Recordings, cloud: &Cloud) -> Result<(), Failure> {
    match &recordings.action {
        RecordingsAction::List => {
            let found = cloud.list(&recordings.devices).await?;
            if recordings.json {
                terminal::print(&serde_json::to_string(&found)?);
                return Ok(());
            }
            if found.is_empty() {
                terminal::say("nothing is recorded yet");
            }
            for file in &found {
                let at = |name: &str| file[name].as_i64().unwrap_or_default();
                let began = Timestamp::from_millisecond(at("from")).unwrap_or_default();
                let seconds = (at("to") - at("from")) as f64 / 1000.0;
                let of = |name: &str| file[name].as_str().unwrap_or_default().to_owned();
                let mib = at("bytes") as f64 / f64::from(1 << 20);
                terminal::print(&format!(
                    "{:<20} {began:.0}  {seconds:>7.1} s  {mib:>8.1} MiB  {}x{} {}  {}",
                    of("device"),
                    at("width"),
                    at("height"),
                    of("codec"),
                    of("server")
                ));
            }
        }
        RecordingsAction::Export { from, to, out } => {
            check_range(*from, *to)?;
            let manifest = cloud.export(&recordings.devices, (*from, *to), out).await?;
            if recordings.json {
                terminal::print(&serde_json::to_string(&manifest)?);
                return Ok(());
            }
            for file in manifest["files"].as_array().into_iter().flatten() {
                let bytes = file["bytes"].as_f64().unwrap_or_default() / f64::from(1 << 20);
                let of = |name: &str| file[name].as_str().unwrap_or_default().to_owned();
                terminal::say(&format!("{}: {} ({bytes:.1} MiB, SHA-256 {})", out.display(), of("name"), of("sha256")));
                for gap in file["gaps"].as_array().into_iter().flatten() {
                    let seconds = (gap["to"].as_i64().unwrap_or_default() - gap["from"].as_i64().unwrap_or_default()) as f64 / 1000.0;
                    let reason = gap["reason"].as_str().unwrap_or_default();
                    terminal::say(&format!("note: {seconds:.1} s are missing ({reason}); the film goes on without a pause"));
                }
            }
        }
    }
    Ok(())
}

fn check_range(from: Timestamp, to: Timestamp) -> Result<(), Failure> {
    if from >= to {
        return Err(WrongUse(format!("FROM ({from}) is not before TO ({to})")).into());
    }
    Ok(())
}

fn of_camera(recordings: &Recordings) -> Result<(), Failure> {
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
            check_range(*from, *to)?;
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
        (None, None) => {
            Err(WrongUse("say where the camera records: --dir DIR, or --config FILE; or a cloud: --cloud URL".to_owned()).into())
        }
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
