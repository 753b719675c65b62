//! Commands to devices.

use super::{presence::Presence, results::Results};
use crate::{
    mqtt::{bus::Bus, downlink::Message},
    secrets::command_id,
};
use sightline_signal::{Command, CommandName, CommandResult, DeviceId};
use std::{sync::Arc, time::Duration};

/// How long the API waits for a device's result before it answers that there is none yet.
const COMMAND_RESULT_WAIT: Duration = Duration::from_secs(3);

/// Why a command was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum NotSent {
    #[error("the device has no MQTT connection, or there is no broker")]
    Offline,
    #[error("too many commands wait for their results")]
    Busy,
}

/// Sends commands.
#[derive(Debug)]
pub(crate) struct Commands {
    bus: Option<Bus>,
    presence: Arc<Presence>,
    results: Arc<Results>,
}

impl Commands {
    pub(crate) fn new(bus: Option<Bus>, presence: Arc<Presence>, results: Arc<Results>) -> Self {
        Self { bus, presence, results }
    }

    /// Fills an empty `command_id` in.
    pub(crate) fn name(command: &mut Command) {
        if command.command_id.is_empty() {
            command.command_id = command_id();
        }
    }

    /// Publishes a command, which has an id, and waits a while for its result; `None` if there is none yet.
    pub(crate) async fn send(&self, device: &DeviceId, command: &Command) -> Result<Option<CommandResult>, NotSent> {
        let bus = self.bus.as_ref().filter(|_| self.presence.device(device).is_online()).ok_or(NotSent::Offline)?;
        let result = self.results.expect(device, &command.command_id).ok_or(NotSent::Busy)?;
        bus.publish(device, Message::command(command)).await;
        Ok(tokio::time::timeout(COMMAND_RESULT_WAIT, result).await.ok().and_then(Result::ok))
    }

    /// Publishes a command whose result nobody waits for.
    pub(crate) async fn tell(&self, device: &DeviceId, command: &Command) {
        if let Some(bus) = &self.bus {
            bus.publish(device, Message::command(command)).await;
        }
    }

    /// Tells devices to ask for a fresh token and to move to it.
    pub(crate) async fn call_back(&self, devices: &[DeviceId]) {
        let Some(bus) = &self.bus else { return };
        for device in devices {
            let command = Command { command_id: command_id(), ..Command::bare(CommandName::Rotate) };
            bus.publish(device, Message::command(&command)).await;
        }
    }
}
