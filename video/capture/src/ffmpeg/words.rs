//! What ffmpeg writes about itself: read all the time, so that it never waits for us, and the last errors kept.

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader, Read},
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

/// A line that is longer is cut.
const LINE_BYTES_MAX: u64 = 4_096;
/// Errors that are kept: the last one is often "Conversion failed!", and the reason stands before it.
const LINES_KEPT: usize = 4;
/// From ffmpeg's end to its last line.
const SETTLE_TIMEOUT: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
struct Kept {
    errors: VecDeque<String>,
    /// Streams of the input.
    videos: u32,
    audios: u32,
    is_past_input: bool,
    has_ended: bool,
}

/// The last words, shared with the thread that reads them.
#[derive(Clone, Debug, Default)]
pub(super) struct Words(Arc<(Mutex<Kept>, Condvar)>);

impl Words {
    fn with<T>(&self, look: impl FnOnce(&mut Kept) -> T) -> T {
        look(&mut self.0.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads to the end.
    pub(super) fn read(&self, stderr: impl Read) {
        let mut stderr = BufReader::new(stderr);
        let mut line = Vec::new();
        loop {
            line.clear();
            match (&mut stderr).take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => break,
                Ok(_) => self.with(|kept| kept.see(&String::from_utf8_lossy(&line))),
            }
        }
        self.with(|kept| kept.has_ended = true);
        self.0.1.notify_all();
    }

    /// Waits for the last line.
    pub(super) fn settle(&self) {
        let kept = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.0.1.wait_timeout_while(kept, SETTLE_TIMEOUT, |kept| !kept.has_ended));
    }

    /// The last errors, in one line.
    pub(super) fn last(&self) -> Option<String> {
        self.with(|kept| (!kept.errors.is_empty()).then(|| kept.errors.iter().cloned().collect::<Vec<_>>().join("; ")))
    }

    pub(super) fn remarks(&self, has_sound: bool) -> Vec<String> {
        let (videos, audios) = self.with(|kept| (kept.videos, kept.audios));
        let mut remarks = Vec::new();
        if videos > 1 {
            remarks.push(format!("it has {videos} tracks of pictures: the first is sent"));
        }
        if audios > 1 && has_sound {
            remarks.push(format!("it has {audios} tracks of sound: the first is sent"));
        }
        remarks
    }
}

impl Kept {
    fn see(&mut self, line: &str) {
        let line = line.trim();
        if line.contains("[info] Stream mapping:") || line.contains("[info] Output #0") {
            self.is_past_input = true;
        }
        if !self.is_past_input && line.contains("[info]") && line.contains("Stream #0:") {
            self.videos += u32::from(line.contains(": Video:") && !line.contains("(attached pic)"));
            self.audios += u32::from(line.contains(": Audio:"));
        }
        let levels = ["[error] ", "[fatal] ", "[panic] "];
        if let Some((level, at)) = levels.iter().find_map(|level| Some((level, line.find(level)?))) {
            let said = line[at + level.len()..].trim().to_owned();
            if said != "Conversion failed!" && self.errors.back() != Some(&said) {
                self.errors.push_back(said);
            }
            while self.errors.len() > LINES_KEPT {
                self.errors.pop_front();
            }
        }
    }
}
