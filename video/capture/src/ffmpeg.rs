//! Any container and codec that Sightline does not read itself, through the `ffmpeg` on the PATH: pictures and AAC on a pipe, each with its time.
//!
//! It is watched: its errors are read all the time and the last ones are kept, its silence is noticed, and so is its end.

mod feed;
pub mod live;
mod matroska;
mod words;

use sightline_media::{MediaTime, Track};
use sightline_signal::Settings;
use std::{
    collections::VecDeque,
    ffi::OsString,
    io::BufReader,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError},
    },
    time::{Duration, Instant},
};

use crate::{error::SourceError, pipe::Foreign, sniff::MP4};
use feed::{Feed, Feeder};
pub use matroska::Item;
use matroska::{Header, Reader};
use words::Words;

/// Pictures and frames of sound that are read ahead: less than a second of either.
const ITEMS_WAITING_MAX: usize = 4;
/// Of a pipe: a live source's pictures wait here while they are brought to its rate.
const PIPE_ITEMS_WAITING_MAX: usize = 16;
/// What ffmpeg reads of a container in a pipe before it begins, in microseconds of it: its own five seconds are those that someone waits for a picture at
/// most.
const PIPE_LOOKED_AT_MICROS: &str = "1500000";
/// The same where the pipe holds pictures alone: few of them, which a live source would wait with.
const PICTURES_LOOKED_AT_MICROS: &str = "200000";
/// What most MP4 files lack in a pipe.
const LATE_INDEX: &str =
    "; an MP4 with its index at its end can't be read from a pipe: name the file instead, or write it with `-movflags +faststart`";
/// Until the first picture: someone waits for an answer. A slow disk and a large index take two seconds.
const FIRST_PICTURE_TIMEOUT: Duration = Duration::from_secs(5);
/// A file that gives nothing for this long later on is on a disk that is gone.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(10);
/// From the end of its output to its own.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);
/// Sound before the first picture: a minute of it, in frames.
const SOUND_BEFORE_MAX: usize = 4_000;
/// What RTMP and browsers play.
const SOUND_FILTER: &str = "aformat=channel_layouts=mono|stereo:sample_rates=8000|11025|12000|16000|22050|24000|32000|44100|48000";

/// The size that the pictures shall have.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Size {
    /// Their own, scaled down into a preset's where it is larger.
    Within(Settings),
    /// This one, whatever they change to on the way: smaller ones get a border.
    Exactly(usize, usize),
}

impl Size {
    fn filter(self) -> String {
        match self {
            Self::Within(Settings { width, height, .. }) => {
                format!("scale='min({width},iw)':'min({height},ih)':force_original_aspect_ratio=decrease:force_divisible_by=2,setsar=1")
            }
            Self::Exactly(width, height) => format!(
                "scale={width}:{height}:force_original_aspect_ratio=decrease:force_divisible_by=2,pad={width}:{height}:(ow-iw)/2:(oh-ih)/2,setsar=1"
            ),
        }
    }
}

/// What a wait brought.
#[derive(Debug)]
pub enum Next {
    /// The next of it.
    Item(Item),
    /// Nothing yet.
    Nothing,
    /// All of it has come.
    Ended,
    /// It is over for another reason.
    Failed(String),
}

/// A running ffmpeg that reads a file once, and what comes out. Ends with its owner.
#[derive(Debug)]
pub struct Decoder {
    child: Child,
    events: Receiver<Event>,
    words: Words,
    /// What came before the first picture, and that.
    waiting: VecDeque<Item>,
    last_at: Instant,
    header: Header,
    has_ended: bool,
    /// It reads a pipe, whose writer may pause.
    is_pipe: bool,
    was_held: Arc<AtomicBool>,
}

/// What the thread that reads the pipe gives.
enum Event {
    Header(Header),
    Item(Item),
    /// What it wrote is not what was asked for.
    Broken(String),
}

/// What it reads.
#[derive(Clone, Copy, Debug)]
enum Input<'a> {
    File(&'a Path),
    /// Its standard input; whether that is a container, which tells when its pictures are shown.
    Pipe(bool),
}

/// What is asked of it.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Wanted {
    PicturesAndSound(Size),
    Pictures(Size),
    Sound,
}

/// How a start went wrong.
enum StartError {
    /// There is no ffmpeg.
    Missing,
    /// It ended without what was asked for.
    Failed(String),
    /// It runs, and gives nothing.
    Silent(String),
}

impl Decoder {
    /// Starts ffmpeg and waits for the first picture. Pictures are turned as the file says.
    /// `what`: what is in the file that is not read here.
    ///
    /// # Errors
    /// There is no ffmpeg, or it gives no picture.
    pub fn start(path: &Path, size: Size, what: &str) -> Result<Self, SourceError> {
        let broken = |error: StartError| error.of(path, what);
        match Self::run(Input::File(path), Wanted::PicturesAndSound(size)) {
            Err(StartError::Failed(problem)) => {
                // Sound that can't be decoded must not cost the pictures.
                let silent =
                    Self::run(Input::File(path), Wanted::Pictures(size)).map_err(|_| broken(StartError::Failed(problem.clone())))?;
                tracing::warn!(path = %path.display(), problem, "the file's sound is left out: ffmpeg can't read it");
                Ok(silent)
            }
            started => started.map_err(broken),
        }
    }

    /// Starts ffmpeg with a pipe, and waits for the first picture.
    ///
    /// # Errors
    /// There is no ffmpeg, or it gives no picture.
    pub fn start_pipe(pipe: Foreign, size: Size) -> Result<Self, SourceError> {
        let Foreign { input, what, has_times } = pipe;
        let broken = |error: StartError| {
            let hint = |problem| if what == MP4 { format!("{problem}{LATE_INDEX}") } else { problem };
            let error = if let StartError::Failed(problem) = error { StartError::Failed(hint(problem)) } else { error };
            error.of(Path::new("-"), what)
        };
        let failed = |error: std::io::Error| StartError::Failed(format!("its thread: {error}"));
        let begin = |wanted| Self::spawn(Input::Pipe(has_times), wanted);
        let wanted = Wanted::PicturesAndSound(size);
        let (mut decoder, stdin) = begin(wanted).map_err(broken)?;
        let feeder = Feeder::start(Feed::new(input), stdin.ok_or(StartError::Failed("it has no input".into())).map_err(broken)?);
        let mut feeder = feeder.map_err(failed).map_err(broken)?;
        if let Err(error) = decoder.await_first(wanted) {
            let StartError::Failed(problem) = error else { return Err(broken(error)) };
            // Sound that can't be decoded must not cost the pictures.
            let silent = || -> Result<_, StartError> {
                let (mut silent, stdin) = begin(Wanted::Pictures(size))?;
                let feeder = feeder.again(stdin.ok_or(StartError::Missing)?).map_err(failed)?;
                silent.await_first(Wanted::Pictures(size))?;
                Ok((silent, feeder))
            };
            (decoder, feeder) = silent().map_err(|_| broken(StartError::Failed(problem.clone())))?;
            tracing::warn!(problem, "source -: its sound is left out: ffmpeg can't read it");
        }
        feeder.keep_no_more();
        // What waited while ffmpeg looked at the beginning says nothing of the writer.
        decoder.was_held.store(false, Ordering::Relaxed);
        Ok(decoder)
    }

    /// Starts ffmpeg for pictures that are coded by a camera. What it gives, and whether it gives anything, is seen by [`Self::next`].
    ///
    /// # Errors
    /// There is no ffmpeg.
    pub fn start_live(pictures: live::CodedReader, size: Size, what: &str) -> Result<Self, SourceError> {
        let broken = |error: StartError| error.of(Path::new("-"), what);
        let failed = |error: std::io::Error| StartError::Failed(format!("its thread: {error}"));
        let (decoder, stdin) = Self::spawn(Input::Pipe(false), Wanted::Pictures(size)).map_err(broken)?;
        let stdin = stdin.ok_or(StartError::Missing).map_err(broken)?;
        let feeder = Feeder::start(Feed::new(Box::new(pictures)), stdin).map_err(failed).map_err(broken)?;
        feeder.keep_no_more();
        Ok(decoder)
    }

    /// Starts ffmpeg for a file's sound alone.
    ///
    /// # Errors
    /// There is no ffmpeg, or it gives no sound.
    pub fn start_sound(path: &Path, what: &str) -> Result<Self, SourceError> {
        Self::run(Input::File(path), Wanted::Sound).map_err(|error| error.of(path, what))
    }

    /// Width and height of the pictures.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        self.header.size
    }

    /// Pictures a second; `None`: they come as they come.
    #[must_use]
    pub fn fps(&self) -> Option<f64> {
        self.header.fps
    }

    /// Its sound.
    #[must_use]
    pub fn sound(&self) -> Option<Track> {
        self.header.track()
    }

    /// What is in the file and does not come out, one sentence each.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        self.words.remarks(self.header.audio.is_some())
    }

    /// Whether ffmpeg had to wait for us since this was asked last.
    pub fn was_held(&self) -> bool {
        self.was_held.swap(false, Ordering::Relaxed)
    }

    fn run(input: Input<'_>, wanted: Wanted) -> Result<Self, StartError> {
        let (mut decoder, _) = Self::spawn(input, wanted)?;
        decoder.await_first(wanted)?;
        Ok(decoder)
    }

    fn spawn(input: Input<'_>, wanted: Wanted) -> Result<(Self, Option<ChildStdin>), StartError> {
        let failed = |error: std::io::Error| StartError::Failed(format!("its thread: {error}"));
        let is_pipe = matches!(input, Input::Pipe(_));
        let mut child = match command(input, wanted).spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(StartError::Missing),
            Err(error) => return Err(StartError::Failed(error.to_string())),
        };
        let (sender, events) = std::sync::mpsc::sync_channel(if is_pipe { PIPE_ITEMS_WAITING_MAX } else { ITEMS_WAITING_MAX });
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let decoder = Self {
            child,
            events,
            words: Words::default(),
            waiting: VecDeque::new(),
            last_at: Instant::now(),
            header: Header::default(),
            has_ended: false,
            is_pipe,
            was_held: Arc::default(),
        };
        let (words, was_held) = (decoder.words.clone(), decoder.was_held.clone());
        let thread = |name: &str| std::thread::Builder::new().name(name.into());
        if let (Some(stdout), Some(stderr)) = (stdout, stderr) {
            thread("ffmpeg").spawn(move || read(stdout, &sender, &was_held, wanted != Wanted::Sound)).map_err(failed)?;
            thread("ffmpeg-log").spawn(move || words.read(stderr)).map_err(failed)?;
        }
        Ok((decoder, stdin))
    }

    fn await_first(&mut self, wanted: Wanted) -> Result<(), StartError> {
        let until = Instant::now() + FIRST_PICTURE_TIMEOUT;
        loop {
            match self.events.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Event::Header(header)) => self.header = header,
                Ok(Event::Item(item)) => {
                    let is_enough = wanted == Wanted::Sound || matches!(item, Item::Picture(..));
                    self.waiting.push_back(item);
                    if is_enough || self.waiting.len() >= SOUND_BEFORE_MAX {
                        self.last_at = Instant::now();
                        return Ok(());
                    }
                }
                Ok(Event::Broken(problem)) => {
                    let _ = self.child.kill();
                    let _ = self.await_exit();
                    return Err(StartError::Failed(self.words.last().unwrap_or(problem)));
                }
                Err(RecvTimeoutError::Timeout) => {
                    let waited = format!("no picture within {} s", FIRST_PICTURE_TIMEOUT.as_secs());
                    return Err(StartError::Silent(self.words.last().map_or(waited.clone(), |last| format!("{waited}: {last}"))));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let _ = self.await_exit();
                    return Err(StartError::Failed(self.words.last().unwrap_or_else(|| "it wrote no picture".to_owned())));
                }
            }
        }
    }

    /// The last that it wrote of what went wrong.
    #[must_use]
    pub fn last_words(&self) -> Option<String> {
        self.words.last()
    }

    /// Waits for what comes next, not longer than this.
    pub fn next(&mut self, wait: Duration) -> Next {
        if let Some(item) = self.waiting.pop_front() {
            return Next::Item(item);
        }
        if self.has_ended {
            return Next::Ended;
        }
        match self.events.recv_timeout(wait) {
            Ok(Event::Item(item)) => {
                self.last_at = Instant::now();
                Next::Item(item)
            }
            Ok(Event::Header(header)) => {
                self.header = header;
                Next::Nothing
            }
            Ok(Event::Broken(problem)) => Next::Failed(problem),
            Err(RecvTimeoutError::Timeout) if self.is_pipe || self.last_at.elapsed() < SILENCE_TIMEOUT => Next::Nothing,
            Err(RecvTimeoutError::Timeout) => {
                let last = self.words.last().map(|last| format!(": {last}")).unwrap_or_default();
                Next::Failed(format!("ffmpeg gave nothing for {} s{last}", SILENCE_TIMEOUT.as_secs()))
            }
            Err(RecvTimeoutError::Disconnected) => {
                self.has_ended = true;
                if !self.await_exit() {
                    // What was damaged at the file's end, as a rule: what came before was played.
                    tracing::warn!(problem = self.words.last(), "ffmpeg could not read the file to its end");
                }
                Next::Ended
            }
        }
    }

    /// The last frame's time is the clip's: true where ffmpeg went well.
    fn await_exit(&mut self) -> bool {
        let until = Instant::now() + EXIT_TIMEOUT;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    self.words.settle();
                    return status.success();
                }
                Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
                Ok(None) | Err(_) => {
                    let _ = self.child.kill();
                    return false;
                }
            }
        }
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The URL that ffmpeg takes for this very file, whatever its name looks like.
fn url(path: &Path) -> OsString {
    let mut url = OsString::from("file:");
    url.push(PathBuf::from(path));
    url
}

impl StartError {
    fn of(self, path: &Path, what: &str) -> SourceError {
        match self {
            Self::Missing => SourceError::NeedsFfmpeg { path: path.to_owned(), what: what.to_owned() },
            Self::Failed(problem) | Self::Silent(problem) => SourceError::Ffmpeg { path: path.to_owned(), problem },
        }
    }
}

fn command(input: Input<'_>, wanted: Wanted) -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+info"]);
    let stdin = match input {
        Input::File(path) => {
            command.arg("-i").arg(url(path));
            Stdio::null()
        }
        Input::Pipe(has_times) => {
            let looked_at = if has_times { PIPE_LOOKED_AT_MICROS } else { PICTURES_LOOKED_AT_MICROS };
            command.args(["-analyzeduration", looked_at, "-i", "pipe:0"]);
            Stdio::piped()
        }
    };
    command.args(["-sn", "-dn", "-map_metadata", "-1", "-map_chapters", "-1"]);
    if let Wanted::PicturesAndSound(size) | Wanted::Pictures(size) = wanted {
        // `V`: no covers and thumbnails. Each picture with its own time, to the millisecond: nothing is doubled, and nothing is left out.
        command.args(["-map", "0:V:0", "-vf", &size.filter(), "-c:v", "rawvideo", "-pix_fmt", "yuv420p", "-enc_time_base:v", "1:1000"]);
    }
    if wanted == Wanted::Sound {
        // Beside pictures that are read here, by the file's own clock: ffmpeg would count from the file's first picture or sound.
        command.arg("-copyts");
    }
    if let Wanted::PicturesAndSound(_) | Wanted::Sound = wanted {
        command.args(["-map", "0:a:0?", "-c:a", "aac", "-b:a", "128k", "-af", SOUND_FILTER]);
    }
    command.args(["-f", "matroska", "-flush_packets", "1", "pipe:1"]);
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Reads ffmpeg's output until its end, or until nobody takes it. Notes when that takes long.
fn read(stdout: ChildStdout, sender: &SyncSender<Event>, was_held: &AtomicBool, needs_pictures: bool) {
    let mut reader = Reader::new(BufReader::with_capacity(1 << 20, stdout));
    let give = |read: std::io::Result<Option<Event>>| {
        let event = match read {
            Ok(Some(event)) => event,
            Ok(None) => return false,
            // It ended: its words have the reason.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return false,
            Err(error) => Event::Broken(error.to_string()),
        };
        let is_last = matches!(event, Event::Broken(_));
        let is_taken = match sender.try_send(event) {
            Err(TrySendError::Full(event)) => {
                was_held.store(true, Ordering::Relaxed);
                sender.send(event).is_ok()
            }
            sent => sent.is_ok(),
        };
        is_taken && !is_last
    };
    if give(reader.header(needs_pictures).map(|header| Some(Event::Header(header)))) {
        while give(reader.next_item().map(|item| item.map(Event::Item))) {}
    }
}

/// How long one round of what came lasts, as far as it has come: to one frame after the last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extent {
    tracks: [Option<(MediaTime, MediaTime)>; 2],
}

impl Extent {
    /// Counts an item in.
    pub fn see(&mut self, item: &Item) {
        let (track, time) = match item {
            Item::Picture(_, time) => (0, *time),
            Item::Sound(frame) => (1, frame.dts),
        };
        let step = self.tracks[track].map_or(MediaTime::from_millis(40), |(last, _)| time - last);
        self.tracks[track] = Some((time, step));
    }

    /// Up to now.
    #[must_use]
    pub fn duration(&self) -> MediaTime {
        let ends = self.tracks.iter().flatten().map(|(last, step)| *last + *step);
        ends.max().unwrap_or(MediaTime::ZERO).max(MediaTime::from_millis(1))
    }
}

/// What ffmpeg writes for us, read to its end: for the fuzz targets.
#[cfg(feature = "fuzzing")]
pub(crate) fn read_stream(input: impl std::io::Read, mut see: impl FnMut(Item)) -> std::io::Result<()> {
    let mut reader = Reader::new(input);
    reader.header(false)?;
    while let Some(item) = reader.next_item()? {
        see(item);
    }
    Ok(())
}
