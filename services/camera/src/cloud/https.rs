//! The other way to ask where to stream: `POST /stream/request` with the device's certificate, while the broker can't be reached.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use sightline_capture::tls::{self, TlsFileError};
use sightline_signal::Response;
use std::{io, time::Duration};
use url::Url;

use super::{
    link::{self, DialError},
    renewal::{DeviceFiles, Pair},
};
use crate::blocking;

/// For DNS, TCP, TLS and the answer: less than a discovery waits in all.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(7);
/// An answer has some 2 KB.
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// Where a cloud listens by default.
const PORT: u16 = 8080;

/// Where the cloud's HTTPS is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Endpoint {
    host: String,
    port: u16,
    /// Before `/stream/request`: that of a proxy, or empty.
    prefix: String,
}

/// Why a URL is none of a cloud's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum EndpointError {
    #[error("take https://host[:port][/path]: the answer holds a token, which goes over TLS only")]
    NotHttps,
    #[error("it holds a user: take user and password out, a device proves itself by mqtt.cert and mqtt.key")]
    UserInfo,
}

impl Endpoint {
    /// On the broker's machine.
    pub(crate) fn beside(broker_host: &str) -> Self {
        Self { host: broker_host.to_owned(), port: PORT, prefix: String::new() }
    }

    /// `https://host[:port][/path]`.
    pub(crate) fn parse(url: &str) -> Result<Self, EndpointError> {
        let parsed = Url::parse(url).ok().filter(|parsed| parsed.scheme() == "https").ok_or(EndpointError::NotHttps)?;
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(EndpointError::UserInfo);
        }
        let host = parsed.host_str().ok_or(EndpointError::NotHttps)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = parsed.port_or_known_default().unwrap_or(PORT);
        Ok(Self { host, port, prefix: parsed.path().trim_end_matches('/').to_owned() })
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("no answer within {} s", ANSWER_TIMEOUT.as_secs())]
    Timeout,
    // Its code is one of RTMP's.
    #[error("{}", .0.message)]
    Connection(DialError),
    #[error(transparent)]
    Files(#[from] TlsFileError),
    #[error("TLS: {0}")]
    Tls(#[from] io::Error),
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("the request can't be made: {0}")]
    Request(#[from] hyper::http::Error),
    #[error("the answer can't be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("HTTP status {status}: not a cloud's answer: {problem}")]
    Answer { status: u16, problem: serde_json::Error },
    #[error("the work failed: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

/// Asks once. A refusal is an answer, too.
pub(crate) async fn ask(endpoint: Endpoint, files: DeviceFiles, request: Vec<u8>) -> Result<Response, AskError> {
    tokio::time::timeout(ANSWER_TIMEOUT, post(&endpoint, files, request)).await.map_err(|_| AskError::Timeout)?
}

async fn post(endpoint: &Endpoint, files: DeviceFiles, request: Vec<u8>) -> Result<Response, AskError> {
    // Read anew: the certificate may have been renewed since.
    let config = blocking::run(move || {
        let pair = Pair::newest(&files);
        tls::client_config(&files.ca, Some((&pair.cert, &pair.key)))
    });
    let config = config.await??;
    let stream = link::connect(&endpoint.host, endpoint.port).await.map_err(AskError::Connection)?;
    let stream = tls::handshake(stream, &endpoint.host, config).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let authority = if endpoint.host.contains(':') {
        format!("[{}]:{}", endpoint.host, endpoint.port)
    } else {
        format!("{}:{}", endpoint.host, endpoint.port)
    };
    let request = Request::post(format!("{}/stream/request", endpoint.prefix))
        .header(header::HOST, authority)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(request)))?;
    let answering = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(AskError::Body)?.to_bytes();
        serde_json::from_slice(&body).map_err(|problem| AskError::Answer { status, problem })
    };
    let mut answering = std::pin::pin!(answering);
    tokio::select! {
        answer = &mut answering => answer,
        // Its end may come with the last bytes of the answer, which are there then.
        ended = connection => { ended?; answering.await }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_a_cloud() {
        let at = |host: &str, port, prefix: &str| Ok(Endpoint { host: host.to_owned(), port, prefix: prefix.to_owned() });
        assert_eq!(Endpoint::parse("https://cloud.example:8080"), at("cloud.example", 8080, ""));
        assert_eq!(Endpoint::parse("https://cloud.example/sightline/"), at("cloud.example", 443, "/sightline"));
        assert_eq!(Endpoint::parse("https://[::1]:9"), at("::1", 9, ""));
        assert_eq!(Endpoint::parse("http://cloud.example"), Err(EndpointError::NotHttps));
        assert_eq!(Endpoint::parse("cloud.example"), Err(EndpointError::NotHttps));
        assert_eq!(Endpoint::parse("https://a:b@cloud.example"), Err(EndpointError::UserInfo));
    }
}
