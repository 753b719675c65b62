//! Standard input as a source: a thread reads it, so that neither an order nor a clock waits for a pipe that gives nothing.

use std::{
    io::{Cursor, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError},
    },
    time::{Duration, Instant},
};

use crate::{
    pictures::{CodedPicture, Pictures},
    sniff::{self, Kind},
};

/// Pictures that are read ahead: more than a second of them. Beyond it the pipe's writer waits.
const PICTURES_WAITING_MAX: usize = 32;

/// What a pipe gave.
#[derive(Debug)]
pub enum PipeEvent {
    /// A picture, and when it came.
    Picture(Box<CodedPicture>, Instant),
    /// It holds something else than H.264 in Annex B form. It comes once, and nothing after it.
    Foreign(Foreign),
    /// Nothing yet.
    Nothing,
    /// It was closed at its other end.
    Ended,
    /// It can't be read, or is no H.264.
    Failed(String),
}

/// A pipe that is not read here.
pub struct Foreign {
    /// From its first byte.
    pub input: Box<dyn Read + Send>,
    /// What comes in it.
    pub what: &'static str,
    /// It tells when its pictures are shown.
    pub has_times: bool,
}

impl std::fmt::Debug for Foreign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Foreign").field("what", &self.what).finish_non_exhaustive()
    }
}

/// A pipe that is being read.
#[derive(Debug)]
pub struct Pipe {
    seen: Receiver<Seen>,
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
        let run = move || read(Noted { input, has_bytes }, &sender, &was_held);
        std::thread::Builder::new().name("pipe".into()).spawn(run)?;
        Ok(pipe)
    }

    /// What comes next, waiting no longer than this.
    pub fn next(&self, wait: Duration) -> PipeEvent {
        match self.seen.recv_timeout(wait) {
            Ok(Seen::Picture(picture, at)) => PipeEvent::Picture(picture, at),
            Ok(Seen::Foreign(foreign)) => PipeEvent::Foreign(foreign),
            Ok(Seen::Failed(problem)) => PipeEvent::Failed(problem),
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

/// What the thread gives.
enum Seen {
    Picture(Box<CodedPicture>, Instant),
    Foreign(Foreign),
    Failed(String),
}

fn read(mut input: impl Read + Send + 'static, sender: &SyncSender<Seen>, was_held: &AtomicBool) {
    let (head, kind) = match look(&mut input) {
        Ok(looked) => looked,
        Err(error) => {
            let _ = sender.send(Seen::Failed(error.to_string()));
            return;
        }
    };
    let input = Cursor::new(head).chain(input);
    match kind {
        Kind::H264 => read_pictures(Pictures::new(input), sender, was_held),
        Kind::Foreign { what, has_times } => {
            let _ = sender.send(Seen::Foreign(Foreign { input: Box::new(input), what, has_times }));
        }
    }
}

/// Its first bytes, and what they tell.
fn look(input: &mut impl Read) -> std::io::Result<(Vec<u8>, Kind)> {
    let mut head = Vec::new();
    let mut piece = [0; 4 * 1024];
    loop {
        let read = match input.read(&mut piece) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        head.extend_from_slice(piece.get(..read).unwrap_or_default());
        if let Some(kind) = sniff::kind(&head, read == 0) {
            return Ok((head, kind));
        }
    }
}

fn read_pictures(mut pictures: Pictures<impl Read>, sender: &SyncSender<Seen>, was_held: &AtomicBool) {
    loop {
        let seen = match pictures.next_picture() {
            Ok(Some(picture)) => Seen::Picture(Box::new(picture), Instant::now()),
            Ok(None) => return,
            Err(error) => Seen::Failed(error.to_string()),
        };
        let is_last = matches!(seen, Seen::Failed(_));
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
