use super::*;
use alloc::string::String;
use sightline_media::{TrackConfig, aac::AudioConfig, avc, avc::DecoderConfig};

const RUN: Run = Run { first_sequence: 1_000, mark: 0xabc };
/// 2026-11-30, 10:30 UTC.
const WALL: i64 = 1_796_034_600_000_000;

fn video_track(sps_end: u8) -> Track {
    let sps = [
        0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x5a, 0x80, 0x80, 0x80, 0xa0, 0x00, 0x00, 0x7d, 0x20, 0x00,
        0x17, 0x70, 0x01, 0xe3, 0x06, 0x32, sps_end,
    ];
    Track { id: TrackId::VIDEO, config: TrackConfig::H264(DecoderConfig::from_sets(&sps, &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0]).unwrap()) }
}

fn audio_track() -> Track {
    Track { id: TrackId::AUDIO, config: TrackConfig::Aac(AudioConfig::parse(&[0x12, 0x10]).unwrap()) }
}

fn frame_at(millis: i64, is_keyframe: bool) -> Frame<Bytes> {
    let time = MediaTime::from_millis(millis);
    // One slice, of an IDR picture or not.
    let payload = Bytes::from(alloc::vec![0, 0, 0, 3, if is_keyframe { 0x65 } else { 0x41 }, 0x88, 0x80]);
    Frame { track: TrackId::VIDEO, dts: time, pts: time, is_keyframe, is_disposable: false, payload }
}

/// What the tests feed: the camera's clock began when the wall showed [`WALL`].
trait Feed {
    fn feed(&mut self, frame: &Frame<Bytes>);
    /// 25 pictures a second, with a key frame each `group` of them.
    fn play(&mut self, pictures: core::ops::Range<i64>, group: i64);
}

impl Feed for Muxer {
    fn feed(&mut self, frame: &Frame<Bytes>) {
        self.push(frame, WallTime::from_unix_micros(WALL + frame.dts.as_micros()));
    }

    fn play(&mut self, pictures: core::ops::Range<i64>, group: i64) {
        for picture in pictures {
            self.feed(&frame_at(picture * 40, picture % group == 0));
        }
    }
}

fn muxer(segment_secs: u64, playlist_segments: usize) -> Muxer {
    let config = Config { segment_duration_min: Duration::from_secs(segment_secs), playlist_segments, ..Config::default() };
    let mut muxer = Muxer::new(config, RUN);
    muxer.set_tracks(&[video_track(0xc0)]).unwrap();
    muxer
}

fn text(muxer: &Muxer) -> String {
    muxer.playlist(false).unwrap()
}

fn parsed(muxer: &Muxer) -> m3u8_rs::MediaPlaylist {
    m3u8_rs::parse_media_playlist_res(text(muxer).as_bytes()).unwrap()
}

fn value(text: &str, tag: &str) -> String {
    text.lines().find_map(|line| line.strip_prefix(tag)).unwrap_or_else(|| panic!("{tag} in {text}")).into()
}

/// Of all lines: the URIs that a player would fetch.
fn uris(text: &str) -> Vec<String> {
    let quoted = |line: &str| line.split_once("URI=\"").and_then(|(_, rest)| rest.split_once('"')).map(|(uri, _)| String::from(uri));
    text.lines().filter_map(|line| if line.starts_with('#') { quoted(line) } else { Some(line.into()) }).collect()
}

/// Everything that a playlist promises of what it lists.
fn assert_keeps_its_word(muxer: &Muxer) {
    let text = text(muxer);
    let target: f64 = value(&text, "#EXT-X-TARGETDURATION:").parse().unwrap();
    let part_target: f64 = value(&text, "#EXT-X-PART-INF:PART-TARGET=").parse().unwrap();
    for line in text.lines() {
        if let Some(duration) = line.strip_prefix("#EXTINF:").and_then(|line| line.strip_suffix(',')) {
            assert!(duration.parse::<f64>().unwrap().round() <= target, "{line} of {target}");
        }
        if let Some(duration) = line.strip_prefix("#EXT-X-PART:DURATION=").and_then(|line| line.split(',').next()) {
            assert!(duration.parse::<f64>().unwrap() <= part_target, "{line} of {part_target}");
        }
    }
    for uri in uris(&text) {
        let is_hint = text.contains(&alloc::format!("PRELOAD-HINT:TYPE=PART,URI=\"{uri}\""));
        match muxer.lookup(&uri) {
            Lookup::Init(_) | Lookup::Media(_) => assert!(!is_hint, "{uri}"),
            Lookup::Soon => assert!(is_hint, "{uri}"),
            Lookup::Gone => panic!("{uri} is listed and gone: {text}"),
        }
    }
    if text.contains("INDEPENDENT-SEGMENTS") {
        assert!(muxer.listed().all(Segment::is_independent));
    }
}

#[test]
fn segments_are_cut_at_key_frames_and_stay_for_a_playlist_s_length() {
    let mut muxer = muxer(2, 3);
    muxer.play(0..25 * 20 + 1, 25);
    let list = parsed(&muxer);
    assert_eq!((list.segments.len(), list.media_sequence, list.target_duration), (3, 1_007, 2));
    assert!(list.segments.iter().all(|segment| (segment.duration - 2.0).abs() < 0.001));
    assert_eq!(list.segments[0].map.as_ref().unwrap().uri, "init-1000-00000abc.mp4");
    assert!(list.independent_segments);
    let is_there = |number: u64| muxer.lookup(&alloc::format!("seg-{number}-00000abc.m4s")) != Lookup::Gone;
    assert!(
        is_there(1_009) && is_there(1_003) && !is_there(1_002),
        "three are listed, four have left and are served: for seven target durations"
    );
    assert_eq!(muxer.lookup("seg-1009-00000abd.m4s"), Lookup::Gone, "another run's");
    assert_keeps_its_word(&muxer);
}

/// simple-realtime-server#304: with key frames that wander the target changed from 3 to 4 and back.
#[test]
fn the_target_never_changes_whatever_the_key_frames_do() {
    let mut muxer = muxer(3, 20);
    let (mut millis, mut seed, mut targets) = (0, 7_u64, Vec::new());
    for picture in 0..20_000_i64 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // Key frames after a second or after twelve, pictures that are not on time.
        let is_key = picture == 0 || picture == 50 || (picture > 50 && (seed >> 33) % 90 == 0);
        muxer.feed(&frame_at(millis, is_key));
        millis += 30 + i64::try_from((seed >> 40) % 15).unwrap();
        if muxer.is_playable() && picture % 61 == 0 {
            targets.push(value(&text(&muxer), "#EXT-X-TARGETDURATION:"));
            assert_keeps_its_word(&muxer);
        }
    }
    targets.dedup();
    assert_eq!(targets, ["4"]);
}

/// videojs-contrib-hls#312: key frames twelve seconds apart.
#[test]
fn a_stream_with_few_key_frames_is_cut_without_them_and_says_so() {
    let mut muxer = muxer(3, 4);
    muxer.play(0..25 * 40, 300);
    let text = text(&muxer);
    assert_eq!(value(&text, "#EXT-X-TARGETDURATION:"), "6");
    assert!(!text.contains("INDEPENDENT-SEGMENTS") && text.contains("INDEPENDENT=YES") || muxer.listed().all(Segment::is_independent));
    assert_keeps_its_word(&muxer);
}

#[test]
fn nothing_is_kept_before_the_first_key_frame() {
    let mut muxer = Muxer::new(Config::default(), RUN);
    muxer.feed(&frame_at(0, true));
    muxer.set_tracks(&[video_track(0xc0)]).unwrap();
    muxer.feed(&frame_at(40, false));
    assert!(muxer.frames.is_empty() && !muxer.is_playable());
    assert_eq!(muxer.playlist(false), None);
}

/// hls.js#1990: an initialisation segment that was listed was gone after two changes of the size.
#[test]
fn other_parameter_sets_come_behind_a_discontinuity_and_their_init_stays_as_long_as_its_segments() {
    let mut muxer = muxer(1, 4);
    muxer.play(0..60, 25);
    for (change, sps_end) in [(1, 0xc1), (2, 0xc2), (3, 0xc3)] {
        muxer.set_tracks(&[video_track(sps_end), audio_track()]).unwrap();
        muxer.play(change * 75..change * 75 + 60, 25);
        assert_keeps_its_word(&muxer);
    }
    let list = parsed(&muxer);
    assert!(list.segments.iter().any(|segment| segment.discontinuity));
    let before = list.discontinuity_sequence;
    muxer.play(300..900, 25);
    assert!(parsed(&muxer).discontinuity_sequence > before);
    assert!(parsed(&muxer).segments.iter().all(|segment| !segment.discontinuity));
    assert_eq!(muxer.inits.len(), 1);
}

/// OvenMediaEngine#769, PeerTube#7438, hls.js#6854.
#[test]
fn no_uri_of_a_new_playlist_is_one_of_an_old_and_numbers_never_go_back() {
    let mut old = muxer(2, 4);
    old.play(0..200, 50);
    let begun_later = Run { first_sequence: RUN.first_sequence + 8, mark: 0xdef };
    let mut new = Muxer::new(old.config, begun_later);
    new.set_tracks(&[video_track(0xc0)]).unwrap();
    new.play(0..200, 50);
    let (old_uris, new_text) = (uris(&text(&old)), text(&new));
    assert!(uris(&new_text).iter().all(|uri| !old_uris.contains(uri)));
    let number = |text: &str| value(text, "#EXT-X-MEDIA-SEQUENCE:").parse::<u64>().unwrap();
    assert!(number(&new_text) > number(&text(&old)));
}

/// go2rtc#1331.
#[test]
fn each_segment_has_its_time_of_day() {
    let mut muxer = muxer(2, 4);
    // What was kept for a first viewer comes at once.
    for picture in 0..50 {
        muxer.push(&frame_at(picture * 40, picture == 0), WallTime::from_unix_micros(WALL + 1_960_000));
    }
    muxer.play(50..250, 50);
    let times: Vec<i64> =
        parsed(&muxer).segments.iter().filter_map(|segment| Some(segment.program_date_time?.timestamp_millis())).collect();
    let began = WALL / 1_000;
    assert_eq!(times, [began, began + 2_000, began + 4_000, began + 6_000]);
    // Behind a discontinuity it is the wall's again.
    muxer.discontinue();
    let later = WallTime::from_unix_micros(WALL + 60_000_000);
    (0..=50).for_each(|picture| muxer.push(&frame_at(picture * 40, picture % 50 == 0), later));
    let last = parsed(&muxer).segments.last().unwrap().clone();
    assert_eq!((last.discontinuity, last.program_date_time.unwrap().timestamp_millis()), (true, later.unix_micros / 1_000));
}

/// hls.js#760.
#[test]
fn at_the_end_the_open_segment_is_listed_and_the_list_has_its_end() {
    let mut muxer = muxer(2, 4);
    muxer.play(0..120, 50);
    assert!(!text(&muxer).contains("ENDLIST"));
    muxer.end();
    let list = parsed(&muxer);
    assert!(list.end_list && list.segments.len() == 3 && !text(&muxer).contains("PRELOAD-HINT"));
    assert!((list.segments[2].duration - 0.8).abs() < 0.001);
    muxer.play(120..240, 50);
    assert_eq!(parsed(&muxer).segments.len(), 3);
    assert_keeps_its_word(&muxer);
}

/// go-audio-stream#126: readers that never ask for another initialisation segment.
#[test]
fn parameter_sets_are_in_the_key_frames_too() {
    let mut muxer = muxer(1, 4);
    muxer.play(0..60, 25);
    let Lookup::Media(bytes) = muxer.lookup("seg-1000-00000abc.m4s") else { panic!("it is there") };
    let sets: Vec<u8> = sets::with_lengths(&video_track(0xc0).config);
    assert_eq!(bytes.windows(sets.len()).filter(|window| *window == sets).count(), 1);
    assert_eq!(avc::NalUnits::new(&sets, avc::LENGTH_BYTES).count(), 2);
    // Those that have them already are left as they are.
    let own: Bytes = [&sets[..], &frame_at(0, true).payload].concat().into();
    assert_eq!(sets::put_before(&sets, sightline_media::Codec::H264, &own), own);
}

/// Each frame of sound is a key frame, and has no parameter sets.
#[test]
fn sound_beside_pictures_goes_on_byte_for_byte() {
    let mut muxer = muxer(1, 4);
    muxer.set_tracks(&[video_track(0xc0), audio_track()]).unwrap();
    for picture in 0..60 {
        let picture = frame_at(picture * 40, picture % 25 == 0);
        muxer.feed(&picture);
        muxer.feed(&Frame { track: TrackId::AUDIO, is_keyframe: true, payload: Bytes::from_static(b"sound"), ..picture });
    }
    let Lookup::Media(bytes) = muxer.lookup("seg-1000-00000abc.m4s") else { panic!("it is there") };
    let sets = sets::with_lengths(&video_track(0xc0).config);
    assert_eq!(bytes.windows(sets.len()).filter(|window| *window == sets).count(), 1, "the key frame's alone");
    assert_eq!(bytes.windows(5).filter(|window| *window == b"sound").count(), 25);
}

#[test]
fn parts_are_listed_at_the_end_and_the_next_one_is_hinted_at() {
    let mut muxer = muxer(2, 20);
    muxer.play(0..1_012, 50);
    let text = text(&muxer);
    assert_eq!(value(&text, "#EXT-X-PART-INF:PART-TARGET="), "0.22000");
    assert!(text.contains("CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.00000,HOLD-BACK=6.00000,PART-HOLD-BACK=0.66000"), "{text}");
    // Of the last six seconds: three segments of ten parts, less what is open.
    let parts = text.matches("#EXT-X-PART:").count();
    assert!((20..=32).contains(&parts), "{parts} parts in {text}");
    assert!(
        text.contains("URI=\"part-1020-1-00000abc.m4s\"\n") && text.ends_with("PRELOAD-HINT:TYPE=PART,URI=\"part-1020-2-00000abc.m4s\"\n"),
        "{text}"
    );
    assert_eq!(text.matches("INDEPENDENT=YES").count(), text.matches("-0-00000abc.m4s\",INDEPENDENT=YES").count());
    // The parts in a row are the segment.
    let bytes = |name: &str| {
        let Lookup::Media(bytes) = muxer.lookup(name) else { panic!("{name} is not there") };
        bytes
    };
    let parts: Vec<Bytes> = (0..10).map(|nth| bytes(&alloc::format!("part-1019-{nth}-00000abc.m4s"))).collect();
    assert_eq!(parts.concat(), bytes("seg-1019-00000abc.m4s"));
    assert_keeps_its_word(&muxer);
}

#[test]
fn the_first_playlist_has_parts_already() {
    let mut muxer = muxer(2, 20);
    muxer.end_segment_early();
    muxer.play(0..51, 50);
    assert_eq!(text(&muxer).matches("#EXT-X-PART:").count(), 10);
    assert_keeps_its_word(&muxer);
}

#[test]
fn a_player_waits_for_the_part_it_names_and_not_for_what_is_far_ahead() {
    let mut muxer = muxer(2, 20);
    muxer.play(0..162, 50);
    // Segment 1003 is open and has two parts.
    assert_eq!(muxer.wait_for(1_002, None), Wait::Over);
    assert_eq!(
        (muxer.wait_for(1_003, Some(1)), muxer.wait_for(1_003, Some(2)), muxer.wait_for(1_003, None)),
        (Wait::Over, Wait::On, Wait::On)
    );
    assert_eq!((muxer.wait_for(1_004, Some(0)), muxer.wait_for(1_005, None)), (Wait::On, Wait::TooFar));
    assert_eq!((muxer.lookup("part-1003-2-00000abc.m4s"), muxer.lookup("part-1003-3-00000abc.m4s")), (Lookup::Soon, Lookup::Gone));
    muxer.play(162..166, 50);
    assert_eq!(muxer.wait_for(1_003, Some(2)), Wait::Over);
    muxer.end();
    assert_eq!((muxer.wait_for(9_999, None), muxer.lookup("part-1004-0-00000abc.m4s")), (Wait::Over, Lookup::Gone));
}

#[test]
fn a_delta_has_the_new_segments_alone() {
    let mut muxer = muxer(2, 20);
    muxer.play(0..1_100, 50);
    let (whole, delta) = (text(&muxer), muxer.playlist(true).unwrap());
    let skipped: usize = value(&delta, "#EXT-X-SKIP:SKIPPED-SEGMENTS=").parse().unwrap();
    assert_eq!(whole.matches("#EXTINF").count() - skipped, delta.matches("#EXTINF").count());
    // Twelve seconds are kept: six segments, or seven with what is open.
    assert!((13..=15).contains(&skipped), "{skipped}");
    assert!(delta.contains("#EXT-X-MAP"), "{delta}");
}

#[test]
fn sound_alone_is_cut_by_its_own_time() {
    let mut muxer = Muxer::new(Config { playlist_segments: 4, ..Config::default() }, RUN);
    muxer.set_tracks(&[audio_track()]).unwrap();
    for packet in 0..2_000 {
        let dts = MediaTime::from_ticks(packet * 2_090);
        let frame =
            Frame { track: TrackId::AUDIO, dts, pts: dts, is_keyframe: true, is_disposable: false, payload: Bytes::from_static(b"sound") };
        muxer.feed(&frame);
    }
    assert_eq!(parsed(&muxer).target_duration, 3);
    assert_keeps_its_word(&muxer);
}

/// Who comes first waits for half a second of sound: each of its frames could end a segment, and one of 23 ms starts no player.
#[test]
fn a_first_segment_of_sound_is_half_a_second_long() {
    let mut muxer = Muxer::new(Config::default(), RUN);
    muxer.set_tracks(&[audio_track()]).unwrap();
    muxer.end_segment_early();
    for packet in 0..30 {
        let dts = MediaTime::from_ticks(packet * 2_090);
        let payload = Bytes::from_static(b"sound");
        muxer.feed(&Frame { track: TrackId::AUDIO, dts, pts: dts, is_keyframe: true, is_disposable: false, payload });
    }
    let list = parsed(&muxer);
    assert!(list.segments.len() == 1 && (0.5..0.6).contains(&list.segments[0].duration), "{list:?}");
}

#[test]
fn a_playlist_has_nothing_of_a_stream_that_has_nothing_for_it() {
    let mut muxer = Muxer::new(Config::default(), RUN);
    assert_eq!(muxer.set_tracks(&[]), Err(sightline_mp4::Error::Empty));
    let mut ts = Muxer::new(Config { container: Container::MpegTs, ..Config::default() }, RUN);
    assert_eq!(ts.set_tracks(&[]), Err(sightline_mp4::Error::Empty));
    assert_eq!(ts.set_tracks(&[video_track(0xc0), audio_track()]), Ok(()));
}

#[test]
fn a_playlist_that_was_cleared_goes_on_behind_a_discontinuity() {
    let mut muxer = muxer(2, 4);
    muxer.end_segment_early();
    muxer.play(0..26, 25);
    assert_eq!(parsed(&muxer).segments.len(), 1, "the first ends early");
    muxer.play(26..77, 25);
    assert_eq!(parsed(&muxer).segments.len(), 2, "the others do not");
    let mut before = 0;
    for round in 0..2 {
        muxer.clear();
        assert!(!muxer.is_playable());
        muxer.play(round * 500 + 200..round * 500 + 251, 25);
        let list = parsed(&muxer);
        assert!(list.media_sequence > before && list.segments.len() == 1 && list.segments[0].discontinuity);
        before = list.media_sequence;
        assert_keeps_its_word(&muxer);
    }
}

#[test]
fn frames_of_one_byte_can_t_fill_the_memory_either() {
    let mut muxer = muxer(1, 1);
    let (first, byte) = (frame_at(0, true), Bytes::from_static(b"x"));
    muxer.feed(&first);
    for _ in 0..200_000 {
        muxer.feed(&Frame { payload: byte.clone(), is_keyframe: false, ..first.clone() });
        assert!(muxer.frames.len() <= SEGMENT_BYTES_MAX / sightline_media::FRAME_OVERHEAD_BYTES + 1);
    }
}

#[test]
fn a_stream_without_key_frames_can_t_fill_the_memory() {
    let mut muxer = muxer(1, 1);
    let large = Bytes::from(alloc::vec![0; 8 << 20]);
    muxer.feed(&frame_at(0, true));
    for picture in 1..40 {
        muxer.feed(&Frame { payload: large.clone(), ..frame_at(picture * 40, false) });
        let open: usize = muxer.open.iter().flat_map(|open| &open.parts).map(|part| part.bytes.len()).sum();
        assert!(muxer.frame_bytes + open <= SEGMENT_BYTES_MAX + (16 << 20));
    }
}

#[test]
fn a_playlist_of_large_segments_is_shorter_and_keeps_its_word() {
    let mut muxer = muxer(1, 20);
    let large = |millis, is_keyframe, bytes: usize| {
        let mut frame = frame_at(millis, is_keyframe);
        frame.payload = [&(bytes as u32).to_be_bytes()[..], &frame.payload[4..], &alloc::vec![0; bytes - 3]].concat().into();
        frame
    };
    for second in 0..30 {
        (0..4).for_each(|quarter| muxer.feed(&large(second * 1000 + quarter * 250, quarter == 0, 1 << 20)));
        let kept: usize = muxer.segments.iter().map(|segment| segment.bytes.len()).sum();
        assert!(kept <= PLAYLIST_BYTES_MAX, "{kept} bytes after {second} s");
    }
    let list = parsed(&muxer);
    assert_eq!(list.segments.len(), 5, "as many as have room");
    assert!(muxer.segments.len() > 6, "those that have left are served for a while");
    assert_keeps_its_word(&muxer);
    for second in 30..40 {
        (0..4).for_each(|quarter| muxer.feed(&large(second * 1000 + quarter * 250, quarter == 0, 4 << 20)));
    }
    let list = parsed(&muxer);
    assert_eq!(list.segments.len(), 3, "players need three");
    assert_keeps_its_word(&muxer);
}
