//! Strings with a stated maximum.

use core::fmt;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A UTF-8 string of at most `N` bytes.
pub type Text<const N: usize> = heapless::String<N>;

/// As much of `message` as fits, whole characters.
pub(crate) fn cut<const N: usize>(message: &str) -> Text<N> {
    let mut text = Text::new();
    for character in message.chars() {
        if text.push(character).is_err() {
            break;
        }
    }
    text
}

/// A secret of at most `N` bytes: a token, a key. `Debug` and `Display` print `***`; only serialisation to the one it is meant for writes it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Redacted<const N: usize>(Text<N>);

impl<const N: usize> Redacted<N> {
    /// Keeps a secret.
    #[must_use]
    pub const fn new(secret: Text<N>) -> Self {
        Self(secret)
    }

    /// The secret itself, for the one place that needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl<const N: usize> TryFrom<&str> for Redacted<N> {
    type Error = TooLong;
    fn try_from(secret: &str) -> Result<Self, TooLong> {
        Text::try_from(secret).map(Self).map_err(|_| TooLong)
    }
}

/// A string was longer than its stated maximum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("longer than its stated maximum")
    }
}

impl core::error::Error for TooLong {}

impl<const N: usize> fmt::Debug for Redacted<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<const N: usize> fmt::Display for Redacted<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<const N: usize> Serialize for Redacted<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Redacted<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Text::deserialize(deserializer).map(Self)
    }
}
