//! One live HLS playlist of fMP4 segments and their parts.

use crate::pace::{Pace, Targets};
use crate::segment::{Part, Segment, ticks_of};
use crate::{sets, ts};
use alloc::{collections::VecDeque, vec::Vec};
use bytes::Bytes;
use core::fmt;
use core::time::Duration;
use sightline_media::{Frame, MediaTime, Track, TrackId, WallTime};

/// The most bytes one segment gathers before it is cut without a key frame: a stream that never sends one must not fill the memory.
pub const SEGMENT_BYTES_MAX: usize = 16 << 20;
/// The most bytes of a playlist's segments, those that have left it included: a minute at 4 Mbit/s. Above it the oldest go, so that a publisher that sends a
/// burst, and is asked for by its own viewers, does not fill the memory.
const PLAYLIST_BYTES_MAX: usize = 32 << 20;
/// Of these the share that is listed: what has left is served for as long as a segment and the list take (RFC 8216bis §6.2.2).
const LISTED_BYTES_MAX: usize = PLAYLIST_BYTES_MAX / 4 * 3;
/// Segments that stay whatever they take: a playlist of fewer starves its players (RFC 8216 §6.2.2).
const SEGMENTS_MIN: usize = 3;
/// A list is never made shorter than this many target durations (RFC 8216bis §6.2.2), as long as its segments have room.
const LISTED_TARGETS_MIN: i64 = 3;
/// Nothing is dropped until so many target durations came after it: parts are listed for three, and served for three more; and a segment's length.
const SERVED_TARGETS_MIN: i64 = 7;
/// What a segment has at least that ends early: each frame of sound could end one.
const EARLY_TICKS_MIN: i64 = MediaTime::TICKS_PER_SECOND / 2;
/// Pictures that are away for longer hold up the sound beside them no more: the sound times the stream until they are back.
const PICTURES_PAUSE: MediaTime = MediaTime::from_millis(2_000);
/// How far ahead of the last part a player may ask, in seconds, or in parts where they are longer (RFC 8216bis §6.2.5.2).
const ADVANCE: i64 = 3;

/// How a playlist is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// A segment is cut at the first key frame after this. The seed's `hls_fragment`: 3 s.
    pub segment_duration_min: Duration,
    /// Segments in the playlist. The seed's 60 s of 3 s make 20.
    pub playlist_segments: usize,
    /// What a part holds, about: whole frames of it.
    pub part_duration: Duration,
    /// What segments are files of.
    pub container: Container,
}

/// What segments are files of.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Container {
    /// Fragmented MP4, behind an initialisation segment.
    #[default]
    Mp4,
    /// MPEG-TS, for players that read no MP4: H.264, H.265 and AAC, in whole segments alone.
    MpegTs,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            segment_duration_min: Duration::from_secs(3),
            playlist_segments: 20,
            part_duration: Duration::from_millis(200),
            container: Container::Mp4,
        }
    }
}

/// What tells the URIs of one playlist from those of all others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// The number of the first segment: from a clock that counts seconds it is above all numbers of the runs before.
    pub first_sequence: u64,
    /// At random; in every name.
    pub mark: u32,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.mark)
    }
}

/// What a name of the playlist stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lookup {
    /// An initialisation segment.
    Init(Bytes),
    /// A segment, or a part of one.
    Media(Bytes),
    /// It comes next, or soon: wait for it.
    Soon,
    /// It is of another run, has left, or was never here.
    Gone,
}

/// Whether a playlist has what a player waits for (`_HLS_msn`, `_HLS_part`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// It has it.
    Over,
    /// It comes.
    On,
    /// So far ahead that the player is wrong.
    TooFar,
}

/// Frames in; a playlist, its segments and their parts out. Knows no HTTP and no clock.
///
/// URIs in the playlist are relative: `init-{n}-{run}.mp4`, `seg-{n}-{run}.m4s` and `part-{n}-{nth}-{run}.m4s`.
#[derive(Debug)]
pub struct Muxer {
    config: Config,
    run: Run,
    pace: Pace,
    tracks: Vec<Track>,
    /// The parameter sets of the pictures, for their key frames.
    sets: Vec<u8>,
    /// Counters and clock of MPEG-TS.
    ts: ts::Writer,
    /// Initialisation segments of what is kept, the newest last, each by the number of its first segment.
    inits: VecDeque<(u64, Bytes)>,
    segments: VecDeque<Segment>,
    /// The first that is listed.
    listed_from: u64,
    next_sequence: u64,
    /// Fragments count from one, and may wrap: players only compare neighbours.
    fragments: u32,
    open: Option<Segment>,
    /// Of the part that is being made.
    frames: Vec<Frame<Bytes>>,
    frame_bytes: usize,
    /// Pictures of the open segment, or sounds where there are none.
    timed_frames: i64,
    segment_began: Option<MediaTime>,
    part_began: Option<MediaTime>,
    /// The last picture, or sound where there are none.
    timed_at: Option<MediaTime>,
    /// Of the sound: how long its last frame was.
    sound_ticks: i64,
    sound_at: Option<MediaTime>,
    /// From media time to the wall's, in microseconds, since the last discontinuity.
    wall_offset_micros: Option<i64>,
    discontinuities: u64,
    is_discontinuous: bool,
    /// A segment was listed that can't be decoded by itself: the promise that all can does not come back.
    has_dependent: bool,
    /// The open segment ends at the next key frame.
    ends_early: bool,
    is_ended: bool,
}

impl Muxer {
    /// An empty playlist.
    #[must_use]
    pub fn new(config: Config, run: Run) -> Self {
        Self {
            config,
            run,
            pace: Pace::new(config.segment_duration_min, config.part_duration),
            tracks: Vec::new(),
            sets: Vec::new(),
            ts: ts::Writer::default(),
            inits: VecDeque::new(),
            segments: VecDeque::new(),
            listed_from: run.first_sequence,
            next_sequence: run.first_sequence,
            fragments: 0,
            open: None,
            frames: Vec::new(),
            frame_bytes: 0,
            timed_frames: 0,
            segment_began: None,
            part_began: None,
            timed_at: None,
            sound_ticks: 0,
            sound_at: None,
            wall_offset_micros: None,
            // Small: hls.js 1.6 counts up to it from zero, and stands still on the way to a large one.
            discontinuities: 0,
            is_discontinuous: false,
            has_dependent: false,
            ends_early: false,
            is_ended: false,
        }
    }

    /// The tracks from the next frame on. A change closes the open segment and begins a new initialisation segment behind a discontinuity.
    ///
    /// # Errors
    /// [`sightline_mp4::Error`] when they fit no MP4 box; the playlist stays as it was.
    pub fn set_tracks(&mut self, tracks: &[Track]) -> Result<(), sightline_mp4::Error> {
        // Sound that the container does not hold leaves the pictures.
        let holds = |track: &&Track| match self.config.container {
            Container::Mp4 => sightline_mp4::holds(track.config.codec()),
            Container::MpegTs => track.id.is_default() && ts::holds(&track.config),
        };
        let tracks: Vec<Track> = tracks.iter().filter(holds).cloned().collect();
        if self.tracks == tracks && !tracks.is_empty() {
            return Ok(());
        }
        let bytes = match self.config.container {
            Container::MpegTs if !tracks.is_empty() => Bytes::new(),
            Container::Mp4 | Container::MpegTs => sightline_mp4::init_segment(&tracks)?,
        };
        self.cut(None);
        self.is_discontinuous = !self.inits.is_empty();
        // One of which no segment was made has no reader.
        self.inits.retain(|(number, _)| *number < self.next_sequence);
        self.inits.push_back((self.next_sequence, bytes));
        let video = tracks.iter().find(|track| track.config.codec().is_video());
        self.sets = video.map(|track| sets::with_lengths(&track.config)).unwrap_or_default();
        self.tracks = tracks;
        self.pace.forget();
        Ok(())
    }

    /// The next frame, in decoding order, and when it came. Before the first key frame nothing is kept.
    pub fn push(&mut self, frame: &Frame<Bytes>, came: WallTime) {
        let has_video = self.tracks.iter().any(|track| track.config.codec().is_video());
        let Some(codec) = self.tracks.iter().find(|track| track.id == frame.track).map(|track| track.config.codec()) else { return };
        let is_timing = codec.is_video() == has_video;
        let can_start = frame.is_keyframe && is_timing;
        let is_alone = !is_timing && self.timed_at.is_some_and(|at| frame.dts - at > PICTURES_PAUSE);
        if self.inits.is_empty() || self.is_ended || (self.segment_began.is_none() && !can_start) {
            return;
        }
        if is_timing {
            self.end_what_is_long(frame, can_start);
            self.pace.see(frame.dts, can_start);
            self.timed_at = Some(frame.dts);
        } else if is_alone {
            self.end_what_is_long(frame, false);
        } else if self.frame_bytes >= SEGMENT_BYTES_MAX {
            self.cut(Some(frame.dts));
        }
        self.take(frame, came, is_timing);
    }

    /// Ends the part, or the segment, that can't take another frame.
    fn end_what_is_long(&mut self, frame: &Frame<Bytes>, can_start: bool) {
        let (Some(segment_began), Some(part_began)) = (self.segment_began, self.part_began) else { return };
        if self.pace.is_too_long((frame.dts - part_began).ticks_90k) {
            self.end_part_before_last(frame.dts);
        }
        if self.pace.is_too_long_a_segment((frame.dts - segment_began).ticks_90k) {
            return self.end_segment_before_hole(frame.dts);
        }
        let ticks = (frame.dts - segment_began).ticks_90k;
        let is_due = can_start && (self.ends_early && ticks >= EARLY_TICKS_MIN || self.pace.ends_at_key(ticks));
        let held = self.frame_bytes + self.open.as_ref().map_or(0, |open| open.parts.iter().map(|part| part.bytes.len()).sum());
        if is_due || self.pace.ends_anyway(ticks) || held >= SEGMENT_BYTES_MAX {
            self.cut(Some(frame.dts));
        } else if self.pace.ends_part(self.part_began.map_or(0, |began| (frame.dts - began).ticks_90k)) {
            self.end_part(Some(frame.dts));
        }
    }

    /// The last picture was shown for longer than those before: the part ends before it, and the next one begins with it.
    fn end_part_before_last(&mut self, now: MediaTime) {
        let Some((rest, at)) = self.take_last() else { return };
        // One that no part can hold stays where it is: what is before it may be too little for a part.
        if !self.frames.is_empty() && !self.pace.is_too_long((now - at).ticks_90k) {
            self.end_part(Some(at));
        }
        self.give_back(rest);
    }

    /// The last picture, with the sound behind it, and when it was: no part has it yet. What is before it stays.
    fn take_last(&mut self) -> Option<(Vec<Frame<Bytes>>, MediaTime)> {
        let has_video = self.frames.iter().any(|frame| frame.track == TrackId::VIDEO);
        let is_timing = |frame: &Frame<Bytes>| !has_video || frame.track == TrackId::VIDEO;
        let last = self.frames.iter().rposition(is_timing)?;
        let at = self.frames.get(last)?.dts;
        Some((self.frames.split_off(last), at))
    }

    /// Where a picture ends that has none behind it: it lasts as long as others do, within its segment.
    fn natural_end(&self, at: MediaTime) -> MediaTime {
        let natural = at + MediaTime::from_ticks(self.pace.interval_ticks());
        self.segment_began.map_or(natural, |began| natural.min(began + MediaTime::from_ticks(self.pace.segment_ticks_max())))
    }

    fn give_back(&mut self, rest: Vec<Frame<Bytes>>) {
        self.frames.extend(rest);
        self.frame_bytes = self.frames.iter().map(Frame::cost_bytes).sum();
    }

    /// With all of the time up to `now`, in which nothing came, the segment would be longer than promised. The last picture begins the next one, if
    /// that can hold the hole; else the picture lasts as long as those before it, and what comes now begins anew, behind a discontinuity.
    fn end_segment_before_hole(&mut self, now: MediaTime) {
        let Some((rest, at)) = self.take_last() else { return self.cut(Some(now)) };
        let is_held = self.segment_began.is_some_and(|began| began < at) && !self.pace.is_too_long_a_segment((now - at).ticks_90k);
        if is_held {
            self.cut(Some(at));
            (self.segment_began, self.part_began, self.timed_frames) = (Some(at), Some(at), 1);
            return self.give_back(rest);
        }
        self.give_back(rest);
        self.cut(Some(self.natural_end(at)));
        self.is_discontinuous = self.next_sequence > self.run.first_sequence;
        (self.sound_at, self.sound_ticks) = (None, 0);
        self.pace.forget();
    }

    fn take(&mut self, frame: &Frame<Bytes>, came: WallTime, is_timing: bool) {
        let offset = came.unix_micros.saturating_sub(frame.dts.as_micros());
        // What was kept for a first viewer comes at once: the frame that is the latest tells the time.
        let offset = match self.wall_offset_micros {
            Some(known) if self.segments.is_empty() => known.min(offset),
            Some(known) => known,
            // A time of day means one moment: what is listed already has those before its end.
            None => self.segments.back().map_or(offset, |last| offset.max(last.ends_unix_micros().saturating_sub(frame.dts.as_micros()))),
        };
        self.wall_offset_micros = Some(offset);
        self.segment_began.get_or_insert(frame.dts);
        self.part_began.get_or_insert(frame.dts);
        self.timed_frames += i64::from(is_timing);
        if !is_timing && let Some(last) = self.sound_at.replace(frame.dts) {
            self.sound_ticks = (frame.dts - last).ticks_90k;
        }
        let mut frame = frame.clone();
        let codec = self.tracks.iter().find(|track| track.id == frame.track).map(|track| track.config.codec());
        // Each frame of sound is a key frame, too, and has no sets.
        if let Some(codec) = codec.filter(|codec| frame.is_keyframe && codec.is_video()) {
            frame.payload = sets::put_before(&self.sets, codec, &frame.payload);
        }
        self.frame_bytes += frame.cost_bytes();
        self.frames.push(frame);
    }

    /// Whether the stream is cut by this track: by pictures, or sound where there are none.
    fn times(&self, track: TrackId) -> bool {
        track == TrackId::VIDEO || !self.tracks.iter().any(|track| track.config.codec().is_video())
    }

    /// Whether a segment that is begun now may list its parts: a picture can't be divided.
    pub(crate) fn has_parts_next(&self) -> bool {
        self.config.container == Container::Mp4 && self.targets().is_some_and(|targets| self.pace.interval_ticks() <= targets.part_ticks)
    }

    fn has_promised(&self) -> bool {
        self.pace.targets().is_some()
    }

    /// Ends the part that is being made. `ends_at`: where the next frame that times the stream begins.
    fn end_part(&mut self, ends_at: Option<MediaTime>) {
        let frames = core::mem::take(&mut self.frames);
        self.frame_bytes = 0;
        let (Some(began), Some(last)) = (self.part_began.take(), frames.last()) else { return };
        let timed_at = self.timed_at.filter(|at| *at >= began).unwrap_or(last.dts);
        let end = ends_at.unwrap_or_else(|| self.natural_end(timed_at));
        self.part_began = ends_at;
        self.fragments = self.fragments.wrapping_add(1);
        let last_sound = frames.iter().rfind(|frame| frame.track != TrackId::VIDEO).filter(|_| self.sound_ticks > 0);
        let sound_ends = last_sound.map(|frame| frame.dts + MediaTime::from_ticks(self.sound_ticks));
        let has_video = frames.iter().any(|frame| frame.track == TrackId::VIDEO);
        let end_of = |track: TrackId| if has_video && track != TrackId::VIDEO { sound_ends } else { ends_at };
        let bytes = match self.config.container {
            Container::Mp4 => sightline_mp4::fragment_of(self.fragments, &frames, end_of),
            Container::MpegTs => Ok(self.ts.write(&frames, &self.tracks)),
        };
        let Ok(bytes) = bytes else { return };
        // Sound alone, where pictures are away, is no place to begin.
        let is_independent = frames.iter().find(|frame| self.times(frame.track)).is_some_and(|frame| frame.is_keyframe);
        let began_unix_micros = self.wall_offset_micros.unwrap_or_default().saturating_add(began.as_micros());
        let part = Part { duration_ticks: (end - began).ticks_90k.max(1), is_independent, bytes };
        self.has_dependent |= self.open.is_none() && !is_independent;
        self.open_or_new(began_unix_micros).parts.push(part);
    }

    fn open_or_new(&mut self, began_unix_micros: i64) -> &mut Segment {
        let is_new = self.open.is_none();
        let discontinuities = self.discontinuities;
        let is_discontinuous = is_new && core::mem::take(&mut self.is_discontinuous);
        self.discontinuities += u64::from(is_discontinuous);
        let (sequence, has_parts) = (self.next_sequence, self.has_parts_next());
        let init = self.inits.back().map_or(sequence, |(number, _)| *number);
        self.open.get_or_insert_with(|| Segment {
            sequence,
            init,
            is_discontinuous,
            discontinuities,
            duration_ticks: 0,
            list_ticks_max: 0,
            began_unix_micros,
            has_parts,
            parts: Vec::new(),
            bytes: Bytes::new(),
        })
    }

    /// Closes the open segment. `ends_at`: where the next frame begins.
    fn cut(&mut self, ends_at: Option<MediaTime>) {
        self.end_part(ends_at);
        let began = self.segment_began;
        (self.segment_began, self.part_began) = (None, None);
        let frames = core::mem::take(&mut self.timed_frames);
        let Some(mut segment) = self.open.take() else { return };
        self.ends_early = false;
        self.next_sequence += 1;
        segment.duration_ticks = ticks_of(&segment.parts).max(1);
        segment.bytes = segment.parts.iter().map(|part| part.bytes.as_ref()).collect::<Vec<_>>().concat().into();
        // One copy of them: the parts are slices of the whole.
        let mut at = 0;
        for part in &mut segment.parts {
            let end = at + part.bytes.len();
            part.bytes = segment.bytes.slice(at..end);
            at = end;
        }
        if let Some((began, offset)) = began.zip(self.wall_offset_micros).filter(|_| !self.has_promised()) {
            segment.began_unix_micros = offset.saturating_add(began.as_micros());
        }
        let targets = self.pace.promise(segment.duration_ticks, frames);
        // The first one, too, where it happens to keep to them: a player that sees no part waits for whole segments.
        segment.has_parts |=
            self.config.container == Container::Mp4 && segment.parts.iter().all(|part| part.duration_ticks <= targets.part_ticks);
        self.segments.push_back(segment);
        self.note_list_length();
        self.drop_what_has_left();
    }

    /// The list was as long as this with each of its segments.
    fn note_list_length(&mut self) {
        let ticks = self.listed().fold(0, |ticks: i64, segment| ticks.saturating_add(segment.duration_ticks));
        let listed_from = self.listed_from;
        for segment in self.segments.iter_mut().filter(|segment| segment.sequence >= listed_from) {
            segment.list_ticks_max = segment.list_ticks_max.max(ticks);
        }
    }

    /// Whether the oldest segment has been served for as long as it must be: its own length and the longest list that had it, since it came into
    /// the list; its parts three target durations longer than they were listed (RFC 8216bis §6.2.2).
    fn may_drop_oldest(&self) -> bool {
        let Some(oldest) = self.segments.front().filter(|oldest| oldest.sequence < self.listed_from) else { return false };
        let target_ticks = self.targets().map_or(0, |targets| targets.segment_secs * MediaTime::TICKS_PER_SECOND);
        let since = self.segments.iter().skip(1).fold(0, |ticks: i64, segment| ticks.saturating_add(segment.duration_ticks));
        since >= oldest.duration_ticks.saturating_add(oldest.list_ticks_max) && since >= target_ticks * SERVED_TARGETS_MIN
    }

    /// What has left the playlist is kept for one playlist's length more, and longer where the rules want it.
    fn drop_what_has_left(&mut self) {
        let count_max = self.config.playlist_segments.max(1);
        let mut bytes: usize = self.segments.iter().map(|segment| segment.bytes.len()).sum();
        self.shorten_list(count_max, bytes > PLAYLIST_BYTES_MAX);
        let kept = count_max * 2 + self.listed().count().saturating_sub(count_max);
        while (self.segments.len() > kept && self.may_drop_oldest()) || (self.segments.len() > SEGMENTS_MIN && bytes > PLAYLIST_BYTES_MAX) {
            bytes -= self.segments.pop_front().map_or(0, |gone| gone.bytes.len());
        }
        let oldest = self.segments.front().map_or(self.next_sequence, |segment| segment.init);
        self.inits.retain(|(number, _)| *number >= oldest);
    }

    /// Segments leave the list while there are more than so many, or take too much, and what stays is long enough.
    fn shorten_list(&mut self, count_max: usize, is_full: bool) {
        let Some(targets) = self.targets() else { return };
        let ticks_min = targets.segment_secs * MediaTime::TICKS_PER_SECOND * LISTED_TARGETS_MIN;
        let (mut count, mut ticks, mut bytes) = (0, 0_i64, 0);
        for segment in self.listed() {
            (count, ticks, bytes) = (count + 1, ticks.saturating_add(segment.duration_ticks), bytes + segment.bytes.len());
        }
        let listed_from = self.listed_from;
        for segment in self.segments.iter().skip_while(|segment| segment.sequence < listed_from) {
            ticks = ticks.saturating_sub(segment.duration_ticks);
            let is_long_enough = ticks >= ticks_min || is_full;
            if count <= SEGMENTS_MIN.min(count_max) || !(count > count_max || bytes > LISTED_BYTES_MAX) || !is_long_enough {
                break;
            }
            (count, bytes, self.listed_from) = (count - 1, bytes - segment.bytes.len(), segment.sequence + 1);
        }
    }

    /// The playlist's segments: the newest `playlist_segments`, or more where they are short.
    pub(crate) fn listed(&self) -> impl DoubleEndedIterator<Item = &Segment> + Clone {
        self.segments.iter().filter(|segment| segment.sequence >= self.listed_from)
    }

    /// Whether each segment that was listed can be decoded by itself.
    pub(crate) const fn has_dependent(&self) -> bool {
        self.has_dependent
    }

    pub(crate) const fn targets(&self) -> Option<Targets> {
        self.pace.targets()
    }

    pub(crate) const fn container(&self) -> Container {
        self.config.container
    }

    /// Of the names of segments.
    pub(crate) const fn suffix(&self) -> &'static str {
        match self.config.container {
            Container::Mp4 => "m4s",
            Container::MpegTs => "ts",
        }
    }

    pub(crate) const fn run(&self) -> Run {
        self.run
    }

    pub(crate) const fn open_segment(&self) -> Option<&Segment> {
        self.open.as_ref()
    }

    /// Of the segment that is open, or opens next.
    pub(crate) const fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// A number above those of all its segments.
    #[must_use]
    pub const fn number_after(&self) -> u64 {
        self.next_sequence + 1
    }

    /// No frame comes any more.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// True as soon as a segment can be played.
    #[must_use]
    pub fn is_playable(&self) -> bool {
        !self.segments.is_empty()
    }

    /// How long a segment is at most; zero before the first.
    #[must_use]
    pub fn target_duration(&self) -> Duration {
        Duration::from_secs(self.targets().map_or(0, |targets| u64::try_from(targets.segment_secs).unwrap_or_default()))
    }

    /// How long the list is.
    #[must_use]
    pub fn list_duration(&self) -> Duration {
        let ticks = self.listed().fold(0, |ticks: i64, segment| ticks.saturating_add(segment.duration_ticks));
        Duration::from_micros(u64::try_from(MediaTime::from_ticks(ticks).as_micros()).unwrap_or_default())
    }

    /// Whether the playlist has the segment `sequence`, or its part `part` (counted from zero), or what is behind them.
    #[must_use]
    pub fn wait_for(&self, sequence: u64, part: Option<u64>) -> Wait {
        if self.is_ended {
            return Wait::Over;
        }
        if sequence > self.next_sequence.saturating_add(1) {
            return Wait::TooFar;
        }
        let (sequence, part) = match part {
            Some(part) if self.is_behind_the_last(sequence, part) => (sequence + 1, Some(0)),
            part => (sequence, part),
        };
        if sequence < self.next_sequence {
            return Wait::Over;
        }
        let parts = self.open.as_ref().filter(|open| open.sequence == sequence && open.has_parts).map_or(0, |open| open.parts.len() as u64);
        match part {
            Some(part) if part < parts => Wait::Over,
            Some(part) if part - parts >= self.parts_ahead_max() => Wait::TooFar,
            _ => Wait::On,
        }
    }

    /// A part behind the last one of a whole segment is the first of the next.
    fn is_behind_the_last(&self, sequence: u64, part: u64) -> bool {
        self.segment(sequence).is_some_and(|segment| segment.has_parts && part >= segment.parts.len() as u64)
    }

    /// How many parts a player may ask ahead.
    fn parts_ahead_max(&self) -> u64 {
        let ticks = self.targets().map_or(1, |targets| targets.part_ticks.clamp(1, MediaTime::TICKS_PER_SECOND));
        u64::try_from(ADVANCE * MediaTime::TICKS_PER_SECOND / ticks).unwrap_or_default()
    }

    /// What a name of the playlist stands for.
    #[must_use]
    pub fn lookup(&self, name: &str) -> Lookup {
        self.find(name).unwrap_or(Lookup::Gone)
    }

    fn find(&self, name: &str) -> Option<Lookup> {
        let (stem, suffix) = name.split_once('.')?;
        let mut fields = stem.split('-');
        let (kind, number) = (fields.next()?, fields.next()?.parse::<u64>().ok()?);
        let nth = if kind == "part" { Some(fields.next()?.parse::<usize>().ok()?) } else { None };
        let is_ours = fields.next().and_then(|mark| u32::from_str_radix(mark, 16).ok()) == Some(self.run.mark) && fields.next().is_none();
        match (kind, suffix, nth) {
            _ if !is_ours => None,
            ("init", "mp4", None) if self.config.container == Container::Mp4 => {
                self.inits.iter().find(|(known, _)| *known == number).map(|(_, bytes)| Lookup::Init(bytes.clone()))
            }
            ("seg", suffix, None) if suffix == self.suffix() => self.segment(number).map(|segment| Lookup::Media(segment.bytes.clone())),
            ("part", "m4s", Some(nth)) if self.config.container == Container::Mp4 => self.part(number, nth),
            _ => None,
        }
    }

    fn segment(&self, sequence: u64) -> Option<&Segment> {
        let oldest = self.segments.front()?.sequence;
        self.segments.get(usize::try_from(sequence.checked_sub(oldest)?).ok()?)
    }

    fn part(&self, sequence: u64, nth: usize) -> Option<Lookup> {
        if sequence < self.next_sequence {
            return self.segment(sequence)?.parts.get(nth).map(|part| Lookup::Media(part.bytes.clone()));
        }
        let known = self.open.as_ref().filter(|open| open.sequence == sequence);
        let parts = known.map_or(&[][..], |open| open.parts.as_slice());
        match parts.get(nth) {
            Some(part) => Some(Lookup::Media(part.bytes.clone())),
            // The one that was hinted at.
            None if !self.is_ended && sequence == self.next_sequence && nth == parts.len() => Some(Lookup::Soon),
            None => None,
        }
    }

    /// The segment that is open, or opens next, ends at its next key frame, half a second long at least: someone waits for it.
    pub const fn end_segment_early(&mut self) {
        self.ends_early = true;
    }

    /// Forgets all segments: no one fetches them. Numbers go on, and the next segment begins behind a discontinuity.
    pub fn clear(&mut self) {
        self.discontinue();
        self.segments = VecDeque::new();
        (self.listed_from, self.has_dependent) = (self.next_sequence, false);
        let newest = self.inits.pop_back();
        self.inits = newest.into_iter().collect();
    }

    /// The stream paused or its time jumped: the next segment begins behind a discontinuity.
    pub fn discontinue(&mut self) {
        self.cut(None);
        self.is_discontinuous = self.next_sequence > self.run.first_sequence;
        (self.wall_offset_micros, self.timed_at, self.sound_at, self.sound_ticks) = (None, None, None, 0);
        self.pace.forget();
    }

    /// The stream is over: what is there is listed, and the playlist has its end.
    pub fn end(&mut self) {
        self.cut(None);
        self.is_ended = true;
    }
}

#[cfg(test)]
mod tests;
