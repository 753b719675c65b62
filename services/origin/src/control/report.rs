//! The report to the cloud every two seconds, and what its answer changes. Nothing waits for it: without the cloud the streams go on with
//! the keys that are here.

use super::Control;
use crate::error::StartError;
use crate::https::{self, HttpsClient};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderValue, Request, StatusCode, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use sightline_signal::report::{OriginReport, REPORT_INTERVAL_SEC, ReportAnswer, WantedAnswer, WantedStream};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The wait for the cloud's answer, its connection included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The wait for the answer to a question: a viewer waits for it too.
const WANTED_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest wait after failures: the cloud's return is noticed within it.
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// The shortest wait between two reports: a storm of publishers makes four a second, not one each.
const PAUSE_MIN: Duration = Duration::from_millis(250);

/// The longest answer: 10,000 revoked streams of 100 bytes each, and the keys.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Where the origin can be reached, for the report.
#[derive(Clone, Debug, Default)]
pub(crate) struct Addresses {
    pub(crate) rtmp: String,
    pub(crate) rtmps: String,
    pub(crate) http: String,
}

/// The way to the cloud, and the right to speak there. Clones share its connections.
#[derive(Clone)]
pub(crate) struct CloudLink {
    report_url: Uri,
    wanted_url: Uri,
    /// For the log: a user and a password stay out.
    shown_url: String,
    /// With the cluster key; marked as sensitive, so that it is never printed.
    authorization: HeaderValue,
    client: HttpsClient<Full<Bytes>>,
}

/// Reports to the cloud.
pub(crate) struct Reporter {
    link: CloudLink,
    boot_id: String,
    addresses: Addresses,
}

/// Why the cloud did not take a report, or a question.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReportError {
    #[error("no answer within {} s", ANSWER_TIMEOUT.as_secs())]
    Timeout,
    #[error("the report is no JSON: {0}")]
    Report(serde_json::Error),
    #[error("the request can't be made: {0}")]
    Request(#[from] axum::http::Error),
    #[error("{0}")]
    Connection(#[from] hyper_util::client::legacy::Error),
    #[error("the cloud answered {0}: give cloud.cluster_key_file a copy of this cloud's cluster.key")]
    Key(StatusCode),
    #[error("the cloud answered {0}")]
    Refused(StatusCode),
    #[error("the answer can't be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("the answer is not a cloud's: {0}; is cloud.url the address of a Sightline cloud?")]
    Answer(serde_json::Error),
}

impl CloudLink {
    /// Whether the cloud's address is a loopback one.
    pub(crate) fn is_on_this_machine(&self) -> bool {
        let host = self.report_url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
    }

    pub(crate) fn new(cloud: &str, ca: Option<&Path>, server_id: &str, cluster_key: &str) -> Result<Self, StartError> {
        let bad = |key, reason| StartError::Setting { key, reason };
        let at = |what: &str| {
            let url = format!("{}/api/v1/servers/{server_id}/{what}", cloud.trim_end_matches('/'));
            url.parse::<Uri>().map_err(|_| bad("cloud.url", "is no http:// or https:// address"))
        };
        let (url, wanted_url) = (at("report")?, at("wanted")?);
        if !matches!(url.scheme_str(), Some("http" | "https")) {
            return Err(bad("cloud.url", "is no http:// or https:// address"));
        }
        let mut authorization = HeaderValue::try_from(format!("Bearer {cluster_key}"))
            .map_err(|_| bad("cloud.cluster_key_file", "holds characters that no key has; copy the cloud's cluster.key again"))?;
        authorization.set_sensitive(true);
        let authority = url.authority().map_or("", |authority| authority.as_str());
        let host = authority.rsplit('@').next().unwrap_or_default();
        let shown_url = format!("{}://{host}{}", url.scheme_str().unwrap_or("http"), url.path());
        Ok(Self { report_url: url, wanted_url, shown_url, authorization, client: https::client(ca, "cloud.ca")? })
    }

    /// Asks for a stream that someone wants to watch.
    pub(crate) async fn want(&self, wanted: &WantedStream) -> Result<WantedAnswer, ReportError> {
        let question = serde_json::to_vec(wanted).map_err(ReportError::Report)?;
        tokio::time::timeout(WANTED_TIMEOUT, self.send(&self.wanted_url, question)).await.map_err(|_| ReportError::Timeout)?
    }

    async fn send<T: serde::de::DeserializeOwned>(&self, url: &Uri, body: Vec<u8>) -> Result<T, ReportError> {
        let request = Request::post(url)
            .header(AUTHORIZATION, &self.authorization)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(body))?;
        let answer = self.client.request(request).await?;
        match answer.status() {
            status if status.is_success() => {}
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => return Err(ReportError::Key(status)),
            status => return Err(ReportError::Refused(status)),
        }
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(ReportError::Body)?;
        serde_json::from_slice(&body.to_bytes()).map_err(ReportError::Answer)
    }
}

impl Reporter {
    pub(crate) fn new(link: CloudLink, boot_id: String, addresses: Addresses) -> Self {
        Self { link, boot_id, addresses }
    }

    /// Reports until the origin shuts down.
    pub(crate) async fn run(self, control: Arc<Control>) {
        let interval = Duration::from_secs(REPORT_INTERVAL_SEC);
        let mut failures: u32 = 0;
        loop {
            let wait = match self.report(&control).await {
                Ok(()) => {
                    if failures > 0 {
                        tracing::info!(url = %self.link.shown_url, failures, "the cloud takes reports again");
                    }
                    failures = 0;
                    interval
                }
                Err(error) => {
                    // The fourth in a row, then every tenth: a cloud that starts a moment later is not worth a line, and one that is
                    // away for a night must not fill the log.
                    if failures % 10 == 3 {
                        tracing::warn!(url = %self.link.shown_url, %error, failures, "the cloud did not take the report; streams go on");
                    }
                    failures = failures.saturating_add(1);
                    (Duration::from_millis(500) * failures.min(64)).min(BACKOFF_MAX)
                }
            };
            tokio::select! {
                () = control.shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
                () = control.hub.changed.notified() => tokio::time::sleep(PAUSE_MIN).await,
            }
        }
    }

    async fn report(&self, control: &Control) -> Result<(), ReportError> {
        let report = self.describe(control);
        let asked_after = report.revoked_after.unwrap_or(0);
        let (duels, incidents, refusals) = (report.duels.clone(), report.incidents.clone(), report.refusals.clone());
        let played = report.played.clone();
        let report = serde_json::to_vec(&report).map_err(ReportError::Report)?;
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.link.send::<ReportAnswer>(&self.link.report_url, report))
            .await
            .map_err(|_| ReportError::Timeout)??;
        control.hub.duels_reported(&duels);
        control.hub.incidents.reported(&incidents);
        control.hub.refusals.reported(&refusals);
        control.viewing.reported(&played);
        tokio::task::block_in_place(|| {
            control.keys.replace(&answer.jwks);
            if let Some(checkpoint) = &answer.audit_checkpoint {
                control.checkpoint.take(checkpoint);
            }
            if let Some(keys) = answer.playback_keys {
                control.viewing.replace_keys(keys);
            }
            if let Some(rules) = &answer.relays {
                control.relay_rules.replace(rules);
            }
            if let Some(list) = &answer.holds {
                control.holds.replace(list);
            }
        });
        control.hub.revoke(&answer.revoked, asked_after, answer.revoked_up_to);
        Ok(())
    }

    fn describe(&self, control: &Control) -> OriginReport {
        let (mut streams, pulled) = (control.hub.describe(), control.hub.describe_pulled());
        streams.iter_mut().for_each(|stream| stream.relays = control.relays.of(&stream.playback));
        OriginReport {
            server_id: control.server.id.clone(),
            name: control.server.name.clone(),
            region: control.server.region.clone(),
            boot_id: self.boot_id.clone(),
            rtmp_url: self.addresses.rtmp.clone(),
            rtmps_url: self.addresses.rtmps.clone(),
            http_url: self.addresses.http.clone(),
            capacity_kbps: control.server.capacity_kbps,
            ingest_kbps: streams.iter().chain(&pulled).map(|stream| stream.bitrate_kbps).sum(),
            viewers: streams.iter().chain(&pulled).map(|stream| stream.viewers).sum(),
            is_edge: control.server.is_edge,
            pulls: control.pulls.describe(&pulled),
            streams,
            revoked_after: Some(control.hub.revoked_up_to()),
            duels: control.hub.duels(),
            incidents: control.hub.incidents.due(),
            refusals: control.hub.refusals.due(),
            audit_checkpoint: control.checkpoint.shown(),
            playback_keys_version: Some(control.viewing.keys_version()),
            relays_version: Some(control.relay_rules.version()),
            holds_version: control.server.records.then(|| control.holds.version()),
            recordings: control.recordings.describe(control.server.keep_hours),
            played: control.viewing.used(),
        }
    }
}
