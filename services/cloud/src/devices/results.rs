//! Commands that wait for their result.

use sightline_signal::{CommandResult, DeviceId};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};
use tokio::sync::oneshot;

/// Commands that may wait for their result at once: a client that asks for more would only fill the memory.
const COMMANDS_WAITING_MAX: usize = 1000;

/// Commands that wait for their result.
#[derive(Debug, Default)]
pub(crate) struct Results {
    waiting: Mutex<HashMap<(DeviceId, String), oneshot::Sender<CommandResult>>>,
}

impl Results {
    /// Waits for a command's result; call it before the command is published. `None` if too many wait already.
    pub(super) fn expect(&self, device: &DeviceId, command_id: &str) -> Option<oneshot::Receiver<CommandResult>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever stopped waiting has left its sender here.
        waiting.retain(|_, sender| !sender.is_closed());
        if waiting.len() >= COMMANDS_WAITING_MAX {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        waiting.insert((device.clone(), command_id.to_owned()), sender);
        Some(receiver)
    }

    /// A device's message on `stream/result`. What does not parse, or nobody waits for, is ignored.
    pub(crate) fn result_message(&self, device: &DeviceId, payload: &[u8]) {
        let Ok(result) = serde_json::from_slice::<CommandResult>(payload) else { return };
        let key = (device.clone(), result.command_id.as_str().to_owned());
        if let Some(sender) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&key) {
            let _ = sender.send(result);
        }
    }
}
