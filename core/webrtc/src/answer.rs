//! The answer to a player's offer: what is sent, and where we are. ICE-lite, one connection for all, sent only (RFC 9725's sibling WHEP).

use crate::offer::{IceText, Medium, MediumKind, Offer, OfferedCodec, Setup, Transport};
use core::fmt::Write as _;
use core::net::{IpAddr, SocketAddr};
use sightline_media::{Codec, TrackConfig};

/// Ways of feedback that are understood; others that a player offers are left out.
const FEEDBACK: [&str; 3] = ["nack", "nack pli", "ccm fir"];
/// The name under which pictures and sound are one.
const STREAM_ID: &str = "sightline";
/// Type preference of a host candidate (RFC 8445 §5.1.2.2), and below it of one by TCP (RFC 6544 §4.2).
const UDP_PREFERENCE: u32 = 126;
const TCP_PREFERENCE: u32 = 90;
/// The most addresses that an answer names: each costs the player checks.
pub const CANDIDATES_MAX: usize = 16;

/// How a track is sent to a player.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chosen {
    /// Which medium of the offer it is.
    pub medium: usize,
    /// As the player named it.
    pub codec: OfferedCodec,
    /// Who sends it.
    pub ssrc: u32,
}

/// Our side.
#[derive(Clone, Debug)]
pub struct Answer<'a> {
    /// A number of this session's own.
    pub session_id: u64,
    /// How our ICE checks are known.
    pub ice: &'a IceText,
    /// The SHA-256 of our certificate.
    pub fingerprint: [u8; 32],
    /// Where we are, by UDP and by TCP.
    pub udp: &'a [SocketAddr],
    /// The same by TCP.
    pub tcp: &'a [SocketAddr],
    /// The tracks.
    pub tracks: &'a [Chosen],
}

/// Why a track can't be sent to a player.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Mismatch {
    /// WebRTC has no way for such a track.
    #[error("WebRTC does not carry {0}: play it by HLS or FLV")]
    NotByWebRtc(&'static str),
    /// The player does not name it.
    #[error("the player's offer has no {0}: play it by HLS or FLV, or use a browser that decodes it")]
    NotOffered(&'static str),
    /// The player has no place for it.
    #[error("the player's offer has no medium that receives video")]
    NoMedium,
}

/// The codec of a player in which pictures can be sent.
///
/// # Errors
/// [`Mismatch`], in words for people.
pub fn choose_video(offer: &Offer, config: &TrackConfig, ssrc: u32) -> Result<Chosen, Mismatch> {
    let codec = config.codec();
    if !matches!(codec, Codec::H264 | Codec::Hevc) {
        return Err(Mismatch::NotByWebRtc(codec.name()));
    }
    let mut media = offer.media.iter().enumerate().filter(|(_, medium)| is_place(medium, MediumKind::Video)).peekable();
    media.peek().ok_or(Mismatch::NoMedium)?;
    let found = media.find_map(|(at, medium)| Some((at, video_codec(medium, config)?)));
    let (medium, codec) =
        found.ok_or(Mismatch::NotOffered(if codec == Codec::H264 { "H.264 with packetization-mode=1" } else { "H.265" }))?;
    Ok(Chosen { medium, codec: codec.clone(), ssrc })
}

fn is_place(medium: &Medium, kind: MediumKind) -> bool {
    medium.kind == kind && medium.receives && medium.has_rtcp_mux && medium.transport.is_some()
}

/// The player's codec in which sound of Opus can be sent; `None` too where sound would need a connection of its own beside pictures.
#[must_use]
pub fn choose_opus(offer: &Offer, ssrc: u32) -> Option<Chosen> {
    if !offer.is_bundled && offer.media.iter().any(|medium| is_place(medium, MediumKind::Video)) {
        return None;
    }
    let mut media = offer.media.iter().enumerate().filter(|(_, medium)| is_place(medium, MediumKind::Audio));
    media.find_map(|(at, medium)| {
        let codec = medium.codecs.iter().find(|codec| codec.name == "OPUS" && codec.clock_rate == 48_000)?;
        Some(Chosen { medium: at, codec: codec.clone(), ssrc })
    })
}

fn video_codec<'a>(medium: &'a Medium, config: &TrackConfig) -> Option<&'a OfferedCodec> {
    let named = |name: &'static str| medium.codecs.iter().filter(move |codec| codec.name == name && codec.clock_rate == 90_000);
    let Some(avc) = config.avc() else { return named("H265").next() };
    // Only by this mode may a picture be larger than a packet (RFC 6184 §5.4).
    let fragments = || named("H264").filter(|codec| codec.parameter("packetization-mode") == Some("1"));
    let profile = |codec: &OfferedCodec| codec.parameter("profile-level-id").and_then(|id| u8::from_str_radix(id.get(..2)?, 16).ok());
    // The player's own decoder takes what the parameter sets say; the number is that of the nearest profile.
    let ours = avc.picture().profile;
    fragments().find(|codec| profile(codec) == Some(ours)).or_else(|| fragments().next())
}

/// The connection that these tracks of an offer share: that of the first of them in the offer's order (RFC 9143 §7.3.1).
#[must_use]
pub fn transport<'a>(offer: &'a Offer, tracks: &[Chosen]) -> Option<&'a Transport> {
    let first = tracks.iter().map(|track| track.medium).min()?;
    offer.media.get(first)?.transport.as_ref()
}

impl Answer<'_> {
    /// The answer's text.
    #[must_use]
    pub fn text(&self, offer: &Offer) -> String {
        let mut out = String::with_capacity(2048);
        let bundled = self.tracks.iter().filter_map(|track| offer.media.get(track.medium)).filter(|medium| !medium.mid.is_empty());
        let mids = bundled.fold(String::new(), |mids, medium| mids + " " + &medium.mid);
        // Writing to a string can't fail.
        let _ = write!(out, "v=0\r\no=- {} 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=ice-lite\r\n", self.session_id);
        if !mids.is_empty() {
            let _ = write!(out, "a=group:BUNDLE{mids}\r\n");
        }
        let _ = write!(out, "a=msid-semantic:WMS {STREAM_ID}\r\n");
        for (at, medium) in offer.media.iter().enumerate() {
            match self.tracks.iter().find(|track| track.medium == at) {
                Some(track) => self.put_track(&mut out, offer, medium, track),
                None => put_refusal(&mut out, medium),
            }
        }
        out
    }

    fn put_track(&self, out: &mut String, offer: &Offer, medium: &Medium, Chosen { codec, ssrc, .. }: &Chosen) {
        let (kind, protocol, number) = (&medium.line.0, &medium.line.1, codec.payload_type);
        let _ = write!(out, "m={kind} 9 {protocol} {number}\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n");
        let _ = write!(out, "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:sha-256 ", self.ice.ufrag, self.ice.password);
        for (at, byte) in self.fingerprint.iter().enumerate() {
            let _ = write!(out, "{}{byte:02X}", if at == 0 { "" } else { ":" });
        }
        let is_passive = transport(offer, self.tracks).is_some_and(|player| player.setup == Setup::Passive);
        let setup = if is_passive { "active" } else { "passive" };
        let _ = write!(out, "\r\na=setup:{setup}\r\n");
        put_mid(out, medium);
        let _ = write!(out, "a=sendonly\r\na=msid:{STREAM_ID} {kind}\r\na=rtcp-mux\r\n");
        if medium.has_reduced_rtcp {
            out.push_str("a=rtcp-rsize\r\n");
        }
        let _ = write!(out, "a=rtpmap:{number} {}\r\n", codec.map);
        if !codec.parameters.is_empty() {
            let _ = write!(out, "a=fmtp:{number} {}\r\n", codec.parameters);
        }
        for kind in FEEDBACK.iter().filter(|kind| codec.feedback.iter().any(|offered| offered == *kind)) {
            let _ = write!(out, "a=rtcp-fb:{number} {kind}\r\n");
        }
        let _ = write!(out, "a=ssrc:{ssrc} cname:{STREAM_ID}\r\na=ssrc:{ssrc} msid:{STREAM_ID} {kind}\r\n");
        put_candidates(out, self.udp, self.tcp);
    }
}

fn put_refusal(out: &mut String, medium: &Medium) {
    let (kind, protocol, format) = &medium.line;
    let _ = write!(out, "m={kind} 0 {protocol} {format}\r\nc=IN IP4 0.0.0.0\r\n");
    put_mid(out, medium);
    if let Some(codec) = medium.codecs.first().filter(|codec| !codec.map.is_empty()) {
        let _ = write!(out, "a=rtpmap:{} {}\r\n", codec.payload_type, codec.map);
    }
    out.push_str("a=inactive\r\n");
}

fn put_mid(out: &mut String, medium: &Medium) {
    if !medium.mid.is_empty() {
        let _ = write!(out, "a=mid:{}\r\n", medium.mid);
    }
}

fn put_candidates(out: &mut String, udp: &[SocketAddr], tcp: &[SocketAddr]) {
    for (at, address) in (0_u32..).zip(udp.iter().take(CANDIDATES_MAX)) {
        let (priority, ip, port) = (priority(UDP_PREFERENCE, at, address.ip()), address.ip(), address.port());
        let _ = write!(out, "a=candidate:u{at} 1 udp {priority} {ip} {port} typ host\r\n");
    }
    for (at, address) in (0_u32..).zip(tcp.iter().take(CANDIDATES_MAX)) {
        let (priority, ip, port) = (priority(TCP_PREFERENCE, at, address.ip()), address.ip(), address.port());
        let _ = write!(out, "a=candidate:t{at} 1 tcp {priority} {ip} {port} typ host tcptype passive\r\n");
    }
    out.push_str("a=end-of-candidates\r\n");
}

/// RFC 8445 §5.1.2.1: the first of an answer's addresses is the one to try first, IPv6 before IPv4 of the same place.
fn priority(of_type: u32, at: u32, ip: IpAddr) -> u32 {
    let local = 65_535 - 2 * at - u32::from(ip.is_ipv4());
    (of_type << 24) | (local << 8) | 255
}
