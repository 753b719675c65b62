//! Running other programs.

use std::{path::PathBuf, process::Command};

/// Why a chore did not get done, in one sentence.
pub(crate) struct Problem(pub(crate) String);

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// Says what comes next.
pub(crate) fn step(what: &str) {
    eprintln!("\n==> {what}");
}

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().map(PathBuf::from).unwrap_or_default()
}

/// Runs a program to its end; a failure names it.
pub(crate) fn run(command: &mut Command) -> Result<(), Problem> {
    let name = format!("{:?}", command.get_program()).replace('"', "");
    let status = command.status().map_err(|error| Problem(format!("{name}: {error}")))?;
    if status.success() { Ok(()) } else { Err(Problem(format!("{name} failed ({status})"))) }
}

/// Runs cargo in the workspace.
pub(crate) fn cargo(args: &[&str]) -> Result<(), Problem> {
    run(Command::new(env!("CARGO")).args(args).current_dir(root()))
}

/// What a program prints; `None` if it can't be run or fails.
pub(crate) fn output_of(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
