//! Keeps an encoder going: opens it, watches over it, and opens it again when it does not do its work.

use sightline_media::MediaTime;
use sightline_signal::{ErrorCode, Settings};
use std::{collections::VecDeque, time::Duration};

use super::{
    Encoded, EncoderError, OpenEncoder, VideoEncoder,
    watchdog::{Fault, Watchdog},
};
use crate::picture::Picture;

/// The fault with this number within [`FAULTS_WITHIN`] is the last: opening it again does not mend it.
const FAULTS_MAX: usize = 3;
/// A fault an hour is lived with; three within this long mean that nothing usable comes out.
const FAULTS_WITHIN: Duration = Duration::from_secs(60);
/// Without a picture for so long nothing was asked of the encoder: the watch over it begins anew.
const PICTURES_GAP: Duration = Duration::from_secs(1);

/// Why an encoder was given up.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {problem}")]
pub(crate) struct GaveUp {
    pub(crate) code: ErrorCode,
    /// What it was the last time.
    pub(crate) problem: String,
}

/// What one picture may meet.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    #[error("the encoder made {0}")]
    Watch(#[from] Fault),
}

impl Trouble {
    const fn code(&self) -> ErrorCode {
        match self {
            Self::Encoder(error) => error.code(),
            Self::Watch(_) => ErrorCode::EncoderFailed,
        }
    }
}

/// An encoder that is opened when there is a picture for it. Knows no clock: `at` is since the run began.
pub(crate) struct GuardedEncoder {
    open: OpenEncoder,
    keyframe_interval_sec: f32,
    inner: Option<(Box<dyn VideoEncoder>, Watchdog)>,
    last_picture_at: Duration,
    faults: VecDeque<Duration>,
}

impl GuardedEncoder {
    pub(crate) const fn new(open: OpenEncoder, keyframe_interval_sec: f32) -> Self {
        Self { open, keyframe_interval_sec, inner: None, last_picture_at: Duration::ZERO, faults: VecDeque::new() }
    }

    /// The next picture gets a fresh one.
    pub(crate) fn reopen(&mut self) {
        self.inner = None;
    }

    /// Follows new numbers, with a fresh one where that can't be helped.
    pub(crate) fn follow(&mut self, settings: Settings) {
        if self.inner.as_mut().is_some_and(|(encoder, _)| !encoder.follow(settings)) {
            self.inner = None;
        }
    }

    pub(crate) fn force_keyframe(&mut self) {
        if let Some((encoder, _)) = &mut self.inner {
            encoder.force_keyframe();
        }
    }

    /// Encodes one picture. `None`: it was left out, or lost with the encoder that failed on it.
    pub(crate) fn encode(
        &mut self,
        picture: &Picture,
        time: MediaTime,
        at: Duration,
        settings: Settings,
    ) -> Result<Option<Encoded>, GaveUp> {
        match self.try_encode(picture, time, at, settings) {
            Ok(encoded) => Ok(encoded),
            Err(trouble) => {
                self.inner = None;
                self.faults.push_back(at);
                self.faults.retain(|fault| at.saturating_sub(*fault) < FAULTS_WITHIN);
                if self.faults.len() >= FAULTS_MAX {
                    self.faults.clear();
                    return Err(GaveUp {
                        code: trouble.code(),
                        problem: format!("{trouble}; {FAULTS_MAX} faults within {} s", FAULTS_WITHIN.as_secs()),
                    });
                }
                tracing::warn!(code = trouble.code().as_str(), problem = %trouble, "the encoder is opened again");
                Ok(None)
            }
        }
    }

    fn try_encode(&mut self, picture: &Picture, time: MediaTime, at: Duration, settings: Settings) -> Result<Option<Encoded>, Trouble> {
        let (encoder, watchdog) = match &mut self.inner {
            Some(inner) => inner,
            None => self.inner.insert(((self.open)(settings, self.keyframe_interval_sec)?, Watchdog::new(at))),
        };
        if at.saturating_sub(self.last_picture_at) > PICTURES_GAP {
            watchdog.rest(at);
        }
        self.last_picture_at = at;
        let encoded = encoder.encode(picture, time)?;
        watchdog.see(at, encoded.as_ref().map(|encoded| encoded.frame.payload.len()), settings)?;
        Ok(encoded)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Broken, Silent, Wasteful};
    use super::*;

    const WANTED: Settings = Settings { width: 16, height: 16, fps: 25, bitrate_bps: 100_000 };

    /// 25 pictures a second for so many seconds: when it gave up, and why.
    fn run(open: OpenEncoder, seconds: u64) -> Option<(Duration, GaveUp)> {
        let mut guard = GuardedEncoder::new(open, 2.0);
        let picture = Picture::new(16, 16);
        (0..seconds * 25).find_map(|index| {
            let at = Duration::from_millis(index * 40);
            guard.encode(&picture, MediaTime::from_millis(index as i64 * 40), at, WANTED).err().map(|error| (at, error))
        })
    }

    #[test]
    fn the_third_failure_within_a_minute_is_the_last() {
        let (at, gave_up) = run(Broken::open, 60).unwrap();
        assert_eq!((at, gave_up.code), (Duration::from_millis(80), ErrorCode::EncoderFailed), "{gave_up}");
        let (at, gave_up) = run(|_, _| Err(EncoderError::Open("no memory".into())), 60).unwrap();
        assert_eq!((at, gave_up.code), (Duration::from_millis(80), ErrorCode::EncoderOutOfResources), "{gave_up}");
    }

    #[test]
    fn an_encoder_that_hangs_or_wastes_is_opened_again_and_given_up_at_the_third_time() {
        for (open, says) in [(Silent::open as OpenEncoder, "no frame for 3 s"), (Wasteful::open, "times its bit rate")] {
            let (at, gave_up) = run(open, 60).unwrap();
            assert!((Duration::from_secs(5)..Duration::from_secs(10)).contains(&at), "{at:?}");
            assert!(gave_up.code == ErrorCode::EncoderFailed && gave_up.to_string().contains(says), "{gave_up}");
        }
    }

    #[test]
    fn faults_that_are_rare_are_lived_with() {
        let mut guard = GuardedEncoder::new(Broken::open, 2.0);
        let picture = Picture::new(16, 16);
        for minute in 0..20 {
            let at = Duration::from_secs(minute * 31);
            assert!(guard.encode(&picture, MediaTime::from_millis(0), at, WANTED).is_ok_and(|encoded| encoded.is_none()), "{minute}");
        }
    }
}
