//! HTTP cameras (MJPEG) as people have them: each quirk that was reported of other systems, and its neighbours, against `Live`.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::dice::{self, Dice};
use interop::quirk_mjpeg::{Head, Length, QuirkMjpeg, Quirks};
use sightline_capture::{
    Source, SourceEvent,
    live::{Live, LiveSource},
    v4l2::modes::Target,
};
use sightline_signal::Settings;
use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

/// Far beyond what any of it takes: only what stands still reaches it.
const LIMIT: Duration = Duration::from_secs(30);

/// Of very different lengths, so that one that is cut or joined shows.
static PICTURES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let pictures = (0..7_u16).map(|at| {
        let (width, height) = (32 + at * 64, 48);
        let pixels: Vec<u8> = (0..u32::from(width) * u32::from(height)).map(|pixel| (pixel * u32::from(at + 3)) as u8).collect();
        let mut jpeg = Vec::new();
        jpeg_encoder::Encoder::new(&mut jpeg, 85).encode(&pixels, width, height, jpeg_encoder::ColorType::Luma).unwrap();
        jpeg
    });
    pictures.collect()
});

/// Fourteen pictures in a row are the camera's, whole and one after the other.
fn assert_all_pictures(quirks: Quirks) {
    let camera = QuirkMjpeg::start(PICTURES.clone(), quirks);
    let Source::Mjpeg(url) = camera.url().parse().unwrap() else { panic!("it is MJPEG") };
    let target = Target { settings: Settings { width: 320, height: 240, fps: 10, bitrate_bps: 500_000 }, is_limit: false };
    let begin = Instant::now();
    let live = Live::open(LiveSource::Mjpeg(url), target, begin).unwrap();
    let mut pictures: Vec<Vec<u8>> = Vec::new();
    while pictures.len() < 14 {
        assert!(begin.elapsed() < LIMIT, "{quirks:?}: {} pictures", pictures.len());
        match live.next(Duration::from_millis(100)).unwrap() {
            Some(SourceEvent::Picture(jpeg, _)) => pictures.push(jpeg.to_vec()),
            Some(other) => panic!("{quirks:?}: {other:?}"),
            None => {}
        }
    }
    let first =
        PICTURES.iter().position(|picture| *picture == pictures[0]).unwrap_or_else(|| panic!("{quirks:?}: the first is none of its"));
    for (at, picture) in pictures.iter().enumerate() {
        assert!(*picture == PICTURES[(first + at) % PICTURES.len()], "{quirks:?}: picture {at} is not the next of the camera's");
    }
}

fn assert_all(all: impl IntoIterator<Item = Quirks>) {
    std::thread::scope(|scope| {
        for quirks in all {
            scope.spawn(move || assert_all_pictures(quirks));
        }
    });
}

fn with(head: Head) -> Quirks {
    Quirks { head, ..Quirks::default() }
}

/// AlexxIT/go2rtc#725.
#[test]
fn a_content_length_of_the_answer_costs_no_picture() {
    assert_all(["-1", "0", "100", "99999999999999999999", "x"].map(|length| with(Head::ContentLength(length))));
}

/// AlexxIT/go2rtc#545.
#[test]
fn the_boundary_is_the_body_s() {
    assert_all([Head::NoBoundary, Head::NoContentType, Head::BoundaryWithDashes, Head::BoundaryInQuotes, Head::OtherBoundary].map(with));
}

/// espressif/arduino-esp32#3597.
#[test]
fn an_answer_without_a_status_line_is_taken() {
    assert_all([Head::NoStatusLine, Head::NoHead, Head::Http09, Head::Icy, Head::BareLineFeeds].map(with));
}

#[test]
fn a_part_s_wrong_length_costs_no_picture() {
    let lengths = [
        Length::None,
        Length::Off(100),
        Length::Off(3),
        Length::Off(5_000),
        Length::Off(-1),
        Length::Off(-300),
        Length::Named("-1"),
        Length::Named("8000000"),
    ];
    assert_all(lengths.map(|length| Quirks { length, ..Quirks::default() }));
    // The same where the boundary has to be found first.
    assert_all([Length::None, Length::Off(100), Length::Off(-100)].map(|length| Quirks {
        length,
        head: Head::NoBoundary,
        ..Quirks::default()
    }));
}

#[test]
fn parts_of_text_and_chunks_are_passed_over() {
    assert_all([
        Quirks { has_text_between: true, ..Quirks::default() },
        Quirks { has_text_between: true, length: Length::Off(100), head: Head::NoBoundary, ..Quirks::default() },
        with(Head::Chunked),
        with(Head::ChunkedInNameOnly),
        Quirks { has_no_delimiters: true, head: Head::NoContentType, ..Quirks::default() },
    ]);
}

/// Cameras of several quirks at once, in each test run; `SIGHTLINE_COMPOSITIONS` makes more.
const COMPOSITIONS: u64 = 12;
/// At one time.
const COMPOSITIONS_AT_ONCE: u64 = 16;

#[test]
fn whatever_a_camera_has_of_all_that_at_once_no_picture_is_lost() {
    let (seed, count) = (dice::seed(), dice::number("SIGHTLINE_COMPOSITIONS").unwrap_or(COMPOSITIONS));
    for first in (0..count).step_by(usize::try_from(COMPOSITIONS_AT_ONCE).unwrap()) {
        assert_all((first..count.min(first + COMPOSITIONS_AT_ONCE)).map(|number| Quirks::composed(&mut Dice::of(seed, number))));
    }
}
