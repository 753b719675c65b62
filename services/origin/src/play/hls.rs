//! HLS of a stream, made while someone asks for it. A playlist of a minute takes many times the memory of all else that a stream
//! needs, and few streams of a fleet are watched, fewer by HLS.

use super::Play;
use crate::clock::Clock;
use crate::live::packet::Packet;
use crate::live::stream::Stream;
use crate::live::tap::{Next, Tap};
use sightline_hls::{Container, Lookup, Muxer, Run, Wait};
use sightline_media::{Instant, Track};
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

/// How long segments are made after the last request: twenty playlists of a player that has stalled, or its user's pause.
const IDLE: Duration = Duration::from_secs(60);
/// How long the first request for a playlist may wait for its first segment: a group of pictures of a camera that saves, within what
/// players wait for an answer.
const FIRST_SEGMENT_WAIT: Duration = Duration::from_secs(10);
/// How long a request waits for what it names, in target durations (RFC 8216bis §6.2.5.2).
const WAIT_TARGETS: u32 = 3;
/// How long a playlist of a stream that is over stays, with its end, in target durations.
const LINGER_TARGETS: u32 = 2;
/// How often playlists that have lingered are looked for.
const FORGET_INTERVAL: Duration = Duration::from_secs(1);

/// Streams of one playback id whose files may still be served: the one that is there, and the one before.
const STREAMS_KEPT: usize = 2;

/// What a playlist is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// All that the stream has, in MP4.
    Whole,
    /// Its sound alone, for those who only want to hear.
    Sound,
    /// For players that read no MP4.
    MpegTs,
}

impl Kind {
    /// All of them, in their order.
    const ALL: [Self; 3] = [Self::Whole, Self::Sound, Self::MpegTs];

    /// By the playlist's name.
    pub(super) fn of(file: &str) -> Option<Self> {
        match file {
            "index.m3u8" => Some(Self::Whole),
            "audio.m3u8" => Some(Self::Sound),
            "ts.m3u8" => Some(Self::MpegTs),
            _ => None,
        }
    }

    /// What it takes of a stream.
    fn tracks(self, tracks: &[Track]) -> Vec<Track> {
        tracks.iter().filter(|track| self != Self::Sound || !track.config.codec().is_video()).cloned().collect()
    }

    /// Why a stream has no such playlist.
    const fn lack(self) -> &'static str {
        match self {
            Self::Whole => "nothing of this stream can be offered by HLS",
            Self::Sound => "this stream has no sound",
            Self::MpegTs => "nothing of this stream goes into MPEG-TS, which carries H.264, H.265 and AAC: play index.m3u8",
        }
    }
}

/// All playlists of a stream: each is made while someone asks for it.
pub(super) struct Playlists([Arc<Playlist>; Kind::ALL.len()]);

impl Playlists {
    /// `first_sequence`: above all numbers of the playlists before.
    fn new(config: sightline_hls::Config, first_sequence: u64) -> Self {
        Self(Kind::ALL.map(|kind| Arc::new(Playlist::new(kind, config, first_sequence))))
    }

    /// A number that no segment of them has or will have had.
    fn number_after(&self) -> u64 {
        self.0.iter().map(|playlist| playlist.state().muxer.number_after()).max().unwrap_or_default()
    }

    fn of(&self, kind: Kind) -> &Arc<Playlist> {
        let [whole, sound, ts] = &self.0;
        match kind {
            Kind::Whole => whole,
            Kind::Sound => sound,
            Kind::MpegTs => ts,
        }
    }

    /// No name is in two of them.
    fn lookup(&self, name: &str) -> Lookup {
        self.0.iter().map(|playlist| playlist.lookup(name)).find(|found| *found != Lookup::Gone).unwrap_or(Lookup::Gone)
    }

    /// Whether something of a stream that is over is still served.
    fn serves(&self, now: Instant) -> bool {
        self.0.iter().any(|playlist| playlist.serves(now))
    }
}

/// One playlist of a stream.
struct Playlist {
    kind: Kind,
    state: Mutex<State>,
}

struct State {
    muxer: Muxer,
    /// The present configuration has something for it.
    is_offered: bool,
    /// The last request; `None` while no segments are made.
    asked: Option<Instant>,
    /// The configuration that the muxer has.
    config_id: u64,
    /// When the stream was over.
    ended_at: Option<Instant>,
}

impl Playlist {
    fn new(kind: Kind, config: sightline_hls::Config, first_sequence: u64) -> Self {
        // No name of it is one of a playlist before: not of this stream, and not of an origin that ran before this one.
        let mark = (RandomState::new().hash_one(kind as u8) >> 32) as u32;
        let container = if kind == Kind::MpegTs { Container::MpegTs } else { Container::Mp4 };
        let muxer = Muxer::new(sightline_hls::Config { container, ..config }, Run { first_sequence, mark });
        Self { kind, state: Mutex::new(State { muxer, is_offered: false, asked: None, config_id: 0, ended_at: None }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Someone asked. True when a tap is to be attached: no segments were made so far.
    fn wake(&self, now: Instant) -> bool {
        let mut state = self.state();
        let was_idle = state.asked.replace(now).is_none();
        if was_idle {
            // Whoever asked waits for it.
            state.muxer.end_segment_early();
        }
        was_idle
    }

    /// Nobody asked: there was no place for it.
    fn sleep(&self) {
        self.state().asked = None;
    }

    /// The stream has frames, and nothing of them is for this playlist.
    fn has_nothing(&self) -> bool {
        let state = self.state();
        state.config_id != 0 && !state.is_offered
    }

    fn text(&self, is_delta: bool) -> Option<String> {
        self.state().muxer.playlist(is_delta)
    }

    fn wait_for(&self, (sequence, part): (u64, Option<u64>)) -> Wait {
        self.state().muxer.wait_for(sequence, part)
    }

    fn lookup(&self, name: &str) -> Lookup {
        self.state().muxer.lookup(name)
    }

    fn wait_max(&self) -> Duration {
        (self.state().muxer.target_duration() * WAIT_TARGETS).max(FIRST_SEGMENT_WAIT)
    }

    fn end(&self, now: Instant) {
        let mut state = self.state();
        state.muxer.end();
        state.ended_at.get_or_insert(now);
    }

    /// Whether the stream is over, and its last viewers may still ask.
    fn lingers(&self, now: Instant) -> bool {
        let state = self.state();
        state.ended_at.is_some_and(|ended| now.since(ended) < state.muxer.target_duration() * LINGER_TARGETS)
    }

    /// Whether the stream is over, and whoever plays the list's beginning may still need the rest (RFC 8216bis §6.2.1).
    fn serves(&self, now: Instant) -> bool {
        let state = self.state();
        let most = state.muxer.list_duration().max(state.muxer.target_duration() * LINGER_TARGETS);
        state.ended_at.is_some_and(|ended| now.since(ended) < most)
    }
}

/// Feeds a playlist, until nobody asks for it or the stream is over.
struct PlaylistTap {
    playlist: Arc<Playlist>,
    /// Of those whose number is limited.
    _place: Option<OwnedSemaphorePermit>,
    clock: Clock,
    /// It left by itself: the stream goes on.
    has_left: bool,
}

impl Tap for PlaylistTap {
    fn handle_packet(&mut self, packet: &Arc<Packet>, now: Instant) -> Next {
        let mut state = self.playlist.state();
        if state.asked.is_none_or(|asked| now.since(asked) >= IDLE) {
            state.asked = None;
            state.muxer.clear();
            self.has_left = true;
            return Next::Leave;
        }
        if state.config_id != packet.config.id {
            state.config_id = packet.config.id;
            let tracks = self.playlist.kind.tracks(&packet.config.tracks);
            let set = state.muxer.set_tracks(&tracks);
            state.is_offered = set.is_ok();
            if let Err(error) = set {
                // What comes now is nothing that the tracks before have words for.
                state.muxer.discontinue();
                let kind = self.playlist.kind;
                tracing::info!(?kind, %error, "a stream has nothing for one of its playlists");
            }
        }
        if state.is_offered {
            state.muxer.push(&packet.frame, packet.captured.at);
        }
        Next::Stay
    }

    fn handle_takeover(&mut self) {
        self.playlist.state().muxer.discontinue();
    }
}

impl Drop for PlaylistTap {
    fn drop(&mut self) {
        if !self.has_left {
            self.playlist.end(self.clock.now());
        }
    }
}

/// Playlists that were asked for, by playback id: of a stream that is over the last viewers learn it from there.
#[derive(Default)]
pub(crate) struct Recent(Mutex<HashMap<String, Vec<Arc<Playlists>>>>);

impl Recent {
    fn playlists(&self) -> MutexGuard<'_, HashMap<String, Vec<Arc<Playlists>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, playback: &str, playlists: &Arc<Playlists>) {
        let mut kept = self.playlists();
        if !kept.get(playback).and_then(|kept| kept.last()).is_some_and(|newest| Arc::ptr_eq(newest, playlists)) {
            let kept = kept.entry(playback.to_owned()).or_default();
            kept.push(playlists.clone());
            let surplus = kept.len().saturating_sub(STREAMS_KEPT);
            kept.drain(..surplus);
        }
    }

    /// The number of the first segment of a new stream. The seconds since 1970 are above all numbers of an origin that ran before this one; a stream
    /// whose parameters changed all the time may have been faster than they.
    fn first_sequence(&self, playback: &str, now_unix_secs: i64) -> u64 {
        let secs = u64::try_from(now_unix_secs).unwrap_or_default();
        let kept = self.playlists();
        let before = kept.get(playback).into_iter().flatten().map(|playlists| playlists.number_after()).max();
        secs.max(before.unwrap_or_default())
    }

    /// A playlist with its end.
    fn ended(&self, playback: &str, kind: Kind, now: Instant) -> Option<String> {
        let newest = self.playlists().get(playback)?.last()?.of(kind).clone();
        newest.lingers(now).then(|| newest.text(false)).flatten()
    }

    /// A file of a stream that was over a while ago.
    fn file(&self, playback: &str, name: &str, now: Instant) -> Lookup {
        let kept = self.playlists().get(playback).cloned().unwrap_or_default();
        let found = kept.iter().filter(|playlists| playlists.serves(now)).map(|playlists| playlists.lookup(name));
        found.into_iter().find(|found| *found != Lookup::Gone).unwrap_or(Lookup::Gone)
    }

    /// A stream that is there holds its playlists, too.
    fn forget(&self, now: Instant) {
        let mut kept = self.playlists();
        kept.values_mut().for_each(|of_one| of_one.retain(|playlists| Arc::strong_count(playlists) > 1 || playlists.serves(now)));
        kept.retain(|_, of_one| !of_one.is_empty());
    }
}

/// Lets playlists go that have lingered. Runs until the shutdown.
pub(crate) async fn forget_ended(play: Arc<Play>, shutdown: CancellationToken) {
    let mut interval = tokio::time::interval(FORGET_INTERVAL);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = interval.tick() => play.recent.forget(play.clock.now()),
        }
    }
}

/// The playlists of a stream, which may be empty.
fn playlists_of(play: &Play, stream: &Stream) -> Arc<Playlists> {
    stream.extensions.get_or_make(|| Playlists::new(play.hls, play.recent.first_sequence(&stream.playback, play.clock.wall().unix_secs())))
}

/// What a player asks of a playlist.
#[derive(Clone, Copy, Default, Debug, serde::Deserialize)]
pub(super) struct Question {
    /// The number of the segment that it is to have.
    #[serde(rename = "_HLS_msn")]
    sequence: Option<u64>,
    /// The part of it, from zero.
    #[serde(rename = "_HLS_part")]
    part: Option<u64>,
    #[serde(rename = "_HLS_skip", default)]
    skip: Skip,
}

/// Whether a delta will do. A word that is not known here is none to refuse a player for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Deserialize)]
enum Skip {
    #[serde(rename = "YES", alias = "v2")]
    Yes,
    #[default]
    #[serde(other)]
    No,
}

/// What a request for a playlist gets.
pub(super) enum Answer {
    Text(String),
    /// Not yet: ask again.
    Later,
    /// What it asks for makes no sense.
    Wrong(&'static str),
    /// The stream has nothing for it.
    Nothing(&'static str),
    /// As many streams have such a playlist as may.
    Full,
}

/// The playlist, as soon as it has what is asked for: segments are made from the first request on.
pub(super) async fn playlist(play: &Play, stream: &Arc<Stream>, kind: Kind, question: Question) -> Answer {
    let playlists = playlists_of(play, stream);
    play.recent.keep(&stream.playback, &playlists);
    let playlist = playlists.of(kind);
    let wanted = match (question.sequence, question.part) {
        (None, Some(_)) => return Answer::Wrong("_HLS_part needs _HLS_msn"),
        (sequence, part) => sequence.map(|sequence| (sequence, part)),
    };
    let answer = async {
        let mut head = stream.watch();
        loop {
            head.borrow_and_update();
            let now = play.clock.now();
            if playlist.wake(now) {
                let place = match kind {
                    Kind::MpegTs => match play.ts_places.clone().try_acquire_owned() {
                        Ok(place) => Some(place),
                        Err(_) => {
                            playlist.sleep();
                            return Answer::Full;
                        }
                    },
                    Kind::Whole | Kind::Sound => None,
                };
                let tap = PlaylistTap { playlist: playlist.clone(), _place: place, clock: play.clock, has_left: false };
                stream.attach(Box::new(tap), now);
            }
            let wait = wanted.map_or(Wait::Over, |wanted| playlist.wait_for(wanted));
            match (wait, playlist.text(question.skip == Skip::Yes)) {
                (Wait::TooFar, Some(_)) => {
                    return Answer::Wrong("what _HLS_msn and _HLS_part name is more than two segments, or three seconds of parts, ahead");
                }
                (Wait::Over, Some(text)) => return Answer::Text(text),
                (_, None) if playlist.has_nothing() => return Answer::Nothing(kind.lack()),
                (_, None) if !stream.is_published() => return Answer::Later,
                _ => {}
            }
            tokio::select! {
                () = stream.ended.cancelled() => {
                    // Whoever waits for more learns that there is none.
                    playlist.end(play.clock.now());
                    return playlist.text(false).map_or(Answer::Later, Answer::Text);
                }
                changed = head.changed() => if changed.is_err() { return Answer::Later },
            }
        }
    };
    tokio::time::timeout(playlist.wait_max(), answer).await.unwrap_or(Answer::Later)
}

/// A file of a playlist; one that was hinted at as soon as it is there. Those of the stream before are there for a while.
pub(super) async fn file(play: &Play, stream: &Arc<Stream>, name: &str) -> Lookup {
    let playlists = playlists_of(play, stream);
    let found = async {
        let mut head = stream.watch();
        loop {
            head.borrow_and_update();
            let found = playlists.lookup(name);
            if found != Lookup::Soon {
                return found;
            }
            tokio::select! {
                () = stream.ended.cancelled() => return Lookup::Gone,
                changed = head.changed() => if changed.is_err() { return Lookup::Gone },
            }
        }
    };
    let found = tokio::time::timeout(playlists.of(Kind::Whole).wait_max(), found).await.unwrap_or(Lookup::Gone);
    if found == Lookup::Gone { last_file(play, &stream.playback, name) } else { found }
}

/// A playlist of a stream that was over a moment ago.
pub(super) fn last_playlist(play: &Play, playback: &str, kind: Kind) -> Option<String> {
    play.recent.ended(playback, kind, play.clock.now())
}

/// A file of one.
pub(super) fn last_file(play: &Play, playback: &str, name: &str) -> Lookup {
    play.recent.file(playback, name, play.clock.now())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use sightline_media::{Frame, MediaTime, StreamConfig, Track, TrackConfig, TrackId, aac::AudioConfig};

    const SECOND: u64 = 1_000_000;
    const FIRST: u64 = 1_000;

    fn packet(second: u64) -> Arc<Packet> {
        let dts = MediaTime::from_millis(i64::try_from(second).unwrap() * 1000);
        let frame =
            Frame { track: TrackId::AUDIO, dts, pts: dts, is_keyframe: true, is_disposable: false, payload: Bytes::from_static(b"sound") };
        let track = Track { id: TrackId::AUDIO, config: TrackConfig::Aac(AudioConfig::parse(&[0x12, 0x10]).unwrap()) };
        Arc::new(Packet::new(frame, Arc::new(StreamConfig { id: 1, tracks: vec![track], metadata: None })))
    }

    #[test]
    fn segments_are_made_from_the_first_request_to_a_minute_after_the_last() {
        let clock = Clock::start();
        let playlist = Arc::new(Playlist::new(Kind::Whole, sightline_hls::Config::default(), FIRST));
        let mut tap = PlaylistTap { playlist: playlist.clone(), _place: None, clock, has_left: false };
        let at = |second: u64| Instant::from_micros(second * SECOND);
        assert_eq!(tap.handle_packet(&packet(9), at(9)), Next::Leave, "no one asked");
        assert_eq!(playlist.text(false), None);
        assert!(playlist.wake(at(10)));
        assert_eq!(tap.handle_packet(&packet(9), at(10)), Next::Stay);
        tap.handle_packet(&packet(11), at(11));
        let first = playlist.text(false).unwrap();
        assert_eq!(first.matches("#EXTINF").count(), 1, "the first does not wait for its full length: {first}");
        assert!(!playlist.wake(at(20)));
        tap.handle_packet(&packet(79), at(79));
        assert!(playlist.text(false).is_some());
        assert_eq!(tap.handle_packet(&packet(80), at(80)), Next::Leave);
        assert_eq!(playlist.text(false), None);
        assert!(playlist.wake(at(90)));
        tap.handle_packet(&packet(90), at(90));
        tap.handle_packet(&packet(91), at(91));
        let text = playlist.text(false).unwrap();
        let name = first.lines().find(|line| line.starts_with("seg-")).unwrap();
        assert!(text.contains("#EXT-X-DISCONTINUITY\n") && !text.contains(name), "{text}");
    }

    /// A player is told so at once; it waited ten seconds for a segment.
    #[test]
    fn a_playlist_that_the_stream_has_nothing_for_knows_it_at_the_first_frame_and_gets_what_comes_later() {
        let clock = Clock::start();
        let playlist = Arc::new(Playlist::new(Kind::Sound, sightline_hls::Config::default(), FIRST));
        playlist.wake(clock.now());
        let mut tap = PlaylistTap { playlist: playlist.clone(), _place: None, clock, has_left: false };
        assert!(!playlist.has_nothing(), "no frame has come yet");
        let pictures = Packet::new(packet(0).frame.clone(), Arc::new(StreamConfig { id: 7, tracks: vec![], metadata: None }));
        tap.handle_packet(&Arc::new(pictures), clock.now());
        assert!(playlist.has_nothing() && playlist.text(false).is_none());
        (1..9).for_each(|second| _ = tap.handle_packet(&packet(second), clock.now()));
        assert!(!playlist.has_nothing() && playlist.text(false).is_some());
    }

    #[test]
    fn a_stream_that_is_over_has_its_end_in_the_playlist_for_two_target_durations_and_its_files_for_the_list_s() {
        let (clock, recent) = (Clock::start(), Recent::default());
        let playlists = Arc::new(Playlists::new(sightline_hls::Config::default(), FIRST));
        recent.keep("p", &playlists);
        let playlist = playlists.of(Kind::Whole).clone();
        playlist.wake(clock.now());
        let mut tap = PlaylistTap { playlist: playlist.clone(), _place: None, clock, has_left: false };
        (0..30).for_each(|second| _ = tap.handle_packet(&packet(second), clock.now()));
        assert!(recent.ended("p", Kind::Whole, clock.now()).is_none(), "it goes on");
        drop(tap);
        drop(playlist);
        drop(playlists);
        let (now, target) = (clock.now(), Duration::from_secs(3));
        let text = recent.ended("p", Kind::Whole, now).unwrap();
        assert!(text.ends_with("#EXT-X-ENDLIST\n"));
        let name = text.lines().find(|line| line.starts_with("seg-")).unwrap();
        recent.forget(now);
        assert!(recent.ended("p", Kind::Whole, now + target).is_some() && recent.ended("p", Kind::Whole, now + target * 2).is_none());
        // Its files are there while whoever began at the first of them plays on, and beside those of the stream that begins meanwhile.
        let first = recent.first_sequence("p", 3);
        assert!(
            first > FIRST && !text.contains(&format!("seg-{first}-")),
            "its numbers are above those of the one before, whatever the clock says"
        );
        let next = Arc::new(Playlists::new(sightline_hls::Config::default(), first));
        recent.keep("p", &next);
        drop(next);
        recent.forget(now + target * 9);
        assert!(matches!(recent.file("p", name, now + target * 9), Lookup::Media(_)));
        recent.forget(now + target * 11);
        assert!(recent.playlists().is_empty());
    }
}
