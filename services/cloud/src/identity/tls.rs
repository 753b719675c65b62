//! TLS on both ports: our certificate, and client certificates of our authority only.

use super::authority::{Shown, shown, valid_until};
use crate::data_dir::{DataDir, DataDirError};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::SystemTime,
};

/// What to do with a client that shows no certificate. One of another authority is refused in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ClientCertificate {
    Required,
    Optional,
}

/// The server's certificate and key, which may be replaced while connections come in.
pub(crate) struct ServerCertificate {
    pem_path: PathBuf,
    key_path: PathBuf,
    held: RwLock<Held>,
}

struct Held {
    key: Arc<CertifiedKey>,
    until: i64,
    /// Of the file, when it was read.
    modified: Option<SystemTime>,
}

impl std::fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerCertificate").field("pem_path", &self.pem_path).finish_non_exhaustive()
    }
}

impl ServerCertificate {
    /// Reads both files.
    pub(crate) fn load(dir: &DataDir) -> Result<Arc<Self>, DataDirError> {
        let (pem_path, key_path) = (dir.file("server.pem"), dir.file("server.key"));
        let held = RwLock::new(Held::read(&pem_path, &key_path)?);
        Ok(Arc::new(Self { pem_path, key_path, held }))
    }

    /// Reads them again if they were replaced; gives when the new certificate ends. On an error the old one goes on.
    pub(crate) fn reload(&self) -> Result<Option<i64>, DataDirError> {
        if modified(&self.pem_path) == self.held().modified {
            return Ok(None);
        }
        let read = Held::read(&self.pem_path, &self.key_path)?;
        let until = read.until;
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(Some(until))
    }

    /// When it ends, in seconds since 1970.
    pub(crate) fn until(&self) -> i64 {
        self.held().until
    }

    fn held(&self) -> RwLockReadGuard<'_, Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn read(pem_path: &Path, key_path: &Path) -> Result<Self, DataDirError> {
        let unusable = |path: &Path, error: &dyn std::fmt::Display| DataDirError::certificate(path, &error.to_string());
        // Before the file: one that is replaced meanwhile is read again.
        let modified = modified(pem_path);
        let chain = CertificateDer::pem_file_iter(pem_path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain.map_err(|error| unusable(pem_path, &error))?;
        let key = PrivateKeyDer::from_pem_file(key_path).map_err(|error| unusable(key_path, &error))?;
        let key = CertifiedKey::from_der(chain, key, &rustls::crypto::aws_lc_rs::default_provider())
            .map_err(|error| unusable(pem_path, &error))?;
        Ok(Self { key: Arc::new(key), until: valid_until(pem_path).unwrap_or_default(), modified })
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|file| file.modified()).ok()
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.held().key))
    }
}

/// The server's side of TLS 1.2 and 1.3.
pub(crate) fn server_config(
    dir: &DataDir,
    certificate: &Arc<ServerCertificate>,
    client: ClientCertificate,
    alpn: &[&[u8]],
) -> Result<Arc<ServerConfig>, DataDirError> {
    // Named here, so that no start-up order of a program decides which library encrypts.
    let provider: Arc<CryptoProvider> = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let ca_path = dir.file("ca.pem");
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&ca_path).map_err(|error| DataDirError::certificate(&ca_path, &error))?)
        .map_err(|error| DataDirError::certificate(&ca_path, &error))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let verifier = if client == ClientCertificate::Optional { verifier.allow_unauthenticated() } else { verifier };
    let verifier = verifier.build().map_err(|error| DataDirError::certificate(&ca_path, &error))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| DataDirError::certificate(&ca_path, &error))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::clone(certificate) as Arc<dyn ResolvesServerCert>);
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

/// The certificate that the peer has shown; `None` without one, or where it is neither a device's nor an operator's.
pub(crate) fn peer(connection: &rustls::ServerConnection) -> Option<Shown> {
    shown(connection.peer_certificates()?.first()?)
}
