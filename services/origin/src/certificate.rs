//! The certificate of RTMPS, read again when its files change: a renewed one is used without a restart, a broken one is not used at all.

use crate::config::Rtmps;
use crate::error::StartError;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How often the files are looked at. A certificate is renewed weeks before its end; two calls of `stat` cost nothing.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// What tells a file from the one before it: renewal tools write a new file, or the same with another content.
type Stamp = Option<(SystemTime, u64)>;

/// The certificate in use. Handshakes take it from here; those that are done keep theirs.
pub(crate) struct Certificate {
    cert: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("cert", &self.cert).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Certificate {
    /// Reads the certificate of the settings; `None` where they name none.
    pub(crate) fn load(settings: &Rtmps) -> Result<Option<Arc<Self>>, StartError> {
        let (cert, key) = match (&settings.cert, &settings.key) {
            (Some(cert), Some(key)) => (cert.clone(), key.clone()),
            (None, None) => return Ok(None),
            (Some(_), None) => {
                return Err(StartError::Setting { key: "rtmps.key", reason: "is missing; rtmps.cert needs its private key" });
            }
            (None, Some(_)) => {
                return Err(StartError::Setting { key: "rtmps.cert", reason: "is missing; rtmps.key needs its certificate" });
            }
        };
        let current = RwLock::new(Arc::new(read(&cert, &key)?));
        Ok(Some(Arc::new(Self { cert, key, current })))
    }

    /// What accepts TLS with whatever certificate is in use then.
    pub(crate) fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, StartError> {
        let server = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| StartError::Tls { reason: error.to_string() })?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        Ok(TlsAcceptor::from(Arc::new(server)))
    }

    /// Looks at the files until the origin ends.
    pub(crate) async fn watch(self: Arc<Self>, shutdown: CancellationToken) {
        let mut seen = self.stamps();
        let mut interval = tokio::time::interval(POLL_INTERVAL);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = interval.tick() => {}
            }
            let stamps = self.stamps();
            if stamps == seen {
                continue;
            }
            // Certificate and key are two files: between their writes they do not fit. The next look finds both.
            match self.reload() {
                Ok(()) => tracing::info!(cert = %self.cert.display(), "RTMPS uses the new certificate"),
                Err(error) => tracing::warn!(%error, "the new RTMPS certificate can't be used; the old one stays in use"),
            }
            seen = stamps;
        }
    }

    fn stamps(&self) -> [Stamp; 2] {
        [&self.cert, &self.key].map(|path| std::fs::metadata(path).ok().and_then(|file| Some((file.modified().ok()?, file.len()))))
    }

    fn reload(&self) -> Result<(), StartError> {
        let fresh = Arc::new(read(&self.cert, &self.key)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }
}

/// Reads a chain and its key, and makes sure that they belong together.
fn read(cert: &Path, key: &Path) -> Result<CertifiedKey, StartError> {
    let bytes =
        |key: &'static str, path: &Path| std::fs::read(path).map_err(|source| StartError::File { key, path: path.to_owned(), source });
    let refused = |reason: &dyn std::fmt::Display| StartError::Tls { reason: reason.to_string() };
    let chain =
        CertificateDer::pem_slice_iter(&bytes("rtmps.cert", cert)?).collect::<Result<Vec<_>, _>>().map_err(|error| refused(&error))?;
    let key = PrivateKeyDer::from_pem_slice(&bytes("rtmps.key", key)?).map_err(|error| refused(&error))?;
    // Compares the public halves; a chain without a certificate fails as well.
    CertifiedKey::from_der(chain, key, &rustls::crypto::aws_lc_rs::default_provider()).map_err(|error| refused(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, name: &str) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        std::fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        made.cert.der().clone()
    }

    fn settings(dir: &Path) -> Rtmps {
        Rtmps { cert: Some(dir.join("cert.pem")), key: Some(dir.join("key.pem")), ..crate::Config::default().rtmps }
    }

    fn in_use(certificate: &Certificate) -> CertificateDer<'static> {
        certificate.current.read().unwrap().cert[0].clone()
    }

    #[test]
    fn a_broken_certificate_leaves_the_old_one_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let first = write(dir.path(), "one");
        let certificate = Certificate::load(&settings(dir.path())).unwrap().unwrap();
        let key = std::fs::read(dir.path().join("key.pem")).unwrap();
        let second = write(dir.path(), "two");
        // The key of the one before it, nothing, and no PEM at all.
        for broken in [&key[..], b"", b"no key"] {
            let good = std::fs::read(dir.path().join("key.pem")).unwrap();
            std::fs::write(dir.path().join("key.pem"), broken).unwrap();
            assert!(matches!(certificate.reload(), Err(StartError::Tls { .. })));
            assert_eq!(in_use(&certificate), first);
            std::fs::write(dir.path().join("key.pem"), good).unwrap();
        }
        certificate.reload().unwrap();
        assert_eq!(in_use(&certificate), second);
        std::fs::remove_file(dir.path().join("cert.pem")).unwrap();
        assert!(matches!(certificate.reload(), Err(StartError::File { key: "rtmps.cert", .. })));
        assert_eq!(in_use(&certificate), second);
    }

    #[test]
    fn a_key_of_another_certificate_is_no_start() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "one");
        let key = std::fs::read(dir.path().join("key.pem")).unwrap();
        write(dir.path(), "two");
        std::fs::write(dir.path().join("key.pem"), key).unwrap();
        assert!(matches!(Certificate::load(&settings(dir.path())), Err(StartError::Tls { .. })));
    }
}
