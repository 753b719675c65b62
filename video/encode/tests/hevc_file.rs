//! A file's H.265: as it is for servers that take it, and as H.264 for those that do not.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use sightline_capture::{Opened, Source, Transport, open_file};
use sightline_encode::{EncoderChoice, EncoderOrder, Pipeline, PipelineEvent, Plan};
use sightline_media::{Codec, TrackId};
use sightline_signal::Settings;
use std::{path::Path, process::Command};

const SETTINGS: Settings = Settings { width: 1280, height: 720, fps: 30, bitrate_bps: 1_000_000 };

/// Ten pictures of H.265 in one second, in the form of MP4 or of QuickTime.
fn make(path: &Path, tag: &str) {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args("-v error -f lavfi -i testsrc2=size=160x96:rate=10 -t 1 -c:v libx265 -preset ultrafast -tag:v".split(' ')).arg(tag);
    ffmpeg.args(["-x265-params", "log-level=none:info=0:keyint=5"]).arg(path);
    assert!(ffmpeg.status().unwrap().success());
}

/// What comes of a start: how its pictures are coded, and the first five of them.
fn begin(pipeline: &mut Pipeline, is_taken: bool) -> (Codec, Vec<Vec<u8>>) {
    pipeline.order(EncoderOrder::Hevc(is_taken));
    pipeline.order(EncoderOrder::Start(SETTINGS));
    let (mut codec, mut pictures) = (None, Vec::new());
    while pictures.len() < 5 {
        match pipeline.events.blocking_recv().unwrap() {
            PipelineEvent::Track(track) if track.id == TrackId::VIDEO => {
                // What is still there of the start before goes by another track.
                codec = Some(track.config.codec());
                pictures.clear();
            }
            PipelineEvent::Frame(frame, _) if frame.track == TrackId::VIDEO && codec.is_some() => pictures.push(frame.payload.to_vec()),
            PipelineEvent::Failed(failure) => panic!("{failure}"),
            PipelineEvent::Track(_)
            | PipelineEvent::Frame(..)
            | PipelineEvent::Motion(_)
            | PipelineEvent::Lost { .. }
            | PipelineEvent::Ended => {}
        }
    }
    pipeline.order(EncoderOrder::Stop);
    (codec.unwrap(), pictures)
}

#[test]
fn a_file_s_h265_goes_as_it_is_to_who_takes_it_and_as_h264_to_who_does_not() {
    let dir = tempfile::TempDir::new().unwrap();
    for (name, tag) in [("a.mp4", "hvc1"), ("b.mov", "hev1")] {
        let path = dir.path().join(name);
        make(&path, tag);
        let Opened::Clip(clip) = open_file(&path, SETTINGS).unwrap() else { panic!("it is not read by ffmpeg") };
        let mut playback = clip.play();
        let own: Vec<Vec<u8>> = std::iter::from_fn(|| playback.step().unwrap()).map(|step| step.frame.payload.to_vec()).collect();
        assert_eq!(own.len(), 10);
        let plan = Plan {
            source: Source::File(path),
            limits: None,
            keyframe_interval_sec: 1.0,
            title: String::new(),
            plays_once: false,
            rtsp_transport: Transport::Tcp,
            is_patient: true,
            motion: None,
            open_encoder: EncoderChoice::Software.source(),
        };
        let (mut pipeline, settings) = Pipeline::start(plan, SETTINGS).unwrap();
        assert_eq!((settings.width, settings.height, settings.fps), (160, 96, 10));
        let (codec, pictures) = begin(&mut pipeline, true);
        assert_eq!((codec, &pictures[..]), (Codec::Hevc, &own[..5]));
        // The next server takes none, and the one after it does.
        assert_eq!(begin(&mut pipeline, false).0, Codec::H264);
        assert_eq!(begin(&mut pipeline, true).0, Codec::Hevc);
    }
}
