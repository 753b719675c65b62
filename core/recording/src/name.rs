//! What recorded files are called: the time of their beginning in UTC, so that names sort by time.

use alloc::{format, string::String};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use sightline_media::WallTime;

/// The ending of fragmented MP4.
pub const MP4: &str = "mp4";
/// The ending of FLV.
pub const FLV: &str = "flv";
/// Names tried where a file exists already: a clock that was set back, or a configuration that changes within a publish.
pub const NAMES_MAX: u32 = 100;

const FORMAT: &str = "%Y%m%dT%H%M%S%.3fZ";
/// The same up to the `Z`, behind which a name may go on.
const FORMAT_PARSED: &str = "%Y%m%dT%H%M%S%.3f";

/// The name without its ending: `yyyymmddThhmmss.mmmZ`.
#[must_use]
pub fn stem(began: WallTime) -> String {
    let timestamp = Timestamp::from_millisecond(began.unix_millis()).unwrap_or_default();
    format!("{}", timestamp.strftime(FORMAT))
}

/// The name of a file, the `number`th (from 1) that has this stem and ending.
#[must_use]
pub fn file_name(stem: &str, number: u32, extension: &str) -> String {
    if number <= 1 { format!("{stem}.{extension}") } else { format!("{stem}-{number}.{extension}") }
}

/// When the first frame of an MP4 recording was captured; `None` for a file that is not a recording.
#[must_use]
pub fn began(file_name: &str) -> Option<Timestamp> {
    let (stem, extension) = file_name.rsplit_once('.')?;
    let (time, _) = stem.split_once('Z')?;
    let time = DateTime::strptime(FORMAT_PARSED, time).ok()?;
    if extension != MP4 {
        return None;
    }
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_time() {
        assert_eq!(stem(WallTime::from_unix_micros(1_760_000_000_123_456)), "20251009T085320.123Z");
    }

    #[test]
    fn a_name_gives_its_time_back() {
        let wall = WallTime::from_unix_micros(1_760_000_000_123_000);
        for (number, extension) in [(1, MP4), (2, MP4), (17, MP4)] {
            let name = file_name(&stem(wall), number, extension);
            assert_eq!(began(&name).map(Timestamp::as_millisecond), Some(wall.unix_millis()), "{name}");
        }
        for other in ["notes.mp4", "20251009T085320.123Z.flv", "20251009T085320.123Z", ".mp4", ""] {
            assert_eq!(began(other), None, "{other}");
        }
    }
}
