//! Files as they really are, each with the report that it comes from, held against what ffmpeg makes of them.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use super::*;

fn open(path: &Path) -> Clip {
    match Clip::open(path).unwrap() {
        Looked::Clip(clip) => clip,
        Looked::Foreign(what) => panic!("{}: {what}", path.display()),
    }
}

const AVCC: &[u8] = &[
    1, 0x64, 0, 0x28, 0xff, 0xe1, 0, 24, 0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0, 0, 3, 0, 4, 0, 0,
    3, 0, 0xc8, 0x3c, 1, 0, 6, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0,
];

/// All of a clip.
fn steps(clip: &Clip) -> Vec<Step> {
    let mut playback = clip.play();
    std::iter::from_fn(|| playback.step().unwrap()).collect()
}

fn tag(kind: u8, millis: u8, body: &[u8]) -> Vec<u8> {
    let length = u8::try_from(body.len()).unwrap();
    [&[kind, 0, 0, length, 0, 0, millis, 0, 0, 0, 0], body, &[0, 0, 0, length + 11]].concat()
}

/// E-RTMP v2, "Enabling AMF3 in FLV": tag 15 holds script data in AMF3.
#[test]
fn a_tag_of_amf3_script_data_is_read_past() {
    let picture = [&[0x17, 1, 0, 0, 0][..], &[0, 0, 0, 2, 0x65, 7]].concat();
    let file = [
        b"FLV\x01\x01\0\0\0\x09\0\0\0\0".to_vec(),
        tag(15, 0, b"\0\x02\0\x0aonMetaData\x11\x0a\x0b\x01\x01"),
        tag(9, 0, &[&[0x17, 0, 0, 0, 0][..], AVCC].concat()),
        tag(9, 0, &picture),
        tag(9, 40, &picture),
    ];
    let path = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(path.path(), file.concat()).unwrap();
    let clip = open(path.path());
    assert_eq!((clip.sample_count(), clip.tracks().len()), (2, 1));
    let times: Vec<i64> = steps(&clip).iter().map(|step| step.frame.dts.as_millis()).collect();
    assert_eq!(times, [0, 40]);
}
