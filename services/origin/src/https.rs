//! A client of other servers of the installation, by HTTP or HTTPS. It keeps its connections open.

use crate::error::StartError;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long a connection may take to come up: a server that is off answers nothing.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

pub(crate) type HttpsClient<B> = Client<HttpsConnector<HttpConnector>, B>;

/// HTTPS trusts the authority in `ca`, which the setting `key` names, or what the system trusts.
pub(crate) fn client<B>(ca: Option<&Path>, key: &'static str) -> Result<HttpsClient<B>, StartError>
where
    B: axum::body::HttpBody + Send,
    B::Data: Send,
{
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let builder = HttpsConnectorBuilder::new();
    let https = match ca {
        None => builder.with_provider_and_native_roots(provider).map_err(|source| StartError::Roots { key, source })?,
        Some(ca) => builder.with_tls_config(tls(ca, key)?),
    };
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT_TIMEOUT));
    Ok(Client::builder(TokioExecutor::new()).build(https.https_or_http().enable_http1().wrap_connector(http)))
}

/// Trust in the authorities of a file, which the setting `key` names.
pub(crate) fn tls(ca: &Path, key: &'static str) -> Result<rustls::ClientConfig, StartError> {
    let unusable = |reason: String| StartError::Authority { key, path: ca.to_owned(), reason };
    let mut roots = rustls::RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(ca).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    for certificate in certificates.map_err(|error| unusable(error.to_string()))? {
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unusable("there is no certificate in it".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| unusable(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
