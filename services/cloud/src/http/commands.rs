//! `/api/v1/devices/{id}/command` and `/rotate`.

use super::{
    devices::known,
    error::{ApiError, ApiResult},
    extract::{Body, Id},
    person::Person,
};
use crate::{
    devices::commands::{Commands, NotSent},
    store::{Store, actor::Action},
};
use axum::{Extension, Json, extract::State, http::StatusCode};
use serde::Serialize;
use serde_json::json;
use sightline_signal::{Command, CommandName, CommandResult, DeviceId};
use std::sync::Arc;

/// The answer to a command.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct CommandAnswer {
    command_id: String,
    /// `done`, `failed`, or `sent` if the device has not answered yet.
    status: &'static str,
    /// The device's own answer.
    result: Option<CommandResult>,
}

/// Tells a device to do something.
#[utoipa::path(post, path = "/api/v1/devices/{id}/command", operation_id = "command_device", params(("id" = DeviceId, Path)), request_body = Command, responses(
    (status = 200, description = "The device has answered", body = CommandAnswer),
    (status = 202, description = "It is sent; the device has not answered within three seconds", body = CommandAnswer),
    (status = 404, description = "`NOT_FOUND`"),
    (status = 409, description = "`DEVICE_OFFLINE` or `DEVICE_REVOKED`"),
    (status = 503, description = "`BUSY`: too many commands wait for an answer; or `STORAGE_FAILED`"),
))]
pub(super) async fn command(
    State(store): State<Store>,
    State(commands): State<Arc<Commands>>,
    Extension(person): Extension<Person>,
    Id(id): Id,
    Body(command): Body<Command>,
) -> ApiResult<(StatusCode, Json<CommandAnswer>)> {
    send(&store, &commands, &person, &id, command).await
}

/// A fresh token inside the running connection, without a lost frame: the device is told to ask for it.
#[utoipa::path(post, path = "/api/v1/devices/{id}/rotate", operation_id = "rotate_token", params(("id" = DeviceId, Path)), responses(
    (status = 200, description = "The device has answered", body = CommandAnswer),
    (status = 202, description = "It is sent; the device has not answered within three seconds", body = CommandAnswer),
    (status = 404, description = "`NOT_FOUND`"),
    (status = 409, description = "`DEVICE_OFFLINE` or `DEVICE_REVOKED`"),
    (status = 503, description = "`BUSY`: too many commands wait for an answer; or `STORAGE_FAILED`"),
))]
pub(super) async fn rotate(
    State(store): State<Store>,
    State(commands): State<Arc<Commands>>,
    Extension(person): Extension<Person>,
    Id(id): Id,
) -> ApiResult<(StatusCode, Json<CommandAnswer>)> {
    send(&store, &commands, &person, &id, Command::bare(CommandName::Rotate)).await
}

async fn send(
    store: &Store,
    commands: &Commands,
    person: &Person,
    id: &str,
    mut command: Command,
) -> ApiResult<(StatusCode, Json<CommandAnswer>)> {
    let device = known(store, id).await?;
    if device.revoked_at.is_some() {
        return Err(ApiError::new(StatusCode::CONFLICT, "DEVICE_REVOKED", format!("device {} is revoked", device.id)));
    }
    Commands::name(&mut command);
    let actor = person.actor();
    let detail = |sent: Option<NotSent>| {
        let mut detail = json!({ "cmd": command.cmd, "command_id": command.command_id.as_str(), "from": actor.from() });
        if let Some(reason) = sent {
            detail["not_sent"] = reason.to_string().into();
        }
        detail
    };
    // Nothing is carried out that is not in the log.
    store.write(&actor).await?.commit(Action::DeviceCommand, device.id.as_str(), detail(None)).await?;
    let outcome = commands.send(&device.id, &command).await;
    if let Err(reason) = outcome {
        store.log(&actor, Action::DeviceCommand, device.id.as_str(), detail(Some(reason))).await;
    }
    let command_id = command.command_id.as_str().to_owned();
    match outcome {
        Ok(Some(result)) => {
            let status = if result.success { "done" } else { "failed" };
            Ok((StatusCode::OK, Json(CommandAnswer { command_id, status, result: Some(result) })))
        }
        Ok(None) => Ok((StatusCode::ACCEPTED, Json(CommandAnswer { command_id, status: "sent", result: None }))),
        Err(NotSent::Offline) => {
            Err(ApiError::new(StatusCode::CONFLICT, "DEVICE_OFFLINE", format!("device {} is not connected over MQTT", device.id)))
        }
        Err(error @ NotSent::Busy) => Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "BUSY", error.to_string())),
    }
}
