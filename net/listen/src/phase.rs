//! Where a connection of HTTP/1.1 is: its socket, its requests and its place at the door all have to know.

use crate::admission::Permit;
use std::sync::atomic::{AtomicU32, Ordering};

/// What the other side does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// It has sent nothing of a request.
    Idle,
    /// It has begun a request's head.
    Head,
    /// A request is being answered.
    Answer,
}

/// A connection's step, and its place: pending unless a request is being answered.
#[derive(Debug)]
pub(crate) struct Phase {
    /// The step in the lowest two bits, above them how often it has changed: a timer of an older one is no good.
    changes: AtomicU32,
    permit: Permit,
}

impl Phase {
    pub(crate) fn new(permit: Permit) -> Self {
        Self { changes: AtomicU32::new(0), permit }
    }

    fn set(&self, step: Step) {
        let next = |now: u32| Some((now & !3).wrapping_add(4) | step as u32);
        // The function always returns a value: it can't fail.
        let _ = self.changes.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
    }

    /// The step, and which one it is since the beginning.
    pub(crate) fn step(&self) -> (Step, u32) {
        let changes = self.changes.load(Ordering::Acquire);
        let step = match changes & 3 {
            0 => Step::Idle,
            1 => Step::Head,
            _ => Step::Answer,
        };
        (step, changes >> 2)
    }

    /// Bytes came.
    pub(crate) fn handle_bytes(&self) {
        if self.step().0 == Step::Idle {
            self.set(Step::Head);
        }
    }

    /// A head is complete.
    pub(crate) fn begin_answer(&self) {
        self.set(Step::Answer);
        self.permit.set_pending(false);
    }

    /// An answer is complete, or nobody wants it any more. A connection that has proved its identity stays out of the pending ones.
    pub(crate) fn end_answer(&self) {
        self.set(Step::Idle);
        if !self.permit.is_identified() {
            self.permit.set_idle();
        }
    }

    pub(crate) fn permit(&self) -> &Permit {
        &self.permit
    }
}
