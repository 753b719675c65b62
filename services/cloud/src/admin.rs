//! Administration on the data directory itself: what `sightline device …` and `sightline audit …` do.
//!
//! It works while the cloud runs on the same directory: both sides meet in the database, and the cloud looks every second
//! for what was revoked here.

pub use crate::audit::{AuditEntry, Verdict};
pub use crate::device_settings::{SettingsView, Tables};
use crate::{
    CloudError,
    audit::{self, Operation},
    authority::{Authority, OPERATOR},
    data_dir::{self, DataDir, MODE_SECRET, unix_millis},
    database::{Credentials, Database, DeviceRow},
    device_settings::{DeviceSettings, problem_of},
    signing_keys,
};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use sightline_signal::DeviceId;
use std::path::{Path, PathBuf};

/// How long a device's older certificate stays good after `rotate`: it has to fetch the new one first.
const ROTATION_GRACE_MS: i64 = 3_600_000;
/// Characters of a stream's name: 10 x 5 bits of chance keep names apart (they are no secret), and it travels in every token.
const STREAM_CHARACTERS: usize = 10;

/// Where a new device's files lie. They are readable by their owner alone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AddedDevice {
    /// The device.
    pub id: DeviceId,
    /// Its certificate.
    pub pem: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Its bearer token for HTTP. Only a hash of it is in the database.
    pub token: PathBuf,
    /// The authority that it checks the cloud and the origins with.
    pub ca: PathBuf,
}

/// A device as the database has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// What viewers call its stream.
    pub playback: String,
    /// Whether it may publish.
    pub may_push: bool,
    /// When it was enrolled, seconds since 1970.
    pub created_at: i64,
    /// When it was last heard of, seconds since 1970; written down every half minute.
    pub last_seen: Option<i64>,
    /// When its right was taken away, seconds since 1970.
    pub revoked_at: Option<i64>,
}

/// An open data directory.
#[derive(Debug)]
pub(crate) struct Registry {
    dir: DataDir,
    authority: Authority,
    database: Database,
}

impl Registry {
    async fn open(data_dir: &Path) -> Result<Self, CloudError> {
        let dir = DataDir::open(data_dir)?;
        let authority = Authority::open(&dir)?;
        let database = Database::open(&dir).await?;
        Ok(Self { dir, authority, database })
    }

    pub(crate) fn new(dir: DataDir, authority: Authority, database: Database) -> Self {
        Self { dir, authority, database }
    }

    fn files(&self, id: &DeviceId) -> AddedDevice {
        let file = |extension| self.dir.device_file(id, extension);
        AddedDevice { id: id.clone(), pem: file("pem"), key: file("key"), token: file("token"), ca: self.dir.file("ca.pem") }
    }

    async fn known(&self, id: &DeviceId) -> Result<DeviceRow, CloudError> {
        let row = self.database.device(id).await.map_err(|source| self.database.error(source))?;
        row.ok_or_else(|| CloudError::DeviceUnknown(id.clone()))
    }

    pub(crate) async fn add(&self, id: &DeviceId, actor: &str) -> Result<AddedDevice, CloudError> {
        if id.as_str() == OPERATOR {
            return Err(CloudError::DeviceReserved(id.clone()));
        }
        let error = |source| self.database.error(source);
        let mut tx = self.database.write().await.map_err(error)?;
        // Asked under the write lock: of two that add the same device, one is told so.
        let taken: i64 = sqlx::query_scalar("SELECT count(*) FROM devices WHERE id = $1 AND revoked_at IS NULL")
            .bind(id.as_str())
            .fetch_one(&mut *tx)
            .await
            .map_err(error)?;
        if taken != 0 {
            return Err(CloudError::DeviceExists(id.clone()));
        }
        let token = data_dir::random_secret()?;
        let issued_at_ms = self.authority.issue_device(id)?;
        data_dir::write(&self.dir.device_file(id, "token"), &token, MODE_SECRET)?;
        let token_sha256 = sha256(&token);
        // A device enrolled anew must not come back with the certificate that it was revoked with.
        let credentials =
            Credentials { token_sha256: &token_sha256, cert_issued_min_ms: issued_at_ms, cert_issued_min_from_ms: issued_at_ms };
        self.database.enrol(&mut tx, id, &random_stream_name()?, &credentials).await.map_err(error)?;
        let operation = Operation { actor, action: "device.add", subject: id.as_str(), detail: json!({}) };
        self.database.commit_with(tx, &operation).await.map_err(error)?;
        Ok(self.files(id))
    }

    pub(crate) async fn revoke(&self, id: &DeviceId, actor: &str) -> Result<(), CloudError> {
        let device = self.known(id).await?;
        if device.revoked_at.is_some() {
            return Ok(());
        }
        let error = |source| self.database.error(source);
        let mut tx = self.database.write().await.map_err(error)?;
        let now = data_dir::unix_secs();
        sqlx::query("UPDATE devices SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
            .bind(id.as_str())
            .bind(now)
            .execute(&mut *tx)
            .await
            .map_err(error)?;
        // One more than any epoch that was given out: every token of this stream is below it.
        let epoch_min = Database::next_epoch(&mut tx).await.map_err(error)?;
        sqlx::query(
            "INSERT INTO revoked_streams (stream, epoch_min, revoked_at) VALUES ($1, $2, $3) \
             ON CONFLICT (stream) DO UPDATE SET epoch_min = excluded.epoch_min, revoked_at = excluded.revoked_at",
        )
        .bind(&device.stream)
        .bind(epoch_min)
        .bind(now)
        .execute(&mut *tx)
        .await
        .map_err(error)?;
        let operation = Operation { actor, action: "device.revoke", subject: id.as_str(), detail: json!({ "epoch_min": epoch_min }) };
        self.database.commit_with(tx, &operation).await.map_err(error)?;
        Ok(())
    }

    async fn rotate(&self, id: &DeviceId, actor: &str) -> Result<AddedDevice, CloudError> {
        if self.known(id).await?.revoked_at.is_some() {
            return Err(CloudError::DeviceRevoked(id.clone()));
        }
        let error = |source| self.database.error(source);
        let mut tx = self.database.write().await.map_err(error)?;
        let token = data_dir::random_secret()?;
        let issued_at_ms = self.authority.issue_device(id)?;
        data_dir::write(&self.dir.device_file(id, "token"), &token, MODE_SECRET)?;
        sqlx::query("UPDATE devices SET token_sha256 = $2, cert_issued_min_ms = $3, cert_issued_min_from_ms = $4 WHERE id = $1")
            .bind(id.as_str())
            .bind(sha256(&token).as_slice())
            .bind(issued_at_ms)
            .bind(unix_millis() + ROTATION_GRACE_MS)
            .execute(&mut *tx)
            .await
            .map_err(error)?;
        let detail = json!({ "old_certificate_until": (unix_millis() + ROTATION_GRACE_MS) / 1000 });
        let operation = Operation { actor, action: "device.rotate_credentials", subject: id.as_str(), detail };
        self.database.commit_with(tx, &operation).await.map_err(error)?;
        Ok(self.files(id))
    }
}

/// Enrols a device: a certificate with its id as common name, a bearer token and a stream name of its own.
///
/// # Errors
/// [`CloudError::DeviceExists`], [`CloudError::DeviceReserved`], or what files and database say. A revoked device is enrolled
/// anew, under another stream name.
pub async fn add_device(data_dir: &Path, id: &DeviceId) -> Result<AddedDevice, CloudError> {
    Registry::open(data_dir).await?.add(id, "cli").await
}

/// Like [`add_device`], and for a device that is there already the paths of its files.
///
/// # Errors
/// Like [`add_device`], except that a device may exist.
pub async fn ensure_device(data_dir: &Path, id: &DeviceId) -> Result<AddedDevice, CloudError> {
    let registry = Registry::open(data_dir).await?;
    match registry.add(id, "cli").await {
        Err(CloudError::DeviceExists(_)) => Ok(registry.files(id)),
        other => other,
    }
}

/// All devices, by id.
///
/// # Errors
/// What the database says.
pub async fn list_devices(data_dir: &Path) -> Result<Vec<Device>, CloudError> {
    let registry = Registry::open(data_dir).await?;
    let rows = registry.database.devices("", u32::MAX).await.map_err(|source| registry.database.error(source))?;
    Ok(rows.iter().map(Device::from).collect())
}

/// One device.
///
/// # Errors
/// [`CloudError::DeviceUnknown`], or what the database says.
pub async fn show_device(data_dir: &Path, id: &DeviceId) -> Result<Device, CloudError> {
    Registry::open(data_dir).await?.known(id).await.map(|row| Device::from(&row))
}

/// Takes a device's right away: its connection is cut, its tokens and certificate are refused, its stream ends within ten
/// seconds (specification §3). Idempotent.
///
/// # Errors
/// [`CloudError::DeviceUnknown`], or what the database says.
pub async fn revoke_device(data_dir: &Path, id: &DeviceId) -> Result<(), CloudError> {
    Registry::open(data_dir).await?.revoke(id, "cli").await
}

/// A new certificate, key and bearer token for a device. The old bearer token ends at once, the old certificate after an hour.
///
/// # Errors
/// [`CloudError::DeviceUnknown`], [`CloudError::DeviceRevoked`], or what files and database say.
pub async fn rotate_device(data_dir: &Path, id: &DeviceId) -> Result<AddedDevice, CloudError> {
    Registry::open(data_dir).await?.rotate(id, "cli").await
}

/// Gives or takes a device's permission to publish; it keeps its identity (`PERMISSION_DENIED` instead of `UNAUTHORIZED`).
///
/// # Errors
/// [`CloudError::DeviceUnknown`], or what the database says.
pub async fn permit_push(data_dir: &Path, id: &DeviceId, may_push: bool) -> Result<(), CloudError> {
    let registry = Registry::open(data_dir).await?;
    registry.known(id).await?;
    let error = |source| registry.database.error(source);
    let mut tx = registry.database.write().await.map_err(error)?;
    sqlx::query("UPDATE devices SET may_push = $2 WHERE id = $1")
        .bind(id.as_str())
        .bind(may_push)
        .execute(&mut *tx)
        .await
        .map_err(error)?;
    let detail = json!({ "may_push": may_push });
    registry
        .database
        .commit_with(tx, &Operation { actor: "cli", action: "device.permit", subject: id.as_str(), detail })
        .await
        .map_err(error)?;
    Ok(())
}

/// What a device shall be set to from afar, and what it says that it is set to.
///
/// # Errors
/// [`CloudError::DeviceUnknown`], or what the database says.
pub async fn device_settings(data_dir: &Path, id: &DeviceId) -> Result<SettingsView, CloudError> {
    let registry = Registry::open(data_dir).await?;
    registry.known(id).await?;
    settings_of(&registry, id).await
}

/// Wishes for settings of a device, under a new version and in place of those before; `None` takes them back. The running cloud tells the device
/// within a second or two.
///
/// # Errors
/// [`CloudError::DeviceUnknown`], [`CloudError::DeviceRevoked`], [`CloudError::DeviceSettings`] with the key, or what the database says.
pub async fn set_device_settings(data_dir: &Path, id: &DeviceId, settings: Option<Tables>) -> Result<SettingsView, CloudError> {
    let registry = Registry::open(data_dir).await?;
    if registry.known(id).await?.revoked_at.is_some() {
        return Err(CloudError::DeviceRevoked(id.clone()));
    }
    let error = |source| registry.database.error(source);
    let all = DeviceSettings::new(registry.database.clone());
    match settings {
        Some(settings) => {
            if let Some(problem) = problem_of(&settings) {
                return Err(CloudError::DeviceSettings(problem));
            }
            all.set(id, settings, "cli").await.map_err(error)?;
        }
        None => all.clear(id, "cli").await.map_err(error)?,
    }
    settings_of(&registry, id).await
}

async fn settings_of(registry: &Registry, id: &DeviceId) -> Result<SettingsView, CloudError> {
    let row = DeviceSettings::new(registry.database.clone()).of(id).await;
    row.map(SettingsView::from).map_err(|source| registry.database.error(source))
}

/// Moves the set of signing keys on by one; the running cloud and its origins follow within seconds.
///
/// # Errors
/// [`CloudError::KeysRotatedRecently`], or what the database says.
pub async fn rotate_signing_keys(data_dir: &Path) -> Result<(), CloudError> {
    signing_keys::rotate(&Registry::open(data_dir).await?.database, "cli").await
}

/// Files that an origin of the same machine starts with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Prepared {
    /// The server's certificate, good for localhost, the machine's name, and the extra names.
    pub server_pem: PathBuf,
    /// Its private key.
    pub server_key: PathBuf,
    /// The key that origins show with their reports.
    pub cluster_key: PathBuf,
}

/// Makes what a data directory lacks, as the cloud's first start does: for a process that starts an origin before its cloud.
///
/// # Errors
/// [`CloudError`] names the file.
pub async fn prepare(data_dir: &Path, host_names: &[String]) -> Result<Prepared, CloudError> {
    let registry = Registry::open(data_dir).await?;
    registry.authority.ensure_server(host_names)?;
    let file = |name| registry.dir.file(name);
    data_dir::read_or_make_secret(&file("cluster.key"))?;
    Ok(Prepared { server_pem: file("server.pem"), server_key: file("server.key"), cluster_key: file("cluster.key") })
}

/// Checks the whole audit log.
///
/// # Errors
/// What the database says before a row can be named.
pub async fn verify_audit(data_dir: &Path) -> Result<Verdict, CloudError> {
    let database = Database::open(&DataDir::open(data_dir)?).await?;
    audit::verify(&database, database.audit_head_path()).await.map_err(|source| database.error(source))
}

/// The newest entries of the audit log, newest first; `before` (exclusive) pages back.
///
/// # Errors
/// What the database says.
pub async fn audit_entries(data_dir: &Path, before: Option<i64>, limit: u32) -> Result<Vec<AuditEntry>, CloudError> {
    let database = Database::open(&DataDir::open(data_dir)?).await?;
    audit::entries(&database, before, limit).await.map_err(|source| database.error(source))
}

impl From<&DeviceRow> for Device {
    fn from(row: &DeviceRow) -> Self {
        Self {
            id: row.id.clone(),
            playback: sightline_signal::playback_id(&row.stream).as_str().to_owned(),
            may_push: row.may_push,
            created_at: row.created_at,
            last_seen: row.last_seen,
            revoked_at: row.revoked_at,
        }
    }
}

/// SHA-256 of a secret: what the database keeps.
pub(crate) fn sha256(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Random, in lower-case base 32: names nothing and no one.
fn random_stream_name() -> Result<String, CloudError> {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bytes = [0; STREAM_CHARACTERS];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| CloudError::Crypto("draw a stream's name"))?;
    Ok(bytes.iter().map(|byte| char::from(DIGITS[usize::from(byte & 31)])).collect())
}
