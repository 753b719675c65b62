//! Items of a checklist, as the camera's has them.

use sightline_camera::doctor::{Item, Part, Report, Verdict};

/// Collects items.
#[derive(Debug, Default)]
pub(super) struct Checklist(Vec<Item>);

/// What came of one: what was seen; or that and the mend.
pub(super) type Found = Result<String, Problem>;

/// What is wrong, and what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Problem {
    pub(super) detail: String,
    pub(super) mend: String,
}

impl Problem {
    pub(super) fn new(detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { detail: detail.into(), mend: mend.into() }
    }
}

impl Checklist {
    pub(super) fn add(&mut self, part: Part, item: &'static str, found: Found) {
        let (result, detail, mend) = match found {
            Ok(detail) => (Verdict::Passed, detail, None),
            Err(Problem { detail, mend }) => (Verdict::Failed, detail, Some(mend)),
        };
        self.0.push(Item { part, item, result, detail, mend });
    }

    /// One that this configuration does not need, or that can't be tried now.
    pub(super) fn skip(&mut self, part: Part, item: &'static str, detail: &str) {
        self.0.push(Item { part, item, result: Verdict::NotApplicable, detail: detail.to_owned(), mend: None });
    }

    pub(super) fn report(self) -> Report {
        let failed = self.0.iter().filter(|item| item.result == Verdict::Failed).count();
        Report { items: self.0, failed }
    }
}

/// Several findings in one item: each that is wrong, or all that is right.
pub(super) fn all(found: Vec<Found>) -> Found {
    let (good, bad): (Vec<_>, Vec<_>) = found.into_iter().partition(Result::is_ok);
    if bad.is_empty() {
        return Ok(good.into_iter().flatten().collect::<Vec<_>>().join("; "));
    }
    let (details, mends): (Vec<_>, Vec<_>) = bad.into_iter().filter_map(Result::err).map(|problem| (problem.detail, problem.mend)).unzip();
    Err(Problem::new(details.join("; "), mends.join("; ")))
}
