//! The recorder's thread: files, syncs, and what is thrown away.

use jiff::Timestamp;
use sightline_hls::fmp4;
use sightline_media::{Frame, MediaTime};
use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::Receiver,
    },
};

use super::{Beginning, Fragment, Job, RecorderPlan, segment};

/// Names tried when a file is there already: a clock that was set back.
const NAMES_MAX: u32 = 100;
/// Before this a device's clock was never set: nothing is thrown away for its age.
const CLOCK_IS_SET: Timestamp = Timestamp::constant(1_704_067_200, 0);

pub(super) struct Writer {
    plan: RecorderPlan,
    has_failed: Arc<AtomicBool>,
    growing: Option<Growing>,
    is_failing: bool,
}

/// The file that grows.
struct Growing {
    file: File,
    path: PathBuf,
    zero: MediaTime,
    sequence: u32,
}

impl Writer {
    pub(super) fn new(plan: RecorderPlan, has_failed: Arc<AtomicBool>) -> Self {
        Self { plan, has_failed, growing: None, is_failing: false }
    }

    /// Until the loop's end is gone.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        self.repair();
        self.throw_away();
        while let Ok(job) = jobs.recv() {
            match job {
                Job::Append(fragment) => self.append_or_fail(&fragment),
                Job::End => self.growing = None,
            }
        }
    }

    fn append_or_fail(&mut self, fragment: &Fragment) {
        let mut written = self.append(fragment);
        if written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::StorageFull) && self.throw_oldest() {
            written = self.append(fragment);
        }
        match written {
            Ok(()) if std::mem::take(&mut self.is_failing) => tracing::info!(dir = %self.plan.dir.display(), "recording again"),
            Ok(()) => {}
            Err(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::error!(dir = %self.plan.dir.display(), %error, "nothing is recorded; it is tried again at each key frame");
                }
                self.growing = None;
                self.has_failed.store(true, Ordering::Relaxed);
            }
        }
    }

    /// One write, one sync: a power cut leaves the fragment, or a piece that readers leave out.
    fn append(&mut self, fragment: &Fragment) -> io::Result<()> {
        let Some(zero) = fragment.frames.first().map(|first| first.dts) else { return Ok(()) };
        let head = match &fragment.begins {
            Some(beginning) => {
                let head = fmp4::init_segment(&beginning.tracks).map_err(io::Error::other)?;
                self.growing = Some(self.create(beginning, zero)?);
                Some(head)
            }
            None => None,
        };
        // Without a beginning: the file that it belongs to has failed.
        let Some(growing) = &mut self.growing else { return Ok(()) };
        growing.sequence += 1;
        let shift = |frame: &Frame<_>| Frame { dts: frame.dts - growing.zero, pts: frame.pts - growing.zero, ..frame.clone() };
        let frames: Vec<_> = fragment.frames.iter().map(shift).collect();
        let ends_at = fragment.ends_at.map(|at| at - growing.zero);
        let body = fmp4::fragment(growing.sequence, &frames, ends_at).map_err(io::Error::other)?;
        let length = growing.file.metadata()?.len();
        let written =
            growing.file.write_all(&[head.as_deref().unwrap_or_default(), &body].concat()).and_then(|()| growing.file.sync_data());
        if written.is_err() {
            // Half of a fragment on a full disk: the file ends with the one before.
            let _ = growing.file.set_len(length);
        }
        written
    }

    /// A file that was not there before, named for the time of its first frame; first what is too much goes.
    fn create(&self, beginning: &Beginning, zero: MediaTime) -> io::Result<Growing> {
        self.throw_away();
        let name = segment::name(beginning.wall);
        for number in 1..=NAMES_MAX {
            let suffix = if number == 1 { String::new() } else { format!("-{number}") };
            let path = self.plan.dir.join(format!("{name}{suffix}.{}", segment::EXTENSION));
            match File::options().write(true).create_new(true).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(file) => {
                    // The name must outlive a power cut, too.
                    File::open(&self.plan.dir)?.sync_all()?;
                    return Ok(Growing { file, path, zero, sequence: 0 });
                }
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Cuts off what a power cut left of a fragment: some players stumble over it.
    fn repair(&self) {
        let Some((path, bytes)) = self.files().pop() else { return };
        match segment::complete_bytes(&path) {
            Ok(0) => remove(&path, "it holds no complete fragment"),
            Ok(complete) if complete < bytes => {
                let cut = File::options().write(true).open(&path).and_then(|file| file.set_len(complete).and_then(|()| file.sync_all()));
                tracing::info!(file = %path.display(), bytes, complete, is_cut = cut.is_ok(), "the last recording was cut short");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(file = %path.display(), %error, "a recording can't be read"),
        }
    }

    /// By age, then by size.
    fn throw_away(&self) {
        let mut files = self.files();
        let now = Timestamp::now();
        if let Some(age_max) = self.plan.age_max.filter(|_| now > CLOCK_IS_SET) {
            files.retain(|(path, _)| {
                let is_old = segment::began(path).is_some_and(|began| now.duration_since(began).unsigned_abs() > age_max && began < now);
                if is_old {
                    remove(path, "it is older than recording.keep_hours");
                }
                !is_old
            });
        }
        let mut bytes: u64 = files.iter().map(|(_, bytes)| bytes).sum();
        for (path, size) in files {
            if bytes <= self.plan.bytes_max {
                return;
            }
            remove(&path, "all recordings are larger than recording.keep_mb");
            bytes = bytes.saturating_sub(size);
        }
    }

    /// For a full disk.
    fn throw_oldest(&self) -> bool {
        match self.files().first() {
            Some((path, _)) if self.growing.as_ref().is_none_or(|growing| growing.path != *path) => {
                remove(path, "the disk is full");
                true
            }
            Some(_) | None => false,
        }
    }

    /// Our files and their sizes, oldest first.
    fn files(&self) -> Vec<(PathBuf, u64)> {
        let paths = segment::files(&self.plan.dir).unwrap_or_default();
        paths.into_iter().filter_map(|path| path.metadata().ok().map(|metadata| (path, metadata.len()))).collect()
    }
}

fn remove(path: &Path, why: &str) {
    match std::fs::remove_file(path) {
        Ok(()) => tracing::info!(file = %path.display(), why, "a recording is removed"),
        Err(error) => tracing::warn!(file = %path.display(), %error, "a recording can't be removed"),
    }
}
