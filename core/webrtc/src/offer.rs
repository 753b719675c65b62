//! A player's offer (SDP, RFC 8866; JSEP, RFC 8829): which kinds of media it wants, in which codecs, and how it is reached.

use core::fmt;

/// The longest offer that is read, in bytes: Chromium's for pictures and sound, with all its codecs, is 8 KiB.
pub const OFFER_BYTES_MAX: usize = 64 * 1024;
/// Media of an offer: a player has two.
const MEDIA_MAX: usize = 16;
/// Codecs of a medium: Chromium names forty.
const CODECS_MAX: usize = 128;
/// The longest ICE user name fragment or password (RFC 8839 §5.4).
const ICE_TEXT_MAX: usize = 256;
/// The shortest of them (RFC 8839 §5.4): short ones can be guessed.
const UFRAG_MIN: usize = 4;
/// The shortest ICE password (RFC 8839 §5.4).
const PASSWORD_MIN: usize = 22;
/// Bytes of a SHA-256 fingerprint.
const FINGERPRINT_BYTES: usize = 32;

/// What a player offers.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Its media, in their order: an answer has as many.
    pub media: Vec<Medium>,
    /// Whether all of them may share one connection. Otherwise one of them is answered.
    pub is_bundled: bool,
}

/// How a player is reached.
#[derive(Clone, Debug)]
pub struct Transport {
    /// How its ICE checks are known.
    pub ice: IceText,
    /// The SHA-256 of its certificate, from its DTLS handshake.
    pub fingerprint: [u8; FINGERPRINT_BYTES],
    /// Its part in the DTLS handshake.
    pub setup: Setup,
}

/// A user name fragment and a password of ICE.
#[derive(Clone, PartialEq, Eq)]
pub struct IceText {
    /// The user name fragment.
    pub ufrag: String,
    /// The password: a secret.
    pub password: String,
}

impl fmt::Debug for IceText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceText").field("ufrag", &self.ufrag).field("password", &"***").finish()
    }
}

/// Who begins the DTLS handshake (RFC 5763 §5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Setup {
    /// The one that says so begins.
    Active,
    /// The other one.
    Passive,
    /// Either.
    ActPass,
}

/// Pictures or sound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MediumKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
    /// Anything else: a data channel.
    Other,
}

/// One medium of an offer.
#[derive(Clone, Debug)]
pub struct Medium {
    /// What it is of.
    pub kind: MediumKind,
    /// The first words of its line, to be said again in the answer: `video`, `UDP/TLS/RTP/SAVPF` and the first format.
    pub line: (String, String, String),
    /// Its identification; empty for a player that names none.
    pub mid: String,
    /// Whether the player would take what is sent.
    pub receives: bool,
    /// Whether RTCP may come on the port of RTP, without which there is no single port.
    pub has_rtcp_mux: bool,
    /// Whether RTCP may come in packets of less than the usual (RFC 5506).
    pub has_reduced_rtcp: bool,
    /// In the player's order of preference.
    pub codecs: Vec<OfferedCodec>,
    /// The connection that it would have if it were the first; `None` where the offer has none for it.
    pub transport: Option<Transport>,
}

/// A codec that a player names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OfferedCodec {
    /// The number that its packets must bear.
    pub payload_type: u8,
    /// Its name in capitals: `H264`.
    pub name: String,
    /// The same with its rate, as it was written: `opus/48000/2`. Empty for codecs whose numbers are known to all.
    pub map: String,
    /// Ticks of its times in a second.
    pub clock_rate: u32,
    /// Its parameters, as they were written: `packetization-mode=1;profile-level-id=42e01f`.
    pub parameters: String,
    /// What it can say about packets: `nack pli`.
    pub feedback: Vec<String>,
}

impl OfferedCodec {
    /// A parameter.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let pairs = self.parameters.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.into_iter().find(|(key, _)| key.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// Why an offer can't be answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OfferError {
    /// It is no SDP.
    #[error("the body is no SDP offer: it begins with v=0 and has lines of the form x=…")]
    NoSdp,
    /// It is too long.
    #[error("the offer is longer than 64 KiB, or has more than 16 media or 128 codecs of one")]
    TooLong,
    /// It has no media.
    #[error("the offer has no media: add a transceiver for video, direction recvonly")]
    NoMedia,
    /// It has no `ice-ufrag`, no `ice-pwd`, or they are too short.
    #[error("the offer has no a=ice-ufrag and a=ice-pwd of the lengths in RFC 8839")]
    NoIce,
    /// It has no fingerprint by SHA-256.
    #[error("the offer has no a=fingerprint:sha-256, which names the player's certificate")]
    NoFingerprint,
    /// RTP and RTCP have a port each.
    #[error("no medium of the offer has a=rtcp-mux (RFC 5761), which WHEP asks for")]
    NoRtcpMux,
}

impl Offer {
    /// Reads an offer.
    ///
    /// # Errors
    /// [`OfferError`]
    pub fn parse(text: &str) -> Result<Self, OfferError> {
        if text.len() > OFFER_BYTES_MAX {
            return Err(OfferError::TooLong);
        }
        let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
        if lines.next() != Some("v=0") {
            return Err(OfferError::NoSdp);
        }
        let (mut session, mut media, mut is_bundled) = (Attributes::default(), Vec::<(Medium, Attributes)>::new(), false);
        for line in lines {
            let (key, value) = line.split_once('=').filter(|(key, _)| key.len() == 1).ok_or(OfferError::NoSdp)?;
            match key {
                "m" if media.len() >= MEDIA_MAX => return Err(OfferError::TooLong),
                "m" => media.push((Medium::parse(value)?, Attributes::default())),
                "a" => match media.last_mut() {
                    Some((medium, attributes)) => {
                        medium.handle_attribute(value);
                        attributes.handle(value);
                    }
                    None => {
                        is_bundled |= value.starts_with("group:BUNDLE ");
                        session.handle(value);
                    }
                },
                _ => {}
            }
        }
        Self::gather(&session, media, is_bundled)
    }

    /// What stands beside the media counts for all of them. A medium that is bundled only (RFC 9143 §7.2.1) need not say again what the first of
    /// them says.
    fn gather(session: &Attributes<'_>, media: Vec<(Medium, Attributes<'_>)>, is_bundled: bool) -> Result<Self, OfferError> {
        let wanted = || media.iter().filter(|(medium, _)| medium.kind != MediumKind::Other);
        let common = wanted().next().map(|(_, attributes)| attributes.or(session)).ok_or(OfferError::NoMedia)?;
        // The first says what is wrong, if something is.
        common.transport()?;
        if !wanted().any(|(medium, _)| medium.has_rtcp_mux) {
            return Err(OfferError::NoRtcpMux);
        }
        let transport = |attributes: &Attributes<'_>| {
            let own = attributes.or(session);
            if is_bundled { own.or(&common) } else { own }.transport().ok()
        };
        let media = media.iter().map(|(medium, attributes)| Medium { transport: transport(attributes), ..medium.clone() }).collect();
        Ok(Self { media, is_bundled })
    }
}

/// What may stand beside a medium, or beside all of them.
#[derive(Clone, Default)]
struct Attributes<'a> {
    ufrag: Option<&'a str>,
    password: Option<&'a str>,
    fingerprint: Option<[u8; FINGERPRINT_BYTES]>,
    setup: Option<Setup>,
}

impl<'a> Attributes<'a> {
    fn or(&self, other: &Self) -> Self {
        Self {
            // They belong together.
            ufrag: if self.password.is_some() { self.ufrag } else { other.ufrag },
            password: self.password.or(other.password),
            fingerprint: self.fingerprint.or(other.fingerprint),
            setup: self.setup.or(other.setup),
        }
    }

    fn transport(&self) -> Result<Transport, OfferError> {
        let (Some(ufrag), Some(password)) = (self.ufrag, self.password) else { return Err(OfferError::NoIce) };
        let is_within =
            |text: &str, least: usize| (least..=ICE_TEXT_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_within(ufrag, UFRAG_MIN) || !is_within(password, PASSWORD_MIN) {
            return Err(OfferError::NoIce);
        }
        Ok(Transport {
            ice: IceText { ufrag: ufrag.to_owned(), password: password.to_owned() },
            fingerprint: self.fingerprint.ok_or(OfferError::NoFingerprint)?,
            setup: self.setup.unwrap_or(Setup::ActPass),
        })
    }

    fn handle(&mut self, attribute: &'a str) {
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        match name {
            "ice-ufrag" => self.ufrag = Some(value),
            "ice-pwd" => self.password = Some(value),
            "fingerprint" => self.fingerprint = fingerprint(value).or(self.fingerprint),
            "setup" => {
                self.setup = match value {
                    "active" => Some(Setup::Active),
                    "passive" => Some(Setup::Passive),
                    _ => Some(Setup::ActPass),
                };
            }
            _ => {}
        }
    }
}

fn fingerprint(value: &str) -> Option<[u8; FINGERPRINT_BYTES]> {
    let (hash, digits) = value.split_once(' ')?;
    if !hash.eq_ignore_ascii_case("sha-256") {
        return None;
    }
    let mut bytes = [0; FINGERPRINT_BYTES];
    let mut pairs = digits.trim().split(':');
    for byte in &mut bytes {
        *byte = pairs.next().filter(|pair| pair.len() == 2).and_then(|pair| u8::from_str_radix(pair, 16).ok())?;
    }
    pairs.next().is_none().then_some(bytes)
}

impl Medium {
    /// `video 9 UDP/TLS/RTP/SAVPF 96 97`.
    fn parse(line: &str) -> Result<Self, OfferError> {
        let mut words = line.split_whitespace();
        let (Some(kind), Some(_port), Some(protocol), Some(format)) = (words.next(), words.next(), words.next(), words.next()) else {
            return Err(OfferError::NoSdp);
        };
        let is_rtp = protocol.ends_with("RTP/SAVPF") || protocol.ends_with("RTP/SAVP");
        let formats: Vec<&str> = core::iter::once(format).chain(words).collect();
        if formats.len() > CODECS_MAX {
            return Err(OfferError::TooLong);
        }
        let named = |number: u8| OfferedCodec {
            payload_type: number,
            name: String::new(),
            map: String::new(),
            clock_rate: 0,
            parameters: String::new(),
            feedback: Vec::new(),
        };
        Ok(Self {
            kind: match kind {
                "video" if is_rtp => MediumKind::Video,
                "audio" if is_rtp => MediumKind::Audio,
                _ => MediumKind::Other,
            },
            line: (kind.to_owned(), protocol.to_owned(), format.to_owned()),
            mid: String::new(),
            receives: true,
            has_rtcp_mux: false,
            has_reduced_rtcp: false,
            codecs: formats.iter().filter_map(|format| format.parse().ok()).filter(|number| *number < 128).map(named).collect(),
            transport: None,
        })
    }

    fn handle_attribute(&mut self, attribute: &str) {
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        match name {
            "mid" => value.clone_into(&mut self.mid),
            "sendonly" | "inactive" => self.receives = false,
            "rtcp-mux" => self.has_rtcp_mux = true,
            "rtcp-rsize" => self.has_reduced_rtcp = true,
            "rtpmap" => self.handle_map(value),
            "fmtp" => {
                let Some((codec, parameters)) = self.codec(value) else { return };
                parameters.clone_into(&mut codec.parameters);
            }
            "rtcp-fb" => self.handle_feedback(value),
            _ => {}
        }
    }

    /// `102 H264/90000`.
    fn handle_map(&mut self, value: &str) {
        let Some((codec, name)) = self.codec(value) else { return };
        name.trim().clone_into(&mut codec.map);
        let mut parts = name.split('/');
        codec.name = parts.next().unwrap_or_default().to_ascii_uppercase();
        codec.clock_rate = parts.next().and_then(|rate| rate.parse().ok()).unwrap_or_default();
    }

    /// `102 nack pli`, or `*` for all.
    fn handle_feedback(&mut self, value: &str) {
        if let Some(kind) = value.strip_prefix("* ") {
            self.codecs.iter_mut().for_each(|codec| codec.feedback.push(kind.trim().to_owned()));
        } else if let Some((codec, kind)) = self.codec(value) {
            codec.feedback.push(kind.trim().to_owned());
        }
        // As many as there are kinds, several times over: the rest is not looked at.
        self.codecs.iter_mut().for_each(|codec| codec.feedback.truncate(16));
    }

    /// The codec that a value begins with, and the rest.
    fn codec<'a>(&mut self, value: &'a str) -> Option<(&mut OfferedCodec, &'a str)> {
        let (number, rest) = value.split_once(' ')?;
        let number: u8 = number.parse().ok()?;
        Some((self.codecs.iter_mut().find(|codec| codec.payload_type == number)?, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::{Answer, choose_opus, choose_video};
    use sightline_media::{TrackConfig, avc::DecoderConfig};

    /// As Chromium 156 and aiortc 1.14 sent them, and in the shape of Firefox's.
    const OFFERS: [(&str, &str); 3] = [
        ("chromium", include_str!("offers/chromium.sdp")),
        ("aiortc", include_str!("offers/aiortc.sdp")),
        ("firefox", include_str!("offers/firefox.sdp")),
    ];

    fn config() -> TrackConfig {
        // Constrained Baseline, as cameras that save send it.
        let sps = [
            0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xec, 0x04, 0x40, 0x00, 0x00, 0x03, 0x00, 0x40, 0x00, 0x00, 0x0c, 0x83, 0xc6,
            0x0c, 0xa8,
        ];
        TrackConfig::H264(DecoderConfig::from_sets(&sps, &[0x68, 0xce, 0x0f, 0xc8]).unwrap())
    }

    #[test]
    fn every_player_s_offer_is_answered_with_its_own_numbers_on_one_connection() {
        for (player, text) in OFFERS {
            let offer = Offer::parse(text).unwrap_or_else(|error| panic!("{player}: {error}"));
            let video = choose_video(&offer, &config(), 7).unwrap_or_else(|error| panic!("{player}: {error}"));
            assert_eq!(video.codec.parameter("packetization-mode"), Some("1"), "{player}");
            assert!(video.codec.parameter("profile-level-id").unwrap().starts_with("42"), "{player}");
            let audio = choose_opus(&offer, 8).unwrap();
            let ice = IceText { ufrag: "ours".to_owned(), password: "x".repeat(32) };
            let tracks = [video, audio];
            let at = ["192.0.2.1:8189".parse().unwrap(), "[2001:db8::1]:8189".parse().unwrap()];
            let answer = Answer { session_id: 1, ice: &ice, fingerprint: [0xab; 32], udp: &at, tcp: &at, tracks: &tracks };
            let text = answer.text(&offer);
            assert_eq!(text.matches("\r\nm=").count(), offer.media.len(), "{player}: as many media as in the offer");
            assert_eq!(text.matches("\r\na=sendonly\r\n").count(), 2, "{player}: {text}");
            assert_eq!(text.matches("a=candidate:").count(), 8, "{player}: {text}");
            assert!(
                text.contains("a=setup:passive\r\n") && text.contains(&format!("a=rtpmap:{} H264/90000\r\n", tracks[0].codec.payload_type))
            );
            assert!(text.lines().all(|line| line.split_once('=').is_some_and(|(key, _)| key.len() == 1)), "{player}: {text}");
            // Some players ask of a medium that is refused what its number means.
            let refused = Answer { tracks: &tracks[..1], ..answer }.text(&offer);
            let (_, audio) = refused.split_once("\r\nm=audio 0 ").unwrap();
            assert!(
                audio.contains("\r\na=rtpmap:") && audio.contains("opus/48000/2\r\n") && audio.contains("a=inactive"),
                "{player}: {refused}"
            );
            // Our own answer reads as an offer would.
            assert_eq!(Offer::parse(&text).unwrap().media.len(), offer.media.len());
        }
    }

    #[test]
    fn the_profile_nearest_to_the_stream_s_is_taken_and_one_without_fragments_is_not() {
        let chromium = Offer::parse(OFFERS[0].1).unwrap();
        let high = [
            0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x5a, 0x80, 0x80, 0x80, 0xa0, 0x00, 0x00, 0x7d, 0x20,
            0x00, 0x17, 0x70, 0x01, 0xe3, 0x06, 0x32, 0xc0,
        ];
        let high = TrackConfig::H264(DecoderConfig::from_sets(&high, &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0]).unwrap());
        let chosen = choose_video(&chromium, &high, 7).unwrap();
        assert_eq!(chosen.codec.parameter("profile-level-id").unwrap()[..2], *"42", "it decodes what the parameter sets say");
        let main = Offer::parse(&OFFERS[0].1.replace("4d001f", "640c1f")).unwrap();
        assert_eq!(choose_video(&main, &high, 7).unwrap().codec.parameter("profile-level-id").unwrap()[..2], *"64");
        let without = Offer::parse(&OFFERS[0].1.replace("packetization-mode=1", "packetization-mode=0")).unwrap();
        assert!(choose_video(&without, &high, 7).is_err());
        assert!(choose_video(&Offer::parse(&OFFERS[0].1.replace("a=recvonly", "a=sendonly")).unwrap(), &high, 7).is_err());
    }

    #[test]
    fn media_of_an_offer_that_are_not_bundled_have_a_connection_each_and_one_is_taken() {
        let text = OFFERS[2].1.replace("a=group:BUNDLE 0 1\n", "").replace("a=ice-ufrag:7e51abe5\na=mid:1", "a=ice-ufrag:other\na=mid:1");
        let offer = Offer::parse(&text).unwrap();
        let ufrags: Vec<_> = offer.media.iter().map(|medium| medium.transport.as_ref().unwrap().ice.ufrag.as_str()).collect();
        assert_eq!((offer.is_bundled, &ufrags[..]), (false, &["7e51abe5", "other"][..]));
        assert!(choose_video(&offer, &config(), 1).is_ok() && choose_opus(&offer, 1).is_none());
    }

    #[test]
    fn what_is_no_offer_is_named() {
        let firefox = OFFERS[2].1;
        let error = |text: &str| Offer::parse(text).unwrap_err();
        assert_eq!(error("{}"), OfferError::NoSdp);
        assert_eq!(error("v=0\r\nno line\r\n"), OfferError::NoSdp);
        assert_eq!(error("v=0\r\ns=-\r\n"), OfferError::NoMedia);
        assert_eq!(error(&firefox.replace("a=ice-pwd", "a=x")), OfferError::NoIce);
        assert_eq!(error(&firefox.replace("0892ce337c1cf75d543873fab9fda4e2", "short")), OfferError::NoIce);
        assert_eq!(error(&firefox.replace("a=fingerprint:sha-256", "a=fingerprint:sha-1")), OfferError::NoFingerprint);
        assert_eq!(error(&firefox.replace("a=rtcp-mux", "a=x")), OfferError::NoRtcpMux);
        assert_eq!(error(&"x".repeat(OFFER_BYTES_MAX + 1)), OfferError::TooLong);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text: String, at in 0_usize..2000, player in 0_usize..3) {
            let _ = Offer::parse(&text);
            let whole = OFFERS[player].1;
            let at = whole.floor_char_boundary(at.min(whole.len()));
            if let Ok(offer) = Offer::parse(&[&whole[..at], &text, &whole[at..]].concat()) {
                let _ = (choose_video(&offer, &config(), 1), choose_opus(&offer, 1));
            }
        }
    }
}
