//! Pictures whose slices come apart: each in a message, or behind a mark, of its own.

use crate::{Frame, MediaTime};

/// Pictures that come whole before it is believed again that they do: what holds a picture back costs its viewers a frame.
const WHOLE_PICTURES_MIN: u32 = 50;
/// The longest picture that is put together, in bytes.
const PICTURE_BYTES_MAX: usize = 8 << 20;
/// Slices of one picture have one time, but for rounding.
const SAME_TIME: MediaTime = MediaTime::from_millis(2);

/// Puts the pictures of a track together. What comes whole is never held back. The first picture of which a slice comes alone has gone out by the time that
/// its second slice tells; if it is a key frame, all depends on it, and it goes out once more, whole.
#[derive(Debug)]
pub struct Assembly<P> {
    last: Option<Frame<P>>,
    /// `last` has its picture's first slice.
    has_first: bool,
    /// `last` has not gone out yet, or not whole.
    is_due: bool,
    /// Slices come apart: what comes waits for what follows.
    is_apart: bool,
    /// `last` is of several.
    is_joined: bool,
    /// Pictures of one slice in a row.
    whole: u32,
}

impl<P> Default for Assembly<P> {
    fn default() -> Self {
        Self { last: None, has_first: false, is_due: false, is_apart: false, is_joined: false, whole: 0 }
    }
}

impl<P: AsRef<[u8]> + Clone> Assembly<P> {
    /// For a source whose first picture may wait for the second, which tells whether it was whole.
    #[must_use]
    pub fn that_waits() -> Self {
        Self { is_apart: true, whole: WHOLE_PICTURES_MIN - 1, ..Self::default() }
    }

    /// Whether what comes belongs to the picture before. `is_first`: its first slice is the first of a picture.
    #[must_use]
    pub fn is_continued(&self, is_first: bool, dts: MediaTime) -> bool {
        let is_then = |last: &Frame<P>| last.dts - dts <= SAME_TIME && dts - last.dts <= SAME_TIME;
        !is_first && self.has_first && self.last.as_ref().is_some_and(is_then)
    }

    /// Another picture begins, or nothing comes for long. Gives the one that is complete by that.
    pub fn complete(&mut self) -> Option<Frame<P>> {
        if !core::mem::take(&mut self.is_due) {
            return None;
        }
        self.whole = if core::mem::take(&mut self.is_joined) { 0 } else { self.whole + 1 };
        self.is_apart &= self.whole < WHOLE_PICTURES_MIN;
        self.last.take()
    }

    /// Takes what does not belong to the picture before. Gives it where there is nothing to wait for.
    pub fn begin(&mut self, frame: Frame<P>, is_first: bool) -> Option<Frame<P>> {
        self.has_first = is_first;
        self.last = Some(frame.clone());
        self.is_due = self.is_apart;
        (!self.is_apart).then_some(frame)
    }

    /// Takes what belongs to the picture before; `join` puts bytes behind others. Gives what has to go as it came.
    pub fn go_on(&mut self, frame: Frame<P>, join: impl FnOnce(&P, &P) -> P) -> Option<Frame<P>> {
        let was_apart = core::mem::replace(&mut self.is_apart, true);
        match &mut self.last {
            Some(last) if (was_apart || last.is_keyframe) && last.len() + frame.len() <= PICTURE_BYTES_MAX => {
                last.payload = join(&last.payload, &frame.payload);
                last.is_disposable &= frame.is_disposable;
                (self.is_due, self.is_joined) = (true, true);
                None
            }
            _ => Some(frame),
        }
    }

    /// Whether something waits for what belongs to it.
    #[must_use]
    pub const fn is_holding(&self) -> bool {
        self.is_due
    }
}
