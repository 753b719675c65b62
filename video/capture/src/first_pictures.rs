//! The first pictures of a camera with sound wait until its sound has come: a stream says at its beginning what it consists of, and players stand
//! still for a sound that was announced and does not come.

use bytes::Bytes;
use sightline_media::Frame;
use std::time::{Duration, Instant};

/// From the first picture that decoding can start at. A frame of G.711 takes 128 ms, and some cameras send half a second of sound at once.
const SOUND_WAIT: Duration = Duration::from_millis(700);
/// Pictures that wait: more than a camera makes in the time.
const PICTURES_MAX: usize = 64;
/// Their bytes: a key frame of a 4K camera and what follows it.
const BYTES_MAX: usize = 8 << 20;

/// A picture, when it came, and whether others before it are lost.
pub(crate) type Arrived = (Frame<Bytes>, Instant, bool);

/// Holds the first pictures.
#[derive(Debug)]
pub(crate) struct FirstPictures {
    held: Vec<Arrived>,
    bytes: usize,
    is_over: bool,
}

impl FirstPictures {
    /// `waits`: there may be sound, and none has come yet.
    pub(crate) fn new(waits: bool) -> Self {
        Self { held: Vec::new(), bytes: 0, is_over: !waits }
    }

    /// The wait is over, whether or not sound has come.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Gives the pictures that go on, in their order: this one, none, or all that have waited.
    pub(crate) fn take(&mut self, picture: Arrived) -> Vec<Arrived> {
        // Before a key frame nothing goes on anyway.
        if self.is_over || (self.held.is_empty() && !picture.0.is_keyframe) {
            return vec![picture];
        }
        self.bytes += picture.0.payload.len();
        let at = picture.1;
        self.held.push(picture);
        let waited = self.held.first().map_or(Duration::ZERO, |(_, first, _)| at.saturating_duration_since(*first));
        if waited >= SOUND_WAIT || self.held.len() >= PICTURES_MAX || self.bytes >= BYTES_MAX { self.end() } else { Vec::new() }
    }

    /// Ends the wait. Gives what has waited.
    pub(crate) fn end(&mut self) -> Vec<Arrived> {
        self.is_over = true;
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sightline_media::{MediaTime, TrackId};

    fn picture(at: Instant, is_keyframe: bool) -> Arrived {
        let (track, time) = (TrackId::VIDEO, MediaTime::ZERO);
        (Frame { track, dts: time, pts: time, is_keyframe, is_disposable: false, payload: Bytes::new() }, at, false)
    }

    #[test]
    fn pictures_wait_for_the_sound_and_not_for_ever() {
        let begin = Instant::now();
        let after = |ms| begin + Duration::from_millis(ms);
        let mut first = FirstPictures::new(true);
        assert_eq!(first.take(picture(begin, false)).len(), 1, "it goes nowhere");
        assert_eq!(first.take(picture(begin, true)).len() + first.take(picture(after(40), false)).len(), 0);
        assert_eq!((first.end().len(), first.take(picture(after(80), false)).len()), (2, 1), "sound has come");
        let mut first = FirstPictures::new(true);
        assert_eq!(first.take(picture(begin, true)).len() + first.take(picture(after(699), false)).len(), 0);
        assert_eq!((first.take(picture(after(700), false)).len(), first.is_over()), (3, true));
        let mut first = FirstPictures::new(true);
        assert_eq!((0..100).map(|_| first.take(picture(begin, true)).len()).sum::<usize>(), 100, "never more than fit");
        assert!(FirstPictures::new(false).is_over());
    }
}
