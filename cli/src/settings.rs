//! Settings: one TOML file a role, each key also from the environment; a mistyped key is an error that names the nearest.

pub(crate) mod environment;
pub(crate) mod file;
mod spelling;
pub(crate) mod table;

use crate::{
    Failure,
    args::{self, ConfigAction, RoleArg},
    cameras, nginx, terminal,
};
use confique::Config as _;
use file::{load, table_of};
use std::path::Path;
use table::{Shown, json_of, print_rows, settings_of};

pub(crate) fn command(config: args::Config) -> Result<(), Failure> {
    match config.action {
        ConfigAction::Template { role } => {
            terminal::print(&template(role));
            Ok(())
        }
        ConfigAction::ImportNginx { file, json } => nginx::command(&file, json),
        ConfigAction::Check { file, role, json } => {
            let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
            let table = table_of(&file, &text)?;
            let role = role.unwrap_or_else(|| guess_role(&table));
            match role {
                RoleArg::Camera => cameras::check(&file, json)?,
                RoleArg::Cloud => {
                    check_cloud(&load(&file)?)?;
                    show(&settings_of(&sightline_cloud::Config::META, &table), json);
                }
                RoleArg::Origin => {
                    sightline_origin::Origin::check(&load(&file)?)?;
                    show(&settings_of(&sightline_origin::Config::META, &table), json);
                }
            }
            if !json {
                terminal::print(&format!("{}: the configuration is good, for the role {}", file.display(), role.name()));
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

fn show(rows: &[Shown], json: bool) {
    if json {
        terminal::print(&json_of(rows).to_string());
        return;
    }
    print_rows(rows);
}

/// What a start would fail on, but for ports that are taken.
pub(crate) fn check_cloud(config: &sightline_cloud::Config) -> Result<(), Failure> {
    config.validate()?;
    let dir = std::path::absolute(&config.data_dir)?;
    let above = dir.ancestors().find(|path| path.exists()).unwrap_or(&dir);
    if !above.is_dir() {
        return Err(format!("data_dir: {} is no directory; name another place", above.display()).into());
    }
    match &config.api.operator_token_file {
        Some(file) if file.exists() => {
            std::fs::read_to_string(file).map(drop).map_err(|error| format!("api.operator_token_file: {}: {error}", file.display()).into())
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use confique::meta::{FieldKind, Meta};

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
