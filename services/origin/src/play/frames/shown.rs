//! A decoded picture, and the forms of it that were asked for: each is made once, by the first reader that wants it.

use crate::live::captured::Captured;
use bytes::Bytes;
use sightline_h264::Still;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OnceCell;
use tokio_util::task::TaskTracker;

/// JPEG's quality: a detector is disturbed by artefacts earlier than an eye.
const QUALITY: u8 = 85;

/// How a picture is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    Jpeg,
    /// Blue, green, red.
    Raw,
}

/// What a reader wants of a picture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Form {
    /// `None`, or more than it has: the picture's own.
    pub(super) width: Option<u16>,
    pub(super) format: Format,
}

/// A form that is made, or is being made.
type Made = Arc<OnceCell<Option<(Bytes, (u16, u16))>>>;

/// One picture.
pub(crate) struct Shown {
    still: Still,
    /// Which picture of the stream it is, since it was first decoded.
    pub(super) number: u64,
    pub(super) captured: Captured,
    /// The stream's own time.
    pub(super) at_micros: i64,
    made: Mutex<Vec<(Form, Made)>>,
}

impl Shown {
    pub(super) fn new(still: Still, number: u64, captured: Captured, at_micros: i64) -> Self {
        Self { still, number, captured, at_micros, made: Mutex::default() }
    }

    /// The picture in a form, with its width and height. `None`: it can't be made.
    pub(super) async fn form(self: &Arc<Self>, wanted: Form, tasks: &TaskTracker) -> Option<(Bytes, (u16, u16))> {
        let own_width = self.still.size().0;
        let form = Form { width: wanted.width.filter(|width| *width < own_width), ..wanted };
        let cell = {
            // As many as there are readers, at most.
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            let known = made.iter().find(|(known, _)| *known == form).map(|(_, cell)| cell.clone());
            known.unwrap_or_else(|| {
                let cell = Made::default();
                made.push((form, cell.clone()));
                cell
            })
        };
        let make = async {
            let shown = self.clone();
            tasks.spawn_blocking(move || make(&shown.still, form)).await.ok().flatten()
        };
        cell.get_or_init(|| make).await.clone()
    }
}

fn make(still: &Still, form: Form) -> Option<(Bytes, (u16, u16))> {
    let scaled = match form.width {
        Some(width) => Some(still.scaled(width, height_for(still.size(), width))?),
        None => None,
    };
    let still = scaled.as_ref().unwrap_or(still);
    let bytes = match form.format {
        Format::Jpeg => still.jpeg(QUALITY)?,
        Format::Raw => still.to_bgr(),
    };
    Some((bytes.into(), still.size()))
}

/// The height that keeps the picture's shape.
fn height_for((width, height): (u16, u16), wanted: u16) -> u16 {
    let scaled = (u32::from(height) * u32::from(wanted) + u32::from(width) / 2) / u32::from(width).max(1);
    u16::try_from(scaled).unwrap_or(u16::MAX).max(1)
}
