//! Benchmarks: the measurements live in `bench/`; this builds them and their peers in release.

use crate::{
    bare_metal,
    shell::{Problem, cargo},
    tools,
};

pub(crate) fn run(args: &[&str]) -> Result<(), Problem> {
    tools::install(tools::BENCH)?;
    if args.first() == Some(&"chip") {
        tools::install(tools::BARE_METAL)?;
        tools::install(tools::TESTS)?;
        bare_metal::link()?;
    }
    cargo(&["build", "--release", "--package", "sightline", "--package", "bench"])?;
    cargo(&[&["run", "--quiet", "--release", "--package", "bench", "--"], args].concat())
}
