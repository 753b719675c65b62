//! Benchmarks: the measurements live in `bench/`; this builds them and their peers in release.

use crate::{
    shell::{Problem, cargo},
    tools,
};

pub(crate) fn run(args: &[&str]) -> Result<(), Problem> {
    tools::install(tools::BENCH)?;
    cargo(&["build", "--release", "--package", "sightline", "--package", "bench"])?;
    cargo(&[&["run", "--quiet", "--release", "--package", "bench", "--"], args].concat())
}
