//! The report to the cloud every two seconds, and what its answer changes. Nothing waits for it: without the cloud the streams go on with
//! the keys that are here.

use super::Control;
use sightline_signal::report::{OriginReport, REPORT_INTERVAL_SEC, ReportAnswer};
use std::sync::Arc;
use std::time::Duration;

/// The wait for the cloud's answer, and for its connection.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest wait after failures: the cloud's return is noticed within it.
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// The shortest wait between two reports: a storm of publishers makes four a second, not one each.
const PAUSE_MIN: Duration = Duration::from_millis(250);

/// Where the origin can be reached, for the report.
#[derive(Clone, Debug, Default)]
pub(crate) struct Addresses {
    pub(crate) rtmp: String,
    pub(crate) rtmps: String,
    pub(crate) http: String,
}

/// Whom to report to, and with what right.
pub(crate) struct Reporter {
    pub(crate) url: String,
    /// Never shown.
    pub(crate) cluster_key: String,
    pub(crate) client: reqwest::Client,
    pub(crate) boot_id: String,
    pub(crate) addresses: Addresses,
}

impl Reporter {
    pub(crate) fn new(cloud: &str, server_id: &str, cluster_key: String, boot_id: String, addresses: Addresses) -> reqwest::Result<Self> {
        let client = reqwest::Client::builder().timeout(ANSWER_TIMEOUT).connect_timeout(ANSWER_TIMEOUT).build()?;
        let url = format!("{}/api/v1/servers/{server_id}/report", cloud.trim_end_matches('/'));
        Ok(Self { url, cluster_key, client, boot_id, addresses })
    }

    /// Reports until the origin shuts down.
    pub(crate) async fn run(self, control: Arc<Control>) {
        let interval = Duration::from_secs(REPORT_INTERVAL_SEC);
        let mut failures: u32 = 0;
        loop {
            let wait = match self.report(&control).await {
                Ok(()) => {
                    if failures > 0 {
                        tracing::info!(url = %self.url, failures, "the cloud takes reports again");
                    }
                    failures = 0;
                    interval
                }
                Err(error) => {
                    // The fourth in a row, then every tenth: a cloud that starts a moment later is not worth a line, and one that is
                    // away for a night must not fill the log.
                    if failures % 10 == 3 {
                        tracing::warn!(url = %self.url, %error, failures, "the cloud did not take the report; streams go on");
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

    async fn report(&self, control: &Control) -> Result<(), reqwest::Error> {
        let report = self.describe(control);
        let answer = self.client.post(&self.url).bearer_auth(&self.cluster_key).json(&report).send().await?;
        let answer: ReportAnswer = answer.error_for_status()?.json().await?;
        tokio::task::block_in_place(|| control.keys.replace(&answer.jwks));
        control.hub.revoke(&answer.revoked, answer.revoked_up_to);
        Ok(())
    }

    fn describe(&self, control: &Control) -> OriginReport {
        let streams = control.hub.describe();
        OriginReport {
            server_id: control.server.id.clone(),
            name: control.server.name.clone(),
            region: control.server.region.clone(),
            boot_id: self.boot_id.clone(),
            rtmp_url: self.addresses.rtmp.clone(),
            rtmps_url: self.addresses.rtmps.clone(),
            http_url: self.addresses.http.clone(),
            capacity_kbps: control.server.capacity_kbps,
            ingest_kbps: streams.iter().map(|stream| stream.bitrate_kbps).sum(),
            viewers: streams.iter().map(|stream| stream.viewers).sum(),
            streams,
            revoked_after: Some(control.hub.revoked_up_to()),
        }
    }
}
