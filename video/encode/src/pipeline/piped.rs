//! Standard input. Annex B is passed through at the time it comes, and held back where it comes faster than it is to be shown.

use bytes::Bytes;
use sightline_capture::{
    clock, oddity,
    pictures::CodedPicture,
    pipe::{Foreign, Pipe, PipeEvent},
};
use sightline_media::{Frame, MediaTime, Track, TrackConfig, TrackId};
use sightline_signal::Settings;
use std::{
    sync::mpsc::TryRecvError,
    time::{Duration, Instant as StdInstant},
};

use super::{
    ORDERS_INTERVAL, PipelineEvent, Stop, Worker,
    decoded_pipe::DecodedPipe,
    pipe_pace::{FPS_DEFAULT, PipePace},
};
use crate::order::EncoderOrder;

/// From the first byte to the first picture: what has none by then is no H.264.
const FIRST_PICTURE_TIMEOUT: Duration = Duration::from_secs(5);
/// Until the first byte: cameras' programs take some seconds to begin.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(30);
/// Standard input, as it was left by the last stop.
#[derive(Default)]
pub(super) enum Piped {
    #[default]
    Unread,
    /// H.264 in Annex B form.
    Coded(Pipe),
    /// Anything else.
    Decoded(Box<DecodedPipe>),
}

impl Worker {
    pub(super) fn run_pipe(&self, piped: &mut Piped, settings: Settings) -> Stop {
        if matches!(piped, Piped::Unread) {
            match Pipe::open(std::io::stdin()) {
                Ok(opened) => *piped = Piped::Coded(opened),
                Err(error) => return self.fail(format!("source -: thread: {error}")),
            }
        }
        if let Piped::Coded(pipe) = piped {
            let foreign = match self.pass_pipe(pipe) {
                Ok(foreign) => foreign,
                Err(stop) => return stop,
            };
            match DecodedPipe::open(foreign, self.full) {
                Ok(decoded) => *piped = Piped::Decoded(Box::new(decoded)),
                Err(error) => return self.fail(error.to_string()),
            }
        }
        match piped {
            Piped::Decoded(decoded) => self.encode_pipe(decoded, settings),
            Piped::Unread | Piped::Coded(_) => Stop::Finished,
        }
    }

    /// Passes it on, until it is over or turns out to be something else.
    fn pass_pipe(&self, pipe: &Pipe) -> Result<Foreign, Stop> {
        let mut passing = Passing { worker: self, start: StdInstant::now(), config: None, pace: PipePace::new(), has_begun: false };
        loop {
            if let Some(foreign) = passing.step(pipe)? {
                return Ok(foreign);
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
    fn step(&mut self, pipe: &Pipe) -> Result<Option<Foreign>, Stop> {
        match self.worker.orders.try_recv() {
            Ok(EncoderOrder::Stop) => return Err(Stop::Paused),
            Err(TryRecvError::Disconnected) => return Err(Stop::Finished),
            Ok(_) | Err(TryRecvError::Empty) => {}
        }
        match pipe.next(ORDERS_INTERVAL) {
            PipeEvent::Picture(picture, arrived) => self.take(*picture, arrived, pipe.was_held()).map(|()| None),
            PipeEvent::Foreign(foreign) => Ok(Some(foreign)),
            PipeEvent::Nothing if self.has_begun => Ok(None),
            PipeEvent::Nothing => self.look_at_the_clock(pipe.has_bytes()).map(|()| None),
            PipeEvent::Ended if self.has_begun => {
                self.worker.tell(PipelineEvent::Ended);
                Err(Stop::Finished)
            }
            PipeEvent::Ended => Err(self.fail("it ended without a picture")),
            PipeEvent::Failed(problem) => Err(self.fail(&problem)),
        }
    }

    fn fail(&self, problem: &str) -> Stop {
        let wanted =
            "give H.264 in Annex B form, with its SPS and PPS, as `ffmpeg … -f h264 -` writes it, or what ffmpeg reads from a pipe";
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
