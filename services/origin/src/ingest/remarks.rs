//! How many publishers did what: quirks that were taken, and media that was not. For `/metrics`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Counts by fate and by what it was: a session says each kind once, and the kinds are constants of `core/rtmp`, so this stays small.
#[derive(Debug, Default)]
pub(crate) struct Remarks(Mutex<BTreeMap<(&'static str, &'static str), u64>>);

impl Remarks {
    /// Not to the letter of a standard, and taken.
    pub(crate) fn taken(&self, what: &'static str) {
        self.count("taken", what);
    }

    /// Can't be taken.
    pub(crate) fn left_out(&self, what: &'static str) {
        self.count("left_out", what);
    }

    fn count(&self, fate: &'static str, what: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry((fate, what)).or_default() += 1;
    }

    /// In the text format of Prometheus.
    pub(crate) fn metrics(&self) -> String {
        use std::fmt::Write as _;
        let mut out = String::from(
            "# HELP sightline_origin_publisher_remarks_total What publishers sent that is not as it should be, taken or left out.\n\
             # TYPE sightline_origin_publisher_remarks_total counter\n",
        );
        for ((fate, what), count) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // Writing to a string can't fail.
            let _ = writeln!(out, "sightline_origin_publisher_remarks_total{{fate=\"{fate}\",what=\"{what}\"}} {count}");
        }
        out
    }
}
