//! Who may watch: tokens, keys, and what origins hear of them.

use crate::bench::Bench;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use reqwest::Method;
use serde_json::{Value, json};
use sightline_signal::PlayClaims;

#[tokio::test]
async fn a_playback_token_says_what_was_asked_for_and_is_signed_by_a_published_key() {
    let bench = Bench::start().await;
    let cam = bench.add("cam").await;
    let playback = bench.get("/api/v1/devices/cam").await["playback"].as_str().unwrap().to_owned();
    let wish = json!({ "ttl_sec": 60, "address": "192.0.2.0/24", "ways": ["flv", "hls"], "viewers_max": 2 });
    let (status, signed) = bench.ask(Method::POST, "/api/v1/streams/cam/playback", wish).await;
    assert_eq!((status, signed["playback"].as_str()), (200, Some(playback.as_str())));
    let jwks = bench.get("/.well-known/jwks.json").await;
    let token = signed["token"].as_str().unwrap();
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap()).unwrap();
    let key = jwks["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]).unwrap();
    let key = DecodingKey::from_ed_components(key["x"].as_str().unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.required_spec_claims.clear();
    let claims = jsonwebtoken::decode::<PlayClaims>(token, &key, &validation).unwrap().claims;
    assert_eq!(
        (claims.playback.as_str(), claims.address.as_str(), claims.ways.as_str(), claims.viewers_max),
        (playback.as_str(), "192.0.2.0/24", "flv,hls", 2)
    );
    assert_eq!(claims.expires_at, signed["expires_at"].as_i64().unwrap());
    for (path, wish, status) in [
        ("cam", json!({ "ttl_sec": 0 }), 400),
        ("cam", json!({ "ttl_sec": 3601 }), 400),
        ("cam", json!({ "address": "somewhere" }), 400),
        ("cam", json!({ "ways": ["smoke"] }), 400),
        ("cam", json!({ "tll_sec": 60 }), 422),
        ("dome", json!({}), 404),
    ] {
        let (found, answer) = bench.ask(Method::POST, &format!("/api/v1/streams/{path}/playback"), wish.clone()).await;
        assert_eq!(found, status, "{path} {wish}: {answer}");
    }
    drop(cam);
}

#[tokio::test]
async fn a_playback_key_reaches_origins_once_a_version_has_its_last_use_and_goes_when_it_is_taken_back() {
    let bench = Bench::start().await;
    let _cam = bench.add("cam").await;
    let report = async |version: Value, played: Value| {
        bench.report_of("o1", "boot", json!({ "playback_keys_version": version, "played": played })).await
    };
    let none = report(json!(0), json!([])).await;
    assert_eq!(none["playback_keys"]["keys"], json!([]));
    assert!(bench.report("o2", "boot", json!([])).await.get("playback_keys").is_none(), "an origin that knows no keys");

    let wish = json!({ "device": "cam", "name": "Home Assistant", "ways": ["hls"] });
    let (status, added) = bench.ask(Method::POST, "/api/v1/playback-keys", wish).await;
    assert_eq!(status, 201);
    let (id, key) = (added["id"].as_str().unwrap(), added["key"].as_str().unwrap());
    // The list is read anew after a second.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let answer =
        report(none["playback_keys"]["version"].clone(), json!([{ "id": id, "time": 1_700_000_000, "address": "192.0.2.9" }])).await;
    let keys = &answer["playback_keys"];
    assert_eq!(
        (&keys["keys"][0]["id"], &keys["keys"][0]["ways"], keys["keys"][0]["playback"].as_str()),
        (&json!(id), &json!("hls"), added["playback"].as_str())
    );
    assert!(report(keys["version"].clone(), json!([])).await.get("playback_keys").is_none(), "it has them");
    let listed = bench.get("/api/v1/playback-keys").await;
    let listed = &listed["items"][0];
    assert_eq!(
        (&listed["name"], &listed["used_at"], &listed["used_from"]),
        (&json!("Home Assistant"), &json!(1_700_000_000), &json!("192.0.2.9"))
    );
    assert!(!listed.to_string().contains(key) && !answer.to_string().contains(key), "the secret is shown once");

    assert_eq!(bench.ask(Method::DELETE, &format!("/api/v1/playback-keys/{id}"), json!(null)).await.0, 200);
    assert_eq!(bench.ask(Method::DELETE, &format!("/api/v1/playback-keys/{id}"), json!(null)).await.0, 404);
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    assert_eq!(report(keys["version"].clone(), json!([])).await["playback_keys"]["keys"], json!([]));
    assert!(bench.audit_has("playback_key.add").await && bench.audit_has("playback_key.remove").await);
    for (wish, status) in [
        (json!({ "device": "cam", "name": "" }), 400),
        (json!({ "device": "cam", "name": "x", "ttl_sec": 0 }), 400),
        (json!({ "device": "dome", "name": "x" }), 404),
    ] {
        assert_eq!(bench.ask(Method::POST, "/api/v1/playback-keys", wish.clone()).await.0, status, "{wish}");
    }
}
