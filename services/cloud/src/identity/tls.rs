//! TLS on both ports: our certificate, and client certificates of our authority only.

use super::authority::{Shown, shown};
use crate::data_dir::{DataDir, DataDirError};
use rustls::{RootCertStore, ServerConfig, crypto::CryptoProvider, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use std::sync::Arc;

/// What to do with a client that shows no certificate. One of another authority is refused in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ClientCertificate {
    Required,
    Optional,
}

/// The server's side of TLS 1.2 and 1.3.
pub(crate) fn server_config(dir: &DataDir, client: ClientCertificate, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, DataDirError> {
    // Named here, so that no start-up order of a program decides which library encrypts.
    let provider: Arc<CryptoProvider> = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let (ca_path, pem_path, key_path) = (dir.file("ca.pem"), dir.file("server.pem"), dir.file("server.key"));
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&ca_path).map_err(|error| DataDirError::certificate(&ca_path, &error))?)
        .map_err(|error| DataDirError::certificate(&ca_path, &error))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let verifier = if client == ClientCertificate::Optional { verifier.allow_unauthenticated() } else { verifier };
    let verifier = verifier.build().map_err(|error| DataDirError::certificate(&ca_path, &error))?;
    let chain = vec![CertificateDer::from_pem_file(&pem_path).map_err(|error| DataDirError::certificate(&pem_path, &error))?];
    let key = PrivateKeyDer::from_pem_file(&key_path).map_err(|error| DataDirError::certificate(&key_path, &error))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| DataDirError::certificate(&pem_path, &error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| DataDirError::certificate(&pem_path, &error))?;
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

/// The certificate that the peer has shown; `None` without one, or where it is neither a device's nor an operator's.
pub(crate) fn peer(connection: &rustls::ServerConnection) -> Option<Shown> {
    shown(connection.peer_certificates()?.first()?)
}
