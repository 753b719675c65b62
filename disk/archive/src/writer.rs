//! Appending to files: one write a fragment and file, so that a crash or a power cut at any byte leaves every fragment before it readable.

use crate::{
    retention::{self, ClockTrust, Retention},
    segment,
};
use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use sightline_media::{Frame, MediaTime, StreamConfig, Track};
use sightline_mp4::BOX_HEADER_BYTES;
use sightline_recording::{Beginning, Fragment, Index, name};
use sightline_rtmp::flv;
use std::{
    fs::File,
    io::{self, IoSlice, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

/// What is written, and where.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The directory. It must exist when a file begins.
    pub dir: PathBuf,
    /// What files are called.
    pub stem: Stem,
    /// The forms in which each fragment is written.
    pub formats: Formats,
    /// When bytes are on the disk.
    pub durability: Durability,
    /// What the directory may hold; `None`: whatever comes.
    pub retention: Option<Retention>,
}

/// What files are called, before a number and their ending.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stem {
    /// The time of their first frame.
    FirstFrame,
    /// The same, and this behind it.
    FirstFrameAnd(String),
}

/// The forms in which each fragment is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Formats {
    /// FLV.
    pub flv: bool,
    /// Fragmented MP4.
    pub mp4: bool,
}

/// When bytes are on the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// Before [`Writer::append`] returns: a power cut costs nothing that was appended.
    EachFragment,
    /// When the system writes them: a crash of the program costs nothing, a power cut costs seconds.
    System,
}

/// Where the name of a box stands, behind its size.
const NAMED_AT: usize = 4;

/// Writes fragments into files.
#[derive(Debug)]
pub struct Writer {
    plan: Plan,
    growing: Option<Growing>,
    started: Instant,
    trust: ClockTrust,
}

/// The files that grow. All have the same frames.
#[derive(Debug)]
struct Growing {
    config: Arc<StreamConfig>,
    flv: Option<(File, PathBuf)>,
    mp4: Option<(File, PathBuf)>,
    /// The stream's time of the files' zero.
    zero: MediaTime,
    sequence: u32,
    /// Of the MP4.
    index: Index,
}

impl Writer {
    /// Writes nothing before the first fragment that begins a file.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self { plan, growing: None, started: Instant::now(), trust: ClockTrust::default() }
    }

    /// Cuts off what a power cut left of the newest file's last fragment: some players stumble over it. Then applies the retention.
    pub fn repair(&mut self, now: Timestamp) {
        if let Some(newest) = segment::files(&self.plan.dir).unwrap_or_default().pop() {
            repair(&newest.path);
        }
        self.apply_retention(now);
    }

    /// Appends a fragment. One that begins no file while none is open is ignored: the file that it belongs to has failed.
    ///
    /// # Errors
    /// The system's. The open file ends before the fragment that failed.
    pub fn append(&mut self, fragment: &Fragment, now: Timestamp) -> io::Result<()> {
        let appended = self.append_once(fragment, now);
        let is_full = appended.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::StorageFull);
        let growing = self.growing.as_ref().and_then(|growing| growing.mp4.as_ref().map(|(_, path)| path));
        if is_full && self.plan.retention.is_some() && retention::remove_oldest(&self.plan.dir, growing) {
            return self.append_once(fragment, now);
        }
        appended
    }

    /// Whether a file is open.
    #[must_use]
    pub fn has_file(&self) -> bool {
        self.growing.is_some()
    }

    /// The files that are open.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let growing = self.growing.iter().flat_map(|growing| [&growing.mp4, &growing.flv]).flatten();
        growing.map(|(_, path)| path.clone()).collect()
    }

    /// The files are complete: an MP4 gets its index.
    pub fn end_file(&mut self) {
        if let Some(growing) = self.growing.take() {
            growing.finish(self.plan.durability);
        }
    }

    fn append_once(&mut self, fragment: &Fragment, now: Timestamp) -> io::Result<()> {
        let Some(zero) = fragment.frames.first().map(|first| first.dts) else { return Ok(()) };
        let heads = match &fragment.begins {
            Some(beginning) => {
                self.apply_retention(now);
                let mut growing = Growing {
                    config: beginning.config.clone(),
                    flv: None,
                    mp4: None,
                    zero,
                    sequence: 0,
                    index: Index::new(Timestamp::UNIX_EPOCH),
                };
                growing.index.tracks = held_tracks(&growing.config);
                self.end_file();
                match self.create(beginning, &mut growing) {
                    Ok(heads) => {
                        self.growing = Some(growing);
                        heads
                    }
                    Err(error) => {
                        growing.remove_empty();
                        return Err(error);
                    }
                }
            }
            None => Heads::default(),
        };
        let durability = self.plan.durability;
        let Some(growing) = &mut self.growing else { return Ok(()) };
        let appended = growing.append(fragment, &heads, durability);
        // A file without its first fragment is of no use: a disk that is full for an hour must not be full of such.
        if appended.is_err()
            && fragment.begins.is_some()
            && let Some(growing) = self.growing.take()
        {
            growing.remove_empty();
        }
        appended
    }

    fn apply_retention(&mut self, now: Timestamp) {
        if let Some(retention) = &self.plan.retention {
            retention.apply(&self.plan.dir, now, self.started.elapsed(), &mut self.trust);
        }
    }

    /// Creates the files of a configuration, and makes what they begin with.
    fn create(&self, beginning: &Beginning, growing: &mut Growing) -> io::Result<Heads> {
        let config = &beginning.config;
        let stem = match &self.plan.stem {
            Stem::FirstFrame => name::stem(beginning.wall),
            Stem::FirstFrameAnd(tail) => format!("{}{tail}", name::stem(beginning.wall)),
        };
        let mut heads = Heads::default();
        if self.plan.formats.flv {
            heads.flv = flv_head(config);
            growing.flv = Some(self.create_file(&stem, name::FLV)?);
        }
        if self.plan.formats.mp4 {
            match mp4_head(config) {
                Ok(head) => {
                    heads.mp4 = head;
                    growing.mp4 = Some(self.create_file(&stem, name::MP4)?);
                }
                // The next configuration may fit again.
                Err(error) => tracing::warn!(%error, "the stream can't be recorded as MP4"),
            }
        }
        Ok(heads)
    }

    /// A file that did not exist: an earlier recording is never touched.
    fn create_file(&self, stem: &str, extension: &str) -> io::Result<(File, PathBuf)> {
        for number in 1..=name::NAMES_MAX {
            let path = self.plan.dir.join(name::file_name(stem, number, extension));
            // Appending, so that a write goes to the end also where half of one was cut off again.
            match private(File::options().append(true).create_new(true)).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(file) => {
                    if self.plan.durability == Durability::EachFragment {
                        // The name must outlive a power cut, too.
                        File::open(&self.plan.dir)?.sync_all()?;
                    }
                    return Ok((file, path));
                }
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

/// What files begin with.
#[derive(Debug, Default)]
struct Heads {
    flv: Bytes,
    mp4: Bytes,
}

fn flv_head(config: &StreamConfig) -> Bytes {
    use sightline_media::TrackId;
    let mut head = BytesMut::from(&flv::file_header(config.has(TrackId::VIDEO), config.has(TrackId::AUDIO))[..]);
    if let Some(metadata) = &config.metadata {
        head.extend_from_slice(&flv::metadata_tag(metadata, MediaTime::ZERO));
    }
    for track in &config.tracks {
        head.extend_from_slice(&flv::track_tag(track, MediaTime::ZERO));
    }
    head.freeze()
}

/// What an MP4 takes of a stream.
fn held_tracks(config: &StreamConfig) -> Vec<Track> {
    config.tracks.iter().filter(|track| sightline_mp4::holds(track.config.codec())).cloned().collect()
}

fn mp4_head(config: &StreamConfig) -> Result<Bytes, sightline_mp4::Error> {
    Ok([sightline_mp4::init_segment(&held_tracks(config))?, sightline_mp4::index_room()].concat().into())
}

/// Pictures of people's homes are for their owner alone.
#[cfg(unix)]
fn private(options: &mut std::fs::OpenOptions) -> &mut std::fs::OpenOptions {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600)
}

#[cfg(not(unix))]
fn private(options: &mut std::fs::OpenOptions) -> &mut std::fs::OpenOptions {
    options
}

/// Waits until all that was written to the file system of `dir` is on its disk: content, lengths and names.
///
/// # Errors
/// The system's.
pub fn sync(dir: &Path) -> io::Result<()> {
    rustix::fs::syncfs(File::open(dir)?)?;
    Ok(())
}

/// Makes a directory for recordings, and those above it, for their owner alone. One that is there stays as it is.
///
/// # Errors
/// The system's.
#[cfg(unix)]
pub fn make_private_dir(dir: &Path) -> io::Result<()> {
    std::os::unix::fs::DirBuilderExt::mode(std::fs::DirBuilder::new().recursive(true), 0o700).create(dir)
}

/// Makes a directory for recordings, and those above it.
///
/// # Errors
/// The system's.
#[cfg(not(unix))]
pub fn make_private_dir(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)
}

/// A file that was removed takes bytes for as long as it is open, and nobody ever sees them.
#[cfg(unix)]
fn is_removed(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::nlink(metadata) == 0
}

#[cfg(not(unix))]
fn is_removed(_: &std::fs::Metadata) -> bool {
    false
}

impl Growing {
    /// Removes what has no content.
    fn remove_empty(self) {
        for (file, path) in self.flv.into_iter().chain(self.mp4) {
            if file.metadata().is_ok_and(|metadata| metadata.len() == 0) {
                let _ = std::fs::remove_file(path);
            }
        }
    }

    fn append(&mut self, fragment: &Fragment, heads: &Heads, durability: Durability) -> io::Result<()> {
        let shifted = |frame: &Frame<Bytes>| Frame { dts: frame.dts - self.zero, pts: frame.pts - self.zero, ..frame.clone() };
        let frames: Vec<Frame<Bytes>> = fragment.frames.iter().map(shifted).collect();
        if let Some((file, _)) = &mut self.flv {
            // By reference: copies of what a hostile publisher sends would be as much again for each thread that writes.
            let tags = frames.iter().flat_map(|frame| flv::frame_parts(frame, self.config.codec_of(frame.track)));
            let parts: Vec<Bytes> = std::iter::once(heads.flv.clone()).chain(tags).collect();
            write_whole(file, &parts, durability)?;
        }
        if let Some((file, _)) = &mut self.mp4 {
            let held: Vec<_> = frames.into_iter().filter(|frame| sightline_mp4::holds(self.config.codec_of(frame.track))).collect();
            self.sequence += 1;
            let ends_at = fragment.ends_at.map(|at| at - self.zero);
            let mut parts = vec![heads.mp4.clone()];
            if !held.is_empty() {
                parts.extend(sightline_mp4::fragment_parts(self.sequence, &held, ends_at).map_err(io::Error::other)?);
            }
            write_whole(file, &parts, durability)?;
            self.index.head_bytes += heads.mp4.len() as u64;
            let begins = self.index.bytes.max(self.index.head_bytes);
            let bytes: usize = parts.iter().skip(1).map(Bytes::len).sum();
            let mut shown = held.iter().filter(|frame| frame.track == self.index.track());
            let first = shown.next().map(|first| (first.dts, first.is_keyframe));
            let last = shown.next_back().map(|last| last.dts);
            if bytes > 0 {
                self.index.add(begins, begins + bytes as u64, first, ends_at.or(last));
            }
        }
        Ok(())
    }

    /// Puts the index of the MP4 into the room that was kept for it. A file without one is whole, too: its fragments are looked at one by one. So a failure here costs nothing but time.
    fn finish(self, durability: Durability) {
        let Some((_, path)) = &self.mp4 else { return };
        let Some(index) = sightline_mp4::segment_index(self.index.track(), &self.index.entries()) else { return };
        if let Err(error) = put_index(path, &index, &self.index, durability) {
            tracing::debug!(file = %path.display(), %error, "a recording is left without an index");
        }
    }
}

/// Writes the index, its name last: a power cut between the two leaves the room as it was. The file must be as long as was written, and have that room: it may be another one by now.
fn put_index(path: &Path, index: &Bytes, of: &Index, durability: Durability) -> io::Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let at = of.head_bytes.saturating_sub(index.len() as u64);
    let mut room = vec![0; index.len()];
    file.read_exact_at(&mut room, at)?;
    if room != sightline_mp4::index_room() || file.metadata()?.len() != of.bytes {
        return Err(io::Error::other("it was changed by another program"));
    }
    let (size, body) = (index.get(..NAMED_AT).unwrap_or_default(), index.get(BOX_HEADER_BYTES..).unwrap_or_default());
    let name = index.get(NAMED_AT..BOX_HEADER_BYTES).unwrap_or_default();
    file.write_all_at(body, at + BOX_HEADER_BYTES as u64)?;
    if durability == Durability::EachFragment {
        file.sync_data()?;
    }
    // Eight bytes in one sector: they are on the disk together.
    file.write_all_at(&[size, name].concat(), at)?;
    if durability == Durability::EachFragment {
        file.sync_data()?;
    }
    Ok(())
}

/// Appends all parts, with as few calls as the system lets: a thousand parts at a time. What fails halfway is cut off again: the file ends with the fragment before.
fn write_whole(file: &mut File, parts: &[Bytes], durability: Durability) -> io::Result<()> {
    let metadata = file.metadata()?;
    if is_removed(&metadata) {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the file was removed while it was written"));
    }
    let length = metadata.len();
    let mut written = write_parts(file, parts);
    if durability == Durability::EachFragment {
        written = written.and_then(|()| file.sync_data());
    }
    if written.is_err() {
        // Best effort: readers leave out half of a fragment, too.
        let _ = file.set_len(length);
    }
    written
}

fn write_parts(file: &mut File, parts: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = parts.iter().filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)).collect();
    let mut left = &mut slices[..];
    while !left.is_empty() {
        match file.write_vectored(left)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => IoSlice::advance_slices(&mut left, written),
        }
    }
    Ok(())
}

fn repair(path: &Path) {
    let complete = segment::complete_bytes(path).and_then(|complete| Ok((complete, path.metadata()?.len())));
    match complete {
        Ok((0, _)) => retention::remove(path, "it holds no complete fragment"),
        Ok((complete, bytes)) if complete < bytes => {
            let cut = File::options().write(true).open(path).and_then(|file| file.set_len(complete).and_then(|()| file.sync_all()));
            tracing::info!(file = %path.display(), bytes, complete, is_cut = cut.is_ok(), "the last recording was cut short");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(file = %path.display(), %error, "a recording can't be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_there_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let writer = Writer::new(Plan {
            dir: dir.path().to_owned(),
            stem: Stem::FirstFrame,
            formats: Formats { flv: true, mp4: false },
            durability: Durability::System,
            retention: None,
        });
        for _ in 0..3 {
            writer.create_file("a", "flv").unwrap();
        }
        let mut names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["a-2.flv", "a-3.flv", "a.flv"]);
    }
}
