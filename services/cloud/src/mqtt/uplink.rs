//! What devices publish. Knows nothing of the broker that carried it.

use super::downlink::Message;
use crate::{
    allocate::allocator::{Allocator, Identity},
    devices::{
        presence::Presence,
        renewals::Renewals,
        results::Results,
        settings::{NotStored, SettingsIntake},
    },
    store::{
        Store,
        actor::{Action, Actor, Channel},
    },
};
use serde_json::json;
use sightline_signal::{Command, DeviceId, topic::Topic};
use std::sync::Arc;

/// Takes what devices publish. It runs in the publishing connection's own task: a device that floods waits for itself.
#[derive(Debug)]
pub(crate) struct Uplink {
    allocator: Arc<Allocator>,
    presence: Arc<Presence>,
    results: Arc<Results>,
    settings: SettingsIntake,
    renewals: Arc<Renewals>,
    store: Store,
}

/// Who has published a message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sender<'a> {
    /// The operator's name, if it is one.
    pub(crate) operator: Option<&'a str>,
    /// When a device's certificate was issued, in milliseconds since 1970.
    pub(crate) certificate_issued_at_ms: Option<i64>,
}

impl Uplink {
    pub(crate) fn new(
        allocator: Arc<Allocator>,
        presence: Arc<Presence>,
        results: Arc<Results>,
        settings: SettingsIntake,
        renewals: Arc<Renewals>,
        store: Store,
    ) -> Self {
        Self { allocator, presence, results, settings, renewals, store }
    }

    /// Takes a message on a topic of `device`, from the device itself or from the operator of that name.
    ///
    /// # Errors
    /// [`NotStored`]: it must not be passed on, because it can't be written down.
    pub(crate) async fn receive(
        &self,
        device: &DeviceId,
        topic: Topic,
        payload: &[u8],
        correlation: Option<&[u8]>,
        sender: Sender<'_>,
    ) -> Result<Option<Message>, NotStored> {
        if topic.is_up() {
            self.presence.seen(device);
        }
        match topic {
            Topic::Request => {
                let response = self.allocator.handle_request(&Identity::Device(device.clone()), payload).await;
                // Always on the device's own topic, never on one that a message names: the cloud may write to every device.
                return Ok(Some(Message::response(&response, correlation)));
            }
            Topic::Online => {
                self.presence.online_message(device, payload).await;
                return Ok(self.reminder(device).await);
            }
            Topic::Status => self.presence.status_message(device, payload).await,
            Topic::State => self.presence.state_message(device, payload),
            Topic::Motion => self.presence.motion_message(device, payload).await,
            Topic::Result => self.results.result_message(device, payload),
            Topic::ConfigReported => self.settings.reported_message(device, payload).await,
            Topic::Command => self.command_message(device, payload, sender.operator).await?,
            Topic::ConfigDesired => self.settings.desired_message(device, payload).await?,
            Topic::CertificateRequest => {
                let answer = self.renewals.handle_message(device, sender.certificate_issued_at_ms, payload).await;
                return Ok(Some(Message::certificate(&answer, correlation)));
            }
            // Pictures are for other subscribers. Responses are what the cloud publishes itself.
            Topic::Snapshot | Topic::Response | Topic::CertificateResponse => {}
        }
        Ok(None)
    }

    /// A command of an operator. Nothing is carried out that is not in the audit log, as with those of the API.
    async fn command_message(&self, device: &DeviceId, payload: &[u8], operator: Option<&str>) -> Result<(), NotStored> {
        let actor = Actor::Operator(Channel::Mqtt);
        // One that does not parse goes to the device too, which answers what is wrong with it.
        let (name, id) = match serde_json::from_slice::<Command>(payload) {
            Ok(command) => (Some(command.cmd), command.command_id.as_str().to_owned()),
            Err(_) => (None, String::new()),
        };
        let mut detail = json!({ "cmd": name, "command_id": id, "from": actor.from(), "operator": operator });
        if !self.presence.device(device).is_online() {
            detail["not_sent"] = "the device has no MQTT connection".into();
        }
        let logged = match self.store.write(&actor).await {
            Ok(write) => write.commit(Action::DeviceCommand, device.as_str(), detail).await,
            Err(error) => Err(error),
        };
        logged.map_err(|error| NotStored::of(&error, device))
    }

    /// A device that has connected and does not run the desired settings gets them again.
    async fn reminder(&self, device: &DeviceId) -> Option<Message> {
        if !self.presence.device(device).is_online() {
            return None;
        }
        self.settings.due(device).await.map(Message::desired)
    }
}
