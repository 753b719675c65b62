//! How many files and sockets the process may have open, and which part of them is for a port.

use std::sync::OnceLock;

/// The soft limit is raised no further: programs that we start inherit it, and some walk all numbers below it.
const DESCRIPTORS_MOST: u64 = 1 << 20;
/// What is counted with where the system names no limit.
const DESCRIPTORS_UNNAMED: u64 = 1 << 16;

/// Raises the soft limit of open files to the hard one, once, and returns what holds since. Most systems start a program with a soft
/// limit of 1024 for the sake of programs that use `select`.
pub fn raise() -> u64 {
    static LIMIT: OnceLock<u64> = OnceLock::new();
    *LIMIT.get_or_init(raise_now)
}

#[cfg(unix)]
fn raise_now() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let (soft, wanted) = (current.unwrap_or(DESCRIPTORS_MOST), maximum.unwrap_or(DESCRIPTORS_MOST).min(DESCRIPTORS_MOST));
    if soft >= wanted {
        return soft.min(DESCRIPTORS_MOST);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }) {
        Ok(()) => {
            tracing::debug!(from = soft, to = wanted, "the limit of open files was raised");
            wanted
        }
        Err(error) => {
            tracing::warn!(%error, limit = soft, "the limit of open files can't be raised; places are fewer than they could be");
            soft
        }
    }
}

#[cfg(not(unix))]
fn raise_now() -> u64 {
    DESCRIPTORS_UNNAMED
}

/// So many hundredths of the process's descriptors, as places of a port. The shares of all ports of a process leave a quarter or more:
/// it is for what runs already, recordings, the database, connections that we open.
#[must_use]
pub fn share(percent: u8) -> usize {
    share_of(raise(), percent)
}

fn share_of(limit: u64, percent: u8) -> usize {
    usize::try_from(limit.saturating_mul(u64::from(percent)) / 100).unwrap_or(DESCRIPTORS_UNNAMED as usize).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_raised_and_shares_are_parts_of_it() {
        let limit = raise();
        assert_eq!(limit, raise());
        assert!((64..=DESCRIPTORS_MOST).contains(&limit));
        assert_eq!((share_of(1024, 50), share_of(1024, 20), share_of(1, 1)), (512, 204, 1));
    }
}
