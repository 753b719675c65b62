//! The task that makes a stream's packets, once, and gives them to all its WHEP viewers. It is there while someone watches.

use super::port::Port;
use super::sound::{Heard, Opus, Transcoder};
use super::table::Table;
use super::viewer::{Outlet, Slot, Viewer};
use crate::clock::Clock;
use crate::live::packet::Packet;
use crate::live::ring::Cursor;
use crate::live::stream::Stream;
use bytes::Bytes;
use sightline_media::{Codec, Instant as StreamInstant, TrackId};
use sightline_webrtc::{Burst, History, Moment, PAYLOAD_BYTES_MAX, Payload, payloads};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often viewers are looked at when no picture comes: handshakes, reports, those who have gone.
const TURN: Duration = Duration::from_millis(100);
/// The same while one of them catches up, or has a large picture to come: a viewer's link must not get it as one burst.
const PACED_TURN: Duration = Duration::from_millis(5);
/// What is taken from the ring at a time.
const BATCH_BYTES: usize = 4 << 20;
/// Sound that is kept, in bytes: seconds of it, for what is asked for again.
const SOUND_BYTES: usize = 256 * 1024;
/// Pictures that come before one that was shown earlier: one may be a camera's slip, several are B-frames.
const REORDERED_MAX: u32 = 3;
/// Ticks of Opus' clock in a second (RFC 7587 §4.1).
const OPUS_HZ: u32 = 48_000;
const VIDEO_HZ: u32 = 90_000;

/// Why all viewers of a stream go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
enum End {
    #[error("the stream's codec has changed: players ask anew")]
    Codec,
    #[error("the stream has B-frames, which WebRTC's players can't show: play it by HLS or FLV")]
    Reordered,
}

/// The task of an outlet.
pub(super) struct Pump {
    pub(super) clock: Clock,
    pub(super) stream: Arc<Stream>,
    pub(super) slot: Arc<Slot>,
    pub(super) port: Arc<Port>,
    pub(super) table: Arc<Table>,
    pub(super) codec: Option<Codec>,
    pub(super) history_bytes: usize,
    pub(super) tasks: TaskTracker,
    pub(super) shutdown: CancellationToken,
}

/// What it has made of the stream.
struct Made {
    cursor: Cursor,
    /// Kept so that it is allocated once.
    scratch: Vec<Arc<Packet>>,
    video: History,
    sound: History,
    has_sound: bool,
    /// Its sound is AAC: browsers want Opus.
    is_aac: bool,
    transcoder: Option<Transcoder>,
    codec: Option<Codec>,
    config_id: u64,
    latest: Option<(i64, StreamInstant)>,
    shown_until: Option<i64>,
    reordered: u32,
}

/// For whom a turn is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    All,
    /// Those that have more to come than may leave at once.
    Paced,
    Urgent,
    Over,
}

impl Pump {
    /// Runs until the last viewer has gone, or the stream is over.
    pub(super) async fn run(self, outlet: Arc<Outlet>) {
        let _held = self.stream.hold();
        let mut head = self.stream.watch();
        let mut made = Made::new(self.codec, self.history_bytes);
        let (mut burst, mut turn, mut paced, mut all_at) = (Burst::default(), Turn::All, Vec::new(), Instant::now());
        loop {
            let viewers = match turn {
                Turn::All => {
                    head.borrow_and_update();
                    if let Err(end) = self.make(&mut made, &outlet) {
                        tracing::info!(stream = self.stream.name(), %end, "WHEP viewers are ended");
                        break;
                    }
                    all_at = Instant::now() + TURN;
                    paced.clear();
                    outlet.viewers()
                }
                Turn::Paced => std::mem::take(&mut paced),
                Turn::Urgent => outlet.take_urgent(),
                Turn::Over => break,
            };
            for viewer in viewers {
                if self.serve(&viewer, &outlet, &made, &mut burst) {
                    paced.push(viewer);
                }
            }
            if self.slot.is_over(&outlet) {
                return;
            }
            let paced_at = if paced.is_empty() { all_at } else { all_at.min(Instant::now() + PACED_TURN) };
            turn = tokio::select! {
                () = self.stream.ended.cancelled() => Turn::Over,
                () = self.shutdown.cancelled() => Turn::Over,
                changed = head.changed() => if changed.is_ok() { Turn::All } else { Turn::Over },
                () = outlet.hurried() => Turn::Urgent,
                () = tokio::time::sleep_until(paced_at) => if Instant::now() >= all_at { Turn::All } else { Turn::Paced },
            };
        }
        self.end_all(&outlet);
    }

    /// Makes packets of what the stream has.
    fn make(&self, made: &mut Made, outlet: &Outlet) -> Result<(), End> {
        let mut scratch = std::mem::take(&mut made.scratch);
        self.stream.take(&mut made.cursor, &mut scratch, BATCH_BYTES);
        let now = self.clock.now();
        if made.transcoder.is_none() && outlet.wants_sound() && made.is_aac {
            made.transcoder = Some(Transcoder::start(&self.tasks));
        }
        let pushed = scratch.drain(..).try_for_each(|packet| made.push(&packet, now));
        made.scratch = scratch;
        made.take_sound(now);
        pushed
    }

    fn end_all(&self, outlet: &Arc<Outlet>) {
        loop {
            for viewer in outlet.viewers() {
                viewer.session().close(self.clock.now());
                self.leave(&viewer, outlet);
            }
            if self.slot.is_over(outlet) {
                return;
            }
        }
    }

    /// Gives a viewer what is there for it; true when there is more as soon as time has passed.
    fn serve(&self, viewer: &Arc<Viewer>, outlet: &Outlet, made: &Made, burst: &mut Burst) -> bool {
        let (now, wall) = (self.clock.now(), self.clock.wall());
        let mut session = viewer.session();
        if viewer.admitted.over.is_cancelled() {
            session.close(now);
        }
        session.handle_timeout(now);
        session.report_due(made.moments(), wall, now);
        while let Some(transmit) = session.poll_transmit() {
            self.port.send_one(transmit.way, &transmit.bytes);
        }
        if session.needs_key_frame() {
            self.stream.request_key_frame();
        }
        let mut is_paced = false;
        if session.is_connected() {
            viewer.place.settle();
            while let Some(way) = session.way() {
                let room = self.port.room(way);
                burst.clear();
                let is_done = room == 0 || session.poll_media(made.histories(), room, burst, now);
                self.port.send(way, burst);
                is_paced = room == 0 || !is_done;
                if is_done || burst.lengths.is_empty() {
                    break;
                }
            }
        }
        let over = session.over();
        drop(session);
        if let Some(over) = over {
            tracing::debug!(stream = self.stream.name(), %over, "a WHEP viewer has gone");
            self.leave(viewer, outlet);
        }
        is_paced
    }

    fn leave(&self, viewer: &Arc<Viewer>, outlet: &Outlet) {
        outlet.remove(viewer);
        self.table.remove(viewer);
        let mut session = viewer.session();
        while let Some(transmit) = session.poll_transmit() {
            self.port.send_one(transmit.way, &transmit.bytes);
        }
        // Those too that it has tried and does not use.
        session.ways().iter().for_each(|way| self.port.close(*way));
    }
}

impl Made {
    fn new(codec: Option<Codec>, history_bytes: usize) -> Self {
        Self {
            cursor: Cursor::default(),
            scratch: Vec::new(),
            video: History::new(history_bytes),
            sound: History::new(SOUND_BYTES),
            has_sound: false,
            is_aac: false,
            transcoder: None,
            codec,
            config_id: 0,
            latest: None,
            shown_until: None,
            reordered: 0,
        }
    }

    fn histories(&self) -> [Option<&History>; 2] {
        [Some(&self.video), self.has_sound.then_some(&self.sound)]
    }

    /// The same moment in the clocks of both tracks: it keeps them together.
    fn moments(&self) -> [Option<Moment>; 2] {
        let of = |clock_rate: u32| self.latest.map(|(ticks, at)| Moment { ticks: rescaled(ticks, clock_rate), clock_rate, at });
        [of(VIDEO_HZ), of(OPUS_HZ)]
    }

    fn push(&mut self, packet: &Packet, now: StreamInstant) -> Result<(), End> {
        let frame = &packet.frame;
        if packet.config.id != self.config_id {
            self.config_id = packet.config.id;
            let codec = packet.config.tracks.iter().find(|track| track.id == TrackId::VIDEO).map(|track| track.config.codec());
            // Sound alone may come before pictures do, after a publisher's restart.
            if codec.is_some() && codec != self.codec {
                return Err(End::Codec);
            }
        }
        let ticks = frame.pts.ticks_90k;
        match frame.track {
            TrackId::VIDEO => {
                let Some(track) = packet.config.tracks.iter().find(|track| track.id == TrackId::VIDEO) else { return Ok(()) };
                self.reordered += u32::from(self.shown_until.is_some_and(|until| ticks < until));
                if self.reordered >= REORDERED_MAX {
                    return Err(End::Reordered);
                }
                self.shown_until = self.shown_until.max(Some(ticks));
                self.latest = Some((ticks, now));
                self.video.push(payloads(&track.config, &frame.payload, frame.is_keyframe, PAYLOAD_BYTES_MAX), ticks, frame.is_keyframe);
            }
            TrackId::AUDIO => self.push_sound(packet, now),
            _ => {}
        }
        Ok(())
    }

    fn push_sound(&mut self, packet: &Packet, now: StreamInstant) {
        let (codec, ticks_90k) = (packet.config.codec_of(TrackId::AUDIO), packet.frame.pts.ticks_90k);
        self.is_aac = codec == Codec::Aac;
        match (codec, &mut self.transcoder) {
            (Codec::Opus, _) => self.keep_sound(Opus { bytes: packet.frame.payload.clone(), ticks_90k }, now),
            (Codec::Aac, Some(transcoder)) => {
                let config = packet.config.tracks.iter().find(|track| track.id == TrackId::AUDIO);
                let config = config.map(|track| Bytes::copy_from_slice(track.config.as_bytes())).unwrap_or_default();
                transcoder.push(Heard { config, frame: packet.frame.payload.clone(), ticks_90k });
            }
            _ => {}
        }
    }

    /// What the transcoder has made meanwhile.
    fn take_sound(&mut self, now: StreamInstant) {
        while let Some(opus) = self.transcoder.as_mut().and_then(Transcoder::poll) {
            self.keep_sound(opus, now);
        }
    }

    fn keep_sound(&mut self, Opus { bytes, ticks_90k }: Opus, now: StreamInstant) {
        if self.codec.is_none() {
            self.latest = Some((ticks_90k, now));
        }
        self.has_sound = true;
        if bytes.len() <= PAYLOAD_BYTES_MAX {
            self.sound.push(vec![Payload { bytes, is_last: false }], rescaled(ticks_90k, OPUS_HZ), true);
        }
    }
}

/// Ticks of 90 kHz in another clock.
fn rescaled(ticks_90k: i64, clock_rate: u32) -> i64 {
    let scaled = i128::from(ticks_90k) * i128::from(clock_rate) / i128::from(VIDEO_HZ);
    i64::try_from(scaled).unwrap_or_default()
}
