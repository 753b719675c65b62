//! Which pictures are due for who wants fewer than there are.

/// How early a picture may be and still be the one that is due, in microseconds: sources round their times to milliseconds.
const EARLY_MICROS_MAX: i64 = 5_000;

/// Pictures of one reader, by the stream's own time.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Pace {
    /// When the next one is due, in microseconds; `None` before the first.
    due_micros: Option<i64>,
}

impl Pace {
    /// Whether a picture at `at` is due where one is wanted every `interval`; 0: each is.
    pub(super) fn is_due(&mut self, at: i64, interval: i64) -> bool {
        let due = self.due_micros.unwrap_or(at);
        if at < due.saturating_sub(EARLY_MICROS_MAX.min(interval / 4)) {
            return false;
        }
        // After a pause it begins anew: what was missed is not made up for.
        let is_late = at.saturating_sub(due) >= interval;
        self.due_micros = Some(if is_late { at.saturating_add(interval) } else { due.saturating_add(interval) });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of the pictures of ten seconds at 25 a second are due.
    fn count(fps: i64) -> usize {
        let mut pace = Pace::default();
        (0..250).filter(|picture| pace.is_due(picture * 40_000, 1_000_000 / fps)).count()
    }

    #[test]
    fn as_many_are_due_as_were_asked_for_and_no_more_than_there_are() {
        assert_eq!([1, 5, 10, 25, 60].map(count), [10, 50, 100, 250, 250]);
        let mut pace = Pace::default();
        assert!((0..10).all(|picture| pace.is_due(picture * 40_000, 0)), "all of them");
    }

    #[test]
    fn after_a_pause_nothing_is_made_up_for() {
        let mut pace = Pace::default();
        assert!(pace.is_due(0, 1_000_000) && pace.is_due(5_000_000, 1_000_000));
        assert!(!pace.is_due(5_040_000, 1_000_000) && pace.is_due(6_000_000, 1_000_000));
    }
}
