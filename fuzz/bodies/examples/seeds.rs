//! Writes the seeds into `fuzz/corpus`, and, with the word `record`, what ffmpeg says when it publishes to a port given to it.

use sightline_media::Instant;
use sightline_rtmp::server::{Config, Event, Output, Session};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    for (number, (target, seed)) in fuzz_bodies::seeds::all().into_iter().enumerate() {
        write(&corpus.join(target), &format!("seed-{number:02}"), &seed)?;
    }
    if std::env::args().any(|word| word == "record") {
        let said = record(
            "-f lavfi -i testsrc2=size=64x48:rate=5 -f lavfi -i sine=sample_rate=8000 -t 1 -c:v libx264 -preset ultrafast -g 5 -c:a aac -b:a 8k -f flv",
        )?;
        write(&corpus.join("server"), "ffmpeg", &[&[0, 60][..], &said].concat())?;
        write(&corpus.join("chunks"), "ffmpeg", &[&[60][..], said.get(1 + 2 * 1536..).unwrap_or_default()].concat())?;
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
    let (mut socket, _) = listener.accept()?;
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
