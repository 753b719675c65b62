//! ICE-lite (RFC 8445 §2.5): the player checks, we answer. Whoever knows the password that only the answer to the offer had is the player.

use crate::offer::IceText;
use aws_lc_rs::hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY};
use core::net::SocketAddr;
use is::stun::{StunMessage, StunMessageBuilder};

/// The longest answer to a check: header, an IPv6 address, integrity, fingerprint.
const ANSWER_BYTES_MAX: usize = 128;
/// Where STUN's magic cookie is (RFC 8489 §5), and what it is.
const COOKIE_AT: core::ops::Range<usize> = 4..8;
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// A check of the player that was right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// The answer to it.
    pub answer: Vec<u8>,
    /// The player wants its media on this way.
    pub nominates: bool,
    /// How much the player prefers this way to others.
    pub priority: u32,
}

/// Whether a datagram is of STUN (RFC 7983 §7).
#[must_use]
pub fn is_stun(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| *first < 4) && packet.get(COOKIE_AT) == Some(&COOKIE[..])
}

/// For whom a check is: our user name fragment in it. It proves nothing yet.
#[must_use]
pub fn addressee(packet: &[u8]) -> Option<&str> {
    let message = StunMessage::parse(packet).ok().filter(StunMessage::is_binding_request)?;
    message.username()?.split_once(':').map(|(ours, _)| ours)
}

/// Reads a check and answers it; `None` for what is not the player's.
#[must_use]
pub fn check(packet: &[u8], from: SocketAddr, ours: &IceText, theirs: &IceText) -> Option<Check> {
    let message = StunMessage::parse(packet).ok().filter(StunMessage::is_binding_request)?;
    let (to, by) = message.username()?.split_once(':')?;
    let is_meant = to == ours.ufrag && by == theirs.ufrag;
    if !is_meant || !message.verify(ours.password.as_bytes(), sha1_hmac) {
        return None;
    }
    // We are lite, so the player leads (RFC 8445 §6.1.1): one that thinks otherwise changes its mind by this.
    let leads = message.ice_controlled().is_none();
    let reply = if leads {
        StunMessage::binding_reply(message.trans_id(), from)
    } else {
        StunMessageBuilder::new().binding().failure().error_code(487, "Role Conflict").build(message.trans_id())
    };
    let mut answer = vec![0; ANSWER_BYTES_MAX];
    let length = reply.to_bytes(Some(ours.password.as_bytes()), &mut answer, sha1_hmac).ok()?;
    answer.truncate(length);
    Some(Check { answer, nominates: leads && message.use_candidate(), priority: message.prio()? })
}

fn sha1_hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, key));
    parts.iter().for_each(|part| context.update(part));
    let tag = context.sign();
    let mut out = [0; 20];
    out.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
    out
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use is::stun::TransId;

    fn text(ufrag: &str, password: &str) -> IceText {
        IceText { ufrag: ufrag.into(), password: password.into() }
    }

    pub(crate) fn request(username: &str, password: &str, nominates: bool) -> Vec<u8> {
        let mut builder = StunMessageBuilder::new().binding().request().username(username).prio(7).ice_controlling(1);
        if nominates {
            builder = builder.use_candidate();
        }
        let mut out = vec![0; 256];
        let length = builder.build(TransId::new()).to_bytes(Some(password.as_bytes()), &mut out, sha1_hmac).unwrap();
        out.truncate(length);
        out
    }

    #[test]
    fn a_check_of_the_player_is_answered_with_its_address_and_others_are_not() {
        let (ours, theirs) = (text("abcd", "the password of this session"), text("efgh", "theirs"));
        let from: SocketAddr = "192.0.2.7:4711".parse().unwrap();
        let packet = request("abcd:efgh", &ours.password, true);
        assert!(is_stun(&packet));
        assert_eq!(addressee(&packet), Some("abcd"));
        let right = check(&packet, from, &ours, &theirs).unwrap();
        assert!(right.nominates && right.priority == 7);
        let answer = StunMessage::parse(&right.answer).unwrap();
        assert!(answer.is_successful_binding_response() && answer.verify(ours.password.as_bytes(), sha1_hmac));
        assert_eq!(answer.mapped_address(), Some(from));
        assert!(!check(&request("abcd:efgh", &ours.password, false), from, &ours, &theirs).unwrap().nominates);
        for (username, password) in [("abcd:efgh", "another"), ("abcd:xxxx", &ours.password), ("xxxx:efgh", &ours.password)] {
            assert_eq!(check(&request(username, password, true), from, &ours, &theirs), None, "{username} {password}");
        }
        for at in 0..packet.len() {
            let mut changed = packet.clone();
            changed[at] ^= 1;
            let _ = check(&changed, from, &ours, &theirs);
            let _ = check(&packet[..at], from, &ours, &theirs);
        }
    }
}
