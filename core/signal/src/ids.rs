//! Device ids.

use crate::Text;
use core::fmt;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The longest device id, in bytes (specification §2).
pub const DEVICE_ID_BYTES_MAX: usize = 64;

/// A device's name: `[A-Za-z0-9_-]{1,64}`. Safe in a topic, a path and a file name, because it can't hold `/ + # . %`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(value_type = String, pattern = "^[A-Za-z0-9_-]{1,64}$"))]
pub struct DeviceId(Text<DEVICE_ID_BYTES_MAX>);

/// Why a string is no device id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeviceIdError {
    /// It has no characters.
    Empty,
    /// It has more than 64.
    TooLong,
    /// It holds a character outside `[A-Za-z0-9_-]`; at this byte.
    Character {
        /// The byte's offset.
        at: usize,
    },
}

impl fmt::Display for DeviceIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a device id needs at least one character of A-Z a-z 0-9 _ -"),
            Self::TooLong => write!(f, "a device id has at most {DEVICE_ID_BYTES_MAX} characters"),
            Self::Character { at } => write!(f, "a device id is made of A-Z a-z 0-9 _ -; byte {at} is something else"),
        }
    }
}

impl core::error::Error for DeviceIdError {}

impl DeviceId {
    /// Checks a name.
    ///
    /// # Errors
    /// See [`DeviceIdError`].
    pub fn new(name: &str) -> Result<Self, DeviceIdError> {
        if name.is_empty() {
            return Err(DeviceIdError::Empty);
        }
        if let Some(at) = name.bytes().position(|byte| !(byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')) {
            return Err(DeviceIdError::Character { at });
        }
        Text::try_from(name).map(Self).map_err(|_| DeviceIdError::TooLong)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::str::FromStr for DeviceId {
    type Err = DeviceIdError;
    fn from_str(name: &str) -> Result<Self, DeviceIdError> {
        Self::new(name)
    }
}

impl Serialize for DeviceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for DeviceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name: Text<DEVICE_ID_BYTES_MAX> = Text::deserialize(deserializer)?;
        Self::new(&name).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_s_name_passes_and_what_could_leave_its_topic_does_not() {
        assert!(DeviceId::new("ESP32P4_CAM_001").is_ok());
        for name in ["a/b", "a+", "#", "..", "a b", "*", ">", "é", "a\0"] {
            assert!(DeviceId::new(name).is_err(), "{name:?}");
        }
        assert_eq!(DeviceId::new(""), Err(DeviceIdError::Empty));
        assert_eq!(DeviceId::new(&"x".repeat(65)), Err(DeviceIdError::TooLong));
    }
}
