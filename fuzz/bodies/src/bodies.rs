//! What a publisher's bodies become: audio, video and data into frames, and those into what viewers and files get.

use crate::cursor::Cursor;
use crate::script::Peer;
use crate::served::Served;
use sightline_hls::Muxer;
use sightline_media::intake::Mend;
use sightline_media::{Instant, MediaTime, Track, WallTime};
use sightline_rtmp::server::{Event, shared};
use sightline_rtmp::{flv, player};

/// The chunk size of messages for players.
const CHUNK_SIZE: u32 = 128;

/// Messages: a byte for the type, two for the time, two for the length, the body.
pub fn run(data: &[u8]) {
    let mut served = Served::new(Instant::ZERO);
    let mut peer = Peer::new();
    peer.put_opening(0, 2);
    for instruction in [[0, 0, 0, 0], [1, 0, 0, 0], [2, 0, 0, 0], [13, 0, 3, 0]] {
        peer.step(&mut Cursor::new(&instruction));
    }
    served.feed(&peer.wire, || usize::MAX);
    assert!(served.session.is_publishing());
    served.events.clear();

    let mut cursor = Cursor::new(data);
    while !cursor.is_empty() && served.failed.is_none() {
        let (type_id, time, length) = (cursor.pick(&[9, 8, 18, 22, 15, 4]), cursor.u16(), usize::from(cursor.u16() % 2048));
        let body = cursor.take(length);
        let [time_high, time_low] = time.to_be_bytes();
        let [_, l1, l2, l3] = (body.len() as u32).to_be_bytes();
        let mut chunk = vec![6, 0, time_high, time_low, l1, l2, l3, type_id, 1, 0, 0, 0];
        chunk.extend_from_slice(body);
        served.feed(&chunk, || usize::MAX);
    }
    served.check_sent();
    pass_on(&served.events);
}

/// Serialises what came in every form, and reads one of them back.
fn pass_on(events: &[Event]) {
    let is_quirk = |event: &Event| matches!(event, Event::Quirk { .. } | Event::Unsupported { .. });
    let again = events.windows(2).find(|pair| pair[0] == pair[1] && is_quirk(&pair[0]));
    assert!(again.is_none(), "each is said once: {again:?}");
    let mut tracks: Vec<Track> = vec![];
    let mut muxer = Muxer::new(sightline_hls::Config::default(), sightline_hls::Run { first_sequence: 0, mark: 0 });
    let mut messages = Vec::new();
    let mut frames = Vec::new();
    for event in events {
        match event {
            // A track besides the first of its medium is passed on by no one yet.
            Event::Track(track) if track.id.is_default() => {
                assert!(tracks.iter().all(|known| known != &**track), "it is announced, and has not changed");
                assert!(!format!("{:?}", track.config.codec()).is_empty());
                tracks.retain(|known| known.id != track.id);
                tracks.push((**track).clone());
                let _ = muxer.set_tracks(&tracks);
                assert!(!flv::track_tag(track, MediaTime::ZERO).is_empty());
                messages.extend_from_slice(&shared::track_message(track, MediaTime::ZERO, CHUNK_SIZE));
            }
            Event::Frame(frame) if frame.track.is_default() => {
                let Some(codec) = tracks.iter().find(|track| track.id == frame.track).map(|track| track.config.codec()) else {
                    panic!("a frame of a track that was not announced")
                };
                let tag = flv::frame_tag(frame, codec);
                assert_eq!(flv::frame_parts(frame, codec).concat(), tag, "in parts it is the same tag");
                assert!(tag.len() > flv::TAG_HEADER_BYTES + 4 && tag.ends_with(&(tag.len() as u32 - 4).to_be_bytes()));
                muxer.push(frame, WallTime::from_unix_micros(0));
                messages.extend_from_slice(&shared::frame_message(frame, codec, CHUNK_SIZE));
                frames.push(frame);
            }
            Event::Metadata(metadata) => {
                assert!(!format!("{metadata:?}").is_empty());
                // But for what is no number.
                let _ = metadata.properties.iter().filter(|(_, value)| metadata.properties.iter().any(|(_, other)| other == value)).count();
                messages.extend_from_slice(&shared::metadata_message(metadata, MediaTime::ZERO, CHUNK_SIZE));
                assert!(flv::metadata_tag(metadata, MediaTime::ZERO).len() > flv::TAG_HEADER_BYTES);
            }
            _ => {}
        }
    }
    // Of one track each has a time of its own.
    assert!(frames.windows(2).all(|pair| pair[0] != pair[1] || pair[0].payload == pair[1].payload));
    assert!(muxer.playlist(false).is_none_or(|text| text.starts_with("#EXTM3U")));
    let mut player = player::Session::play("rtmp://h/live", "cam", 1);
    let mut peer = Peer::new();
    peer.put_opening(0, 2);
    player.handle_bytes(&peer.wire).expect("the handshake is good");
    player.handle_bytes(&messages).expect("a player reads what is made for players");
    let mut got = Vec::new();
    loop {
        match player.poll_output() {
            player::Output::Event(player::Event::Frame(frame)) => got.push(frame),
            player::Output::Event(_) | player::Output::Transmit(_) => {}
            player::Output::Idle => break,
        }
    }
    // Not whether it is a key frame: that may have been said in a message of its own.
    let essence = |frame: &sightline_media::Frame<bytes::Bytes>| (frame.track, frame.payload.clone());
    // A picture whose slices came apart is put together once more.
    if events.iter().any(|event| matches!(event, Event::Quirk { what } if *what == Mend::SlicesApart.name())) {
        return;
    }
    assert_eq!(got.iter().map(essence).collect::<Vec<_>>(), frames.into_iter().map(essence).collect::<Vec<_>>());
}
