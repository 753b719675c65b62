//! Bytes of a client to packets.
//!
//! The packets of `mqtt-protocol-core` are used, not its `Connection`: as a server that one panics at a CONNECT with a Topic Alias
//! Maximum of 0, which MQTT 5 allows, and counts below zero at the acknowledgement of a message that was sent again. What it would
//! check of a server's connection is checked here and in `connection.rs`.

use super::{
    packet::{Connect, Entry, Incoming, Level, Options, Properties, Publication, Qos, RetainedFor, Unreadable, Will},
    topics,
};
use mqtt_protocol_core::mqtt::{
    packet::{self, DecodeResult, Property, VariableByteInteger, v3_1_1, v5_0},
    result_code::{DisconnectReasonCode, MqttError},
};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// The longest packet of a client that is connected: a JPEG snapshot of a 4K camera and some.
pub(super) const PACKET_BYTES_MAX: usize = 1 << 20;
/// The longest CONNECT: a will of 16 bits of length, and some names.
const CONNECT_BYTES_MAX: usize = 96 << 10;
/// Topic aliases of one connection (MQTT 5): a device publishes on fewer topics.
pub(super) const TOPIC_ALIASES_MAX: u16 = 16;

/// Reads one connection's packets.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// Known since CONNECT.
    level: Option<Level>,
    aliases: HashMap<u16, Arc<str>>,
}

impl Decoder {
    /// Takes the first packet off `bytes`: the packet and its length; `None` while it is not whole.
    pub(super) fn next(&mut self, bytes: &[u8], now: Instant) -> Result<Option<(Incoming, usize)>, Unreadable> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let (length, prefix) = match VariableByteInteger::decode_stream(&bytes[1..bytes.len().min(5)]) {
            DecodeResult::Ok(length, prefix) => (length.to_u32() as usize, 1 + prefix),
            DecodeResult::Incomplete if bytes.len() < 5 => return Ok(None),
            DecodeResult::Incomplete | DecodeResult::Err(_) => return Err(Unreadable::Malformed),
        };
        let end = prefix + length;
        // Before it is waited for, and before it takes memory.
        if end > if self.level.is_some() { PACKET_BYTES_MAX } else { CONNECT_BYTES_MAX } {
            return Err(Unreadable::TooLarge);
        }
        let Some(body) = bytes.get(prefix..end) else { return Ok(None) };
        let packet = match self.level {
            None => self.connect(first, body)?,
            Some(level) => self.packet(level, first, body, now)?,
        };
        Ok(Some((packet, end)))
    }

    fn connect(&mut self, first: u8, body: &[u8]) -> Result<Incoming, Unreadable> {
        if first != 0x10 {
            return Err(Unreadable::Protocol);
        }
        // The protocol's name and version, then the flags.
        let (name, rest) = body.split_at_checked(6).ok_or(Unreadable::Malformed)?;
        let (&[version, flags], _) = rest.split_first_chunk().ok_or(Unreadable::Malformed)?;
        if name != [0, 4, b'M', b'Q', b'T', b'T'] {
            return Err(if body.starts_with(b"\x00\x06MQIsdp") { Unreadable::Version } else { Unreadable::Protocol });
        }
        check_flags(flags)?;
        let connect = match version {
            4 => connect_3(&exact(v3_1_1::Connect::parse(body), body)?),
            5 => connect_5(&exact(v5_0::Connect::parse(body), body)?)?,
            _ => return Err(Unreadable::Version),
        };
        topics::check_text(&connect.client_id)?;
        if let Some(will) = &connect.will {
            topics::check_name(&will.publication.topic)?;
        }
        self.level = Some(connect.level);
        Ok(Incoming::Connect(Box::new(connect)))
    }

    fn packet(&mut self, level: Level, first: u8, body: &[u8], now: Instant) -> Result<Incoming, Unreadable> {
        let (kind, flags) = (first >> 4, first & 0x0f);
        if kind != 3 && flags != if matches!(kind, 6 | 8 | 10) { 2 } else { 0 } {
            return Err(Unreadable::Malformed);
        }
        match kind {
            3 => self.publish(level, flags, body, now),
            4 => {
                let id = match level {
                    Level::Three => exact(v3_1_1::Puback::parse(body), body)?.packet_id(),
                    Level::Five => exact(v5_0::Puback::parse(body), body)?.packet_id(),
                };
                Ok(Incoming::Puback { id })
            }
            8 => subscribe(level, body),
            10 => {
                let (id, filters) = match level {
                    Level::Three => {
                        let packet = exact(v3_1_1::Unsubscribe::parse(body), body)?;
                        (packet.packet_id(), texts(packet.entries()))
                    }
                    Level::Five => {
                        let packet = exact(v5_0::Unsubscribe::parse(body), body)?;
                        (packet.packet_id(), texts(packet.entries()))
                    }
                };
                Ok(Incoming::Unsubscribe { id: non_zero(id)?, filters })
            }
            12 if body.is_empty() => Ok(Incoming::Pingreq),
            14 => disconnect(level, body),
            // CONNECT again, what only servers send, QoS 2's packets, AUTH.
            _ => Err(Unreadable::Protocol),
        }
    }

    fn publish(&mut self, level: Level, flags: u8, body: &[u8], now: Instant) -> Result<Incoming, Unreadable> {
        let qos = match flags >> 1 & 3 {
            0 => Qos::AtMostOnce,
            1 => Qos::AtLeastOnce,
            2 => return Err(Unreadable::Qos),
            _ => return Err(Unreadable::Malformed),
        };
        let (is_retained, shared) = (flags & 1 != 0, Arc::<[u8]>::from(body));
        let (id, publication) = match level {
            Level::Three => {
                let (packet, _) = v3_1_1::Publish::parse(flags, shared).map_err(reason)?;
                topics::check_name(packet.topic_name())?;
                let (topic, payload) = (packet.topic_name().into(), packet.payload().as_slice().into());
                (packet.packet_id(), Publication { topic, payload, qos, is_retained, expires_at: None, properties: None })
            }
            Level::Five => {
                let (packet, _) = v5_0::Publish::parse(flags, shared).map_err(reason)?;
                let (properties, found) = properties(packet.props());
                let topic = self.topic(packet.topic_name(), found.alias)?;
                if let Some(topic) = &properties.response_topic {
                    topics::check_name(topic)?;
                }
                let expires_at = found.expiry_sec.map(|seconds| now + Duration::from_secs(u64::from(seconds)));
                let properties = (properties != Properties::default()).then(|| Box::new(properties));
                let payload = packet.payload().as_slice().into();
                (packet.packet_id(), Publication { topic, payload, qos, is_retained, expires_at, properties })
            }
        };
        Ok(Incoming::Publish { publication, id: id.map(non_zero).transpose()? })
    }

    /// The topic, from the packet or from the alias that an earlier one has given it.
    fn topic(&mut self, name: &str, alias: Option<u16>) -> Result<Arc<str>, Unreadable> {
        // A long name is none of ours, and would only fill the memory.
        if alias.is_some_and(|alias| alias == 0 || alias > TOPIC_ALIASES_MAX || name.len() > topics::TOPIC_BYTES_MAX) {
            return Err(Unreadable::Alias);
        }
        if name.is_empty() {
            return alias.and_then(|alias| self.aliases.get(&alias)).cloned().ok_or(Unreadable::Alias);
        }
        topics::check_name(name)?;
        let name: Arc<str> = name.into();
        if let Some(alias) = alias {
            self.aliases.insert(alias, Arc::clone(&name));
        }
        Ok(name)
    }
}

/// The parsed packet, if it is all of its body.
fn exact<T>(parsed: Result<(T, usize), MqttError>, body: &[u8]) -> Result<T, Unreadable> {
    let (packet, length) = parsed.map_err(reason)?;
    if length == body.len() { Ok(packet) } else { Err(Unreadable::Malformed) }
}

fn reason(error: MqttError) -> Unreadable {
    if error == MqttError::ProtocolError { Unreadable::Protocol } else { Unreadable::Malformed }
}

fn non_zero(id: u16) -> Result<u16, Unreadable> {
    if id == 0 { Err(Unreadable::Malformed) } else { Ok(id) }
}

fn texts(entries: &[packet::MqttString]) -> Vec<String> {
    entries.iter().map(|entry| entry.as_str().to_owned()).collect()
}

/// The flags of CONNECT: the library reads each for itself.
fn check_flags(flags: u8) -> Result<(), Unreadable> {
    let (has_will, will_qos) = (flags & 0x04 != 0, flags >> 3 & 3);
    let is_bad = flags & 1 != 0 || will_qos == 3 || !has_will && flags & 0x38 != 0;
    if is_bad {
        Err(Unreadable::Malformed)
    } else if will_qos == 2 {
        Err(Unreadable::Qos)
    } else {
        Ok(())
    }
}

fn connect_3(packet: &v3_1_1::Connect) -> Connect {
    let will = packet.will_topic().map(|topic| Will {
        publication: Publication {
            topic: topic.into(),
            payload: packet.will_payload().unwrap_or_default().into(),
            qos: qos_of(packet.will_qos()),
            is_retained: packet.will_retain(),
            expires_at: None,
            properties: None,
        },
        expiry_sec: None,
        delay_sec: 0,
    });
    Connect {
        level: Level::Three,
        client_id: packet.client_id().to_owned(),
        is_clean: packet.clean_session(),
        session_expiry_sec: if packet.clean_session() { 0 } else { u32::MAX },
        keep_alive_sec: packet.keep_alive(),
        receive_maximum: u16::MAX,
        packet_bytes_max: u32::MAX,
        will,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a broker cares for a few of MQTT's properties")]
fn connect_5(packet: &v5_0::Connect) -> Result<Connect, Unreadable> {
    let (mut session_expiry_sec, mut receive_maximum, mut packet_bytes_max) = (0, u16::MAX, u32::MAX);
    for property in packet.props() {
        match property {
            Property::SessionExpiryInterval(value) => session_expiry_sec = value.val(),
            Property::ReceiveMaximum(value) => receive_maximum = value.val(),
            Property::MaximumPacketSize(value) => packet_bytes_max = value.val(),
            // There is one way to prove who one is: the certificate.
            Property::AuthenticationMethod(_) => return Err(Unreadable::Protocol),
            _ => {}
        }
    }
    if receive_maximum == 0 || packet_bytes_max == 0 {
        return Err(Unreadable::Protocol);
    }
    let will = packet.will_topic().map(|topic| {
        let (properties, found) = properties(packet.will_props());
        let publication = Publication {
            topic: topic.into(),
            payload: packet.will_payload().unwrap_or_default().into(),
            qos: qos_of(packet.will_qos()),
            is_retained: packet.will_retain(),
            expires_at: None,
            properties: (properties != Properties::default()).then(|| Box::new(properties)),
        };
        Will { publication, expiry_sec: found.expiry_sec, delay_sec: found.delay_sec }
    });
    Ok(Connect {
        level: Level::Five,
        client_id: packet.client_id().to_owned(),
        is_clean: packet.clean_start(),
        session_expiry_sec,
        keep_alive_sec: packet.keep_alive(),
        receive_maximum,
        packet_bytes_max,
        will,
    })
}

fn qos_of(qos: packet::Qos) -> Qos {
    if qos == packet::Qos::AtMostOnce { Qos::AtMostOnce } else { Qos::AtLeastOnce }
}

/// What of a message's properties is for the broker.
#[derive(Default)]
struct Found {
    alias: Option<u16>,
    expiry_sec: Option<u32>,
    delay_sec: u32,
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a broker cares for a few of MQTT's properties")]
fn properties(list: &[Property]) -> (Properties, Found) {
    let (mut properties, mut found) = (Properties::default(), Found::default());
    for property in list {
        match property {
            Property::PayloadFormatIndicator(value) => properties.is_text = Some(value.val() == packet::PayloadFormat::String as u8),
            Property::ContentType(value) => properties.content_type = Some(value.val().to_owned()),
            Property::ResponseTopic(value) => properties.response_topic = Some(value.val().to_owned()),
            Property::CorrelationData(value) => properties.correlation = Some(value.val().to_vec()),
            Property::UserProperty(value) => properties.user.push((value.key().to_owned(), value.val().to_owned())),
            Property::TopicAlias(value) => found.alias = Some(value.val()),
            Property::MessageExpiryInterval(value) => found.expiry_sec = Some(value.val()),
            Property::WillDelayInterval(value) => found.delay_sec = value.val(),
            _ => {}
        }
    }
    (properties, found)
}

fn subscribe(level: Level, body: &[u8]) -> Result<Incoming, Unreadable> {
    let (id, entries) = match level {
        Level::Three => {
            let packet = exact(v3_1_1::Subscribe::parse(body), body)?;
            (packet.packet_id(), packet.entries().iter().map(|entry| entry_of(level, entry)).collect())
        }
        Level::Five => {
            let packet = exact(v5_0::Subscribe::parse(body), body)?;
            if packet.props().iter().any(|property| matches!(property, Property::SubscriptionIdentifier(_))) {
                return Err(Unreadable::SubscriptionId);
            }
            (packet.packet_id(), packet.entries().iter().map(|entry| entry_of(level, entry)).collect())
        }
    };
    Ok(Incoming::Subscribe { id: non_zero(id)?, entries })
}

fn entry_of(level: Level, entry: &packet::SubEntry) -> Entry {
    let (wanted, is_five) = (entry.sub_opts(), level == Level::Five);
    let retained = match wanted.rh() {
        packet::RetainHandling::DoNotSendRetained if is_five => RetainedFor::Nobody,
        packet::RetainHandling::SendRetainedIfNotExists if is_five => RetainedFor::New,
        packet::RetainHandling::SendRetained
        | packet::RetainHandling::SendRetainedIfNotExists
        | packet::RetainHandling::DoNotSendRetained => RetainedFor::Every,
    };
    let options = Options {
        // Two is granted as one: SUBACK says so.
        qos: qos_of(wanted.qos()),
        no_local: is_five && wanted.nl(),
        retain_as_published: is_five && wanted.rap(),
        retained,
    };
    Entry { filter: entry.topic_filter().to_owned(), options }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a broker cares for a few of MQTT's properties")]
fn disconnect(level: Level, body: &[u8]) -> Result<Incoming, Unreadable> {
    if level == Level::Three {
        return if body.is_empty() {
            Ok(Incoming::Disconnect { with_will: false, session_expiry_sec: None })
        } else {
            Err(Unreadable::Malformed)
        };
    }
    let packet = exact(v5_0::Disconnect::parse(body), body)?;
    let session_expiry_sec = packet.props().iter().flatten().find_map(|property| match property {
        Property::SessionExpiryInterval(value) => Some(value.val()),
        _ => None,
    });
    // Only a normal end takes the will back.
    let with_will = packet.reason_code().is_some_and(|code| code != DisconnectReasonCode::NormalDisconnection);
    Ok(Incoming::Disconnect { with_will, session_expiry_sec })
}
