//! `sightline demo` in real headless Chromium.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::{
    Demo,
    browser::{Browser, ENTER, Reading, TAB},
    camera,
    process::{eventually, free_port},
};
use std::{path::Path, process::Command, time::Duration};

/// How long the picture is watched. `SIGHTLINE_WATCH_SECS=60` gives the figure that the README states.
fn watch_secs() -> u64 {
    std::env::var("SIGHTLINE_WATCH_SECS").ok().and_then(|secs| secs.parse().ok()).unwrap_or(15)
}

fn first_picture(browser: &Browser) -> Reading {
    eventually("the page plays", Duration::from_secs(20), || browser.read().filter(|reading| reading.time > 0.0 && reading.decoded > 0))
}

#[test]
fn the_demo_plays_within_seconds_and_under_a_second_old() {
    let browser = Browser::start(1280, 800);
    let demo = Demo::start(&[]);
    browser.open(&format!("http://{}/", demo.http));
    let first = first_picture(&browser);
    let startup = demo.started_at.elapsed();
    // The player settles on the live edge.
    std::thread::sleep(Duration::from_secs(3));
    let mut ages = Vec::new();
    let (mut last, mut frames) = (first, Vec::new());
    for _ in 0..watch_secs() * 4 {
        std::thread::sleep(Duration::from_millis(250));
        let reading = browser.read().expect("the page has a video");
        assert!(reading.time >= last.time && reading.decoded >= last.decoded, "{last:?} then {reading:?}");
        ages.extend(reading.age_ms);
        frames.extend(reading.frame);
        last = reading;
    }
    assert!(last.time > first.time + watch_secs() as f64 * 0.9, "{first:?} then {last:?}");
    assert!(frames.windows(2).all(|pair| pair[1] >= pair[0]), "the picture never goes back: {frames:?}");
    ages.sort_by(f64::total_cmp);
    assert!(ages.len() as u64 > watch_secs() * 2, "the stamp can be read: {} of {}", ages.len(), watch_secs() * 4);
    let (median, worst) = (ages[ages.len() / 2], ages[ages.len() - 1]);
    println!(
        "first picture {:.1} s after the start; {} readings: median {median:.0} ms, worst {worst:.0} ms",
        startup.as_secs_f32(),
        ages.len()
    );
    assert!(median < 1000.0, "the median picture is {median} ms old");
    eventually("what players show is in the API", Duration::from_secs(20), || {
        let streams = interop::stack::streams(&demo.http).0;
        let stream = streams.first()?;
        (stream["captured_by"] == "camera" && stream["latency_kind"] == "end_to_end").then_some(())
    });
}

#[test]
fn the_console_shows_the_camera_on_a_desktop_and_on_a_phone() {
    let demo = Demo::start(&["--quality", "low"]);
    let _ = demo.playback();
    for (name, width, height) in [("desktop", 1440, 900), ("phone", 390, 844)] {
        let browser = Browser::start(width, height);
        browser.open(&format!("http://{}/", demo.http));
        eventually("the page names the camera", Duration::from_secs(15), || {
            browser.run("return document.body.innerText").as_str().is_some_and(|text| text.contains("cam-1")).then_some(())
        });
        assert_eq!(
            browser.run("return document.documentElement.scrollWidth <= window.innerWidth"),
            true,
            "{name}: the page fits its window"
        );
        if let Ok(dir) = std::env::var("SIGHTLINE_SCREENSHOTS") {
            std::thread::sleep(Duration::from_secs(4));
            browser.screenshot(&Path::new(&dir).join(format!("{name}.png")));
        }
        if name == "desktop" {
            the_keyboard_alone_reaches_everything(&browser, &demo);
        }
    }
}

/// What a mouse could click on and Tab has not come to, and what does not show that it has the focus.
const NOT_REACHED: &str = r#"
const can = 'a[href], button, input, select, textarea, summary, video[controls], [tabindex="0"]';
const isShown = (node) => node.checkVisibility() && !node.disabled;
const looksIt = [...document.body.querySelectorAll('*')].filter((node) => getComputedStyle(node).cursor === 'pointer' && !node.closest(can));
return [...document.querySelectorAll(can), ...looksIt].filter((node) => isShown(node) && !window.walked.has(node)).map((node) => node.outerHTML.slice(0, 80)).concat(window.unseen);
"#;
/// One step of the walk: false once the focus has left the page, or is where it was before.
const STEP: &str = r"
const now = document.activeElement;
if (now === document.body || window.walked.has(now)) return false;
window.walked.add(now);
if (getComputedStyle(now).outlineStyle === 'none') window.unseen.push('no outline: ' + now.outerHTML.slice(0, 80));
return true;
";
/// More than any page has.
const STEPS_MAX: usize = 80;

/// Tab by Tab over a page, until `stop` holds of the focused element or all was seen.
fn walk(browser: &Browser, stop: &str) {
    let _ = browser.run("window.walked = new Set(); window.unseen = [];");
    for _ in 0..STEPS_MAX {
        browser.press(TAB);
        if browser.run(STEP) != true || browser.run(&format!("const now = document.activeElement; return {stop}")) == true {
            return;
        }
    }
    panic!("the focus goes on for ever");
}

fn the_keyboard_alone_reaches_everything(browser: &Browser, demo: &Demo) {
    let shows = |what: &str, script: &str| {
        let until = std::time::Instant::now() + Duration::from_secs(20);
        while browser.run(&format!("return {script}")) != true {
            let page = || browser.run("return location.href + ' ' + document.body.innerText");
            assert!(std::time::Instant::now() < until, "{what}: {}", page());
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let open = |page: &str, ready: &str| {
        // Another address, so that each page is loaded anew.
        browser.open(&format!("http://{}/?{}#/{page}", demo.http, page.replace('/', "-")));
        shows(page, &format!("!!document.querySelector('{ready}')"));
    };
    for (page, ready) in [
        ("", ".grid a"),
        ("servers", ".server"),
        ("events", ".timeline"),
        ("camera/cam-1", ".camera-main:has(.stage.is-live):has(.day rect)"),
    ] {
        open(page, ready);
        walk(browser, "false");
        let missed = browser.run(NOT_REACHED);
        assert!(missed.as_array().is_some_and(Vec::is_empty), "page {page:?}: {missed}");
    }
    // It still shows that page: what was recorded of the day, a still of it, and playing from there.
    shows("a still", "document.querySelector('img.recorded').naturalWidth > 0");
    let _ = browser.run("document.querySelector('.recordings-at button').click()");
    shows("what was recorded plays", "document.querySelector('video.recorded').currentTime > 0.5");
    // And what has the focus can be used: from the list to a camera, to its stop, and to another language.
    open("", ".grid a");
    walk(browser, "!!now.closest('.grid')");
    browser.press(ENTER);
    shows("the camera's page", "location.hash.endsWith('cam-1') && !!document.querySelector('.stage.is-live')");
    walk(browser, "now.classList.contains('danger')");
    browser.press(ENTER);
    shows("the stream has ended", "!document.querySelector('.stage.is-live')");
    open("servers", ".server");
    walk(browser, "!!now.closest('header') && now.tagName === 'BUTTON'");
    browser.press(" ");
    shows("the other language", "document.documentElement.lang === 'zh-CN'");
}

/// A page of someone else: the player as an element, and in a frame.
const FOREIGN_PAGE: &str = r#"<!doctype html><title>x</title><body style="margin:0">
<script type="module" src="http://SERVER/js/embed.js"></script>
<sightline-player playback="PLAYBACK"></sightline-player>
<iframe src="http://SERVER/player.html?id=PLAYBACK" width="400" height="225" allow="autoplay; fullscreen"></iframe>
<script>addEventListener('snapshot', (event) => window.saved = event.detail); addEventListener('message', () => {});</script>"#;

#[test]
fn the_player_plays_in_a_page_of_someone_else_as_an_element_and_in_a_frame_and_obeys_the_keyboard() {
    let demo = Demo::start(&["--quality", "low"]);
    let dir = tempfile::TempDir::new().unwrap();
    let page = FOREIGN_PAGE.replace("SERVER", &demo.http).replace("PLAYBACK", &demo.playback());
    std::fs::write(dir.path().join("index.html"), page).unwrap();
    let port = free_port();
    let mut server = Command::new("python3");
    server.args(["-m", "http.server", &port.to_string(), "--bind", "127.0.0.1", "--directory"]).arg(dir.path());
    let _server = interop::Process::start("pages", dir.path(), &mut server);
    eventually("the page is served", Duration::from_secs(10), || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    let browser = Browser::start(1280, 800);
    browser.open(&format!("http://127.0.0.1:{port}/"));
    let video = "document.querySelector('sightline-player').shadowRoot.querySelector('video')";
    let holds = |what: &str, script: &str| {
        eventually(what, Duration::from_secs(30), || (browser.run(&format!("return {script}")) == true).then_some(()));
    };
    holds("the element plays", &format!("{video}.currentTime > 0.5 && {video}.videoWidth > 0"));
    holds("the element knows how old its picture is", "document.querySelector('sightline-player').age?.by === 'camera'");
    holds("and the viewer sees it", &format!("{video}.closest('.stage').querySelector('.stage-via').textContent.endsWith(' old')"));
    let _ = browser.run(&format!("{video}.closest('.stage').focus()"));
    browser.press("+");
    holds("it is enlarged", &format!("{video}.style.transform.includes('scale(1.25)')"));
    browser.press("0");
    holds("it is whole again", &format!("{video}.style.transform === ''"));
    browser.press("m");
    holds("it sounds", &format!("!{video}.muted"));
    browser.press("s");
    holds("a picture is saved, in its own size", &format!("window.saved && window.saved.width === {video}.videoWidth"));
    // Of another server's page in a frame a script sees nothing: that it has a viewer is seen at the server.
    let _ = browser.run("document.querySelector('sightline-player').remove()");
    eventually("the frame plays, and the element that was removed does not", Duration::from_secs(30), || {
        let streams = interop::stack::streams(&demo.http).0;
        (streams.first()?["viewers"] == 1).then_some(())
    });
}

#[test]
fn a_recording_of_a_real_camera_goes_through_ffmpeg_and_our_encoder() {
    // A fixed pedestrian camera, MPEG-4 Part 2 in AVI, from Debian's opencv-doc; some builds of the package compress it.
    let packed = Path::new("/usr/share/doc/opencv-doc/examples/data/vtest.avi");
    let dir = tempfile::TempDir::new().unwrap();
    let clip = dir.path().join("vtest.avi");
    if packed.exists() {
        std::fs::copy(packed, &clip).unwrap();
    } else {
        let packed = packed.with_extension("avi.gz");
        std::fs::write(&clip, interop::process::output(Command::new("gzip").arg("-dc").arg(packed))).unwrap();
    }
    let demo = Demo::start(&["--source", clip.to_str().unwrap()]);
    let browser = Browser::start(1280, 800);
    browser.open(&format!("http://{}/player.html?playback={}", demo.http, demo.playback()));
    let first = first_picture(&browser);
    std::thread::sleep(Duration::from_secs(5));
    let later = browser.read().unwrap();
    assert!(later.time > first.time + 3.0 && later.decoded > first.decoded + 20, "{first:?} then {later:?}");
    assert_eq!(browser.run("return document.querySelector('video').videoWidth"), 768);
    drop(demo);
    h265_plays_where_this_build_decodes_it_and_says_why_where_it_does_not(&browser, dir.path());
}

fn h265_plays_where_this_build_decodes_it_and_says_why_where_it_does_not(browser: &Browser, dir: &Path) {
    let port = free_port();
    let launch = "( videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=10/1 ! x265enc tune=zerolatency \
                  key-int-max=10 ! rtph265pay name=pay0 pt=96 )";
    let _camera = camera::rtsp(dir, port, launch, None);
    let demo = Demo::start(&["--source", &format!("rtsp://127.0.0.1:{port}{}", camera::RTSP_PATH)]);
    browser.open(&format!("http://{}/player.html?playback={}", demo.http, demo.playback()));
    let can = browser.run("return MediaSource.isTypeSupported('video/mp4; codecs=\"hvc1.1.6.L60.90\"')");
    let said = eventually("a picture or a reason", Duration::from_secs(30), || {
        let plays = browser.read().is_some_and(|reading| reading.time > 0.0 && reading.decoded > 0);
        let text = browser.run("return document.getElementById('status').innerText");
        match text.as_str() {
            _ if plays => Some("plays"),
            Some(text) if text.contains("does not decode H.265") => Some("says why"),
            _ => None,
        }
    });
    assert_eq!(said, if can == true { "plays" } else { "says why" });
}
