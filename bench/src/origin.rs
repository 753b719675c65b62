//! `bench origin`: what a gigabit costs each server, in and out, for each scenario in turn, several times.

use crate::measure::{Measurement, measure};
use crate::process::Processors;
use crate::results::Results;
use crate::scenario::{Extra, Kind, Scenario};
use crate::table;
use std::io;
use std::time::{Duration, Instant};

/// Its options.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// What is measured; all of it without this
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// RTMP viewers of the one stream
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1000, 5000], value_parser = clap::value_parser!(u32).range(1..=50_000))]
    viewers: Vec<u32>,
    /// Publishers; HLS and recordings are measured with the first of these numbers
    #[arg(long, value_delimiter = ',', default_values_t = [100, 300], value_parser = clap::value_parser!(u32).range(2..=10_000))]
    publishers: Vec<u32>,
    /// Processors of the server in the scaling part
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    cores: u32,
    /// Viewers in the scaling part
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    scaling_viewers: u32,
    /// How long each server is measured
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// How often each server is measured, in turns
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// The largest segment on loopback, in bytes: an Ethernet's. 0 leaves loopback's own 64 KiB
    #[arg(long, default_value_t = 1448, value_parser = clap::value_parser!(u32).range(0..=65_483))]
    mss: u32,
    /// Only these servers
    #[arg(long, value_delimiter = ',')]
    servers: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A part of the measurements.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Part {
    /// One publisher, many viewers
    FanOut,
    /// Many publishers, few viewers
    Ingest,
    /// Many publishers, each with an HLS player
    Hls,
    /// Many publishers, each recorded as FLV
    Flv,
    /// Fan-out from one processor and from several
    Scaling,
}

const PARTS: [Part; 5] = [Part::FanOut, Part::Ingest, Part::Hls, Part::Flv, Part::Scaling];

impl Options {
    fn scenarios(&self) -> Vec<Scenario> {
        let parts = if self.parts.is_empty() { &PARTS[..] } else { &self.parts };
        let publishers = self.publishers.iter().map(|count| *count as usize);
        let with = |extra| publishers.clone().take(1).map(move |streams| Scenario::ingest(streams, extra)).collect();
        let of = |part: &Part| -> Vec<Scenario> {
            match part {
                Part::FanOut => self.viewers.iter().map(|viewers| Scenario::fan_out(*viewers as usize, 1)).collect(),
                Part::Ingest => publishers.clone().map(|streams| Scenario::ingest(streams, Extra::None)).collect(),
                Part::Hls => with(Extra::Hls),
                Part::Flv => with(Extra::Flv),
                Part::Scaling => [1, self.cores as usize].map(|cores| Scenario::fan_out(self.scaling_viewers as usize, cores)).into(),
            }
        };
        parts.iter().flat_map(of).collect()
    }

    fn takes(&self, kind: Kind) -> bool {
        self.servers.is_empty() || self.servers.iter().any(|name| kind.name() == *name)
    }
}

/// Measures and prints; false if a frame was lost.
pub(crate) fn run(options: &Options) -> io::Result<bool> {
    let at_least = Duration::from_secs(options.seconds);
    let mss = (options.mss > 0).then_some(options.mss);
    let mut all = Vec::new();
    for scenario in options.scenarios() {
        let processors = Processors::claim(scenario.cores, scenario.streams + scenario.viewers)?;
        let mut kinds = scenario.kinds();
        // nginx has no threads: a second processor would be a second server, which does not have the stream.
        kinds.retain(|kind| options.takes(*kind) && (scenario.cores == 1 || *kind != Kind::Nginx));
        let total = kinds.len() * options.runs as usize;
        let length = scenario.length(at_least);
        eprintln!("{}: {} s each; {}", scenario.name, length.as_secs(), processors.describe());
        let mut results: Results = kinds.into_iter().map(|kind| (kind, Vec::new())).collect();
        let (began, mut done) = (Instant::now(), 0_u32);
        for run in 1..=options.runs {
            for (kind, measured) in &mut results {
                eprint!("  run {run} of {}: {} … ", options.runs, kind.name());
                let measurement = measure(*kind, &scenario, &processors, mss, length)?;
                done += 1;
                let left = began.elapsed().div_f64(f64::from(done)).as_secs() * (total as u64).saturating_sub(u64::from(done));
                eprintln!("{:.3} CPU s/Gbit, {} lost; {left} s to go", measurement.secs_per_gbit(), measurement.lost);
                measured.push(measurement);
            }
        }
        all.push((scenario, results));
    }
    let text = if options.json { table::json(&all, options.seconds) } else { table::text(&all) };
    io::Write::write_all(&mut io::stdout(), text.as_bytes())?;
    Ok(all.iter().flat_map(|(_, results)| results).flat_map(|(_, measured)| measured).all(Measurement::is_whole))
}
