//! TLS of a client: whom it trusts, and how it shows who it is.

use crate::pins::{Pins, Verifier};
use rustls::client::WebPkiServerVerifier;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::net::TcpStream;

/// Why a client's certificates can't be used. Each names the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsFileError {
    /// The file can't be read, or is no PEM.
    #[error("{path}: {source}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: rustls_pki_types::pem::Error,
    },
    /// A certificate or key in it is refused.
    #[error("{path}: {source}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// It holds no certificate.
    #[error("{path}: no certificate in it")]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// Trusts the authorities in one file. `client`: certificate and key to show.
///
/// # Errors
/// [`TlsFileError`]
pub fn client_config(ca: &Path, client: Option<(&Path, &Path)>) -> Result<Arc<rustls::ClientConfig>, TlsFileError> {
    let builder = rustls::ClientConfig::builder().with_root_certificates(roots(ca)?);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let private = PrivateKeyDer::from_pem_file(key).map_err(|source| TlsFileError::Pem { path: key.to_owned(), source })?;
            builder
                .with_client_auth_cert(certificates(certificate)?, private)
                .map_err(|source| TlsFileError::Refused { path: certificate.to_owned(), source })?
        }
    };
    Ok(Arc::new(config))
}

/// Trusts the authorities in one file, and of the camera at `address` a certificate that it has signed itself, by its pin.
pub(crate) fn camera_config(ca: &Path, pins: Arc<Pins>, address: String) -> Result<Arc<rustls::ClientConfig>, TlsFileError> {
    let failed = |source| TlsFileError::Refused { path: ca.to_owned(), source };
    let authorities = WebPkiServerVerifier::builder(Arc::new(roots(ca)?)).build();
    let authorities = authorities.map_err(|error| failed(rustls::Error::General(error.to_string())))?;
    let verifier = Verifier::new(authorities, pins, address);
    // "Dangerous" is the library's word for any verifier but its own.
    let builder = rustls::ClientConfig::builder().dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    Ok(Arc::new(builder.with_no_client_auth()))
}

fn roots(ca: &Path) -> Result<rustls::RootCertStore, TlsFileError> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate).map_err(|source| TlsFileError::Refused { path: ca.to_owned(), source })?;
    }
    if roots.is_empty() {
        return Err(TlsFileError::Empty { path: ca.to_owned() });
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let failed = |source| TlsFileError::Pem { path: path.to_owned(), source };
    CertificateDer::pem_file_iter(path).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)
}

/// Shakes hands over an open connection, and checks that the certificate is `host`'s.
///
/// # Errors
/// As TLS and the connection give them; a [`rustls::Error`] is inside.
pub async fn handshake(
    stream: TcpStream,
    host: &str,
    config: Arc<rustls::ClientConfig>,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let name = rustls_pki_types::ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    tokio_rustls::TlsConnector::from(config).connect(name, stream).await
}
