//! Streams whose publisher has gone end after a while, and viewers whose right has ended.

use super::Control;
use std::sync::Arc;
use std::time::Duration;

/// How often streams without a publisher are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);

/// Runs until the shutdown.
pub(crate) async fn run(control: Arc<Control>) {
    let mut interval = tokio::time::interval(SWEEP_INTERVAL);
    loop {
        tokio::select! {
            () = control.shutdown.cancelled() => return,
            _ = interval.tick() => {
                control.hub.end_abandoned();
                control.viewing.end_ended();
            }
        }
    }
}
