//! What clients and broker say to each other, whichever version of MQTT carries it.

use std::{sync::Arc, time::Instant};

/// The version of the protocol that a client speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Level {
    /// 3.1.1.
    Three,
    /// 5.
    Five,
}

/// How often a message arrives. Two, exactly once, is not offered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Qos {
    AtMostOnce,
    AtLeastOnce,
}

/// A message on its way through the broker. Its subscribers share it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Publication {
    pub(super) topic: Arc<str>,
    pub(super) payload: Arc<[u8]>,
    pub(super) qos: Qos,
    pub(super) is_retained: bool,
    /// It is worth nothing after this.
    pub(super) expires_at: Option<Instant>,
    /// Properties of MQTT 5 that are passed on as they came. Most messages have none.
    pub(super) properties: Option<Box<Properties>>,
}

/// What a bound on messages counts for each one besides its texts: the structure, and its places in tables.
const PUBLICATION_OVERHEAD_BYTES: usize = 256;

impl Publication {
    /// What it costs to keep: more than its payload.
    pub(super) fn cost_bytes(&self) -> usize {
        let properties = self.properties.as_ref().map_or(0, |properties| properties.cost_bytes());
        PUBLICATION_OVERHEAD_BYTES + self.topic.len() + self.payload.len() + properties
    }

    pub(super) fn has_expired(&self, now: Instant) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// Without the payload: an answer contains a token.
impl std::fmt::Debug for Publication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publication").field("topic", &self.topic).field("bytes", &self.payload.len()).finish_non_exhaustive()
    }
}

/// Properties of a message that its subscribers get as they came.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Properties {
    pub(super) is_text: Option<bool>,
    pub(super) content_type: Option<String>,
    pub(super) response_topic: Option<String>,
    pub(super) correlation: Option<Vec<u8>>,
    pub(super) user: Vec<(String, String)>,
}

/// What a pair of texts costs besides its letters.
const PAIR_OVERHEAD_BYTES: usize = 64;

impl Properties {
    fn cost_bytes(&self) -> usize {
        let texts = [&self.content_type, &self.response_topic].into_iter().flatten().map(String::len).sum::<usize>();
        let user = self.user.iter().map(|(key, value)| PAIR_OVERHEAD_BYTES + key.len() + value.len()).sum::<usize>();
        size_of::<Self>() + texts + self.correlation.as_ref().map_or(0, Vec::len) + user
    }
}

/// A packet of a client.
#[derive(Debug)]
pub(super) enum Incoming {
    Connect(Box<Connect>),
    Publish { publication: Publication, id: Option<u16> },
    Puback { id: u16 },
    Subscribe { id: u16, entries: Vec<Entry> },
    Unsubscribe { id: u16, filters: Vec<String> },
    Pingreq,
    Disconnect { with_will: bool, session_expiry_sec: Option<u32> },
}

/// CONNECT.
#[derive(Debug)]
pub(super) struct Connect {
    pub(super) level: Level,
    pub(super) client_id: String,
    /// No earlier session is to be resumed.
    pub(super) is_clean: bool,
    /// How long the session outlives the connection; 0: not at all.
    pub(super) session_expiry_sec: u32,
    pub(super) keep_alive_sec: u16,
    /// QoS 1 messages that the client takes unacknowledged.
    pub(super) receive_maximum: u16,
    /// The longest packet that the client takes.
    pub(super) packet_bytes_max: u32,
    pub(super) will: Option<Will>,
}

/// What is published when a client is gone without a good-bye.
#[derive(Clone, Debug)]
pub(super) struct Will {
    pub(super) publication: Publication,
    /// How long the message is good for, from its publication on.
    pub(super) expiry_sec: Option<u32>,
    pub(super) delay_sec: u32,
}

/// One filter of a SUBSCRIBE.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) filter: String,
    pub(super) options: Options,
}

/// How a subscription wants its messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Options {
    pub(super) qos: Qos,
    /// Not what this client itself publishes.
    pub(super) no_local: bool,
    /// With the mark as the publisher has set it; otherwise the mark means "kept from before".
    pub(super) retain_as_published: bool,
    pub(super) retained: RetainedFor,
}

/// Who gets the retained messages of a filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RetainedFor {
    Every,
    New,
    Nobody,
}

/// Why a packet can't be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("the packet is malformed")]
    Malformed,
    #[error("the packet is against the protocol")]
    Protocol,
    #[error("the version of the protocol is neither 3.1.1 nor 5")]
    Version,
    #[error("the packet is longer than is taken")]
    TooLarge,
    #[error("QoS 2 is not offered")]
    Qos,
    #[error("the topic alias is not known")]
    Alias,
    #[error("subscription identifiers are not offered")]
    SubscriptionId,
}

/// Why the broker ends a connection. A client of MQTT 5 is notified; one of 3.1.1 sees the end of the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum End {
    /// The client said good-bye.
    #[error("good-bye")]
    Goodbye,
    /// The client left, or the network did.
    #[error("the connection ended")]
    Gone,
    #[error("silent for one and a half keep-alives")]
    Silent,
    #[error("the client takes nothing")]
    Stuck,
    #[error("another connection of the client has taken over")]
    TakenOver,
    #[error("the certificate or its device was revoked, replaced or has expired")]
    Revoked,
    #[error("too many forbidden topics")]
    Forbidden,
    #[error("too many messages or packets")]
    MessageRate,
    #[error("too many bytes")]
    Quota,
    #[error("the broker is stopping")]
    Stopping,
    #[error("{0}")]
    Unreadable(#[from] Unreadable),
}

/// What a client's CONNECT is answered with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    Accepted,
    BadClientId,
    Forbidden,
    Unavailable,
    TooOften,
    Version,
}

/// What became of a client's message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Taken {
    Yes,
    Forbidden,
    /// It could not be written down, so it was not passed on.
    NotStored,
}

/// One filter's outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Granted {
    Qos(Qos),
    Forbidden,
    BadFilter,
    TooMany,
}

/// What the broker tells a client of MQTT 5 in its CONNACK.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Terms {
    pub(super) has_session: bool,
    pub(super) session_expiry_sec: Option<u32>,
    pub(super) keep_alive_sec: Option<u16>,
    pub(super) client_id: Option<String>,
}

/// A message for one client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Delivery {
    pub(super) publication: Arc<Publication>,
    pub(super) is_retained: bool,
    /// Of QoS 1.
    pub(super) id: Option<u16>,
    /// It was sent before.
    pub(super) is_again: bool,
}
