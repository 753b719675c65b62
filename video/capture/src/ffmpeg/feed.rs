//! What ffmpeg reads where there is no file: a pipe, kept from its beginning until ffmpeg has shown that it reads it.

use std::{
    io::{Read, Write as _},
    process::ChildStdin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

/// What is kept for a second try: more than ffmpeg reads before it knows all tracks (`-probesize`).
const KEPT_BYTES_MAX: usize = 4 << 20;
/// Read and written at once: what a pipe holds.
const PIECE_BYTES: usize = 64 * 1024;

/// A pipe, and what was read of it.
pub(super) struct Feed {
    input: Box<dyn Read + Send>,
    kept: Vec<u8>,
}

/// A thread that feeds an ffmpeg.
pub(super) struct Feeder {
    thread: JoinHandle<Feed>,
    is_keeping: Arc<AtomicBool>,
}

impl Feed {
    pub(super) fn new(input: Box<dyn Read + Send>) -> Self {
        Self { input, kept: Vec::new() }
    }

    fn run(mut self, mut to: ChildStdin, is_keeping: &AtomicBool) -> Self {
        if to.write_all(&self.kept).is_err() {
            return self;
        }
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = match self.input.read(&mut piece) {
                Ok(0) => return self,
                Ok(read) => piece.get(..read).unwrap_or_default(),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::warn!(%error, "source -: it can't be read any more");
                    return self;
                }
            };
            if !is_keeping.load(Ordering::Relaxed) {
                self.kept = Vec::new();
            } else if self.kept.len() < KEPT_BYTES_MAX {
                self.kept.extend_from_slice(read);
            }
            if to.write_all(read).is_err() {
                return self;
            }
        }
    }
}

impl Feeder {
    /// Feeds an ffmpeg from the pipe's beginning.
    pub(super) fn start(feed: Feed, to: ChildStdin) -> std::io::Result<Self> {
        Self::spawn(to, || Some(feed))
    }

    /// Feeds another ffmpeg from the pipe's beginning; the one before has ended, and so does its thread, with the next bytes at the latest.
    pub(super) fn again(self, to: ChildStdin) -> std::io::Result<Self> {
        Self::spawn(to, || self.thread.join().ok())
    }

    fn spawn(to: ChildStdin, feed: impl FnOnce() -> Option<Feed> + Send + 'static) -> std::io::Result<Self> {
        let is_keeping = Arc::new(AtomicBool::new(true));
        let keeping = is_keeping.clone();
        let run = move || match feed() {
            Some(feed) => feed.run(to, &keeping),
            None => Feed::new(Box::new(std::io::empty())),
        };
        Ok(Self { thread: std::thread::Builder::new().name("ffmpeg-feed".into()).spawn(run)?, is_keeping })
    }

    /// There will be no other try.
    pub(super) fn keep_no_more(&self) {
        self.is_keeping.store(false, Ordering::Relaxed);
    }
}
