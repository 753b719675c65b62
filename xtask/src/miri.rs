//! Miri: the core's and the C face's tests in an interpreter that sees undefined behaviour. Rust's nightly has it, and nothing else here is of that.

use crate::shell::{Problem, root, run, step};
use std::process::Command;

/// The compiler that it was seen with.
const TOOLCHAIN: &str = "nightly-2026-10-30";
/// Property tests look for their own file of failures. The rest is stricter than Miri's own choice: a pointer from a number is a finding, and so is
/// an alignment that was only luck. Leaks are findings anyway.
const FLAGS: &str = "-Zmiri-disable-isolation -Zmiri-strict-provenance -Zmiri-symbolic-alignment-check";
/// Of each property.
const CASES: &str = "2";

const CORE: [&str; 6] =
    ["sightline-media", "sightline-rtmp", "sightline-pusher", "sightline-signal", "sightline-hls", "sightline-placement"];

/// `filters` go to nextest, and run only those tests of the core.
pub(crate) fn run_tests(filters: &[&str]) -> Result<(), Problem> {
    step(&format!("install Miri of {TOOLCHAIN}"));
    let components = ["--component", "miri", "--component", "rust-src"];
    run(Command::new("rustup").args(["toolchain", "install", TOOLCHAIN, "--profile", "minimal", "--no-self-update"]).args(components))?;
    if filters.is_empty() {
        step("the C face");
        run(miri().args(["miri", "test", "--lib", "--manifest-path", "firmware/capi/Cargo.toml"]))?;
    }
    step("the core");
    let mut tests = miri();
    tests.args(["miri", "nextest", "run", "--profile", "miri"]);
    for name in CORE {
        tests.args(["--package", name]);
    }
    run(tests.args(filters))
}

fn miri() -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", TOOLCHAIN, "cargo"]).current_dir(root());
    command.env("MIRIFLAGS", FLAGS).env("PROPTEST_CASES", CASES);
    command.env("CARGO_TARGET_DIR", root().join("target-miri")).env_remove("RUSTC").env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
    command
}
