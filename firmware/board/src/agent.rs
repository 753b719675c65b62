//! The loop: network, camera, pusher and broker, once round and again.

use crate::{
    Board, Camera,
    arena::{Arena, Brain},
    clock,
    mqtt::{Mqtt, Outgoing},
    network::{Card, Network, Which},
};
use core::{cell::RefCell, future::Future as _, pin::pin, task::Context, task::Waker, time::Duration};
use sightline_media::{Instant, WallTime};
use sightline_pusher::{Action, Config, EncoderAction, Input, Trigger};
use sightline_rtmp::url::RtmpUrl;
use sightline_signal::{DeviceId, ErrorCode, Quality, StreamState, Text};
use smoltcp::wire::{Ipv4Address, Ipv4Cidr};

/// How often the pusher gets to know what has arrived.
const PROGRESS_MICROS: u64 = 25_000;
/// The longest sleep where nothing is due and the card has nothing: the conversation with the broker, whose waits have seconds, looks at its clock this often.
const SLEEP_MICROS_MAX: u64 = PROGRESS_MICROS;
/// Between two connections.
const RECONNECT: Duration = Duration::from_secs(2);

/// What a device must know of its place in the world.
pub struct Settings {
    /// Its name at the broker.
    pub device: DeviceId,
    /// What it streams when nobody says otherwise.
    pub quality: Quality,
    /// The MQTT broker, in plain.
    pub broker: (Ipv4Address, u16),
    /// Streams whenever it can; otherwise by command.
    pub is_always_on: bool,
}

impl Settings {
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::new(self.device.clone());
        config.quality = self.quality;
        config.trigger = if self.is_always_on { Trigger::AlwaysOn } else { Trigger::Manual };
        // There is no TLS here.
        config.secure = false;
        config.reconnect_interval = RECONNECT;
        config
    }
}

/// What an image brings.
pub struct Parts<'a, B, C: Camera, N: Card + 'static> {
    /// Clock and serial port.
    pub board: &'a B,
    /// The brain's memory.
    pub arena: &'a mut Arena<C::Lent>,
    /// The network.
    pub network: &'static RefCell<Network<N>>,
    /// The camera with its encoder.
    pub camera: &'a mut C,
}

/// Runs until `look`, which is asked after each turn and told when that began, says that it is over. The conversation with the broker, which waits in between, lies
/// on the stack here.
#[inline(never)]
pub fn run<B: Board, C: Camera, N: Card>(
    settings: &Settings,
    parts: Parts<'_, B, C, N>,
    mut look: impl FnMut(&mut Agent<'_, B, C, N>, u64) -> bool,
) {
    let Parts { board, arena, network, camera } = parts;
    let Arena { brain, outgoing, packets } = arena;
    let (brain, outgoing): (&RefCell<Brain<C::Lent>>, &RefCell<Outgoing>) = (brain, outgoing);
    let mqtt = Mqtt { board, network, brain, outgoing, device: &settings.device, broker: settings.broker };
    let mut talk = pin!(mqtt.run(packets));
    let mut agent = Agent {
        board,
        brain,
        outgoing,
        network,
        camera,
        has_track: false,
        address: None,
        link: Link::None,
        sent: 0,
        told_at: 0,
        frames: 0,
        cost: Cost::default(),
    };
    loop {
        clock::set(board.micros());
        // There is no waker: everything is looked at each time.
        let began = board.instructions();
        let _ = talk.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        agent.cost.brain += board.instructions() - began;
        let now = board.micros();
        agent.turn(now);
        if look(&mut agent, now) {
            return;
        }
    }
}

/// The way to the server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    None,
    Dialling,
    Up,
}

/// Instructions, and what for, where the board counts them.
#[derive(Clone, Copy, Default)]
pub struct Cost {
    /// Of the pusher, RTMP, MQTT and the camera.
    pub brain: u64,
    /// Of TCP/IP and the card.
    pub stack: u64,
    /// Turns of the loop, which it was for: one for each thing that happened, and those in which nothing had.
    pub turns: u32,
}

/// The loop's state.
pub struct Agent<'a, B, C: Camera, N: Card> {
    board: &'a B,
    brain: &'a RefCell<Brain<C::Lent>>,
    outgoing: &'a RefCell<Outgoing>,
    network: &'a RefCell<Network<N>>,
    camera: &'a mut C,
    has_track: bool,
    /// What was last said of it.
    address: Option<Ipv4Cidr>,
    link: Link,
    /// Bytes that the connection took.
    sent: u64,
    told_at: u64,
    frames: u32,
    cost: Cost,
}

impl<B: Board, C: Camera, N: Card> Agent<'_, B, C, N> {
    /// Frames that the camera has made.
    #[must_use]
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// What the work has cost.
    #[must_use]
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// It does not stream, and the broker has all messages. Asked after a turn, in which what waits was taken from the pusher.
    #[inline(never)]
    #[must_use]
    pub fn has_said_all(&self) -> bool {
        let is_at_rest = matches!(self.brain.borrow().state(), StreamState::Idle | StreamState::Standby | StreamState::Error);
        is_at_rest && self.outgoing.borrow().message.is_none() && self.network.borrow_mut().socket(Which::Mqtt).send_queue() == 0
    }

    /// Tells the pusher.
    pub fn tell(&self, input: Input<'_, C::Lent>) {
        self.brain.borrow_mut().handle(Instant::from_micros(self.board.micros()), input);
    }

    /// Once round everything, and sleep until something is due.
    #[inline(never)]
    fn turn(&mut self, now: u64) {
        let began = self.board.instructions();
        self.network.borrow_mut().poll(now);
        let polled = self.board.instructions();
        self.look_at_link(now);
        self.look_at_camera(now);
        if self.brain.borrow().poll_timeout().is_some_and(|at| at.as_micros() <= now) {
            self.brain.borrow_mut().handle_timeout(Instant::from_micros(now));
        }
        let acted = self.act(now);
        self.write(now);
        let worked = self.board.instructions();
        self.network.borrow_mut().poll(now);
        self.cost.turns += 1;
        self.cost.brain += worked - polled;
        self.cost.stack += polled - began + self.board.instructions() - worked;
        self.look_at_address();
        // What was put out to be said is taken by the broker's conversation, which comes before the next turn.
        if acted {
            return;
        }
        let due = [self.camera.due(), self.brain.borrow().poll_timeout().map(Instant::as_micros), self.network.borrow_mut().poll_at(now)];
        let until = due.into_iter().flatten().fold(now + SLEEP_MICROS_MAX, u64::min);
        if until > self.board.micros() {
            self.board.sleep_until(until);
        }
    }

    fn look_at_address(&mut self) {
        let address = self.network.borrow().address();
        if address != self.address {
            self.address = address;
            self.say_address();
        }
    }

    #[inline(never)]
    fn say_address(&self) {
        match self.address {
            Some(address) => self.board.say(format_args!("network: {address}")),
            None => self.board.say(format_args!("network: no address")),
        }
    }

    fn look_at_camera(&mut self, now: u64) {
        if !self.has_track {
            self.begin();
        }
        if let Some(frame) = self.camera.poll(now) {
            self.frames += 1;
            self.tell(Input::Frame(frame, Instant::from_micros(now)));
        }
    }

    #[inline(never)]
    fn begin(&mut self) {
        if let Some(track) = self.camera.track().cloned() {
            self.has_track = true;
            self.tell(Input::Track(track));
        }
    }

    #[inline(never)]
    fn look_at_link(&mut self, now: u64) {
        let (may_send, is_open, may_receive, waiting) = {
            let mut network = self.network.borrow_mut();
            let socket = network.socket(Which::Rtmp);
            (socket.may_send(), socket.is_open(), socket.may_recv(), socket.send_queue() as u64)
        };
        match self.link {
            Link::None => return,
            Link::Dialling if may_send => {
                self.link = Link::Up;
                self.sent = 0;
                self.network.borrow_mut().forget_last();
                self.tell(Input::LinkUp);
            }
            Link::Dialling if !is_open => {
                self.link = Link::None;
                self.tell(Input::LinkClosed(Some(ErrorCode::RtmpConnectTimeout)));
                return;
            }
            Link::Dialling => return,
            Link::Up => {}
        }
        let mut bytes = [0; 256];
        loop {
            let read = self.network.borrow_mut().socket(Which::Rtmp).recv_slice(&mut bytes).unwrap_or(0);
            if read == 0 {
                break;
            }
            self.tell(Input::LinkBytes(&bytes[..read]));
        }
        if !may_receive && self.link == Link::Up {
            self.link = Link::None;
            self.tell(Input::LinkClosed(None));
        } else if now >= self.told_at + PROGRESS_MICROS {
            self.told_at = now;
            self.tell(Input::Acknowledged { bytes: self.sent.saturating_sub(waiting), outstanding: waiting });
        }
    }

    /// Hands the connection what it takes.
    #[inline(never)]
    fn write(&mut self, now: u64) {
        if self.link != Link::Up {
            return;
        }
        let mut network = self.network.borrow_mut();
        let mut brain = self.brain.borrow_mut();
        let socket = network.socket(Which::Rtmp);
        loop {
            let [head, rest] = brain.pending();
            let mut taken = socket.send_slice(head).unwrap_or(0);
            if taken == head.len() {
                taken += socket.send_slice(rest).unwrap_or(0);
            }
            if taken == 0 {
                return;
            }
            self.sent += taken as u64;
            brain.consumed(Instant::from_micros(now), taken);
        }
    }

    /// Does what the pusher wants done; whether there was anything.
    #[inline(never)]
    fn act(&mut self, now: u64) -> bool {
        let mut has_acted = false;
        loop {
            let wall = WallTime::from_unix_micros(now.cast_signed());
            // A message that waits for the broker keeps other messages waiting, and nothing else.
            let has_room = self.outgoing.borrow().message.is_none();
            let mut brain = self.brain.borrow_mut();
            let Some(action) = (if has_room { brain.poll_action(wall) } else { brain.poll_order(wall) }) else { return has_acted };
            drop(brain);
            has_acted = true;
            match action {
                Action::Dial { url } => self.dial(now, &url),
                Action::HangUp => {
                    self.link = Link::None;
                    // Where another one follows, this one is reset over that.
                    if !matches!(self.brain.borrow().state(), StreamState::Connecting | StreamState::Reconnecting | StreamState::Requesting)
                    {
                        self.network.borrow_mut().socket(Which::Rtmp).close();
                    }
                }
                Action::Encoder(order) => {
                    match order {
                        EncoderAction::Start(settings) => self.board.say(format_args!("encoder: start {settings:?}")),
                        EncoderAction::Change(settings) => self.board.say(format_args!("encoder: change {settings:?}")),
                        EncoderAction::Keyframe | EncoderAction::Pause | EncoderAction::Resume | EncoderAction::Stop => {}
                    }
                    self.camera.order(now, order);
                }
                Action::Status(status) => {
                    self.board.say(format_args!("state: {} {}", status.state.name(), status.error.map_or("", ErrorCode::as_str)));
                }
                Action::Signal(message) => self.outgoing.borrow_mut().message = Some(message),
            }
        }
    }

    #[inline(never)]
    fn dial(&mut self, now: u64, url: &Text<192>) {
        let parsed = RtmpUrl::parse(url).ok().filter(|url| !url.tls);
        let Some((Ok(address), port)) = parsed.map(|url| (url.host.parse(), url.port)) else {
            self.board.say(format_args!("no RTMP server by address and in plain: {url}"));
            self.tell(Input::LinkClosed(Some(ErrorCode::DnsFailed)));
            return;
        };
        self.board.say(format_args!("dial: {address}:{port}"));
        let began = self.network.borrow_mut().connect(now, Which::Rtmp, address, port);
        self.link = if began { Link::Dialling } else { Link::None };
    }
}
