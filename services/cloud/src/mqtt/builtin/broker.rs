//! The broker: its state, and what the rest of the cloud asks of it.

use super::{
    access::Access,
    budget::{Budgets, Exceeded},
    connections::{Connections, Listed, Owner},
    duel::{Duel, Duels},
    packet::{End, Publication, Qos, Will},
    retained::Kept,
    router::{Figures, Router},
    tree::SessionId,
};
use crate::{
    audit::refusals::Refusals,
    clock::Clock,
    devices::presence::Presence,
    events::{kind::EventKind, log::EventLog},
    identity::{authority::Subject, operator_certificates::OperatorCertificates},
    mqtt::{
        downlink::Message,
        uplink::{Sender, Uplink},
    },
    store::{
        Store,
        actor::{Action, Actor},
    },
};
use serde_json::json;
use sightline_signal::{DeviceId, topic::Topic};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// One line about one identity in this time.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// Devices that are read from the database at a time, to see whose certificates are still good.
const DEVICES_PER_PAGE: u32 = 1000;

/// The broker: routes messages between devices, operators and the cloud.
pub(crate) struct Broker {
    router: Mutex<Router>,
    pub(super) connections: Arc<Connections>,
    pub(super) budgets: Budgets,
    duels: Duels,
    refusals: Arc<Refusals>,
    logged: Mutex<HashMap<Owner, Instant>>,
    store: Store,
    pub(super) presence: Arc<Presence>,
    events: Arc<EventLog>,
    pub(super) clock: Clock,
    pub(super) uplink: Arc<Uplink>,
    operators: OperatorCertificates,
}

/// What the broker works with.
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) presence: Arc<Presence>,
    pub(crate) events: Arc<EventLog>,
    pub(crate) clock: Clock,
    pub(crate) uplink: Arc<Uplink>,
    pub(crate) operators: OperatorCertificates,
    pub(crate) refusals: Arc<Refusals>,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").finish_non_exhaustive()
    }
}

impl Broker {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let Parts { store, presence, events, clock, uplink, operators, refusals } = parts;
        Arc::new(Self {
            router: Mutex::default(),
            connections: Arc::default(),
            budgets: Budgets::default(),
            duels: Duels::default(),
            refusals,
            logged: Mutex::default(),
            store,
            presence,
            events,
            clock,
            uplink,
            operators,
        })
    }

    /// The state. It is held for microseconds, and never over an await.
    pub(super) fn router(&self) -> MutexGuard<'_, Router> {
        self.router.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rights of a connection.
    pub(super) fn access(&self, subject: Subject) -> Access {
        let (store, clock, refusals) = (self.store.clone(), self.clock.clone(), Arc::clone(&self.refusals));
        Access {
            subject,
            store,
            clock,
            refusals,
            operators: self.operators.clone(),
            connections: Arc::clone(&self.connections),
            violations: 0,
        }
    }

    /// Fills the memory of retained messages with what devices shall be set to.
    pub(crate) async fn restore(&self) {
        match self.store.settings_of_all().await {
            Ok(changes) => {
                for change in changes {
                    self.publish(&change.device, Message::desired(change.message));
                }
            }
            Err(error) => tracing::error!(%error, "what devices shall be set to could not be read"),
        }
    }

    /// Publishes as the cloud.
    pub(crate) fn publish(&self, device: &DeviceId, message: Message) {
        let topic = message.topic;
        let publication = publication_of(device, message, self.clock.now());
        self.route(None, device, topic, publication);
    }

    /// Hands a message to its subscribers.
    pub(super) fn route(&self, from: Option<SessionId>, device: &DeviceId, topic: Topic, publication: Publication) {
        let kept = self.router().publish(from, device, topic, publication);
        if kept != Kept::Yes {
            metrics::counter!("sightline_mqtt_retained_refused_total").increment(1);
            if self.may_log(&Owner::Device(device.clone())) {
                tracing::warn!(%device, topic = topic.suffix(), ?kept, "a message asked to be retained; it was passed on, and is not kept");
            }
        }
    }

    /// Publishes the will of a client that is gone. That a device is gone, presence knows without it.
    pub(super) async fn publish_will(&self, will: Will) {
        let mut publication = will.publication;
        // Its topic was checked when the client connected.
        let Some((device, topic)) = Topic::parse(&publication.topic) else { return };
        // An operator's: it is audited, or not passed on. A device's goes at once: what it says next must not be overtaken by it.
        if !topic.is_up() && self.uplink.receive(&device, topic, &publication.payload, None, Sender::default()).await.is_err() {
            return;
        }
        publication.expires_at = will.expiry_sec.map(|seconds| self.clock.now() + Duration::from_secs(u64::from(seconds)));
        self.route(None, &device, topic, publication);
    }

    /// Ends a device's connections; whether it had one.
    pub(crate) fn hang_up(&self, device: &DeviceId) -> bool {
        self.connections.hang_up(device)
    }

    /// Forgets what a device has left here: its session, its will, its retained messages.
    pub(crate) fn forget(&self, device: &DeviceId) {
        self.router().forget(device);
    }

    /// A connection has taken over a device's session from another one.
    pub(super) async fn taken_over(&self, device: &DeviceId, from: IpAddr, to: IpAddr) {
        metrics::counter!("sightline_mqtt_takeovers_total").increment(1);
        if let Some(duel) = self.duels.takeover(device, from, to, self.clock.now()) {
            self.duelled(device, &duel).await;
        }
    }

    /// A device has connected, and threw no one out.
    pub(super) async fn connected(&self, device: &DeviceId, from: IpAddr) {
        if let Some(duel) = self.duels.connected(device, from, self.clock.now()) {
            self.duelled(device, &duel).await;
        }
    }

    async fn duelled(&self, device: &DeviceId, duel: &Duel) {
        metrics::counter!("sightline_device_duels_total").increment(1);
        let [one, other] = duel.addresses;
        tracing::warn!(%device, %one, %other, "two clients with one device's certificate throw each other out: rotate or enrol it anew");
        let detail = json!({ "addresses": duel.addresses.map(|address| address.to_string()), "takeovers": duel.takeovers });
        self.events.push(device.as_str(), EventKind::DeviceDuel, detail.clone()).await;
        self.store.log(&Actor::System, Action::DeviceDuel, device.as_str(), detail).await;
    }

    /// An identity has used up a budget.
    pub(super) async fn exceeded(&self, access: &Access, exceeded: Exceeded) {
        metrics::counter!("sightline_mqtt_budget_exceeded_total", "reason" => exceeded.as_str()).increment(1);
        let owner = access.owner();
        if self.may_log(&owner) {
            tracing::warn!(%owner, reason = %exceeded, "a client costs more than is allowed, and was cut");
        }
        let action = if exceeded == Exceeded::Connects { Action::MqttConnectRefuse } else { Action::MqttPublishRefuse };
        access.record(action, &exceeded.to_string(), json!({})).await;
    }

    /// Whether a line about an identity may be logged now.
    pub(super) fn may_log(&self, owner: &Owner) -> bool {
        let now = self.clock.now();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = logged.get(owner).is_none_or(|at| now.saturating_duration_since(*at) >= LOG_INTERVAL);
        if is_due {
            logged.insert(owner.clone(), now);
        }
        is_due
    }

    /// Publishes wills that are due, and drops what is over.
    pub(super) async fn sweep(&self) {
        let now = self.clock.now();
        let wills = self.router().sweep(now);
        for will in wills {
            self.publish_will(will).await;
        }
        self.budgets.sweep(now);
        self.duels.sweep(now);
        self.logged.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, at| now.saturating_duration_since(*at) < LOG_INTERVAL);
        self.measure();
    }

    /// Ends connections whose certificate is not good any more: replaced, revoked or expired. TLS looked only when they began.
    pub(super) async fn end_outdated(&self) {
        let (now_secs, mut devices) = (self.clock.unix_secs(), HashMap::new());
        for listed in self.connections.all() {
            if listed.valid_until <= now_secs {
                self.end(&listed, "its certificate has expired");
            } else if !self.operators.takes(&listed.subject) {
                self.end(&listed, "its certificate was replaced or revoked");
            } else if let Subject::Device { id, .. } = &listed.subject {
                devices.entry(id.clone()).or_insert_with(Vec::new).push(listed);
            }
        }
        if let Err(error) = self.end_replaced(devices).await {
            tracing::warn!(%error, "whose certificates are still good could not be looked up");
        }
    }

    async fn end_replaced(&self, mut connected: HashMap<DeviceId, Vec<Listed>>) -> Result<(), crate::store::error::StoreError> {
        let (now_ms, mut after) = (self.clock.unix_millis(), String::new());
        while !connected.is_empty() {
            let page = self.store.devices(&after, DEVICES_PER_PAGE).await?;
            for row in &page {
                for listed in connected.remove(&row.id).into_iter().flatten() {
                    let Subject::Device { issued_at_ms, .. } = listed.subject else { continue };
                    if !row.takes_certificate(issued_at_ms, now_ms) {
                        self.end(&listed, "its certificate was replaced or revoked");
                    }
                }
            }
            let Some(last) = page.last() else { break };
            after = last.id.as_str().to_owned();
        }
        // The registry does not know the rest.
        connected.values().flatten().for_each(|listed| self.end(listed, "it is not in the registry"));
        Ok(())
    }

    fn end(&self, listed: &Listed, why: &str) {
        metrics::counter!("sightline_mqtt_outdated_total").increment(1);
        tracing::info!(owner = %Owner::of(&listed.subject), address = %listed.address, why, "a connection was cut");
        listed.handle.end(End::Revoked);
    }

    /// Figures are counts and bytes that stay far below 2^52.
    #[allow(clippy::cast_precision_loss)]
    fn measure(&self) {
        let Figures { sessions, retained, waiting_bytes, dropped } = self.router().figures();
        metrics::gauge!("sightline_mqtt_sessions").set(sessions as f64);
        metrics::gauge!("sightline_mqtt_retained_messages").set(retained as f64);
        metrics::gauge!("sightline_mqtt_waiting_bytes").set(waiting_bytes as f64);
        metrics::counter!("sightline_mqtt_messages_dropped_total").absolute(dropped);
    }
}

/// A message of the cloud.
fn publication_of(device: &DeviceId, message: Message, now: Instant) -> Publication {
    let properties = message
        .correlation
        .map(|correlation| Box::new(super::packet::Properties { correlation: Some(correlation), ..super::packet::Properties::default() }));
    Publication {
        topic: message.topic.of(device).as_str().into(),
        payload: message.payload.into(),
        qos: Qos::AtLeastOnce,
        is_retained: message.is_retained,
        expires_at: message.expiry_sec.map(|seconds| now + Duration::from_secs(u64::from(seconds))),
        properties,
    }
}

#[cfg(test)]
#[path = "broker_tests.rs"]
mod tests;
