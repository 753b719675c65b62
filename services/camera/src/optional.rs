//! A future that may not be there, as a branch of a `select!`.

/// Waits for `future`; without one, forever: the branch never comes.
pub(crate) async fn when_some<F: Future>(future: Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
