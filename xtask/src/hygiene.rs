//! Rules that no lint knows. Each prints its reason.

use crate::shell::{Problem, output_of, root};
use crate::{monitoring, structure};
use std::{collections::BTreeSet, path::Path, process::Command};

/// Lines of a source file before its tests: beyond it a file has more than one subject.
const LINES_MAX: usize = 800;
/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 7] = ["util", "utils", "common", "helper", "helpers", "manager", "misc"];
/// The text of others: kept as they wrote it, so that their next version compares.
const VENDORED: &str = "vendor/";
/// Crates that must not come in, and why.
const BANNED: [(&str, &str); 5] = [
    ("rumqttc", "stalled, with open advisories; mqtt-protocol-core is what we use"),
    ("rumqttd", "no rights for publishing, and rustls 0.22"),
    ("openssl-sys", "a system library: Rust and a C compiler must suffice; TLS is rustls"),
    ("bindgen", "needs libclang: Rust and a C compiler must suffice"),
    ("rustls-pemfile", "unmaintained (RUSTSEC-2025-0134); rustls-pki-types reads PEM"),
];

pub(crate) fn check() -> Result<(), Problem> {
    let root = root();
    let listed = output_of(Command::new("git").args(["ls-files", "-co", "--exclude-standard"]).current_dir(&root))
        .ok_or_else(|| Problem("git ls-files failed".into()))?;
    let mut problems = Vec::new();
    let mut functions = BTreeSet::new();
    for file in listed.lines().filter(|file| root.join(file).is_file() && !file.starts_with(VENDORED)) {
        let path = Path::new(file);
        let is_empty_name = path
            .components()
            .any(|part| Path::new(part.as_os_str()).file_stem().is_some_and(|stem| EMPTY_NAMES.contains(&&*stem.to_string_lossy())));
        if is_empty_name && file.ends_with(".rs") {
            problems.push(format!("{file}: the name says nothing; name the subject"));
        }
        if file.ends_with(".rs") {
            let text = std::fs::read_to_string(root.join(file))?;
            functions.extend(text.lines().filter_map(|line| Some(line.split_once("fn ")?.1.split_once('(')?.0.to_owned())));
            let lines = text.lines().take_while(|line| *line != "#[cfg(test)]").count();
            if lines > LINES_MAX {
                problems.push(format!(
                    "{file}: {lines} lines before its tests, at most {LINES_MAX}: a file is a room, give its second subject another"
                ));
            }
        }
    }
    let lock = std::fs::read_to_string(root.join("Cargo.lock"))?;
    let locked: BTreeSet<&str> = lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).collect();
    for (name, reason) in BANNED {
        if locked.contains(name) {
            problems.push(format!("Cargo.lock has {name}: {reason}"));
        }
    }
    check_dependencies(&root, &mut problems)?;
    let present: Vec<&str> = listed.lines().filter(|file| root.join(file).is_file() && !file.starts_with(VENDORED)).collect();
    problems.extend(structure::check(&root, &present)?);
    problems.extend(monitoring::check(&root, &present)?);
    check_table(&root, &functions, &mut problems)?;
    check_error_codes(&root, &functions, &mut problems)?;
    if problems.is_empty() { Ok(()) } else { Err(Problem(problems.join("\n       "))) }
}

/// A folder of crates with a rule of its own.
#[derive(Clone, Copy)]
enum Floor {
    Core,
    Video,
    Services,
}

/// Who may depend on whom (ARCHITECTURE.md): the core on nothing that does I/O, video on no stream, no service on another.
fn check_dependencies(root: &Path, problems: &mut Vec<String>) -> Result<(), Problem> {
    const CORE_MAY: [&str; 17] = [
        "jiff",
        // What WebRTC needs, sans-IO: ciphers, DTLS, STUN.
        "aws-lc-rs",
        "dimpl",
        "is",
        "thiserror",
        "sightline-mp4",
        "sightline-media",
        "sightline-rtmp",
        "sightline-signal",
        "bytes",
        "heapless",
        "hmac",
        "serde",
        "serde-json-core",
        "sha2",
        "shiguredo_mp4",
        // Words about types, behind a feature that no camera asks for.
        "utoipa",
    ];
    const VIDEO_MAY_NOT: [&str; 2] = ["sightline-rtmp", "sightline-pusher"];
    const SERVICES: [&str; 3] = ["sightline-camera", "sightline-cloud", "sightline-origin"];
    for (folder, floor) in [("core", Floor::Core), ("video", Floor::Video), ("services", Floor::Services)] {
        for entry in std::fs::read_dir(root.join(folder))? {
            let manifest = entry?.path().join("Cargo.toml");
            let Ok(text) = std::fs::read_to_string(&manifest) else { continue };
            let dependencies = text.split("\n[").find_map(|section| section.strip_prefix("dependencies]")).unwrap_or_default();
            for name in dependencies
                .lines()
                .filter_map(|line| line.split(['.', ' ', '=']).next())
                .filter(|name| !name.is_empty() && !name.starts_with('#'))
            {
                match floor {
                    Floor::Core if !CORE_MAY.contains(&name) => {
                        problems.push(format!("{}: the core is pure, and {name} is not on its list", manifest.display()));
                    }
                    Floor::Video if SERVICES.contains(&name) || VIDEO_MAY_NOT.contains(&name) => {
                        problems.push(format!("{}: video/ knows no service and no stream ({name})", manifest.display()));
                    }
                    Floor::Services if SERVICES.contains(&name) => {
                        problems.push(format!("{}: no service depends on another ({name})", manifest.display()));
                    }
                    Floor::Core | Floor::Video | Floor::Services => {}
                }
            }
        }
    }
    Ok(())
}

/// Every error code has a row in the table for its readers, and a test that shows it.
fn check_error_codes(root: &Path, functions: &BTreeSet<String>, problems: &mut Vec<String>) -> Result<(), Problem> {
    let (codes, table) = ("core/signal/src/error_code.rs", "docs/protocol/errors.md");
    let (source, page) = (std::fs::read_to_string(root.join(codes))?, std::fs::read_to_string(root.join(table))?);
    let declared: BTreeSet<&str> =
        source.lines().filter_map(|line| line.trim().strip_suffix("\",")?.split_once(" = \"")).map(|(_, code)| code).collect();
    let rows: Vec<(&str, &str)> = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |")).collect();
    for code in &declared {
        match rows.iter().filter(|(name, _)| name == code).count() {
            1 => {}
            count => problems.push(format!("{table}: {code} has {count} rows; each code of {codes} has one")),
        }
    }
    if declared.is_empty() {
        problems.push(format!("{codes}: no code was found in it"));
    }
    for (code, row) in rows {
        if !declared.contains(code) {
            problems.push(format!("{table}: {code} is no code of {codes}"));
        }
        let tests: Vec<&str> = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default().split('`').skip(1).step_by(2).collect();
        if tests.is_empty() {
            problems.push(format!("{table}: no test shows {code}"));
        }
        for test in tests.iter().filter(|test| !functions.contains(**test)) {
            problems.push(format!("{table}: there is no test {test}, which shows {code}"));
        }
    }
    Ok(())
}

/// The conformance table says which test shows a point: each must exist.
fn check_table(root: &Path, functions: &BTreeSet<String>, problems: &mut Vec<String>) -> Result<(), Problem> {
    let table = "docs/protocol/rtmp.md";
    let text = std::fs::read_to_string(root.join(table))?;
    let rows: Vec<&str> = text
        .lines()
        .filter(|line| line.strip_prefix("| ").is_some_and(|row| row.starts_with(|first: char| first.is_ascii_digit())))
        .collect();
    if rows.is_empty() {
        problems.push(format!("{table}: its table of conformance was not found"));
    }
    for row in rows {
        let shown = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        for test in shown.split('`').skip(1).step_by(2) {
            let name = test.rsplit("::").next().unwrap_or(test);
            if !functions.contains(name) {
                problems.push(format!("{table}: there is no test {test}, which shows a point of its table"));
            }
        }
        if !row.contains('`') && !row.contains("not seen") {
            problems.push(format!("{table}: nothing shows the point {row}"));
        }
    }
    Ok(())
}
