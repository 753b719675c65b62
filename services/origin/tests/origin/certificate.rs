//! RTMPS with a certificate that is renewed while connections are there.

use crate::tokens::Signer;
use crate::{origin_with, until};
use rustls_pki_types::{CertificateDer, ServerName};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Writes a new pair, the key first: for a moment the two don't fit.
pub(crate) fn write(dir: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    made.cert.der().clone()
}

/// Connects, trusting that certificate and no other.
pub(crate) async fn connect(addr: SocketAddr, trusted: &CertificateDer<'static>) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(addr).await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_used_without_a_restart_and_running_connections_stay() {
    let dir = tempfile::tempdir().unwrap();
    let first = write(dir.path());
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let (origin, _dir) = origin_with(&Signer::new("k1"), |config| (config.rtmps.cert, config.rtmps.key) = (Some(cert), Some(key))).await;
    let rtmps = origin.rtmps_addr().unwrap();
    let mut running = connect(rtmps, &first).await.unwrap();
    // C0 C1: the answer is awaited after the change.
    running.write_all(&[&[3][..], &[0; 1535]].concat()).await.unwrap();

    let second = write(dir.path());
    until("the new certificate", async || connect(rtmps, &second).await.is_ok()).await;
    assert!(connect(rtmps, &first).await.is_err(), "the old one is not shown any more");
    running.write_all(&[0]).await.unwrap();
    let mut answer = [0; 1 + 2 * 1536];
    running.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[0], 3);

    // One that can't be used changes nothing, and the next good one is taken.
    std::fs::write(dir.path().join("cert.pem"), "no certificate").unwrap();
    assert!(connect(rtmps, &second).await.is_ok());
    let third = write(dir.path());
    until("the third certificate", async || connect(rtmps, &third).await.is_ok()).await;
    origin.shutdown().await;
}
