//! What is recorded is on the disk soon after it is written, for all streams at once: a power cut costs seconds, not what the system has not written yet, which may be half a minute.

use crate::record::health::RecordingCounts;
use sightline_listen::Rarely;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Between two syncs: what comes meanwhile shares the next one. A disk that turns does some hundred writes a second, however many streams there are.
const PAUSE: Duration = Duration::from_millis(300);

/// Something was written.
pub(crate) type Written = Arc<Notify>;

/// Until the origin ends. One call syncs every file of the file system: a call for each file costs the journal as often.
pub(crate) async fn sync(dir: PathBuf, written: Written, counts: Arc<RecordingCounts>, tasks: TaskTracker, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = written.notified() => {}
        }
        let of = dir.clone();
        let work = move || {
            let began = Instant::now();
            sightline_archive::sync(&of).map(|()| began.elapsed())
        };
        match tasks.spawn_blocking(work).await {
            Ok(Ok(took)) => counts.synced(took),
            Ok(Err(error)) => {
                FAILED.write(|others| tracing::error!(dir = %dir.display(), %error, others, "the disk does not keep what was recorded: a power cut would cost it"));
            }
            Err(_) => return,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A disk that is gone fails each time.
static FAILED: Rarely = Rarely::new();
