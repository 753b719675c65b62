//! Keeps an encoder going: opens it, watches over it, and opens it again when it does not do its work.

use sightline_media::MediaTime;
use sightline_signal::{ErrorCode, Settings};
use std::{collections::VecDeque, time::Duration};

use crate::{
    encoder::{Encoded, EncoderError, OpenEncoder, VideoEncoder},
    watchdog::{Fault, Watchdog},
};
use sightline_capture::Picture;

/// The fault with this number within [`FAULTS_WITHIN`] is the last: opening it again does not fix it.
const FAULTS_MAX: usize = 3;
/// A fault an hour is lived with; three within this long mean that nothing usable comes out.
const FAULTS_WITHIN: Duration = Duration::from_secs(60);
/// After this long without a picture the watch starts again: the encoder had nothing to do.
const PICTURES_GAP: Duration = Duration::from_secs(1);

/// Why an encoder is no longer used.
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
    /// What was made and not taken yet.
    ready: VecDeque<Encoded>,
}

impl GuardedEncoder {
    pub(crate) const fn new(open: OpenEncoder, keyframe_interval_sec: f32) -> Self {
        Self { open, keyframe_interval_sec, inner: None, last_picture_at: Duration::ZERO, faults: VecDeque::new(), ready: VecDeque::new() }
    }

    /// The next picture gets a fresh one. What is still in this one comes first.
    pub(crate) fn reopen(&mut self) {
        if let Some((mut encoder, _)) = self.inner.take() {
            self.ready.extend(encoder.finish());
        }
    }

    /// Follows new numbers, with a fresh one where that can't be helped.
    pub(crate) fn follow(&mut self, settings: Settings) {
        if self.inner.as_mut().is_some_and(|(encoder, _)| !encoder.follow(settings)) {
            self.reopen();
        }
    }

    /// The next frame that is ready.
    pub(crate) fn take(&mut self) -> Option<Encoded> {
        self.ready.pop_front()
    }

    pub(crate) fn force_keyframe(&mut self) {
        if let Some((encoder, _)) = &mut self.inner {
            encoder.force_keyframe();
        }
    }

    /// Encodes one picture; [`Self::take`] gives what came of it: nothing where it was left out, or lost with the encoder that failed on it.
    pub(crate) fn encode(&mut self, picture: &Picture, time: MediaTime, at: Duration, settings: Settings) -> Result<(), GaveUp> {
        let Err(trouble) = self.try_encode(picture, time, at, settings) else { return Ok(()) };
        self.inner = None;
        self.faults.push_back(at);
        self.faults.retain(|fault| at.saturating_sub(*fault) < FAULTS_WITHIN);
        if self.faults.len() >= FAULTS_MAX {
            self.faults.clear();
            let problem = format!("{trouble}; {FAULTS_MAX} faults within {} s", FAULTS_WITHIN.as_secs());
            if self.open.give_up() {
                tracing::warn!(code = trouble.code().as_str(), problem, "another encoder is opened");
                return Ok(());
            }
            return Err(GaveUp { code: trouble.code(), problem });
        }
        tracing::warn!(code = trouble.code().as_str(), problem = %trouble, "the encoder is opened again");
        Ok(())
    }

    fn try_encode(&mut self, picture: &Picture, time: MediaTime, at: Duration, settings: Settings) -> Result<(), Trouble> {
        let (encoder, watchdog) = match &mut self.inner {
            Some(inner) => inner,
            None => self.inner.insert((self.open.open(settings, self.keyframe_interval_sec)?, Watchdog::new(at))),
        };
        if at.saturating_sub(self.last_picture_at) > PICTURES_GAP {
            watchdog.rest(at);
        }
        self.last_picture_at = at;
        let before = self.ready.len();
        self.ready.extend(encoder.encode(picture, time)?);
        while let Some(encoded) = encoder.take() {
            self.ready.push_back(encoded);
        }
        let made = self.ready.iter().skip(before).map(|encoded| encoded.frame.payload.len());
        watchdog.see(at, (self.ready.len() > before).then(|| made.sum()), settings)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        encoder::{EncoderSource, Opening},
        software::SoftwareEncoder,
    };
    use bytes::Bytes;
    use sightline_h264::EncodeError;
    use sightline_media::{Frame, TrackId};
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    /// Fails on each picture.
    struct Broken;
    /// Takes pictures and gives nothing.
    struct Silent;
    /// Gives 20 KiB a picture, whatever its rate.
    struct Wasteful;

    macro_rules! faulty {
        ($name:ident, $picture:pat, $time:pat, $encoded:expr) => {
            impl $name {
                fn open(_: Settings, _: f32) -> Result<Box<dyn VideoEncoder>, EncoderError> {
                    Ok(Box::new(Self))
                }
            }

            impl VideoEncoder for $name {
                fn follow(&mut self, _: Settings) -> bool {
                    true
                }
                fn force_keyframe(&mut self) {}
                fn encode(&mut self, $picture: &Picture, $time: MediaTime) -> Result<Option<Encoded>, EncoderError> {
                    $encoded
                }
            }
        };
    }

    faulty!(Broken, _, _, Err(EncoderError::NoParameterSets));
    faulty!(Silent, _, _, Ok(None));
    faulty!(Wasteful, _, time, {
        let payload = Bytes::from(vec![0; 20 * 1024]);
        let frame = Frame { track: TrackId::VIDEO, dts: time, pts: time, is_keyframe: false, is_disposable: false, payload };
        Ok(Some(Encoded { track: None, frame }))
    });

    const WANTED: Settings = Settings { width: 16, height: 16, fps: 25, bitrate_bps: 100_000 };

    /// 25 pictures a second for so many seconds: when it gave up, and why.
    fn run(open: Opening, seconds: u64) -> Option<(Duration, GaveUp)> {
        let mut guard = GuardedEncoder::new(Arc::new(open), 2.0);
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
        let (at, gave_up) = run(|_, _| Err(EncodeError::Open("no memory".into()).into()), 60).unwrap();
        assert_eq!((at, gave_up.code), (Duration::from_millis(80), ErrorCode::EncoderOutOfResources), "{gave_up}");
    }

    #[test]
    fn an_encoder_that_hangs_or_wastes_is_opened_again_and_given_up_at_the_third_time() {
        for (open, says) in [(Silent::open as Opening, "no frame for 3 s"), (Wasteful::open, "times its bit rate")] {
            let (at, gave_up) = run(open, 60).unwrap();
            assert!((Duration::from_secs(5)..Duration::from_secs(10)).contains(&at), "{at:?}");
            assert!(gave_up.code == ErrorCode::EncoderFailed && gave_up.to_string().contains(says), "{gave_up}");
        }
    }

    #[test]
    fn faults_that_are_rare_are_lived_with() {
        let mut guard = GuardedEncoder::new(Arc::new(Broken::open as Opening), 2.0);
        let picture = Picture::new(16, 16);
        for minute in 0..20 {
            let at = Duration::from_secs(minute * 31);
            assert!(guard.encode(&picture, MediaTime::from_millis(0), at, WANTED).is_ok() && guard.take().is_none(), "{minute}");
        }
    }

    /// Encoders of which the first kind hangs.
    #[derive(Debug, Default)]
    struct TwoKinds {
        is_first_given_up: AtomicBool,
    }

    impl EncoderSource for TwoKinds {
        fn open(&self, settings: Settings, keyframe_interval_sec: f32) -> Result<Box<dyn VideoEncoder>, EncoderError> {
            let open = if self.is_first_given_up.load(Ordering::Relaxed) { SoftwareEncoder::open } else { Silent::open as Opening };
            open(settings, keyframe_interval_sec)
        }

        fn give_up(&self) -> bool {
            !self.is_first_given_up.swap(true, Ordering::Relaxed)
        }
    }

    #[test]
    fn where_there_is_another_kind_of_encoder_it_takes_over() {
        let mut guard = GuardedEncoder::new(Arc::new(TwoKinds::default()), 2.0);
        let picture = Picture::new(16, 16);
        let mut first = None;
        for index in 0..25 * 20 {
            let at = Duration::from_millis(index * 40);
            guard.encode(&picture, MediaTime::from_millis(index as i64 * 40), at, WANTED).unwrap();
            while let Some(encoded) = guard.take() {
                first.get_or_insert((at, encoded.frame.is_keyframe, encoded.track.is_some()));
            }
        }
        let (at, is_keyframe, has_track) = first.unwrap();
        assert!(
            is_keyframe && has_track && (9..12).contains(&at.as_secs()),
            "three times three seconds, then a stream that begins anew: {at:?}"
        );
    }

    /// Gives each frame one picture later, and the last at its end.
    struct Late(SoftwareEncoder, Option<Encoded>);

    impl VideoEncoder for Late {
        fn follow(&mut self, settings: Settings) -> bool {
            self.0.follow(settings)
        }
        fn force_keyframe(&mut self) {
            self.0.force_keyframe();
        }
        fn encode(&mut self, picture: &Picture, time: MediaTime) -> Result<Option<Encoded>, EncoderError> {
            let next = self.0.encode(picture, time)?;
            Ok(std::mem::replace(&mut self.1, next))
        }
        fn finish(&mut self) -> Vec<Encoded> {
            self.1.take().into_iter().collect()
        }
    }

    #[test]
    fn frames_that_come_late_are_not_lost_when_the_size_changes() {
        let open: Opening = |settings, interval| Ok(Box::new(Late(SoftwareEncoder::new(settings, interval)?, None)));
        let mut guard = GuardedEncoder::new(Arc::new(open), 2.0);
        let mut times = Vec::new();
        let mut sizes = Vec::new();
        for index in 0..8_i64 {
            let side = if index < 4 { 64 } else { 32 };
            let settings = Settings { width: side, height: side, ..WANTED };
            guard.follow(settings);
            let picture = Picture::new(side as usize, side as usize);
            guard.encode(&picture, MediaTime::from_millis(index * 40), Duration::from_millis(index as u64 * 40), settings).unwrap();
            while let Some(encoded) = guard.take() {
                times.push(encoded.frame.pts.as_millis());
                sizes.extend(encoded.track.and_then(|track| track.config.size()));
            }
        }
        guard.reopen();
        times.extend(guard.take().map(|encoded| encoded.frame.pts.as_millis()));
        assert_eq!(times, (0..8).map(|index| index * 40).collect::<Vec<_>>());
        assert_eq!(sizes, [(64, 64), (32, 32)]);
    }
}
