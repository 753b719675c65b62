//! Packets of the broker to bytes, in the version that the client speaks.

use super::{
    decode::{PACKET_BYTES_MAX, TOPIC_ALIASES_MAX},
    packet::{Answer, Delivery, End, Granted, Level, Qos, Taken, Terms, Unreadable},
};
use mqtt_protocol_core::mqtt::{
    packet::{self, Property, v3_1_1, v5_0},
    result_code::{
        ConnectReasonCode, ConnectReturnCode, DisconnectReasonCode, MqttError, PubackReasonCode, SubackReasonCode, SubackReturnCode,
        UnsubackReasonCode,
    },
};
use std::time::Instant;

/// Messages of QoS 1 that a client may send unacknowledged. Each is acknowledged before the next is read, so this costs nothing.
const RECEIVE_MAXIMUM: u16 = 32;

/// Bytes for a client.
type Bytes = Result<Vec<u8>, MqttError>;

/// CONNACK.
pub(super) fn connack(level: Level, answer: Answer, terms: &Terms) -> Bytes {
    match level {
        Level::Three => {
            let code = match answer {
                Answer::Accepted => ConnectReturnCode::Accepted,
                Answer::Version => ConnectReturnCode::UnacceptableProtocolVersion,
                Answer::BadClientId => ConnectReturnCode::IdentifierRejected,
                Answer::Unavailable | Answer::TooOften => ConnectReturnCode::ServerUnavailable,
                Answer::Forbidden => ConnectReturnCode::NotAuthorized,
            };
            let packet = v3_1_1::Connack::builder().session_present(terms.has_session).return_code(code).build()?;
            Ok(packet.to_continuous_buffer())
        }
        Level::Five => {
            let code = match answer {
                Answer::Accepted => ConnectReasonCode::Success,
                Answer::Version => ConnectReasonCode::UnsupportedProtocolVersion,
                Answer::BadClientId => ConnectReasonCode::ClientIdentifierNotValid,
                Answer::Unavailable => ConnectReasonCode::ServerUnavailable,
                Answer::TooOften => ConnectReasonCode::ConnectionRateExceeded,
                Answer::Forbidden => ConnectReasonCode::NotAuthorized,
            };
            let properties = if answer == Answer::Accepted { terms_of(terms)? } else { Vec::new() };
            let packet = v5_0::Connack::builder().session_present(terms.has_session).reason_code(code).props(properties).build()?;
            Ok(packet.to_continuous_buffer())
        }
    }
}

fn terms_of(terms: &Terms) -> Result<Vec<Property>, MqttError> {
    let mut properties: Vec<Property> = vec![
        packet::ReceiveMaximum::new(RECEIVE_MAXIMUM)?.into(),
        packet::MaximumQos::new(1)?.into(),
        packet::MaximumPacketSize::new(u32::try_from(PACKET_BYTES_MAX).unwrap_or(u32::MAX))?.into(),
        packet::TopicAliasMaximum::new(TOPIC_ALIASES_MAX)?.into(),
        packet::SubscriptionIdentifierAvailable::new(0)?.into(),
    ];
    if let Some(seconds) = terms.session_expiry_sec {
        properties.push(packet::SessionExpiryInterval::new(seconds)?.into());
    }
    if let Some(seconds) = terms.keep_alive_sec {
        properties.push(packet::ServerKeepAlive::new(seconds)?.into());
    }
    if let Some(id) = &terms.client_id {
        properties.push(packet::AssignedClientIdentifier::new(id.as_str())?.into());
    }
    Ok(properties)
}

/// CONNACK for a client whose version is none of ours, in the words of 3.1.1: "unacceptable protocol version".
pub(super) fn connack_unknown_version() -> Bytes {
    connack(Level::Three, Answer::Version, &Terms::default())
}

/// PUBLISH.
pub(super) fn publish(level: Level, delivery: &Delivery, now: Instant) -> Bytes {
    let Delivery { publication, is_retained, id, is_again } = delivery;
    let qos = if id.is_some() { packet::Qos::AtLeastOnce } else { packet::Qos::AtMostOnce };
    match level {
        Level::Three => {
            let packet = v3_1_1::Publish::builder().topic_name(&*publication.topic)?.qos(qos).retain(*is_retained).dup(*is_again);
            let packet = if let Some(id) = id { packet.packet_id(*id) } else { packet };
            Ok(packet.payload(std::sync::Arc::clone(&publication.payload)).build()?.to_continuous_buffer())
        }
        Level::Five => {
            let packet = v5_0::Publish::builder().topic_name(&*publication.topic)?.qos(qos).retain(*is_retained).dup(*is_again);
            let packet = if let Some(id) = id { packet.packet_id(*id) } else { packet };
            let packet = packet.props(properties_of(publication, now)?);
            Ok(packet.payload(std::sync::Arc::clone(&publication.payload)).build()?.to_continuous_buffer())
        }
    }
}

fn properties_of(publication: &super::packet::Publication, now: Instant) -> Result<Vec<Property>, MqttError> {
    let mut list: Vec<Property> = Vec::new();
    if let Some(at) = publication.expires_at {
        // What is left of it, and at least a second: it has not expired.
        let left = at.saturating_duration_since(now).as_secs().max(1);
        list.push(packet::MessageExpiryInterval::new(u32::try_from(left).unwrap_or(u32::MAX))?.into());
    }
    let Some(properties) = &publication.properties else { return Ok(list) };
    if let Some(is_text) = properties.is_text {
        let format = if is_text { packet::PayloadFormat::String } else { packet::PayloadFormat::Binary };
        list.push(packet::PayloadFormatIndicator::new(format)?.into());
    }
    if let Some(text) = &properties.content_type {
        list.push(packet::ContentType::new(text.as_str())?.into());
    }
    if let Some(topic) = &properties.response_topic {
        list.push(packet::ResponseTopic::new(topic.as_str())?.into());
    }
    if let Some(correlation) = &properties.correlation {
        list.push(packet::CorrelationData::new(correlation.clone())?.into());
    }
    for (key, value) in &properties.user {
        list.push(packet::UserProperty::new(key.as_str(), value.as_str())?.into());
    }
    Ok(list)
}

/// PUBACK. 3.1.1 has no word for a refusal: what is forbidden is acknowledged there, and what failed is not, so that it is sent again.
pub(super) fn puback(level: Level, id: u16, taken: Taken) -> Option<Vec<u8>> {
    let refused = |code| v5_0::Puback::builder().packet_id(id).reason_code(code).build();
    let packet = match (level, taken) {
        (Level::Three, Taken::NotStored) => return None,
        (Level::Three, Taken::Yes | Taken::Forbidden) => {
            return v3_1_1::Puback::builder().packet_id(id).build().ok().map(|packet| packet.to_continuous_buffer());
        }
        (Level::Five, Taken::Yes) => v5_0::Puback::builder().packet_id(id).build(),
        (Level::Five, Taken::Forbidden) => refused(PubackReasonCode::NotAuthorized),
        (Level::Five, Taken::NotStored) => refused(PubackReasonCode::UnspecifiedError),
    };
    packet.ok().map(|packet| packet.to_continuous_buffer())
}

/// SUBACK.
pub(super) fn suback(level: Level, id: u16, granted: &[Granted]) -> Bytes {
    match level {
        Level::Three => {
            let codes = granted.iter().map(|granted| match granted {
                Granted::Qos(Qos::AtMostOnce) => SubackReturnCode::SuccessMaximumQos0,
                Granted::Qos(Qos::AtLeastOnce) => SubackReturnCode::SuccessMaximumQos1,
                Granted::Forbidden | Granted::BadFilter | Granted::TooMany => SubackReturnCode::Failure,
            });
            Ok(v3_1_1::Suback::builder().packet_id(id).return_codes(codes.collect()).build()?.to_continuous_buffer())
        }
        Level::Five => {
            let codes = granted.iter().map(|granted| match granted {
                Granted::Qos(Qos::AtMostOnce) => SubackReasonCode::GrantedQos0,
                Granted::Qos(Qos::AtLeastOnce) => SubackReasonCode::GrantedQos1,
                Granted::Forbidden => SubackReasonCode::NotAuthorized,
                Granted::BadFilter => SubackReasonCode::TopicFilterInvalid,
                Granted::TooMany => SubackReasonCode::QuotaExceeded,
            });
            Ok(v5_0::Suback::builder().packet_id(id).reason_codes(codes.collect()).build()?.to_continuous_buffer())
        }
    }
}

/// UNSUBACK. `existed`: for each filter, whether it was subscribed to.
pub(super) fn unsuback(level: Level, id: u16, existed: &[bool]) -> Bytes {
    match level {
        Level::Three => Ok(v3_1_1::Unsuback::builder().packet_id(id).build()?.to_continuous_buffer()),
        Level::Five => {
            let codes = existed.iter().map(
                |existed| {
                    if *existed { UnsubackReasonCode::Success } else { UnsubackReasonCode::NoSubscriptionExisted }
                },
            );
            Ok(v5_0::Unsuback::builder().packet_id(id).reason_codes(codes.collect()).build()?.to_continuous_buffer())
        }
    }
}

/// PINGRESP.
pub(super) fn pingresp(level: Level) -> Vec<u8> {
    match level {
        Level::Three => v3_1_1::Pingresp::new().to_continuous_buffer(),
        Level::Five => v5_0::Pingresp::new().to_continuous_buffer(),
    }
}

/// DISCONNECT, for a client of MQTT 5 that is to be notified; `None` where the end of the stream is all.
pub(super) fn disconnect(level: Level, end: End) -> Option<Vec<u8>> {
    // A client of 3.1.1 knows no such packet of a server: it would be a protocol error there.
    if level == Level::Three {
        return None;
    }
    let code = match end {
        End::Goodbye | End::Gone => return None,
        End::Silent => DisconnectReasonCode::KeepAliveTimeout,
        End::Stuck | End::Quota => DisconnectReasonCode::QuotaExceeded,
        End::TakenOver => DisconnectReasonCode::SessionTakenOver,
        End::Revoked => DisconnectReasonCode::AdministrativeAction,
        End::Forbidden => DisconnectReasonCode::NotAuthorized,
        End::MessageRate => DisconnectReasonCode::MessageRateTooHigh,
        End::Stopping => DisconnectReasonCode::ServerShuttingDown,
        End::Unreadable(why) => match why {
            Unreadable::Malformed | Unreadable::Version => DisconnectReasonCode::MalformedPacket,
            Unreadable::Protocol => DisconnectReasonCode::ProtocolError,
            Unreadable::TooLarge => DisconnectReasonCode::PacketTooLarge,
            Unreadable::Qos => DisconnectReasonCode::QosNotSupported,
            Unreadable::Alias => DisconnectReasonCode::TopicAliasInvalid,
            Unreadable::SubscriptionId => DisconnectReasonCode::SubscriptionIdentifiersNotSupported,
        },
    };
    v5_0::Disconnect::builder().reason_code(code).build().ok().map(|packet| packet.to_continuous_buffer())
}
