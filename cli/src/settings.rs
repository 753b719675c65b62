//! Settings: one TOML file a role, each key also from the environment; a mistyped key is an error that names the nearest.

pub(crate) mod file;
pub(crate) mod table;

use crate::{
    Failure,
    args::{self, ConfigAction, RoleArg},
    cameras, terminal,
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

fn show(rows: &[Shown], json: bool) {
    if json {
        terminal::print(&json_of(rows).to_string());
        return;
    }
    print_rows(rows);
    terminal::say("the configuration is good");
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
