//! The checklist of an origin's machine: its settings and files, the way to its cloud, and, while it runs, what it answers.

use super::{
    cloud::monitoring,
    files,
    item::{Checklist, Found, Problem},
    ports::{self, Peer},
};
use sightline_camera::doctor::{Part, Report};
use sightline_capture::tls;
use sightline_origin::{Config, Origin};
use std::path::PathBuf;

/// What is asked of an origin that does not run.
const NOT_RUNNING: &str = "not asked: nobody answers on its ports";

/// Goes through it. Nothing is changed, and nothing is published.
pub(super) async fn examine(config: &Config, now_sec: i64, progress: &(dyn Fn(&'static str) + Send + Sync)) -> Report {
    let mut list = Checklist::default();
    progress("the settings and files");
    let mend = "`sightline config check FILE` names the setting; `sightline config template origin` says what each takes";
    let settings = Origin::check(config).map_err(|error| Problem::new(error.to_string(), mend));
    list.add(Part::Cloud, "settings", settings.map(|()| format!("good, for the server {}", config.server_id)));
    list.add(Part::Cloud, "data_dir", files::writable("data_dir", &config.data_dir));
    let recordings = config.recordings_dir();
    if config.record.enabled {
        list.add(Part::Cloud, "recordings", files::writable("record.dir", &recordings));
    } else {
        list.skip(Part::Cloud, "recordings", "record.enabled is false");
    }
    progress("the store of copies");
    match Origin::try_store(config).await {
        Ok(Some(place)) => list.add(Part::Network, "store", Ok(format!("{place}: written, listed, read and removed"))),
        Ok(None) => list.skip(Part::Network, "store", "store.url is not set: recordings are on this machine alone"),
        Err(problem) => {
            list.add(Part::Network, "store", Err(Problem::new(problem, "the sentence says which setting; recordings go on meanwhile")))
        }
    }
    let secrets: Vec<PathBuf> =
        [&config.rtmps.key, &config.cloud.cluster_key_file, &config.store.secret_key_file].into_iter().flatten().cloned().collect();
    list.add(Part::Cloud, "file_permissions", files::secrets(&secrets));
    match &config.rtmps.cert {
        Some(cert) => {
            let named = [("the server's", cert.clone())];
            list.add(
                Part::Cloud,
                "certificates",
                files::certificates(&named, now_sec, "bring the renewed files to rtmps.cert and rtmps.key"),
            );
        }
        None => list.skip(Part::Cloud, "certificates", "rtmps.cert is not set: cameras and viewers come without encryption"),
    }
    list.add(Part::Cloud, "disk", files::disk(&[("data_dir", &config.data_dir), ("record.dir", &recordings)]));
    progress("what it answers");
    let greeted = ports::rtmp(config.rtmp.listen).await;
    let is_running = greeted.is_ok();
    if is_running {
        list.add(Part::Cloud, "rtmp_server", Ok(format!("{} answers RTMP's handshake", config.rtmp.listen)));
    } else {
        list.skip(Part::Cloud, "rtmp_server", NOT_RUNNING);
    }
    let peer = Peer { authority: ports::near(config.http.listen).to_string(), tls: None };
    match (config.http.enabled, is_running) {
        (true, true) => list.add(Part::Cloud, "monitoring_and_logs", monitoring(&peer).await),
        (true, false) => list.skip(Part::Cloud, "monitoring_and_logs", NOT_RUNNING),
        (false, _) => list.skip(Part::Cloud, "monitoring_and_logs", "http.enabled is false"),
    }
    progress("the way to the cloud");
    match &config.cloud.url {
        Some(url) => list.add(Part::Network, "cloud", way_to_cloud(config, url).await),
        None => list.skip(Part::Network, "cloud", "cloud.url is not set: keys come from the cached file, and nothing is reported"),
    }
    list.add(Part::Cloud, "keys", keys(config));
    list.add(Part::Network, "rtmp", ports::port("rtmp.listen", config.rtmp.listen, is_running).await);
    if config.rtmps.cert.is_some() {
        list.add(Part::Network, "rtmps", ports::port("rtmps.listen", config.rtmps.listen, is_running).await);
    } else {
        list.skip(Part::Network, "rtmps", "rtmps.cert is not set");
    }
    if config.http.enabled {
        list.add(Part::Network, "http", ports::port("http.listen", config.http.listen, is_running).await);
    } else {
        list.skip(Part::Network, "http", "http.enabled is false");
    }
    list.report()
}

async fn way_to_cloud(config: &Config, url: &str) -> Found {
    let mend = "set cloud.url to the cloud's address, and cloud.ca to its ca.pem; look whether the cloud runs";
    let failed = |problem: String| Problem::new(problem, mend);
    let uri: axum::http::Uri = url.parse().map_err(|error| failed(format!("cloud.url: {error}")))?;
    let (Some(host), Some(scheme)) = (uri.host(), uri.scheme_str()) else { return Err(failed("cloud.url names no host".to_owned())) };
    let is_secure = scheme == "https";
    let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
    let tls = match (&config.cloud.ca, is_secure) {
        (Some(ca), true) => {
            let client = tls::client_config(ca, None).map_err(|error| failed(format!("cloud.ca: {error}")))?;
            Some((host.trim_matches(['[', ']']).to_owned(), client))
        }
        // The system's authorities are not looked through here.
        (None, true) => return Ok(format!("{url}: its certificate is checked by the authorities that the system trusts")),
        (_, false) => None,
    };
    let peer = Peer { authority: format!("{host}:{port}"), tls };
    let answer = ports::ask(&peer, "/readyz", None, None).await.map_err(|problem| failed(format!("{}: {problem}", peer.authority)))?;
    if answer.status == 200 {
        Ok(format!("{} is ready", peer.authority))
    } else {
        Err(failed(format!("it answers {}: {}", answer.status, answer.body.trim())))
    }
}

/// The keys that tokens are checked with.
fn keys(config: &Config) -> Found {
    let file = config.jwks_file();
    match std::fs::read_to_string(&file) {
        Ok(text) if text.contains("\"keys\"") => Ok(format!("{}: cached, good for a restart while the cloud is away", file.display())),
        Ok(_) => {
            Err(Problem::new(format!("{}: holds no keys", file.display()), "remove it: the cloud's answer to the next report brings them"))
        }
        Err(_) if config.cloud.url.is_some() => Ok("none cached yet: they come with the first report's answer".to_owned()),
        Err(_) => {
            let mend = "set cloud.url, or auth.jwks_file to a copy of the cloud's /.well-known/jwks.json";
            Err(Problem::new("no keys and no cloud to get them from: no publisher is let in", mend))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sightline_camera::doctor::Verdict;

    #[tokio::test]
    async fn an_origin_is_examined_while_it_runs_and_a_cloud_that_is_away_is_named() {
        let home = tempfile::tempdir().unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let mut config = Config { data_dir: home.path().to_owned(), ..Config::default() };
        (config.rtmp.listen, config.http.listen) = (any, any);
        let origin = Origin::start(config.clone()).await.unwrap();
        (config.rtmp.listen, config.http.listen) = (origin.rtmp_addr(), origin.http_addr().unwrap());
        let key = home.path().join("cluster.key");
        std::fs::write(&key, "x".repeat(43)).unwrap();
        config.cloud.cluster_key_file = Some(key);
        // Nobody listens there any more.
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        config.cloud.url = Some(format!("http://{gone}"));
        let report = examine(&config, 0, &|_| {}).await;
        let of = |verdict| report.items.iter().filter(move |item| item.result == verdict).map(|item| item.item).collect::<Vec<_>>();
        assert_eq!(of(Verdict::Failed), ["file_permissions", "cloud"], "{report:?}");
        assert_eq!(of(Verdict::NotApplicable), ["store", "certificates", "rtmps"]);
        origin.shutdown().await;
        let report = examine(&config, 0, &|_| {}).await;
        let answered = report.items.iter().find(|item| item.item == "rtmp_server").unwrap();
        assert_eq!(answered.result, Verdict::NotApplicable);
    }
}
