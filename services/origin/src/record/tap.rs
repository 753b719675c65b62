//! Recording a publish: FLV and fragmented MP4, a pair of files for each configuration. A file that can't be written ends alone: the stream
//! goes on, and another file is tried at a later key frame, for as long as the publish lasts.
//!
//! Frames gather beside the stream, by reference; the writer is woken once a fragment, and works on a thread that may wait for the disk.

use crate::auth::grant::Grant;
use crate::callbacks::Callbacks;
use crate::clock::Clock;
use crate::copy::state::{CopyState, OpenFiles};
use crate::live::incidents::Incidents;
use crate::live::packet::Packet;
use crate::live::tap::{Next, Tap};
use crate::record::health::{RecordingCounts, RecordingHealth};
use crate::record::names::RecordedNames;
use crate::record::room::{Place, Room, Rooms};
use crate::record::syncing::Written;
use jiff::Timestamp;
use sightline_archive::{Durability, Formats, Plan, Stem, Writer};
use sightline_listen::Rarely;
use sightline_media::{Instant, MediaTime};
use sightline_recording::{AfterLoss, Cutter, Fragment, KeyFrames, Piece, Rules};
use sightline_signal::report::OriginIncident;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

/// Fragments of a recording that may wait for the disk: ten seconds of six key frames a second, each of which begins one. How many bytes may wait is the
/// device's ([`Room`]). Then frames are lost up to the next key frame.
const PIECES_WAITING_MAX: usize = 64;
/// A fragment is cut at a key frame, or after this: what a crash may cost at most.
const FRAGMENT_LENGTH_MAX: MediaTime = MediaTime::from_millis(2_000);
/// A fragment is cut before it takes more than this, whatever its length: two seconds at 16 Mbit/s. It is held in memory, as is what is made of it for
/// each file.
const FRAGMENT_BYTES_MAX: usize = 4 << 20;

/// Files end at the next key frame after this: a file's index is read whole, and what is removed goes a file at a time.
const FILE_LENGTH_MAX: MediaTime = MediaTime::from_millis(5 * 60_000);

const RULES: Rules = Rules {
    fragment_length_max: FRAGMENT_LENGTH_MAX,
    fragment_bytes_max: FRAGMENT_BYTES_MAX,
    file_length_max: Some(FILE_LENGTH_MAX),
    gap_max: None,
    key_frames: KeyFrames::Each,
    needs_video: false,
    after_loss: AfterLoss::SameFile,
};

/// What is recorded, and where.
#[derive(Clone)]
pub(crate) struct Recordings {
    pub(crate) clock: Clock,
    pub(crate) dir: PathBuf,
    pub(crate) names: Arc<RecordedNames>,
    pub(crate) formats: Formats,
    pub(crate) counts: Arc<RecordingCounts>,
    pub(crate) incidents: Arc<Incidents>,
    pub(crate) callbacks: Arc<Callbacks>,
    pub(crate) rooms: Arc<Rooms>,
    /// `None`: nothing is copied.
    pub(crate) copies: Option<Arc<CopyState>>,
    /// `None`: the system writes when it likes.
    pub(crate) written: Option<Written>,
    pub(crate) tasks: TaskTracker,
}

/// A piece, and its place until it is written; the end of a file needs none.
struct Waiting {
    piece: Piece,
    place: Option<Place>,
}

/// The stream's end of a recording; dropping it finishes the files.
pub(crate) struct RecordingTap {
    cutter: Cutter,
    queue: mpsc::Sender<Waiting>,
    room: Arc<Room>,
    health: Arc<RecordingHealth>,
    counts: Arc<RecordingCounts>,
    /// After a failure: nothing is cut before its time has come.
    is_waiting: bool,
}

impl Recordings {
    /// Begins a recording: its files appear with the first fragment.
    pub(crate) fn begin(&self, grant: &Grant) -> (RecordingTap, Arc<RecordingHealth>) {
        let (queue, pieces) = mpsc::channel(PIECES_WAITING_MAX);
        let health = Arc::new(RecordingHealth::new(self.counts.clone()));
        let writing = Writing { recordings: self.clone(), grant: grant.clone(), health: health.clone() };
        self.tasks.spawn(writing.run(pieces));
        let (names, device, stream) = (self.names.clone(), grant.device.clone(), grant.stream.clone());
        self.tasks.spawn_blocking(move || names.keep(&device, &stream));
        let tap = RecordingTap {
            cutter: Cutter::new(RULES),
            queue,
            room: self.rooms.of(&grant.device),
            health: health.clone(),
            counts: self.counts.clone(),
            is_waiting: false,
        };
        (tap, health)
    }
}

impl RecordingTap {
    /// Never waits: a disk that is too slow costs the recording frames, not the stream.
    fn hand_over(&mut self) {
        while let Some(piece) = self.cutter.poll_piece() {
            if let Some(lost) = self.put(piece) {
                self.counts.lose_fragment();
                TOO_SLOW.write(|others| {
                    tracing::warn!(others, "the disk is too slow: a recording loses frames up to the next key frame");
                });
                self.cutter.lose(lost);
            }
        }
    }

    /// Gives the fragment back that there is no room for.
    fn put(&self, piece: Piece) -> Option<Fragment> {
        let place = match piece {
            Piece::Append(ref fragment) => self.room.take(fragment.cost_bytes()),
            Piece::EndFile => None,
        };
        match (piece, &place) {
            (Piece::Append(fragment), None) => Some(fragment),
            (piece, _) => match self.queue.try_send(Waiting { piece, place }) {
                Err(mpsc::error::TrySendError::Full(Waiting { piece: Piece::Append(lost), .. })) => Some(lost),
                Ok(()) | Err(_) => None,
            },
        }
    }
}

/// A slow disk costs fragments of all streams, every few seconds.
static TOO_SLOW: Rarely = Rarely::new();

impl Tap for RecordingTap {
    fn handle_packet(&mut self, packet: &Arc<Packet>, now: Instant) -> Next {
        if self.health.take_failure() {
            self.cutter.end_file();
            self.hand_over();
            self.is_waiting = true;
        }
        if self.is_waiting && now < self.health.retry_at() {
            return Next::Stay;
        }
        self.is_waiting = false;
        self.cutter.handle_frame(&packet.frame, &packet.config, packet.captured.at);
        self.hand_over();
        Next::Stay
    }
}

impl Drop for RecordingTap {
    fn drop(&mut self) {
        self.cutter.end_file();
        self.hand_over();
    }
}

/// The end of a recording that writes.
struct Writing {
    recordings: Recordings,
    grant: Grant,
    health: Arc<RecordingHealth>,
}

impl Writing {
    /// Writes until the tap is dropped. Each piece has a turn on a thread that may wait for the disk.
    async fn run(self, mut pieces: mpsc::Receiver<Waiting>) {
        let mut writer = self.writer();
        let mut files = OpenFiles::new(self.recordings.copies.clone());
        while let Some(Waiting { piece, place }) = pieces.recv().await {
            let dir = self.dir();
            let (callbacks, stream) = (self.recordings.callbacks.clone(), self.grant.stream.clone());
            let work = move || {
                let before = writer.files();
                let written = handle(&mut writer, piece, &dir);
                drop(place);
                // Those that are open no more are complete.
                let open = writer.files();
                before.iter().filter(|file| !open.contains(file)).for_each(|file| callbacks.recorded(&stream, file));
                files.turn(open);
                (writer, files, written)
            };
            let written = match self.recordings.tasks.spawn_blocking(work).await {
                Ok((returned, open, written)) => {
                    (writer, files) = (returned, open);
                    written
                }
                Err(error) if error.is_cancelled() => return,
                Err(_) => {
                    (writer, files) = (self.writer(), OpenFiles::new(self.recordings.copies.clone()));
                    Err(io::Error::other("the writer ended by a bug; please report it"))
                }
            };
            match written {
                Ok(is_written) => {
                    self.recordings.written.iter().for_each(|written| written.notify_one());
                    if is_written && self.health.succeed() {
                        tracing::info!(dir = %self.dir().display(), "recording again");
                        self.tell("recording_resumed", String::new());
                    }
                }
                Err(error) => {
                    // The next file has a name of its own, whatever is left of this one.
                    writer = self.writer();
                    self.failed(&error);
                }
            }
        }
    }

    fn failed(&self, error: &io::Error) {
        if self.health.fail(self.recordings.clock.now()) {
            let dir = self.dir();
            FAILED.write(|others| {
                tracing::error!(dir = %dir.display(), %error, others, "nothing is recorded; it is tried again at later key frames");
            });
            self.tell("recording_failed", error.to_string());
        }
    }

    fn tell(&self, kind: &str, reason: String) {
        let (stream, device) = (self.grant.stream.clone(), self.grant.device.clone());
        self.recordings.incidents.push(OriginIncident { kind: kind.to_owned(), stream, device, reason, ..OriginIncident::default() });
    }

    fn dir(&self) -> PathBuf {
        self.recordings.dir.join(&self.grant.device)
    }

    fn writer(&self) -> Writer {
        Writer::new(Plan {
            dir: self.dir(),
            stem: Stem::FirstFrameAnd(format!("-{}", self.grant.epoch.unwrap_or(0))),
            formats: self.recordings.formats,
            durability: Durability::System,
            retention: None,
        })
    }
}

/// A full disk fails all recordings at once.
static FAILED: Rarely = Rarely::new();

/// True when a fragment was written: one of a file that has failed is passed over.
fn handle(writer: &mut Writer, piece: Piece, dir: &Path) -> io::Result<bool> {
    match piece {
        Piece::Append(fragment) => {
            if fragment.begins.is_some() {
                sightline_archive::make_private_dir(dir)?;
            }
            writer.append(&fragment, Timestamp::now())?;
            Ok(writer.has_file())
        }
        Piece::EndFile => {
            writer.end_file();
            Ok(false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use sightline_media::{Frame, StreamConfig, Track, TrackConfig, TrackId, aac::AudioConfig};
    use tokio_util::sync::CancellationToken;

    /// What attacks.md allows a device in all, less the ring's 32 MiB.
    const HELD_BYTES_MAX: usize = 32 << 20;

    fn recordings(dir: &Path) -> Recordings {
        let (clock, tasks) = (Clock::start(), TaskTracker::new());
        let settings = crate::config::Config::default().callbacks;
        Recordings {
            clock,
            dir: dir.to_owned(),
            names: Arc::new(RecordedNames::new(dir)),
            formats: Formats { flv: true, mp4: true },
            counts: Arc::default(),
            incidents: Arc::default(),
            callbacks: Callbacks::new(&settings, dir, clock, &tasks, &CancellationToken::new()),
            rooms: Arc::default(),
            copies: None,
            written: None,
            tasks,
        }
    }

    fn config() -> Arc<StreamConfig> {
        let track = Track { id: TrackId::VIDEO, config: TrackConfig::Aac(AudioConfig::parse(&[0x12, 0x10]).unwrap()) };
        Arc::new(StreamConfig { id: 1, tracks: vec![track], metadata: None })
    }

    fn packet(payload: &Bytes, millis: i64, config: &Arc<StreamConfig>) -> Arc<Packet> {
        let dts = MediaTime::from_millis(millis);
        let frame = Frame { track: TrackId::VIDEO, dts, pts: dts, is_keyframe: true, is_disposable: false, payload: payload.clone() };
        Arc::new(Packet::new(frame, config.clone()))
    }

    /// One thread, which does not come to the writers while this does not wait: a disk that stands still.
    #[tokio::test]
    async fn a_device_whose_recordings_wait_for_the_disk_holds_no_more_than_its_room_however_many_streams_it_has_and_begins() {
        let dir = tempfile::tempdir().unwrap();
        let (recordings, config) = (recordings(dir.path()), config());
        let mut sent = Vec::new();
        let mut taps = Vec::new();
        for stream in 0..4 {
            let mut grant = Grant::unsigned(&format!("s{stream}"));
            grant.device = "cam-1".to_owned();
            let (mut tap, _health) = recordings.begin(&grant);
            for number in 0..40 {
                let payload = Bytes::from(vec![0; 3 << 20]);
                tap.handle_packet(&packet(&payload, number * 500, &config), Instant::ZERO);
                sent.push(payload);
            }
            // Every second one is over: what it has not written waits still.
            taps.extend((stream % 2 == 0).then_some(tap));
        }
        // Lent to no one else: let go.
        let held: usize = sent.iter_mut().filter_map(|payload| (!payload.is_unique()).then_some(payload.len())).sum();
        assert!(held <= HELD_BYTES_MAX, "{} MiB of 480 are held", held >> 20);
        assert!(recordings.counts.lost() > 100, "what has no room is counted");
    }

    #[tokio::test]
    async fn a_picture_that_is_larger_than_the_room_is_recorded_and_so_is_what_comes_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let (recordings, config) = (recordings(dir.path()), config());
        let (mut tap, _health) = recordings.begin(&Grant::unsigned("s1"));
        for number in 0..3 {
            tap.handle_packet(&packet(&Bytes::from(vec![0; 20 << 20]), number * 500, &config), Instant::ZERO);
            // The one before is cut off by this one, and written before the next.
            while tap.room.take(usize::MAX).is_none() {
                tokio::task::yield_now().await;
            }
        }
        drop(tap);
        recordings.tasks.close();
        recordings.tasks.wait().await;
        assert_eq!(recordings.counts.lost(), 0);
        let files = std::fs::read_dir(dir.path().join("s1")).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
        assert!(files.into_iter().all(|bytes| bytes > 60 << 20), "three pictures in each file");
    }
}
