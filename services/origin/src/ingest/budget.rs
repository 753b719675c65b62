//! What a publisher may send: bytes, as its token says, messages, and changes of its configuration. Each is a bucket that fills with time,
//! so that a burst passes and a flood does not. All of it is counted, whatever it is: pictures, sound, metadata, control.

use sightline_media::Instant;
use std::time::Duration;

/// How long a publisher may send at several times its rate: a link that comes back, a file that is not sent in real time.
const BURST: Duration = Duration::from_secs(90);
/// What may be sent for each bit that the token allows: key frames, sound and headers are not in an encoder's rate, and cameras whose
/// pictures are passed through keep no rate to the letter.
const ROOM: u64 = 2;
/// And on top, in kbit/s: the sound of a stream whose pictures take little.
const ROOM_KBPS: u64 = 512;
/// Messages a second: 60 pictures, 47 frames of sound, and as much again of anything, several times over.
const MESSAGES_PER_SEC: u64 = 1_000;
/// So many at once: a file of ten minutes that is sent as fast as it goes.
const MESSAGES_BURST: u64 = 60_000;
/// Changes of a track's configuration at once, each of which begins new files: an encoder that is tried out.
const CHANGES_BURST: u64 = 60;
/// How often one more is had.
const CHANGE_INTERVAL: Duration = Duration::from_secs(2);

/// What a publisher has sent too much of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum OverBudget {
    #[error("it sends more than its token allows: lower the bitrate, or set a higher quality for the device")]
    Bitrate,
    #[error("it sends more than a thousand messages a second")]
    Messages,
    #[error("its configuration changes all the time")]
    Changes,
}

impl OverBudget {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Bitrate, Self::Messages, Self::Changes];

    /// As metrics and reports name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bitrate => "bitrate",
            Self::Messages => "messages",
            Self::Changes => "changes",
        }
    }
}

/// Units that come back with time.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: u64,
    most: u64,
    /// In so many microseconds one unit comes back, times `per`.
    per: u64,
    micros: u64,
    at: Instant,
}

impl Bucket {
    /// `per` units come back every `interval`.
    fn new(most: u64, per: u64, interval: Duration, now: Instant) -> Self {
        Self { left: most, most, per: per.max(1), micros: u64::try_from(interval.as_micros()).unwrap_or(u64::MAX).max(1), at: now }
    }

    /// False when there are not as many; what is left is taken all the same.
    fn take(&mut self, units: u64, now: Instant) -> bool {
        let passed = u64::try_from(now.since(self.at).as_micros()).unwrap_or(u64::MAX);
        let back = passed.saturating_mul(self.per) / self.micros;
        if back > 0 {
            self.left = self.left.saturating_add(back).min(self.most);
            // What makes no whole unit yet counts on.
            self.at += Duration::from_micros(back.saturating_mul(self.micros) / self.per);
        }
        let is_there = units <= self.left;
        self.left = self.left.saturating_sub(units);
        is_there
    }
}

/// A publisher's budget.
#[derive(Debug)]
pub(crate) struct Budget {
    /// `None` without a token: there is no rate to keep.
    bytes: Option<Bucket>,
    messages: Bucket,
    changes: Bucket,
}

impl Budget {
    /// With the rate of a token, if there is one. `anyway_kbps`: what is allowed whatever the token says. A camera whose pictures are passed
    /// through asks for its preset, and sends what it makes.
    pub(crate) fn new(bitrate_kbps: Option<u32>, anyway_kbps: u32, now: Instant) -> Self {
        let rate = |kbps: u32| (u64::from(kbps) * ROOM + ROOM_KBPS).max(u64::from(anyway_kbps)) * 1000 / 8;
        let bytes = bitrate_kbps.filter(|kbps| *kbps > 0).map(rate);
        Self {
            bytes: bytes.map(|per_sec| Bucket::new(per_sec * BURST.as_secs(), per_sec, Duration::from_secs(1), now)),
            messages: Bucket::new(MESSAGES_BURST, MESSAGES_PER_SEC, Duration::from_secs(1), now),
            changes: Bucket::new(CHANGES_BURST, 1, CHANGE_INTERVAL, now),
        }
    }

    /// So many bytes came.
    pub(crate) fn take_bytes(&mut self, bytes: usize, now: Instant) -> Result<(), OverBudget> {
        let is_there = self.bytes.as_mut().is_none_or(|bucket| bucket.take(bytes as u64, now));
        if is_there { Ok(()) } else { Err(OverBudget::Bitrate) }
    }

    /// A frame, or metadata.
    pub(crate) fn take_message(&mut self, now: Instant) -> Result<(), OverBudget> {
        if self.messages.take(1, now) { Ok(()) } else { Err(OverBudget::Messages) }
    }

    /// A track whose configuration is new.
    pub(crate) fn take_change(&mut self, now: Instant) -> Result<(), OverBudget> {
        if self.changes.take(1, now) { Ok(()) } else { Err(OverBudget::Changes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    /// Seconds until a publisher is over its budget; `None`: not within ten minutes.
    fn lasts(bitrate_kbps: Option<u32>, kbps: u64, messages_per_sec: u64) -> Option<(u64, OverBudget)> {
        let mut budget = Budget::new(bitrate_kbps, 0, at(0));
        for tenth in 0..6000 {
            let now = at(tenth * 100);
            let mut send = || {
                budget.take_bytes(usize::try_from(kbps * 1000 / 8 / 10).unwrap(), now)?;
                (0..messages_per_sec / 10).try_for_each(|_| budget.take_message(now))
            };
            if let Err(over) = send() {
                return Some((tenth / 10, over));
            }
        }
        None
    }

    #[test]
    fn a_camera_that_keeps_near_its_rate_goes_on_for_ever_and_one_that_does_not_ends_after_a_burst() {
        assert_eq!(lasts(Some(4000), 4000, 75), None);
        assert_eq!(lasts(Some(4000), 8000, 110), None, "passed through, with key frames and sound");
        assert_eq!(lasts(Some(100), 600, 75), None, "little video, and sound");
        let (seconds, over) = lasts(Some(4000), 40_000, 75).unwrap();
        assert!(over == OverBudget::Bitrate && (20..30).contains(&seconds), "{seconds}");
        assert_eq!(lasts(None, 1_000_000, 75), None, "without a token there is no rate");
    }

    #[test]
    fn messages_of_any_kind_have_a_rate() {
        let (seconds, over) = lasts(None, 1, 800_000).unwrap();
        assert!(over == OverBudget::Messages && seconds == 0);
        assert_eq!(lasts(None, 1, 900), None);
    }

    #[test]
    fn a_configuration_may_change_now_and_then() {
        let mut budget = Budget::new(None, 0, at(0));
        assert!((0..200).all(|number| budget.take_change(at(number * 2500)).is_ok()));
        assert_eq!((0..100).find_map(|_| budget.take_change(at(600_000)).err()), Some(OverBudget::Changes));
    }
}
