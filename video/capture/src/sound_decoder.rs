//! A camera's sound that this build can't decode, through the `ffmpeg` on the PATH: coded bytes in, samples out.

use std::{
    collections::VecDeque,
    io::{Read as _, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc::{Receiver, SyncSender, TrySendError},
};

use crate::ffmpeg::live::{opus_head, sound_block};

/// Packets that may wait for ffmpeg: more than a second of them. Beyond it the machine is too slow, and what comes is left out.
const PACKETS_WAITING_MAX: usize = 64;
/// Pieces of decoded sound that may wait to be taken: it is taken with each packet.
const PIECES_WAITING_MAX: usize = 64;
/// Opus is always at this rate (RFC 7587 §4.1).
const OPUS_RATE_HZ: u32 = 48_000;

/// What ffmpeg decodes of cameras' sound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Coding {
    /// G.726 of so many bits a sample, in RTP's order of bits or in AAL2's.
    G726 { bits: u32, is_aal2: bool },
    /// Two samples a byte, at twice the rate that RTP says (RFC 3551 §4.5.2).
    G722,
    /// Opus.
    Opus,
}

impl Coding {
    /// The coding of RTP's encoding name, in small letters.
    pub(crate) fn of_encoding(name: &str) -> Option<Self> {
        let g726 = |bits: &str, is_aal2| {
            let bits = match bits {
                "16" => 2,
                "24" => 3,
                "32" => 4,
                "40" => 5,
                _ => return None,
            };
            Some(Self::G726 { bits, is_aal2 })
        };
        match name {
            "g722" => Some(Self::G722),
            "opus" => Some(Self::Opus),
            _ => match name.strip_prefix("aal2-g726-") {
                Some(bits) => g726(bits, true),
                None => g726(name.strip_prefix("g726-")?, false),
            },
        }
    }

    /// Samples a second of what comes out.
    const fn rate_hz(self, clock_rate_hz: u32) -> u32 {
        match self {
            Self::G726 { .. } => clock_rate_hz,
            Self::G722 => clock_rate_hz.saturating_mul(2),
            Self::Opus => OPUS_RATE_HZ,
        }
    }

    fn arguments(self, rate_hz: u32) -> Vec<String> {
        let rate = rate_hz.to_string();
        let arguments: Vec<&str> = match self {
            Self::G726 { is_aal2: true, .. } => vec!["-f", "g726", "-sample_rate", &rate],
            Self::G726 { is_aal2: false, .. } => vec!["-f", "g726le", "-sample_rate", &rate],
            Self::G722 => vec!["-f", "g722"],
            Self::Opus => vec!["-f", "matroska"],
        };
        let mut arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        if let Self::G726 { bits, .. } = self {
            arguments.extend(["-code_size".to_owned(), bits.to_string()]);
        }
        arguments
    }

    /// Samples that a packet stands for.
    fn samples(self, packet: &[u8]) -> i64 {
        let bytes = i64::try_from(packet.len()).unwrap_or(0);
        match self {
            Self::G726 { bits, .. } => bytes * 8 / i64::from(bits),
            Self::G722 => bytes * 2,
            Self::Opus => opus_samples(packet),
        }
    }
}

/// Of an Opus packet, at 48 kHz (RFC 6716 §3.1): its frames and how long each is.
fn opus_samples(packet: &[u8]) -> i64 {
    let Some(&toc) = packet.first() else { return 0 };
    let frame = match toc >> 3 {
        config @ 0..=11 => [480, 960, 1_920, 2_880][usize::from(config & 3)],
        config @ 12..=15 => [480, 960][usize::from(config & 1)],
        config => [120, 240, 480, 960][usize::from(config & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => i64::from(packet.get(1).copied().unwrap_or(0) & 0x3f),
    };
    frame * frames
}

/// A running ffmpeg. Ends with its owner.
#[derive(Debug)]
pub(crate) struct SoundDecoder {
    child: Child,
    coding: Coding,
    rate_hz: u32,
    clock_rate_hz: u32,
    to: SyncSender<Vec<u8>>,
    from: Receiver<Vec<f32>>,
    /// Samples that were put in, and that came out.
    put: i64,
    taken: i64,
    /// From these samples on times count from here: after lost packets the sound is where it belongs.
    anchors: VecDeque<(i64, i64)>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SoundDecoderError {
    #[error("to make AAC of it needs `ffmpeg`, and there is none on the PATH: install ffmpeg, or set the camera to AAC or G.711")]
    Missing,
    #[error("ffmpeg can't be started: {0}")]
    Start(#[from] std::io::Error),
    #[error("ffmpeg has ended: set the camera to AAC or G.711")]
    Ended,
}

impl SoundDecoder {
    pub(crate) fn start(coding: Coding, clock_rate_hz: u32) -> Result<Self, SoundDecoderError> {
        let rate_hz = coding.rate_hz(clock_rate_hz);
        // A process for each input would be all that a fuzz target does.
        #[cfg(feature = "fuzzing")]
        if retina::fuzzing::is_connected_to() {
            return Err(SoundDecoderError::Missing);
        }
        let mut command = Command::new("ffmpeg");
        command.args(["-nostdin", "-hide_banner", "-nostats", "-loglevel", "quiet", "-probesize", "32", "-analyzeduration", "0"]);
        command.args(coding.arguments(rate_hz)).args(["-i", "pipe:0", "-ac", "1", "-ar"]).arg(rate_hz.to_string());
        command.args(["-f", "f32le", "-flush_packets", "1", "pipe:1"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(SoundDecoderError::Missing),
            spawned => spawned?,
        };
        let (to, packets) = std::sync::mpsc::sync_channel(PACKETS_WAITING_MAX);
        let (pieces, from) = std::sync::mpsc::sync_channel(PIECES_WAITING_MAX);
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let decoder = Self { child, coding, rate_hz, clock_rate_hz, to, from, put: 0, taken: 0, anchors: VecDeque::new() };
        let thread = |name: &str| std::thread::Builder::new().name(name.into());
        if let (Some(stdin), Some(stdout)) = (stdin, stdout) {
            thread("sound-feed").spawn(move || feed(&packets, stdin))?;
            thread("sound").spawn(move || read(stdout, &pieces))?;
        }
        if coding == Coding::Opus {
            let _ = decoder.to.try_send(opus_head());
        }
        Ok(decoder)
    }

    /// Samples a second, which its times count.
    pub(crate) fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Takes a packet whose first sample is at `time`, in ticks of RTP's clock. Gives what is decoded by now: the time of the first sample, in samples, and all.
    pub(crate) fn take(&mut self, time: i64, packet: &[u8]) -> Result<Vec<(i64, Vec<f32>)>, SoundDecoderError> {
        let time = time.saturating_mul(i64::from(self.rate_hz)) / i64::from(self.clock_rate_hz.max(1));
        let samples = self.coding.samples(packet);
        let expected = self.anchors.back().map(|(from, at)| at + (self.put - from));
        if expected.is_none_or(|expected| (expected - time).abs() > samples) {
            self.anchors.push_back((self.put, time));
        }
        let framed = match self.coding {
            Coding::Opus => sound_block(self.put * 1_000 / i64::from(OPUS_RATE_HZ), packet),
            Coding::G726 { .. } | Coding::G722 => packet.to_vec(),
        };
        match self.to.try_send(framed) {
            Ok(()) => self.put += samples,
            Err(TrySendError::Full(_)) => {}
            Err(TrySendError::Disconnected(_)) => return Err(SoundDecoderError::Ended),
        }
        let mut pieces = Vec::new();
        while let Ok(piece) = self.from.try_recv() {
            while self.anchors.get(1).is_some_and(|(from, _)| *from <= self.taken) {
                self.anchors.pop_front();
            }
            let at = self.anchors.front().map_or(time, |(from, at)| at + (self.taken - from));
            self.taken += i64::try_from(piece.len()).unwrap_or(0);
            pieces.push((at, piece));
        }
        Ok(pieces)
    }
}

impl Drop for SoundDecoder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn feed(packets: &Receiver<Vec<u8>>, mut to: ChildStdin) {
    while let Ok(packet) = packets.recv() {
        if to.write_all(&packet).is_err() {
            return;
        }
    }
}

fn read(mut from: ChildStdout, pieces: &SyncSender<Vec<f32>>) {
    let (mut bytes, mut left) = ([0; 16 * 1024], 0);
    while let Ok(read @ 1..) = from.read(&mut bytes[left..]) {
        let whole = (left + read) / 4 * 4;
        let samples = bytes[..whole].chunks_exact(4).map(|sample| f32::from_le_bytes([sample[0], sample[1], sample[2], sample[3]]));
        if pieces.send(samples.collect()).is_err() {
            return;
        }
        bytes.copy_within(whole..left + read, 0);
        left = left + read - whole;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opus_packets_say_how_long_they_are() {
        // SILK 20 ms, one frame; CELT 2.5 ms, two; CELT 20 ms, three.
        for (packet, samples) in [(&[0x08][..], 960), (&[0x81], 240), (&[0xfb, 0x03], 2_880), (&[], 0)] {
            assert_eq!(opus_samples(packet), samples, "{packet:?}");
        }
    }
}
