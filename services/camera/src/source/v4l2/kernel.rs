//! The kernel's side of V4L2: its structures, its calls, and the memory that it shares (Linux's `videodev2.h`).
//!
//! Written here because the crates that have it leave out what a live source needs: `linuxvideo` gives no time of capture and no sequence number,
//! `v4l` needs libclang.
#![expect(
    unsafe_code,
    reason = "ioctl and mmap have no safe wrapper in a crate that we already build; each call is one line here, checked here"
)]

use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsRawFd, RawFd},
        unix::fs::OpenOptionsExt as _,
    },
    path::Path,
    ptr::NonNull,
    time::{Duration, Instant},
};

use tokio::io::{Interest, unix::AsyncFd};

use super::modes::{FourCc, Offer, Rate, Rates, Sides, Size};

/// Buffers that the driver fills in turn: one that is read, one that is filled, two for a moment's delay.
const BUFFERS: u32 = 4;
/// The most formats, sizes of a format and rates of a size that are asked for: a driver that never says that these were all is broken.
const LISTED_MAX: u32 = 256;
/// A time of capture further back than this is not believed: some drivers stamp with another clock than they say.
const AGE_MAX: Duration = Duration::from_secs(2);

const CAPTURE: u32 = 1;
const CAPTURE_MPLANE: u32 = 9;
const MEMORY_MMAP: u32 = 1;
const FIELD_NONE: u32 = 1;
const CAP_CAPTURE: u32 = 0x1;
const CAP_CAPTURE_MPLANE: u32 = 0x1000;
const CAP_STREAMING: u32 = 0x0400_0000;
const CAP_DEVICE_CAPS: u32 = 0x8000_0000;
const CAP_TIME_PER_FRAME: u32 = 0x1000;
const BUFFER_ERROR: u32 = 0x40;
const BUFFER_TIMESTAMP_MASK: u32 = 0xe000;
const BUFFER_TIMESTAMP_MONOTONIC: u32 = 0x2000;
const QUANTIZATION_FULL: u32 = 1;
const CONTROL_BITRATE: u32 = 0x0099_09cf;
const CONTROL_REPEAT_SETS: u32 = 0x0099_09e2;
const DISCRETE: u32 = 1;

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Capability {
    driver: [u8; 16],
    card: [u8; 32],
    bus_info: [u8; 32],
    version: u32,
    capabilities: u32,
    device_caps: u32,
    reserved: [u32; 3],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct FormatDescription {
    index: u32,
    kind: u32,
    flags: u32,
    description: [u8; 32],
    pixel_format: u32,
    mbus_code: u32,
    reserved: [u32; 3],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct FrameSize {
    index: u32,
    pixel_format: u32,
    kind: u32,
    /// Discrete: width, height. Otherwise least width, most width, step, and the same of height.
    sides: [u32; 6],
    reserved: [u32; 2],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct FrameInterval {
    index: u32,
    pixel_format: u32,
    width: u32,
    height: u32,
    kind: u32,
    /// Discrete: an interval. Otherwise the shortest, the longest, the step. Each is a fraction of a second.
    intervals: [[u32; 2]; 3],
    reserved: [u32; 2],
}

/// `struct v4l2_format`, of which we use the single-planar picture: a union of 200 bytes, aligned as a pointer.
#[repr(C)]
#[derive(Clone, Copy)]
struct Format {
    kind: u32,
    alignment: [usize; 0],
    width: u32,
    height: u32,
    pixel_format: u32,
    field: u32,
    line_bytes: u32,
    image_bytes: u32,
    colour_space: u32,
    private: u32,
    flags: u32,
    encoding: u32,
    quantization: u32,
    transfer: u32,
    rest: [u8; 152],
}

/// The same, of a picture that may lie in several memories.
#[repr(C)]
#[derive(Clone, Copy)]
struct MultiPlanarFormat {
    kind: u32,
    alignment: [usize; 0],
    width: u32,
    height: u32,
    pixel_format: u32,
    field: u32,
    colour_space: u32,
    planes: [PlaneFormat; 8],
    planes_count: u8,
    flags: u8,
    encoding: u8,
    quantization: u8,
    rest: [u8; 16],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct PlaneFormat {
    image_bytes: u32,
    line_bytes: u32,
    reserved: [u16; 6],
}

/// `struct v4l2_streamparm`, of capture.
#[repr(C)]
#[derive(Clone, Copy)]
struct StreamParameters {
    kind: u32,
    capability: u32,
    mode: u32,
    interval: [u32; 2],
    extended_mode: u32,
    read_buffers: u32,
    rest: [u8; 176],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct RequestBuffers {
    count: u32,
    kind: u32,
    memory: u32,
    capabilities: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Buffer {
    index: u32,
    kind: u32,
    bytes_used: u32,
    flags: u32,
    field: u32,
    timestamp: libc::timeval,
    timecode: [u32; 4],
    sequence: u32,
    memory: u32,
    /// A union: where the buffer lies in the device's file (32 bits), or the address of its [`Plane`].
    place: usize,
    length: u32,
    reserved: u32,
    request: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Plane {
    bytes_used: u32,
    length: u32,
    place: usize,
    data_offset: u32,
    reserved: [u32; 11],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Control {
    id: u32,
    value: i32,
}

/// Of the union that `place` is, the 32 bits.
fn offset_of(place: usize) -> u32 {
    let [a, b, c, d, ..] = place.to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}

impl Buffer {
    fn of(kind: u32, index: u32) -> Self {
        Self {
            index,
            kind,
            bytes_used: 0,
            flags: 0,
            field: 0,
            timestamp: libc::timeval { tv_sec: 0, tv_usec: 0 },
            timecode: [0; 4],
            sequence: 0,
            memory: MEMORY_MMAP,
            place: 0,
            length: 0,
            reserved: 0,
            request: 0,
        }
    }
}

/// The kernel's calls: which way the structure goes, and its number.
#[derive(Clone, Copy)]
enum Call {
    Read(u32),
    Write(u32),
    Both(u32),
}

const QUERYCAP: Call = Call::Read(0);
const ENUM_FMT: Call = Call::Both(2);
const S_FMT: Call = Call::Both(5);
const REQBUFS: Call = Call::Both(8);
const QUERYBUF: Call = Call::Both(9);
const QBUF: Call = Call::Both(15);
const DQBUF: Call = Call::Both(17);
const STREAMON: Call = Call::Write(18);
const G_PARM: Call = Call::Both(21);
const S_PARM: Call = Call::Both(22);
const S_CTRL: Call = Call::Both(28);
const ENUM_FRAMESIZES: Call = Call::Both(74);
const ENUM_FRAMEINTERVALS: Call = Call::Both(75);

/// The structures of this file: plain integers, laid out as the kernel's.
trait Plain: Copy {}
impl Plain for Capability {}
impl Plain for FormatDescription {}
impl Plain for FrameSize {}
impl Plain for FrameInterval {}
impl Plain for Format {}
impl Plain for MultiPlanarFormat {}
impl Plain for StreamParameters {}
impl Plain for RequestBuffers {}
impl Plain for Buffer {}
impl Plain for Control {}
impl Plain for libc::c_int {}

fn call<T: Plain>(file: &File, call: Call, argument: &mut T) -> io::Result<()> {
    let group = u32::from(b'V');
    let number = match call {
        Call::Read(number) => libc::_IOR::<T>(group, number),
        Call::Write(number) => libc::_IOW::<T>(group, number),
        Call::Both(number) => libc::_IOWR::<T>(group, number),
    };
    loop {
        // SAFETY: the number carries the structure's size, which the kernel checks; it reads and writes within `argument`, whose integers may
        // have any value, and within the plane that a multi-planar buffer names: see `Device::buffer`.
        if unsafe { libc::ioctl(file.as_raw_fd(), number, std::ptr::from_mut(argument)) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// What a device says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) driver: String,
    /// Where it is plugged in.
    pub(crate) bus: String,
    pub(crate) ability: Ability,
}

/// Whether a device gives pictures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ability {
    Capture,
    /// An output, metadata, a radio.
    Other,
}

/// An open `/dev/videoN`.
#[derive(Debug)]
pub(crate) struct Device {
    file: File,
    /// By the interface for pictures in one memory, or in several.
    kind: u32,
}

/// What the driver settled for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Settled {
    pub(crate) format: FourCc,
    pub(crate) size: Size,
    /// Memories that a picture lies in.
    pub(crate) memories: u8,
    /// Bytes from one line to the next, of the first plane.
    pub(crate) line_bytes: usize,
    /// Samples use all of 0 to 255.
    pub(crate) is_full_range: bool,
    pub(crate) rate: Option<Rate>,
}

impl Device {
    /// Opens without waiting, and asks nothing.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        Ok(Self { file, kind: CAPTURE })
    }

    /// Who it is. To be asked first: from then on it is spoken to by the interface that it has.
    pub(crate) fn identity(&mut self) -> io::Result<Identity> {
        let mut answer = Capability::default();
        call(&self.file, QUERYCAP, &mut answer)?;
        let caps = if answer.capabilities & CAP_DEVICE_CAPS != 0 { answer.device_caps } else { answer.capabilities };
        self.kind = if caps & CAP_CAPTURE == 0 && caps & CAP_CAPTURE_MPLANE != 0 { CAPTURE_MPLANE } else { CAPTURE };
        let gives_pictures = caps & CAP_STREAMING != 0 && caps & (CAP_CAPTURE | CAP_CAPTURE_MPLANE) != 0;
        let ability = if gives_pictures { Ability::Capture } else { Ability::Other };
        let (name, driver, bus) = (text(&answer.card), text(&answer.driver), text(&answer.bus_info));
        Ok(Identity { name, driver, bus, ability })
    }

    /// Every format with its sizes and rates, as the driver lists them.
    pub(crate) fn offers(&self) -> Vec<Offer> {
        let formats = (0..LISTED_MAX).map_while(|index| {
            let mut answer = FormatDescription { index, kind: self.kind, ..Default::default() };
            call(&self.file, ENUM_FMT, &mut answer).ok()?;
            let format = FourCc(answer.pixel_format.to_le_bytes());
            Some(Offer { format, description: text(&answer.description), sizes: self.sizes(answer.pixel_format) })
        });
        formats.collect()
    }

    fn sizes(&self, pixel_format: u32) -> Vec<(Sides, Rates)> {
        let sizes = (0..LISTED_MAX).map_while(|index| {
            let mut answer = FrameSize { index, pixel_format, ..Default::default() };
            call(&self.file, ENUM_FRAMESIZES, &mut answer).ok()?;
            let [a, b, step_width, c, d, step_height] = answer.sides;
            // A range has one entry; its rates are those of the largest.
            Some(if answer.kind == DISCRETE {
                let size = Size { width: a, height: b };
                (Sides::Exactly(size), self.rates(pixel_format, size))
            } else {
                let (least, most) = (Size { width: a, height: c }, Size { width: b, height: d });
                let step = Size { width: step_width.max(1), height: step_height.max(1) };
                (Sides::Between { least, most, step }, self.rates(pixel_format, most))
            })
        });
        sizes.collect()
    }

    fn rates(&self, pixel_format: u32, Size { width, height }: Size) -> Rates {
        let rate = |[numerator, denominator]: [u32; 2]| Rate::from_interval(numerator, denominator);
        let mut listed = Vec::new();
        for index in 0..LISTED_MAX {
            let mut answer = FrameInterval { index, pixel_format, width, height, ..Default::default() };
            if call(&self.file, ENUM_FRAMEINTERVALS, &mut answer).is_err() {
                break;
            }
            if answer.kind != DISCRETE {
                let [shortest, longest, _] = answer.intervals.map(rate);
                return match (longest, shortest) {
                    (Some(least), Some(most)) => Rates::Between { least, most },
                    _ => Rates::Unknown,
                };
            }
            listed.extend(rate(answer.intervals[0]));
        }
        if listed.is_empty() { Rates::Unknown } else { Rates::Listed(listed) }
    }

    /// Asks for a format, a size and a rate; gives what the driver makes of it.
    pub(crate) fn set(&self, format: FourCc, size: Size, rate: Option<Rate>) -> io::Result<Settled> {
        if self.kind == CAPTURE_MPLANE { self.set_multi_planar(format, size, rate) } else { self.set_single_planar(format, size, rate) }
    }

    fn set_multi_planar(&self, format: FourCc, size: Size, rate: Option<Rate>) -> io::Result<Settled> {
        let mut answer = MultiPlanarFormat {
            kind: self.kind,
            alignment: [],
            width: size.width,
            height: size.height,
            pixel_format: u32::from_le_bytes(format.0),
            field: FIELD_NONE,
            colour_space: 0,
            planes: [PlaneFormat::default(); 8],
            planes_count: 1,
            flags: 0,
            encoding: 0,
            quantization: 0,
            rest: [0; 16],
        };
        call(&self.file, S_FMT, &mut answer)?;
        Ok(Settled {
            format: FourCc(answer.pixel_format.to_le_bytes()),
            size: Size { width: answer.width, height: answer.height },
            memories: answer.planes_count,
            line_bytes: answer.planes[0].line_bytes as usize,
            is_full_range: u32::from(answer.quantization) == QUANTIZATION_FULL,
            rate: self.set_rate(rate),
        })
    }

    fn set_single_planar(&self, format: FourCc, size: Size, rate: Option<Rate>) -> io::Result<Settled> {
        let mut answer = Format {
            kind: self.kind,
            alignment: [],
            width: size.width,
            height: size.height,
            pixel_format: u32::from_le_bytes(format.0),
            field: FIELD_NONE,
            line_bytes: 0,
            image_bytes: 0,
            colour_space: 0,
            private: 0,
            flags: 0,
            encoding: 0,
            quantization: 0,
            transfer: 0,
            rest: [0; 152],
        };
        call(&self.file, S_FMT, &mut answer)?;
        Ok(Settled {
            format: FourCc(answer.pixel_format.to_le_bytes()),
            size: Size { width: answer.width, height: answer.height },
            memories: 1,
            line_bytes: answer.line_bytes as usize,
            is_full_range: answer.quantization == QUANTIZATION_FULL,
            rate: self.set_rate(rate),
        })
    }

    /// Cameras without a choice of rates have their own.
    fn set_rate(&self, rate: Option<Rate>) -> Option<Rate> {
        let mut answer = StreamParameters {
            kind: self.kind,
            capability: 0,
            mode: 0,
            interval: [0; 2],
            extended_mode: 0,
            read_buffers: 0,
            rest: [0; 176],
        };
        call(&self.file, G_PARM, &mut answer).ok()?;
        if let (Some(rate), true) = (rate, answer.capability & CAP_TIME_PER_FRAME != 0) {
            answer.interval = [rate.seconds, rate.frames];
            call(&self.file, S_PARM, &mut answer).ok()?;
        }
        Rate::from_interval(answer.interval[0], answer.interval[1])
    }

    /// Tells a camera with an encoder of its own its bit rate, and to repeat the parameter sets before each key frame. Not all can.
    pub(crate) fn set_encoder(&self, bitrate_bps: u32) {
        for (id, value) in [(CONTROL_BITRATE, i32::try_from(bitrate_bps).unwrap_or(i32::MAX)), (CONTROL_REPEAT_SETS, 1)] {
            let mut control = Control { id, value };
            if let Err(error) = call(&self.file, S_CTRL, &mut control) {
                tracing::debug!(id, %error, "the camera's encoder has no such control");
            }
        }
    }

    /// A call that is about one buffer.
    fn buffer(&self, about: Call, index: u32) -> io::Result<Filled> {
        let (mut buffer, mut plane) = (Buffer::of(self.kind, index), Plane::default());
        if self.kind == CAPTURE_MPLANE {
            // The kernel reads and writes it during the call, and keeps no address of it.
            buffer.place = (&raw mut plane).expose_provenance();
            buffer.length = 1;
        }
        call(&self.file, about, &mut buffer)?;
        Ok(if self.kind == CAPTURE_MPLANE {
            let Plane { bytes_used, length, place, data_offset, .. } = plane;
            Filled { buffer, begin: data_offset, end: bytes_used, length, offset: offset_of(place) }
        } else {
            Filled { buffer, begin: 0, end: buffer.bytes_used, length: buffer.length, offset: offset_of(buffer.place) }
        })
    }

    /// Begins to capture.
    pub(crate) fn start(self) -> io::Result<Stream> {
        let mut request = RequestBuffers { count: BUFFERS, kind: self.kind, memory: MEMORY_MMAP, ..Default::default() };
        call(&self.file, REQBUFS, &mut request)?;
        let maps = (0..request.count).map(|index| Map::of(&self, index)).collect::<io::Result<Vec<_>>>()?;
        for index in 0..request.count {
            self.buffer(QBUF, index)?;
        }
        call(&self.file, STREAMON, &mut (self.kind as libc::c_int))?;
        Ok(Stream { device: self, maps, expected: None })
    }
}

/// A buffer as the kernel describes it, by either interface.
struct Filled {
    buffer: Buffer,
    /// Where the picture begins and ends in its memory.
    begin: u32,
    end: u32,
    /// Bytes of the memory.
    length: u32,
    /// Where the memory lies in the device's file.
    offset: u32,
}

/// A NUL-terminated text of the driver's.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// One buffer, in our memory too.
#[derive(Debug)]
struct Map {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the memory belongs to the process, and only `Stream`, which has one owner, reads it.
unsafe impl Send for Map {}

impl Map {
    fn of(device: &Device, index: u32) -> io::Result<Self> {
        let filled = device.buffer(QUERYBUF, index)?;
        let length = filled.length as usize;
        let offset = libc::off_t::from(i32::try_from(filled.offset).map_err(io::Error::other)?);
        // SAFETY: the kernel picks the place; the length is what it said of this buffer.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, libc::MAP_SHARED, device.file.as_raw_fd(), offset) };
        match NonNull::new(start.cast::<u8>()) {
            Some(start) if start.as_ptr().cast() != libc::MAP_FAILED => Ok(Self { start, length }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Copies, because the driver writes here again as soon as it has the buffer back.
    fn copy(&self, begin: u32, end: u32, out: &mut Vec<u8>) {
        let end = (end as usize).min(self.length);
        let begin = (begin as usize).min(end);
        let bytes = end - begin;
        out.clear();
        out.reserve(bytes);
        // SAFETY: both are at least this long and do not overlap; the driver does not write to a buffer that we hold.
        unsafe {
            std::ptr::copy_nonoverlapping(self.start.as_ptr().add(begin), out.as_mut_ptr(), bytes);
            out.set_len(bytes);
        }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, once, and nothing borrows from it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// What was captured, besides its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Captured {
    /// When, on our own clock.
    pub(crate) at: Instant,
    /// Pictures before it are missing: the driver found no free buffer.
    pub(crate) follows_loss: bool,
}

/// A device that captures. Dropped, it stops: the kernel does that when its file is closed.
#[derive(Debug)]
pub(crate) struct Stream {
    // Before the device: nothing is mapped when it is closed.
    maps: Vec<Map>,
    device: Device,
    /// The sequence number of the next picture.
    expected: Option<u32>,
}

impl Stream {
    /// Lets tokio wait for it: for pictures, and for its end.
    pub(crate) fn watch(self) -> io::Result<AsyncFd<Self>> {
        // SAFETY: the descriptor is the file's, which `self` owns, keeps open and never replaces.
        Ok(unsafe { AsyncFd::register_with_interest(self, Interest::READABLE | Interest::ERROR) }?)
    }

    /// The next picture, into `out`. [`io::ErrorKind::WouldBlock`]: none is there yet. `None`: one that the driver says is broken.
    pub(crate) fn take(&mut self, out: &mut Vec<u8>) -> io::Result<Option<Captured>> {
        let Filled { buffer, begin, end, .. } = self.device.buffer(DQBUF, 0)?;
        let at = captured_at(&buffer);
        let follows_loss = self.expected.is_some_and(|expected| expected != buffer.sequence);
        self.expected = Some(buffer.sequence.wrapping_add(1));
        let is_broken = buffer.flags & BUFFER_ERROR != 0 || end <= begin;
        if let (Some(map), false) = (self.maps.get(buffer.index as usize), is_broken) {
            map.copy(begin, end, out);
        }
        self.device.buffer(QBUF, buffer.index)?;
        if is_broken {
            // What refers to it is broken too.
            self.expected = Some(buffer.sequence);
            return Ok(None);
        }
        Ok(Some(Captured { at, follows_loss }))
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.device.file.as_raw_fd()
    }
}

/// The driver's time of capture where it is of the clock that [`Instant`] has (`CLOCK_MONOTONIC`); otherwise now.
fn captured_at(buffer: &Buffer) -> Instant {
    let now = Instant::now();
    if buffer.flags & BUFFER_TIMESTAMP_MASK != BUFFER_TIMESTAMP_MONOTONIC {
        return now;
    }
    let mut clock = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec.
    if unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut clock) } != 0 {
        return now;
    }
    // Wide enough for either width that these have.
    let now_micros = i128::from(clock.tv_sec) * 1_000_000 + i128::from(clock.tv_nsec) / 1_000;
    let age_micros = now_micros - i128::from(buffer.timestamp.tv_sec) * 1_000_000 - i128::from(buffer.timestamp.tv_usec);
    let age = u64::try_from(age_micros).map(Duration::from_micros).unwrap_or_default();
    if age > AGE_MAX { now } else { now.checked_sub(age).unwrap_or(now) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(all(
        target_pointer_width = "64",
        target_endian = "little",
        any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
    ))]
    fn the_calls_have_the_numbers_of_the_kernel_s_header() {
        fn both<T>(call: Call) -> libc::Ioctl {
            let (Call::Read(number) | Call::Write(number) | Call::Both(number)) = call;
            match call {
                Call::Read(_) => libc::_IOR::<T>(86, number),
                Call::Write(_) => libc::_IOW::<T>(86, number),
                Call::Both(_) => libc::_IOWR::<T>(86, number),
            }
        }
        // As a C compiler prints them from <linux/videodev2.h>: the size of each structure is in them.
        for (mine, kernel) in [
            (both::<Capability>(QUERYCAP), 0x8068_5600_u64),
            (both::<FormatDescription>(ENUM_FMT), 0xc040_5602),
            (both::<Format>(S_FMT), 0xc0d0_5605),
            (both::<RequestBuffers>(REQBUFS), 0xc014_5608),
            (both::<Buffer>(QUERYBUF), 0xc058_5609),
            (both::<Buffer>(QBUF), 0xc058_560f),
            (both::<Buffer>(DQBUF), 0xc058_5611),
            (both::<libc::c_int>(STREAMON), 0x4004_5612),
            (both::<StreamParameters>(G_PARM), 0xc0cc_5615),
            (both::<StreamParameters>(S_PARM), 0xc0cc_5616),
            (both::<Control>(S_CTRL), 0xc008_561c),
            (both::<FrameSize>(ENUM_FRAMESIZES), 0xc02c_564a),
            (both::<FrameInterval>(ENUM_FRAMEINTERVALS), 0xc034_564b),
        ] {
            assert_eq!(mine, kernel, "{mine:#x}, not {kernel:#x}");
        }
        assert_eq!((std::mem::offset_of!(Format, width), std::mem::offset_of!(Buffer, place)), (8, 64));
        assert_eq!((size_of::<MultiPlanarFormat>(), std::mem::offset_of!(MultiPlanarFormat, quantization)), (208, 191));
        assert_eq!((size_of::<Plane>(), std::mem::offset_of!(Plane, place), std::mem::offset_of!(Plane, data_offset)), (64, 8, 16));
    }
}
