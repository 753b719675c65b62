//! WHIP: a browser, OBS or any other WebRTC peer publishes (RFC 9725). str0m is the peer; its datagrams come and go through WHEP's port.

pub(crate) mod http;

use super::budget::{Budget, OverBudget};
use super::rtmp::Rtmp;
use crate::callbacks::Told;
use crate::live::hub::Hold;
use crate::play::whep::{Datagram, Way, Whep};
use bytes::Bytes;
use sightline_media::annexb::Intake;
use sightline_media::{Codec, Frame, Instant, MediaTime, Track, TrackConfig, TrackId, coded};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use str0m::format::Codec as Format;
use str0m::media::{KeyframeRequestKind, MediaData, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Event, IceConnectionState, Input, Output, Rtc, RtcError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How often a publisher is asked for a key frame at the most: an encoder that makes nothing else has no bits for it.
const KEY_FRAME_INTERVAL: Duration = Duration::from_millis(1000);
/// A browser makes key frames only when it is asked: so often it is, for viewers begin with one and segments of HLS are cut at one.
const KEY_FRAME_AGE_MAX: Duration = Duration::from_secs(4);
/// How long a publisher may take from its offer to its first packet.
const SETUP_TIMEOUT: Duration = Duration::from_secs(15);
/// Datagrams that wait for a publisher's task: a key frame of a large picture.
const QUEUE: usize = 1024;
/// Ways that a publisher may have tried: its addresses.
const WAYS_MAX: usize = 16;
/// `OpusHead` (RFC 7845 §5.1): two channels, 48 kHz, the delay of libopus.
const OPUS_HEAD: [u8; 19] = *b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00";

/// What WHIP may touch, and who publishes by it.
pub(crate) struct Whip {
    rtmp: Arc<Rtmp>,
    whep: Arc<Whep>,
    /// Ends a session, by the last part of its address.
    sessions: Mutex<HashMap<String, CancellationToken>>,
}

impl Whip {
    /// `None` where there is no media port.
    pub(crate) fn new(rtmp: &Arc<Rtmp>) -> Option<Arc<Self>> {
        let whep = rtmp.play.whep.clone()?;
        Some(Arc::new(Self { rtmp: rtmp.clone(), whep, sessions: Mutex::default() }))
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, CancellationToken>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a publisher ended; for the log.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("it has left, or is not heard of any more")]
    Left,
    #[error("it was ended by its own request")]
    Asked,
    #[error("another publisher has the stream now, or its right was taken back")]
    Stopped,
    #[error("it did not connect in time: is the media port reached?")]
    Setup,
    #[error("{0}")]
    Limited(OverBudget),
    #[error("{0}")]
    WebRtc(#[from] RtcError),
    #[error("the origin shuts down")]
    Shutdown,
}

/// A publisher's task.
struct Publishing {
    whip: Arc<Whip>,
    id: String,
    ufrag: String,
    peer: SocketAddr,
    rtc: Rtc,
    hold: Hold,
    datagrams: mpsc::Receiver<Datagram>,
    ended: CancellationToken,
    /// The one address that the peer knows of us, as far as the library is concerned.
    local: SocketAddr,
    ways: HashMap<SocketAddr, Way>,
    budget: Budget,
    over: Option<OverBudget>,
    began: Instant,
    video: Option<Mid>,
    intake: Intake,
    has_sound: bool,
    /// Pictures are missing before what comes, up to the next key frame.
    is_broken: bool,
    asked_at: Option<Instant>,
    /// When the last key frame came.
    key_at: Instant,
    /// Tells of its end, where that is wanted.
    _told: Told,
}

impl Publishing {
    async fn run(mut self) {
        let end = self.drive().await.err().unwrap_or(End::Left);
        if let End::Limited(over) = end {
            self.whip.rtmp.fates.limit(over, |others| {
                tracing::warn!(peer = %self.peer, stream = self.hold.stream.name(), %over, others, "a publisher was ended");
            });
            self.hold.tell("stream_limited", over.to_string());
        }
        tracing::info!(peer = %self.peer, stream = self.hold.stream.name(), %end, "a WHIP publisher has ended");
        // So that it knows, and does not send on.
        if self.rtc.close().is_ok() {
            while let Ok(output) = self.rtc.poll_output() {
                match output {
                    Output::Transmit(transmit) => self.send(transmit.destination, &transmit.contents),
                    Output::Event(_) => {}
                    Output::Timeout(_) => break,
                }
            }
        }
        self.whip.whep.forget(&self.ufrag, self.ways.values().copied());
        self.whip.sessions().remove(&self.id);
    }

    async fn drive(&mut self) -> Result<(), End> {
        let clock = self.whip.rtmp.ingest.clock;
        loop {
            let wake = self.drain()?;
            if let Some(over) = self.over {
                return Err(End::Limited(over));
            }
            if !self.rtc.is_alive() {
                return Ok(());
            }
            if !self.rtc.is_connected() && clock.now().since(self.began) >= SETUP_TIMEOUT {
                return Err(End::Setup);
            }
            tokio::select! {
                () = self.hold.stop.cancelled() => return Err(End::Stopped),
                () = self.ended.cancelled() => return Err(End::Asked),
                () = self.whip.rtmp.shutdown.cancelled() => return Err(End::Shutdown),
                () = self.hold.stream.key_frame_requested() => self.request_key_frame(),
                datagram = self.datagrams.recv() => match datagram {
                    Some(datagram) => self.receive(&datagram)?,
                    None => return Ok(()),
                },
                () = tokio::time::sleep_until(wake.into()) => self.rtc.handle_input(Input::Timeout(std::time::Instant::now()))?,
            }
        }
    }

    /// Sends and takes all that the library has, until it waits.
    fn drain(&mut self) -> Result<std::time::Instant, End> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(at) => return Ok(at),
                Output::Transmit(transmit) => self.send(transmit.destination, &transmit.contents),
                Output::Event(Event::MediaData(data)) => self.handle_media(&data),
                Output::Event(Event::Closed | Event::IceConnectionStateChange(IceConnectionState::Disconnected)) => return Err(End::Left),
                Output::Event(_) => {}
            }
        }
    }

    fn send(&self, destination: SocketAddr, bytes: &[u8]) {
        if let Some(way) = self.ways.get(&destination) {
            self.whip.whep.send(*way, bytes);
        }
    }

    fn receive(&mut self, Datagram { way, from, bytes }: &Datagram) -> Result<(), End> {
        let now = self.whip.rtmp.ingest.clock.now();
        self.hold.hear(bytes.len(), now);
        self.over = self.over.or(self.budget.take_bytes(bytes.len(), now).err());
        if self.ways.len() < WAYS_MAX || self.ways.contains_key(from) {
            self.ways.insert(*from, *way);
        }
        let Ok(contents) = bytes[..].try_into() else { return Ok(()) };
        let receive = Receive { proto: Protocol::Udp, source: *from, destination: self.local, contents };
        Ok(self.rtc.handle_input(Input::Receive(std::time::Instant::now(), receive))?)
    }

    fn handle_media(&mut self, data: &MediaData) {
        let now = self.whip.rtmp.ingest.clock.now();
        self.over = self.over.or(self.budget.take_message(now).err());
        let numer = i64::try_from(data.time.numer()).unwrap_or(i64::MAX);
        let time = MediaTime::from_timescale(numer, data.time.denom());
        let format = data.params.spec().codec;
        if format == Format::H264 {
            self.handle_picture(data, time, now);
        } else if format == Format::Opus {
            self.handle_sound(data, time, now);
        }
    }

    fn handle_picture(&mut self, data: &MediaData, time: MediaTime, now: Instant) {
        self.video = Some(data.mid);
        let Ok(arrival) = self.intake.take(&data.data) else { return };
        let frame: Frame<Bytes> = arrival.unit.to_frame(&data.data, time);
        if let Some(track) = arrival.track {
            self.over = self.over.or(self.budget.take_change(now).err());
            let _ = self.hold.stream.set_track(self.hold.id, track);
        }
        // What a lost packet was part of is in all that refers to it.
        self.is_broken = (self.is_broken || !data.contiguous) && !frame.is_keyframe;
        if self.is_broken || !self.intake.has_track() {
            return self.request_key_frame();
        }
        if frame.is_keyframe {
            self.key_at = now;
        } else if now.since(self.key_at) >= KEY_FRAME_AGE_MAX {
            self.request_key_frame();
        }
        if !frame.payload.is_empty() {
            let _ = self.hold.stream.push(self.hold.id, frame, now, self.whip.rtmp.ingest.clock.wall());
        }
    }

    fn handle_sound(&mut self, data: &MediaData, time: MediaTime, now: Instant) {
        if !std::mem::replace(&mut self.has_sound, true)
            && let Ok(config) = coded::Config::parse(Codec::Opus, &OPUS_HEAD)
        {
            let _ = self.hold.stream.set_track(self.hold.id, Track { id: TrackId::AUDIO, config: TrackConfig::Coded(config) });
        }
        let payload = Bytes::copy_from_slice(&data.data);
        let frame = Frame { track: TrackId::AUDIO, dts: time, pts: time, is_keyframe: true, is_disposable: false, payload };
        let _ = self.hold.stream.push(self.hold.id, frame, now, self.whip.rtmp.ingest.clock.wall());
    }

    fn request_key_frame(&mut self) {
        let now = self.whip.rtmp.ingest.clock.now();
        if self.asked_at.is_some_and(|at| now.since(at) < KEY_FRAME_INTERVAL) {
            return;
        }
        let Some(mut writer) = self.video.and_then(|video| self.rtc.writer(video)) else { return };
        if writer.request_keyframe(None, KeyframeRequestKind::Pli).is_ok() {
            self.asked_at = Some(now);
        }
    }
}
