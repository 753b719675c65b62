//! One open encoder of the machine and its two queues, after the kernel's "Memory-to-Memory Stateful Video Encoder Interface": raw pictures go into
//! the queue that it calls OUTPUT, what is coded comes out of CAPTURE.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sightline_signal::Settings;
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    controls::Controls,
    layout::{Layout, RawFormat},
};
use crate::encoder::EncoderError;
use sightline_capture::{
    Picture,
    v4l2::{
        kernel::{Ability, Device},
        modes::FourCc,
    },
    videodev::{
        BUFFER_ERROR, BUFFER_KEYFRAME, BUFFER_LAST, CAP_TIME_PER_FRAME, CAPTURE, CAPTURE_MPLANE, DQBUF, ENCODER_CMD, EncoderCommand,
        MEMORY_MMAP, Map, OUTPUT, OUTPUT_MPLANE, PlanedBuffer, QBUF, QUERYBUF, REQBUFS, RequestBuffers, S_PARM, S_SELECTION, STREAMOFF,
        STREAMON, Selection, StreamParameters, call, enumerate_formats, set_format,
    },
};

/// Raw pictures that wait in the encoder: one that is encoded, one that comes, one for a moment's delay. More would be latency.
const PICTURES: u32 = 3;
/// Coded frames that wait for us: as many, and one for a driver that gives the parameter sets apart.
const FRAMES: u32 = 4;
/// The least of a coded frame's memory: a key frame of noise in a small size.
const FRAME_BYTES_MIN: u32 = 256 * 1024;
const CROP: u32 = 0;
const STOP: u32 = 1;

/// What an encoder is opened for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) coded: FourCc,
    pub(crate) settings: Settings,
    /// In pictures.
    pub(crate) keyframe_interval: u32,
}

/// A queue's buffers, each in its memories.
struct Queue {
    kind: u32,
    planes: usize,
    buffers: Vec<Vec<Map>>,
}

/// A coded frame, besides its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Taken {
    /// Of the picture that it was made of, where the driver copies it.
    pub(crate) tag: i64,
    /// By the driver's word, which not all keep.
    pub(crate) is_keyframe: bool,
}

/// What was found in the queue of coded frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Coded {
    Frame(Taken),
    /// None yet.
    Pending,
    /// All that went in has come out.
    Drained,
}

/// An encoder that runs. Dropped, it stops: the kernel does that when its file is closed.
pub(crate) struct Machine {
    // Before the file: nothing is mapped when it is closed.
    raw: Queue,
    coded: Queue,
    file: File,
    path: PathBuf,
    /// Buffers of raw pictures that are ours.
    free: Vec<u32>,
    layout: Layout,
    size: (usize, usize),
    missing: Vec<&'static str>,
}

/// The tag of a picture as a buffer's time, which drivers copy.
fn time_of(tag: i64) -> libc::timeval {
    libc::timeval { tv_sec: (tag / 1_000_000) as _, tv_usec: (tag % 1_000_000) as _ }
}

fn tag_of(time: libc::timeval) -> i64 {
    #[allow(clippy::useless_conversion, reason = "both are narrower on 32-bit machines")]
    let (sec, usec) = (i64::from(time.tv_sec), i64::from(time.tv_usec));
    sec.saturating_mul(1_000_000).saturating_add(usec)
}

impl Machine {
    /// Opens one and sets it going.
    pub(crate) fn open(path: &Path, wanted: Setup) -> Result<Self, EncoderError> {
        let failed = |what: &str, error: io::Error| EncoderError::device_open(path, format!("{what}: {error}"));
        let mut device = Device::open(path).map_err(|error| failed("it can't be opened", error))?;
        let identity = device.identity().map_err(|error| failed("it is no V4L2 device", error))?;
        if identity.ability != Ability::Convert {
            let problem = format!("{} is no encoder; `sightline camera probe` lists those that are there", identity.name);
            return Err(EncoderError::device_open(path, problem));
        }
        let Device { file, kind } = device;
        let is_multi_planar = kind == CAPTURE_MPLANE;
        let (raw_kind, coded_kind) = if is_multi_planar { (OUTPUT_MPLANE, CAPTURE_MPLANE) } else { (OUTPUT, CAPTURE) };
        let (layout, raw_bytes) = negotiate(&file, path, (raw_kind, coded_kind), wanted)?;
        let controls = Controls::of(&file, path);
        set_rate(&file, path, raw_kind, wanted.settings.fps);
        let missing = controls.begin(wanted.settings, wanted.keyframe_interval);
        let pictures = PICTURES.max(controls.output_buffers_min());
        let raw = Queue::new(&file, raw_kind, layout.format.memories(), pictures).map_err(|error| failed("buffers of pictures", error))?;
        let coded = Queue::new(&file, coded_kind, 1, FRAMES).map_err(|error| failed("buffers of coded frames", error))?;
        for buffer in &raw.buffers {
            if buffer.iter().zip(&raw_bytes).any(|(map, needed)| map.length() < *needed) {
                let sizes: Vec<usize> = buffer.iter().map(Map::length).collect();
                return Err(EncoderError::device_open(path, format!("its memories of {sizes:?} bytes are too small for {layout:?}")));
            }
        }
        let free = (0..raw.buffers.len() as u32).collect();
        let size = (wanted.settings.width as usize, wanted.settings.height as usize);
        let machine = Self { raw, coded, file, path: path.to_owned(), free, layout, size, missing };
        machine.begin().map_err(|error| failed("it does not start", error))?;
        Ok(machine)
    }

    /// Hands over all buffers for coded frames, and starts both queues.
    fn begin(&self) -> io::Result<()> {
        for index in 0..self.coded.buffers.len() as u32 {
            self.coded.give(&self.file, index)?;
        }
        call(&self.file, STREAMON, &mut (self.raw.kind as libc::c_int))?;
        call(&self.file, STREAMON, &mut (self.coded.kind as libc::c_int))
    }

    /// How raw pictures lie in it.
    pub(crate) const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The controls that its driver lacks.
    pub(crate) fn missing(&self) -> &[&'static str] {
        &self.missing
    }

    /// Gives it a picture. False: its queue is full.
    pub(crate) fn put(&mut self, picture: &Picture, tag: i64) -> Result<bool, EncoderError> {
        if (picture.width(), picture.height()) != self.size {
            let ((width, height), (w, h)) = (self.size, (picture.width(), picture.height()));
            return Err(self.error(&format!("it was opened for {width}x{height}, and is given {w}x{h}")));
        }
        self.reclaim().map_err(|error| self.error(&format!("a picture does not come back: {error}")))?;
        let Some(index) = self.free.pop() else { return Ok(false) };
        let maps = &mut self.raw.buffers[index as usize];
        self.layout.place(picture, |memory, at, line| {
            if let Some(map) = maps.get_mut(memory) {
                map.write(at, line);
            }
        });
        let mut buffer = PlanedBuffer::of(self.raw.kind, index);
        buffer.buffer.timestamp = time_of(tag);
        buffer.buffer.field = sightline_capture::videodev::FIELD_NONE;
        for (plane, map) in buffer.planes.iter_mut().zip(maps) {
            plane.length = map.length() as u32;
            plane.bytes_used = plane.length;
        }
        buffer.call(&self.file, QBUF, self.raw.planes).map_err(|error| self.error(&format!("a picture is not taken: {error}")))?;
        Ok(true)
    }

    /// Takes back the buffers of pictures that are encoded.
    fn reclaim(&mut self) -> io::Result<()> {
        loop {
            let mut buffer = PlanedBuffer::of(self.raw.kind, 0);
            match buffer.call(&self.file, DQBUF, self.raw.planes) {
                Ok(()) => self.free.push(buffer.buffer.index),
                // Drained, it may have no more of them.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::EPIPE) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// The next coded frame, into `out`; does not wait.
    pub(crate) fn take(&self, out: &mut Vec<u8>) -> Result<Coded, EncoderError> {
        loop {
            let mut about = PlanedBuffer::of(self.coded.kind, 0);
            match about.call(&self.file, DQBUF, 1) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Coded::Pending),
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => return Ok(Coded::Drained),
                Err(error) => return Err(self.error(&format!("no frame comes: {error}"))),
            }
            let (buffer, plane) = (about.buffer, about.planes[0]);
            let (is_last, is_broken) = (buffer.flags & BUFFER_LAST != 0, buffer.flags & BUFFER_ERROR != 0);
            let is_empty = plane.bytes_used <= plane.data_offset;
            if let (Some([map, ..]), false) = (self.coded.buffers.get(buffer.index as usize).map(Vec::as_slice), is_empty) {
                map.copy(plane.data_offset, plane.bytes_used, out);
            }
            // The last one stays: what is queued after it would only begin the next drain.
            if !is_last {
                self.coded.give(&self.file, buffer.index).map_err(|error| self.error(&format!("a buffer is not taken back: {error}")))?;
            }
            match (is_broken && !is_last, is_empty) {
                (true, _) => return Err(self.error("a frame is marked as broken")),
                (false, false) => {
                    return Ok(Coded::Frame(Taken { tag: tag_of(buffer.timestamp), is_keyframe: buffer.flags & BUFFER_KEYFRAME != 0 }));
                }
                (false, true) if is_last => return Ok(Coded::Drained),
                (false, true) => {}
            }
        }
    }

    /// Waits for a coded frame, no longer than this.
    pub(crate) fn wait(&self, limit: Duration) -> Result<(), EncoderError> {
        let limit = Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: limit.subsec_nanos().into() };
        let mut wanted = [PollFd::new(&self.file, PollFlags::IN)];
        match poll(&mut wanted, Some(&limit)) {
            Ok(_) if wanted[0].revents().contains(PollFlags::ERR) && !wanted[0].revents().contains(PollFlags::IN) => {
                Err(self.error("its driver says that it has failed"))
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(self.error(&format!("it can't be waited for: {error}"))),
        }
    }

    /// A bit rate from the next picture on; false: its driver can't while it runs.
    pub(crate) fn set_bitrate(&self, bitrate_bps: u32) -> bool {
        Controls::of(&self.file, &self.path).set_bitrate(bitrate_bps).is_ok()
    }

    /// Makes the next picture a key frame. False: its driver lacks that control.
    pub(crate) fn force_keyframe(&self) -> bool {
        Controls::of(&self.file, &self.path).force_keyframe().is_ok()
    }

    /// No more pictures: what is in it comes out, and then [`Coded::Drained`].
    pub(crate) fn stop(&self) -> Result<(), EncoderError> {
        let mut command = EncoderCommand { command: STOP, ..Default::default() };
        call(&self.file, ENCODER_CMD, &mut command).map_err(|error| self.error(&format!("it does not drain: {error}")))
    }

    /// After a drain: begins a stream that needs nothing of the one before.
    pub(crate) fn restart(&mut self) -> Result<(), EncoderError> {
        let again = |machine: &mut Self| {
            for kind in [machine.raw.kind, machine.coded.kind] {
                call(&machine.file, STREAMOFF, &mut (kind as libc::c_int))?;
            }
            machine.free = (0..machine.raw.buffers.len() as u32).collect();
            machine.begin()
        };
        again(self).map_err(|error| self.error(&format!("it does not begin again: {error}")))
    }

    fn error(&self, problem: &str) -> EncoderError {
        EncoderError::Device { path: self.path.clone(), problem: problem.to_owned() }
    }
}

impl Queue {
    fn new(file: &File, kind: u32, planes: usize, count: u32) -> io::Result<Self> {
        let mut request = RequestBuffers { count, kind, memory: MEMORY_MMAP, ..Default::default() };
        call(file, REQBUFS, &mut request)?;
        let is_written = matches!(kind, OUTPUT | OUTPUT_MPLANE);
        let maps = |index| {
            let mut about = PlanedBuffer::of(kind, index);
            about.call(file, QUERYBUF, planes)?;
            about.planes[..planes].iter().map(|plane| Map::of(file, plane, is_written)).collect::<io::Result<Vec<_>>>()
        };
        let buffers = (0..request.count).map(maps).collect::<io::Result<Vec<_>>>()?;
        if buffers.is_empty() { Err(io::ErrorKind::OutOfMemory.into()) } else { Ok(Self { kind, planes, buffers }) }
    }

    /// Hands a buffer to the driver, to be filled.
    fn give(&self, file: &File, index: u32) -> io::Result<()> {
        PlanedBuffer::of(self.kind, index).call(file, QBUF, self.planes)
    }
}

/// The raw formats that a driver takes for the coded one that is set, and that are written here: the cheapest first.
pub(super) fn raw_formats(file: &File, raw_kind: u32) -> Vec<RawFormat> {
    let offered: Vec<FourCc> =
        enumerate_formats(file, raw_kind).into_iter().map(|format| FourCc(format.pixel_format.to_le_bytes())).collect();
    let is_multi_planar = raw_kind == OUTPUT_MPLANE;
    let fits = |format: &RawFormat| offered.contains(&format.code()) && (is_multi_planar || format.memories() == 1);
    RawFormat::ALL.into_iter().filter(fits).collect()
}

/// Formats, in the order that the interface wants: the coded one, the raw one, what of it is seen. Gives the raw one's layout, and the bytes of its memories.
fn negotiate(file: &File, path: &Path, (raw_kind, coded_kind): (u32, u32), wanted: Setup) -> Result<(Layout, Vec<usize>), EncoderError> {
    let refused = |problem: String| EncoderError::device_open(path, problem);
    let Settings { width, height, .. } = wanted.settings;
    let code = |format: FourCc| u32::from_le_bytes(format.0);
    let frame_bytes = (width * height).max(FRAME_BYTES_MIN);
    let coded = set_format(file, coded_kind, code(wanted.coded), (width, height), frame_bytes)
        .map_err(|error| refused(format!("{}: {error}", wanted.coded)))?;
    if coded.pixel_format != code(wanted.coded) {
        return Err(refused(format!("it makes no {}", wanted.coded)));
    }
    let Some(&format) = raw_formats(file, raw_kind).first() else {
        let names = RawFormat::ALL.map(|format| format.code().to_string()).join(", ");
        return Err(refused(format!("it takes none of {names}")));
    };
    let set = set_format(file, raw_kind, code(format.code()), (width, height), 0)
        .map_err(|error| refused(format!("{} of {width}x{height}: {error}", format.code())))?;
    if set.pixel_format != code(format.code()) || usize::from(set.planes_count) != format.memories() {
        return Err(refused(format!("asked for {}, it gives {}", format.code(), FourCc(set.pixel_format.to_le_bytes()))));
    }
    let strides = set.planes[..format.memories()].iter().map(|plane| plane.line_bytes as usize).collect();
    let layout = Layout { format, rows: set.height as usize, strides };
    let Some(needed) = layout.needed(width as usize, height as usize) else {
        return Err(refused(format!("{width}x{height} does not fit into {}x{} of {layout:?}: take another size", set.width, set.height)));
    };
    crop(file, path, (width, height), (set.width, set.height))?;
    Ok((layout, needed))
}

/// Says what of the buffers is the picture.
fn crop(file: &File, path: &Path, (width, height): (u32, u32), full: (u32, u32)) -> Result<(), EncoderError> {
    // Of either interface the kernel takes the name for one memory.
    let mut visible = Selection { kind: OUTPUT, target: CROP, width, height, ..Default::default() };
    match call(file, S_SELECTION, &mut visible) {
        Ok(()) if (visible.width, visible.height) == (width, height) => Ok(()),
        Err(_) if full == (width, height) => Ok(()),
        Ok(()) => Err(format!("it makes {}x{} of {width}x{height}", visible.width, visible.height)),
        Err(error) => Err(format!("it makes {}x{} of {width}x{height}, and can't leave out the rest: {error}", full.0, full.1)),
    }
    .map_err(|problem| EncoderError::device_open(path, format!("{problem}; take a size that is a multiple of 16")))
}

/// The frame rate, by which it spends its bits.
fn set_rate(file: &File, path: &Path, raw_kind: u32, fps: u32) {
    let mut parameters = StreamParameters::of(raw_kind);
    parameters.interval = [1, fps.max(1)];
    match call(file, S_PARM, &mut parameters) {
        Ok(()) if parameters.capability & CAP_TIME_PER_FRAME == 0 => {
            tracing::debug!(encoder = %path.display(), "the encoder does not say whether it follows a frame rate");
        }
        Ok(()) => {}
        Err(error) => {
            tracing::info!(encoder = %path.display(), %error, "the encoder takes no frame rate: its bit rate may be off by as much")
        }
    }
}
