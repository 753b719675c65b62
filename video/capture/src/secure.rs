//! TLS to cameras: `rtsps://` and `https://`.

use rustls::CertificateError;
use std::{io, net::Ipv4Addr, path::Path};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::client::TlsStream;
use url::Url;

use crate::{address::CameraUrl, outlet::Trouble, tls};

/// The authorities that Debian and its kin trust.
const SYSTEM_CA: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Connects to a camera and checks its certificate, against the authority that was named, or those of the machine and what the camera showed before.
pub(crate) async fn connect(url: &CameraUrl) -> Result<TlsStream<TcpStream>, Trouble> {
    // Read at each connection: a renewed authority counts from the next one on.
    let (host, port) = url.address();
    let config = match url.ca() {
        Some(ca) => tls::client_config(ca, None),
        None => tls::camera_config(Path::new(SYSTEM_CA), url.pins(), format!("{host}:{port}")),
    };
    let config =
        config.map_err(|problem| Trouble::refusal(format!("no authority to check its certificate with: {problem}: set source_ca")))?;
    let stream = TcpStream::connect(url.address()).await.map_err(|error| Trouble::passing(error.to_string()))?;
    tls::handshake(stream, url.address().0, config).await.map_err(|error| trouble_of(&error))
}

fn trouble_of(error: &io::Error) -> Trouble {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(other))) => Trouble::refusal(format!("TLS_FAILED: {other}")),
        Some(rustls::Error::InvalidCertificate(problem)) => Trouble::refusal(format!(
            "TLS_FAILED: its certificate is not trusted ({problem}): set source_ca to the authority (PEM) that it comes from, and name the camera as the certificate does"
        )),
        Some(rustls::Error::InvalidMessage(_)) => {
            Trouble::refusal("TLS_FAILED: it does not speak TLS at this port: take rtsp:// or http://, or another port")
        }
        Some(_) | None => Trouble::passing(format!("TLS_FAILED: {error}")),
    }
}

/// The address on this machine's loopback where one connection goes through TLS to the camera: `retina` speaks RTSP over plain TCP alone. `tasks` holds
/// the tunnel.
pub(crate) async fn tunnel(url: &CameraUrl, tasks: &mut JoinSet<()>) -> Result<Url, Trouble> {
    let failed = |error: io::Error| Trouble::passing(format!("no tunnel for its TLS: {error}"));
    let mut camera = connect(url).await?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    tasks.spawn(async move {
        if let Ok((mut plain, _)) = listener.accept().await {
            // One connection, which is ours. Its end, at either side, is seen by the reader.
            drop(listener);
            let _ = tokio::io::copy_bidirectional(&mut plain, &mut camera).await;
        }
    });
    let mut local = format!("rtsp://{}:{port}{}", Ipv4Addr::LOCALHOST, url.for_request().path());
    if let Some(query) = url.for_request().query() {
        local = format!("{local}?{query}");
    }
    Url::parse(&local).map_err(|error| Trouble::refusal(url.scrub(&error.to_string())))
}
