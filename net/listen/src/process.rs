//! The process itself, for `/metrics`: the names are those of every Prometheus client, so that dashboards of others fit.

use crate::descriptors;
use std::{
    fmt::{Display, Write as _},
    fs,
};

/// Ticks a second of the times in `/proc`: `USER_HZ`, which is 100 on every machine that Rust's Linux runs on.
const TICKS_PER_SECOND: u32 = 100;
/// Where `/proc/self/stat` has user and system time and the start, counted from the state behind the name (proc(5): fields 14, 15, 22).
const STAT_FIELDS: [usize; 3] = [11, 12, 19];

/// Build and process, in the text format of Prometheus. What the system does not show is left out.
#[must_use]
pub fn metrics(version: &str) -> String {
    let mut text = String::new();
    family(&mut text, "sightline_build_info", "gauge", "1; the version is a label.");
    // Writing to a string can't fail.
    let _ = writeln!(text, "sightline_build_info{{version=\"{version}\"}} 1");
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    if let Some([user, system, start]) = times(&read("/proc/self/stat")) {
        one(&mut text, "process_cpu_seconds_total", "counter", "CPU time of user and system, in seconds.", seconds(user + system));
        if let Some(boot) = boot_time(&read("/proc/stat")) {
            let help = "When the process began, in seconds since 1970.";
            one(&mut text, "process_start_time_seconds", "gauge", help, boot as f64 + seconds(start));
        }
    }
    if let Some(bytes) = resident_bytes(&read("/proc/self/status")) {
        one(&mut text, "process_resident_memory_bytes", "gauge", "Memory that the process holds, in bytes.", bytes);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        one(&mut text, "process_open_fds", "gauge", "Files and sockets that are open.", open.count());
    }
    one(&mut text, "process_max_fds", "gauge", "Files and sockets that may be open.", descriptors::raise());
    text
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn one(text: &mut String, name: &str, kind: &str, help: &str, value: impl Display) {
    family(text, name, kind, help);
    let _ = writeln!(text, "{name} {value}");
}

/// User time, system time and start, in ticks. The program's name may have spaces and brackets of its own.
fn times(stat: &str) -> Option<[u64; 3]> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let [user, system, start] = STAT_FIELDS.map(|at| fields.get(at)?.parse().ok());
    Some([user?, system?, start?])
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / f64::from(TICKS_PER_SECOND)
}

fn boot_time(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn resident_bytes(status: &str) -> Option<u64> {
    let kib: u64 = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_s_name_with_brackets_does_not_move_the_fields() {
        let stat = "7 (a) b ( c) S 1 7 7 0 -1 4194560 90 0 0 0 150 50 0 0 20 0 4 0 12345 1000 200";
        assert_eq!(times(stat), Some([150, 50, 12345]));
        assert_eq!(times("7 (a) S 1"), None);
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\n"), Some(2 << 20));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_shown_with_all_its_figures() {
        let text = metrics("1.2.3");
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("{name} in {text}")).parse::<f64>().unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 100_000.0 && value("process_open_fds") >= 3.0);
        assert!(value("process_max_fds") >= value("process_open_fds") && value("process_cpu_seconds_total") >= 0.0);
        assert!(value("process_start_time_seconds") > 1.6e9);
        assert!(text.contains("sightline_build_info{version=\"1.2.3\"} 1\n"));
    }
}
