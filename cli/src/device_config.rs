//! `sightline device config …`: settings from afar.

use crate::{
    Failure,
    args::DeviceConfig,
    terminal::{self, WrongUse},
};
use serde_json::Value;
use sightline_cloud::admin::{self, SettingsView, Tables};
use std::path::Path;

pub(crate) async fn run(dir: &Path, config: &DeviceConfig, json: bool) -> Result<(), Failure> {
    let now = admin::device_settings(dir, &config.id).await?;
    let change = change_of(config, &now)?;
    let is_change = !matches!(change, Change::Nothing);
    let view = match change {
        Change::Nothing => now,
        Change::Clear => admin::set_device_settings(dir, &config.id, None).await?,
        Change::Set(settings) => {
            crate::roles::check_settings(&settings)?;
            admin::set_device_settings(dir, &config.id, Some(settings)).await?
        }
    };
    if json {
        terminal::print(&serde_json::to_string(&view)?);
        return Ok(());
    }
    show_desired(&view)?;
    if is_change {
        terminal::say(
            "written down: a running cloud tells the camera within seconds, and the same command without a change shows its answer",
        );
        return Ok(());
    }
    show_reported(&view)
}

/// What the command line changes.
enum Change {
    Nothing,
    /// The camera's own file is all again.
    Clear,
    Set(Tables),
}

fn change_of(config: &DeviceConfig, now: &SettingsView) -> Result<Change, Failure> {
    if config.clear {
        return Ok(Change::Clear);
    }
    if let Some(file) = &config.file {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let tables = toml::from_str::<Tables>(&text).map_err(|error| format!("{}: {}", file.display(), error.message()))?;
        return Ok(Change::Set(tables));
    }
    if config.set.is_empty() {
        return Ok(Change::Nothing);
    }
    let mut tables = now.desired.as_ref().map(|desired| desired.settings.clone()).unwrap_or_default();
    for assignment in &config.set {
        assign(&mut tables, assignment)?;
    }
    Ok(Change::Set(tables))
}

fn assign(tables: &mut Tables, assignment: &str) -> Result<(), WrongUse> {
    let parts = assignment.split_once('=').and_then(|(key, value)| Some((key.trim().split_once('.')?, value.trim())));
    let Some(((table, key), value)) = parts else {
        return Err(WrongUse(format!("--set {assignment}: take TABLE.KEY=VALUE, as in stream.quality=medium")));
    };
    // Whatever is no TOML value is taken as text, so that nobody needs quotes inside quotes.
    let parsed = toml::from_str::<Tables>(&format!("value = {value}")).ok().and_then(|mut table| table.remove("value"));
    let table = tables.entry(table).or_insert_with(|| Value::Object(Tables::new()));
    let Value::Object(table) = table else {
        return Err(WrongUse(format!("--set {assignment}: that is a list: take --file")));
    };
    table.insert(key.to_owned(), parsed.unwrap_or_else(|| Value::from(value)));
    Ok(())
}

fn show_desired(view: &SettingsView) -> Result<(), Failure> {
    match &view.desired {
        Some(desired) => {
            terminal::print(&format!("# wished for, version {}\n{}", desired.version, text_of(&desired.settings)?));
        }
        None => terminal::print("# no remote settings; the camera uses its own file\n"),
    }
    Ok(())
}

fn show_reported(view: &SettingsView) -> Result<(), Failure> {
    let Some(reported) = &view.reported else {
        terminal::say("the camera has not said yet what it is set to");
        return Ok(());
    };
    terminal::print(&format!("# the camera says\n{}", text_of(&reported.settings)?));
    for error in &reported.errors {
        terminal::say(&format!("it refuses {}: {}", error.key, error.problem));
    }
    terminal::say(if view.in_sync { "it does what is wished for" } else { "it does not do what is wished for (yet)" });
    Ok(())
}

/// As a camera's file has them. A null means that the file's own value counts.
fn text_of(tables: &Tables) -> Result<String, toml::ser::Error> {
    fn without_nulls(value: &Value) -> Value {
        match value {
            Value::Object(table) => {
                let kept = table.iter().filter(|(_, value)| !value.is_null());
                Value::Object(kept.map(|(key, value)| (key.clone(), without_nulls(value))).collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => value.clone(),
        }
    }
    toml::to_string(&without_nulls(&Value::Object(tables.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_setting_is_changed_and_the_others_stay() {
        let mut tables = json!({"stream": {"quality": "low"}, "schedule": []}).as_object().unwrap().clone();
        for assignment in ["stream.quality=medium", "motion.sensitivity = 70", "recording.enabled=true", "motion.zones=[[0.0, 0.5]]"] {
            assign(&mut tables, assignment).unwrap();
        }
        let expected = json!({
            "stream": {"quality": "medium"}, "schedule": [], "recording": {"enabled": true},
            "motion": {"sensitivity": 70, "zones": [[0.0, 0.5]]}
        });
        assert_eq!(Value::Object(tables.clone()), expected);
        assert!(text_of(&tables).unwrap().contains("[stream]\nquality = \"medium\""));
        assert!(assign(&mut tables, "quality=low").unwrap_err().0.contains("stream.quality=medium"));
        assert!(assign(&mut tables, "stream.quality").is_err() && assign(&mut tables, "schedule.x=1").unwrap_err().0.contains("--file"));
    }
}
