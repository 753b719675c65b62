//! One stream: its publisher, its last frames and its outputs. It outlives its publishers.

use crate::auth::duels::Holder;
use crate::live::captured::{AgePath, Ages, Captured, CapturedBy, Newest};
use crate::live::extensions::Extensions;
use crate::live::packet::Packet;
use crate::live::rate::Rate;
use crate::live::readers::Readers;
use crate::live::ring::{Cursor, Limits, Ring};
use crate::live::tap::{Next, Tap};
use crate::live::traffic::{Protocol, Traffic};
use crate::record::health::RecordingHealth;
use crate::via::Via;
use bytes::Bytes;
use sightline_media::{CaptureMark, Fault, Frame, Instant, Metadata, SourceClock, StreamConfig, Track, TrackId, WallTime};
use sightline_signal::report::OriginStream;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// How long a publisher that has announced sound alone may have pictures still to come: those whose configuration stands in the pictures themselves announce
/// them with the first key frame.
const PICTURES_WAIT: Duration = Duration::from_secs(1);

/// Pictures after which their order is known: encoders have a B-frame among the first three, or none.
const ORDER_PICTURES: usize = 8;

/// The stream has another publisher now than the one that sent this.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Superseded;

/// One stream.
pub(crate) struct Stream {
    /// From its first publisher on: who pulls a stream does not know it.
    name: OnceLock<String>,
    pub(crate) playback: String,
    state: Mutex<State>,
    ring: Mutex<Ring>,
    /// The ring's head: viewers with a task of their own wait on it.
    head: watch::Sender<u64>,
    /// Tasks that serve many viewers each.
    pub(crate) readers: Readers,
    /// What outputs keep for this stream.
    pub(crate) extensions: Extensions,
    /// Of all streams.
    pub(crate) traffic: Arc<Traffic>,
    viewers: AtomicU64,
    /// Those of them with a task of their own: where they are in the ring is not known here.
    lone_viewers: AtomicU64,
    /// Until when someone who has no connection of its own counts as watching, in microseconds.
    asked_until: AtomicU64,
    /// Publishers that the stream has had.
    publishers: AtomicU64,
    /// A viewer needs a key frame: for publishers that can be asked.
    key_frame: Notify,
    /// Cancelled when the stream ends: its viewers leave.
    pub(crate) ended: CancellationToken,
}

struct State {
    device: String,
    publisher: Option<Publisher>,
    /// Since when there is no publisher.
    left_at: Instant,
    /// What the publisher announced, and whether frames have come since.
    tracks: Vec<Track>,
    metadata: Option<Metadata>,
    is_config_due: bool,
    config: Arc<StreamConfig>,
    awaits_key: bool,
    /// When the present publisher's first frame came.
    first_frame_at: Option<Instant>,
    /// When the newest frame came.
    newest_at: Instant,
    /// The stream's own time: it goes on over changes of publisher.
    clock: SourceClock,
    rate: Rate,
    /// The present publisher's newest picture.
    newest: Option<Newest>,
    ages: Ages,
    /// Outputs that stay when the publisher changes.
    taps: Vec<Box<dyn Tap>>,
}

/// Who sends the stream now.
pub(crate) struct Publisher {
    pub(crate) id: u64,
    pub(crate) epoch: u64,
    pub(crate) since_unix_secs: i64,
    pub(crate) since: Instant,
    /// Tells its connection to end.
    pub(crate) stop: CancellationToken,
    pub(crate) peer: SocketAddr,
    /// When its last bytes came, in microseconds.
    pub(crate) heard_at: Arc<AtomicU64>,
    /// It took the stream from one that was sending.
    pub(crate) took_from_sender: bool,
    /// Outputs that end with it.
    pub(crate) taps: Vec<Box<dyn Tap>>,
    pub(crate) recording: Option<Arc<RecordingHealth>>,
    /// It is no publisher: the frames come from another origin.
    pub(crate) pull: Option<Pull>,
}

/// Where a stream is pulled from.
#[derive(Clone, Debug)]
pub(crate) struct Pull {
    /// The origins that the frames came by.
    pub(crate) path: Via,
}

impl Stream {
    pub(crate) fn new(playback: &str, limits: Limits, traffic: Arc<Traffic>) -> Self {
        Self {
            name: OnceLock::new(),
            playback: playback.to_owned(),
            state: Mutex::new(State {
                device: String::new(),
                publisher: None,
                left_at: Instant::ZERO,
                tracks: Vec::new(),
                metadata: None,
                is_config_due: false,
                config: Arc::default(),
                awaits_key: true,
                first_frame_at: None,
                newest_at: Instant::ZERO,
                clock: SourceClock::default(),
                rate: Rate::default(),
                newest: None,
                ages: Ages::default(),
                taps: Vec::new(),
            }),
            ring: Mutex::new(Ring::new(limits)),
            head: watch::Sender::new(0),
            readers: Readers::default(),
            extensions: Extensions::default(),
            traffic,
            viewers: AtomicU64::new(0),
            lone_viewers: AtomicU64::new(0),
            asked_until: AtomicU64::new(0),
            publishers: AtomicU64::new(0),
            key_frame: Notify::new(),
            ended: CancellationToken::new(),
        }
    }

    /// The publishing name; where only pulls have sent it, which know none, the playback id.
    pub(crate) fn name(&self) -> &str {
        self.name.get().unwrap_or(&self.playback)
    }

    /// A publisher has come by this name.
    pub(crate) fn set_name(&self, name: &str) {
        self.name.get_or_init(|| name.to_owned());
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
        self.publishers.fetch_add(1, Ordering::Relaxed);
        device.clone_into(&mut state.device);
        if let Some(before) = state.publisher.replace(publisher) {
            before.stop.cancel();
        }
        state.tracks.clear();
        state.metadata = None;
        state.is_config_due = true;
        state.awaits_key = true;
        state.first_frame_at = None;
        state.newest = None;
        state.clock.change_source();
        state.taps.iter_mut().for_each(|tap| tap.handle_takeover());
    }

    /// A publisher has gone. The stream stays for a while.
    pub(crate) fn leave(&self, publisher: u64, now: Instant) {
        let mut state = self.state();
        if state.publisher.as_ref().is_some_and(|present| present.id == publisher) {
            state.publisher = None;
            state.left_at = now;
            drop(state);
            // Who passes the stream on to an edge ends there.
            self.head.send_modify(|_| ());
        }
    }

    /// Records the present publisher; the recording ends with it. Nothing is done for a publisher that was superseded.
    pub(crate) fn record(&self, publisher: u64, tap: Box<dyn Tap>, health: Arc<RecordingHealth>) {
        if let Some(present) = self.state().publisher.as_mut().filter(|present| present.id == publisher) {
            present.taps.push(tap);
            present.recording = Some(health);
        }
    }

    /// Whose it is.
    pub(crate) fn device(&self) -> String {
        self.state().device.clone()
    }

    /// Adds an output of the stream. It gets the frames from the last key frame on first, if they have the present configuration.
    pub(crate) fn attach(&self, mut tap: Box<dyn Tap>, now: Instant) {
        let mut state = self.state();
        let config = state.config.id;
        for packet in self.ring().group().filter(|packet| packet.config.id == config) {
            tap.handle_packet(packet, now);
        }
        state.taps.push(tap);
    }

    /// How long the stream has had no publisher; `None` while it has one.
    pub(crate) fn abandoned_for(&self, now: Instant) -> Option<Duration> {
        let state = self.state();
        state.publisher.is_none().then(|| now.since(state.left_at))
    }

    /// Someone has asked for a playlist, a segment or a snapshot, and will have asked again by then.
    pub(crate) fn ask(&self, until: Instant) {
        self.asked_until.fetch_max(until.as_micros(), Ordering::Relaxed);
    }

    /// Whether someone watches.
    pub(crate) fn is_watched(&self, now: Instant) -> bool {
        self.viewers.load(Ordering::Relaxed) > 0 || now.as_micros() < self.asked_until.load(Ordering::Relaxed)
    }

    /// Who publishes it now; a pull is no one that a publisher could fight with.
    pub(crate) fn holder(&self) -> Option<Holder> {
        let state = self.state();
        let publisher = state.publisher.as_ref().filter(|publisher| publisher.pull.is_none())?;
        let Publisher { peer, since, took_from_sender, ref heard_at, .. } = *publisher;
        Some(Holder { peer, since, heard_at: Instant::from_micros(heard_at.load(Ordering::Relaxed)), took_from_sender })
    }

    /// Whether someone sends it now: a publisher, or another origin.
    pub(crate) fn is_published(&self) -> bool {
        self.state().publisher.is_some()
    }

    /// Where it is pulled from, if it is.
    pub(crate) fn pull(&self) -> Option<Pull> {
        self.state().publisher.as_ref().and_then(|publisher| publisher.pull.clone())
    }

    /// Whether the one who sends it has sent a picture to begin with, and something in the last while.
    pub(crate) fn is_fresh(&self, now: Instant, silence_max: Duration) -> bool {
        let (is_published, newest_at) = {
            let state = self.state();
            (state.publisher.is_some(), state.newest_at)
        };
        let is_of_present = |packet: &Arc<Packet>| packet.publisher == self.publishers();
        is_published && now.since(newest_at) <= silence_max && self.ring().last_start().is_some_and(is_of_present)
    }

    /// How many publishers it has had: another number tells that a picture is another publisher's.
    pub(crate) fn publishers(&self) -> u64 {
        self.publishers.load(Ordering::Relaxed)
    }

    /// Ends the publisher if its epoch is lower.
    pub(crate) fn revoke(&self, epoch_min: u64) {
        // A pull ends with its upstream's publisher.
        let is_revoked = |publisher: &&Publisher| publisher.epoch < epoch_min && publisher.pull.is_none();
        if let Some(publisher) = self.state().publisher.as_ref().filter(is_revoked) {
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
    pub(crate) fn set_metadata(&self, publisher: u64, metadata: Metadata) -> Result<(), Superseded> {
        let mut state = self.state_of(publisher)?;
        state.metadata = Some(metadata);
        state.is_config_due = true;
        Ok(())
    }

    fn state_of(&self, publisher: u64) -> Result<MutexGuard<'_, State>, Superseded> {
        let state = self.state();
        if state.publisher.as_ref().is_some_and(|present| present.id == publisher) { Ok(state) } else { Err(Superseded) }
    }

    /// A frame of a publisher: it gets the stream's own time, then goes to the publisher's taps, the stream's taps and the ring, and
    /// the viewers are woken. What was wrong with its time is given back.
    pub(crate) fn push(&self, publisher: u64, mut frame: Frame<Bytes>, now: Instant, wall: WallTime) -> Result<Option<Fault>, Superseded> {
        let (head, bytes, fault) = {
            let mut state = self.state_of(publisher)?;
            if state.awaits_key && !state.can_start_with(&frame, now) {
                return Ok(None);
            }
            state.awaits_key = false;
            state.newest_at = now;
            state.apply_config();
            let placed = state.clock.place(frame.track, frame.dts, frame.pts, now);
            (frame.dts, frame.pts) = (placed.dts, placed.pts);
            let bytes = frame.payload.len();
            let captured = state.captured(&frame, wall);
            if captured.by != CapturedBy::Arrival {
                let age = captured.age(wall);
                state.ages.count(AgePath::Arrival, age, now);
                self.traffic.count_age(AgePath::Arrival, age);
            }
            self.traffic.count_frame(frame.track == TrackId::VIDEO);
            state.rate.count(frame.track == TrackId::VIDEO, bytes, now);
            let packet = Arc::new(Packet::new(frame, state.config.clone()).captured(captured).of_publisher(self.publishers()));
            state.tap(&packet, now);
            // Still under the state's lock: a publisher that takes over can't come in between.
            let needed_from = if self.lone_viewers.load(Ordering::Relaxed) > 0 { 0 } else { self.readers.oldest() };
            let mut ring = self.ring();
            ring.push(packet, needed_from);
            (ring.head(), bytes, placed.fault)
        };
        // Few streams have such viewers. One that comes just now finds the frame when it looks into the ring.
        if self.head.receiver_count() > 0 {
            self.head.send_replace(head);
        }
        self.readers.wake(bytes);
        Ok(fault)
    }

    /// The frames that come next for a viewer; true when it had to skip.
    pub(crate) fn take(&self, cursor: &mut Cursor, out: &mut Vec<Arc<Packet>>, bytes_max: usize) -> bool {
        self.ring().take(cursor, out, bytes_max)
    }

    /// For a viewer with a task of its own.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// The last key frame, with the configuration to decode it.
    pub(crate) fn last_key_frame(&self) -> Option<Arc<Packet>> {
        self.ring().last_start().cloned()
    }

    /// The newest picture, and when it was captured; `None` without a publisher's.
    pub(crate) fn newest(&self) -> Option<Newest> {
        self.state().newest
    }

    /// How old the picture on a viewer's screen was, as its player says.
    pub(crate) fn count_age(&self, path: AgePath, age: Duration, now: Instant) {
        self.state().ages.count(path, age, now);
        self.traffic.count_age(path, age);
    }

    /// The configuration of the last group of pictures, and whether its pictures come in another order than they are shown; `None` while
    /// they are too few to tell.
    pub(crate) fn last_group(&self) -> Option<(Arc<StreamConfig>, Option<bool>)> {
        let ring = self.ring();
        let first = ring.last_start()?;
        let times = || ring.group().filter(|packet| packet.frame.track == TrackId::VIDEO).map(|packet| packet.frame.pts);
        // A decoder that reorders delays its first picture for it.
        let is_delayed = first.frame.pts > first.frame.dts;
        let reorders = times().zip(times().skip(1)).any(|(before, after)| after < before);
        let is_known = reorders || !is_delayed || times().nth(ORDER_PICTURES).is_some();
        Some((first.config.clone(), is_known.then_some(reorders)))
    }

    /// A viewer would be helped by a new key frame.
    pub(crate) fn request_key_frame(&self) {
        self.key_frame.notify_one();
    }

    /// Until a viewer would be.
    pub(crate) async fn key_frame_requested(&self) {
        self.key_frame.notified().await;
    }

    /// Keeps frames for who reads now and then, and is no viewer, until the guard is dropped.
    pub(crate) fn hold(self: &Arc<Self>) -> Hold {
        self.lone_viewers.fetch_add(1, Ordering::Relaxed);
        Hold(self.clone())
    }

    /// Counts a viewer until the guard is dropped.
    pub(crate) fn count_viewer(self: &Arc<Self>, protocol: Protocol) -> ViewerCount {
        self.viewers.fetch_add(1, Ordering::Relaxed);
        self.traffic.come(protocol);
        ViewerCount { stream: self.clone(), protocol, is_alone: false }
    }

    /// Counts one with a task of its own: for such the frames behind the last key frame are kept, for it may still need them.
    pub(crate) fn count_lone_viewer(self: &Arc<Self>, protocol: Protocol) -> ViewerCount {
        self.lone_viewers.fetch_add(1, Ordering::Relaxed);
        let mut count = self.count_viewer(protocol);
        count.is_alone = true;
        count
    }

    /// What the cloud is told; `None` without a publisher.
    pub(crate) fn describe(&self, now: Instant) -> Option<OriginStream> {
        let mut state = self.state();
        let ages = state.ages.tell(now);
        let publisher = state.publisher.as_ref()?;
        let captured_by = state.newest.map(|newest| newest.captured.by);
        let (width, height) = state.config.tracks.iter().find_map(|track| track.config.size()).unwrap_or_default();
        let (fps, bitrate_kbps) = state.rate.at(now);
        Some(OriginStream {
            stream: self.name().to_owned(),
            device: state.device.clone(),
            epoch: publisher.epoch,
            playback: self.playback.clone(),
            width,
            height,
            fps,
            bitrate_kbps,
            viewers: self.viewers.load(Ordering::Relaxed),
            is_watched: self.is_watched(now),
            since: publisher.since_unix_secs,
            recording: publisher.recording.as_ref().map(|health| health.name().to_owned()),
            relays: Vec::new(),
            captured_by: captured_by.map(|by| by.name().to_owned()),
            clock_error_ms: captured_by.and_then(CapturedBy::clock_error_ms),
            ages,
        })
    }
}

impl State {
    /// Whether a publisher's frames may begin with this one: what it announced counts, not what was before.
    fn can_start_with(&mut self, frame: &Frame<Bytes>, now: Instant) -> bool {
        let began = *self.first_frame_at.get_or_insert(now);
        let has_video = self.tracks.iter().any(|track| track.id == TrackId::VIDEO);
        frame.is_keyframe && (frame.track == TrackId::VIDEO) == has_video && (has_video || now.since(began) >= PICTURES_WAIT)
    }

    /// When a frame was captured, and if it is a picture, that it is the newest. Of a camera that marks its pictures, one without a mark is passed over.
    fn captured(&mut self, frame: &Frame<Bytes>, wall: WallTime) -> Captured {
        if frame.track != TrackId::VIDEO {
            return Captured::on_arrival(wall);
        }
        let captured = Captured::new(CaptureMark::find(self.config.codec_of(frame.track), &frame.payload), wall);
        let is_marked = self.newest.is_some_and(|newest| newest.captured.by != CapturedBy::Arrival);
        if captured.by != CapturedBy::Arrival || !is_marked {
            self.newest = Some(Newest { pts: frame.pts, captured });
        }
        captured
    }

    /// Before a frame: what was announced becomes the configuration, if it differs.
    fn apply_config(&mut self) {
        if !std::mem::take(&mut self.is_config_due) {
            return;
        }
        // Metadata alone changes nothing for a decoder, and GStreamer's flvmux sends it anew every second.
        if self.config.tracks == self.tracks && self.config.id > 0 {
            return;
        }
        let (tracks, metadata) = (self.tracks.clone(), self.metadata.clone());
        self.config = Arc::new(StreamConfig { id: self.config.id + 1, tracks, metadata });
    }

    /// Gives a frame to all taps. Those that want no more are dropped.
    fn tap(&mut self, packet: &Arc<Packet>, now: Instant) {
        let publishers = self.publisher.as_mut().map(|publisher| &mut publisher.taps);
        for taps in publishers.into_iter().chain([&mut self.taps]) {
            taps.retain_mut(|tap| tap.handle_packet(packet, now) == Next::Stay);
        }
    }
}

/// A viewer that counts.
pub(crate) struct ViewerCount {
    stream: Arc<Stream>,
    protocol: Protocol,
    is_alone: bool,
}

/// Frames are kept for someone.
pub(crate) struct Hold(Arc<Stream>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.lone_viewers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for ViewerCount {
    fn drop(&mut self) {
        self.stream.viewers.fetch_sub(1, Ordering::Relaxed);
        self.stream.traffic.go(self.protocol);
        if self.is_alone {
            self.stream.lone_viewers.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
impl Publisher {
    pub(crate) fn of_test(id: u64, stop: CancellationToken) -> Self {
        let (since, peer) = (Instant::ZERO, SocketAddr::from(([127, 0, 0, 1], 1000)));
        let heard_at = Arc::default();
        Self {
            id,
            epoch: id,
            since_unix_secs: 0,
            since,
            stop,
            peer,
            heard_at,
            took_from_sender: false,
            taps: Vec::new(),
            recording: None,
            pull: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sightline_media::{MediaTime, TrackConfig, aac::AudioConfig};

    fn stream() -> Stream {
        let limits = Limits { gop_bytes: 10_000, gop_frames: 100, window_bytes: 10_000, window_frames: 100 };
        let stream = Stream::new("p", limits, Arc::default());
        take_over(&stream, 1);
        stream
    }

    fn take_over(stream: &Stream, id: u64) {
        let stop = CancellationToken::new();
        stream.take_over("d", Publisher::of_test(id, stop));
        let config = TrackConfig::Aac(AudioConfig::parse(&[0x12, 0x10]).unwrap());
        stream.set_track(id, Track { id: TrackId::AUDIO, config }).unwrap();
        // Pictures might still come: this one is only waited with.
        push(stream, id, -1000).unwrap();
    }

    fn push(stream: &Stream, publisher: u64, millis: i64) -> Result<Option<Fault>, Superseded> {
        let millis = millis + 1000;
        let dts = MediaTime::from_millis(millis);
        let payload = Bytes::from_static(b"sound");
        let frame = Frame { track: TrackId::AUDIO, dts, pts: dts, is_keyframe: true, is_disposable: false, payload };
        stream.push(publisher, frame, Instant::from_micros(u64::try_from(millis).unwrap() * 1000), WallTime::default())
    }

    #[test]
    fn gstreamer_flvmux_sends_metadata_every_second_and_the_configuration_stays() {
        let stream = stream();
        for second in 0..3_i32 {
            let number = sightline_media::Property::Number(f64::from(second));
            stream.set_metadata(1, Metadata { properties: vec![("second".into(), number)] }).unwrap();
            push(&stream, 1, i64::from(second) * 1000).unwrap();
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
