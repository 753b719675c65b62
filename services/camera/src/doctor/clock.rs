//! This machine's clock: certificates and recordings go by it.

use sightline_media::WallTime;

use super::Finding;

/// More than this off the cloud's clock, and recordings and events are hard to match.
const OFF_SECS_MAX: i64 = 60;

/// By the system, seconds since 1970.
pub(super) fn now_secs() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// For people.
pub(super) fn shown(secs: i64) -> String {
    jiff::Timestamp::from_second(secs).map_or_else(|_| format!("{secs} s since 1970"), |time| time.to_string())
}

/// Held against what is known: the device's certificate, from when to when, and the cloud's clock.
pub(super) fn look(now_secs: i64, validity: Option<(i64, i64)>, cloud_secs: Option<i64>) -> Finding {
    const MEND: &str = "set the clock and keep it right: timedatectl set-ntp true, or chrony";
    let now = shown(now_secs);
    if let Some(cloud_secs) = cloud_secs {
        let off_secs = now_secs - cloud_secs;
        if off_secs.abs() > OFF_SECS_MAX {
            return Finding::failed(format!("{now}, {off_secs} s off the cloud's clock"), MEND);
        }
        return Finding::Passed(format!("{now}, {off_secs} s off the cloud's clock"));
    }
    if now_secs < WallTime::CLOCK_SET_MIN.unix_secs() {
        return Finding::failed(format!("{now}, before this program was made"), MEND);
    }
    match validity {
        Some((from_secs, _)) if now_secs < from_secs => {
            Finding::failed(format!("{now}, before the device's certificate was made ({})", shown(from_secs)), MEND)
        }
        Some(_) | None => Finding::Passed(now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_held_against_the_program_the_certificate_and_the_cloud() {
        let now = WallTime::CLOCK_SET_MIN.unix_secs() + 86_400;
        assert_eq!(shown(WallTime::CLOCK_SET_MIN.unix_secs()), "2026-11-01T00:00:00Z");
        assert!(matches!(look(now, None, None), Finding::Passed(_)));
        assert!(matches!(look(86_400, None, None), Finding::Failed { detail, .. } if detail.starts_with("1970-01-02")));
        assert!(matches!(look(now, Some((now + 10, now + 20)), None), Finding::Failed { .. }));
        assert!(matches!(look(now, Some((now - 10, now + 20)), Some(now + 59)), Finding::Passed(_)));
        assert!(matches!(look(now, Some((now - 10, now + 20)), Some(now + 61)), Finding::Failed { .. }));
    }
}
