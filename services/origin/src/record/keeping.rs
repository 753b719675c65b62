//! Keeps recordings within what is set, once a minute.

use crate::clock::Clock;
use crate::config::Record;
use crate::copy::state::CopyState;
use crate::record::health::RecordingCounts;
use jiff::{SignedDuration, Timestamp};
use sightline_archive::{Keeper, Kept, Looked};
use sightline_listen::Rarely;
use sightline_recording::KeepRules;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A fifth of a file's length: what is above a limit is there no longer.
const INTERVAL: Duration = Duration::from_secs(60);
const GIB: u64 = 1 << 30;

/// What the settings say.
pub(crate) fn kept(record: &Record) -> Kept {
    let hours = i64::from(record.keep_hours);
    Kept {
        rules: KeepRules {
            age_max: (hours > 0).then(|| SignedDuration::from_hours(hours)),
            bytes_max: (record.keep_gb > 0).then(|| u64::from(record.keep_gb) * GIB),
            free_min_bytes: 0,
        },
        free_percent: record.free_percent,
    }
}

/// Until the origin ends.
pub(crate) async fn keep(
    dir: PathBuf,
    kept: Kept,
    clock: Clock,
    counts: Arc<RecordingCounts>,
    copies: Option<Arc<CopyState>>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
) {
    let mut keeper = keeper(dir.clone(), kept, copies.clone());
    let mut interval = tokio::time::interval(INTERVAL);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = interval.tick() => {}
        }
        let uptime = Duration::from_micros(clock.now().as_micros());
        let look = move || {
            let looked = keeper.look(Timestamp::now(), uptime);
            (keeper, looked)
        };
        let Ok((returned, looked)) = tasks.spawn_blocking(look).await else { return };
        keeper = returned;
        match looked {
            Ok(looked) => {
                counts.looked(&looked);
                copies.iter().for_each(|copies| forget(copies, &looked));
            }
            // Nothing was recorded yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                FAILED.write(|others| tracing::warn!(dir = %dir.display(), %error, others, "recordings are not kept within their rules"))
            }
        }
    }
}

/// What was not copied yet stays longer.
fn keeper(dir: PathBuf, kept: Kept, copies: Option<Arc<CopyState>>) -> Keeper {
    let keeper = Keeper::new(dir, kept);
    match copies {
        Some(copies) => keeper.with_copies(Arc::new(move |file| copies.is_copied(file))),
        None => keeper,
    }
}

/// Files that have gone are not copied any more.
fn forget(copies: &CopyState, looked: &Looked) {
    for (file, _) in &looked.removed {
        if copies.gone(file) {
            LOST.write(|others| {
                let file = file.display();
                tracing::error!(%file, others, "a recording went before the store had it: the disk has no more room, and the store is behind");
            });
        }
    }
}

/// While the store is away, one after another.
static LOST: Rarely = Rarely::new();
/// The same each minute, while a disk is gone.
static FAILED: Rarely = Rarely::new();

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn nothing_goes_by_age_or_size_unless_it_is_asked_for_and_a_tenth_of_the_disk_stays_free() {
        let mut record = Config::default().record;
        assert_eq!(kept(&record), Kept { rules: KeepRules::default(), free_percent: 10 });
        (record.keep_hours, record.keep_gb) = (24, 2);
        let rules = KeepRules { age_max: Some(SignedDuration::from_hours(24)), bytes_max: Some(2 * GIB), free_min_bytes: 0 };
        assert_eq!(kept(&record).rules, rules);
    }
}
