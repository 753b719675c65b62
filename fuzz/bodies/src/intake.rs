//! Coded pictures as anybody's encoder frames them: what goes out is in our form, whatever came.

use crate::cursor::Cursor;
use sightline_media::intake::{Family, Intake, Record};
use sightline_media::{TrackConfig, avc};

/// First byte: the codec. Then records and frames: what it is, its length in two bytes, its bytes.
pub fn run(data: &[u8]) {
    let mut cursor = Cursor::new(data);
    let family = cursor.pick(&[Family::H264, Family::Hevc]);
    let (mut intake, mut has_config) = (Intake::new(family), false);
    while !cursor.is_empty() {
        let kind = cursor.u8();
        let length = usize::from(cursor.u16());
        let bytes = cursor.take(length);
        if kind.is_multiple_of(4) {
            if let Record::New(config) = intake.take_record(bytes) {
                has_config = true;
                check(&config);
            }
            continue;
        }
        let Ok(taken) = intake.take(bytes, kind & 4 != 0) else { continue };
        assert!(taken.config.is_none() || taken.is_keyframe, "a configuration begins with a key frame");
        assert!(!(taken.is_keyframe && taken.is_disposable));
        taken.config.iter().for_each(check);
        has_config |= taken.config.is_some();
        assert!(has_config, "no frame without a configuration");
        let payload = taken.payload.as_deref().unwrap_or(bytes);
        let mut units = avc::NalUnits::new(payload, avc::LENGTH_BYTES);
        assert!(units.by_ref().all(|unit| !unit.is_empty()) && units.is_exhausted());
    }
}

fn check(config: &TrackConfig) {
    assert!(config.size().is_some_and(|(width, height)| width > 0 && height > 0));
    assert!(config.avc().is_none_or(|config| config.length_bytes() == avc::LENGTH_BYTES));
}
