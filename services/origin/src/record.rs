//! Recordings: FLV and fragmented MP4, a pair a publish. Whole groups of pictures are appended, so that a crash at any byte leaves
//! everything before it readable. A recording that fails ends alone: the stream goes on.

use crate::ring::StreamConfig;
use bytes::{Bytes, BytesMut};
use sightline_hls::fmp4;
use sightline_media::{Frame, MediaTime, TrackId, WallTime};
use sightline_rtmp::flv;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

/// Frames that may wait for the disk: ten seconds of a camera with sound. Then frames are lost up to the next key frame.
const QUEUE_FRAMES_MAX: usize = 1024;
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

type Job = (Frame<Bytes>, Arc<StreamConfig>);

/// The stream's end of a recording; dropping it finishes the files.
pub(crate) struct Recorder {
    queue: mpsc::Sender<Job>,
    /// Frames were lost: nothing more before a key frame.
    awaits_key: bool,
}

impl Recorder {
    /// Begins: files appear with the first frames.
    pub(crate) fn start(settings: &Settings, device: &str, epoch: u64, began: WallTime, tasks: &TaskTracker) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE_FRAMES_MAX);
        let name = format!("{}-{epoch}", utc(began));
        let writer = Writer { settings: settings.clone(), dir: settings.dir.join(device), name, files: None, frames: Vec::new(), bytes: 0 };
        tasks.spawn(writer.run(jobs));
        Self { queue, awaits_key: false }
    }

    /// Never waits: a disk that is too slow costs the recording frames, not the stream.
    pub(crate) fn push(&mut self, frame: &Frame<Bytes>, config: &Arc<StreamConfig>) {
        if self.awaits_key && !starts(frame, config) {
            return;
        }
        let sent = self.queue.try_send((frame.clone(), config.clone()));
        let is_full = matches!(sent, Err(mpsc::error::TrySendError::Full(_)));
        if is_full && !self.awaits_key {
            tracing::warn!("the disk is too slow: the recording loses frames up to the next key frame");
        }
        self.awaits_key = is_full;
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
    /// The fragment that grows.
    frames: Vec<Frame<Bytes>>,
    bytes: usize,
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
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some((frame, config)) = jobs.recv().await {
            if let Err(error) = self.push(frame, &config).await {
                // Full, read-only, gone: the queue's end closes with this task, and the stream goes on without.
                tracing::warn!(dir = %self.dir.display(), name = %self.name, %error, "the recording ends here");
                return;
            }
        }
        if let Err(error) = self.flush(None).await {
            tracing::warn!(dir = %self.dir.display(), name = %self.name, %error, "the recording's last fragment is lost");
        }
    }

    async fn push(&mut self, frame: Frame<Bytes>, config: &Arc<StreamConfig>) -> std::io::Result<()> {
        let is_same = self.files.as_ref().is_some_and(|files| files.config.id == config.id);
        if !is_same && starts(&frame, config) {
            self.flush(Some(frame.dts)).await?;
            self.files = Some(self.open(config, frame.dts).await?);
        }
        // Sound that was announced late waits for the next key frame, where it gets files that know it; every file begins with one.
        if self.files.as_ref().is_none_or(|files| !files.config.has(frame.track)) {
            return Ok(());
        }
        let length = self.frames.first().map_or(0, |first| (frame.dts - first.dts).ticks_90k);
        let is_full = length >= FRAGMENT_TICKS_MAX || self.bytes >= FRAGMENT_BYTES_MAX;
        // Sound alone is all key frames: there only the length counts.
        if is_full || (starts(&frame, config) && config.has(TrackId::VIDEO)) {
            self.flush(Some(frame.dts)).await?;
        }
        self.bytes += frame.payload.len();
        self.frames.push(frame);
        Ok(())
    }

    /// Creates the files of a configuration: another one begins others, for MP4 can't change it inside.
    async fn open(&self, config: &Arc<StreamConfig>, zero: MediaTime) -> std::io::Result<Files> {
        tokio::fs::create_dir_all(&self.dir).await?;
        let mut files = Files { config: config.clone(), flv: None, mp4: None, zero, sequence: 0 };
        if self.settings.flv {
            let mut file = create(&self.dir, &self.name, "flv").await?;
            let mut head = BytesMut::from(&flv::file_header(config.has(TrackId::VIDEO), config.has(TrackId::AUDIO))[..]);
            if let Some(values) = &config.metadata {
                head.extend_from_slice(&flv::metadata_tag(values, MediaTime::ZERO));
            }
            for track in &config.tracks {
                head.extend_from_slice(&flv::track_tag(track, MediaTime::ZERO));
            }
            file.write_all(&head).await?;
            files.flv = Some(file);
        }
        if self.settings.fmp4 {
            let tracks: Vec<_> = config.tracks.iter().filter(|track| fmp4::holds(track.config.codec())).cloned().collect();
            match fmp4::init_segment(&tracks) {
                Ok(init) => {
                    let mut file = create(&self.dir, &self.name, "mp4").await?;
                    file.write_all(&init).await?;
                    files.mp4 = Some(file);
                }
                Err(error) => tracing::warn!(%error, "the stream can't be recorded as MP4"),
            }
        }
        Ok(files)
    }

    /// Appends the fragment that has grown, each file with one write.
    async fn flush(&mut self, ends_at: Option<MediaTime>) -> std::io::Result<()> {
        let frames = std::mem::take(&mut self.frames);
        self.bytes = 0;
        let Some(files) = self.files.as_mut().filter(|_| !frames.is_empty()) else { return Ok(()) };
        let zero = files.zero;
        let frames: Vec<Frame<Bytes>> =
            frames.into_iter().map(|frame| Frame { dts: frame.dts - zero, pts: frame.pts - zero, ..frame }).collect();
        if let Some(file) = &mut files.flv {
            let mut out = BytesMut::new();
            for frame in &frames {
                out.extend_from_slice(&flv::frame_tag(frame, files.config.codec_of(frame.track)));
            }
            file.write_all(&out).await?;
            file.flush().await?;
        }
        if let Some(file) = &mut files.mp4 {
            files.sequence += 1;
            let held: Vec<_> = frames.into_iter().filter(|frame| fmp4::holds(files.config.codec_of(frame.track))).collect();
            if !held.is_empty() {
                let fragment = fmp4::fragment(files.sequence, &held, ends_at.map(|at| at - zero)).map_err(std::io::Error::other)?;
                file.write_all(&fragment).await?;
                file.flush().await?;
            }
        }
        Ok(())
    }
}

/// A file that was not there before: an earlier recording is never touched.
async fn create(dir: &Path, name: &str, extension: &str) -> std::io::Result<File> {
    for number in 1..=NAMES_MAX {
        let path = if number == 1 { dir.join(format!("{name}.{extension}")) } else { dir.join(format!("{name}-{number}.{extension}")) };
        match File::options().write(true).create_new(true).open(&path).await {
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

    #[tokio::test]
    async fn a_file_that_is_there_is_left() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..3 {
            create(dir.path(), "a", "flv").await.unwrap();
        }
        let mut names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["a-2.flv", "a-3.flv", "a.flv"]);
    }
}
