//! Parameter sets, NAL units and decoder configurations.

use crate::cursor::Cursor;
use sightline_media::{Codec, aac, annexb, avc, coded};

/// Codecs whose configuration is a record that is kept as it came.
const CODED: [Codec; 5] = [Codec::Hevc, Codec::Av1, Codec::Vp9, Codec::Opus, Codec::Flac];

/// First byte: what the rest is; with its first bit, a codec's record.
pub fn run(data: &[u8]) {
    let mut cursor = Cursor::new(data);
    let kind = cursor.u8();
    if kind & 0x80 != 0 {
        return coded_record(CODED[usize::from(kind) % CODED.len()], cursor.rest());
    }
    match kind % 5 {
        0 => match avc::DecoderConfig::parse(cursor.rest()) {
            Ok(config) => check(&config),
            Err(error) => assert!(!error.to_string().is_empty() && !format!("{error:?}").is_empty()),
        },
        1 => {
            let length = usize::from(cursor.u8());
            let sps = cursor.take(length);
            if let Ok(config) = avc::DecoderConfig::from_sets(sps, cursor.rest()) {
                assert_eq!(config.length_bytes(), avc::LENGTH_BYTES);
                assert_eq!(config.parameter_sets().next(), Some(sps));
                check(&config);
            }
        }
        2 => {
            let stream = cursor.rest();
            let unit = annexb::AccessUnit::scan(stream);
            let mut out = vec![0; unit.avcc_bytes];
            assert_eq!(annexb::write_avcc(stream, &mut out), Some(unit.avcc_bytes));
            let mut units = avc::NalUnits::new(&out, avc::LENGTH_BYTES);
            let count = units.by_ref().count();
            assert!(units.is_exhausted() && count <= annexb::NalUnits::new(stream).count());
            let scanned = annexb::AccessUnit::scan_avcc(&out);
            let finds = (unit.is_keyframe, unit.has_picture, unit.is_disposable);
            assert_eq!((scanned.is_keyframe, scanned.has_picture, scanned.is_disposable), finds);
            // Where it lies: the same finds, and as it was once its lengths are start codes again.
            let mut lent = stream.to_vec();
            if let Some(found) = annexb::lend_avcc(&mut lent) {
                assert_eq!((found.sps, found.pps), (unit.sps, unit.pps));
                assert_eq!((found.is_keyframe, found.has_picture, found.is_disposable), finds);
                annexb::put_start_codes(found.avcc);
            }
            assert_eq!(lent, stream);
        }
        3 => {
            let length_bytes = usize::from(kind >> 4 & 3) + 1;
            let payload = cursor.rest();
            let total: usize = avc::NalUnits::new(payload, length_bytes).map(|nal| nal.len() + length_bytes).sum();
            assert!(total <= payload.len());
            let _ = (avc::is_idr(payload, length_bytes), avc::is_disposable(payload, length_bytes));
        }
        _ => {
            let parsed = aac::AudioConfig::of_any_form(cursor.rest());
            if let Err(error) = &parsed {
                assert!(!error.to_string().is_empty() && !format!("{error:?}").is_empty());
            }
            if let Ok(config) = parsed {
                assert!(config.sample_rate_hz() > 0);
                assert_eq!(aac::AudioConfig::parse(config.as_bytes()).as_ref(), Ok(&config));
            }
        }
    }
}

fn check(config: &avc::DecoderConfig) {
    let usual = avc::DecoderConfig::parse(&crate::script::avc_record(0)).expect("a good record");
    assert!(*config != usual || config.as_bytes() == usual.as_bytes());
    assert!(config.picture() == usual.picture() || *config != usual, "what it is like is part of it");
    assert_eq!(avc::DecoderConfig::parse(config.as_bytes()).as_ref(), Ok(config));
    assert!((1..=4).contains(&config.length_bytes()) && config.rfc6381().starts_with("avc1."));
    assert!(config.parameter_sets().count() >= 2);
    let picture = config.picture();
    assert!(picture.width > 0 && picture.height > 0);
}

fn coded_record(codec: Codec, record: &[u8]) {
    if codec == Codec::Vp9 {
        let _ = coded::vp9_key_frame_size(record);
    }
    let config = match coded::Config::parse(codec, record) {
        Ok(config) => config,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert_eq!((config.codec(), config.as_bytes()), (codec, record));
    assert!((1..=4).contains(&config.length_bytes()));
    assert!(config.size().is_none_or(|(width, height)| width > 0 && height > 0));
    let long = config.clone().with_long_lengths();
    assert_eq!((long.length_bytes(), long.size()), (4, config.size()));
    if codec == Codec::Hevc {
        assert!(coded::Config::parse(codec, long.as_bytes()).is_ok(), "the longer lengths changed only what they say");
    }
}
