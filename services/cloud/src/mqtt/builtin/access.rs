//! What one connection may do. TLS has proved its identity.

use super::connections::Connections;
use crate::{
    clock::Clock,
    devices::presence::Presence,
    identity::authority::{OPERATOR, Subject},
    store::{
        Store,
        actor::{Action, Actor, Channel},
    },
};
use mqtt5::{
    broker::{AuthProvider, AuthResult},
    packet::connect::ConnectPacket,
    protocol::v5::reason_codes::ReasonCode,
};
use serde_json::json;
use sightline_signal::{DeviceId, topic::Topic};
use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};
use tokio::sync::broadcast;

/// Forbidden topics that a connection may try before it is ended. Each one is audited, so this bounds what one connection writes.
const VIOLATIONS_MAX: u32 = 8;

/// The rights of one connection.
pub(super) struct Access {
    pub(super) subject: Subject,
    pub(super) number: u64,
    pub(super) store: Store,
    pub(super) presence: Arc<Presence>,
    pub(super) clock: Clock,
    pub(super) connections: Arc<Connections>,
    pub(super) hang_up: broadcast::Sender<()>,
    pub(super) violations: Arc<AtomicU32>,
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl AuthProvider for Access {
    fn authenticate<'a>(&'a self, connect: &'a ConnectPacket, address: SocketAddr) -> Answer<'a, mqtt5::Result<AuthResult>> {
        Box::pin(async move {
            match self.admit(&connect.client_id, connect.will.as_ref().map(|will| will.topic.as_str())).await {
                Ok(user) => Ok(AuthResult::success_with_user(user)),
                Err(reason) => {
                    tracing::warn!(%address, subject = ?self.subject, client_id = connect.client_id, %reason, "MQTT connection refused");
                    let detail =
                        json!({ "client_id": bounded(&connect.client_id), "address": address.to_string(), "reason": reason.to_string() });
                    self.log(Action::MqttConnectRefuse, detail).await;
                    Ok(AuthResult::fail(ReasonCode::NotAuthorized))
                }
            }
        })
    }

    fn authorize_publish<'a>(&'a self, _: &str, _: Option<&'a str>, topic: &'a str) -> Answer<'a, bool> {
        Box::pin(async move {
            let is_allowed = may_publish(&self.subject, topic);
            if !is_allowed {
                self.violation(Action::MqttPublishRefuse, topic).await;
            }
            is_allowed
        })
    }

    fn authorize_subscribe<'a>(&'a self, _: &str, _: Option<&'a str>, filter: &'a str) -> Answer<'a, bool> {
        Box::pin(async move {
            let is_allowed = may_subscribe(&self.subject, filter);
            if !is_allowed {
                self.violation(Action::MqttSubscribeRefuse, filter).await;
            }
            is_allowed
        })
    }
}

impl Access {
    /// Lets the connection in under this client id; returns the user's name for the broker's own logs.
    async fn admit(&self, client_id: &str, will_topic: Option<&str>) -> Result<String, Refusal> {
        if will_topic.is_some_and(|topic| !may_publish(&self.subject, topic)) {
            return Err(Refusal::ForeignWill);
        }
        match &self.subject {
            Subject::Operator => {
                // A device's id is its session: no operator may take one over, not even of a device to come.
                let is_taken = match DeviceId::new(client_id) {
                    Ok(id) => self.store.device(&id).await.map_err(|_| Refusal::NoDatabase)?.is_some(),
                    Err(_) => false,
                };
                if is_taken { Err(Refusal::ClientIdOfDevice) } else { Ok(OPERATOR.to_owned()) }
            }
            Subject::Device { id, issued_at_ms } => {
                if client_id != id.as_str() {
                    return Err(Refusal::ForeignClientId);
                }
                self.check(id, *issued_at_ms).await?;
                let older = self.connections.insert(id, self.number, self.hang_up.clone());
                // Checked again: the follower of revocations finds only connections that are listed, and reads each revocation once.
                if let Err(refusal) = self.check(id, *issued_at_ms).await {
                    // The follower may have looked while the older connection was not listed.
                    if let Some((_, hang_up)) = older.as_ref().filter(|_| matches!(refusal, Refusal::Revoked | Refusal::Unknown)) {
                        let _ = hang_up.send(());
                    }
                    self.connections.restore(id, self.number, older);
                    return Err(refusal);
                }
                self.presence.connected(id, self.number).await;
                Ok(id.as_str().to_owned())
            }
        }
    }

    /// Whether the registry takes this device with this certificate.
    async fn check(&self, id: &DeviceId, issued_at_ms: i64) -> Result<(), Refusal> {
        let device = self.store.device(id).await.map_err(|_| Refusal::NoDatabase)?.ok_or(Refusal::Unknown)?;
        if device.takes_certificate(issued_at_ms, self.clock.unix_millis()) { Ok(()) } else { Err(Refusal::Revoked) }
    }

    async fn violation(&self, action: Action, topic: &str) {
        tracing::warn!(subject = ?self.subject, action = action.as_str(), topic, "forbidden topic");
        metrics::counter!("sightline_mqtt_violations_total").increment(1);
        self.log(action, json!({ "topic": bounded(topic) })).await;
        if self.violations.fetch_add(1, Ordering::Relaxed) + 1 >= VIOLATIONS_MAX {
            let _ = self.hang_up.send(());
        }
    }

    async fn log(&self, action: Action, detail: serde_json::Value) {
        let (actor, subject) = match &self.subject {
            Subject::Operator => (Actor::Operator(Channel::Mqtt), OPERATOR),
            Subject::Device { id, .. } => (Actor::Device(id.clone()), id.as_str()),
        };
        self.store.log(&actor, action, subject, detail).await;
    }
}

/// Why a connection is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
enum Refusal {
    #[error("the will's topic is not its own")]
    ForeignWill,
    #[error("the client id is a device's")]
    ClientIdOfDevice,
    #[error("the client id is not the certificate's device")]
    ForeignClientId,
    #[error("the database can't be read")]
    NoDatabase,
    #[error("the device is not known")]
    Unknown,
    #[error("the device or its certificate is revoked")]
    Revoked,
}

/// A device: its own up topics. The operator: commands and desired settings to any device.
fn may_publish(subject: &Subject, topic: &str) -> bool {
    match (subject, Topic::parse(topic)) {
        (_, None) => false,
        (Subject::Device { id, .. }, Some((named, topic))) => named == *id && topic.is_up(),
        (Subject::Operator, Some((_, topic))) => matches!(topic, Topic::Command | Topic::ConfigDesired),
    }
}

/// A device: its own down topics, each by its name or by a wildcard below its own id. The operator: anything, the answers with
/// their tokens included.
fn may_subscribe(subject: &Subject, filter: &str) -> bool {
    let Subject::Device { id, .. } = subject else { return true };
    // The prefix has no wildcard, because an id has none; a shared subscription begins with `$share` and fails here.
    let Some(rest) = filter.strip_prefix("devices/").and_then(|rest| rest.strip_prefix(id.as_str())?.strip_prefix('/')) else {
        return false;
    };
    if !rest.contains(['+', '#']) {
        return Topic::parse(filter).is_some_and(|(_, topic)| !topic.is_up());
    }
    rest.split('/').all(|level| !level.is_empty())
}

/// As much of a peer's text as a log line should contain.
fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(128)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{data_dir::DataDir, devices::registry::Registry, events::log::EventLog, identity::authority::Authority};

    struct Bench {
        _home: tempfile::TempDir,
        registry: Registry,
        access: Access,
        hung_up: broadcast::Receiver<()>,
        id: DeviceId,
    }

    /// A connection of an enrolled device, with the certificate that it has now.
    async fn bench() -> Bench {
        let home = tempfile::tempdir().unwrap();
        let (dir, clock) = (DataDir::open(home.path()).unwrap(), Clock::default());
        let store = Store::open(&dir, clock.clone()).await.unwrap();
        let registry = Registry::new(dir.clone(), Authority::open(&dir, clock.clone()).unwrap(), store.clone(), clock.clone());
        let id = DeviceId::new("cam").unwrap();
        registry.add(&Actor::Cli, &id).await.unwrap();
        let (hang_up, hung_up) = broadcast::channel(1);
        let events = Arc::new(EventLog::new(store.clone(), clock.clone()));
        let access = Access {
            subject: Subject::Device { id: id.clone(), issued_at_ms: clock.unix_millis() },
            number: 1,
            presence: Arc::new(Presence::new(events, clock.clone())),
            store,
            clock,
            connections: Arc::default(),
            hang_up,
            violations: Arc::default(),
        };
        Bench { _home: home, registry, access, hung_up, id }
    }

    #[tokio::test]
    async fn a_device_that_is_let_in_can_be_hung_up_on_and_a_refused_one_is_not_listed() {
        let mut bench = bench().await;
        assert_eq!(bench.access.admit("other", None).await, Err(Refusal::ForeignClientId));
        assert!(!bench.access.connections.has(&bench.id));
        assert_eq!(bench.access.admit("cam", None).await.as_deref(), Ok("cam"));
        assert!(bench.access.connections.hang_up(&bench.id) && bench.hung_up.try_recv().is_ok());
        bench.access.connections.remove(&bench.id, 1);
        bench.registry.revoke(&Actor::Cli, &bench.id).await.unwrap();
        assert_eq!(bench.access.admit("cam", None).await, Err(Refusal::Revoked));
        assert!(!bench.access.connections.has(&bench.id));
    }

    fn device(id: &str) -> Subject {
        Subject::Device { id: DeviceId::new(id).unwrap(), issued_at_ms: 0 }
    }

    #[test]
    fn a_device_publishes_up_on_its_own_topics_only() {
        let subject = device("cam");
        for topic in Topic::ALL {
            let own = topic.of(&DeviceId::new("cam").unwrap());
            assert_eq!(may_publish(&subject, &own), topic.is_up(), "{own}");
            assert!(!may_publish(&subject, &topic.of(&DeviceId::new("cam2").unwrap())));
        }
        for topic in ["devices/cam", "devices/cam/other", "x/cam/online", "devices/cam/../cam2/online", "$SYS/x", ""] {
            assert!(!may_publish(&subject, topic), "{topic}");
        }
    }

    #[test]
    fn a_device_subscribes_down_and_never_outside_its_id() {
        let subject = device("cam");
        for filter in [
            "devices/cam/stream/response",
            "devices/cam/stream/command",
            "devices/cam/config/desired",
            "devices/cam/#",
            "devices/cam/stream/+",
        ] {
            assert!(may_subscribe(&subject, filter), "{filter}");
        }
        for filter in [
            "#",
            "+/+/+/+",
            "devices/#",
            "devices/+/stream/response",
            "devices/cam2/stream/response",
            "devices/cam",
            "devices/ca+/x",
            "devices/cam2/#",
            "$share/g/devices/cam/stream/command",
            "$SYS/#",
            "devices/cam/stream/request",
            "devices//cam/#",
            "",
        ] {
            assert!(!may_subscribe(&subject, filter), "{filter}");
        }
    }

    #[test]
    fn the_operator_commands_and_listens_but_never_speaks_for_a_device() {
        assert!(may_subscribe(&Subject::Operator, "#"));
        assert!(may_publish(&Subject::Operator, "devices/cam/stream/command"));
        assert!(!may_publish(&Subject::Operator, "devices/cam/stream/request"));
        assert!(!may_publish(&Subject::Operator, "devices/cam/stream/response"));
        assert!(!may_publish(&Subject::Operator, "devices/cam/online"));
    }
}
