//! Standard input that is no H.264 in Annex B form: what ffmpeg makes of it.

use sightline_capture::{
    SourceError,
    ffmpeg::{self, Item, Next, Size},
    pipe::Foreign,
};
use sightline_media::MediaTime;
use sightline_signal::Settings;
use std::{path::Path, time::Instant as StdInstant};

use super::{
    ORDERS_INTERVAL, PipelineEvent, Stop, Worker,
    encoding::Own,
    files::Player,
    pipe_pace::{FPS_DEFAULT, PipePace},
};

/// A pipe behind an ffmpeg, which keeps its place while the stream is stopped.
pub(super) struct DecodedPipe {
    decoder: ffmpeg::Decoder,
    /// It tells when its pictures are shown.
    has_times: bool,
}

impl DecodedPipe {
    pub(super) fn open(foreign: Foreign, limits: Settings) -> Result<Self, SourceError> {
        let (what, has_times) = (foreign.what, foreign.has_times);
        let decoder = ffmpeg::Decoder::start_pipe(foreign, Size::Within(limits))?;
        let (width, height) = decoder.size();
        tracing::info!(width, height, fps = decoder.fps(), what, has_sound = decoder.sound().is_some(), "source -, read by ffmpeg");
        for remark in decoder.remarks() {
            tracing::warn!("source -: {remark}");
        }
        Ok(Self { decoder, has_times })
    }
}

impl Worker {
    pub(super) fn encode_pipe(&self, pipe: &mut DecodedPipe, settings: Settings) -> Stop {
        let (width, height) = pipe.decoder.size();
        let own = Own { size: (width as u32, height as u32), fps: pipe.decoder.fps() };
        let fps = own.fps.unwrap_or(FPS_DEFAULT);
        let mut running = Running { worker: self, player: Player::new(self, settings, own), pace: PipePace::new(), begin: None, fps };
        loop {
            if let Err(stop) = running.step(pipe) {
                return stop;
            }
        }
    }
}

/// From a start to a stop.
struct Running<'a> {
    worker: &'a Worker,
    player: Player<'a>,
    pace: PipePace,
    /// The time of the first that came since the start.
    begin: Option<MediaTime>,
    fps: f64,
}

impl Running<'_> {
    fn step(&mut self, pipe: &mut DecodedPipe) -> Result<(), Stop> {
        match pipe.decoder.next(ORDERS_INTERVAL) {
            Next::Item(Item::Picture(picture, time)) => {
                let time = if pipe.has_times { self.since_begin(time) } else { self.as_it_comes(pipe.decoder.was_held()) };
                self.player.picture(&picture, time)
            }
            Next::Item(Item::Sound(mut frame)) => {
                frame.dts = self.since_begin(frame.dts);
                frame.pts = frame.dts;
                self.player.sound(pipe.decoder.sound().as_ref(), frame)
            }
            Next::Nothing => self.player.obey(),
            Next::Ended => {
                self.player.finish()?;
                self.worker.tell(PipelineEvent::Ended);
                Err(Stop::Finished)
            }
            Next::Failed(problem) => Err(self.worker.fail(SourceError::Ffmpeg { path: Path::new("-").to_owned(), problem }.to_string())),
        }
    }

    fn since_begin(&mut self, time: MediaTime) -> MediaTime {
        (time - *self.begin.get_or_insert(time)).max(MediaTime::ZERO)
    }

    /// Without times of its own.
    fn as_it_comes(&mut self, was_held: bool) -> MediaTime {
        let due = self.pace.due(StdInstant::now(), self.fps, was_held);
        self.player.time_at(due)
    }
}
