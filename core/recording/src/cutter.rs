//! Frames in, fragments and ends of files out.

use alloc::{collections::VecDeque, sync::Arc, vec::Vec};
use bytes::Bytes;
use sightline_media::{Frame, MediaTime, StreamConfig, TrackId, WallTime};

/// Where fragments and files are cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// The length of a fragment: what a crash may cost at most.
    pub fragment_length_max: MediaTime,
    /// The bytes of a fragment, whatever its length: it is held in memory.
    pub fragment_bytes_max: usize,
    /// The length of a file; it ends at the next key frame after this. `None`: as long as its configuration.
    pub file_length_max: Option<MediaTime>,
    /// A longer hole in the video's time ends the file, as does a step back. `None`: none does.
    pub gap_max: Option<MediaTime>,
    /// Which key frames begin a fragment.
    pub key_frames: KeyFrames,
    /// Whether a file waits for a key frame of the video even before a video track is known.
    pub needs_video: bool,
    /// How it goes on after a lost fragment.
    pub after_loss: AfterLoss,
}

/// Which key frames begin a fragment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyFrames {
    /// Each one of the video.
    Each,
    /// One that comes when half of the fragment's length has passed: a player jumps to the beginning of a fragment.
    AfterHalf,
}

/// How a recording goes on after a lost fragment, at the next key frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AfterLoss {
    /// In another file.
    NewFile,
    /// In the same file, which has a hole then.
    SameFile,
}

/// What is to be done with the files.
#[derive(Debug)]
pub enum Piece {
    /// Append a fragment.
    Append(Fragment),
    /// The file is complete.
    EndFile,
}

/// What is appended at a time.
#[derive(Debug)]
pub struct Fragment {
    /// Present where the fragment begins a file.
    pub begins: Option<Beginning>,
    /// Never empty, in the order in which they came.
    pub frames: Vec<Frame<Bytes>>,
    /// Where the next fragment begins, if that is known.
    pub ends_at: Option<MediaTime>,
    bytes: usize,
}

/// What a file begins with.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// The configuration of all its frames.
    pub config: Arc<StreamConfig>,
    /// When its first frame was captured.
    pub wall: WallTime,
}

#[derive(Debug)]
struct OpenFile {
    config: Arc<StreamConfig>,
    began: MediaTime,
}

/// Cuts a stream into fragments and files. Holds at most one fragment.
#[derive(Debug)]
pub struct Cutter {
    rules: Rules,
    /// The file that grows.
    file: Option<OpenFile>,
    /// The fragment that grows.
    open: Option<Fragment>,
    last_video: Option<MediaTime>,
    /// Between the last two pictures.
    interval: MediaTime,
    pieces: VecDeque<Piece>,
}

impl Cutter {
    /// Nothing is open until the first frame that a file can begin with.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { rules, file: None, open: None, last_video: None, interval: MediaTime::ZERO, pieces: VecDeque::new() }
    }

    /// The newest frame, the configuration that it belongs to, and when it was captured. Drain [`Self::poll_piece`] afterwards.
    ///
    /// Frames of a track that the open file does not have wait for the next file, which has it.
    pub fn handle_frame(&mut self, frame: &Frame<Bytes>, config: &Arc<StreamConfig>, captured_at: WallTime) {
        let starts = self.can_start(frame, config);
        if self.has_gap(frame) {
            self.end_file();
        }
        if starts && self.is_file_over(frame, config) {
            self.close_file(Some(frame.dts));
            self.file = Some(OpenFile { config: config.clone(), began: frame.dts });
            self.open = Some(Fragment::new(Some(Beginning { config: config.clone(), wall: captured_at })));
        } else if self.open.as_ref().is_some_and(|open| self.is_fragment_over(open, frame, starts)) {
            self.close_fragment(Some(frame.dts));
            self.open = Some(Fragment::new(None));
        } else if self.open.is_none() && self.file.is_some() && starts {
            self.open = Some(Fragment::new(None));
        }
        if frame.track == TrackId::VIDEO {
            self.interval = self.last_video.map_or(self.interval, |last| frame.dts - last);
            self.last_video = Some(frame.dts);
        }
        let is_known = self.file.as_ref().is_some_and(|file| file.config.has(frame.track));
        if let Some(open) = self.open.as_mut().filter(|_| is_known) {
            open.bytes += frame.cost_bytes();
            open.frames.push(frame.clone());
        }
    }

    /// Ends the file that grows, if one does; the next frame that can start begins another.
    pub fn end_file(&mut self) {
        // The last picture is shown as long as the one before it.
        let ends_at = self.last_video.map(|last| last + self.interval);
        self.close_file(ends_at);
    }

    /// A fragment that [`Self::poll_piece`] gave could not be kept: what depends on it is dropped up to the next key frame.
    ///
    /// A lost [`Piece::EndFile`] needs no call: the fragment that begins the next file ends the one before it.
    pub fn lose(&mut self, lost: Fragment) {
        if !self.can_follow_loss() {
            self.open = None;
            if self.rules.after_loss == AfterLoss::NewFile || lost.begins.is_some() {
                self.file = None;
            }
        } else if let Some(open) = self.open.as_mut().filter(|open| open.begins.is_none()) {
            // Where the beginning of the file was lost, this fragment begins it.
            open.begins = lost.begins;
        }
    }

    /// Whether the open fragment is of use without the one before it.
    fn can_follow_loss(&self) -> bool {
        let (Some(open), Some(file)) = (&self.open, &self.file) else { return false };
        let starts = || open.frames.first().is_some_and(|first| self.can_start(first, &file.config));
        open.begins.is_some() || (self.rules.after_loss == AfterLoss::SameFile && starts())
    }

    /// What is to be done next, in order.
    pub fn poll_piece(&mut self) -> Option<Piece> {
        self.pieces.pop_front()
    }

    fn can_start(&self, frame: &Frame<Bytes>, config: &StreamConfig) -> bool {
        config.can_start_with(frame) && (frame.track == TrackId::VIDEO || !self.rules.needs_video)
    }

    /// Whether the video's time jumped: the source was gone, or began anew.
    fn has_gap(&self, frame: &Frame<Bytes>) -> bool {
        let (Some(most), Some(last)) = (self.rules.gap_max, self.last_video) else { return false };
        frame.track == TrackId::VIDEO && !(0..=most.ticks_90k).contains(&(frame.dts - last).ticks_90k)
    }

    /// Whether a frame that can start begins another file.
    fn is_file_over(&self, frame: &Frame<Bytes>, config: &StreamConfig) -> bool {
        self.file
            .as_ref()
            .is_none_or(|file| file.config.id != config.id || self.rules.file_length_max.is_some_and(|most| frame.dts - file.began >= most))
    }

    /// Whether `frame` is one too many for the open fragment.
    fn is_fragment_over(&self, open: &Fragment, frame: &Frame<Bytes>, starts: bool) -> bool {
        let Some(first) = open.frames.first() else { return false };
        let (length, most) = (frame.dts - first.dts, self.rules.fragment_length_max);
        let is_cut_early = starts
            && match self.rules.key_frames {
                // Sound alone is all key frames: there only the length counts.
                KeyFrames::Each => frame.track == TrackId::VIDEO,
                KeyFrames::AfterHalf => length.ticks_90k.saturating_mul(2) >= most.ticks_90k,
            };
        length >= most || is_cut_early || open.bytes + frame.cost_bytes() > self.rules.fragment_bytes_max
    }

    fn close_file(&mut self, ends_at: Option<MediaTime>) {
        if self.file.is_none() {
            return;
        }
        self.close_fragment(ends_at);
        (self.file, self.last_video) = (None, None);
        self.pieces.push_back(Piece::EndFile);
    }

    fn close_fragment(&mut self, ends_at: Option<MediaTime>) {
        if let Some(fragment) = self.open.take().filter(|fragment| !fragment.frames.is_empty()) {
            self.pieces.push_back(Piece::Append(Fragment { ends_at, ..fragment }));
        }
    }
}

impl Fragment {
    /// The bytes that it takes to keep it: its frames' payload, and what each costs besides.
    #[must_use]
    pub const fn cost_bytes(&self) -> usize {
        self.bytes
    }

    fn new(begins: Option<Beginning>) -> Self {
        Self { begins, frames: Vec::new(), ends_at: None, bytes: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;
    use sightline_media::{Track, TrackConfig, aac::AudioConfig};

    const RULES: Rules = Rules {
        fragment_length_max: MediaTime::from_millis(2_000),
        fragment_bytes_max: 120 * sightline_media::FRAME_OVERHEAD_BYTES,
        file_length_max: None,
        gap_max: None,
        key_frames: KeyFrames::Each,
        needs_video: false,
        after_loss: AfterLoss::SameFile,
    };

    fn config(id: u64, tracks: &[TrackId]) -> Arc<StreamConfig> {
        let config = TrackConfig::Aac(AudioConfig::parse(&[0x12, 0x10]).unwrap());
        let tracks = tracks.iter().map(|&id| Track { id, config: config.clone() }).collect();
        Arc::new(StreamConfig { id, tracks, metadata: None })
    }

    fn frame(track: TrackId, millis: i64, is_keyframe: bool) -> Frame<Bytes> {
        let dts = MediaTime::from_millis(millis);
        Frame { track, dts, pts: dts, is_keyframe, is_disposable: false, payload: Bytes::from_static(&[0; 10]) }
    }

    fn pieces(cutter: &mut Cutter) -> Vec<(bool, usize)> {
        core::iter::from_fn(|| cutter.poll_piece())
            .filter_map(|piece| match piece {
                Piece::Append(fragment) => Some((fragment.begins.is_some(), fragment.frames.len())),
                Piece::EndFile => None,
            })
            .collect()
    }

    #[test]
    fn each_key_frame_begins_a_fragment_and_another_configuration_a_file() {
        let mut cutter = Cutter::new(RULES);
        let video = [TrackId::VIDEO];
        for index in 0..50 {
            cutter.handle_frame(&frame(TrackId::VIDEO, index * 40, index % 25 == 0), &config(1, &video), WallTime::default());
        }
        for index in 50..60 {
            cutter.handle_frame(&frame(TrackId::VIDEO, index * 40, index == 55), &config(2, &video), WallTime::default());
        }
        cutter.end_file();
        assert_eq!(pieces(&mut cutter), [(true, 25), (false, 30), (true, 5)], "frames before the key frame stay with the old file");
    }

    #[test]
    fn sound_alone_is_cut_by_length_and_unknown_tracks_wait() {
        let mut cutter = Cutter::new(RULES);
        let sound = config(1, &[TrackId::AUDIO]);
        for index in 0..300 {
            cutter.handle_frame(&frame(TrackId::AUDIO, index * 20, true), &sound, WallTime::default());
            cutter.handle_frame(&frame(TrackId::VIDEO, index * 20, false), &sound, WallTime::default());
        }
        cutter.end_file();
        assert_eq!(pieces(&mut cutter), [(true, 100), (false, 100), (false, 100)]);
    }

    #[test]
    fn nothing_begins_with_sound_where_video_is_needed() {
        let mut cutter = Cutter::new(Rules { needs_video: true, ..RULES });
        cutter.handle_frame(&frame(TrackId::AUDIO, 0, true), &config(1, &[TrackId::AUDIO]), WallTime::default());
        cutter.end_file();
        assert_eq!(pieces(&mut cutter), []);
    }

    #[test]
    fn a_lost_fragment_costs_what_refers_to_it() {
        for (after_loss, begins_file) in [(AfterLoss::SameFile, false), (AfterLoss::NewFile, true)] {
            let rules = Rules { after_loss, key_frames: KeyFrames::AfterHalf, ..RULES };
            let (mut cutter, config) = (Cutter::new(rules), config(1, &[TrackId::VIDEO]));
            let mut kept = Vec::new();
            for index in 0..200 {
                cutter.handle_frame(&frame(TrackId::VIDEO, index * 40, index % 60 == 0), &config, WallTime::default());
                while let Some(piece) = cutter.poll_piece() {
                    match piece {
                        Piece::Append(fragment) if kept.len() == 1 => {
                            kept.push((false, fragment.frames.first().map_or(0, |first| first.dts.as_millis())));
                            cutter.lose(fragment);
                        }
                        Piece::Append(fragment) => {
                            kept.push((fragment.begins.is_some(), fragment.frames.first().unwrap().dts.as_millis()));
                        }
                        Piece::EndFile => {}
                    }
                }
            }
            // Fragments of 2 s: 0, 2,000 (lost, cut at the key frame of 2,400 + 60 pictures), then a key frame.
            assert_eq!(kept.first(), Some(&(true, 0)), "{after_loss:?}");
            let after = kept.get(2).copied().unwrap();
            assert_eq!((after.0, after.1 % 2_400), (begins_file, 0), "{after_loss:?} {kept:?}");
        }
    }

    #[test]
    fn where_the_beginning_of_a_file_is_lost_the_next_fragment_begins_it() {
        // A disk that stands still while the camera changes its size: the end of the old file and the beginning of the new one are lost.
        let mut cutter = Cutter::new(RULES);
        let video = [TrackId::VIDEO];
        let mut begun = Vec::new();
        for index in 0..125 {
            let config = config(if index < 50 { 1 } else { 2 }, &video);
            cutter.handle_frame(&frame(TrackId::VIDEO, index * 40, index % 25 == 0), &config, WallTime::default());
            while let Some(piece) = cutter.poll_piece() {
                match piece {
                    Piece::Append(fragment)
                        if fragment.begins.as_ref().is_some_and(|beginning| beginning.config.id == 2) && begun.len() == 1 =>
                    {
                        begun.push((0, 0));
                        cutter.lose(fragment);
                    }
                    Piece::Append(fragment) => {
                        let first = fragment.frames.first().unwrap().dts.as_millis();
                        begun.extend(fragment.begins.map(|beginning| (beginning.config.id, first)));
                    }
                    Piece::EndFile => {}
                }
            }
        }
        assert_eq!(begun, [(1, 0), (0, 0), (2, 3_000)], "the second file begins with its second key frame");
    }

    proptest! {
        #[test]
        fn whatever_comes_each_file_begins_with_a_key_frame_and_no_frame_is_written_twice(
            frames in proptest::collection::vec((0..2_u8, 0..3_000_i64, any::<bool>(), 0..3_u64), 1..200),
            after_loss in prop_oneof![Just(AfterLoss::NewFile), Just(AfterLoss::SameFile)],
            key_frames in prop_oneof![Just(KeyFrames::Each), Just(KeyFrames::AfterHalf)],
            losses in any::<u64>(),
        ) {
            let gap_max = Some(MediaTime::from_millis(2_500));
            let file_length_max = Some(MediaTime::from_millis(5_000));
            let mut cutter = Cutter::new(Rules { after_loss, key_frames, gap_max, file_length_max, ..RULES });
            let (mut at, mut seen, mut loss, mut open_id) = (0, vec![], losses, None);
            for (track, step, is_keyframe, id) in frames {
                at += step;
                let config = config(id, &[TrackId::VIDEO, TrackId::AUDIO]);
                cutter.handle_frame(&frame(TrackId(track), at, is_keyframe), &config, WallTime::default());
                while let Some(piece) = cutter.poll_piece() {
                    loss = loss.rotate_left(1);
                    // A full queue takes neither.
                    let is_lost = loss & 7 == 7;
                    let Piece::Append(fragment) = piece else { continue };
                    prop_assert!(fragment.bytes <= RULES.fragment_bytes_max);
                    if is_lost {
                        cutter.lose(fragment);
                        continue;
                    }
                    let first = &fragment.frames[0];
                    if let Some(beginning) = &fragment.begins {
                        prop_assert!(first.is_keyframe && first.track == TrackId::VIDEO);
                        open_id = Some(beginning.config.id);
                    }
                    prop_assert!(open_id.is_some(), "a fragment for which no file is open");
                    seen.extend(fragment.frames.iter().map(|frame| (frame.dts, frame.track)));
                }
            }
            prop_assert!(seen.is_sorted_by(|a, b| a.0 <= b.0));
        }
    }
}
