//! MPEG-TS (ISO/IEC 13818-1) of some frames, for players that read no MP4. Written here: the crates that were looked at need `std` and leave PES,
//! ADTS and the clock to their callers, which is most of it.

use alloc::vec::Vec;
use bytes::Bytes;
use sightline_media::{Codec, Frame, MediaTime, Track, TrackConfig, aac::AudioConfig, avc};

const PACKET_BYTES: usize = 188;
const HEADER_BYTES: usize = 4;
/// The tables name the streams by these.
const PAT_PID: u16 = 0;
const PMT_PID: u16 = 0x1000;
const PICTURES_PID: u16 = 0x100;
const SOUND_PID: u16 = 0x101;
const PICTURES_STREAM_ID: u8 = 0xe0;
const SOUND_STREAM_ID: u8 = 0xc0;
/// The clock goes out at least this often (§2.7.2: 100 ms).
const CLOCK_TICKS: i64 = 90 * 90;
/// A hole that is longer is none to fill with the clock.
const CLOCK_HOLE_TICKS: i64 = 2 * MediaTime::TICKS_PER_SECOND;
/// How far decoding is behind the clock: a player's buffer.
const DELAY_TICKS: i64 = MediaTime::TICKS_PER_SECOND / 2;
/// Times have 33 bits, and wrap after 26.5 hours.
const TIME_MASK: u64 = (1 << 33) - 1;
/// Frames of sound share a PES packet, up to so many bytes: each alone would leave half of a packet empty.
const SOUND_BYTES_MAX: usize = 4 * 1024;
/// What ADTS can say of a frame's length, header included.
const ADTS_FRAME_BYTES_MAX: usize = (1 << 13) - 1;
const ADTS_HEADER_BYTES: usize = 7;
/// By their index (ISO/IEC 14496-3 §1.6.3.4).
const ADTS_RATES_HZ: [u32; 13] = [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// Whether MPEG-TS carries it, as its players know it. Opus is left out: few of them play it there.
pub(crate) fn holds(config: &TrackConfig) -> bool {
    match config {
        TrackConfig::H264(_) => true,
        TrackConfig::Aac(config) => Adts::of(config).is_some(),
        TrackConfig::Coded(config) => config.codec() == Codec::Hevc,
    }
}

/// What one stream needs from packet to packet.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    /// Of the tables, the pictures and the sound.
    counters: [u8; 4],
    clock_at: Option<i64>,
}

impl Writer {
    /// The tables, then the frames in the order of their decoding.
    pub(crate) fn write(&mut self, frames: &[Frame<Bytes>], tracks: &[Track]) -> Bytes {
        let mut out = Vec::with_capacity(frames.iter().map(|frame| frame.payload.len() + PACKET_BYTES).sum());
        let pictures = tracks.iter().find(|track| track.config.codec().is_video());
        let sound = tracks
            .iter()
            .find_map(|track| if let TrackConfig::Aac(config) = &track.config { Some((track.id, Adts::of(config)?)) } else { None });
        let clock_pid = if pictures.is_some() { PICTURES_PID } else { SOUND_PID };
        self.tables(&mut out, pictures.map(|track| track.config.codec()), sound.is_some(), clock_pid);
        let mut order: Vec<&Frame<Bytes>> = frames.iter().collect();
        order.sort_by_key(|frame| frame.dts);
        let mut heard = Sound::default();
        for frame in order {
            let is_sound = sound.filter(|(id, _)| *id == frame.track);
            if let Some((_, adts)) = is_sound {
                if heard.is_full() {
                    self.sound(&mut out, &mut heard, clock_pid);
                }
                heard.push(adts, frame);
            } else if let Some(track) = pictures.filter(|track| track.id == frame.track) {
                self.picture(&mut out, frame, track.config.codec());
            }
        }
        self.sound(&mut out, &mut heard, clock_pid);
        out.into()
    }

    fn picture(&mut self, out: &mut Vec<u8>, frame: &Frame<Bytes>, codec: Codec) {
        self.clock(out, frame.dts, PICTURES_PID);
        let mut pes = pes_header(PICTURES_STREAM_ID, frame.pts, frame.dts);
        put_annex_b(&mut pes, &frame.payload, codec);
        self.clock_at = Some(frame.dts.ticks_90k);
        self.packets(out, PICTURES_PID, Field { clock: Some(frame.dts), is_key: frame.is_keyframe }, &pes);
    }

    fn sound(&mut self, out: &mut Vec<u8>, heard: &mut Sound, clock_pid: u16) {
        let Some(began) = heard.began.take() else { return };
        self.clock(out, began, clock_pid);
        let mut pes = pes_header(SOUND_STREAM_ID, began, began);
        pes.append(&mut heard.bytes);
        // Without it sound ends where the next begins; with it a player need not wait.
        let length = u16::try_from(pes.len() - 6).unwrap_or_default().to_be_bytes();
        pes.splice(4..6, length);
        let clock = (clock_pid == SOUND_PID).then_some(began);
        if clock.is_some() {
            self.clock_at = Some(began.ticks_90k);
        }
        self.packets(out, SOUND_PID, Field { clock, is_key: clock.is_some() }, &pes);
    }

    /// The clock up to a frame, in packets of its own where frames are far apart.
    fn clock(&mut self, out: &mut Vec<u8>, until: MediaTime, pid: u16) {
        let Some(last) = self.clock_at.filter(|last| (0..CLOCK_HOLE_TICKS).contains(&until.ticks_90k.saturating_sub(*last))) else {
            return;
        };
        let mut at = last.saturating_add(CLOCK_TICKS);
        while at < until.ticks_90k {
            let mut packet = self.header(pid, false, false, 0x20);
            let field = Field { clock: Some(MediaTime::from_ticks(at)), is_key: false }.bytes();
            put_field(&mut packet, &field, PACKET_BYTES - HEADER_BYTES - 1 - field.len());
            out.append(&mut packet);
            self.clock_at = Some(at);
            at = at.saturating_add(CLOCK_TICKS);
        }
    }

    /// A packet up to its adaptation field. The counter counts those with a payload.
    fn header(&mut self, pid: u16, is_start: bool, has_payload: bool, control: u8) -> Vec<u8> {
        let place = match pid {
            PAT_PID => 0,
            PMT_PID => 1,
            PICTURES_PID => 2,
            _ => 3,
        };
        let mut count = 0;
        if let Some(counter) = self.counters.get_mut(place) {
            if has_payload {
                *counter = counter.wrapping_add(1) & 0x0f;
            }
            count = *counter;
        }
        let [high, low] = pid.to_be_bytes();
        let mut packet = Vec::with_capacity(PACKET_BYTES);
        packet.extend([0x47, high | if is_start { 0x40 } else { 0 }, low, control | count]);
        packet
    }

    /// A PES packet in packets.
    fn packets(&mut self, out: &mut Vec<u8>, pid: u16, field: Field, pes: &[u8]) {
        let (mut rest, mut field, mut is_start) = (pes, field.bytes(), true);
        while !rest.is_empty() {
            let used = if field.is_empty() { 0 } else { 1 + field.len() };
            let room = PACKET_BYTES - HEADER_BYTES - used;
            let (payload, behind) = rest.split_at_checked(room).unwrap_or((rest, &[]));
            let stuffing = room - payload.len();
            let control = if used > 0 || stuffing > 0 { 0x30 } else { 0x10 };
            let mut packet = self.header(pid, is_start, true, control);
            if control == 0x30 {
                put_field(&mut packet, &field, if used > 0 { stuffing } else { stuffing - 1 });
            }
            packet.extend_from_slice(payload);
            out.append(&mut packet);
            (rest, is_start) = (behind, false);
            field.clear();
        }
    }

    fn tables(&mut self, out: &mut Vec<u8>, pictures: Option<Codec>, has_sound: bool, clock_pid: u16) {
        let [pmt_high, pmt_low] = PMT_PID.to_be_bytes();
        // One program.
        self.table(out, PAT_PID, 0, &[0, 1, 0xe0 | pmt_high, pmt_low]);
        let [high, low] = clock_pid.to_be_bytes();
        let mut map = alloc::vec![0xe0 | high, low, 0xf0, 0];
        let kind = |codec| if codec == Codec::Hevc { 0x24 } else { 0x1b };
        let streams = pictures.map(|codec| (kind(codec), PICTURES_PID)).into_iter().chain(has_sound.then_some((0x0f, SOUND_PID)));
        for (kind, pid) in streams {
            let [high, low] = pid.to_be_bytes();
            map.extend([kind, 0xe0 | high, low, 0xf0, 0]);
        }
        self.table(out, PMT_PID, 2, &map);
    }

    /// A section (§2.4.4): one packet, version 0, the only one of its kind.
    fn table(&mut self, out: &mut Vec<u8>, pid: u16, table: u8, content: &[u8]) {
        // The identifier, the version, two numbers and the checksum.
        let length = u8::try_from(content.len() + 9).unwrap_or_default();
        let mut section = alloc::vec![table, 0xb0, length, 0, 1, 0xc1, 0, 0];
        section.extend_from_slice(content);
        section.extend(crc32(&section).to_be_bytes());
        let mut packet = self.header(pid, true, true, 0x10);
        packet.push(0);
        packet.append(&mut section);
        packet.resize(PACKET_BYTES, 0xff);
        out.append(&mut packet);
    }
}

/// Sound that goes out in one PES packet.
#[derive(Default)]
struct Sound {
    began: Option<MediaTime>,
    bytes: Vec<u8>,
}

impl Sound {
    fn is_full(&self) -> bool {
        self.bytes.len() >= SOUND_BYTES_MAX
    }

    fn push(&mut self, adts: Adts, frame: &Frame<Bytes>) {
        let Some(header) = adts.header(frame.payload.len()) else { return };
        self.began.get_or_insert(frame.pts);
        self.bytes.extend(header);
        self.bytes.extend_from_slice(&frame.payload);
    }
}

/// What an adaptation field says.
struct Field {
    clock: Option<MediaTime>,
    is_key: bool,
}

impl Field {
    /// Flags and the clock, without the length; empty where there is nothing to say.
    fn bytes(&self) -> Vec<u8> {
        if self.clock.is_none() && !self.is_key {
            return Vec::new();
        }
        let mut bytes = alloc::vec![if self.is_key { 0x40 } else { 0 } | if self.clock.is_some() { 0x10 } else { 0 }];
        if let Some(at) = self.clock {
            // 33 bits of 90 kHz, six of ones, nine of 27 MHz.
            let [_, _, b0, b1, b2, b3, b4, b5] = ((time(at, 0) << 15) | 0x7e00).to_be_bytes();
            bytes.extend([b0, b1, b2, b3, b4, b5]);
        }
        bytes
    }
}

/// An adaptation field with so many bytes of stuffing. Of one byte there is the length alone.
fn put_field(packet: &mut Vec<u8>, field: &[u8], stuffing: usize) {
    packet.push(u8::try_from(field.len() + stuffing).unwrap_or_default());
    packet.extend_from_slice(field);
    if field.is_empty() && stuffing > 0 {
        packet.push(0);
        packet.resize(packet.len() + stuffing - 1, 0xff);
    } else {
        packet.resize(packet.len() + stuffing, 0xff);
    }
}

fn time(at: MediaTime, delay: i64) -> u64 {
    at.ticks_90k.saturating_add(delay).cast_unsigned() & TIME_MASK
}

/// A PES packet's header (§2.4.3.6), with a length of zero: up to the next one.
fn pes_header(stream_id: u8, pts: MediaTime, dts: MediaTime) -> Vec<u8> {
    let has_dts = pts != dts;
    let mut header = alloc::vec![0, 0, 1, stream_id, 0, 0, 0x84, if has_dts { 0xc0 } else { 0x80 }, if has_dts { 10 } else { 5 }];
    let mut put = |mark: u8, at: MediaTime| {
        // 3, 15 and 15 bits, each with a mark behind it.
        let bits = time(at, DELAY_TICKS);
        let field = |shift: u32| u16::try_from(bits >> shift & 0x7fff).unwrap_or_default();
        let (high, middle, low) = (u8::try_from(bits >> 30 & 7).unwrap_or_default(), field(15), field(0));
        let [m0, m1] = (middle << 1 | 1).to_be_bytes();
        let [l0, l1] = (low << 1 | 1).to_be_bytes();
        header.extend([mark << 4 | high << 1 | 1, m0, m1, l0, l1]);
    };
    put(if has_dts { 3 } else { 2 }, pts);
    if has_dts {
        put(1, dts);
    }
    header
}

/// An access unit with start codes, and with its delimiter first (§2.14).
fn put_annex_b(out: &mut Vec<u8>, payload: &[u8], codec: Codec) {
    let (delimiter, is_delimiter): (&[u8], fn(u8) -> bool) = if codec == Codec::Hevc {
        (&[0, 0, 0, 1, 35 << 1, 1, 0x50], |header| (header >> 1) & 0x3f == 35)
    } else {
        (&[0, 0, 0, 1, 9, 0xf0], |header| header & 0x1f == 9)
    };
    out.extend_from_slice(delimiter);
    for nal in avc::NalUnits::new(payload, avc::LENGTH_BYTES) {
        if nal.first().is_some_and(|header| !is_delimiter(*header)) {
            out.extend([0, 0, 0, 1]);
            out.extend_from_slice(nal);
        }
    }
}

/// What the ADTS headers of a sound say.
#[derive(Clone, Copy)]
struct Adts {
    profile: u8,
    rate: u8,
    channels: u8,
}

impl Adts {
    /// `None` for what ADTS has no words for.
    fn of(config: &AudioConfig) -> Option<Self> {
        let rate = ADTS_RATES_HZ.iter().position(|rate| *rate == config.sample_rate_hz())?;
        // What HE-AAC adds is in the frames: players without it play the rest.
        let profile = match config.object_type() {
            object @ 1..=4 => object - 1,
            5 | 29 => 1,
            _ => return None,
        };
        let channels = match config.channels() {
            channels @ 1..=6 => channels,
            8 => 7,
            _ => return None,
        };
        Some(Self { profile, rate: u8::try_from(rate).ok()?, channels })
    }

    fn header(self, payload_bytes: usize) -> Option<[u8; ADTS_HEADER_BYTES]> {
        let length = u16::try_from(payload_bytes + ADTS_HEADER_BYTES).ok().filter(|length| usize::from(*length) <= ADTS_FRAME_BYTES_MAX)?;
        // Thirteen bits of length: two, eight and three.
        let [high, low] = length.to_be_bytes();
        let Self { profile, rate, channels } = self;
        Some([
            0xff,
            0xf1,
            profile << 6 | rate << 2 | channels >> 2,
            channels << 6 | high >> 3,
            high << 5 | low >> 3,
            (low & 7) << 5 | 0x1f,
            0xfc,
        ])
    }
}

/// The checksum of tables (annex A).
fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| if crc >> 31 == 1 { crc << 1 ^ 0x04c1_1db7 } else { crc << 1 })
    })
}

#[cfg(test)]
mod tests;
