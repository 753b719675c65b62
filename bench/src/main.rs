//! Measurements beside the peers, on one machine and in one run: what counts is the ratio, not the figure.
//!
//! `cargo xtask bench` builds what is measured and runs this.

mod extras;
mod load;
mod measure;
mod origin;
mod picture;
mod process;
mod publisher;
mod scenario;
mod server;
mod table;

use clap::Parser as _;
use std::process::ExitCode;

#[derive(clap::Parser)]
#[command(name = "cargo xtask bench", about = "Measurements beside the peers")]
enum Command {
    /// Our origin beside nginx-rtmp: fan-out, ingest, HLS, recordings
    Origin(origin::Options),
}

fn main() -> ExitCode {
    let Command::Origin(options) = Command::parse();
    match origin::run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(problem) => {
            eprintln!("bench: {problem}");
            ExitCode::from(1)
        }
    }
}
