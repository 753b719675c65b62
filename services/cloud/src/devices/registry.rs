//! The registry: who may come in, with which certificate and token.

use crate::{
    clock::Clock,
    data_dir::{DataDir, DataDirError, MODE_SECRET, write},
    identity::authority::{Authority, OPERATOR},
    secrets::{CryptoError, random_secret, random_stream_name, sha256},
    store::{
        Store, Write,
        actor::{Action, Actor},
        devices::{Credentials, DeviceRow, ROTATION_GRACE_MS},
        error::StoreError,
    },
};
use serde::Serialize;
use serde_json::json;
use sightline_signal::DeviceId;
use std::path::PathBuf;

/// Why the registry refuses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// There is such a device already.
    #[error("device {0} exists already; `sightline device show {0}` shows it, `rotate` renews its certificate")]
    DeviceExists(DeviceId),
    /// There is no such device.
    #[error("there is no device {0}; `sightline device list` shows all of them")]
    DeviceUnknown(DeviceId),
    /// The id belongs to the system.
    #[error("the id {0} is reserved; choose another one")]
    DeviceReserved(DeviceId),
    /// The device is revoked.
    #[error("device {0} is revoked; `sightline device add {0}` enrols it anew")]
    DeviceRevoked(DeviceId),
    /// A file failed.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No randomness for a name or a token.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

/// Where a new device's files are. Only their owner can read them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AddedDevice {
    /// The device.
    pub id: DeviceId,
    /// Its certificate.
    pub pem: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Its bearer token for HTTP. The database has only its hash.
    pub token: PathBuf,
    /// The authority that it checks the cloud and the origins with.
    pub ca: PathBuf,
}

/// Enrols, renews and revokes devices.
#[derive(Debug)]
pub(crate) struct Registry {
    dir: DataDir,
    authority: Authority,
    store: Store,
    clock: Clock,
}

impl Registry {
    pub(crate) fn new(dir: DataDir, authority: Authority, store: Store, clock: Clock) -> Self {
        Self { dir, authority, store, clock }
    }

    /// Where a device's files are.
    pub(crate) fn files(&self, id: &DeviceId) -> AddedDevice {
        let file = |extension| self.dir.device_file(id, extension);
        AddedDevice { id: id.clone(), pem: file("pem"), key: file("key"), token: file("token"), ca: self.dir.file("ca.pem") }
    }

    /// A device that must be there.
    pub(crate) async fn known(&self, id: &DeviceId) -> Result<DeviceRow, RegistryError> {
        self.store.device(id).await?.ok_or_else(|| RegistryError::DeviceUnknown(id.clone()))
    }

    /// Enrols a device that is new or revoked.
    pub(crate) async fn add(&self, actor: &Actor, id: &DeviceId) -> Result<AddedDevice, RegistryError> {
        if id.as_str() == OPERATOR {
            return Err(RegistryError::DeviceReserved(id.clone()));
        }
        let mut write = self.store.write(actor).await?;
        // Under the write lock: of two that add the same device, the second is refused before it replaces the first one's files.
        if write.is_enrolled(id).await? {
            return Err(RegistryError::DeviceExists(id.clone()));
        }
        let last_ms = self.store.device(id).await?.map_or(0, |revoked| revoked.certificate_issued_at_ms());
        let (token_sha256, issued_at_ms) = self.issue(id, last_ms)?;
        // A device enrolled anew must not come back with the certificate that it was revoked with.
        let credentials =
            Credentials { token_sha256: &token_sha256, cert_issued_min_ms: issued_at_ms, cert_issued_min_from_ms: issued_at_ms };
        write.enrol(id, &random_stream_name()?, &credentials).await?;
        write.drop_answers(id).await?;
        write.forget_settings(id).await?;
        write.commit(Action::DeviceAdd, id.as_str(), json!({})).await?;
        Ok(self.files(id))
    }

    /// Revokes a device. Idempotent.
    pub(crate) async fn revoke(&self, actor: &Actor, id: &DeviceId) -> Result<(), RegistryError> {
        let device = self.known(id).await?;
        if device.revoked_at.is_some() {
            return Ok(());
        }
        match self.write_revocation(actor, &device).await {
            // A full disk must not keep a stolen device in.
            Err(error) if self.store.open_reserve(&error) => Ok(self.write_revocation(actor, &device).await?),
            written => Ok(written?),
        }
    }

    /// Removes a device for good: its identity, its files, what was kept for it. Its tokens are void, the audit log stays.
    pub(crate) async fn remove(&self, actor: &Actor, id: &DeviceId) -> Result<(), RegistryError> {
        let device = self.known(id).await?;
        let mut write = self.store.write(actor).await?;
        let epoch_min = write.remove(id, &device.stream).await?;
        write.commit(Action::DeviceRemove, id.as_str(), json!({ "epoch_min": epoch_min })).await?;
        for extension in ["pem", "key", "token"] {
            let path = self.dir.device_file(id, extension);
            match std::fs::remove_file(&path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => return Err(DataDirError::File { path, source }.into()),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Takes a device's right to publish; it keeps its identity. The tokens that it was given are void: origins refuse them, and
    /// end the stream that began with one.
    pub(crate) async fn deny(&self, actor: &Actor, id: &DeviceId) -> Result<(), RegistryError> {
        let device = self.known(id).await?;
        match self.write_denial(actor, &device).await {
            Err(error) if self.store.open_reserve(&error) => Ok(self.write_denial(actor, &device).await?),
            written => Ok(written?),
        }
    }

    async fn write_denial(&self, actor: &Actor, device: &DeviceRow) -> Result<(), StoreError> {
        let mut write = self.store.write(actor).await?;
        write.permit_push(&device.id, false).await?;
        let epoch_min = write.void_tokens(&device.stream).await?;
        // Allowed again, it gets no answer whose token is void.
        write.drop_answers(&device.id).await?;
        let detail = json!({ "may_push": false, "epoch_min": epoch_min });
        write.commit(Action::DevicePermit, device.id.as_str(), detail).await
    }

    async fn write_revocation(&self, actor: &Actor, device: &DeviceRow) -> Result<(), StoreError> {
        let mut write = self.store.write(actor).await?;
        let epoch_min = write.revoke(&device.id, &device.stream).await?;
        write.commit(Action::DeviceRevoke, device.id.as_str(), json!({ "epoch_min": epoch_min })).await
    }

    /// A new certificate, key and bearer token.
    pub(crate) async fn rotate(&self, actor: &Actor, id: &DeviceId) -> Result<AddedDevice, RegistryError> {
        let mut write = self.write_active(actor, id).await?;
        let (token_sha256, issued_at_ms) = self.issue(id, self.known(id).await?.certificate_issued_at_ms())?;
        let old_until_ms = self.clock.unix_millis() + ROTATION_GRACE_MS;
        let credentials =
            Credentials { token_sha256: &token_sha256, cert_issued_min_ms: issued_at_ms, cert_issued_min_from_ms: old_until_ms };
        write.renew(id, &credentials).await?;
        let detail = json!({ "old_certificate_until": old_until_ms / 1000 });
        write.commit(Action::DeviceRotateCredentials, id.as_str(), detail).await?;
        Ok(self.files(id))
    }

    /// Gives a device the right to publish back. Its next request gets a token with a fresh epoch.
    pub(crate) async fn allow(&self, actor: &Actor, id: &DeviceId) -> Result<(), RegistryError> {
        self.known(id).await?;
        let mut write = self.store.write(actor).await?;
        write.permit_push(id, true).await?;
        Ok(write.commit(Action::DevicePermit, id.as_str(), json!({ "may_push": true })).await?)
    }

    /// Begins an operation on a device that is enrolled and not revoked.
    async fn write_active<'a>(&'a self, actor: &'a Actor, id: &DeviceId) -> Result<Write<'a>, RegistryError> {
        if self.known(id).await?.revoked_at.is_some() {
            return Err(RegistryError::DeviceRevoked(id.clone()));
        }
        Ok(self.store.write(actor).await?)
    }

    /// Writes certificate, key and token; gives the token's hash and when the certificate was issued.
    fn issue(&self, id: &DeviceId, last_ms: i64) -> Result<([u8; 32], i64), RegistryError> {
        let token = random_secret()?;
        let issued_at_ms = self.authority.issue_device(id, last_ms)?;
        write(&self.dir.device_file(id, "token"), token.reveal(), MODE_SECRET)?;
        Ok((sha256(token.reveal()), issued_at_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_removed_device_leaves_no_identity_void_tokens_and_its_rows_in_the_audit_log() {
        let home = tempfile::tempdir().unwrap();
        let (dir, clock) = (DataDir::open(home.path()).unwrap(), Clock::default());
        let authority = Authority::open(&dir, clock.clone()).unwrap();
        let store = Store::open(&dir, clock.clone()).await.unwrap();
        let registry = Registry::new(dir.clone(), authority, store.clone(), clock.clone());
        let cam = DeviceId::new("cam").unwrap();
        let added = registry.add(&Actor::Cli, &cam).await.unwrap();
        let token = sha256(crate::data_dir::read(&added.token).unwrap().trim());
        let first = registry.known(&cam).await.unwrap();
        let seen = store.newest_epoch().await.unwrap();
        registry.remove(&Actor::Cli, &cam).await.unwrap();
        assert!(matches!(registry.remove(&Actor::Cli, &cam).await, Err(RegistryError::DeviceUnknown(_))));
        assert!(store.device_by_token(&token).await.unwrap().is_none() && store.devices("", 10).await.unwrap().is_empty());
        assert!([&added.pem, &added.key, &added.token].iter().all(|path| !path.exists()));
        assert_eq!(store.streams_revoked_after(seen).await.unwrap().items[0].stream, first.stream);
        assert_eq!(store.devices_revoked_after(seen).await.unwrap().items, std::slice::from_ref(&cam), "a running cloud cuts it");
        let actions: Vec<_> = store.audit_entries(None, 10).await.unwrap().into_iter().map(|entry| entry.action).collect();
        assert_eq!(actions, ["device.remove", "device.add"]);
        // The name may be given again; what the first one was given opens nothing.
        clock.advance(Duration::from_secs(1));
        registry.add(&Actor::Cli, &cam).await.unwrap();
        let second = registry.known(&cam).await.unwrap();
        assert!(second.stream != first.stream && !second.takes_certificate(first.certificate_issued_at_ms(), clock.unix_millis()));
        assert!(store.devices_revoked_after(seen).await.unwrap().items.is_empty());
    }

    #[tokio::test]
    async fn an_old_certificate_is_valid_for_an_hour_after_a_new_one_and_then_refused() {
        let home = tempfile::tempdir().unwrap();
        let (dir, clock) = (DataDir::open(home.path()).unwrap(), Clock::default());
        let authority = Authority::open(&dir, clock.clone()).unwrap();
        let store = Store::open(&dir, clock.clone()).await.unwrap();
        let registry = Registry::new(dir, authority, store, clock.clone());
        let cam = DeviceId::new("cam").unwrap();
        registry.add(&Actor::Cli, &cam).await.unwrap();
        let first_ms = clock.unix_millis();
        clock.advance(Duration::from_secs(60));
        registry.rotate(&Actor::Cli, &cam).await.unwrap();
        let takes = async |issued_at_ms: i64| registry.known(&cam).await.unwrap().takes_certificate(issued_at_ms, clock.unix_millis());
        assert!(takes(first_ms).await);
        let row = registry.known(&cam).await.unwrap();
        assert!(!row.takes_certificate(first_ms, clock.unix_millis() - 86_400_000), "the clock was a day ahead at that rotation");
        clock.advance(Duration::from_secs(3599));
        assert!(takes(first_ms).await);
        clock.advance(Duration::from_secs(2));
        assert!(!takes(first_ms).await && takes(clock.unix_millis()).await);
        registry.revoke(&Actor::Cli, &cam).await.unwrap();
        assert!(!takes(clock.unix_millis()).await);
    }
}
