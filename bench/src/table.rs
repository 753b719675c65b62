//! The results, for people and for programs: medians, and what they are beside nginx's.

use crate::measure::Measurement;
use crate::results::Results;
use crate::scenario::{Kind, Scenario};
use std::fmt::Write as _;

/// A column: its title, its key, what it shows, and its digits.
struct Column {
    title: &'static str,
    key: &'static str,
    value: fn(&Measurement) -> f64,
    digits: usize,
}

const COLUMNS: [Column; 9] = [
    Column { title: "CPU s/Gbit", key: "cpu_secs_per_gbit", value: Measurement::secs_per_gbit, digits: 3 },
    Column { title: "user", key: "user_secs_per_gbit", value: |one| one.user_secs / one.gbit, digits: 3 },
    Column { title: "kernel", key: "kernel_secs_per_gbit", value: |one| one.system_secs / one.gbit, digits: 3 },
    Column { title: "Gbit", key: "gbit", value: |one| one.gbit, digits: 2 },
    Column { title: "KiB each", key: "kib_each", value: |one| one.bytes_each / 1024.0, digits: 1 },
    Column { title: "KiB GOP", key: "kib_group_of_pictures", value: |one| one.group_bytes / 1024.0, digits: 1 },
    Column { title: "p50 ms", key: "latency_p50_ms", value: |one| one.latency_p50_ms, digits: 1 },
    Column { title: "p99 ms", key: "latency_p99_ms", value: |one| one.latency_p99_ms, digits: 1 },
    Column { title: "load busy", key: "load_share", value: |one| one.load_share, digits: 2 },
];
const NAME_WIDTH: usize = 42;
const WIDTH: usize = 11;

fn median(measured: &[Measurement], value: fn(&Measurement) -> f64) -> f64 {
    middle(measured.iter().map(value).collect())
}

/// Median of the runs' own ratios: what disturbs the machine in a run disturbs all servers of that run.
fn ratio(results: &Results, measured: &[Measurement], value: fn(&Measurement) -> f64) -> f64 {
    let peer = results.iter().find(|(kind, _)| *kind == Kind::Nginx).map_or(&[][..], |(_, measured)| measured);
    middle(measured.iter().zip(peer).map(|(ours, theirs)| value(ours) / value(theirs)).collect())
}

pub(crate) fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
    f64::midpoint(at(values.len().saturating_sub(1) / 2), at(values.len() / 2))
}

fn lost(measured: &[Measurement]) -> (u64, u64, usize) {
    measured.iter().fold((0, 0, 0), |sum, one| (sum.0 + one.lost, sum.1 + one.corrupt, sum.2 + one.dropped))
}

pub(crate) fn text(all: &[(Scenario, Results)]) -> String {
    let mut out = String::new();
    for (scenario, results) in all {
        let _ = write!(out, "{:NAME_WIDTH$}", scenario.name);
        for column in &COLUMNS {
            let _ = write!(out, "{:>WIDTH$}", column.title);
        }
        let _ = writeln!(out, "{:>WIDTH$}{:>WIDTH$}", "lost", "ratio");
        for (kind, measured) in results {
            let _ = write!(out, "  {:1$}", kind.name(), NAME_WIDTH - 2);
            for column in &COLUMNS {
                let _ = write!(out, "{:>WIDTH$.*}", column.digits, median(measured, column.value));
            }
            let (lost, corrupt, dropped) = lost(measured);
            let ratio = ratio(results, measured, Measurement::secs_per_gbit);
            let _ = writeln!(out, "{lost:>WIDTH$}{ratio:>WIDTH$.2}");
            if corrupt > 0 || dropped > 0 {
                let _ = writeln!(out, "  {corrupt} frames corrupt; {dropped} viewers disconnected, or playlists or recordings too short");
            }
        }
    }
    out.push_str(
        "Medians. Gbit: out in fan-out, in otherwise. KiB each: what the server's own resident memory grew by, a viewer in fan-out, a stream\n\
         otherwise. KiB GOP: the mean group of pictures at that moment. ratio: CPU s/Gbit beside nginx-rtmp's of the same run, median of the runs.\n",
    );
    out
}

pub(crate) fn json(all: &[(Scenario, Results)], seconds: u64) -> String {
    let scenarios = all.iter().map(|(scenario, results)| {
        let servers: Vec<_> = results.iter().map(|(kind, measured)| server(*kind, measured, results)).collect();
        serde_json::json!({
            "scenario": scenario.name,
            "publishers": scenario.streams,
            "viewers": scenario.viewers,
            "server_processors": scenario.cores,
            "servers": servers,
        })
    });
    format!("{}\n", serde_json::json!({ "seconds": seconds, "scenarios": scenarios.collect::<Vec<_>>() }))
}

fn server(kind: Kind, measured: &[Measurement], results: &Results) -> serde_json::Value {
    let (lost, corrupt, dropped) = lost(measured);
    // There is no ratio without nginx, and JSON has no NaN: such a value is null.
    let mut server = serde_json::json!({
        "server": kind.name(),
        "runs": measured.iter().map(Measurement::secs_per_gbit).collect::<Vec<_>>(),
        "frames_lost": lost,
        "frames_corrupt": corrupt,
        "dropped": dropped,
        "cpu_ratio": ratio(results, measured, Measurement::secs_per_gbit),
        "memory_ratio": ratio(results, measured, |one| one.bytes_each),
    });
    if let Some(object) = server.as_object_mut() {
        object.extend(COLUMNS.iter().map(|column| (column.key.to_owned(), median(measured, column.value).into())));
    }
    server
}
