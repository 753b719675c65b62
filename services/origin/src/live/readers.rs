//! Tasks that read the ring for many viewers each, and are woken when there is a frame.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// One such task.
pub(crate) struct Reader {
    pub(crate) wake: Notify,
    /// Bytes of the frames that the task has not looked at.
    pub(crate) waiting_bytes: AtomicUsize,
    /// When as many wait, the task is woken again although it knows of frames.
    batch_bytes: usize,
    /// The number of the first frame that one of its viewers still needs.
    oldest: AtomicU64,
}

impl Reader {
    /// Needs all frames until [`Self::set_oldest`].
    pub(crate) fn new(batch_bytes: usize) -> Self {
        Self { wake: Notify::new(), waiting_bytes: AtomicUsize::new(0), batch_bytes, oldest: AtomicU64::new(0) }
    }

    /// Frames from this number on are still needed.
    pub(crate) fn set_oldest(&self, number: u64) {
        self.oldest.store(number, Ordering::Release);
    }
}

/// All such tasks of a stream.
#[derive(Default)]
pub(crate) struct Readers(Mutex<Vec<Arc<Reader>>>);

impl Readers {
    pub(crate) fn add(&self, reader: Arc<Reader>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
    }

    /// There is a frame. A task that knows of frames already is left alone until there are many.
    pub(crate) fn wake(&self, bytes: usize) {
        let bytes = bytes.max(1);
        for reader in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let before = reader.waiting_bytes.fetch_add(bytes, Ordering::AcqRel);
            if before == 0 || before + bytes >= reader.batch_bytes {
                reader.wake.notify_one();
            }
        }
    }

    /// The number of the first frame that is still needed; the highest number without viewers.
    pub(crate) fn oldest(&self) -> u64 {
        let readers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        readers.iter().map(|reader| reader.oldest.load(Ordering::Acquire)).min().unwrap_or(u64::MAX)
    }
}
