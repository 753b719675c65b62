//! Settings that may hold a secret, as they are written. `Debug` and `Display` hide it; only `reveal` gives it.

use sightline_capture::Source;
use std::fmt;

/// A setting that is a secret as a whole.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

/// A source as it is named. A camera's URL may hold user and password.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceName(String);

macro_rules! written {
    ($name:ident) => {
        impl $name {
            /// The setting itself, for the one place that needs it.
            #[must_use]
            pub fn reveal(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::convert::Infallible;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Text).map(Self)
            }
        }
    };
}

written!(Secret);
written!(SourceName);

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Of a camera's URL scheme, host, port and path; what is no source may be a mistyped URL, and is hidden whole.
impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.parse::<Source>() {
            Ok(source) => source.fmt(f),
            Err(_) => f.write_str("***"),
        }
    }
}

/// Reads a string. An error does not repeat what was there instead: a secret that is a number is still one.
struct Text;

impl<'de> serde::de::Visitor<'de> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<String, E> {
        Ok(text)
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<String, E> {
        Err(E::custom("a string is expected"))
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<String, E> {
        Err(E::custom("a string is expected"))
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<String, E> {
        Err(E::custom("a string is expected"))
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<String, E> {
        Err(E::custom("a string is expected"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_hidden_and_a_source_shows_where_it_is() {
        let key = Secret::from("hunter2");
        assert_eq!((format!("{key:?}"), key.to_string(), key.reveal()), ("***".into(), "***".into(), "hunter2"));
        for (name, shown) in [
            ("rtsp://admin:hunter2@host/1?token=hunter2", "rtsp://host/1"),
            ("/dev/video0", "/dev/video0"),
            ("gopher://admin:hunter2@host", "***"),
        ] {
            let source = SourceName::from(name);
            assert_eq!((format!("{source:?}"), source.to_string(), source.reveal()), (shown.into(), shown.into(), name));
        }
    }

    #[test]
    fn an_error_does_not_repeat_a_secret_of_the_wrong_type() {
        for wrong in ["31337", "-31337", "31337.5", "[31337]"] {
            let error = serde_json::from_str::<Secret>(wrong).unwrap_err().to_string();
            assert!(error.contains("string") && !error.contains("31337"), "{error}");
        }
    }
}
