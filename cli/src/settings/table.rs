//! The settings of a role as `config check` shows them: each with its value, where that comes from, and what it means.

use crate::terminal;
use confique::{
    Config as _,
    meta::{Expr, FieldKind, LeafKind, Meta},
};

/// One setting as it will be.
pub(crate) struct Shown {
    key: String,
    value: String,
    from: &'static str,
    doc: String,
}

/// Every setting of a role, as a file has it.
pub(crate) fn settings_of(meta: &'static Meta, table: &toml::Table) -> Vec<Shown> {
    let mut rows = Vec::new();
    // The other roles have no setting of these names.
    collect(meta, &[table], "", &sightline_origin::Config::SECRETS, &mut rows);
    rows
}

/// The same of one camera: its own table, and the file's.
pub(crate) fn settings_of_camera(own: &toml::Table, file: &toml::Table) -> Vec<Shown> {
    let mut rows = Vec::new();
    collect(&sightline_camera::Config::META, &[own, file], "", &sightline_camera::Config::SECRETS, &mut rows);
    rows
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

/// A setting's value as it may be shown. What is no source may be a mistyped URL, and is hidden whole.
fn shown(key: &str, value: &toml::Value) -> String {
    match value.as_str().filter(|_| matches!(key, "source" | "source_sub")) {
        Some(source) => format!("\"{}\"", sightline_camera::SourceName::from(source)),
        None if key == "relays" => without_keys(value).to_string(),
        None => without_rights(value).to_string(),
    }
}

/// A value without what only its reader may know: of each URL in it scheme, host, port and path stay.
fn without_rights(value: &toml::Value) -> toml::Value {
    match value {
        toml::Value::String(text) => toml::Value::String(url_without_rights(text)),
        toml::Value::Array(values) => toml::Value::Array(values.iter().map(without_rights).collect()),
        toml::Value::Table(table) => toml::Value::Table(table.iter().map(|(key, value)| (key.clone(), without_rights(value))).collect()),
        toml::Value::Integer(_) | toml::Value::Float(_) | toml::Value::Boolean(_) | toml::Value::Datetime(_) => value.clone(),
    }
}

/// Relays without the keys of their targets, which stand in the path.
fn without_keys(value: &toml::Value) -> toml::Value {
    let relays = value.as_array().into_iter().flatten().filter_map(toml::Value::as_table);
    let shown = relays.map(|relay| {
        let fields = relay.iter().map(|(key, value)| match (key.as_str(), value.as_str()) {
            ("name" | "streams" | "ca", Some(text)) => (key.clone(), toml::Value::String(text.to_owned())),
            ("url", Some(url)) => (key.clone(), toml::Value::String(sightline_origin::RelayUrl::from(url).to_string())),
            _ => (key.clone(), toml::Value::String("***".to_owned())),
        });
        toml::Value::Table(fields.collect())
    });
    toml::Value::Array(shown.collect())
}

/// User, password, query and fragment of a URL may be secrets, whatever the setting.
fn url_without_rights(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    format!("{scheme}://{}{path}", authority.rsplit('@').next().unwrap_or_default())
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
                    (Some(value), ..) => (shown(&key, value), "its own table"),
                    (None, Some(value), ..) => (shown(&key, &toml::Value::String(value)).trim_matches('"').to_owned(), "environment"),
                    (None, None, Some(value), _) => (shown(&key, value), "file"),
                    (None, None, None, LeafKind::Required { default: Some(default) }) => (literal(&default), "default"),
                    (None, None, None, LeafKind::Required { default: None } | LeafKind::Optional) => ("(unset)".to_owned(), "default"),
                };
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
    fn a_secret_of_a_camera_is_shown_as_stars() {
        let table: toml::Table = "source = 'rtsp://admin:hunter2@host/1'\n[stream]\nstream_key = 'hunter2'".parse().unwrap();
        let rows = settings_of_camera(&toml::Table::new(), &table);
        let value = |key: &str| rows.iter().find(|row| row.key == key).map(|row| row.value.as_str());
        assert_eq!((value("source"), value("stream.stream_key")), (Some("\"rtsp://host/1\""), Some("\"***\"")));
        assert!(!json_of(&rows).to_string().contains("hunter2"));
    }

    #[test]
    fn a_store_is_shown_without_its_key() {
        let table: toml::Table = "[store]\nurl = 's3://video'\naccess_key = 'k'\nsecret_key = 'hunter2'".parse().unwrap();
        let shown = json_of(&settings_of(&sightline_origin::Config::META, &table)).to_string();
        assert!(shown.contains("s3://video") && shown.contains("***") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_relay_is_shown_without_its_key() {
        let table: toml::Table = "[[relays]]\nname = 'yt'\nurl = 'rtmp://a.example/live2/hunter2'\nkye = 'hunter2'".parse().unwrap();
        let shown = json_of(&settings_of(&sightline_origin::Config::META, &table)).to_string();
        assert!(shown.contains("rtmp://a.example:1935/live2/***") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_url_is_shown_without_user_password_and_query_wherever_it_is() {
        let table: toml::Table = "[[servers]]\nid = 's'\nrtmp_url = 'rtmp://u:hunter2@h:1/live?key=hunter2'".parse().unwrap();
        let rows = settings_of(&sightline_cloud::Config::META, &table);
        let shown = json_of(&rows).to_string();
        assert!(shown.contains("rtmp://h:1/live") && !shown.contains("hunter2"), "{shown}");
        for (text, expected) in
            [("no url", "no url"), ("http://a@b", "http://b"), ("https://h", "https://h"), ("x://u:p@h/p/q#f", "x://h/p/q")]
        {
            assert_eq!(url_without_rights(text), expected);
        }
    }
}
