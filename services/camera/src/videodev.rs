//! Linux's `videodev2.h`, as far as cameras and encoders of this machine need it: structures, calls, and memory that is shared with a driver.
//!
//! Written here because the crates that have it leave out what a live source needs: `linuxvideo` gives no time of capture and no sequence number and
//! knows no encoders, `v4l` needs libclang.
#![expect(
    unsafe_code,
    reason = "ioctl and mmap have no safe wrapper in a crate that we already build; each call is one line here, checked here"
)]

use std::{fs::File, io, os::fd::AsRawFd, ptr::NonNull};

pub(crate) const CAPTURE: u32 = 1;
pub(crate) const OUTPUT: u32 = 2;
pub(crate) const CAPTURE_MPLANE: u32 = 9;
pub(crate) const OUTPUT_MPLANE: u32 = 10;
pub(crate) const MEMORY_MMAP: u32 = 1;
pub(crate) const FIELD_NONE: u32 = 1;
pub(crate) const CAP_CAPTURE: u32 = 0x1;
pub(crate) const CAP_CAPTURE_MPLANE: u32 = 0x1000;
pub(crate) const CAP_M2M: u32 = 0x8000;
pub(crate) const CAP_M2M_MPLANE: u32 = 0x4000;
pub(crate) const CAP_STREAMING: u32 = 0x0400_0000;
pub(crate) const CAP_DEVICE_CAPS: u32 = 0x8000_0000;
pub(crate) const CAP_TIME_PER_FRAME: u32 = 0x1000;
pub(crate) const BUFFER_KEYFRAME: u32 = 0x8;
pub(crate) const BUFFER_ERROR: u32 = 0x40;
pub(crate) const BUFFER_LAST: u32 = 0x10_0000;
pub(crate) const BUFFER_TIMESTAMP_MASK: u32 = 0xe000;
pub(crate) const BUFFER_TIMESTAMP_MONOTONIC: u32 = 0x2000;
pub(crate) const QUANTIZATION_FULL: u32 = 1;
pub(crate) const CONTROL_BITRATE: u32 = 0x0099_09cf;
pub(crate) const CONTROL_REPEAT_SETS: u32 = 0x0099_09e2;
pub(crate) const DISCRETE: u32 = 1;

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Capability {
    pub(crate) driver: [u8; 16],
    pub(crate) card: [u8; 32],
    pub(crate) bus_info: [u8; 32],
    pub(crate) version: u32,
    pub(crate) capabilities: u32,
    pub(crate) device_caps: u32,
    pub(crate) reserved: [u32; 3],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct FormatDescription {
    pub(crate) index: u32,
    pub(crate) kind: u32,
    pub(crate) flags: u32,
    pub(crate) description: [u8; 32],
    pub(crate) pixel_format: u32,
    pub(crate) mbus_code: u32,
    pub(crate) reserved: [u32; 3],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct FrameSize {
    pub(crate) index: u32,
    pub(crate) pixel_format: u32,
    pub(crate) kind: u32,
    /// Discrete: width, height. Otherwise least width, most width, step, and the same of height.
    pub(crate) sides: [u32; 6],
    pub(crate) reserved: [u32; 2],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct FrameInterval {
    pub(crate) index: u32,
    pub(crate) pixel_format: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) kind: u32,
    /// Discrete: an interval. Otherwise the shortest, the longest, the step. Each is a fraction of a second.
    pub(crate) intervals: [[u32; 2]; 3],
    pub(crate) reserved: [u32; 2],
}

/// `struct v4l2_format`, of which we use the single-planar picture: a union of 200 bytes, aligned as a pointer.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Format {
    pub(crate) kind: u32,
    pub(crate) alignment: [usize; 0],
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) pixel_format: u32,
    pub(crate) field: u32,
    pub(crate) line_bytes: u32,
    pub(crate) image_bytes: u32,
    pub(crate) colour_space: u32,
    pub(crate) private: u32,
    pub(crate) flags: u32,
    pub(crate) encoding: u32,
    pub(crate) quantization: u32,
    pub(crate) transfer: u32,
    pub(crate) rest: [u8; 152],
}

/// The same, of a picture that may lie in several memories.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct MultiPlanarFormat {
    pub(crate) kind: u32,
    pub(crate) alignment: [usize; 0],
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) pixel_format: u32,
    pub(crate) field: u32,
    pub(crate) colour_space: u32,
    pub(crate) planes: [PlaneFormat; 8],
    pub(crate) planes_count: u8,
    pub(crate) flags: u8,
    pub(crate) encoding: u8,
    pub(crate) quantization: u8,
    pub(crate) rest: [u8; 16],
}

#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct PlaneFormat {
    pub(crate) image_bytes: u32,
    pub(crate) line_bytes: u32,
    pub(crate) reserved: [u16; 6],
}

/// `struct v4l2_streamparm`, of capture.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct StreamParameters {
    pub(crate) kind: u32,
    pub(crate) capability: u32,
    pub(crate) mode: u32,
    pub(crate) interval: [u32; 2],
    pub(crate) extended_mode: u32,
    pub(crate) read_buffers: u32,
    pub(crate) rest: [u8; 176],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct RequestBuffers {
    pub(crate) count: u32,
    pub(crate) kind: u32,
    pub(crate) memory: u32,
    pub(crate) capabilities: u32,
    pub(crate) flags: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Buffer {
    pub(crate) index: u32,
    pub(crate) kind: u32,
    pub(crate) bytes_used: u32,
    pub(crate) flags: u32,
    pub(crate) field: u32,
    pub(crate) timestamp: libc::timeval,
    pub(crate) timecode: [u32; 4],
    pub(crate) sequence: u32,
    pub(crate) memory: u32,
    /// A union: where the buffer lies in the device's file (32 bits), or the address of its [`Plane`].
    pub(crate) place: usize,
    pub(crate) length: u32,
    pub(crate) reserved: u32,
    pub(crate) request: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Plane {
    pub(crate) bytes_used: u32,
    pub(crate) length: u32,
    pub(crate) place: usize,
    pub(crate) data_offset: u32,
    pub(crate) reserved: [u32; 11],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Control {
    pub(crate) id: u32,
    pub(crate) value: i32,
}

/// What a driver says of a control.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct ControlDescription {
    pub(crate) id: u32,
    pub(crate) kind: u32,
    pub(crate) name: [u8; 32],
    pub(crate) minimum: i32,
    pub(crate) maximum: i32,
    pub(crate) step: i32,
    pub(crate) default: i32,
    pub(crate) flags: u32,
    pub(crate) reserved: [u32; 2],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct EncoderCommand {
    pub(crate) command: u32,
    pub(crate) flags: u32,
    pub(crate) data: [u32; 8],
}

/// A rectangle of a queue's pictures.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Selection {
    pub(crate) kind: u32,
    pub(crate) target: u32,
    pub(crate) flags: u32,
    pub(crate) left: i32,
    pub(crate) top: i32,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) reserved: [u32; 9],
}

impl StreamParameters {
    pub(crate) const fn of(kind: u32) -> Self {
        Self { kind, capability: 0, mode: 0, interval: [0; 2], extended_mode: 0, read_buffers: 0, rest: [0; 176] }
    }
}

/// Of the union that `place` is, the 32 bits.
pub(crate) fn offset_of(place: usize) -> u32 {
    let [a, b, c, d, ..] = place.to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}

impl Buffer {
    pub(crate) fn of(kind: u32, index: u32) -> Self {
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
pub(crate) enum Call {
    Read(u32),
    Write(u32),
    Both(u32),
}

pub(crate) const QUERYCAP: Call = Call::Read(0);
pub(crate) const ENUM_FMT: Call = Call::Both(2);
pub(crate) const S_FMT: Call = Call::Both(5);
pub(crate) const REQBUFS: Call = Call::Both(8);
pub(crate) const QUERYBUF: Call = Call::Both(9);
pub(crate) const QBUF: Call = Call::Both(15);
pub(crate) const DQBUF: Call = Call::Both(17);
pub(crate) const STREAMON: Call = Call::Write(18);
pub(crate) const STREAMOFF: Call = Call::Write(19);
pub(crate) const G_PARM: Call = Call::Both(21);
pub(crate) const S_PARM: Call = Call::Both(22);
pub(crate) const G_CTRL: Call = Call::Both(27);
pub(crate) const S_CTRL: Call = Call::Both(28);
pub(crate) const QUERYCTRL: Call = Call::Both(36);
pub(crate) const ENUM_FRAMESIZES: Call = Call::Both(74);
pub(crate) const ENUM_FRAMEINTERVALS: Call = Call::Both(75);
pub(crate) const ENCODER_CMD: Call = Call::Both(77);
pub(crate) const S_SELECTION: Call = Call::Both(95);

/// The structures of this file: plain integers, laid out as the kernel's.
pub(crate) trait Plain: Copy {}
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
impl Plain for ControlDescription {}
impl Plain for EncoderCommand {}
impl Plain for Selection {}
impl Plain for libc::c_int {}

pub(crate) fn call<T: Plain>(file: &File, call: Call, argument: &mut T) -> io::Result<()> {
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
pub(crate) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// The most formats, sizes of a format and rates of a size that are asked for: a driver that never says that these were all is broken.
pub(crate) const LISTED_MAX: u32 = 256;
/// The most memories that a picture can lie in.
pub(crate) const PLANES_MAX: usize = 8;

/// A [`Buffer`] with its planes, which one of the multi-planar interface needs beside it.
pub(crate) struct PlanedBuffer {
    pub(crate) buffer: Buffer,
    pub(crate) planes: [Plane; PLANES_MAX],
}

impl PlanedBuffer {
    pub(crate) fn of(kind: u32, index: u32) -> Self {
        Self { buffer: Buffer::of(kind, index), planes: [Plane::default(); PLANES_MAX] }
    }

    /// A call that is about one buffer of `planes` memories. By the interface for one memory the first plane is the buffer.
    pub(crate) fn call(&mut self, file: &File, about: Call, planes: usize) -> io::Result<()> {
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
pub(crate) struct Negotiated {
    pub(crate) pixel_format: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Of each memory.
    pub(crate) planes: [PlaneFormat; PLANES_MAX],
    pub(crate) planes_count: u8,
    pub(crate) quantization: u32,
}

/// Sets a queue's format. `image_bytes`: wanted of the first memory; 0: the driver's choice.
pub(crate) fn set_format(
    file: &File,
    kind: u32,
    pixel_format: u32,
    (width, height): (u32, u32),
    image_bytes: u32,
) -> io::Result<Negotiated> {
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
pub(crate) fn enumerate_formats(file: &File, kind: u32) -> Vec<FormatDescription> {
    let formats = (0..LISTED_MAX).map_while(|index| {
        let mut answer = FormatDescription { index, kind, ..Default::default() };
        call(file, ENUM_FMT, &mut answer).ok().map(|()| answer)
    });
    formats.collect()
}

/// Memory of a buffer, in ours too.
#[derive(Debug)]
pub(crate) struct Map {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the memory belongs to the process, and only the one owner of a `Map` reaches it.
unsafe impl Send for Map {}

impl Map {
    /// The memory that a driver described as this plane.
    pub(crate) fn of(file: &File, plane: &Plane, is_writable: bool) -> io::Result<Self> {
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
    pub(crate) const fn len(&self) -> usize {
        self.length
    }

    /// Copies out, because the driver writes here again as soon as it has the buffer back.
    pub(crate) fn copy(&self, begin: u32, end: u32, out: &mut Vec<u8>) {
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
    pub(crate) fn write(&mut self, at: usize, line: &[u8]) {
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
