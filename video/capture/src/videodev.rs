//! Linux's `videodev2.h`, as far as cameras and encoders of this machine need it: structures, calls, and memory that is shared with a driver.
//!
//! Written here because the crates that have it leave out what a live source needs: `linuxvideo` gives no time of capture and no sequence number and
//! knows no encoders, `v4l` needs libclang.
#![expect(
    unsafe_code,
    reason = "ioctl and mmap have no safe wrapper in a crate that we already build; each call is one line here, checked here"
)]

use std::{fs::File, io, os::fd::AsRawFd, ptr::NonNull};

pub const CAPTURE: u32 = 1;
pub const OUTPUT: u32 = 2;
pub const CAPTURE_MPLANE: u32 = 9;
pub const OUTPUT_MPLANE: u32 = 10;
pub const MEMORY_MMAP: u32 = 1;
pub const FIELD_NONE: u32 = 1;
pub const CAP_CAPTURE: u32 = 0x1;
pub const CAP_CAPTURE_MPLANE: u32 = 0x1000;
pub const CAP_M2M: u32 = 0x8000;
pub const CAP_M2M_MPLANE: u32 = 0x4000;
pub const CAP_STREAMING: u32 = 0x0400_0000;
pub const CAP_DEVICE_CAPS: u32 = 0x8000_0000;
pub const CAP_TIME_PER_FRAME: u32 = 0x1000;
pub const BUFFER_KEYFRAME: u32 = 0x8;
pub const BUFFER_ERROR: u32 = 0x40;
pub const BUFFER_LAST: u32 = 0x10_0000;
pub const BUFFER_TIMESTAMP_MASK: u32 = 0xe000;
pub const BUFFER_TIMESTAMP_MONOTONIC: u32 = 0x2000;
pub const QUANTIZATION_FULL: u32 = 1;
pub const CONTROL_BITRATE: u32 = 0x0099_09cf;
pub const CONTROL_REPEAT_SETS: u32 = 0x0099_09e2;
pub const DISCRETE: u32 = 1;

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Capability {
    pub driver: [u8; 16],
    pub card: [u8; 32],
    pub bus_info: [u8; 32],
    pub version: u32,
    pub capabilities: u32,
    pub device_caps: u32,
    pub reserved: [u32; 3],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct FormatDescription {
    pub index: u32,
    pub kind: u32,
    pub flags: u32,
    pub description: [u8; 32],
    pub pixel_format: u32,
    pub mbus_code: u32,
    pub reserved: [u32; 3],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameSize {
    pub index: u32,
    pub pixel_format: u32,
    pub kind: u32,
    /// Discrete: width, height. Otherwise least width, most width, step, and the same of height.
    pub sides: [u32; 6],
    pub reserved: [u32; 2],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameInterval {
    pub index: u32,
    pub pixel_format: u32,
    pub width: u32,
    pub height: u32,
    pub kind: u32,
    /// Discrete: an interval. Otherwise the shortest, the longest, the step. Each is a fraction of a second.
    pub intervals: [[u32; 2]; 3],
    pub reserved: [u32; 2],
}

/// `struct v4l2_format`, of which we use the single-planar picture: a union of 200 bytes, aligned as a pointer.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Format {
    pub kind: u32,
    pub alignment: [usize; 0],
    pub width: u32,
    pub height: u32,
    pub pixel_format: u32,
    pub field: u32,
    pub line_bytes: u32,
    pub image_bytes: u32,
    pub colour_space: u32,
    pub private: u32,
    pub flags: u32,
    pub encoding: u32,
    pub quantization: u32,
    pub transfer: u32,
    pub rest: [u8; 152],
}

/// The same, of a picture that may lie in several memories.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct MultiPlanarFormat {
    pub kind: u32,
    pub alignment: [usize; 0],
    pub width: u32,
    pub height: u32,
    pub pixel_format: u32,
    pub field: u32,
    pub colour_space: u32,
    pub planes: [PlaneFormat; 8],
    pub planes_count: u8,
    pub flags: u8,
    pub encoding: u8,
    pub quantization: u8,
    pub rest: [u8; 16],
}

#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PlaneFormat {
    pub image_bytes: u32,
    pub line_bytes: u32,
    pub reserved: [u16; 6],
}

/// `struct v4l2_streamparm`, of capture.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct StreamParameters {
    pub kind: u32,
    pub capability: u32,
    pub mode: u32,
    pub interval: [u32; 2],
    pub extended_mode: u32,
    pub read_buffers: u32,
    pub rest: [u8; 176],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestBuffers {
    pub count: u32,
    pub kind: u32,
    pub memory: u32,
    pub capabilities: u32,
    pub flags: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Buffer {
    pub index: u32,
    pub kind: u32,
    pub bytes_used: u32,
    pub flags: u32,
    pub field: u32,
    pub timestamp: libc::timeval,
    pub timecode: [u32; 4],
    pub sequence: u32,
    pub memory: u32,
    /// A union: where the buffer lies in the device's file (32 bits), or the address of its [`Plane`].
    pub place: usize,
    pub length: u32,
    pub reserved: u32,
    pub request: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Plane {
    pub bytes_used: u32,
    pub length: u32,
    pub place: usize,
    pub data_offset: u32,
    pub reserved: [u32; 11],
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Control {
    pub id: u32,
    pub value: i32,
}

/// What a driver says of a control.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ControlDescription {
    pub id: u32,
    pub kind: u32,
    pub name: [u8; 32],
    pub minimum: i32,
    pub maximum: i32,
    pub step: i32,
    pub default: i32,
    pub flags: u32,
    pub reserved: [u32; 2],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct EncoderCommand {
    pub command: u32,
    pub flags: u32,
    pub data: [u32; 8],
}

/// A rectangle of a queue's pictures.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Selection {
    pub kind: u32,
    pub target: u32,
    pub flags: u32,
    pub left: i32,
    pub top: i32,
    pub width: u32,
    pub height: u32,
    pub reserved: [u32; 9],
}

impl StreamParameters {
    pub const fn of(kind: u32) -> Self {
        Self { kind, capability: 0, mode: 0, interval: [0; 2], extended_mode: 0, read_buffers: 0, rest: [0; 176] }
    }
}

/// Of the union that `place` is, the 32 bits.
pub fn offset_of(place: usize) -> u32 {
    let [a, b, c, d, ..] = place.to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}

impl Buffer {
    pub fn of(kind: u32, index: u32) -> Self {
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
#[derive(Clone, Copy, Debug)]
pub enum Call {
    Read(u32),
    Write(u32),
    Both(u32),
}

pub const QUERYCAP: Call = Call::Read(0);
pub const ENUM_FMT: Call = Call::Both(2);
pub const S_FMT: Call = Call::Both(5);
pub const REQBUFS: Call = Call::Both(8);
pub const QUERYBUF: Call = Call::Both(9);
pub const QBUF: Call = Call::Both(15);
pub const DQBUF: Call = Call::Both(17);
pub const STREAMON: Call = Call::Write(18);
pub const STREAMOFF: Call = Call::Write(19);
pub const G_PARM: Call = Call::Both(21);
pub const S_PARM: Call = Call::Both(22);
pub const G_CTRL: Call = Call::Both(27);
pub const S_CTRL: Call = Call::Both(28);
pub const QUERYCTRL: Call = Call::Both(36);
pub const ENUM_FRAMESIZES: Call = Call::Both(74);
pub const ENUM_FRAMEINTERVALS: Call = Call::Both(75);
pub const ENCODER_CMD: Call = Call::Both(77);
pub const S_SELECTION: Call = Call::Both(95);

mod sealed {
    pub trait Sealed {}
}

/// The structures of this file: plain integers, laid out as the kernel's. Sealed: `call` lets the kernel write into them.
pub trait Plain: Copy + sealed::Sealed {}

macro_rules! plain {
    ($($name:ty),*) => {
        $(impl sealed::Sealed for $name {} impl Plain for $name {})*
    };
}
plain!(
    Capability,
    FormatDescription,
    FrameSize,
    FrameInterval,
    Format,
    MultiPlanarFormat,
    StreamParameters,
    RequestBuffers,
    Buffer,
    Control,
    ControlDescription,
    EncoderCommand,
    Selection,
    libc::c_int
);

/// Makes one call of the interface; a call that a signal interrupted is made again.
pub fn call<T: Plain>(file: &File, call: Call, argument: &mut T) -> io::Result<()> {
    let group = u32::from(b'V');
    let number = match call {
        Call::Read(number) => libc::_IOR::<T>(group, number),
        Call::Write(number) => libc::_IOW::<T>(group, number),
        Call::Both(number) => libc::_IOWR::<T>(group, number),
    };
    loop {
        // SAFETY: the number carries the structure's size, which the kernel checks; it reads and writes within `argument`, whose integers may
        // have any value, and within the plane that a multi-planar buffer names: see `PlanedBuffer`.
        if unsafe { libc::ioctl(file.as_raw_fd(), number, std::ptr::from_mut(argument)) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// A NUL-terminated text of the driver's.
pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// The most formats, sizes of a format and rates of a size that are asked for: a driver that never says that these were all is broken.
pub const LISTED_MAX: u32 = 256;
/// The most memories that a picture can lie in.
pub const PLANES_MAX: usize = 8;

/// A [`Buffer`] with its planes, which one of the multi-planar interface needs beside it.
#[derive(Debug)]
pub struct PlanedBuffer {
    pub buffer: Buffer,
    pub planes: [Plane; PLANES_MAX],
}

impl PlanedBuffer {
    pub fn of(kind: u32, index: u32) -> Self {
        Self { buffer: Buffer::of(kind, index), planes: [Plane::default(); PLANES_MAX] }
    }

    /// A call that is about one buffer of `planes` memories. By the interface for one memory the first plane is the buffer.
    pub fn call(&mut self, file: &File, about: Call, planes: usize) -> io::Result<()> {
        let is_multi_planar = matches!(self.buffer.kind, CAPTURE_MPLANE | OUTPUT_MPLANE);
        if is_multi_planar {
            // The kernel reads and writes them during the call, and keeps no address of them.
            self.buffer.place = (&raw mut self.planes).expose_provenance();
            self.buffer.length = planes.min(PLANES_MAX) as u32;
        } else {
            self.buffer.bytes_used = self.planes[0].bytes_used;
        }
        call(file, about, &mut self.buffer)?;
        if !is_multi_planar {
            let Buffer { bytes_used, length, place, .. } = self.buffer;
            self.planes[0] = Plane { bytes_used, length, place, ..Plane::default() };
        }
        Ok(())
    }
}

/// What a driver made of a format that it was asked for, by either interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Negotiated {
    pub pixel_format: u32,
    pub width: u32,
    pub height: u32,
    /// Of each memory.
    pub planes: [PlaneFormat; PLANES_MAX],
    pub planes_count: u8,
    pub quantization: u32,
}

/// Sets a queue's format. `image_bytes`: wanted of the first memory; 0: the driver's choice.
pub fn set_format(file: &File, kind: u32, pixel_format: u32, (width, height): (u32, u32), image_bytes: u32) -> io::Result<Negotiated> {
    let mut planes = [PlaneFormat::default(); PLANES_MAX];
    planes[0].image_bytes = image_bytes;
    if matches!(kind, CAPTURE_MPLANE | OUTPUT_MPLANE) {
        let mut answer = MultiPlanarFormat {
            kind,
            alignment: [],
            width,
            height,
            pixel_format,
            field: FIELD_NONE,
            colour_space: 0,
            planes,
            planes_count: 1,
            flags: 0,
            encoding: 0,
            quantization: 0,
            rest: [0; 16],
        };
        call(file, S_FMT, &mut answer)?;
        let MultiPlanarFormat { pixel_format, width, height, planes, planes_count, quantization, .. } = answer;
        return Ok(Negotiated { pixel_format, width, height, planes, planes_count, quantization: quantization.into() });
    }
    let mut answer = Format {
        kind,
        alignment: [],
        width,
        height,
        pixel_format,
        field: FIELD_NONE,
        line_bytes: 0,
        image_bytes,
        colour_space: 0,
        private: 0,
        flags: 0,
        encoding: 0,
        quantization: 0,
        transfer: 0,
        rest: [0; 152],
    };
    call(file, S_FMT, &mut answer)?;
    let Format { pixel_format, width, height, line_bytes, image_bytes, quantization, .. } = answer;
    planes[0] = PlaneFormat { image_bytes, line_bytes, ..PlaneFormat::default() };
    Ok(Negotiated { pixel_format, width, height, planes, planes_count: 1, quantization })
}

/// The formats that a queue takes or gives.
pub fn enumerate_formats(file: &File, kind: u32) -> Vec<FormatDescription> {
    let formats = (0..LISTED_MAX).map_while(|index| {
        let mut answer = FormatDescription { index, kind, ..Default::default() };
        call(file, ENUM_FMT, &mut answer).ok().map(|()| answer)
    });
    formats.collect()
}

/// Memory of a buffer, in ours too.
#[derive(Debug)]
pub struct Map {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the memory belongs to the process, and only the one owner of a `Map` reaches it.
unsafe impl Send for Map {}

impl Map {
    /// The memory that a driver described as this plane.
    pub fn of(file: &File, plane: &Plane, is_writable: bool) -> io::Result<Self> {
        let length = plane.length as usize;
        let offset = libc::off_t::from(i32::try_from(offset_of(plane.place)).map_err(io::Error::other)?);
        let protection = if is_writable { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
        // SAFETY: the kernel picks the place; the length is what it said of this buffer.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, file.as_raw_fd(), offset) };
        match NonNull::new(start.cast::<u8>()) {
            Some(start) if start.as_ptr().cast() != libc::MAP_FAILED => Ok(Self { start, length }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Bytes.
    pub const fn length(&self) -> usize {
        self.length
    }

    /// Copies out, because the driver writes here again as soon as it has the buffer back.
    pub fn copy(&self, begin: u32, end: u32, out: &mut Vec<u8>) {
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

    /// Writes `line` at `at`; what does not fit is left out. Only of a writable one.
    pub fn write(&mut self, at: usize, line: &[u8]) {
        let at = at.min(self.length);
        let bytes = line.len().min(self.length - at);
        // SAFETY: both are at least this long and do not overlap; it was mapped to be written, and the driver does not read a buffer that we hold.
        unsafe { std::ptr::copy_nonoverlapping(line.as_ptr(), self.start.as_ptr().add(at), bytes) };
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, once, and nothing borrows from it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
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
            (both::<ControlDescription>(QUERYCTRL), 0xc044_5624),
            (both::<EncoderCommand>(ENCODER_CMD), 0xc028_564d),
            (both::<Selection>(S_SELECTION), 0xc040_565f),
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
