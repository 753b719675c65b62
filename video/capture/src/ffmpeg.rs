//! Any container and codec that Sightline does not read itself, through the `ffmpeg` on the PATH: pictures and AAC on a pipe, each with its time.
//!
//! It is watched: its errors are read all the time and the last ones are kept, its silence is noticed, and so is its end.

mod matroska;
mod words;

use sightline_media::{MediaTime, Track};
use sightline_signal::Settings;
use std::{
    collections::VecDeque,
    io::BufReader,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender},
    time::{Duration, Instant},
};

use crate::error::SourceError;
pub use matroska::Item;
use matroska::{Header, Reader};
use words::Words;

/// Pictures and frames of sound that are read ahead: less than a second of either.
const ITEMS_WAITING_MAX: usize = 4;
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
}

/// What the thread that reads the pipe gives.
enum Event {
    Header(Header),
    Item(Item),
    /// What it wrote is not what was asked for.
    Broken(String),
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
        match Self::spawn(path, Wanted::PicturesAndSound(size)) {
            Err(StartError::Failed(problem)) => {
                // Sound that can't be decoded must not cost the pictures.
                let silent = Self::spawn(path, Wanted::Pictures(size)).map_err(|_| broken(StartError::Failed(problem.clone())))?;
                tracing::warn!(path = %path.display(), problem, "the file's sound is left out: ffmpeg can't read it");
                Ok(silent)
            }
            started => started.map_err(broken),
        }
    }

    /// Starts ffmpeg for a file's sound alone.
    ///
    /// # Errors
    /// There is no ffmpeg, or it gives no sound.
    pub fn start_sound(path: &Path, what: &str) -> Result<Self, SourceError> {
        Self::spawn(path, Wanted::Sound).map_err(|error| error.of(path, what))
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

    fn spawn(path: &Path, wanted: Wanted) -> Result<Self, StartError> {
        let failed = |error: std::io::Error| StartError::Failed(format!("its thread: {error}"));
        let mut child = match command(path, wanted).spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(StartError::Missing),
            Err(error) => return Err(StartError::Failed(error.to_string())),
        };
        let (sender, events) = std::sync::mpsc::sync_channel(ITEMS_WAITING_MAX);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let mut decoder = Self {
            child,
            events,
            words: Words::default(),
            waiting: VecDeque::new(),
            last_at: Instant::now(),
            header: Header::default(),
            has_ended: false,
        };
        let words = decoder.words.clone();
        let thread = |name: &str| std::thread::Builder::new().name(name.into());
        if let (Some(stdout), Some(stderr)) = (stdout, stderr) {
            thread("ffmpeg").spawn(move || read(stdout, &sender, wanted != Wanted::Sound)).map_err(failed)?;
            thread("ffmpeg-log").spawn(move || words.read(stderr)).map_err(failed)?;
        }
        decoder.await_first(wanted)?;
        Ok(decoder)
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
            Ok(Event::Header(_)) => Next::Nothing,
            Ok(Event::Broken(problem)) => Next::Failed(problem),
            Err(RecvTimeoutError::Timeout) if self.last_at.elapsed() < SILENCE_TIMEOUT => Next::Nothing,
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
fn url(path: &Path) -> std::ffi::OsString {
    let mut url = std::ffi::OsString::from("file:");
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

fn command(path: &Path, wanted: Wanted) -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+info", "-i"]).arg(url(path));
    command.args(["-sn", "-dn", "-map_metadata", "-1", "-map_chapters", "-1"]);
    if let Wanted::PicturesAndSound(size) | Wanted::Pictures(size) = wanted {
        // `V`: no covers and thumbnails. Each picture with its own time, to the millisecond: nothing is doubled, and nothing is left out.
        command.args(["-map", "0:V:0", "-vf", &size.filter(), "-c:v", "rawvideo", "-pix_fmt", "yuv420p", "-enc_time_base:v", "1:1000"]);
    }
    if let Wanted::PicturesAndSound(_) | Wanted::Sound = wanted {
        command.args(["-map", "0:a:0?", "-c:a", "aac", "-b:a", "128k", "-af", SOUND_FILTER]);
    }
    command.args(["-f", "matroska", "-flush_packets", "1", "pipe:1"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Reads the pipe until its end, or until nobody takes it.
fn read(stdout: ChildStdout, sender: &SyncSender<Event>, needs_pictures: bool) {
    let mut reader = Reader::new(BufReader::with_capacity(1 << 20, stdout));
    let header = match reader.header(needs_pictures) {
        Ok(header) => header,
        // It ended: its words have the reason.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return,
        Err(error) => {
            let _ = sender.send(Event::Broken(error.to_string()));
            return;
        }
    };
    if sender.send(Event::Header(header)).is_err() {
        return;
    }
    loop {
        let event = match reader.next_item() {
            Ok(Some(item)) => Event::Item(item),
            Ok(None) => return,
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return,
            Err(error) => Event::Broken(error.to_string()),
        };
        let is_last = matches!(event, Event::Broken(_));
        if sender.send(event).is_err() || is_last {
            return;
        }
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
