//! What a link carries, and when: delivery opportunities as Mahimahi records them, from a file or made from a seed.
//!
//! An opportunity carries one packet of 1,500 bytes; what is not used is lost. A schedule repeats at its end.
//! See Winstein et al., "Stochastic Forecasts Achieve High Throughput and Low Delay over Cellular Networks", NSDI 2013.

use std::io;
use std::path::Path;

/// Bytes of the network layer that an opportunity carries.
pub(crate) const OPPORTUNITY_BYTES: usize = 1500;
/// Of those, what is left for TCP's user: 20 bytes of IP, 32 of TCP with its timestamps.
const PAYLOAD_BYTES: f64 = 1448.0;
/// Rates of synthetic links change this often.
const STEP_MS: u64 = 100;

/// A time in which nothing is carried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Outage {
    pub(crate) start_ms: u64,
    pub(crate) length_ms: u64,
    /// What waits in the link's queue is lost, as when a modem leaves its cell; otherwise it waits.
    pub(crate) loses_packets: bool,
}

impl Outage {
    pub(crate) fn end_ms(self) -> u64 {
        self.start_ms + self.length_ms
    }

    pub(crate) fn covers(self, ms: u64) -> bool {
        (self.start_ms..self.end_ms()).contains(&ms)
    }
}

/// A link's uplink.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Schedule {
    /// Microseconds from the start, rising.
    opportunities: Vec<u64>,
    period_micros: u64,
    pub(crate) outages: Vec<Outage>,
}

impl Schedule {
    /// Reads a recording: one integer a line, the millisecond of an opportunity.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        let stamps: Option<Vec<u64>> = text.lines().map(|line| line.trim().parse().ok()).collect();
        let stamps = stamps.filter(|stamps| stamps.last().is_some_and(|last| *last > 0) && stamps.is_sorted());
        let Some(stamps) = stamps else {
            let problem = format!("{}: not a Mahimahi trace: one rising integer a line, milliseconds", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        };
        let period_ms = stamps.last().copied().unwrap_or(1);
        let mut opportunities = Vec::with_capacity(stamps.len());
        for of_one_ms in stamps.chunk_by(|first, second| first == second) {
            // Several in one millisecond are spread over it.
            let count = of_one_ms.len() as u64;
            opportunities.extend(of_one_ms.iter().zip(0..).map(|(ms, index)| ms * 1000 + index * 1000 / count));
        }
        Ok(Self { opportunities, period_micros: period_ms * 1000, outages: Vec::new() })
    }

    /// A link whose rate is given for each [`STEP_MS`].
    pub(crate) fn of_rates(kbps: &[f64]) -> Self {
        let mut opportunities = Vec::new();
        let mut credit_bytes = 0.0;
        for (step, rate) in (0_u64..).zip(kbps) {
            for micros in (0..STEP_MS * 1000).step_by(500) {
                credit_bytes += rate / 8.0 * 0.5;
                while credit_bytes >= OPPORTUNITY_BYTES as f64 {
                    credit_bytes -= OPPORTUNITY_BYTES as f64;
                    opportunities.push(step * STEP_MS * 1000 + micros);
                }
            }
        }
        Self { opportunities, period_micros: kbps.len() as u64 * STEP_MS * 1000, outages: Vec::new() }
    }

    /// A link of one rate.
    pub(crate) fn steady(kbps: f64, secs: u64) -> Self {
        Self::of_rates(&vec![kbps; usize::try_from(secs * 1000 / STEP_MS).unwrap_or(0)])
    }

    pub(crate) fn with_outages(self, outages: &[Outage]) -> Self {
        Self { outages: outages.to_vec(), ..self }
    }

    /// The time of the opportunity with this number, counted over all rounds.
    pub(crate) fn opportunity_micros(&self, number: u64) -> Option<u64> {
        let count = self.opportunities.len() as u64;
        let place = usize::try_from(number.checked_rem(count)?).ok()?;
        Some(number / count * self.period_micros + self.opportunities.get(place)?)
    }

    pub(crate) fn outage_at(&self, micros: u64) -> Option<Outage> {
        self.outages.iter().copied().find(|outage| outage.covers(micros / 1000))
    }

    /// Kilobits a second that the link carries in each second.
    pub(crate) fn kbps_by_second(&self, secs: u64) -> Vec<f64> {
        let mut kbps = vec![0.0; usize::try_from(secs).unwrap_or(0)];
        for micros in self.carried(secs * 1_000_000) {
            if let Some(rate) = usize::try_from(micros / 1_000_000).ok().and_then(|second| kbps.get_mut(second)) {
                *rate += OPPORTUNITY_BYTES as f64 * 8.0 / 1000.0;
            }
        }
        kbps
    }

    fn carried(&self, until_micros: u64) -> impl Iterator<Item = u64> + '_ {
        let all = (0..).map_while(|number| self.opportunity_micros(number)).take_while(move |micros| *micros < until_micros);
        all.filter(|micros| self.outage_at(*micros).is_none())
    }

    /// What a sender that knows the future gets to the other end in time, in kilobits a second of TCP's payload: it makes `target_kbps` for
    /// `secs` seconds, sends the oldest first, and leaves out what is older than `deadline_ms`. No sender of that rate delivers more in time.
    pub(crate) fn ideal_kbps(&self, target_kbps: f64, secs: u64, deadline_ms: u64) -> f64 {
        let bytes_per_ms = target_kbps / 8.0;
        let end_ms = (secs * 1000) as f64;
        // The oldest byte that waits was made at this time; all made before it were sent or left out.
        let (mut oldest_ms, mut sent_bytes) = (0.0_f64, 0.0);
        for micros in self.carried((secs * 1000 + deadline_ms) * 1000) {
            let now_ms = micros as f64 / 1000.0;
            oldest_ms = oldest_ms.max(now_ms - deadline_ms as f64);
            let waiting_bytes = (now_ms.min(end_ms) - oldest_ms).max(0.0) * bytes_per_ms;
            let takes_bytes = waiting_bytes.min(PAYLOAD_BYTES);
            sent_bytes += takes_bytes;
            oldest_ms += takes_bytes / bytes_per_ms;
        }
        sent_bytes * 8.0 / end_ms
    }
}

/// A seeded generator of numbers: xorshift64*.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// About normal, of deviation 1: twelve uniform numbers.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

/// A kind of synthetic link. Its rate wanders around a mean on a logarithmic scale, and has holes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Synthetic {
    /// About 8 Mbit/s, calm
    LteGood,
    /// About 1.6 Mbit/s, restless, with holes of 0.5 to 3 s
    LteBad,
    /// About 700 kbit/s, with holes of up to 4 s
    Umts,
    /// About 12 Mbit/s, with holes of 0.5 to 2 s, as behind a building at millimetre waves
    FiveG,
    /// 4 Mbit/s that fades to nothing and comes back, each minute
    Elevator,
    /// 10 Mbit/s; each 25 s a roam loses what is under way and 1.2 s
    WifiRoam,
}

/// How a link's rate wanders.
struct Wander {
    mean_kbps: f64,
    /// Deviation of the rate's logarithm.
    spread: f64,
    /// Seconds after which it has forgotten where it was.
    memory_secs: f64,
    /// Holes begin so often in a second.
    holes_per_second: f64,
    hole_secs: std::ops::Range<f64>,
}

impl Synthetic {
    pub(crate) fn schedule(self, seed: u64, secs: u64) -> Schedule {
        let hardly = Wander { mean_kbps: 0.0, spread: 0.15, memory_secs: 5.0, holes_per_second: 0.0, hole_secs: 0.0..0.0 };
        match self {
            Self::LteGood => wander(&Wander { mean_kbps: 8000.0, spread: 0.3, ..hardly }, seed, secs),
            Self::LteBad => {
                let holes = Wander { holes_per_second: 0.04, hole_secs: 0.5..3.0, ..hardly };
                wander(&Wander { mean_kbps: 1600.0, spread: 0.55, memory_secs: 4.0, ..holes }, seed, secs)
            }
            Self::Umts => {
                let holes = Wander { holes_per_second: 0.02, hole_secs: 0.5..4.0, ..hardly };
                wander(&Wander { mean_kbps: 700.0, spread: 0.4, memory_secs: 6.0, ..holes }, seed, secs)
            }
            Self::FiveG => {
                let holes = Wander { holes_per_second: 0.06, hole_secs: 0.5..2.0, ..hardly };
                wander(&Wander { mean_kbps: 12_000.0, spread: 0.5, memory_secs: 2.0, ..holes }, seed, secs)
            }
            Self::Elevator => {
                let fades =
                    |(step, kbps): (u64, f64)| kbps * (((step * STEP_MS) as f64 / 1000.0 % 60.0 - 35.0).abs() / 10.0 - 0.4).clamp(0.0, 1.0);
                let rates = wandering(&Wander { mean_kbps: 4000.0, ..hardly }, seed, secs);
                Schedule::of_rates(&(0..).zip(rates).map(fades).collect::<Vec<_>>())
            }
            Self::WifiRoam => {
                let roams = (0..secs / 25).map(|roam| Outage { start_ms: roam * 25_000 + 20_000, length_ms: 1200, loses_packets: true });
                wander(&Wander { mean_kbps: 10_000.0, spread: 0.2, ..hardly }, seed, secs).with_outages(&roams.collect::<Vec<_>>())
            }
        }
    }
}

fn wander(how: &Wander, seed: u64, secs: u64) -> Schedule {
    Schedule::of_rates(&wandering(how, seed, secs))
}

/// An Ornstein-Uhlenbeck walk of the rate's logarithm, with holes cut out.
fn wandering(how: &Wander, seed: u64, secs: u64) -> Vec<f64> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (mut place, mut hole_steps) = (0.0, 0_u64);
    let step_secs = STEP_MS as f64 / 1000.0;
    let keeps = (-step_secs / how.memory_secs).exp();
    let step = |_| {
        place = place * keeps + random.normal() * how.spread * (1.0 - keeps * keeps).sqrt();
        if hole_steps == 0 && random.unit() < how.holes_per_second * step_secs {
            let length_secs = how.hole_secs.start + random.unit() * (how.hole_secs.end - how.hole_secs.start);
            hole_steps = (length_secs / step_secs) as u64;
        }
        let is_hole = hole_steps > 0;
        hole_steps = hole_steps.saturating_sub(1);
        // The mean of a log-normal rate lies above the exponential of its logarithm's mean.
        if is_hole { 0.0 } else { how.mean_kbps * (place - how.spread * how.spread / 2.0).exp() }
    };
    (0..secs * 1000 / STEP_MS).map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_link_carries_its_rate_and_an_ideal_sender_what_fits() {
        let link = Schedule::steady(1000.0, 60);
        assert!(link.kbps_by_second(60).iter().all(|kbps| (kbps - 1000.0).abs() < 30.0));
        let ideal = link.ideal_kbps(2000.0, 60, 3000);
        // Payload alone, and what is under way at the end still arrives in time.
        assert!((960.0..1030.0).contains(&ideal), "{ideal}");
        assert!((link.ideal_kbps(500.0, 60, 3000) - 500.0).abs() < 5.0);
    }

    #[test]
    fn an_outage_costs_an_ideal_sender_what_is_too_old_after_it() {
        let outage = Outage { start_ms: 20_000, length_ms: 10_000, loses_packets: true };
        let link = Schedule::steady(10_000.0, 60).with_outages(&[outage]);
        let ideal = link.ideal_kbps(2000.0, 60, 3000);
        // Seven of sixty seconds are lost: three can wait.
        assert!((ideal - 2000.0 * 53.0 / 60.0).abs() < 10.0, "{ideal}");
    }

    #[test]
    fn a_seed_gives_the_same_link_again_and_another_another() {
        let link = |seed| Synthetic::LteBad.schedule(seed, 120);
        assert!(link(1) == link(1) && link(1) != link(2));
        let mean: f64 = link(3).kbps_by_second(120).iter().sum::<f64>() / 120.0;
        assert!((700.0..2600.0).contains(&mean), "{mean}");
    }

    #[test]
    fn what_is_no_trace_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "5\nfive\n").unwrap();
        assert!(Schedule::read(file.path()).unwrap_err().to_string().contains("not a Mahimahi trace"));
        std::fs::write(file.path(), "0\n0\n2\n").unwrap();
        let link = Schedule::read(file.path()).unwrap();
        assert_eq!([0, 1, 2, 3].map(|number| link.opportunity_micros(number).unwrap()), [0, 500, 2000, 2000]);
    }
}
