//! A fuzz input as a row of small choices. What is missing reads as zero, so that every input means something.

#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        self.take(usize::MAX)
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.u8(), self.u8()])
    }

    /// One of several.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let at = usize::from(self.u8()) % from.len();
        from[at]
    }
}

/// The sizes of pieces in which bytes arrive: from one choice an endless row.
pub(crate) fn sizes(choice: u8) -> impl FnMut() -> usize {
    let mut state = u32::from(choice);
    move || {
        if choice == 0 {
            return 1;
        }
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        1 + usize::try_from(state >> 24).unwrap_or(0) % usize::from(choice)
    }
}
