//! Files: sent as they are, or decoded, scaled down, thinned out and encoded, each frame at its own time.

use sightline_capture::{
    Picture, SourceError,
    clip::{Clip, Step},
    clock,
    ffmpeg::{self, Extent, Item, Next, Size},
};
use sightline_h264::Decoder;
use sightline_media::{Frame, MediaTime, Track, TrackId, avc};
use sightline_signal::{ErrorCode, Settings};
use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    path::Path,
    sync::mpsc::{RecvTimeoutError, TryRecvError},
    time::{Duration, Instant as StdInstant},
};

use super::{Encoding, Foreign, ORDERS_INTERVAL, Own, PipelineEvent, Stop, Worker};
use crate::order::EncoderOrder;

/// A machine that is later than this does not catch up: the rest of the file comes later by as much.
const LAG_MAX: Duration = Duration::from_millis(500);
/// For a frame of sound that ffmpeg is about to make.
const SOUND_WAIT: Duration = Duration::from_millis(5);
/// Pictures in a row of which nothing is decoded: five seconds of them, or fewer where they come slowly.
const UNDECODED_MAX: u32 = 125;
/// Pictures that are decoded to see whether a decoder reads them at all.
const TRIED_MAX: usize = 40;
/// Pictures that a decoder of H.264 holds back at most (§A.3.1).
const HELD_BACK_MAX: usize = 16;

/// How the codec is called where it is the reason.
const HEVC: &str = "H.265";

/// A clip, and whether its sound comes by way of ffmpeg.
pub(super) struct Film {
    clip: Clip,
    has_foreign_sound: bool,
}

impl Film {
    /// Pictures a second.
    pub(super) fn fps(&self) -> f64 {
        self.clip.character().fps
    }

    /// Looks whether sound that is no AAC can be made AAC. It is started anew with each round.
    pub(super) fn new(clip: Clip) -> Self {
        let mut film = Self { clip, has_foreign_sound: false };
        let Some(codec) = film.clip.foreign_sound() else { return film };
        let path = film.clip.path().display();
        match ffmpeg::Decoder::start_sound(film.clip.path(), codec) {
            Ok(_) => {
                tracing::info!(%path, "source file: its sound ({codec}) becomes AAC by ffmpeg");
                film.has_foreign_sound = true;
            }
            Err(SourceError::Ffmpeg { problem, .. }) => {
                tracing::warn!(%path, "source file: its sound ({codec}) is left out: ffmpeg can't read it: {problem}");
            }
            Err(_) => tracing::warn!(%path, "source file: its sound ({codec}) is left out: to make AAC of it takes `ffmpeg` on the PATH"),
        }
        film
    }

    fn sound(&self) -> Option<SideSound> {
        let codec = self.clip.foreign_sound().filter(|_| self.has_foreign_sound)?;
        let decoder = ffmpeg::Decoder::start_sound(self.clip.path(), codec).ok()?;
        Some(SideSound { track: decoder.sound()?, decoder, zero: self.clip.zero(), ahead: None })
    }
}

/// A file's sound, beside its pictures.
struct SideSound {
    decoder: ffmpeg::Decoder,
    track: Track,
    zero: MediaTime,
    ahead: Option<Frame<bytes::Bytes>>,
}

impl SideSound {
    /// The next frame of it, if it is due by then. What ffmpeg has not made yet comes later.
    fn next_until(&mut self, time: MediaTime) -> Option<Frame<bytes::Bytes>> {
        if self.ahead.is_none()
            && let Next::Item(Item::Sound(mut frame)) = self.decoder.next(SOUND_WAIT)
        {
            (frame.dts, frame.pts) = (frame.dts - self.zero, frame.pts - self.zero);
            self.ahead = Some(frame);
        }
        self.ahead.take_if(|frame| frame.dts <= time)
    }
}

/// When what a file holds is due.
struct Pace {
    start: StdInstant,
    /// Of the present round, with what the machine was late.
    base: MediaTime,
}

impl Pace {
    fn due(&self, time: MediaTime) -> StdInstant {
        self.start + Duration::from_micros(u64::try_from((self.base + time).as_micros()).unwrap_or(0))
    }

    /// True: the machine is too late, and what follows is due later.
    fn slip(&mut self, due: StdInstant) -> bool {
        let lag = StdInstant::now().saturating_duration_since(due);
        let is_late = lag > LAG_MAX;
        if is_late {
            self.base = self.base + MediaTime::from_micros(i64::try_from(lag.as_micros()).unwrap_or(0));
        }
        is_late
    }
}

/// Whether this build's decoder makes pictures of a clip.
pub(super) fn can_decode(clip: &Clip) -> bool {
    let Ok(mut decoder) = Decoder::for_stream() else { return false };
    let mut playback = clip.play();
    let mut config = None;
    for _ in 0..TRIED_MAX {
        let Ok(Some(step)) = playback.step() else { break };
        if step.frame.track != TrackId::VIDEO {
            continue;
        }
        config = step.track.or(config);
        let known = config.as_ref().and_then(|track: &Track| track.config.avc()).filter(|_| step.frame.is_keyframe);
        if decoder.decode(known, &step.frame.payload, avc::LENGTH_BYTES).is_some() {
            return true;
        }
    }
    let mut has_picture = false;
    decoder.drain(|_| has_picture = true);
    has_picture
}

impl Worker {
    // ---- coded frames that pass through -------------------------------------------------------------------------------

    pub(super) fn pass_through(&self, film: &Film) -> Stop {
        let clip = &film.clip;
        let mut told = Vec::new();
        for track in clip.tracks() {
            if !self.tell_track(track, &mut told) {
                return Stop::Finished;
            }
        }
        let mut pace = Pace { start: StdInstant::now(), base: MediaTime::ZERO };
        loop {
            let (mut playback, mut sound) = (clip.play(), film.sound());
            loop {
                let Step { track, mut frame, .. } = match playback.step() {
                    Ok(Some(step)) => step,
                    Ok(None) => break,
                    Err(error) => return self.fail(format!("source {}: {error}", clip.path().display())),
                };
                let due = pace.due(frame.dts);
                if let Some(stop) = self.obey_until(due) {
                    return stop;
                }
                if clip.is_hevc() && !self.takes_hevc.get() {
                    return Stop::Refused;
                }
                if let Some(sound) = &mut sound {
                    while let Some(mut beside) = sound.next_until(frame.dts) {
                        (beside.dts, beside.pts) = (beside.dts + pace.base, beside.pts + pace.base);
                        if !self.tell_track(&sound.track, &mut told) || !self.tell(PipelineEvent::Frame(beside, clock::from_std(due))) {
                            return Stop::Finished;
                        }
                    }
                }
                (frame.dts, frame.pts) = (frame.dts + pace.base, frame.pts + pace.base);
                pace.slip(due);
                let is_told = track.is_none_or(|track| self.tell_track(&track, &mut told));
                if !is_told || !self.tell(PipelineEvent::Frame(frame, clock::from_std(due))) {
                    return Stop::Finished;
                }
            }
            if self.plan.plays_once {
                self.tell(PipelineEvent::Ended);
                return Stop::Finished;
            }
            pace.base = pace.base + clip.duration();
        }
    }

    /// H.265: as it is where the server takes it, else as H.264, from the file's beginning.
    pub(super) fn run_hevc(&self, film: &Film, asked: Settings, foreign: &mut Option<Foreign>, settings: Settings) -> Stop {
        if self.takes_hevc.get() {
            match self.pass_through(film) {
                Stop::Refused => {}
                stop @ (Stop::Finished | Stop::Paused) => return stop,
            }
        }
        let path = film.clip.path();
        if foreign.is_none() {
            match ffmpeg::Decoder::start(path, Size::Within(asked), HEVC) {
                Ok(decoder) => {
                    tracing::info!(path = %path.display(), "the server does not take the file's H.265: it is decoded by ffmpeg and encoded as H.264");
                    let (size, fps) = (decoder.size(), decoder.fps());
                    *foreign = Some(Foreign { path: path.to_owned(), what: HEVC.to_owned(), size, fps });
                }
                Err(error) => {
                    let problem = format!("{error}; or take a server that says that it takes H.265");
                    return self.fail_with(ErrorCode::FrameFormatUnsupported, problem);
                }
            }
        }
        foreign.as_ref().map_or(Stop::Finished, |foreign| self.encode_ffmpeg(foreign, settings))
    }

    /// Announces a track unless it is known; false when the loop is gone.
    fn tell_track(&self, track: &Track, told: &mut Vec<Track>) -> bool {
        if told.contains(track) {
            return true;
        }
        told.retain(|known| known.id != track.id);
        told.push(track.clone());
        self.tell(PipelineEvent::Track(Box::new(track.clone())))
    }

    /// Waits; what was encoded by others can only be stopped.
    pub(super) fn obey_until(&self, due: StdInstant) -> Option<Stop> {
        loop {
            let wait = due.saturating_duration_since(StdInstant::now());
            match self.orders.recv_timeout(wait) {
                Ok(EncoderOrder::Stop) => return Some(Stop::Paused),
                Ok(EncoderOrder::Hevc(is_taken)) => self.takes_hevc.set(is_taken),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => return Some(Stop::Finished),
            }
        }
    }

    // ---- pictures that are encoded here -------------------------------------------------------------------------------

    /// A clip that can't be sent as it is: above the preset, for instance.
    pub(super) fn encode_clip(&self, film: &Film, settings: Settings) -> Stop {
        let decoder = match Decoder::for_stream() {
            Ok(decoder) => decoder,
            Err(error) => return self.fail_with(ErrorCode::EncoderOutOfResources, error.to_string()),
        };
        let player = Player::new(self, settings, Own::of_clip(&film.clip));
        let mut decoding =
            Decoding { film, decoder, player, config: None, shown_at: BinaryHeap::new(), undecoded: 0, picture: Picture::new(2, 2) };
        loop {
            if let Err(stop) = decoding.round() {
                return stop;
            }
        }
    }

    /// What ffmpeg makes of a file, round after round: not every demuxer can go back to the beginning.
    pub(super) fn encode_ffmpeg(&self, foreign: &Foreign, settings: Settings) -> Stop {
        let Foreign { path, what, size: (width, height), .. } = foreign;
        let mut player = None;
        loop {
            let decoder = match ffmpeg::Decoder::start(path, Size::Exactly(*width, *height), what) {
                Ok(decoder) => decoder,
                Err(error) => return self.fail(error.to_string()),
            };
            let own = Own { size: (*width as u32, *height as u32), fps: decoder.fps() };
            let player = player.get_or_insert_with(|| Player::new(self, settings, own));
            if let Err(stop) = player.play(path, decoder) {
                return stop;
            }
        }
    }
}

/// Encodes pictures and passes on sound, each when it is due.
pub(super) struct Player<'a> {
    worker: &'a Worker,
    encoding: Encoding<'a>,
    pace: Pace,
    told: Vec<Track>,
}

impl<'a> Player<'a> {
    pub(super) fn new(worker: &'a Worker, settings: Settings, own: Own) -> Self {
        let encoding = Encoding::of(worker, settings, own);
        let pace = Pace { start: encoding.start, base: MediaTime::ZERO };
        Self { worker, encoding, pace, told: Vec::new() }
    }

    /// Follows the orders that wait.
    pub(super) fn obey(&mut self) -> Result<(), Stop> {
        loop {
            match self.worker.orders.try_recv() {
                Ok(order) => self.encoding.obey(order)?,
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(Stop::Finished),
            }
        }
    }

    /// Waits until a time is due, and gives when that was.
    fn wait_until(&mut self, time: MediaTime) -> Result<StdInstant, Stop> {
        let due = self.pace.due(time);
        loop {
            let wait = due.saturating_duration_since(StdInstant::now());
            match self.worker.orders.recv_timeout(wait) {
                Ok(order) => self.encoding.obey(order)?,
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return Err(Stop::Finished),
            }
        }
        if self.pace.slip(due) {
            self.encoding.slip();
            return Ok(self.pace.due(time));
        }
        Ok(due)
    }

    pub(super) fn sound(&mut self, track: Option<&Track>, mut frame: Frame<bytes::Bytes>) -> Result<(), Stop> {
        let due = self.wait_until(frame.dts)?;
        (frame.dts, frame.pts) = (frame.dts + self.pace.base, frame.pts + self.pace.base);
        let is_told = track.is_none_or(|track| self.worker.tell_track(track, &mut self.told))
            && self.worker.tell(PipelineEvent::Frame(frame, clock::from_std(due)));
        if is_told { Ok(()) } else { Err(Stop::Finished) }
    }

    pub(super) fn picture(&mut self, picture: &Picture, time: MediaTime) -> Result<(), Stop> {
        let due = self.wait_until(time)?;
        if !self.encoding.is_wanted(due) {
            return Ok(());
        }
        self.encoding.keep_size((picture.width() as u32, picture.height() as u32));
        self.encoding.encode_at(picture, due)
    }

    /// The time that is due then.
    pub(super) fn time_at(&self, due: StdInstant) -> MediaTime {
        let micros = due.saturating_duration_since(self.pace.start).as_micros();
        MediaTime::from_micros(i64::try_from(micros).unwrap_or(i64::MAX)) - self.pace.base
    }

    /// No more pictures: what is still in the encoder goes out.
    pub(super) fn finish(&mut self) -> Result<(), Stop> {
        self.encoding.finish()
    }

    /// A round is over.
    fn end_round(&mut self, duration: MediaTime) -> Result<(), Stop> {
        if self.worker.plan.plays_once {
            self.encoding.finish()?;
            self.worker.tell(PipelineEvent::Ended);
            return Err(Stop::Finished);
        }
        self.pace.base = self.pace.base + duration;
        Ok(())
    }

    /// One round of what ffmpeg gives.
    fn play(&mut self, path: &Path, mut decoder: ffmpeg::Decoder) -> Result<(), Stop> {
        let sound = decoder.sound();
        let mut extent = Extent::default();
        loop {
            match decoder.next(ORDERS_INTERVAL) {
                Next::Item(item) => {
                    extent.see(&item);
                    match item {
                        Item::Picture(picture, time) => self.picture(&picture, time)?,
                        Item::Sound(frame) => self.sound(sound.as_ref(), frame)?,
                    }
                }
                Next::Nothing => self.obey()?,
                Next::Ended => return self.end_round(extent.duration()),
                Next::Failed(problem) => return Err(self.worker.fail(SourceError::Ffmpeg { path: path.to_owned(), problem }.to_string())),
            }
        }
    }
}

/// A clip on its way through the decoder.
struct Decoding<'a> {
    film: &'a Film,
    decoder: Decoder,
    player: Player<'a>,
    config: Option<Track>,
    /// When the pictures in the decoder are shown, and whether they are hidden: they come out in this order.
    shown_at: BinaryHeap<Reverse<(MediaTime, bool)>>,
    undecoded: u32,
    picture: Picture,
}

impl Decoding<'_> {
    fn round(&mut self) -> Result<(), Stop> {
        let (mut playback, mut sound) = (self.film.clip.play(), self.film.sound());
        loop {
            let step = match playback.step() {
                Ok(Some(step)) => step,
                Ok(None) => break,
                Err(error) => return Err(self.fail(&error.to_string())),
            };
            if step.frame.track == TrackId::VIDEO {
                self.player.obey()?;
                if let Some(sound) = &mut sound {
                    while let Some(frame) = sound.next_until(step.frame.dts) {
                        self.player.sound(Some(&sound.track), frame)?;
                    }
                }
                self.video(step)?;
            } else {
                self.player.sound(step.track.as_ref(), step.frame)?;
            }
        }
        let mut left = Vec::new();
        self.decoder.drain(|decoded| {
            let (width, height) = decoded.size();
            let mut picture = Picture::new(2, 2);
            picture.copy_from(decoded.planes(), decoded.strides(), width, height);
            left.push(picture);
        });
        for picture in left {
            self.picture = picture;
            self.show()?;
        }
        self.shown_at.clear();
        self.player.end_round(self.film.clip.duration())
    }

    fn fail(&self, problem: &str) -> Stop {
        self.player.worker.fail(format!("source {}: {problem}", self.film.clip.path().display()))
    }

    fn video(&mut self, step: Step) -> Result<(), Stop> {
        let Step { track, frame, is_hidden } = step;
        self.config = track.or(self.config.take());
        self.shown_at.push(Reverse((frame.pts, is_hidden)));
        if self.shown_at.len() > HELD_BACK_MAX {
            // One of them was lost in the decoder.
            self.shown_at.pop();
        }
        let config = self.config.as_ref().and_then(|track| track.config.avc()).filter(|_| frame.is_keyframe);
        let Some(decoded) = self.decoder.decode(config, &frame.payload, avc::LENGTH_BYTES) else {
            self.undecoded += 1;
            if self.undecoded > UNDECODED_MAX {
                let problem = "nothing of its H.264 can be decoded any more; convert it with `ffmpeg -i IN -c:v libx264 OUT.mp4`";
                return Err(self.fail(problem));
            }
            return Ok(());
        };
        self.undecoded = 0;
        let (width, height) = decoded.size();
        self.picture.copy_from(decoded.planes(), decoded.strides(), width, height);
        self.show()
    }

    /// The picture that has come out, at the first time that is waited for.
    fn show(&mut self) -> Result<(), Stop> {
        let Some(Reverse((time, is_hidden))) = self.shown_at.pop() else { return Ok(()) };
        if is_hidden {
            return Ok(());
        }
        let rotation = self.film.clip.rotation();
        if rotation != 0 {
            return self.player.picture(&self.picture.turned(rotation), time);
        }
        self.player.picture(&self.picture, time)
    }
}
