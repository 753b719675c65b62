//! Recordings that are to stay: origins have the list of all, and remove nothing that it names.

use crate::{
    clock::Clock,
    servers::lists::List,
    store::{
        Store,
        actor::{Action, Actor},
        error::StoreError,
        holds::HoldRow,
    },
};
use serde::Deserialize;
use serde_json::json;
use sightline_signal::{
    DeviceId,
    report::{RecordingHold, RecordingHolds},
};

/// Holds of an installation: what an origin keeps, and looks through for each file.
const HOLDS_MAX: i64 = 1000;
/// The longest reason, in bytes: a sentence and a case's number.
const REASON_BYTES_MAX: usize = 256;

/// Why there is no hold.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HoldError {
    #[error("{0}")]
    Bad(String),
    #[error("there is no hold {0}, or it has ended")]
    Unknown(i64),
    #[error("there are {HOLDS_MAX} holds already: take some back")]
    TooMany,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A hold to be set.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewHold {
    /// Whose recordings.
    pub(crate) device: String,
    /// From when on, milliseconds since 1970.
    pub(crate) from: i64,
    /// Up to when, milliseconds since 1970. It may lie ahead: what is going to be recorded until then stays, too.
    pub(crate) to: i64,
    /// Why, for people: 1 to 256 bytes. The audit log has it.
    #[schema(min_length = 1, max_length = 256)]
    pub(crate) reason: String,
    /// When the hold ends by itself, seconds since 1970; without it, when it is taken back.
    #[serde(default)]
    pub(crate) ends_at: Option<i64>,
}

/// The holds of an installation.
#[derive(Debug)]
pub(crate) struct Holds {
    store: Store,
    clock: Clock,
    list: List<Vec<RecordingHold>>,
}

impl Holds {
    pub(crate) fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock, list: List::default() }
    }

    /// The holds, where an origin's are another version.
    pub(crate) async fn for_origin(&self, version: u64) -> Result<Option<RecordingHolds>, StoreError> {
        let span = |HoldRow { device, from, to, .. }| RecordingHold { device, from, to };
        let read = async || self.list(None).await.map(|rows| rows.into_iter().map(span).collect());
        let other = self.list.other_than(version, read).await?;
        Ok(other.map(|(version, holds)| RecordingHolds { version, holds }))
    }

    /// Those that hold now, by number, of one device or of all.
    pub(crate) async fn list(&self, device: Option<&str>) -> Result<Vec<HoldRow>, StoreError> {
        self.store.holds(device, self.clock.unix_secs()).await
    }

    /// Sets one: origins know it within three seconds.
    pub(crate) async fn add(&self, actor: &Actor, device: &DeviceId, new: NewHold) -> Result<HoldRow, HoldError> {
        let now = self.clock.unix_secs();
        let reason = new.reason.trim().to_owned();
        if new.from < 0 || new.from >= new.to {
            return Err(HoldError::Bad("from and to are milliseconds since 1970, and from comes before to".to_owned()));
        }
        if reason.is_empty() || reason.len() > REASON_BYTES_MAX || reason.chars().any(char::is_control) {
            return Err(HoldError::Bad(format!("reason: 1 to {REASON_BYTES_MAX} bytes, for people")));
        }
        if new.ends_at.is_some_and(|ends_at| ends_at <= now) {
            return Err(HoldError::Bad("ends_at is over already: seconds since 1970, or leave it out".to_owned()));
        }
        let NewHold { from, to, ends_at, .. } = new;
        let mut hold =
            HoldRow { id: 0, device: device.as_str().to_owned(), from, to, reason, ends_at, actor: actor.to_string(), created_at: now };
        let mut write = self.store.write(actor).await?;
        if write.holds(now).await? >= HOLDS_MAX {
            return Err(HoldError::TooMany);
        }
        hold.id = write.add_hold(&hold).await?;
        write.commit(Action::HoldAdd, &hold.device, detail(&hold, actor)).await?;
        Ok(hold)
    }

    /// The one of this number, if it holds.
    pub(crate) async fn find(&self, id: i64) -> Result<HoldRow, HoldError> {
        self.list(None).await?.into_iter().find(|hold| hold.id == id).ok_or(HoldError::Unknown(id))
    }

    /// Takes one back: the rules count again.
    pub(crate) async fn remove(&self, actor: &Actor, id: i64) -> Result<(), HoldError> {
        let mut write = self.store.write(actor).await?;
        let hold = write.remove_hold(id).await?.ok_or(HoldError::Unknown(id))?;
        write.commit(Action::HoldRemove, &hold.device, detail(&hold, actor)).await?;
        Ok(())
    }
}

fn detail(hold: &HoldRow, actor: &Actor) -> serde_json::Value {
    json!({ "hold": hold.id, "start": hold.from, "end": hold.to, "reason": hold.reason, "ends_at": hold.ends_at, "from": actor.from() })
}
