//! The keys that tokens are checked with. They are here before a publisher comes, and cached in a file: a check calls nobody.

use crate::auth::grant::{Grant, Refusal};
use crate::auth::wish::PlayRefusal;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::de::DeserializeOwned;
use sightline_signal::report::Jwks;
use sightline_signal::{Claims, PlayClaims};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};

/// Keys that a set may have: current, next and previous are three.
const KEYS_MAX: usize = 16;

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

    /// Replaces the set, here alone.
    pub(crate) fn set(&self, jwks: &Jwks) {
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

    /// Replaces the set by the cloud's, and writes it to the cache if it differs. Blocks on the file.
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

    /// What a token says, if one of the keys has signed it.
    fn decode<C: DeserializeOwned>(&self, token: &str) -> Result<C, Refusal> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| Refusal::Invalid)?;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let key = header.kid.as_ref().and_then(|kid| keys.1.get(kid)).ok_or(Refusal::UnknownKey)?;
        // EdDSA and nothing else, whatever the header says. Times are compared by the caller, against the origin's clock as it was passed in.
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        Ok(jsonwebtoken::decode::<C>(token, key, &validation).map_err(|_| Refusal::Invalid)?.claims)
    }

    /// Checks a viewer's token at a time.
    pub(crate) fn check_playback(&self, token: &str, unix_secs: i64) -> Result<PlayClaims, PlayRefusal> {
        let claims: PlayClaims = self.decode(token).map_err(|_| PlayRefusal::Invalid)?;
        if claims.expires_at <= unix_secs { Err(PlayRefusal::Expired) } else { Ok(claims) }
    }

    /// Checks a token for a stream's name at a time.
    pub(crate) fn check(&self, stream: &str, token: &str, unix_secs: i64) -> Result<Grant, Refusal> {
        let claims: Claims = self.decode(token)?;
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
            bitrate_kbps: Some(claims.bitrate_kbps_max),
        })
    }
}
