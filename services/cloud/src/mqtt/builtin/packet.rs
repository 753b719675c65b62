//! A message of the cloud as the library's packet.

use crate::mqtt::downlink::Message;
use mqtt5::{QoS, packet::publish::PublishPacket};
use sightline_signal::DeviceId;

/// A message as a packet of the cloud.
pub(super) fn packet_of(device: &DeviceId, message: Message) -> PublishPacket {
    let topic = message.topic.of(device);
    let mut packet = PublishPacket::new(topic.as_str(), message.payload, QoS::AtLeastOnce).with_retain(message.is_retained);
    if let Some(expiry_sec) = message.expiry_sec {
        packet = packet.with_message_expiry_interval(expiry_sec);
    }
    if let Some(correlation) = message.correlation {
        packet.properties.set_correlation_data(correlation.into());
    }
    packet
}
