//! Marks: what programs that look at pictures, and people, have noted about a device's pictures.

use crate::{
    clock::Clock,
    events::{kind::EventKind, log::EventLog},
    rate_limit::RateLimit,
    store::{
        Store,
        actor::{Action, Actor},
        error::StoreError,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sightline_signal::DeviceId;
use std::{sync::Arc, time::Duration};

/// Marks of one device at once: a program that has looked through a minute.
const MARKS_BURST: u32 = 60;
/// Then one in this time: each is a row of the audit log, too. What lasts is one mark with a duration.
const MARK_REFILL: Duration = Duration::from_secs(1);
/// The longest kind, a word that programs choose by, and the longest label, in bytes.
const WORD_BYTES_MAX: usize = 64;
/// The longest text, in bytes: a remark, not a report.
const TEXT_BYTES_MAX: usize = 1024;
/// The longest mark, in milliseconds: a day.
const DURATION_MS_MAX: i64 = 86_400_000;
/// How far ahead of the cloud's clock a mark may be, in milliseconds: other machines' clocks differ.
const AHEAD_MS_MAX: i64 = 60_000;

/// A part of the picture, in fractions of its width and height from the upper left corner on.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Area {
    #[schema(minimum = 0, maximum = 1)]
    x: f64,
    #[schema(minimum = 0, maximum = 1)]
    y: f64,
    #[schema(minimum = 0, maximum = 1)]
    width: f64,
    #[schema(minimum = 0, maximum = 1)]
    height: f64,
}

impl Area {
    fn is_in_the_picture(self) -> bool {
        let Self { x, y, width, height } = self;
        let is_share = |value: f64| (0.0..=1.0).contains(&value);
        // A rounded sum may be a little above one.
        is_share(x) && is_share(y) && width > 0.0 && height > 0.0 && x + width <= 1.001 && y + height <= 1.001
    }
}

/// A mark to be made.
#[derive(Clone, PartialEq, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewMark {
    /// When it begins, milliseconds since 1970; now without it.
    #[serde(default)]
    pub(crate) at: i64,
    /// How long it lasts, in milliseconds: a day at most; 0: a moment.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 86_400_000)]
    pub(crate) duration_ms: i64,
    /// What it is, for programs: 1 to 64 characters `a-z 0-9 _ . -`, as `person`.
    #[schema(min_length = 1, max_length = 64, pattern = "^[a-z0-9_.-]{1,64}$")]
    pub(crate) kind: String,
    /// The same for people: 64 bytes at most.
    #[serde(default)]
    pub(crate) label: String,
    /// How sure it is, 0 to 1.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1)]
    pub(crate) score: Option<f64>,
    /// Where in the picture.
    #[serde(default, rename = "box")]
    pub(crate) area: Option<Area>,
    /// More about it: 1,024 bytes at most.
    #[serde(default)]
    pub(crate) text: String,
}

impl NewMark {
    fn check(&self, now_ms: i64) -> Result<(), String> {
        let is_word = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-');
        if self.kind.is_empty() || self.kind.len() > WORD_BYTES_MAX || !self.kind.bytes().all(is_word) {
            return Err(format!("kind: 1 to {WORD_BYTES_MAX} characters a-z 0-9 _ . -"));
        }
        if !(0..=now_ms.saturating_add(AHEAD_MS_MAX)).contains(&self.at) {
            return Err(format!("at: milliseconds since 1970, not more than a minute ahead of the cloud's clock, which shows {now_ms}"));
        }
        if !(0..=DURATION_MS_MAX).contains(&self.duration_ms) {
            return Err(format!("duration_ms: 0 to {DURATION_MS_MAX}"));
        }
        if self.score.is_some_and(|score| !(0.0..=1.0).contains(&score)) {
            return Err("score: 0 to 1".to_owned());
        }
        if self.area.is_some_and(|area| !area.is_in_the_picture()) {
            return Err("box: x, y, width and height are fractions of the picture, 0 to 1, and all of it is in the picture".to_owned());
        }
        if self.label.len() > WORD_BYTES_MAX || self.label.chars().any(char::is_control) {
            return Err(format!("label: {WORD_BYTES_MAX} bytes at most, in one line"));
        }
        if self.text.len() > TEXT_BYTES_MAX {
            return Err(format!("text: {TEXT_BYTES_MAX} bytes at most"));
        }
        Ok(())
    }
}

/// A mark.
#[derive(Clone, PartialEq, Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Mark {
    /// Its number; they rise.
    pub(crate) id: i64,
    /// When it begins, milliseconds since 1970.
    pub(crate) at: i64,
    /// How long it lasts, in milliseconds; 0: a moment.
    pub(crate) duration_ms: i64,
    /// What it is, for programs.
    pub(crate) kind: String,
    /// The same for people; may be empty.
    pub(crate) label: String,
    /// How sure it is, 0 to 1.
    pub(crate) score: Option<f64>,
    /// Where in the picture.
    #[serde(rename = "box")]
    pub(crate) area: Option<Area>,
    /// More about it; may be empty.
    pub(crate) text: String,
    /// When it was made, seconds since 1970.
    pub(crate) created_at: i64,
}

/// Why a mark was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MarkError {
    #[error("{0}")]
    Bad(String),
    #[error("a device takes {MARKS_BURST} marks at once and then one a second: make one mark with a duration of what lasts")]
    TooMany,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Takes marks.
#[derive(Debug)]
pub(crate) struct Marks {
    store: Store,
    events: Arc<EventLog>,
    clock: Clock,
    limit: RateLimit<DeviceId>,
}

impl Marks {
    pub(crate) fn new(store: Store, events: Arc<EventLog>, clock: Clock) -> Self {
        Self { store, events, clock, limit: RateLimit::new(MARKS_BURST, MARK_REFILL) }
    }

    /// Makes one, with a row in the audit log, and tells whoever listens.
    pub(crate) async fn add(&self, actor: &Actor, device: &DeviceId, mut new: NewMark) -> Result<Mark, MarkError> {
        let now_ms = self.clock.unix_millis();
        if new.at == 0 {
            new.at = now_ms;
        }
        new.check(now_ms).map_err(MarkError::Bad)?;
        self.limit.take(device.clone(), self.clock.now()).map_err(|_| MarkError::TooMany)?;
        let created_at = self.clock.unix_secs();
        let mut write = self.store.write(actor).await?;
        let id = write.add_mark(device, &new, created_at).await?;
        let detail = json!({ "mark": id, "kind": new.kind, "at": new.at, "from": actor.from() });
        write.commit(Action::MarkAdd, device.as_str(), detail).await?;
        let NewMark { at, duration_ms, kind, label, score, area, text } = new;
        let mark = Mark { id, at, duration_ms, kind, label, score, area, text, created_at };
        // They have a table of their own: among the kept events they would push out all others.
        self.events.pass_on(device.as_str(), EventKind::MarkAdded, json!(mark));
        Ok(mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_t_be_a_mark_is_named() {
        let good = json!({ "kind": "person", "at": 1000, "score": 0.5, "box": { "x": 0.5, "y": 0, "width": 0.5, "height": 1 } });
        let check = |field: &str, value: serde_json::Value| {
            let mut mark = good.clone();
            mark[field] = value;
            serde_json::from_value::<NewMark>(mark).unwrap().check(5000)
        };
        assert_eq!(check("label", json!("Person")), Ok(()));
        for (field, value) in [
            ("kind", json!("")),
            ("kind", json!("A person")),
            ("at", json!(-1)),
            ("at", json!(70_000)),
            ("duration_ms", json!(-1)),
            ("duration_ms", json!(DURATION_MS_MAX + 1)),
            ("score", json!(1.1)),
            ("box", json!({ "x": 0.6, "y": 0, "width": 0.5, "height": 1 })),
            ("box", json!({ "x": 0, "y": 0, "width": 0, "height": 1 })),
            ("label", json!("x".repeat(65))),
            ("text", json!("x".repeat(1025))),
        ] {
            assert!(check(field, value.clone()).unwrap_err().starts_with(field), "{field} {value}");
        }
    }
}
