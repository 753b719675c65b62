//! Certificates that cameras have signed themselves, as nearly all do that speak TLS: the first one that an address shows is trusted from then on, and no other.
//!
//! Who stands between at the very first connection is not seen; who comes later is. Whoever wants more names an authority (`source_ca`), and nothing is
//! trusted by its first use then.

use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Cameras whose certificates are kept: more than one agent has.
const PINS_MAX: usize = 1024;

/// What was seen, by address; for as long as the process runs, and in a file where there is one.
#[derive(Debug)]
pub(crate) struct Pins {
    file: Option<PathBuf>,
    seen: Mutex<BTreeMap<String, String>>,
}

/// Two are the same where they are kept in the same place.
impl PartialEq for Pins {
    fn eq(&self, other: &Self) -> bool {
        self.file == other.file
    }
}

impl Eq for Pins {}

/// The camera shows another certificate than before.
#[derive(Debug, thiserror::Error)]
#[error(
    "it shows another certificate (SHA-256 {shown}) than when it was first seen ({pinned}): if it has a new one, remove its line from {place}; else someone stands between"
)]
pub(crate) struct OtherCertificate {
    shown: String,
    pinned: String,
    place: String,
}

impl Pins {
    /// Kept in `file`, a line a camera: its address, a space, the SHA-256 of its certificate. Without one they last as long as this.
    pub(crate) fn open(file: Option<&Path>) -> Self {
        let text = file.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.split_once(' ')).take(PINS_MAX);
        let seen = lines.map(|(address, fingerprint)| (address.to_owned(), fingerprint.trim().to_owned())).collect();
        Self { file: file.map(Path::to_owned), seen: Mutex::new(seen) }
    }

    /// The first certificate of an address is kept; every later one must be it.
    fn check(&self, address: &str, certificate: &[u8]) -> Result<(), OtherCertificate> {
        let shown = fingerprint(certificate);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.get(address) {
            Some(pinned) if *pinned == shown => Ok(()),
            Some(pinned) => {
                let place = self.file.as_ref().map_or_else(|| "memory, by a restart".to_owned(), |file| file.display().to_string());
                Err(OtherCertificate { shown, pinned: pinned.clone(), place })
            }
            None => {
                tracing::warn!(
                    camera = address,
                    sha256 = shown,
                    "the camera has signed its certificate itself: it is trusted from now on, and no other; set source_ca to trust an authority instead"
                );
                if seen.len() < PINS_MAX {
                    self.keep(address, &shown);
                    seen.insert(address.to_owned(), shown);
                }
                Ok(())
            }
        }
    }

    /// A line that can't be written is missed after a restart, no earlier.
    fn keep(&self, address: &str, fingerprint: &str) {
        let Some(file) = &self.file else { return };
        let written = file.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| {
            let mut lines = std::fs::OpenOptions::new().create(true).append(true).open(file)?;
            writeln!(lines, "{address} {fingerprint}")?;
            lines.sync_all()
        });
        if let Err(error) = written {
            tracing::warn!(file = %file.display(), %error, "the camera's certificate can't be kept: after a restart the first one counts again");
        }
    }
}

fn fingerprint(certificate: &[u8]) -> String {
    Sha256::digest(certificate).iter().fold(String::new(), |mut text, byte| {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Checks as always, and takes what a camera has signed itself by its pin.
#[derive(Debug)]
pub(crate) struct Verifier {
    authorities: Arc<WebPkiServerVerifier>,
    pins: Arc<Pins>,
    /// Host and port.
    address: String,
}

impl Verifier {
    pub(crate) fn new(authorities: Arc<WebPkiServerVerifier>, pins: Arc<Pins>, address: String) -> Self {
        Self { authorities, pins, address }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let refused = match self.authorities.verify_server_cert(certificate, intermediates, name, ocsp_response, now) {
            Ok(verified) => return Ok(verified),
            Err(refused) => refused,
        };
        if !is_signed_by_itself(certificate) {
            return Err(refused);
        }
        // Its names and its dates are the camera's own word: the pin says more. The handshake's signature shows that the key is its.
        match self.pins.check(&self.address, certificate) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(other) => Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(other))))),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

/// Issuer and subject are the same: no authority is claimed.
fn is_signed_by_itself(certificate: &[u8]) -> bool {
    x509_parser::parse_x509_certificate(certificate)
        .is_ok_and(|(_, certificate)| certificate.issuer().as_raw() == certificate.subject().as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_certificate_of_an_address_is_kept_over_a_restart_and_another_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state/certificates");
        let pins = Pins::open(Some(&file));
        assert!(pins.check("10.0.0.5:322", b"one").is_ok() && pins.check("10.0.0.6:322", b"two").is_ok());
        let again = Pins::open(Some(&file));
        assert!(again.check("10.0.0.5:322", b"one").is_ok());
        let error = again.check("10.0.0.5:322", b"another").unwrap_err().to_string();
        assert!(error.contains("another certificate") && error.contains("state/certificates"), "{error}");
        let without_a_file = Pins::open(None);
        assert!(without_a_file.check("h:1", b"one").is_ok() && without_a_file.check("h:1", b"two").is_err());
    }
}
