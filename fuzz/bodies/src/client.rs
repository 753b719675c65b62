//! The publishing session against a server of any kind.

use crate::cursor::{Cursor, sizes};
use crate::script::{Peer, Step, avc_record};
use crate::served::told;
use sightline_media::{Codec, Frame, Instant, MediaTime, Track, TrackConfig, TrackId, aac, avc};
use sightline_rtmp::client::{Config, Event, Session, Stage};
use sightline_rtmp::{Cause, fuzzing};
use std::time::Duration;

type Client = Session<Vec<u8>, 4>;

/// C0 C1 C2.
const OPENING_BYTES: usize = 1 + 2 * 1536;

/// The choice of another connection.
const AGAIN: u8 = 0xf9;

fn begun(waits: bool) -> Client {
    let chunk_size = if waits { 4096 } else { 200 };
    let config = Config { chunk_size, window_ack_size: 5000, waits_connected: waits, ..Config::default() };
    Client::publish(config, "rtmp://h/live", "cam?token=t", Instant::ZERO, 1).expect("the URL is short")
}

struct Published {
    session: Client,
    now: Instant,
    events: Vec<Event<Vec<u8>>>,
    failed: Option<Cause>,
    sent: Vec<u8>,
    /// Of the handshake, in what was sent.
    opening_bytes: usize,
}

impl Published {
    /// `waits`: it tries the link before it asks for the stream.
    fn new(waits: bool) -> Self {
        Self { session: begun(waits), now: Instant::ZERO, events: vec![], failed: None, sent: vec![], opening_bytes: OPENING_BYTES }
    }

    fn skip_handshake(&mut self) {
        self.session.skip_handshake(self.now);
        self.opening_bytes = 0;
    }

    fn feed(&mut self, bytes: &[u8], mut size: impl FnMut() -> usize) {
        let mut rest = bytes;
        while !rest.is_empty() && self.failed.is_none() {
            let (piece, later) = rest.split_at(size().clamp(1, rest.len()));
            rest = later;
            self.failed = self.session.handle_bytes(self.now, piece).err().as_ref().map(told);
        }
        self.events.extend(std::iter::from_fn(|| self.session.poll_event()));
    }

    /// The socket takes at most `limit` bytes.
    fn write(&mut self, mut limit: usize) {
        loop {
            let pending = self.session.pending();
            let taken = pending.iter().map(|part| part.len()).sum::<usize>().min(limit);
            if taken == 0 {
                break;
            }
            let bytes = pending.concat();
            self.sent.extend_from_slice(&bytes[..taken]);
            self.session.consumed(taken);
            limit -= taken;
        }
        assert_eq!(self.session.bytes_sent(), self.sent.len() as u64);
        self.events.extend(std::iter::from_fn(|| self.session.poll_event()));
    }

    fn act(&mut self, choice: u8, waits: bool) {
        assert!(self.session.stage() == Stage::Done || self.session.has_begun());
        assert!(self.session.is_connected() || !self.session.is_publishing());
        assert!(!format!("{:?}", self.session).contains("token"));
        let milliseconds = i64::from(choice) * 40;
        match choice {
            0xf8 => return self.session.forget_untaken(),
            // The link is gone, and there is another one.
            AGAIN => {
                self.session.reset();
                assert!(!self.session.has_begun() && self.session.pending().concat().is_empty());
                (self.session, self.sent, self.failed, self.opening_bytes) = (begun(waits), vec![], None, OPENING_BYTES);
                return;
            }
            0xfa => {
                if let Ok(config) = aac::AudioConfig::parse(&[0x12, 0x10]) {
                    self.session.set_track(Track { id: TrackId::AUDIO, config: TrackConfig::Aac(config) });
                }
                return;
            }
            0xfb => {
                let dts = MediaTime::from_millis(milliseconds);
                let frame =
                    Frame { track: TrackId::AUDIO, dts, pts: dts, is_keyframe: true, is_disposable: false, payload: vec![0x21; 200] };
                let _ = self.session.send_frame(frame);
                return;
            }
            _ => {}
        }
        match choice % 8 {
            2 if waits => self.session.pad(usize::from(choice) * 16),
            3 if waits => self.session.go_on(self.now),
            0 => self.session.close(),
            1 => {
                if let Ok(config) = avc::DecoderConfig::parse(&avc_record(choice & 0xf0)) {
                    self.session.set_track(Track { id: TrackId::VIDEO, config: TrackConfig::H264(config) });
                }
            }
            _ => {
                let dts = MediaTime::from_millis(milliseconds);
                let payload = vec![0x41; usize::from(choice) * 16];
                let frame = Frame { track: TrackId::VIDEO, dts, pts: dts, is_keyframe: choice & 8 == 0, is_disposable: false, payload };
                let _ = self.session.send_frame(frame);
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        if self.failed.is_none() {
            self.failed = self.session.handle_timeout(self.now).err().as_ref().map(told);
        }
    }

    fn check_sent(&self) {
        let session = &self.session;
        assert!(session.queue_len() <= 4 && session.tracks().count() <= 2);
        for (codec, is_always) in
            [(Codec::H264, true), (Codec::Aac, true), (Codec::Av1, false), (Codec::Vp9, false), (Codec::Opus, false), (Codec::Flac, false)]
        {
            assert_eq!(session.is_taken(codec), is_always);
        }
        assert!(session.stage() == Stage::Done || session.has_begun());
        assert!(session.is_connected() || !session.is_publishing());
        assert!(!format!("{session:?}").contains("token"));
        if let Some(chunks) = self.sent.get(self.opening_bytes..) {
            assert_eq!(fuzzing::chunks(chunks, || usize::MAX).1, None, "what was sent can't be read");
        }
    }
}

/// First byte: whether the handshake is done, whether the socket takes everything at once, and whether the link is tried first; second: how each piece is cut; then
/// instructions.
pub fn run(data: &[u8]) {
    let mut cursor = Cursor::new(data);
    let (mode, cut) = (cursor.u8(), cursor.u8());
    let waits = mode & 4 != 0;
    let (mut whole, mut split) = (Published::new(waits), Published::new(waits));
    let mut cuts = sizes(cut);
    let mut peer = Peer::new();
    // The handshake is many bytes that say little: with this bit alone it is gone through.
    if mode & 0x20 == 0 {
        whole.skip_handshake();
        split.skip_handshake();
    } else if mode & 1 == 0 {
        peer.put_opening(mode, 2);
    }
    // Where a socket takes only a part, answers wait in it, and two sessions that read in other pieces do not stay in step.
    let takes_all = mode & 2 == 0;
    for published in [&mut whole, &mut split] {
        published.write(if takes_all { usize::MAX } else { 1537 });
    }
    while !cursor.is_empty() && whole.failed.is_none() {
        let step = peer.step(&mut cursor);
        let limit = if takes_all { usize::MAX } else { usize::from(cursor.u8()) * 8 };
        let wire = std::mem::take(&mut peer.wire);
        whole.feed(&wire, || usize::MAX);
        split.feed(&wire, &mut cuts);
        for published in [&mut whole, &mut split] {
            match step {
                Step::Wire => {}
                Step::Pass(time) => published.pass(time),
                Step::Act(choice) => published.act(choice, waits),
            }
            published.write(limit);
        }
        if matches!(step, Step::Act(AGAIN)) {
            peer = Peer::new();
            peer.put_opening(mode, 2);
        }
        if takes_all {
            assert_eq!((&whole.events, whole.failed), (&split.events, split.failed));
        }
        let again = whole.events.windows(2).find(|pair| pair[0] == pair[1] && !matches!(pair[0], Event::FrameSent(_)));
        assert!(again.is_none(), "it is said twice: {again:?}");
        crate::served::words_of(&whole.events);
        whole.events.clear();
        split.events.clear();
    }
    // Reading takes as long as all that was sent took to make.
    if cut & 1 == 0 { whole.check_sent() } else { split.check_sent() }
}
