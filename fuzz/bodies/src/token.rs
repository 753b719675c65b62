//! The origin's check of tokens: what the cloud's key has not signed gives no right, and what it has gives the right that it names.

use crate::cursor::Cursor;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use sightline_origin::fuzzing::TokenCheck;
use sightline_signal::report::{Jwk, Jwks};
use sightline_signal::{Claims, DeviceId, Text};
use std::cell::OnceCell;

/// RFC 8032's first test key as PKCS #8, and its public half as RFC 8037 (A.2) writes it.
const SECRET: [u8; 48] = [
    0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20, 0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84,
    0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
];
const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
/// Names of the origin and of others, and lists that a token may name.
const SERVER: &str = "origin-1";
const SETS: [&str; 6] = ["", SERVER, "origin-2", "origin-2,origin-1", "origin-1x,xorigin-1", ","];
const STREAMS: [&str; 4] = ["cam", "cam-2", "", "cam\u{0}"];
const KEY_IDS: [Option<&str>; 3] = [Some("current"), Some("unknown"), None];
/// When tokens are checked, in seconds since 1970.
const NOW: i64 = 1_000;

thread_local! {
    static CHECK: OnceCell<(TokenCheck, EncodingKey)> = const { OnceCell::new() };
}

fn make() -> (TokenCheck, EncodingKey) {
    let text = str::to_owned;
    let jwk = Jwk { kty: text("OKP"), crv: text("Ed25519"), x: text(PUBLIC), kid: text("current"), alg: text("EdDSA"), usage: text("sig") };
    (TokenCheck::new(SERVER, &Jwks { keys: vec![jwk] }), EncodingKey::from_ed_der(&SECRET))
}

/// First byte: a token of choices, the same with bytes changed, or bytes as they are.
pub fn run(data: &[u8]) {
    CHECK.with(|made| {
        let (check, key) = made.get_or_init(make);
        let mut cursor = Cursor::new(data);
        match cursor.u8() % 3 {
            0 => as_it_is(&String::from_utf8_lossy(cursor.rest()), check, key),
            1 => as_chosen(&mut cursor, check, key),
            _ => changed(&mut cursor, check, key),
        }
    });
}

/// Whatever is let through has a signature of ours: Ed25519 has one for each text.
fn as_it_is(token: &str, check: &TokenCheck, key: &EncodingKey) {
    if check.check("cam", token, NOW).is_ok() {
        let signed = token.rsplit_once('.').and_then(|(text, signature)| {
            jsonwebtoken::crypto::sign(text.as_bytes(), key, Algorithm::EdDSA).ok().map(|ours| ours == signature)
        });
        assert_eq!(signed, Some(true), "{token}");
    }
}

fn chosen(cursor: &mut Cursor<'_>) -> (Claims, &'static str, Option<&'static str>) {
    let number = |cursor: &mut Cursor<'_>| {
        let bytes = cursor.take(8);
        let mut whole = [0; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        u64::from_be_bytes(whole)
    };
    let (stream, asked) = (cursor.pick(&STREAMS), cursor.pick(&STREAMS));
    let (origins, key_id) = (cursor.pick(&SETS), cursor.pick(&KEY_IDS));
    let expires_at = match cursor.u8() % 4 {
        0 => NOW + 1,
        1 => NOW,
        2 => number(cursor).cast_signed(),
        _ => i64::MAX,
    };
    let claims = Claims {
        device: DeviceId::new("cam").expect("a good id"),
        stream: Text::try_from(stream).expect("short"),
        epoch: number(cursor),
        expires_at,
        origin_set: Text::try_from(origins).expect("short"),
        bitrate_kbps_max: u32::from(cursor.u16()),
    };
    (claims, asked, key_id)
}

fn sign(claims: &Claims, key_id: Option<&str>, key: &EncodingKey) -> String {
    let header = Header { kid: key_id.map(str::to_owned), ..Header::new(Algorithm::EdDSA) };
    jsonwebtoken::encode(&header, claims, key).expect("claims are written and signed")
}

fn as_chosen(cursor: &mut Cursor<'_>, check: &TokenCheck, key: &EncodingKey) {
    let (claims, asked, key_id) = chosen(cursor);
    let checked = check.check(asked, &sign(&claims, key_id, key), NOW);
    let is_for_us = claims.origin_set.is_empty() || claims.origin_set.split(',').any(|origin| origin == SERVER);
    let expected = match () {
        () if key_id != Some("current") => Err("unknown_key"),
        () if claims.stream != *asked => Err("other_stream"),
        () if claims.expires_at <= NOW => Err("expired"),
        () if !is_for_us => Err("other_server"),
        () => Ok(()),
    };
    assert_eq!(checked.as_ref().map(|_| ()), expected.as_ref().copied());
    if let Ok(granted) = checked {
        let right = (granted.device.as_str(), granted.epoch, granted.expires_at, granted.bitrate_kbps);
        assert_eq!(right, ("cam", Some(claims.epoch), claims.expires_at, Some(claims.bitrate_kbps_max)));
    }
}

/// One byte of a good token that is another one is no good token.
fn changed(cursor: &mut Cursor<'_>, check: &TokenCheck, key: &EncodingKey) {
    let claims =
        Claims { stream: Text::try_from("cam").expect("short"), expires_at: i64::MAX, origin_set: Text::new(), ..chosen(cursor).0 };
    let good = sign(&claims, Some("current"), key);
    assert!(check.check("cam", &good, NOW).is_ok());
    let mut bytes = good.clone().into_bytes();
    let at = usize::from(cursor.u16()) % bytes.len();
    bytes[at] = cursor.u8();
    let bad = String::from_utf8_lossy(&bytes);
    if bad != good {
        assert!(check.check("cam", &bad, NOW).is_err(), "{bad}");
    }
}
