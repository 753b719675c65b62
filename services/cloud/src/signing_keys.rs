//! The keys that stream tokens are signed with: a set of previous, current and next.
//!
//! `next` is published before it signs, so that every origin has it by the day it becomes `current`; `previous` stays
//! published until every token that it signed has ended.

use crate::{CloudError, audit::Operation, data_dir::unix_secs, database::Database};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use sightline_signal::{
    Claims,
    report::{Jwk, Jwks},
};
use sqlx::{Row as _, Sqlite, Transaction};

/// How long a key signs before the next one does.
pub(crate) const ROTATE_AFTER_SECS: i64 = 30 * 86_400;
/// Rotating twice within the longest life of a token would drop a key that tokens in use were signed with.
const ROTATIONS_APART_SECS: i64 = crate::config::TOKEN_TTL_SEC_MAX as i64;

/// The set as it was last read.
pub(crate) struct SigningKeys {
    current_kid: String,
    current: EncodingKey,
    current_since: i64,
    jwks: Jwks,
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKeys").field("current", &self.current_kid).finish_non_exhaustive()
    }
}

impl SigningKeys {
    /// Reads the set, and makes what is missing of current and next.
    pub(crate) async fn open(database: &Database) -> Result<Self, CloudError> {
        let error = |source| database.error(source);
        let mut tx = database.write().await.map_err(error)?;
        for slot in ["current", "next"] {
            let is_there: i64 = sqlx::query_scalar("SELECT count(*) FROM signing_keys WHERE slot = $1")
                .bind(slot)
                .fetch_one(&mut *tx)
                .await
                .map_err(error)?;
            if is_there == 0 {
                make(&mut tx, slot).await.map_err(error)?;
            }
        }
        tx.commit().await.map_err(error)?;
        Self::read(database).await
    }

    /// Reads the set as it is: another process may have rotated it.
    pub(crate) async fn read(database: &Database) -> Result<Self, CloudError> {
        let rows = sqlx::query("SELECT kid, slot, pkcs8, slot_since FROM signing_keys ORDER BY slot")
            .fetch_all(database.pool())
            .await
            .map_err(|source| database.error(source))?;
        let (mut jwks, mut current) = (Jwks::default(), None);
        for row in rows {
            let read = || -> Result<_, sqlx::Error> { Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?)) };
            let (kid, slot, pkcs8, since): (String, String, Vec<u8>, i64) = read().map_err(|source| database.error(source))?;
            let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|_| CloudError::Crypto("read a signing key of the database"))?;
            jwks.keys.push(Jwk {
                kty: "OKP".into(),
                crv: "Ed25519".into(),
                x: URL_SAFE_NO_PAD.encode(pair.public_key().as_ref()),
                kid: kid.clone(),
                alg: "EdDSA".into(),
                usage: "sig".into(),
            });
            if slot == "current" {
                current = Some((kid, EncodingKey::from_ed_der(&pkcs8), since));
            }
        }
        let (current_kid, current, current_since) = current.ok_or(CloudError::Crypto("find the current signing key"))?;
        Ok(Self { current_kid, current, current_since, jwks })
    }

    /// The public halves.
    pub(crate) fn jwks(&self) -> &Jwks {
        &self.jwks
    }

    /// Whether the current key has signed long enough.
    pub(crate) fn is_due(&self) -> bool {
        unix_secs() - self.current_since >= ROTATE_AFTER_SECS
    }

    /// A token. Its header names only algorithm and key: every byte of it travels in a URL.
    pub(crate) fn sign(&self, claims: &Claims) -> Result<String, CloudError> {
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = None;
        header.kid = Some(self.current_kid.clone());
        jsonwebtoken::encode(&header, claims, &self.current).map_err(|_| CloudError::Crypto("sign a token"))
    }
}

/// Moves the set on by one: next signs, current becomes previous, a new next is made.
///
/// # Errors
/// [`CloudError::KeysRotatedRecently`] within a day of the last time.
pub(crate) async fn rotate(database: &Database, actor: &str) -> Result<(), CloudError> {
    let error = |source| database.error(source);
    let mut tx = database.write().await.map_err(error)?;
    let previous_since: Option<i64> =
        sqlx::query_scalar("SELECT slot_since FROM signing_keys WHERE slot = 'previous'").fetch_optional(&mut *tx).await.map_err(error)?;
    if previous_since.is_some_and(|since| unix_secs() - since < ROTATIONS_APART_SECS) {
        return Err(CloudError::KeysRotatedRecently(ROTATIONS_APART_SECS));
    }
    sqlx::query("DELETE FROM signing_keys WHERE slot = 'previous'").execute(&mut *tx).await.map_err(error)?;
    for (from, to) in [("current", "previous"), ("next", "current")] {
        sqlx::query("UPDATE signing_keys SET slot = $2, slot_since = $3 WHERE slot = $1")
            .bind(from)
            .bind(to)
            .bind(unix_secs())
            .execute(&mut *tx)
            .await
            .map_err(error)?;
    }
    make(&mut tx, "next").await.map_err(error)?;
    let operation = Operation { actor, action: "keys.rotate", subject: "signing_keys", detail: json!({}) };
    database.commit_with(tx, &operation).await.map_err(error)?;
    Ok(())
}

async fn make(tx: &mut Transaction<'static, Sqlite>, slot: &str) -> Result<(), sqlx::Error> {
    let failed = || sqlx::Error::Io(std::io::Error::other("no Ed25519 key could be made"));
    let pkcs8 = Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1()).map_err(|_| failed())?;
    let newest: i64 =
        sqlx::query_scalar("SELECT coalesce(max(CAST(substr(kid, 2) AS INTEGER)), 0) FROM signing_keys").fetch_one(&mut **tx).await?;
    sqlx::query("INSERT INTO signing_keys (kid, slot, pkcs8, slot_since) VALUES ($1, $2, $3, $4)")
        .bind(format!("k{}", newest + 1))
        .bind(slot)
        .bind(pkcs8.as_ref())
        .bind(unix_secs())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_dir::DataDir;
    use sightline_signal::{DeviceId, Text};

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

    #[tokio::test]
    async fn a_token_of_the_seed_s_device_fits_nginx_rtmp_and_its_key_is_published() {
        let home = tempfile::tempdir().unwrap();
        let database = Database::open(&DataDir::open(home.path()).unwrap()).await.unwrap();
        let keys = SigningKeys::open(&database).await.unwrap();
        let token = keys.sign(&claims()).unwrap();
        assert!(token.len() < 249, "{} bytes", token.len());
        let header = String::from_utf8(URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap()).unwrap();
        assert_eq!(header, r#"{"alg":"EdDSA","kid":"k1"}"#);
        let jwk = keys.jwks().keys.iter().find(|key| key.kid == "k1").unwrap();
        let mut validation = jsonwebtoken::Validation::new(Algorithm::EdDSA);
        validation.validate_exp = false;
        let key = jsonwebtoken::DecodingKey::from_ed_components(&jwk.x).unwrap();
        assert_eq!(jsonwebtoken::decode::<Claims>(&token, &key, &validation).unwrap().claims, claims());
    }

    #[tokio::test]
    async fn rotation_keeps_the_previous_key_and_publishes_the_next_before_it_signs() {
        let home = tempfile::tempdir().unwrap();
        let database = Database::open(&DataDir::open(home.path()).unwrap()).await.unwrap();
        let before = SigningKeys::open(&database).await.unwrap();
        rotate(&database, "cli").await.unwrap();
        let after = SigningKeys::open(&database).await.unwrap();
        assert_eq!((before.current_kid.as_str(), after.current_kid.as_str()), ("k1", "k2"));
        for key in &before.jwks.keys {
            assert!(after.jwks.keys.contains(key), "{} is still published", key.kid);
        }
        assert!(matches!(rotate(&database, "cli").await, Err(CloudError::KeysRotatedRecently(_))));
    }
}
