//! Measurements beside the peers, on one machine and in one run: what counts is the ratio, not the figure.
//!
//! `cargo xtask bench` builds what is measured and runs this.

mod abuse;
mod chip;
mod crowd;
mod extras;
mod load;
mod measure;
mod origin;
mod picture;
mod presets;
mod process;
mod publisher;
mod results;
mod scenario;
mod server;
mod table;
mod uplink;

use clap::Parser as _;
use std::process::ExitCode;

#[derive(clap::Parser)]
#[command(name = "cargo xtask bench", about = "Measurements beside the peers")]
enum Command {
    /// Our origin beside nginx-rtmp: fan-out, ingest, HLS, recordings
    Origin(origin::Options),
    /// What RTMP viewers notice of 10,000 idle connections and a flood of malformed ones, and what those cost
    Abuse(abuse::Options),
    /// The four presets: size, rate, processor time, memory and the age of the picture at a viewer, beside ffmpeg
    Presets(presets::Options),
    /// Our agent and ffmpeg over emulated uplinks: cellular recordings, synthetic links, outages; needs root
    Uplink(uplink::Options),
    /// The camera's side on RV32IMAFC in QEMU: memory, stack, code and instructions for each preset
    Chip(chip::Options),
    /// The peers of `abuse`; it starts them itself
    #[command(hide = true)]
    Crowd(crowd::Options),
}

fn main() -> ExitCode {
    let outcome = match Command::parse() {
        Command::Origin(options) => origin::run(&options),
        Command::Abuse(options) => abuse::run(&options),
        Command::Presets(options) => presets::run(&options),
        Command::Uplink(options) => uplink::run(&options),
        Command::Chip(options) => chip::run(&options),
        Command::Crowd(options) => crowd::run(&options).map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(problem) => {
            eprintln!("bench: {problem}");
            ExitCode::from(1)
        }
    }
}
