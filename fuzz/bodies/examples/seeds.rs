//! Writes the seeds into `fuzz/corpus`; with the word `files` what ffmpeg makes of a second of pictures, too, and with the word `record` what it
//! says when it publishes (7.0 or later: Enhanced RTMP).

use sightline_media::Instant;
use sightline_rtmp::server::{Config, Event, Output, Session};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

const PICTURES: &str = "-f lavfi -i testsrc2=size=64x64:rate=5 -f lavfi -i sine=sample_rate=8000 -t 1";
const SOUND: &str = "-c:a aac -b:a 8k";

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    for (number, (target, seed)) in fuzz_bodies::seeds::all().into_iter().enumerate() {
        write(&corpus.join(target), &format!("seed-{number:02}"), &seed)?;
    }
    if std::env::args().any(|word| word == "files") {
        files(&corpus)?;
    }
    if std::env::args().any(|word| word == "record") {
        for (name, codec) in [("h264", "libx264"), ("hevc", "libx265 -x265-params log-level=none"), ("av1", "libaom-av1 -cpu-used 8")] {
            let said = record(&format!("{PICTURES} -c:v {codec} -g 5 {SOUND} -f flv"))?;
            write(&corpus.join("server"), &format!("ffmpeg-{name}"), &[&[0, 60][..], &said].concat())?;
            write(&corpus.join("chunks"), &format!("ffmpeg-{name}"), &[&[60][..], said.get(1 + 2 * 1536..).unwrap_or_default()].concat())?;
        }
    }
    Ok(())
}

/// Files that ffmpeg makes, in ways that ours do not: progressive, with an edit list, with B-frames, and what it writes for us.
fn files(corpus: &Path) -> std::io::Result<()> {
    let small = "-f lavfi -i testsrc2=size=32x32:rate=5 -f lavfi -i sine=sample_rate=8000 -t 1.4";
    let h264 = "-c:v libx264 -g 4 -x264-params no-info=1 -c:a aac -b:a 8k";
    for (name, target, head, options) in [
        ("ffmpeg-mp4", "clip", 0, format!("{small} {h264} -bf 2 -f mp4")),
        ("ffmpeg-mp4-late", "clip", 0, format!("-itsoffset 0.5 {small} {h264} -movflags faststart -f mp4")),
        ("ffmpeg-mov", "clip", 0, format!("{small} {h264} -f mov")),
        ("ffmpeg-fragments", "clip", 0, format!("{small} {h264} -movflags frag_keyframe+default_base_moof -f mp4")),
        ("ffmpeg-fragments-old", "clip", 0, format!("{small} {h264} -movflags frag_keyframe+empty_moov -f mp4")),
        ("ffmpeg-flv", "clip", 0, format!("{small} {h264} -f flv")),
        ("ffmpeg-h264", "clip", 0, format!("{small} -map 0:v {h264} -bf 2 -f h264")),
        ("ffmpeg-hevc", "clip", 0, format!("{small} -c:v libx265 -x265-params log-level=none:info=0 -c:a aac -b:a 8k -f mp4")),
        ("ffmpeg-mkv", "matroska", 9, format!("{small} -vf scale=16:16 -c:v rawvideo -pix_fmt yuv420p -c:a aac -b:a 8k -f matroska")),
    ] {
        let file = std::env::temp_dir().join(format!("seed-{}-{name}", std::process::id()));
        let made = Command::new("ffmpeg").args(["-v", "error", "-y"]).args(options.split(' ')).arg(&file).stdin(Stdio::null()).status()?;
        if !made.success() {
            return Err(std::io::Error::other(format!("ffmpeg makes no {name}")));
        }
        write(&corpus.join(target), name, &[&[head][..], &std::fs::read(&file)?].concat())?;
        std::fs::remove_file(&file)?;
    }
    Ok(())
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    std::fs::write(dir.join(name), bytes)
}

/// All that ffmpeg sends, from its first byte to its last.
fn record(options: &str) -> std::io::Result<Vec<u8>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("rtmp://{}/live/cam", listener.local_addr()?);
    let mut child = Command::new("ffmpeg").args(["-v", "error"]).args(options.split(' ')).arg(url).stdin(Stdio::null()).spawn()?;
    listener.set_nonblocking(true)?;
    let mut socket = loop {
        match listener.accept() {
            Ok((socket, _)) => break socket,
            Err(_) if child.try_wait()?.is_none() => std::thread::sleep(std::time::Duration::from_millis(20)),
            Err(error) => return Err(std::io::Error::new(error.kind(), "ffmpeg ended before it connected")),
        }
    };
    socket.set_nonblocking(false)?;
    let mut session = Session::new(Config::default(), Instant::ZERO, 1);
    let (mut said, mut buffer) = (vec![], [0; 4096]);
    loop {
        let read = socket.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        said.extend_from_slice(bytes);
        session.handle_bytes(Instant::ZERO, bytes).map_err(std::io::Error::other)?;
        loop {
            match session.poll_output() {
                Output::Transmit(bytes) => socket.write_all(&bytes)?,
                Output::Event(Event::PublishRequested { .. }) => session.accept_publish(),
                Output::Event(_) => {}
                Output::Timeout(_) => break,
            }
        }
    }
    child.wait()?;
    Ok(said)
}
