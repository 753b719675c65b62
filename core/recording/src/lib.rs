//! What camera and origin agree on about recordings, without files: what a file is called, where it is cut, what is in it, and
//! where time is missing between files.
//!
//! A [`Cutter`] takes frames and gives out [`Piece`]s: fragments to append, and the ends of files. `disk/archive` writes them. An
//! [`Index`] is what reading a file's boxes gives back.
#![no_std]
#![deny(missing_docs, clippy::indexing_slicing, clippy::std_instead_of_core)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod copies;
mod cutter;
mod gaps;
mod index;
mod keep;
pub mod name;
mod playlist;

pub use copies::{Behind, Copies, CopyFailure, expired};
pub use cutter::{AfterLoss, Beginning, Cutter, Fragment, KeyFrames, Piece, Rules};
pub use gaps::{Gap, gaps, joined};
pub use index::{Index, Place};
pub use keep::{Forecast, KeepRules, KeptFile, OwnRules, Removed, forecast, to_remove};
pub use playlist::Playlist;
