//! Coded pictures as anybody's encoder frames them: what goes out is in our form, whatever came.

use crate::cursor::Cursor;
use sightline_media::intake::{Family, Intake, Record};
use sightline_media::{TrackConfig, annexb, avc, config_beside};

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
        if family == Family::H264 && kind & 8 != 0 {
            one_reading(bytes);
        }
        if family == Family::Hevc && kind & 8 != 0 {
            // As a device hands it over: without what says nothing between frames.
            if let Ok((_, payload)) = Intake::new(family).take_unit(bytes) {
                let mut units = avc::NalUnits::new(&payload, avc::LENGTH_BYTES);
                assert!(units.by_ref().all(|unit| !matches!(unit[0] >> 1 & 0x3f, 35 | 38)) && units.is_exhausted());
            }
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

/// An access unit of an encoder: who has an allocator and who has none read the same.
fn one_reading(bytes: &[u8]) {
    // Start codes of four bytes, as encoders write them.
    let unit: Vec<u8> = annexb::NalUnits::new(bytes).flat_map(|nal| [&[0, 0, 0, 1][..], nal].concat()).collect();
    let found = annexb::AccessUnit::scan(&unit);
    let mut intake = Intake::new(Family::H264);
    let Ok((taken, payload)) = intake.take_unit(&unit) else { return };
    assert_eq!((found.is_keyframe, found.is_disposable), (taken.is_keyframe, taken.is_disposable));
    assert!(found.has_picture && taken.is_keyframe, "what begins a stream is a key frame");
    let beside = config_beside(annexb::NalUnits::new(&unit)).and_then(Result::ok);
    assert_eq!(taken.config.as_ref().and_then(TrackConfig::avc), beside.as_ref());
    let mut written = vec![0; found.avcc_bytes];
    assert_eq!(annexb::write_avcc(&unit, &mut written), Some(payload.len()));
    assert_eq!(written, payload);
}
