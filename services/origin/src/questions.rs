//! Questions for streams that are not here: what may be asked for, and how often an address may.

use sightline_media::Instant;
use sightline_signal::PLAYBACK_ID_BYTES;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Playback ids that one address may ask for at once: a wall of sleeping cameras.
const QUESTIONS_BURST: f64 = 100.0;
/// And then in a second.
const QUESTIONS_PER_SEC: f64 = 5.0;
/// Addresses whose questions are counted. Above it those that may ask freely again go.
const ADDRESSES_MAX: usize = 10_000;

/// What can be no playback id is no question.
pub(crate) fn is_playback_id(text: &str) -> bool {
    text.len() == PLAYBACK_ID_BYTES && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// Who asks, and how much they may ask still.
#[derive(Default)]
pub(crate) struct Askers(Mutex<HashMap<IpAddr, (f64, Instant)>>);

impl Askers {
    /// Counts a question of an address; false where it has asked for too many.
    pub(crate) fn may_ask(&self, address: IpAddr, now: Instant) -> bool {
        let address = address.to_canonical();
        let mut addresses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let level = |(left, at): (f64, Instant)| (left + now.since(at).as_secs_f64() * QUESTIONS_PER_SEC).min(QUESTIONS_BURST);
        if addresses.len() >= ADDRESSES_MAX {
            addresses.retain(|_, bucket| level(*bucket) < QUESTIONS_BURST);
        }
        if addresses.len() >= ADDRESSES_MAX && !addresses.contains_key(&address) {
            return false;
        }
        let bucket = addresses.entry(address).or_insert((QUESTIONS_BURST, now));
        *bucket = (level(*bucket), now);
        if bucket.0 < 1.0 {
            return false;
        }
        bucket.0 -= 1.0;
        true
    }
}
