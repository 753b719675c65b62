//! A peer written as choices: messages that make sense, in chunks that may not. So that what lies behind handshake and commands is reached.

use crate::cursor::Cursor;
use std::time::Duration;

/// Chunk streams: those in use, the limits of each form of the id, and one no one uses.
const CSIDS: [u32; 8] = [3, 2, 4, 6, 5, 63, 64, 65_599];
/// Times at which fields change their form or wrap.
const TIMES: [u32; 8] = [0, 40, 0x00ff_fffe, 0x00ff_ffff, 0x0100_0000, 0x7fff_ffff, 0xffff_fff0, 23];
const CHUNK_SIZES: [u32; 8] = [128, 1, 4096, 60_000, 65_536, 1 << 20, 0, 0x8000_0001];
const CODES: [&str; 7] = [
    "NetStream.Publish.Start",
    "NetStream.Publish.BadName",
    "NetConnection.Connect.Rejected",
    "NetStream.Unpublish.Success",
    "NetConnection.Connect.ReconnectRequest",
    "NetStream.Play.Start",
    "NetStream.Play.UnpublishNotify",
];
const NAMED: [&str; 9] =
    ["releaseStream", "FCPublish", "FCUnpublish", "_checkbw", "getStreamLength", "FCSubscribe", "pause", "onBWDone", "unknown"];
const FOUR_CCS: [[u8; 4]; 8] = [*b"hvc1", *b"avc1", *b"av01", *b"vp09", *b"Opus", *b"mp4a", *b"ac-3", *b"xxxx"];
const SPS: [u8; 24] = [0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0, 0, 3, 0, 4, 0, 0, 3, 0, 0xc8, 0x3c];
const PPS: [u8; 6] = [0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];
/// The most of a payload's bytes that one choice makes: two large chunks.
const FILL_BYTES_MAX: usize = 8192;

/// What one instruction was, beside what it put on the wire.
pub(crate) enum Step {
    /// Nothing but bytes.
    Wire,
    /// Time goes by.
    Pass(Duration),
    /// The shell does something of its own.
    Act(u8),
}

/// What a peer writes.
#[derive(Default)]
pub(crate) struct Peer {
    pub(crate) wire: Vec<u8>,
    /// The rest of a message that was left unfinished.
    unfinished: Vec<u8>,
    chunk_size: usize,
}

/// How a message goes into chunks: a choice of one byte.
#[derive(Clone, Copy)]
struct Shape {
    format: u8,
    csid: u32,
    is_left_unfinished: bool,
    repeats_extended: bool,
}

impl Shape {
    fn of(choice: u8) -> Self {
        Self {
            format: choice & 3,
            csid: CSIDS[usize::from(choice >> 2 & 7)],
            is_left_unfinished: choice & 0x20 != 0,
            repeats_extended: choice & 0x40 == 0,
        }
    }
}

impl Peer {
    pub(crate) fn new() -> Self {
        Self { chunk_size: 128, ..Self::default() }
    }

    /// Handshake packets: version, time, what says "digest" or "simple", and anything.
    pub(crate) fn put_opening(&mut self, choice: u8, packets: usize) {
        self.wire.push(3);
        for packet in 0..packets {
            let at = self.wire.len();
            self.wire.extend((0..1536_usize).map(|byte| (byte * 7 + packet) as u8));
            let version = if choice & 0x10 == 0 { [0; 4] } else { [0x80, 0, 7, 2] };
            self.wire[at + 4..at + 8].copy_from_slice(&version);
        }
    }

    /// One instruction.
    pub(crate) fn step(&mut self, cursor: &mut Cursor<'_>) -> Step {
        let op = cursor.u8();
        let shape = if matches!(op % 32, 0..=18) { Shape::of(cursor.u8()) } else { Shape::of(0) };
        match op % 32 {
            0 => {
                let app = cursor.pick(&["live", "live/", "other", "live?token=t", ""]);
                let body = command("connect", 1.0, |out| {
                    out.push(3);
                    key_text(out, "app", app);
                    key_text(out, "tcUrl", "rtmp://h/live");
                    if op & 0x80 != 0 {
                        capabilities(out, cursor);
                    }
                    out.extend_from_slice(&[0, 0, 9]);
                });
                self.message(shape, 20, 0, 0, &body);
            }
            1 => self.message(shape, 20, 0, 0, &command("createStream", 4.0, |out| out.push(5))),
            2 | 3 => {
                let stream_id = u32::from(cursor.pick(&[1_u8, 1, 2, 0, 9]));
                let name = cursor.pick(&["cam", "cam?token=t", "", "a/b?c"]);
                let body = command(if op.is_multiple_of(2) { "publish" } else { "play" }, 5.0, |out| {
                    out.push(5);
                    text(out, name);
                    text(out, "live");
                });
                self.message(shape, 20, stream_id, 0, &body);
            }
            4 => {
                let id = f64::from(cursor.u8() % 4);
                let body = command("deleteStream", 0.0, |out| {
                    out.push(5);
                    number(out, id);
                });
                self.message(shape, 20, 0, 0, &body);
            }
            5 => self.message(shape, 20, 1, 0, &command("closeStream", 0.0, |out| out.push(5))),
            6 => {
                let (name, transaction) = (cursor.pick(&NAMED), f64::from(cursor.u8() % 4));
                let body = command(name, transaction, |out| {
                    out.push(5);
                    text(out, "cam");
                });
                self.message(shape, if op & 0x80 == 0 { 20 } else { 17 }, 0, 0, &body);
            }
            7 => {
                let mut body = vec![];
                if op & 0x80 == 0 {
                    text(&mut body, "@setDataFrame");
                }
                text(&mut body, "onMetaData");
                body.extend_from_slice(&[8, 0, 0, 0, cursor.u8()]);
                body.extend_from_slice(cursor.take(40));
                self.message(shape, if op & 0x40 == 0 { 18 } else { 15 }, 1, 0, &body);
            }
            8 => self.message(shape, 9, 1, cursor.pick(&TIMES), &[&[0x17, 0, 0, 0, 0][..], &avc_record(cursor.u8())].concat()),
            9 => {
                let time = cursor.pick(&TIMES).wrapping_add(u32::from(cursor.u8()));
                let mut body = vec![if op & 0x80 == 0 { 0x17 } else { 0x27 }, 1, 0, 0, cursor.u8()];
                let bytes = fill(cursor);
                body.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(0).to_be_bytes());
                body.extend_from_slice(&bytes);
                self.message(shape, 9, 1, time, &body);
            }
            10 => self.message(
                shape,
                8,
                1,
                0,
                &[&[0xaf, 0][..], cursor.pick(&[&[0x12, 0x10][..], &[0x11, 0x90], &[0xff, 0xff, 0xff]])].concat(),
            ),
            11 => {
                let time = cursor.pick(&TIMES).wrapping_add(u32::from(cursor.u8()));
                self.message(shape, 8, 1, time, &[&[0xaf, 1][..], &fill(cursor)].concat());
            }
            12 => {
                let (type_id, stream_id, time) = (cursor.u8() % 24, u32::from(cursor.u8() % 3), cursor.pick(&TIMES));
                let length = usize::from(cursor.u8());
                self.message(shape, type_id, stream_id, time, cursor.take(length));
            }
            13 => {
                let size = cursor.pick(&CHUNK_SIZES);
                self.message(shape, 1, 0, 0, &size.to_be_bytes());
                if (1..=1 << 20).contains(&size) {
                    self.chunk_size = usize::try_from(size).unwrap_or(128);
                }
            }
            14 => self.message(shape, 2, 0, 0, &cursor.pick(&CSIDS).to_be_bytes()),
            15 => {
                let (type_id, value) =
                    (cursor.pick(&[3, 5, 6, 4, 1]), cursor.pick(&[0, 1, 4096, 65_536, 2_500_000, 0x7fff_ffff, 0xffff_ffff_u32]));
                let event = u16::from(cursor.u8() % 33).to_be_bytes();
                let body = if type_id == 4 { [&event[..], &value.to_be_bytes()].concat() } else { value.to_be_bytes().to_vec() };
                let body = if type_id == 6 { [&body[..], &[cursor.u8()]].concat() } else { body };
                self.message(shape, type_id, 0, 0, &body);
            }
            16 => {
                // Enhanced RTMP: the first byte says so, a four-character code follows.
                let is_audio = op & 0x80 != 0;
                let first = if is_audio { 0x90 | cursor.u8() & 0x0f } else { 0x80 | cursor.u8() & 0x7f };
                let mut body = vec![first];
                body.extend_from_slice(&cursor.pick(&FOUR_CCS));
                let length = usize::from(cursor.u8() % 64);
                body.extend_from_slice(cursor.take(length));
                self.message(shape, if is_audio { 8 } else { 9 }, 1, cursor.pick(&TIMES), &body);
            }
            17 => {
                // An aggregate: tags as in a file, each with its size behind it.
                let mut body = vec![];
                for _ in 0..cursor.u8() % 4 {
                    let (kind, time, bytes) = (cursor.pick(&[8, 9, 18]), cursor.pick(&TIMES), fill(cursor));
                    let length = u32::try_from(bytes.len()).unwrap_or(0);
                    let [t0, t1, t2, t3] = time.to_be_bytes();
                    body.push(kind);
                    body.extend_from_slice(&length.to_be_bytes()[1..]);
                    body.extend_from_slice(&[t1, t2, t3, t0, 0, 0, 0]);
                    body.extend_from_slice(&bytes);
                    body.extend_from_slice(&(length + 11).to_be_bytes());
                }
                self.message(shape, 22, 1, cursor.pick(&TIMES), &body);
            }
            18 => {
                // What a server says to a client.
                let (name, transaction) =
                    (cursor.pick(&["_result", "_error", "onStatus", "onFCPublish", "close"]), f64::from(cursor.u8() % 8));
                let (code, id) = (cursor.pick(&CODES), f64::from(cursor.u8() % 4));
                let body = command(name, transaction, |out| {
                    out.push(5);
                    if name == "_result" && transaction > 1.5 {
                        number(out, id);
                    } else {
                        out.push(3);
                        key_text(out, "level", if id > 1.0 { "error" } else { "status" });
                        key_text(out, "code", code);
                        key_text(out, "description", "d");
                        key_text(out, "tcUrl", "rtmp://other/live");
                        out.extend_from_slice(&[0, 0, 9]);
                    }
                });
                self.message(shape, 20, u32::from(op >> 7), 0, &body);
            }
            19 => {
                let length = usize::from(cursor.u8() % 64);
                self.wire.extend_from_slice(cursor.take(length));
            }
            20 => {
                let unfinished = std::mem::take(&mut self.unfinished);
                self.wire.extend_from_slice(&unfinished);
            }
            21 => return Step::Pass(Duration::from_millis(u64::from(cursor.u8()) * 200)),
            22 => return Step::Act(cursor.u8()),
            _ => {
                // Pings. A flood of them now and then: it costs what a hundred other instructions do.
                let count = match cursor.u8() {
                    0xff => 0xff,
                    few => few % 8,
                };
                for _ in 0..count {
                    self.wire.extend_from_slice(&[2, 0, 0, 0, 0, 0, 6, 4, 0, 0, 0, 0, 0, 6, 1, 2, 3, 4]);
                }
            }
        }
        Step::Wire
    }

    fn message(&mut self, shape: Shape, type_id: u8, stream_id: u32, time: u32, body: &[u8]) {
        let has_extended = time >= 0x00ff_ffff && shape.format < 3;
        let extended: &[u8] = if has_extended { &time.to_be_bytes() } else { &[] };
        let length = u32::try_from(body.len()).unwrap_or(0);
        basic(&mut self.wire, shape.format, shape.csid);
        let fields = [&time.min(0x00ff_ffff).to_be_bytes()[1..], &length.to_be_bytes()[1..], &[type_id], &stream_id.to_le_bytes()].concat();
        self.wire.extend_from_slice(&fields[..[11, 7, 3, 0][usize::from(shape.format)]]);
        self.wire.extend_from_slice(extended);
        let mut rest = vec![];
        for (place, chunk) in body.chunks(self.chunk_size).enumerate() {
            let out = if place > 0 && shape.is_left_unfinished { &mut rest } else { &mut self.wire };
            if place > 0 {
                basic(out, 3, shape.csid);
                out.extend_from_slice(if shape.repeats_extended { extended } else { &[] });
            }
            out.extend_from_slice(chunk);
        }
        if shape.is_left_unfinished {
            self.unfinished = rest;
        }
    }
}

fn basic(out: &mut Vec<u8>, format: u8, csid: u32) {
    match csid {
        0..=63 => out.push(format << 6 | csid as u8),
        64..=319 => out.extend_from_slice(&[format << 6, (csid - 64) as u8]),
        _ => {
            out.push(format << 6 | 1);
            out.extend_from_slice(&((csid - 64) as u16).to_le_bytes());
        }
    }
}

fn text(out: &mut Vec<u8>, value: &str) {
    out.push(2);
    key(out, value);
}

fn key(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(&(name.len() as u16).to_be_bytes());
    out.extend_from_slice(name.as_bytes());
}

/// What Enhanced RTMP adds to `connect`: flags, and the codecs as a list or as a map.
fn capabilities(out: &mut Vec<u8>, cursor: &mut Cursor<'_>) {
    let (caps_ex, flags, form) = (cursor.u8(), cursor.u8(), cursor.u8());
    key(out, "capsEx");
    number(out, f64::from(caps_ex));
    let four_cc = cursor.pick(&FOUR_CCS);
    if form & 1 == 0 {
        key(out, "fourCcList");
        out.extend_from_slice(&[10, 0, 0, 0, 1, 2, 0, 4]);
        out.extend_from_slice(&four_cc);
    } else {
        key(out, if form & 2 == 0 { "videoFourCcInfoMap" } else { "audioFourCcInfoMap" });
        out.push(3);
        key(out, if form & 4 == 0 { str::from_utf8(&four_cc).unwrap_or("*") } else { "*" });
        number(out, f64::from(flags));
        out.extend_from_slice(&[0, 0, 9]);
    }
}

fn key_text(out: &mut Vec<u8>, name: &str, value: &str) {
    key(out, name);
    text(out, value);
}

fn number(out: &mut Vec<u8>, value: f64) {
    out.push(0);
    out.extend_from_slice(&value.to_be_bytes());
}

fn command(name: &str, transaction: f64, arguments: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = vec![];
    text(&mut out, name);
    number(&mut out, transaction);
    arguments(&mut out);
    out
}

/// A decoder configuration as cameras send it; a choice changes one byte of it.
pub(crate) fn avc_record(choice: u8) -> Vec<u8> {
    let mut record = vec![1, SPS[1], SPS[2], SPS[3], 0xff, 0xe1, 0, SPS.len() as u8];
    record.extend_from_slice(&SPS);
    record.extend_from_slice(&[1, 0, PPS.len() as u8]);
    record.extend_from_slice(&PPS);
    if choice > 0 {
        let at = usize::from(choice) % record.len();
        record[at] ^= choice;
    }
    record
}

/// A payload: a few bytes as chosen, and then as many as one more choice says.
fn fill(cursor: &mut Cursor<'_>) -> Vec<u8> {
    let length = usize::from(cursor.u8() % 32);
    let mut bytes = cursor.take(length).to_vec();
    // Most are short: what is long is as many chunks, and costs as much time.
    let more = match usize::from(cursor.u8()) {
        few @ 0..192 => few,
        many => (many - 191) * 128,
    };
    bytes.resize((bytes.len() + more).min(FILL_BYTES_MAX), 0x41);
    bytes
}
