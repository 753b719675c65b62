//! Who may publish: a token that the cloud signed, checked with keys that are here already. No call to anyone.

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use sightline_signal::report::Jwks;
use sightline_signal::{Claims, DeviceId, Text};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};

/// Keys that a set may have: current, next and previous are three.
const KEYS_MAX: usize = 16;

/// Why a publish was refused. The words go to the publisher: no secret is in them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("no token: publish as name?token=...")]
    NoToken,
    #[error("the token is signed with a key that this origin does not have")]
    UnknownKey,
    #[error("the token is not valid")]
    Invalid,
    #[error("the token has expired: request the stream again")]
    Expired,
    #[error("the token is for another stream name")]
    OtherStream,
    #[error("the token is for another server")]
    OtherServer,
    #[error("a newer publisher has this stream")]
    OldEpoch,
    #[error("the stream's right to publish was taken back")]
    Revoked,
}

/// A publisher that may begin.
#[derive(Clone)]
pub(crate) struct Grant {
    pub(crate) device: String,
    pub(crate) stream: String,
    /// `None`: without a token, from this machine; always the newest.
    pub(crate) epoch: Option<u64>,
    /// For the comparison with a reconnect's; never shown.
    pub(crate) token: String,
    pub(crate) expires_at: i64,
}

/// The keys, and the file that they are cached in.
pub(crate) struct Keys {
    server_id: String,
    file: PathBuf,
    keys: RwLock<(Jwks, HashMap<String, DecodingKey>)>,
}

impl Keys {
    /// With the keys of the cached file, if there is one.
    pub(crate) fn load(server_id: &str, file: PathBuf) -> Self {
        let keys = Self { server_id: server_id.to_owned(), file, keys: RwLock::default() };
        match std::fs::read(&keys.file).map(|bytes| serde_json::from_slice::<Jwks>(&bytes)) {
            Ok(Ok(jwks)) => keys.set(&jwks),
            Ok(Err(error)) => {
                tracing::warn!(file = %keys.file.display(), %error, "the cached keys can't be read; the cloud's replace them")
            }
            Err(_) => {}
        }
        keys
    }

    fn set(&self, jwks: &Jwks) {
        let mut decoded = HashMap::new();
        for key in jwks.keys.iter().take(KEYS_MAX) {
            match DecodingKey::from_ed_components(&key.x) {
                Ok(decoding) if key.kty == "OKP" && key.crv == "Ed25519" => {
                    decoded.insert(key.kid.clone(), decoding);
                }
                Ok(_) | Err(_) => tracing::warn!(kid = %key.kid, "a key of the set is no Ed25519 key and is left out"),
            }
        }
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = (jwks.clone(), decoded);
    }

    /// Takes over the cloud's set; writes it to the cache when it is another. Blocks on the file.
    pub(crate) fn replace(&self, jwks: &Jwks) {
        if self.keys.read().unwrap_or_else(PoisonError::into_inner).0 == *jwks {
            return;
        }
        self.set(jwks);
        let temporary = self.file.with_extension("json.new");
        let written = serde_json::to_vec_pretty(jwks)
            .map_err(std::io::Error::other)
            .and_then(|bytes| std::fs::write(&temporary, bytes))
            .and_then(|()| std::fs::rename(&temporary, &self.file));
        if let Err(error) = written {
            tracing::warn!(file = %self.file.display(), %error, "the keys can't be cached: a restart will need the cloud");
        }
    }

    /// Checks a token for a stream's name at a time.
    pub(crate) fn check(&self, stream: &str, token: &str, unix_secs: i64) -> Result<Grant, Refusal> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| Refusal::Invalid)?;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let key = header.kid.as_ref().and_then(|kid| keys.1.get(kid)).ok_or(Refusal::UnknownKey)?;
        // EdDSA and nothing else, whatever the header says. Times are compared below, against the origin's clock as it was passed in.
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        let claims = jsonwebtoken::decode::<Claims>(token, key, &validation).map_err(|_| Refusal::Invalid)?.claims;
        if claims.stream != stream {
            return Err(Refusal::OtherStream);
        }
        if claims.expires_at <= unix_secs {
            return Err(Refusal::Expired);
        }
        let is_ours = claims.origin_set.is_empty() || claims.origin_set.split(',').any(|origin| origin == self.server_id);
        if !is_ours {
            return Err(Refusal::OtherServer);
        }
        Ok(Grant {
            device: claims.device.as_str().to_owned(),
            stream: stream.to_owned(),
            epoch: Some(claims.epoch),
            token: token.to_owned(),
            expires_at: claims.expires_at,
        })
    }

    /// A publisher of this machine without a token, where the settings allow it.
    pub(crate) fn unsigned(stream: &str) -> Grant {
        let device = DeviceId::new(stream).map_or_else(|_| "unsigned".to_owned(), |id| id.as_str().to_owned());
        Grant { device, stream: stream.to_owned(), epoch: None, token: String::new(), expires_at: i64::MAX }
    }
}

/// The playback id as a map's key.
pub(crate) fn playback_of(stream: &str) -> String {
    let id: Text<{ sightline_signal::PLAYBACK_ID_BYTES }> = sightline_signal::playback_id(stream);
    id.as_str().to_owned()
}
