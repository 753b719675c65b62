//! AAC as Opus, for WebRTC carries no AAC: once a stream, while someone listens, on a thread of its own. The only file that knows the
//! crates, which are young: what they make of a strange stream ends the sound, never the picture.

use bytes::Bytes;
use opus_rs::{Application, OpusEncoder};
use std::f32::consts::PI;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use syom::{DecodeOptions, Decoder};
use tokio_util::task::TaskTracker;

/// Opus' clock (RFC 7587 §4.1).
const OPUS_HZ: u32 = 48_000;
/// Samples of a packet: 20 ms, as browsers send.
const PACKET_SAMPLES: usize = 960;
/// Of a microphone's sound, in bits a second: transparent for speech, good for all else.
const BITRATE_BPS: i32 = 64_000;
/// The longest packet at that rate, several times over.
const PACKET_BYTES_MAX: usize = 1275;
/// Frames that wait for the thread: a second and a half. More is lost: the machine has no time for it.
const QUEUE: usize = 64;
/// Ticks of 90 kHz that times may be off before the sound is moved to them: two packets. Less is heard as a click, more is seen.
const OFF_TICKS_MAX: i64 = 3_600;
/// What the decoder may make of one stream, in seconds: ten years, for a stream has no end.
const DURATION_MAX_SEC: f64 = 315_000_000.0;
/// Samples that each one of the new rate is made of.
const TAPS: usize = 32;

/// A frame of AAC on its way.
pub(super) struct Heard {
    /// The `AudioSpecificConfig`.
    pub(super) config: Bytes,
    pub(super) frame: Bytes,
    pub(super) ticks_90k: i64,
}

/// A packet of Opus.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Opus {
    pub(super) bytes: Bytes,
    /// When its first sample is heard.
    pub(super) ticks_90k: i64,
}

/// The thread, from the outside.
pub(super) struct Transcoder {
    to: SyncSender<Heard>,
    from: Receiver<Opus>,
    is_over: bool,
}

impl Transcoder {
    /// Runs until it is dropped.
    pub(super) fn start(tasks: &TaskTracker) -> Self {
        let (to, heard) = sync_channel(QUEUE);
        let (made, from) = sync_channel(QUEUE);
        tasks.spawn_blocking(move || run(&heard, &made));
        Self { to, from, is_over: false }
    }

    /// Gives it a frame. One that it has no time for is lost.
    pub(super) fn push(&mut self, heard: Heard) {
        if matches!(self.to.try_send(heard), Err(TrySendError::Disconnected(_))) && !self.is_over {
            self.is_over = true;
            tracing::warn!("a stream's AAC can't be made into Opus: its WHEP viewers have no sound");
        }
    }

    /// What it has made.
    pub(super) fn poll(&mut self) -> Option<Opus> {
        self.from.try_recv().ok()
    }
}

/// Turns frames into packets until nobody sends or takes any more. A frame that can't be decoded is left out.
fn run(heard: &Receiver<Heard>, made: &SyncSender<Opus>) {
    let mut line = None::<Line>;
    while let Ok(Heard { config, frame, ticks_90k }) = heard.recv() {
        if line.as_ref().is_none_or(|line| line.config != config) {
            line = Line::new(config).inspect_err(|error| tracing::debug!(error, "AAC that can't be decoded")).ok();
        }
        let Some(this) = &mut line else { continue };
        let Ok(packets) = this.push(&frame, ticks_90k) else {
            line = None;
            continue;
        };
        for packet in packets {
            // Nobody takes packets as fast as they are made: they are late, and lost.
            if let Err(TrySendError::Disconnected(_)) = made.try_send(packet) {
                return;
            }
        }
    }
}

/// From one configuration's frames to packets.
struct Line {
    config: Bytes,
    decoder: Decoder,
    resampler: Option<Resampler>,
    encoder: OpusEncoder,
    /// Samples of 48 kHz that make no packet yet.
    waiting: Vec<f32>,
    /// When the first of them is heard, in ticks of 90 kHz times 8: both clocks are whole in it.
    at: Option<i64>,
}

impl Line {
    fn new(config: Bytes) -> Result<Self, String> {
        let options = DecodeOptions::speech().with_max_duration_secs(DURATION_MAX_SEC);
        let decoder = Decoder::from_asc(&config, options).map_err(|error| error.to_string())?;
        let mut encoder = OpusEncoder::new(OPUS_HZ.cast_signed(), 1, Application::Audio)?;
        encoder.bitrate_bps = BITRATE_BPS;
        Ok(Self { config, decoder, resampler: None, encoder, waiting: Vec::new(), at: None })
    }

    fn push(&mut self, frame: &[u8], ticks_90k: i64) -> Result<Vec<Opus>, String> {
        let (mut samples, mut rate) = (Vec::new(), 0);
        let decoded = self.decoder.decode_au(frame, |frame| {
            rate = frame.sample_rate;
            samples.extend_from_slice(frame.planar.first().copied().unwrap_or_default());
            Ok(())
        });
        decoded.map_err(|error| error.to_string())?;
        if rate == 0 {
            return Ok(Vec::new());
        }
        if self.resampler.as_ref().is_none_or(|resampler| resampler.from_hz != rate) {
            self.resampler = Some(Resampler::new(rate));
        }
        self.place(ticks_90k);
        if let Some(resampler) = &mut self.resampler {
            resampler.push(&samples, &mut self.waiting);
        }
        self.packets()
    }

    /// Sound goes on sample by sample, unless the stream's times say that some is missing.
    fn place(&mut self, ticks_90k: i64) {
        let expected = self.at.map(|at| (at + eighths(self.waiting.len())) / 8);
        if expected.is_none_or(|expected| (expected - ticks_90k).abs() > OFF_TICKS_MAX) {
            self.waiting.clear();
            self.at = Some(ticks_90k.saturating_mul(8));
        }
    }

    fn packets(&mut self) -> Result<Vec<Opus>, String> {
        let mut packets = Vec::new();
        while self.waiting.len() >= PACKET_SAMPLES {
            let mut space = [0; PACKET_BYTES_MAX];
            let length = self.encoder.encode(&self.waiting[..PACKET_SAMPLES], PACKET_SAMPLES, &mut space)?;
            self.waiting.drain(..PACKET_SAMPLES);
            let at = self.at.unwrap_or_default();
            self.at = Some(at + eighths(PACKET_SAMPLES));
            packets.push(Opus { bytes: Bytes::copy_from_slice(space.get(..length).unwrap_or_default()), ticks_90k: at / 8 });
        }
        Ok(packets)
    }
}

/// Samples of 48 kHz in eighths of ticks of 90 kHz: 15 each.
fn eighths(samples: usize) -> i64 {
    i64::try_from(samples).unwrap_or(i64::MAX).saturating_mul(15)
}

/// Samples at another rate: each is a weighted sum of those around it, by a windowed sinc, one row of weights for each place that a sample
/// of the new rate can have between two of the old.
struct Resampler {
    from_hz: u32,
    /// New samples in as many old ones as `step`.
    rows: usize,
    step: usize,
    weights: Vec<[f32; TAPS]>,
    history: Vec<f32>,
    /// Where the next new sample is, in rows from the history's beginning.
    at: usize,
}

impl Resampler {
    fn new(from_hz: u32) -> Self {
        let divisor = greatest_common_divisor(from_hz, OPUS_HZ);
        let (rows, step) = ((OPUS_HZ / divisor) as usize, (from_hz / divisor) as usize);
        // Where there are fewer samples than before, what they can't carry is left out.
        let cutoff = (OPUS_HZ as f32 / from_hz as f32).min(1.0);
        let weights = (0..rows).map(|row| weights(row as f32 / rows as f32, cutoff)).collect();
        Self { from_hz, rows, step, weights, history: vec![0.0; TAPS], at: 0 }
    }

    fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        self.history.extend_from_slice(samples);
        while let Some(window) = self.history.get(self.at / self.rows..).and_then(<[f32]>::first_chunk::<TAPS>) {
            let weights = &self.weights[self.at % self.rows];
            out.push(window.iter().zip(weights).map(|(sample, weight)| sample * weight).sum());
            self.at += self.step;
        }
        let used = (self.at / self.rows).min(self.history.len());
        self.history.drain(..used);
        self.at -= used * self.rows;
    }
}

fn weights(fraction: f32, cutoff: f32) -> [f32; TAPS] {
    let middle = (TAPS / 2 - 1) as f32 + fraction;
    let mut row: [f32; TAPS] = std::array::from_fn(|at| {
        let x = at as f32 - middle;
        let sinc = if x.abs() < 1e-6 { cutoff } else { (PI * x * cutoff).sin() / (PI * x) };
        // Hann's window.
        let window = (PI * x / TAPS as f32).cos();
        sinc * window * window
    });
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|weight| *weight /= sum);
    row
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a.max(1) } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opus_rs::OpusDecoder;

    /// Frames of AAC of a tone of 1 kHz, and their configuration.
    fn tone(rate: u32) -> (Bytes, Vec<Bytes>) {
        let mut encoder = syom::Encoder::new(rate, 1, &syom::EncodeOptions::raw().with_bitrate_bps(rate * 3)).unwrap();
        let samples: Vec<f32> = (0..rate).map(|at| 0.5 * (2.0 * PI * 1000.0 * at as f32 / rate as f32).sin()).collect();
        let mut frames = vec![];
        encoder
            .feed(&[&samples], |frame| {
                frames.push(Bytes::copy_from_slice(frame.payload));
                Ok(())
            })
            .unwrap();
        (Bytes::copy_from_slice(encoder.asc()), frames)
    }

    #[test]
    fn a_tone_is_the_same_tone_at_any_rate() {
        for rate in [8_000, 16_000, 22_050, 44_100, 48_000] {
            let (config, frames) = tone(rate);
            let mut line = Line::new(config).unwrap();
            let mut packets = vec![];
            for (at, frame) in frames.iter().enumerate() {
                let ticks = i64::try_from(at).unwrap() * 1024 * 90_000 / i64::from(rate);
                packets.extend(line.push(frame, ticks).unwrap());
            }
            assert!(packets.len() >= 40, "{rate}: {}", packets.len());
            assert!(packets.windows(2).all(|pair| pair[1].ticks_90k - pair[0].ticks_90k == 1800), "{rate}");
            let mut decoder = OpusDecoder::new(48_000, 1).unwrap();
            let mut heard = vec![];
            for packet in &packets {
                let mut out = vec![0.0; PACKET_SAMPLES];
                decoder.decode(&packet.bytes, PACKET_SAMPLES, &mut out).unwrap();
                heard.extend(out);
            }
            let middle = &heard[20_000..30_000];
            let crossings = middle.windows(2).filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0).count();
            assert!((205..=212).contains(&crossings), "{rate}: {crossings} of 208 periods");
            let power = middle.iter().map(|sample| sample * sample).sum::<f32>() / middle.len() as f32;
            assert!((0.1..0.15).contains(&power), "{rate}: {power} of 0.125");
        }
    }

    #[test]
    fn sound_that_is_missing_is_missing_and_what_is_no_aac_ends_nothing() {
        let (config, frames) = tone(48_000);
        let mut line = Line::new(config.clone()).unwrap();
        let first = line.push(&frames[0], 0).unwrap();
        let second = line.push(&frames[1], 90_000).unwrap();
        assert_eq!((first[0].ticks_90k, second[0].ticks_90k), (0, 90_000));
        let (to, heard) = sync_channel(8);
        let (made, from) = sync_channel(8);
        for frame in [Bytes::from_static(b"\xff\xff\xff"), frames[0].clone(), frames[1].clone()] {
            to.send(Heard { config: config.clone(), frame, ticks_90k: 0 }).unwrap();
        }
        drop(to);
        run(&heard, &made);
        assert!(from.try_recv().is_ok());
    }
}
