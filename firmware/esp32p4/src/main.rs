//! The camera's side of Sightline on an ESP32-P4, in Rust alone: esp-hal's Ethernet under the loop of `firmware/board`.
//!
//! **It was never run on hardware.** What it shares with `firmware/qemu-virt` runs there, against real peers; what is its own (`card.rs`, `function_ev.rs`) is
//! compiled and linked for the chip. Its camera is a clip: esp-hal has no driver for the chip's camera interface or its H.264 encoder.
#![no_std]
#![no_main]

mod card;
mod function_ev;

use card::Emac;
use core::{cell::RefCell, panic::PanicInfo};
use function_ev::{FunctionEv, cry, switch_on};
use sightline_board::{Arena, Board as _, Brain, Buffers, Clip, Lent, Network, Parts, Settings, run};
use sightline_signal::{DeviceId, Quality};
use static_cell::{ConstStaticCell, StaticCell};

include!(concat!(env!("OUT_DIR"), "/settings.rs"));

/// Fixed, so that the same sources make the same image.
const BUILT: (&str, &str) = ("00:00:00", "1970-01-01");
esp_bootloader_esp_idf::esp_app_desc!(
    env!("CARGO_PKG_VERSION"),
    "sightline",
    BUILT.0,
    BUILT.1,
    esp_bootloader_esp_idf::ESP_IDF_COMPATIBLE_VERSION,
    esp_bootloader_esp_idf::MMU_PAGE_SIZE,
    0,
    u16::MAX,
    esp_bootloader_esp_idf::SECURE_VERSION
);

static ARENA: StaticCell<Arena<Lent>> = StaticCell::new();
static NETWORK: StaticCell<RefCell<Network<Emac>>> = StaticCell::new();
static CAMERA: ConstStaticCell<Clip> = ConstStaticCell::new(Clip::new());
static BUFFERS: ConstStaticCell<Buffers> = ConstStaticCell::new(Buffers::new());
/// In RAM, where frames are turned from Annex B to AVCC form as an encoder's are.
static CLIP: ConstStaticCell<[u8; include_bytes!(concat!(env!("OUT_DIR"), "/clip.bin")).len()]> =
    ConstStaticCell::new(*include_bytes!(concat!(env!("OUT_DIR"), "/clip.bin")));

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    cry(format_args!("panic: {info}"));
    esp_hal::system::software_reset()
}

#[esp_hal::main]
fn main() -> ! {
    let Err(problem) = start();
    cry(format_args!("error: {problem}"));
    // Not over and over: it would fail again.
    loop {
        esp_hal::interrupt::wait_for_interrupt();
    }
}

fn start() -> Result<core::convert::Infallible, &'static str> {
    let (board, card, seed) = switch_on()?;
    let device = DeviceId::new(DEVICE).map_err(|_| "SIGHTLINE_DEVICE is no device's name")?;
    let settings = Settings { device, quality: QUALITY, broker: (BROKER.0.into(), BROKER.1), is_always_on: IS_ALWAYS_ON };
    let mut camera = CAMERA.take().load(CLIP.take(), BUFFERS.take())?;
    let arena = Arena::prepare(&ARENA, &settings, seed);
    let network = connect(&board, card, seed);
    board.say(format_args!("arena: {} bytes, of it the pusher {}", size_of_val(arena), size_of::<Brain<Lent>>()));
    board.watch();
    run(&settings, Parts { board: &board, arena, network, camera: &mut camera }, |_, _| {
        board.feed();
        false
    });
    Err("the loop has ended")
}

#[inline(never)]
fn connect(board: &FunctionEv, card: Emac, seed: u64) -> &'static RefCell<Network<Emac>> {
    NETWORK.uninit().write(RefCell::new(Network::new(card, board.micros(), seed)))
}
