//! Log lines that strangers cause: one every ten seconds and kind, with the count of those that it stands for. So the log's length is not
//! the attacker's to choose.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How often a line of one kind is written.
pub(crate) const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// As much of a peer's text as a line holds, in bytes: the names in use are shorter.
const TEXT_BYTES_MAX: usize = 128;

/// One kind of line.
#[derive(Debug, Default)]
pub struct Rarely(Mutex<Written>);

#[derive(Debug, Default)]
struct Written {
    at: Option<Instant>,
    withheld: u64,
}

impl Rarely {
    /// None was written yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(Written { at: None, withheld: 0 }))
    }

    /// Writes a line, unless one was written less than ten seconds ago: then it is counted. `line` is given how many were withheld since the
    /// last one.
    pub fn write(&self, line: impl FnOnce(u64)) {
        self.write_at(Instant::now(), line);
    }

    fn write_at(&self, now: Instant, line: impl FnOnce(u64)) {
        let withheld = {
            let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if written.at.is_some_and(|at| now.saturating_duration_since(at) < LOG_INTERVAL) {
                written.withheld += 1;
                return;
            }
            written.at = Some(now);
            std::mem::take(&mut written.withheld)
        };
        line(withheld);
    }
}

/// As much of a peer's text as a log line should hold.
#[must_use]
pub fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line_in_ten_seconds_and_the_next_one_counts_the_rest() {
        let (kind, start, mut lines) = (Rarely::new(), Instant::now(), vec![]);
        for number in 0..120 {
            kind.write_at(start + Duration::from_millis(100) * number, |withheld| lines.push(withheld));
        }
        assert_eq!(lines, [0, 99]);
    }

    #[test]
    fn names_are_bounded_at_a_character() {
        assert_eq!(shortened("cam-1"), "cam-1");
        assert_eq!(shortened(&"é".repeat(1000)).len(), 128);
    }
}
