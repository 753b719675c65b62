//! A bucket of an S3-compatible store. Files are put there whole, in parts, and checked; they are read back by ranges.
//!
//! Its words are those of S3, and only this crate knows the library that speaks it. What is copied when, and what goes, is decided elsewhere
//! (`core/recording`).
#![deny(missing_docs)]

mod access;
mod bucket;
mod connector;
mod error;
mod seal;
mod secret;
mod upload;

pub use access::Access;
pub use bucket::{Bucket, Found, Stored};
pub use connector::{Body, HttpsClient};
pub use error::{BucketError, Reason};
pub use seal::{SealError, SealKey};
pub use secret::Secret;
pub use upload::{Journal, PART_BYTES};
