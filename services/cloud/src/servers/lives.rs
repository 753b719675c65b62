//! Which streams have begun and ended, by what origins report: each epoch of a stream begins once and ends once, however often its
//! camera reconnects, and wherever it goes on.

use sightline_signal::report::OriginStream;
use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

/// Streams that are remembered: one for each device. Above it those that have ended are forgotten, then new ones are not followed.
const LIVES_MAX: usize = 100_000;

/// What is known of streams.
#[derive(Debug)]
pub(crate) struct Lives {
    /// What began before, in seconds since 1970, has its row from the process before this one.
    since: i64,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    lives: HashMap<String, Life>,
    /// The streams of each origin's last report.
    on: HashMap<String, HashSet<String>>,
}

#[derive(Debug)]
struct Life {
    epoch: u64,
    device: String,
    server: String,
    is_over: bool,
}

/// A stream that began or ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Turn {
    pub(crate) is_begin: bool,
    pub(crate) stream: String,
    pub(crate) device: String,
    pub(crate) epoch: u64,
}

impl Lives {
    pub(crate) fn new(since: i64) -> Self {
        Self { since, known: Mutex::default() }
    }

    /// Takes the streams of an origin's report; gives what has changed.
    pub(crate) fn follow(&self, server: &str, streams: &[OriginStream]) -> Vec<Turn> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut turns = Vec::new();
        // Of an origin that was heard before, all that is new has begun now, whatever its clock says.
        let is_heard = known.on.contains_key(server);
        for stream in streams {
            known.see(server, stream, is_heard || stream.since >= self.since, &mut turns);
        }
        let now: HashSet<String> = streams.iter().map(|stream| stream.stream.clone()).collect();
        let before = known.on.insert(server.to_owned(), now.clone()).unwrap_or_default();
        for name in before.difference(&now) {
            if let Some(life) = known.lives.get_mut(name).filter(|life| life.server == server) {
                life.end(name, &mut turns);
            }
        }
        turns
    }
}

impl Known {
    fn see(&mut self, server: &str, stream: &OriginStream, is_new: bool, turns: &mut Vec<Turn>) {
        let OriginStream { stream: name, device, epoch, .. } = stream;
        if !self.lives.contains_key(name) && self.lives.len() >= LIVES_MAX {
            self.lives.retain(|_, life| !life.is_over);
            if self.lives.len() >= LIVES_MAX {
                return;
            }
        }
        match self.lives.get_mut(name) {
            Some(life) if life.epoch > *epoch => return,
            Some(life) if life.epoch == *epoch => return server.clone_into(&mut life.server),
            Some(life) => life.end(name, turns),
            None => {}
        }
        if is_new {
            turns.push(Turn { is_begin: true, stream: name.clone(), device: device.clone(), epoch: *epoch });
        }
        self.lives.insert(name.clone(), Life { epoch: *epoch, device: device.clone(), server: server.to_owned(), is_over: false });
    }
}

impl Life {
    fn end(&mut self, name: &str, turns: &mut Vec<Turn>) {
        if !std::mem::replace(&mut self.is_over, true) {
            turns.push(Turn { is_begin: false, stream: name.to_owned(), device: self.device.clone(), epoch: self.epoch });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(name: &str, epoch: u64) -> OriginStream {
        OriginStream { stream: name.to_owned(), device: "cam".to_owned(), epoch, since: 100, ..OriginStream::default() }
    }

    #[test]
    fn each_epoch_of_a_stream_begins_once_and_ends_once() {
        let lives = Lives::new(50);
        let turns = |server: &str, streams: &[OriginStream]| -> Vec<(bool, u64)> {
            lives.follow(server, streams).iter().map(|turn| (turn.is_begin, turn.epoch)).collect()
        };
        assert_eq!(turns("o1", &[stream("s", 1)]), [(true, 1)]);
        assert_eq!(turns("o1", &[stream("s", 1)]), []);
        // It moves with its token: the origin that it left has nothing to say.
        assert_eq!(turns("o2", &[stream("s", 1)]), []);
        assert_eq!(turns("o1", &[]), []);
        // A newer token takes over, and what the old origin still reports is no begin.
        assert_eq!(turns("o1", &[stream("s", 2)]), [(false, 1), (true, 2)]);
        assert_eq!(turns("o2", &[stream("s", 1)]), []);
        assert_eq!(turns("o2", &[]), []);
        // Reconnects with one token are one row each.
        assert_eq!(turns("o1", &[]), [(false, 2)]);
        assert_eq!(turns("o1", &[stream("s", 2)]), []);
        assert_eq!(turns("o1", &[]), []);
    }

    #[test]
    fn a_stream_that_ran_before_the_cloud_started_ends_without_a_second_begin() {
        let lives = Lives::new(101);
        assert_eq!(lives.follow("o1", &[stream("s", 1)]), []);
        assert_eq!(lives.follow("o1", &[]).len(), 1);
        // A clock that is behind hides no begin.
        assert_eq!(lives.follow("o1", &[stream("s", 2)]).len(), 1);
    }
}
