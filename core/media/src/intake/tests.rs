use super::*;
use std::vec::Vec;

/// x264, 320x180 and 640x360, High: SPS and PPS with the ids 0, as ffmpeg 5.1 wrote them.
const SPS_180: &[u8] = &[
    0x67, 0x64, 0x00, 0x0d, 0xac, 0xd9, 0x41, 0x41, 0x9f, 0x9e, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xf1,
    0x42, 0x99, 0x60,
];
const SPS_1080: &[u8] = &[
    0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x5a, 0x80, 0x80, 0x80, 0xa0, 0x00, 0x00, 0x7d, 0x20, 0x00,
    0x17, 0x70, 0x01, 0xe3, 0x06, 0x32, 0xc0,
];
const PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];
/// `first_mb_in_slice` 0, `slice_type` 7 (I) or 5 (P), `pic_parameter_set_id` 0.
const IDR: &[u8] = &[0x65, 0x88, 0x84, 0x21];
const INTRA: &[u8] = &[0x41, 0x88, 0x84, 0x21];
const PICTURE: &[u8] = &[0x41, 0x9a, 0x24, 0x6c];
const RECOVERY_POINT: &[u8] = &[0x06, 0x06, 0x01, 0xc4, 0x80];

fn record() -> Vec<u8> {
    crate::avc::DecoderConfig::from_sets(SPS_180, PPS).unwrap().as_bytes().to_vec()
}

fn lengths(units: &[&[u8]]) -> Vec<u8> {
    units.iter().flat_map(|unit| [&(unit.len() as u32).to_be_bytes()[..], unit].concat()).collect()
}

fn short_lengths(units: &[&[u8]]) -> Vec<u8> {
    units.iter().flat_map(|unit| [&(unit.len() as u16).to_be_bytes()[..], unit].concat()).collect()
}

fn codes(units: &[&[u8]]) -> Vec<u8> {
    units.iter().enumerate().flat_map(|(at, unit)| [if at % 2 == 0 { &[0, 0, 0, 1][..] } else { &[0, 0, 1] }, unit].concat()).collect()
}

fn with_record() -> Intake {
    let mut intake = Intake::new(Family::H264);
    assert!(matches!(intake.take_record(&record()), Record::New(_)));
    intake
}

#[test]
fn a_frame_as_it_should_be_is_left_as_it_is() {
    let mut intake = with_record();
    let taken = intake.take(&lengths(&[IDR]), true).unwrap();
    assert!(taken.config.is_none() && taken.payload.is_none() && taken.is_keyframe && taken.mends.is_empty(), "{taken:?}");
    let taken = intake.take(&lengths(&[PICTURE]), false).unwrap();
    assert!(taken.payload.is_none() && !taken.is_keyframe && !taken.is_disposable && taken.mends.is_empty(), "{taken:?}");
    assert!(matches!(intake.take_record(&record()), Record::Same));
}

/// ossrs/srs#2994, PHZ76/rtmp#14: no header, an empty one, and one in Annex B; the sets come with the key frames.
#[test]
fn without_a_record_the_sets_of_the_stream_serve() {
    let sets = codes(&[SPS_180, PPS]);
    for header in [None, Some(&[][..]), Some(&sets[..]), Some(&[1, 2, 3][..])] {
        let mut intake = Intake::new(Family::H264);
        if let Some(header) = header {
            assert!(matches!(intake.take_record(header), Record::Unread));
        }
        let key = intake.take(&codes(&[&[9, 0xf0], SPS_180, PPS, IDR]), true).unwrap();
        assert_eq!(key.config.and_then(|config| config.size()), Some((320, 180)));
        assert_eq!(key.payload.as_deref(), Some(&lengths(&[&[9, 0xf0], SPS_180, PPS, IDR])[..]));
        let next = intake.take(&codes(&[PICTURE]), false).unwrap();
        assert_eq!((next.config, next.payload.as_deref()), (None, Some(&lengths(&[PICTURE])[..])));
    }
}

#[test]
fn a_record_of_sets_alone_is_enough() {
    for sets in [codes(&[SPS_180, PPS]), lengths(&[SPS_180, PPS]), short_lengths(&[SPS_180, PPS])] {
        let mut intake = Intake::new(Family::H264);
        assert!(matches!(intake.take_record(&sets), Record::Unread));
        assert!(intake.take(&lengths(&[IDR]), true).unwrap().config.is_some());
    }
}

#[test]
fn sets_in_a_message_of_their_own_are_kept_for_the_key_frame() {
    let mut intake = Intake::new(Family::H264);
    assert!(matches!(intake.take(&lengths(&[IDR]), true), Err(Passed::NoConfig)));
    assert!(matches!(intake.take(&lengths(&[SPS_180]), false), Err(Passed::NoPicture)));
    assert!(matches!(intake.take(&lengths(&[PPS]), false), Err(Passed::NoPicture)));
    assert!(intake.take(&lengths(&[IDR]), true).unwrap().config.is_some());
}

#[test]
fn every_framing_gives_the_same_picture() {
    let right = lengths(&[RECOVERY_POINT, IDR, IDR]);
    let nested = lengths(&[&codes(&[RECOVERY_POINT, IDR, IDR])]);
    let coded_within = lengths(&[RECOVERY_POINT, &[IDR, &[0, 0, 1], IDR].concat()]);
    let empty = lengths(&[RECOVERY_POINT, &[], IDR, IDR]);
    let three: Vec<u8> = [RECOVERY_POINT, IDR, IDR].iter().flat_map(|unit| [&[0, 0, unit.len() as u8][..], unit].concat()).collect();
    let one: Vec<u8> = [RECOVERY_POINT, IDR, IDR].iter().flat_map(|unit| [&[unit.len() as u8][..], unit].concat()).collect();
    let others = [codes(&[RECOVERY_POINT, IDR, IDR]), short_lengths(&[RECOVERY_POINT, IDR, IDR]), nested, coded_within, empty, three, one];
    for payload in others {
        let taken = with_record().take(&payload, true).unwrap();
        assert_eq!(taken.payload.as_deref(), Some(&right[..]), "{payload:?}");
        assert!(taken.is_keyframe && !taken.mends.is_empty());
    }
}

/// Who gets the pictures next, a relay's target or a decoder of the recording, sees them alone.
#[test]
fn a_recovery_point_in_a_message_of_its_own_goes_on_with_its_picture() {
    const DELIMITER: &[u8] = &[0x09, 0xf0];
    const WORDS: &[u8] = &[0x06, 0x05, 0x01, 0x61, 0x80];
    let whole = lengths(&[RECOVERY_POINT, PICTURE]);
    for message in [lengths(&[RECOVERY_POINT]), lengths(&[DELIMITER, WORDS, RECOVERY_POINT]), codes(&[WORDS, RECOVERY_POINT])] {
        for picture in [lengths(&[PICTURE]), codes(&[PICTURE])] {
            let mut intake = with_record();
            assert!(matches!(intake.take(&message, false), Err(Passed::NoPicture)));
            let taken = intake.take(&picture, false).unwrap();
            assert_eq!((taken.payload.as_deref(), taken.is_keyframe), (Some(&whole[..]), true));
            let mut further = with_record();
            let again = further.take(&whole, true).unwrap();
            assert!(again.is_keyframe && again.payload.is_none(), "the next server begins there too");
            let next = intake.take(&lengths(&[PICTURE]), false).unwrap();
            assert!(next.payload.is_none() && !next.is_keyframe, "it is that picture's alone");
        }
    }
    let mut intake = with_record();
    let _ = intake.take(&lengths(&[RECOVERY_POINT]), false);
    let taken = intake.take(&lengths(&[DELIMITER, SPS_180, PPS, PICTURE, PICTURE]), false).unwrap();
    assert_eq!(taken.payload.unwrap(), lengths(&[DELIMITER, SPS_180, PPS, RECOVERY_POINT, PICTURE, PICTURE]), "before its slices");
    let _ = intake.take(&lengths(&[RECOVERY_POINT]), false);
    assert!(intake.take(&lengths(&[RECOVERY_POINT, PICTURE]), false).unwrap().payload.is_none(), "it has its own");
    for flood in [lengths(&[&[RECOVERY_POINT, &[0; 5000]].concat()]), lengths(&[RECOVERY_POINT; 3000])] {
        let _ = intake.take(&flood, false);
        let taken = intake.take(&lengths(&[PICTURE]), false).unwrap();
        assert!(taken.is_keyframe && taken.payload.is_none_or(|payload| payload.len() < 9000));
    }
}

/// kendryte/k510_buildroot PR 113, HaishinKit/HaishinKit.swift#1515: the flag is never set, or always.
#[test]
fn the_nal_type_says_what_a_key_frame_is() {
    let mut intake = with_record();
    let is_key = |intake: &mut Intake, units: &[&[u8]], is_flagged| intake.take(&lengths(units), is_flagged).unwrap().is_keyframe;
    for is_flagged in [false, true] {
        assert!(is_key(&mut intake, &[IDR], is_flagged));
        assert!(is_key(&mut intake, &[RECOVERY_POINT, PICTURE], is_flagged));
        assert!(!is_key(&mut intake, &[PICTURE], is_flagged));
        assert!(!is_key(&mut intake, &[INTRA], is_flagged), "what comes after may refer to what came before");
    }
    assert!(matches!(intake.take(&lengths(&[RECOVERY_POINT]), false), Err(Passed::NoPicture)));
    assert!(is_key(&mut intake, &[PICTURE], false), "announced in a message of its own");
    let mut intake = with_record();
    assert!(is_key(&mut intake, &[INTRA], true), "of an encoder without IDR pictures");
    assert!(!is_key(&mut intake, &[PICTURE], true));
}

/// yasea#840: another size in the stream, and no other header.
#[test]
fn another_size_in_the_stream_alone_is_another_configuration() {
    let mut intake = with_record();
    assert!(intake.take(&lengths(&[SPS_180, PPS, IDR]), true).unwrap().config.is_none(), "the same again");
    assert!(intake.take(&lengths(&[SPS_1080, PPS, PICTURE]), false).unwrap().config.is_none(), "not before a key frame");
    let taken = intake.take(&lengths(&[SPS_1080, PPS, IDR]), true).unwrap();
    assert_eq!(taken.config.and_then(|config| config.size()), Some((1920, 1080)));
    assert!(matches!(intake.take_record(&record()), Record::Same), "the header of the beginning, again");
    assert!(intake.take(&lengths(&[IDR]), true).unwrap().config.is_none());
}

/// esp_h264 before 1.3.8: emulation prevention is left out, and what looks like a start code is a slice's own bytes.
#[test]
fn a_slice_without_emulation_prevention_stays_whole() {
    let slice = [IDR, &[0, 0, 1, 0x41, 7, 0, 0, 1, 0xe5, 9]].concat();
    assert!(with_record().take(&lengths(&[&slice]), true).unwrap().payload.is_none());
}

#[test]
fn a_picture_that_is_cut_short_is_kept_as_far_as_it_goes() {
    let mut payload = lengths(&[IDR, IDR]);
    payload.truncate(payload.len() - 1);
    let taken = with_record().take(&payload, true).unwrap();
    assert_eq!(taken.payload.as_deref(), Some(&lengths(&[IDR])[..]));
    assert_eq!(with_record().take(&[0xff; 9], true).unwrap_err(), Passed::Unreadable);
}

/// x265, 1280x720.
const VPS: &[u8] = &[0x40, 0x01, 0x0c, 0x01, 0xff, 0xff, 0x01, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x5d, 0x95, 0x98, 0x09];
const SPS_HEVC: &[u8] = &[
    0x42, 0x01, 0x01, 0x01, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x5d, 0xa0, 0x02, 0x80, 0x80, 0x2d, 0x16, 0x59, 0x59, 0xa4, 0x93,
    0x2b, 0xc0, 0x5a, 0x70, 0x80, 0, 0, 0x1f, 0x48, 0, 3, 0x0d, 0x40, 0x40,
];
const PPS_HEVC: &[u8] = &[0x44, 0x01, 0xc1, 0x72, 0xb4, 0x62, 0x40];
const IDR_HEVC: &[u8] = &[0x26, 0x01, 0xaf, 0x09];
const PICTURE_HEVC: &[u8] = &[0x02, 0x01, 0xd0, 0x09];

#[test]
fn h265_is_taken_in_alike() {
    let mut intake = Intake::new(Family::Hevc);
    let key = intake.take(&codes(&[VPS, SPS_HEVC, PPS_HEVC, IDR_HEVC]), false).unwrap();
    let config = key.config.unwrap();
    assert_eq!((config.size(), key.is_keyframe), (Some((1280, 720)), true));
    let sets = Family::Hevc.sets_of(&config);
    assert_eq!(sets, [VPS, SPS_HEVC, PPS_HEVC]);
    let taken = intake.take(&codes(&[PICTURE_HEVC]), true).unwrap();
    assert_eq!((taken.is_keyframe, taken.payload), (false, Some(lengths(&[PICTURE_HEVC]))));
    let mut by_record = Intake::new(Family::Hevc);
    assert!(matches!(by_record.take_record(config.as_bytes()), Record::New(_)));
    assert!(by_record.take(&lengths(&[VPS, SPS_HEVC, PPS_HEVC, IDR_HEVC]), true).unwrap().config.is_none());
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_taken_without_a_panic(frames: Vec<(Vec<u8>, bool)>, header: Vec<u8>, is_hevc: bool) {
        let mut intake = Intake::new(if is_hevc { Family::Hevc } else { Family::H264 });
        let _ = intake.take_record(&header);
        if !is_hevc {
            let _ = intake.take_record(&record());
        }
        for (frame, is_flagged) in frames {
            if let Ok(Taken { payload: Some(payload), .. }) = intake.take(&frame, is_flagged) {
                let mut units = crate::avc::NalUnits::new(&payload, 4);
                proptest::prop_assert!(units.by_ref().all(|unit| !unit.is_empty()) && units.is_exhausted());
            }
        }
    }
}

/// Encoders of applications and devices: whatever their units are framed by, the same frames.
#[test]
fn units_of_an_encoder_are_frames_without_the_sets_that_the_track_has() {
    let delimiter: &[u8] = &[0x09, 0xf0];
    for frame in [codes as fn(&[&[u8]]) -> Vec<u8>, lengths, short_lengths] {
        let mut intake = Intake::new(Family::H264);
        assert_eq!(intake.take_unit(&frame(&[PICTURE])).unwrap_err(), Passed::NoConfig);
        assert_eq!(intake.take_unit(&frame(&[SPS_180, PPS])).unwrap_err(), Passed::NoPicture, "sets in a unit of their own");
        let (taken, payload) = intake.take_unit(&frame(&[delimiter, SPS_180, PPS, IDR])).unwrap();
        assert!(taken.config.is_some_and(|config| config.as_bytes() == record()) && taken.is_keyframe);
        assert_eq!((payload, taken.mends.contains(&Mend::KeyFrameUnsaid)), (lengths(&[IDR]), false));
        let (taken, payload) = intake.take_unit(&frame(&[PICTURE])).unwrap();
        assert_eq!((taken.config, payload, taken.is_keyframe), (None, lengths(&[PICTURE]), false));
        // Refreshed in steps: a decoder can begin where its encoder says so.
        let (taken, payload) = intake.take_unit(&frame(&[RECOVERY_POINT, PICTURE])).unwrap();
        assert_eq!((payload, taken.is_keyframe), (lengths(&[RECOVERY_POINT, PICTURE]), true));
    }
}

/// What goes out is what another intake takes: a unit of another layer of H.265, or with the forbidden bit set, is no picture and goes nowhere.
#[test]
fn what_is_no_unit_of_the_stream_s_own_is_passed_over() {
    let other_layer: &[u8] = &[0x02, 0x2a, 0xd0, 7];
    let mut intake = Intake::new(Family::Hevc);
    assert_eq!(intake.take(&codes(&[other_layer]), false).unwrap_err(), Passed::NoPicture);
    let mut intake = with_record();
    let forbidden: &[u8] = &[0xc1, 0x9a, 7];
    let taken = intake.take(&codes(&[IDR, forbidden]), true).unwrap();
    assert_eq!(taken.payload, Some(lengths(&[IDR])));
}
