//! A camera's pictures through ffmpeg: what neither the decoder of this build reads nor the server takes.

use bytes::Bytes;
use sightline_capture::{
    Picture, SourceError,
    ffmpeg::{
        self, Item, Next, Size,
        live::{self, CodedWriter},
    },
};
use sightline_media::{Frame, MediaTime, TrackConfig};
use sightline_signal::Settings;
use std::time::{Duration, Instant as StdInstant};

/// From the first key frame to the first picture: someone waits for an answer.
const FIRST_PICTURE_TIMEOUT: Duration = Duration::from_secs(5);

/// A running ffmpeg, and how far it has come.
pub(super) struct Transcoder {
    decoder: ffmpeg::Decoder,
    /// `None`: no more will come.
    writer: Option<CodedWriter>,
    /// What ffmpeg's zero stands for.
    zero: MediaTime,
    began: StdInstant,
    has_given: bool,
}

/// What it has for us.
pub(super) enum Ready {
    /// A picture, and when it is shown.
    Picture(Picture, MediaTime),
    Nothing,
    /// It has ended, and gave pictures before: another may go on.
    Ended,
    /// It gives none.
    Failed(String),
}

impl Transcoder {
    /// `None`: it is of no codec that ffmpeg is asked for.
    pub(super) fn start(config: &TrackConfig, limits: Settings) -> Result<Option<Self>, SourceError> {
        let Some((writer, reader)) = live::channel(config) else { return Ok(None) };
        let decoder = ffmpeg::Decoder::start_live(reader, Size::Within(limits), config.codec().name())?;
        Ok(Some(Self { decoder, writer: Some(writer), zero: MediaTime::ZERO, began: StdInstant::now(), has_given: false }))
    }

    /// Hands a picture over. One that ffmpeg has no time for is left out, with those up to the next key frame.
    pub(super) fn put(&mut self, frame: &Frame<Bytes>) {
        if let Some(writer) = &mut self.writer {
            // That ffmpeg has ended is seen when it is asked.
            writer.put(&frame.payload, frame.pts, frame.is_keyframe);
            self.zero = writer.begin();
        }
    }

    /// No more will come.
    #[cfg(test)]
    fn end(&mut self) {
        self.writer = None;
    }

    /// What is there.
    pub(super) fn next(&mut self) -> Ready {
        loop {
            match self.decoder.next(Duration::ZERO) {
                Next::Item(Item::Picture(picture, time)) => {
                    self.has_given = true;
                    return Ready::Picture(picture, self.zero + time);
                }
                Next::Item(Item::Sound(_)) => {}
                Next::Nothing if self.has_given || self.began.elapsed() < FIRST_PICTURE_TIMEOUT => return Ready::Nothing,
                Next::Nothing => return self.failed(&format!("no picture within {} s", FIRST_PICTURE_TIMEOUT.as_secs())),
                Next::Ended | Next::Failed(_) if self.has_given => return Ready::Ended,
                Next::Ended => return self.failed("it ended without a picture"),
                Next::Failed(problem) => return self.failed(&problem),
            }
        }
    }

    fn failed(&self, problem: &str) -> Ready {
        let last = self.decoder.last_words().map(|last| format!(": {last}")).unwrap_or_default();
        Ready::Failed(format!("ffmpeg can't decode it: {problem}{last}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sightline_capture::pictures::Pictures;
    use sightline_media::TrackId;

    /// As an RTSP camera gives them: the times of coded pictures, far from zero, and B-frames.
    #[test]
    fn pictures_that_only_ffmpeg_decodes_come_back_with_their_times() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("ten.h264");
        let made = "-v error -f lavfi -i testsrc2=size=160x96:rate=25 -t 1 -c:v libx264 -preset ultrafast -bf 2 -profile:v high10 -pix_fmt yuv420p10le";
        assert!(std::process::Command::new("ffmpeg").args(made.split(' ')).arg(&path).status().unwrap().success());
        let mut pictures = Pictures::new(std::fs::File::open(path).unwrap());
        let limits = Settings { width: 80, height: 80, fps: 25, bitrate_bps: 0 };
        let (mut transcoder, mut sent) = (None, Vec::new());
        while let Some(picture) = pictures.next_picture().unwrap() {
            if let Some(config) = &picture.config {
                transcoder = Transcoder::start(&TrackConfig::H264(config.clone()), limits).unwrap();
            }
            let dts = MediaTime::from_millis(70_000 + 40 * i64::try_from(sent.len()).unwrap());
            let pts = dts + MediaTime::from_millis(40 * i64::from(picture.later));
            sent.push(pts.as_millis());
            let payload = Bytes::from(picture.payload());
            let frame = Frame { track: TrackId::VIDEO, dts, pts, is_keyframe: picture.is_keyframe, is_disposable: false, payload };
            transcoder.as_mut().unwrap().put(&frame);
        }
        sent.sort_unstable();
        let mut transcoder = transcoder.unwrap();
        transcoder.end();
        let mut came = Vec::new();
        loop {
            match transcoder.next() {
                Ready::Picture(picture, time) => {
                    assert_eq!((picture.width(), picture.height()), (80, 48));
                    came.push(time.as_millis());
                }
                Ready::Nothing => std::thread::sleep(Duration::from_millis(5)),
                Ready::Ended => break,
                Ready::Failed(problem) => panic!("{problem}"),
            }
        }
        assert_eq!(came, sent);
    }
}
