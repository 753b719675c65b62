//! Decoded pictures for programs that look at them. A stream is decoded once however many read: a decoder is there while there are readers
//! ([`run`]), and the last picture stands where all of them see it. A reader that is slow finds a newer one when it comes again.

mod decoding;
pub(super) mod http;
mod pace;
mod shown;

use super::Play;
use crate::live::ring::Cursor;
use crate::live::stream::Stream;
use decoding::Decoding;
use pace::Pace;
use shown::Shown;
use sightline_media::{Codec, TrackId};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

/// Bytes taken from the ring at a time: a second of a camera. Between two the decoder's thread is free for others.
const BATCH_BYTES: usize = 256 * 1024;

/// What decodes for analysis, all streams together.
#[derive(Debug)]
pub(crate) struct Decoders {
    places: Arc<Semaphore>,
    places_max: usize,
    readers_per_stream: usize,
    pictures: AtomicU64,
}

impl Decoders {
    pub(crate) fn new(places_max: usize, readers_per_stream: usize) -> Self {
        let places_max = places_max.min(Semaphore::MAX_PERMITS);
        Self { places: Arc::new(Semaphore::new(places_max)), places_max, readers_per_stream, pictures: AtomicU64::new(0) }
    }

    /// How many run.
    pub(crate) fn running(&self) -> u64 {
        self.places_max.saturating_sub(self.places.available_permits()) as u64
    }

    /// Pictures that were decoded since the start.
    pub(crate) fn pictures(&self) -> u64 {
        self.pictures.load(Ordering::Relaxed)
    }
}

/// Why there are no pictures. The text goes to the reader.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum FramesError {
    #[error("this stream has {0} readers of frames, as many as it may: set limits.frame_readers_per_stream")]
    Readers(usize),
    #[error("{0} streams are decoded for readers of frames, as many as may be: set limits.frame_decoders")]
    Decoders(usize),
    #[error(
        "frames are decoded of H.264 only: OpenH264 reads nothing else. Set the camera's codec to H.264, or decode /live/{{playback}}.flv"
    )]
    Codec,
    #[error("the stream has sound alone")]
    NoPictures,
}

/// A stream's readers, and its decoder while there are any.
#[derive(Default)]
struct Readers(Mutex<State>);

#[derive(Default)]
struct State {
    next_reader: u64,
    /// Of each reader, the time between two pictures in microseconds; 0: every picture.
    intervals: Vec<(u64, i64)>,
    running: Option<Running>,
    /// Pictures that were decoded: their numbers go on over decoders.
    number: u64,
}

struct Running {
    latest: watch::Receiver<Option<Arc<Shown>>>,
    stop: CancellationToken,
    /// It goes with the last reader, and not when the decoder has seen that: whoever comes back at once has a place.
    _place: OwnedSemaphorePermit,
}

impl Readers {
    /// Never held across an await.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the most demanding reader wants, in microseconds.
    fn interval_micros(&self) -> i64 {
        self.state().intervals.iter().map(|(_, interval)| *interval).min().unwrap_or_default()
    }
}

/// Someone who reads; dropping the last one of a stream ends its decoder.
pub(super) struct Reader {
    readers: Arc<Readers>,
    number: u64,
    latest: watch::Receiver<Option<Arc<Shown>>>,
    pace: Pace,
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.readers.state();
        state.intervals.retain(|(number, _)| *number != self.number);
        if state.intervals.is_empty()
            && let Some(running) = state.running.take()
        {
            running.stop.cancel();
        }
    }
}

impl Reader {
    /// Joins the readers of a stream; the first one starts the decoder.
    pub(super) fn join(play: &Arc<Play>, stream: &Arc<Stream>, interval_micros: i64) -> Result<Self, FramesError> {
        if let Some(packet) = stream.last_key_frame() {
            if packet.frame.track != TrackId::VIDEO {
                return Err(FramesError::NoPictures);
            }
            if packet.config.codec_of(TrackId::VIDEO) != Codec::H264 {
                return Err(FramesError::Codec);
            }
        }
        let readers = stream.extensions.get_or_make(Readers::default);
        let mut state = readers.state();
        if state.intervals.len() >= play.decoders.readers_per_stream {
            return Err(FramesError::Readers(play.decoders.readers_per_stream));
        }
        // A decoder that has ended by itself has let its picture go.
        let running = state.running.take().filter(|running| running.latest.has_changed().is_ok());
        let running = match running {
            Some(running) => running,
            None => {
                let place = play.decoders.places.clone().try_acquire_owned();
                let place = place.map_err(|_| FramesError::Decoders(play.decoders.places_max))?;
                let (to, latest) = watch::channel(None);
                let stop = CancellationToken::new();
                play.tasks.spawn(run(play.clone(), stream.clone(), readers.clone(), to, stop.clone()));
                Running { latest, stop, _place: place }
            }
        };
        let (number, mut latest) = (state.next_reader, running.latest.clone());
        // The picture that is there is one that it has not seen.
        latest.mark_changed();
        state.next_reader += 1;
        state.intervals.push((number, interval_micros));
        state.running = Some(running);
        drop(state);
        Ok(Self { readers, number, latest, pace: Pace::default() })
    }

    /// The next picture that is due; `None` when there will be none.
    pub(super) async fn next(&mut self, interval_micros: i64) -> Option<Arc<Shown>> {
        loop {
            self.latest.changed().await.ok()?;
            let shown = self.latest.borrow_and_update().clone();
            if let Some(shown) = shown.filter(|shown| self.pace.is_due(shown.at_micros, interval_micros)) {
                return Some(shown);
            }
        }
    }
}

/// Decodes a stream until nobody reads it or it is over.
async fn run(play: Arc<Play>, stream: Arc<Stream>, readers: Arc<Readers>, to: watch::Sender<Option<Arc<Shown>>>, stop: CancellationToken) {
    let (mut head, _held, mut cursor) = (stream.watch(), stream.hold(), Cursor::default());
    let mut decoding = Decoding::new(readers.state().number);
    loop {
        head.borrow_and_update();
        let mut packets = Vec::new();
        let has_skipped = stream.take(&mut cursor, &mut packets, BATCH_BYTES);
        if packets.is_empty() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = stream.ended.cancelled() => return,
                changed = head.changed() => if changed.is_err() { return },
            }
            continue;
        }
        let (to, ended, readers, of) = (to.clone(), stop.clone(), readers.clone(), play.decoders.clone());
        let decoded = play.tasks.spawn_blocking(move || {
            if has_skipped {
                decoding.skip();
            }
            let interval_micros = readers.interval_micros();
            for packet in packets.iter().filter(|packet| packet.frame.track == TrackId::VIDEO) {
                if ended.is_cancelled() {
                    break;
                }
                decoding.decode(packet, interval_micros, &mut |shown| {
                    to.send_replace(Some(Arc::new(shown)));
                });
            }
            of.pictures.fetch_add(decoding.take_count(), Ordering::Relaxed);
            let mut state = readers.state();
            state.number = state.number.max(decoding.number());
            drop(state);
            decoding
        });
        let Ok(after) = decoded.await else { return };
        if stop.is_cancelled() || after.has_failed() {
            return;
        }
        decoding = after;
    }
}
