//! What one connection may do. TLS has proved its identity.

use super::connections::{Connections, Owner};
use crate::{
    audit::refusals::Refusals,
    clock::Clock,
    identity::{
        authority::{OPERATOR, Subject},
        operator_certificates::OperatorCertificates,
    },
    mqtt::uplink::Sender,
    store::{
        Store,
        actor::{Action, Actor, Channel},
        error::StoreError,
    },
};
use serde_json::json;
use sightline_signal::{DeviceId, topic::Topic};
use std::{net::SocketAddr, sync::Arc};

/// Forbidden topics that a connection may try before it is ended.
const VIOLATIONS_MAX: u32 = 8;

/// The rights of one connection.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) subject: Subject,
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) refusals: Arc<Refusals>,
    pub(super) operators: OperatorCertificates,
    pub(super) connections: Arc<Connections>,
    pub(super) violations: u32,
}

impl Access {
    /// Whether the connection may come in under this client id; gives when a device was enrolled.
    pub(super) async fn admit(&self, client_id: &str, will_topic: Option<&str>) -> Result<Option<i64>, Refusal> {
        if will_topic.is_some_and(|topic| !self.may_publish(topic)) {
            return Err(Refusal::ForeignWill);
        }
        match &self.subject {
            Subject::Operator { .. } => {
                if !self.operators.takes(&self.subject) {
                    return Err(Refusal::RevokedOperator);
                }
                // A device's id is its session: no operator may take one over, not even of a device to come.
                let is_taken = match DeviceId::new(client_id) {
                    Ok(id) => self.store.device(&id).await.map_err(|_| Refusal::NoDatabase)?.is_some(),
                    Err(_) => false,
                };
                if is_taken { Err(Refusal::ClientIdOfDevice) } else { Ok(None) }
            }
            Subject::Device { id, issued_at_ms } => {
                if client_id != id.as_str() {
                    return Err(Refusal::ForeignClientId);
                }
                let device = self.store.device(id).await.map_err(|_| Refusal::NoDatabase)?.ok_or(Refusal::Unknown)?;
                let is_good = device.takes_certificate(*issued_at_ms, self.clock.unix_millis());
                if !is_good {
                    return Err(Refusal::Revoked);
                }
                // In the hour after a rotation the old one still opens, but not against the new one: a copied key is of no use any more once
                // the device has fetched the new one.
                let is_outdone = self.connections.has_newer(id, *issued_at_ms);
                if is_outdone {
                    return Err(Refusal::Outdone);
                }
                // The first time that it shows one which it has fetched itself.
                if *issued_at_ms > device.certificate_issued_at_ms()
                    && let Err(error) = self.first_seen(id, *issued_at_ms).await
                {
                    tracing::warn!(%error, device = %id, "a device's new certificate is in use, and the old one could not be ended");
                }
                Ok(Some(device.created_at))
            }
        }
    }

    /// A device shows a certificate for the first time that it has fetched itself: the one before ends.
    async fn first_seen(&self, id: &DeviceId, issued_at_ms: i64) -> Result<(), StoreError> {
        let actor = Actor::Device(id.clone());
        let mut write = self.store.write(&actor).await?;
        write.certificate_seen(id, issued_at_ms).await?;
        let detail = json!({ "issued_at": issued_at_ms / 1000 });
        write.commit(Action::DeviceTakeCertificate, id.as_str(), detail).await
    }

    pub(super) fn may_publish(&self, topic: &str) -> bool {
        may_publish(&self.subject, topic)
    }

    pub(super) fn may_subscribe(&self, filter: &str) -> bool {
        may_subscribe(&self.subject, filter)
    }

    /// Logs that the connection was not let in.
    pub(super) async fn refused(&self, client_id: &str, address: SocketAddr, reason: &str) {
        let detail = json!({ "client_id": bounded(client_id), "address": address.to_string() });
        self.record(Action::MqttConnectRefuse, reason, detail).await;
    }

    /// Counts and logs a forbidden topic; true if it was one too many.
    pub(super) async fn violation(&mut self, action: Action, topic: &str) -> bool {
        metrics::counter!("sightline_mqtt_violations_total").increment(1);
        self.record(action, "forbidden topic", json!({ "topic": bounded(topic) })).await;
        self.violations += 1;
        self.violations >= VIOLATIONS_MAX
    }

    /// Logs a refusal in the identity's name.
    pub(super) async fn record(&self, action: Action, reason: &str, detail: serde_json::Value) {
        let (actor, subject) = match &self.subject {
            Subject::Operator { .. } => (Actor::Operator(Channel::Mqtt), OPERATOR),
            Subject::Device { id, .. } => (Actor::Device(id.clone()), id.as_str()),
        };
        self.refusals.record(&actor, action, subject, reason, detail).await;
    }

    /// Who publishes.
    pub(super) fn sender(&self) -> Sender<'_> {
        match &self.subject {
            Subject::Operator { name, .. } => Sender { operator: Some(name), certificate_issued_at_ms: None },
            Subject::Device { issued_at_ms, .. } => Sender { operator: None, certificate_issued_at_ms: Some(*issued_at_ms) },
        }
    }

    pub(super) fn owner(&self) -> Owner {
        Owner::of(&self.subject)
    }
}

/// Why a connection is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Refusal {
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
    #[error("the certificate has expired")]
    Expired,
    #[error("a connection with a newer certificate of the device is here")]
    Outdone,
    #[error("the operator's certificate is not on the list of accepted ones")]
    RevokedOperator,
}

/// A device: its own up topics. The operator: commands and desired settings to any device.
fn may_publish(subject: &Subject, topic: &str) -> bool {
    match (subject, Topic::parse(topic)) {
        (_, None) => false,
        (Subject::Device { id, .. }, Some((named, topic))) => named == *id && topic.is_up(),
        (Subject::Operator { .. }, Some((_, topic))) => matches!(topic, Topic::Command | Topic::ConfigDesired),
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

    fn operator() -> Subject {
        Subject::Operator { name: "operator".into(), serial: "1".into() }
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
        assert!(may_subscribe(&operator(), "#"));
        assert!(may_publish(&operator(), "devices/cam/stream/command"));
        assert!(!may_publish(&operator(), "devices/cam/stream/request"));
        assert!(!may_publish(&operator(), "devices/cam/stream/response"));
        assert!(!may_publish(&operator(), "devices/cam/online"));
    }
}
