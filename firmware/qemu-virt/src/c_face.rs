//! A firmware in C on the same machine: `c/camera.c` over `firmware/capi`'s library, `libsightline.a`, as it is handed out.
//!
//! The loader puts the settings (JSON) to 0x87f00000 and a clip to 0x88000000. The C streams the clip to a server that the settings name, and reports after
//! `seconds` what it has seen. What it asks of the machine is `c_calls`.
#![no_std]
#![no_main]

mod c_calls;
mod card;
mod machine;

use c_calls::{Start, Wiring};
use card::VirtioCard;
use core::{cell::RefCell, ffi::CStr};
use machine::Machine;
use sightline_board::{Board as _, Network};
use sightline_signal::{Quality, Text};
use static_cell::StaticCell;

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

fn start() -> Result<u32, &'static str> {
    let [settings, clip, buffers] = machine::loaded();
    let Loaded { quality, mut server_url, mut stream_key, seconds } = machine::read(settings)?;
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
fn wire() -> &'static RefCell<Wiring> {
    let seed = Machine.instructions() ^ Machine.micros() << 20;
    WIRING.uninit().write(RefCell::new(Wiring::new(Network::new(VirtioCard::find(), Machine.micros(), seed), seed)))
}
