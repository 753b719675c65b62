//! The command `snapshot`: the newest key frame as a JPEG on the device's own topic, and then the answer that it is there.

use bytes::Bytes;
use sightline_h264::Still;
use sightline_media::{Frame, Instant, Track, TrackId};
use sightline_signal::{Command, CommandResult, ErrorCode, Text, topic::Topic};
use std::time::Duration;
use tokio::task::JoinSet;

use super::Running;
use crate::cloud::outbox::Outgoing;
use sightline_capture::clock;

/// A source that has given no frame for so long is gone, or waits for its stream: its newest key frame is not what it sees now.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// Of a message with a picture: AWS IoT takes 128 KiB.
const JPEG_BYTES_MAX: usize = 120 << 10;
/// Commands that may wait for the picture that is being made.
const ASKED_MAX: usize = 8;

/// What pictures are made of, and who waits for one.
#[derive(Default)]
pub(super) struct Stills {
    track: Option<Track>,
    key_frame: Option<Bytes>,
    seen_at: Instant,
    making: JoinSet<Option<Vec<u8>>>,
    asked: Vec<Text<64>>,
}

/// The key frame can't be decoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Undecodable;

/// Why there is no picture.
type Refusal = (ErrorCode, &'static str);

const NO_PICTURE: Refusal =
    (ErrorCode::SourceLost, "the camera gives no picture now: start the stream first, or look why its source is gone");

impl Stills {
    pub(super) fn set_track(&mut self, track: &Track) {
        if track.id == TrackId::VIDEO && self.track.as_ref() != Some(track) {
            self.track = Some(track.clone());
            self.key_frame = None;
        }
    }

    pub(super) fn see(&mut self, frame: &Frame<Bytes>, captured_at: Instant) {
        if frame.track != TrackId::VIDEO {
            return;
        }
        self.seen_at = captured_at;
        if frame.is_keyframe {
            self.key_frame = Some(frame.payload.clone());
        }
    }

    /// Begins to make a picture, away from the stream's loop; who asks while one is made gets the same.
    fn ask(&mut self, now: Instant, command_id: &Text<64>) -> Result<(), Refusal> {
        if self.asked.len() == ASKED_MAX {
            return Err((ErrorCode::EncoderOutOfResources, "too many wait for a picture: ask again"));
        }
        if self.making.is_empty() {
            let is_live = now.since(self.seen_at) <= SILENCE_MAX;
            let payload = self.key_frame.clone().filter(|_| is_live).ok_or(NO_PICTURE)?;
            let config = self.track.as_ref().and_then(|track| track.config.avc()).cloned().ok_or(NO_PICTURE)?;
            self.making.spawn_blocking(move || Still::decode(&config, &payload, config.length_bytes())?.jpeg_within(JPEG_BYTES_MAX));
        }
        self.asked.push(command_id.clone());
        Ok(())
    }

    /// The picture that was asked for. `None`: none is being made.
    pub(super) async fn next(&mut self) -> Option<Result<Vec<u8>, Undecodable>> {
        // A panic of the decoder is a picture that can't be decoded.
        self.making.join_next().await.map(|made| made.ok().flatten().ok_or(Undecodable))
    }
}

impl Running {
    pub(super) fn ask_for_still(&mut self, now: Instant, command: &Command) {
        if let Err(refusal) = self.stills.ask(now, &command.command_id) {
            self.answer(command.command_id.clone(), Some(refusal));
        }
    }

    pub(super) fn hand_out_still(&mut self, jpeg: Result<Vec<u8>, Undecodable>) {
        let refusal = jpeg.is_err().then_some((ErrorCode::FrameFormatUnsupported, "the camera's key frame can't be decoded"));
        if let (Some(mqtt), Ok(payload)) = (&self.mqtt, jpeg) {
            mqtt.publish(Outgoing::new(Topic::Snapshot, payload));
        }
        for command_id in std::mem::take(&mut self.stills.asked) {
            self.answer(command_id, refusal);
        }
    }

    fn answer(&self, command_id: Text<64>, refusal: Option<Refusal>) {
        let result = CommandResult {
            command_id,
            success: refusal.is_none(),
            error_code: refusal.map(|(code, _)| code),
            error_message: refusal.and_then(|(_, message)| Text::try_from(message).ok()),
            timestamp: clock::wall().unix_secs(),
        };
        if let (Some(mqtt), Ok(payload)) = (&self.mqtt, serde_json::to_vec(&result)) {
            mqtt.publish(Outgoing::new(Topic::Result, payload));
        }
    }
}
