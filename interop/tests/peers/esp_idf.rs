//! The ESP-IDF component. What of it is plain sockets and stdio runs here; all of it is compiled against our own declarations of what it uses of ESP-IDF
//! (`firmware/esp-idf/signatures`). No chip and no ESP-IDF is here.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::{
    chip::{Broker, Clip, recorded},
    cross, media, nginx,
    process::{eventually, free_port, output},
};
use object::{
    Endianness,
    elf::{EF_RISCV_FLOAT_ABI_SINGLE, EM_RISCV},
    read::elf::{ElfFile32, FileHeader as _},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    thread,
    time::Duration,
};

fn firmware() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../firmware")
}

fn component() -> PathBuf {
    firmware().join("esp-idf/components/sightline")
}

/// The sources of a folder with this ending, by name.
fn sources(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = entries.filter(|path| path.extension().is_some_and(|found| found == ending)).collect();
    found.sort();
    assert!(!found.is_empty(), "{} has no *.{ending}", dir.display());
    found
}

/// A compiler of this host's with the component's headers and our declarations of ESP-IDF's, strict.
fn compiler(program: &str, standard: &str) -> Command {
    let mut command = Command::new(program);
    if program == "g++" {
        command.args(["-fno-exceptions", "-fno-rtti"]);
    }
    strict(&mut command, standard);
    command
}

fn strict(command: &mut Command, standard: &str) {
    command.args([standard, "-Wall", "-Wextra", "-Werror"]);
    for dir in
        ["esp-idf/components/sightline/include", "esp-idf/components/sightline/src", "esp-idf/signatures", "capi/include", "capi/examples"]
    {
        command.arg("-I").arg(firmware().join(dir));
    }
}

/// The library for this host, built once.
fn library() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target-capi");
        output(
            Command::new("cargo").args(["build", "--quiet", "--lib"]).current_dir(firmware().join("capi")).env("CARGO_TARGET_DIR", &target),
        );
        target.join("debug/libsightline.a")
    });
    built.clone()
}

/// Links what runs on a host: `parts` of the component, what they have of the chip, and the program `main`.
fn build(dir: &Path, main: &Path, parts: &[&str]) -> PathBuf {
    let program = dir.join(main.file_stem().unwrap());
    let parts = parts.iter().map(|part| component().join("src").join(part));
    output(
        compiler("g++", "-std=c++17")
            .args(["-fsanitize=address,undefined", "-fno-sanitize-recover=all"])
            .arg(main)
            .arg(firmware().join("esp-idf/tests/host.cpp"))
            .args(parts)
            .arg(library())
            .arg("-pthread")
            .arg("-o")
            .arg(&program),
    );
    program
}

fn test_program(name: &str) -> PathBuf {
    firmware().join("esp-idf/tests").join(name)
}

fn report(printed: &[u8]) -> Value {
    let printed = String::from_utf8_lossy(printed);
    serde_json::from_str(printed.lines().find_map(|line| line.strip_prefix("report: ")).unwrap()).unwrap()
}

#[test]
fn every_source_compiles_against_the_declared_signatures() {
    for source in sources(&component().join("src"), "cpp") {
        output(compiler("g++", "-std=c++17").arg("-fsyntax-only").arg(source));
    }
    for dir in [component().join("src"), firmware().join("esp-idf/examples/camera/main")] {
        for source in sources(&dir, "c") {
            output(compiler("gcc", "-std=gnu17").arg("-fsyntax-only").arg(source));
        }
    }
    for header in sources(&component().join("include"), "h") {
        output(compiler("gcc", "-std=c99").args(["-fsyntax-only", "-x", "c"]).arg(&header));
    }
}

#[test]
fn every_source_becomes_an_object_of_the_chip() {
    let dir = tempfile::tempdir().unwrap();
    let example = firmware().join("esp-idf/examples/camera/main");
    let all = [(component().join("src"), "cpp"), (component().join("src"), "c"), (example, "c")];
    for source in all.iter().flat_map(|(of, ending)| sources(of, ending)) {
        let is_cpp = source.extension().is_some_and(|ending| ending == "cpp");
        let mut command = if is_cpp { cross::hosted_cpp(dir.path()) } else { cross::hosted_c(dir.path()) };
        strict(&mut command, if is_cpp { "-std=c++17" } else { "-std=gnu17" });
        let object = dir.path().join(source.file_name().unwrap()).with_extension("o");
        output(command.arg("-c").arg(&source).arg("-o").arg(&object));
        // Of 32 bits, for RISC-V, with single floats in registers: what the library is, which it is linked with.
        let bytes = fs::read(&object).unwrap();
        let header = ElfFile32::<Endianness>::parse(&*bytes).unwrap();
        let (machine, flags) = (header.elf_header().e_machine(header.endian()), header.elf_header().e_flags(header.endian()));
        assert_eq!((machine, flags & EF_RISCV_FLOAT_ABI_SINGLE), (EM_RISCV, EF_RISCV_FLOAT_ABI_SINGLE), "{}", source.display());
    }
}

/// What a text has behind each `mark`, up to what is no part of a name.
fn names_behind(text: &str, mark: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    text.split(mark)
        .skip(1)
        .map(|rest| rest.chars().take_while(|&letter| is_part(letter)).collect::<String>())
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn cmake_kconfig_and_sources_name_the_same() {
    let cmake = fs::read_to_string(component().join("CMakeLists.txt")).unwrap();
    let is_there: BTreeSet<String> = ["c", "cpp"]
        .iter()
        .flat_map(|ending| sources(&component().join("src"), ending))
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    let is_built: BTreeSet<String> = cmake.split('"').filter_map(|part| part.strip_prefix("src/")).map(str::to_owned).collect();
    assert_eq!(is_built, is_there, "CMakeLists.txt builds what lies in src");

    let kconfig = fs::read_to_string(component().join("Kconfig")).unwrap();
    let example = firmware().join("esp-idf/examples/camera/main");
    let own_of_example = fs::read_to_string(example.join("Kconfig.projbuild")).unwrap();
    let mut has: BTreeSet<String> =
        names_behind(&kconfig, "config SIGHTLINE_").into_iter().map(|name| format!("SIGHTLINE_{name}")).collect();
    has.extend(names_behind(&own_of_example, "config EXAMPLE_").into_iter().map(|name| format!("EXAMPLE_{name}")));
    let mut used = BTreeSet::new();
    for dir in [component().join("src"), example] {
        for source in
            ["c", "cpp", "h", "hpp"].iter().flat_map(|ending| fs::read_dir(&dir).unwrap().map(move |entry| (ending, entry.unwrap().path())))
        {
            let (ending, path) = source;
            if path.extension().is_some_and(|found| found == *ending) {
                let text = fs::read_to_string(path).unwrap();
                used.extend(
                    names_behind(&text, "CONFIG_")
                        .into_iter()
                        .filter(|name| name.starts_with("SIGHTLINE_") || name.starts_with("EXAMPLE_")),
                );
            }
        }
    }
    let unknown: Vec<_> = used.difference(&has).collect();
    assert!(unknown.is_empty(), "no Kconfig has {unknown:?}");
    let declared = names_behind(&fs::read_to_string(firmware().join("esp-idf/signatures/sdkconfig.h")).unwrap(), "#define CONFIG_");
    let missing: Vec<_> = used.difference(&declared).collect();
    assert!(missing.is_empty(), "signatures/sdkconfig.h lacks {missing:?}");
}

#[test]
fn the_parts_that_decide_hold() {
    let dir = tempfile::tempdir().unwrap();
    let report = report(&output(&mut Command::new(build(dir.path(), &test_program("parts.cpp"), &[]))));
    assert_eq!(report["parts"], 5);
}

/// The port of the component under the specification's snippet, which asks a cloud where to stream, and streams there.
#[test]
fn the_component_s_network_streams_to_a_real_server() {
    let dir = tempfile::tempdir().unwrap();
    let clip = Clip::make(dir.path(), "1280x720", 25, 1500);
    let (_nginx, url) = nginx::start(dir.path());
    let broker = Broker::start(
        dir.path(),
        move |request| json!({"success": true, "request_id": request["request_id"], "rtmp_url": format!("{url}/"), "stream_key": "from-esp-idf", "server_name": "nginx"}),
    );
    let program = build(dir.path(), &firmware().join("capi/examples/seed_2_pusher.cpp"), &["network.cpp", "tcp.cpp"]);
    let mut command = Command::new(program);
    command.env("CLIP", dir.path().join("clip.bin")).env("BROKER_PORT", broker.port.to_string());
    let report = report(&output(&mut command));
    assert_eq!((report["pushed"].as_u64(), &report["waiting"]), (Some(clip.units.len() as u64), &json!(0)), "{report}");
    let recording = dir.path().join("from-esp-idf.flv");
    let units = eventually("nginx has written all of it", Duration::from_secs(10), || {
        let units = recording.exists().then(|| recorded(&recording))?;
        (units.len() == clip.units.len()).then_some(units)
    });
    assert!(units == clip.units, "what was recorded differs from what was pushed");
    assert_eq!(media::decode(&recording), clip.units.len());
}

#[test]
fn the_port_says_why_it_has_no_connection_and_loses_no_byte() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Reads up to the end mark, answers, and waits for the connection's end.
    let server = thread::Builder::new().name("server".into()).spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut all, mut part) = (Vec::new(), vec![0; 65_536]);
        while !all.ends_with(b"end") {
            let length = stream.read(&mut part).unwrap();
            assert!(length > 0, "it ended after {} bytes", all.len());
            all.extend(part.iter().take(length));
        }
        stream.write_all(b"all").unwrap();
        // An end or a reset: it is dropped either way.
        let _ = stream.read(&mut part);
        all
    });
    let server = server.unwrap();
    let program = build(dir.path(), &test_program("connect.cpp"), &["network.cpp", "tcp.cpp"]);
    let report = report(&output(Command::new(program).arg(free_port().to_string()).arg(port.to_string())));
    let all = server.join().unwrap();
    let expected = [b"0123456789".repeat(20), vec![b'x'; 3_000_000], b"end".to_vec()].concat();
    assert!(all == expected, "{} bytes came of {}", all.len(), expected.len());
    // As `SightlineSocketState` numbers them.
    let expected =
        json!({"before": 0, "no_name": 3, "nobody": 4, "no_tls": 5, "server": 2, "sent": expected.len(), "answer": "all", "closed": 0});
    assert_eq!(report, expected);
}

/// Records the clip in files of 3 s. What is free on the card, each time it is asked for. Gives the report, and what is on the card then.
fn record(clip_dir: &Path, card: &Path, free_bytes: &[u64]) -> (Value, Vec<String>) {
    let program = build(clip_dir, &test_program("record.cpp"), &["recorder.cpp", "flv_files.cpp"]);
    let mut command = Command::new(program);
    command.arg(clip_dir.join("clip.bin")).arg(card).arg("3").args(free_bytes.iter().map(u64::to_string));
    let report = report(&output(&mut command));
    let mut names: Vec<_> = fs::read_dir(card).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    (report, names)
}

#[test]
fn a_recording_on_the_card_is_whole_files_that_begin_with_a_key_frame() {
    let dir = tempfile::tempdir().unwrap();
    let (clip, card) = (Clip::make(dir.path(), "640x360", 25, 800), tempfile::tempdir().unwrap());
    let (report, _) = record(dir.path(), card.path(), &[]);
    let files: Vec<_> = sources(card.path(), "FLV").into_iter().map(|path| (path.clone(), recorded(&path))).collect();
    assert_eq!((report["units"].as_u64(), &report["keyframes"]), (Some(clip.units.len() as u64), &json!(5)));
    // A key frame each 2 s: files of 4, 4 and 2 s.
    assert_eq!(files.iter().map(|(_, units)| units.len()).collect::<Vec<_>>(), [100, 100, 50]);
    let all: Vec<_> = files.iter().flat_map(|(_, units)| units.clone()).collect();
    assert!(all == clip.units, "what was recorded differs from what was encoded");
    for (path, units) in &files {
        assert_eq!(media::decode(path), units.len(), "{}", path.display());
        let times = output(Command::new("ffprobe").args(["-v", "error", "-show_entries", "packet=dts_time", "-of", "csv=p=0"]).arg(path));
        let times: Vec<f64> = String::from_utf8(times).unwrap().lines().map(|line| line.trim_end_matches(',').parse().unwrap()).collect();
        assert_eq!(times, (0..units.len()).map(|unit| unit as f64 / 25.0).collect::<Vec<_>>(), "{}", path.display());
    }
    // A cut of the power inside a frame: all before it plays.
    let (path, units) = files.first().unwrap();
    let (cut, bytes) = (card.path().join("cut.flv"), fs::read(path).unwrap());
    fs::write(&cut, bytes.get(..bytes.len() - 100).unwrap()).unwrap();
    let frames = output(
        Command::new("ffprobe")
            .args([
                "-v",
                "quiet",
                "-fflags",
                "+discardcorrupt",
                "-count_frames",
                "-show_entries",
                "stream=nb_read_frames",
                "-of",
                "csv=p=0",
            ])
            .arg(&cut),
    );
    assert_eq!(String::from_utf8(frames).unwrap().trim_end_matches([',', '\n']), (units.len() - 1).to_string());
}

#[test]
fn the_oldest_recordings_go_where_the_card_is_full_and_numbers_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let (_clip, card) = (Clip::make(dir.path(), "320x180", 25, 300), tempfile::tempdir().unwrap());
    for (name, bytes) in [("00000007.FLV", "an old one"), ("00000009.FLV", "the one before"), ("NOTES.TXT", "not ours")] {
        fs::write(card.path().join(name), bytes).unwrap();
    }
    // Plenty, then too little once, then plenty.
    let (_, files) = record(dir.path(), card.path(), &[5000, 10, 5000]);
    assert_eq!(files, ["00000009.FLV", "00000010.FLV", "00000011.FLV", "00000012.FLV", "NOTES.TXT"]);
    // Too little for ever: the one that is being written stays.
    let (_, files) = record(dir.path(), card.path(), &[10]);
    assert_eq!(files, ["00000015.FLV", "NOTES.TXT"]);
}
