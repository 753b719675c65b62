//! Who did it, and what: the words of the audit log.

use crate::{people::names::UserName, servers::id::ServerId};
use sightline_signal::DeviceId;
use std::{fmt, net::IpAddr};

/// Who asked for an operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Actor {
    Operator(Channel),
    /// Someone who has signed in, or a program with a token of theirs, by the address.
    User(UserName, IpAddr),
    Cli,
    Device(DeviceId),
    Origin(ServerId),
    /// Someone who has proved nothing, by the address.
    Stranger(IpAddr),
    System,
}

/// The way by which the operator came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Channel {
    Http(IpAddr),
    Mqtt,
}

impl Actor {
    /// Where it came from, for operations whose detail has `from`.
    pub(crate) fn from(&self) -> String {
        match self {
            Self::Operator(Channel::Http(address)) => address.to_string(),
            Self::Operator(Channel::Mqtt) => "mqtt".to_owned(),
            Self::User(_, address) | Self::Stranger(address) => address.to_string(),
            Self::Cli => "cli".to_owned(),
            Self::Device(id) => id.to_string(),
            Self::Origin(id) => id.to_string(),
            Self::System => "system".to_owned(),
        }
    }
}

/// As the column `actor` of the audit log has it.
impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator(_) => f.write_str("operator"),
            Self::User(name, _) => write!(f, "user:{name}"),
            Self::Cli => f.write_str("cli"),
            Self::Device(id) => write!(f, "device:{id}"),
            Self::Origin(id) => write!(f, "origin:{id}"),
            Self::Stranger(address) => write!(f, "address:{address}"),
            Self::System => f.write_str("system"),
        }
    }
}

/// What was done, or refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    AccessRefuse,
    AllocationImpersonate,
    AllocationIssue,
    AllocationRefuse,
    ApiTokenAdd,
    ApiTokenRemove,
    AuditCheckpointLost,
    AuditGap,
    DeviceAdd,
    DeviceCommand,
    DeviceConfig,
    DeviceDuel,
    DeviceGroup,
    DevicePermit,
    DeviceRemove,
    DeviceRenewCertificate,
    DeviceRenewCertificateRefuse,
    DeviceRevoke,
    DeviceRotateCredentials,
    DeviceTakeCertificate,
    GroupAdd,
    GroupRemove,
    HoldAdd,
    HoldRemove,
    HookAdd,
    HookRemove,
    HookReplay,
    KeysRotate,
    MarkAdd,
    MqttConnectRefuse,
    MqttPublishRefuse,
    MqttSubscribeRefuse,
    OperatorAdd,
    OperatorRevoke,
    PlaybackKeyAdd,
    PlaybackKeyRemove,
    RelayAdd,
    RelayRemove,
    ServerAdd,
    ServerDrain,
    ServerRegister,
    ServerRemove,
    SessionAdd,
    SessionRefuse,
    SessionRemove,
    StreamBegin,
    StreamDuel,
    StreamEnd,
    StreamPublishRefuse,
    UserAdd,
    UserGrant,
    UserPassword,
    UserRemove,
}

impl Action {
    /// As the column `action` of the audit log has it: `noun.verb`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::AccessRefuse => "access.refuse",
            Self::AllocationImpersonate => "allocation.impersonate",
            Self::AllocationIssue => "allocation.issue",
            Self::AllocationRefuse => "allocation.refuse",
            Self::ApiTokenAdd => "api_token.add",
            Self::ApiTokenRemove => "api_token.remove",
            Self::AuditCheckpointLost => "audit.checkpoint_lost",
            Self::AuditGap => "audit.gap",
            Self::DeviceAdd => "device.add",
            Self::DeviceCommand => "device.command",
            Self::DeviceConfig => "device.config",
            Self::DeviceDuel => "device.duel",
            Self::DeviceGroup => "device.group",
            Self::DevicePermit => "device.permit",
            Self::DeviceRemove => "device.remove",
            Self::DeviceRenewCertificate => "device.renew_certificate",
            Self::DeviceRenewCertificateRefuse => "device.renew_certificate.refuse",
            Self::DeviceRevoke => "device.revoke",
            Self::DeviceRotateCredentials => "device.rotate_credentials",
            Self::DeviceTakeCertificate => "device.take_certificate",
            Self::GroupAdd => "group.add",
            Self::GroupRemove => "group.remove",
            Self::HoldAdd => "hold.add",
            Self::HoldRemove => "hold.remove",
            Self::HookAdd => "hook.add",
            Self::HookRemove => "hook.remove",
            Self::HookReplay => "hook.replay",
            Self::KeysRotate => "keys.rotate",
            Self::MarkAdd => "mark.add",
            Self::MqttConnectRefuse => "mqtt.connect.refuse",
            Self::MqttPublishRefuse => "mqtt.publish.refuse",
            Self::MqttSubscribeRefuse => "mqtt.subscribe.refuse",
            Self::OperatorAdd => "operator.add",
            Self::OperatorRevoke => "operator.revoke",
            Self::PlaybackKeyAdd => "playback_key.add",
            Self::PlaybackKeyRemove => "playback_key.remove",
            Self::RelayAdd => "relay.add",
            Self::RelayRemove => "relay.remove",
            Self::ServerAdd => "server.add",
            Self::ServerDrain => "server.drain",
            Self::ServerRemove => "server.remove",
            Self::ServerRegister => "server.register",
            Self::SessionAdd => "session.add",
            Self::SessionRefuse => "session.refuse",
            Self::SessionRemove => "session.remove",
            Self::StreamBegin => "stream.begin",
            Self::StreamDuel => "stream.duel",
            Self::StreamEnd => "stream.end",
            Self::StreamPublishRefuse => "stream.publish.refuse",
            Self::UserAdd => "user.add",
            Self::UserGrant => "user.grant",
            Self::UserPassword => "user.password",
            Self::UserRemove => "user.remove",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actors_are_written_as_existing_logs_have_them() {
        let cam = DeviceId::new("cam").unwrap();
        let local = Channel::Http("127.0.0.1".parse().unwrap());
        let written = |actor: Actor| (actor.to_string(), actor.from());
        assert_eq!(written(Actor::Operator(local)), ("operator".into(), "127.0.0.1".into()));
        assert_eq!(written(Actor::Operator(Channel::Mqtt)), ("operator".into(), "mqtt".into()));
        assert_eq!(written(Actor::Cli), ("cli".into(), "cli".into()));
        assert_eq!(Actor::Device(cam).to_string(), "device:cam");
        assert_eq!(Actor::Origin(ServerId::new("o1").unwrap()).to_string(), "origin:o1");
        assert_eq!(Actor::System.to_string(), "system");
        let ann = Actor::User(UserName::new("ann").unwrap(), "192.0.2.7".parse().unwrap());
        assert_eq!(written(ann), ("user:ann".into(), "192.0.2.7".into()));
    }
}
