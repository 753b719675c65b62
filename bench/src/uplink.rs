//! `bench uplink`: our agent and ffmpeg over the same emulated uplinks, beside a sender that knows the future.

pub(crate) mod emulator;
mod plot;
pub(crate) mod receiver;
mod report;
mod schedule;
pub(crate) mod sender;
mod space;
mod trial;

use emulator::Link;
use schedule::{Outage, Schedule, Synthetic};
use sender::{Sender, Wanted};
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;
use trial::{Outcome, Server, Trial};

/// Between the starts of trials that run side by side, so that their key frames do not meet.
const STAGGER: Duration = Duration::from_millis(700);
/// Lengths of the outages in the part `outages`.
const OUTAGES_SECS: [u64; 4] = [5, 10, 20, 30];

/// Its options.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Which links; all of them without this
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Recordings in Mahimahi's format, one link each
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    traces: Vec<PathBuf>,
    /// Seeds of the synthetic links
    #[arg(long, value_delimiter = ',', default_values_t = [2])]
    seeds: Vec<u64>,
    /// Only these synthetic links
    #[arg(long, value_enum, value_delimiter = ',')]
    synthetic: Vec<Synthetic>,
    /// Who streams
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["sightline", "ffmpeg", "ffmpeg-fifo"])]
    senders: Vec<Sender>,
    /// Who takes the stream
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["nginx", "sightline"])]
    servers: Vec<Server>,
    /// How long each link is used
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(10..=3600))]
    seconds: u64,
    /// How often each link is used by each sender
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    runs: u32,
    /// Trials that run side by side; each encodes, so that the machine must keep up with them
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=16))]
    jobs: u32,
    /// The camera's size and rate
    #[arg(long, default_value = "640x360@25")]
    picture: String,
    /// The bit rate that is wanted, in kilobits a second
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(50..=50_000))]
    kbps: u32,
    /// One way, in milliseconds
    #[arg(long, default_value_t = 25)]
    delay_ms: u64,
    /// What may wait in the network for the uplink
    #[arg(long, default_value_t = 300_000)]
    queue_bytes: usize,
    /// TCP's congestion control at both ends, of those that /proc/sys/net/ipv4/tcp_allowed_congestion_control lists [default: the machine's]
    #[arg(long, value_name = "NAME")]
    congestion: Option<String>,
    /// Write a plot of each link, and every picture's times, into this directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A part of the links.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Part {
    /// Recordings that are named with --traces
    Traces,
    /// Links made from a seed
    Synthetic,
    /// A good link, 5 Mbit/s
    Good,
    /// 5 Mbit/s with an outage of 5, 10, 20 and 30 s each, which loses packets
    Outages,
}

/// A link with its name.
struct Named {
    name: String,
    schedule: Schedule,
    secs: u64,
}

/// The trials of one link: sender, server, and what came of each run.
pub(crate) struct Results {
    pub(crate) name: String,
    pub(crate) schedule: Schedule,
    pub(crate) secs: u64,
    pub(crate) rows: Vec<(Sender, Server, Vec<Outcome>)>,
}

impl Options {
    fn has(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }

    fn links(&self) -> io::Result<Vec<Named>> {
        let secs = self.seconds;
        let mut links = Vec::new();
        if self.has(Part::Traces) {
            for path in &self.traces {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                links.push(Named { name, schedule: Schedule::read(path)?, secs });
            }
        }
        if self.has(Part::Synthetic) {
            let kinds = if self.synthetic.is_empty() { <Synthetic as clap::ValueEnum>::value_variants() } else { &self.synthetic };
            for (kind, seed) in kinds.iter().flat_map(|kind| self.seeds.iter().map(move |seed| (kind, seed))) {
                let name = clap::ValueEnum::to_possible_value(kind).map_or_else(String::new, |value| value.get_name().to_owned());
                links.push(Named { name: format!("{name} {seed}"), schedule: kind.schedule(*seed, secs), secs });
            }
        }
        if self.has(Part::Good) {
            links.push(Named { name: "good 5 Mbit/s".into(), schedule: Schedule::steady(5000.0, secs), secs });
        }
        if self.has(Part::Outages) {
            for length in OUTAGES_SECS {
                let outage = Outage { start_ms: 20_000, length_ms: length * 1000, loses_packets: true };
                let secs = 20 + length + 25;
                links.push(Named {
                    name: format!("outage {length} s"),
                    schedule: Schedule::steady(5000.0, secs).with_outages(&[outage]),
                    secs,
                });
            }
        }
        Ok(links)
    }

    fn wanted(&self) -> io::Result<Wanted> {
        let numbers: Option<Vec<u32>> = self.picture.split(['x', '@']).map(|number| number.parse().ok()).collect();
        match numbers.as_deref() {
            Some([width, height, fps]) => Ok(Wanted { width: *width, height: *height, fps: *fps, bitrate_bps: self.kbps * 1000 }),
            _ => Err(io::Error::other(format!("--picture {}: take WIDTHxHEIGHT@FPS, 640x360@25", self.picture))),
        }
    }

    fn trials(&self, links: &[Named]) -> io::Result<Vec<(usize, Trial)>> {
        let wanted = self.wanted()?;
        let mut trials = Vec::new();
        for run in 1..=self.runs {
            for (place, named) in links.iter().enumerate() {
                for (sender, server) in self.pairs() {
                    let link =
                        Link { schedule: named.schedule.clone(), delay_ms: self.delay_ms, queue_bytes: self.queue_bytes, lead_ms: 5000 };
                    let name = format!("{}, {}, {server:?}, {run}", named.name, sender.name());
                    let (congestion, keeps) = (self.congestion.clone(), self.out.clone());
                    trials.push((place, Trial { name, link, secs: named.secs, wanted, sender, server, congestion, keeps }));
                }
            }
        }
        Ok(trials)
    }

    /// Each sender to the first server, and ours to each.
    fn pairs(&self) -> Vec<(Sender, Server)> {
        let all =
            self.senders.iter().flat_map(|sender| self.servers.iter().enumerate().map(move |(place, server)| (*sender, place, *server)));
        all.filter(|(sender, place, _)| *place == 0 || *sender == Sender::Sightline).map(|(sender, _, server)| (sender, server)).collect()
    }
}

/// Measures and prints; false if a trial failed or a decoder complained.
pub(crate) fn run(options: &Options) -> io::Result<bool> {
    let links = options.links()?;
    if links.is_empty() {
        return Err(io::Error::other("no link: name recordings with --traces, or take the parts synthetic, good or outages"));
    }
    let trials = options.trials(&links)?;
    let jobs = options.jobs as usize;
    let secs: u64 = trials.iter().map(|(_, trial)| trial.secs + 18).sum();
    let congestion = options.congestion.clone().map_or_else(space::congestion_control, Ok)?;
    eprintln!("{} trials, about {} min; TCP's congestion control: {congestion}", trials.len(), secs / 60 / jobs as u64 + 1);
    let mut results: Vec<Results> =
        links.into_iter().map(|link| Results { name: link.name, schedule: link.schedule, secs: link.secs, rows: Vec::new() }).collect();
    let mut has_failed = false;
    for (place, trial, outcome) in run_all(trials, jobs)? {
        // One that failed has said why; the others' figures stand.
        let (Some(result), Some(outcome)) = (results.get_mut(place), outcome) else {
            has_failed = true;
            continue;
        };
        match result.rows.iter_mut().find(|(sender, server, _)| (*sender, *server) == (trial.sender, trial.server)) {
            Some((_, _, outcomes)) => outcomes.push(outcome),
            None => result.rows.push((trial.sender, trial.server, vec![outcome])),
        }
    }
    if let Some(out) = &options.out {
        for result in &results {
            plot::draw(result, out)?;
        }
    }
    let text = if options.json { report::json(&results) } else { report::text(&results) };
    io::Write::write_all(&mut io::stdout(), text.as_bytes())?;
    let ours = results.iter().flat_map(|result| &result.rows).filter(|(sender, _, _)| *sender == Sender::Sightline);
    Ok(!has_failed && ours.flat_map(|(_, _, outcomes)| outcomes).all(|outcome| outcome.decoder_errors == 0))
}

/// The link's place, what was tried, and what came of it; `None` where it failed.
type Done = (usize, Trial, Option<Outcome>);

/// Runs the trials, `jobs` side by side, in order.
fn run_all(trials: Vec<(usize, Trial)>, jobs: usize) -> io::Result<Vec<Done>> {
    let count = trials.len();
    let (waiting, done) = (Mutex::new(trials.into_iter().enumerate()), Mutex::new(Vec::<(usize, Done)>::new()));
    std::thread::scope(|scope| {
        for job in 0..jobs {
            let (waiting, done) = (&waiting, &done);
            scope.spawn(move || {
                std::thread::sleep(STAGGER * u32::try_from(job).unwrap_or(0));
                loop {
                    let next = waiting.lock().ok().and_then(|mut waiting| waiting.next());
                    let Some((number, (place, trial))) = next else { return };
                    let outcome = trial::run(&trial);
                    match &outcome {
                        Ok(outcome) => eprintln!("{} of {count}: {}: {}", number + 1, trial.name, report::line(outcome)),
                        Err(error) => eprintln!("{} of {count}: {}: failed: {error}", number + 1, trial.name),
                    }
                    if let Ok(mut done) = done.lock() {
                        done.push((number, (place, trial, outcome.ok())));
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().map_err(|_| io::Error::other("a trial panicked"))?;
    done.sort_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, done)| done).collect())
}
