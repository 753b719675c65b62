//! Sends complete recordings to the store, one after another, and removes what either side keeps no longer. It has its own turns, and no stream waits for it.

use super::state::{CopyState, key};
use crate::clock::Clock;
use crate::live::incidents::Incidents;
use crate::record::holds::Holds;
use aws_lc_rs::digest;
use futures_util::FutureExt as _;
use futures_util::stream::TryStreamExt as _;
use jiff::{SignedDuration, Timestamp};
use sightline_archive::{ClockTrust, Held};
use sightline_bucket::{Bucket, BucketError, Found, Journal, Stored};
use sightline_listen::Rarely;
use sightline_recording::{expired, name};
use sightline_signal::report::OriginIncident;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often copies are looked at for their age: they are kept for days.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(3600);
/// The disk is looked at again after this, where it could not be.
const DISK_WAIT: Duration = Duration::from_secs(1);
/// No object has this name: asked for, the store shows that it answers.
const NOTHING: &str = "sightline-probe/none";
/// What is read at a time for a checksum.
const READ_BYTES: usize = 256 << 10;

/// A file that can't be read fails at each try.
static FILE_FAILED: Rarely = Rarely::new();

/// What it works with.
pub(crate) struct Sender {
    pub(crate) state: Arc<CopyState>,
    pub(crate) bucket: Arc<Bucket>,
    pub(crate) dir: PathBuf,
    pub(crate) journal: Journal,
    pub(crate) keep_local: bool,
    /// `None`: copies stay.
    pub(crate) age_max: Option<SignedDuration>,
    pub(crate) holds: Arc<Holds>,
    pub(crate) clock: Clock,
    pub(crate) incidents: Arc<Incidents>,
    pub(crate) tasks: TaskTracker,
    pub(crate) shutdown: CancellationToken,
}

impl Sender {
    /// Until the origin ends. An upload that is cut by that is given back at the next start.
    pub(crate) async fn run(self) {
        let shutdown = self.shutdown.clone();
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.send() => {}
        }
    }

    async fn send(&self) {
        while let Err(error) = self.compare().await {
            self.failed(&error);
            let store = self.clock.at(self.state.with(|copies| copies.store_retry_at()));
            tokio::time::sleep_until(store.max(tokio::time::Instant::now() + DISK_WAIT)).await;
        }
        self.answers();
        let (mut trust, mut expiry) = (ClockTrust::default(), tokio::time::interval(EXPIRY_INTERVAL));
        loop {
            if expiry.tick().now_or_never().is_some() {
                self.heed(self.expire(&mut trust).await);
            }
            let now = self.clock.now();
            let (next, is_look) = self.state.with(|copies| (copies.poll_copy(now), copies.poll_look(now)));
            if let Some((key, bytes)) = next {
                self.copy(&key, bytes).await;
            } else if is_look {
                self.heed(self.bucket.stored(NOTHING).await.map(drop));
            } else {
                self.wait(&mut expiry).await;
            }
        }
    }

    /// Until there is something to do.
    async fn wait(&self, expiry: &mut tokio::time::Interval) {
        let timeout = self.state.with(|copies| copies.poll_timeout());
        let later = async {
            match timeout {
                Some(at) => tokio::time::sleep_until(self.clock.at(at)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.state.more.notified() => {}
            () = later => {}
            _ = expiry.tick() => expiry.reset_immediately(),
        }
    }

    /// What the store has said to something that is not a file's copy.
    fn heed(&self, answered: Result<(), BucketError>) {
        match answered {
            Ok(()) => self.answers(),
            Err(error) => self.failed(&error),
        }
    }

    /// Looks what the disk has and the store has not, a device at a time: no list is longer than a device's recordings.
    async fn compare(&self) -> Result<(), BucketError> {
        self.bucket.abort_left(&self.journal).await?;
        for device in self.blocking(devices).await? {
            let of = device.clone();
            let local = match self.blocking(move |dir| recordings(&dir.join(&of), &of)).await {
                Ok(local) => local,
                // What can't be read can't be copied: others can.
                Err(error) => {
                    tracing::warn!(device, %error, "the recordings of a device are not copied");
                    continue;
                }
            };
            let found: Vec<Found> = self.bucket.list(&device, None).try_collect().await?;
            let stored: BTreeMap<String, u64> = found.into_iter().map(|found| (found.name, found.bytes)).collect();
            let copied = self.state.with(|copies| copies.handle_compared(&local, &stored));
            for key in copied.into_iter().filter(|_| !self.keep_local) {
                self.remove_local(&key).await;
            }
        }
        self.state.with(sightline_recording::Copies::handle_all_compared);
        let behind = self.state.with(|copies| copies.behind());
        tracing::info!(
            store = self.bucket.place(),
            files = behind.files,
            bytes = behind.bytes,
            "recordings are copied; this is still to be sent"
        );
        Ok(())
    }

    async fn copy(&self, key: &str, bytes: u64) {
        let path = self.dir.join(key);
        match self.put(key, &path, bytes).await {
            Ok(()) => {
                if self.state.copied(bytes) {
                    self.told_again();
                }
                if !self.keep_local {
                    self.remove_local(key).await;
                }
            }
            Err(BucketError::File { error, .. }) if error.kind() == io::ErrorKind::NotFound && !path.exists() => {
                self.state.gone(&path);
            }
            Err(error) => self.failed(&error),
        }
    }

    async fn put(&self, key: &str, path: &Path, bytes: u64) -> Result<(), BucketError> {
        let read = path.to_owned();
        let sha256 = self.blocking(move |_| checksum(&read, bytes)).await?;
        self.bucket.abort_left(&self.journal).await?;
        self.bucket.put_file(key, path, &Stored { bytes, sha256: Some(sha256) }, &self.journal).await
    }

    /// On a thread that may wait for the disk.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static) -> Result<T, BucketError> {
        let dir = self.dir.clone();
        let worked = self.tasks.spawn_blocking(move || work(&dir)).await;
        let failed = |error| BucketError::File { path: self.dir.clone(), error };
        worked.map_err(|error| failed(io::Error::other(error)))?.map_err(failed)
    }

    /// The file, and what else has its name.
    async fn remove_local(&self, key: &str) {
        let key = key.to_owned();
        let removed = self.blocking(move |dir| {
            let path = dir.join(&key);
            let _ = std::fs::remove_file(path.with_extension(name::FLV));
            std::fs::remove_file(path)
        });
        if let Err(error) = removed.await {
            FILE_FAILED.write(|others| tracing::warn!(%error, others, "a recording that the store has can't be removed here"));
        }
    }

    /// Removes copies that are older than is kept.
    async fn expire(&self, trust: &mut ClockTrust) -> Result<(), BucketError> {
        // While nobody knows what is held, everything is.
        let (Some(age_max), Some(held)) = (self.age_max, self.holds.held()) else { return Ok(()) };
        let found: Vec<Found> = self.bucket.list("", None).try_collect().await?;
        let newest = found.iter().filter_map(|found| name::began(found.name.rsplit('/').next()?)).max();
        let (now, uptime) = (Timestamp::now(), Duration::from_micros(self.clock.now().as_micros()));
        if !trust.look(now, uptime, newest) {
            return Ok(());
        }
        for key in expired(found.iter().map(|found| found.name.as_str()), age_max, now) {
            if held.iter().any(|held| holds(held, key)) {
                continue;
            }
            self.bucket.remove(key).await?;
            self.state.expired();
            tracing::info!(store = self.bucket.place(), key, "a copy is removed: it is older than store.keep_hours");
        }
        Ok(())
    }

    fn failed(&self, error: &BucketError) {
        if self.state.failed(error.reason(), self.clock.now()) {
            tracing::warn!(%error, "recordings are not copied to the store; it is tried again");
            self.tell("store_failed", error.to_string());
        } else if !self.state.is_failing() {
            FILE_FAILED.write(|others| tracing::warn!(%error, others, "a recording is not copied; it is tried again"));
        }
    }

    fn answers(&self) {
        if self.state.answers() {
            self.told_again();
        }
    }

    fn told_again(&self) {
        tracing::info!(store = self.bucket.place(), "recordings are copied to the store again");
        self.tell("store_resumed", String::new());
    }

    fn tell(&self, kind: &str, reason: String) {
        self.incidents.push(OriginIncident { kind: kind.to_owned(), reason, ..OriginIncident::default() });
    }
}

/// No copy is longer, as far as its name tells.
const FILE_LENGTH_MAX: SignedDuration = SignedDuration::from_hours(1);

/// Whether a copy may have something of what is held.
fn holds(held: &Held, key: &str) -> bool {
    let Some((device, file)) = key.rsplit_once('/') else { return false };
    let ends = |began: Timestamp| began.saturating_add(FILE_LENGTH_MAX).unwrap_or(Timestamp::MAX);
    device == held.device && name::began(file).is_some_and(|began| began < held.to && ends(began) > held.from)
}

/// The directories of devices.
fn devices(dir: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(entry.file_name().into_string());
        }
    }
    found.sort();
    Ok(found)
}

/// The recordings of a device that are copied, with their lengths.
fn recordings(dir: &Path, device: &str) -> io::Result<Vec<(String, u64)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if let Some(key) = key(&Path::new(device).join(entry.file_name())) {
            // It may have been removed meanwhile.
            found.extend(entry.metadata().ok().map(|metadata| (key, metadata.len())));
        }
    }
    Ok(found)
}

/// The SHA-256 of a file of this length, in hexadecimal.
fn checksum(path: &Path, bytes: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut context = digest::Context::new(&digest::SHA256);
    let (mut read, mut buffer) = (0, vec![0; READ_BYTES]);
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        context.update(buffer.get(..count).unwrap_or_default());
        read += count as u64;
    }
    if read != bytes {
        return Err(io::Error::other(format!("{} has {read} bytes, and had {bytes} when it was complete", path.display())));
    }
    Ok(context.finish().as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}
