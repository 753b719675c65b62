//! The device's MQTT client: 3.1.1 over TLS with a client certificate, on a task of its own. It comes back by itself.

use mqtt_protocol_core::mqtt::{
    self,
    packet::{Packet, Qos, SubEntry, SubOpts, v3_1_1},
    prelude::*,
};
use sightline_signal::{DeviceId, ErrorCode, Online, topic::Topic};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
};
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::cloud::{
    link,
    outbox::{Outbox, Outgoing},
    renewal::Renewal,
};
use crate::optional::when_some;
use sightline_capture::tls;

/// Messages from the broker that may wait for the agent.
const INCOMING_WAITING_MAX: usize = 32;
/// The first delay after a failure, and the longest.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// For TCP, TLS and CONNACK together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For the last messages before the end.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);
/// Acknowledgements that may be outstanding: AWS IoT's limit is 100, mosquitto's default 20.
const UNACKNOWLEDGED_MAX: usize = 16;

/// Without these a device can't stream.
const NEEDED_TOPICS: [Topic; 2] = [Topic::Response, Topic::Command];

/// From the broker.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// Connected and subscribed.
    Up,
    /// There is no connection, and trying again may not help.
    Down(ErrorCode),
    /// A message on one of the device's topics.
    Message(Topic, Vec<u8>),
}

/// The agent's end.
pub(crate) struct Mqtt {
    pub(crate) incoming: mpsc::Receiver<Incoming>,
    outbox: Outbox,
    is_up: Arc<AtomicBool>,
}

impl Mqtt {
    /// Hands a message over.
    pub(crate) fn publish(&self, message: Outgoing) {
        self.outbox.push(message);
    }

    /// Whether the broker takes messages now.
    pub(crate) fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }
}

/// Where and as whom to connect.
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) device: DeviceId,
    pub(crate) keep_alive_sec: u16,
    /// Settings from afar are listened for.
    pub(crate) takes_settings: bool,
    /// Set while the broker takes messages.
    pub(crate) is_up: Arc<AtomicBool>,
    /// Its certificate is renewed by this connection.
    pub(crate) renews: bool,
    pub(crate) tls: Arc<rustls::ClientConfig>,
}

impl Address {
    /// Topics that a device can do without: a broker of others may refuse them.
    fn wished_topics(&self) -> impl Iterator<Item = Topic> {
        let settings = self.takes_settings.then_some(Topic::ConfigDesired);
        settings.into_iter().chain(self.renews.then_some(Topic::CertificateResponse))
    }
}

/// The retained message that says whether the device is there.
fn presence(online: bool) -> Vec<u8> {
    serde_json::to_vec(&Online { online }).unwrap_or_default()
}

/// `mqtts://host[:port]`.
pub(crate) fn parse_url(url: &str) -> Result<(String, u16), BrokerUrlError> {
    let rest = url.strip_prefix("mqtts://").ok_or(BrokerUrlError::Scheme)?;
    if rest.contains('@') {
        return Err(BrokerUrlError::UserInfo);
    }
    let rest = rest.trim_end_matches('/');
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !port.ends_with(']') => (host, port.parse().map_err(|_| BrokerUrlError::Port)?),
        _ => (rest, PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() { Err(BrokerUrlError::NoHost) } else { Ok((host.to_owned(), port)) }
}

/// The port of MQTT over TLS, where the URL names none.
const PORT: u16 = 8883;

/// Why a broker's URL can't be used. None repeats the URL: it may hold a password.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum BrokerUrlError {
    #[error("it does not begin with mqtts://: MQTT is spoken over TLS only")]
    Scheme,
    #[error("it holds a user: take user and password out, a device proves itself by mqtt.cert and mqtt.key")]
    UserInfo,
    #[error("its port is no number from 0 to 65535")]
    Port,
    #[error("it names no host")]
    NoHost,
}

/// Why one connection to the broker ended.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the broker does not answer")]
    Silent,
    #[error("{0}")]
    Ended(String),
}

/// Starts the client. It ends, with a goodbye, when `stop` is cancelled and what was handed over has gone out.
pub(crate) fn start(address: Address, renewal: Option<Renewal>, tasks: &tokio_util::task::TaskTracker, stop: CancellationToken) -> Mqtt {
    let (outbox, (incoming_sender, incoming)) = (Outbox::default(), mpsc::channel(INCOMING_WAITING_MAX));
    let is_up = Arc::clone(&address.is_up);
    tasks.spawn(run(address, renewal, outbox.clone(), incoming_sender, stop).in_current_span());
    Mqtt { incoming, outbox, is_up }
}

/// Why a connection to the broker is not there, or ended.
struct Trouble {
    /// Where it says more than that the network is away.
    code: Option<ErrorCode>,
    message: String,
}

impl Trouble {
    fn tell(&self, address: &Address, incoming: &mpsc::Sender<Incoming>, what: &str) {
        address.is_up.store(false, Ordering::Relaxed);
        let (code, error) = (self.code.map(ErrorCode::as_str), &self.message);
        tracing::warn!(code, error, host = address.host, port = address.port, "{what}");
        if let Some(code) = self.code {
            // A full queue means that the agent hangs: it is notified at the next try.
            let _ = incoming.try_send(Incoming::Down(code));
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        // TLS says what it failed at; all else is the network.
        let is_tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
        Self { code: is_tls.then(|| link::tls_code(&error)), message: link::tls_words(&error) }
    }
}

impl From<link::DialError> for Trouble {
    fn from(error: link::DialError) -> Self {
        let code = Some(error.code).filter(|code| *code == ErrorCode::DnsFailed);
        // The code is for RTMP's side of the house.
        Self { code, message: error.message }
    }
}

impl From<String> for Trouble {
    fn from(message: String) -> Self {
        Self { code: None, message }
    }
}

impl From<&str> for Trouble {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

async fn run(
    mut address: Address,
    mut renewal: Option<Renewal>,
    outbox: Outbox,
    incoming: mpsc::Sender<Incoming>,
    stop: CancellationToken,
) {
    let mut delay = RETRY_FIRST;
    loop {
        let began = tokio::time::Instant::now();
        if let Some(renewal) = &renewal {
            address.tls = renewal.tls();
        }
        let connected = tokio::select! {
            connected = tokio::time::timeout(CONNECT_TIMEOUT, Connection::open(&address)) => connected,
            () = stop.cancelled() => return,
        };
        match connected {
            Ok(Ok(connection)) => match connection.serve(&address, &mut renewal, &outbox, &incoming, &stop).await {
                Ok(()) => return,
                Err(error) => error.tell(&address, &incoming, "the connection to the broker ended"),
            },
            Ok(Err(error)) => error.tell(&address, &incoming, "no connection to the broker"),
            Err(_) => tracing::warn!(host = address.host, port = address.port, "the broker does not answer"),
        }
        if began.elapsed() > RETRY_MAX {
            delay = RETRY_FIRST;
        }
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = stop.cancelled() => return,
        }
        delay = (delay * 2).min(RETRY_MAX);
    }
}

/// One connection, without a second try: until `stop` is cancelled, with a goodbye, or until it ends, with the reason.
pub(crate) async fn serve_once(
    address: &Address,
    outbox: &Outbox,
    incoming: mpsc::Sender<Incoming>,
    stop: &CancellationToken,
) -> Result<(), Broken> {
    let ended = |trouble: Trouble| Broken::Ended(trouble.message);
    let connection = tokio::time::timeout(CONNECT_TIMEOUT, Connection::open(address)).await;
    let connection = connection.map_err(|_| Broken::Silent)?.map_err(ended)?;
    connection.serve(address, &mut None, outbox, &incoming, stop).await.map_err(ended)
}

type Core = mqtt::Connection<mqtt::role::Client>;
type Event = mqtt::connection::Event;

/// One connection to the broker.
struct Connection {
    core: Core,
    stream: TlsStream<TcpStream>,
    unacknowledged: usize,
    is_subscribed: bool,
    /// `certificate/response`, for the one that renews.
    certificate_answer: Option<Vec<u8>>,
    /// The cloud's clock, as its newest answer had it.
    server_time: Option<i64>,
}

impl Connection {
    async fn open(address: &Address) -> Result<Self, Trouble> {
        let stream = link::connect(&address.host, address.port).await?;
        let _ = stream.set_nodelay(true);
        let stream = tls::handshake(stream, &address.host, address.tls.clone()).await?;
        let mut core = Core::new(mqtt::Version::V3_1_1);
        core.set_auto_pub_response(true);
        let mut connection = Self { core, stream, unacknowledged: 0, is_subscribed: false, certificate_answer: None, server_time: None };
        let will = (Topic::Online.of(&address.device), presence(false));
        let connect = v3_1_1::Connect::builder()
            .client_id(address.device.as_str())
            .and_then(|builder| {
                builder.clean_session(true).keep_alive(address.keep_alive_sec).will_message(will.0.as_str(), will.1, Qos::AtLeastOnce, true)
            })
            .and_then(|builder| builder.build())
            .map_err(|error| format!("CONNECT: {error:?}"))?;
        let events = connection.core.checked_send(connect);
        connection.obey(events).await?;
        Ok(connection)
    }

    /// Runs until the end of the connection (an error), or of the process (a goodbye).
    async fn serve(
        mut self,
        address: &Address,
        renewal: &mut Option<Renewal>,
        outbox: &Outbox,
        incoming: &mpsc::Sender<Incoming>,
        stop: &CancellationToken,
    ) -> Result<(), Trouble> {
        let mut buffer = vec![0; 8 * 1024];
        let mut alive = tokio::time::interval(Duration::from_secs(u64::from(address.keep_alive_sec.max(2)) / 2));
        let mut last_read = tokio::time::Instant::now();
        loop {
            let can_send = self.is_subscribed && self.unacknowledged < UNACKNOWLEDGED_MAX;
            tokio::select! {
                read = self.stream.read(&mut buffer) => {
                    let read = read?;
                    if read == 0 {
                        return Err("closed by the broker".into());
                    }
                    last_read = tokio::time::Instant::now();
                    self.receive(&buffer[..read], address, incoming).await?;
                    if let Some(renewal) = renewal {
                        self.hand_over(renewal).await;
                    }
                }
                () = when_some(renewal.as_ref().map(Renewal::due)), if can_send => {
                    if let Some(request) = renewal.as_mut().and_then(Renewal::look) {
                        self.publish(&address.device, request).await?;
                    }
                }
                message = outbox.next(), if can_send => self.publish(&address.device, message).await?,
                _ = alive.tick() => {
                    if last_read.elapsed() > Duration::from_secs(u64::from(address.keep_alive_sec) * 2) {
                        return Err("no sign of life from the broker".into());
                    }
                    if self.is_subscribed {
                        let events = self.core.checked_send(v3_1_1::Pingreq::new());
                        self.obey(events).await?;
                    }
                }
                () = stop.cancelled() => {
                    let _ = tokio::time::timeout(GOODBYE_TIMEOUT, self.say_goodbye(address, outbox, incoming)).await;
                    return Ok(());
                }
            }
        }
    }

    /// What has come for the device's certificate.
    async fn hand_over(&mut self, renewal: &mut Renewal) {
        if let Some(server_time) = self.server_time.take() {
            renewal.note_cloud_time(server_time);
        }
        if let Some(answer) = self.certificate_answer.take() {
            renewal.answer(&answer).await;
        }
    }

    /// Everything that waits, then offline, then DISCONNECT, which takes the will back.
    async fn say_goodbye(&mut self, address: &Address, outbox: &Outbox, incoming: &mpsc::Sender<Incoming>) -> Result<(), Trouble> {
        while let Some(message) = outbox.try_next() {
            self.publish(&address.device, message).await?;
        }
        self.publish(&address.device, Outgoing::retained(Topic::Online, presence(false))).await?;
        let mut buffer = vec![0; 8 * 1024];
        while self.unacknowledged > 0 {
            let read = self.stream.read(&mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            self.receive(&buffer[..read], address, incoming).await?;
        }
        let events = self.core.checked_send(v3_1_1::Disconnect::new());
        self.obey(events).await?;
        self.stream.shutdown().await.map_err(Trouble::from)
    }

    async fn publish(&mut self, device: &DeviceId, message: Outgoing) -> Result<(), Trouble> {
        let id = self.core.acquire_packet_id().map_err(|error| format!("packet id: {error:?}"))?;
        let publish = v3_1_1::Publish::builder()
            .topic_name(message.topic.of(device).as_str())
            .map(|builder| builder.qos(Qos::AtLeastOnce).retain(message.retain).packet_id(id).payload(message.payload))
            .and_then(|builder| builder.build())
            .map_err(|error| format!("PUBLISH: {error:?}"))?;
        self.unacknowledged += 1;
        let events = self.core.checked_send(publish);
        self.obey(events).await.map(|_| ())
    }

    /// Carries out what the protocol core asks for where it needs no one else.
    async fn obey(&mut self, events: Vec<Event>) -> Result<Vec<Packet>, Trouble> {
        let mut packets = Vec::new();
        for event in events {
            match event {
                Event::RequestSendPacket { packet, .. } => {
                    self.stream.write_all(&packet.to_continuous_buffer()).await?;
                }
                Event::NotifyPacketReceived(packet) => packets.push(packet),
                Event::NotifyError(error) => return Err(format!("protocol: {error:?}").into()),
                Event::RequestClose => return Err("protocol: close".into()),
                // Our own interval pings; nothing waits for a packet id.
                Event::NotifyPacketIdReleased(_) | Event::RequestTimerReset { .. } | Event::RequestTimerCancel(_) => {}
            }
        }
        self.stream.flush().await?;
        Ok(packets)
    }

    async fn receive(&mut self, bytes: &[u8], address: &Address, incoming: &mpsc::Sender<Incoming>) -> Result<(), Trouble> {
        let mut cursor = mqtt::common::Cursor::new(bytes);
        while (cursor.position() as usize) < bytes.len() {
            let events = self.core.recv(&mut cursor);
            for packet in self.obey(events).await? {
                self.take(packet, address, incoming).await?;
            }
        }
        Ok(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "a client cares for five of MQTT's thirty packets")]
    async fn take(&mut self, packet: Packet, address: &Address, incoming: &mpsc::Sender<Incoming>) -> Result<(), Trouble> {
        match packet {
            Packet::V3_1_1Connack(answer) => {
                let code = answer.return_code();
                if code != mqtt::result_code::ConnectReturnCode::Accepted {
                    let is_busy = code == mqtt::result_code::ConnectReturnCode::ServerUnavailable;
                    let reported = if is_busy { ErrorCode::ServerOverloaded } else { ErrorCode::Unauthorized };
                    return Err(Trouble { code: Some(reported), message: format!("the broker refuses this device: {code:?}") });
                }
                self.subscribe(address).await?;
            }
            Packet::V3_1_1Suback(answer) => {
                let is_refused = |code: &mqtt::result_code::SubackReturnCode| *code == mqtt::result_code::SubackReturnCode::Failure;
                let codes = answer.return_codes();
                for (topic, _) in address.wished_topics().zip(codes.iter().skip(NEEDED_TOPICS.len())).filter(|(_, code)| is_refused(code)) {
                    tracing::warn!(topic = topic.suffix(), "the broker refuses a topic of this device: what goes by it does not reach it");
                }
                if codes.iter().take(NEEDED_TOPICS.len()).any(is_refused) {
                    return Err(Trouble {
                        code: Some(ErrorCode::Unauthorized),
                        message: "the broker refuses this device's own topics".to_owned(),
                    });
                }
                self.is_subscribed = true;
                address.is_up.store(true, Ordering::Relaxed);
                self.publish(&address.device, Outgoing::retained(Topic::Online, presence(true))).await?;
                tracing::info!(host = address.host, port = address.port, "connected to the broker");
                let _ = incoming.try_send(Incoming::Up);
            }
            Packet::V3_1_1Puback(_) => self.unacknowledged = self.unacknowledged.saturating_sub(1),
            // One that was meant for another day: it would be carried out at each connection (arendst/Tasmota#2336).
            Packet::V3_1_1Publish(message)
                if message.retain() && Topic::parse(message.topic_name()).is_some_and(|(_, topic)| topic == Topic::Command) =>
            {
                tracing::warn!(
                    "the broker keeps a command (a retained message on stream/command): it is passed over; remove it from the broker"
                );
            }
            Packet::V3_1_1Publish(message) => {
                if let Some((device, topic)) = Topic::parse(message.topic_name())
                    && device == address.device
                    && !self.keeps(topic, message.payload().as_slice())
                    && incoming.try_send(Incoming::Message(topic, message.payload().as_slice().to_vec())).is_err()
                {
                    tracing::warn!(topic = topic.suffix(), "no room for a message from the cloud");
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether a message is for this task alone; of others it keeps what it needs.
    fn keeps(&mut self, topic: Topic, payload: &[u8]) -> bool {
        if topic == Topic::Response {
            let answer = serde_json::from_slice::<sightline_signal::Response>(payload);
            self.server_time = answer.ok().and_then(|answer| answer.server_time).or(self.server_time);
        }
        let is_certificate = topic == Topic::CertificateResponse;
        if is_certificate {
            self.certificate_answer = Some(payload.to_vec());
        }
        is_certificate
    }

    async fn subscribe(&mut self, address: &Address) -> Result<(), Trouble> {
        let id = self.core.acquire_packet_id().map_err(|error| format!("packet id: {error:?}"))?;
        let entries: Result<Vec<_>, _> = NEEDED_TOPICS
            .into_iter()
            .chain(address.wished_topics())
            .map(|topic| SubEntry::new(topic.of(&address.device).as_str(), SubOpts::new().set_qos(Qos::AtLeastOnce)))
            .collect();
        let subscribe = entries
            .and_then(|entries| v3_1_1::Subscribe::builder().packet_id(id).entries(entries).build())
            .map_err(|error| format!("SUBSCRIBE: {error:?}"))?;
        let events = self.core.checked_send(subscribe);
        self.obey(events).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broker_urls() {
        assert_eq!(parse_url("mqtts://a.example").unwrap(), ("a.example".into(), 8883));
        assert_eq!(parse_url("mqtts://127.0.0.1:1234/").unwrap(), ("127.0.0.1".into(), 1234));
        assert_eq!(parse_url("mqtts://[::1]:9").unwrap(), ("::1".into(), 9));
        for wrong in ["mqtt://a", "mqtts://", "mqtts://a:x"] {
            assert!(parse_url(wrong).is_err(), "{wrong}");
        }
    }
}
