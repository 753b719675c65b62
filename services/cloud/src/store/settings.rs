//! The table `device_settings`: what devices shall be set to, and what they report that they are set to.

use super::{
    Store, Write, device_id,
    error::{At as _, StoreError},
    signed,
    sqlite::Row,
    unsigned,
};
use serde_json::{Map, Value};
use sightline_signal::{
    DeviceId,
    config::{Desired, Reported},
};
use sqlx::Row as _;

/// Tables of settings, by their names in a camera's file.
pub type Tables = Map<String, Value>;

/// The settings of one device. Times are seconds since 1970.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct SettingsRow {
    /// `None`: the device's own file is all.
    pub(crate) desired: Option<Desired<Tables>>,
    pub(crate) desired_at: Option<i64>,
    pub(crate) reported: Option<Reported<Tables>>,
    pub(crate) reported_at: Option<i64>,
}

impl SettingsRow {
    /// Whether the device runs the desired settings.
    pub(crate) fn is_in_sync(&self) -> bool {
        let wanted = self.desired.as_ref().map(|desired| desired.version);
        match &self.reported {
            Some(reported) => reported.version == wanted && reported.applied,
            None => wanted.is_none(),
        }
    }

    /// The payload of `config/desired`: empty where what was desired is taken back; `None` where nothing ever was desired.
    pub(crate) fn message(&self) -> Option<Vec<u8>> {
        match &self.desired {
            Some(desired) => serde_json::to_vec(desired).ok(),
            None => self.desired_at.map(|_| Vec::new()),
        }
    }
}

/// The message for a device whose desired settings have changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SettingsChange {
    pub(crate) device: DeviceId,
    pub(crate) message: Vec<u8>,
    /// The cursor of whoever follows the changes.
    pub(crate) epoch: u64,
}

impl Store {
    /// What is known of a device; all empty where nothing is.
    pub(crate) async fn settings(&self, device: &DeviceId) -> Result<SettingsRow, StoreError> {
        let row = sqlx::query("SELECT version, settings, desired_at, reported, reported_at FROM device_settings WHERE device = $1")
            .bind(device.as_str())
            .fetch_optional(&self.pool)
            .await;
        row.and_then(|row| row.as_ref().map(settings_of).transpose()).map(Option::unwrap_or_default).at(&self.path)
    }

    /// Desired settings that have changed after the cursor, in any process.
    pub(crate) async fn settings_changed_after(&self, cursor: u64) -> Result<Vec<SettingsChange>, StoreError> {
        let rows = sqlx::query(
            "SELECT version, settings, desired_at, reported, reported_at, device, epoch FROM device_settings \
             WHERE epoch > $1 ORDER BY epoch",
        )
        .bind(signed(cursor))
        .fetch_all(&self.pool)
        .await;
        rows.and_then(|rows| rows.iter().filter_map(|row| change_of(row).transpose()).collect()).at(&self.path)
    }

    /// The desired settings of all devices, for a broker that begins with an empty memory.
    pub(crate) async fn settings_of_all(&self) -> Result<Vec<SettingsChange>, StoreError> {
        let rows = sqlx::query(
            "SELECT s.version, s.settings, s.desired_at, s.reported, s.reported_at, s.device, s.epoch FROM device_settings s \
             JOIN devices d ON d.id = s.device WHERE s.version IS NOT NULL AND d.revoked_at IS NULL",
        )
        .fetch_all(&self.pool)
        .await;
        rows.and_then(|rows| rows.iter().filter_map(|row| change_of(row).transpose()).collect()).at(&self.path)
    }

    /// Stores what a device reports.
    pub(crate) async fn store_reported(&self, device: &DeviceId, version: u64, reported: &str) -> Result<(), StoreError> {
        let stored = sqlx::query(
            "INSERT INTO device_settings (device, version_max, reported, reported_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (device) DO UPDATE SET reported = excluded.reported, reported_at = excluded.reported_at, \
             version_max = CASE WHEN device_settings.version_max > excluded.version_max \
             THEN device_settings.version_max ELSE excluded.version_max END",
        )
        .bind(device.as_str())
        .bind(signed(version))
        .bind(reported)
        .bind(self.clock.unix_secs())
        .execute(&self.writer)
        .await;
        stored.map(|_| ()).at(&self.path)
    }
}

impl Write<'_> {
    /// The highest version of a device's settings that was ever seen; 0 where there is none.
    pub(crate) async fn settings_version_max(&mut self, device: &DeviceId) -> Result<u64, StoreError> {
        let select = sqlx::query_scalar("SELECT version_max FROM device_settings WHERE device = $1").bind(device.as_str());
        let version: Option<i64> = select.fetch_optional(&mut *self.tx).await.at(&self.store.path)?;
        Ok(version.map_or(0, unsigned))
    }

    /// Forgets what a device was to be set to and what it reported: it is another owner's now. Versions go on rising.
    pub(crate) async fn forget_settings(&mut self, device: &DeviceId) -> Result<(), StoreError> {
        let epoch = self.next_epoch().await?;
        let forgotten = sqlx::query(
            "UPDATE device_settings SET version = NULL, settings = NULL, desired_at = $2, reported = NULL, reported_at = NULL, epoch = $3 \
             WHERE device = $1",
        )
        .bind(device.as_str())
        .bind(self.store.clock.unix_secs())
        .bind(signed(epoch))
        .execute(&mut *self.tx)
        .await;
        forgotten.map(|_| ()).at(&self.store.path)
    }

    /// Stores what a device shall be set to; `None`: its own file is all again.
    pub(crate) async fn set_desired(&mut self, device: &DeviceId, desired: Option<&Desired<Tables>>) -> Result<(), StoreError> {
        let text = desired.and_then(|desired| serde_json::to_string(&desired.settings).ok());
        let version = desired.map(|desired| signed(desired.version));
        let epoch = self.next_epoch().await?;
        let stored = sqlx::query(
            "INSERT INTO device_settings (device, version, settings, desired_at, version_max, epoch) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (device) DO UPDATE SET version = excluded.version, settings = excluded.settings, \
             desired_at = excluded.desired_at, epoch = excluded.epoch, \
             version_max = CASE WHEN device_settings.version_max > excluded.version_max \
             THEN device_settings.version_max ELSE excluded.version_max END",
        )
        .bind(device.as_str())
        .bind(version)
        .bind(text)
        .bind(self.store.clock.unix_secs())
        .bind(version.unwrap_or(0))
        .bind(signed(epoch))
        .execute(&mut *self.tx)
        .await;
        stored.map(|_| ()).at(&self.store.path)
    }
}

fn settings_of(row: &Row) -> Result<SettingsRow, sqlx::Error> {
    let decode = |error| sqlx::Error::Decode(Box::new(error));
    let (version, settings): (Option<i64>, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
    let settings = settings.map(|text| serde_json::from_str(&text)).transpose().map_err(decode)?;
    let reported: Option<String> = row.try_get(3)?;
    Ok(SettingsRow {
        desired: version.zip(settings).map(|(version, settings)| Desired { version: unsigned(version), settings }),
        desired_at: row.try_get(2)?,
        reported: reported.map(|text| serde_json::from_str(&text)).transpose().map_err(decode)?,
        reported_at: row.try_get(4)?,
    })
}

fn change_of(row: &Row) -> Result<Option<SettingsChange>, sqlx::Error> {
    let (device, epoch) = (device_id(row, 5)?, unsigned(row.try_get(6)?));
    Ok(settings_of(row)?.message().map(|message| SettingsChange { device, message, epoch }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Clock,
        data_dir::DataDir,
        store::actor::{Action, Actor},
    };
    use serde_json::json;

    #[test]
    fn in_sync_means_that_the_wanted_version_runs() {
        let desired = |version| Some(Desired { version, settings: Tables::new() });
        let reported = |version, applied| {
            let text = json!({"version": version, "applied": applied, "settings": {}, "timestamp": 0});
            Some(serde_json::from_value::<Reported<Tables>>(text).unwrap())
        };
        let is_in_sync = |desired, reported| SettingsRow { desired, reported, ..SettingsRow::default() }.is_in_sync();
        assert!(is_in_sync(None, None) && is_in_sync(None, reported(None, true)) && is_in_sync(desired(3), reported(Some(3), true)));
        assert!(!is_in_sync(desired(3), None) && !is_in_sync(desired(3), reported(Some(2), true)));
        let taken_back = SettingsRow { desired_at: Some(1), ..SettingsRow::default() };
        assert_eq!((taken_back.message(), SettingsRow::default().message()), (Some(Vec::new()), None));
        assert!(!is_in_sync(desired(3), reported(Some(3), false)) && !is_in_sync(None, reported(Some(2), true)));
    }

    #[tokio::test]
    async fn a_change_is_read_once_and_a_report_is_no_change() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&DataDir::open(home.path()).unwrap(), Clock::default()).await.unwrap();
        let cam = DeviceId::new("cam").unwrap();
        for version in [None, Some(5), Some(6)] {
            let mut write = store.write(&Actor::Cli).await.unwrap();
            let desired = version.map(|version| Desired { version, settings: Tables::new() });
            write.set_desired(&cam, desired.as_ref()).await.unwrap();
            write.commit(Action::DeviceConfig, "cam", json!({})).await.unwrap();
        }
        let changes = store.settings_changed_after(0).await.unwrap();
        assert_eq!(
            changes.iter().map(|change| String::from_utf8_lossy(&change.message).into_owned()).collect::<Vec<_>>(),
            [r#"{"version":6,"settings":{}}"#]
        );
        store.store_reported(&cam, 9, r#"{"version":9,"applied":true,"settings":{},"timestamp":1}"#).await.unwrap();
        assert!(store.settings_changed_after(changes[0].epoch).await.unwrap().is_empty());
        let mut write = store.write(&Actor::Cli).await.unwrap();
        assert_eq!(write.settings_version_max(&cam).await.unwrap(), 9);
    }
}
