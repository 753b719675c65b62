//! The checklist of a cloud's machine: its settings and files, and, while it runs, what it answers.

use super::{
    files,
    item::{Checklist, Found, Problem, all},
    ports::{self, Peer},
};
use crate::settings;
use sightline_camera::doctor::{Part, Report};
use sightline_claim::{Claim, ClaimError};
use sightline_cloud::{
    Config,
    admin::{self, Verdict},
};
use std::path::{Path, PathBuf};

/// What is asked of a cloud that does not run.
const NOT_RUNNING: &str = "not asked: the cloud does not run on this data directory";

/// Goes through it. Nothing is changed; one question without an identity is put to the allocator.
pub(super) async fn examine(config: &Config, now_sec: i64, progress: &(dyn Fn(&'static str) + Send + Sync)) -> Report {
    let mut list = Checklist::default();
    let dir = &config.data_dir;
    let is_running = runs(dir);
    progress("the settings and files");
    let state = if is_running { "runs" } else { "does not run" };
    let mend = "`sightline config check FILE` names the setting; `sightline config template cloud` says what each takes";
    let settings = settings::check_cloud(config).map_err(|error| Problem::new(error.to_string(), mend));
    list.add(Part::Cloud, "settings", settings.map(|()| format!("good; the cloud {state}")));
    list.add(Part::Cloud, "data_dir", files::writable("data_dir", dir));
    list.add(Part::Cloud, "file_permissions", files::secrets(&secrets(config)));
    list.add(Part::Cloud, "certificates", certificates(dir, now_sec).await);
    list.add(Part::Cloud, "disk", files::disk(&[("data_dir", dir)]));
    progress("the database");
    if dir.join("sightline.sqlite").is_file() {
        list.add(Part::Cloud, "audit_log", audit_log(dir).await);
        list.add(Part::Cloud, "devices", devices(dir).await);
    } else {
        list.skip(Part::Cloud, "audit_log", "the cloud was never started on this data directory");
        list.skip(Part::Cloud, "devices", "the cloud was never started on this data directory");
    }
    progress("what it answers");
    if is_running {
        ask(&mut list, config).await;
    } else {
        for item in ["rtmp_server", "mqtt_handling", "allocator", "permission_check", "monitoring_and_logs"] {
            list.skip(Part::Cloud, item, NOT_RUNNING);
        }
    }
    list.add(Part::Network, "http", ports::port("http.listen", config.http.listen, is_running).await);
    if config.mqtt.enabled {
        list.add(Part::Network, "mqtt", ports::port("mqtt.listen", config.mqtt.listen, is_running).await);
    } else {
        list.skip(Part::Network, "mqtt", "mqtt.enabled is false: devices ask by POST /stream/request");
    }
    list.report()
}

/// Whether a cloud has the directory.
fn runs(dir: &Path) -> bool {
    // Looking must not make the lock's file.
    dir.join("cloud.lock").exists() && matches!(Claim::take(dir, "cloud"), Err(ClaimError::Used { .. }))
}

fn operator_token(config: &Config) -> PathBuf {
    config.api.operator_token_file.clone().unwrap_or_else(|| config.data_dir.join("operator.token"))
}

/// Files that only their owner may read.
fn secrets(config: &Config) -> Vec<PathBuf> {
    let dir = &config.data_dir;
    let named = ["ca.key", "server.key", "operator.key", "cluster.key", "audit.key", "sightline.sqlite"].map(|name| dir.join(name));
    let is_secret = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "key" || extension == "token");
    let listed = ["devices", "operators"].into_iter().flat_map(|folder| std::fs::read_dir(dir.join(folder)).into_iter().flatten());
    let listed = listed.flatten().map(|entry| entry.path()).filter(is_secret);
    named.into_iter().chain([operator_token(config)]).chain(listed).collect()
}

async fn certificates(dir: &Path, now_sec: i64) -> Found {
    let named = [("the authority", "ca.pem"), ("the server's", "server.pem"), ("the operator's", "operator.pem")];
    let named = named.map(|(name, file)| (name, dir.join(file)));
    let mend = "the server's is renewed by a cloud that runs; a new authority means new certificates for all devices";
    let mut found = vec![files::certificates(&named, now_sec, mend)];
    if dir.join("sightline.sqlite").is_file()
        && let Ok(devices) = admin::list_devices(dir).await
    {
        let ended: Vec<_> = devices.iter().filter(|device| device.revoked_at.is_none() && device.certificate_until <= now_sec).collect();
        if let Some(first) = ended.first() {
            let mend = format!("`sightline device rotate {}` makes a new one", first.id);
            found.push(Err(Problem::new(format!("those of {} devices have ended, {} first", ended.len(), first.id), mend)));
        }
    }
    all(found).map(|detail| if detail.is_empty() { "none yet: they are made at the first start".to_owned() } else { detail })
}

async fn audit_log(dir: &Path) -> Found {
    let mend = "stop, and put a backup in its place (`sightline restore`); docs/operate/backup.md";
    match admin::verify_audit(dir).await {
        Ok(Verdict::Intact { rows, .. }) => Ok(format!("intact: {rows} entries")),
        Ok(Verdict::Broken { seq, reason }) => Err(Problem::new(format!("broken at entry {seq}: {reason}"), mend)),
        Ok(Verdict::Truncated { rows, rows_expected }) => Err(Problem::new(format!("cut short: {rows} entries of {rows_expected}"), mend)),
        Err(error) => Err(Problem::new(error.to_string(), mend)),
    }
}

async fn devices(dir: &Path) -> Found {
    match admin::list_devices(dir).await {
        Ok(devices) => {
            let revoked = devices.iter().filter(|device| device.revoked_at.is_some()).count();
            let denied = devices.iter().filter(|device| device.revoked_at.is_none() && !device.may_push).count();
            Ok(format!("{} may stream, {denied} denied, {revoked} revoked", devices.len() - denied - revoked))
        }
        Err(error) => Err(Problem::new(error.to_string(), "look at the database: docs/operate/backup.md")),
    }
}

/// What only a cloud that runs can show.
async fn ask(list: &mut Checklist, config: &Config) {
    let peer = Peer { authority: ports::near(config.http.listen).to_string(), tls: None };
    let token = std::fs::read_to_string(operator_token(config)).unwrap_or_default();
    let look = "look at the cloud's log";
    let servers = match ports::ask(&peer, "/api/v1/servers", Some(token.trim()), None).await {
        Ok(answer) if answer.status == 200 => serde_json::from_str::<serde_json::Value>(&answer.body).unwrap_or_default(),
        Ok(_) | Err(_) => serde_json::Value::Null,
    };
    let alive: Vec<_> = servers["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|server| server["alive"] == true)
        .filter_map(|server| server["id"].as_str().map(str::to_owned))
        .collect();
    let rtmp = if alive.is_empty() {
        let mend = "start an origin that reports to this cloud, or enter a server in [[servers]]";
        Err(Problem::new("no server is alive", mend))
    } else {
        Ok(format!("alive: {}", alive.join(", ")))
    };
    list.add(Part::Cloud, "rtmp_server", rtmp);
    if config.mqtt.enabled {
        let file = |name: &str| config.data_dir.join(name);
        let taken = ports::mqtt(config.mqtt.listen, &file("ca.pem"), (&file("operator.pem"), &file("operator.key"))).await;
        let taken = taken.map(|()| "the broker takes the operator's certificate".to_owned());
        list.add(Part::Cloud, "mqtt_handling", taken.map_err(|problem| Problem::new(problem, look)));
    } else {
        list.skip(Part::Cloud, "mqtt_handling", "mqtt.enabled is false");
    }
    let ready = ports::ask(&peer, "/readyz", None, None).await;
    let allocator = match &ready {
        Ok(answer) if answer.status == 200 && !alive.is_empty() => Ok("ready: the database takes writes, and a server is there".to_owned()),
        Ok(answer) if answer.status == 200 => Err(Problem::new("ready, and no server is alive to send cameras to", "start an origin")),
        Ok(answer) => Err(Problem::new(answer.body.trim(), "make room on the disk, or let this user write the database")),
        Err(problem) => Err(Problem::new(problem, look)),
    };
    list.add(Part::Cloud, "allocator", allocator);
    // Of a device that nobody has let in: whoever gets more than 401 was not asked who it is.
    let stranger = r#"{"request_id":"doctor","device_id":"doctor","stream_type":"rtmps","quality":"low"}"#;
    let permission = match ports::ask(&peer, "/stream/request", None, Some(stranger)).await {
        Ok(answer) if answer.status == 401 => Ok("a request without certificate and token is refused".to_owned()),
        Ok(answer) => Err(Problem::new(format!("a request without certificate and token was answered with {}", answer.status), look)),
        Err(problem) => Err(Problem::new(problem, look)),
    };
    list.add(Part::Cloud, "permission_check", permission);
    list.add(Part::Cloud, "monitoring_and_logs", monitoring(&peer).await);
}

/// Whether Prometheus would find its page.
pub(super) async fn monitoring(peer: &Peer) -> Found {
    let mend = "look at the log; docs/operate/monitoring.md";
    match ports::ask(peer, "/metrics", None, None).await {
        Ok(answer) if answer.status == 200 && answer.body.contains("sightline_") => {
            Ok(format!("http://{}/metrics is there; logs go to standard error", peer.authority))
        }
        Ok(answer) => Err(Problem::new(format!("/metrics answers {}", answer.status), mend)),
        Err(problem) => Err(Problem::new(format!("/metrics: {problem}"), mend)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sightline_camera::doctor::Verdict;
    use std::os::unix::fs::PermissionsExt as _;

    fn failed(report: &Report) -> Vec<&'static str> {
        report.items.iter().filter(|item| item.result == Verdict::Failed).map(|item| item.item).collect()
    }

    fn found<'a>(report: &'a Report, name: &str) -> &'a sightline_camera::doctor::Item {
        report.items.iter().find(|item| item.item == name).unwrap()
    }

    #[tokio::test]
    async fn a_cloud_is_examined_before_it_runs_while_it_runs_and_with_a_secret_that_others_can_read() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("data");
        let mut config = Config::in_dir(&dir).unwrap();
        config.http.listen = "127.0.0.1:0".parse().unwrap();
        config.mqtt.listen = "127.0.0.1:0".parse().unwrap();
        let now_sec = jiff::Timestamp::now().as_second();
        let before = examine(&config, now_sec, &|_| {}).await;
        assert_eq!(failed(&before), [""; 0], "{before:?}");
        assert!(found(&before, "allocator").result == Verdict::NotApplicable && !dir.exists(), "nothing is made by looking");
        let cloud = sightline_cloud::Cloud::start(config.clone(), axum::Router::new()).await.unwrap();
        (config.http.listen, config.mqtt.listen) = (cloud.http_addr(), cloud.mqtts_addr().unwrap());
        let report = examine(&config, now_sec, &|_| {}).await;
        assert_eq!(failed(&report), ["rtmp_server", "allocator"], "no origin is there: {report:?}");
        for name in ["mqtt_handling", "permission_check", "monitoring_and_logs", "audit_log", "http", "mqtt"] {
            assert_eq!(found(&report, name).result, Verdict::Passed, "{:?}", found(&report, name));
        }
        std::fs::set_permissions(dir.join("ca.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
        let report = examine(&config, now_sec + 800 * 86_400, &|_| {}).await;
        let permissions = found(&report, "file_permissions");
        assert!(permissions.mend.as_ref().unwrap().starts_with("chmod 600 "), "{permissions:?}");
        assert!(found(&report, "certificates").detail.contains("has ended"), "two years later");
        cloud.shutdown().await;
        // Another program on the cloud's port.
        let other = tokio::net::TcpListener::bind(config.http.listen).await.unwrap();
        let report = examine(&config, now_sec, &|_| {}).await;
        assert!(failed(&report).contains(&"http"), "{:?}", found(&report, "http"));
        drop(other);
    }
}
