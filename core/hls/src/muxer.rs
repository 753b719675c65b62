//! One live HLS playlist of fMP4 segments (RFC 8216).

use alloc::{collections::VecDeque, string::String, vec::Vec};
use bytes::Bytes;
use core::fmt::Write as _;
use core::time::Duration;
use sightline_media::{Frame, MediaTime, Track};

/// The most bytes one segment gathers before it is cut without a key frame: a stream that never sends one must not fill the memory.
pub const SEGMENT_BYTES_MAX: usize = 32 << 20;

/// Segments kept behind the playlist, for viewers that fetch the oldest one late.
const SEGMENTS_BEHIND: usize = 3;

/// How a playlist is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// A segment is cut at the first key frame after this. The seed's `hls_fragment`: 3 s.
    pub segment_duration_min: Duration,
    /// Segments in the playlist. The seed's 60 s of 3 s make 20.
    pub playlist_segments: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { segment_duration_min: Duration::from_secs(3), playlist_segments: 20 }
    }
}

#[derive(Debug)]
struct Segment {
    sequence: u64,
    init: u64,
    is_discontinuous: bool,
    duration_ticks: i64,
    bytes: Bytes,
}

/// Frames in, a playlist and its segments out. Knows no HTTP and no clock.
///
/// URIs in the playlist are relative: `init-{n}.mp4` and `seg-{sequence}.m4s`.
#[derive(Debug)]
pub struct Muxer {
    config: Config,
    tracks: Vec<Track>,
    init: Option<(u64, Bytes)>,
    init_before: Option<(u64, Bytes)>,
    segments: VecDeque<Segment>,
    next_sequence: u64,
    discontinuities_gone: u64,
    open: Vec<Frame<Bytes>>,
    open_bytes: usize,
    is_discontinuous: bool,
    /// The open segment ends at the next key frame.
    ends_early: bool,
}

impl Muxer {
    /// An empty playlist.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            tracks: Vec::new(),
            init: None,
            init_before: None,
            segments: VecDeque::new(),
            next_sequence: 0,
            discontinuities_gone: 0,
            open: Vec::new(),
            open_bytes: 0,
            is_discontinuous: false,
            ends_early: false,
        }
    }

    /// The tracks from the next frame on. A change closes the open segment and begins a new initialisation segment behind a discontinuity.
    ///
    /// # Errors
    /// [`sightline_mp4::Error`] when they fit no MP4 box; the playlist stays as it was.
    pub fn set_tracks(&mut self, tracks: &[Track]) -> Result<(), sightline_mp4::Error> {
        // Sound that MP4 does not hold leaves the pictures.
        let tracks: Vec<Track> = tracks.iter().filter(|track| sightline_mp4::holds(track.config.codec())).cloned().collect();
        if self.tracks == tracks {
            return Ok(());
        }
        let bytes = sightline_mp4::init_segment(&tracks)?;
        self.cut(None);
        let number = self.init.as_ref().map_or(0, |(number, _)| number + 1);
        self.init_before = self.init.replace((number, bytes));
        self.is_discontinuous = number > 0;
        self.tracks = tracks;
        Ok(())
    }

    /// The next frame, in decoding order. Before the first key frame nothing is kept.
    pub fn push(&mut self, frame: &Frame<Bytes>) {
        let has_video = self.tracks.iter().any(|track| track.config.codec().is_video());
        let Some(codec) = self.tracks.iter().find(|track| track.id == frame.track).map(|track| track.config.codec()) else { return };
        let is_video = codec.is_video();
        let can_start = frame.is_keyframe && is_video == has_video;
        if self.init.is_none() || (self.open.is_empty() && !can_start) {
            return;
        }
        let ticks_min = MediaTime::from_micros(i64::try_from(self.config.segment_duration_min.as_micros()).unwrap_or(i64::MAX)).ticks_90k;
        let is_long = self.open.first().is_some_and(|first| (frame.dts - first.dts).ticks_90k >= ticks_min);
        if (can_start && (is_long || (self.ends_early && !self.open.is_empty()))) || self.open_bytes >= SEGMENT_BYTES_MAX {
            self.cut(Some(frame.dts));
        }
        self.open_bytes += frame.cost_bytes();
        self.open.push(frame.clone());
    }

    /// Closes the open segment. `ends_at`: where the next frame begins.
    fn cut(&mut self, ends_at: Option<MediaTime>) {
        let frames = core::mem::take(&mut self.open);
        self.open_bytes = 0;
        let (Some(first), Some(last), Some((init, _))) = (frames.first(), frames.last(), &self.init) else { return };
        self.ends_early = false;
        let end = ends_at.unwrap_or(last.dts);
        let sequence = self.next_sequence;
        // A fragment's number starts at 1 and may wrap: players only compare neighbours.
        let Ok(bytes) = sightline_mp4::fragment((sequence as u32).wrapping_add(1), &frames, ends_at) else { return };
        self.segments.push_back(Segment {
            sequence,
            init: *init,
            is_discontinuous: core::mem::take(&mut self.is_discontinuous),
            duration_ticks: (end - first.dts).ticks_90k.max(1),
            bytes,
        });
        self.next_sequence += 1;
        while self.segments.len() > self.config.playlist_segments.max(1) + SEGMENTS_BEHIND {
            self.segments.pop_front();
        }
        // What has left the playlist is counted, so that its discontinuity number stays right.
        if let Some(gone) = self.segments.len().checked_sub(self.config.playlist_segments.max(1) + 1)
            && self.segments.get(gone).is_some_and(|segment| segment.is_discontinuous)
        {
            self.discontinuities_gone += 1;
        }
    }

    /// The playlist's segments: the newest `playlist_segments`.
    fn listed(&self) -> impl Iterator<Item = &Segment> {
        let skipped = self.segments.len().saturating_sub(self.config.playlist_segments.max(1));
        self.segments.iter().skip(skipped)
    }

    /// True as soon as a segment can be played.
    #[must_use]
    pub fn is_playable(&self) -> bool {
        !self.segments.is_empty()
    }

    /// The media playlist. Without a segment yet it is empty but valid.
    #[must_use]
    pub fn playlist(&self) -> String {
        let longest_ticks = self.listed().map(|segment| segment.duration_ticks).max().unwrap_or(0);
        let floor_secs = i64::try_from(self.config.segment_duration_min.as_secs()).unwrap_or(i64::MAX).max(1);
        let target_secs = (longest_ticks + MediaTime::TICKS_PER_SECOND / 2).div_euclid(MediaTime::TICKS_PER_SECOND).max(floor_secs);
        let first = self.listed().next().map_or(self.next_sequence, |segment| segment.sequence);
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{target_secs}\n#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-DISCONTINUITY-SEQUENCE:{}\n#EXT-X-INDEPENDENT-SEGMENTS\n",
            self.discontinuities_gone
        );
        let mut init = None;
        for segment in self.listed() {
            if segment.is_discontinuous {
                text.push_str("#EXT-X-DISCONTINUITY\n");
            }
            if init != Some(segment.init) {
                init = Some(segment.init);
                let _ = writeln!(text, "#EXT-X-MAP:URI=\"init-{}.mp4\"", segment.init);
            }
            let millis = segment.duration_ticks / 90;
            let _ = writeln!(text, "#EXTINF:{}.{:03},\nseg-{}.m4s", millis / 1000, millis % 1000, segment.sequence);
        }
        text
    }

    /// The initialisation segment `init-{number}.mp4`; the present one and the one before it are kept.
    #[must_use]
    pub fn init(&self, number: u64) -> Option<Bytes> {
        [&self.init, &self.init_before].into_iter().flatten().find(|(kept, _)| *kept == number).map(|(_, bytes)| bytes.clone())
    }

    /// The segment `seg-{sequence}.m4s`, while it is kept.
    #[must_use]
    pub fn segment(&self, sequence: u64) -> Option<Bytes> {
        self.segments.iter().find(|segment| segment.sequence == sequence).map(|segment| segment.bytes.clone())
    }

    /// The segment that is open, or opens next, ends at its next key frame, however short: someone waits for it.
    pub const fn end_segment_early(&mut self) {
        self.ends_early = true;
    }

    /// Forgets all segments: no one fetches them. Numbers go on, and the next segment begins behind a discontinuity.
    pub fn clear(&mut self) {
        let listed_gaps = self.listed().filter(|segment| segment.is_discontinuous).count();
        self.discontinuities_gone += u64::try_from(listed_gaps).unwrap_or(0);
        self.segments = VecDeque::new();
        self.open = Vec::new();
        self.open_bytes = 0;
        self.ends_early = false;
        self.is_discontinuous = self.next_sequence > 0;
    }

    /// The stream paused or its time jumped: the next segment begins behind a discontinuity.
    pub fn discontinue(&mut self) {
        self.cut(None);
        self.is_discontinuous = self.next_sequence > 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sightline_media::{TrackConfig, TrackId, aac::AudioConfig, avc::DecoderConfig};

    fn video_track() -> Track {
        let sps = [
            0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x5a, 0x80, 0x80, 0x80, 0xa0, 0x00, 0x00, 0x7d, 0x20,
            0x00, 0x17, 0x70, 0x01, 0xe3, 0x06, 0x32, 0xc0,
        ];
        Track {
            id: TrackId::VIDEO,
            config: TrackConfig::H264(DecoderConfig::from_sets(&sps, &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0]).unwrap()),
        }
    }

    fn audio_track() -> Track {
        Track { id: TrackId::AUDIO, config: TrackConfig::Aac(AudioConfig::parse(&[0x12, 0x10]).unwrap()) }
    }

    fn frame(index: i64, is_keyframe: bool) -> Frame<Bytes> {
        let time = MediaTime::from_millis(index * 40);
        let payload = Bytes::from(alloc::format!("frame {index}"));
        Frame { track: TrackId::VIDEO, dts: time, pts: time, is_keyframe, is_disposable: false, payload }
    }

    fn parsed(muxer: &Muxer) -> m3u8_rs::MediaPlaylist {
        m3u8_rs::parse_media_playlist_res(muxer.playlist().as_bytes()).unwrap()
    }

    #[test]
    fn segments_are_cut_at_key_frames_and_roll_out() {
        let mut muxer = Muxer::new(Config { segment_duration_min: Duration::from_secs(2), playlist_segments: 3 });
        muxer.set_tracks(&[video_track()]).unwrap();
        for index in 0..=25 * 20 {
            muxer.push(&frame(index, index % 25 == 0));
        }
        let list = parsed(&muxer);
        assert_eq!((list.segments.len(), list.media_sequence, list.target_duration), (3, 7, 2));
        assert!(list.segments.iter().all(|segment| (segment.duration - 2.0).abs() < 0.001));
        assert_eq!(list.segments[0].map.as_ref().unwrap().uri, "init-0.mp4");
        assert!(muxer.segment(9).is_some() && muxer.segment(4).is_some() && muxer.segment(3).is_none());
    }

    #[test]
    fn nothing_is_kept_before_the_first_key_frame() {
        let mut muxer = Muxer::new(Config::default());
        muxer.push(&frame(0, true));
        muxer.set_tracks(&[video_track()]).unwrap();
        muxer.push(&frame(1, false));
        assert!(muxer.open.is_empty() && !muxer.is_playable());
        assert!(parsed(&muxer).segments.is_empty());
    }

    #[test]
    fn other_parameter_sets_come_behind_a_discontinuity() {
        let mut muxer = Muxer::new(Config { segment_duration_min: Duration::from_secs(1), playlist_segments: 4 });
        muxer.set_tracks(&[video_track()]).unwrap();
        for index in 0..60 {
            muxer.push(&frame(index, index % 25 == 0));
        }
        muxer.set_tracks(&[video_track(), audio_track()]).unwrap();
        for index in 60..120 {
            muxer.push(&frame(index, index % 25 == 10));
        }
        let list = parsed(&muxer);
        let marks: Vec<bool> = list.segments.iter().map(|segment| segment.discontinuity).collect();
        assert_eq!(marks.iter().filter(|&&mark| mark).count(), 1);
        let changed = list.segments.iter().find(|segment| segment.discontinuity).unwrap();
        assert_eq!(changed.map.as_ref().unwrap().uri, "init-1.mp4");
        assert!(muxer.init(0).is_some() && muxer.init(1).is_some());
        for index in 120..600 {
            muxer.push(&frame(index, index % 25 == 10));
        }
        assert_eq!(parsed(&muxer).discontinuity_sequence, 1);
    }

    #[test]
    fn a_playlist_that_was_cleared_goes_on_behind_a_discontinuity() {
        let mut muxer = Muxer::new(Config { segment_duration_min: Duration::from_secs(2), playlist_segments: 4 });
        muxer.set_tracks(&[video_track()]).unwrap();
        muxer.end_segment_early();
        for index in 0..=25 {
            muxer.push(&frame(index, index % 25 == 0));
        }
        assert_eq!(parsed(&muxer).segments.len(), 1, "the first ends early");
        for index in 26..=75 {
            muxer.push(&frame(index, index % 25 == 0));
        }
        assert_eq!(parsed(&muxer).segments.len(), 2, "the others do not");
        for round in 0..2 {
            muxer.clear();
            assert!(!muxer.is_playable());
            for index in 200..=250 {
                muxer.push(&frame(round * 500 + index, index % 25 == 0));
            }
            let list = parsed(&muxer);
            let media_sequence = 2 + u64::try_from(round).unwrap();
            assert_eq!((list.media_sequence, list.segments.len()), (media_sequence, 1));
            assert!(list.segments[0].discontinuity);
            assert_eq!(list.discontinuity_sequence, u64::try_from(round).unwrap());
        }
    }

    #[test]
    fn frames_of_one_byte_can_t_fill_the_memory_either() {
        let mut muxer = Muxer::new(Config { segment_duration_min: Duration::from_secs(1), playlist_segments: 1 });
        muxer.set_tracks(&[video_track()]).unwrap();
        let (first, byte) = (frame(0, true), Bytes::from_static(b"x"));
        muxer.push(&first);
        for _ in 0..200_000 {
            muxer.push(&Frame { payload: byte.clone(), is_keyframe: false, ..first.clone() });
            assert!(muxer.open.len() <= SEGMENT_BYTES_MAX / sightline_media::FRAME_OVERHEAD_BYTES + 1);
        }
    }

    #[test]
    fn a_stream_without_key_frames_can_t_fill_the_memory() {
        let mut muxer = Muxer::new(Config { segment_duration_min: Duration::from_secs(1), playlist_segments: 1 });
        muxer.set_tracks(&[video_track()]).unwrap();
        let large = Bytes::from(alloc::vec![0; 8 << 20]);
        muxer.push(&frame(0, true));
        for index in 1..40 {
            muxer.push(&Frame { payload: large.clone(), ..frame(index, false) });
        }
        assert!(muxer.open_bytes <= SEGMENT_BYTES_MAX + (8 << 20));
    }
}
