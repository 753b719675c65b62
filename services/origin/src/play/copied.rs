//! A recorded file whose local one is gone, or a range of it: from the store, a piece at a time.

use super::answers::{error, with_headers};
use super::ranges::{Wanted, wanted};
use crate::copy::reader::CopyReader;
use crate::live::traffic::{Protocol, Traffic};
use axum::body::Body;
use axum::http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, IF_RANGE, RANGE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use futures_util::stream::StreamExt as _;
use std::io;
use std::sync::Arc;

const KIND: &str = "video/mp4";
/// As for files of the disk, which have rights, too.
const CACHE: &str = "private, no-cache";

/// Answers for a copy; `None`: the store has none of this name.
pub(super) async fn answer(copies: &CopyReader, key: &str, method: &Method, asked: &HeaderMap, traffic: Arc<Traffic>) -> Option<Response> {
    let unreadable =
        || error(StatusCode::SERVICE_UNAVAILABLE, "RECORDING_UNREADABLE", "the store can't be read; the origin's log says why");
    let length = match copies.bytes(key).await {
        Ok(length) => length?,
        Err(_) => return Some(unreadable()),
    };
    // No tag is given, so none is the same.
    let range = asked.get(RANGE).filter(|_| method == Method::GET && !asked.contains_key(IF_RANGE));
    let size = usize::try_from(length).unwrap_or(usize::MAX);
    let wanted = range.and_then(|range| range.to_str().ok()).map_or(Wanted::All, |range| wanted(range, size));
    let (status, range, content) = match wanted {
        Wanted::All => (StatusCode::OK, 0..length, None),
        Wanted::Some(range) => {
            let content = format!("bytes {}-{}/{length}", range.start, range.end - 1);
            (StatusCode::PARTIAL_CONTENT, range.start as u64..range.end as u64, Some(content))
        }
        Wanted::Nothing => {
            let mut response = error(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_NOT_SATISFIABLE", "the file is shorter than that");
            put(&mut response, CONTENT_RANGE, &format!("bytes */{length}"));
            return Some(response);
        }
    };
    let bytes = range.end - range.start;
    let body = if method == Method::HEAD || bytes == 0 {
        Body::empty()
    } else {
        match copies.stream(key, range).await {
            Ok(pieces) => Body::from_stream(pieces.inspect(move |piece| {
                piece.iter().for_each(|piece| traffic.send(Protocol::Vod, piece.len()));
            })),
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => return None,
            Err(_) => return Some(unreadable()),
        }
    };
    let mut response = with_headers(status, KIND, CACHE, body);
    put(&mut response, CONTENT_LENGTH, &bytes.to_string());
    put(&mut response, ACCEPT_RANGES, "bytes");
    content.iter().for_each(|content| put(&mut response, CONTENT_RANGE, content));
    Some(response)
}

fn put(response: &mut Response, header: axum::http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(header, value);
    }
}
