//! One stream: its publisher, its last frames, its playlist and its viewers. Outlives its publishers.

use crate::fanout::Fanout;
use crate::hls::Hls;
use crate::record::Recorder;
use crate::ring::{Cursor, Limits, Packet, Ring, StreamConfig, Wire};
use crate::timeline::Timeline;
use bytes::Bytes;
use sightline_media::{Frame, Instant, Track, TrackId};
use sightline_signal::report::OriginStream;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Rates are counted over windows of this length: a report's interval.
const RATE_WINDOW: Duration = Duration::from_secs(sightline_signal::report::REPORT_INTERVAL_SEC);

/// The frame's publisher is not the stream's any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Superseded;

/// What there is of a stream's playlist.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Playlist {
    Ready(String),
    /// Its first segment is being made.
    Coming,
    /// No one publishes.
    None,
}

/// One stream.
pub(crate) struct Stream {
    pub(crate) name: String,
    pub(crate) playback: String,
    chunk_size: u32,
    state: Mutex<State>,
    ring: Mutex<Ring>,
    /// The ring's head: viewers with a task of their own wait on it.
    head: watch::Sender<u64>,
    pub(crate) fanout: Fanout,
    viewers: AtomicU64,
    /// Those of them with a task of their own: where they are is not known here.
    lone_viewers: AtomicU64,
    /// Cancelled when the stream is given up: its viewers leave.
    pub(crate) ended: CancellationToken,
    pub(crate) snapshot: crate::snapshot::Cache,
}

struct State {
    device: String,
    publisher: Option<Publisher>,
    /// Since when there is no publisher.
    left_at: Instant,
    /// What the publisher announced, and whether frames have come since.
    tracks: Vec<Track>,
    metadata: Option<Bytes>,
    is_config_due: bool,
    config: Arc<StreamConfig>,
    awaits_key: bool,
    timeline: Timeline,
    hls: Hls,
    rate: Rate,
}

/// Who sends the stream now.
pub(crate) struct Publisher {
    pub(crate) id: u64,
    pub(crate) epoch: u64,
    pub(crate) since_unix_secs: i64,
    /// Tells its connection to end.
    pub(crate) stop: CancellationToken,
    pub(crate) recorder: Option<Recorder>,
}

#[derive(Default)]
struct Rate {
    began: Instant,
    frames: u32,
    bytes: u64,
    fps: f64,
    kbps: f64,
}

impl Rate {
    fn count(&mut self, is_picture: bool, bytes: usize, now: Instant) {
        let passed = now.since(self.began);
        if passed >= RATE_WINDOW {
            let seconds = passed.as_secs_f64();
            // After a pause the window says nothing.
            let is_recent = passed < 2 * RATE_WINDOW;
            self.fps = if is_recent { f64::from(self.frames) / seconds } else { 0.0 };
            self.kbps = if is_recent { self.bytes as f64 * 8.0 / 1000.0 / seconds } else { 0.0 };
            (self.began, self.frames, self.bytes) = (now, 0, 0);
        }
        self.frames += u32::from(is_picture);
        self.bytes += bytes as u64;
    }
}

impl Stream {
    pub(crate) fn new(name: &str, playback: &str, chunk_size: u32, limits: Limits, hls: sightline_hls::Config) -> Self {
        let config = Arc::new(StreamConfig { id: 0, tracks: Vec::new(), metadata: None, chunk_size });
        Self {
            name: name.to_owned(),
            playback: playback.to_owned(),
            chunk_size,
            state: Mutex::new(State {
                device: String::new(),
                publisher: None,
                left_at: Instant::ZERO,
                tracks: Vec::new(),
                metadata: None,
                is_config_due: false,
                config,
                awaits_key: true,
                timeline: Timeline::default(),
                hls: Hls::new(hls),
                rate: Rate::default(),
            }),
            ring: Mutex::new(Ring::new(limits)),
            head: watch::Sender::new(0),
            fanout: Fanout::default(),
            viewers: AtomicU64::new(0),
            lone_viewers: AtomicU64::new(0),
            ended: CancellationToken::new(),
            snapshot: crate::snapshot::Cache::default(),
        }
    }

    /// Never held across an await: every use is a few lines.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a publisher in the place of the one before it, whose connection is told to end. Viewers stay.
    pub(crate) fn take_over(&self, device: &str, publisher: Publisher) {
        let mut state = self.state();
        device.clone_into(&mut state.device);
        if let Some(before) = state.publisher.replace(publisher) {
            before.stop.cancel();
        }
        state.tracks.clear();
        state.metadata = None;
        state.is_config_due = true;
        state.awaits_key = true;
        state.timeline.change_publisher();
        state.hls.discontinue();
    }

    /// A publisher has gone. The stream stays for a while.
    pub(crate) fn leave(&self, publisher: u64, now: Instant) {
        let mut state = self.state();
        if state.publisher.as_ref().is_some_and(|present| present.id == publisher) {
            state.publisher = None;
            state.left_at = now;
        }
    }

    /// How long the stream has had no publisher; `None` while it has one.
    pub(crate) fn abandoned_for(&self, now: Instant) -> Option<Duration> {
        let state = self.state();
        state.publisher.is_none().then(|| now.since(state.left_at))
    }

    /// Ends the publisher if its epoch is lower.
    pub(crate) fn revoke(&self, epoch_min: u64) {
        if let Some(publisher) = self.state().publisher.as_ref().filter(|publisher| publisher.epoch < epoch_min) {
            publisher.stop.cancel();
        }
    }

    /// A track of a publisher.
    pub(crate) fn set_track(&self, publisher: u64, track: Track) -> Result<(), Superseded> {
        let mut state = self.state_of(publisher)?;
        state.tracks.retain(|known| known.id != track.id);
        state.tracks.push(track);
        state.tracks.sort_unstable_by_key(|track| track.id);
        state.is_config_due = true;
        Ok(())
    }

    /// Metadata of a publisher.
    pub(crate) fn set_metadata(&self, publisher: u64, values: Bytes) -> Result<(), Superseded> {
        let mut state = self.state_of(publisher)?;
        state.metadata = Some(values);
        state.is_config_due = true;
        Ok(())
    }

    fn state_of(&self, publisher: u64) -> Result<MutexGuard<'_, State>, Superseded> {
        let state = self.state();
        if state.publisher.as_ref().is_some_and(|present| present.id == publisher) { Ok(state) } else { Err(Superseded) }
    }

    /// A frame of a publisher: into the playlist, the recording and the ring, then to the viewers.
    pub(crate) fn push(&self, publisher: u64, mut frame: Frame<Bytes>, now: Instant) -> Result<(), Superseded> {
        let (head, bytes) = {
            let mut state = self.state_of(publisher)?;
            let has_video = state.tracks.iter().any(|track| track.id == TrackId::VIDEO);
            let is_video = frame.track == TrackId::VIDEO;
            if state.awaits_key && !(frame.is_keyframe && is_video == has_video) {
                return Ok(());
            }
            state.awaits_key = false;
            state.apply_config(self.chunk_size);
            state.timeline.place(&mut frame, now);
            state.rate.count(is_video, frame.payload.len(), now);
            state.hls.push(&frame, now);
            let config = state.config.clone();
            if let Some(recorder) = state.publisher.as_mut().and_then(|publisher| publisher.recorder.as_mut()) {
                recorder.push(&frame, &config);
            }
            // Still under the state's lock: a publisher that takes over can't come in between.
            let bytes = frame.payload.len();
            let needed_from = if self.lone_viewers.load(Ordering::Relaxed) > 0 { 0 } else { self.fanout.oldest() };
            let mut ring = self.ring();
            ring.push(frame, config, needed_from);
            (ring.head(), bytes)
        };
        // Few streams have such viewers. One that comes just now finds the frame when it looks into the ring.
        if self.head.receiver_count() > 0 {
            self.head.send_replace(head);
        }
        self.fanout.wake(bytes);
        Ok(())
    }

    /// What comes next for a viewer; true when it had to skip.
    pub(crate) fn fill(&self, cursor: &mut Cursor, wire: Wire, out: &mut VecDeque<Bytes>, bytes_max: usize) -> bool {
        self.ring().fill(cursor, wire, out, bytes_max)
    }

    /// For a viewer with a task of its own.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// The last key frame, with the configuration to decode it.
    pub(crate) fn last_key_frame(&self) -> Option<Arc<Packet>> {
        self.ring().last_start().cloned()
    }

    /// The playlist. The first request lets segments be made, and the first segment takes up to a group of pictures.
    pub(crate) fn playlist(&self, now: Instant) -> Playlist {
        let mut state = self.state();
        if state.hls.wake(now) {
            let config = state.config.id;
            for packet in self.ring().group().filter(|packet| packet.config.id == config) {
                state.hls.push(&packet.frame, now);
            }
        }
        match state.hls.playlist() {
            Some(playlist) => Playlist::Ready(playlist),
            None if state.publisher.is_some() => Playlist::Coming,
            None => Playlist::None,
        }
    }

    pub(crate) fn hls_init(&self, number: u64) -> Option<Bytes> {
        self.state().hls.init(number)
    }

    pub(crate) fn hls_segment(&self, sequence: u64) -> Option<Bytes> {
        self.state().hls.segment(sequence)
    }

    /// Counts a viewer until the guard is dropped.
    pub(crate) fn count_viewer(self: &Arc<Self>) -> ViewerCount {
        self.viewers.fetch_add(1, Ordering::Relaxed);
        ViewerCount { stream: self.clone(), is_alone: false }
    }

    /// Counts one with a task of its own: for such the frames behind the last key frame are kept, for it may still need them.
    pub(crate) fn count_lone_viewer(self: &Arc<Self>) -> ViewerCount {
        self.viewers.fetch_add(1, Ordering::Relaxed);
        self.lone_viewers.fetch_add(1, Ordering::Relaxed);
        ViewerCount { stream: self.clone(), is_alone: true }
    }

    /// What the cloud is told; `None` without a publisher.
    pub(crate) fn describe(&self) -> Option<OriginStream> {
        let state = self.state();
        let publisher = state.publisher.as_ref()?;
        let (width, height) = state.config.tracks.iter().find_map(|track| track.config.size()).unwrap_or_default();
        Some(OriginStream {
            stream: self.name.clone(),
            device: state.device.clone(),
            epoch: publisher.epoch,
            playback: self.playback.clone(),
            width,
            height,
            fps: state.rate.fps,
            bitrate_kbps: state.rate.kbps,
            viewers: self.viewers.load(Ordering::Relaxed),
            since: publisher.since_unix_secs,
        })
    }
}

impl State {
    /// Before a frame: what was announced becomes the configuration, if it is another.
    fn apply_config(&mut self, chunk_size: u32) {
        if !std::mem::take(&mut self.is_config_due) {
            return;
        }
        // Metadata alone changes nothing for a decoder, and GStreamer's flvmux sends it anew every second.
        if self.config.tracks == self.tracks && self.config.id > 0 {
            return;
        }
        let (tracks, metadata) = (self.tracks.clone(), self.metadata.clone());
        self.config = Arc::new(StreamConfig { id: self.config.id + 1, tracks, metadata, chunk_size });
        self.hls.set_config(&self.config);
    }
}

/// A viewer that counts.
pub(crate) struct ViewerCount {
    stream: Arc<Stream>,
    is_alone: bool,
}

impl Drop for ViewerCount {
    fn drop(&mut self) {
        self.stream.viewers.fetch_sub(1, Ordering::Relaxed);
        if self.is_alone {
            self.stream.lone_viewers.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sightline_media::{MediaTime, TrackConfig, aac::AudioConfig};

    fn stream() -> Stream {
        let limits = Limits { gop_bytes: 10_000, window_bytes: 10_000, window_frames: 100 };
        let stream = Stream::new("s", "p", 4096, limits, sightline_hls::Config::default());
        take_over(&stream, 1);
        stream
    }

    fn take_over(stream: &Stream, id: u64) {
        let stop = CancellationToken::new();
        stream.take_over("d", Publisher { id, epoch: id, since_unix_secs: 0, stop, recorder: None });
        let config = TrackConfig::Aac(AudioConfig::parse(&[0x12, 0x10]).unwrap());
        stream.set_track(id, Track { id: TrackId::AUDIO, config }).unwrap();
    }

    fn push(stream: &Stream, publisher: u64, millis: i64) -> Result<(), Superseded> {
        let dts = MediaTime::from_millis(millis);
        let payload = Bytes::from_static(b"sound");
        let frame = Frame { track: TrackId::AUDIO, dts, pts: dts, is_keyframe: true, is_disposable: false, payload };
        stream.push(publisher, frame, Instant::from_micros(u64::try_from(millis).unwrap() * 1000))
    }

    #[test]
    fn gstreamer_flvmux_sends_metadata_every_second_and_the_configuration_stays() {
        let stream = stream();
        for second in 0..3 {
            stream.set_metadata(1, Bytes::from(vec![u8::try_from(second).unwrap()])).unwrap();
            push(&stream, 1, second * 1000).unwrap();
            assert_eq!(stream.last_key_frame().unwrap().config.id, 1);
        }
    }

    #[test]
    fn a_publisher_that_was_taken_over_adds_nothing() {
        let stream = stream();
        push(&stream, 1, 0).unwrap();
        take_over(&stream, 2);
        assert_eq!(push(&stream, 1, 40), Err(Superseded));
        push(&stream, 2, 80).unwrap();
        stream.leave(1, Instant::ZERO);
        assert_eq!(stream.abandoned_for(Instant::ZERO), None, "the one before can't take the newer one's place away");
    }
}
