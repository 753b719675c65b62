//! Keeps recordings within what is set, once a minute.

use crate::clock::Clock;
use crate::config::{KeepRule, Record};
use crate::copy::state::CopyState;
use crate::pattern::matches;
use crate::record::health::RecordingCounts;
use crate::record::holds::Holds;
use jiff::{SignedDuration, Timestamp};
use sightline_archive::{Keeper, Kept, Looked, Wishes};
use sightline_listen::Rarely;
use sightline_recording::{KeepRules, OwnRules};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A fifth of a file's length: what is above a limit is there no longer.
const INTERVAL: Duration = Duration::from_secs(60);
const GIB: u64 = 1 << 30;

/// What the settings say.
pub(crate) fn kept(record: &Record) -> Kept {
    let rules = KeepRules { age_max: hours(record.keep_hours), bytes_max: gigabytes(record.keep_gb), free_min_bytes: 0 };
    Kept { rules, free_percent: record.free_percent }
}

/// What holds for a device alone.
fn own(rules: &[KeepRule], device: &str) -> Option<OwnRules> {
    let rule = rules.iter().find(|rule| matches(&rule.devices, device))?;
    Some(OwnRules { age_max: hours(rule.keep_hours), bytes_max: gigabytes(rule.keep_gb) })
}

fn hours(hours: u32) -> Option<SignedDuration> {
    (hours > 0).then(|| SignedDuration::from_hours(hours.into()))
}

fn gigabytes(gigabytes: u32) -> Option<u64> {
    (gigabytes > 0).then(|| u64::from(gigabytes) * GIB)
}

/// Until the origin ends.
pub(crate) async fn keep(
    dir: PathBuf,
    record: Record,
    (holds, copies): (Arc<Holds>, Option<Arc<CopyState>>),
    clock: Clock,
    counts: Arc<RecordingCounts>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
) {
    let mut keeper = Keeper::new(dir.clone(), kept(&record));
    let rules = Arc::new(record.rules);
    let mut interval = tokio::time::interval(INTERVAL);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = interval.tick() => {}
        }
        let uptime = Duration::from_micros(clock.now().as_micros());
        let (held, rules, store) = (holds.held(), rules.clone(), copies.clone());
        let look = move || {
            let is_copied = |file: &Path| store.as_ref().is_none_or(|store| store.is_copied(file));
            let held = held.as_ref().map(|held| held.as_slice());
            let wishes = Wishes { held, own: &|device| own(&rules, device), is_copied: &is_copied };
            let looked = keeper.look(Timestamp::now(), uptime, &wishes);
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
        let rule = |devices: &str, keep_hours, keep_gb| KeepRule { devices: devices.to_owned(), keep_hours, keep_gb };
        let rules = [rule("gate", 48, 0), rule("gate*", 0, 3), rule("*", 1, 0)];
        let of = |device| own(&rules, device).map(|own| (own.age_max.map(|age| age.as_hours()), own.bytes_max));
        assert_eq!([of("gate"), of("gate-2"), of("hall")], [Some((Some(48), None)), Some((None, Some(3 * GIB))), Some((Some(1), None))]);
        assert_eq!(own(&rules[..2], "hall"), None);
    }
}
