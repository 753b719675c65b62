//! One round through a clip: its samples in order, and each new configuration before the first that needs it.

use bytes::Bytes;
use sightline_media::{Frame, MediaTime, Track, TrackConfig, TrackId, avc};
use std::io;

use super::{Clip, index::Coding};
use crate::h264::Sets;

/// What comes next.
#[derive(Debug)]
pub struct Step {
    /// What the decoder of the frame needs first, where it is another one than before.
    pub track: Option<Track>,
    /// The frame, at its time within the round that begins at zero.
    pub frame: Frame<Bytes>,
    /// Others refer to it, but it is not shown.
    pub is_hidden: bool,
}

/// Plays a clip once.
#[derive(Debug)]
pub struct Playback<'a> {
    clip: &'a Clip,
    at: usize,
    /// Of the last sample of a track.
    codings: [Option<u16>; 2],
    sets: Sets,
    /// As it was announced.
    video: Option<TrackConfig>,
}

impl<'a> Playback<'a> {
    pub(super) fn new(clip: &'a Clip) -> Self {
        Self { clip, at: 0, codings: [None; 2], sets: Sets::default(), video: None }
    }

    /// The time of the next sample; `None` at the end.
    #[must_use]
    pub fn next_time(&self) -> Option<MediaTime> {
        self.clip.index.samples.get(self.at).map(|sample| sample.dts)
    }

    /// The next sample that can be decoded; `None` at the end.
    ///
    /// # Errors
    /// The file can't be read any more.
    pub fn step(&mut self) -> io::Result<Option<Step>> {
        loop {
            let Some(sample) = self.clip.index.samples.get(self.at) else { return Ok(None) };
            self.at += 1;
            let frame = self.clip.read(sample)?;
            let coding = self.clip.index.codings.get(usize::from(sample.coding));
            let is_video = sample.track == TrackId::VIDEO;
            let is_new = self.codings[usize::from(!is_video)].replace(sample.coding) != Some(sample.coding);
            let known = coding.filter(|_| is_new).and_then(Coding::track_config);
            let track = if is_video { self.follow_video(known, &frame) } else { known };
            if is_video && self.video.is_none() {
                continue;
            }
            let track = track.map(|config| Track { id: sample.track, config });
            return Ok(Some(Step { track, frame, is_hidden: sample.is_hidden }));
        }
    }

    /// What is to be announced before a picture: a new record of the container, or parameter sets within the picture that differ.
    fn follow_video(&mut self, known: Option<TrackConfig>, frame: &Frame<Bytes>) -> Option<TrackConfig> {
        let mut wanted = None;
        match known {
            Some(TrackConfig::H264(config)) => {
                self.sets = Sets::of(&config);
                wanted = Some(config);
            }
            // Its record says all.
            Some(TrackConfig::Coded(_)) => return self.announce(known?),
            Some(TrackConfig::Aac(_)) | None => {}
        }
        if matches!(self.video, Some(TrackConfig::Coded(_))) {
            return None;
        }
        if !self.clip.index.is_annex_b {
            let mut has_sets = false;
            for nal in avc::NalUnits::new(&frame.payload, avc::LENGTH_BYTES) {
                has_sets |= self.sets.see(nal);
                if crate::h264::is_slice(nal) {
                    self.sets.begin_picture(nal);
                    break;
                }
            }
            if has_sets && (frame.is_keyframe || self.video.is_none()) {
                wanted = self.sets.config().map(|(config, _)| config).or(wanted);
            }
        }
        self.announce(TrackConfig::H264(wanted?))
    }

    fn announce(&mut self, wanted: TrackConfig) -> Option<TrackConfig> {
        if self.video.as_ref() == Some(&wanted) {
            return None;
        }
        self.video = Some(wanted.clone());
        Some(wanted)
    }
}
