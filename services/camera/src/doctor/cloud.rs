//! What the cloud says to a device: the broker, and the allocator.

use sightline_signal::{ErrorCode, Request, Response, Text, topic::Topic};
use std::{pin::pin, time::Duration};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{Finding, NEEDS_CONFIG, Subject, certificates::Identity};
use crate::{
    agent::random_seed,
    cloud::{
        mqtt::{self, Incoming},
        outbox::{Outbox, Outgoing},
    },
    config::local::Broker,
};
use sightline_capture::clock;

/// For CONNECT and the subscription: as the agent gives them.
const BROKER_TIMEOUT: Duration = Duration::from_secs(10);
/// For the allocator's answer: as the agent waits for it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Two questions of a conversation, and what a broker may say unasked.
const MESSAGES_WAITING_MAX: usize = 8;

/// What a conversation with the cloud brought.
pub(super) struct Talk {
    pub(super) handling: Finding,
    pub(super) allocator: Finding,
    pub(super) response: Option<Response>,
}

impl Talk {
    fn none(text: &str) -> Self {
        Self { handling: Finding::not_applicable(text), allocator: Finding::not_applicable(text), response: None }
    }
}

/// Connects as the device and asks where to stream. `identity`: `None` where the way is not open.
pub(super) async fn talk(subject: Option<&Subject>, identity: Option<&Identity>) -> Talk {
    let Some(subject) = subject else { return Talk::none(NEEDS_CONFIG) };
    if !subject.has_cloud() {
        return Talk::none("this configuration asks no cloud");
    }
    let cloud = &subject.checked.local.cloud;
    let (Some(tls), Some(Broker { host, port })) = (identity.and_then(|identity| identity.client.clone()), cloud.broker.clone()) else {
        return Talk::none("not tried: the broker is not reached, or the device's files are not in order");
    };
    let device = subject.checked.pusher.device.clone();
    let address = mqtt::Address {
        host,
        port,
        device,
        keep_alive_sec: cloud.keep_alive_sec,
        takes_settings: false,
        is_up: std::sync::Arc::default(),
        renews: false,
        tls,
    };
    let outbox = Outbox::default();
    let (incoming_sender, mut incoming) = mpsc::channel(MESSAGES_WAITING_MAX);
    let stop = CancellationToken::new();
    let mut connection = pin!(mqtt::serve_once(&address, &outbox, incoming_sender, &stop));
    let asking = async {
        // Nothing comes before it.
        let up = timeout(BROKER_TIMEOUT, incoming.recv()).await;
        if !matches!(up, Ok(Some(Incoming::Up))) {
            let detail = format!("the broker does not take the device's connection within {} s", BROKER_TIMEOUT.as_secs());
            let not_asked = Finding::not_applicable("not asked: the broker does not take this device");
            return Talk {
                handling: Finding::failed(detail, "look whether a broker listens at mqtt.url, and at its log"),
                allocator: not_asked,
                response: None,
            };
        }
        let handling = Finding::Passed("the broker takes the device's certificate, and its topics".to_owned());
        let (allocator, response) = if subject.streams() {
            ask(subject, &outbox, &mut incoming).await
        } else {
            (Finding::not_applicable("stream.enable_live_streaming is false: nothing is asked for"), None)
        };
        Talk { handling, allocator, response }
    };
    tokio::select! {
        ended = &mut connection => {
            let problem = ended.err().map_or_else(|| "it ended".to_owned(), |broken| broken.to_string());
            let mend = "look whether a broker listens at mqtt.url, whether the cloud knows this device (`sightline device show ID`), and whether mqtt.cert comes from this cloud and is its newest";
            let not_asked = Finding::not_applicable("not asked: the connection to the broker ended");
            Talk { handling: Finding::failed(problem, mend), allocator: not_asked, response: None }
        }
        talk = asking => {
            stop.cancel();
            // Its goodbye has a limit of its own; what it says then changes nothing here.
            let _ = connection.await;
            talk
        }
    }
}

async fn ask(subject: &Subject, outbox: &Outbox, incoming: &mut mpsc::Receiver<Incoming>) -> (Finding, Option<Response>) {
    let pusher = &subject.checked.pusher;
    let request = Request {
        request_id: Text::try_from(format!("doctor-{:016x}", random_seed()).as_str()).unwrap_or_default(),
        device_id: pusher.device.clone(),
        stream_type: Text::try_from(if pusher.secure { "rtmps" } else { "rtmp" }).unwrap_or_default(),
        quality: pusher.quality,
        preferred_region: pusher.region.clone(),
        max_bitrate: pusher.wanted().bitrate_bps,
        supports_adaptive: pusher.adaptive_bitrate,
        timestamp: clock::wall().unix_secs(),
    };
    let payload = serde_json::to_vec(&request).unwrap_or_default();
    outbox.push(Outgoing::new(Topic::Request, payload));
    let answer = timeout(ANSWER_TIMEOUT, async {
        while let Some(message) = incoming.recv().await {
            if let Incoming::Message(Topic::Response, payload) = message
                && let Ok(response) = serde_json::from_slice::<Response>(&payload)
                && response.request_id == request.request_id
            {
                return Some(response);
            }
        }
        None
    });
    let Ok(Some(response)) = answer.await else {
        let detail = format!("no answer to stream/request within {} s", ANSWER_TIMEOUT.as_secs());
        return (Finding::failed(detail, "look whether the cloud's allocator runs and hears this broker"), None);
    };
    if response.success {
        let servers: Vec<&str> = response.servers.iter().map(|server| server.rtmp_url.as_str()).collect();
        return (Finding::Passed(format!("stream to {}", servers.join(", then "))), Some(response));
    }
    let code = response.error_code.unwrap_or(ErrorCode::ConnectionLost);
    let message = response.error_message.as_deref().unwrap_or_default();
    (Finding::failed(format!("{}: {message}", code.as_str()), mend_of(code)), None)
}

fn mend_of(code: ErrorCode) -> &'static str {
    if code == ErrorCode::NoServerAvailable {
        "start an origin that reports to this cloud, or enter a server in cloud.toml; `GET /api/v1/servers` lists them"
    } else if code == ErrorCode::PermissionDenied {
        "let the device publish: it was forbidden in the cloud"
    } else if code == ErrorCode::Unauthorized {
        "let the device in: `sightline device add ID` on the cloud's machine"
    } else if code == ErrorCode::ServerOverloaded {
        "try again in a minute: this device asks too often"
    } else {
        "look at the cloud's log and at its audit log: `sightline audit show`"
    }
}
