//! MJPEG over HTTP: cameras that send JPEG pictures in one endless answer, as ESP32-CAM does at `http://HOST:81/stream`.

use base64::Engine as _;
use bytes::BytesMut;
use std::{convert::Infallible, time::Instant};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant as Deadline, timeout, timeout_at},
};

use crate::{
    address::CameraUrl,
    http_answer::Head,
    multipart::{Multipart, MultipartError},
    outlet::{CONNECT_TIMEOUT, FIRST_FRAME_TIMEOUT, Outlet, SILENCE_TIMEOUT, Trouble},
    secure,
};

/// Bytes that are read at once: a picture of a small camera.
const READ_BYTES: usize = 64 * 1024;

/// Reads until the camera is lost, and says why.
pub(crate) async fn read(url: &CameraUrl, outlet: &mut Outlet) -> Trouble {
    let answered = match timeout(CONNECT_TIMEOUT, ask(url)).await {
        Ok(answered) => answered,
        Err(_) => Err(Trouble::passing(format!("it does not answer within {} s", CONNECT_TIMEOUT.as_secs()))),
    };
    let played = match answered {
        Ok(answer) => play(url, answer, outlet).await,
        Err(trouble) => Err(trouble),
    };
    match played {
        Ok(never) => match never {},
        Err(trouble) => trouble,
    }
}

trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connection for T {}

/// An answer whose head was read.
struct Answer {
    connection: Box<dyn Connection>,
    head: Head,
    /// What came behind the head.
    buffer: BytesMut,
}

async fn ask(url: &CameraUrl) -> Result<Answer, Trouble> {
    let failed = |error: std::io::Error| Trouble::passing(url.scrub(&error.to_string()));
    let mut connection: Box<dyn Connection> = if url.is_secure() {
        Box::new(secure::connect(url).await?)
    } else {
        Box::new(TcpStream::connect(url.address()).await.map_err(failed)?)
    };
    connection.write_all(request(url).as_bytes()).await.map_err(failed)?;
    connection.flush().await.map_err(failed)?;
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    loop {
        if connection.read_buf(&mut buffer).await.map_err(failed)? == 0 {
            return Err(Trouble::passing("it hangs up without an answer"));
        }
        if let Some(head) = Head::take(&mut buffer).map_err(|error| Trouble::passing(error.to_string()))? {
            return match head.status {
                200..=299 => Ok(Answer { connection, head, buffer }),
                _ => Err(refusal(url, &head)),
            };
        }
    }
}

/// Holds the password, and goes to the camera alone.
fn request(url: &CameraUrl) -> String {
    let plain = url.for_request();
    let host = url.host();
    let authority = plain.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let target = plain.query().map_or_else(|| plain.path().to_owned(), |query| format!("{}?{query}", plain.path()));
    let authorization = url.credentials().map(|(user, password)| {
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        format!("Authorization: Basic {encoded}\r\n")
    });
    format!(
        "GET {target} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: Sightline\r\nAccept: multipart/x-mixed-replace, */*\r\nConnection: close\r\n{}\r\n",
        authorization.unwrap_or_default()
    )
}

fn refusal(url: &CameraUrl, head: &Head) -> Trouble {
    let has_credentials = url.credentials().is_some();
    match head.status {
        401 if has_credentials && head.refuses_basic => Trouble::refusal(
            "it wants another kind of authentication than basic (401), which is the one that is spoken by HTTP in this version: set the camera to basic, or take its RTSP stream",
        ),
        401 if has_credentials => Trouble::refusal("it refuses the user or the password (401): check both"),
        401 => Trouble::refusal("it asks for a user and a password (401): name both in the URL, as USER:PASSWORD@HOST"),
        403 => Trouble::refusal("it forbids this (403): check the user's rights in the camera"),
        404 => Trouble::refusal("there is no stream at this path (404): its manual names the path (ESP32-CAM: http://HOST:81/stream)"),
        status @ 300..=399 => Trouble::refusal(format!("it is elsewhere ({status}): name the URL of the stream itself")),
        status => Trouble::passing(format!("it answers {status}")),
    }
}

async fn play(url: &CameraUrl, answer: Answer, outlet: &mut Outlet) -> Result<Infallible, Trouble> {
    let Answer { mut connection, head, mut buffer } = answer;
    let unreadable = |error: MultipartError| match error.is_refusal() {
        true => Trouble::refusal(url.scrub(&error.to_string())),
        false => Trouble::passing(error.to_string()),
    };
    let mut multipart = Multipart::new(head.content_type.as_deref()).map_err(unreadable)?;
    let mut body = head.body();
    tracing::info!(camera = %url, "the camera answers");
    let mut deadline = Deadline::now() + FIRST_FRAME_TIMEOUT;
    let mut has_warned = false;
    loop {
        while let Some(piece) = body.take(&mut buffer).map_err(|error| Trouble::passing(error.to_string()))? {
            multipart.feed(&piece);
            // Before what follows, which may be the end of it all.
            while let Some(part) = multipart.next().map_err(unreadable)? {
                // Some cameras put other things between: only what begins as a JPEG picture is one.
                if part.starts_with(&[0xff, 0xd8]) {
                    outlet.picture(part, Instant::now())?;
                    deadline = Deadline::now() + SILENCE_TIMEOUT;
                }
            }
            if multipart.is_over() {
                break;
            }
        }
        if multipart.faults() > 0 && !std::mem::replace(&mut has_warned, true) {
            tracing::warn!(
                "the camera's pictures are not as long as it says, or not divided by the boundary that it names: found where they end"
            );
        }
        if multipart.is_over() || body.is_over() {
            return Err(Trouble::passing("it ended the stream"));
        }
        buffer.reserve(READ_BYTES);
        let read = timeout_at(deadline, connection.read_buf(&mut buffer)).await.map_err(|_| {
            let limit = if outlet.has_given() { SILENCE_TIMEOUT } else { FIRST_FRAME_TIMEOUT };
            Trouble::passing(format!("no picture within {} s", limit.as_secs()))
        })?;
        if read.map_err(|error| Trouble::passing(url.scrub(&error.to_string())))? == 0 {
            return Err(Trouble::passing("it ended the stream"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_the_host_and_ends_with_an_empty_line() {
        let of = |url: &str| request(&CameraUrl::parse(url, &["http"]).unwrap());
        let plain = of("http://camera/a%0d%0ab?x=1");
        assert!(plain.starts_with("GET /a%0d%0ab?x=1 HTTP/1.1\r\nHost: camera\r\n") && plain.ends_with("\r\n\r\n"), "{plain}");
        assert!(!plain.contains("Authorization"), "{plain}");
        assert!(of("http://a:b%3Ac@[::1]:81/").contains("\r\nHost: [::1]:81\r\n"));
        assert!(of("http://a:b%3Ac@[::1]:81/").contains("\r\nAuthorization: Basic YTpiOmM=\r\n"));
    }
}
