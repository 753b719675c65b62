//! The camera's side of Sightline on a machine of QEMU that is an ESP32-P4 by instruction set: RV32IMAFC, no operating system, no allocator.
//!
//! The loader puts the settings (JSON) to 0x87f00000 and a clip to 0x88000000. The image asks a broker where to stream, streams the clip in its own
//! time, takes commands, and after `seconds` reports on the serial port what it took: memory, stack, instructions. Its exit status is QEMU's.
//! All but the machine itself is `firmware/board`.
#![no_std]
#![no_main]

mod card;
mod machine;

use card::VirtioCard;
use core::cell::RefCell;
use machine::{Machine, println};
use sightline_board::{Agent, Arena, Board as _, Brain, Buffers, Clip, ClipCamera, FOOTPRINTS, Footprint, Lent, Network, Parts, Settings};
use sightline_pusher::Input;
use sightline_signal::{DeviceId, Quality};
use static_cell::{ConstStaticCell, StaticCell};

/// QEMU's name for the host.
const HOST: smoltcp::wire::Ipv4Address = smoltcp::wire::Ipv4Address::new(10, 0, 2, 2);
/// For the last words.
const GOODBYE_MICROS: u64 = 3_000_000;

/// What the loader has put there.
#[derive(serde::Deserialize)]
struct Loaded {
    device: DeviceId,
    quality: Quality,
    /// On the host.
    broker_port: u16,
    /// Runs for so long.
    seconds: u64,
    is_always_on: bool,
}

static ARENA: StaticCell<Arena<Lent>> = StaticCell::new();
static NETWORK: StaticCell<RefCell<Network<VirtioCard>>> = StaticCell::new();
static CAMERA: ConstStaticCell<Clip> = ConstStaticCell::new(Clip::new());
static BUFFERS: ConstStaticCell<Buffers> = ConstStaticCell::new(Buffers::new());

fn start() -> Result<u32, &'static str> {
    let [settings, clip, _] = machine::loaded();
    let Loaded { device, quality, broker_port, seconds, is_always_on } = machine::read(settings)?;
    let settings = Settings { device, quality, broker: (HOST, broker_port), is_always_on };
    let mut camera = CAMERA.take().load(clip, BUFFERS.take())?;
    let seed = Machine.instructions() ^ Machine.micros() << 20;
    let arena = Arena::prepare(&ARENA, &settings, seed);
    let network = connect(seed);
    println(format_args!("arena: {} bytes, of it the pusher {}", size_of_val(arena), size_of::<Brain<Lent>>()));
    let ends_at = Machine.micros() + seconds * 1_000_000;
    let mut is_over = false;
    sightline_board::run(&settings, Parts { board: &Machine, arena, network, camera: &mut camera }, |agent, now| {
        if !is_over && now >= ends_at {
            is_over = true;
            agent.tell(Input::Stop);
            // What follows from it is reported in the next turn.
            return false;
        }
        let is_done = is_over && (now >= ends_at + GOODBYE_MICROS || agent.has_said_all());
        if is_done {
            report(agent);
        }
        is_done
    });
    Ok(0)
}

#[inline(never)]
fn connect(seed: u64) -> &'static RefCell<Network<VirtioCard>> {
    NETWORK.uninit().write(RefCell::new(Network::new(VirtioCard::find(), Machine.micros(), seed)))
}

#[inline(never)]
fn report(agent: &Agent<'_, Machine, ClipCamera, VirtioCard>) {
    for Footprint { preset, bytes, limit_bytes } in FOOTPRINTS {
        println(format_args!("footprint: {{\"preset\":\"{preset}\",\"bytes\":{bytes},\"limit_bytes\":{limit_bytes}}}"));
    }
    let (frames, cost) = (u64::from(agent.frames().max(1)), agent.cost());
    println(format_args!(
        "report: {{\"arena_bytes\":{},\"pusher_bytes\":{},\"stack_bytes\":{},\"static_bytes\":{},\"frames\":{},\"brain_instructions\":{},\"stack_instructions\":{},\"brain_per_frame\":{},\"stack_per_frame\":{},\"turns\":{}}}",
        size_of::<Arena<Lent>>(),
        size_of::<Brain<Lent>>(),
        machine::stack_high_water(),
        machine::static_bytes(),
        agent.frames(),
        cost.brain,
        cost.stack,
        cost.brain / frames,
        cost.stack / frames,
        cost.turns,
    ));
}
