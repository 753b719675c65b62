//! Settings from afar, on top of those of the file: what may be set so, and what of a change a running camera can take.
//!
//! What a table of the file gives to `serde` is what may be set from afar and is reported; secrets and paths are skipped there.

use confique::Layer as _;
use serde::Serialize;
use serde_json::{Map, Value};
use sightline_pusher::Trigger;
use sightline_signal::{
    Quality, Settings,
    config::{SETTABLE, SettingError, refusal},
};

use super::{Config, Problem};

/// Tables of settings, by their names in the file.
pub(crate) type Tables = Map<String, Value>;

/// What the pusher and the encoder take while the stream runs.
const TAKEN_RUNNING: [&str; 6] =
    ["stream.quality", "stream.width", "stream.height", "stream.fps", "stream.bitrate_bps", "stream.enable_adaptive_bitrate"];
/// Of those, what a command may set, too.
const QUALITY_KEYS: [&str; 5] = ["stream.quality", "stream.width", "stream.height", "stream.fps", "stream.bitrate_bps"];

/// What it takes to go from one configuration to another.
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
    /// The camera's agent has to begin anew.
    Restart,
}

/// What is in force, without secrets and paths.
pub(crate) fn tables_of(config: &Config) -> Tables {
    let Config { stream, motion, recording, schedule, .. } = config;
    [("stream", written(stream)), ("motion", written(motion)), ("recording", written(recording)), ("schedule", written(schedule))]
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}

/// By way of text, in which 0.2 stays 0.2.
fn written(table: &impl Serialize) -> Value {
    serde_json::to_string(table).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// The file's configuration with what is wanted instead, checked whole.
///
/// # Errors
/// Every key that is unknown, must not be set from afar, or has the wrong type; or else the first setting that can't be used.
pub(crate) fn merged(file: &Config, wanted: &Tables) -> Result<Config, Vec<SettingError>> {
    let before = tables_of(file);
    let mut errors = Vec::new();
    for (name, value) in wanted {
        match (SETTABLE.contains(&name.as_str()), before.get(name), value) {
            (_, _, Value::Null) => {}
            (true, Some(Value::Object(known)), Value::Object(table)) => {
                errors.extend(table.iter().filter_map(|(key, value)| refused(file, known, name, key, value)));
            }
            (true, Some(Value::Object(_)), _) => errors.push(SettingError::new(name, "a table of settings is expected")),
            (true, ..) => errors.extend(with_schedule(file, value).err().map(|problem| SettingError::new(name, &problem))),
            (false, ..) => errors.push(unknown(name)),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let config = with(file, wanted).map_err(|problem| vec![SettingError::new("settings", &problem)])?;
    match config.checked() {
        Ok(_) => Ok(config),
        Err(Problem { key, problem }) => Err(vec![SettingError::new(key, &problem)]),
    }
}

/// Why one key of a table is not taken.
fn refused(file: &Config, known: &Tables, table: &str, key: &str, value: &Value) -> Option<SettingError> {
    let path = format!("{table}.{key}");
    if !known.contains_key(key) {
        return Some(unknown(&path));
    }
    let alone: Tables = [(table.to_owned(), Value::Object([(key.to_owned(), value.clone())].into_iter().collect()))].into_iter().collect();
    with(file, &alone).err().map(|problem| SettingError::new(&path, &problem))
}

fn unknown(key: &str) -> SettingError {
    match refusal(key) {
        Some(reason) => SettingError::new(key, &format!("{reason}: it can't be set from afar; change the device's own file")),
        None => SettingError::new(key, "there is no such setting"),
    }
}

/// Without a check of what the values mean.
fn with(file: &Config, wanted: &Tables) -> Result<Config, String> {
    let mut config = file.clone();
    for (name, value) in wanted {
        let Value::Object(table) = value else { continue };
        match name.as_str() {
            "stream" => {
                config.stream = replaced(&file.stream, table)?;
                config.stream.rtmp_server_url.clone_from(&file.stream.rtmp_server_url);
                config.stream.backup_servers.clone_from(&file.stream.backup_servers);
                config.stream.stream_key.clone_from(&file.stream.stream_key);
                config.stream.ca.clone_from(&file.stream.ca);
            }
            "motion" => config.motion = replaced(&file.motion, table)?,
            "recording" => {
                config.recording = replaced(&file.recording, table)?;
                config.recording.dir.clone_from(&file.recording.dir);
            }
            _ => {}
        }
    }
    if let Some(windows) = wanted.get("schedule").filter(|windows| !windows.is_null()) {
        config.schedule = with_schedule(file, windows)?.schedule;
    }
    Ok(config)
}

fn with_schedule(file: &Config, windows: &Value) -> Result<Config, String> {
    let schedule = serde_json::from_value(windows.clone()).map_err(|error| error.to_string())?;
    Ok(Config { schedule, ..file.clone() })
}

/// A table with some of its keys replaced; null is as in the file.
fn replaced<C: confique::Config + Serialize>(file: &C, wanted: &Tables) -> Result<C, String> {
    let Value::Object(mut table) = written(file) else { return Err("can't be written".to_owned()) };
    table.extend(wanted.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.clone(), value.clone())));
    let layer: C::Layer = serde_json::from_value(Value::Object(table)).map_err(|error| error.to_string())?;
    C::from_layer(layer.with_fallback(C::Layer::default_values())).map_err(|error| error.to_string())
}

/// Whether it says anything of size, frame rate or bit rate.
pub(crate) fn names_quality(wanted: &Tables) -> bool {
    let stream = wanted.get("stream").and_then(Value::as_object);
    QUALITY_KEYS.iter().any(|path| {
        let key = path.trim_start_matches("stream.");
        stream.is_some_and(|stream| stream.get(key).is_some_and(|value| !value.is_null()))
    })
}

/// The same, with what a command has asked for.
pub(crate) fn with_quality(config: &Config, settings: Settings) -> Config {
    let mut config = config.clone();
    let stream = &mut config.stream;
    Quality::of(settings).name().clone_into(&mut stream.quality);
    (stream.width, stream.height, stream.fps, stream.bitrate_bps) = (settings.width, settings.height, settings.fps, settings.bitrate_bps);
    config
}

/// What it takes to go from one good configuration to another.
pub(crate) fn change(from: &Config, to: &Config) -> Change {
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
    let has_presets = !from.stream.quality.is_empty() && !to.stream.quality.is_empty();
    if !has_presets || !differ.iter().all(|path| TAKEN_RUNNING.contains(&path.as_str())) {
        return Change::Restart;
    }
    let (Ok(before), Ok(after)) = (from.checked(), to.checked()) else { return Change::Restart };
    let wanted = after.pusher.wanted();
    let quality = (before.pusher.wanted() != wanted).then_some(wanted);
    let is_adaptive = after.pusher.adaptive_bitrate;
    Change::Running { quality, adaptive: (before.pusher.adaptive_bitrate != is_adaptive).then_some(is_adaptive) }
}

/// The numbers that a good configuration aims at.
pub(crate) fn wanted(config: &Config) -> Option<Settings> {
    config.checked().ok().map(|checked| checked.pusher.wanted())
}

/// Whether a start by command is worth remembering: an always-on camera starts by itself, and one that does not stream starts by nothing.
pub(crate) fn starts_by_command(config: &Config) -> bool {
    config.checked().is_ok_and(|checked| checked.pusher.trigger != Trigger::AlwaysOn && checked.pusher.live_streaming)
}

#[cfg(test)]
mod tests {
    use super::*;
    use confique::meta::FieldKind;
    use serde_json::json;

    fn file() -> Config {
        let mut config = Config::new("cam-1", "test");
        config.mqtt.url = "mqtts://localhost".into();
        config.stream.quality = "low".into();
        config.stream.stream_key = "secret".into();
        config.stream.ca = "/own/ca.pem".into();
        config.recording.dir = "/own/recordings".into();
        config
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
        assert_eq!((config.stream.quality.as_str(), config.stream.fps, config.stream.reconnect_jitter), ("medium", 20, 0.3));
        assert_eq!((config.motion.zones.len(), config.schedule.len(), config.recording.enabled), (1, 1, true));
        assert_eq!((config.stream.stream_key.as_str(), config.stream.ca.to_str()), ("secret", Some("/own/ca.pem")));
        assert_eq!(config.recording.dir.to_str(), Some("/own/recordings"));
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
        assert_eq!((commanded.stream.quality.as_str(), commanded.stream.bitrate_bps), ("custom", 600_000));
        assert!(names_quality(&tables(json!({"stream": {"fps": 5}}))) && !names_quality(&tables(json!({"stream": {"fps": null}}))));
    }
}
