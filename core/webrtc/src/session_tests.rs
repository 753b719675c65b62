use super::*;
use crate::answer::{choose_video, transport};
use crate::offer::Offer;
use crate::stun::tests::request;
use sightline_media::{TrackConfig, avc::DecoderConfig};

const WAY: u8 = 1;

fn from() -> SocketAddr {
    "192.0.2.7:4711".parse().unwrap()
}

fn at(secs: u64) -> Instant {
    Instant::from_micros(secs * 1_000_000)
}

fn identity() -> Identity {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
    #[expect(clippy::disallowed_methods, reason = "the library counts from a time of the system's clock, whichever it is")]
    let began = std::time::Instant::now();
    Identity::new(certificate.der().to_vec(), key.serialize_der(), began).unwrap()
}

/// A session and the player's name and password of it.
fn session() -> (Session<u8>, String) {
    let offer = Offer::parse(include_str!("offers/chromium.sdp")).unwrap();
    let sps = [
        0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x5a, 0x80, 0x80, 0x80, 0xa0, 0x00, 0x00, 0x7d, 0x20, 0x00,
        0x17, 0x70, 0x01, 0xe3, 0x06, 0x32, 0xc0,
    ];
    let config = TrackConfig::H264(DecoderConfig::from_sets(&sps, &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0]).unwrap());
    let video = choose_video(&offer, &config, 7).unwrap();
    let player = transport(&offer, std::slice::from_ref(&video)).unwrap();
    let ours = IceText { ufrag: "ours".to_owned(), password: "the password of this session".to_owned() };
    let name = format!("ours:{}", player.ice.ufrag);
    (Session::new(&identity(), player, ours, [Some(&video), None], 1, at(0)), name)
}

fn check(session: &mut Session<u8>, way: u8, name: &str, nominates: bool, now: Instant) {
    session.handle_datagram(way, from(), &request(name, "the password of this session", nominates), now);
}

#[test]
fn a_player_that_does_not_come_is_forgotten_and_one_that_falls_silent_too() {
    let (mut session, _) = session();
    session.handle_timeout(at(14));
    assert_eq!(session.over(), None);
    session.handle_timeout(at(15));
    assert_eq!(session.over(), Some(Over::Setup));
    let (mut session, name) = super::tests::session();
    check(&mut session, WAY, &name, true, at(1));
    // As if the handshake had been done: only the checks count from here.
    let material = [7; 88];
    session.is_peer_known = true;
    session.protect(&material, SrtpProfile::AEAD_AES_256_GCM);
    assert!(session.is_connected());
    check(&mut session, WAY, &name, true, at(20));
    session.handle_timeout(at(49));
    assert_eq!(session.over(), None);
    session.handle_timeout(at(50));
    assert_eq!(session.over(), Some(Over::Consent));
}

#[test]
fn only_who_knows_the_password_is_heard() {
    let (mut session, name) = session();
    session.handle_datagram(WAY, from(), &request(&name, "another password of the same length", true), at(1));
    assert!(session.poll_transmit().is_none() && !session.has_way(WAY) && session.way().is_none());
    // A handshake of someone who has not checked.
    session.handle_datagram(WAY, from(), &[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], at(1));
    assert!(session.poll_transmit().is_none() && session.over().is_none());
    check(&mut session, WAY, &name, true, at(1));
    assert!(session.poll_transmit().is_some() && session.way() == Some(WAY));
}

#[test]
fn media_goes_the_way_that_the_player_nominates_and_prefers() {
    let (mut session, name) = session();
    check(&mut session, 1, &name, false, at(1));
    assert_eq!(session.way(), Some(1), "a first way for the handshake");
    check(&mut session, 2, &name, true, at(1));
    assert_eq!(session.way(), Some(2));
    check(&mut session, 1, &name, false, at(2));
    assert_eq!(session.way(), Some(2), "a check alone changes nothing");
    check(&mut session, 1, &name, true, at(3));
    assert_eq!(session.way(), Some(1), "as preferred, and nominated");
    for way in 3..100 {
        check(&mut session, way, &name, false, at(3));
    }
    assert!(session.has_way(16) && !session.has_way(17), "a player has few addresses");
}

#[test]
fn keys_are_taken_once() {
    let (mut session, name) = session();
    check(&mut session, WAY, &name, true, at(1));
    session.protect(&[7; 88], SrtpProfile::AEAD_AES_256_GCM);
    assert!(session.is_connected());
    session.protect(&[7; 88], SrtpProfile::AEAD_AES_256_GCM);
    assert_eq!(session.over(), Some(Over::Keys), "the same keys again would be the same nonces again");
}

proptest::proptest! {
    #[test]
    fn any_datagrams_are_taken_without_a_panic(datagrams: Vec<Vec<u8>>) {
        let (mut session, name) = session();
        check(&mut session, WAY, &name, true, at(1));
        for (number, datagram) in (1..).zip(&datagrams) {
            for first in [0, 22, 128] {
                session.handle_datagram(WAY, from(), &[&[first], &datagram[..]].concat(), at(number));
            }
            session.handle_timeout(at(number));
            while session.poll_transmit().is_some() {}
        }
    }
}
