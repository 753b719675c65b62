//! `sightline config import-nginx FILE`: an nginx.conf of the RTMP module as an origin's settings. What maps is mapped; each directive that
//! does not is named, with its reason and the nearest thing.

mod directives;
mod values;

use crate::{Failure, terminal};
use directives::Import;
use nginx_lint_parser::ast::Directive;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The depth to which `include` is followed.
const INCLUDES_MAX: usize = 8;

/// What became of one directive.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) file: String,
    pub(crate) line: usize,
    /// As it stands there; what follows the application in an address of a target is left out.
    pub(crate) directive: String,
    pub(crate) outcome: Outcome,
    /// The setting that it has become, or why not, and the nearest thing.
    pub(crate) note: String,
}

/// How.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// It is a setting now.
    Mapped,
    /// An origin does it, or needs it not: nothing to set.
    AlwaysSo,
    /// It has no like here.
    NotMapped,
}

/// The settings, and what became of each directive.
pub(crate) struct Imported {
    pub(crate) toml: String,
    pub(crate) findings: Vec<Finding>,
}

pub(crate) fn command(file: &Path, json: bool) -> Result<(), Failure> {
    let imported = import(file)?;
    if json {
        terminal::print(&serde_json::json!({ "config": imported.toml, "directives": imported.findings }).to_string());
        return Ok(());
    }
    terminal::print(imported.toml.trim_end());
    for Finding { file, line, directive, outcome, note } in &imported.findings {
        let mark = match outcome {
            Outcome::Mapped => "mapped    ",
            Outcome::AlwaysSo => "always so ",
            Outcome::NotMapped => "NOT MAPPED",
        };
        terminal::say(&format!("{mark}  {file}:{line}  {directive}  →  {note}"));
    }
    let count = |outcome| imported.findings.iter().filter(|finding| finding.outcome == outcome).count();
    let (mapped, always, not) = (count(Outcome::Mapped), count(Outcome::AlwaysSo), count(Outcome::NotMapped));
    terminal::say(&format!(
        "{mapped} directives mapped, {always} always so, {not} not mapped. Check with: sightline config check origin.toml"
    ));
    Ok(())
}

/// Reads the file and those that it includes.
pub(crate) fn import(file: &Path) -> Result<Imported, Failure> {
    let mut import = Import::default();
    let mut servers = Vec::new();
    collect(file, &[], 0, &mut servers, &mut import)?;
    if servers.is_empty() && import.is_empty() {
        return Err(format!("{}: there is no rtmp {{ }} in it; give the file that has it", file.display()).into());
    }
    Ok(import.finish())
}

/// A directive with the file that it stands in.
pub(crate) struct Placed<'a> {
    pub(crate) file: &'a str,
    pub(crate) directive: &'a Directive,
}

/// Walks over a file. `context`: the blocks around it.
fn collect(file: &Path, context: &[&str], depth: usize, servers: &mut Vec<PathBuf>, import: &mut Import) -> Result<(), Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let parsed = nginx_lint_parser::parse_string(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let name = file.display().to_string();
    let directives: Vec<&Directive> = parsed.directives().collect();
    walk(&directives, file, &name, context, depth, servers, import)
}

fn walk(
    directives: &[&Directive],
    file: &Path,
    name: &str,
    context: &[&str],
    depth: usize,
    servers: &mut Vec<PathBuf>,
    import: &mut Import,
) -> Result<(), Failure> {
    for directive in directives {
        let word = directive.name.as_str();
        if word == "include" && depth < INCLUDES_MAX {
            for included in included(file, directive.first_arg().unwrap_or_default()) {
                collect(&included, context, depth + 1, servers, import)?;
            }
            continue;
        }
        let placed = Placed { file: name, directive };
        let inner: Vec<&Directive> = directive.block.iter().flat_map(nginx_lint_parser::ast::Block::directives).collect();
        match (context, word) {
            ([], "rtmp") => {
                servers.push(file.to_owned());
                walk(&inner, file, name, &["rtmp"], depth, servers, import)?;
            }
            ([], _) => import.outside(&placed),
            (["rtmp"], "server") => {
                import.server();
                walk(&inner, file, name, &["rtmp", "server"], depth, servers, import)?;
            }
            (["rtmp", "server"], "application") => {
                import.application(&placed);
                walk(&inner, file, name, &["rtmp", "server", "application"], depth, servers, import)?;
                import.end_application();
            }
            (["rtmp", ..], "recorder") => import.recorder(&placed, &inner),
            (["rtmp", ..], _) => import.directive(&placed),
            _ => {}
        }
    }
    Ok(())
}

/// The files of an `include`: one, or those that a `*` in the name stands for.
fn included(from: &Path, pattern: &str) -> Vec<PathBuf> {
    let path = from.parent().unwrap_or(Path::new("")).join(pattern);
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Vec::new() };
    let Some((before, after)) = name.split_once('*') else { return if path.is_file() { vec![path] } else { Vec::new() } };
    let fits = |file: &Path| {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
    };
    let entries = path.parent().and_then(|dir| std::fs::read_dir(dir).ok());
    let mut found: Vec<PathBuf> = entries.into_iter().flatten().flatten().map(|entry| entry.path()).filter(|file| fits(file)).collect();
    found.sort();
    found
}

#[cfg(test)]
#[path = "nginx/nginx_tests.rs"]
mod tests;
