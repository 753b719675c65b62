//! Annex B on standard input: passed through at the time it comes, and held back where it comes faster than it is to be shown.

use bytes::Bytes;
use sightline_capture::{
    clock, oddity,
    pictures::CodedPicture,
    pipe::{Pipe, PipeEvent},
};
use sightline_media::{Frame, MediaTime, Track, TrackConfig, TrackId};
use std::{
    collections::VecDeque,
    sync::mpsc::TryRecvError,
    time::{Duration, Instant as StdInstant},
};

use super::{ORDERS_INTERVAL, PipelineEvent, Stop, Worker};
use crate::order::EncoderOrder;

/// From the first byte to the first picture: what has none by then is no H.264.
const FIRST_PICTURE_TIMEOUT: Duration = Duration::from_secs(5);
/// Until the first byte: cameras' programs take some seconds to begin.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(30);
/// Pictures a second where the stream does not tell.
const FPS_DEFAULT: f64 = 25.0;
/// Arrivals that a rate is measured over.
const ARRIVALS: usize = 16;
/// A live source whose pictures wait for longer is faster than its parameter sets say.
const LATE_MAX: Duration = Duration::from_millis(300);
/// More than this times the rate that the stream tells is a file.
const LIVE_RATIO: f64 = 2.0;
/// The distance of pictures that are late, as a share of the usual.
const CATCHING_UP: f64 = 0.8;
/// After a pause of this many pictures it counts as live again until it is shown otherwise.
const PAUSE_PICTURES: u32 = 10;

/// When the pictures of a pipe are due.
struct PipePace {
    due: Option<StdInstant>,
    /// They are due as they come.
    is_live: bool,
    /// The writer had to wait for us: it does not write in real time.
    is_file: bool,
    arrivals: VecDeque<StdInstant>,
}

impl PipePace {
    const fn new() -> Self {
        Self { due: None, is_live: false, is_file: false, arrivals: VecDeque::new() }
    }

    fn due(&mut self, arrived: StdInstant, fps: f64, was_held: bool) -> StdInstant {
        let interval = Duration::from_secs_f64(1.0 / fps.clamp(0.1, 1_000.0));
        if was_held {
            (self.is_file, self.is_live) = (true, false);
        }
        if self.arrivals.back().is_some_and(|last| arrived.saturating_duration_since(*last) > interval * PAUSE_PICTURES) {
            self.arrivals.clear();
            self.is_file = false;
        }
        self.arrivals.push_back(arrived);
        if self.arrivals.len() > ARRIVALS {
            self.arrivals.pop_front();
        }
        let Some(last) = self.due else {
            self.due = Some(arrived);
            return arrived;
        };
        // RTMP counts milliseconds.
        let after_last = last + Duration::from_millis(1);
        let is_real_time = !self.is_file && self.is_slower_than(fps * LIVE_RATIO);
        // What a pause has made late catches up.
        let step = if is_real_time { interval.mul_f64(CATCHING_UP) } else { interval };
        let paced = (last + step).max(arrived);
        self.is_live |= is_real_time && paced.saturating_duration_since(arrived) > LATE_MAX;
        let due = if self.is_live { arrived.max(after_last) } else { paced };
        self.due = Some(due);
        due
    }

    fn is_slower_than(&self, fps: f64) -> bool {
        let (Some(first), Some(last)) = (self.arrivals.front(), self.arrivals.back()) else { return false };
        self.arrivals.len() == ARRIVALS && (ARRIVALS - 1) as f64 <= fps * last.saturating_duration_since(*first).as_secs_f64()
    }
}

impl Worker {
    /// `pipe`: as it was left by the last stop.
    pub(super) fn pass_pipe(&self, pipe: &mut Option<Pipe>) -> Stop {
        let pipe = match pipe {
            Some(pipe) => pipe,
            None => match Pipe::open(std::io::stdin()) {
                Ok(opened) => pipe.insert(opened),
                Err(error) => return self.fail(format!("source -: thread: {error}")),
            },
        };
        let mut passing = Passing { worker: self, start: StdInstant::now(), config: None, pace: PipePace::new(), has_begun: false };
        loop {
            if let Err(stop) = passing.step(pipe) {
                return stop;
            }
        }
    }
}

struct Passing<'a> {
    worker: &'a Worker,
    start: StdInstant,
    /// Of the pictures that come: to be told before a key frame.
    config: Option<Track>,
    pace: PipePace,
    has_begun: bool,
}

impl Passing<'_> {
    fn step(&mut self, pipe: &Pipe) -> Result<(), Stop> {
        match self.worker.orders.try_recv() {
            Ok(EncoderOrder::Stop) => return Err(Stop::Paused),
            Err(TryRecvError::Disconnected) => return Err(Stop::Finished),
            Ok(_) | Err(TryRecvError::Empty) => {}
        }
        match pipe.next(ORDERS_INTERVAL) {
            PipeEvent::Picture(picture, arrived) => self.take(*picture, arrived, pipe.was_held()),
            PipeEvent::Nothing if self.has_begun => Ok(()),
            PipeEvent::Nothing => self.look_at_the_clock(pipe.has_bytes()),
            PipeEvent::Ended if self.has_begun => {
                self.worker.tell(PipelineEvent::Ended);
                Err(Stop::Finished)
            }
            PipeEvent::Ended => Err(self.fail("it ended without a picture")),
            PipeEvent::Failed(problem) => Err(self.fail(&problem)),
        }
    }

    fn fail(&self, problem: &str) -> Stop {
        let wanted = "give H.264 in Annex B form, with its SPS and PPS, as `ffmpeg … -f h264 -` writes it";
        self.worker.fail(format!("source -: {problem}; {wanted}"))
    }

    fn look_at_the_clock(&self, has_bytes: bool) -> Result<(), Stop> {
        let waited = self.start.elapsed();
        if has_bytes && waited > FIRST_PICTURE_TIMEOUT {
            return Err(self.fail(&format!("no picture within {} s", FIRST_PICTURE_TIMEOUT.as_secs())));
        }
        if waited > FIRST_BYTE_TIMEOUT {
            return Err(self.fail(&format!("it gave nothing for {} s", FIRST_BYTE_TIMEOUT.as_secs())));
        }
        Ok(())
    }

    fn take(&mut self, picture: CodedPicture, arrived: StdInstant, was_held: bool) -> Result<(), Stop> {
        let is_new = picture.config.is_some();
        if let Some(config) = &picture.config {
            if let Some(oddity) = oddity(config) {
                tracing::warn!("source -: its H.264 is unusual ({oddity}): it is passed on as it is, and not every player shows it");
            }
            self.config = Some(Track { id: TrackId::VIDEO, config: TrackConfig::H264(config.clone()) });
        }
        // Players begin with a key frame.
        if !self.has_begun && !picture.is_keyframe {
            return Ok(());
        }
        if let Some(track) = self.config.clone().filter(|_| is_new || !self.has_begun)
            && !self.worker.tell(PipelineEvent::Track(Box::new(track)))
        {
            return Err(Stop::Finished);
        }
        self.has_begun = true;
        let fps = picture.frames_per_kilosecond.map_or(FPS_DEFAULT, |rate| f64::from(rate) / 1_000.0);
        let due = self.pace.due(arrived.max(self.start), fps, was_held);
        if let Some(stop) = self.worker.obey_until(due) {
            return Err(stop);
        }
        let micros = i64::try_from(due.saturating_duration_since(self.start).as_micros()).unwrap_or(i64::MAX);
        let time = MediaTime::from_micros(micros);
        let shown = time + MediaTime::from_micros((f64::from(picture.later) / fps * 1e6) as i64);
        let (is_keyframe, is_disposable) = (picture.is_keyframe, picture.is_disposable);
        let payload = Bytes::from(picture.payload());
        let frame = Frame { track: TrackId::VIDEO, dts: time, pts: shown, is_keyframe, is_disposable, payload };
        if self.worker.tell(PipelineEvent::Frame(frame, clock::from_std(due))) { Ok(()) } else { Err(Stop::Finished) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long pictures take to go out that come so many a second, and what the last of them waited.
    fn run(fps: f64, told: f64, pictures: u32, held: bool) -> (f64, f64) {
        let (start, mut pace) = (StdInstant::now(), PipePace::new());
        let (mut first, mut last, mut wait) = (None, start, 0.0);
        for index in 0..pictures {
            let arrived = start + Duration::from_secs_f64(f64::from(index) / fps);
            last = pace.due(arrived, told, held && index == 32);
            wait = last.saturating_duration_since(arrived).as_secs_f64();
            first.get_or_insert(last);
        }
        (last.duration_since(first.unwrap()).as_secs_f64(), wait)
    }

    #[test]
    fn a_file_plays_at_its_own_rate_and_a_camera_at_its() {
        let (lasts, _) = run(5_000.0, 25.0, 200, true);
        assert!((lasts - 7.96).abs() < 0.01, "{lasts}");
        for (fps, told) in [(25.0, 25.0), (10.0, 25.0), (30.0, 25.0), (48.0, 25.0)] {
            let (lasts, wait) = run(fps, told, 500, false);
            assert!((lasts - 499.0 / fps).abs() < 0.5 && wait < 0.35, "{fps} of {told}: {lasts} s, {wait} s late");
        }
    }
}
