//! Recording a publish: FLV and fragmented MP4, a pair of files for each configuration. A recording that fails ends alone: the stream
//! goes on.
//!
//! Frames gather beside the stream, by reference; the writer is woken once a fragment, and works on a thread that may wait for the disk.

use crate::auth::grant::Grant;
use crate::live::packet::Packet;
use crate::live::tap::{Next, Tap};
use jiff::Timestamp;
use sightline_archive::{Durability, Formats, Plan, Stem, Writer};
use sightline_media::{Instant, MediaTime, WallTime};
use sightline_recording::{AfterLoss, Cutter, KeyFrames, Piece, Rules, name};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

/// Fragments that may wait for the disk: ten seconds. Then frames are lost up to the next key frame.
const PIECES_WAITING_MAX: usize = 5;
/// A fragment is cut at a key frame, or after this: what a crash may cost at most.
const FRAGMENT_LENGTH_MAX: MediaTime = MediaTime::from_millis(2_000);
/// A fragment is cut before it takes more than this, whatever its length: it is held in memory.
const FRAGMENT_BYTES_MAX: usize = 16 * 1024 * 1024;

const RULES: Rules = Rules {
    fragment_length_max: FRAGMENT_LENGTH_MAX,
    fragment_bytes_max: FRAGMENT_BYTES_MAX,
    file_length_max: None,
    gap_max: None,
    key_frames: KeyFrames::Each,
    needs_video: false,
    after_loss: AfterLoss::SameFile,
};

/// What is recorded, and where.
#[derive(Clone, Debug)]
pub(crate) struct Recordings {
    pub(crate) dir: PathBuf,
    pub(crate) formats: Formats,
    pub(crate) tasks: TaskTracker,
}

/// The stream's end of a recording; dropping it finishes the files.
pub(crate) struct RecordingTap {
    cutter: Cutter,
    queue: mpsc::Sender<Piece>,
    /// When the publish began.
    began: WallTime,
}

impl Recordings {
    /// Begins a recording: its files appear with the first fragment.
    pub(crate) fn begin(&self, grant: &Grant, began: WallTime) -> RecordingTap {
        let (queue, pieces) = mpsc::channel(PIECES_WAITING_MAX);
        let plan = Plan {
            dir: self.dir.join(&grant.device),
            stem: Stem::Fixed(format!("{}-{}", name::stem(began), grant.epoch.unwrap_or(0))),
            formats: self.formats,
            durability: Durability::System,
            retention: None,
        };
        self.tasks.spawn(write(plan, pieces, self.tasks.clone()));
        RecordingTap { cutter: Cutter::new(RULES), queue, began }
    }
}

impl RecordingTap {
    /// Never waits: a disk that is too slow costs the recording frames, not the stream.
    fn hand_over(&mut self) {
        while let Some(piece) = self.cutter.poll_piece() {
            if let Err(mpsc::error::TrySendError::Full(Piece::Append(lost))) = self.queue.try_send(piece) {
                tracing::warn!("the disk is too slow: the recording loses frames up to the next key frame");
                self.cutter.lose(lost);
            }
        }
    }
}

impl Tap for RecordingTap {
    fn handle_packet(&mut self, packet: &Arc<Packet>, _now: Instant) -> Next {
        self.cutter.handle_frame(&packet.frame, &packet.config, self.began);
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

/// Writes until the tap is dropped. Each piece has a turn on a thread that may wait for the disk.
async fn write(plan: Plan, mut pieces: mpsc::Receiver<Piece>, tasks: TaskTracker) {
    let (dir, stem) = (plan.dir.clone(), plan.stem.clone());
    let mut writer = Writer::new(plan);
    while let Some(piece) = pieces.recv().await {
        let dir_to_make = dir.clone();
        let work = move || {
            let written = handle(&mut writer, piece, &dir_to_make);
            (writer, written)
        };
        // The writer is lost only when it panics, and then the recording is.
        let Ok((returned, written)) = tasks.spawn_blocking(work).await else { return };
        writer = returned;
        if let Err(error) = written {
            // Full, read-only, gone: the queue closes with this task, and the stream goes on without.
            tracing::warn!(dir = %dir.display(), ?stem, %error, "the recording ends here");
            return;
        }
    }
}

fn handle(writer: &mut Writer, piece: Piece, dir: &std::path::Path) -> io::Result<()> {
    match piece {
        Piece::Append(fragment) => {
            if fragment.begins.is_some() {
                std::fs::create_dir_all(dir)?;
            }
            writer.append(&fragment, Timestamp::now())
        }
        Piece::EndFile => {
            writer.end_file();
            Ok(())
        }
    }
}
