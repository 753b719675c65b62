//! A firmware in C on the same machine: `c/camera.c` over `firmware/capi`'s library, `libsightline.a`, as it is handed out.
//!
//! The loader puts the settings (JSON) to 0x87f00000 and a clip to 0x88000000. The C streams the clip to a server that the settings name, and tells after
//! `seconds` what it has seen. What it asks of the machine is `c_calls`.
#![no_std]
#![no_main]

mod c_calls;
mod card;
mod machine;

use c_calls::{Start, Wiring};
use card::VirtioCard;
use core::{cell::RefCell, ffi::CStr, panic::PanicInfo};
use machine::{Machine, println};
use sightline_board::{Board as _, Network};
use sightline_signal::{Quality, Text, json};
use static_cell::StaticCell;

const SETTINGS_AT: usize = 0x87f0_0000;
const SETTINGS_BYTES_MAX: usize = 512;
const CLIP_AT: usize = 0x8800_0000;
const CLIP_BYTES_MAX: usize = 32 << 20;
/// Behind the clip, where a chip's encoder has its buffers: in PSRAM.
const BUFFERS_AT: usize = CLIP_AT + CLIP_BYTES_MAX;
const BUFFERS_BYTES: usize = 8 << 20;

/// What the loader has put there.
#[derive(serde::Deserialize)]
struct Loaded {
    quality: Quality,
    /// rtmp://host:port/app, in plain, the host by its address.
    server_url: Text<192>,
    stream_key: Text<64>,
    /// Streams for so long.
    seconds: u32,
}

static WIRING: StaticCell<RefCell<Wiring>> = StaticCell::new();

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    println(format_args!("panic: {info}"));
    machine::exit(2)
}

#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "the start-up code's name for it")]
extern "C" fn main() -> ! {
    match start() {
        Ok(status) => machine::exit(status),
        Err(problem) => {
            println(format_args!("error: {problem}"));
            machine::exit(1)
        }
    }
}

#[expect(unsafe_code, reason = "memory that the loader has filled")]
fn start() -> Result<u32, &'static str> {
    // SAFETY: above the linker's regions, apart from each other, and taken here only.
    let (settings, clip, buffers) = unsafe {
        (
            machine::loaded(SETTINGS_AT, SETTINGS_BYTES_MAX),
            machine::loaded(CLIP_AT, CLIP_BYTES_MAX),
            machine::loaded(BUFFERS_AT, BUFFERS_BYTES),
        )
    };
    let Loaded { quality, mut server_url, mut stream_key, seconds } = read(settings)?;
    let texts = [end(&mut server_url)?, end(&mut stream_key)?];
    Ok(c_calls::run(&Start::new(wire(), texts, (quality, seconds), clip, buffers)))
}

/// As C wants it.
fn end<const N: usize>(text: &mut Text<N>) -> Result<&CStr, &'static str> {
    let problem = "the server's address or the key is too long, or has a NUL in it";
    text.push('\0').map_err(|_| problem)?;
    CStr::from_bytes_with_nul(text.as_bytes()).map_err(|_| problem)
}

#[inline(never)]
fn read(bytes: &[u8]) -> Result<Loaded, &'static str> {
    let length = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    json::read(&bytes[..length]).map_err(|_| "the settings can't be read")
}

#[inline(never)]
fn wire() -> &'static RefCell<Wiring> {
    let seed = Machine.instructions() ^ Machine.micros() << 20;
    WIRING.uninit().write(RefCell::new(Wiring::new(Network::new(VirtioCard::find(), Machine.micros(), seed), seed)))
}
