//! MJPEG over HTTP: cameras that send JPEG pictures in one endless answer, as ESP32-CAM does at `http://HOST:81/stream`.

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT, WWW_AUTHENTICATE},
};
use hyper_util::rt::TokioIo;
use std::{convert::Infallible, time::Instant};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
    time::{Instant as Deadline, timeout, timeout_at},
};

use crate::{
    address::CameraUrl,
    multipart::Multipart,
    outlet::{CONNECT_TIMEOUT, FIRST_FRAME_TIMEOUT, Outlet, SILENCE_TIMEOUT, Trouble},
    secure,
};

/// Reads until the camera is lost, and says why.
pub(crate) async fn read(url: &CameraUrl, outlet: &mut Outlet) -> Trouble {
    // The connection's own task ends with it.
    let mut tasks = JoinSet::new();
    let answered = match timeout(CONNECT_TIMEOUT, ask(url, &mut tasks)).await {
        Ok(answered) => answered,
        Err(_) => Err(Trouble::passing(format!("it does not answer within {} s", CONNECT_TIMEOUT.as_secs()))),
    };
    let played = match answered {
        Ok(response) => play(url, response, outlet).await,
        Err(trouble) => Err(trouble),
    };
    match played {
        Ok(never) => match never {},
        Err(trouble) => trouble,
    }
}

async fn ask(url: &CameraUrl, tasks: &mut JoinSet<()>) -> Result<Response<Incoming>, Trouble> {
    let failed = |error: hyper::Error| Trouble::passing(url.scrub(&error.to_string()));
    let mut sender = if url.is_secure() {
        begin(secure::connect(url).await?, tasks).await.map_err(failed)?
    } else {
        let stream = TcpStream::connect(url.address()).await.map_err(|error| Trouble::passing(error.to_string()))?;
        begin(stream, tasks).await.map_err(failed)?
    };
    let response = sender.send_request(request(url)?).await.map_err(failed)?;
    match response.status() {
        StatusCode::OK => Ok(response),
        status => Err(refusal(url, status, &response)),
    }
}

async fn begin(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    tasks: &mut JoinSet<()>,
) -> hyper::Result<SendRequest<Empty<Bytes>>> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tasks.spawn(async move {
        // What ends the connection is seen in the body too.
        let _ = connection.await;
    });
    Ok(sender)
}

fn request(url: &CameraUrl) -> Result<Request<Empty<Bytes>>, Trouble> {
    let plain = url.for_request();
    let host = url.host();
    let authority = plain.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let target = plain.query().map_or_else(|| plain.path().to_owned(), |query| format!("{}?{query}", plain.path()));
    let mut request =
        Request::get(target).header(HOST, authority).header(USER_AGENT, "Sightline").header(ACCEPT, "multipart/x-mixed-replace");
    if let Some((user, password)) = url.credentials() {
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        if let Ok(mut value) = HeaderValue::from_str(&format!("Basic {encoded}")) {
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
    }
    request.body(Empty::new()).map_err(|error| Trouble::refusal(url.scrub(&error.to_string())))
}

fn refusal(url: &CameraUrl, status: StatusCode, response: &Response<Incoming>) -> Trouble {
    let asks_digest =
        response.headers().get_all(WWW_AUTHENTICATE).iter().all(|value| !value.as_bytes().to_ascii_lowercase().starts_with(b"basic"));
    let has_credentials = url.credentials().is_some();
    match status.as_u16() {
        401 if has_credentials && asks_digest => Trouble::refusal(
            "it wants another kind of authentication than basic (401), which is the one that is spoken by HTTP in this version: set the camera to basic, or take its RTSP stream",
        ),
        401 if has_credentials => Trouble::refusal("it refuses the user or the password (401): check both"),
        401 => Trouble::refusal("it asks for a user and a password (401): name both in the URL, as USER:PASSWORD@HOST"),
        403 => Trouble::refusal("it forbids this (403): check the user's rights in the camera"),
        404 => Trouble::refusal("there is no stream at this path (404): its manual names the path (ESP32-CAM: http://HOST:81/stream)"),
        300..=399 => Trouble::refusal(format!("it is elsewhere ({status}): name the URL of the stream itself")),
        _ => Trouble::passing(format!("it answers {status}")),
    }
}

async fn play(url: &CameraUrl, response: Response<Incoming>, outlet: &mut Outlet) -> Result<Infallible, Trouble> {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut multipart = Multipart::new(kind).map_err(|error| Trouble::refusal(error.to_string()))?;
    tracing::info!(camera = %url, "the camera answers");
    let mut body = response.into_body();
    let mut deadline = Deadline::now() + FIRST_FRAME_TIMEOUT;
    loop {
        let frame = timeout_at(deadline, body.frame()).await.map_err(|_| {
            let limit = if outlet.has_given() { SILENCE_TIMEOUT } else { FIRST_FRAME_TIMEOUT };
            Trouble::passing(format!("no picture within {} s", limit.as_secs()))
        })?;
        let frame = frame.ok_or_else(|| Trouble::passing("it ended the stream"))?;
        let frame = frame.map_err(|error| Trouble::passing(url.scrub(&error.to_string())))?;
        if let Ok(bytes) = frame.into_data() {
            multipart.feed(&bytes);
        }
        while let Some(part) = multipart.next().map_err(|error| Trouble::passing(error.to_string()))? {
            // Some cameras put other things between: only what begins as a JPEG picture is one.
            if part.starts_with(&[0xff, 0xd8]) {
                outlet.picture(part, Instant::now())?;
                deadline = Deadline::now() + SILENCE_TIMEOUT;
            }
        }
        if multipart.is_over() {
            return Err(Trouble::passing("it ended the stream"));
        }
    }
}
