//! `/vod/{device}/…`: what was recorded, as it was sent: a range as a playlist over the recorded files or as one MP4, a picture of a moment, and what there is.

use super::Play;
use super::answers::{NO_STORE, error, refused, with_headers};
use super::asker::Viewer;
use crate::auth::wish::Way;
use crate::copy::reader::CopyReader;
use crate::live::traffic::Protocol;
use crate::record::names::RecordedNames;
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::get;
use futures_util::stream::unfold;
use jiff::{SignedDuration, Timestamp};
use sightline_archive::{Clip, RecordingsError, Segment, SegmentError, Shelf, Unreadable, visit_on};
use sightline_h264::{Decoder, Still};
use sightline_listen::Rarely;
use sightline_media::{TrackId, avc};
use sightline_recording::{Playlist, gaps, name};
use sightline_signal::DeviceId;
use sightline_signal::report::{RecordedFile, RecordedGap, RecordedList, UnreadableFile};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tower::ServiceExt as _;
use tower_http::services::ServeFile;

const EMPTY: &str = "the range is empty: its end comes before its beginning";
/// Files of a list without a `limit`, and at the most: each is read for its index.
const LISTED_FILES: usize = 100;
const LISTED_FILES_MAX: usize = 1_000;
/// The longest range of a playlist and of a clip: 288 files are looked at for it.
const RANGE_MAX: SignedDuration = SignedDuration::from_hours(24);
/// A hole of more than this is told.
const GAP: SignedDuration = SignedDuration::from_secs(1);
/// Pieces of work at a time that wait for the disk: recordings are written by the same threads, and whoever watches the past must not cost the present.
const TURNS_MAX: usize = 8;
/// JPEG's quality.
const QUALITY: u8 = 85;
/// Whatever is not a picture of this moment comes from this far before it at most: key frames are no further apart.
const KEY_FRAME_AGE_MAX: SignedDuration = SignedDuration::from_secs(60);

/// Where recordings are, and who reads them.
pub(crate) struct Vod {
    pub(super) play: Arc<Play>,
    pub(super) dir: PathBuf,
    names: Arc<RecordedNames>,
    /// `None`: nothing is copied to a store.
    copies: Option<CopyReader>,
    turns: Arc<Semaphore>,
}

/// The routes under `/vod`.
pub(crate) fn router(vod: Arc<Vod>) -> Router {
    let routes = Router::new().route("/vod/{device}/{file}", get(file));
    routes.method_not_allowed_fallback(super::http::other_method).with_state(vod)
}

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Asked {
    Playlist(Timestamp, Timestamp),
    Clip(Timestamp, Timestamp),
    Still(Timestamp),
    /// A recorded file.
    File(String),
    /// What there is.
    List,
}

/// Which part of a list.
#[derive(serde::Deserialize)]
struct Range {
    from: Option<i64>,
    to: Option<i64>,
    limit: Option<usize>,
}

impl Asked {
    /// By a file's name; the words are what is wrong with it.
    fn of(file: &str) -> Result<Option<Self>, &'static str> {
        if file == "list" {
            return Ok(Some(Self::List));
        }
        if name::began(file).is_some() {
            return Ok(Some(Self::File(file.to_owned())));
        }
        let Some((stem, ending)) = file.rsplit_once('.') else { return Ok(None) };
        let at = |text: &str| text.parse().ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let wrong = "times are milliseconds since 1970: {from}-{to}.m3u8, {from}-{to}.mp4, {at}.jpg";
        if ending == "jpg" {
            return at(stem).map(|at| Some(Self::Still(at))).ok_or(wrong);
        }
        let make = match ending {
            "m3u8" => Self::Playlist,
            "mp4" => Self::Clip,
            _ => return Ok(None),
        };
        let (from, to) = stem.split_once('-').and_then(|(from, to)| Some((at(from)?, at(to)?))).ok_or(wrong)?;
        checked(from, to)?;
        Ok(Some(make(from, to)))
    }
}

fn checked(from: Timestamp, to: Timestamp) -> Result<(), &'static str> {
    if from >= to {
        return Err(EMPTY);
    }
    if to.duration_since(from) > RANGE_MAX {
        return Err("a range has at most 24 hours");
    }
    Ok(())
}

/// `/vod/{device}/{file}`.
async fn file(
    State(vod): State<Arc<Vod>>,
    Path((device, file)): Path<(String, String)>,
    range: Result<Query<Range>, QueryRejection>,
    viewer: Viewer,
    request: Request,
) -> Response {
    // Its directory's name: no other file of this machine has such a path.
    let Ok(device) = DeviceId::new(&device) else { return nothing() };
    let playback = vod.playback(&device).await;
    if let Err(refusal) = vod.play.viewing.ask(viewer.wish(&playback, Way::Vod)) {
        return refused(refusal);
    }
    let asked = match Asked::of(&file) {
        Ok(Some(asked)) => asked,
        Ok(None) => return nothing(),
        Err(problem) => return error(StatusCode::BAD_REQUEST, "BAD_REQUEST", problem),
    };
    let shelf = vod.shelf(&device);
    match asked {
        Asked::Playlist(from, to) => vod.playlist(shelf, from, to, viewer.token.as_deref()).await,
        Asked::Clip(from, to) => vod.clip(shelf, device.as_str(), from, to).await,
        Asked::Still(at) => vod.still(shelf, at).await,
        Asked::File(name) => vod.recorded(&format!("{device}/{name}"), request).await,
        Asked::List => match listed_range(range) {
            Ok((from, to, files_max)) => vod.list(shelf, from, to, files_max).await,
            Err(problem) => error(StatusCode::BAD_REQUEST, "BAD_REQUEST", problem),
        },
    }
}

/// Everything up to now where nothing else is asked for, the oldest files first.
fn listed_range(range: Result<Query<Range>, QueryRejection>) -> Result<(Timestamp, Timestamp, usize), &'static str> {
    let wrong = "from and to are milliseconds since 1970, limit a number from 1 to 1000";
    let Query(Range { from, to, limit }) = range.map_err(|_| wrong)?;
    let at = |ms: i64| Timestamp::from_millisecond(ms).map_err(|_| wrong);
    let (from, to) = (from.map_or(Ok(Timestamp::UNIX_EPOCH), at)?, to.map_or(Ok(Timestamp::now()), at)?);
    let limit = limit.unwrap_or(LISTED_FILES);
    if from >= to || !(1..=LISTED_FILES_MAX).contains(&limit) {
        return Err(if from >= to { EMPTY } else { wrong });
    }
    Ok((from, to, limit))
}

fn nothing() -> Response {
    error(StatusCode::NOT_FOUND, "NOT_FOUND", "nothing is recorded under this name")
}

/// Why there is no answer, in words for whoever asked: paths of this machine go to the log.
fn failed(problem: &RecordingsError) -> Response {
    match problem {
        RecordingsError::Nothing { .. } => {
            error(StatusCode::NOT_FOUND, "NOT_RECORDED", "nothing is recorded of this time; list says what is")
        }
        RecordingsError::Changes { at } => {
            let message = format!(
                "the picture's size or coding changes at {}: take the time before it and the time from it on apart, or the playlist",
                at.as_millisecond()
            );
            error(StatusCode::CONFLICT, "SIZE_CHANGES", &message)
        }
        RecordingsError::File { error: cause, .. } if cause.kind() == io::ErrorKind::NotFound => nothing(),
        RecordingsError::File { .. } | RecordingsError::Broken { .. } => {
            tracing::warn!(%problem, "a recording can't be read");
            error(StatusCode::SERVICE_UNAVAILABLE, "RECORDING_UNREADABLE", "the recording can't be read; the origin's log says why")
        }
    }
}

impl Vod {
    pub(crate) fn new(play: Arc<Play>, dir: PathBuf, names: Arc<RecordedNames>, copies: Option<CopyReader>) -> Self {
        Self { play, dir, names, copies, turns: Arc::new(Semaphore::new(TURNS_MAX)) }
    }

    /// Where a device's recordings are: in its directory, and in the store.
    pub(super) fn shelf(&self, device: &DeviceId) -> Shelf {
        let dir = self.dir.join(device.as_str());
        match &self.copies {
            Some(copies) => copies.shelf(dir, device.as_str()),
            None => Shelf::local(&dir),
        }
    }

    /// The playback id of a device's stream. A stranger learns of no device: those that are not there have one as well.
    pub(super) async fn playback(&self, device: &DeviceId) -> String {
        let (names, of) = (self.names.clone(), device.clone());
        let name = self.play.tasks.spawn_blocking(move || names.of(of.as_str())).await;
        self.play.hub.playback_of(name.as_deref().unwrap_or(device.as_str()))
    }

    /// A piece of work on a thread that may wait for the disk. It keeps its place when whoever wanted it has gone. `None`: it ended by a bug, or the origin ends.
    pub(super) async fn turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let place = self.turns.clone().acquire_owned().await.ok()?;
        let worked = self.play.tasks.spawn_blocking(move || {
            let done = work();
            drop(place);
            done
        });
        worked.await.ok()
    }

    /// The same, with its failure in words.
    async fn on_disk<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T, RecordingsError> + Send + 'static) -> Result<T, Response> {
        match self.turn(work).await {
            Some(done) => done.map_err(|problem| failed(&problem)),
            None => Err(error(
                StatusCode::SERVICE_UNAVAILABLE,
                "RECORDING_UNREADABLE",
                "reading the recording failed; the origin's log says why",
            )),
        }
    }

    async fn playlist(&self, shelf: Shelf, from: Timestamp, to: Timestamp, token: Option<&str>) -> Response {
        let text = self
            .on_disk(move || {
                let mut playlist = Playlist::new(from, to);
                let unreadable =
                    visit_on(&shelf, (from, to), usize::MAX, |segment, next| playlist.add(&name_of(&segment.path), &segment.index, next))?;
                passed_over(&unreadable);
                playlist.finish().ok_or(RecordingsError::Nothing { from, to })
            })
            .await;
        match text {
            Ok(text) => super::http::playlist(text, token),
            Err(response) => response,
        }
    }

    async fn clip(self: &Arc<Self>, shelf: Shelf, device: &str, from: Timestamp, to: Timestamp) -> Response {
        let clip = match self.on_disk(move || Clip::on(shelf, from, to)).await {
            Ok(clip) => clip,
            Err(response) => return response,
        };
        passed_over(clip.unreadable());
        let file = format!("{device}-{}.mp4", name::stem(sightline_media::WallTime::from_unix_micros(clip.start().as_microsecond())));
        // A fragment at a time, when the viewer's connection has room for it: no thread waits for a viewer.
        let body = Body::from_stream(unfold((self.clone(), Some(clip.into_reader())), async |(vod, reader)| {
            let mut reader = reader?;
            let work = move || {
                let piece = reader.next_piece();
                (reader, piece)
            };
            let (reader, piece) = vod.turn(work).await?;
            match piece.transpose()? {
                Ok(bytes) => {
                    vod.play.hub.traffic.send(Protocol::Vod, bytes.len());
                    Some((Ok(bytes), (vod, Some(reader))))
                }
                // The connection breaks off: a clip that ends too early is told from one that is whole.
                Err(problem) => {
                    tracing::warn!(%problem, "a recording can't be read to its end");
                    Some((Err(problem), (vod, None)))
                }
            }
        }));
        let mut response = with_headers(StatusCode::OK, "video/mp4", NO_STORE, body);
        if let Ok(value) = HeaderValue::from_str(&format!("inline; filename=\"{file}\"")) {
            response.headers_mut().insert(CONTENT_DISPOSITION, value);
        }
        response
    }

    /// A recorded file, or a range of its bytes. One that still grows is as long as it is just now.
    async fn recorded(&self, key: &str, request: Request) -> Response {
        let (path, method, asked) = (self.dir.join(key), request.method().clone(), request.headers().clone());
        let served = match ServeFile::new(path).oneshot(request).await {
            Ok(served) => served,
            Err(never) => match never {},
        };
        if served.status() == StatusCode::NOT_FOUND {
            let Some(copies) = &self.copies else { return nothing() };
            let traffic = self.play.hub.traffic.clone();
            return super::copied::answer(copies, key, &method, &asked, traffic).await.unwrap_or_else(nothing);
        }
        let (mut parts, body) = served.into_parts();
        parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("video/mp4"));
        parts.headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        Response::from_parts(parts, Body::new(body))
    }

    async fn still(&self, shelf: Shelf, at: Timestamp) -> Response {
        let jpeg = self
            .on_disk(move || {
                let to = at.saturating_add(SignedDuration::from_millis(1)).unwrap_or(Timestamp::MAX);
                let from = at.saturating_sub(KEY_FRAME_AGE_MAX).unwrap_or(Timestamp::MIN);
                let mut last = None;
                passed_over(&visit_on(&shelf, (from, to), usize::MAX, |segment, _| last = Some(segment))?);
                let last = last.ok_or(RecordingsError::Nothing { from, to: at })?;
                // What was over before that moment is no picture of it.
                if last.index.wall(last.index.length()) <= at {
                    return Err(RecordingsError::Nothing { from, to: at });
                }
                picture(&last, at).map_err(|problem| RecordingsError::Broken { path: last.path.clone(), problem })
            })
            .await;
        match jpeg {
            Ok(Some(jpeg)) => {
                self.play.hub.traffic.send(Protocol::Vod, jpeg.len());
                with_headers(StatusCode::OK, "image/jpeg", "private, max-age=3600", Body::from(jpeg))
            }
            Ok(None) => error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "NOT_DECODED", "stills are made of H.264 alone, from an IDR picture on"),
            Err(response) => response,
        }
    }

    async fn list(&self, shelf: Shelf, from: Timestamp, to: Timestamp, files_max: usize) -> Response {
        let listed = self
            .on_disk(move || {
                let (mut files, mut spans) = (Vec::new(), Vec::new());
                let unreadable = visit_on(&shelf, (from, to), files_max, |segment, _| {
                    let end = segment.index.wall(segment.index.length());
                    spans.push((segment.index.began, end));
                    files.push(recorded(&segment, end));
                })?;
                let holes = gaps(spans, GAP);
                let gaps = holes.iter().map(|gap| RecordedGap { from: gap.from.as_millisecond(), to: gap.to.as_millisecond() }).collect();
                passed_over(&unreadable);
                let told = |file: &Unreadable| UnreadableFile { name: name_of(&file.path), reason: file.problem.to_string() };
                Ok(RecordedList { files, gaps, unreadable: unreadable.iter().map(told).collect() })
            })
            .await;
        match listed.map(|listed| serde_json::to_string(&listed)) {
            Ok(Ok(body)) => with_headers(StatusCode::OK, "application/json", NO_STORE, Body::from(body)),
            Ok(Err(_)) => nothing(),
            Err(response) => response,
        }
    }
}

/// A file that can't be read costs the range its own time alone.
fn passed_over(unreadable: &[Unreadable]) {
    for file in unreadable {
        UNREADABLE
            .write(|others| tracing::warn!(%file, others, "a recording can't be read, or not wholly: the others are given without it"));
    }
}

/// Whoever scrubs asks for the same file again and again.
static UNREADABLE: Rarely = Rarely::new();

fn recorded(segment: &Segment, end: Timestamp) -> RecordedFile {
    let video = segment.index.tracks.iter().find(|track| track.id == TrackId::VIDEO);
    let (width, height) = video.and_then(|track| track.config.size()).unwrap_or_default();
    RecordedFile {
        name: name_of(&segment.path),
        from: segment.index.began.as_millisecond(),
        to: end.as_millisecond(),
        bytes: segment.index.bytes,
        width,
        height,
        codec: video.map_or("none", |track| track.config.codec().name()).to_owned(),
    }
}

fn name_of(file: &std::path::Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The picture that was on at a moment, as JPEG: decoded from the key frame before it on.
fn picture(segment: &Segment, at: Timestamp) -> Result<Option<Vec<u8>>, SegmentError> {
    let Some(avc) = segment.index.tracks.iter().find_map(|track| track.config.avc()) else { return Ok(None) };
    let until = at.saturating_add(SignedDuration::from_millis(1)).unwrap_or(Timestamp::MAX);
    let samples = segment.samples(at, until)?;
    let Ok(mut decoder) = Decoder::for_stream() else { return Ok(None) };
    let mut last = None;
    for sample in samples.iter().filter(|sample| sample.track == TrackId::VIDEO) {
        let frame = segment.read(sample)?;
        let sets = frame.is_keyframe.then_some(avc);
        if let Some(decoded) = decoder.decode_in_order(sets, &frame.payload, avc::LENGTH_BYTES) {
            last = Still::of(&decoded);
        }
    }
    Ok(last.and_then(|still| still.jpeg(QUALITY)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_is_asked_for_or_what_is_wrong_with_it() {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        assert_eq!(Asked::of("1000-2000.mp4"), Ok(Some(Asked::Clip(at(1_000), at(2_000)))));
        assert_eq!(Asked::of("1000-2000.m3u8"), Ok(Some(Asked::Playlist(at(1_000), at(2_000)))));
        assert_eq!(Asked::of("1500.jpg"), Ok(Some(Asked::Still(at(1_500)))));
        assert_eq!(Asked::of("list"), Ok(Some(Asked::List)));
        let recorded = "20251009T085320.123Z-17.mp4";
        assert_eq!(Asked::of(recorded), Ok(Some(Asked::File(recorded.to_owned()))));
        for nothing in ["", "x", "index.html", ".stream", "20251009T085320.123Z-17.flv"] {
            assert_eq!(Asked::of(nothing), Ok(None), "{nothing}");
        }
        for wrong in ["x-y.mp4", "1-.m3u8", "-5.mp4", "99999999999999999999-3.mp4", "x.jpg", "2000-1000.mp4", "0-86400001.m3u8"] {
            assert!(Asked::of(wrong).is_err(), "{wrong}");
        }
    }
}
