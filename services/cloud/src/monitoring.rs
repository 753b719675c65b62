//! What `/metrics` shows: each metric of the cloud with its meaning, and zeros from the start, so that a rate has a beginning.
//! The broker has its own list (`mqtt/builtin/figures.rs`).

use crate::store::actor::Action;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use sightline_signal::ErrorCode;
use std::{
    fmt,
    sync::{Arc, OnceLock},
};

/// How long HTTP requests took, by route and class of the status.
const REQUEST_DURATION: &str = "sightline_http_request_duration_seconds";
/// Bounds of that histogram, in seconds: from a look into memory to the longest that a handler may take.
const REQUEST_DURATIONS_SEC: [f64; 10] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0];
/// Classes of an answer's status.
const STATUS_CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];
/// What the allocator refuses with.
const REQUEST_REFUSALS: [ErrorCode; 6] = [
    ErrorCode::BadRequest,
    ErrorCode::InvalidQuality,
    ErrorCode::NoServerAvailable,
    ErrorCode::PermissionDenied,
    ErrorCode::ServerOverloaded,
    ErrorCode::Unauthorized,
];
/// What may be refused, as the audit log names it.
const REFUSED_ACTIONS: [Action; 8] = [
    Action::AccessRefuse,
    Action::AllocationImpersonate,
    Action::AllocationRefuse,
    Action::MqttConnectRefuse,
    Action::MqttPublishRefuse,
    Action::MqttSubscribeRefuse,
    Action::StreamPublishRefuse,
    Action::SessionRefuse,
];

const COUNTERS: [(&str, &str); 16] = [
    ("sightline_audit_gaps_total", "Times that rows of the audit log were found to be gone or rewritten"),
    ("sightline_audit_rows_total", "Rows that were written to the audit log"),
    ("sightline_events_lost_total", "Events that were never stored, because the database took none for too long"),
    ("sightline_hook_messages_total", "Messages to hooks, by what became of them"),
    ("sightline_http_connections_refused_total", "HTTP connections that had no place, by reason"),
    ("sightline_http_requests_total", "HTTP requests that were answered, by class of the status"),
    ("sightline_http_tls_failures_total", "HTTP connections whose TLS handshake failed"),
    ("sightline_playback_tokens_total", "Playback tokens that were signed"),
    ("sightline_starts_by_viewers_total", "On-demand cameras that were told to start because someone watches"),
    ("sightline_refusals_total", "Operations that were refused, by what they were"),
    ("sightline_sign_ins_total", "Sign-ins of users, by how they ended"),
    ("sightline_server_questions_total", "Questions of servers of others whether someone may publish or play there"),
    ("sightline_server_reports_total", "Reports of origins, by what became of them"),
    ("sightline_stream_duels_total", "Streams that two have published with one token"),
    ("sightline_stream_requests_total", "Requests for a server to stream to, by outcome: OK or the error code"),
    ("sightline_stream_requests_without_identity_total", "Such requests by HTTP that showed no known certificate or token"),
];

const GAUGES: [(&str, &str); 9] = [
    ("sightline_certificate_ends_timestamp_seconds", "When a certificate ends, in seconds since 1970, by whose it is"),
    ("sightline_device_certificates_ending", "Devices whose certificate ends within 30 days, as of the last daily look"),
    ("sightline_devices_online", "Devices that are connected"),
    ("sightline_hooks_failing", "Hooks whose endpoint does not take an event now"),
    ("sightline_recordings_failing", "Live streams whose recording at an origin fails now"),
    ("sightline_servers_alive", "Servers that take streams: origins that report, and servers of others from the settings"),
    ("sightline_servers_silent", "Origins that have reported since the cloud's start, and do not report now"),
    ("sightline_store_writable", "1 while the database takes writes, 0 while it does not"),
    ("sightline_streams_live", "Streams that are published to origins now"),
];

/// Renders all that is measured in this process.
#[derive(Clone)]
pub(crate) struct Monitoring {
    pub(crate) recorder: PrometheusHandle,
    /// An origin's text, where one runs in this process and has no port of its own.
    neighbour: Arc<OnceLock<Box<dyn Fn() -> String + Send + Sync>>>,
}

impl fmt::Debug for Monitoring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitoring").finish_non_exhaustive()
    }
}

impl Monitoring {
    pub(crate) fn new() -> Self {
        Self { recorder: recorder(), neighbour: Arc::default() }
    }

    /// Shows `text` too. The first one stays.
    pub(crate) fn add(&self, text: impl Fn() -> String + Send + Sync + 'static) {
        if self.neighbour.set(Box::new(text)).is_err() {
            tracing::warn!("/metrics shows one neighbour's metrics already");
        }
    }

    /// In the text format of Prometheus.
    pub(crate) fn render(&self) -> String {
        let mut text = self.recorder.render();
        text.push_str(&sightline_listen::process::metrics(env!("CARGO_PKG_VERSION")));
        if let Some(neighbour) = self.neighbour.get() {
            text.push_str(&neighbour());
        }
        text
    }
}

/// Counts an answered request. `route` is the pattern of its path: a path itself is the client's to choose.
pub(crate) fn answered(route: &str, status: u16, took: std::time::Duration) {
    let class = match status {
        ..300 => STATUS_CLASSES[0],
        300..400 => STATUS_CLASSES[1],
        400..500 => STATUS_CLASSES[2],
        500.. => STATUS_CLASSES[3],
    };
    counter!("sightline_http_requests_total", "status" => class).increment(1);
    histogram!(REQUEST_DURATION, "route" => route.to_owned(), "status" => class).record(took.as_secs_f64());
}

/// The process's recorder. A program that has installed its own keeps it; /metrics then shows nothing of ours.
fn recorder() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    let install = || {
        let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Full(REQUEST_DURATION.to_owned()), &REQUEST_DURATIONS_SEC);
        // It fails without bounds only.
        let recorder = builder.unwrap_or_default().build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another recorder of metrics is installed; /metrics stays empty");
        }
        announce();
        handle
    };
    HANDLE.get_or_init(install).clone()
}

/// Describes them all, and begins at zero what needs no event to have a value. What is measured every second has one soon enough.
fn announce() {
    describe_histogram!(REQUEST_DURATION, Unit::Seconds, "Time from an HTTP request's head to the head of its answer, by route and status");
    for (name, help) in COUNTERS {
        describe_counter!(name, help);
    }
    for (name, help) in GAUGES {
        describe_gauge!(name, help);
    }
    for name in [
        "sightline_audit_gaps_total",
        "sightline_audit_rows_total",
        "sightline_events_lost_total",
        "sightline_http_tls_failures_total",
        "sightline_playback_tokens_total",
        "sightline_starts_by_viewers_total",
        "sightline_stream_duels_total",
        "sightline_stream_requests_without_identity_total",
    ] {
        counter!(name).increment(0);
    }
    for name in ["sightline_device_certificates_ending", "sightline_devices_online", "sightline_recordings_failing"] {
        gauge!(name).set(0.0);
    }
    gauge!("sightline_hooks_failing").set(0.0);
    for outcome in ["taken", "failed"] {
        counter!("sightline_hook_messages_total", "outcome" => outcome).increment(0);
    }
    for name in ["sightline_servers_alive", "sightline_servers_silent", "sightline_streams_live"] {
        gauge!(name).set(0.0);
    }
    for class in STATUS_CLASSES {
        counter!("sightline_http_requests_total", "status" => class).increment(0);
    }
    for outcome in ["taken", "refused"] {
        counter!("sightline_server_reports_total", "outcome" => outcome).increment(0);
    }
    for server in ["nginx", "srs", "mediamtx"] {
        for outcome in ["granted", "refused"] {
            counter!("sightline_server_questions_total", "server" => server, "outcome" => outcome).increment(0);
        }
    }
    for outcome in REQUEST_REFUSALS.map(ErrorCode::as_str).into_iter().chain(["OK"]) {
        counter!("sightline_stream_requests_total", "outcome" => outcome).increment(0);
    }
    for outcome in ["taken", "wrong", "too_often", "failed"] {
        counter!("sightline_sign_ins_total", "outcome" => outcome).increment(0);
    }
    for action in REFUSED_ACTIONS {
        counter!("sightline_refusals_total", "action" => action.as_str()).increment(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{path::Path, time::Duration};

    /// The names that code gives to the macros of the crate `metrics`.
    fn named(folder: &Path, names: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                named(&path, names);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                let quoted = text.split('"').filter(|text| {
                    text.len() > "sightline_".len()
                        && text.starts_with("sightline_")
                        && !text.contains(|c: char| c != '_' && !c.is_ascii_lowercase())
                });
                names.extend(quoted.map(str::to_owned));
            }
        }
    }

    #[test]
    fn every_metric_of_the_cloud_has_help_and_one_form() {
        let monitoring = Monitoring::new();
        crate::mqtt::builtin::figures::announce();
        answered("/api/v1/devices/{id}", 204, Duration::from_millis(3));
        answered("/api/v1/devices/{id}", 503, Duration::from_secs(3));
        monitoring.add(|| "a_neighbour_s 1\n".to_owned());
        let text = monitoring.render();
        assert!(text.ends_with("a_neighbour_s 1\n") && text.contains("\nprocess_max_fds "));
        let mut names = Vec::new();
        named(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut names);
        assert!(names.len() > 20, "{names:?}");
        // These two begin with the certificates, and with the first write.
        let later =
            ["sightline_certificate_ends_timestamp_seconds", "sightline_store_writable", "sightline_http_connections_refused_total"];
        for name in names.iter().filter(|name| !later.contains(&name.as_str())) {
            assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help or no value");
        }
        let bucket = "sightline_http_request_duration_seconds_bucket{route=\"/api/v1/devices/{id}\",status=\"2xx\",le=\"0.005\"} 1\n";
        assert!(text.contains(bucket), "{text}");
        assert!(text.contains("sightline_stream_requests_total{outcome=\"NO_SERVER_AVAILABLE\"} 0\n"), "zeros from the start");
    }
}
