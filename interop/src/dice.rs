//! Choices by a seed: the same seed makes the same inputs again.

/// xorshift64*.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Those of one input among many of a seed.
    #[must_use]
    pub const fn of(seed: u64, input: u64) -> Self {
        Self((seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ input.wrapping_add(1)) | (1 << 63))
    }

    /// A number below `sides`.
    pub const fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }

    /// One of them.
    ///
    /// # Panics
    /// If there is none.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        let side = self.roll(of.len() as u64);
        *of.get(usize::try_from(side).unwrap_or_default()).expect("one to pick")
    }

    /// The usual one in two of three cases, else one of the others.
    pub fn mostly<T: Copy>(&mut self, usual: T, others: &[T]) -> T {
        if self.roll(3) < 2 { usual } else { self.pick(others) }
    }
}

/// The seed of a run in which nobody asks for another: each commit meets the same inputs, and a failure is the commit's.
const SEED: u64 = 20_261_130;

/// The seed of this run: `SIGHTLINE_SEED`, or [`SEED`]. Printed, so that a failure can be had again.
#[must_use]
#[expect(clippy::print_stdout, reason = "a test's own words")]
pub fn seed() -> u64 {
    let seed = number("SIGHTLINE_SEED").unwrap_or(SEED);
    println!("SIGHTLINE_SEED={seed}");
    seed
}

/// A number of the environment.
#[must_use]
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
