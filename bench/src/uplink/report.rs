//! The results, for people and for programs: medians of the runs, and of what must never happen the worst.

use super::Results;
use super::trial::Outcome;
use crate::table::middle;
use std::fmt::Write as _;

const NAME_WIDTH: usize = 40;

/// One run in a line.
pub(crate) fn line(one: &Outcome) -> String {
    let resumed: Vec<String> = one.resumed_ms.iter().map(|ms| ms.map_or_else(|| "never".into(), |ms| format!("{ms} ms"))).collect();
    let resumed = if resumed.is_empty() { String::new() } else { format!(", back after {}", resumed.join(", ")) };
    format!(
        "{:.1} % of {} sent on time, {:.0} kbit/s ({:.0} % of ideal), p50/p95/max {:.0}/{:.0}/{:.0} ms, {} stalls, {} decoder errors{resumed}",
        one.on_time_of_sent() * 100.0,
        one.sent,
        one.kbps,
        one.of_ideal() * 100.0,
        one.p50_ms,
        one.p95_ms,
        one.max_ms,
        one.stalls,
        one.decoder_errors,
    )
}

fn median(outcomes: &[Outcome], value: impl Fn(&Outcome) -> f64) -> f64 {
    middle(outcomes.iter().map(value).collect())
}

fn worst_resumption(outcomes: &[Outcome]) -> Option<f64> {
    let all = outcomes.iter().flat_map(|outcome| &outcome.resumed_ms);
    all.map(|ms| ms.map_or(f64::INFINITY, |ms| ms as f64)).reduce(f64::max)
}

pub(crate) fn text(results: &[Results]) -> String {
    let mut out = String::new();
    let titles = ["sent %", "captured %", "kbit/s", "ideal %", "p50 ms", "p95 ms", "max ms", "stalls", "errors", "back ms"];
    let _ = write!(out, "{:NAME_WIDTH$}", "");
    titles.iter().for_each(|title| _ = write!(out, "{title:>11}"));
    out.push('\n');
    for result in results {
        let ideal = result.rows.iter().flat_map(|(_, _, outcomes)| outcomes).next().map_or(f64::NAN, |one| one.ideal_kbps);
        let _ = writeln!(out, "{}: an ideal sender {ideal:.0} kbit/s", result.name);
        for (sender, server, outcomes) in &result.rows {
            let _ = write!(out, "  {:1$}", format!("{} to {server:?}", sender.name()), NAME_WIDTH - 2);
            let errors: usize = outcomes.iter().map(|one| one.decoder_errors).sum();
            let _ = write!(out, "{:>11.1}", median(outcomes, Outcome::on_time_of_sent) * 100.0);
            let _ = write!(out, "{:>11.1}", median(outcomes, |one| one.on_time_of_captured) * 100.0);
            let _ = write!(out, "{:>11.0}", median(outcomes, |one| one.kbps));
            let _ = write!(out, "{:>11.0}", median(outcomes, Outcome::of_ideal) * 100.0);
            for value in
                [|one: &Outcome| one.p50_ms, |one: &Outcome| one.p95_ms, |one: &Outcome| one.max_ms, |one: &Outcome| one.stalls as f64]
            {
                let _ = write!(out, "{:>11.0}", median(outcomes, value));
            }
            let back = worst_resumption(outcomes).map_or_else(|| "-".into(), |ms| format!("{ms:.0}"));
            let _ = writeln!(out, "{errors:>11}{back:>11}");
        }
    }
    out.push_str(
        "Medians of the runs; errors are summed, and back is the slowest. On time: arrived within 3 s of its capture. sent %: of the frames that were sent\n\
         (ffmpeg does not say what it lost: of those that came). captured %: of all that the camera made. kbit/s: on time. ideal %: beside a sender that\n\
         knows the future. stalls: no picture for more than a second. back: from an outage's end to the next live picture.\n",
    );
    out
}

pub(crate) fn json(results: &[Results]) -> String {
    let links = results.iter().map(|result| {
        let rows = result.rows.iter().map(|(sender, server, outcomes)| {
            let runs = outcomes.iter().map(|one| {
                serde_json::json!({
                    "frames_sent": one.sent, "frames_arrived": one.arrived, "frames_on_time": one.on_time,
                    "on_time_of_sent": one.on_time_of_sent(), "on_time_of_captured": one.on_time_of_captured,
                    "on_time_kbps": one.kbps, "ideal_kbps": one.ideal_kbps,
                    "latency_p50_ms": one.p50_ms, "latency_p95_ms": one.p95_ms, "latency_max_ms": one.max_ms,
                    "stalls": one.stalls, "resumed_ms": one.resumed_ms, "decoder_errors": one.decoder_errors, "unreadable": one.unreadable,
                })
            });
            serde_json::json!({ "sender": sender.name(), "server": format!("{server:?}"), "runs": runs.collect::<Vec<_>>() })
        });
        serde_json::json!({ "link": result.name, "seconds": result.secs, "senders": rows.collect::<Vec<_>>() })
    });
    format!("{}\n", serde_json::json!({ "links": links.collect::<Vec<_>>() }))
}
