//! Recordings on disks that fail.

use crate::cloud::Cloud;
use crate::peers::Publisher;
use crate::tokens::Signer;
use crate::{config, files, probe, until};
use sightline_origin::Origin;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_whose_directory_goes_away_is_tried_again_and_everyone_is_told() {
    let signer = Signer::new("k1");
    let (dir, mut tasks) = (tempfile::tempdir().unwrap(), tokio::task::JoinSet::new());
    let mut config = config(dir.path());
    let cloud = Cloud::start(&signer, &mut config, &mut tasks).await;
    let origin = Origin::start(config).await.unwrap();
    until("the keys", async || dir.path().join("jwks.json").exists()).await;
    let mut camera = Publisher::connect(origin.rtmp_addr(), "live", &signer.name("s1", 1)).await.unwrap();
    let recordings = dir.path().join("recordings/cam-1");
    let state = || origin.streams().first().and_then(|stream| stream.recording.clone());
    let metrics = async || reqwest::get(format!("http://{}/metrics", origin.http_addr().unwrap())).await.unwrap().text().await.unwrap();
    let told =
        |kind: &str| cloud.reports.lock().unwrap().iter().any(|report| report.incidents.iter().any(|incident| incident.kind == kind));
    let watch = async {
        until("a recording", async || files(&recordings, "mp4").len() == 1).await;
        assert_eq!(state().as_deref(), Some("on"));
        let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&recordings), mode(&files(&recordings, "mp4")[0])), (0o700, 0o600));
        // The mount is gone, and what is left in its place is no directory.
        std::fs::remove_dir_all(&recordings).unwrap();
        std::fs::write(&recordings, "").unwrap();
        until("the failure", async || state().as_deref() == Some("failing")).await;
        assert!(metrics().await.contains("sightline_origin_recordings{state=\"failing\"} 1\n"));
        until("the report of it", async || told("recording_failed")).await;
        std::fs::remove_file(&recordings).unwrap();
        until("another file", async || !files(&recordings, "mp4").is_empty()).await;
        until("the state", async || state().as_deref() == Some("on")).await;
        until("the report of that", async || told("recording_resumed")).await;
        assert!(metrics().await.contains("sightline_origin_recordings{state=\"failing\"} 0\n"));
    };
    tokio::select! {
        _ = camera.stream_for(Duration::from_secs(60)) => panic!("the stream goes on"),
        () = watch => {}
    }
    camera.close().await;
    origin.shutdown().await;
    for extension in ["mp4", "flv"] {
        let found = files(&recordings, extension);
        assert_eq!(found.len(), 1, "tries leave nothing behind: {found:?}");
        assert!(probe(found[0].to_str().unwrap()).await.contains("h264,320,180,"));
    }
}
