//! The deployment checklist of specification §7, as seen from a camera, for `sightline doctor`: everything is tried the way the agent uses it.
//!
//! Nothing is published. Where the configuration names a cloud, one connection is made with the device's own id and certificate: a broker then ends
//! that of an agent that runs, which comes back by itself.

mod certificates;
mod clock;
mod cloud;
mod device;
mod network;
mod reach;
mod rtmp;

use serde::Serialize;
use sightline_signal::Response;
use std::sync::Arc;

use crate::config::{Config, checked::Checked, local::RtmpsAuthority};
use network::{AuthorityError, Dialled, Target};
use rtmp::Greeted;
use sightline_capture::tls;

/// Which part of the system an item concerns.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// This machine and its settings.
    Device,
    /// What the cloud does, as far as a device sees it.
    Cloud,
    /// The way between them.
    Network,
}

/// How an item came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was tried, and works.
    Passed,
    /// It was tried, and does not work.
    Failed,
    /// This configuration does not need it, or it could not be tried: the detail says which.
    NotApplicable,
}

/// An item of the checklist.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Item {
    /// Whose matter it is.
    pub part: Part,
    /// Its name: `mqtt_settings`.
    pub item: &'static str,
    /// How it came out.
    pub result: Verdict,
    /// What was seen. Holds no secret.
    pub detail: String,
    /// What to do, of what failed.
    pub mend: Option<String>,
}

/// The whole checklist.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Report {
    /// Every item, device first, then cloud and network.
    pub items: Vec<Item>,
    /// How many of them failed.
    pub failed: usize,
}

/// The result of one item.
enum Finding {
    Passed(String),
    Failed { detail: String, mend: String },
    NotApplicable(String),
}

impl Finding {
    fn failed(detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::Failed { detail: detail.into(), mend: mend.into() }
    }

    fn not_applicable(detail: impl Into<String>) -> Self {
        Self::NotApplicable(detail.into())
    }

    fn of(self, part: Part, item: &'static str) -> Item {
        let (result, detail, mend) = match self {
            Self::Passed(detail) => (Verdict::Passed, detail, None),
            Self::Failed { detail, mend } => (Verdict::Failed, detail, Some(mend)),
            Self::NotApplicable(detail) => (Verdict::NotApplicable, detail, None),
        };
        Item { part, item, result, detail, mend }
    }
}

/// A configuration whose settings are good.
struct Subject {
    checked: Checked,
}

impl Subject {
    fn has_cloud(&self) -> bool {
        self.checked.local.has_cloud()
    }

    fn streams(&self) -> bool {
        self.checked.pusher.live_streaming
    }

    /// What an rtmps server's certificate must come from, and the setting that says so.
    fn rtmps_authority(&self) -> (&'static str, Result<Arc<rustls::ClientConfig>, AuthorityError>) {
        let RtmpsAuthority { key, file } = &self.checked.local.rtmps_ca;
        let Some(ca) = file else { return (key, Err(AuthorityError::NotNamed)) };
        (key, tls::client_config(ca, None).map_err(AuthorityError::File))
    }
}

/// What to do where an item needs a configuration.
const NEEDS_CONFIG: &str = "give the camera's configuration: --config FILE";
/// What a device can't see.
const NEEDS_CLOUD: &str = "can only be checked on the cloud; not supported yet";

/// Goes through the checklist; without a configuration through what needs none. `progress` hears of what is looked at, before it is.
pub async fn examine(config: Option<&Config>, progress: &(dyn Fn(&'static str) + Send + Sync)) -> Report {
    let (settings, subject) = match config.map(Config::checked) {
        None => (None, None),
        Some(Ok(checked)) => {
            let detail = format!("device {}, source {}", checked.local.device.as_str(), checked.local.source);
            (Some(Finding::Passed(detail)), Some(Subject { checked }))
        }
        Some(Err(problem)) => {
            let mend = format!("set {} right; `sightline config template camera` says what it takes", problem.key);
            (Some(Finding::failed(problem.to_string(), mend)), None)
        }
    };
    let subject = subject.as_ref();
    let mut items: Vec<Item> = settings.map(|finding| finding.of(Part::Device, "settings")).into_iter().collect();
    let identity = subject.filter(|subject| subject.has_cloud()).map(|subject| certificates::read(&subject.checked.local));
    items.extend(look_at_device(subject, progress).await);
    let mqtt_settings = match (&identity, subject) {
        (Some(identity), _) => identity.finding(),
        (None, Some(_)) => Finding::not_applicable("this configuration asks no cloud"),
        (None, None) => Finding::not_applicable(NEEDS_CONFIG),
    };
    items.push(mqtt_settings.of(Part::Device, "mqtt_settings"));

    let mut dialled = Vec::new();
    progress("the way to the broker");
    let mqtt = network::mqtt(subject, identity.as_ref(), &mut dialled).await;
    progress("the broker and the allocator");
    let is_open = matches!(mqtt, Finding::Passed(_));
    let talk = cloud::talk(subject, identity.as_ref().filter(|_| is_open)).await;
    progress("the RTMP server");
    let (rtmp, rtmp_server, greeted) = look_at_servers(subject, talk.response.as_ref(), &mut dialled).await;
    progress("the bandwidth");
    let bandwidth = match subject {
        Some(subject) => rtmp::bandwidth(greeted, subject.checked.pusher.wanted()).await,
        None => Finding::not_applicable(NEEDS_CONFIG),
    };

    let validity = identity.as_ref().and_then(|identity| identity.validity);
    let cloud_secs = talk.response.as_ref().and_then(|response| response.server_time);
    items.push(clock::look(clock::now_secs(), validity, cloud_secs).of(Part::Device, "clock"));
    items.push(rtmp_server.of(Part::Cloud, "rtmp_server"));
    items.push(talk.handling.of(Part::Cloud, "mqtt_handling"));
    items.push(talk.allocator.of(Part::Cloud, "allocator"));
    items.push(Finding::not_applicable(NEEDS_CLOUD).of(Part::Cloud, "permission_check"));
    items.push(Finding::not_applicable(NEEDS_CLOUD).of(Part::Cloud, "monitoring_and_logs"));
    items.push(network::internet(&dialled).of(Part::Network, "internet"));
    items.push(mqtt.of(Part::Network, "mqtt"));
    items.push(rtmp.of(Part::Network, "rtmp"));
    items.push(network::firewall(&dialled).of(Part::Network, "firewall"));
    items.push(bandwidth.of(Part::Network, "bandwidth"));
    let failed = items.iter().filter(|item| item.result == Verdict::Failed).count();
    Report { items, failed }
}

async fn look_at_device(subject: Option<&Subject>, progress: &(dyn Fn(&'static str) + Send + Sync)) -> Vec<Item> {
    progress("the hardware");
    let hardware = device::hardware(subject);
    progress("the camera");
    let (camera, seen) = device::camera(subject).await;
    progress("the encoder");
    let encoder = device::encoder(subject, seen.as_ref()).await;
    let named = [
        ("hardware", hardware),
        ("camera", camera),
        ("encoder", encoder),
        ("network_link", device::network_link(subject)),
        ("storage", device::storage(subject)),
        ("streaming_enabled", device::streaming_enabled(subject)),
    ];
    named.into_iter().map(|(item, finding)| finding.of(Part::Device, item)).collect()
}

/// The way to the RTMP servers, and what they say: those by hand, or those that the allocator has named. And the first that took the
/// application, for more.
async fn look_at_servers(
    subject: Option<&Subject>,
    response: Option<&Response>,
    dialled: &mut Vec<Dialled>,
) -> (Finding, Finding, Option<(Greeted, String)>) {
    let both = |text: &str| (Finding::not_applicable(text), Finding::not_applicable(text), None);
    let Some(subject) = subject else { return both(NEEDS_CONFIG) };
    if !subject.streams() {
        return both("stream.enable_live_streaming is false: nothing is sent");
    }
    let urls: Vec<String> = match (&subject.checked.pusher.server, response) {
        (Some(server), _) => server.tc_urls.iter().map(ToString::to_string).collect(),
        (None, Some(response)) => response.servers.iter().map(|server| server.rtmp_url.to_string()).collect(),
        (None, None) => return both("not tried: the cloud has named no server"),
    };
    let url_key = if subject.checked.pusher.server.is_some() { "stream.rtmp_server_url" } else { "the origin's rtmp_url in the cloud" };
    let (ca_key, authority) = subject.rtmps_authority();
    let (mut ways, mut words, mut first) = (Vec::new(), Vec::new(), None);
    for url in &urls {
        let Some(target) = Target::of_rtmp(url, url_key, ca_key) else {
            ways.push(Finding::failed("a server's URL can't be read", format!("set {url_key} to rtmp(s)://host[:port]/app")));
            continue;
        };
        let (way, link) = network::dial(&target, &authority, dialled).await;
        ways.push(way);
        if let Some(link) = link {
            let (word, greeted) = rtmp::greet(link, url, &target.name()).await;
            words.push(word);
            first = first.or(greeted.map(|greeted| (greeted, target.name())));
        }
    }
    (network::all(ways, "no server is named"), network::all(words, "not tried: no server is reached"), first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_read_by_programs() {
        let item = Finding::failed("no file", "set mqtt.ca").of(Part::Device, "mqtt_settings");
        let expected = r#"{"part":"device","item":"mqtt_settings","result":"failed","detail":"no file","mend":"set mqtt.ca"}"#;
        assert_eq!(serde_json::to_string(&item).unwrap(), expected);
        let item = Finding::not_applicable("no cloud").of(Part::Network, "mqtt");
        assert!(serde_json::to_string(&item).unwrap().contains(r#""result":"not_applicable""#));
    }

    #[tokio::test]
    async fn a_setting_that_is_wrong_is_an_item_of_its_own() {
        let mut config = Config::new("cam-1", "test");
        config.stream.trigger = "sometimes".to_owned();
        let report = examine(Some(&config), &|_| {}).await;
        let settings = report.items.iter().find(|item| item.item == "settings").unwrap();
        assert_eq!(settings.result, Verdict::Failed);
        assert!(settings.mend.as_ref().unwrap().contains("stream.trigger"), "{settings:?}");
        assert_eq!(report.failed, report.items.iter().filter(|item| item.mend.is_some()).count());
    }
}
