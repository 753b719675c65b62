//! Running other programs.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

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
    run(cargo_command().args(args))
}

/// Runs cargo in the workspace with clippy's compiler for our own crates: what it builds is the same, and what it finds ends it. Dependencies are compiled once, where
/// `cargo clippy` would look at all of them a second time.
pub(crate) fn cargo_linting(args: &[&str]) -> Result<(), Problem> {
    let driver = PathBuf::from(env!("CARGO")).with_file_name("clippy-driver");
    run(lint_with(&driver, &mut cargo_command()).args(args))
}

/// Lets a cargo command compile its own workspace by clippy's compiler, which must be of the same version as the plain one.
pub(crate) fn lint_with<'a>(driver: &Path, cargo: &'a mut Command) -> &'a mut Command {
    // What `cargo clippy -- -D warnings` hands to it: words, each with this behind it.
    let words = ["-D", "warnings"].map(|word| format!("{word}__CLIPPY_HACKERY__")).concat();
    cargo.env("RUSTC_WORKSPACE_WRAPPER", driver).env("CLIPPY_ARGS", words)
}

fn cargo_command() -> Command {
    let mut command = Command::new(env!("CARGO"));
    // cargo's variables about this program are not for the next one: ring's build script watches these, and all above it would be built anew.
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_a_package(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command.current_dir(root());
    command
}

fn is_of_a_package(variable: &str) -> bool {
    variable.starts_with("CARGO_PKG_") || variable.starts_with("CARGO_MANIFEST_")
}

/// What a program prints; `None` if it can't be run or fails.
pub(crate) fn output_of(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
