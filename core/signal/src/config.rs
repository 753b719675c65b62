//! Settings from afar: what a camera shall be set to, and what it is set to.
//!
//! Only what a device streams, records and takes for motion can be set so. Who it is, where its pictures come from, how it reaches the cloud
//! and where its files are stays in its own file: a mistake there could not be fixed from afar.

use crate::Text;
use serde::{Deserialize, Serialize};

/// The longest `config/desired`, in bytes. What answers it must fit into a retained message of the built-in broker, 16 KiB.
pub const DESIRED_BYTES_MAX: usize = 8 << 10;
/// Errors that one answer names; more would be a file of another program.
pub const SETTING_ERRORS_MAX: usize = 16;
/// The highest version: what every reader of JSON takes for a whole number.
pub const VERSION_MAX: u64 = (1 << 53) - 1;

/// The tables and lists that may be set from afar, by their names in the file.
pub const SETTABLE: [&str; 4] = ["stream", "motion", "recording", "schedule"];

/// What is in none of [`SETTABLE`], or is a path or a secret of the device, and why it stays there.
const REFUSED: [(&str, &str); 15] = [
    ("stream.ca", "a path of the device"),
    ("stream.stream_key", "a secret of the device"),
    ("stream.rtmp_server_url", "where the device streams without a cloud"),
    ("stream.backup_servers", "where the device streams without a cloud"),
    ("recording.dir", "a path of the device"),
    ("device_id", "the device's identity"),
    ("source", "what the device is connected to"),
    ("source_sub", "what the device is connected to"),
    ("source_ca", "a path of the device"),
    ("rtsp_transport", "what the device is connected to"),
    ("v4l2_format", "what the device is connected to"),
    ("encoder", "what the device has"),
    ("mqtt", "the way by which settings come"),
    ("state_dir", "a path of the device"),
    ("cameras", "which cameras an agent has"),
];

/// Why a key of the file can't be set from afar; `None`: it is not one of those.
#[must_use]
pub fn refusal(key: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(refused, _)| *refused == key).map(|(_, reason)| *reason)
}

/// `devices/{id}/config/desired`, retained: what is to differ from the device's file. An empty message: nothing.
///
/// `S` is the reader's own type of the settings: a map on a server, a structure of those that it has on a chip.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Desired<S> {
    /// Rises with every change. At most [`VERSION_MAX`].
    pub version: u64,
    /// The tables of the file: `{"stream":{"quality":"medium"}}`.
    pub settings: S,
}

/// `devices/{id}/config/reported`, retained: after each `config/desired`, at each connection, and after each change.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Reported<S> {
    /// The version that this answers; absent or null: the device's file alone.
    #[serde(default)]
    pub version: Option<u64>,
    /// Whether that version is what runs. If not, `errors` say why, and the settings are as before.
    pub applied: bool,
    /// What was refused.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = alloc::vec::Vec<SettingError>))]
    pub errors: heapless::Vec<SettingError, SETTING_ERRORS_MAX>,
    /// What the device does now, without secrets and paths.
    pub settings: S,
    /// The device's clock, seconds since 1970.
    pub timestamp: i64,
    /// The device's program and its version.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = String, max_length = 48))]
    pub software: Text<48>,
}

/// A setting that was refused.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SettingError {
    /// Its name in the file: `stream.quality`. `version`, `settings`: the message itself.
    #[cfg_attr(feature = "schema", schema(value_type = String, max_length = 64))]
    pub key: Text<64>,
    /// What is wrong, and what would be right.
    #[cfg_attr(feature = "schema", schema(value_type = String, max_length = 192))]
    pub problem: Text<192>,
}

impl SettingError {
    /// Both are cut where they are too long.
    #[must_use]
    pub fn new(key: &str, problem: &str) -> Self {
        Self { key: crate::text::cut(key), problem: crate::text::cut(problem) }
    }
}

/// How a version relates to the one that is applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freshness {
    /// It is to be checked and applied.
    New,
    /// It is applied already.
    Same,
    /// It was overtaken: it is refused.
    Old,
}

impl Freshness {
    /// `applied`: `None` where only the device's file is.
    #[must_use]
    pub const fn of(applied: Option<u64>, wanted: u64) -> Self {
        match applied {
            Some(applied) if wanted < applied => Self::Old,
            Some(applied) if wanted == applied => Self::Same,
            _ => Self::New,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a chip that can only change its preset reads.
    #[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
    struct Few {
        #[serde(default)]
        stream: FewOfStream,
    }

    #[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
    struct FewOfStream {
        #[serde(default)]
        quality: crate::Quality,
    }

    #[test]
    fn a_chip_reads_and_answers_without_an_allocator() {
        let text = r#"{"version":7,"settings":{"stream":{"quality":"medium","trigger":"always_on"},"motion":{"zones":[]}},"by":"console"}"#;
        let desired: Desired<Few> = crate::json::read(text.as_bytes()).unwrap();
        assert_eq!((desired.version, desired.settings.stream.quality), (7, crate::Quality::Medium));
        let mut errors = heapless::Vec::new();
        errors.push(SettingError::new("stream.trigger", "this camera has no trigger")).unwrap();
        let reported = Reported {
            version: Some(7),
            applied: false,
            errors,
            settings: Few::default(),
            timestamp: 1_691_234_567,
            software: Text::try_from("chip 1.0").unwrap(),
        };
        let expected = r#"{"version":7,"applied":false,"errors":[{"key":"stream.trigger","problem":"this camera has no trigger"}],"settings":{"stream":{"quality":"high"}},"timestamp":1691234567,"software":"chip 1.0"}"#;
        let mut out = [0; 512];
        let written = crate::json::write(&reported, &mut out).unwrap();
        assert_eq!(core::str::from_utf8(&out[..written]).unwrap(), expected);
        assert_eq!(serde_json::to_string(&reported).unwrap(), expected);
        assert_eq!(serde_json::from_str::<Reported<Few>>(expected).unwrap(), reported);
    }

    #[test]
    fn a_lower_version_is_old_and_without_one_any_is_new() {
        assert_eq!(Freshness::of(None, 0), Freshness::New);
        assert_eq!(Freshness::of(Some(4), 5), Freshness::New);
        assert_eq!(Freshness::of(Some(4), 4), Freshness::Same);
        assert_eq!(Freshness::of(Some(4), 3), Freshness::Old);
    }

    #[test]
    fn long_words_are_cut_at_whole_characters() {
        let error = SettingError::new("stream.quality", &"é".repeat(100));
        assert_eq!((error.problem.len(), error.problem.chars().count()), (192, 96));
        assert_eq!(refusal("stream.stream_key"), Some("a secret of the device"));
        assert_eq!(refusal("stream.quality"), None);
    }
}
