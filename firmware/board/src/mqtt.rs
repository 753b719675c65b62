//! MQTT 5 over the network's first connection: what the pusher says goes out, what the cloud says goes in.

use core::{cell::RefCell, convert::Infallible, future::poll_fn, task::Poll};
use embassy_futures::{
    poll_once,
    select::{Either, select},
};
use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use minimq::{
    Buffers, ConfigBuilder, ConfigError, Connection, Error, Op, PeerError, PubError, Publication, QoS, Session, SubscriptionOptions,
    TopicFilter, Will,
};
use sightline_media::Instant;
use sightline_pusher::{FromDevice, Input, ToDevice};
use sightline_signal::{Command, DEVICE_ID_BYTES_MAX, DeviceId, ErrorCode, Online, Response, json, topic::TOPIC_BYTES_MAX, topic::Topic};
use smoltcp::wire::Ipv4Address;

use crate::{
    Board, Brain,
    network::{Card, MQTT_SEND_BYTES, Network, Which},
};

/// The longest packet in: an answer with three servers and a token. The broker knows it, and a longer one ends the connection.
const PACKET_IN_BYTES_MAX: usize = 1536;
/// The longest message out: `stream_started` with a server's URL of 192 bytes has 514 when all its figures are as long as they can be.
const MESSAGE_OUT_BYTES_MAX: usize = 520;
/// PUBLISH without its message: the fixed header, the topic and its length, the packet's number, no properties.
const PUBLISH_HEAD_BYTES_MAX: usize = 5 + 2 + TOPIC_BYTES_MAX + 2 + 1;
/// CONNECT: headers, lengths and properties, the device's id, and the will with its topic. minimq keeps room for another one as long as it is connected.
const CONNECT_BYTES_MAX: usize = 36 + DEVICE_ID_BYTES_MAX + "devices//online".len() + DEVICE_ID_BYTES_MAX + Online::OFFLINE_JSON.len();
const PACKETS_OUT_BYTES: usize = CONNECT_BYTES_MAX + PUBLISH_HEAD_BYTES_MAX + MESSAGE_OUT_BYTES_MAX;
const _: () = assert!(PACKETS_OUT_BYTES <= MQTT_SEND_BYTES, "a packet must fit into a connection that is empty: see at_once");
const KEEP_ALIVE_SECS: u16 = 20;
/// Between two tries to reach a broker.
const RETRY_MICROS: u64 = 3_000_000;
/// For TCP, and for the broker's answers.
const ANSWER_MICROS: u64 = 10_000_000;

/// What waits to be published: one message, so that the pusher keeps the others, and the newest where only the newest matters. It stays until the broker has
/// acknowledged it: what is lost with a connection is published again over the next.
#[derive(Default)]
pub(crate) struct Outgoing {
    pub(crate) message: Option<FromDevice>,
}

/// The packets that are read and written: minimq's memory, but for its state of 700 bytes, which lies on the stack of the loop.
pub(crate) struct Packets {
    incoming: [u8; PACKET_IN_BYTES_MAX],
    outgoing: [u8; PACKETS_OUT_BYTES],
}

impl Packets {
    pub(crate) const NONE: Self = Self { incoming: [0; PACKET_IN_BYTES_MAX], outgoing: [0; PACKETS_OUT_BYTES] };
}

/// The connection as a stream of bytes.
struct Stream<'a, B, N: Card> {
    board: &'a B,
    network: &'a RefCell<Network<N>>,
}

/// The connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Ended;

impl core::fmt::Display for Ended {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the connection ended")
    }
}

impl core::error::Error for Ended {}

impl embedded_io_async::Error for Ended {
    fn kind(&self) -> ErrorKind {
        ErrorKind::ConnectionReset
    }
}

impl<B, N: Card> ErrorType for Stream<'_, B, N> {
    type Error = Ended;
}

impl<B, N: Card> Read for Stream<'_, B, N> {
    async fn read(&mut self, into: &mut [u8]) -> Result<usize, Ended> {
        poll_fn(|_| {
            let mut network = self.network.borrow_mut();
            let socket = network.socket(Which::Mqtt);
            match socket.recv_slice(into) {
                Ok(0) => Poll::Pending,
                Ok(bytes) => Poll::Ready(Ok(bytes)),
                Err(_) => Poll::Ready(Err(Ended)),
            }
        })
        .await
    }
}

impl<B: Board, N: Card> Write for Stream<'_, B, N> {
    /// A broker that takes no byte for so long that it would have answered is gone.
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Ended> {
        let limit = self.board.micros() + ANSWER_MICROS;
        poll_fn(|_| {
            let mut network = self.network.borrow_mut();
            match network.socket(Which::Mqtt).send_slice(bytes) {
                Ok(0) if self.board.micros() < limit => Poll::Pending,
                Ok(0) | Err(_) => Poll::Ready(Err(Ended)),
                Ok(sent) => Poll::Ready(Ok(sent)),
            }
        })
        .await
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        Ok(())
    }
}

/// Everything that the conversation touches.
pub(crate) struct Mqtt<'a, B, Lent, N: Card> {
    pub(crate) board: &'a B,
    pub(crate) network: &'a RefCell<Network<N>>,
    pub(crate) brain: &'a RefCell<Brain<Lent>>,
    pub(crate) outgoing: &'a RefCell<Outgoing>,
    pub(crate) device: &'a DeviceId,
    pub(crate) broker: (Ipv4Address, u16),
}

impl<B: Board, Lent: AsRef<[u8]>, N: Card> Mqtt<'_, B, Lent, N> {
    /// Never ends: connects, talks, and connects again.
    pub(crate) async fn run(&self, packets: &mut Packets) -> ! {
        loop {
            let Err(problem) = self.talk(packets).await;
            self.board.say(format_args!("mqtt: {problem}"));
            self.network.borrow_mut().socket(Which::Mqtt).abort();
            self.tell(Input::SignalDown(ErrorCode::DiscoveryTimeout));
            self.sleep_until(self.board.micros() + RETRY_MICROS).await;
        }
    }

    fn tell(&self, input: Input<'_, Lent>) {
        self.brain.borrow_mut().handle(Instant::from_micros(self.board.micros()), input);
    }

    async fn sleep_until(&self, at_micros: u64) {
        poll_fn(|_| if self.board.micros() >= at_micros { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    async fn connect(&self) -> Result<(), &'static str> {
        // Where there is no network there is no broker to wait for.
        poll_fn(|_| if self.network.borrow().address().is_some() { Poll::Ready(()) } else { Poll::Pending }).await;
        let now = self.board.micros();
        let (address, port) = self.broker;
        if !self.network.borrow_mut().connect(now, Which::Mqtt, address, port) {
            return Err("no connection can be begun");
        }
        poll_fn(|_| {
            let mut network = self.network.borrow_mut();
            let socket = network.socket(Which::Mqtt);
            match (socket.may_send(), socket.is_open(), self.board.micros() > now + ANSWER_MICROS) {
                (true, ..) => Poll::Ready(Ok(())),
                (_, false, _) => Poll::Ready(Err("the broker refuses")),
                (.., true) => Poll::Ready(Err("the broker does not answer")),
                _ => Poll::Pending,
            }
        })
        .await
    }

    /// One connection, to its end; why it ended. The broker's session ends with it: there is nothing to resume.
    async fn talk(&self, packets: &mut Packets) -> Result<Infallible, &'static str> {
        self.connect().await?;
        let mut session = self.session(packets).map_err(|_| "the device's id is no topic")?;
        let stream = Stream { board: self.board, network: self.network };
        let answer = select(session.connect(stream), self.sleep_until(self.board.micros() + ANSWER_MICROS)).await;
        let mut broker = match answer {
            Either::First(Ok(broker)) => broker,
            Either::First(Err(_)) => return Err("the broker does not take the connection"),
            Either::Second(()) => return Err("the broker does not answer"),
        };
        let said = self.subscribe(&mut broker)?;
        if !self.is_taken(&mut broker, said).await? {
            return Err("the broker does not take a subscription");
        }
        let said = self.appear(&mut broker)?;
        if !self.is_taken(&mut broker, said).await? {
            return Err("the broker does not take a message");
        }
        self.board.say(format_args!("mqtt: connected"));
        self.announce();
        loop {
            match select(broker.poll(), poll_fn(|_| self.poll_outgoing())).await {
                Either::First(Ok(Some(message))) => self.hear(message.topic(), message.payload()),
                Either::First(Ok(None)) => {}
                Either::First(Err(error)) => return Err(problem(&error)),
                Either::Second(topic) => {
                    let is_taken = match self.publish(&mut broker, topic)? {
                        Some(said) => self.is_taken(&mut broker, said).await?,
                        None => false,
                    };
                    self.forget(topic, is_taken);
                }
            }
        }
    }

    /// The pusher asks again where it waits for a server: a question that waits here since before would be a second one.
    #[inline(never)]
    fn announce(&self) {
        self.outgoing.borrow_mut().message.take_if(|message| matches!(message, FromDevice::Request(_)));
        self.tell(Input::SignalUp);
    }

    /// A message waits, and the connection has room for it: all that was said before has arrived.
    fn poll_outgoing(&self) -> Poll<Topic> {
        let outgoing = self.outgoing.borrow();
        match outgoing.message.as_ref().map(topic) {
            Some(topic) if self.network.borrow_mut().socket(Which::Mqtt).send_queue() == 0 => Poll::Ready(topic),
            _ => Poll::Pending,
        }
    }

    /// What can't be published by this broker, or by any, does not keep the next from it.
    #[inline(never)]
    fn forget(&self, topic: Topic, is_taken: bool) {
        if !is_taken {
            self.board.say(format_args!("mqtt: {topic:?}: the broker does not take it, or it is too long"));
        }
        self.outgoing.borrow_mut().message = None;
    }

    #[inline(never)]
    fn session<'p>(&self, packets: &'p mut Packets) -> Result<Session<'p>, ConfigError> {
        let Packets { incoming, outgoing } = packets;
        let will = Will::new(&Topic::Online.of(self.device), Online::OFFLINE_JSON, &[])?.qos(QoS::AtLeastOnce).retained();
        let config = ConfigBuilder::new(Buffers::new(incoming, outgoing))
            .client_id(self.device.as_str())?
            .keepalive_interval(KEEP_ALIVE_SECS)
            .will(will)?;
        Ok(Session::new(config))
    }

    #[inline(never)]
    fn subscribe(&self, broker: &mut Broker<'_, '_, B, N>) -> Result<Op, &'static str> {
        let names = [Topic::Response, Topic::Command].map(|wanted| wanted.of(self.device));
        let options = SubscriptionOptions::default().maximum_qos(QoS::AtLeastOnce);
        let filters = names.each_ref().map(|name| TopicFilter::new(name).options(options));
        at_once(broker.subscribe(&filters, &[]))?.map_err(|error| problem(&error))
    }

    /// Takes back the will of the last connection.
    #[inline(never)]
    fn appear(&self, broker: &mut Broker<'_, '_, B, N>) -> Result<Op, &'static str> {
        let name = Topic::Online.of(self.device);
        let publication = Publication::bytes(&name, Online::ONLINE_JSON).qos(QoS::AtLeastOnce).retain();
        at_once(broker.publish(publication))?.ok().flatten().ok_or("the broker does not take a message")
    }

    /// Publishes what waits. `None`: it can't be.
    #[inline(never)]
    fn publish(&self, broker: &mut Broker<'_, '_, B, N>, topic: Topic) -> Result<Option<Op>, &'static str> {
        let name = topic.of(self.device);
        let publication = Publication::new(&name, |into: &mut [u8]| self.write(into)).qos(QoS::AtLeastOnce);
        let publication = if topic == Topic::State { publication.retain() } else { publication };
        match at_once(broker.publish(publication))? {
            Ok(Some(said)) => Ok(Some(said)),
            Err(PubError::Session(Error::Resource(_)) | PubError::Payload(_)) => Ok(None),
            Ok(None) | Err(PubError::Session(_)) => Err("the broker does not take a message"),
        }
    }

    /// Waits until the broker has acknowledged what was said, and whether it takes it. What it says meanwhile is heard.
    async fn is_taken(&self, broker: &mut Broker<'_, '_, B, N>, said: Op) -> Result<bool, &'static str> {
        let limit = self.board.micros() + ANSWER_MICROS;
        while broker.is_pending(&said) {
            match select(broker.poll(), self.sleep_until(limit)).await {
                Either::First(Ok(Some(message))) => self.hear(message.topic(), message.payload()),
                Either::First(Ok(None)) => {}
                // Nothing else waits for an answer.
                Either::First(Err(Error::Peer(PeerError::Rejected(_)))) => return Ok(false),
                Either::First(Err(error)) => return Err(problem(&error)),
                Either::Second(()) => return Err("the broker does not answer"),
            }
        }
        Ok(true)
    }

    /// The message that waits, as JSON.
    #[inline(never)]
    fn write(&self, into: &mut [u8]) -> Result<usize, json::Error> {
        match &self.outgoing.borrow().message {
            Some(FromDevice::Request(request)) => json::write(request, into),
            Some(FromDevice::Status(event)) => json::write(event, into),
            Some(FromDevice::Result(result)) => json::write(result, into),
            Some(FromDevice::State(report)) => json::write(report, into),
            None => Ok(0),
        }
    }

    /// A message for this device.
    #[inline(never)]
    fn hear(&self, name: &str, payload: &[u8]) {
        match Topic::parse(name) {
            Some((device, Topic::Response)) if device == *self.device => self.hear_response(payload),
            Some((device, Topic::Command)) if device == *self.device => self.hear_command(payload),
            _ => self.board.say(format_args!("mqtt: a message that this device does not take")),
        }
    }

    #[inline(never)]
    fn hear_response(&self, payload: &[u8]) {
        let mut response = Response::default();
        match response.read(payload) {
            Ok(()) => self.tell(Input::Signal(ToDevice::Response(&response))),
            Err(_) => self.board.say(format_args!("mqtt: an answer of the cloud does not parse")),
        }
    }

    #[inline(never)]
    fn hear_command(&self, payload: &[u8]) {
        match &json::read::<Command>(payload) {
            Ok(command) => {
                self.board.say(format_args!("mqtt: command {:?}", command.cmd));
                self.tell(Input::Signal(ToDevice::Command(command)));
            }
            Err(_) => self.board.say(format_args!("mqtt: a command does not parse")),
        }
    }
}

/// The connection in MQTT's terms.
type Broker<'a, 'p, B, N> = Connection<'a, 'p, Stream<'a, B, N>>;

const fn topic(message: &FromDevice) -> Topic {
    match message {
        FromDevice::Request(_) => Topic::Request,
        FromDevice::Status(_) => Topic::Status,
        FromDevice::Result(_) => Topic::Result,
        FromDevice::State(_) => Topic::State,
    }
}

/// What minimq says while the connection has room for all of it: it does not wait. A future that is not kept takes no memory while the stream runs.
fn at_once<T>(saying: impl Future<Output = T>) -> Result<T, &'static str> {
    match poll_once(saying) {
        Poll::Ready(said) => Ok(said),
        Poll::Pending => Err("the broker does not take a message"),
    }
}

/// Why a connection ended.
fn problem(error: &Error<Ended>) -> &'static str {
    match error {
        Error::Disconnected | Error::Transport(_) | Error::WriteZero => "the broker is gone",
        Error::Peer(_) => "the broker's message can't be read",
        _ => "the broker does not take a message",
    }
}
