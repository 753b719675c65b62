//! The keys that stream tokens are signed with: a set of previous, current and next.
//!
//! `next` is published before it signs, so that every origin has it by the day it becomes `current`. `previous` stays
//! published until every token that it signed has expired.

use crate::{
    clock::Clock,
    config::TOKEN_TTL_SEC_MAX,
    secrets::Secret,
    store::{
        Store,
        actor::{Action, Actor},
        error::StoreError,
        signing_keys::{Pkcs8, SigningKeyRow, Slot},
    },
};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::json;
use sightline_signal::report::{Jwk, Jwks};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// How long a key signs before the next one does.
const ROTATE_AFTER_SEC: i64 = 30 * 86_400;
/// Two rotations within the longest life of a token would drop a key whose tokens are still in use.
const ROTATIONS_APART_SEC: i64 = TOKEN_TTL_SEC_MAX as i64;

/// Why keys can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Rotated too often.
    #[error("signing keys were rotated less than {0} s ago; tokens of the previous key are still in use")]
    RotatedRecently(i64),
    /// The database has no current key.
    #[error("the database has no current signing key; restore a backup of it, or restart the cloud, which makes one")]
    NoSigningKey,
    /// A key of the database is none.
    #[error("the signing key {0} of the database can't be read; restore a backup of the database")]
    Unreadable(String),
    /// The cryptographic library made no key.
    #[error("the cryptographic library failed to make an Ed25519 key")]
    Generation,
    /// The cryptographic library signed no token.
    #[error("the cryptographic library failed to sign a token")]
    Signature,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The set as it was last read.
struct KeySet {
    current: Signer,
    current_since: i64,
    /// Signs the repeated answers to questions that came before the last rotation.
    previous: Option<Signer>,
    jwks: Jwks,
}

struct Signer {
    kid: String,
    key: EncodingKey,
}

/// The set; clones share it.
#[derive(Clone)]
pub(crate) struct SigningKeys {
    set: Arc<RwLock<KeySet>>,
    store: Store,
    clock: Clock,
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKeys").field("current", &self.current_kid()).finish_non_exhaustive()
    }
}

impl SigningKeys {
    /// Reads the set, and makes what is missing of current and next.
    pub(crate) async fn open(store: Store, clock: Clock) -> Result<Self, KeyError> {
        store.fill_signing_keys(&generate()?, &generate()?).await?;
        let set = KeySet::read(&store).await?;
        Ok(Self { set: Arc::new(RwLock::new(set)), store, clock })
    }

    fn set(&self) -> RwLockReadGuard<'_, KeySet> {
        self.set.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the set again: another process may have rotated it.
    pub(crate) async fn reload(&self) -> Result<(), KeyError> {
        let set = KeySet::read(&self.store).await?;
        *self.set.write().unwrap_or_else(PoisonError::into_inner) = set;
        Ok(())
    }

    /// What a token of ours says; when it ends is for the caller to look at.
    pub(crate) fn verify<C: serde::de::DeserializeOwned>(&self, token: &str) -> Option<C> {
        let kid = jsonwebtoken::decode_header(token).ok()?.kid?;
        let key = self.set().jwks.keys.iter().find(|key| key.kid == kid).map(|key| DecodingKey::from_ed_components(&key.x))?.ok()?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        jsonwebtoken::decode::<C>(token, &key, &validation).ok().map(|token| token.claims)
    }

    /// The public halves.
    pub(crate) fn jwks(&self) -> Jwks {
        self.set().jwks.clone()
    }

    /// The id of the key that signs.
    pub(crate) fn current_kid(&self) -> String {
        self.set().current.kid.clone()
    }

    /// Whether the current key has signed long enough.
    pub(crate) fn is_due(&self) -> bool {
        // A time to come is that of a clock that was ahead once, and says nothing: without this, nothing would rotate until then.
        !(0..ROTATE_AFTER_SEC).contains(&(self.clock.unix_secs() - self.set().current_since))
    }

    /// A token, signed by the key `kid`, or by the current one where that is gone. The same key makes the same token of the same
    /// claims. Its header names only algorithm and key: every byte of it travels in a URL.
    pub(crate) fn sign(&self, kid: &str, claims: &impl serde::Serialize) -> Result<String, KeyError> {
        let set = self.set();
        let signer = set.previous.iter().find(|previous| previous.kid == kid).unwrap_or(&set.current);
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = None;
        header.kid = Some(signer.kid.clone());
        jsonwebtoken::encode(&header, claims, &signer.key).map_err(|_| KeyError::Signature)
    }
}

impl KeySet {
    async fn read(store: &Store) -> Result<Self, KeyError> {
        let (mut jwks, mut current, mut previous) = (Jwks::default(), None, None);
        for SigningKeyRow { kid, slot, pkcs8, since } in store.signing_keys().await? {
            let pair = Ed25519KeyPair::from_pkcs8(pkcs8.reveal()).map_err(|_| KeyError::Unreadable(kid.clone()))?;
            jwks.keys.push(Jwk {
                kty: "OKP".into(),
                crv: "Ed25519".into(),
                x: URL_SAFE_NO_PAD.encode(pair.public_key().as_ref()),
                kid: kid.clone(),
                alg: "EdDSA".into(),
                usage: "sig".into(),
            });
            let signer = Signer { kid, key: EncodingKey::from_ed_der(pkcs8.reveal()) };
            match slot {
                Some(Slot::Current) => current = Some((signer, since)),
                Some(Slot::Previous) => previous = Some(signer),
                Some(Slot::Next) | None => {}
            }
        }
        let (current, current_since) = current.ok_or(KeyError::NoSigningKey)?;
        Ok(Self { current, current_since, previous, jwks })
    }
}

/// Moves the set on by one: next signs, current becomes previous, a new next is made.
///
/// # Errors
/// [`KeyError::RotatedRecently`] within a day of the last time.
pub(crate) async fn rotate(store: &Store, clock: &Clock, actor: &Actor) -> Result<(), KeyError> {
    let mut write = store.write(actor).await?;
    if write.previous_key_since().await?.is_some_and(|since| (0..ROTATIONS_APART_SEC).contains(&(clock.unix_secs() - since))) {
        return Err(KeyError::RotatedRecently(ROTATIONS_APART_SEC));
    }
    write.rotate_signing_keys(&generate()?).await?;
    Ok(write.commit(Action::KeysRotate, "signing_keys", json!({})).await?)
}

fn generate() -> Result<Pkcs8, KeyError> {
    let pkcs8 = Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1()).map_err(|_| KeyError::Generation)?;
    Ok(Secret::new(pkcs8.as_ref().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_dir::DataDir;
    use sightline_signal::{Claims, DeviceId, Text};
    use std::time::Duration;

    fn claims() -> Claims {
        Claims {
            device: DeviceId::new("ESP32P4_CAM_001").unwrap(),
            stream: Text::try_from("abcdefghij").unwrap(),
            epoch: 1_764_000_000_000,
            expires_at: 1_764_003_600,
            origin_set: Text::new(),
            bitrate_kbps_max: 40_000,
        }
    }

    async fn open() -> (tempfile::TempDir, Store, Clock, SigningKeys) {
        let home = tempfile::tempdir().unwrap();
        let clock = Clock::default();
        let store = Store::open(&DataDir::open(home.path()).unwrap(), clock.clone()).await.unwrap();
        let keys = SigningKeys::open(store.clone(), clock.clone()).await.unwrap();
        (home, store, clock, keys)
    }

    #[tokio::test]
    async fn a_token_of_the_seed_s_device_fits_nginx_rtmp_and_its_key_is_published() {
        let (_home, _, _, keys) = open().await;
        let token = keys.sign("k1", &claims()).unwrap();
        assert!(token.len() < 249, "{} bytes", token.len());
        let header = String::from_utf8(URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap()).unwrap();
        assert_eq!(header, r#"{"alg":"EdDSA","kid":"k1"}"#);
        let jwks = keys.jwks();
        let jwk = jwks.keys.iter().find(|key| key.kid == "k1").unwrap();
        let mut validation = jsonwebtoken::Validation::new(Algorithm::EdDSA);
        validation.validate_exp = false;
        let key = jsonwebtoken::DecodingKey::from_ed_components(&jwk.x).unwrap();
        assert_eq!(jsonwebtoken::decode::<Claims>(&token, &key, &validation).unwrap().claims, claims());
    }

    #[tokio::test]
    async fn rotation_keeps_the_previous_key_and_publishes_the_next_before_it_signs() {
        let (_home, store, clock, keys) = open().await;
        let (before, token) = (keys.jwks(), keys.sign("k1", &claims()).unwrap());
        assert_eq!(keys.current_kid(), "k1");
        rotate(&store, &clock, &Actor::Cli).await.unwrap();
        keys.reload().await.unwrap();
        assert_eq!(keys.current_kid(), "k2");
        for key in &before.keys {
            assert!(keys.jwks().keys.contains(key), "{} is still published", key.kid);
        }
        assert_eq!(keys.sign("k1", &claims()).unwrap(), token, "a repeated answer has the identical token");
        assert!(matches!(rotate(&store, &clock, &Actor::Cli).await, Err(KeyError::RotatedRecently(_))));
        clock.advance(Duration::from_secs(86_401));
        rotate(&store, &clock, &Actor::System).await.unwrap();
        keys.reload().await.unwrap();
        assert!(!keys.jwks().keys.iter().any(|key| key.kid == "k1"), "its tokens have expired");
    }

    #[tokio::test]
    async fn a_key_is_due_after_thirty_days() {
        let (_home, _, clock, keys) = open().await;
        assert!(!keys.is_due());
        clock.advance(Duration::from_secs(30 * 86_400 + 1));
        assert!(keys.is_due());
    }
}
