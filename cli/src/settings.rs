//! Settings: one TOML file a role, each key also from the environment; a mistyped key is an error that names the nearest.

use crate::{
    Failure,
    args::{self, ConfigAction, RoleArg},
    cameras, terminal,
};
use confique::{
    Config,
    meta::{Expr, FieldKind, LeafKind, Meta},
};
use std::path::Path;

/// Reads and checks a file.
pub(crate) fn load<C: Config>(file: &Path) -> Result<C, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("{}: {error}; `sightline config template ROLE` prints a file to start from", file.display()))?;
    let table = table_of(file, &text)?;
    check_keys(&C::META, &table).map_err(|problem| format!("{}: {problem}", file.display()))?;
    C::builder().env().file(file).load().map_err(|error| without_quote(&format!("{error:#}")).into())
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

/// Every key is one of the settings.
pub(crate) fn check_keys(meta: &'static Meta, table: &toml::Table) -> Result<(), String> {
    let Some((key, nearest)) = unknown_key(meta, table, "") else { return Ok(()) };
    let hint = nearest.map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default();
    Err(format!("unknown key `{key}`{hint}"))
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
                let nearest = meta.fields.iter().map(|field| (strsim::damerau_levenshtein(key, field.name), field.name)).min();
                let is_near = |distance: usize| distance <= 2.max(key.len() / 3);
                return Some((path, nearest.filter(|(distance, _)| is_near(*distance)).map(|(_, name)| format!("{prefix}{name}"))));
            }
        }
    }
    None
}

pub(crate) fn command(config: args::Config) -> Result<(), Failure> {
    match config.action {
        ConfigAction::Template { role } => {
            terminal::print(&template(role));
            Ok(())
        }
        ConfigAction::Check { file, role, json } => {
            let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
            let table = table_of(&file, &text)?;
            match role.unwrap_or_else(|| guess_role(&table)) {
                RoleArg::Camera => cameras::check(&file, json)?,
                RoleArg::Cloud => {
                    load::<sightline_cloud::Config>(&file)?.validate()?;
                    show(&settings_of(&sightline_cloud::Config::META, &table), json);
                }
                RoleArg::Origin => {
                    load::<sightline_origin::Config>(&file)?;
                    show(&settings_of(&sightline_origin::Config::META, &table), json);
                }
            }
            Ok(())
        }
    }
}

/// A file with every key of a role, its meaning and its default.
fn template(role: RoleArg) -> String {
    let options = confique::toml::FormatOptions::default();
    match role {
        RoleArg::Camera => confique::toml::template::<sightline_camera::Config>(options) + cameras::TEMPLATE,
        RoleArg::Cloud => confique::toml::template::<sightline_cloud::Config>(options),
        RoleArg::Origin => confique::toml::template::<sightline_origin::Config>(options),
    }
}

/// Whose settings a file holds.
pub(crate) fn role_of(file: &Path) -> Result<RoleArg, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(guess_role(&table_of(file, &text)?))
}

/// Each role has keys that no other has.
fn guess_role(table: &toml::Table) -> RoleArg {
    let has = |key: &str| table.contains_key(key);
    if has("device_id") || has("stream") || has("source") || has("cameras") {
        RoleArg::Camera
    } else if has("server_id") || has("rtmp") || has("rtmps") || has("record") || has("auth") {
        RoleArg::Origin
    } else {
        RoleArg::Cloud
    }
}

/// One setting as it will be.
pub(crate) struct Shown {
    key: String,
    value: String,
    from: &'static str,
    doc: String,
}

/// Every setting of a role, as a file has it.
fn settings_of(meta: &'static Meta, table: &toml::Table) -> Vec<Shown> {
    let mut rows = Vec::new();
    collect(meta, &[table], "", &[], &mut rows);
    rows
}

/// The same of one camera: its own table, and the file's.
pub(crate) fn settings_of_camera(own: &toml::Table, file: &toml::Table) -> Vec<Shown> {
    let mut rows = Vec::new();
    collect(&sightline_camera::Config::META, &[own, file], "", &sightline_camera::Config::SECRETS, &mut rows);
    rows
}

fn show(rows: &[Shown], json: bool) {
    if json {
        terminal::print(&json_of(rows).to_string());
        return;
    }
    print_rows(rows);
    terminal::say("the configuration is good");
}

pub(crate) fn json_of(rows: &[Shown]) -> serde_json::Value {
    rows.iter().map(|row| serde_json::json!({"key": row.key, "value": row.value, "from": row.from, "doc": row.doc})).collect()
}

pub(crate) fn print_rows(rows: &[Shown]) {
    let width = rows.iter().map(|row| row.key.len() + row.value.len() + 3).max().unwrap_or(0).min(56);
    for row in rows {
        terminal::print(&format!("{:width$}  # {}: {}", format!("{} = {}", row.key, row.value), row.from, row.doc));
    }
}

/// A camera's URL without user, password and query.
fn shown_source(value: &str) -> String {
    format!("\"{}\"", sightline_camera::SourceName::from(value.trim_matches('"')))
}

/// `tables`: a camera's own first, then those of all; a table of one camera comes before the environment, as it was meant for that camera.
/// Values of `secrets` are hidden.
fn collect(meta: &'static Meta, tables: &[&toml::Table], prefix: &str, secrets: &[&str], rows: &mut Vec<Shown>) {
    for field in meta.fields {
        let key = format!("{prefix}{}", field.name);
        let given: Vec<_> = tables.iter().map(|table| table.get(field.name)).collect();
        match field.kind {
            FieldKind::Nested { meta } => {
                let empty = toml::Table::new();
                let inner: Vec<_> = given.iter().map(|given| given.and_then(toml::Value::as_table).unwrap_or(&empty)).collect();
                collect(meta, &inner, &format!("{key}."), secrets, rows);
            }
            FieldKind::Leaf { env, kind } => {
                let from_env = env.and_then(|name| std::env::var(name).ok());
                let is_secret = secrets.contains(&key.as_str());
                let own = given.iter().rev().skip(1).copied().flatten().next();
                let (value, from) = match (own, from_env, given.last().copied().flatten(), kind) {
                    (Some(value), ..) => (value.to_string(), "its own table"),
                    (None, Some(value), ..) => (value, "environment"),
                    (None, None, Some(value), _) => (value.to_string(), "file"),
                    (None, None, None, LeafKind::Required { default: Some(default) }) => (literal(&default), "default"),
                    (None, None, None, LeafKind::Required { default: None } | LeafKind::Optional) => ("(unset)".to_owned(), "default"),
                };
                let value = if key == "source" { shown_source(&value) } else { value };
                let value = if is_secret && from != "default" { "\"***\"".to_owned() } else { value };
                rows.push(Shown { key, value, from, doc: field.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ") });
            }
        }
    }
}

fn literal(expr: &Expr) -> String {
    serde_json::to_string(expr).unwrap_or_default()
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

    #[test]
    fn a_secret_of_a_camera_is_shown_as_stars() {
        let table: toml::Table = "source = 'rtsp://admin:hunter2@host/1'\n[stream]\nstream_key = 'hunter2'".parse().unwrap();
        let rows = settings_of_camera(&toml::Table::new(), &table);
        let value = |key: &str| rows.iter().find(|row| row.key == key).map(|row| row.value.as_str());
        assert_eq!((value("source"), value("stream.stream_key")), (Some("\"rtsp://host/1\""), Some("\"***\"")));
        assert!(!json_of(&rows).to_string().contains("hunter2"));
    }

    #[test]
    fn the_settings_page_is_what_the_program_prints() {
        let page = include_str!("../../docs/settings.md");
        let (camera, cloud, origin) = (template(RoleArg::Camera), template(RoleArg::Cloud), template(RoleArg::Origin));
        for (role, template) in [("camera", camera), ("cloud", cloud), ("origin", origin)] {
            assert!(page.contains(template.trim_end()), "docs/settings.md: run `sightline config template {role}` and replace its block");
        }
    }

    #[test]
    fn every_setting_of_every_role_is_documented() {
        fn check(meta: &'static Meta) {
            for field in meta.fields {
                assert!(!field.doc.is_empty(), "{}.{} has no documentation", meta.name, field.name);
                if let FieldKind::Nested { meta } = field.kind {
                    check(meta);
                }
            }
        }
        check(&sightline_camera::Config::META);
        check(&sightline_cloud::Config::META);
        check(&sightline_origin::Config::META);
    }
}
