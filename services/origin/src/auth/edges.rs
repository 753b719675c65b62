//! How an edge proves to an origin that both are of one installation: a token for one stream, good for two minutes, signed with a key that
//! comes from the cluster's. It is asked for nothing else, and nobody is asked about it.

use crate::auth::wish::{Way, Wish};
use aws_lc_rs::digest::{Context, SHA256};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

/// How long a token is good: a pull begins with it at once. It may be so much older where the two clocks differ.
const GOOD_SEC: i64 = 120;
/// What stands where other tokens have the name of the key.
const KEY_ID: &str = "edge";

/// What an edge may do: play one stream by HTTP-FLV.
#[derive(Serialize, Deserialize)]
struct Claims {
    #[serde(rename = "u")]
    purpose: Purpose,
    #[serde(rename = "p")]
    playback: String,
    #[serde(rename = "exp")]
    expires_at: i64,
}

/// No token of another kind has it.
#[derive(Serialize, Deserialize)]
enum Purpose {
    #[serde(rename = "edge")]
    Edge,
}

/// The key of an installation's edges. A secret: this type has no `Debug`.
pub(crate) struct EdgeKey {
    signs: EncodingKey,
    checks: DecodingKey,
}

impl EdgeKey {
    /// What is kept can't be turned back into the cluster's key.
    pub(crate) fn of_installation(cluster_key: &str) -> Self {
        let mut digest = Context::new(&SHA256);
        digest.update(b"sightline edges\0");
        digest.update(cluster_key.as_bytes());
        let secret = digest.finish();
        Self { signs: EncodingKey::from_secret(secret.as_ref()), checks: DecodingKey::from_secret(secret.as_ref()) }
    }

    /// The right to pull a stream, from now on for a while; `None`: it can't be signed.
    pub(crate) fn sign(&self, playback: &str, unix_secs: i64) -> Option<String> {
        let claims = Claims { purpose: Purpose::Edge, playback: playback.to_owned(), expires_at: unix_secs + GOOD_SEC };
        let header = Header { kid: Some(KEY_ID.to_owned()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &claims, &self.signs).ok()
    }

    /// Whether a wish is an edge's, and granted.
    pub(crate) fn grants(&self, wish: Wish<'_>, unix_secs: i64) -> bool {
        let Some(token) = wish.token.filter(|_| wish.way == Way::Flv) else { return false };
        let is_ours = jsonwebtoken::decode_header(token).is_ok_and(|header| header.kid.as_deref() == Some(KEY_ID));
        // This algorithm and no other, whatever the header says. Times are compared against the origin's clock as it was passed in.
        let mut validation = Validation::new(Algorithm::HS256);
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        let claims = is_ours.then(|| jsonwebtoken::decode::<Claims>(token, &self.checks, &validation).ok()).flatten();
        claims.is_some_and(|decoded| decoded.claims.playback == wish.playback && decoded.claims.expires_at > unix_secs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAYBACK: &str = "0123456789bcdefg";

    fn wish(token: &str) -> Wish<'_> {
        Wish { app: "live", playback: PLAYBACK, token: Some(token), address: [192, 0, 2, 7].into(), way: Way::Flv }
    }

    #[test]
    fn a_proof_is_of_one_installation_for_one_stream_one_way_and_a_while() {
        let (ours, other) = (EdgeKey::of_installation("key"), EdgeKey::of_installation("yek"));
        let token = ours.sign(PLAYBACK, 1000).unwrap();
        assert!(ours.grants(wish(&token), 1000) && ours.grants(wish(&token), 1000 + GOOD_SEC - 1));
        assert!(EdgeKey::of_installation("key").grants(wish(&token), 1000), "another process has the same");
        assert!(!ours.grants(wish(&token), 1000 + GOOD_SEC));
        assert!(!other.grants(wish(&token), 1000));
        assert!(!ours.grants(Wish { playback: "other", ..wish(&token) }, 1000));
        assert!(!ours.grants(Wish { way: Way::Hls, ..wish(&token) }, 1000));
        assert!(!ours.grants(Wish { token: None, ..wish(&token) }, 1000));
    }

    #[test]
    fn no_changed_proof_is_taken() {
        let ours = EdgeKey::of_installation("key");
        let token = ours.sign(PLAYBACK, 1000).unwrap();
        for at in 0..token.len() {
            for bit in 0..7 {
                let mut bytes = token.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                // The last digit of each part has bits that say nothing: then it is the same token.
                let Ok(changed) = String::from_utf8(bytes) else { continue };
                assert!(!ours.grants(wish(&changed), 1000), "{changed}");
            }
        }
        let none = Header { alg: Algorithm::HS512, kid: Some(KEY_ID.into()), ..Header::default() };
        let claims = Claims { purpose: Purpose::Edge, playback: PLAYBACK.into(), expires_at: 2000 };
        let other = jsonwebtoken::encode(&none, &claims, &ours.signs).unwrap();
        assert!(!ours.grants(wish(&other), 1000), "another algorithm");
    }
}
