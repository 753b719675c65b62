//! Alerts, dashboard and the page on metrics name what the code registers, and the page names all of it.

use crate::shell::Problem;
use std::{collections::BTreeSet, path::Path};

/// The page that has every metric.
const PAGE: &str = "docs/operate/monitoring.md";
/// What names some of them.
const USERS: [&str; 2] = ["docs/operate/alerts.yml", "docs/operate/dashboard.json"];
/// Where metrics are registered.
const SOURCES: [&str; 3] = ["services/cloud/src/", "services/origin/src/", "net/listen/src/"];
/// How their names begin.
const PREFIXES: [&str; 2] = ["sightline_", "process_"];
/// What Prometheus makes of a histogram's name.
const HISTOGRAM_PARTS: [&str; 3] = ["_bucket", "_sum", "_count"];

pub(crate) fn check(root: &Path, present: &[&str]) -> Result<Vec<String>, Problem> {
    let mut registered = BTreeSet::new();
    for file in present.iter().filter(|file| file.ends_with(".rs") && SOURCES.iter().any(|source| file.starts_with(source))) {
        registered.extend(names_in_code(&std::fs::read_to_string(root.join(file))?));
    }
    let mut problems = Vec::new();
    for user in USERS.into_iter().chain([PAGE]) {
        problems.extend(unknown(user, &std::fs::read_to_string(root.join(user))?, &registered));
    }
    let page = names_in_text(&std::fs::read_to_string(root.join(PAGE))?);
    problems.extend(registered.difference(&page).map(|name| format!("{PAGE}: {name} is not there; the page has every metric")));
    Ok(problems)
}

fn unknown(user: &str, text: &str, registered: &BTreeSet<String>) -> Vec<String> {
    let is_registered = |name: &String| {
        let whole = || HISTOGRAM_PARTS.iter().filter_map(|part| name.strip_suffix(part)).any(|name| registered.contains(name));
        registered.contains(name) || whole()
    };
    let names = names_in_text(text).into_iter().filter(|name| !is_registered(name));
    names.map(|name| format!("{user}: no code registers {name}: it would stay empty, or never fire")).collect()
}

/// Whole names in quotes, and what an origin gives to `family`, which puts its prefix before it.
fn names_in_code(code: &str) -> BTreeSet<String> {
    let code = code.split("#[cfg(test)]").next().unwrap_or_default();
    let quoted = code.split('"').filter(|text| PREFIXES.iter().any(|prefix| text.starts_with(prefix) && text.len() > prefix.len()));
    let whole = quoted.filter(|text| text.chars().all(is_of_a_name)).map(str::to_owned);
    let families = code.split(".family(").skip(1).filter_map(|call| Some(call.trim_start().strip_prefix('"')?.split_once('"')?.0));
    let begun = code.split("# HELP sightline_").skip(1).filter_map(|text| Some(text.split_once(' ')?.0)).filter(|name| !name.contains('{'));
    whole.chain(families.map(|name| format!("sightline_origin_{name}"))).chain(begun.map(|name| format!("sightline_{name}"))).collect()
}

fn names_in_text(text: &str) -> BTreeSet<String> {
    let words = text.split(|c| !is_of_a_name(c));
    words.filter(|word| PREFIXES.iter().any(|prefix| word.len() > prefix.len() && word.starts_with(prefix))).map(str::to_owned).collect()
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "gauge!(\"sightline_a\"); text.family(\n \"viewers\", Kind::Gauge, \"Viewers.\"); one(\"process_open_fds\");\n\
                        \"# HELP sightline_origin_remarks_total What\"; \"# HELP sightline_origin_{name} {help}\";\n\
                        #[cfg(test)] \"sightline_tested\"";

    #[test]
    fn an_alert_on_what_no_code_registers_is_found() {
        let registered = names_in_code(CODE);
        let names: Vec<&str> = registered.iter().map(String::as_str).collect();
        assert_eq!(names, ["process_open_fds", "sightline_a", "sightline_origin_remarks_total", "sightline_origin_viewers"]);
        let alert = "expr: rate(sightline_a_bucket[5m]) > process_open_fds{job=~\"sightline-.*\"}";
        assert_eq!(unknown("alerts.yml", alert, &registered), Vec::<String>::new());
        assert_eq!(unknown("alerts.yml", "expr: sightline_b > 0", &registered).len(), 1);
    }

    #[test]
    fn alerts_dashboard_and_page_name_what_the_code_registers() {
        let root = crate::shell::root();
        let listed = std::process::Command::new("git").args(["ls-files", "-co", "--exclude-standard"]).current_dir(&root).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let present: Vec<&str> = listed.lines().filter(|file| root.join(file).is_file()).collect();
        let Ok(problems) = check(&root, &present) else { panic!("a file is missing") };
        assert_eq!(problems, Vec::<String>::new());
    }
}
