//! Fewer, larger turns of a busy runtime: what network cards do with their interrupts. A thread that has just found something to do a
//! hundreds of times a second sleeps for a millisecond before it looks again, and then finds several things at once. Each turn costs
//! a wake-up, a timer and a system call, whatever there is to do in it.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// How long a busy thread sleeps: what is added to the latency at most. With it there are a thousand turns a second at most.
const PAUSE: Duration = Duration::from_millis(1);
/// Turns are counted over this.
const WINDOW: Duration = Duration::from_millis(10);
/// As many turns in a window are a busy thread: five hundred a second, well below the thousand that a busy one is left with. One camera
/// makes 25 to 75.
const BUSY_TURNS: u32 = 5;

thread_local! {
    static TURNS: Cell<Turns> = const { Cell::new(Turns { began: None, count: 0, is_busy: false }) };
}

/// Gathers what comes for a busy thread. To be called when a thread of the runtime is about to wait:
/// `tokio::runtime::Builder::on_thread_park`.
pub fn gather() {
    let mut turns = TURNS.get();
    let is_busy = turns.count(Instant::now());
    TURNS.set(turns);
    if is_busy {
        std::thread::sleep(PAUSE);
    }
}

/// A thread's turns.
#[derive(Clone, Copy)]
struct Turns {
    began: Option<Instant>,
    count: u32,
    is_busy: bool,
}

impl Turns {
    /// Counts one; true while the thread is busy.
    fn count(&mut self, now: Instant) -> bool {
        self.count += 1;
        let passed = self.began.map(|began| now.saturating_duration_since(began));
        if passed.is_none_or(|passed| passed >= WINDOW) {
            // After a pause the count says nothing.
            self.is_busy = passed.is_some_and(|passed| passed < 2 * WINDOW) && self.count >= BUSY_TURNS;
            (self.began, self.count) = (Some(now), 0);
        }
        self.is_busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a thread is busy after a second of turns.
    fn is_busy(turns: u32) -> bool {
        let (start, mut counted) = (Instant::now(), Turns { began: None, count: 0, is_busy: false });
        (0..turns).fold(false, |_, turn| counted.count(start + Duration::from_secs(1) * turn / turns))
    }

    #[test]
    fn many_turns_a_second_are_a_busy_thread_and_those_of_a_few_cameras_are_not() {
        assert!(is_busy(7500) && is_busy(900), "gathered turns keep it busy");
        assert!(!is_busy(400) && !is_busy(25));
    }

    #[test]
    fn a_thread_that_rested_is_not_busy() {
        let (start, mut turns) = (Instant::now(), Turns { began: None, count: 0, is_busy: false });
        for turn in 0..100 {
            turns.count(start + Duration::from_micros(100) * turn);
        }
        assert!(turns.count(start + Duration::from_millis(10)));
        assert!(!turns.count(start + Duration::from_millis(500)));
    }
}
