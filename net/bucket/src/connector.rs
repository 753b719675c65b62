//! The library's requests, sent by the client that everything else here uses: one way to TLS, one list of authorities.

use async_trait::async_trait;
use futures_util::stream::{StreamExt as _, unfold};
use http_body_util::{BodyExt as _, StreamBody};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as Tcp;
use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService};
use std::fmt;
use std::time::Duration;

/// What requests carry.
pub type Body = object_store::client::HttpRequestBody;

/// The client that sends them.
pub type HttpsClient = Client<HttpsConnector<Tcp>, Body>;

/// How long a store may take to begin its answer, once it has everything.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that takes less a second is a broken one: 256 kbit/s.
const BYTES_PER_SEC_MIN: u64 = 32 * 1024;
/// How long the next piece of an answer may take.
const PIECE_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends by this client.
#[derive(Clone)]
pub(crate) struct By(pub(crate) HttpsClient);

impl fmt::Debug for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("By")
    }
}

impl HttpConnector for By {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("no answer in time")]
struct Silent;

#[async_trait]
impl HttpService for By {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let bytes = request.body().content_length() as u64;
        let limit = ANSWER_TIMEOUT + Duration::from_secs(bytes / BYTES_PER_SEC_MIN);
        let answered = tokio::time::timeout(limit, self.0.request(request)).await;
        let answer = answered.map_err(|_| HttpError::new(HttpErrorKind::Timeout, Silent))?.map_err(|error| {
            let kind = if error.is_connect() { HttpErrorKind::Connect } else { HttpErrorKind::Request };
            HttpError::new(kind, error)
        })?;
        let (parts, body) = answer.into_parts();
        let pieces = unfold(Some(body), async |body| {
            let mut body = body?;
            match tokio::time::timeout(PIECE_TIMEOUT, body.frame()).await {
                Err(_) => Some((Err(HttpError::new(HttpErrorKind::Timeout, Silent)), None)),
                Ok(None) => None,
                Ok(Some(Err(error))) => Some((Err(HttpError::new(HttpErrorKind::Interrupted, error)), None)),
                Ok(Some(Ok(piece))) => Some((Ok(piece), Some(body))),
            }
        });
        // The library asks behind the end of an answer that it refuses.
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(StreamBody::new(pieces.fuse()))))
    }
}
