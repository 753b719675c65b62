//! `GET /live/{playback}/frames`: decoded pictures, one after another, each as a part with its capture time.

use super::shown::{Form, Format, Shown};
use super::{FramesError, Reader};
use crate::auth::viewing::Admitted;
use crate::auth::wish::{PlayRefusal, Way};
use crate::callbacks::Verdict;
use crate::live::stream::{Stream, ViewerCount};
use crate::live::traffic::Protocol;
use crate::play::Play;
use crate::play::answers::{NO_STORE, error, missing, not_yet, refused, with_headers};
use crate::play::asker::Viewer;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::stream::unfold;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// Between the parts; no JPEG and no line of a header holds it.
const BOUNDARY: &str = "sightline-frame";
/// What the answer is.
const CONTENT_TYPE: &str = "multipart/x-mixed-replace; boundary=sightline-frame";
/// How long the first picture may take: the group of pictures of a camera that saves, within what clients wait for an answer.
const FIRST_PICTURE_WAIT: Duration = Duration::from_secs(10);
/// Pictures a second that may be asked for: one in a hundred seconds, and more than any camera makes.
const FPS: std::ops::RangeInclusive<f64> = 0.01..=120.0;
/// Widths that may be asked for, in pixels: from an icon to what OpenH264 decodes.
const WIDTH: std::ops::RangeInclusive<u16> = 16..=4096;

/// What may be asked for, as it is written.
#[derive(Default, serde::Deserialize)]
pub(in crate::play) struct Question {
    fps: Option<String>,
    width: Option<String>,
    format: Option<String>,
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Wanted {
    /// Between two pictures, in microseconds; 0: every picture.
    interval_micros: i64,
    form: Form,
}

impl Question {
    fn parse(&self) -> Result<Wanted, String> {
        let fps = match self.fps.as_deref() {
            None => None,
            Some(text) => match text.parse::<f64>() {
                Ok(fps) if FPS.contains(&fps) => Some(fps),
                Ok(_) | Err(_) => return Err(format!("fps is a number from {} to {}, not {}", FPS.start(), FPS.end(), quoted(text))),
            },
        };
        let width = match self.width.as_deref() {
            None => None,
            Some(text) => match text.parse::<u16>() {
                Ok(width) if WIDTH.contains(&width) => Some(width),
                Ok(_) | Err(_) => {
                    return Err(format!("width is a whole number from {} to {}, not {}", WIDTH.start(), WIDTH.end(), quoted(text)));
                }
            },
        };
        let format = match self.format.as_deref() {
            None | Some("jpeg") => Format::Jpeg,
            Some("raw") => Format::Raw,
            Some(text) => return Err(format!("format is jpeg or raw, not {}", quoted(text))),
        };
        #[expect(clippy::cast_possible_truncation, reason = "in its range it is 10^8 at most")]
        let interval_micros = fps.map_or(0, |fps| (1_000_000.0 / fps) as i64);
        Ok(Wanted { interval_micros, form: Form { width, format } })
    }
}

/// What a stranger wrote, no longer than a line.
fn quoted(text: &str) -> String {
    format!("{:?}", text.chars().take(32).collect::<String>())
}

/// `GET /live/{playback}/frames?fps=&width=&format=jpeg|raw`.
pub(in crate::play) async fn get(
    State(play): State<Arc<Play>>,
    Path(playback): Path<String>,
    question: Result<Query<Question>, QueryRejection>,
    viewer: Viewer,
) -> Response {
    let subject = viewer.subject(&playback);
    if play.callbacks.may_play(&subject, Way::Frames).await != Verdict::Allow {
        return refused(PlayRefusal::Callback);
    }
    let (stream, mut admitted) = match play.begin_or_wait(viewer.wish(&playback, Way::Frames)).await {
        Ok(playing) => playing,
        Err(why) => return missing(why, &viewer.asked),
    };
    let wanted = match question {
        Ok(Query(question)) => question.parse(),
        Err(_) => Err("fps, width and format may each be given once".to_owned()),
    };
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(problem) => return error(StatusCode::BAD_REQUEST, "BAD_REQUEST", &problem),
    };
    let mut reader = match Reader::join(&play, &stream, wanted.interval_micros) {
        Ok(reader) => reader,
        Err(problem) => return without_frames(problem),
    };
    let first = tokio::time::timeout(FIRST_PICTURE_WAIT, reader.next(wanted.interval_micros)).await;
    let Some(first) = first.ok().flatten() else {
        return not_yet("no picture of this stream could be decoded yet: OpenH264 begins at an IDR picture. Try again in a few seconds");
    };
    admitted.told = Some(play.callbacks.played(subject));
    let reading = Reading { _count: stream.count_viewer(Protocol::Frames), play, stream, reader, wanted, first: Some(first), admitted };
    let mut response = with_headers(StatusCode::OK, CONTENT_TYPE, NO_STORE, Body::from_stream(unfold(reading, Reading::next)));
    // nginx holds back what it proxies until a buffer is full of it, unless it is told not to.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

fn without_frames(problem: FramesError) -> Response {
    let (status, code) = match problem {
        FramesError::Readers(_) | FramesError::Decoders(_) => (StatusCode::SERVICE_UNAVAILABLE, "TOO_MANY_READERS"),
        FramesError::Codec => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "NOT_DECODED"),
        FramesError::NoPictures => (StatusCode::NOT_FOUND, "NO_PICTURE"),
    };
    error(status, code, &problem.to_string())
}

/// One who reads. It is asked for more when its connection has room, and gets the newest picture then.
struct Reading {
    play: Arc<Play>,
    stream: Arc<Stream>,
    reader: Reader,
    wanted: Wanted,
    first: Option<Arc<Shown>>,
    admitted: Admitted,
    _count: ViewerCount,
}

impl Reading {
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        loop {
            let shown = match self.first.take() {
                Some(first) => first,
                None => tokio::select! {
                    () = self.admitted.over.cancelled() => return None,
                    shown = self.reader.next(self.wanted.interval_micros) => shown?,
                },
            };
            let Some((picture, size)) = shown.form(self.wanted.form, &self.play.tasks).await else { continue };
            let bytes = part(&shown, self.wanted.form.format, &picture, size);
            self.stream.traffic.send(Protocol::Frames, bytes.len());
            return Some((Ok(bytes), self));
        }
    }
}

/// A picture with its headers. The boundary that ends it goes with it: a reader need not wait for the next picture to know.
fn part(shown: &Shown, format: Format, picture: &[u8], (width, height): (u16, u16)) -> Bytes {
    let (kind, pixels) = match format {
        Format::Jpeg => ("image/jpeg", String::new()),
        Format::Raw => ("application/octet-stream", format!("X-Pixel-Format: bgr24\r\nX-Stride: {}\r\n", usize::from(width) * 3)),
    };
    let headers = format!(
        "--{BOUNDARY}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nX-Capture-Time-Us: {}\r\nX-Capture-Clock: {}\r\nX-Frame: {}\r\nX-Width: {width}\r\nX-Height: {height}\r\n{pixels}\r\n",
        picture.len(),
        shown.captured.at.unix_micros,
        shown.captured.by.name(),
        shown.number,
    );
    let mut bytes = BytesMut::with_capacity(headers.len() + picture.len() + 2);
    for piece in [headers.as_bytes(), picture, b"\r\n"] {
        bytes.extend_from_slice(piece);
    }
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(fps: &str, width: &str, format: &str) -> Result<Wanted, String> {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Question { fps: some(fps), width: some(width), format: some(format) }.parse()
    }

    #[test]
    fn a_value_that_can_t_be_had_is_named_with_its_range() {
        for (question, words) in [
            (parse("0", "", ""), "fps is a number from 0.01 to 120, not \"0\""),
            (parse("NaN", "", ""), "fps is a number from 0.01 to 120, not \"NaN\""),
            (parse("5", "15", ""), "width is a whole number from 16 to 4096, not \"15\""),
            (parse("", "-1", ""), "width is a whole number from 16 to 4096, not \"-1\""),
            (parse("", "", "png"), "format is jpeg or raw, not \"png\""),
        ] {
            assert_eq!(question.unwrap_err(), words);
        }
        let wanted = parse("2.5", "320", "raw").unwrap();
        assert_eq!(wanted, Wanted { interval_micros: 400_000, form: Form { width: Some(320), format: Format::Raw } });
        assert_eq!(parse("", "", "").unwrap().interval_micros, 0);
    }
}
