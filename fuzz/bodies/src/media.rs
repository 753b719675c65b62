//! Parameter sets, NAL units and decoder configurations.

use crate::cursor::Cursor;
use sightline_media::{Codec, aac, annexb, avc, avc::ConfigError, coded};

/// Codecs whose configuration is a record that is kept as it came.
const CODED: [Codec; 5] = [Codec::Hevc, Codec::Av1, Codec::Vp9, Codec::Opus, Codec::Flac];

/// How far a record is cut byte by byte: what is read of one stands at its beginning, and a longer one would take too long.
const CUTS_MAX: usize = 64;

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
            Err(error) => {
                assert!(!error.to_string().is_empty() && !format!("{error:?}").is_empty());
                let others =
                    [ConfigError::Truncated, ConfigError::Missing, ConfigError::TooLong, ConfigError::Version(9), ConfigError::Sps];
                assert_eq!(others.iter().filter(|other| **other == error).count(), usize::from(others.contains(&error)));
            }
        },
        1 => {
            let length = usize::from(cursor.u8());
            let sps = cursor.take(length);
            let pps = cursor.rest();
            if let Ok(config) = avc::DecoderConfig::from_sets(sps, pps) {
                assert_eq!(config.length_bytes(), avc::LENGTH_BYTES);
                assert_eq!(config.parameter_sets().next(), Some(sps));
                check(&config);
                limits(sps, pps);
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
            let rest = cursor.rest();
            let parsed = aac::AudioConfig::of_any_form(rest);
            if let Err(error) = &parsed {
                assert_eq!(aac::AudioConfig::of_any_form(rest).as_ref(), Err(error), "it is said the same each time");
                assert!(!error.to_string().is_empty() && !format!("{error:?}").is_empty());
            }
            if let Ok(config) = parsed {
                assert!(config.sample_rate_hz() > 0);
                let usual = aac::AudioConfig::parse(&[0x12, 0x10]).expect("AAC-LC, 44.1 kHz, stereo");
                assert_eq!(config == usual, config.as_bytes() == usual.as_bytes());
                if let Some(made) = aac::AudioConfig::low_complexity(config.sample_rate_hz(), config.channels()) {
                    assert_eq!((made.sample_rate_hz(), made.channels()), (config.sample_rate_hz(), config.channels()));
                }
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
    // Another in any of what an SPS says is another.
    for other in [
        avc::Picture { width: picture.width + 1, ..picture },
        avc::Picture { height: picture.height + 1, ..picture },
        avc::Picture { profile: !picture.profile, ..picture },
        avc::Picture { level: !picture.level, ..picture },
        avc::Picture { chroma_format: !picture.chroma_format, ..picture },
        avc::Picture { bit_depth_luma: !picture.bit_depth_luma, ..picture },
        avc::Picture { bit_depth_chroma: !picture.bit_depth_chroma, ..picture },
    ] {
        assert_ne!(picture, other);
    }
}

/// A record has room for so many bytes, whichever of the sets is the one too many.
fn limits(sps: &[u8], pps: &[u8]) {
    let long = |set: &[u8], bytes: usize| [set, &vec![0; bytes.saturating_sub(set.len())]].concat();
    for bytes in avc::DECODER_CONFIG_BYTES_MAX - 16..=avc::DECODER_CONFIG_BYTES_MAX {
        let (sequence, picture) = (long(sps, bytes), long(pps, bytes.saturating_sub(sps.len())));
        for (sps, pps) in [(&sequence[..], pps), (sps, &picture)] {
            match avc::DecoderConfig::from_sets(sps, pps) {
                Ok(config) => assert_eq!(config.parameter_sets().map(<[u8]>::len).collect::<Vec<_>>(), [sps.len(), pps.len()]),
                Err(error) => assert_eq!(error, ConfigError::TooLong),
            }
        }
    }
    let many = |count: usize| avc::DecoderConfig::from_parameter_sets(sps, std::iter::repeat_n(&pps[..1], count));
    assert!(many(1).is_ok() && many(0) == Err(ConfigError::Missing) && many(256) == Err(ConfigError::TooLong));
    assert_eq!(avc::DecoderConfig::from_sets(sps, sps), Err(ConfigError::Missing));
    assert!(avc::DecoderConfig::from_sets(sps, &[0; 70_000]).is_err() && avc::DecoderConfig::from_sets(&long(sps, 70_000), pps).is_err());
}

fn coded_record(codec: Codec, record: &[u8]) {
    if codec == Codec::Vp9 {
        (0..=record.len().min(CUTS_MAX)).for_each(|end| _ = coded::vp9_key_frame_size(&record[..end]));
    }
    let config = match coded::Config::parse(codec, record) {
        Ok(config) => config,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    // Cut anywhere it is refused, or taken for what is left of it.
    for end in 0..record.len().min(CUTS_MAX) {
        let _ = coded::Config::parse(codec, &record[..end]).map(|config| assert!(!format!("{config:?}").is_empty()));
    }
    assert_eq!((config.codec(), config.as_bytes()), (codec, record));
    assert!((1..=4).contains(&config.length_bytes()));
    assert!(config.size().is_none_or(|(width, height)| width > 0 && height > 0));
    let long = config.clone().with_long_lengths();
    assert_eq!(long == config, long.as_bytes() == config.as_bytes());
    assert_eq!((long.length_bytes(), long.size()), (4, config.size()));
    if codec == Codec::Hevc {
        assert!(coded::Config::parse(codec, long.as_bytes()).is_ok(), "the longer lengths changed only what they say");
    }
}
