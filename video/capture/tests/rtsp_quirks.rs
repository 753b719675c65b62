//! RTSP cameras as people have them: each quirk that was reported of other systems, and its neighbours, against `Live`.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::dice::{self, Dice};
use interop::quirk_camera::{Answers, Clip, Marks, OptionsAnswer, QuirkCamera, Quirks, RtpInfo, Sequence, Sound, SoundSetup, Ssrc, Times};
use sightline_capture::{
    Source, SourceEvent, Transport,
    live::{Live, LiveSource},
    scene::Scene,
    v4l2::modes::Target,
};
use sightline_h264::{Encoder, Planes};
use sightline_media::{Frame, MediaTime, TrackConfig, TrackId, annexb::NalUnits};
use sightline_signal::Settings;
use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

/// Far beyond what any of it takes: only what stands still reaches it.
const LIMIT: Duration = Duration::from_secs(30);
/// Pictures of the clip, with a key frame every ten.
const CLIP_PICTURES: usize = 40;

const SETTINGS: Settings = Settings { width: 160, height: 96, fps: 50, bitrate_bps: 4_000_000 };

static CLIP: LazyLock<Clip> = LazyLock::new(|| clip(160, 96));

fn clip(width: usize, height: usize) -> Clip {
    let (mut scene, mut encoder) = (
        Scene::with_grain(width, height, "quirks"),
        Encoder::open(Settings { width: width as u32, height: height as u32, ..SETTINGS }, 0.2).unwrap(),
    );
    let mut units = Vec::new();
    for at in 0.. {
        let picture = scene.paint(at * 20);
        let planes = Planes { planes: picture.planes(), width, height };
        let coded = encoder.encode(planes, MediaTime::from_millis(at as i64 * 20)).unwrap();
        let unit: Vec<Vec<u8>> = NalUnits::new(coded).map(<[u8]>::to_vec).collect();
        if !unit.is_empty() {
            units.push(unit);
        }
        if units.len() == CLIP_PICTURES {
            break;
        }
    }
    Clip { units }
}

/// What a camera gave.
#[derive(Default)]
struct Seen {
    pictures: Vec<Vec<u8>>,
    /// Of each picture: decoding and presentation time, and the time by the wall, in milliseconds.
    times: Vec<[i64; 3]>,
    sound: Vec<Frame<bytes::Bytes>>,
    sample_rate_hz: Option<u32>,
    losses: Vec<String>,
}

/// Reads until there are so many pictures, and so many frames of sound.
fn watch(camera: &QuirkCamera, pictures: usize, sound: usize) -> Seen {
    watch_at(&camera.url(), if camera.is_udp() { Transport::Udp } else { Transport::Tcp }, pictures, sound)
}

fn watch_at(url: &str, transport: Transport, pictures: usize, sound: usize) -> Seen {
    // Only the camera with a nonce asks for them.
    let Source::Rtsp(url) = url.replace("://", "://user:word@").parse().unwrap() else { panic!("it is RTSP") };
    let begin = Instant::now();
    let live = Live::open(LiveSource::Rtsp(url, transport), Target { settings: SETTINGS, is_limit: false }, begin).unwrap();
    let mut seen = Seen::default();
    while seen.pictures.len() < pictures || seen.sound.len() < sound {
        assert!(begin.elapsed() < LIMIT, "{} pictures, {} of sound, {:?}", seen.pictures.len(), seen.sound.len(), seen.losses);
        match live.next(Duration::from_millis(100)).unwrap() {
            Some(SourceEvent::Frame(frame, at)) if frame.track == TrackId::VIDEO => {
                let wall = i64::try_from((at - begin).as_millis()).unwrap();
                seen.times.push([frame.dts.as_millis(), frame.pts.as_millis(), wall]);
                seen.pictures.push(frame.payload.to_vec());
            }
            Some(SourceEvent::Frame(frame, _)) => seen.sound.push(frame),
            Some(SourceEvent::Track(track)) => {
                if let TrackConfig::Aac(config) = track.config {
                    seen.sample_rate_hz = Some(config.sample_rate_hz());
                }
            }
            Some(SourceEvent::Lost { trouble, .. }) => seen.losses.push(trouble.to_string()),
            Some(other) => panic!("{other:?}"),
            None => {}
        }
    }
    seen
}

/// The clip's pictures as they go on: lengths of four bytes, without parameter sets.
fn expected() -> Vec<Vec<u8>> {
    expected_of(&CLIP)
}

fn expected_of(clip: &Clip) -> Vec<Vec<u8>> {
    let units = clip.units.iter().map(|unit| {
        let slices = unit.iter().filter(|nal| !matches!(nal[0] & 0x1f, 7 | 8));
        slices.flat_map(|nal| [&(nal.len() as u32).to_be_bytes(), nal.as_slice()].concat()).collect()
    });
    units.collect()
}

/// All pictures of two rounds come, in order, in one connection.
fn assert_all_pictures(quirks: Quirks) -> Seen {
    assert_all_pictures_of(&CLIP, quirks)
}

fn assert_all_pictures_of(clip: &Clip, quirks: Quirks) -> Seen {
    let camera = QuirkCamera::start(clip.clone(), quirks);
    let seen = watch(&camera, 2 * CLIP_PICTURES, 0);
    assert_eq!(seen.losses, [""; 0], "{quirks:?}");
    let expected = expected_of(clip);
    for (at, picture) in seen.pictures.iter().enumerate() {
        assert!(*picture == expected[at % CLIP_PICTURES], "{quirks:?}: picture {at} is not the camera's");
    }
    seen
}

/// langhuihui/monibuca#390, google/ExoPlayer#9614.
#[test]
fn sound_that_can_t_be_carried_leaves_the_pictures() {
    use Sound::{AacWithBrokenPackets, PcmaWithEmptyPackets, PcmaWithoutClock, Speex, WithoutMap};
    std::thread::scope(|scope| {
        for sound in [Speex, AacWithBrokenPackets, PcmaWithoutClock, WithoutMap, PcmaWithEmptyPackets] {
            scope.spawn(move || {
                let seen = assert_all_pictures(Quirks { sound, ..Quirks::default() });
                assert_eq!((seen.sound.len(), seen.sample_rate_hz), (0, None), "{sound:?} is not announced");
            });
        }
    });
}

/// google/ExoPlayer#9614: the camera has sound in its SDP and refuses to set it up.
#[test]
fn a_camera_that_refuses_its_sound_gives_its_pictures() {
    std::thread::scope(|scope| {
        for sound_setup in [SoundSetup::Refused(400), SoundSetup::Refused(454), SoundSetup::Refused(501), SoundSetup::SameChannel] {
            scope.spawn(move || assert_all_pictures(Quirks { sound: Sound::Aac, sound_setup, ..Quirks::default() }));
        }
    });
}

/// The same kind: where the connection does not survive it, the next one does without.
#[test]
fn a_camera_whose_sound_costs_the_connection_is_read_without_it() {
    let camera = QuirkCamera::start(CLIP.clone(), Quirks { sound: Sound::Pcma, sound_setup: SoundSetup::HangsUp, ..Quirks::default() });
    let seen = watch(&camera, CLIP_PICTURES, 0);
    assert_eq!((seen.losses.len(), seen.sound.len()), (1, 0), "{:?}", seen.losses);
}

#[test]
fn packets_of_the_sound_that_are_broken_leave_its_others() {
    let camera = QuirkCamera::start(CLIP.clone(), Quirks { sound: Sound::AacWithSomeBrokenPackets, ..Quirks::default() });
    let seen = watch(&camera, CLIP_PICTURES, CLIP_PICTURES / 2);
    assert_eq!((seen.losses.len(), seen.sample_rate_hz), (0, Some(16_000)));
}

#[test]
fn sound_is_found_before_the_pictures_and_among_others() {
    std::thread::scope(|scope| {
        for (sound, rate) in [(Sound::Aac, 16_000), (Sound::Pcma, 8_000)] {
            scope.spawn(move || {
                let seen = assert_all_pictures(Quirks { sound, has_sounds_around: true, ..Quirks::default() });
                assert_eq!((seen.sample_rate_hz, seen.sound.is_empty()), (Some(rate), false));
            });
        }
    });
}

/// langhuihui/monibuca#390.
#[test]
fn g711_goes_on_as_aac_of_the_same_length() {
    std::thread::scope(|scope| {
        for (sound, rate) in [(Sound::Pcmu, 8_000), (Sound::Pcma, 8_000), (Sound::Pcma16, 16_000)] {
            scope.spawn(move || {
                let camera = QuirkCamera::start(CLIP.clone(), Quirks { sound, ..Quirks::default() });
                let seen = watch(&camera, 30, 12);
                assert_eq!((seen.losses.len(), seen.sample_rate_hz), (0, Some(rate)), "{sound:?}");
                let took = seen.sound[11].dts - seen.sound[0].dts;
                let samples = took.ticks_90k * i64::from(rate) / 90_000;
                assert!((samples - 11 * 1_024).abs() < 1_024, "{sound:?}: eleven frames take {samples} samples");
                assert!(seen.sound.iter().all(|frame| frame.payload.len() > 4), "{sound:?}");
            });
        }
    });
}

/// bluenviron/gortsplib#687 (a new SSRC each group of pictures), catalinii/minisatip#658 (one unlike SETUP's).
#[test]
fn an_ssrc_that_changes_or_differs_costs_no_picture() {
    std::thread::scope(|scope| {
        for ssrc in [Ssrc::UnlikeSetup, Ssrc::NewEachKeyFrame, Ssrc::NewEachKeyFrameFromAnywhere, Ssrc::NewNowAndThen, Ssrc::NewEachPacket]
        {
            scope.spawn(move || assert_all_pictures(Quirks { ssrc, ..Quirks::default() }));
        }
    });
}

/// scottlamb/retina#79.
#[test]
fn what_rtp_info_says_costs_no_picture() {
    std::thread::scope(|scope| {
        for rtp_info in [RtpInfo::None, RtpInfo::WrongSeq, RtpInfo::WrongTime, RtpInfo::Nonsense] {
            for sound in [Sound::None, Sound::Aac] {
                scope.spawn(move || assert_all_pictures(Quirks { rtp_info, sound, ..Quirks::default() }));
            }
        }
    });
}

/// The same kind as scottlamb/retina#79: nothing is lost in TCP, whatever the numbers are.
#[test]
fn sequence_numbers_and_marks_cost_no_picture() {
    std::thread::scope(|scope| {
        for sequence in [Sequence::RestartsEachKeyFrame, Sequence::Twice, Sequence::LatePacket] {
            scope.spawn(move || assert_all_pictures(Quirks { sequence, ..Quirks::default() }));
        }
        for marks in [Marks::Never, Marks::Always] {
            scope.spawn(move || assert_all_pictures(Quirks { marks, ..Quirks::default() }));
        }
    });
}

/// The same kind: the encoder hands out slices, and whoever packs them takes each for a picture.
#[test]
fn slices_that_are_marked_each_are_one_picture() {
    let made = "-v error -f lavfi -i testsrc2=size=160x96:rate=50 -frames:v 40 -c:v libx264 -preset ultrafast -tune zerolatency \
                -x264-params slices=4:aud=1 -g 10 -f h264 -";
    let made = std::process::Command::new("ffmpeg").args(made.split_whitespace()).output().unwrap();
    let mut units: Vec<Vec<Vec<u8>>> = Vec::new();
    for nal in NalUnits::new(&made.stdout) {
        match nal[0] & 0x1f {
            9 => units.push(Vec::new()),
            6 => {}
            _ => units.last_mut().unwrap().push(nal.to_vec()),
        }
    }
    let clip = Clip { units };
    assert!(clip.units.len() == CLIP_PICTURES && clip.units.iter().all(|unit| unit.len() >= 4));
    std::thread::scope(|scope| {
        for marks in [Marks::Right, Marks::Never, Marks::Always] {
            let clip = &clip;
            scope.spawn(move || assert_all_pictures_of(clip, Quirks { marks, ..Quirks::default() }));
        }
    });
}

/// As /Streaming/Channels/101 and 102, subtype=0 and 1, stream1 and stream2 are.
#[test]
fn of_a_stream_at_each_of_two_addresses_the_one_nearest_to_the_preset_is_read() {
    let main = QuirkCamera::start(CLIP.clone(), Quirks::default());
    let sub = QuirkCamera::start(clip(80, 48), Quirks::default());
    let mut source: Source = main.url().replace("rtsp://", "rtsp://user:word@").parse().unwrap();
    source.second(&sub.url()).unwrap();
    assert!("test".parse::<Source>().unwrap().second(&sub.url()).is_err());
    let read = |size: Option<(u32, u32)>| {
        let Source::Rtsp(url) = source.clone() else { panic!("it is RTSP") };
        let (width, height) = size.unwrap_or((160, 96));
        let wanted = Target { settings: Settings { width, height, ..SETTINGS }, is_limit: size.is_some() };
        let live = Live::open(LiveSource::Rtsp(url, Transport::Tcp), wanted, Instant::now()).unwrap();
        loop {
            match live.next(LIMIT).unwrap() {
                Some(SourceEvent::Track(track)) if track.id == TrackId::VIDEO => return track.config.size().unwrap(),
                Some(SourceEvent::Lost { trouble, .. }) => panic!("{trouble}"),
                Some(_) => {}
                None => panic!("nothing came"),
            }
        }
    };
    assert_eq!([read(None), read(Some((80, 48))), read(Some((100, 60)))], [(160, 96), (80, 48), (160, 96)]);
    // One that is not there costs nothing.
    drop(sub);
    assert_eq!(read(Some((80, 48))), (160, 96));
}

/// Of the same reports, and its neighbours: what is described badly, or coded as no player has it, goes on as AAC.
#[test]
fn sound_that_is_described_badly_or_coded_otherwise_goes_on_as_aac() {
    use Sound::{AacWithBrokenConfig, AacWithoutConfig, AacWithoutFmtp, G722, G726, L16, Latm, Opus};
    std::thread::scope(|scope| {
        for (sound, rate_hz) in [
            (AacWithoutFmtp, 16_000),
            (AacWithoutConfig, 16_000),
            (AacWithBrokenConfig, 16_000),
            (Latm, 16_000),
            (L16, 16_000),
            (G726, 8_000),
            (G722, 16_000),
            (Opus, 48_000),
        ] {
            scope.spawn(move || {
                let camera = QuirkCamera::start(CLIP.clone(), Quirks { sound, ..Quirks::default() });
                let seen = watch(&camera, CLIP_PICTURES, 8);
                assert_eq!((seen.sample_rate_hz, &seen.losses[..]), (Some(rate_hz), &[][..]), "{sound:?}");
                // Its AAC comes faster than time goes, which the clock sets right later on.
                let times: Vec<i64> = seen.sound.iter().take(8).map(|frame| frame.dts.as_millis()).collect();
                let step = 1_024_000 / i64::from(rate_hz);
                assert!(times.windows(2).all(|pair| (pair[1] - pair[0] - step).abs() <= 2), "{sound:?}: {times:?}");
                let apart = times[0] - seen.times[0][0];
                assert!(apart.abs() < 1_000, "{sound:?} begins {apart} ms after the pictures");
            });
        }
    });
}

/// The first sixteen packets tell it from one that repeats a packet.
#[test]
fn a_camera_that_does_not_count_its_packets_is_read() {
    let camera = QuirkCamera::start(CLIP.clone(), Quirks { sequence: Sequence::AlwaysTheSame, ..Quirks::default() });
    let seen = watch(&camera, 2 * CLIP_PICTURES, 0);
    assert_eq!(seen.losses, [""; 0]);
    let expected = expected();
    let begin = (0..CLIP_PICTURES).find(|&at| expected[at] == seen.pictures[seen.pictures.len() - 1]).unwrap();
    let back = seen.pictures.iter().rev().enumerate();
    let same = back.take_while(|(at, picture)| **picture == expected[(begin + 3 * CLIP_PICTURES - at) % CLIP_PICTURES]).count();
    assert!(same > CLIP_PICTURES, "only the last {same} are the camera's");
}

/// The same kind: headers of RTP and RTSP beside what the specifications have, and data that nobody asked for.
#[test]
fn odd_headers_and_noise_cost_no_picture() {
    std::thread::scope(|scope| {
        let sound = Sound::Aac;
        for quirks in [
            Quirks { odd_headers: true, ..Quirks::default() },
            Quirks { lies_of_padding: true, ..Quirks::default() },
            Quirks { noise: true, sound, ..Quirks::default() },
            Quirks { long_headers: true, other_payload_type: true, ..Quirks::default() },
            Quirks { broken_packets: true, sound, ..Quirks::default() },
        ] {
            scope.spawn(move || assert_all_pictures(quirks));
        }
    });
}

/// scottlamb/retina#45.
#[test]
fn options_come_before_describe_and_are_no_condition() {
    let camera = QuirkCamera::start(CLIP.clone(), Quirks { needs_options: true, ..Quirks::default() });
    assert_eq!(watch(&camera, 10, 0).losses, [""; 0]);
    assert_eq!(camera.requests()[..4], ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"]);
    use OptionsAnswer::{HangsUp, HangsUpBehind, Refused, RefusedForGood, Right, Silence};
    std::thread::scope(|scope| {
        for options in [HangsUp, HangsUpBehind, Silence, Refused(401), Refused(405), Refused(501), RefusedForGood(400), Right] {
            scope.spawn(move || {
                let renews_nonce = options == Right;
                let quirks = Quirks { options, renews_nonce, ..Quirks::default() };
                let camera = QuirkCamera::start(CLIP.clone(), quirks);
                assert_eq!(watch(&camera, 10, 0).losses, [""; 0], "{quirks:?}");
            });
        }
    });
}

/// The quirks of a camera's packets, over UDP: nothing is lost on loopback.
/// Each connection of its own goes through TLS to the camera; the certificate is one that the camera has signed itself.
fn behind_tls(camera: &QuirkCamera) -> String {
    let signed = rcgen::generate_simple_self_signed(["camera".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![signed.cert.der().clone()], key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let behind = camera.url().trim_start_matches("rtsp://").trim_end_matches("/live").to_owned();
    let (told, port) = std::sync::mpsc::sync_channel(1);
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            told.send(listener.local_addr().unwrap().port()).unwrap();
            let mut tasks = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, behind) = (acceptor.clone(), behind.clone());
                tasks.spawn(async move {
                    let (Ok(mut stream), Ok(mut plain)) = tokio::join!(acceptor.accept(stream), tokio::net::TcpStream::connect(behind))
                    else {
                        return;
                    };
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut plain).await;
                });
            }
        });
    };
    std::thread::Builder::new().name("tls".into()).spawn(run).unwrap();
    format!("rtsps://127.0.0.1:{}/live", port.recv().unwrap())
}

/// scottlamb/retina#45, by RTSPS, where each try is a connection and a tunnel of its own.
#[test]
fn by_rtsps_options_come_before_describe_and_are_no_condition_either() {
    std::thread::scope(|scope| {
        use OptionsAnswer::{HangsUp, HangsUpBehind, Refused, RefusedForGood, Right};
        for (needs_options, options) in
            [(true, Right), (false, HangsUp), (false, HangsUpBehind), (false, Refused(501)), (false, RefusedForGood(405))]
        {
            scope.spawn(move || {
                let camera = QuirkCamera::start(CLIP.clone(), Quirks { needs_options, options, ..Quirks::default() });
                let seen = watch_at(&behind_tls(&camera), Transport::Tcp, CLIP_PICTURES, 0);
                assert_eq!((&seen.losses[..], &seen.pictures[..]), (&[][..], &expected()[..CLIP_PICTURES]), "{options:?}");
                assert_eq!(camera.requests()[0], "OPTIONS");
            });
        }
    });
}

#[test]
fn what_is_odd_over_tcp_costs_no_picture_over_udp() {
    std::thread::scope(|scope| {
        for quirks in [
            Quirks::default(),
            Quirks { marks: Marks::Always, ..Quirks::default() },
            Quirks { rtp_info: RtpInfo::WrongSeq, sound: Sound::Pcma, ..Quirks::default() },
            Quirks { ssrc: Ssrc::UnlikeSetup, long_headers: true, ..Quirks::default() },
            Quirks { hides_ports: true, sound: Sound::Pcma, ..Quirks::default() },
        ] {
            scope.spawn(move || assert_all_pictures(Quirks { is_udp: true, ..quirks }));
        }
    });
}

/// Someone else sends the same packets with other samples, each ahead of the camera's, from another address; and from the camera's, behind it.
#[test]
fn over_udp_no_packet_of_another_than_the_camera_is_taken_whether_it_names_its_ports_or_not() {
    std::thread::scope(|scope| {
        for hides_ports in [false, true] {
            let sources: &[_] = &[None, Some("127.0.0.1"), Some("0.0.0.0"), Some("camera.local"), Some("127.0.0.3")];
            for source in sources {
                let quirks =
                    Quirks { is_udp: true, hides_ports, source: *source, stranger: Some("127.0.0.2"), noise: true, ..Quirks::default() };
                scope.spawn(move || assert_all_pictures(quirks));
            }
        }
    });
}

/// Of the same kind: what is written otherwise than RFC 2326 has it.
#[test]
fn answers_that_are_written_oddly_are_read() {
    std::thread::scope(|scope| {
        use Answers::{BareLineFeeds, WithEmptyHeaders, WithWrongCseq, WithoutCseq, WithoutReason};
        for answers in [BareLineFeeds, WithoutCseq, WithWrongCseq, WithoutReason, WithEmptyHeaders] {
            scope.spawn(move || assert_all_pictures(Quirks { answers, ..Quirks::default() }));
        }
        for stray in [&b"\r\n"[..], b"\0\x01\xff", b"RTP ", b"OPTIONS"] {
            scope.spawn(move || assert_all_pictures(Quirks { stray, ..Quirks::default() }));
        }
    });
}

/// The session's timeout is two seconds: a keepalive goes out each second, in the way that OPTIONS offered.
#[test]
fn a_keepalive_without_its_answer_costs_no_picture() {
    std::thread::scope(|scope| {
        for quirks in [Quirks { ignores_keepalive: true, ..Quirks::default() }, Quirks { misnumbers_keepalive: true, ..Quirks::default() }]
        {
            scope.spawn(move || {
                let camera = QuirkCamera::start(CLIP.clone(), quirks);
                let seen = watch(&camera, 4 * CLIP_PICTURES, 0);
                assert_eq!(seen.losses, [""; 0], "{quirks:?}");
                assert!(camera.requests().iter().filter(|method| *method == "GET_PARAMETER").count() >= 2, "{:?}", camera.requests());
            });
        }
    });
}

/// A quarter of the packets is nonsense: the reader goes on, in this connection or the next, and pictures that decoding can start at come.
#[test]
fn whatever_the_packets_hold_the_reader_goes_on() {
    std::thread::scope(|scope| {
        for garbled in 1..=8 {
            let sound = if garbled % 2 == 0 { Sound::Aac } else { Sound::Pcmu };
            scope.spawn(move || {
                let camera = QuirkCamera::start(CLIP.clone(), Quirks { garbled, sound, noise: true, ..Quirks::default() });
                watch(&camera, 5, 2);
            });
        }
    });
}

/// Decoding times rise, and pictures are shown near the time by the wall.
fn assert_times(seen: &Seen, of: &dyn std::fmt::Debug) {
    assert!(seen.times.windows(2).all(|pair| pair[0][0] < pair[1][0]), "{of:?}: decoding times rise: {:?}", seen.times);
    for [dts, pts, wall] in &seen.times {
        assert!((pts - dts).abs() <= 100, "{of:?}: shown at {pts} ms, decoded at {dts} ms");
        assert!((pts - wall).abs() < 1_000, "{of:?}: {pts} ms where the wall has {wall} ms");
    }
}

/// gtxaspec/raptor#43, scottlamb/retina#64, AlexxIT/go2rtc#2398, open-nvr/open-nvr#229.
#[test]
fn whatever_the_times_are_media_time_is_near_the_wall_s() {
    std::thread::scope(|scope| {
        for times in [Times::Right, Times::StepBack, Times::StepAhead, Times::TenTimesTooFast, Times::HalfAsFast, Times::StandStill] {
            for sound in [Sound::None, Sound::Pcma] {
                scope.spawn(move || {
                    let seen = assert_all_pictures(Quirks { times, sound, ..Quirks::default() });
                    assert_times(&seen, &times);
                });
            }
        }
    });
}

/// Cameras of several quirks at once, in each test run; `SIGHTLINE_COMPOSITIONS` makes more.
const COMPOSITIONS: u64 = 12;
/// At one time.
const COMPOSITIONS_AT_ONCE: usize = 24;

#[test]
fn whatever_a_camera_has_of_all_that_at_once_no_picture_is_lost() {
    let (seed, count) = (dice::seed(), dice::number("SIGHTLINE_COMPOSITIONS").unwrap_or(COMPOSITIONS));
    let all: Vec<Quirks> = (0..count).map(|number| Quirks::composed(&mut Dice::of(seed, number))).collect();
    let mut failed = 0;
    for some in all.chunks(COMPOSITIONS_AT_ONCE) {
        std::thread::scope(|scope| {
            let running: Vec<_> =
                some.iter().map(|quirks| (quirks, scope.spawn(move || assert_times(&assert_all_pictures(*quirks), quirks)))).collect();
            for (quirks, one) in running {
                if one.join().is_err() {
                    failed += 1;
                    eprintln!("failed: {quirks:?}");
                }
            }
        });
    }
    assert_eq!(failed, 0, "of {count} cameras with the seed {seed}");
}
