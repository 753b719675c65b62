//! A camera's file with several cameras in it: `[[cameras]]`, each with the keys that differ from those of the file.

use crate::{
    Failure,
    settings::{environment, file, table},
    terminal,
};
use confique::{Config as _, Layer as _};
use sightline_camera::{Config, Fleet};
use std::path::Path;

/// What a file describes.
#[derive(Debug)]
pub(crate) enum Cameras {
    /// No `[[cameras]]`.
    One(Box<Config>),
    /// One for each of its tables.
    Several(Vec<Config>),
}

/// What `config template camera` says of it, behind the settings.
pub(crate) const TEMPLATE: &str = "
# Several cameras in one agent: any number of these tables, at most 64. Each holds the keys of this file that differ for that camera; what it
# does not name is as above. Its keys come before the environment's. `{device_id}` stands for the camera's id in source, mqtt.cert, mqtt.key,
# recording.dir, state_dir, stream.rtmp_server_url and stream.stream_key.
# With tables, the file is several cameras, also if there is only one: each that fails is tried again, and the agent runs until it is stopped.
#[[cameras]]
#device_id = \"cam-1\"
#source = \"/dev/video0\"
#[cameras.stream]
#quality = \"medium\"
";

type Layer = <Config as confique::Config>::Layer;

/// Reads a file; of several cameras, each must have its own id.
pub(crate) fn load(file: &Path) -> Result<Cameras, Failure> {
    match split(&read(file)?).map_err(|problem| format!("{}: {problem}", file.display()))? {
        None => Ok(Cameras::One(Box::new(file::load::<Config>(file)?.for_device()))),
        Some((defaults, tables)) => {
            environment::warn_of_unknown();
            let cameras = tables.iter().map(|own| config_of(own, &defaults)).collect::<Result<Vec<_>, _>>();
            let mut cameras = cameras.map_err(|problem| format!("{}: {problem}", file.display()))?;
            cameras.iter_mut().for_each(|config| config.resolve(&file::base_of(file)));
            Ok(Cameras::Several(cameras))
        }
    }
}

/// The same, checked, and the files that it names opened.
pub(crate) fn load_checked(file: &Path) -> Result<Cameras, Failure> {
    let cameras = load(file)?;
    match &cameras {
        Cameras::One(config) => {
            config.check()?;
            config.check_files()?;
            config.check_source()?;
        }
        Cameras::Several(configs) => {
            Fleet::new(configs.clone())?;
            for config in configs {
                config.check_files().map_err(|problem| format!("{}: {problem}", config.device_id))?;
            }
        }
    }
    Ok(cameras)
}

/// A file of one camera, for what only one can be asked.
pub(crate) fn load_one(file: &Path, otherwise: &str) -> Result<Config, Failure> {
    match load(file)? {
        Cameras::One(config) => Ok(*config),
        Cameras::Several(cameras) => {
            Err(terminal::WrongUse(format!("{} has {} cameras: {otherwise}", file.display(), cameras.len())).into())
        }
    }
}

/// `sightline config check`.
pub(crate) fn check(file: &Path, json: bool) -> Result<(), Failure> {
    let table = read(file)?;
    let shown = match load_checked(file)? {
        Cameras::One(_) => {
            vec![(None, table::settings_of_camera(&toml::Table::new(), &table))]
        }
        Cameras::Several(cameras) => {
            let ids: Vec<_> = cameras.iter().map(|config| config.device_id.clone()).collect();
            let (defaults, tables) = split(&table)?.unwrap_or_default();
            ids.into_iter().zip(tables).map(|(id, own)| (Some(id), table::settings_of_camera(&own, &defaults))).collect()
        }
    };
    if json {
        let of_one = |(id, rows): &(Option<String>, Vec<table::Shown>)| match id {
            None => table::json_of(rows),
            Some(id) => serde_json::json!({"device_id": id, "settings": table::json_of(rows)}),
        };
        let text = match &shown[..] {
            [one @ (None, _)] => of_one(one),
            all => all.iter().map(of_one).collect(),
        };
        terminal::print(&text.to_string());
        return Ok(());
    }
    for (id, rows) in &shown {
        if let Some(id) = id {
            terminal::print(&format!("\n[{id}]"));
        }
        table::print_rows(rows);
    }
    Ok(())
}

fn read(file: &Path) -> Result<toml::Table, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("{}: {error}; `sightline config template camera` prints a file to start from", file.display()))?;
    file::table_of(file, &text)
}

/// What is wrong with the tables of several cameras.
#[derive(Debug, thiserror::Error)]
enum TablesError {
    #[error("`cameras` is a list of tables: write [[cameras]], once for each camera")]
    NoList,
    #[error("`cameras` is empty: add [[cameras]] tables, or remove it for one camera")]
    Empty,
    #[error("a camera has no `device_id`: each of [[cameras]] needs its own")]
    NoId,
    #[error(transparent)]
    Key(#[from] file::UnknownKey),
    #[error("{camera}: {source}")]
    CameraKey { camera: String, source: file::UnknownKey },
    #[error("{camera}: {problem}")]
    Value { camera: String, problem: String },
    #[error("{0}")]
    Environment(String),
}

/// The keys for all, and the cameras' tables; `None` where there are none.
fn split(table: &toml::Table) -> Result<Option<(toml::Table, Vec<toml::Table>)>, TablesError> {
    let mut defaults = table.clone();
    let tables = match defaults.remove("cameras") {
        None => return Ok(None),
        Some(toml::Value::Array(tables)) => tables,
        Some(_) => return Err(TablesError::NoList),
    };
    file::check_keys(&Config::META, &defaults)?;
    let mut cameras = Vec::new();
    for (index, table) in tables.into_iter().enumerate() {
        let toml::Value::Table(own) = table else { return Err(TablesError::NoList) };
        file::check_keys(&Config::META, &own).map_err(|source| TablesError::CameraKey { camera: name_of(&own, index), source })?;
        cameras.push(own);
    }
    if cameras.is_empty() {
        return Err(TablesError::Empty);
    }
    Ok(Some((defaults, cameras)))
}

/// A camera for an error: by its id, or by its place.
fn name_of(own: &toml::Table, index: usize) -> String {
    match own.get("device_id").and_then(toml::Value::as_str) {
        Some(id) => format!("camera {id:?}"),
        None => format!("camera {} of the file", index + 1),
    }
}

fn config_of(own: &toml::Table, defaults: &toml::Table) -> Result<Config, TablesError> {
    let named = |problem: String| TablesError::Value { camera: name_of(own, 0), problem };
    if !own.contains_key("device_id") {
        return Err(TablesError::NoId);
    }
    let layer = |table: &toml::Table| toml::Value::Table(table.clone()).try_into::<Layer>().map_err(|error| named(error.to_string()));
    let environment = Layer::from_env().map_err(|error| TablesError::Environment(format!("{error:#}")))?;
    let layers = layer(own)?.with_fallback(environment).with_fallback(layer(defaults)?).with_fallback(Layer::default_values());
    Config::from_layer(layers).map(Config::for_device).map_err(|error| named(format!("{error:#}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cameras(text: &str) -> Result<Cameras, String> {
        let file = tempfile::NamedTempFile::with_suffix(".toml").map_err(|error| error.to_string())?;
        std::fs::write(file.path(), text).map_err(|error| error.to_string())?;
        load(file.path()).map_err(|error| error.to_string())
    }

    const FILE: &str = "
        recording.dir = '/r/{device_id}'
        [stream]
        quality = 'low'
        trigger = 'always_on'
        [mqtt]
        url = 'mqtts://localhost'
        cert = '/c/{device_id}.pem'
        ";

    #[test]
    fn each_camera_has_its_own_keys_and_the_rest_of_the_file() {
        let text = format!(
            "{FILE}[[cameras]]\ndevice_id = 'a'\n[cameras.stream]\nquality = 'medium'\n[[cameras]]\ndevice_id = 'b'\nsource = 'x.mp4'"
        );
        let Cameras::Several(found) = cameras(&text).unwrap() else { panic!("several") };
        assert_eq!(found.iter().map(|config| config.device_id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let beside = std::env::temp_dir().join("x.mp4");
        let [a, b] = &found[..] else { panic!("two") };
        assert_eq!((a.stream.quality.as_str(), b.stream.quality.as_str()), ("medium", "low"));
        assert_eq!((a.stream.trigger.as_str(), b.source.reveal(), a.source.reveal()), ("always_on", beside.to_str().unwrap(), "test"));
        assert_eq!((a.mqtt.cert.to_str(), b.recording.dir.to_str()), (Some("/c/a.pem"), Some("/r/b")));
        let Cameras::One(one) = cameras(&format!("device_id = 'c'\n{FILE}")).unwrap() else { panic!("one") };
        assert_eq!(one.mqtt.cert.to_str(), Some("/c/c.pem"));
    }

    #[test]
    fn a_mistake_names_the_camera_and_the_nearest_key() {
        let said = cameras(&format!("{FILE}[[cameras]]\ndevice_id = 'a'\n[cameras.stream]\nqualty = 'low'")).unwrap_err();
        assert!(said.contains("camera \"a\"") && said.contains("did you mean `stream.quality`"), "{said}");
        let said = cameras(&format!("{FILE}[[cameras]]\nsource = 'test'\nzzzzzzzz = 1")).unwrap_err();
        assert!(said.contains("camera 1 of the file") && said.contains("zzzzzzzz"), "{said}");
        let said = cameras(&format!("{FILE}[[cameras]]\ndevice_id = 'a'\n[cameras.stream]\nfps = 'many'")).unwrap_err();
        assert!(said.contains("camera \"a\"") && said.contains("fps"), "{said}");
        assert!(cameras(&format!("{FILE}[[cameras]]\nsource = 'test'")).unwrap_err().contains("device_id"));
        assert!(cameras("cameras = 3").unwrap_err().contains("[[cameras]]"));
        assert!(cameras("device_id = 'a'\ncameras = []").unwrap_err().contains("empty"));
    }
}
