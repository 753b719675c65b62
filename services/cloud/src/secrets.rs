//! Secrets, random names and hashes.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use sightline_signal::Text;
use std::fmt::{self, Write as _};

/// Characters of a stream's name: 10 x 5 random bits keep names apart. The name is no secret, and every token carries it.
const STREAM_CHARACTERS: usize = 10;

/// The cryptographic library failed; it never should.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the cryptographic library failed to {0}")]
pub struct CryptoError(pub(crate) &'static str);

/// A secret. `Debug` prints `***`; only [`Secret::reveal`] gives it.
#[derive(Clone)]
pub(crate) struct Secret<T>(T);

impl<T> Secret<T> {
    pub(crate) fn new(secret: T) -> Self {
        Self(secret)
    }

    /// The secret itself, for the one place that needs it.
    pub(crate) fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// 32 random bytes in base64url: a bearer token or a key.
pub(crate) fn random_secret() -> Result<Secret<String>, CryptoError> {
    random::<32>("draw random bytes").map(|bytes| Secret::new(URL_SAFE_NO_PAD.encode(bytes)))
}

/// What a hook's messages are signed with.
pub(crate) fn random_hook_key() -> Result<[u8; 32], CryptoError> {
    random("draw a hook's key")
}

/// A stream's name: random, in lower-case base 32. It reveals nothing about the device.
pub(crate) fn random_stream_name() -> Result<String, CryptoError> {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let bytes = random::<STREAM_CHARACTERS>("draw a stream's name")?;
    Ok(bytes.iter().map(|byte| char::from(DIGITS[usize::from(byte & 31)])).collect())
}

/// The seed of one placement.
pub(crate) fn random_seed() -> Result<u64, CryptoError> {
    random("draw a seed").map(u64::from_le_bytes)
}

/// What makes equal passwords different hashes.
pub(crate) fn random_salt() -> Result<[u8; 16], CryptoError> {
    random("draw a salt")
}

/// The second half of a certificate's serial number.
pub(crate) fn random_serial_half() -> Result<[u8; 8], CryptoError> {
    random("draw a serial number")
}

/// An id for a command: 96 random bits.
pub(crate) fn command_id() -> Text<64> {
    // Without randomness two commands share an id, and one result answers both. Nothing worse happens.
    let bytes = random::<12>("draw a command's id").unwrap_or_default();
    Text::try_from(hex(&bytes).as_str()).unwrap_or_default()
}

fn random<const N: usize>(purpose: &'static str) -> Result<[u8; N], CryptoError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| CryptoError(purpose))?;
    Ok(bytes)
}

/// SHA-256 of a secret: what the database keeps.
pub(crate) fn sha256(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Compares hashes in constant time, so that the duration reveals nothing about the secret.
pub(crate) fn is_secret(shown: Option<&str>, expected_sha256: &[u8; 32]) -> bool {
    shown.is_some_and(|shown| aws_lc_rs::constant_time::verify_slices_are_equal(&sha256(shown), expected_sha256).is_ok())
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed_and_only_itself_opens() {
        let secret = random_secret().unwrap();
        assert_eq!(format!("{secret:?}"), "***");
        let kept = sha256(secret.reveal());
        assert!(is_secret(Some(secret.reveal()), &kept));
        assert!(!is_secret(Some("another"), &kept) && !is_secret(None, &kept));
    }

    #[test]
    fn names_have_their_length_and_alphabet() {
        let name = random_stream_name().unwrap();
        assert!(name.len() == STREAM_CHARACTERS && name.bytes().all(|byte| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(&byte)));
        assert_eq!(command_id().len(), 24);
        assert_eq!(hex(&[0, 0xab, 0xff]), "00abff");
    }
}
