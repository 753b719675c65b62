//! Copies of recordings in an S3-compatible store: sent as files are complete, and read where the local file is gone.
//!
//! What is sent next and what may go is decided by `core/recording` ([`sightline_recording::Copies`]); here is what knows files, the store and the clock.

pub(crate) mod config;
pub(crate) mod reader;
pub(crate) mod sender;
pub(crate) mod state;

pub use config::Store;
