//! The settings and the clip of this image, from environment variables; and where its linker scripts are.
//!
//! Each problem comes with what to do: `cargo` shows it in place of the build.

use std::{collections::BTreeMap, env, fmt, fmt::Write as _, fs, net::SocketAddrV4, path::PathBuf};

/// It is in RAM, as an encoder's buffers would be: the linker's region has 436 KB, of which the rest needs 200.
const CLIP_BYTES_MAX: usize = 224 << 10;

fn main() {
    // esp-hal's memory map, made by its own build for this chip.
    println!("cargo::rustc-link-arg-bins=-Tlinkall.x");
    println!("cargo::rerun-if-changed=scene.h264");
    if let Err(problem) = settings().and_then(|()| clip()) {
        println!("cargo::error={problem}");
    }
}

/// What is wrong with the image's settings: which, and what it should be.
struct Problem(String);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<Words: Into<String>> From<Words> for Problem {
    fn from(words: Words) -> Self {
        Self(words.into())
    }
}

fn variable(name: &str) -> Option<String> {
    println!("cargo::rerun-if-env-changed={name}");
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn out(name: &str) -> PathBuf {
    PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join(name)
}

/// What the image must know of its place in the world, as constants.
fn settings() -> Result<(), Problem> {
    let device = variable("SIGHTLINE_DEVICE").ok_or("SIGHTLINE_DEVICE is not set: the device's name at the broker, as porch-1")?;
    let is_name = (1..=64).contains(&device.len()) && device.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if !is_name {
        return Err(Problem(format!("SIGHTLINE_DEVICE={device}: a device's name has 1 to 64 characters of A-Z a-z 0-9 _ -")));
    }
    let broker =
        variable("SIGHTLINE_BROKER").ok_or("SIGHTLINE_BROKER is not set: address and port of the MQTT broker, as 192.168.1.10:1883")?;
    let broker: SocketAddrV4 = broker
        .parse()
        .map_err(|_| format!("SIGHTLINE_BROKER={broker}: an IPv4 address and a port, as 192.168.1.10:1883 (the image asks no DNS)"))?;
    let qualities = BTreeMap::from([("low", "Low"), ("medium", "Medium"), ("high", "High"), ("ultra", "Ultra")]);
    let quality = variable("SIGHTLINE_QUALITY").unwrap_or_else(|| "low".into());
    let quality = qualities.get(&*quality).ok_or_else(|| format!("SIGHTLINE_QUALITY={quality}: low, medium, high or ultra"))?;
    let trigger = variable("SIGHTLINE_TRIGGER").unwrap_or_else(|| "manual".into());
    let is_always_on = match &*trigger {
        "manual" => false,
        "always_on" => true,
        _ => return Err(Problem(format!("SIGHTLINE_TRIGGER={trigger}: manual or always_on"))),
    };
    let mut text = String::new();
    let _ = writeln!(text, "const DEVICE: &str = {device:?};");
    let _ = writeln!(text, "const BROKER: ([u8; 4], u16) = ({:?}, {});", broker.ip().octets(), broker.port());
    let _ = writeln!(text, "const QUALITY: Quality = Quality::{quality};");
    let _ = writeln!(text, "const IS_ALWAYS_ON: bool = {is_always_on};");
    fs::write(out("settings.rs"), text).map_err(|error| Problem(format!("settings.rs: {error}")))
}

/// The clip that takes the place of camera and encoder, in the form that `sightline_board::Clip` reads.
fn clip() -> Result<(), Problem> {
    let file = variable("SIGHTLINE_CLIP").unwrap_or_else(|| "scene.h264".into());
    let fps = variable("SIGHTLINE_CLIP_FPS").unwrap_or_else(|| "15".into());
    let fps = fps.parse().ok().filter(|fps| (1..=60_u32).contains(fps)).ok_or_else(|| format!("SIGHTLINE_CLIP_FPS={fps}: 1 to 60"))?;
    println!("cargo::rerun-if-changed={file}");
    let stream = fs::read(&file).map_err(|error| format!("SIGHTLINE_CLIP={file}: {error}; a file with H.264 in Annex B form"))?;
    let units = access_units(&stream);
    if !units.first().is_some_and(|unit| nal_types(unit).any(|kind| kind == 7)) {
        return Err(Problem(format!("{file}: no H.264 in Annex B form, or its first picture comes without parameter sets")));
    }
    let (mut index, mut data) = (Vec::new(), Vec::new());
    for unit in &units {
        index.extend([data.len(), unit.len()].map(|number| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes()).concat());
        data.extend_from_slice(unit);
    }
    let count = u32::try_from(units.len()).unwrap_or(u32::MAX);
    let clip = [&b"SLCLIP01"[..], &count.to_le_bytes(), &fps.to_le_bytes(), &index, &data].concat();
    if clip.len() > CLIP_BYTES_MAX {
        return Err(Problem(format!(
            "{file}: {} bytes; at most {CLIP_BYTES_MAX} fit beside the image: a shorter clip, or fewer bits",
            clip.len()
        )));
    }
    fs::write(out("clip.bin"), clip).map_err(|error| Problem(format!("clip.bin: {error}")))
}

/// Access units with start codes of four bytes, whatever start codes the stream has.
fn access_units(stream: &[u8]) -> Vec<Vec<u8>> {
    let starts: Vec<usize> = stream.windows(3).enumerate().filter(|(_, three)| *three == [0, 0, 1]).map(|(at, _)| at).collect();
    let ends = starts.iter().skip(1).copied().chain([stream.len()]);
    let mut units: Vec<Vec<u8>> = Vec::new();
    let mut has_slice = true;
    for (start, end) in starts.iter().copied().zip(ends) {
        // Zeros before a start code belong to it.
        let zeros = stream[start + 3..end].iter().rev().take_while(|byte| **byte == 0).count();
        let nal = &stream[start + 3..end - zeros];
        let [header, rest @ ..] = nal else { continue };
        let is_slice = matches!(header & 0x1f, 1..=5);
        // ue(v) of zero is a bit: the picture's first macroblock.
        let is_first = rest.first().is_some_and(|byte| byte & 0x80 != 0);
        if units.is_empty() || has_slice && (!is_slice || is_first) {
            units.push(Vec::new());
            has_slice = false;
        }
        has_slice |= is_slice;
        if let Some(unit) = units.last_mut() {
            unit.extend_from_slice(&[0, 0, 0, 1]);
            unit.extend_from_slice(nal);
        }
    }
    units
}

/// Of a unit with start codes of four bytes.
fn nal_types(unit: &[u8]) -> impl Iterator<Item = u8> {
    unit.windows(5).filter(|bytes| bytes[..4] == [0, 0, 0, 1]).map(|bytes| bytes[4] & 0x1f)
}
