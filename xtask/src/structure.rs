//! The lint of the structure: files of a crate don't import each other in circles, and each seam is crossed in one place only.
//!
//! It reads `use` declarations and paths that begin with `crate::` or `super::` as text, up to the first `#[cfg(test)]`. A module is a
//! file; an import of an item counts as one of the file that the path leads to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Circles that stay, by crate and file names, and why.
const CIRCLES_ALLOWED: [(&str, &[&str], &str); 1] = [(
    "core/rtmp",
    &["amf0", "amf3"],
    "the format itself is a circle: AMF0 switches to AMF3 for one value (AMF0 §2.18), and AMF3 spends the same budget of elements",
)];

/// Words that may stand in one place of the tree only: folder or file, word, where, and the reason.
const SEAMS: [(&str, &[&str], &str, &str); 6] = [
    ("services", &["sqlx::"], "services/cloud/src/store", "SQL has one place: PostgreSQL comes beside SQLite there"),
    (
        "services/cloud/src/store",
        &["Sqlite", "BEGIN IMMEDIATE", "CAST(", "AS BLOB"],
        "services/cloud/src/store/sqlite",
        "what only SQLite knows has one file",
    ),
    (
        "services/cloud/src",
        &["mqtt_protocol_core"],
        "services/cloud/src/mqtt/builtin",
        "the cloud works with brokers of others too: the built-in one's types stay in its folder",
    ),
    (
        "services/origin/src/live",
        &["sightline_rtmp", "sightline_hls", "crate::wire", "crate::play"],
        "",
        "the stream's model knows no wire: outputs hang on it as taps and cursors",
    ),
    ("core", &["std::net", "std::fs", "tokio"], "", "the core has no I/O"),
    (
        "services",
        &["TcpListener>::accept", "TcpListener::accept", ".accept()"],
        "",
        "connections come in through net/listen, which limits and counts them",
    ),
];

/// All that is wrong with the structure, one sentence each.
pub(crate) fn check(root: &Path, files: &[&str]) -> std::io::Result<Vec<String>> {
    let mut problems = Vec::new();
    let mut crates: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.ends_with(".rs")) {
        let Some((of, _)) = file.split_once("/src/") else { continue };
        crates.entry(of.into()).or_default().push(file.into());
    }
    for (of, files) in &crates {
        let modules = read_modules(root, of, files)?;
        problems.extend(circles(of, &modules));
    }
    problems.extend(seams(root, files)?);
    Ok(problems)
}

/// A file of a crate.
struct Module {
    /// `agent::connection`; empty for the root.
    path: Vec<String>,
    /// Without comments, texts and tests.
    code: String,
}

fn read_modules(root: &Path, of: &Path, files: &[PathBuf]) -> std::io::Result<Vec<Module>> {
    let mut modules = Vec::new();
    for file in files {
        let inside = file.strip_prefix(of.join("src")).unwrap_or(file).with_extension("");
        let mut path: Vec<String> = inside.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
        match path.last().map(String::as_str) {
            Some("lib" | "mod") => {
                path.pop();
            }
            // A binary's root has `crate::` paths of its own; tests in files of their own are no part of the plan.
            Some(name) if name == "tests" || name.ends_with("_tests") => continue,
            Some("main") => {
                path.pop();
            }
            Some(_) | None => {}
        }
        modules.push(Module { path, code: code_of(&std::fs::read_to_string(root.join(file))?) });
    }
    Ok(modules)
}

/// The lines before the tests, without comments.
fn code_of(text: &str) -> String {
    let lines = text.lines().take_while(|line| *line != "#[cfg(test)]");
    lines.map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn circles(of: &Path, modules: &[Module]) -> Vec<String> {
    let known: BTreeSet<&[String]> = modules.iter().map(|module| &module.path[..]).collect();
    let mut arrows: BTreeMap<&[String], BTreeSet<&[String]>> = BTreeMap::new();
    for module in modules {
        for target in imports(module) {
            // The file that the path leads to: the longest beginning of it that is one.
            let found = (1..=target.len()).rev().find_map(|length| known.get(&target[..length]).copied());
            // From a child to its own parent is where children find what they share, and counts like any other; a parent's `mod` does not.
            if let Some(found) = found.filter(|found| *found != module.path) {
                arrows.entry(&module.path).or_default().insert(found);
            }
        }
    }
    let mut problems = Vec::new();
    for circle in strongly_connected(&arrows) {
        let names: Vec<String> = circle.iter().map(|path| path.join("::")).collect();
        let is_allowed =
            CIRCLES_ALLOWED.iter().any(|(at, allowed, _)| of == Path::new(at) && names.iter().all(|name| allowed.contains(&name.as_str())));
        if !is_allowed {
            problems.push(format!(
                "{}: these files import each other: {}; move what they share to a file below both",
                of.display(),
                names.join(", ")
            ));
        }
    }
    problems
}

/// The paths that a module names, from the crate's root.
fn imports(module: &Module) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (start, base) in starts(&module.code, module) {
        expand(&module.code[start..], base, &mut found);
    }
    found
}

/// Where paths begin: behind `crate::`, or behind one or more `super::`.
fn starts(code: &str, module: &Module) -> Vec<(usize, Vec<String>)> {
    let is_word = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':');
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::").filter(|(at, _)| !is_word(code.as_bytes().get(at.wrapping_sub(1)).copied())) {
        found.push((at + "crate::".len(), Vec::new()));
    }
    for (at, _) in code.match_indices("super::").filter(|(at, _)| !is_word(code.as_bytes().get(at.wrapping_sub(1)).copied())) {
        let (mut base, mut rest) = (module.path.clone(), at);
        while code[rest..].starts_with("super::") {
            base.pop();
            rest += "super::".len();
        }
        found.push((rest, base));
    }
    found
}

/// Reads a path, or a tree of paths in braces, and adds what it leads to.
fn expand(code: &str, base: Vec<String>, found: &mut Vec<Vec<String>>) {
    let mut path = base;
    let mut rest = code;
    loop {
        let length = rest.find(|character: char| !character.is_ascii_alphanumeric() && character != '_').unwrap_or(rest.len());
        if length > 0 {
            path.push(rest[..length].to_owned());
            rest = &rest[length..];
            match rest.strip_prefix("::") {
                Some(after) => rest = after,
                None => break,
            }
        } else if let Some(inner) = rest.strip_prefix('{') {
            for branch in branches(inner) {
                expand(branch.trim_start(), path.clone(), found);
            }
            return;
        } else {
            break;
        }
    }
    found.push(path);
}

/// The parts of a tree in braces, up to its end.
fn branches(inner: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, character) in inner.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => {
                found.push(&inner[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&inner[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found
}

/// Groups of nodes that reach each other (Tarjan would be faster; a crate has fewer than a hundred files).
fn strongly_connected<'a>(arrows: &BTreeMap<&'a [String], BTreeSet<&'a [String]>>) -> Vec<Vec<&'a [String]>> {
    let reach = |from: &'a [String]| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(node) = open.pop() {
            for &next in arrows.get(node).into_iter().flatten() {
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&[String], BTreeSet<&[String]>> = arrows.keys().map(|&node| (node, reach(node))).collect();
    let (mut done, mut groups) = (BTreeSet::new(), Vec::new());
    for (&node, targets) in &reached {
        if done.contains(node) || !targets.contains(node) {
            continue;
        }
        let group: Vec<&[String]> =
            targets.iter().copied().filter(|other| reached.get(other).is_some_and(|back| back.contains(node))).collect();
        done.extend(group.iter().copied());
        groups.push(group);
    }
    groups
}

fn seams(root: &Path, files: &[&str]) -> std::io::Result<Vec<String>> {
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.ends_with(".rs") && file.contains("/src/") && !file.ends_with("tests.rs")) {
        problems.extend(out_of_place(file, &code_of(&std::fs::read_to_string(root.join(file))?)));
    }
    Ok(problems)
}

/// What stands in a file's code and has its place elsewhere.
fn out_of_place(file: &str, code: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for (within, words, only, reason) in SEAMS {
        if !file.starts_with(&format!("{within}/")) || (!only.is_empty() && file.starts_with(only)) {
            continue;
        }
        for word in words.iter().filter(|word| code.contains(**word)) {
            problems.push(format!("{file}: {word} has no place here: {reason}"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(path: &str, code: &str) -> Module {
        Module { path: path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect(), code: code.to_owned() }
    }

    #[test]
    fn files_that_import_each_other_are_found_whatever_the_path_looks_like() {
        for back in ["use crate::a::Thing;", "use crate::{a::{self, Thing}, c};", "fn f() { crate::a::thing() }", "use super::a;"] {
            let modules = [module("a", "use crate::b::Other;"), module("b", back), module("c", "")];
            assert_eq!(circles(Path::new("x"), &modules).len(), 1, "{back}");
        }
    }

    #[test]
    fn a_tree_is_no_circle() {
        let modules = [
            module("", "mod a; mod b; pub use a::Thing;"),
            module("a", "use crate::b::Other;"),
            module("b", "use crate::b::inner::X;"),
            module("b::inner", "use mycrate::a::Thing;"),
        ];
        assert_eq!(circles(Path::new("x"), &modules), Vec::<String>::new());
    }

    #[test]
    fn a_child_that_takes_from_its_parent_while_the_parent_takes_from_it_is_a_circle() {
        let modules = [module("a", "use crate::a::b::Inner;"), module("a::b", "use super::Outer;")];
        assert_eq!(circles(Path::new("x"), &modules).len(), 1);
    }

    #[test]
    fn each_seam_is_seen_outside_its_place_and_not_within() {
        for (within, words, only, _) in SEAMS {
            for word in words {
                assert_eq!(out_of_place(&format!("{within}/elsewhere.rs"), &format!("let x = {word};")).len(), 1, "{word} in {within}");
                if !only.is_empty() {
                    let found = out_of_place(&format!("{only}/inner.rs"), &format!("let x = {word};"));
                    assert!(!found.iter().any(|problem| problem.contains(word)), "{word} in {only}");
                }
            }
        }
    }
}
