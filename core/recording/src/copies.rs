//! Which recordings are copied to a store, in which order, and which of the local ones may go. Pure: files, store and clock are the caller's.
//!
//! A file is called by its key, `{device}/{name}`, here and in the store. It is copied when the store has one of its name and length.

use crate::name;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use jiff::{SignedDuration, Timestamp};
use sightline_media::Instant;

/// The first wait after a failure; it doubles with each in a row.
const RETRY_WAIT: Duration = Duration::from_secs(1);
/// The longest: a store that is back is noticed within it, and one that is away is asked once a minute.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(60);

/// What failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CopyFailure {
    /// The store: no other file has a better chance.
    Store,
    /// This file: others go on.
    File,
}

/// What is not copied yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Behind {
    /// Files that are complete.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the oldest of them begins.
    pub oldest: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    bytes: u64,
    failures: u32,
    retry_at: Instant,
}

/// The files that wait for their copy, and how the store is.
#[derive(Debug, Default)]
pub struct Copies {
    /// Until both were compared, any local file may be one that the store does not have.
    is_compared: bool,
    growing: BTreeSet<String>,
    /// By the time of their begin: the oldest is lost first, so it is copied first.
    waiting: BTreeMap<(Timestamp, String), Waiting>,
    bytes: u64,
    sending: Option<(Timestamp, String)>,
    store_failures: u32,
    store_retry_at: Instant,
}

impl Copies {
    /// Nothing is known of any file.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A file is being written.
    pub fn handle_growing(&mut self, key: &str) {
        self.growing.insert(key.into());
    }

    /// A file is complete, with this length.
    pub fn handle_complete(&mut self, key: &str, bytes: u64) {
        self.growing.remove(key);
        let Some(began) = began(key) else { return };
        let waiting = Waiting { bytes, failures: 0, retry_at: Instant::ZERO };
        self.bytes = self.bytes.saturating_add(bytes);
        if let Some(before) = self.waiting.insert((began, key.into()), waiting) {
            self.bytes = self.bytes.saturating_sub(before.bytes);
        }
    }

    /// What a device has here, and what the store has of it: what is missing there waits. Gives the local files that the store has, with their length.
    pub fn handle_compared(&mut self, local: &[(String, u64)], stored: &BTreeMap<String, u64>) -> Vec<String> {
        let mut copied = Vec::new();
        for (key, bytes) in local {
            if self.growing.contains(key) {
                continue;
            }
            if stored.get(key) == Some(bytes) {
                copied.push(key.clone());
            } else {
                self.handle_complete(key, *bytes);
            }
        }
        copied
    }

    /// All devices were compared.
    pub fn handle_all_compared(&mut self) {
        self.is_compared = true;
    }

    /// The file to copy now, and its length. It is sent until it is copied, has failed, or is gone: there is no other before.
    #[must_use]
    pub fn poll_copy(&mut self, now: Instant) -> Option<(String, u64)> {
        if self.sending.is_some() || now < self.store_retry_at {
            return None;
        }
        let (key, waiting) = self.waiting.iter().find(|(_, waiting)| waiting.retry_at <= now)?;
        self.sending = Some(key.clone());
        Some((key.1.clone(), waiting.bytes))
    }

    /// Whether the store has to be asked how it is: it fails, and no file waits that would show it.
    #[must_use]
    pub fn poll_look(&self, now: Instant) -> bool {
        self.is_failing() && self.waiting.is_empty() && self.sending.is_none() && now >= self.store_retry_at
    }

    /// When there is something to do that is not now; `None`: when another file is complete.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.sending.is_some() {
            return None;
        }
        let next = self.waiting.values().map(|waiting| waiting.retry_at.max(self.store_retry_at)).min();
        next.or_else(|| self.is_failing().then_some(self.store_retry_at))
    }

    /// The store has the file that was sent. True: the store had failed before.
    pub fn handle_copied(&mut self) -> bool {
        if let Some(key) = self.sending.take() {
            self.forget(&key);
        }
        self.handle_store_answers()
    }

    /// The store has done what was asked. True: it had failed before.
    pub fn handle_store_answers(&mut self) -> bool {
        self.store_retry_at = Instant::ZERO;
        core::mem::take(&mut self.store_failures) > 0
    }

    /// The file that was sent did not arrive. True: the store fails, and did not before.
    pub fn handle_failed(&mut self, failure: CopyFailure, now: Instant) -> bool {
        let sent = self.sending.take();
        match failure {
            CopyFailure::Store => self.handle_store_failed(now),
            CopyFailure::File => {
                if let Some(waiting) = sent.and_then(|key| self.waiting.get_mut(&key)) {
                    waiting.retry_at = now + wait(waiting.failures);
                    waiting.failures = waiting.failures.saturating_add(1);
                }
                false
            }
        }
    }

    /// The store does not do what is asked. True: it did before.
    pub fn handle_store_failed(&mut self, now: Instant) -> bool {
        self.store_retry_at = now + wait(self.store_failures);
        self.store_failures = self.store_failures.saturating_add(1);
        self.store_failures == 1
    }

    /// When the store may be asked again.
    #[must_use]
    pub fn store_retry_at(&self) -> Instant {
        self.store_retry_at
    }

    /// Whether the store fails.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.store_failures > 0
    }

    /// A local file is gone. True: the store does not have it, as far as is known.
    pub fn handle_gone(&mut self, key: &str) -> bool {
        self.growing.remove(key);
        let Some(began) = began(key) else { return false };
        let key = (began, key.into());
        if self.sending.as_ref() == Some(&key) {
            self.sending = None;
        }
        self.forget(&key)
    }

    /// Whether the store has a local file: it may go.
    #[must_use]
    pub fn is_copied(&self, key: &str) -> bool {
        let is_waiting = began(key).is_some_and(|began| self.waiting.contains_key(&(began, key.into())));
        self.is_compared && !is_waiting && !self.growing.contains(key)
    }

    /// What is not copied yet.
    #[must_use]
    pub fn behind(&self) -> Behind {
        let files = u64::try_from(self.waiting.len()).unwrap_or(u64::MAX);
        Behind { files, bytes: self.bytes, oldest: self.waiting.keys().next().map(|(began, _)| *began) }
    }

    /// True: it waited.
    fn forget(&mut self, key: &(Timestamp, String)) -> bool {
        let Some(waited) = self.waiting.remove(key) else { return false };
        self.bytes = self.bytes.saturating_sub(waited.bytes);
        true
    }
}

/// Those of a store's files that are older than it keeps them, by their names. A name that is none of a recording's stays.
pub fn expired<'a>(keys: impl IntoIterator<Item = &'a str>, age_max: SignedDuration, trusted_now: Timestamp) -> Vec<&'a str> {
    let is_old = |key: &&str| began(key).is_some_and(|began| trusted_now.duration_since(began) > age_max);
    keys.into_iter().filter(is_old).collect()
}

fn began(key: &str) -> Option<Timestamp> {
    name::began(key.rsplit_once('/').map_or(key, |(_, file)| file))
}

fn wait(failures: u32) -> Duration {
    RETRY_WAIT.saturating_mul(1 << failures.min(8)).min(RETRY_WAIT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, string::ToString as _, vec};
    use proptest::prelude::*;
    use sightline_media::WallTime;

    fn key(device: usize, minute: i64) -> String {
        format!("cam-{device}/{}-7.mp4", name::stem(WallTime::from_unix_micros((1_760_000_000 + minute * 60) * 1_000_000)))
    }

    #[test]
    fn the_oldest_is_copied_first_and_a_file_that_fails_alone_lets_the_others_pass() {
        let (now, mut copies) = (Instant::from_micros(1_000_000), Copies::new());
        for minute in [5, 1, 3] {
            copies.handle_complete(&key(1, minute), 100);
        }
        assert_eq!((copies.poll_copy(now), copies.poll_copy(now)), (Some((key(1, 1), 100)), None), "one at a time");
        assert!(!copies.handle_failed(CopyFailure::File, now));
        assert_eq!(copies.poll_copy(now), Some((key(1, 3), 100)));
        assert!(!copies.handle_copied());
        assert_eq!(copies.behind().files, 2);
        assert_eq!(copies.poll_copy(now), Some((key(1, 5), 100)));
        copies.handle_copied();
        assert_eq!((copies.poll_copy(now), copies.poll_timeout()), (None, Some(now + RETRY_WAIT)));
        assert_eq!(copies.poll_copy(now + RETRY_WAIT), Some((key(1, 1), 100)));
    }

    #[test]
    fn a_store_that_fails_is_asked_less_and_less_and_its_begin_and_end_are_told_once() {
        let (mut now, mut copies) = (Instant::ZERO, Copies::new());
        copies.handle_complete(&key(1, 1), 100);
        let mut waits = vec![];
        for number in 0..8 {
            assert!(copies.poll_copy(now).is_some());
            assert_eq!(copies.handle_failed(CopyFailure::Store, now), number == 0);
            assert_eq!(copies.poll_copy(now), None);
            let next = copies.poll_timeout().unwrap();
            waits.push((next.as_micros() - now.as_micros()) / 1_000_000);
            now = next;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(copies.poll_copy(now).is_some() && copies.handle_copied() && !copies.is_failing());
        // The file that waited has gone, and nothing else would show that the store is back.
        assert!(copies.handle_store_failed(now) && !copies.poll_look(now));
        assert!(copies.poll_timeout().is_some_and(|at| copies.poll_look(at)));
    }

    #[test]
    fn nothing_may_go_before_the_store_was_asked_what_it_has() {
        let mut copies = Copies::new();
        copies.handle_growing(&key(1, 3));
        assert!(!copies.is_copied(&key(1, 1)));
        let local = [(key(1, 1), 10), (key(1, 2), 20), (key(1, 3), 5)];
        // The second was cut by the end of the process before, the third still grows.
        let stored = BTreeMap::from([(key(1, 1), 10), (key(1, 2), 15), (key(1, 3), 5)]);
        assert_eq!(copies.handle_compared(&local, &stored), [key(1, 1)]);
        assert!(!copies.is_copied(&key(1, 1)), "others are not compared yet");
        copies.handle_all_compared();
        assert_eq!([1, 2, 3].map(|minute| copies.is_copied(&key(1, minute))), [true, false, false]);
        assert_eq!(copies.behind(), Behind { files: 1, bytes: 20, oldest: began(&key(1, 2)) });
        assert!(copies.handle_gone(&key(1, 2)) && !copies.handle_gone(&key(1, 1)));
    }

    #[test]
    fn the_store_s_files_go_by_their_age_and_what_is_none_of_ours_stays() {
        let now = began(&key(1, 600)).unwrap();
        let keys = [key(1, 1), key(2, 580), "cam-1/notes.mp4".to_string(), "report.pdf".to_string()];
        assert_eq!(expired(keys.iter().map(String::as_str), SignedDuration::from_hours(1), now), [key(1, 1).as_str()]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Complete(usize, i64),
        Copy(Option<CopyFailure>),
        Gone(usize, i64),
        Restart,
        Pass(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let fate = prop_oneof![3 => Just(None), 1 => Just(Some(CopyFailure::Store)), 1 => Just(Some(CopyFailure::File))];
        let step = prop_oneof![
            4 => (0_usize..3, 0_i64..40).prop_map(|(device, minute)| Step::Complete(device, minute)),
            6 => fate.prop_map(Step::Copy),
            1 => (0_usize..3, 0_i64..40).prop_map(|(device, minute)| Step::Gone(device, minute)),
            1 => Just(Step::Restart),
            2 => (0_u64..90).prop_map(Step::Pass),
        ];
        proptest::collection::vec(step, 0..80)
    }

    proptest! {
        /// Whatever fails and whenever the origin is killed: what is said to be copied is in the store, nothing is forgotten, and a store that is well again
        /// has all of it after a minute.
        #[test]
        fn what_is_copied_is_in_the_store_and_everything_is_copied_in_the_end(steps in steps()) {
            let (mut disk, mut store) = (BTreeMap::new(), BTreeMap::new());
            let (mut copies, mut now) = (Copies::new(), Instant::ZERO);
            copies.handle_all_compared();
            for step in steps {
                match step {
                    Step::Complete(device, minute) => {
                        disk.insert(key(device, minute), 1_u64);
                        copies.handle_complete(&key(device, minute), 1);
                    }
                    Step::Copy(fate) => if let Some((sent, bytes)) = copies.poll_copy(now) {
                        prop_assert_eq!(disk.get(&sent), Some(&bytes));
                        match fate {
                            None => { store.insert(sent, bytes); copies.handle_copied(); }
                            Some(failure) => { copies.handle_failed(failure, now); }
                        }
                    },
                    Step::Gone(device, minute) => { disk.remove(&key(device, minute)); copies.handle_gone(&key(device, minute)); }
                    Step::Restart => {
                        copies = Copies::new();
                        let local: Vec<_> = disk.iter().map(|(key, bytes)| (key.clone(), *bytes)).collect();
                        let copied = copies.handle_compared(&local, &store);
                        prop_assert!(copied.iter().all(|key| store.contains_key(key)));
                        copies.handle_all_compared();
                    }
                    Step::Pass(secs) => now += Duration::from_secs(secs),
                }
                let behind = disk.keys().filter(|key| !copies.is_copied(key)).count() as u64;
                prop_assert_eq!((copies.behind().files, copies.behind().bytes), (behind, behind));
                prop_assert!(disk.keys().all(|key| !copies.is_copied(key) || store.contains_key(key)));
            }
            now += RETRY_WAIT_MAX;
            while let Some((sent, bytes)) = copies.poll_copy(now) { store.insert(sent, bytes); copies.handle_copied(); }
            if copies.poll_look(now) { copies.handle_store_answers(); }
            prop_assert_eq!((copies.behind(), copies.poll_timeout()), (Behind::default(), None));
            prop_assert!(disk.keys().all(|key| store.contains_key(key)));
        }
    }
}
