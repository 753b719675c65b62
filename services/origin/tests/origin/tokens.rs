//! A cloud's signing key, and tokens made with it.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use sightline_signal::report::{Jwk, Jwks};
use sightline_signal::{Claims, DeviceId, PlayClaims, PlayPurpose, Text};

pub(crate) struct Signer {
    key: EncodingKey,
    jwk: Jwk,
}

pub(crate) fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().cast_signed()
}

pub(crate) fn claims(stream: &str, epoch: u64) -> Claims {
    Claims {
        device: DeviceId::new("cam-1").unwrap(),
        stream: Text::try_from(stream).unwrap(),
        epoch,
        expires_at: now() + 3600,
        origin_set: Text::new(),
        bitrate_kbps_max: 4000,
    }
}

/// The right to watch a stream for an hour, however and from wherever.
pub(crate) fn play_claims(playback: &str) -> PlayClaims {
    PlayClaims {
        purpose: PlayPurpose::Play,
        playback: Text::try_from(playback).unwrap(),
        expires_at: now() + 3600,
        id: Text::try_from("t1").unwrap(),
        address: Text::new(),
        ways: Text::new(),
        viewers_max: 0,
    }
}

impl Signer {
    pub(crate) fn new(kid: &str) -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let jwk = Jwk {
            kty: "OKP".into(),
            crv: "Ed25519".into(),
            x: URL_SAFE_NO_PAD.encode(pair.public_key().as_ref()),
            kid: kid.into(),
            alg: "EdDSA".into(),
            usage: "sig".into(),
        };
        Self { key: EncodingKey::from_ed_der(pair.to_pkcs8().unwrap().as_ref()), jwk }
    }

    pub(crate) fn jwks(&self) -> Jwks {
        Jwks { keys: vec![self.jwk.clone()] }
    }

    pub(crate) fn sign(&self, claims: &impl serde::Serialize) -> String {
        let header = Header { kid: Some(self.jwk.kid.clone()), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }

    /// `stream?token=…`, good for an hour.
    pub(crate) fn name(&self, stream: &str, epoch: u64) -> String {
        format!("{stream}?token={}", self.sign(&claims(stream, epoch)))
    }
}
