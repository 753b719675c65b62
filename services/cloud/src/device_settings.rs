//! Settings from afar: what devices shall be set to, kept in the database, and what they say that they are set to.

use crate::{audit::Operation, authority::OPERATOR, data_dir::unix_secs, database::Database, rate_limit::RateLimit};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sightline_signal::{
    DeviceId,
    config::{DESIRED_BYTES_MAX, Desired, Reported, SETTABLE, VERSION_MAX, refusal},
};
use sqlx::Row as _;
use std::time::{Duration, Instant};

/// Reports of one device that are written at once, and then one each [`REPORT_REFILL`]: a camera sends one for each change.
const REPORTS_BURST: u32 = 20;
/// See [`REPORTS_BURST`].
const REPORT_REFILL: Duration = Duration::from_secs(1);

/// Tables of settings, by their names in a camera's file.
pub type Tables = Map<String, Value>;

/// The table `device_settings`.
#[derive(Debug)]
pub(crate) struct DeviceSettings {
    database: Database,
    reports: RateLimit<DeviceId>,
}

/// Of one device.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct SettingsRow {
    /// `None`: its own file is all.
    pub(crate) desired: Option<Desired<Tables>>,
    pub(crate) desired_at: Option<i64>,
    pub(crate) reported: Option<Reported<Tables>>,
    pub(crate) reported_at: Option<i64>,
    version_max: u64,
}

impl SettingsRow {
    /// Whether the device does what it shall do.
    pub(crate) fn is_in_sync(&self) -> bool {
        let wanted = self.desired.as_ref().map(|desired| desired.version);
        match &self.reported {
            Some(reported) => reported.version == wanted && reported.applied,
            None => wanted.is_none(),
        }
    }

    /// Empty where someone has taken back what was desired; `None` where nothing ever was.
    fn message(&self) -> Option<Vec<u8>> {
        match &self.desired {
            Some(desired) => serde_json::to_vec(desired).ok(),
            None => self.desired_at.map(|_| Vec::new()),
        }
    }
}

/// What a device shall be set to, and what it is set to. Times are seconds since 1970.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SettingsView {
    /// Null: its own file is all.
    pub desired: Option<Desired<Tables>>,
    /// When that was wished for.
    pub desired_at: Option<i64>,
    /// Null: it has not said anything yet.
    pub reported: Option<Reported<Tables>>,
    /// When it said so.
    pub reported_at: Option<i64>,
    /// Whether the device does what it shall do.
    pub in_sync: bool,
}

impl From<SettingsRow> for SettingsView {
    fn from(row: SettingsRow) -> Self {
        let in_sync = row.is_in_sync();
        let SettingsRow { desired, desired_at, reported, reported_at, .. } = row;
        Self { desired, desired_at, reported, reported_at, in_sync }
    }
}

/// What was wished for, and when: another wish differs in one of them.
pub(crate) type Wish = (Option<u64>, i64);

/// Why settings are not taken: in words, with the key.
pub(crate) fn problem_of(settings: &Tables) -> Option<String> {
    for (name, value) in settings {
        if !SETTABLE.contains(&name.as_str()) {
            let reason = refusal(name).unwrap_or("there is no such table");
            return Some(format!("{name}: {reason}; take {}", SETTABLE.join(", ")));
        }
        let is_list = name == "schedule";
        if !(value.is_null() || value.is_array() && is_list || value.is_object() && !is_list) {
            return Some(format!("{name}: {} is expected", if is_list { "a list of windows" } else { "a table of settings" }));
        }
        for key in value.as_object().into_iter().flat_map(Map::keys) {
            if let Some(reason) = refusal(&format!("{name}.{key}")) {
                return Some(format!("{name}.{key}: {reason}: it can't be set from afar"));
            }
        }
    }
    let bytes = serde_json::to_vec(&Desired { version: VERSION_MAX, settings }).map_or(usize::MAX, |text| text.len());
    (bytes > DESIRED_BYTES_MAX).then(|| format!("settings: {bytes} bytes; at most {DESIRED_BYTES_MAX} with their version"))
}

impl DeviceSettings {
    pub(crate) fn new(database: Database) -> Self {
        Self { database, reports: RateLimit::new(REPORTS_BURST, REPORT_REFILL) }
    }

    /// What is known of a device; all empty where nothing is.
    pub(crate) async fn of(&self, device: &DeviceId) -> Result<SettingsRow, sqlx::Error> {
        let row =
            sqlx::query("SELECT version, settings, desired_at, version_max, reported, reported_at FROM device_settings WHERE device = $1")
                .bind(device.as_str())
                .fetch_optional(self.database.pool())
                .await?;
        row.as_ref().map(row_of).transpose().map(Option::unwrap_or_default)
    }

    /// Writes down what a device shall be set to, under a new version; gives the message for it.
    pub(crate) async fn set(&self, device: &DeviceId, settings: Tables, address: &str) -> Result<(u64, Vec<u8>), sqlx::Error> {
        let keys = keys_of(&settings);
        let mut tx = self.database.write().await?;
        let version_max: Option<i64> = sqlx::query_scalar("SELECT version_max FROM device_settings WHERE device = $1")
            .bind(device.as_str())
            .fetch_optional(&mut *tx)
            .await?;
        let version = version_max.map_or(0, unsigned).saturating_add(1).min(VERSION_MAX);
        let desired = Desired { version, settings };
        let detail = json!({ "version": version, "keys": keys, "from": address });
        self.store(tx, device, Some(&desired), version, detail).await?;
        Ok((version, serde_json::to_vec(&desired).unwrap_or_default()))
    }

    /// Takes back what a device shall be set to: its own file is all again.
    pub(crate) async fn clear(&self, device: &DeviceId, address: &str) -> Result<(), sqlx::Error> {
        let tx = self.database.write().await?;
        self.store(tx, device, None, 0, json!({ "version": null, "from": address })).await
    }

    /// The wishes since then, with their messages: another process may have written them down.
    pub(crate) async fn since(&self, from_secs: i64) -> Result<Vec<(DeviceId, Wish, Vec<u8>)>, sqlx::Error> {
        let rows = sqlx::query(
            "SELECT version, settings, desired_at, version_max, reported, reported_at, device FROM device_settings WHERE desired_at >= $1",
        )
        .bind(from_secs)
        .fetch_all(self.database.pool())
        .await?;
        let mut wishes = Vec::new();
        for row in &rows {
            let device = DeviceId::new(row.try_get(6)?).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
            let row = row_of(row)?;
            let wish = (row.desired.as_ref().map(|desired| desired.version), row.desired_at.unwrap_or(0));
            wishes.extend(row.message().map(|message| (device, wish, message)));
        }
        Ok(wishes)
    }

    /// What the operator has published over MQTT; what does not parse is the device's to refuse.
    pub(crate) async fn heard_desired(&self, device: &DeviceId, payload: &[u8]) {
        let desired = match (payload.is_empty(), serde_json::from_slice::<Desired<Tables>>(payload)) {
            (true, _) => None,
            (false, Ok(desired)) if desired.version <= VERSION_MAX && payload.len() <= DESIRED_BYTES_MAX => Some(desired),
            _ => return,
        };
        let version = desired.as_ref().map(|desired| desired.version);
        let keys = desired.as_ref().map(|desired| keys_of(&desired.settings));
        let detail = json!({ "version": version, "keys": keys, "from": "mqtt" });
        let stored = match self.database.write().await {
            Ok(tx) => self.store(tx, device, desired.as_ref(), version.unwrap_or(0), detail).await,
            Err(error) => Err(error),
        };
        if let Err(error) = stored {
            tracing::error!(%error, %device, "settings for a device were not written down");
        }
    }

    async fn store(
        &self,
        mut tx: sqlx::Transaction<'static, sqlx::Sqlite>,
        device: &DeviceId,
        desired: Option<&Desired<Tables>>,
        version_max: u64,
        detail: Value,
    ) -> Result<(), sqlx::Error> {
        let text = desired.and_then(|desired| serde_json::to_string(&desired.settings).ok());
        sqlx::query(
            "INSERT INTO device_settings (device, version, settings, desired_at, version_max) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (device) DO UPDATE SET version = excluded.version, settings = excluded.settings, \
             desired_at = excluded.desired_at, version_max = max(version_max, excluded.version_max)",
        )
        .bind(device.as_str())
        .bind(desired.map(|desired| signed(desired.version)))
        .bind(text)
        .bind(unix_secs())
        .bind(signed(version_max))
        .execute(&mut *tx)
        .await?;
        let operation = Operation { actor: OPERATOR, action: "device.config", subject: device.as_str(), detail };
        self.database.commit_with(tx, &operation).await.map(|_| ())
    }

    /// What a device says that it is set to. What does not parse is ignored, and so is what comes too often.
    pub(crate) async fn heard_reported(&self, device: &DeviceId, payload: &[u8]) {
        let Ok(reported) = serde_json::from_slice::<Reported<Tables>>(payload) else { return };
        if self.reports.take(device.clone(), Instant::now()).is_err() {
            return tracing::debug!(%device, "reports of settings come too often");
        }
        let version = reported.version.filter(|version| *version <= VERSION_MAX).unwrap_or(0);
        let text = serde_json::to_string(&reported).unwrap_or_default();
        let stored = sqlx::query(
            "INSERT INTO device_settings (device, version_max, reported, reported_at) VALUES ($1, $2, $3, $4) ON CONFLICT (device) \
             DO UPDATE SET reported = excluded.reported, reported_at = excluded.reported_at, version_max = max(version_max, excluded.version_max)",
        )
        .bind(device.as_str())
        .bind(signed(version))
        .bind(text)
        .bind(unix_secs())
        .execute(self.database.pool())
        .await;
        if let Err(error) = stored {
            tracing::warn!(%error, %device, "what a device is set to was not written down");
        }
    }

    /// The message for a device that has connected, where it does not do yet what it shall do.
    pub(crate) async fn due(&self, device: &DeviceId) -> Option<Vec<u8>> {
        match self.of(device).await {
            Ok(row) => row.message().filter(|_| !row.is_in_sync()),
            Err(error) => {
                tracing::warn!(%error, %device, "settings for a device could not be read");
                None
            }
        }
    }

    /// The messages for all devices, for a broker that begins with an empty memory.
    pub(crate) async fn all(&self) -> Result<Vec<(DeviceId, Vec<u8>)>, sqlx::Error> {
        let rows = sqlx::query(
            "SELECT s.version, s.settings, s.desired_at, s.version_max, s.reported, s.reported_at, s.device FROM device_settings s \
             JOIN devices d ON d.id = s.device WHERE s.version IS NOT NULL AND d.revoked_at IS NULL",
        )
        .fetch_all(self.database.pool())
        .await?;
        let mut messages = Vec::new();
        for row in &rows {
            let device = DeviceId::new(row.try_get(6)?).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
            messages.extend(row_of(row)?.message().map(|message| (device, message)));
        }
        Ok(messages)
    }
}

fn row_of(row: &sqlx::sqlite::SqliteRow) -> Result<SettingsRow, sqlx::Error> {
    let decode = |error| sqlx::Error::Decode(Box::new(error));
    let (version, settings): (Option<i64>, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
    let settings = settings.map(|text| serde_json::from_str(&text)).transpose().map_err(decode)?;
    let reported: Option<String> = row.try_get(4)?;
    Ok(SettingsRow {
        desired: version.zip(settings).map(|(version, settings)| Desired { version: unsigned(version), settings }),
        desired_at: row.try_get(2)?,
        version_max: unsigned(row.try_get(3)?),
        reported: reported.map(|text| serde_json::from_str(&text)).transpose().map_err(decode)?,
        reported_at: row.try_get(5)?,
    })
}

/// `stream.quality`: what an audit log should tell, without the values.
fn keys_of(settings: &Tables) -> Vec<String> {
    let of_table = |(name, value): (&String, &Value)| match value {
        Value::Object(table) => table.keys().map(|key| format!("{name}.{key}")).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => vec![name.clone()],
    };
    settings.iter().flat_map(of_table).collect()
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// Versions end far below.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(value: Value) -> Tables {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn what_has_the_wrong_shape_is_refused_by_name() {
        let problem = |value: Value| problem_of(&tables(value)).unwrap_or_default();
        assert_eq!(problem(json!({"stream": {"quality": "low"}, "schedule": [], "motion": null})), "");
        assert!(problem(json!({"mqtt": {}})).starts_with("mqtt: the way"));
        assert!(problem(json!({"strem": {}})).contains("strem: there is no such table"));
        assert!(problem(json!({"stream": []})).contains("a table") && problem(json!({"schedule": {}})).contains("a list"));
        assert!(problem(json!({"stream": {"stream_key": "x"}})).contains("stream.stream_key: a secret"));
        assert!(problem(json!({"stream": {"quality": "x".repeat(DESIRED_BYTES_MAX)}})).contains("at most 8192"));
        assert_eq!(keys_of(&tables(json!({"stream": {"quality": "low"}, "schedule": []}))), ["schedule", "stream.quality"]);
    }

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
}
