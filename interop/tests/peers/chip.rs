//! The camera's side on RV32IMAFC in QEMU, in Rust and by its C face: a real broker, real servers, one brain.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::{
    Stack,
    chip::{self, Board, Broker, Clip, Clock, DEVICE, HOST, recorded},
    media, nginx,
    process::{eventually, output},
};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Each test with a broker streams for so long.
const STREAM_SECS: u64 = 60;
/// The one without: nothing happens in it but the stream.
const C_STREAM_SECS: u64 = 15;
/// Of every way that was taken: what `docs/design/0004-memory-on-the-chip.md` says, and a sixth for other compilers.
const STACK_BYTES_MAX: u64 = 9 * 1024;
/// The C face has the pusher's settings on the stack while it makes one: its caller's, and its own.
const C_STACK_BYTES_MAX: u64 = 10 * 1024;

/// What came through is what was sent, byte for byte: the clip from a key frame on, over and over, without a gap. Gives the units.
fn assert_is_of(clip: &Clip, recording: &Path) -> usize {
    let units = recorded(recording);
    let first = units.first().unwrap_or_else(|| panic!("{} is empty", recording.display()));
    assert!(first.iter().any(|nal| nal[0] & 0x1f == 5), "{} begins without a key frame", recording.display());
    let from = clip.units.iter().position(|known| known == first);
    let from = from.unwrap_or_else(|| panic!("{}: its first unit was never sent", recording.display()));
    for (number, (unit, sent)) in units.iter().zip(clip.units.iter().cycle().skip(from)).enumerate() {
        assert!(unit == sent, "{}: unit {number} of {} is not what was sent after the one before it", recording.display(), units.len());
    }
    assert_eq!(media::decode(recording), units.len(), "every unit becomes a picture");
    units.len()
}

/// What nginx has written there.
fn recordings(dir: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "flv")).collect()
}

/// What may be lost with a connection: what its buffer holds and the server has not seen whole.
const LOST_WITH_A_LINK_MAX: usize = 30;

#[test]
fn a_chip_streams_to_nginx_and_survives_a_cut_of_the_link() {
    let dir = tempfile::tempdir().unwrap();
    let clip = Clip::make(dir.path(), "1920x1080", 30, 4000);
    let records = dir.path().join("nginx");
    std::fs::create_dir(&records).unwrap();
    let (_nginx, url) = nginx::start_keeping_all(&records);
    let server = format!("{}/", url.replace("127.0.0.1", HOST));
    // What a cloud answers for a server that was entered by hand: no token.
    let broker = Broker::start(
        dir.path(),
        move |request| json!({"success": true, "request_id": request["request_id"], "rtmp_url": server, "stream_key": "chip", "max_bitrate": 4_000_000}),
    );
    let settings = json!({"device": DEVICE, "quality": "ultra", "broker_port": broker.port, "seconds": STREAM_SECS, "is_always_on": true});
    let mut board = Board::start(chip::RUST, dir.path(), &clip, &settings, Clock::Host);
    board.wait_for("state: streaming", 1);
    std::thread::sleep(Duration::from_secs(STREAM_SECS / 3));
    board.set_link(false);
    std::thread::sleep(Duration::from_secs(8));
    board.set_link(true);
    board.wait_for("state: streaming", 2);
    let report = board.report(Duration::from_secs(STREAM_SECS + 60));
    println!("{report}");

    let asked = broker.heard.lock().unwrap().iter().filter(|(topic, _)| topic.ends_with("stream/request")).count();
    assert_eq!(asked, 1, "once, though it wished to ask before there was a broker, and keeps its server over the cut");
    let error = broker.find("stream/status", |event| event["event"] == "connection_error").unwrap();
    assert_eq!(error["error_code"], "SEND_TIMEOUT");
    let stopped =
        eventually("its last words", Duration::from_secs(10), || broker.find("stream/status", |event| event["event"] == "stream_stopped"));
    let recordings = recordings(&records);
    assert_eq!(recordings.len(), 2, "one before the cut, one after it: {recordings:?}");
    let kept: usize = recordings.iter().map(|recording| assert_is_of(&clip, recording)).sum();
    let sent = usize::try_from(stopped["final_metrics"]["total_frames_sent"].as_u64().unwrap()).unwrap();
    assert!((sent - LOST_WITH_A_LINK_MAX..=sent).contains(&kept) && kept > 1200, "{kept} of {stopped}");
    assert!(broker.find("online", |message| message["online"] == false).is_some(), "its will");
    assert!(report["arena_bytes"].as_u64().unwrap() <= 24 * 1024);
    assert!(report["stack_bytes"].as_u64().unwrap() <= STACK_BYTES_MAX);
}

#[test]
fn a_chip_obeys_commands_and_survives_the_death_of_the_origin() {
    let dir = tempfile::tempdir().unwrap();
    let clip = Clip::make(dir.path(), "1920x1080", 30, 4000);
    let mut stack = Stack::start();
    let _ = stack.add_device(DEVICE);
    let bearer = std::fs::read_to_string(stack.file(&format!("cloud/devices/{DEVICE}.token"))).unwrap();
    let ask = format!("http://{}/stream/request", stack.http);
    let spoils_token = Arc::new(AtomicBool::new(true));
    let is_spoiled = spoils_token.clone();
    // The cloud's own answer, by its other door.
    let broker = Broker::start(dir.path(), move |request| {
        let authorisation = format!("Authorization: Bearer {}", bearer.trim());
        let answer = output(
            Command::new("curl").args(["-s", "--max-time", "5", "-H", &authorisation, "-H", "Content-Type: application/json"]).args([
                "--data",
                &request.to_string(),
                &ask,
            ]),
        );
        let answer = String::from_utf8(answer).unwrap().replace("127.0.0.1", HOST);
        let mut answer = serde_json::from_str::<Value>(&answer).unwrap();
        if is_spoiled.load(Ordering::Relaxed) {
            answer["token"] = json!("forged");
        }
        answer
    });
    let settings = json!({"device": DEVICE, "quality": "ultra", "broker_port": broker.port, "seconds": STREAM_SECS, "is_always_on": false});
    let mut board = Board::start(chip::RUST, dir.path(), &clip, &settings, Clock::Host);
    board.wait_for("mqtt: connected", 1);
    assert!(board.process.log().matches("dial:").count() == 0, "nobody has asked for it");

    assert_eq!(broker.command("c0", json!({"cmd": "start"}))["success"], true);
    let refused = eventually("the origin's refusal", Duration::from_secs(20), || {
        broker.find("stream/status", |event| event["event"] == "connection_error")
    });
    assert_eq!(refused["error_code"], "STREAM_KEY_INVALID", "{refused}");
    assert_eq!(broker.command("c0-stop", json!({"cmd": "stop"}))["success"], true);
    spoils_token.store(false, Ordering::Relaxed);

    assert_eq!(broker.command("c1", json!({"cmd": "start"}))["success"], true);
    board.wait_for("state: streaming", 1);
    std::thread::sleep(Duration::from_secs(10));
    assert_eq!(broker.command("c2", json!({"cmd": "set_bitrate", "bitrate_bps": 1_500_000}))["success"], true);
    board.wait_for("bitrate_bps: 1500000", 1);
    assert_eq!(broker.command("c3", json!({"cmd": "set_bitrate", "bitrate_bps": 10}))["error_code"], "INVALID_QUALITY");
    assert_eq!(broker.command("c4", json!({"cmd": "set_bitrate", "bitrate_bps": 4_000_000}))["success"], true);

    stack.origin.kill();
    std::thread::sleep(Duration::from_secs(3));
    stack.restart_origin();
    board.wait_for("state: streaming", 2);
    std::thread::sleep(Duration::from_secs(8));

    assert_eq!(broker.command("c5", json!({"cmd": "stop"}))["success"], true);
    board.wait_for("state: idle", 2);
    assert_eq!(broker.command("c6", json!({"cmd": "start"}))["success"], true);
    board.wait_for("state: streaming", 3);
    let report = board.report(Duration::from_secs(STREAM_SECS + 60));
    println!("{report}");
    assert!(report["stack_bytes"].as_u64().unwrap() <= STACK_BYTES_MAX);

    // Origins close a recording a moment after its stream.
    std::thread::sleep(Duration::from_secs(2));
    let recordings = stack.recordings(DEVICE, "flv");
    assert!(recordings.len() >= 3, "one each: {recordings:?}");
    let units: usize = recordings.iter().map(|recording| assert_is_of(&clip, recording)).sum();
    let made = usize::try_from(report["frames"].as_u64().unwrap()).unwrap();
    assert!(units <= made && units > 600, "{units} of {made}");
}

#[test]
fn a_firmware_in_c_streams_by_the_chip_s_library_and_gets_each_buffer_back_once() {
    let dir = tempfile::tempdir().unwrap();
    let clip = Clip::make(dir.path(), "1920x1080", 30, 4000);
    let records = dir.path().join("nginx");
    std::fs::create_dir(&records).unwrap();
    let (_nginx, url) = nginx::start_keeping_all(&records);
    let settings = json!({"quality": "ultra", "server_url": url.replace("127.0.0.1", HOST), "stream_key": "c", "seconds": C_STREAM_SECS});
    let mut board = Board::start(chip::C, dir.path(), &clip, &settings, Clock::Host);
    let report = board.report(Duration::from_secs(C_STREAM_SECS + 60));
    println!("{report}");

    let number = |key: &str| report[key].as_u64().unwrap();
    assert_eq!((number("refused"), number("left_out"), number("returned_wrongly")), (0, 0, 0), "{report}");
    assert_eq!(number("returned"), number("frames"), "each lent buffer came back");
    let frames = usize::try_from(number("frames")).unwrap();
    assert!(frames > clip.units.len(), "the clip began anew, in buffers that were lent before: {report}");
    assert_eq!((number("streaming_states"), number("servers")), (1, 1), "one stream without a break: {report}");
    assert!(number("states") >= 4 && number("orders") >= 2 && number("metrics") >= C_STREAM_SECS / 2, "all that calls back has: {report}");
    let [recording]: [PathBuf; 1] = recordings(&records).try_into().unwrap();
    eventually("nginx has written all of it", Duration::from_secs(10), || (recorded(&recording).len() == frames).then_some(()));
    assert_eq!(assert_is_of(&clip, &recording), frames, "every unit that was lent has arrived");
    assert!(number("pusher_bytes") <= 24 * 1024 && number("stack_bytes") <= C_STACK_BYTES_MAX, "{report}");
}
