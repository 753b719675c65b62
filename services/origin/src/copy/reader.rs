//! Reads copies where the local file is gone: names by lists, files by ranges.

use super::state::CopyState;
use crate::clock::Clock;
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::{BoxStream, TryStreamExt as _};
use jiff::Timestamp;
use sightline_archive::{Copied, Shelf, Source};
use sightline_bucket::{Bucket, BucketError, Found};
use sightline_listen::Rarely;
use sightline_media::WallTime;
use sightline_recording::name;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;

/// How long a store may take for a list or a range, before what is here has to do.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// After a store that did not answer in time nobody waits for it for so long: threads that wait for disks would all wait for the store.
const PAUSE: Duration = Duration::from_secs(10);
/// The head of a file with its index: all that a list or a playlist needs of a complete one.
const HEAD_BYTES: u64 = 8 << 10;
/// Heads that are fetched at a time, and ahead of the one that is wanted: who looks at a day looks at 288 files.
const HEADS_AT_ONCE: usize = 16;
/// Heads that are kept: 16 MiB, a week of one camera. A file in the store never changes.
const HEADS_MAX: usize = 2_000;
/// A jump: a fragment's head, and what is near it.
const NEAR_BYTES: u64 = 64 << 10;
/// What is fetched at a time of a file that is read on and on: a fragment or two.
const AHEAD_BYTES: u64 = 1 << 20;
/// Copies of one device that are listed for one range: two days of files of five minutes.
const NAMES_MAX: usize = 1_000;

static FAILED: Rarely = Rarely::new();

/// The copies of all devices.
#[derive(Clone)]
pub(crate) struct CopyReader {
    pub(crate) bucket: Arc<Bucket>,
    pub(crate) state: Arc<CopyState>,
    clock: Clock,
    /// When the store may be asked again.
    ask_at: Arc<AtomicU64>,
    heads: Arc<Mutex<HashMap<String, Head>>>,
}

/// The first bytes of a copy, and how many it has.
#[derive(Clone)]
struct Head {
    bytes: u64,
    first: Bytes,
}

/// Those of a device, for threads that may wait.
struct OfDevice {
    reader: CopyReader,
    device: String,
    handle: Handle,
    /// What was listed last, in order.
    listed: Mutex<Vec<Found>>,
}

impl fmt::Debug for OfDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfDevice").field("device", &self.device).finish_non_exhaustive()
    }
}

impl CopyReader {
    pub(crate) fn new(bucket: Bucket, clock: Clock) -> Self {
        Self { bucket: Arc::new(bucket), state: Arc::default(), clock, ask_at: Arc::default(), heads: Arc::default() }
    }

    /// A device's directory, and its copies. Must be called on a thread of the runtime.
    pub(crate) fn shelf(&self, dir: PathBuf, device: &str) -> Shelf {
        let of = OfDevice { reader: self.clone(), device: device.to_owned(), handle: Handle::current(), listed: Mutex::default() };
        Shelf::with_copies(dir, Arc::new(of))
    }

    /// The length of a copy; `None`: there is none.
    pub(crate) async fn bytes(&self, key: &str) -> io::Result<Option<u64>> {
        Ok(self.ask(self.bucket.stored(key)).await?.map(|stored| stored.bytes))
    }

    /// Some of its bytes, a piece at a time.
    pub(crate) async fn stream(&self, key: &str, range: Range<u64>) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
        let pieces = self.ask(self.bucket.stream(key, range)).await?;
        Ok(Box::pin(pieces.map_err(io::Error::other)))
    }

    /// While the store is known to be away, nobody waits for it.
    async fn ask<T>(&self, answer: impl Future<Output = Result<T, BucketError>>) -> io::Result<T> {
        let now = self.clock.now();
        let answered = if self.state.is_away() || now.as_micros() < self.ask_at.load(Ordering::Relaxed) {
            Err(io::Error::other("the store does not answer"))
        } else {
            match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(BucketError::Missing { .. })) => return Err(io::ErrorKind::NotFound.into()),
                Ok(Err(error)) => Err(io::Error::other(error)),
                Err(_) => {
                    self.ask_at.store((now + ANSWER_TIMEOUT + PAUSE).as_micros(), Ordering::Relaxed);
                    Err(io::Error::new(io::ErrorKind::TimedOut, "the store did not answer in time"))
                }
            }
        };
        answered.inspect_err(|error| FAILED.write(|others| tracing::warn!(%error, others, "copies of recordings can't be read")))
    }

    fn heads(&self) -> MutexGuard<'_, HashMap<String, Head>> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn head(&self, key: &str, bytes: u64) -> Result<Head, BucketError> {
        if let Some(head) = self.heads().get(key).filter(|head| head.bytes == bytes) {
            return Ok(head.clone());
        }
        let first = self.bucket.read(key, 0..bytes.min(HEAD_BYTES)).await?;
        let head = Head { bytes, first };
        let mut heads = self.heads();
        if heads.len() >= HEADS_MAX {
            heads.clear();
        }
        heads.insert(key.to_owned(), head.clone());
        Ok(head)
    }
}

impl OfDevice {
    fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.device)
    }

    fn listed(&self) -> MutexGuard<'_, Vec<Found>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file and those behind it in the list.
    fn next_listed(&self, key: &str) -> Vec<Found> {
        let listed = self.listed();
        let next = listed.iter().skip_while(|found| found.name != key);
        next.take(HEADS_AT_ONCE).cloned().collect()
    }
}

impl Copied for OfDevice {
    fn names(&self, from: Timestamp, to: Timestamp) -> io::Result<Vec<String>> {
        let after = self.key(&name::stem(WallTime::from_unix_micros(from.as_microsecond())));
        let file = |key: &str| key.rsplit('/').next().unwrap_or_default().to_owned();
        let is_later = |found: &Found| name::began(&file(&found.name)).is_some_and(|began| began >= to);
        let listed = async {
            let (mut listed, mut objects) = (Vec::new(), self.reader.bucket.list(&self.device, Some(&after)));
            while let Some(found) = objects.try_next().await? {
                if listed.len() == NAMES_MAX || is_later(&found) {
                    break;
                }
                listed.push(found);
            }
            Ok(listed)
        };
        let listed = self.handle.block_on(self.reader.ask(listed))?;
        let names = listed.iter().map(|found| file(&found.name)).collect();
        *self.listed() = listed;
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Source>> {
        let (key, reader) = (self.key(name), &self.reader);
        let mut wanted = self.next_listed(&key);
        if wanted.is_empty() {
            let bytes = self.handle.block_on(reader.bytes(&key))?.ok_or(io::ErrorKind::NotFound)?;
            wanted.push(Found { name: key.clone(), bytes });
        }
        let heads = wanted.iter().map(|found| reader.head(&found.name, found.bytes));
        let first = async { join_all(heads).await.into_iter().next().transpose() };
        let head = self.handle.block_on(reader.ask(first))?.ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(Copy { reader: reader.clone(), key, head, handle: self.handle.clone(), window: Mutex::default() }))
    }
}

/// A copy that is read by ranges.
struct Copy {
    reader: CopyReader,
    key: String,
    head: Head,
    handle: Handle,
    /// What was fetched last, and where it begins.
    window: Mutex<(u64, Bytes)>,
}

impl fmt::Debug for Copy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Copy").field("key", &self.key).finish_non_exhaustive()
    }
}

/// What is there already of a range.
fn held((begin, bytes): (u64, &Bytes), offset: u64, length: usize) -> Option<&[u8]> {
    let from = usize::try_from(offset.checked_sub(begin)?).ok()?;
    bytes.get(from..from.checked_add(length)?)
}

impl Source for Copy {
    fn bytes(&self) -> u64 {
        self.head.bytes
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let (begin, fetched) = (window.0, window.1.clone());
        let known = held((0, &self.head.first), offset, into.len()).or_else(|| held((begin, &fetched), offset, into.len()));
        if let Some(known) = known {
            into.copy_from_slice(known);
            return Ok(());
        }
        // Whoever reads behind what was fetched last goes on; whoever jumps wants a fragment's head.
        let is_next = !fetched.is_empty() && (begin..=begin + fetched.len() as u64).contains(&offset);
        let ahead = if is_next { AHEAD_BYTES } else { NEAR_BYTES };
        let end = offset.saturating_add(ahead.max(into.len() as u64)).min(self.head.bytes);
        if offset.saturating_add(into.len() as u64) > end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let fetched = self.handle.block_on(self.reader.ask(self.reader.bucket.read(&self.key, offset..end)))?;
        into.copy_from_slice(held((offset, &fetched), offset, into.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        *window = (offset, fetched);
        Ok(())
    }
}
