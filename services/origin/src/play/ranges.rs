//! Files that never change, whole, in part, or not again (RFC 9110 §13 and §14): caches ask for what they have, players and download tools for ranges.

use super::answers::{error, with_headers};
use axum::body::Body;
use axum::http::header::{ACCEPT_RANGES, CONTENT_RANGE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use std::ops::Range;

/// The file never has another content, so its name tells it from all others.
const IMMUTABLE: &str = "public, max-age=3600, immutable";

/// What of a file is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Wanted {
    All,
    Some(Range<usize>),
    /// It is behind the end.
    Nothing,
}

/// Answers for a file of this name. The name has no quotes.
pub(super) fn answer(method: &Method, asked: &HeaderMap, name: &str, kind: &'static str, bytes: Bytes) -> Response {
    let tag = format!("\"{name}\"");
    let is_tag = |value: &str| value.trim().trim_start_matches("W/") == tag;
    let text = |header| asked.get(header).and_then(|value| value.to_str().ok());
    let is_known = text(&IF_NONE_MATCH).is_some_and(|tags| tags.trim() == "*" || tags.split(',').any(is_tag));
    let is_same = text(&IF_RANGE).is_none_or(|value| value == tag);
    let range = text(&RANGE).filter(|_| method == Method::GET && is_same);
    let (length, wanted) = (bytes.len(), range.map_or(Wanted::All, |range| wanted(range, bytes.len())));
    let (mut response, range) = match wanted {
        _ if is_known => (with_headers(StatusCode::NOT_MODIFIED, kind, IMMUTABLE, Body::empty()), None),
        Wanted::All => (with_headers(StatusCode::OK, kind, IMMUTABLE, Body::from(bytes)), None),
        Wanted::Some(range) => {
            let part = Body::from(bytes.slice(range.clone()));
            let content = format!("bytes {}-{}/{length}", range.start, range.end - 1);
            (with_headers(StatusCode::PARTIAL_CONTENT, kind, IMMUTABLE, part), Some(content))
        }
        Wanted::Nothing => {
            let response = error(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_NOT_SATISFIABLE", "the file is shorter than that");
            (response, Some(format!("bytes */{length}")))
        }
    };
    let headers = response.headers_mut();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(ETAG, tag);
    }
    if let Some(range) = range.and_then(|range| HeaderValue::try_from(range).ok()) {
        headers.insert(CONTENT_RANGE, range);
    }
    response
}

/// One range of bytes. Whoever wants several, or counts in something else, gets it all, as the standard allows.
pub(super) fn wanted(range: &str, length: usize) -> Wanted {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else { return Wanted::All };
    let (first, last) = (first.trim(), last.trim());
    let number = |text: &str| text.parse::<usize>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    let range = match (number(first), number(last)) {
        (Some(first), None) if last.is_empty() => first..length,
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(length),
        (None, Some(count)) if first.is_empty() => length.saturating_sub(count)..length,
        _ => return Wanted::All,
    };
    if range.start < range.end { Wanted::Some(range) } else { Wanted::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_given_and_what_is_no_range_gets_it_all() {
        for (range, expected) in [
            ("bytes=0-", Wanted::Some(0..100)),
            ("bytes=0-0", Wanted::Some(0..1)),
            ("bytes=10-19", Wanted::Some(10..20)),
            ("bytes=90-1000", Wanted::Some(90..100)),
            ("bytes=-30", Wanted::Some(70..100)),
            ("bytes=-1000", Wanted::Some(0..100)),
            ("bytes=100-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=5-2", Wanted::All),
            ("bytes=0-1,4-5", Wanted::All),
            ("bytes=+1-2", Wanted::All),
            ("bytes=-", Wanted::All),
            ("bytes=99999999999999999999-", Wanted::All),
            ("items=0-1", Wanted::All),
        ] {
            assert_eq!(wanted(range, 100), expected, "{range}");
        }
    }

    #[test]
    fn who_has_a_file_gets_it_no_second_time_and_a_part_of_another_file_is_no_part() {
        let ask = |method: Method, headers: &[(&'static str, &'static str)]| {
            let asked = headers.iter().map(|(name, value)| ((*name).try_into().unwrap(), HeaderValue::from_static(value))).collect();
            let answer = answer(&method, &asked, "seg-1-a.m4s", "video/iso.segment", Bytes::from_static(b"0123456789"));
            (answer.status().as_u16(), answer.headers().get(CONTENT_RANGE).map(|range| range.to_str().unwrap().to_owned()))
        };
        assert_eq!(ask(Method::GET, &[("if-none-match", "\"x\", W/\"seg-1-a.m4s\"")]), (304, None));
        assert_eq!(ask(Method::GET, &[("if-none-match", "\"x\"")]), (200, None));
        assert_eq!(ask(Method::GET, &[("range", "bytes=2-4")]), (206, Some("bytes 2-4/10".into())));
        assert_eq!(ask(Method::GET, &[("range", "bytes=2-4"), ("if-range", "\"seg-1-a.m4s\"")]).0, 206);
        assert_eq!(ask(Method::GET, &[("range", "bytes=2-4"), ("if-range", "\"other\"")]), (200, None));
        assert_eq!(ask(Method::GET, &[("range", "bytes=20-")]), (416, Some("bytes */10".into())));
        assert_eq!(ask(Method::HEAD, &[("range", "bytes=2-4")]), (200, None));
    }
}
