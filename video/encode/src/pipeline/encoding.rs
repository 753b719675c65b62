//! One run of the encoder: what it is asked for, its pace, its orders and its times.

use sightline_capture::{Picture, Scaler, clip::Clip, clock};
use sightline_media::MediaTime;
use sightline_signal::Settings;
use std::time::{Duration, Instant as StdInstant};

use super::{PipelineEvent, Stop, Worker, shortfall::Shortfall};
use crate::{fit::scaled_into, guard::GuardedEncoder, order::EncoderOrder};

/// Pictures that come in a size and at a rate of their own: they are scaled down and thinned out to what is asked for, and never up.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Own {
    pub(super) size: (u32, u32),
    /// Pictures a second; `None`: not known yet.
    pub(super) fps: Option<f64>,
}

impl Own {
    /// Of a clip, upright.
    pub(super) fn of_clip(clip: &Clip) -> Self {
        let own = clip.character();
        let size = if matches!(clip.rotation(), 90 | 270) { (own.height, own.width) } else { (own.width, own.height) };
        Self { size, fps: Some(own.fps.max(1.0)) }
    }

    /// What becomes of them.
    pub(super) fn within(self, asked: Settings) -> Settings {
        let fps = self.fps.map_or(asked.fps, |fps| asked.fps.min(fps.round() as u32)).max(1);
        Settings { fps, ..scaled_into(self.size, asked) }
    }
}

/// One run of the encoder.
pub(super) struct Encoding<'a> {
    worker: &'a Worker,
    encoder: GuardedEncoder,
    /// What was asked for last: the preset, or less where the link carries less.
    asked: Settings,
    /// `None`: pictures are drawn in the size and at the rate that are asked for.
    own: Option<Own>,
    /// What is encoded.
    settings: Settings,
    scaler: Scaler,
    frame_interval: Duration,
    /// The zero of the media time.
    pub(super) start: StdInstant,
    due: StdInstant,
    last_keyframe: Option<StdInstant>,
    shortfall: Shortfall,
    /// What is encoded now would only wait for the link: pictures are left out.
    is_paused: bool,
}

impl<'a> Encoding<'a> {
    /// Of pictures that are drawn as they are asked for.
    pub(super) fn drawn(worker: &'a Worker, asked: Settings) -> Self {
        Self::new(worker, asked, None)
    }

    /// Of pictures with a size and a rate of their own.
    pub(super) fn of(worker: &'a Worker, asked: Settings, own: Own) -> Self {
        Self::new(worker, asked, Some(own))
    }

    fn new(worker: &'a Worker, asked: Settings, own: Option<Own>) -> Self {
        let now = StdInstant::now();
        let mut encoding = Self {
            worker,
            encoder: GuardedEncoder::new(std::sync::Arc::clone(&worker.plan.open_encoder), worker.plan.keyframe_interval_sec),
            asked,
            own,
            settings: asked,
            scaler: Scaler::new(2, 2),
            frame_interval: Duration::ZERO,
            start: now,
            due: now,
            last_keyframe: None,
            shortfall: Shortfall::new(now),
            is_paused: false,
        };
        encoding.apply();
        encoding
    }

    /// Waits for the next picture's time and follows orders meanwhile.
    pub(super) fn wait(&mut self) -> Result<Settings, Stop> {
        loop {
            let wait = self.due.saturating_duration_since(StdInstant::now());
            match self.worker.orders.recv_timeout(wait) {
                Ok(order) => self.obey(order)?,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => break,
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return Err(Stop::Finished),
            }
        }
        self.due += self.frame_interval;
        let now = StdInstant::now();
        if now.saturating_duration_since(self.due) > self.frame_interval {
            // The machine can't keep up: the frame rate gives way, not the latency.
            self.shortfall.slip();
            self.due = now;
        }
        Ok(self.settings)
    }

    pub(super) fn obey(&mut self, order: EncoderOrder) -> Result<(), Stop> {
        match order {
            EncoderOrder::Stop => return Err(Stop::Paused),
            EncoderOrder::Pause | EncoderOrder::Resume => {
                self.is_paused = order == EncoderOrder::Pause;
                return Ok(());
            }
            EncoderOrder::Keyframe => {}
            // The source's matter.
            EncoderOrder::Hevc(_) => return Ok(()),
            EncoderOrder::Start(settings) => {
                self.is_paused = false;
                self.follow(settings);
            }
            EncoderOrder::Change(settings) => {
                self.follow(settings);
                return Ok(());
            }
        }
        self.encoder.force_keyframe();
        Ok(())
    }

    /// For a source with a pace of its own: whether a picture of this time is one to encode. Two may come at once, but no more than the
    /// frame rate in the mean.
    pub(super) fn is_due(&mut self, at: StdInstant) -> bool {
        if at + self.frame_interval < self.due {
            return false;
        }
        self.due = self.due.max(at) + self.frame_interval;
        true
    }

    /// For a file, whose pictures have times of their own: whether one of this time is within the rate that is asked for. Two may come at
    /// once, but no more than that in the mean.
    pub(super) fn is_wanted(&mut self, at: StdInstant) -> bool {
        let interval = Duration::from_secs_f64(1.0 / f64::from(self.asked.fps.max(1)));
        if at + interval < self.due {
            return false;
        }
        self.due = self.due.max(at) + interval;
        true
    }

    /// The source was too late for its own times.
    pub(super) const fn slip(&mut self) {
        self.shortfall.slip();
    }

    /// The source's pictures may change their size.
    pub(super) fn keep_size(&mut self, size: (u32, u32)) {
        if let Some(own) = self.own.as_mut().filter(|own| own.size != size) {
            own.size = size;
            self.follow(self.asked);
        }
    }

    /// A source that gives fewer pictures than expected would get fewer bits, too: the encoder spends them by the picture.
    pub(super) fn adapt_fps(&mut self, fps: f64, ratio: f64) {
        let Some(own) = &mut self.own else { return };
        let known = f64::from(self.settings.fps.max(1));
        let shown = fps.min(f64::from(self.asked.fps));
        if shown < 0.5 || (shown < known * ratio && shown * ratio > known) {
            return;
        }
        own.fps = Some(fps);
        self.apply();
        self.encoder.reopen();
    }

    /// The encoder counts pictures, not time: where they come slowly, a key frame is asked for.
    pub(super) fn keep_keyframe_interval(&mut self) {
        let interval = Duration::from_secs_f32(self.worker.plan.keyframe_interval_sec);
        if self.last_keyframe.is_some_and(|last| last.elapsed() > interval) {
            self.encoder.force_keyframe();
        }
    }

    fn follow(&mut self, asked: Settings) {
        let before = self.settings;
        self.asked = asked;
        self.apply();
        let Settings { width, height, fps, bitrate_bps } = self.settings;
        if (width, height, fps) != (before.width, before.height, before.fps) {
            tracing::info!(width, height, fps, bitrate_bps, "another size or frame rate, from the next key frame on");
        }
        self.encoder.follow(self.settings);
    }

    /// Size and rate from what is asked for and what there is.
    fn apply(&mut self) {
        self.settings = self.own.map_or(self.asked, |own| own.within(self.asked));
        // A file's own rate need not be a whole number.
        let own_fps = self.own.and_then(|own| own.fps).unwrap_or(f64::INFINITY);
        let fps = own_fps.min(f64::from(self.asked.fps)).clamp(0.1, 1000.0);
        self.frame_interval = Duration::from_secs_f64(1.0 / fps);
        let size = (self.settings.width as usize, self.settings.height as usize);
        if self.own.is_some() && self.scaler.size() != size {
            self.scaler = Scaler::new(size.0, size.1);
        }
    }

    pub(super) fn encode(&mut self, picture: &Picture) -> Result<(), Stop> {
        self.encode_at(picture, StdInstant::now())
    }

    /// For a source that knows when its picture was captured. A picture of a source's own size is brought to the one that is encoded.
    pub(super) fn encode_at(&mut self, picture: &Picture, captured: StdInstant) -> Result<(), Stop> {
        // Before it is scaled: another size would look like another scene.
        if !self.worker.look(picture, clock::from_std(captured)) {
            return Err(Stop::Finished);
        }
        if self.is_paused {
            self.shortfall.rest(StdInstant::now());
            return Ok(());
        }
        let micros = i64::try_from(captured.saturating_duration_since(self.start).as_micros()).unwrap_or(i64::MAX);
        let began = StdInstant::now();
        let picture = if self.own.is_some() { self.scaler.scale(picture) } else { picture };
        let (time, at) = (MediaTime::from_micros(micros), began.duration_since(self.start));
        if let Err(gave_up) = self.encoder.encode(picture, time, at, self.settings) {
            return Err(self.worker.fail_with(gave_up.code, gave_up.problem));
        }
        if began.elapsed() > self.frame_interval {
            self.shortfall.slip();
        }
        self.shortfall.count(StdInstant::now(), self.settings.fps);
        self.hand_over()
    }

    /// No more pictures: what is still in the encoder goes out.
    pub(super) fn finish(&mut self) -> Result<(), Stop> {
        self.encoder.reopen();
        self.hand_over()
    }

    /// Hands over what is ready, each frame with the time of its own picture.
    fn hand_over(&mut self) -> Result<(), Stop> {
        while let Some(encoded) = self.encoder.take() {
            let captured = self.start + Duration::from_micros(u64::try_from(encoded.frame.pts.as_micros()).unwrap_or(0));
            if encoded.frame.is_keyframe {
                self.last_keyframe = Some(captured);
            }
            let is_told = encoded.track.is_none_or(|track| self.worker.hand_over(PipelineEvent::Track(Box::new(track))))
                && self.worker.hand_over(PipelineEvent::Frame(encoded.frame, clock::from_std(captured)));
            if !is_told {
                return Err(Stop::Finished);
            }
        }
        Ok(())
    }
}
