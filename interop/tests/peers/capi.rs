//! The C and C++ face of the pusher: its headers, its examples, and what they stream to a real server.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::{
    chip::{Broker, Clip, recorded},
    cross, media, nginx,
    process::{Process, eventually, output},
};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

/// What an example does wrong with memory ends it.
const SANITIZERS: [&str; 2] = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-Werror", "-pedantic"];

fn face() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../firmware/capi")
}

fn compiler(program: &str, standard: &str) -> Command {
    strict(Command::new(program), standard)
}

fn strict(mut command: Command, standard: &str) -> Command {
    command.arg(standard).args(WARNINGS);
    for dir in ["include", "posix", "examples"] {
        command.arg("-I").arg(face().join(dir));
    }
    command
}

/// The library for this host, built once.
fn library() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target-capi");
        let mut build = Command::new("cargo");
        // `cargo xtask test` has clippy there, for its own crates.
        build
            .args(["build", "--quiet", "--lib"])
            .current_dir(face())
            .env("CARGO_TARGET_DIR", &target)
            .env_remove("RUSTC_WORKSPACE_WRAPPER");
        output(&mut build);
        target.join("debug/libsightline.a")
    });
    built.clone()
}

/// Compiles an example and links it with the library and the POSIX platform.
fn build(dir: &Path, source: &str) -> PathBuf {
    let (object, program) = (dir.join("example.o"), dir.join(source.split('.').next().unwrap()));
    let (compile, standard) = if source.ends_with(".c") { ("gcc", "-std=c99") } else { ("g++", "-std=c++17") };
    let mut command = compiler(compile, standard);
    if compile == "g++" {
        command.args(["-fno-exceptions", "-fno-rtti"]);
    }
    output(command.args(SANITIZERS).arg("-c").arg(face().join("examples").join(source)).arg("-o").arg(&object));
    let platform = ["posix_platform.cpp", "posix_port.cpp"].map(|file| face().join("posix").join(file));
    output(
        compiler("g++", "-std=c++17").args(SANITIZERS).arg(&object).args(platform).arg(library()).arg("-pthread").arg("-o").arg(&program),
    );
    program
}

fn report(printed: &[u8]) -> Value {
    let printed = String::from_utf8_lossy(printed);
    serde_json::from_str(printed.lines().find_map(|line| line.strip_prefix("report: ")).unwrap()).unwrap()
}

/// Every unit of the clip is on nginx's disk, as it was, and a decoder takes it.
fn assert_recorded(clip: &Clip, recording: &Path) {
    let units = eventually("nginx has written all of it", Duration::from_secs(10), || {
        let units = recording.exists().then(|| recorded(recording))?;
        (units.len() == clip.units.len()).then_some(units)
    });
    assert!(units == clip.units, "what was recorded differs from what was pushed");
    assert_eq!(media::decode(recording), clip.units.len());
}

#[test]
fn the_c_header_is_c99_and_cpp17() {
    let header = face().join("include/sightline.h");
    for (program, standard, language) in [("gcc", "-std=c99", "c"), ("g++", "-std=c++17", "c++"), ("g++", "-std=c++11", "c++")] {
        output(compiler(program, standard).args(["-fsyntax-only", "-x", language]).arg(&header));
    }
}

#[test]
fn a_camera_in_c_lends_its_frames_and_gets_each_back_once() {
    let dir = tempfile::tempdir().unwrap();
    let clip = Clip::make(dir.path(), "640x360", 25, 800);
    let (_nginx, url) = nginx::start(dir.path());
    let camera = build(dir.path(), "camera.c");
    let report = report(&output(Command::new(camera).arg(dir.path().join("clip.bin")).arg(url).arg("from-c")));
    assert_eq!((report["refused"].as_u64(), report["released_twice"].as_u64()), (Some(0), Some(0)), "{report}");
    assert_eq!(report["released"], report["pushed"]);
    assert!(report["states"].as_u64() >= Some(4) && report["metrics"].as_u64() >= Some(5) && report["servers"] == 1, "{report}");
    assert_recorded(&clip, &dir.path().join("from-c.flv"));
}

#[test]
fn the_camera_in_c_streams_what_ffmpeg_makes_of_any_h264() {
    let dir = tempfile::tempdir().unwrap();
    let (mp4, annex_b) = (dir.path().join("clip.mp4"), dir.path().join("clip.h264"));
    media::make_clip_with(&mp4, 2, "320x240", 30, 0);
    output(Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(&mp4).args(["-c", "copy", "-an"]).arg(&annex_b));
    let (_nginx, url) = nginx::start(dir.path());
    let camera = build(dir.path(), "camera.c");
    let report = report(&output(Command::new(&camera).arg(&annex_b).args([&url, "annex-b", "30"])));
    assert_eq!((report["pushed"].as_u64(), report["refused"].as_u64()), (Some(60), Some(0)), "{report}");
    eventually("nginx has written all of it", Duration::from_secs(10), || {
        let file = dir.path().join("annex-b.flv");
        file.exists().then(|| media::packets(file.to_str().unwrap(), None).len()).filter(|packets| *packets == 60)
    });
    assert_eq!(media::decode(&dir.path().join("annex-b.flv")), 60);
    let refused = Command::new(&camera).arg(&mp4).args([&url, "mp4"]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is no H.264 in Annex B") && refused.status.code() == Some(2));
}

/// The specification's snippets, compiled as they are written, ask a cloud where to stream, and stream there.
fn stream_the_seed(source: &str, key: &'static str) -> (Value, String, Broker) {
    let dir = tempfile::tempdir().unwrap();
    let clip = Clip::make(dir.path(), "640x360", 25, 800);
    let (_nginx, url) = nginx::start(dir.path());
    let broker = Broker::start(
        dir.path(),
        move |request| json!({"success": true, "request_id": request["request_id"], "rtmp_url": format!("{url}/"), "stream_key": key, "server_name": "Live Server"}),
    );
    let program = build(dir.path(), source);
    let mut command = Command::new(program);
    command.env("CLIP", dir.path().join("clip.bin")).env("BROKER_PORT", broker.port.to_string());
    let mut application = Process::start("application", dir.path(), &mut command);
    let ended = application.wait(Duration::from_secs(60));
    let printed = application.log();
    assert!(ended.success(), "{ended}:\n{printed}");
    let report = report(printed.as_bytes());
    assert_eq!(report["pushed"].as_u64(), Some(clip.units.len() as u64), "{report}");
    assert_recorded(&clip, &dir.path().join(format!("{key}.flv")));
    (report, printed, broker)
}

#[test]
fn the_seed_s_stream_pusher_streams_and_calls_back() {
    let (report, printed, broker) = stream_the_seed("seed_2_pusher.cpp", "from-cpp");
    for line in
        ["Stream state: 1 - requesting", "Stream state: 2 - connecting", "Stream state: 3 - streaming", "Stream state: 5 - stopping"]
    {
        assert!(printed.contains(line), "{line} is missing:\n{printed}");
    }
    assert!(printed.contains("Connected to Live Server (rtmp://127.0.0.1:"), "{printed}");
    assert!(printed.matches(" frames sent").count() >= 5 && printed.contains("Is streaming: Yes"), "{printed}");
    assert!(report["bitrate_bps"].as_u64() <= Some(1_000_000) && report["waiting"] == 0, "{report}");
    let stopped = broker.find("stream/status", |event| event["event"] == "stream_stopped").unwrap();
    assert_eq!(stopped["final_metrics"]["total_frames_sent"], report["pushed"]);
}

#[test]
fn the_seed_s_video_recorder_streams_on_motion_and_records_all() {
    let (report, _, broker) = stream_the_seed("seed_1_recorder.cpp", "from-recorder");
    assert_eq!(report["recorded"], report["pushed"]);
    assert!(broker.find("stream/status", |event| event["event"] == "stream_started").is_some());
}

#[test]
fn a_firmware_in_c_links_with_the_chip_s_library() {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target-rv32/riscv32imafc-unknown-none-elf/release/libsightline.a");
    assert!(library.is_file(), "{} is missing: `cargo xtask bare-metal` first, as `cargo xtask test` does", library.display());
    let dir = tempfile::tempdir().unwrap();
    let (object, image) = (dir.path().join("firmware.o"), dir.path().join("firmware.elf"));
    let firmware = face().join("examples/firmware.c");
    output(strict(cross::freestanding_c(), "-std=c99").arg("-c").arg(&firmware).arg("-o").arg(&object));
    let header = face().join("include/sightline.h");
    output(strict(cross::freestanding_cpp(), "-std=c++17").args(["-fsyntax-only", "-x", "c++"]).arg(header));
    // The linker refuses another way to pass floats. What is missing then is the board's, and the C library's way out.
    output(cross::freestanding_c().args(["-nostdlib", "-r"]).arg(&object).arg(library).arg("-o").arg(&image));
    let symbols = String::from_utf8(output(Command::new("riscv64-unknown-elf-readelf").arg("-sW").arg(&image))).unwrap();
    let mut missing: Vec<&str> = symbols
        .lines()
        .filter(|line| line.contains(" UND "))
        .filter_map(|line| line.split_whitespace().nth(7))
        .filter(|name| !name.starts_with("board_"))
        .collect();
    missing.dedup();
    assert_eq!(missing, ["abort"], "everything else is in the library");
}

#[test]
fn the_seed_s_snippets_compile_for_the_chip() {
    let dir = tempfile::tempdir().unwrap();
    for source in ["seed_1_recorder.cpp", "seed_2_pusher.cpp"] {
        let object = dir.path().join("example.o");
        output(
            strict(cross::hosted_cpp(dir.path()), "-std=c++17").arg("-c").arg(face().join("examples").join(source)).arg("-o").arg(&object),
        );
        let header = output(Command::new("riscv64-unknown-elf-readelf").arg("-h").arg(&object));
        let header = String::from_utf8(header).unwrap();
        assert!(header.contains("ELF32") && header.contains("RVC, single-float ABI"), "{header}");
    }
}
