//! An HTTP camera (MJPEG) that departs from what it announces, as real ones do: each quirk is a switch.

use crate::dice::Dice;
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Between two pictures.
const PICTURE_INTERVAL: Duration = Duration::from_millis(20);

/// How the answer begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(missing_docs, reason = "each is what its name says")]
pub enum Head {
    #[default]
    Right,
    ContentLength(&'static str),
    NoBoundary,
    NoContentType,
    BoundaryWithDashes,
    BoundaryInQuotes,
    OtherBoundary,
    /// The headers begin at once.
    NoStatusLine,
    /// The body begins at once.
    NoHead,
    Http09,
    Icy,
    BareLineFeeds,
    Chunked,
    ChunkedInNameOnly,
}

/// The `Content-Length` of a part.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(missing_docs, reason = "each is what its name says")]
pub enum Length {
    #[default]
    Right,
    None,
    /// Off by so many bytes.
    Off(i64),
    Named(&'static str),
}

/// All that is odd about a camera. The default is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quirks {
    /// Its answer.
    pub head: Head,
    /// Its parts.
    pub length: Length,
    /// Between two pictures there is a part of text.
    pub has_text_between: bool,
    /// No delimiter at all: picture follows picture.
    pub has_no_delimiters: bool,
}

impl Quirks {
    /// A camera of several quirks at once.
    #[must_use]
    pub fn composed(dice: &mut Dice) -> Self {
        let heads = [
            Head::ContentLength("-1"),
            Head::ContentLength("100"),
            Head::ContentLength("x"),
            Head::NoBoundary,
            Head::NoContentType,
            Head::BoundaryWithDashes,
            Head::BoundaryInQuotes,
            Head::OtherBoundary,
            Head::NoStatusLine,
            Head::NoHead,
            Head::Http09,
            Head::Icy,
            Head::BareLineFeeds,
            Head::Chunked,
            Head::ChunkedInNameOnly,
        ];
        let off = i64::try_from(dice.roll(12_000)).unwrap_or(0) - 4_000;
        let lengths = [Length::None, Length::Off(off), Length::Named("-1"), Length::Named("8000000"), Length::Named("x")];
        let (head, length) = (dice.mostly(Head::Right, &heads), dice.mostly(Length::Right, &lengths));
        Self { head, length, has_text_between: dice.roll(3) == 0, has_no_delimiters: dice.roll(6) == 0 }
    }
}

/// A running camera. Dropped, it hangs up.
#[derive(Debug)]
pub struct QuirkMjpeg {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl QuirkMjpeg {
    /// Starts one, which sends the pictures round and round.
    ///
    /// # Panics
    /// If loopback has no port.
    #[must_use]
    pub fn start(pictures: Vec<Vec<u8>>, quirks: Quirks) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let serve = move || {
            for mut stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                // One at a time, as small cameras do.
                let _ = send(&mut stream, &pictures, quirks, &stopped);
            }
        };
        std::thread::Builder::new().name("quirk mjpeg".into()).spawn(serve).expect("the system has a thread");
        Self { address, stop }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/stream", self.address)
    }
}

impl Drop for QuirkMjpeg {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // So that the thread that accepts looks.
        let _ = TcpStream::connect(self.address);
    }
}

fn send(stream: &mut TcpStream, pictures: &[Vec<u8>], quirks: Quirks, stopped: &AtomicBool) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        request.extend(byte);
    }
    stream.write_all(head(quirks.head).as_bytes())?;
    for picture in pictures.iter().cycle() {
        if stopped.load(Ordering::Relaxed) {
            break;
        }
        let mut part = part(picture, quirks);
        if quirks.head == Head::BareLineFeeds && !quirks.has_no_delimiters {
            // Of the lines around the picture alone.
            let at = part.len() - picture.len() - 2;
            part = [String::from_utf8_lossy(&part[..at]).replace("\r\n", "\n").as_bytes(), picture, b"\n"].concat();
        }
        if quirks.head == Head::Chunked {
            let (a, b) = part.split_at(part.len() / 3);
            part = [a, b].iter().flat_map(|piece| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()).collect();
        }
        stream.write_all(&part)?;
        std::thread::sleep(PICTURE_INTERVAL);
    }
    Ok(())
}

fn head(head: Head) -> String {
    let typed = |kind: &str, more: &str| format!("HTTP/1.1 200 OK\r\nServer: quirks\r\n{more}Content-Type: {kind}\r\n\r\n");
    let right = "multipart/x-mixed-replace;boundary=frame";
    match head {
        Head::Right => typed(right, ""),
        Head::ContentLength(length) => typed(right, &format!("Content-Length: {length}\r\n")),
        Head::NoBoundary => typed("multipart/x-mixed-replace", ""),
        Head::NoContentType => "HTTP/1.0 200 OK\r\n\r\n".into(),
        Head::BoundaryWithDashes => typed("multipart/x-mixed-replace; boundary=--frame", ""),
        Head::BoundaryInQuotes => typed("multipart/x-mixed-replace; boundary=\"--frame\"", ""),
        Head::OtherBoundary => typed("multipart/x-mixed-replace; boundary=another", ""),
        Head::NoStatusLine => format!("Content-Type: {right}\r\nAccess-Control-Allow-Origin: *\r\n\r\n"),
        Head::NoHead => String::new(),
        Head::Http09 => format!("HTTP/0.9\r\nContent-Type: {right}\r\n\r\n"),
        Head::Icy => format!("ICY 200 OK\r\nContent-Type: {right}\r\n\r\n"),
        Head::BareLineFeeds => typed(right, "").replace("\r\n", "\n"),
        Head::Chunked | Head::ChunkedInNameOnly => typed(right, "Transfer-Encoding: chunked\r\n"),
    }
}

fn part(picture: &[u8], quirks: Quirks) -> Vec<u8> {
    if quirks.has_no_delimiters {
        return picture.to_vec();
    }
    let length = match quirks.length {
        Length::Right => format!("Content-Length: {}\r\n", picture.len()),
        Length::None => String::new(),
        Length::Off(by) => format!("Content-Length: {}\r\n", picture.len() as i64 + by),
        Length::Named(length) => format!("Content-Length: {length}\r\n"),
    };
    let text = if quirks.has_text_between { "--frame\r\nContent-Type: text/plain\r\n\r\n21.5 degrees\r\n" } else { "" };
    [format!("{text}--frame\r\nContent-Type: image/jpeg\r\n{length}\r\n").as_bytes(), picture, b"\r\n"].concat()
}
