//! A file of settings: read, and checked for keys that no setting has.

use super::{environment, spelling::nearest};
use crate::Failure;
use confique::{
    Config,
    meta::{FieldKind, Meta},
};
use std::path::{Path, PathBuf};

/// The settings of a role.
pub(crate) trait RoleConfig: Config {
    /// Takes relative paths from `base`.
    fn resolve(&mut self, base: &Path);
}

impl RoleConfig for sightline_camera::Config {
    fn resolve(&mut self, base: &Path) {
        Self::resolve(self, base);
    }
}

impl RoleConfig for sightline_cloud::Config {
    fn resolve(&mut self, base: &Path) {
        Self::resolve(self, base);
    }
}

impl RoleConfig for sightline_origin::Config {
    fn resolve(&mut self, base: &Path) {
        Self::resolve(self, base);
    }
}

/// Where relative paths of a file begin: where it lies. A service's working directory is `/`, a person's is anywhere.
pub(crate) fn base_of(file: &Path) -> PathBuf {
    file.parent().map(Path::to_owned).unwrap_or_default()
}

/// Reads and checks a file.
pub(crate) fn load<C: RoleConfig>(file: &Path) -> Result<C, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("{}: {error}; `sightline config template ROLE` prints a file to start from", file.display()))?;
    let table = table_of(file, &text)?;
    check_keys(&C::META, &table).map_err(|problem| format!("{}: {problem}", file.display()))?;
    environment::warn_of_unknown();
    let mut config = C::builder().env().file(file).load().map_err(|error| without_quote(&format!("{error:#}")))?;
    config.resolve(&base_of(file));
    Ok(config)
}

/// Parses a file's text.
pub(crate) fn table_of(file: &Path, text: &str) -> Result<toml::Table, Failure> {
    text.parse().map_err(|error: toml::de::Error| format!("{}: {}", file.display(), without_quote(&error.to_string())).into())
}

/// A TOML error without the line that it quotes, which may hold a secret. Place and problem stay.
fn without_quote(error: &str) -> String {
    let is_quote = |line: &str| line.trim_start_matches(|first: char| first == ' ' || first.is_ascii_digit()).starts_with('|');
    error.lines().filter(|line| !is_quote(line)).collect::<Vec<_>>().join("\n")
}

/// A key that no setting has.
#[derive(Debug, thiserror::Error)]
#[error("unknown key `{key}`{}", nearest.as_ref().map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default())]
pub(crate) struct UnknownKey {
    key: String,
    nearest: Option<String>,
}

/// Every key is one of the settings.
pub(crate) fn check_keys(meta: &'static Meta, table: &toml::Table) -> Result<(), UnknownKey> {
    unknown_key(meta, table, "").map_or(Ok(()), |(key, nearest)| Err(UnknownKey { key, nearest }))
}

/// The first key that no setting has, and the known one nearest to it.
fn unknown_key(meta: &'static Meta, table: &toml::Table, prefix: &str) -> Option<(String, Option<String>)> {
    for (key, value) in table {
        let path = format!("{prefix}{key}");
        match (meta.fields.iter().find(|field| field.name == key).map(|field| field.kind), value) {
            (Some(FieldKind::Nested { meta }), toml::Value::Table(inner)) => {
                if let Some(found) = unknown_key(meta, inner, &format!("{path}.")) {
                    return Some(found);
                }
            }
            (Some(_), _) => {}
            (None, _) => {
                let nearest = nearest(key, meta.fields.iter().map(|field| field.name));
                return Some((path, nearest.map(|name| format!("{prefix}{name}"))));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_key_names_the_nearest_one() {
        let unknown = |text: &str| unknown_key(&sightline_camera::Config::META, &text.parse().unwrap(), "");
        assert_eq!(unknown("[stream]\nqualty = 'low'"), Some(("stream.qualty".into(), Some("stream.quality".into()))));
        assert_eq!(unknown("devise_id = 'x'"), Some(("devise_id".into(), Some("device_id".into()))));
        assert_eq!(unknown("zzzzzzzz = 1"), Some(("zzzzzzzz".into(), None)));
        assert_eq!(unknown("device_id = 'x'"), None);
    }

    #[test]
    fn an_error_names_the_place_and_does_not_quote_the_line() {
        let file = Path::new("camera.toml");
        for text in ["[stream]\nstream_key = \"hunter2", "source = rtsp://admin:hunter2@host/1", "a = 1\nstream_key = 'x' hunter2"] {
            let error = table_of(file, text).unwrap_err().to_string();
            assert!(error.contains("line") && !error.contains("hunter2"), "{error}");
        }
        let with_wrong_type = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
        std::fs::write(with_wrong_type.path(), "device_id = 'a'\n[stream]\nstream_key = 31337").unwrap();
        let error = load::<sightline_camera::Config>(with_wrong_type.path()).unwrap_err().to_string();
        assert!(error.contains("string") && !error.contains("31337"), "{error}");
    }
}
