//! Who may watch: short tokens that are signed here and checked by origins alone, and named keys that origins have a list of.

use crate::{
    clock::Clock,
    identity::signing_keys::{KeyError, SigningKeys},
    secrets::{CryptoError, Secret, command_id, hex, random_secret, sha256},
    servers::lists::List,
    store::{
        Store,
        actor::{Action, Actor},
        error::StoreError,
        playback_keys::PlaybackKeyRow,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sightline_listen::Network;
use sightline_signal::{
    DeviceId, PlayClaims, PlayPurpose, Text,
    report::{PlaybackKey, PlaybackKeyUse, PlaybackKeys},
};

/// Keys of an installation: what an origin keeps.
const KEYS_MAX: i64 = 10_000;
/// The longest name of a key, in characters.
const NAME_CHARS_MAX: usize = 64;
/// How long a short token is good where the request says nothing: a page that has just been opened begins within it.
const TOKEN_TTL_SEC: u32 = 300;
/// The longest life of a short token. What is to last is a key: that can be taken back.
const TOKEN_TTL_SEC_MAX: u32 = 3600;
/// How long a key that has ended stays in their list, so that whoever shows it hears why.
const ENDED_KEPT_SEC: i64 = 86_400;
/// The ways of playing that a right may be limited to.
const WAYS: [&str; 7] = ["rtmp", "flv", "hls", "whep", "snapshot", "frames", "vod"];

/// Why there is no right.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaybackError {
    /// What was asked for can't be.
    #[error("{0}")]
    Bad(String),
    /// There is no such device.
    #[error("there is no device {0}, or it was revoked")]
    DeviceUnknown(DeviceId),
    /// There is no such key.
    #[error("there is no playback key {0}; `sightline token list` shows all of them")]
    KeyUnknown(String),
    /// There are too many.
    #[error("there are {KEYS_MAX} playback keys already: take some back")]
    TooMany,
    /// The cryptographic library failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The signing keys failed.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a right is limited to.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The only address, or network such as `10.0.0.0/8`, that it is good from; empty: any.
    #[serde(default)]
    pub address: String,
    /// The ways that it is good for: `rtmp`, `flv`, `hls`, `whep`, `snapshot`, `frames`, `vod`; empty: all.
    #[serde(default)]
    pub ways: Vec<String>,
    /// How many may watch with it at a time; 0: any number.
    #[serde(default)]
    pub viewers_max: u32,
}

impl Limits {
    /// The ways as tokens have them.
    fn checked_ways(&self) -> Result<String, PlaybackError> {
        if !self.address.is_empty() {
            self.address.parse::<Network>().map_err(|error| PlaybackError::Bad(format!("address: {error}")))?;
        }
        match self.ways.iter().find(|way| !WAYS.contains(&way.as_str())) {
            Some(way) => {
                let shown: String = way.chars().take(NAME_CHARS_MAX).collect();
                Err(PlaybackError::Bad(format!("ways: {shown:?} is no way of playing; there are {}", WAYS.join(", "))))
            }
            None if self.ways.len() > WAYS.len() => Err(PlaybackError::Bad("ways: each one once".to_owned())),
            None => Ok(self.ways.join(",")),
        }
    }
}

/// A key to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewKey {
    /// Whose stream it plays.
    pub device: DeviceId,
    /// What it is for, for people.
    pub name: String,
    /// How long it is good; `None`: until it is taken back.
    pub ttl_sec: Option<u64>,
    /// What it is limited to.
    pub limits: Limits,
}

/// A key that was made. The only time that its secret is shown: what is kept is a hash.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct AddedKey {
    /// Names it, to take it back.
    pub id: String,
    /// Whose stream it plays.
    #[schema(value_type = String)]
    pub device: DeviceId,
    /// What it is for.
    pub name: String,
    /// The stream's playback id.
    pub playback: String,
    /// The secret: `?token=` behind each address of the stream.
    #[serde(serialize_with = "reveal")]
    #[schema(value_type = String)]
    key: Secret<String>,
    /// When it ends, seconds since 1970.
    pub ends_at: Option<i64>,
}

impl AddedKey {
    /// The secret, for the one who asked for it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.key.reveal()
    }
}

fn reveal<S: serde::Serializer>(secret: &Secret<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.reveal())
}

/// A key as it is listed. Times are seconds since 1970.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ListedPlaybackKey)]
pub struct ListedKey {
    /// Names it, to take it back.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// Whose stream it plays.
    #[schema(value_type = String)]
    pub device: DeviceId,
    /// The stream's playback id; null where the device was revoked: then the key plays nothing.
    pub playback: Option<String>,
    /// When it was made.
    pub created_at: i64,
    /// When it ends; null: when it is taken back.
    pub ends_at: Option<i64>,
    /// The only address or network that it is good from; empty: any.
    pub address: String,
    /// The ways that it is good for; empty: all.
    pub ways: Vec<String>,
    /// How many may watch with it at a time; 0: any number.
    pub viewers_max: u32,
    /// When someone last began to watch with it, or asked.
    pub used_at: Option<i64>,
    /// From where.
    pub used_from: Option<String>,
}

/// A short right to begin.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct PlaybackToken {
    /// The stream's playback id.
    playback: String,
    /// `?token=` behind each address of the stream.
    #[serde(serialize_with = "reveal")]
    #[schema(value_type = String)]
    token: Secret<String>,
    /// Until when playing may begin, and HLS may go on, seconds since 1970.
    expires_at: i64,
}

impl PlaybackToken {
    /// The token, for who uses it.
    pub(crate) fn reveal(&self) -> &str {
        self.token.reveal()
    }
}

/// The rights to watch.
#[derive(Debug)]
pub(crate) struct Playback {
    store: Store,
    keys: SigningKeys,
    clock: Clock,
    list: List<Vec<PlaybackKey>>,
}

impl Playback {
    pub(crate) fn new(store: Store, keys: SigningKeys, clock: Clock) -> Self {
        Self { store, keys, clock, list: List::default() }
    }

    /// Signs a short token for a device's stream.
    pub(crate) async fn token(&self, device: &DeviceId, ttl_sec: Option<u32>, limits: &Limits) -> Result<PlaybackToken, PlaybackError> {
        let ttl_sec = ttl_sec.unwrap_or(TOKEN_TTL_SEC);
        if !(1..=TOKEN_TTL_SEC_MAX).contains(&ttl_sec) {
            return Err(PlaybackError::Bad(format!(
                "ttl_sec: 1 to {TOKEN_TTL_SEC_MAX}; a playback key lasts longer, and can be taken back"
            )));
        }
        let ways = limits.checked_ways()?;
        let known = self.store.device(device).await?.filter(|device| device.revoked_at.is_none());
        let stream = known.ok_or_else(|| PlaybackError::DeviceUnknown(device.clone()))?.stream;
        let playback = self.store.playback_of(&stream);
        let expires_at = self.clock.unix_secs() + i64::from(ttl_sec);
        let text = |what: &str| PlaybackError::Bad(format!("{what} is too long"));
        let claims = PlayClaims {
            purpose: PlayPurpose::Play,
            playback: Text::try_from(playback.as_str()).map_err(|_| text("the playback id"))?,
            expires_at,
            id: Text::try_from(command_id().as_str()).map_err(|_| text("the id"))?,
            address: Text::try_from(limits.address.trim()).map_err(|_| text("address"))?,
            ways: Text::try_from(ways.as_str()).map_err(|_| text("ways"))?,
            viewers_max: limits.viewers_max,
        };
        let token = Secret::new(self.keys.sign(&self.keys.current_kid(), &claims)?);
        metrics::counter!("sightline_playback_tokens_total").increment(1);
        Ok(PlaybackToken { playback, token, expires_at })
    }

    /// Whether a token or a key plays a stream now. For what it is limited to besides, the origin looks.
    pub(crate) async fn opens(&self, playback: &str, shown: &str) -> Result<bool, StoreError> {
        let now = self.clock.unix_secs();
        if let Some(claims) = self.keys.verify::<PlayClaims>(shown) {
            return Ok(claims.playback.as_str() == playback && claims.expires_at > now);
        }
        let key = self.store.playback_key_by_hash(&hex(&sha256(shown))).await?;
        let key = key.filter(|key| key.ends_at.is_none_or(|end| end > now));
        Ok(key.and_then(|key| key.stream).is_some_and(|stream| self.store.playback_of(&stream) == playback))
    }

    /// The keys, where an origin's are another version.
    pub(crate) async fn for_origin(&self, version: u64) -> Result<Option<PlaybackKeys>, StoreError> {
        let other = self.list.other_than(version, async || self.read().await).await?;
        Ok(other.map(|(version, keys)| PlaybackKeys { version, keys }))
    }

    async fn read(&self) -> Result<Vec<PlaybackKey>, StoreError> {
        let now = self.clock.unix_secs();
        let rows = self.store.playback_keys().await?.into_iter();
        let rows = rows.filter(|row| row.ends_at.is_none_or(|end| end > now - ENDED_KEPT_SEC));
        Ok(rows.filter_map(|row| self.for_origins(row)).collect())
    }

    fn for_origins(&self, row: PlaybackKeyRow) -> Option<PlaybackKey> {
        let PlaybackKeyRow { id, stream, sha256, ends_at, address, ways, viewers_max, .. } = row;
        Some(PlaybackKey { id, sha256, playback: self.store.playback_of(&stream?), ends_at, address, ways, viewers_max })
    }

    /// Keys were used.
    pub(crate) async fn used(&self, uses: &[PlaybackKeyUse]) {
        if uses.is_empty() {
            return;
        }
        if let Err(error) = self.store.store_playback_key_uses(uses).await {
            tracing::warn!(%error, "the last uses of playback keys are not kept");
        }
    }
}

/// Makes a key, with a row in the audit log.
pub(crate) async fn add_key(store: &Store, clock: &Clock, actor: &Actor, new: NewKey) -> Result<AddedKey, PlaybackError> {
    let name = new.name.trim().to_owned();
    if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
        return Err(PlaybackError::Bad(format!("name: 1 to {NAME_CHARS_MAX} characters, so that people know what the key is for")));
    }
    if new.ttl_sec == Some(0) {
        return Err(PlaybackError::Bad("ttl_sec: at least 1; leave it out for a key that lasts until it is taken back".to_owned()));
    }
    let ways = new.limits.checked_ways()?;
    let known = store.device(&new.device).await?.filter(|device| device.revoked_at.is_none());
    let stream = known.ok_or_else(|| PlaybackError::DeviceUnknown(new.device.clone()))?.stream;
    let (secret, created_at) = (random_secret()?, clock.unix_secs());
    let ends_at = new.ttl_sec.map(|ttl| created_at.saturating_add(i64::try_from(ttl).unwrap_or(i64::MAX)));
    let row = PlaybackKeyRow {
        id: command_id().as_str().to_owned(),
        name,
        device: new.device,
        stream: None,
        sha256: hex(&sha256(secret.reveal())),
        created_at,
        ends_at,
        address: new.limits.address.trim().to_owned(),
        ways,
        viewers_max: new.limits.viewers_max,
        used_at: None,
        used_from: None,
    };
    let mut write = store.write(actor).await?;
    if write.playback_keys().await? >= KEYS_MAX {
        return Err(PlaybackError::TooMany);
    }
    write.add_playback_key(&row).await?;
    let detail = json!({ "key": row.id, "name": row.name, "ends_at": ends_at, "from": actor.from() });
    write.commit(Action::PlaybackKeyAdd, row.device.as_str(), detail).await?;
    Ok(AddedKey { id: row.id, device: row.device, name: row.name, playback: store.playback_of(&stream), key: secret, ends_at })
}

/// Takes a key back: whoever watches with it is cut off within ten seconds.
pub(crate) async fn remove_key(store: &Store, actor: &Actor, id: &str) -> Result<(), PlaybackError> {
    let mut write = store.write(actor).await?;
    let unknown = || PlaybackError::KeyUnknown(id.chars().take(NAME_CHARS_MAX).collect());
    let device = write.remove_playback_key(id).await?.ok_or_else(unknown)?;
    write.commit(Action::PlaybackKeyRemove, &device, json!({ "key": id, "from": actor.from() })).await?;
    Ok(())
}

/// All keys, by id.
pub(crate) async fn list_keys(store: &Store) -> Result<Vec<ListedKey>, StoreError> {
    let listed = |row: PlaybackKeyRow| ListedKey {
        playback: row.stream.as_deref().map(|stream| store.playback_of(stream)),
        ways: row.ways.split(',').filter(|way| !way.is_empty()).map(str::to_owned).collect(),
        id: row.id,
        name: row.name,
        device: row.device,
        created_at: row.created_at,
        ends_at: row.ends_at,
        address: row.address,
        viewers_max: row.viewers_max,
        used_at: row.used_at,
        used_from: row.used_from,
    };
    Ok(store.playback_keys().await?.into_iter().map(listed).collect())
}
