//! One viewer: from its offer to its end. ICE-lite, DTLS, then packets.
//!
//! `P` is a way that datagrams come and go, as the shell names it: a socket and an address, or a connection.

use crate::answer::Chosen;
use crate::feed::Feed;
use crate::history::History;
use crate::offer::{IceText, Setup, Transport};
use crate::pace::Bucket;
use crate::rtcp::{self, Feedback, SenderReport};
use crate::srtp::{Keys, Profile, RtcpReceiver, RtcpSender, RtpSender};
use crate::stun;
use core::net::SocketAddr;
use core::time::Duration;
use dimpl::{Dtls, DtlsCertificate, Output, SrtpProfile};
use sightline_media::{Instant, WallTime};
use std::collections::VecDeque;
use std::sync::Arc;

/// How long a viewer may take from its offer to its first packet: slow networks need a few seconds.
const SETUP_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a viewer counts as there after its last check (RFC 7675 §5.1).
const CONSENT_TIMEOUT: Duration = Duration::from_secs(30);
/// A way that is nominated again and again is left for one that the player prefers less only when it has been silent for so long: players
/// check every two and a half seconds at the least.
const NOMINATED_STALE: Duration = Duration::from_secs(5);
/// Ways that a player may try: its addresses times ours.
const WAYS_MAX: usize = 16;
/// How often a sender reports: what keeps sound and pictures together needs the first few soon.
const REPORT_INTERVAL: Duration = Duration::from_secs(2);
/// How often a viewer may begin anew at the cached key frame: it asks for one as long as it has none.
const BEGIN_ANEW_INTERVAL: Duration = Duration::from_millis(1000);
/// Packets that wait to be sent again: more are a link that is down.
const RESENDS_MAX: usize = 1024;
/// Datagrams that the session itself has to send: a flight of a handshake and a few answers.
const TRANSMITS_MAX: usize = 64;
/// The longest datagram of a handshake.
const HANDSHAKE_BYTES_MAX: usize = 2048;
/// The name that pictures and sound share in reports: as in the answer.
const NAME: &str = "sightline";

/// What all viewers of an origin share.
#[derive(Clone)]
pub struct Identity {
    config: Arc<dimpl::Config>,
    certificate: DtlsCertificate,
    /// What the library's own clock says at [`Instant::ZERO`].
    began: std::time::Instant,
}

impl core::fmt::Debug for Identity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Identity(***)")
    }
}

impl Identity {
    /// With a certificate and its key, both in DER; `began`: what the system's clock showed at [`Instant::ZERO`].
    ///
    /// # Errors
    /// The handshake's library takes none of its ciphers.
    pub fn new(certificate: Vec<u8>, private_key: Vec<u8>, began: std::time::Instant) -> Result<Self, dimpl::Error> {
        // The address has shown by ICE that it is one: no cookie for it.
        let config = dimpl::Config::builder().use_server_cookie(false).mtu(crate::rtp::DATAGRAM_BYTES).build()?;
        Ok(Self { config: Arc::new(config), certificate: DtlsCertificate { certificate, private_key }, began })
    }

    /// The SHA-256 of the certificate.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        sha256(&self.certificate.certificate)
    }

    fn time(&self, now: Instant) -> std::time::Instant {
        self.began + Duration::from_micros(now.as_micros())
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let mut out = [0; 32];
    out.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    out
}

/// A datagram to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transmit<P> {
    /// Where to.
    pub way: P,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Why a session is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Over {
    /// The player did not come within [`SETUP_TIMEOUT`].
    #[error("the player has not connected in time: is the port reached by UDP or TCP?")]
    Setup,
    /// It stopped answering.
    #[error("the player has not been heard of for 30 seconds")]
    Consent,
    /// It said so.
    #[error("the player has left")]
    Left,
    /// Its certificate is not the one of its offer.
    #[error("the player's certificate is not the one of its offer")]
    Certificate,
    /// The handshake failed.
    #[error("the DTLS handshake failed")]
    Handshake,
    /// The keys are used up, or can't be had.
    #[error("the connection's keys can't be used")]
    Keys,
}

/// What a viewer is given at a time: packets one behind another.
#[derive(Debug, Default)]
pub struct Burst {
    /// Their bytes.
    pub bytes: Vec<u8>,
    /// Their lengths.
    pub lengths: Vec<usize>,
}

impl Burst {
    /// Nothing.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.lengths.clear();
    }
}

/// Times of a track against those of the clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// A time of the track, in its own ticks.
    pub ticks: i64,
    /// Ticks in a second.
    pub clock_rate: u32,
    /// When the stream was there.
    pub at: Instant,
}

struct Protection {
    rtp: RtpSender,
    rtcp: RtcpSender,
    of_player: RtcpReceiver,
}

/// A track of a viewer.
struct Sent {
    feed: Feed,
    resends: VecDeque<u16>,
    reported_at: Option<Instant>,
}

/// One viewer.
pub struct Session<P> {
    ours: IceText,
    theirs: IceText,
    fingerprint: [u8; 32],
    identity: Identity,
    dtls: Dtls,
    dtls_timeout: Option<Instant>,
    is_peer_known: bool,
    protection: Option<Protection>,
    /// Ways that the player has checked.
    ways: Vec<P>,
    nominated: Option<Nominated<P>>,
    began: Instant,
    heard_at: Instant,
    transmits: VecDeque<Transmit<P>>,
    video: Sent,
    audio: Option<Sent>,
    bucket: Bucket,
    began_anew_at: Option<Instant>,
    wants_key_frame: bool,
    over: Option<Over>,
}

#[derive(Clone, Copy)]
struct Nominated<P> {
    way: P,
    priority: u32,
    at: Instant,
}

impl<P> core::fmt::Debug for Session<P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Session").field("ufrag", &self.ours.ufrag).field("over", &self.over).finish_non_exhaustive()
    }
}

impl<P: Copy + Eq> Session<P> {
    /// Of an offer that was answered. `seed` decides where numbers and times begin.
    #[must_use]
    pub fn new(
        identity: &Identity,
        player: &Transport,
        ours: IceText,
        [video, audio]: [Option<&Chosen>; 2],
        seed: u64,
        now: Instant,
    ) -> Self {
        let mut dtls = Dtls::new_12(identity.config.clone(), identity.certificate.clone(), identity.time(now));
        dtls.set_active(player.setup == Setup::Passive);
        let sent = |chosen: &Chosen, seed| Sent {
            feed: Feed::new(chosen.ssrc, chosen.codec.payload_type, seed),
            resends: VecDeque::new(),
            reported_at: None,
        };
        Self {
            ours,
            theirs: player.ice.clone(),
            fingerprint: player.fingerprint,
            identity: identity.clone(),
            dtls,
            dtls_timeout: None,
            is_peer_known: false,
            protection: None,
            ways: Vec::new(),
            nominated: None,
            began: now,
            heard_at: now,
            transmits: VecDeque::new(),
            video: video.map_or_else(
                || Sent { feed: Feed::new(0, 0, seed), resends: VecDeque::new(), reported_at: None },
                |video| sent(video, seed),
            ),
            audio: audio.map(|audio| sent(audio, seed.rotate_left(17))),
            bucket: Bucket::new(now),
            began_anew_at: None,
            wants_key_frame: false,
            over: None,
        }
    }

    /// What a picture's packets bear as their time when the stream's own is this, in ticks of its clock.
    #[must_use]
    pub fn picture_timestamp(&self, ticks: i64) -> u32 {
        self.video.feed.timestamp(ticks)
    }

    /// Whether it can be sent packets.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.protection.is_some() && self.nominated.is_some() && self.over.is_none()
    }

    /// Whether it has something to send before the next picture comes: what was lost, or its beginning.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        let is_waiting = self.wants_key_frame || !self.video.feed.has_begun() || !self.video.resends.is_empty();
        self.is_connected() && (is_waiting || self.audio.as_ref().is_some_and(|audio| !audio.resends.is_empty()))
    }

    /// Whether the player has shown that it is at the end of this way.
    #[must_use]
    pub fn has_way(&self, way: P) -> bool {
        self.ways.contains(&way)
    }

    /// All ways that the player has shown to be at the end of.
    #[must_use]
    pub fn ways(&self) -> &[P] {
        &self.ways
    }

    /// Why it is over, when it is.
    #[must_use]
    pub fn over(&self) -> Option<Over> {
        self.over
    }

    /// Where its packets go.
    #[must_use]
    pub fn way(&self) -> Option<P> {
        self.nominated.as_ref().map(|nominated| nominated.way)
    }

    /// A datagram that came. Only the player's checks prove where it is; all else is taken from ways that were checked.
    pub fn handle_datagram(&mut self, way: P, from: SocketAddr, bytes: &[u8], now: Instant) {
        match bytes.first() {
            Some(0..=3) => self.handle_check(way, from, bytes, now),
            Some(20..=63) if self.ways.contains(&way) => self.handle_handshake(bytes, now),
            Some(128..=191) if self.ways.contains(&way) => self.handle_report(bytes, now),
            _ => {}
        }
    }

    fn handle_check(&mut self, way: P, from: SocketAddr, bytes: &[u8], now: Instant) {
        let Some(check) = stun::check(bytes, from, &self.ours, &self.theirs) else { return };
        if !self.ways.contains(&way) {
            if self.ways.len() >= WAYS_MAX {
                return;
            }
            self.ways.push(way);
        }
        self.heard_at = now;
        self.transmit(way, check.answer);
        if check.nominates || self.nominated.is_none() {
            self.nominate(Nominated { way, priority: if check.nominates { check.priority } else { 0 }, at: now });
        }
        if self.dtls.is_active() && self.dtls_timeout.is_none() {
            self.drive_handshake(now);
        }
    }

    /// A player may nominate several ways, if it does so at once with the check: then the one that it prefers counts.
    fn nominate(&mut self, new: Nominated<P>) {
        let is_better = self
            .nominated
            .as_ref()
            .is_none_or(|old| old.way == new.way || new.priority >= old.priority || new.at.since(old.at) >= NOMINATED_STALE);
        if is_better {
            self.nominated = Some(new);
        }
    }

    fn handle_handshake(&mut self, bytes: &[u8], now: Instant) {
        let time = self.identity.time(now);
        let handled = self.dtls.handle_timeout(time).and_then(|()| self.dtls.handle_packet(bytes));
        if handled.is_err() {
            self.end(Over::Handshake);
        }
        self.drive_handshake(now);
    }

    fn drive_handshake(&mut self, now: Instant) {
        if self.dtls.handle_timeout(self.identity.time(now)).is_err() {
            self.end(Over::Handshake);
            return;
        }
        let mut space = [0; HANDSHAKE_BYTES_MAX];
        loop {
            match self.dtls.poll_output(&mut space) {
                Output::Packet(bytes) => {
                    let bytes = bytes.to_vec();
                    if let Some(way) = self.way() {
                        self.transmit(way, bytes);
                    }
                }
                Output::Timeout(at) => {
                    let micros = at.saturating_duration_since(self.identity.began).as_micros();
                    self.dtls_timeout = Some(Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)));
                    return;
                }
                Output::PeerCert(certificate) => {
                    self.is_peer_known = sha256(certificate) == self.fingerprint;
                    if !self.is_peer_known {
                        self.end(Over::Certificate);
                    }
                }
                Output::KeyingMaterial(material, profile) if self.is_peer_known => self.protect(&material, profile),
                Output::CloseNotify => self.end(Over::Left),
                // Longer than any that the library makes.
                Output::BufferTooSmall { .. } => {
                    self.end(Over::Handshake);
                    return;
                }
                Output::Connected | Output::KeyingMaterial(..) | Output::ApplicationData(_) | _ => {}
            }
        }
    }

    fn protect(&mut self, material: &[u8], profile: SrtpProfile) {
        let profile = match profile {
            SrtpProfile::AEAD_AES_256_GCM => Profile::Aes256Gcm,
            SrtpProfile::AEAD_AES_128_GCM => Profile::Aes128Gcm,
            SrtpProfile::AES128_CM_SHA1_80 => Profile::Aes128CmSha1,
            _ => return self.end(Over::Keys),
        };
        let is_server = !self.dtls.is_active();
        let made = Keys::new(profile, material).and_then(|keys| {
            Ok(Protection {
                rtp: keys.rtp_sender(is_server)?,
                rtcp: keys.rtcp_sender(is_server)?,
                of_player: keys.rtcp_receiver(!is_server)?,
            })
        });
        match made {
            // The keys of a handshake are taken once: counts of packets begin with them.
            Ok(protection) if self.protection.is_none() => self.protection = Some(protection),
            Ok(_) | Err(_) => self.end(Over::Keys),
        }
    }

    fn handle_report(&mut self, bytes: &[u8], now: Instant) {
        let Some(protection) = &mut self.protection else { return };
        // RTP of a player that only receives is not looked at (RFC 5761 §4).
        if !bytes.get(1).is_some_and(|kind| (192..=223).contains(kind)) {
            return;
        }
        let Ok(compound) = protection.of_player.open(bytes) else { return };
        for feedback in rtcp::parse(&compound) {
            self.handle_feedback(feedback, now);
        }
    }

    fn handle_feedback(&mut self, feedback: Feedback, now: Instant) {
        match feedback {
            Feedback::Nack { ssrc, sequences } => {
                let tracks = core::iter::once(&mut self.video).chain(&mut self.audio);
                let Some(track) = tracks.into_iter().find(|track| track.feed.ssrc() == ssrc) else { return };
                let room = RESENDS_MAX.saturating_sub(track.resends.len());
                track.resends.extend(sequences.into_iter().take(room));
            }
            Feedback::KeyFrame { ssrc } if ssrc == self.video.feed.ssrc() && self.video.feed.has_begun() => {
                let is_due = self.began_anew_at.is_none_or(|at| now.since(at) >= BEGIN_ANEW_INTERVAL);
                self.wants_key_frame |= is_due;
            }
            Feedback::Bye => self.end(Over::Left),
            Feedback::KeyFrame { .. } | Feedback::Report { .. } => {}
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.over.is_some() {
            return;
        }
        if self.protection.is_none() && now.since(self.began) >= SETUP_TIMEOUT {
            self.end(Over::Setup);
        } else if now.since(self.heard_at) >= CONSENT_TIMEOUT {
            self.end(Over::Consent);
        } else if self.dtls_timeout.is_some_and(|at| at <= now) {
            self.drive_handshake(now);
        }
    }

    /// Ends it from here: the player learns it.
    pub fn close(&mut self, now: Instant) {
        if let Some(way) = self.way() {
            let ssrcs = [Some(self.video.feed.ssrc()), self.audio.as_ref().map(|audio| audio.feed.ssrc())];
            for ssrc in ssrcs.into_iter().flatten() {
                self.report(way, &rtcp::bye(ssrc));
            }
            if self.dtls.close().is_ok() {
                self.drive_handshake(now);
            }
        }
        self.end(Over::Left);
    }

    fn end(&mut self, over: Over) {
        self.over = self.over.or(Some(over));
    }

    fn transmit(&mut self, way: P, bytes: Vec<u8>) {
        // Who makes us answer faster than answers leave gets none: they are lost as on any network.
        if self.transmits.len() < TRANSMITS_MAX {
            self.transmits.push_back(Transmit { way, bytes });
        }
    }

    fn report(&mut self, way: P, compound: &[u8]) {
        let Some(protection) = &mut self.protection else { return };
        match protection.rtcp.protect(compound) {
            Ok(bytes) => self.transmit(way, bytes),
            Err(_) => self.end(Over::Keys),
        }
    }

    /// The next datagram that the session itself has to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit<P>> {
        self.transmits.pop_front()
    }

    /// Whether the player waits for a key frame. It gets the last one with the next packets; a newer one would be better.
    #[must_use]
    pub fn needs_key_frame(&self) -> bool {
        self.wants_key_frame
    }

    /// Sender's reports that are due.
    pub fn report_due(&mut self, [video, audio]: [Option<Moment>; 2], wall: WallTime, now: Instant) {
        let Some(way) = self.way().filter(|_| self.is_connected()) else { return };
        let mut compounds = Vec::new();
        let tracks = [Some(&mut self.video), self.audio.as_mut()];
        for (track, moment) in tracks.into_iter().zip([video, audio]) {
            let (Some(track), Some(moment)) = (track, moment) else { continue };
            let is_due = track.reported_at.is_none_or(|at| now.since(at) >= REPORT_INTERVAL);
            let (packets, bytes) = track.feed.sent();
            if !is_due || packets == 0 {
                continue;
            }
            track.reported_at = Some(now);
            let since = i64::try_from(now.since(moment.at).as_micros()).unwrap_or(i64::MAX);
            let ticks = moment.ticks.saturating_add(since.saturating_mul(i64::from(moment.clock_rate)) / 1_000_000);
            let timestamp = track.feed.timestamp(ticks);
            let report = SenderReport { ssrc: track.feed.ssrc(), ntp: rtcp::ntp(wall.unix_micros), timestamp, packets, bytes };
            compounds.push(report.compound(NAME));
        }
        for compound in compounds {
            self.report(way, &compound);
        }
    }

    /// Appends packets to `burst`, `packets_max` at the most: first what was lost, then what comes next. `false` when there may be more as
    /// soon as time has passed, or at once.
    pub fn poll_media(&mut self, [video, audio]: [Option<&History>; 2], packets_max: usize, burst: &mut Burst, now: Instant) -> bool {
        if !self.is_connected() {
            return true;
        }
        let Some(protection) = &self.protection else { return true };
        let mut is_done = true;
        if let (Some(track), Some(history)) = (&mut self.audio, audio) {
            if !track.feed.has_begun() {
                track.feed.begin_at_head(history);
            }
            // Sound is little: it is not paced.
            is_done &= track.fill(history, protection, None, packets_max, burst);
        }
        if let Some(history) = video {
            if core::mem::take(&mut self.wants_key_frame) {
                self.began_anew_at = Some(now);
                self.video.resends.clear();
                self.video.feed.begin_at_start(history);
            }
            self.bucket.refill(history, now);
            is_done &= self.video.fill(history, protection, Some(&mut self.bucket), packets_max, burst);
        }
        is_done
    }
}

impl Sent {
    /// True when there is nothing more.
    fn fill(
        &mut self,
        history: &History,
        protection: &Protection,
        mut bucket: Option<&mut Bucket>,
        packets_max: usize,
        burst: &mut Burst,
    ) -> bool {
        while burst.lengths.len() < packets_max {
            if bucket.as_ref().is_some_and(|bucket| bucket.is_empty()) {
                return self.resends.is_empty() && self.feed.peek(history).is_none();
            }
            let outgoing = match self.resends.pop_front() {
                Some(sequence) => match self.feed.resend(sequence, history) {
                    Some(outgoing) => outgoing,
                    None => continue,
                },
                None => match self.feed.take(history) {
                    Some(outgoing) => outgoing,
                    None => return true,
                },
            };
            let start = burst.bytes.len();
            let header = outgoing.header.bytes();
            let protected = protection.rtp.protect(&header, outgoing.payload, outgoing.header.ssrc, outgoing.index, &mut burst.bytes);
            if protected.is_err() {
                burst.bytes.truncate(start);
                continue;
            }
            let length = burst.bytes.len() - start;
            burst.lengths.push(length);
            if let Some(bucket) = &mut bucket {
                bucket.take(length);
            }
        }
        false
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
