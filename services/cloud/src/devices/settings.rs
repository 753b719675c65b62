//! Settings from afar: what devices shall be set to, and what they report that they are set to.

use crate::{
    clock::Clock,
    rate_limit::RateLimit,
    store::{
        Store,
        actor::{Action, Actor, Channel},
        error::StoreError,
        settings::{SettingsRow, Tables},
    },
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sightline_signal::{
    DeviceId,
    config::{DESIRED_BYTES_MAX, Desired, Reported, SETTABLE, VERSION_MAX, refusal},
};
use std::{borrow::Cow, time::Duration};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ArrayBuilder, ObjectBuilder, RefOr, Schema, Type,
        schema::{AdditionalProperties, SchemaType},
    },
};

/// The longest report that is taken: as long as what the broker retains.
const REPORTED_BYTES_MAX: usize = 16 << 10;
/// Reports of one device that are stored at once, and then one every [`REPORT_REFILL`]: a camera sends one for each change.
const REPORTS_BURST: u32 = 20;
/// See [`REPORTS_BURST`].
const REPORT_REFILL: Duration = Duration::from_secs(1);

/// [`Tables`], as the API's description has them.
pub(crate) struct SettingTables;

impl PartialSchema for SettingTables {
    fn schema() -> RefOr<Schema> {
        let tables = ["stream", "motion", "recording"].into_iter().fold(ObjectBuilder::new(), |tables, name| {
            tables.property(name, ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::Object, Type::Null])))
        });
        tables
            .property(
                "schedule",
                ArrayBuilder::new()
                    .schema_type(SchemaType::from_iter([Type::Array, Type::Null]))
                    .items(ObjectBuilder::new().schema_type(Type::Object)),
            )
            .description(Some("The names of the camera's file: what is to differ from it"))
            .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)))
            .into()
    }
}

impl ToSchema for SettingTables {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("SettingTables")
    }
}

/// What a device shall be set to, and what it is set to. Times are seconds since 1970.
#[derive(Clone, PartialEq, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Settings)]
pub struct SettingsView {
    /// Null: the device's own file is all.
    #[schema(value_type = Option<Desired<SettingTables>>)]
    pub desired: Option<Desired<Tables>>,
    /// When that was asked for.
    pub desired_at: Option<i64>,
    /// Null: the device has reported nothing yet.
    #[schema(value_type = Option<Reported<SettingTables>>)]
    pub reported: Option<Reported<Tables>>,
    /// When it reported.
    pub reported_at: Option<i64>,
    /// Whether the device runs what is desired.
    pub in_sync: bool,
}

impl From<SettingsRow> for SettingsView {
    fn from(row: SettingsRow) -> Self {
        let in_sync = row.is_in_sync();
        let SettingsRow { desired, desired_at, reported, reported_at } = row;
        Self { desired, desired_at, reported, reported_at, in_sync }
    }
}

/// Settings that no device takes from afar.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsProblem {
    /// A table or list that can't be set from afar, or does not exist.
    #[error("{table}: {reason}; take {}", SETTABLE.join(", "))]
    Table {
        /// Its name.
        table: String,
        /// Why not.
        reason: &'static str,
    },
    /// A value of the wrong shape.
    #[error("{table}: {expected} is expected")]
    Shape {
        /// The name of the table or list.
        table: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A key that stays in the device's own file.
    #[error("{table}.{key}: {reason}: it can't be set from afar")]
    Key {
        /// The table's name.
        table: String,
        /// The key in it.
        key: String,
        /// Why not.
        reason: &'static str,
    },
    /// More than a device takes.
    #[error("settings: {bytes} bytes; at most {DESIRED_BYTES_MAX} with their version")]
    TooLong {
        /// How long they are.
        bytes: usize,
    },
}

/// Checks shape and size. What the values mean, the device checks.
pub(crate) fn check(settings: &Tables) -> Result<(), SettingsProblem> {
    for (table, value) in settings {
        if !SETTABLE.contains(&table.as_str()) {
            return Err(SettingsProblem::Table { table: table.clone(), reason: refusal(table).unwrap_or("there is no such table") });
        }
        let is_list = table == "schedule";
        if !(value.is_null() || value.is_array() && is_list || value.is_object() && !is_list) {
            let expected = if is_list { "a list of windows" } else { "a table of settings" };
            return Err(SettingsProblem::Shape { table: table.clone(), expected });
        }
        for key in value.as_object().into_iter().flat_map(Map::keys) {
            if let Some(reason) = refusal(&format!("{table}.{key}")) {
                return Err(SettingsProblem::Key { table: table.clone(), key: key.clone(), reason });
            }
        }
    }
    let bytes = serde_json::to_vec(&Desired { version: VERSION_MAX, settings }).map_or(usize::MAX, |text| text.len());
    if bytes > DESIRED_BYTES_MAX { Err(SettingsProblem::TooLong { bytes }) } else { Ok(()) }
}

/// Stores desired settings under a new version, with their row in the audit log; gives the message for the device.
pub(crate) async fn set(store: &Store, actor: &Actor, device: &DeviceId, settings: Tables) -> Result<Vec<u8>, StoreError> {
    let keys = keys_of(&settings);
    let mut write = store.write(actor).await?;
    let version = write.settings_version_max(device).await?.saturating_add(1).min(VERSION_MAX);
    let desired = Desired { version, settings };
    write.set_desired(device, Some(&desired)).await?;
    let detail = json!({ "version": version, "keys": keys, "from": actor.from() });
    write.commit(Action::DeviceConfig, device.as_str(), detail).await?;
    Ok(serde_json::to_vec(&desired).unwrap_or_default())
}

/// Takes back what a device shall be set to: its own file is all again.
pub(crate) async fn clear(store: &Store, actor: &Actor, device: &DeviceId) -> Result<(), StoreError> {
    let mut write = store.write(actor).await?;
    write.set_desired(device, None).await?;
    write.commit(Action::DeviceConfig, device.as_str(), json!({ "version": null, "from": actor.from() })).await
}

/// An operator's message was not written down, so it is not carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("it can't be written to the database, and is not carried out")]
pub(crate) struct NotStored;

impl NotStored {
    pub(crate) fn of(error: &StoreError, device: &DeviceId) -> Self {
        tracing::error!(%error, %device, "an operator's message was not stored, and is not passed on");
        Self
    }
}

/// Stores what comes over MQTT: desired settings from the operator, reported ones from devices.
#[derive(Debug)]
pub(crate) struct SettingsIntake {
    store: Store,
    clock: Clock,
    reports: RateLimit<DeviceId>,
}

impl SettingsIntake {
    pub(crate) fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock, reports: RateLimit::new(REPORTS_BURST, REPORT_REFILL) }
    }

    /// What the operator has published. The device refuses what does not parse.
    ///
    /// # Errors
    /// [`NotStored`]
    pub(crate) async fn desired_message(&self, device: &DeviceId, payload: &[u8]) -> Result<(), NotStored> {
        let desired = match (payload.is_empty(), serde_json::from_slice::<Desired<Tables>>(payload)) {
            (true, _) => None,
            (false, Ok(desired)) if desired.version <= VERSION_MAX && payload.len() <= DESIRED_BYTES_MAX => Some(desired),
            _ => return Ok(()),
        };
        self.store_desired(device, desired.as_ref()).await.map_err(|error| NotStored::of(&error, device))
    }

    async fn store_desired(&self, device: &DeviceId, desired: Option<&Desired<Tables>>) -> Result<(), StoreError> {
        let actor = Actor::Operator(Channel::Mqtt);
        let mut write = self.store.write(&actor).await?;
        write.set_desired(device, desired).await?;
        let (version, keys) = (desired.map(|desired| desired.version), desired.map(|desired| keys_of(&desired.settings)));
        let detail = json!({ "version": version, "keys": keys, "from": actor.from() });
        write.commit(Action::DeviceConfig, device.as_str(), detail).await
    }

    /// What a device reports. What does not parse is ignored, and so is what comes too often.
    pub(crate) async fn reported_message(&self, device: &DeviceId, payload: &[u8]) {
        if payload.len() > REPORTED_BYTES_MAX {
            return tracing::debug!(%device, bytes = payload.len(), "a report of settings is too long");
        }
        let Ok(mut reported) = serde_json::from_slice::<Reported<Tables>>(payload) else { return };
        keep_settable(&mut reported.settings);
        if self.reports.take(device.clone(), self.clock.now()).is_err() {
            return tracing::debug!(%device, "reports of settings come too often");
        }
        let version = reported.version.filter(|version| *version <= VERSION_MAX).unwrap_or(0);
        let text = serde_json::to_string(&reported).unwrap_or_default();
        if let Err(error) = self.store.store_reported(device, version, &text).await {
            tracing::warn!(%error, %device, "what a device reports of its settings was not stored");
        }
    }

    /// The message for a device that has connected and does not run yet what is desired.
    pub(crate) async fn due(&self, device: &DeviceId) -> Option<Vec<u8>> {
        match self.store.settings(device).await {
            Ok(row) => row.message().filter(|_| !row.is_in_sync()),
            Err(error) => {
                tracing::warn!(%error, %device, "settings for a device could not be read");
                None
            }
        }
    }
}

/// Takes out of a report what can't be set from afar: tables of others, paths, and secrets that a device should not have sent.
fn keep_settable(settings: &mut Tables) {
    settings.retain(|table, _| SETTABLE.contains(&table.as_str()));
    for (table, value) in settings.iter_mut() {
        if let Value::Object(keys) = value {
            keys.retain(|key, _| refusal(&format!("{table}.{key}")).is_none());
        }
    }
}

/// `stream.quality`: the audit log names what was set, without the values.
fn keys_of(settings: &Tables) -> Vec<String> {
    let of_table = |(name, value): (&String, &Value)| match value {
        Value::Object(table) => table.keys().map(|key| format!("{name}.{key}")).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => vec![name.clone()],
    };
    settings.iter().flat_map(of_table).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_dir::DataDir;

    fn tables(value: Value) -> Tables {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn what_has_the_wrong_shape_is_refused_by_name() {
        let problem = |value: Value| check(&tables(value)).map_or_else(|problem| problem.to_string(), |()| String::new());
        assert_eq!(problem(json!({"stream": {"quality": "low"}, "schedule": [], "motion": null})), "");
        assert!(problem(json!({"mqtt": {}})).starts_with("mqtt: the way"));
        assert!(problem(json!({"strem": {}})).contains("strem: there is no such table"));
        assert!(problem(json!({"stream": []})).contains("a table") && problem(json!({"schedule": {}})).contains("a list"));
        assert!(problem(json!({"stream": {"stream_key": "x"}})).contains("stream.stream_key: a secret"));
        assert!(problem(json!({"stream": {"quality": "x".repeat(DESIRED_BYTES_MAX)}})).contains("at most 8192"));
        assert_eq!(keys_of(&tables(json!({"stream": {"quality": "low"}, "schedule": []}))), ["schedule", "stream.quality"]);
    }

    #[tokio::test]
    async fn a_report_is_kept_without_secrets_and_one_that_is_too_long_is_not() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&DataDir::open(home.path()).unwrap(), Clock::default()).await.unwrap();
        let (cam, intake) = (DeviceId::new("cam").unwrap(), SettingsIntake::new(store.clone(), Clock::default()));
        let report = |settings: Value| json!({"version": 1, "applied": true, "settings": settings, "timestamp": 1}).to_string();
        let settings = json!({"stream": {"quality": "low", "stream_key": "secret"}, "mqtt": {"token": "secret"}});
        intake.reported_message(&cam, report(settings).as_bytes()).await;
        intake.reported_message(&cam, report(json!({"stream": {"quality": "x".repeat(1 << 20)}})).as_bytes()).await;
        let kept = store.settings(&cam).await.unwrap().reported.unwrap().settings;
        assert_eq!(Value::Object(kept), json!({"stream": {"quality": "low"}}));
    }

    #[tokio::test]
    async fn the_audit_log_names_who_changed_settings() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&DataDir::open(home.path()).unwrap(), Clock::default()).await.unwrap();
        let cam = DeviceId::new("cam").unwrap();
        set(&store, &Actor::Cli, &cam, tables(json!({"stream": {"quality": "low"}}))).await.unwrap();
        clear(&store, &Actor::Operator(Channel::Http("192.0.2.7".parse().unwrap())), &cam).await.unwrap();
        let intake = SettingsIntake::new(store.clone(), Clock::default());
        intake.desired_message(&cam, br#"{"version":7,"settings":{}}"#).await.unwrap();
        let entries = store.audit_entries(None, 10).await.unwrap();
        let written: Vec<_> = entries.iter().rev().map(|entry| (entry.actor.as_str(), entry.detail.as_str())).collect();
        assert_eq!(
            written,
            [
                ("cli", r#"{"from":"cli","keys":["stream.quality"],"version":1}"#),
                ("operator", r#"{"from":"192.0.2.7","version":null}"#),
                ("operator", r#"{"from":"mqtt","keys":[],"version":7}"#),
            ]
        );
    }
}
