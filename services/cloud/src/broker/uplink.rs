//! What devices publish, as the cloud hears it; and the commands that wait for their result.

use crate::{
    allocator::{Allocator, Identity},
    device_settings::DeviceSettings,
    presence::Presence,
};
use mqtt5::{
    QoS,
    broker::{BrokerEventHandler, ClientPublishEvent, PublishAction, RetainedSetEvent, router::MessageRouter},
    packet::publish::PublishPacket,
};
use sightline_signal::{CommandResult, DeviceId, topic::Topic};
use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, Weak},
};
use tokio::sync::oneshot;

/// Commands that may wait for their result at once.
const COMMANDS_WAITING_MAX: usize = 1000;
/// How long an answer is worth delivering, in seconds: the device asks again after that.
const RESPONSE_EXPIRY_SECS: u32 = 15;

/// Listens to what devices publish. Runs in the publishing connection's own task: a device that floods waits for itself.
pub(super) struct Uplink {
    pub(super) allocator: Arc<Allocator>,
    pub(super) presence: Arc<Presence>,
    pub(super) commands: Arc<Commands>,
    pub(super) settings: Arc<DeviceSettings>,
    /// Weak, because the router belongs to the broker that holds this.
    pub(super) router: Weak<MessageRouter>,
}

impl BrokerEventHandler for Uplink {
    fn on_client_publish<'a>(&'a self, event: ClientPublishEvent) -> Pin<Box<dyn Future<Output = PublishAction> + Send + 'a>> {
        Box::pin(async move {
            if let Some((device, topic)) = Topic::parse(&event.topic) {
                // The operator publishes only down topics, so an up topic's device is the connection's own.
                self.heard(&device, topic, &event).await;
            }
            PublishAction::Continue
        })
    }

    fn on_retained_set<'a>(&'a self, event: RetainedSetEvent) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            // Wills come only this way: no connection publishes them.
            if let Some((device, Topic::Online)) = Topic::parse(&event.topic) {
                self.presence.online_message(&device, &event.payload);
            }
        })
    }
}

impl Uplink {
    async fn heard(&self, device: &DeviceId, topic: Topic, event: &ClientPublishEvent) {
        if topic.is_up() {
            self.presence.seen(device);
        }
        match topic {
            Topic::Request => self.request(device, event).await,
            Topic::Status => self.presence.status_message(device, &event.payload),
            Topic::State => self.presence.state_message(device, &event.payload),
            Topic::Online => {
                self.presence.online_message(device, &event.payload);
                self.remind(device).await;
            }
            Topic::Motion => self.presence.motion_message(device, &event.payload),
            Topic::Result => self.commands.answered(device, &event.payload),
            Topic::ConfigReported => self.settings.heard_reported(device, &event.payload).await,
            Topic::ConfigDesired => self.settings.heard_desired(device, &event.payload).await,
            // Pictures are for other subscribers; the rest is what the cloud itself publishes, and commands of the operator.
            Topic::Snapshot | Topic::Response | Topic::Command => {}
        }
    }

    /// A device that has come, and does not do yet what it shall do, is told again.
    async fn remind(&self, device: &DeviceId) {
        if !self.presence.device(device).is_online() {
            return;
        }
        let (Some(message), Some(router)) = (self.settings.due(device).await, self.router.upgrade()) else { return };
        let packet = PublishPacket::new(Topic::ConfigDesired.of(device).as_str(), message, QoS::AtLeastOnce).with_retain(true);
        router.route_message(&packet, None).await;
    }

    async fn request(&self, device: &DeviceId, event: &ClientPublishEvent) {
        let response = self.allocator.handle_request(&Identity::Device(device.clone()), &event.payload).await;
        let (Ok(body), Some(router)) = (serde_json::to_vec(&response), self.router.upgrade()) else { return };
        // Always the device's own topic, never one that a message names: the cloud may write to every device.
        let mut packet = PublishPacket::new(Topic::Response.of(device).as_str(), body, QoS::AtLeastOnce)
            .with_message_expiry_interval(RESPONSE_EXPIRY_SECS);
        if let Some(data) = &event.correlation_data {
            packet.properties.set_correlation_data(data.clone());
        }
        router.route_message(&packet, None).await;
    }
}

/// Commands that wait for their result.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    waiting: Mutex<HashMap<(DeviceId, String), oneshot::Sender<CommandResult>>>,
}

impl Commands {
    /// Waits for a command's result; call it before the command is published. `None` if too many wait already.
    pub(crate) fn expect(&self, device: &DeviceId, command_id: &str) -> Option<oneshot::Receiver<CommandResult>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that gave up left their senders here.
        waiting.retain(|_, sender| !sender.is_closed());
        if waiting.len() >= COMMANDS_WAITING_MAX {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        waiting.insert((device.clone(), command_id.to_owned()), sender);
        Some(receiver)
    }

    fn answered(&self, device: &DeviceId, payload: &[u8]) {
        let Ok(result) = serde_json::from_slice::<CommandResult>(payload) else { return };
        let key = (device.clone(), result.command_id.as_str().to_owned());
        if let Some(sender) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&key) {
            let _ = sender.send(result);
        }
    }
}
