//! The project's own chores. `cargo xtask help` lists them.

mod bare_metal;
mod bench;
mod fuzz;
mod header;
mod hygiene;
mod miri;
mod monitoring;
mod shell;
mod structure;
mod tools;

use shell::{Problem, cargo, cargo_linting, step};
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  test [FILTER…]   install what tests need (as root, from Debian's packages), then format check, lints,
                   the bare-metal link, and every test; FILTER goes to nextest and runs only those tests
  lint             format check, clippy and the project's own rules
  rules            the same without clippy: in seconds
  bare-metal       build the camera's side for RV32IMAFC without an allocator: the C face, the images for QEMU and for the ESP32-P4
  header           write firmware/capi/include/sightline.h anew from its Rust
  miri [FILTER…]   the core's and the C face's tests under Miri, which it installs (a nightly compiler)
  fuzz [TARGET…]   fuzz every target, or those named, for 60 s each (`--secs N`: other than 60; `--minimise`: instead, take what
                   was reached into the kept corpus; `--coverage`: instead, say what that reaches)
  bench origin     our origin beside nginx-rtmp: fan-out to 1,000 viewers (options: `cargo xtask bench origin --help`)
  bench chip       the camera's side on RV32IMAFC in QEMU: memory, stack, code and instructions for each preset
  bench abuse      what viewers notice of 10,000 idle connections and a flood of malformed ones
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["test", filters @ ..] => test(filters),
        ["lint"] => lint(),
        ["rules"] => rules(),
        ["bare-metal"] => tools::install(tools::BARE_METAL).and_then(|()| bare_metal::link()),
        ["header"] => header::write(),
        ["miri", filters @ ..] => miri::run_tests(filters),
        ["bench", rest @ ..] => bench::run(rest),
        ["fuzz", rest @ ..] => fuzz::fuzz(rest),
        ["help" | "--help" | "-h"] => {
            eprint!("{HELP}");
            Ok(())
        }
        [] | [_, ..] => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Problem(problem)) => {
            eprintln!("xtask: {problem}");
            ExitCode::from(1)
        }
    }
}

/// Everything, cheapest first; the runner's counts come last.
fn test(filters: &[&str]) -> Result<(), Problem> {
    tools::install(tools::TESTS)?;
    tools::nextest()?;
    tools::ffmpeg()?;
    tools::guest()?;
    tools::guest_codec()?;
    if filters.is_empty() {
        tools::install(tools::BARE_METAL)?;
        rules()?;
        step("the camera's side of core/ links without an allocator");
        bare_metal::link()?;
    }
    // Who runs some tests while working does without: their own builds are plain ones.
    let cargo_or_clippy = if filters.is_empty() { cargo_linting } else { cargo };
    step("build, with clippy where all is tested");
    cargo_or_clippy(&["build", "--workspace", "--all-targets"])?;
    if filters.is_empty() {
        // Above, tests' own dependencies lend the product features that it does not ask for: alone it might not compile.
        step("the product with its own features alone");
        cargo(&["check", "--quiet", "--package", "sightline"])?;
        step("documentation tests");
        cargo_linting(&["test", "--quiet", "--workspace", "--doc"])?;
        step("the C face's own tests");
        cargo(&["test", "--quiet", "--lib", "--manifest-path", "firmware/capi/Cargo.toml", "--target-dir", "target-capi"])?;
    }
    tools::read_from_the_disk();
    step("tests");
    cargo_or_clippy(&[&["nextest", "run", "--workspace"], filters].concat())
}

fn rules() -> Result<(), Problem> {
    step("format");
    cargo(&["fmt", "--all", "--check"])?;
    step("the project's own rules");
    hygiene::check()?;
    header::check()
}

fn lint() -> Result<(), Problem> {
    rules()?;
    step("clippy");
    cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"])
}
