//! Recordings: FLV and fragmented MP4, a pair a publish. Whole groups of pictures are appended, so that a crash at any byte leaves
//! everything before it readable. A recording that fails ends alone: the stream goes on.
//!
//! Frames gather beside the stream, by reference; the writer is woken once a fragment, and works on a thread that may wait for the disk.

use crate::ring::StreamConfig;
use bytes::{Bytes, BytesMut};
use sightline_hls::fmp4;
use sightline_media::{Frame, MediaTime, TrackId, WallTime};
use sightline_rtmp::flv;
use std::fs::File;
use std::io::{IoSlice, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

/// Fragments that may wait for the disk: ten seconds. Then frames are lost up to the next key frame.
const QUEUE_FRAGMENTS_MAX: usize = 5;
/// A fragment is cut at a key frame, or after this: what a crash may cost at most.
const FRAGMENT_TICKS_MAX: i64 = 2 * MediaTime::TICKS_PER_SECOND;
/// A fragment is cut before it takes more than this, whatever its length: it is held in memory.
const FRAGMENT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Names tried when a file is there already.
const NAMES_MAX: u32 = 100;

/// What is recorded, and where.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) dir: PathBuf,
    pub(crate) flv: bool,
    pub(crate) fmp4: bool,
}

/// What is appended at a time.
struct Fragment {
    config: Arc<StreamConfig>,
    frames: Vec<Frame<Bytes>>,
    bytes: usize,
}

/// A fragment, and where the next one begins.
type Job = (Fragment, Option<MediaTime>);

/// The stream's end of a recording; dropping it finishes the files.
pub(crate) struct Recorder {
    queue: mpsc::Sender<Job>,
    /// The fragment that grows.
    open: Option<Fragment>,
    /// Frames were lost: nothing more before a key frame.
    awaits_key: bool,
}

impl Recorder {
    /// Begins: files appear with the first fragment.
    pub(crate) fn start(settings: &Settings, device: &str, epoch: u64, began: WallTime, tasks: &TaskTracker) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE_FRAGMENTS_MAX);
        let name = format!("{}-{epoch}", utc(began));
        let writer = Writer { settings: settings.clone(), dir: settings.dir.join(device), name, files: None };
        let blocking = tasks.clone();
        tasks.spawn(writer.run(jobs, blocking));
        Self { queue, open: None, awaits_key: false }
    }

    /// Never waits: a disk that is too slow costs the recording frames, not the stream.
    pub(crate) fn push(&mut self, frame: &Frame<Bytes>, config: &Arc<StreamConfig>) {
        let starts = starts(frame, config);
        if self.awaits_key && !starts {
            return;
        }
        self.awaits_key = false;
        let is_same = self.open.as_ref().is_some_and(|open| open.config.id == config.id);
        // Sound alone is all key frames: there only the length counts.
        let is_cut = (starts && (!is_same || config.has(TrackId::VIDEO))) || self.open.as_ref().is_some_and(|open| open.is_full(frame.dts));
        if is_cut {
            let config = match &self.open {
                Some(open) if !starts => open.config.clone(),
                Some(_) | None => config.clone(),
            };
            self.send(Some(frame.dts));
            if self.awaits_key && !starts {
                return;
            }
            self.awaits_key = false;
            self.open = Some(Fragment { config, frames: Vec::new(), bytes: 0 });
        }
        // Sound that was announced late waits for the next key frame, where it gets files that know it; every file begins with one.
        if let Some(open) = self.open.as_mut().filter(|open| open.config.has(frame.track)) {
            open.bytes += frame.payload.len();
            open.frames.push(frame.clone());
        }
    }

    /// Hands the open fragment over, if there is one.
    fn send(&mut self, ends_at: Option<MediaTime>) {
        let Some(fragment) = self.open.take().filter(|fragment| !fragment.frames.is_empty()) else { return };
        if matches!(self.queue.try_send((fragment, ends_at)), Err(mpsc::error::TrySendError::Full(_))) {
            tracing::warn!("the disk is too slow: the recording loses frames up to the next key frame");
            self.awaits_key = true;
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.send(None);
    }
}

impl Fragment {
    fn is_full(&self, at: MediaTime) -> bool {
        let length_ticks = self.frames.first().map_or(0, |first| (at - first.dts).ticks_90k);
        length_ticks >= FRAGMENT_TICKS_MAX || self.bytes >= FRAGMENT_BYTES_MAX
    }
}

fn starts(frame: &Frame<Bytes>, config: &StreamConfig) -> bool {
    frame.is_keyframe && (frame.track == TrackId::VIDEO || !config.has(TrackId::VIDEO))
}

/// `yyyymmddThhmmss.mmmZ`.
fn utc(time: WallTime) -> String {
    let timestamp = jiff::Timestamp::from_millisecond(time.unix_millis()).unwrap_or_default();
    timestamp.strftime("%Y%m%dT%H%M%S.%3fZ").to_string()
}

struct Writer {
    settings: Settings,
    dir: PathBuf,
    name: String,
    files: Option<Files>,
}

struct Files {
    config: Arc<StreamConfig>,
    flv: Option<File>,
    mp4: Option<File>,
    /// The stream's time of the files' zero.
    zero: MediaTime,
    sequence: u32,
}

impl Writer {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>, tasks: TaskTracker) {
        while let Some((fragment, ends_at)) = jobs.recv().await {
            let work = move || {
                let written = self.append(fragment, ends_at);
                (self, written)
            };
            // The thread ends with the work: it is only lost when it panics, and then the recording is.
            let Ok((writer, written)) = tasks.spawn_blocking(work).await else { return };
            self = writer;
            if let Err(error) = written {
                // Full, read-only, gone: the queue's end closes with this task, and the stream goes on without.
                tracing::warn!(dir = %self.dir.display(), name = %self.name, %error, "the recording ends here");
                return;
            }
        }
    }

    /// Appends a fragment, to each file with one write.
    fn append(&mut self, fragment: Fragment, ends_at: Option<MediaTime>) -> std::io::Result<()> {
        let Some(zero) = fragment.frames.first().map(|first| first.dts) else { return Ok(()) };
        if self.files.as_ref().is_none_or(|files| files.config.id != fragment.config.id) {
            self.files = Some(self.open(&fragment.config, zero)?);
        }
        let Some(files) = &mut self.files else { return Ok(()) };
        let zero = files.zero;
        let frames: Vec<Frame<Bytes>> =
            fragment.frames.into_iter().map(|frame| Frame { dts: frame.dts - zero, pts: frame.pts - zero, ..frame }).collect();
        if let Some(file) = &mut files.flv {
            let tags: Vec<Bytes> = frames.iter().map(|frame| flv::frame_tag(frame, files.config.codec_of(frame.track))).collect();
            write_all(file, &tags)?;
        }
        if let Some(file) = &mut files.mp4 {
            files.sequence += 1;
            let held: Vec<_> = frames.into_iter().filter(|frame| fmp4::holds(files.config.codec_of(frame.track))).collect();
            if !held.is_empty() {
                let fragment = fmp4::fragment(files.sequence, &held, ends_at.map(|at| at - zero)).map_err(std::io::Error::other)?;
                file.write_all(&fragment)?;
            }
        }
        Ok(())
    }

    /// Creates the files of a configuration: another one begins others, for MP4 can't change it inside.
    fn open(&self, config: &Arc<StreamConfig>, zero: MediaTime) -> std::io::Result<Files> {
        std::fs::create_dir_all(&self.dir)?;
        let mut files = Files { config: config.clone(), flv: None, mp4: None, zero, sequence: 0 };
        if self.settings.flv {
            let mut file = create(&self.dir, &self.name, "flv")?;
            let mut head = BytesMut::from(&flv::file_header(config.has(TrackId::VIDEO), config.has(TrackId::AUDIO))[..]);
            if let Some(values) = &config.metadata {
                head.extend_from_slice(&flv::metadata_tag(values, MediaTime::ZERO));
            }
            for track in &config.tracks {
                head.extend_from_slice(&flv::track_tag(track, MediaTime::ZERO));
            }
            file.write_all(&head)?;
            files.flv = Some(file);
        }
        if self.settings.fmp4 {
            let tracks: Vec<_> = config.tracks.iter().filter(|track| fmp4::holds(track.config.codec())).cloned().collect();
            match fmp4::init_segment(&tracks) {
                Ok(init) => {
                    let mut file = create(&self.dir, &self.name, "mp4")?;
                    file.write_all(&init)?;
                    files.mp4 = Some(file);
                }
                Err(error) => tracing::warn!(%error, "the stream can't be recorded as MP4"),
            }
        }
        Ok(files)
    }
}

/// Writes all parts, with one call as a rule.
fn write_all(file: &mut File, parts: &[Bytes]) -> std::io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut left = &mut slices[..];
    while !left.is_empty() {
        match file.write_vectored(left)? {
            0 => return Err(std::io::ErrorKind::WriteZero.into()),
            written => IoSlice::advance_slices(&mut left, written),
        }
    }
    Ok(())
}

/// A file that was not there before: an earlier recording is never touched.
fn create(dir: &Path, name: &str, extension: &str) -> std::io::Result<File> {
    for number in 1..=NAMES_MAX {
        let path = if number == 1 { dir.join(format!("{name}.{extension}")) } else { dir.join(format!("{name}-{number}.{extension}")) };
        match File::options().write(true).create_new(true).open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            opened => return opened,
        }
    }
    Err(std::io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_time() {
        assert_eq!(utc(WallTime::from_unix_micros(1_760_000_000_123_456)), "20251009T085320.123Z");
    }

    #[test]
    fn a_file_that_is_there_is_left() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..3 {
            create(dir.path(), "a", "flv").unwrap();
        }
        let mut names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["a-2.flv", "a-3.flv", "a.flv"]);
    }
}
