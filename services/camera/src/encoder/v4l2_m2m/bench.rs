//! One encoder tried step by step, for `sightline camera probe --encoder`: what goes in, what comes out, and what its driver can be told.

use sightline_signal::Settings;
use std::{
    path::Path,
    time::{Duration, Instant},
};

use super::{Chunk, FourCc, Layout, Pump, Wanted};
use crate::{encoder::EncoderError, picture::Picture, scene::Scene};

/// What to try it with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exercise {
    pub(crate) coded: FourCc,
    pub(crate) settings: Settings,
    /// In pictures.
    pub(crate) keyframe_interval: u32,
    pub(crate) pictures: u32,
    /// Before this picture a key frame is asked for.
    pub(crate) forced_at: u32,
    /// Before this one half of the bit rate.
    pub(crate) halved_at: u32,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Exercised {
    pub(crate) layout: Layout,
    pub(crate) missing: Vec<&'static str>,
    pub(crate) follows_bitrate: bool,
    /// Each frame's bytes, in their order.
    pub(crate) frames: Vec<Vec<u8>>,
    /// The pictures that they were made of.
    pub(crate) pictures: Vec<i64>,
    /// Those of them that the driver calls key frames.
    pub(crate) keyframes: Vec<i64>,
    /// Frames that only the drain at the end gave.
    pub(crate) drained: usize,
    /// From a picture's arrival until its frame was there, the longest.
    pub(crate) latency_max: Duration,
    /// For a picture in the mean.
    pub(crate) cost: Duration,
}

/// Runs it to its end.
pub(crate) fn exercise(path: &Path, exercise: Exercise) -> Result<Exercised, EncoderError> {
    let Exercise { coded, settings, keyframe_interval, pictures, forced_at, halved_at } = exercise;
    let mut pump = Pump::open(path, Wanted { coded, settings, keyframe_interval })?;
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
        layout,
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
