//! Settings: one TOML file a role, each key also from the environment; a mistyped key is an error that names the nearest.

use crate::{
    Failure,
    args::{self, ConfigAction, RoleArg},
    terminal,
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
    let table: toml::Table = text.parse().map_err(|error| format!("{}: {error}", file.display()))?;
    if let Some((key, nearest)) = unknown_key(&C::META, &table, "") {
        let hint = nearest.map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default();
        return Err(format!("{}: unknown key `{key}`{hint}", file.display()).into());
    }
    C::builder().env().file(file).load().map_err(|error| format!("{error:#}").into())
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
            let table: toml::Table = std::fs::read_to_string(&file)
                .map_err(|error| format!("{}: {error}", file.display()))?
                .parse()
                .map_err(|error| format!("{}: {error}", file.display()))?;
            match role.unwrap_or_else(|| guess_role(&table)) {
                RoleArg::Camera => {
                    load::<sightline_camera::Config>(&file)?.check()?;
                    show(&sightline_camera::Config::META, &table, json);
                }
                RoleArg::Cloud => {
                    load::<sightline_cloud::Config>(&file)?.validate()?;
                    show(&sightline_cloud::Config::META, &table, json);
                }
                RoleArg::Origin => {
                    load::<sightline_origin::Config>(&file)?;
                    show(&sightline_origin::Config::META, &table, json);
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
        RoleArg::Camera => confique::toml::template::<sightline_camera::Config>(options),
        RoleArg::Cloud => confique::toml::template::<sightline_cloud::Config>(options),
        RoleArg::Origin => confique::toml::template::<sightline_origin::Config>(options),
    }
}

/// Whose settings a file holds.
pub(crate) fn role_of(file: &Path) -> Result<RoleArg, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(guess_role(&text.parse().map_err(|error| format!("{}: {error}", file.display()))?))
}

/// Each role has keys that no other has.
fn guess_role(table: &toml::Table) -> RoleArg {
    let has = |key: &str| table.contains_key(key);
    if has("device_id") || has("stream") || has("source") {
        RoleArg::Camera
    } else if has("server_id") || has("rtmp") || has("rtmps") || has("record") || has("auth") {
        RoleArg::Origin
    } else {
        RoleArg::Cloud
    }
}

/// One setting as it will be.
struct Shown {
    key: String,
    value: String,
    from: &'static str,
    doc: String,
}

fn show(meta: &'static Meta, table: &toml::Table, json: bool) {
    let mut rows = Vec::new();
    collect(meta, Some(table), "", &mut rows);
    if json {
        let rows: Vec<_> =
            rows.iter().map(|row| serde_json::json!({"key": row.key, "value": row.value, "from": row.from, "doc": row.doc})).collect();
        terminal::print(&serde_json::Value::from(rows).to_string());
        return;
    }
    let width = rows.iter().map(|row| row.key.len() + row.value.len() + 3).max().unwrap_or(0).min(56);
    for row in &rows {
        terminal::print(&format!("{:width$}  # {}: {}", format!("{} = {}", row.key, row.value), row.from, row.doc));
    }
    terminal::say("the configuration is good");
}

/// A camera's URL without user, password and query.
fn shown_source(value: &str) -> String {
    match value.trim_matches('"').parse::<sightline_camera::Source>() {
        Ok(source) => format!("\"{source}\""),
        Err(_) => "\"***\"".to_owned(),
    }
}

fn collect(meta: &'static Meta, table: Option<&toml::Table>, prefix: &str, rows: &mut Vec<Shown>) {
    for field in meta.fields {
        let key = format!("{prefix}{}", field.name);
        let given = table.and_then(|table| table.get(field.name));
        match field.kind {
            FieldKind::Nested { meta } => collect(meta, given.and_then(toml::Value::as_table), &format!("{key}."), rows),
            FieldKind::Leaf { env, kind } => {
                let from_env = env.and_then(|name| std::env::var(name).ok());
                let is_secret =
                    field.name.contains("key") && !field.name.contains("keyframe") && !field.name.ends_with("file") && field.name != "key";
                let (value, from) = match (from_env, given, kind) {
                    (Some(value), _, _) => (value, "environment"),
                    (None, Some(value), _) => (value.to_string(), "file"),
                    (None, None, LeafKind::Required { default: Some(default) }) => (literal(&default), "default"),
                    (None, None, LeafKind::Required { default: None } | LeafKind::Optional) => ("(unset)".to_owned(), "default"),
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
