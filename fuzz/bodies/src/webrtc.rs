//! What players send to the origin before anyone knows who they are: offers, ICE checks, reports, datagrams on a TCP connection.

use crate::cursor::Cursor;
use sightline_media::{TrackConfig, avc::DecoderConfig};
use sightline_webrtc::{Answer, Deframer, IceText, Keys, Offer, Profile, check, choose_opus, choose_video, frame, parse_rtcp};
use std::net::SocketAddr;

/// An SPS of High profile at 1080p, and a PPS.
const SPS: [u8; 29] = [
    0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x5a, 0x80, 0x80, 0x80, 0xa0, 0x00, 0x00, 0x7d, 0x20, 0x00,
    0x17, 0x70, 0x01, 0xe3, 0x06, 0x32, 0xc0,
];
const PPS: [u8; 6] = [0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];
/// Of the longest profile.
const KEYING_MATERIAL: [u8; 88] = [7; 88];

/// First byte: which of them.
pub fn run(data: &[u8]) {
    let mut cursor = Cursor::new(data);
    match cursor.u8() % 5 {
        0 => offer(&String::from_utf8_lossy(cursor.rest())),
        1 => assert!(parse_rtcp(cursor.rest()).len() <= 1 << 16),
        2 => stun(cursor.rest()),
        3 => framed(&mut cursor),
        _ => reports(cursor.rest()),
    }
}

/// An offer that is taken has an answer with as many media, each of whose lines is one.
fn offer(text: &str) {
    let Ok(offer) = Offer::parse(text) else { return };
    let Ok(config) = DecoderConfig::from_sets(&SPS, &PPS) else { panic!("the sets are good") };
    let video = choose_video(&offer, &TrackConfig::H264(config), 1).ok();
    let tracks: Vec<_> = video.into_iter().chain(choose_opus(&offer, 2)).collect();
    let ice = IceText { ufrag: "ours".to_owned(), password: "x".repeat(32) };
    let at = [SocketAddr::from(([192, 0, 2, 1], 8189))];
    let answer = Answer { session_id: 1, ice: &ice, fingerprint: [7; 32], udp: &at, tcp: &at, tracks: &tracks }.text(&offer);
    let lines = answer.split("\r\n").filter(|line| line.starts_with("m=")).count();
    assert_eq!(lines, offer.media.len(), "{answer}");
}

/// Nobody knows the password.
fn stun(datagram: &[u8]) {
    let text = |ufrag: &str| IceText { ufrag: ufrag.to_owned(), password: "a password that no input has".to_owned() };
    assert_eq!(check(datagram, SocketAddr::from(([192, 0, 2, 7], 4711)), &text("abcd"), &text("efgh")), None);
}

/// Datagrams come out as they went in, wherever the bytes are cut.
fn framed(cursor: &mut Cursor<'_>) {
    let size = usize::from(cursor.u8()).max(1);
    let (mut deframer, mut seen) = (Deframer::default(), Vec::new());
    let bytes = cursor.rest();
    for piece in bytes.chunks(size) {
        deframer.handle_bytes(piece);
        while let Some(datagram) = deframer.poll_datagram() {
            seen.extend_from_slice(&frame(&datagram).unwrap_or_default());
        }
    }
    assert!(bytes.starts_with(&seen) && seen.len() + deframer.waiting_bytes() == bytes.len());
}

/// Nobody has the keys.
fn reports(packet: &[u8]) {
    for profile in [Profile::Aes256Gcm, Profile::Aes128Gcm, Profile::Aes128CmSha1] {
        let receiver = Keys::new(profile, &KEYING_MATERIAL).and_then(|keys| keys.rtcp_receiver(false));
        let Ok(mut receiver) = receiver else { panic!("the material is long enough") };
        assert!(receiver.open(packet).is_err());
    }
}
