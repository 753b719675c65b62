//! Work that blocks, on threads for it: the runtime's own serve other cameras.

use tokio::task::{JoinError, JoinSet};

/// Runs `work` and waits for it, in the span of the caller. Whoever drops this future before the work began cancels it.
///
/// # Errors
/// The work panicked.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    let span = tracing::Span::current();
    let mut tasks = JoinSet::new();
    tasks.spawn_blocking(move || span.in_scope(work));
    match tasks.join_next().await {
        Some(done) => done,
        None => unreachable!("one task was spawned"),
    }
}
