//! Settings from afar, on top of those of the file: [`Settable`] is what may be set so, and what is reported.

use serde_json::{Map, Value};
use sightline_signal::{
    Settings,
    config::{SETTABLE, SettingError, refusal},
};

use super::{Problem, checked::Checked, settable::Settable};

/// Tables of settings, by their names in the file.
pub(crate) type Tables = Map<String, Value>;

/// What the pusher and the encoder take while the stream runs.
const TAKEN_RUNNING: [&str; 6] =
    ["stream.quality", "stream.width", "stream.height", "stream.fps", "stream.bitrate_bps", "stream.enable_adaptive_bitrate"];
/// Of those, what a command may set too.
const QUALITY_KEYS: [&str; 5] = ["stream.quality", "stream.width", "stream.height", "stream.fps", "stream.bitrate_bps"];

/// What a change from one configuration to another takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// They are the same.
    Nothing,
    /// The running stream takes it.
    Running {
        /// Other numbers.
        quality: Option<Settings>,
        /// Whether the bit rate follows the link.
        adaptive: Option<bool>,
    },
    /// The camera's agent starts again.
    Restart,
}

/// What is in force, without secrets and paths.
pub(crate) fn tables_of(checked: &Checked) -> Tables {
    written(&checked.settable)
}

/// By way of text, in which 0.2 stays 0.2.
fn written(settable: &Settable) -> Tables {
    serde_json::to_string(settable).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// The file's configuration with what is wanted instead, checked whole.
///
/// # Errors
/// Every key that is unknown, must not be set from afar, or can't be read; or else the first setting that can't be used.
pub(crate) fn merged(file: &Checked, wanted: &Tables) -> Result<Checked, Vec<SettingError>> {
    let before = tables_of(file);
    let mut errors = Vec::new();
    for (name, value) in wanted {
        match (SETTABLE.contains(&name.as_str()), before.get(name), value) {
            (_, _, Value::Null) => {}
            (true, Some(Value::Object(known)), Value::Object(table)) => {
                errors.extend(table.iter().filter_map(|(key, value)| refused(&before, known, name, key, value)));
            }
            (true, Some(Value::Object(_)), _) => errors.push(SettingError::new(name, "a table of settings is expected")),
            (true, ..) => {
                errors.extend(overlaid(&before, &alone(name, value)).err().map(|problem| SettingError::new(name, &problem.to_string())))
            }
            (false, ..) => errors.push(unknown(name)),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let settable = overlaid(&before, wanted).map_err(|problem| vec![SettingError::new("settings", &problem.to_string())])?;
    file.with(settable).map_err(|Problem { key, problem }| vec![SettingError::new(key, &problem)])
}

/// What any camera would refuse of settings from afar, whatever its own file says: unknown keys, values that can't be read or used. For the
/// cloud, so that who makes a typing error hears of it at once.
///
/// # Errors
/// A sentence for each key.
pub fn check_settings_from_afar(wanted: &Tables) -> Result<(), Vec<String>> {
    let mut any = super::Config::new("camera", "test");
    any.mqtt.url = "mqtts://localhost".to_owned();
    let file = any.checked().map_err(|problem| vec![problem.to_string()])?;
    let said = |errors: Vec<SettingError>| errors.iter().map(|error| format!("{}: {}", error.key, error.problem)).collect();
    merged(&file, wanted).map(drop).map_err(said)
}

/// Why one key of a table is not taken.
fn refused(file: &Tables, known: &Tables, table: &str, key: &str, value: &Value) -> Option<SettingError> {
    let path = format!("{table}.{key}");
    if !known.contains_key(key) {
        return Some(unknown(&path));
    }
    let alone = alone(table, &Value::Object(alone(key, value)));
    overlaid(file, &alone).err().map(|problem| SettingError::new(&path, &problem.to_string()))
}

fn alone(name: &str, value: &Value) -> Tables {
    [(name.to_owned(), value.clone())].into_iter().collect()
}

fn unknown(key: &str) -> SettingError {
    match refusal(key) {
        Some(reason) => SettingError::new(key, &format!("{reason}: it can't be set from afar; change the device's own file")),
        None => SettingError::new(key, "there is no such setting"),
    }
}

/// The file's settings with some of them replaced; null leaves what the file has. What the values mean is not checked yet.
fn overlaid(file: &Tables, wanted: &Tables) -> serde_json::Result<Settable> {
    let mut tables = file.clone();
    for (name, value) in wanted.iter().filter(|(_, value)| !value.is_null()) {
        match (tables.get_mut(name), value) {
            (Some(Value::Object(table)), Value::Object(wanted)) => {
                table.extend(wanted.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.clone(), value.clone())));
            }
            (Some(own), value) => *own = value.clone(),
            (None, _) => {}
        }
    }
    serde_json::from_value(Value::Object(tables))
}

/// Whether it says anything of size, frame rate or bit rate.
pub(crate) fn names_quality(wanted: &Tables) -> bool {
    let stream = wanted.get("stream").and_then(Value::as_object);
    QUALITY_KEYS.iter().any(|path| {
        let key = path.trim_start_matches("stream.");
        stream.is_some_and(|stream| stream.get(key).is_some_and(|value| !value.is_null()))
    })
}

/// The same, with what a command has asked for. The pusher has checked those numbers.
pub(crate) fn with_quality(checked: &Checked, settings: Settings) -> Checked {
    checked.with(checked.settable.clone().with_quality(settings)).unwrap_or_else(|_| checked.clone())
}

/// What a change from one configuration to another takes.
pub(crate) fn change(from: &Checked, to: &Checked) -> Change {
    let (before, after) = (tables_of(from), tables_of(to));
    let mut differ = Vec::new();
    for (name, value) in &after {
        match (before.get(name), value) {
            (Some(Value::Object(before)), Value::Object(after)) => {
                differ.extend(after.iter().filter(|(key, value)| before.get(*key) != Some(value)).map(|(key, _)| format!("{name}.{key}")));
            }
            (before, after) if before != Some(after) => differ.push(name.clone()),
            _ => {}
        }
    }
    if differ.is_empty() {
        return Change::Nothing;
    }
    // Without a preset the source's own numbers are found when it is opened.
    let has_presets = from.settable.stream.quality.0.is_some() && to.settable.stream.quality.0.is_some();
    if !has_presets || !differ.iter().all(|path| TAKEN_RUNNING.contains(&path.as_str())) {
        return Change::Restart;
    }
    let wanted = to.pusher.wanted();
    let quality = (from.pusher.wanted() != wanted).then_some(wanted);
    let is_adaptive = to.pusher.adaptive_bitrate;
    Change::Running { quality, adaptive: (from.pusher.adaptive_bitrate != is_adaptive).then_some(is_adaptive) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use confique::meta::FieldKind;
    use serde_json::json;
    use sightline_signal::Quality;

    fn file() -> Checked {
        let mut config = Config::new("cam-1", "test");
        config.mqtt.url = "mqtts://localhost".into();
        config.stream.quality = "low".into();
        config.stream.rtmp_server_url = "rtmp://localhost/live".into();
        config.stream.stream_key = "secret".into();
        config.stream.ca = "/own/ca.pem".into();
        config.recording.dir = "/own/recordings".into();
        Checked::of(&config).unwrap()
    }

    fn tables(value: Value) -> Tables {
        value.as_object().unwrap().clone()
    }

    fn errors(wanted: Value) -> Vec<(String, String)> {
        let errors = merged(&file(), &tables(wanted)).map(|_| ()).unwrap_err();
        errors.into_iter().map(|error| (error.key.as_str().to_owned(), error.problem.as_str().to_owned())).collect()
    }

    #[test]
    fn every_key_of_the_file_is_either_set_from_afar_or_refused_with_a_reason() {
        let settable = tables_of(&file());
        for field in <Config as confique::Config>::META.fields {
            match (field.kind, settable.get(field.name)) {
                (FieldKind::Nested { meta }, Some(Value::Object(table))) => {
                    for leaf in meta.fields {
                        let path = format!("{}.{}", field.name, leaf.name);
                        assert_ne!(table.contains_key(leaf.name), refusal(&path).is_some(), "{path}");
                    }
                }
                (_, known) => assert_ne!(known.is_some(), refusal(field.name).is_some(), "{}", field.name),
            }
        }
        assert!(settable.keys().all(|name| SETTABLE.contains(&name.as_str())) && settable.len() == SETTABLE.len());
    }

    #[test]
    fn what_is_wanted_comes_on_top_of_the_file_and_the_rest_stays() {
        let wanted = tables(json!({
            "stream": {"quality": "medium", "trigger": "scheduled", "reconnect_jitter": 0.3, "fps": null},
            "motion": {"zones": [{"kind": "exclude", "points": [[0.0, 0.5], [1.0, 1.0]]}]}, "recording": {"enabled": true},
            "schedule": [{"days": ["mon"], "start": "08:00", "end": "17:30", "tz": "UTC"}],
        }));
        let config = merged(&file(), &wanted).unwrap();
        let Settable { stream, motion, recording, schedule } = &config.settable;
        assert_eq!((stream.quality.0, stream.fps, stream.reconnect_jitter), (Some(Quality::Medium), 20, 0.3));
        assert_eq!((motion.zones.len(), schedule.len(), recording.enabled), (1, 1, true));
        assert_eq!(config.pusher.server.as_ref().map(|server| server.name.as_str()), Some("secret"));
        assert_eq!(config.local.rtmps_ca.file.as_deref(), Some(std::path::Path::new("/own/ca.pem")));
        assert_eq!(config.recorder.as_ref().unwrap().dir.to_str(), Some("/own/recordings"));
        let shown = serde_json::to_string(&tables_of(&config)).unwrap();
        assert!(!shown.contains("secret") && !shown.contains("/own") && shown.contains(r#""reconnect_jitter":0.3"#), "{shown}");
        assert_eq!(tables_of(&merged(&file(), &Tables::new()).unwrap()), tables_of(&file()));
    }

    #[test]
    fn each_refusal_names_its_key_and_the_reason() {
        let found = errors(json!({
            "device_id": "other", "mqtt": {"url": ""}, "stream": {"stream_key": "x", "qualty": "low", "fps": "many", "quality": "low"},
            "recording": {"dir": "/etc"}, "motion": 3, "schedule": [{"days": ["mon"]}], "zzz": {},
        }));
        let problem = |key: &str| found.iter().find(|(found, _)| found == key).map_or("", |(_, problem)| problem);
        assert!(problem("device_id").contains("identity") && problem("mqtt").contains("from afar"), "{found:?}");
        assert!(problem("stream.stream_key").contains("secret") && problem("recording.dir").contains("path"), "{found:?}");
        assert!(problem("stream.qualty").contains("no such") && problem("zzz").contains("no such"), "{found:?}");
        assert!(problem("stream.fps").contains("many") && problem("motion").contains("table"), "{found:?}");
        assert!(problem("schedule").contains("start"), "{found:?}");
        assert_eq!(found.len(), 9, "what is good is not named: {found:?}");
        // What has the right type and can't be used is found by the whole check.
        assert_eq!(errors(json!({"stream": {"quality": "best"}}))[0].0, "stream.quality");
        assert_eq!(errors(json!({"stream": {"trigger": "scheduled"}}))[0].0, "schedule");
    }

    #[test]
    fn the_pusher_takes_numbers_while_it_runs_and_all_else_begins_anew() {
        let from = file();
        let to = |wanted: Value| change(&from, &merged(&from, &tables(wanted)).unwrap());
        let medium = Quality::Medium.settings();
        assert_eq!(to(json!({})), Change::Nothing);
        assert_eq!(to(json!({"stream": {"quality": "medium"}})), Change::Running { quality: medium, adaptive: None });
        assert_eq!(to(json!({"stream": {"enable_adaptive_bitrate": false}})), Change::Running { quality: None, adaptive: Some(false) });
        assert_eq!(to(json!({"stream": {"quality": "medium", "trigger": "manual"}})), Change::Restart);
        assert_eq!(to(json!({"stream": {"quality": ""}})), Change::Restart);
        assert_eq!(to(json!({"motion": {"sensitivity": 0.7}})), Change::Restart);
        // Numbers of `custom` that nobody uses change nothing that runs.
        assert_eq!(to(json!({"stream": {"fps": 5}})), Change::Running { quality: None, adaptive: None });
        let commanded = with_quality(&from, Settings { bitrate_bps: 600_000, ..Quality::Low.settings().unwrap() });
        assert_eq!((commanded.settable.stream.quality.0, commanded.settable.stream.bitrate_bps), (Some(Quality::Custom), 600_000));
        assert!(names_quality(&tables(json!({"stream": {"fps": 5}}))) && !names_quality(&tables(json!({"stream": {"fps": null}}))));
    }
}
