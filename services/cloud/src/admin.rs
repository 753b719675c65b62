//! Administration of a data directory: what `sightline device …` and `sightline audit …` do.
//!
//! It works while the cloud runs on the same directory: both meet in the database, and the cloud looks every second for what
//! was changed here.

pub mod people;
pub mod servers;

use crate::{
    audit::checkpoints::{self, CheckpointKey},
    clock::Clock,
    data_dir::{self, DataDir},
    devices::{registry::Registry, settings},
    error::AdminError,
    identity::{
        authority::{Authority, OPERATOR},
        certificates::device_certificate_until,
        operator_certificates::OperatorCertificates,
        signing_keys,
    },
    playback,
    store::{
        Store,
        actor::{Action, Actor},
        devices::DeviceRow,
    },
};
pub use crate::{
    audit::{
        chain::{AuditEntry, Verdict},
        checkpoints::CheckpointVerdict,
    },
    devices::{
        registry::{AddedDevice, RegistryError},
        settings::{SettingsProblem, SettingsView},
    },
    identity::operator_certificates::{AddedOperator, OperatorCertificate, OperatorError},
    playback::{AddedKey, Limits, ListedKey, NewKey, PlaybackError},
    store::settings::Tables,
};
use serde::Serialize;
use serde_json::json;
use sightline_signal::{DeviceId, report::AuditCheckpoint};
use std::path::{Path, PathBuf};

/// A device as the database has it. Times are seconds since 1970.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// What viewers call its stream.
    pub playback: String,
    /// Whether it may publish.
    pub may_push: bool,
    /// The group that it is in; empty: the root.
    pub group: people::GroupPath,
    /// When it was enrolled.
    pub created_at: i64,
    /// When it last sent something; stored every half minute.
    pub last_seen: Option<i64>,
    /// When it was revoked.
    pub revoked_at: Option<i64>,
    /// When its newest certificate ends; `sightline device rotate` makes another.
    pub certificate_until: i64,
}

impl Device {
    fn of(store: &Store, row: DeviceRow) -> Self {
        Self {
            certificate_until: device_certificate_until(&row),
            playback: store.playback_of(&row.stream),
            id: row.id,
            group: row.group,
            may_push: row.may_push,
            created_at: row.created_at,
            last_seen: row.last_seen,
            revoked_at: row.revoked_at,
        }
    }
}

/// An open data directory.
struct Home {
    dir: DataDir,
    clock: Clock,
    store: Store,
}

impl Home {
    async fn open(data_dir: &Path) -> Result<Self, AdminError> {
        let (dir, clock) = (DataDir::open(data_dir)?, Clock::default());
        let store = Store::open(&dir, clock.clone()).await?;
        Ok(Self { dir, clock, store })
    }

    fn authority(&self) -> Result<Authority, AdminError> {
        Ok(Authority::open(&self.dir, self.clock.clone())?)
    }

    fn operators(&self, authority: &Authority) -> Result<OperatorCertificates, AdminError> {
        authority.ensure_operator()?;
        Ok(OperatorCertificates::open(&self.dir, self.clock.clone())?)
    }

    fn registry(&self) -> Result<Registry, AdminError> {
        Ok(Registry::new(self.dir.clone(), self.authority()?, self.store.clone(), self.clock.clone()))
    }
}

/// Enrols a device: a certificate with its id as common name, a bearer token and a stream name of its own.
///
/// # Errors
/// [`RegistryError::DeviceExists`], [`RegistryError::DeviceReserved`], or what files and database report. A revoked device is
/// enrolled anew, under another stream name.
pub async fn add_device(data_dir: &Path, id: &DeviceId) -> Result<AddedDevice, AdminError> {
    Ok(Home::open(data_dir).await?.registry()?.add(&Actor::Cli, id).await?)
}

/// Like [`add_device`]; of a device that exists already, it gives the paths of its files.
///
/// # Errors
/// Like [`add_device`], except that a device may exist.
pub async fn ensure_device(data_dir: &Path, id: &DeviceId) -> Result<AddedDevice, AdminError> {
    let registry = Home::open(data_dir).await?.registry()?;
    match registry.add(&Actor::Cli, id).await {
        Err(RegistryError::DeviceExists(_)) => Ok(registry.files(id)),
        other => Ok(other?),
    }
}

/// All devices, by id.
///
/// # Errors
/// What the database reports.
pub async fn list_devices(data_dir: &Path) -> Result<Vec<Device>, AdminError> {
    let store = Home::open(data_dir).await?.store;
    Ok(store.devices("", u32::MAX).await?.into_iter().map(|row| Device::of(&store, row)).collect())
}

/// One device.
///
/// # Errors
/// [`RegistryError::DeviceUnknown`], or what the database reports.
pub async fn show_device(data_dir: &Path, id: &DeviceId) -> Result<Device, AdminError> {
    let home = Home::open(data_dir).await?;
    Ok(Device::of(&home.store, home.registry()?.known(id).await?))
}

/// Makes a named key that plays a device's stream until it ends or is taken back. Its secret is in the answer alone.
///
/// # Errors
/// [`PlaybackError`], or what the database reports.
pub async fn add_playback_key(data_dir: &Path, new: NewKey) -> Result<AddedKey, AdminError> {
    let home = Home::open(data_dir).await?;
    Ok(playback::add_key(&home.store, &home.clock, &Actor::Cli, new).await?)
}

/// All playback keys with their last use, by id.
///
/// # Errors
/// What the database reports.
pub async fn list_playback_keys(data_dir: &Path) -> Result<Vec<ListedKey>, AdminError> {
    Ok(playback::list_keys(&Home::open(data_dir).await?.store).await?)
}

/// Takes a playback key back: whoever watches with it is cut off within ten seconds.
///
/// # Errors
/// [`PlaybackError::KeyUnknown`], or what the database reports.
pub async fn remove_playback_key(data_dir: &Path, id: &str) -> Result<(), AdminError> {
    Ok(playback::remove_key(&Home::open(data_dir).await?.store, &Actor::Cli, id).await?)
}

/// Revokes a device: its connection is cut, its tokens and certificate are refused, its stream ends within ten seconds
/// (specification §3). Idempotent.
///
/// # Errors
/// [`RegistryError::DeviceUnknown`], or what the database reports.
pub async fn revoke_device(data_dir: &Path, id: &DeviceId) -> Result<(), AdminError> {
    Ok(Home::open(data_dir).await?.registry()?.revoke(&Actor::Cli, id).await?)
}

/// Removes a device for good: its identity, its files and what was kept for it. Its tokens are void, its connections end; the audit log stays.
///
/// # Errors
/// [`RegistryError::DeviceUnknown`], or what files and database report.
pub async fn remove_device(data_dir: &Path, id: &DeviceId) -> Result<(), AdminError> {
    Ok(Home::open(data_dir).await?.registry()?.remove(&Actor::Cli, id).await?)
}

/// A new certificate, key and bearer token for a device. The old bearer token ends at once, the old certificate after an hour.
///
/// # Errors
/// [`RegistryError::DeviceUnknown`], [`RegistryError::DeviceRevoked`], or what files and database report.
pub async fn rotate_device(data_dir: &Path, id: &DeviceId) -> Result<AddedDevice, AdminError> {
    Ok(Home::open(data_dir).await?.registry()?.rotate(&Actor::Cli, id).await?)
}

/// Allows or forbids a device to publish; it keeps its identity (`PERMISSION_DENIED` instead of `UNAUTHORIZED`). What a device was
/// given before it was forbidden is void: its stream ends within ten seconds.
///
/// # Errors
/// [`RegistryError::DeviceUnknown`], or what the database reports.
pub async fn permit_push(data_dir: &Path, id: &DeviceId, may_push: bool) -> Result<(), AdminError> {
    let registry = Home::open(data_dir).await?.registry()?;
    let permitted = if may_push { registry.allow(&Actor::Cli, id).await } else { registry.deny(&Actor::Cli, id).await };
    Ok(permitted?)
}

/// Makes a certificate for an operator. Several may have one.
///
/// # Errors
/// [`OperatorError`], or what files and database report.
pub async fn add_operator(data_dir: &Path, name: &str) -> Result<AddedOperator, AdminError> {
    let home = Home::open(data_dir).await?;
    let authority = home.authority()?;
    let added = home.operators(&authority)?.add(&authority, name)?;
    let detail = json!({ "operator": name });
    home.store.write(&Actor::Cli).await?.commit(Action::OperatorAdd, OPERATOR, detail).await?;
    Ok(added)
}

/// All certificates of operators that are or were accepted.
///
/// # Errors
/// What files report.
pub async fn list_operators(data_dir: &Path) -> Result<Vec<OperatorCertificate>, AdminError> {
    let home = Home::open(data_dir).await?;
    Ok(home.operators(&home.authority()?)?.all())
}

/// Takes an operator's certificate off the list: its connections end within ten seconds, and it opens nothing any more.
///
/// # Errors
/// [`OperatorError::Unknown`], or what files and database report.
pub async fn revoke_operator(data_dir: &Path, name: &str) -> Result<(), AdminError> {
    let home = Home::open(data_dir).await?;
    home.operators(&home.authority()?)?.revoke(name)?;
    let detail = json!({ "operator": name });
    Ok(home.store.write(&Actor::Cli).await?.commit(Action::OperatorRevoke, OPERATOR, detail).await?)
}

/// What a device shall be set to from afar, and what it reports that it is set to.
///
/// # Errors
/// [`RegistryError::DeviceUnknown`], or what the database reports.
pub async fn device_settings(data_dir: &Path, id: &DeviceId) -> Result<SettingsView, AdminError> {
    let home = Home::open(data_dir).await?;
    home.registry()?.known(id).await?;
    Ok(home.store.settings(id).await?.into())
}

/// Sets a device from afar, under a new version and in place of the settings before; `None` takes them back. The running cloud
/// notifies the device within a second or two.
///
/// # Errors
/// [`RegistryError::DeviceUnknown`], [`RegistryError::DeviceRevoked`], [`SettingsProblem`] with the key, or what the database
/// reports.
pub async fn set_device_settings(data_dir: &Path, id: &DeviceId, settings: Option<Tables>) -> Result<SettingsView, AdminError> {
    let home = Home::open(data_dir).await?;
    if home.registry()?.known(id).await?.revoked_at.is_some() {
        return Err(RegistryError::DeviceRevoked(id.clone()).into());
    }
    match settings {
        Some(settings) => {
            settings::check(&settings)?;
            settings::set(&home.store, &Actor::Cli, id, settings).await?;
        }
        None => settings::clear(&home.store, &Actor::Cli, id).await?,
    }
    Ok(home.store.settings(id).await?.into())
}

/// Moves the set of signing keys on by one; the running cloud and its origins follow within seconds.
///
/// # Errors
/// [`crate::KeyError::RotatedRecently`], or what the database reports.
pub async fn rotate_signing_keys(data_dir: &Path) -> Result<(), AdminError> {
    let home = Home::open(data_dir).await?;
    Ok(signing_keys::rotate(&home.store, &home.clock, &Actor::Cli).await?)
}

/// Files that an origin of the same machine starts with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Prepared {
    /// The server's certificate, valid for localhost, the machine's name, and the extra names.
    pub server_pem: PathBuf,
    /// Its private key.
    pub server_key: PathBuf,
    /// The key that origins show with their reports.
    pub cluster_key: PathBuf,
}

/// Makes what a data directory lacks, as the cloud's first start does: for a process that starts an origin before its cloud.
///
/// # Errors
/// [`AdminError`] names the file.
pub async fn prepare(data_dir: &Path, host_names: &[String]) -> Result<Prepared, AdminError> {
    let home = Home::open(data_dir).await?;
    home.authority()?.ensure_server(host_names)?;
    let file = |name| home.dir.file(name);
    data_dir::read_or_make_secret(&file("cluster.key"))?;
    Ok(Prepared { server_pem: file("server.pem"), server_key: file("server.key"), cluster_key: file("cluster.key") })
}

/// Checks the whole audit log.
///
/// # Errors
/// What the database reports before a row can be named.
pub async fn verify_audit(data_dir: &Path) -> Result<Verdict, AdminError> {
    Ok(Home::open(data_dir).await?.store.verify_audit().await?)
}

/// Signs the audit log as it is, for a place outside of this machine.
///
/// # Errors
/// What files and database report.
pub async fn sign_audit_checkpoint(data_dir: &Path) -> Result<AuditCheckpoint, AdminError> {
    let home = Home::open(data_dir).await?;
    Ok(checkpoints::sign(&CheckpointKey::open(&home.dir)?, &home.store, &home.clock).await?)
}

/// Whether the audit log still holds a checkpoint that was kept elsewhere.
///
/// # Errors
/// What files and database report.
pub async fn compare_audit_checkpoint(data_dir: &Path, checkpoint: &AuditCheckpoint) -> Result<CheckpointVerdict, AdminError> {
    let home = Home::open(data_dir).await?;
    Ok(checkpoints::compare(&CheckpointKey::open(&home.dir)?, &home.store, checkpoint).await?)
}

/// The newest entries of the audit log, newest first; `before` (exclusive) pages back.
///
/// # Errors
/// What the database reports.
pub async fn audit_entries(data_dir: &Path, before: Option<i64>, limit: u32) -> Result<Vec<AuditEntry>, AdminError> {
    Ok(Home::open(data_dir).await?.store.audit_entries(before, limit).await?)
}
