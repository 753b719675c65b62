//! Commands of the cloud to a camera, and their results.

use crate::{ErrorCode, Quality, Text};
use serde::{Deserialize, Serialize};

/// The verbs of `devices/{id}/stream/command`.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandName {
    /// Begin to stream; a second one while it streams renews the lease.
    Start,
    /// End the stream; idempotent.
    Stop,
    /// Another preset, from the next key frame on.
    SetQuality,
    /// Another target bit rate.
    SetBitrate,
    /// A key frame now.
    Keyframe,
    /// Ask for a fresh token and move to it.
    Rotate,
    /// A JPEG on the snapshot topic.
    Snapshot,
    /// Lengthen the lease of an on-demand stream.
    Renew,
}

/// `devices/{id}/stream/command`. A field that a verb does not use is ignored.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Command {
    /// Names the command; the result carries it. Home Assistant and people by hand leave it out.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = String, max_length = 64))]
    pub command_id: Text<64>,
    /// The verb.
    pub cmd: CommandName,
    /// `set_quality`: the preset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
    /// `set_bitrate`: bits a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitrate_bps: Option<u32>,
    /// `set_quality` with `custom`: width in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// `set_quality` with `custom`: height in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// `set_quality` with `custom`: frames a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fps: Option<u32>,
    /// `start`, `renew`: how long the lease lasts from receipt, in seconds; absent: 60 for an on-demand camera.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_sec: Option<u32>,
}

impl Command {
    /// A verb that needs nothing else.
    pub const fn bare(cmd: CommandName) -> Self {
        Self { command_id: Text::new(), cmd, quality: None, bitrate_bps: None, width: None, height: None, fps: None, lease_sec: None }
    }
}

/// `devices/{id}/stream/result`: what came of a command.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CommandResult {
    /// The command's id.
    #[cfg_attr(feature = "schema", schema(value_type = String, max_length = 64))]
    pub command_id: Text<64>,
    /// Whether it was done.
    pub success: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<ErrorCode>,
    /// The same for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, max_length = 128))]
    pub error_message: Option<Text<128>>,
    /// The device's clock, seconds since 1970.
    pub timestamp: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verbs_are_those_of_the_specification() {
        for verb in ["start", "stop", "set_quality", "set_bitrate", "keyframe", "rotate", "snapshot", "renew"] {
            let text = std::format!(r#"{{"command_id":"c1","cmd":"{verb}"}}"#);
            let command: Command = crate::json::read(text.as_bytes()).unwrap();
            assert_eq!(serde_json::to_string(&command).unwrap(), text);
        }
        assert!(crate::json::read::<Command>(br#"{"command_id":"c1","cmd":"reboot"}"#).is_err());
    }

    #[test]
    fn home_assistant_s_bare_payload_is_a_command() {
        let command: Command = crate::json::read(br#"{"cmd":"set_quality","quality":"low"}"#).unwrap();
        assert_eq!((command.cmd, command.quality), (CommandName::SetQuality, Some(Quality::Low)));
    }
}
