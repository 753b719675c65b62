//! MQTT 5 over the network's first connection: what the pusher says goes out, what the cloud says goes in.

use core::{cell::RefCell, future::poll_fn, num::NonZero, task::Poll};
use embassy_futures::select::{Either3, select3};
use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use rust_mqtt::{
    Bytes,
    buffer::BumpBuffer,
    client::{
        Client,
        event::Event,
        options::{ConnectOptions, PublicationOptions, SubscriptionOptions, TopicReference, WillOptions},
    },
    config::KeepAlive,
    types::{MqttBinary, MqttString, PacketIdentifier, TopicFilter, TopicName},
};
use sightline_media::Instant;
use sightline_pusher::{Input, ToDevice};
use sightline_signal::{Command, DeviceId, ErrorCode, Response, json, topic::Topic};
use smoltcp::wire::Ipv4Address;

use crate::{
    Board, Brain,
    network::{Card, Network, Which},
};

/// The longest message in, in bytes: an answer with three servers and a token.
pub(crate) const MESSAGE_IN_BYTES_MAX: usize = 1536;
/// The longest message out: an event with its figures, a request.
pub(crate) const MESSAGE_OUT_BYTES_MAX: usize = 640;
const KEEP_ALIVE_SECS: u16 = 20;
/// Between two tries to reach a broker.
const RETRY_MICROS: u64 = 3_000_000;
/// For TCP, and for the broker's answers.
const ANSWER_MICROS: u64 = 10_000_000;

/// What waits to be published: one message, so that the pusher keeps the others, and the newest where only the newest matters.
#[derive(Default)]
pub(crate) struct Outgoing {
    pub(crate) message: Option<(Topic, usize)>,
    pub(crate) bytes: heapless::Vec<u8, MESSAGE_OUT_BYTES_MAX>,
}

/// The connection as a stream of bytes.
struct Stream<'a, N: Card>(&'a RefCell<Network<N>>);

/// The connection ended.
#[derive(Clone, Copy, Debug)]
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

impl<N: Card> ErrorType for Stream<'_, N> {
    type Error = Ended;
}

impl<N: Card> Read for Stream<'_, N> {
    async fn read(&mut self, into: &mut [u8]) -> Result<usize, Ended> {
        poll_fn(|_| {
            let mut network = self.0.borrow_mut();
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

impl<N: Card> Write for Stream<'_, N> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Ended> {
        poll_fn(|_| {
            let mut network = self.0.borrow_mut();
            match network.socket(Which::Mqtt).send_slice(bytes) {
                Ok(0) => Poll::Pending,
                Ok(sent) => Poll::Ready(Ok(sent)),
                Err(_) => Poll::Ready(Err(Ended)),
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
    pub(crate) async fn run(&self, memory: &mut [u8]) -> ! {
        loop {
            let problem = self.talk(memory).await;
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

    /// One connection, to its end; why it ended.
    async fn talk(&self, memory: &mut [u8]) -> &'static str {
        if let Err(problem) = self.connect().await {
            return problem;
        }
        let mut buffer = BumpBuffer::new(memory);
        let mut client: Broker<'_, '_, N> = Client::new(&mut buffer);
        let online = Topic::Online.of(self.device);
        let Some(will) = topic(&online) else { return "the device's id is no topic" };
        let offline = MqttBinary::from_slice_unchecked(br#"{"online":false}"#);
        let options = ConnectOptions::new()
            .clean_start()
            .keep_alive(NonZero::new(KEEP_ALIVE_SECS).map_or(KeepAlive::Infinite, KeepAlive::Seconds))
            .will(WillOptions::new(will, offline).at_least_once().retain());
        let id = MqttString::from_str_unchecked(self.device.as_str());
        if client.connect(Stream(self.network), &options, Some(id)).await.is_err() {
            return "the broker does not take the connection";
        }
        reset(&mut client);
        for wanted in [Topic::Response, Topic::Command] {
            let name = wanted.of(self.device);
            let filter = TopicFilter::new(MqttString::from_str_unchecked(&name));
            let Some(filter) = filter else { return "the device's id is no topic" };
            if client.subscribe(filter, &SubscriptionOptions::new().at_least_once()).await.is_err() {
                return "the broker does not take a subscription";
            }
        }
        let Some(online) = topic(&online) else { return "the device's id is no topic" };
        let options = PublicationOptions::new(TopicReference::Name(online)).at_least_once().retain();
        if client.publish(&options, Bytes::Borrowed(br#"{"online":true}"#)).await.is_err() {
            return "the broker does not take a message";
        }
        self.board.say(format_args!("mqtt: connected"));
        self.tell(Input::SignalUp);
        let mut ping_at = self.board.micros();
        // The message that was published and is not acknowledged: it waits, and is published again over the next connection.
        let mut in_flight = None;
        loop {
            let waits = in_flight.is_none();
            let waiting = poll_fn(|_| if waits && self.outgoing.borrow().message.is_some() { Poll::Ready(()) } else { Poll::Pending });
            let next = select3(client.poll_header(), waiting, self.sleep_until(ping_at)).await;
            let result = match next {
                Either3::First(Ok(header)) => match client.poll_body(header).await {
                    Ok(Event::Publish(message)) => {
                        self.hear(message.topic.name().map(|name| name.as_ref().as_str()), &message.message);
                        Ok(())
                    }
                    Ok(Event::PublishAcknowledged(acknowledged)) => {
                        if in_flight == Some(acknowledged.packet_identifier) {
                            in_flight = None;
                            self.outgoing.borrow_mut().message = None;
                        }
                        Ok(())
                    }
                    Ok(_) => Ok(()),
                    Err(_) => Err("the broker's message can't be read"),
                },
                Either3::First(Err(_)) => Err("the broker is gone"),
                Either3::Second(()) => {
                    let outgoing = self.outgoing.borrow().message;
                    match self.publish(&mut client, outgoing).await {
                        Ok(published) => {
                            in_flight = published;
                            Ok(())
                        }
                        Err(problem) => Err(problem),
                    }
                }
                Either3::Third(()) => {
                    ping_at = self.board.micros() + u64::from(KEEP_ALIVE_SECS) * 500_000;
                    client.ping().await.map_err(|_| "the broker is gone")
                }
            };
            reset(&mut client);
            if let Err(problem) = result {
                return problem;
            }
        }
    }
}

type Broker<'a, 'c, N> = Client<'a, 'c, Stream<'a, N>, BumpBuffer<'c>, 2, 2, 4, 0, 0, 0, 0>;

impl<'a, B: Board, Lent: AsRef<[u8]>, N: Card> Mqtt<'a, B, Lent, N> {
    /// Publishes what waits.
    #[expect(clippy::await_holding_refcell_ref, reason = "while a message waits, the agent only looks whether one does")]
    async fn publish(
        &self,
        client: &mut Broker<'a, '_, N>,
        outgoing: Option<(Topic, usize)>,
    ) -> Result<Option<PacketIdentifier>, &'static str> {
        let Some((kind, length)) = outgoing else { return Ok(None) };
        let name = kind.of(self.device);
        let Some(name) = topic(&name) else { return Ok(None) };
        let options = PublicationOptions::new(TopicReference::Name(name)).at_least_once();
        let options = if kind == Topic::State { options.retain() } else { options };
        // Nobody else takes it, or writes another, while it waits.
        let outgoing = self.outgoing.borrow();
        let message = outgoing.bytes.get(..length).unwrap_or_default();
        client.publish(&options, Bytes::Borrowed(message)).await.map_err(|_| "the broker does not take a message")
    }

    /// A message for this device.
    #[inline(never)]
    fn hear(&self, name: Option<&str>, payload: &[u8]) {
        match name.and_then(Topic::parse) {
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

fn topic(name: &str) -> Option<TopicName<'_>> {
    TopicName::new(MqttString::from_str(name).ok()?)
}

/// Whatever the client has read is not looked at any more: its memory is free again.
#[expect(unsafe_code, reason = "the buffer's reset, whose condition the compiler does not see")]
fn reset<N: Card>(client: &mut Broker<'_, '_, N>) {
    // SAFETY: called where no event, header or error of this client lives: they are matched by value before.
    unsafe { client.buffer_mut().reset() };
}
