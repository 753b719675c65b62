//! The origins that an edge asks for a stream: one after another, the next at once where one has nothing, and a second later where one does
//! not answer.

use super::config::{Edge, address, server};
use crate::auth::edges::EdgeKey;
use crate::clock::Clock;
use crate::https::HttpsClient;
use crate::via::Via;
use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, LOCATION, VIA};
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http_body_util::{BodyExt as _, Empty, Limited};
use std::collections::VecDeque;
use std::time::Duration;

/// How long an upstream has for itself before the next is asked as well.
const NEXT_AFTER: Duration = Duration::from_secs(1);
/// What an upstream may take longer than its viewers wait: its answer is on its way.
const ANSWER_MARGIN: Duration = Duration::from_secs(3);
/// The longest refusal that is read.
const REFUSAL_BYTES_MAX: usize = 8 * 1024;

/// The origins that are asked.
pub(super) struct Upstreams {
    /// Their addresses, as two that are one server have it.
    servers: Vec<String>,
    client: HttpsClient<Empty<Bytes>>,
    /// The name of this process on the way.
    own: String,
    /// `None`: there is no cluster's key, and the upstreams ask for no right.
    key: Option<EdgeKey>,
    clock: Clock,
    answer_timeout: Duration,
    silence_max: Duration,
}

/// A stream that begins to come.
pub(super) struct Opened {
    pub(super) upstream: usize,
    pub(super) body: Body,
    /// The origins that it comes by, the upstream included.
    pub(super) path: Via,
}

/// Why no upstream gives a stream.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum SearchError {
    #[error("no upstream has it")]
    Nowhere,
    #[error("its camera has no connection to the cloud")]
    Offline,
    #[error("its camera was told to start, and did not start")]
    NotStarted,
    #[error("it is published, and no picture of it came")]
    Silent,
    #[error("the upstreams of this edge lead back to it: {0}")]
    Loop(String),
    #[error("there are more edges than four one behind another: {0}")]
    TooManyEdges(String),
    #[error("{0}")]
    Failed(String),
}

/// Why one of them does not.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("it does not have it")]
    NotHere,
    #[error("its camera has no connection to the cloud")]
    Offline,
    #[error("its camera did not start")]
    NotStarted,
    #[error("it has it, and no picture of it")]
    Silent,
    #[error("it leads back")]
    Loop,
    #[error("it is too many edges away from its origin")]
    TooManyEdges,
    /// Another upstream has it.
    #[error("it names another upstream")]
    Moved(usize),
    #[error("it names {0}, which is not among edge.upstreams")]
    Elsewhere(String),
    #[error("it answers {status}{words}")]
    Status { status: StatusCode, words: String },
    #[error("it answers {0}: give this edge the cluster key of its cloud (cloud.cluster_key_file)")]
    Right(StatusCode),
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("no connection: {0}")]
    Connection(String),
    #[error("the request can't be made")]
    Request,
}

impl Upstreams {
    /// Of settings that were checked. `start_wait` is how long viewers wait, here and there.
    pub(super) fn new(
        edge: &Edge,
        client: HttpsClient<Empty<Bytes>>,
        own: String,
        key: Option<EdgeKey>,
        clock: Clock,
        start_wait: Duration,
    ) -> Self {
        let servers = edge.upstreams.iter().filter_map(|url| address(url)).collect();
        let silence_max = Duration::from_secs(edge.silent_sec);
        Self { servers, client, own, key, clock, answer_timeout: start_wait + ANSWER_MARGIN, silence_max }
    }

    /// The name of this process on the way.
    pub(super) fn own(&self) -> &str {
        &self.own
    }

    pub(super) fn name(&self, upstream: usize) -> &str {
        self.servers.get(upstream).map_or("", String::as_str)
    }

    /// The first one, from `first` on, that has a stream. `via` is the way that the request for it came by.
    pub(super) async fn search(&self, playback: &str, via: &Via, first: usize) -> Result<Opened, SearchError> {
        let count = self.servers.len();
        let mut left: VecDeque<usize> = (0..count).map(|step| (first + step) % count).collect();
        let (mut asked, mut refusals) = (FuturesUnordered::new(), Vec::new());
        loop {
            if asked.is_empty() {
                let Some(next) = left.pop_front() else { return Err(self.conclude(&refusals, via)) };
                asked.push(self.ask(next, playback, via));
            }
            let answered = tokio::select! {
                answered = asked.next() => answered,
                () = tokio::time::sleep(NEXT_AFTER), if !left.is_empty() => None,
            };
            match answered {
                Some((_, Ok(opened))) => return Ok(opened),
                Some((upstream, Err(refused))) => {
                    if let Refused::Moved(to) = refused
                        && let Some(at) = left.iter().position(|other| *other == to)
                    {
                        left.swap(0, at);
                    }
                    tracing::debug!(upstream = self.name(upstream), playback, %refused, "an upstream does not give a stream");
                    refusals.push((upstream, refused));
                }
                None => {}
            }
            if let Some(next) = left.pop_front() {
                asked.push(self.ask(next, playback, via));
            }
        }
    }

    async fn ask(&self, upstream: usize, playback: &str, via: &Via) -> (usize, Result<Opened, Refused>) {
        let asked = tokio::time::timeout(self.answer_timeout, self.open(upstream, playback, via)).await;
        (upstream, asked.unwrap_or(Err(Refused::Timeout(self.answer_timeout))))
    }

    async fn open(&self, upstream: usize, playback: &str, via: &Via) -> Result<Opened, Refused> {
        let uri: Uri = format!("{}/live/{playback}.flv", self.name(upstream)).parse().map_err(|_| Refused::Request)?;
        // Of a stream that is silent for longer nothing is wanted (RFC 9111 §5.2.1.1).
        let max_age = format!("max-age={}", self.silence_max.as_secs());
        let mut request = Request::get(uri).header(VIA, via.and(&self.own)).header(CACHE_CONTROL, max_age);
        let token = self.key.as_ref().and_then(|key| key.sign(playback, self.clock.wall().unix_secs()));
        if let Some(mut shown) = token.and_then(|token| HeaderValue::try_from(format!("Bearer {token}")).ok()) {
            shown.set_sensitive(true);
            request = request.header(AUTHORIZATION, shown);
        }
        let request = request.body(Empty::new()).map_err(|_| Refused::Request)?;
        let answer = self.client.request(request).await.map_err(|error| Refused::Connection(root(&error)))?;
        let (parts, body) = answer.into_parts();
        if parts.status != StatusCode::OK {
            let body = Limited::new(body, REFUSAL_BYTES_MAX).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            return Err(self.refusal(parts.status, &parts.headers, &body));
        }
        let path = Via::of(&parts.headers);
        if path.has(&self.own) {
            return Err(Refused::Loop);
        }
        Ok(Opened { upstream, body: Body::new(body), path })
    }

    fn refusal(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Refused {
        let said: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |key: &str| said.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
        match (status, text("error_code")) {
            (_, "DEVICE_OFFLINE") => Refused::Offline,
            (_, "NOT_STARTED") => Refused::NotStarted,
            (_, "STREAM_SILENT") => Refused::Silent,
            (_, "EDGE_LOOP") => Refused::Loop,
            (_, "TOO_MANY_EDGES") => Refused::TooManyEdges,
            (StatusCode::NOT_FOUND, _) => Refused::NotHere,
            (StatusCode::UNAUTHORIZED, _) => Refused::Right(status),
            (status, _) if status.is_redirection() => {
                let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
                let to = location.and_then(|location| server(&location.parse::<Uri>().ok()?)).unwrap_or_default();
                let known = self.servers.iter().position(|server| *server == to);
                known.map_or(Refused::Elsewhere(to), Refused::Moved)
            }
            (status, _) => {
                let words: String = text("error_message").chars().filter(|char| !char.is_control()).take(200).collect();
                Refused::Status { status, words: if words.is_empty() { words } else { format!(": {words}") } }
            }
        }
    }

    /// What all their refusals come to.
    fn conclude(&self, refusals: &[(usize, Refused)], via: &Via) -> SearchError {
        let has = |is: fn(&Refused) -> bool| refusals.iter().any(|(_, refused)| is(refused));
        let words = |(upstream, refused): &(usize, Refused)| format!("{}: {refused}", self.name(*upstream));
        if has(|refused| matches!(refused, Refused::Offline)) {
            return SearchError::Offline;
        }
        if has(|refused| matches!(refused, Refused::NotStarted)) {
            return SearchError::NotStarted;
        }
        if has(|refused| matches!(refused, Refused::Silent)) {
            return SearchError::Silent;
        }
        if has(|refused| matches!(refused, Refused::NotHere)) {
            return SearchError::Nowhere;
        }
        if let Some(far) = refusals.iter().find(|(_, refused)| matches!(refused, Refused::TooManyEdges)) {
            return SearchError::TooManyEdges(words(far));
        }
        match refusals.iter().find(|(_, refused)| matches!(refused, Refused::Loop)) {
            // Whoever asks this edge is one of its upstreams: to it, it is not here.
            Some(_) if !via.is_empty() => SearchError::Nowhere,
            Some(back) if refusals.iter().all(|(_, refused)| matches!(refused, Refused::Loop)) => SearchError::Loop(words(back)),
            _ => SearchError::Failed(refusals.iter().map(words).collect::<Vec<_>>().join("; ")),
        }
    }
}

/// The innermost reason: "connection refused" and not "client error".
fn root(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
