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
}

/// A codec that a player names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OfferedCodec {
    /// The number that its packets must bear.
    pub payload_type: u8,
    /// Its name in capitals: `H264`.
    pub name: String,
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
    /// Its media don't share one connection.
    #[error("the media of the offer are not bundled on one connection with a=rtcp-mux (RFC 9143), which WHEP asks for")]
    NotBundled,
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
        let (mut session, mut media) = (Attributes::default(), Vec::<(Medium, Attributes)>::new());
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
                    None => session.handle(value),
                },
                _ => {}
            }
        }
        Self::gather(&session, media)
    }

    /// What stands beside the media counts for all of them; all share the connection of the first that is wanted.
    fn gather(session: &Attributes<'_>, media: Vec<(Medium, Attributes<'_>)>) -> Result<Self, OfferError> {
        let wanted = media.iter().filter(|(medium, _)| medium.kind != MediumKind::Other);
        let first = wanted.clone().next().map(|(_, attributes)| attributes).ok_or(OfferError::NoMedia)?;
        // A medium that is bundled only (RFC 9143 §7.2.1) need not say again what the first of them says.
        let ufrag = first.ufrag.or(session.ufrag).ok_or(OfferError::NoIce)?;
        let password = first.password.or(session.password).ok_or(OfferError::NoIce)?;
        let is_within =
            |text: &str, least: usize| (least..=ICE_TEXT_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_within(ufrag, UFRAG_MIN) || !is_within(password, PASSWORD_MIN) {
            return Err(OfferError::NoIce);
        }
        let fingerprint = first.fingerprint.or(session.fingerprint).ok_or(OfferError::NoFingerprint)?;
        let is_one = |attributes: &Attributes<'_>| attributes.ufrag.is_none_or(|other| other == ufrag);
        if !wanted.clone().all(|(medium, attributes)| medium.has_rtcp_mux && is_one(attributes)) {
            return Err(OfferError::NotBundled);
        }
        Ok(Self {
            ice: IceText { ufrag: ufrag.to_owned(), password: password.to_owned() },
            fingerprint,
            setup: first.setup.or(session.setup).unwrap_or(Setup::ActPass),
            media: media.into_iter().map(|(medium, _)| medium).collect(),
        })
    }
}

/// What may stand beside a medium, or beside all of them.
#[derive(Default)]
struct Attributes<'a> {
    ufrag: Option<&'a str>,
    password: Option<&'a str>,
    fingerprint: Option<[u8; FINGERPRINT_BYTES]>,
    setup: Option<Setup>,
}

impl<'a> Attributes<'a> {
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
