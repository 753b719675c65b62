//! A device that captures, by the kernel's calls.
#![expect(
    unsafe_code,
    reason = "tokio waits for a descriptor, and the kernel's clock is read, by calls without a safe wrapper that we build"
)]

use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsRawFd, RawFd},
        unix::fs::OpenOptionsExt as _,
    },
    path::Path,
    time::{Duration, Instant},
};

use tokio::io::{Interest, unix::AsyncFd};

use super::modes::{FourCc, FrameRate, Offer, Rates, Sides, Size};
use crate::videodev::{
    BUFFER_ERROR, BUFFER_TIMESTAMP_MASK, BUFFER_TIMESTAMP_MONOTONIC, Buffer, CAP_CAPTURE, CAP_CAPTURE_MPLANE, CAP_DEVICE_CAPS, CAP_M2M,
    CAP_M2M_MPLANE, CAP_STREAMING, CAP_TIME_PER_FRAME, CAPTURE, CAPTURE_MPLANE, CONTROL_BITRATE, CONTROL_REPEAT_SETS, Call, Capability,
    Control, DISCRETE, DQBUF, ENUM_FRAMEINTERVALS, ENUM_FRAMESIZES, FrameInterval, FrameSize, G_PARM, LISTED_MAX, MEMORY_MMAP, Map,
    PlanedBuffer, QBUF, QUANTIZATION_FULL, QUERYBUF, QUERYCAP, REQBUFS, RequestBuffers, S_CTRL, S_PARM, STREAMON, StreamParameters, call,
    enumerate_formats, set_format, text,
};

/// Buffers that the driver fills in turn: one that is read, one that is filled, two for a moment's delay.
const BUFFERS: u32 = 4;
/// A time of capture further back than this is not believed: some drivers stamp with another clock than they say.
const AGE_MAX: Duration = Duration::from_secs(2);

/// What a device says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    pub name: String,
    pub driver: String,
    /// Where it is plugged in.
    pub bus: String,
    pub ability: Ability,
}

/// What a device is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ability {
    /// It gives pictures.
    Capture,
    /// From memory to memory: an encoder, a decoder, a scaler.
    Convert,
    /// An output, metadata, a radio.
    Other,
}

/// An open `/dev/videoN`.
#[derive(Debug)]
pub struct Device {
    pub file: File,
    /// By the interface for pictures in one memory, or in several; of what gives pictures, or coded frames.
    pub kind: u32,
}

/// What the driver settled for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Settled {
    pub format: FourCc,
    pub size: Size,
    /// Memories that a picture lies in.
    pub memories: u8,
    /// Bytes from one line to the next, of the first plane.
    pub line_bytes: usize,
    /// Samples use all of 0 to 255.
    pub is_full_range: bool,
    pub rate: Option<FrameRate>,
}

impl Device {
    /// Opens without waiting, and asks nothing.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        Ok(Self { file, kind: CAPTURE })
    }

    /// Who it is. To be asked first: from then on it is spoken to by the interface that it has.
    pub fn identity(&mut self) -> io::Result<Identity> {
        let mut answer = Capability::default();
        call(&self.file, QUERYCAP, &mut answer)?;
        let caps = if answer.capabilities & CAP_DEVICE_CAPS != 0 { answer.device_caps } else { answer.capabilities };
        // A converter of an older driver names both ways apart as well.
        let is_converter = caps & (CAP_M2M | CAP_M2M_MPLANE) != 0;
        let is_single_planar = caps & if is_converter { CAP_M2M } else { CAP_CAPTURE } != 0;
        let is_multi_planar = caps & if is_converter { CAP_M2M_MPLANE } else { CAP_CAPTURE_MPLANE } != 0;
        self.kind = if !is_single_planar && is_multi_planar { CAPTURE_MPLANE } else { CAPTURE };
        let ability = match (caps & CAP_STREAMING != 0 && (is_single_planar || is_multi_planar), is_converter) {
            (true, true) => Ability::Convert,
            (true, false) => Ability::Capture,
            (false, _) => Ability::Other,
        };
        let (name, driver, bus) = (text(&answer.card), text(&answer.driver), text(&answer.bus_info));
        Ok(Identity { name, driver, bus, ability })
    }

    /// Every format with its sizes and rates, as the driver lists them.
    pub fn offers(&self) -> Vec<Offer> {
        let formats = enumerate_formats(&self.file, self.kind).into_iter().map(|format| {
            let code = FourCc(format.pixel_format.to_le_bytes());
            Offer { format: code, description: text(&format.description), sizes: self.sizes(format.pixel_format) }
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
        let rate = |[numerator, denominator]: [u32; 2]| FrameRate::from_interval(numerator, denominator);
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
    pub fn set(&self, format: FourCc, size: Size, rate: Option<FrameRate>) -> io::Result<Settled> {
        let set = set_format(&self.file, self.kind, u32::from_le_bytes(format.0), (size.width, size.height), 0)?;
        Ok(Settled {
            format: FourCc(set.pixel_format.to_le_bytes()),
            size: Size { width: set.width, height: set.height },
            memories: set.planes_count,
            line_bytes: set.planes[0].line_bytes as usize,
            is_full_range: set.quantization == QUANTIZATION_FULL,
            rate: self.set_rate(rate),
        })
    }

    /// Cameras without a choice of rates have their own.
    fn set_rate(&self, rate: Option<FrameRate>) -> Option<FrameRate> {
        let mut answer = StreamParameters::of(self.kind);
        call(&self.file, G_PARM, &mut answer).ok()?;
        if let (Some(rate), true) = (rate, answer.capability & CAP_TIME_PER_FRAME != 0) {
            answer.interval = [rate.seconds, rate.frames];
            call(&self.file, S_PARM, &mut answer).ok()?;
        }
        FrameRate::from_interval(answer.interval[0], answer.interval[1])
    }

    /// Tells a camera with an encoder of its own its bit rate, and to repeat the parameter sets before each key frame. Not all can.
    pub fn set_encoder(&self, bitrate_bps: u32) {
        for (id, value) in [(CONTROL_BITRATE, i32::try_from(bitrate_bps).unwrap_or(i32::MAX)), (CONTROL_REPEAT_SETS, 1)] {
            let mut control = Control { id, value };
            if let Err(error) = call(&self.file, S_CTRL, &mut control) {
                tracing::debug!(id, %error, "the camera's encoder has no such control");
            }
        }
    }

    /// A call that is about one buffer. Pictures in one memory are read.
    fn buffer(&self, about: Call, index: u32) -> io::Result<PlanedBuffer> {
        let mut about_it = PlanedBuffer::of(self.kind, index);
        about_it.call(&self.file, about, 1)?;
        Ok(about_it)
    }

    /// Begins to capture.
    pub fn start(self) -> io::Result<Stream> {
        let mut request = RequestBuffers { count: BUFFERS, kind: self.kind, memory: MEMORY_MMAP, ..Default::default() };
        call(&self.file, REQBUFS, &mut request)?;
        let map = |index| Map::of(&self.file, &self.buffer(QUERYBUF, index)?.planes[0], false);
        let maps = (0..request.count).map(map).collect::<io::Result<Vec<_>>>()?;
        for index in 0..request.count {
            self.buffer(QBUF, index)?;
        }
        call(&self.file, STREAMON, &mut (self.kind as libc::c_int))?;
        Ok(Stream { device: self, maps, expected: None })
    }
}

/// What was captured, besides its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Captured {
    /// When, on our own clock.
    pub at: Instant,
    /// Pictures before it are missing: the driver found no free buffer.
    pub follows_loss: bool,
}

/// A device that captures. Dropped, it stops: the kernel does that when its file is closed.
#[derive(Debug)]
pub struct Stream {
    // Before the device: nothing is mapped when it is closed.
    maps: Vec<Map>,
    device: Device,
    /// The sequence number of the next picture.
    expected: Option<u32>,
}

impl Stream {
    /// Lets tokio wait for it: for pictures, and for its end.
    pub fn watch(self) -> io::Result<AsyncFd<Self>> {
        // SAFETY: the descriptor is the file's, which `self` owns, keeps open and never replaces.
        Ok(unsafe { AsyncFd::register_with_interest(self, Interest::READABLE | Interest::ERROR) }?)
    }

    /// The next picture, into `out`. [`io::ErrorKind::WouldBlock`]: none is there yet. `None`: one that the driver says is broken.
    pub fn take(&mut self, out: &mut Vec<u8>) -> io::Result<Option<Captured>> {
        let PlanedBuffer { buffer, planes: [plane, ..] } = self.device.buffer(DQBUF, 0)?;
        let (begin, end) = (plane.data_offset, plane.bytes_used);
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
