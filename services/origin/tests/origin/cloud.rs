//! A cloud that takes reports.

use crate::peers::Publisher;
use crate::tokens::Signer;
use crate::{config, until};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use sightline_origin::Origin;
use sightline_signal::report::{OriginReport, ReportAnswer, RevokedStream, WantedAnswer, WantedStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Default)]
pub(crate) struct Cloud {
    pub(crate) answer: Mutex<ReportAnswer>,
    pub(crate) reports: Mutex<Vec<OriginReport>>,
    pub(crate) wanted: Mutex<Vec<WantedStream>>,
    pub(crate) wanted_answer: Mutex<WantedAnswer>,
}

impl Cloud {
    /// Listens on `tasks`; changes the settings of an origin in `dir` so that it reports here.
    pub(crate) async fn start(signer: &Signer, config: &mut sightline_origin::Config, tasks: &mut tokio::task::JoinSet<()>) -> Arc<Self> {
        let cloud = Arc::new(Self::default());
        cloud.answer.lock().unwrap().jwks = signer.jwks();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        config.cloud.url = Some(format!("http://{}", listener.local_addr().unwrap()));
        let router = Router::new()
            .route("/api/v1/servers/{server}/report", post(report))
            .route("/api/v1/servers/{server}/wanted", post(wanted))
            .with_state(cloud.clone());
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
        let key_file = config.data_dir.join("cluster.key");
        std::fs::write(&key_file, "cluster-secret\n").unwrap();
        config.cloud.cluster_key_file = Some(key_file);
        cloud
    }
}

async fn wanted(
    State(cloud): State<Arc<Cloud>>,
    headers: HeaderMap,
    Json(wanted): Json<WantedStream>,
) -> Result<Json<WantedAnswer>, StatusCode> {
    if headers.get("authorization").is_none_or(|value| value != "Bearer cluster-secret") {
        return Err(StatusCode::UNAUTHORIZED);
    }
    cloud.wanted.lock().unwrap().push(wanted);
    Ok(Json(cloud.wanted_answer.lock().unwrap().clone()))
}

async fn report(
    State(cloud): State<Arc<Cloud>>,
    Path(server): Path<String>,
    headers: HeaderMap,
    Json(report): Json<OriginReport>,
) -> Result<Json<ReportAnswer>, StatusCode> {
    if headers.get("authorization").is_none_or(|value| value != "Bearer cluster-secret") || server != report.server_id {
        return Err(StatusCode::UNAUTHORIZED);
    }
    cloud.reports.lock().unwrap().push(report);
    Ok(Json(cloud.answer.lock().unwrap().clone()))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cloud_is_told_its_keys_are_kept_and_its_revocations_obeyed() {
    let signer = Signer::new("k1");
    let (dir, mut tasks) = (tempfile::tempdir().unwrap(), tokio::task::JoinSet::new());
    let mut config = config(dir.path());
    let cloud = Cloud::start(&signer, &mut config, &mut tasks).await;
    let origin = Origin::start(config.clone()).await.unwrap();
    until("the keys in their file", async || dir.path().join("jwks.json").exists()).await;
    let mut publisher = Publisher::connect(origin.rtmp_addr(), "live", &signer.name("s1", 7)).await.unwrap();
    assert!(publisher.stream_for(Duration::from_millis(300)).await);
    until("a report of the stream", async || {
        let reports = cloud.reports.lock().unwrap();
        let last = reports.last().unwrap();
        assert!(last.rtmp_url.starts_with("rtmp://127.0.0.1:") && last.http_url.starts_with("http://127.0.0.1:"));
        last.streams.iter().any(|stream| stream.stream == "s1" && stream.epoch == 7 && stream.width == 320)
    })
    .await;
    {
        let mut answer = cloud.answer.lock().unwrap();
        answer.revoked = vec![RevokedStream { stream: "s1".into(), epoch_min: 8 }];
        answer.revoked_up_to = Some(8);
    }
    let ended = tokio::time::timeout(Duration::from_secs(5), publisher.ended()).await;
    assert_eq!(ended, Ok(true), "ended within a report's interval");
    assert_eq!(cloud.reports.lock().unwrap()[0].revoked_after, Some(0), "a new process has none");
    until("a report that counts what was revoked", async || cloud.reports.lock().unwrap().last().unwrap().revoked_after == Some(8)).await;
    cloud.answer.lock().unwrap().revoked.clear();
    let refused = Publisher::connect(origin.rtmp_addr(), "live", &signer.name("s1", 7)).await.err().unwrap();
    assert!(refused.1.contains("taken back"), "{refused:?}");
    // A stream that begins is reported at once, and with it who was refused.
    let other = Publisher::connect(origin.rtmp_addr(), "live", &signer.name("s2", 7)).await.unwrap();
    until("a report of the refusal", async || {
        let reports = cloud.reports.lock().unwrap();
        let told: Vec<_> = reports.iter().flat_map(|report| &report.refusals).collect();
        told.iter().any(|told| (told.address.as_str(), told.reason.as_str(), told.count) == ("127.0.0.1", "revoked", 1))
    })
    .await;
    drop(other);
    origin.shutdown().await;

    // The cloud is gone: a new process knows the keys.
    tasks.shutdown().await;
    let origin = Origin::start(config).await.unwrap();
    assert!(Publisher::connect(origin.rtmp_addr(), "live", &signer.name("s1", 9)).await.is_ok());
    origin.shutdown().await;
}
