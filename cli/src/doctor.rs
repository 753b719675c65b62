//! `sightline doctor`: the deployment checklist, for people and for programs.

mod cloud;
mod files;
mod item;
mod origin;
mod ports;

use crate::{
    Failure,
    args::{self, RoleArg},
    cameras::{self, Cameras},
    settings, terminal,
};
use indicatif::{ProgressBar, ProgressStyle};
use sightline_camera::doctor::{self, Item, Part, Report, Verdict};
use std::{fmt::Write as _, path::Path, time::Duration};

/// True: nothing failed.
pub(crate) async fn run(doctor: args::Doctor) -> Result<bool, Failure> {
    let cameras = match &doctor.config {
        None => vec![None],
        Some(file) => {
            let role = doctor.role.map_or_else(|| settings::role_of(file), Ok)?;
            if role != RoleArg::Camera {
                return Ok(show_one(&examine_server(role, file).await?, doctor.json)? == 0);
            }
            match cameras::load(file)? {
                Cameras::One(config) => vec![Some(*config)],
                Cameras::Several(configs) => configs.into_iter().map(Some).collect(),
            }
        }
    };
    let mut reports = Vec::new();
    for config in &cameras {
        reports.push(examine(config.as_ref()).await);
    }
    let failed = reports.iter().map(|report| report.failed).sum::<usize>();
    let ids = || cameras.iter().map(|config| config.as_ref().map_or("", |config| config.device_id.as_str()));
    match (&reports[..], doctor.json) {
        ([report], is_json) => {
            show_one(report, is_json)?;
        }
        (all, true) => {
            let all: Vec<_> = ids().zip(all).map(|(id, report)| serde_json::json!({"device_id": id, "report": report})).collect();
            terminal::print(&serde_json::to_string(&all)?);
        }
        (all, false) => {
            for (id, report) in ids().zip(all) {
                terminal::print(&format!("\n[{id}]\n{}", describe(report, is_utf8()).trim_end()));
            }
        }
    }
    Ok(failed == 0)
}

/// A cloud's or an origin's machine.
async fn examine_server(role: RoleArg, file: &Path) -> Result<Report, Failure> {
    let line = progress_line();
    let progress = |what: &'static str| line.set_message(format!("looking at {what}"));
    let now_sec = jiff::Timestamp::now().as_second();
    let report = match role {
        RoleArg::Origin => origin::examine(&settings::file::load(file)?, now_sec, &progress).await,
        RoleArg::Cloud | RoleArg::Camera => cloud::examine(&settings::file::load(file)?, now_sec, &progress).await,
    };
    line.finish_and_clear();
    Ok(report)
}

/// Prints a report; how many of its items failed.
fn show_one(report: &Report, is_json: bool) -> Result<usize, Failure> {
    if is_json {
        terminal::print(&serde_json::to_string(report)?);
    } else {
        terminal::print(describe(report, is_utf8()).trim_end());
    }
    Ok(report.failed)
}

fn progress_line() -> ProgressBar {
    let line = ProgressBar::new_spinner()
        .with_style(ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
    line.enable_steady_tick(Duration::from_millis(120));
    line
}

async fn examine(config: Option<&sightline_camera::Config>) -> Report {
    let line = progress_line();
    let report = doctor::examine(config, &|what| line.set_message(format!("looking at {what}"))).await;
    line.finish_and_clear();
    report
}

/// Whether the terminal shows more than ASCII, by the variables that say so, the strongest first.
fn is_utf8() -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    set.is_some_and(|value| value.to_ascii_lowercase().replace('-', "").contains("utf8"))
}

fn describe(report: &Report, is_utf8: bool) -> String {
    let mut text = String::new();
    for (part, title) in [(Part::Device, "Device"), (Part::Cloud, "Cloud"), (Part::Network, "Network")] {
        let mut items = report.items.iter().filter(|item| item.part == part).peekable();
        // A server has no device.
        if items.peek().is_some() || part == Part::Cloud {
            let _ = writeln!(text, "{title}");
        }
        for item in items {
            describe_item(&mut text, item, is_utf8);
        }
    }
    let count = |verdict| report.items.iter().filter(|item| item.result == verdict).count();
    let (passed, none) = (count(Verdict::Passed), count(Verdict::NotApplicable));
    let _ = writeln!(text, "\n{passed} passed, {} failed, {none} not applicable", report.failed);
    text
}

fn describe_item(text: &mut String, item: &Item, is_utf8: bool) {
    let mark = match (item.result, is_utf8) {
        (Verdict::Passed, true) => "✓",
        (Verdict::Failed, true) => "✗",
        (Verdict::NotApplicable, true) => "–",
        (Verdict::Passed, false) => "ok  ",
        (Verdict::Failed, false) => "FAIL",
        (Verdict::NotApplicable, false) => "-   ",
    };
    let _ = writeln!(text, "  {mark} {:<20}  {}", title(item.item), item.detail);
    if let Some(mend) = &item.mend {
        // Below what failed.
        let indent = 2 + mark.chars().count() + 1 + 20 + 2;
        let arrow = if is_utf8 { "→" } else { "->" };
        let _ = writeln!(text, "{:indent$}{arrow} {mend}", "");
    }
}

/// `mqtt_settings`: MQTT settings.
fn title(item: &str) -> String {
    let words = item.split('_').map(|word| match word {
        "mqtt" | "rtmp" | "rtmps" | "http" => word.to_ascii_uppercase(),
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_a_table_with_the_mend_below_what_failed() {
        let passed = Item { part: Part::Device, item: "hardware", result: Verdict::Passed, detail: "2 cores".into(), mend: None };
        let failed = Item {
            part: Part::Network,
            item: "mqtt",
            result: Verdict::Failed,
            detail: "a.example:8883: TCP: refused".into(),
            mend: Some("start the server".into()),
        };
        let none = Item { item: "bandwidth", result: Verdict::NotApplicable, detail: "not measured".into(), mend: None, ..failed.clone() };
        let report = Report { items: vec![passed, failed, none], failed: 1 };
        assert_eq!(
            describe(&report, true),
            "Device\n  ✓ hardware              2 cores\nCloud\nNetwork\n  ✗ MQTT                  a.example:8883: TCP: refused\n                          \
             → start the server\n  – bandwidth             not measured\n\n1 passed, 1 failed, 1 not applicable\n"
        );
        let ascii = describe(&report, false);
        assert!(ascii.is_ascii() && ascii.contains("  FAIL MQTT "), "{ascii}");
    }
}
