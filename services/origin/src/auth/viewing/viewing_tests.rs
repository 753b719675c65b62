use super::*;
use crate::auth::policy::{Policy, ViewerLimits};
use crate::auth::rules::Rules;
use crate::auth::wish::Way;
use sightline_signal::report::PlaybackKey;
use sightline_signal::{Claims, Text};
use tokens::{Signer, claims, now, play_claims};

#[path = "../../../tests/origin/tokens.rs"]
#[expect(dead_code, reason = "the tests over sockets take more of it")]
mod tokens;

const PLAYBACK: &str = "0123456789bcdefg";
const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

fn policy(play: Rule, viewers: ViewerLimits) -> Arc<PresentPolicy> {
    Arc::new(PresentPolicy::new(Policy { play, vod: play, apps: Rules::default(), viewers, allow_unsigned_publish: false }))
}

fn viewing(rule: Rule, signer: &Signer, dir: &std::path::Path) -> Arc<Viewing> {
    let keys = Keys::load("origin-1", dir.join("jwks.json"));
    keys.replace(&signer.jwks());
    Viewing::load(Clock::start(), policy(rule, ViewerLimits::default()), Arc::new(keys), None, dir.join("playback-keys.json"))
}

fn wish(token: Option<&str>) -> Wish<'_> {
    Wish { app: "live", playback: PLAYBACK, token, address: ADDRESS, way: Way::Flv }
}

fn key(id: &str, secret: &str) -> PlaybackKey {
    let sha256 = digest_of(secret);
    PlaybackKey { id: id.into(), sha256, playback: PLAYBACK.into(), ..PlaybackKey::default() }
}

fn digest_of(secret: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_right_is_for_one_stream_some_addresses_some_ways_and_a_time() {
    let (signer, stranger, dir) = (Signer::new("k1"), Signer::new("k1"), tempfile::tempdir().unwrap());
    let viewing = viewing(Rule::Signed, &signer, dir.path());
    let text = |text: &str| Text::try_from(text).unwrap();
    let good = play_claims(PLAYBACK);
    let cases = [
        (good.clone(), Ok(())),
        (play_claims("anotherid"), Err(PlayRefusal::OtherStream)),
        (sightline_signal::PlayClaims { expires_at: now() - 1, ..good.clone() }, Err(PlayRefusal::Expired)),
        (sightline_signal::PlayClaims { address: text("192.0.2.0/24"), ..good.clone() }, Ok(())),
        (sightline_signal::PlayClaims { address: text("192.0.2.8"), ..good.clone() }, Err(PlayRefusal::OtherAddress)),
        (sightline_signal::PlayClaims { address: text("anywhere"), ..good.clone() }, Err(PlayRefusal::OtherAddress)),
        (sightline_signal::PlayClaims { ways: text("hls,flv"), ..good.clone() }, Ok(())),
        (sightline_signal::PlayClaims { ways: text("hls"), ..good.clone() }, Err(PlayRefusal::OtherWay)),
    ];
    for (claims, expected) in cases {
        assert_eq!(viewing.ask(wish(Some(&signer.sign(&claims)))), expected, "{claims:?}");
    }
    assert_eq!(viewing.ask(wish(None)), Err(PlayRefusal::NoToken));
    assert_eq!(viewing.ask(wish(Some(&stranger.sign(&good)))), Err(PlayRefusal::Invalid));
    // Each token is for one purpose.
    let publishing = signer.sign(&claims(PLAYBACK, 7));
    assert_eq!(viewing.ask(wish(Some(&publishing))), Err(PlayRefusal::Invalid));
    assert!(viewing.keys.check(PLAYBACK, &signer.sign(&good), now()).is_err());
    let _: Claims = claims(PLAYBACK, 7);
}

#[test]
fn none_of_ten_thousand_mutations_of_a_good_token_is_taken() {
    let (signer, dir) = (Signer::new("k1"), tempfile::tempdir().unwrap());
    let viewing = viewing(Rule::Signed, &signer, dir.path());
    let token = signer.sign(&play_claims(PLAYBACK));
    assert_eq!(viewing.ask(wish(Some(&token))), Ok(()));
    let mut tried = 0;
    let mut refuse = |mutation: &str| {
        if mutation != token {
            tried += 1;
            assert!(viewing.ask(wish(Some(mutation))).is_err(), "{mutation}");
        }
    };
    for at in 0..token.len() {
        let (before, rest) = token.split_at(at);
        // Each character another one, left out, doubled, and the token cut there.
        for other in ('a'..='z').chain('A'..='Z').chain('0'..='9').chain(['-', '_', '.', '=', ' ']) {
            refuse(&format!("{before}{other}{}", &rest[1..]));
        }
        refuse(&format!("{before}{}", &rest[1..]));
        refuse(&format!("{before}{}{rest}", &rest[..1]));
        refuse(before);
    }
    let parts: Vec<&str> = token.split('.').collect();
    let coded = |text: &str| base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, text);
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"none","kid":"k1"}"#,
        r#"{"alg":"HS256","kid":"k1"}"#,
        r#"{"alg":"EdDSA"}"#,
        r#"{"alg":"EdDSA","kid":"k2"}"#,
        r#"{"alg":"EdDSA","kid":"../k1"}"#,
        r#"{"alg":"ES256","kid":"k1","jku":"http://x/"}"#,
    ] {
        refuse(&format!("{}.{}.{}", coded(header), parts[1], parts[2]));
        refuse(&format!("{}.{}.", coded(header), parts[1]));
    }
    assert!(tried >= 10_000, "{tried}");
}

#[test]
fn a_playback_key_is_good_until_it_is_revoked_over_a_restart_too_and_its_last_use_is_told() {
    let (signer, dir) = (Signer::new("k1"), tempfile::tempdir().unwrap());
    let first = viewing(Rule::Signed, &signer, dir.path());
    assert_eq!(first.ask(wish(Some("secret-a"))), Err(PlayRefusal::Invalid));
    let ended = PlaybackKey { ends_at: Some(now() - 1), ..key("b", "secret-b") };
    first.replace_keys(PlaybackKeys { version: 3, keys: vec![key("a", "secret-a"), ended] });
    assert_eq!(first.ask(wish(Some("secret-b"))), Err(PlayRefusal::Expired));
    let admitted = first.begin(wish(Some("secret-a"))).unwrap();
    let used = first.used();
    assert_eq!((used.len(), used[0].id.as_str(), used[0].address.as_str()), (1, "a", "192.0.2.7"));
    first.reported(&used);
    assert!(first.used().is_empty());
    // Another process, while the cloud is away.
    let second = viewing(Rule::Signed, &signer, dir.path());
    assert_eq!((second.keys_version(), second.ask(wish(Some("secret-a")))), (3, Ok(())));
    // Whoever watches is cut off.
    assert!(!admitted.over.is_cancelled());
    first.replace_keys(PlaybackKeys { version: 4, keys: vec![] });
    assert!(admitted.over.is_cancelled());
    assert_eq!(first.ask(wish(Some("secret-a"))), Err(PlayRefusal::Invalid));
}

#[test]
fn a_link_s_end_cuts_off_whoever_watches_with_it() {
    let (signer, dir) = (Signer::new("k1"), tempfile::tempdir().unwrap());
    let viewing = viewing(Rule::Signed, &signer, dir.path());
    let soon = PlaybackKey { ends_at: Some(now() + 1), ..key("a", "secret-a") };
    viewing.replace_keys(PlaybackKeys { version: 1, keys: vec![soon, key("b", "secret-b")] });
    let (link, other) = (viewing.begin(wish(Some("secret-a"))).unwrap(), viewing.begin(wish(Some("secret-b"))).unwrap());
    viewing.end_ended();
    assert!(!link.over.is_cancelled());
    while now() <= viewing.state().list.find("secret-a").unwrap().ends_at.unwrap() {
        std::thread::sleep(Duration::from_millis(50));
    }
    viewing.end_ended();
    assert!(link.over.is_cancelled() && !other.over.is_cancelled());
}

#[test]
fn a_right_a_stream_and_an_address_have_as_many_viewers_as_they_may_and_each_that_leaves_makes_room() {
    let (signer, dir) = (Signer::new("k1"), tempfile::tempdir().unwrap());
    let signed = viewing(Rule::Signed, &signer, dir.path());
    let two = signer.sign(&sightline_signal::PlayClaims { viewers_max: 2, ..play_claims(PLAYBACK) });
    let (first, second) = (signed.begin(wish(Some(&two))).unwrap(), signed.begin(wish(Some(&two))).unwrap());
    assert_eq!(signed.begin(wish(Some(&two))).err(), Some(PlayRefusal::TooMany));
    drop(first);
    let third = signed.begin(wish(Some(&two))).unwrap();
    drop((second, third));
    // Who asks again and again counts by address.
    let from = |last: u8| Wish { address: IpAddr::from([192, 0, 2, last]), way: Way::Hls, ..wish(Some(&two)) };
    assert_eq!([1, 2, 1, 3, 2].map(|last| signed.ask(from(last)).is_ok()), [true, true, true, false, true]);

    let keys = signed.keys.clone();
    let limits = ViewerLimits { per_stream: 3, per_address: 2 };
    let open = Viewing::load(Clock::start(), policy(Rule::Open, limits), keys, None, dir.path().join("none.json"));
    let other = Wish { address: IpAddr::from([192, 0, 2, 9]), ..wish(None) };
    let here: Vec<_> = (0..2).map(|_| open.begin(wish(None)).unwrap()).collect();
    assert_eq!(open.begin(wish(None)).err(), Some(PlayRefusal::AddressFull));
    let there = open.begin(other).unwrap();
    assert_eq!(open.begin(other).err(), Some(PlayRefusal::StreamFull));
    drop((here, there));
    assert!(open.begin(wish(None)).is_ok());
    let state = open.state();
    assert!(state.watching.is_empty() && state.by_stream.is_empty() && state.by_address.is_empty(), "nothing is left behind");
}

#[test]
fn a_closed_origin_plays_to_no_one_and_an_open_one_to_anyone() {
    let (signer, dir) = (Signer::new("k1"), tempfile::tempdir().unwrap());
    let right = signer.sign(&play_claims(PLAYBACK));
    for (rule, expected) in [(Rule::Closed, Err(PlayRefusal::Closed)), (Rule::Open, Ok(()))] {
        let viewing = viewing(rule, &signer, dir.path());
        for token in [None, Some("wrong"), Some(right.as_str())] {
            assert_eq!(viewing.ask(wish(token)), expected);
        }
    }
}
