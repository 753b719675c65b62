//! SRTP and SRTCP (RFC 3711) with the profiles that browsers offer: AES-GCM (RFC 7714) and AES-CM with HMAC-SHA1 (RFC 3711 §4).
//!
//! No packet's nonce may come twice with other content. The one who sends RTP answers for it: a packet that is sent again is the same byte
//! for byte. For RTCP the index is counted here, and there is one sender a key.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY};

/// Bytes of an AES-GCM tag (RFC 7714 §13.2).
const GCM_TAG_BYTES: usize = 16;
/// Bytes of the HMAC that are sent (RFC 3711 §5.2).
const HMAC_TAG_BYTES: usize = 10;
/// Bytes of the SRTCP index behind a packet, and of an RTCP header that stays in the clear.
const INDEX_BYTES: usize = 4;
/// Bytes of an RTCP packet that stay in the clear: its header and its sender's SSRC.
const RTCP_CLEAR_BYTES: usize = 8;
/// The bit beside the SRTCP index that says "encrypted".
const ENCRYPTED: u32 = 1 << 31;
/// SRTCP packets that may come late: RTCP is a few packets a second.
const REPLAY_WINDOW: u32 = 64;

/// The most that protection adds to an RTP packet.
pub const RTP_OVERHEAD_BYTES: usize = GCM_TAG_BYTES;

/// How packets are protected (RFC 5764 §4.1.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    /// `SRTP_AEAD_AES_256_GCM`.
    Aes256Gcm,
    /// `SRTP_AEAD_AES_128_GCM`.
    Aes128Gcm,
    /// `SRTP_AES128_CM_HMAC_SHA1_80`.
    Aes128CmSha1,
}

impl Profile {
    const fn key_bytes(self) -> usize {
        match self {
            Self::Aes256Gcm => 32,
            Self::Aes128Gcm | Self::Aes128CmSha1 => 16,
        }
    }

    const fn salt_bytes(self) -> usize {
        match self {
            Self::Aes256Gcm | Self::Aes128Gcm => 12,
            Self::Aes128CmSha1 => 14,
        }
    }
}

/// Why there is no protection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SrtpError {
    /// The handshake gave too little.
    #[error("the keying material of the DTLS handshake is too short for its SRTP profile")]
    Keys,
    /// A packet is not one that this key protected, or was here before.
    #[error("an SRTCP packet is not the peer's, or came twice")]
    Forged,
    /// The index of SRTCP is used up (RFC 3711 §9.2).
    #[error("the SRTCP index is used up")]
    Exhausted,
    /// The cipher refused.
    #[error("the cipher refused a packet")]
    Cipher,
}

/// The two directions' keys, as the handshake of a DTLS server yields them (RFC 5764 §4.2). It has no `Debug`: it is all secret.
pub struct Keys<'a> {
    profile: Profile,
    client: (&'a [u8], &'a [u8]),
    server: (&'a [u8], &'a [u8]),
}

impl<'a> Keys<'a> {
    /// From the exported keying material.
    ///
    /// # Errors
    /// [`SrtpError::Keys`]
    pub fn new(profile: Profile, material: &'a [u8]) -> Result<Self, SrtpError> {
        let (key, salt) = (profile.key_bytes(), profile.salt_bytes());
        let (client_key, rest) = material.split_at_checked(key).ok_or(SrtpError::Keys)?;
        let (server_key, rest) = rest.split_at_checked(key).ok_or(SrtpError::Keys)?;
        let (client_salt, rest) = rest.split_at_checked(salt).ok_or(SrtpError::Keys)?;
        let server_salt = rest.get(..salt).ok_or(SrtpError::Keys)?;
        Ok(Self { profile, client: (client_key, client_salt), server: (server_key, server_salt) })
    }

    /// What the server or the client sends RTP with.
    ///
    /// # Errors
    /// [`SrtpError::Cipher`]
    pub fn rtp_sender(&self, is_server: bool) -> Result<RtpSender, SrtpError> {
        Ok(RtpSender(Cipher::derive(self.profile, self.of(is_server), RTP_LABELS)?))
    }

    /// What the server or the client sends RTCP with.
    ///
    /// # Errors
    /// [`SrtpError::Cipher`]
    pub fn rtcp_sender(&self, is_server: bool) -> Result<RtcpSender, SrtpError> {
        Ok(RtcpSender { cipher: Cipher::derive(self.profile, self.of(is_server), RTCP_LABELS)?, next: 0 })
    }

    /// What reads the RTCP of the server or the client.
    ///
    /// # Errors
    /// [`SrtpError::Cipher`]
    pub fn rtcp_receiver(&self, of_server: bool) -> Result<RtcpReceiver, SrtpError> {
        Ok(RtcpReceiver { cipher: Cipher::derive(self.profile, self.of(of_server), RTCP_LABELS)?, seen: Window::default() })
    }

    const fn of(&self, server: bool) -> (&'a [u8], &'a [u8]) {
        if server { self.server } else { self.client }
    }
}

/// Labels of key, authentication key and salt (RFC 3711 §4.3.1).
type Labels = [u8; 3];
const RTP_LABELS: Labels = [0, 1, 2];
const RTCP_LABELS: Labels = [3, 4, 5];

/// Session keys of one direction of RTP or RTCP.
enum Cipher {
    Gcm {
        key: LessSafeKey,
        salt: [u8; 12],
    },
    /// Larger by far, and few players need it.
    Cm(Box<CounterMode>),
}

struct CounterMode {
    key: EncryptingKey,
    salt: [u8; 14],
    authentication: hmac::Key,
}

impl Cipher {
    fn derive(profile: Profile, (key, salt): (&[u8], &[u8]), [of_key, of_authentication, of_salt]: Labels) -> Result<Self, SrtpError> {
        let mut session_key = [0; 32];
        let session_key = session_key.get_mut(..profile.key_bytes()).ok_or(SrtpError::Keys)?;
        derive(key, salt, of_key, session_key)?;
        match profile {
            Profile::Aes256Gcm | Profile::Aes128Gcm => {
                let mut session_salt = [0; 12];
                derive(key, salt, of_salt, &mut session_salt)?;
                Self::gcm(session_key, session_salt)
            }
            Profile::Aes128CmSha1 => {
                let (mut session_salt, mut authentication) = ([0; 14], [0; 20]);
                derive(key, salt, of_salt, &mut session_salt)?;
                derive(key, salt, of_authentication, &mut authentication)?;
                Self::cm(session_key, session_salt, authentication)
            }
        }
    }

    fn gcm(key: &[u8], salt: [u8; 12]) -> Result<Self, SrtpError> {
        let algorithm = if key.len() == 32 { &AES_256_GCM } else { &AES_128_GCM };
        let key = UnboundKey::new(algorithm, key).map_err(|_| SrtpError::Cipher)?;
        Ok(Self::Gcm { key: LessSafeKey::new(key), salt })
    }

    fn cm(key: &[u8], salt: [u8; 14], authentication: [u8; 20]) -> Result<Self, SrtpError> {
        let authentication = hmac::Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, &authentication);
        Ok(Self::Cm(Box::new(CounterMode { key: counter_mode(key)?, salt, authentication })))
    }
}

fn counter_mode(key: &[u8]) -> Result<EncryptingKey, SrtpError> {
    let algorithm = if key.len() == 32 { &AES_256 } else { &AES_128 };
    let key = UnboundCipherKey::new(algorithm, key).map_err(|_| SrtpError::Cipher)?;
    EncryptingKey::ctr(key).map_err(|_| SrtpError::Cipher)
}

/// AES in counter mode from this block on.
fn stream(key: &EncryptingKey, block: [u8; 16], bytes: &mut [u8]) -> Result<(), SrtpError> {
    key.less_safe_encrypt(bytes, EncryptionContext::Iv128(block.into())).map(drop).map_err(|_| SrtpError::Cipher)
}

/// A session key (RFC 3711 §4.3.1 and §4.3.3; RFC 6188 for 256 bits). There is no rate of derivation: the index is left out.
fn derive(key: &[u8], salt: &[u8], label: u8, out: &mut [u8]) -> Result<(), SrtpError> {
    let mut block = [0; 16];
    block.iter_mut().zip(salt).for_each(|(to, from)| *to = *from);
    block[7] ^= label;
    out.fill(0);
    stream(&counter_mode(key)?, block, out)
}

/// `0000 || SSRC || index` over the salt (RFC 7714 §8.1 and §9.1).
fn gcm_nonce(salt: [u8; 12], ssrc: u32, index: u64) -> [u8; 12] {
    let [.., a, b, c, d, e, f] = index.to_be_bytes();
    let [s, t, u, v] = ssrc.to_be_bytes();
    let mut nonce = [0, 0, s, t, u, v, a, b, c, d, e, f];
    nonce.iter_mut().zip(salt).for_each(|(to, from)| *to ^= from);
    nonce
}

/// The first counter block (RFC 3711 §4.1.1).
fn cm_block(salt: [u8; 14], ssrc: u32, index: u64) -> [u8; 16] {
    let [.., a, b, c, d, e, f] = index.to_be_bytes();
    let [s, t, u, v] = ssrc.to_be_bytes();
    let mut block = [0, 0, 0, 0, s, t, u, v, a, b, c, d, e, f, 0, 0];
    block.iter_mut().zip(salt).for_each(|(to, from)| *to ^= from);
    block
}

/// Protects RTP packets.
pub struct RtpSender(Cipher);

impl RtpSender {
    /// Appends the packet to `out`: header in the clear, payload encrypted, tag. `index` is the sequence number with its rollovers, the
    /// same as in the header. A header and payload of one index must always be the same.
    ///
    /// # Errors
    /// [`SrtpError::Cipher`]
    pub fn protect(&self, header: &[u8], payload: &[u8], ssrc: u32, index: u64, out: &mut Vec<u8>) -> Result<(), SrtpError> {
        let start = out.len();
        out.extend_from_slice(header);
        let body = out.len();
        out.extend_from_slice(payload);
        let Some(bytes) = out.get_mut(body..) else { return Err(SrtpError::Cipher) };
        match &self.0 {
            Cipher::Gcm { key, salt } => {
                let nonce = Nonce::assume_unique_for_key(gcm_nonce(*salt, ssrc, index));
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(header), bytes).map_err(|_| SrtpError::Cipher)?;
                out.extend_from_slice(tag.as_ref());
            }
            Cipher::Cm(counter) => {
                let CounterMode { key, salt, authentication } = &**counter;
                stream(key, cm_block(*salt, ssrc, index), bytes)?;
                let rollovers = u32::try_from(index >> 16).map_err(|_| SrtpError::Exhausted)?;
                let mut context = hmac::Context::with_key(authentication);
                context.update(out.get(start..).unwrap_or_default());
                context.update(&rollovers.to_be_bytes());
                out.extend_from_slice(context.sign().as_ref().get(..HMAC_TAG_BYTES).ok_or(SrtpError::Cipher)?);
            }
        }
        Ok(())
    }
}

/// Protects RTCP packets; the only one with its key.
pub struct RtcpSender {
    cipher: Cipher,
    next: u32,
}

impl RtcpSender {
    /// A compound packet, protected.
    ///
    /// # Errors
    /// [`SrtpError::Exhausted`], [`SrtpError::Cipher`]
    pub fn protect(&mut self, compound: &[u8]) -> Result<Vec<u8>, SrtpError> {
        let index = self.next;
        self.next = index.checked_add(1).filter(|next| *next < ENCRYPTED).ok_or(SrtpError::Exhausted)?;
        let (clear, body) = compound.split_at_checked(RTCP_CLEAR_BYTES).ok_or(SrtpError::Cipher)?;
        let ssrc = ssrc_of(clear).ok_or(SrtpError::Cipher)?;
        let word = (ENCRYPTED | index).to_be_bytes();
        let mut out = Vec::with_capacity(compound.len() + GCM_TAG_BYTES + INDEX_BYTES);
        out.extend_from_slice(clear);
        let mut body = body.to_vec();
        match &self.cipher {
            Cipher::Gcm { key, salt } => {
                let nonce = Nonce::assume_unique_for_key(gcm_nonce(*salt, ssrc, u64::from(index)));
                let known = [clear, &word].concat();
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(known), &mut body).map_err(|_| SrtpError::Cipher)?;
                out.extend_from_slice(&body);
                out.extend_from_slice(tag.as_ref());
                out.extend_from_slice(&word);
            }
            Cipher::Cm(counter) => {
                let CounterMode { key, salt, authentication } = &**counter;
                stream(key, cm_block(*salt, ssrc, u64::from(index)), &mut body)?;
                out.extend_from_slice(&body);
                out.extend_from_slice(&word);
                let tag = hmac::sign(authentication, &out);
                out.extend_from_slice(tag.as_ref().get(..HMAC_TAG_BYTES).ok_or(SrtpError::Cipher)?);
            }
        }
        Ok(out)
    }
}

/// Reads protected RTCP packets.
pub struct RtcpReceiver {
    cipher: Cipher,
    seen: Window,
}

impl RtcpReceiver {
    /// The compound packet that was protected.
    ///
    /// # Errors
    /// [`SrtpError::Forged`]
    pub fn open(&mut self, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
        let forged = SrtpError::Forged;
        let tail = match &self.cipher {
            Cipher::Gcm { .. } => INDEX_BYTES,
            Cipher::Cm(_) => INDEX_BYTES + HMAC_TAG_BYTES,
        };
        let (front, behind) = packet.len().checked_sub(tail).and_then(|at| packet.split_at_checked(at)).ok_or(forged)?;
        let (word, tag) = behind.split_first_chunk::<INDEX_BYTES>().ok_or(forged)?;
        let (clear, body) = front.split_at_checked(RTCP_CLEAR_BYTES).ok_or(forged)?;
        let (ssrc, word_value) = (ssrc_of(clear).ok_or(forged)?, u32::from_be_bytes(*word));
        let index = word_value & !ENCRYPTED;
        // A browser encrypts all of it: one that does not is not let choose.
        if word_value & ENCRYPTED == 0 || self.seen.has(index) {
            return Err(forged);
        }
        let mut body = body.to_vec();
        match &self.cipher {
            Cipher::Gcm { key, salt } => {
                let nonce = Nonce::assume_unique_for_key(gcm_nonce(*salt, ssrc, u64::from(index)));
                let known = [clear, word].concat();
                let length = key.open_in_place(nonce, Aad::from(known), &mut body).map_err(|_| forged)?.len();
                body.truncate(length);
            }
            Cipher::Cm(counter) => {
                let CounterMode { key, salt, authentication } = &**counter;
                let mut context = hmac::Context::with_key(authentication);
                context.update(front);
                context.update(word);
                let right = context.sign();
                let right = right.as_ref().get(..HMAC_TAG_BYTES).ok_or(forged)?;
                aws_lc_rs::constant_time::verify_slices_are_equal(right, tag).map_err(|_| forged)?;
                stream(key, cm_block(*salt, ssrc, u64::from(index)), &mut body)?;
            }
        }
        self.seen.add(index);
        Ok([clear, &body].concat())
    }
}

fn ssrc_of(clear: &[u8]) -> Option<u32> {
    clear.last_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
}

/// Which of the last indices were here (RFC 3711 §3.3.2).
#[derive(Clone, Copy, Default)]
struct Window {
    /// One more than the highest.
    end: u32,
    /// Bit `n`: the `n`th below the end.
    bits: u64,
}

impl Window {
    fn has(self, index: u32) -> bool {
        let Some(age) = self.end.checked_sub(index).and_then(|age| age.checked_sub(1)) else { return false };
        age >= REPLAY_WINDOW || self.bits >> age & 1 == 1
    }

    fn add(&mut self, index: u32) {
        if index >= self.end {
            let moved = index + 1 - self.end;
            self.bits = if moved >= REPLAY_WINDOW { 0 } else { self.bits << moved };
            self.end = index + 1;
        }
        self.bits |= 1 << (self.end - 1 - index).min(REPLAY_WINDOW - 1);
    }
}

impl core::fmt::Debug for Keys<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Keys").field("profile", &self.profile).finish_non_exhaustive()
    }
}

macro_rules! secret {
    ($($name:ident)*) => {$(
        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(concat!(stringify!($name), "(***)"))
            }
        }
    )*};
}
secret!(RtpSender RtcpSender RtcpReceiver);

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: String = text.split_whitespace().collect();
        (0..digits.len() / 2).map(|at| u8::from_str_radix(&digits[at * 2..at * 2 + 2], 16).unwrap()).collect()
    }

    /// RFC 3711 §B.3.
    #[test]
    fn session_keys_are_those_of_the_rfc() {
        let (key, salt) = (hex("E1F97A0D3E018BE0D64FA32C06DE4139"), hex("0EC675AD498AFEEBB6960B3AABE6"));
        for (label, right) in
            [(0, "C61E7A93744F39EE10734AFE3FF7A087"), (2, "30CBBC08863D8C85D49DB34A9AE1"), (1, "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4")]
        {
            let mut out = vec![0; right.len() / 2];
            derive(&key, &salt, label, &mut out).unwrap();
            assert_eq!(out, hex(right), "label {label}");
        }
    }

    /// RFC 3711 §B.2.
    #[test]
    fn the_counter_mode_s_stream_is_that_of_the_rfc() {
        let key = counter_mode(&hex("2B7E151628AED2A6ABF7158809CF4F3C")).unwrap();
        let mut out = [0; 48];
        let salt = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD").try_into().unwrap();
        stream(&key, cm_block(salt, 0, 0), &mut out).unwrap();
        assert_eq!(out[..], hex("E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB 41E95B3BB0A2E8DD477901E4FCA894C0"));
    }

    /// RFC 7714 §16.1.1 and §16.2.1: the keys there are session keys.
    #[test]
    fn packets_of_aes_gcm_are_those_of_the_rfc() {
        let header = hex("8040f17b 8041f8d3 5501a0b2");
        let payload = hex("47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070 61727465 73207472 6573");
        let salt = hex("51756964 2070726f 2071756f").try_into().unwrap();
        let key: Vec<u8> = (0..16).collect();
        let mut out = Vec::new();
        RtpSender(Cipher::gcm(&key, salt).unwrap()).protect(&header, &payload, 0x5501_a0b2, 0xf17b, &mut out).unwrap();
        let right = "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b 36de3adf \
                     8833899d 7f27beb1 6a9152cf 765ee439 0cce";
        assert_eq!(out, hex(right));
        let key: Vec<u8> = (0..32).collect();
        out.clear();
        RtpSender(Cipher::gcm(&key, salt).unwrap()).protect(&header, &payload, 0x5501_a0b2, 0xf17b, &mut out).unwrap();
        let right = "8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02 76ffae0f 1ba63799 \
                     b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13";
        assert_eq!(out, hex(right));
    }

    fn material(profile: Profile) -> Vec<u8> {
        (0..2 * (profile.key_bytes() + profile.salt_bytes())).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect()
    }

    #[test]
    fn what_one_side_protects_the_other_reads_once_and_nothing_else() {
        for profile in [Profile::Aes256Gcm, Profile::Aes128Gcm, Profile::Aes128CmSha1] {
            let material = material(profile);
            let keys = Keys::new(profile, &material).unwrap();
            let mut sender = keys.rtcp_sender(false).unwrap();
            let mut receiver = keys.rtcp_receiver(false).unwrap();
            let compound = [&[0x80, 201, 0, 1, 1, 2, 3, 4][..], &[0x81, 206, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8]].concat();
            let packets: Vec<Vec<u8>> = (0..100).map(|_| sender.protect(&compound).unwrap()).collect();
            assert!(packets.windows(2).all(|pair| pair[0] != pair[1]));
            let mut wrong = keys.rtcp_receiver(true).unwrap();
            assert_eq!(wrong.open(&packets[0]), Err(SrtpError::Forged), "the other direction's key");
            for order in [1, 0, 2, 99] {
                assert_eq!(receiver.open(&packets[order]).unwrap(), compound, "{profile:?} {order}");
                assert_eq!(receiver.open(&packets[order]), Err(SrtpError::Forged), "a second time");
            }
            assert_eq!(receiver.open(&packets[3]), Err(SrtpError::Forged), "too old to tell");
            assert!(receiver.open(&packets[98]).is_ok());
            for at in 0..packets[90].len() {
                let mut changed = packets[90].clone();
                changed[at] ^= 0x10;
                assert_eq!(receiver.open(&changed), Err(SrtpError::Forged), "{profile:?}: byte {at}");
                assert!(receiver.open(&packets[90][..at]).is_err());
            }
            assert!(receiver.open(&packets[90]).is_ok());
        }
    }

    #[test]
    fn keying_material_that_is_too_short_makes_no_keys() {
        for profile in [Profile::Aes256Gcm, Profile::Aes128Gcm, Profile::Aes128CmSha1] {
            let material = material(profile);
            assert!(Keys::new(profile, &material).is_ok());
            assert_eq!(Keys::new(profile, &material[1..]).err(), Some(SrtpError::Keys));
        }
    }
}
