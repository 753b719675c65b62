//! Fuzzing: builds the targets of `fuzz/` with libFuzzer's coverage on the stable compiler, and runs them.
//!
//! `cargo fuzz` asks for a nightly compiler because of its sanitizers. There is no unsafe code to sanitize here; what it needs of
//! LLVM's coverage are a pass and its arguments, which are stable.

use crate::shell::{Problem, root, run, step};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `cargo fuzz` gives to LLVM, without its sanitizers, and without `trace-compares`: a call for each comparison took two thirds of a run, and runs
/// are what finds the rest of the way. One codegen unit: the pass runs on each, and edges are counted once.
const RUSTFLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Ccodegen-units=1 -Crelocation-model=static --cfg fuzzing";
/// The longest input, in bytes: a handshake, commands and a few frames.
const INPUT_BYTES_MAX: u32 = 8192;
/// The most memory that a target may take: an input of eight kilobytes that makes hundreds of megabytes is a finding.
const MEMORY_MB_MAX: u32 = 512;
/// How long one input may take.
const INPUT_SECS_MAX: u32 = 10;
/// How long a target runs unless told otherwise.
const SECS_DEFAULT: &str = "60";

pub(crate) fn fuzz(args: &[&str]) -> Result<(), Problem> {
    let (mut wanted, mut secs, mut minimises, mut covers, mut words) = (vec![], SECS_DEFAULT, false, false, args.iter());
    while let Some(word) = words.next() {
        match *word {
            "--secs" => secs = words.next().copied().filter(|secs| secs.parse::<u32>().is_ok()).ok_or_else(usage)?,
            "--minimise" => minimises = true,
            "--coverage" => covers = true,
            option if option.starts_with('-') => return Err(usage()),
            target => wanted.push(target),
        }
    }
    let targets = targets()?;
    if let Some(unknown) = wanted.iter().find(|name| !targets.iter().any(|target| target == *name)) {
        return Err(Problem(format!("there is no fuzz target {unknown}: {}", targets.join(", "))));
    }
    let targets: Vec<&String> = targets.iter().filter(|name| wanted.is_empty() || wanted.contains(&name.as_str())).collect();
    if covers {
        return coverage();
    }
    step("build the fuzz targets");
    // Without the code that a target never calls: each run clears and looks through the counters of all that is linked.
    build(&["--release", "--bins"], RUSTFLAGS)?;
    let mut results = vec![];
    for target in targets {
        step(&format!("fuzz {target}"));
        results.push(if minimises { minimise(target)? } else { hunt(target, secs)? });
    }
    step("results");
    for line in &results {
        eprintln!("{line}");
    }
    if results.iter().any(|line| line.contains(FOUND)) { Err(Problem("something was found".into())) } else { Ok(()) }
}

fn build(what: &[&str], flags: &str) -> Result<(), Problem> {
    let mut build = Command::new(env!("CARGO"));
    build.arg("build").args(what).args(["--target", &host()?]).env("RUSTFLAGS", flags).env_remove("CARGO_TARGET_DIR");
    run(build.current_dir(root().join("fuzz")))
}

/// What a line of the results says of a target that failed.
const FOUND: &str = "FOUND";

fn usage() -> Problem {
    Problem("cargo xtask fuzz [TARGET…] [--secs N] [--minimise | --coverage]".into())
}

fn host() -> Result<String, Problem> {
    let text = crate::shell::output_of(Command::new("rustc").arg("-vV")).ok_or_else(|| Problem("rustc -vV failed".into()))?;
    text.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned).ok_or_else(|| Problem("rustc names no host".into()))
}

fn targets() -> Result<Vec<String>, Problem> {
    let mut names: Vec<String> = std::fs::read_dir(root().join("fuzz/fuzz_targets"))?
        .filter_map(|entry| entry.ok()?.path().file_stem().map(|stem| stem.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    Ok(names)
}

fn program(profile: &str, target: &str) -> Result<PathBuf, Problem> {
    Ok(root().join("fuzz/target").join(host()?).join(profile).join(target))
}

/// The kept corpus, and the growing one beside it, which is not kept.
fn folders(target: &str) -> Result<[PathBuf; 3], Problem> {
    let fuzz = root().join("fuzz");
    let folders = [fuzz.join("target/corpus").join(target), fuzz.join("corpus").join(target), fuzz.join("target/findings").join(target)];
    folders.iter().try_for_each(std::fs::create_dir_all)?;
    Ok(folders)
}

fn libfuzzer(target: &str, findings: &Path) -> Result<Command, Problem> {
    let mut command = Command::new(program("release", target)?);
    command.arg(format!("-max_len={INPUT_BYTES_MAX}")).arg(format!("-rss_limit_mb={MEMORY_MB_MAX}"));
    command.arg(format!("-timeout={INPUT_SECS_MAX}")).arg(format!("-artifact_prefix={}/", findings.display()));
    Ok(command)
}

fn hunt(target: &str, secs: &str) -> Result<String, Problem> {
    let [grown, kept, findings] = folders(target)?;
    let mut command = libfuzzer(target, &findings)?;
    command.arg(format!("-max_total_time={secs}")).arg("-print_final_stats=1").args([&grown, &kept]);
    let output = command.output().map_err(|error| Problem(format!("{target}: {error}")))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let edges = text.lines().rev().find_map(|line| Some(line.split_once(" cov: ")?.1.split(' ').next()?.to_owned())).unwrap_or_default();
    let figure = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0").trim();
    let (executions, each_sec) = (figure("stat::number_of_executed_units:"), figure("stat::average_exec_per_sec:"));
    let mut line = format!("{target:<14} {executions:>12} executions {each_sec:>7} a second {edges:>6} edges");
    if !output.status.success() {
        let tail: Vec<&str> = text.lines().rev().take(30).collect();
        line = format!("{line}  {FOUND}: see {}\n{}", findings.display(), tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
    }
    Ok(line)
}

/// Takes into the kept corpus what the grown one reaches beyond it: as few inputs as reach every edge, because they are kept in git.
fn minimise(target: &str) -> Result<String, Problem> {
    let [grown, kept, findings] = folders(target)?;
    let count = |folder: &Path| std::fs::read_dir(folder).map(Iterator::count);
    let before = count(&kept)?;
    let output = libfuzzer(target, &findings)?.args(["-set_cover_merge=1", "-use_counters=0"]).args([&kept, &grown]).output()?;
    if !output.status.success() {
        return Err(Problem(format!("{target}: {}", String::from_utf8_lossy(&output.stderr))));
    }
    Ok(format!("{target:<14} {before} inputs kept before, {} now", count(&kept)?))
}

/// What the kept corpus of the core's targets reaches together, by file and crate. What is never reached is what is only printed, above all.
fn coverage() -> Result<(), Problem> {
    step("coverage of the kept corpus");
    // Not optimised, so that each function is there once; and without what no input can reach: dead code, the checks of sums that do not overflow, and what
    // is torn down after a panic.
    let flags = format!("{RUSTFLAGS} -Cpanic=abort -Coverflow-checks=off -Cdebug-assertions=off");
    build(&["--bin", "coverage", "--no-default-features"], &flags)?;
    let program = program("debug", "coverage")?;
    let edges = crate::shell::output_of(&mut Command::new(&program)).ok_or_else(|| Problem("the corpus can't be replayed".into()))?;
    let edges: Vec<(&str, bool)> = edges.lines().filter_map(|line| Some((line.split_once(' ')?.0, line.ends_with('1')))).collect();
    let list = program.with_file_name("edges");
    std::fs::write(&list, edges.iter().map(|(address, _)| format!("{address}\n")).collect::<String>())?;
    let mut addr2line = Command::new("addr2line");
    addr2line.arg("-e").arg(&program).arg(format!("@{}", list.display()));
    let places = crate::shell::output_of(&mut addr2line).ok_or_else(|| Problem("addr2line (of binutils) failed".into()))?;
    let mut files: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for ((_, is_reached), place) in edges.iter().zip(places.lines()) {
        let Some((_, file)) = place.split_once("/core/").filter(|(_, file)| file.starts_with(|first: char| first.is_ascii_lowercase()))
        else {
            continue;
        };
        let Some((file, _)) = file.split_once(':').filter(|(file, _)| OURS.iter().any(|ours| file.starts_with(ours))) else { continue };
        for name in [file, file.split('/').next().unwrap_or(file)] {
            let (reached, all) = files.entry(name).or_default();
            *reached += u32::from(*is_reached);
            *all += 1;
        }
    }
    for (file, (reached, all)) in files {
        eprintln!("{file:<40} {reached:>5} of {all:>5} edges, {:>3} %", reached * 100 / all);
    }
    Ok(())
}

/// Folders of `core/` that are fuzzed; the standard library has a `core/` of its own.
const OURS: [&str; 4] = ["rtmp/src/", "media/src/", "hls/src/", "signal/src/"];
