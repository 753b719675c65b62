//! One encoder tried step by step, for `sightline camera probe --encoder`: what goes in, what comes out, and which controls its driver has.

use sightline_signal::Settings;
use std::{
    path::Path,
    time::{Duration, Instant},
};

use super::{Chunk, FourCc, Pump, Setup};
use crate::encoder::EncoderError;
use sightline_capture::{Picture, scene::Scene};

/// What to try it with.
#[derive(Clone, Copy, Debug)]
pub struct Exercise {
    pub coded: FourCc,
    pub settings: Settings,
    /// In pictures.
    pub keyframe_interval: u32,
    pub pictures: u32,
    /// Before this picture a key frame is asked for.
    pub forced_at: u32,
    /// Before this one half of the bit rate.
    pub halved_at: u32,
}

/// What came of it.
#[derive(Debug)]
pub struct Exercised {
    /// The raw format that it was given.
    pub raw_format: FourCc,
    /// Bytes of a line of luma in its memory.
    pub stride: usize,
    /// Lines of luma in its memory.
    pub rows: usize,
    /// Memories of a picture.
    pub memories: usize,
    /// The controls that its driver lacks.
    pub missing: Vec<&'static str>,
    pub follows_bitrate: bool,
    /// Each frame's bytes, in their order.
    pub frames: Vec<Vec<u8>>,
    /// The pictures that they were made of.
    pub pictures: Vec<i64>,
    /// Those of them that the driver calls key frames.
    pub keyframes: Vec<i64>,
    /// Frames that only the drain at the end gave.
    pub drained: usize,
    /// From a picture's arrival until its frame was there, the longest.
    pub latency_max: Duration,
    /// For a picture in the mean.
    pub cost: Duration,
}

/// Runs it to its end.
pub fn exercise(path: &Path, exercise: Exercise) -> Result<Exercised, EncoderError> {
    let Exercise { coded, settings, keyframe_interval, pictures, forced_at, halved_at } = exercise;
    let mut pump = Pump::open(path, Setup { coded, settings, keyframe_interval })?;
    let mut scene = Scene::new(settings.width as usize, settings.height as usize, "encoder");
    let (layout, missing) = (pump.machine.layout().clone(), pump.machine.missing().to_vec());
    let mut follows_bitrate = false;
    let (mut latency_max, mut spent) = (Duration::ZERO, Duration::ZERO);
    for index in 0..pictures {
        let picture: &Picture = scene.paint(u64::from(index) * 1000 / u64::from(settings.fps.max(1)));
        if index == forced_at {
            pump.force_keyframe();
        }
        if index == halved_at {
            follows_bitrate = pump.machine.set_bitrate(settings.bitrate_bps / 2);
        }
        let began = Instant::now();
        pump.encode(picture, i64::from(index))?;
        latency_max = latency_max.max(began.elapsed());
        spent += began.elapsed();
    }
    let before = pump.chunks.len();
    pump.drain()?;
    let chunks: Vec<Chunk> = pump.chunks.drain(..).collect();
    Ok(Exercised {
        raw_format: layout.format.code(),
        stride: layout.strides.first().copied().unwrap_or(0),
        rows: layout.rows,
        memories: layout.format.memories(),
        missing,
        follows_bitrate,
        drained: chunks.len() - before,
        pictures: chunks.iter().map(|chunk| chunk.tag).collect(),
        keyframes: chunks.iter().filter(|chunk| chunk.is_keyframe).map(|chunk| chunk.tag).collect(),
        frames: chunks.into_iter().map(|chunk| chunk.bytes).collect(),
        latency_max,
        cost: spent / pictures.max(1),
    })
}
