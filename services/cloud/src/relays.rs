//! Streams that go on to other servers, as operators set them: origins have a list of all, and hand on those of their streams.

use crate::{
    clock::Clock,
    servers::lists::List,
    store::{
        Store,
        actor::{Action, Actor},
        error::StoreError,
        relays::RelayRow,
    },
};
use serde_json::json;
use sightline_rtmp::url::{RtmpUrl, UrlError};
use sightline_signal::{
    DeviceId,
    report::{RelayRule, RelayRules, RelayTarget},
};

/// Relays of an installation: what an origin keeps.
const RELAYS_MAX: i64 = 1000;
/// The longest name, in bytes: an origin takes no longer one.
const NAME_BYTES_MAX: usize = 64;
/// The longest pattern, in bytes: a device's id and stars.
const STREAMS_BYTES_MAX: usize = 128;
/// The longest address of a target, in bytes: an origin takes no longer one.
const URL_BYTES_MAX: usize = 600;

/// Why there is no relay.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    #[error("{0}")]
    Bad(String),
    #[error("there is no device {0}, or it was revoked")]
    DeviceUnknown(DeviceId),
    #[error("there is a relay {0} already: remove it, or take another name")]
    Exists(String),
    #[error("there is no relay {0} of the API's; those of an origin's settings are removed there")]
    Unknown(String),
    #[error("there are {RELAYS_MAX} relays already: remove some")]
    TooMany,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whose streams a relay takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Scope {
    /// One device's.
    Device(DeviceId),
    /// Those whose publishing name or device's id is like this; `*` stands for any characters.
    Pattern(String),
}

/// The relays by the API.
#[derive(Debug)]
pub(crate) struct Relays {
    store: Store,
    clock: Clock,
    list: List<Vec<RelayRule>>,
}

impl Relays {
    pub(crate) fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock, list: List::default() }
    }

    /// The relays, where an origin's are another version.
    pub(crate) async fn for_origin(&self, version: u64) -> Result<Option<RelayRules>, StoreError> {
        let read = async || self.store.relays().await.map(|rows| rows.into_iter().map(|row| row.rule).collect());
        let other = self.list.other_than(version, read).await?;
        Ok(other.map(|(version, rules)| RelayRules { version, rules }))
    }

    /// Those of a device, or those by a pattern, by name.
    pub(crate) async fn list(&self, device: Option<&DeviceId>) -> Result<Vec<RelayRow>, StoreError> {
        let device = device.map_or("", DeviceId::as_str);
        Ok(self.store.relays().await?.into_iter().filter(|row| row.rule.device == device).collect())
    }

    /// Adds one: the stream goes on within three seconds.
    pub(crate) async fn add(&self, actor: &Actor, scope: Scope, name: &str, url: String) -> Result<RelayRow, RelayError> {
        let rule = self.checked(scope, name, url).await?;
        let row = RelayRow { rule, created_at: self.clock.unix_secs() };
        let mut write = self.store.write(actor).await?;
        if write.relays().await? >= RELAYS_MAX {
            return Err(RelayError::TooMany);
        }
        if !write.add_relay(&row).await? {
            return Err(RelayError::Exists(row.rule.name));
        }
        let detail = json!({ "relay": row.rule.name, "streams": row.rule.streams, "target": target(&row.rule), "from": actor.from() });
        write.commit(Action::RelayAdd, subject(&row.rule.device), detail).await?;
        Ok(row)
    }

    async fn checked(&self, scope: Scope, name: &str, url: String) -> Result<RelayRule, RelayError> {
        let name = name.trim().to_owned();
        // A name is a part of the path that removes it.
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(|c| c.is_control() || c == '/') {
            return Err(RelayError::Bad(format!("name: 1 to {NAME_BYTES_MAX} bytes without a slash, for people")));
        }
        let parts = RtmpUrl::parse(&url).map_err(|error: UrlError| RelayError::Bad(format!("url: {error}")))?;
        if parts.app.is_empty() {
            return Err(RelayError::Bad("url: rtmp(s)://HOST[:PORT]/APPLICATION/KEY, as the target's own page shows it".to_owned()));
        }
        if url.len() > URL_BYTES_MAX {
            return Err(RelayError::Bad(format!("url: at most {URL_BYTES_MAX} bytes")));
        }
        let (device, streams) = match scope {
            Scope::Device(device) => {
                let known = self.store.device(&device).await?.filter(|known| known.revoked_at.is_none());
                known.ok_or_else(|| RelayError::DeviceUnknown(device.clone()))?;
                (device.as_str().to_owned(), String::new())
            }
            Scope::Pattern(pattern) if pattern.is_empty() || pattern.len() > STREAMS_BYTES_MAX => {
                return Err(RelayError::Bad(format!("streams: 1 to {STREAMS_BYTES_MAX} bytes: a name, or a pattern with *")));
            }
            Scope::Pattern(pattern) => (String::new(), pattern),
        };
        Ok(RelayRule { name, device, streams, url: RelayTarget::new(url) })
    }

    /// Removes one: its target is fed no more within three seconds.
    pub(crate) async fn remove(&self, actor: &Actor, device: Option<&DeviceId>, name: &str) -> Result<(), RelayError> {
        let device = device.map_or("", DeviceId::as_str);
        let mut write = self.store.write(actor).await?;
        if !write.remove_relay(device, name).await? {
            return Err(RelayError::Unknown(name.chars().take(NAME_BYTES_MAX).collect()));
        }
        write.commit(Action::RelayRemove, subject(device), json!({ "relay": name, "from": actor.from() })).await?;
        Ok(())
    }
}

/// What the audit log is about.
fn subject(device: &str) -> &str {
    if device.is_empty() { "relays" } else { device }
}

/// Where a relay goes, without its key.
pub(crate) fn target(rule: &RelayRule) -> String {
    RtmpUrl::parse(rule.url.reveal()).map_or_else(|_| "***".to_owned(), |url| url.without_key().to_string())
}
