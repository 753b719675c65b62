//! The camera's side of Sightline on a machine of QEMU that is an ESP32-P4 by instruction set: RV32IMAFC, no operating system, no allocator.
//!
//! The loader puts the settings (JSON) to 0x87f00000 and a clip to 0x88000000. The image asks a broker where to stream, streams the clip in its own
//! time, takes commands, and after `seconds` tells on the serial port what it took: memory, stack, instructions. Its exit status is QEMU's.
#![no_std]
#![no_main]

mod arena;
mod camera;
mod machine;
mod mqtt;
mod network;

use arena::{Arena, QUEUE_FRAMES};
use camera::Camera;
use core::{cell::RefCell, future::Future as _, panic::PanicInfo, pin::pin, task::Context, task::Waker, time::Duration};
use machine::println;
use mqtt::{Mqtt, Outgoing};
use network::{Network, Which};
use sightline_media::{Instant, WallTime};
use sightline_pusher::{Action, Config, EncoderAction, FromDevice, Input, Pusher, Trigger};
use sightline_rtmp::url::RtmpUrl;
use sightline_signal::{DeviceId, ErrorCode, Quality, StreamState, Text, json, topic::Topic};
use static_cell::{ConstStaticCell, StaticCell};

/// The camera's brain, over frames that are lent.
pub(crate) type Brain = Pusher<&'static [u8], QUEUE_FRAMES>;

const SETTINGS_AT: usize = 0x87f0_0000;
const SETTINGS_BYTES_MAX: usize = 512;
const CLIP_AT: usize = 0x8800_0000;
const CLIP_BYTES_MAX: usize = 32 << 20;

/// How often the pusher is told what has arrived.
const PROGRESS_MICROS: u64 = 25_000;
/// The longest sleep: the card's frames are looked for this often.
const SLEEP_MICROS_MAX: u64 = 1000;
/// For the last words.
const GOODBYE_MICROS: u64 = 3_000_000;

/// What the loader has put there.
#[derive(serde::Deserialize)]
struct Settings {
    device: DeviceId,
    quality: Quality,
    /// At 10.0.2.2, QEMU's name for the host.
    broker_port: u16,
    /// Runs for so long.
    seconds: u64,
    is_always_on: bool,
}

static NETWORK: StaticCell<RefCell<Network>> = StaticCell::new();
static CAMERA: ConstStaticCell<Camera> = ConstStaticCell::new(Camera::new());

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    println(format_args!("panic: {info}"));
    machine::exit(2)
}

#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "the start-up code's name for it")]
extern "C" fn main() -> ! {
    match start() {
        Ok(()) => machine::exit(0),
        Err(problem) => {
            println(format_args!("error: {problem}"));
            machine::exit(1)
        }
    }
}

#[expect(unsafe_code, reason = "memory that the loader has filled")]
fn start() -> Result<(), &'static str> {
    // SAFETY: above the linker's regions, apart from each other, and taken here only.
    let (settings, clip) = unsafe { (machine::loaded(SETTINGS_AT, SETTINGS_BYTES_MAX), machine::loaded(CLIP_AT, CLIP_BYTES_MAX)) };
    let settings = read(settings)?;
    let camera = CAMERA.take();
    camera.load(clip)?;
    let seed = machine::instructions() ^ machine::micros() << 20;
    let arena = prepare(&settings, seed);
    let network = connect(seed);
    println(format_args!("arena: {} bytes, of it the pusher {}", size_of_val(arena), size_of::<Brain>()));
    run(&settings, arena, network, camera);
    Ok(())
}

#[inline(never)]
fn read(bytes: &[u8]) -> Result<Settings, &'static str> {
    let length = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    json::read(&bytes[..length]).map_err(|_| "the settings can't be read")
}

#[inline(never)]
fn prepare(settings: &Settings, seed: u64) -> &'static mut Arena<QUEUE_FRAMES> {
    let mut config = Config::new(settings.device.clone());
    config.quality = settings.quality;
    config.trigger = if settings.is_always_on { Trigger::AlwaysOn } else { Trigger::Manual };
    config.secure = false;
    config.reconnect_interval = Duration::from_secs(2);
    arena::prepare(config, seed)
}

#[inline(never)]
fn connect(seed: u64) -> &'static RefCell<Network> {
    NETWORK.uninit().write(RefCell::new(Network::new(machine::micros(), seed)))
}

/// Until the time is over. The conversation with the broker, which waits in between, lies on the stack here.
#[inline(never)]
fn run(settings: &Settings, arena: &'static mut Arena<QUEUE_FRAMES>, network: &'static RefCell<Network>, camera: &'static mut Camera) {
    let Arena { brain, outgoing, message } = arena;
    let (brain, outgoing): (&RefCell<Brain>, &RefCell<Outgoing>) = (brain, outgoing);
    let broker = (smoltcp::wire::Ipv4Address::new(10, 0, 2, 2), settings.broker_port);
    let mqtt = Mqtt { network, brain, outgoing, device: &settings.device, broker };
    let mut talk = pin!(mqtt.run(message));
    let mut agent =
        Agent { brain, outgoing, network, camera, link: Link::None, sent: 0, told_at: 0, is_over: false, cost: Cost::default() };
    agent.begin();
    let ends_at = machine::micros() + settings.seconds * 1_000_000;
    loop {
        // There is no waker: everything is looked at each time.
        let _ = talk.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let now = machine::micros();
        if !agent.is_over && now >= ends_at {
            agent.is_over = true;
            agent.tell(Input::Stop);
        }
        agent.turn(now);
        if agent.is_over && (now >= ends_at + GOODBYE_MICROS || agent.has_said_all()) {
            agent.report();
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

/// Instructions, and what for.
#[derive(Default)]
struct Cost {
    brain: u64,
    stack: u64,
}

struct Agent<'a> {
    brain: &'a RefCell<Brain>,
    outgoing: &'a RefCell<Outgoing>,
    network: &'a RefCell<Network>,
    camera: &'a mut Camera,
    link: Link,
    /// Bytes that the connection took.
    sent: u64,
    told_at: u64,
    is_over: bool,
    cost: Cost,
}

impl Agent<'_> {
    #[inline(never)]
    fn begin(&self) {
        if let Some(track) = self.camera.track.clone() {
            self.tell(Input::Track(track));
        }
    }

    /// Once round everything, and sleep until something is due.
    #[inline(never)]
    fn turn(&mut self, now: u64) {
        let began = machine::instructions();
        self.network.borrow_mut().poll(now);
        let polled = machine::instructions();
        self.look_at_link(now);
        if let Some(frame) = self.camera.poll(now) {
            self.tell(Input::Frame(frame, Instant::from_micros(now)));
        }
        if self.brain.borrow().poll_timeout().is_some_and(|at| at.as_micros() <= now) {
            self.brain.borrow_mut().handle_timeout(Instant::from_micros(now));
        }
        self.act(now);
        self.write(now);
        let worked = machine::instructions();
        self.network.borrow_mut().poll(now);
        self.cost.brain += worked - polled;
        self.cost.stack += polled - began + machine::instructions() - worked;
        let due = [self.camera.due(), self.brain.borrow().poll_timeout().map(Instant::as_micros), self.network.borrow_mut().poll_at(now)];
        let until = due.into_iter().flatten().fold(now + SLEEP_MICROS_MAX, u64::min);
        if until > machine::micros() {
            machine::sleep_until(until);
        }
    }

    fn tell(&self, input: Input<'_, &'static [u8]>) {
        self.brain.borrow_mut().handle(Instant::from_micros(machine::micros()), input);
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

    #[inline(never)]
    fn act(&mut self, now: u64) {
        loop {
            let wall = WallTime::from_unix_micros(now.cast_signed());
            // A message that waits for the broker keeps other messages waiting, and nothing else.
            let has_room = self.outgoing.borrow().message.is_none();
            let mut brain = self.brain.borrow_mut();
            let Some(action) = (if has_room { brain.poll_action(wall) } else { brain.poll_order(wall) }) else { return };
            drop(brain);
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
                Action::Encoder(EncoderAction::Start(settings)) => {
                    println(format_args!("encoder: start {settings:?}"));
                    self.camera.start(now);
                }
                Action::Encoder(EncoderAction::Keyframe) => self.camera.start(now),
                Action::Encoder(EncoderAction::Stop) => self.camera.stop(),
                Action::Encoder(EncoderAction::Change(settings)) => println(format_args!("encoder: change {settings:?}")),
                // A recording can't be held back: the queue leaves out what is too much.
                Action::Encoder(EncoderAction::Pause | EncoderAction::Resume) => {}
                Action::Status(status) => {
                    println(format_args!("state: {} {}", status.state.name(), status.error.map_or("", ErrorCode::as_str)));
                }
                Action::Signal(message) => self.send(&message),
            }
        }
    }

    #[inline(never)]
    fn dial(&mut self, now: u64, url: &Text<192>) {
        let parsed = RtmpUrl::parse(url).ok().filter(|url| !url.tls);
        let Some((Ok(address), port)) = parsed.map(|url| (url.host.parse(), url.port)) else {
            println(format_args!("no RTMP server by address and in plain: {url}"));
            self.tell(Input::LinkClosed(Some(ErrorCode::DnsFailed)));
            return;
        };
        println(format_args!("dial: {address}:{port}"));
        let began = self.network.borrow_mut().connect(now, Which::Rtmp, address, port);
        self.link = if began { Link::Dialling } else { Link::None };
    }

    #[inline(never)]
    fn send(&mut self, message: &FromDevice) {
        let mut outgoing = self.outgoing.borrow_mut();
        outgoing.bytes.resize_default(mqtt::MESSAGE_OUT_BYTES_MAX).unwrap_or_default();
        let (topic, written) = match message {
            FromDevice::Request(request) => (Topic::Request, json::write(request, &mut outgoing.bytes)),
            FromDevice::Status(event) => (Topic::Status, json::write(event, &mut outgoing.bytes)),
            FromDevice::Result(result) => (Topic::Result, json::write(result, &mut outgoing.bytes)),
            FromDevice::State(report) => (Topic::State, json::write(report, &mut outgoing.bytes)),
        };
        match written {
            Ok(length) => outgoing.message = Some((topic, length)),
            Err(problem) => println(format_args!("mqtt: {topic:?}: {problem}")),
        }
    }

    #[inline(never)]
    fn has_said_all(&self) -> bool {
        let is_at_rest = matches!(self.brain.borrow().state(), StreamState::Idle | StreamState::Standby | StreamState::Error);
        is_at_rest && self.outgoing.borrow().message.is_none() && self.network.borrow_mut().socket(Which::Mqtt).send_queue() == 0
    }

    #[inline(never)]
    fn report(&self) {
        let frames = u64::from(self.camera.frames.max(1));
        println(format_args!(
            "report: {{\"arena_bytes\":{},\"pusher_bytes\":{},\"stack_bytes\":{},\"static_bytes\":{},\"frames\":{},\"brain_instructions\":{},\"stack_instructions\":{},\"brain_per_frame\":{},\"stack_per_frame\":{}}}",
            size_of::<Arena<QUEUE_FRAMES>>(),
            size_of::<Brain>(),
            machine::stack_high_water(),
            machine::static_bytes(),
            self.camera.frames,
            self.cost.brain,
            self.cost.stack,
            self.cost.brain / frames,
            self.cost.stack / frames,
        ));
    }
}
