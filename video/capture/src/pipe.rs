//! Standard input as a source: a thread reads it, so that neither an order nor a clock waits for a pipe that gives nothing.

use std::{
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError},
    },
    time::{Duration, Instant},
};

use crate::pictures::{CodedPicture, Pictures};

/// Pictures that are read ahead: more than a second of them. Beyond it the pipe's writer waits.
const PICTURES_WAITING_MAX: usize = 32;

/// What a pipe gave.
#[derive(Debug)]
pub enum PipeEvent {
    /// A picture, and when it came.
    Picture(Box<CodedPicture>, Instant),
    /// Nothing yet.
    Nothing,
    /// It was closed at its other end.
    Ended,
    /// It can't be read, or is no H.264.
    Failed(String),
}

/// A pipe that is being read.
#[derive(Debug)]
pub struct Pipe {
    seen: Receiver<Result<(Box<CodedPicture>, Instant), String>>,
    has_bytes: Arc<AtomicBool>,
    was_held: Arc<AtomicBool>,
}

/// Notes that something came.
struct Noted<R> {
    input: R,
    has_bytes: Arc<AtomicBool>,
}

impl<R: Read> Read for Noted<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let read = self.input.read(out)?;
        if read > 0 {
            self.has_bytes.store(true, Ordering::Relaxed);
        }
        Ok(read)
    }
}

impl Pipe {
    /// Reads an input on a thread of its own, which ends with the input, or once nobody takes what it gives.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn open(input: impl Read + Send + 'static) -> std::io::Result<Self> {
        let (sender, seen) = std::sync::mpsc::sync_channel(PICTURES_WAITING_MAX);
        let pipe = Self { seen, has_bytes: Arc::default(), was_held: Arc::default() };
        let (has_bytes, was_held) = (pipe.has_bytes.clone(), pipe.was_held.clone());
        let run = move || read(Pictures::new(Noted { input, has_bytes }), &sender, &was_held);
        std::thread::Builder::new().name("pipe".into()).spawn(run)?;
        Ok(pipe)
    }

    /// What comes next, waiting no longer than this.
    pub fn next(&self, wait: Duration) -> PipeEvent {
        match self.seen.recv_timeout(wait) {
            Ok(Ok((picture, at))) => PipeEvent::Picture(picture, at),
            Ok(Err(problem)) => PipeEvent::Failed(problem),
            Err(RecvTimeoutError::Timeout) => PipeEvent::Nothing,
            Err(RecvTimeoutError::Disconnected) => PipeEvent::Ended,
        }
    }

    /// Whether anything has come at all.
    pub fn has_bytes(&self) -> bool {
        self.has_bytes.load(Ordering::Relaxed)
    }

    /// Whether the writer had to wait for us since this was asked last.
    pub fn was_held(&self) -> bool {
        self.was_held.swap(false, Ordering::Relaxed)
    }
}

type Seen = Result<(Box<CodedPicture>, Instant), String>;

fn read(mut pictures: Pictures<impl Read>, sender: &SyncSender<Seen>, was_held: &AtomicBool) {
    loop {
        let seen = match pictures.next_picture() {
            Ok(Some(picture)) => Ok((Box::new(picture), Instant::now())),
            Ok(None) => return,
            Err(error) => Err(error.to_string()),
        };
        let is_last = seen.is_err();
        let is_taken = match sender.try_send(seen) {
            Err(TrySendError::Full(seen)) => {
                was_held.store(true, Ordering::Relaxed);
                sender.send(seen).is_ok()
            }
            sent => sent.is_ok(),
        };
        if is_last || !is_taken {
            return;
        }
    }
}
